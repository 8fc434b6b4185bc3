// What `netstat -Q` calls Protocols: who is handed packets, by which policy, and what became of them.
import { Limits } from '../../base/limits.ts'
import { ArpLimits } from '../../net/ether/arp.ts'
import { ReassemblyLimits } from '../../net/ip/reassembly.ts'
import { type Snapshot, sum } from '../snapshot.ts'
import { isDrop, table } from '../table.ts'

interface Protocol {
  readonly name: string
  /** Which CPU: that of the device's queue (`source`), the flow's (`flow`), or a certain one (`cpu`). netisr(9)'s words. */
  readonly policy: 'source' | 'flow' | 'cpu'
  /** A call, a call on the right CPU and else a message, or always a message. */
  readonly dispatch: 'direct' | 'hybrid' | 'deferred'
  readonly received: readonly string[]
  readonly sent: readonly string[]
  /** Sets whose losses are the protocol's. */
  readonly sets: readonly string[]
  /** What may wait there at most. */
  readonly limit?: string
}

const PROTOCOLS: readonly Protocol[] = [
  {
    name: 'ether',
    policy: 'source',
    dispatch: 'direct',
    received: ['ether.received'],
    sent: ['ether.transmitted'],
    sets: ['ether', 'device', 'fault', 'hub'],
    limit: `${Limits.deviceBatch} a turn`,
  },
  {
    name: 'arp',
    policy: 'cpu',
    dispatch: 'deferred',
    received: ['arp.received'],
    sent: ['arp.requestsSent', 'arp.repliesSent', 'arp.probesSent'],
    sets: ['arp'],
    limit: `${ArpLimits.held} a neighbour`,
  },
  {
    name: 'ip',
    policy: 'flow',
    dispatch: 'hybrid',
    received: ['ip.received'],
    sent: ['ip.sent', 'ip.sentFragments'],
    sets: ['ip', 'reassembly'],
    limit: `${ReassemblyLimits.held} fragments`,
  },
  {
    name: 'icmp',
    policy: 'flow',
    dispatch: 'direct',
    received: ['icmp.received'],
    sent: ['icmp.echoRequests', 'icmp.sentErrors'],
    sets: ['icmp'],
  },
  {
    name: 'igmp',
    policy: 'flow',
    dispatch: 'direct',
    received: ['group.received'],
    sent: ['group.sentReports', 'group.sentLeaves'],
    sets: ['group'],
  },
  {
    name: 'udp',
    policy: 'flow',
    dispatch: 'direct',
    received: ['udp.received'],
    sent: ['udp.sent'],
    sets: ['udp', 'socket'],
    limit: 'by socket',
  },
  {
    name: 'tcp',
    policy: 'flow',
    dispatch: 'direct',
    received: ['tcp.received'],
    sent: ['tcp.sent'],
    sets: ['tcp', 'tcp socket'],
    limit: `${Limits.tcpReceiveBytesMax / 2 ** 20} MiB a socket`,
  },
]

export function protocols(snapshot: Snapshot): string {
  const total = (counters: readonly string[]) => counters.reduce((all, counter) => all + sum(snapshot, counter), 0)
  const rows = PROTOCOLS.map(({ name, policy, dispatch, received, sent, sets, limit }) => [
    name,
    name === 'tcp' && !isThreaded(snapshot) ? 'source' : policy,
    snapshot.dispatch?.[name] ?? dispatch,
    limit ?? '–',
    total(received),
    total(sent),
    total(lossesOf(snapshot, sets)),
  ])
  return `Protocols\n${table(['name', 'policy', 'dispatch', 'limit', 'in', 'out', 'lost'], rows)}`
}

/** Whether a connection is worked on by its flow's CPU only, and not by whoever has the packet. */
function isThreaded({ discipline = 'connp-t' }: Snapshot): boolean {
  return discipline === 'connp-t'
}

/** Losses by reason, those that happened, in the order of the protocols. Empty where there were none. */
export function losses(snapshot: Snapshot): string {
  const known = PROTOCOLS.flatMap(({ name, sets }) =>
    lossesOf(snapshot, sets).map((counter) => [name, counter] as const),
  )
  const others = counterNames(snapshot).filter((name) => isDrop(name) && !known.some(([, counter]) => counter === name))
  const rows = [...known, ...others.map((counter) => ['–', counter] as const)]
    .map(([name, counter]) => [name, counter, sum(snapshot, counter)] as const)
    .filter(([, , lost]) => lost > 0)
  return rows.length === 0 ? '' : `Lost\n${table(['protocol', 'why', 'packets'], rows)}`
}

function lossesOf(snapshot: Snapshot, sets: readonly string[]): string[] {
  return counterNames(snapshot).filter((name) => isDrop(name) && sets.some((set) => name.startsWith(`${set}.`)))
}

function counterNames(snapshot: Snapshot): string[] {
  return [...new Set(snapshot.counters.flatMap((counters) => Object.keys(counters)))].sort()
}
