// The identities between counts: what came in went out, was dropped under a name, or still waits. They are data, so that
// a test, a laboratory and a reader of docs/COUNTERS.md have the same list. They hold exactly when a machine is at rest;
// while it runs each count is whole, but they are not all of one instant.
//
// A term is a counter `set.name`, all of a set that begin alike `set.dropped*`, a hand-off point's `point:field`, or
// `waiting:name`. The point `port` is that of unnamed ports, `ports` are all points of message ports. What waits is looked at in
// the queues themselves, never computed of the counts that it has to balance.
import { type Counts, type HandoffRow, isPort } from './counts.ts'

export interface Identity {
  readonly name: string
  readonly left: readonly string[]
  readonly right: readonly string[]
  /**
   * `machine`, the default: sums over all CPUs. `cpu`: holds on each CPU for itself; a hand-off's field is then the sum over those
   * whose `source` or `target` it is: `ring:enqueued@source`. `handoff`: holds in each row of these points.
   */
  readonly each?: 'machine' | 'cpu' | readonly string[]
  /** Applies only where one of these terms is not 0: there may be no such device, or nothing may be measured. */
  readonly where?: readonly string[]
  /** Does not apply where one of these terms of the machine is not 0. */
  readonly unless?: readonly string[]
  /** Holds only when no program has a packet or a connection any more. */
  readonly drained?: true
}

const PORTS = ['port', 'link', 'netisr', 'transport', 'snd', 'rcv', 'tx', 'control'] as const
/** All whose enqueues are looked at one by one. */
const QUEUES = [...PORTS, 'accept'] as const

export const IDENTITIES: readonly Identity[] = [
  // Hand-offs.
  {
    name: 'a port: enqueued = dequeued + dropped, where nothing is queued',
    left: ['enqueued'],
    right: ['dequeued', 'dropped'],
    each: PORTS,
    unless: ['waiting:port messages'],
  },
  {
    name: 'a port, an accept queue: each enqueue has seen a depth',
    left: ['depth#'],
    right: ['enqueued'],
    each: QUEUES,
    where: ['depth#'],
  },
  {
    name: 'a port, an accept queue: each dequeue has a time in queue',
    left: ['wait#'],
    right: ['dequeued'],
    each: QUEUES,
    where: ['wait#'],
  },
  {
    name: 'all ports: what is not dequeued or dropped is queued',
    left: ['ports:enqueued'],
    right: ['ports:dequeued', 'ports:dropped', 'waiting:port messages'],
  },
  { name: 'a ring: enqueued = dequeued + queued', left: ['enqueued'], right: ['dequeued', 'length'], each: ['ring'] },
  {
    name: 'a device queue: enqueued = dequeued',
    left: ['enqueued'],
    right: ['dequeued'],
    each: ['rx'],
  },
  {
    name: 'an accept queue: enqueued = dequeued + dropped',
    left: ['enqueued'],
    right: ['dequeued', 'dropped'],
    each: ['accept'],
  },
  {
    name: 'accept queues: got what came for listeners',
    left: ['tcp socket.accepted', 'local.accepted'],
    right: ['accept:enqueued'],
  },
  {
    name: 'a ring, a device queue, freed memory: each service has seen a depth',
    left: ['depth#'],
    right: ['batches'],
    each: ['ring', 'rx', 'free'],
    where: ['depth#'],
  },
  {
    name: 'a service ended empty or at its limit',
    left: ['batches'],
    right: ['endedEmpty', 'endedLimit'],
    each: [...QUEUES, 'ring', 'rx', 'free'],
    where: ['batches'],
  },
  { name: 'memory that others freed came home', left: ['free:enqueued'], right: ['free:dequeued'] },

  // The kernel.
  { name: 'IPIs sent = enqueued at rings', left: ['cpu.ipisSent'], right: ['ring:enqueued@source'], each: 'cpu' },
  {
    name: 'IPIs received = dequeued at rings',
    left: ['cpu.ipisReceived'],
    right: ['ring:dequeued@target'],
    each: 'cpu',
  },
  { name: 'IPIs sent = received, at rest', left: ['cpu.ipisSent'], right: ['cpu.ipisReceived', 'ring:length'] },
  {
    name: 'messages sent, forwarded and queued as replies = done by a call + enqueued, at rest',
    left: ['cpu.messagesSent', 'cpu.messagesForwarded', 'cpu.repliesQueued'],
    right: ['cpu.messagesDirect', 'cpu.messagesUnqueued', 'cpu.messagesStray', 'ports:enqueued'],
    unless: ['ring:length'],
  },
  {
    name: 'timers: armed = armed anew + fired + cancelled + still armed',
    left: ['cpu.timersArmed'],
    right: ['cpu.timersRearmed', 'cpu.timersFired', 'cpu.timersCancelled', 'waiting:timers'],
    each: 'cpu',
    unless: ['tcp.timersMoved'],
  },
  {
    name: 'shared timers: armed = armed anew + fired + cancelled',
    left: ['shared timer.timersArmed'],
    right: ['shared timer.timersRearmed', 'shared timer.timersFired', 'shared timer.timersCancelled'],
    unless: ['tcp.timersMoved'],
    drained: true,
  },
  {
    name: 'timers of CPUs and shared ones: armed = armed anew + fired + cancelled + still armed, wherever they have moved',
    left: ['cpu.timersArmed', 'shared timer.timersArmed'],
    right: [
      'cpu.timersRearmed',
      'cpu.timersFired',
      'cpu.timersCancelled',
      'shared timer.timersRearmed',
      'shared timer.timersFired',
      'shared timer.timersCancelled',
      'waiting:timers',
    ],
    drained: true,
  },
  {
    name: 'messages received = dequeued at ports',
    left: ['cpu.messagesReceived'],
    right: ['ports:dequeued@target'],
    each: 'cpu',
  },
  {
    name: 'messages dropped = dropped at ports',
    left: ['cpu.messagesDropped'],
    right: ['ports:dropped@target'],
    each: 'cpu',
  },
  {
    name: 'doorbells rung, by all that ring them',
    left: ['cpu.doorbellsRung'],
    right: ['ring:rung@source', 'rx:rung@source', 'load queue.doorbellsRung'],
    each: 'cpu',
  },
  {
    name: 'doorbells avoided, by all that look whether to ring',
    left: ['cpu.doorbellsAvoided'],
    right: ['ring:avoided@source', 'rx:avoided@source', 'load queue.doorbellsAvoided'],
    each: 'cpu',
  },

  // Memory.
  {
    name: 'slab: freed for others = enqueued for them',
    left: ['slab.freedRemote'],
    right: ['free:enqueued@source'],
    each: 'cpu',
  },
  {
    name: 'slab: freed elsewhere = what came home',
    left: ['slab.freedElsewhere'],
    right: ['free:dequeued@target'],
    each: 'cpu',
  },
  {
    name: 'slab: each collection is a service',
    left: ['slab.collections'],
    right: ['free:batches@target'],
    each: 'cpu',
    where: ['free:batches@target'],
  },
  { name: 'mbufs allocated = freed', left: ['mbuf.allocated'], right: ['mbuf.freed'], drained: true },

  // Devices.
  {
    name: 'devices received what their queues gave',
    left: ['device.received'],
    right: ['rx:dequeued@target'],
    each: 'cpu',
    where: ['rx:dequeued@target'],
  },
  {
    name: 'faults: offered + doubled = passed + lost + held',
    left: ['fault.offered', 'fault.duplicated'],
    right: [
      'fault.passed',
      'fault.partitioned',
      'fault.blackHoled',
      'fault.lost',
      'fault.lostInBurst',
      'fault.tailDropped',
      'fault.overflowed',
      'fault.discarded',
      'fault.noMemory',
      'fault.held',
    ],
  },
  {
    name: 'between Ethernet and its devices nothing is lost but by faults and full queues',
    left: ['ether.transmitted', 'device.received', 'fault.duplicated'],
    right: [
      'device.transmitted',
      'device.transmitFull',
      'device.transmitTooLong',
      'device.transmitErrors',
      'device.transmitNoMbuf',
      'ether.received',
      'netisr.droppedEther',
      'netisr.droppedDevice',
      'fault.partitioned',
      'fault.blackHoled',
      'fault.lost',
      'fault.lostInBurst',
      'fault.tailDropped',
      'fault.overflowed',
      'fault.discarded',
      'fault.noMemory',
      'fault.held',
    ],
    where: ['ether.received'],
  },

  // The network, upwards.
  {
    name: 'ether: received = ip + arp + dropped',
    left: ['ether.received'],
    right: ['ether.ip', 'ether.arp', 'ether.dropped*'],
    each: 'cpu',
  },
  {
    name: 'arp: received what ether passed up',
    left: ['arp.received', 'netisr.droppedArp'],
    right: ['ether.arp'],
    where: ['ether.received'],
  },
  {
    name: 'arp: received = answered + used + ignored + dropped',
    left: ['arp.received'],
    right: [
      'arp.requestsAnswered',
      'arp.repliesUsed',
      'arp.ignored',
      'arp.droppedMalformed',
      'arp.droppedSender',
      'arp.droppedUnsolicited',
    ],
  },
  {
    name: 'arp: packets held = released + dropped',
    left: ['arp.packetsHeld'],
    right: ['arp.packetsReleased', 'arp.packetsDropped'],
    drained: true,
  },
  {
    name: 'dispatch: steered + redirected = direct + handed off + dropped',
    left: ['dispatch.steered', 'dispatch.redirected'],
    right: ['dispatch.direct', 'dispatch.handedOff', 'netisr.droppedIp', 'netisr.droppedReassembled'],
    each: 'cpu',
  },
  {
    name: 'dispatch: rehashed what was reassembled',
    left: ['dispatch.rehashed'],
    right: ['reassembly.reassembled'],
    each: 'cpu',
  },
  {
    name: 'ip: received what was steered',
    left: ['dispatch.steered'],
    right: ['ip.received', 'dispatch.rehashed', 'netisr.droppedIp'],
  },
  {
    name: 'ip: received + reassembled = delivered + fragments + dropped',
    left: ['ip.received', 'ip.reassembled'],
    right: ['ip.delivered', 'ip.fragments', 'ip.dropped*'],
  },
  {
    name: 'ip: reassembled all that came out of the reassembly',
    left: ['ip.reassembled', 'netisr.droppedReassembled'],
    right: ['reassembly.reassembled'],
  },
  { name: 'reassembly: got all fragments', left: ['reassembly.fragments'], right: ['ip.fragments'], each: 'cpu' },
  {
    name: 'reassembly: fragments = reassembled + dropped + held',
    left: ['reassembly.fragments'],
    right: ['reassembly.reassembledFragments', 'reassembly.dropped*', 'reassembly.held'],
  },
  {
    name: 'ip: delivered to tcp, udp, icmp and igmp',
    left: ['ip.delivered'],
    right: [
      'tcp.received',
      'udp.received',
      'icmp.received',
      'group.received',
      'netisr.droppedTcp',
      'netisr.droppedUdp',
      'netisr.droppedIcmp',
      'netisr.droppedIgmp',
    ],
  },
  {
    name: 'icmp: received = echo requests + replies + errors + ignored + dropped',
    left: ['icmp.received'],
    right: [
      'icmp.echoRequests',
      'icmp.echoReplies',
      'icmp.errors',
      'icmp.errorsUnmatched',
      'icmp.ignored',
      'icmp.droppedShort',
      'icmp.droppedQuote',
      'icmp.droppedChecksum',
      'icmp.droppedBroadcast',
    ],
  },
  {
    name: 'igmp: received = queries + reports + ignored + dropped',
    left: ['group.received'],
    right: ['group.queries', 'group.reports', 'group.ignored', 'group.dropped*'],
  },
  {
    name: 'udp: received = delivered + no port + dropped',
    left: ['udp.received'],
    right: ['udp.delivered', 'udp.noPort', 'udp.dropped*'],
  },
  {
    name: 'udp sockets: got all that udp delivered, and the copies of it',
    left: ['udp.delivered', 'group.copies'],
    right: ['socket.queued', 'socket.droppedFull', 'socket.droppedGone', 'group.filtered', 'netisr.droppedSocket'],
  },
  {
    name: 'udp sockets: queued = received + dropped when closed',
    left: ['socket.queued'],
    right: ['socket.received', 'socket.droppedClosed'],
    drained: true,
  },
  {
    name: 'tcp: received = to connections, embryos, TIME-WAITs, listeners and nobody + dropped',
    left: ['tcp.received'],
    right: ['tcp.toConnection', 'tcp.toEmbryo', 'tcp.toTimeWait', 'tcp.toListener', 'tcp.noPort', 'tcp.dropped*'],
  },
  {
    name: 'tcp sockets: got all that tcp delivered',
    left: ['tcp.delivered'],
    right: ['tcp socket.received', 'tcp socket.receiveDropped'],
  },
  { name: 'tcp: opened = closed', left: ['tcp.opened'], right: ['tcp.closed'], drained: true },

  // Local sockets.
  {
    name: 'local: submitted = sent + refused + waiting',
    left: ['local.submitted'],
    right: ['local.sent', 'local.droppedRefused', 'local.waiting'],
    each: 'cpu',
  },
  { name: 'local: sent = arrived', left: ['local.sent'], right: ['local.arrived'], unless: ['ring:length'] },
  {
    name: 'local: arrived and moved in = delivered + merged + moved out + dropped + queued',
    left: ['local.arrived', 'local.movedIn'],
    right: ['local.delivered', 'local.merged', 'local.movedOut', 'local.droppedClosed', 'local.queued'],
    each: 'cpu',
  },
  { name: 'local: moved out = moved in', left: ['local.movedOut'], right: ['local.movedIn'], unless: ['ring:length'] },
  {
    name: 'local: rights sent = taken + dropped + in messages',
    left: ['local.rightsSent'],
    right: ['local.rightsTaken', 'local.rightsDropped', 'local.rightsWaiting', 'local.rightsQueued'],
    unless: ['ring:length'],
  },
  { name: 'local: opened = closed', left: ['local.opened'], right: ['local.closed'], drained: true },

  // The network, downwards.
  {
    name: 'ip: sent what tcp, udp, icmp and igmp gave it, or tells why not',
    left: ['tcp.sent', 'udp.sent', 'icmp.echoRequests', 'icmp.sentRequests', 'icmp.sentErrors', 'group.sent'],
    right: [
      'ip.sent',
      'ip.sentDatagramsFragmented',
      'ip.sentInside',
      'ip.sendNoRoute',
      'ip.sendNoAddress',
      'ip.sendNoMbuf',
      'ip.sendTooLong',
      'ip.sendNotAllowed',
    ],
  },
  {
    name: 'ether: transmitted what ip and arp gave it, but for what arp holds',
    left: [
      'ip.sent',
      'ip.sentFragments',
      'arp.packetsReleased',
      'arp.requestsSent',
      'arp.probesSent',
      'arp.repliesSent',
    ],
    right: [
      'ether.transmitted',
      'ip.sentLocal',
      'ip.sentUnframed',
      'ip.sentNoMemory',
      'ether.noMemory',
      'arp.packetsHeld',
      'arp.packetsRefused',
      'netisr.droppedLink',
    ],
    unless: ['waiting:port messages'],
  },

  // Between CPUs.
  { name: 'host cache: news sent = received', left: ['hostcache.newsSent'], right: ['hostcache.newsReceived'] },
]

/** An identity that does not hold, and the numbers on both sides. */
export interface Imbalance {
  readonly name: string
  /** Which CPU, or which hand-off. */
  readonly place: string
  readonly left: number
  readonly right: number
}

/** Those of the identities that do not hold. `drained`: nothing is held by any program. */
export function imbalances(
  counts: Counts,
  drained: boolean,
  identities: readonly Identity[] = IDENTITIES,
): Imbalance[] {
  return identities.flatMap((identity) => {
    if (identity.drained === true && !drained) return []
    if (identity.unless?.some((term) => termOf(counts, term, counts.counters.keys()) !== 0) === true) return []
    return places(counts, identity.each ?? 'machine').flatMap(({ place, value }) => {
      const total = (terms: readonly string[]) => terms.reduce((all, term) => all + value(term), 0)
      if (identity.where?.every((term) => value(term) === 0) === true) return []
      const left = total(identity.left)
      const right = total(identity.right)
      return left === right ? [] : [{ name: identity.name, place, left, right }]
    })
  })
}

interface Place {
  readonly place: string
  readonly value: (term: string) => number
}

function places(counts: Counts, each: NonNullable<Identity['each']>): Place[] {
  if (each === 'machine') return [{ place: 'machine', value: (term) => termOf(counts, term, counts.counters.keys()) }]
  if (each === 'cpu') {
    return Array.from({ length: counts.cpus }, (_, cpu) => ({
      place: `cpu ${cpu}`,
      value: (term) => termOf(counts, term, [cpu]),
    }))
  }
  return counts.handoffs
    .filter(({ point }) => each.includes(point))
    .map((row) => ({ place: `${row.point} ${row.source} → ${row.target}`, value: (term) => fieldOf(row, term) }))
}

/** `depth#` is how many values a histogram has. */
function fieldOf(row: HandoffRow, field: string): number {
  const isTotal = field.endsWith('#')
  const value: unknown = row[(isTotal ? field.slice(0, -1) : field) as keyof HandoffRow]
  return isTotal ? (value as readonly number[]).reduce((all, count) => all + count, 0) : (value as number)
}

/** The sum over some CPUs. */
function termOf(counts: Counts, term: string, cpus: Iterable<number>): number {
  const [head, field] = term.split(':')
  let total = 0
  for (const cpu of cpus) {
    if (field === undefined) total += counterOf(counts.counters[cpu] ?? {}, term)
    else if (head === 'waiting') total += counts.waiting[cpu]?.[field] ?? 0
    else total += handoffOf(counts, head!, field, cpu)
  }
  return total
}

function counterOf(counters: { readonly [name: string]: number }, term: string): number {
  if (!term.endsWith('*')) return counters[term] ?? 0
  const prefix = term.slice(0, -1)
  return Object.entries(counters).reduce((all, [name, count]) => (name.startsWith(prefix) ? all + count : all), 0)
}

/** A field of a CPU's hand-offs, as their source where the term says so, else as their target. */
function handoffOf(counts: Counts, point: string, field: string, cpu: number): number {
  const [name, side = 'target'] = field.split('@')
  return counts.handoffs.reduce((all, row) => {
    const isMine = point === 'ports' ? isPort(row.point) : row.point === point
    return isMine && (side === 'source' ? row.source : row.target) === cpu ? all + fieldOf(row, name!) : all
  }, 0)
}
