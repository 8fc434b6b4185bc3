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
  readonly received: readonly string[]
  readonly sent: readonly string[]
  /** Sets whose losses are the protocol's. */
  readonly sets: readonly string[]
  /** What went by queues in front of it, or behind it; and what found them full. */
  readonly queued: readonly string[]
  readonly dropped: readonly string[]
  /** What may wait there at most; where its dispatch has a queue it is the queue's. */
  readonly limit?: string
}

const PROTOCOLS: readonly Protocol[] = [
  {
    name: 'ether',
    policy: 'source',
    received: ['ether.received'],
    sent: ['ether.transmitted'],
    sets: ['ether', 'device', 'fault', 'hub'],
    queued: ['netisr.queuedEther', 'netisr.queuedDevice'],
    dropped: ['netisr.droppedEther', 'netisr.droppedDevice'],
    limit: `${Limits.deviceBatch} a turn`,
  },
  {
    name: 'arp',
    policy: 'cpu',
    received: ['arp.received'],
    sent: ['arp.requestsSent', 'arp.repliesSent', 'arp.probesSent'],
    sets: ['arp'],
    queued: ['netisr.queuedArp'],
    dropped: ['netisr.droppedArp'],
    limit: `${ArpLimits.held} a neighbour`,
  },
  {
    name: 'ip',
    policy: 'flow',
    received: ['ip.received'],
    sent: ['ip.sent', 'ip.sentFragments'],
    sets: ['ip', 'reassembly'],
    queued: ['dispatch.handedOff', 'netisr.queuedLink'],
    dropped: ['netisr.droppedIp', 'netisr.droppedReassembled', 'netisr.droppedLink'],
    limit: `${ReassemblyLimits.held} fragments`,
  },
  {
    name: 'icmp',
    policy: 'flow',
    received: ['icmp.received'],
    sent: ['icmp.echoRequests', 'icmp.sentErrors'],
    sets: ['icmp'],
    queued: ['netisr.queuedIcmp'],
    dropped: ['netisr.droppedIcmp'],
  },
  {
    name: 'igmp',
    policy: 'flow',
    received: ['group.received'],
    sent: ['group.sentReports', 'group.sentLeaves'],
    sets: ['group'],
    queued: ['netisr.queuedIgmp'],
    dropped: ['netisr.droppedIgmp'],
  },
  {
    name: 'udp',
    policy: 'flow',
    received: ['udp.received'],
    sent: ['udp.sent'],
    sets: ['udp', 'socket'],
    queued: ['netisr.queuedUdp', 'netisr.queuedSocket'],
    dropped: ['netisr.droppedUdp', 'netisr.droppedSocket'],
    limit: 'by socket',
  },
  {
    name: 'tcp',
    policy: 'flow',
    received: ['tcp.received'],
    sent: ['tcp.sent'],
    sets: ['tcp', 'tcp socket'],
    queued: ['netisr.queuedTcp'],
    dropped: ['netisr.droppedTcp'],
    limit: `${Limits.tcpReceiveBytesMax / 2 ** 20} MiB a socket`,
  },
]

export function protocols(snapshot: Snapshot): string {
  const total = (counters: readonly string[]) => counters.reduce((all, counter) => all + sum(snapshot, counter), 0)
  const rows = PROTOCOLS.map((protocol) => {
    const { name, policy, received, sent, queued, dropped, limit = '–' } = protocol
    const dispatch = snapshot.dispatch?.[name] ?? 'direct'
    return [
      name,
      name === 'tcp' && !isThreaded(snapshot) ? 'source' : policy,
      dispatch,
      dispatch === 'direct' || snapshot.queueLimit === undefined ? limit : `${snapshot.queueLimit} packets`,
      total(received),
      total(sent),
      total(queued),
      total(dropped),
      total(lossesOf(snapshot, protocol)),
    ]
  })
  const head = ['name', 'policy', 'dispatch', 'limit', 'in', 'out', 'queued', 'qdrops', 'lost']
  return `Protocols\n${table(head, rows)}`
}

/** Whether a connection is worked on by its flow's CPU only, and not by whoever has the packet. */
function isThreaded({ discipline = 'connp-t' }: Snapshot): boolean {
  return discipline === 'connp-t'
}

/** Losses by reason, those that happened, in the order of the protocols. Empty where there were none. */
export function losses(snapshot: Snapshot): string {
  const known = PROTOCOLS.flatMap((protocol) =>
    lossesOf(snapshot, protocol).map((counter) => [protocol.name, counter] as const),
  )
  const others = counterNames(snapshot).filter((name) => isDrop(name) && !known.some(([, counter]) => counter === name))
  const rows = [...known, ...others.map((counter) => ['–', counter] as const)]
    .map(([name, counter]) => [name, counter, sum(snapshot, counter)] as const)
    .filter(([, , lost]) => lost > 0)
  return rows.length === 0 ? '' : `Lost\n${table(['protocol', 'why', 'packets'], rows)}`
}

function lossesOf(snapshot: Snapshot, { sets, dropped }: Protocol): string[] {
  const isMine = (name: string) => dropped.includes(name) || sets.some((set) => name.startsWith(`${set}.`))
  return counterNames(snapshot).filter((name) => isDrop(name) && isMine(name))
}

function counterNames(snapshot: Snapshot): string[] {
  return [...new Set(snapshot.counters.flatMap((counters) => Object.keys(counters)))].sort()
}
