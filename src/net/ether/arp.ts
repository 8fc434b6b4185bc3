// ARP (RFC 826, RFC 1122 2.3.2): link addresses of neighbours. The host's control CPU alone asks, answers and
// decides; every CPU has a replica to send by. A CPU that misses an address holds the packet and sends the control CPU a
// message; the answer goes to all replicas by message. Nobody waits for anybody (DragonFly's synchronous ARP chain
// once stalled a machine of 48 CPUs for 200 s).
//
//            resolve                  reply                     30 s                  used
//   none ─────────────► INCOMPLETE ──────────► REACHABLE ─────────────► STALE ─────────────► PROBE
//                           │ 3 requests                                  ▲  any ARP of it      │ 3 probes, none answered
//                           ▼                                             └─────────────────────┤
//                         none (what was held is dropped)                                       ▼ none
import { assert } from '../../base/assert.ts'
import { Errno } from '../../base/errno.ts'
import { type Address, u16, u32 } from '../../base/struct.ts'
import type { MbufCursor } from '../../device/mbuf.ts'
import { define } from '../../kernel/function.ts'
import { EASYNC, message } from '../../kernel/message.ts'
import type { PortId } from '../../kernel/port.ts'
import { Timer } from '../../kernel/timer.ts'
import { Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { ArpCounters } from '../counters.ts'
import type { Interface } from '../interface.ts'
import { isEtherMulticast } from './address.ts'
import { ArpDrop, ArpHeader, ArpOperation, arpHardwareEther, checkArpHeader } from './arp-header.ts'
import { EtherType } from './header.ts'
import type { EtherOutput } from './output.ts'

const C = ArpCounters.index
const AT = ArpHeader.offset

/**
 * Bounds and times; RFC 4861 10 has the times, which do for ARP as well.
 * @rfc-not 1122 2.3.2.1/configurable not done: an entry in use is confirmed before it goes, so that the time matters little
 */
export const ArpLimits = {
  /** Neighbours that a replica knows. The least recently used goes first. */
  entries: 512,
  /**
   * Packets held for an address that is being resolved: the fragments of one datagram of 64 KiB at an MTU of 1500. The
   * oldest is dropped first (@rfc 1122 2.3.2.2: at least one).
   */
  held: 48,
  /** Packets held by one CPU for all addresses, 2 MiB of them. What comes beyond is dropped. */
  heldInAll: 1024,
  /** @rfc 1122 2.3.2.1/flood */
  retransmitUs: 1_000_000,
  tries: 3,
  reachableUs: 30_000_000,
  /** No use for so long, and a stale entry goes. */
  staleUs: 600_000_000,
} as const

const State = { incomplete: 0, reachable: 1, stale: 2, probe: 3 } as const
type State = (typeof State)[keyof typeof State]

interface Entry {
  readonly iface: Interface
  /** The IPv4 address as a number: a key within this file, and nowhere else. */
  readonly key: number
  /** Where its record lies: the link address (6 bytes), the IPv4 address at 8, the timer at 16. */
  readonly bytes: Address
  state: State
  /** Packets that wait, first and last, linked through `link`. */
  firstHeld: Address
  lastHeld: Address
  held: number
  usedAt: number
  /** The control CPU was told that a stale entry is used. */
  asked: boolean
  /** When the control CPU was last asked for the address. */
  askedAt: number
  tries: number
}

/** Of an entry's record. The slab needs an object's first words while it is free. */
const RECORD_BYTES = 128
const RECORD = 16
const IP = 8
const TIMER = 16
assert((RECORD + TIMER) % 8 === 0 && RECORD + TIMER + Timer.size <= RECORD_BYTES, 'an entry has room for its timer')

/** Between a replica and the control CPU. */
const ArpMessage = message('arp', {
  operation: u16, //    48
  interfaceIndex: u16, // 50
  key: u32, //          52
  linkHigh: u16, //     56
  padding: u16,
  linkLow: u32, //      60
})
const Operation = { resolve: 1, confirm: 2, resolved: 3, failed: 4, stale: 5, suspect: 6 } as const

export class Arp {
  /** Set by stack.ts: there is nobody to give this packet to, whose data begins with the IP header. Does not own it. */
  onUnreachable: (packet: Address) => void = () => {}
  readonly #context: NetContext
  readonly #output: EtherOutput
  readonly #m: MbufCursor
  readonly #message
  readonly #count: Float64Array
  /** By interface and key. */
  readonly #entries: Map<number, Entry>[] = []
  /** By the address of their timers. */
  readonly #byTimer = new Map<Address, Entry>()
  #last: Entry | undefined
  #size = 0
  #heldInAll = 0
  readonly #ports: PortId[] = []
  #inputPort: PortId = 0

  constructor(context: NetContext, output: EtherOutput) {
    this.#context = context
    this.#output = output
    this.#m = context.mbuf()
    this.#message = ArpMessage.cursor(context.memory)
    this.#count = context.count(ArpCounters)
    context.cpu.ports.create({
      name: context.portName('arp', context.cpu.index),
      point: 'control',
      dispatch: 'deferred',
      handler: (m) => this.#onMessage(m),
    })
    if (context.isControl) {
      context.cpu.ports.create({
        name: context.portName('arp input', context.cpu.index),
        point: 'netisr',
        handler: (packet) => {
          this.#input(packet)
          return EASYNC
        },
      })
    }
    context.cpu.slot(ALL, () => [] as Arp[])[context.config.index] = this
    context.cpu.onStop(() => this.#end())
  }

  /** Entries of this replica. */
  get size(): number {
    return this.#size
  }

  /**
   * Where the 6 bytes of the link address of `nextHop` lie, to be used at once (@rfc 826 generation/known); or 0, and then the packet is held
   * here until it is known, or dropped and counted (@rfc 1122 2.4/unreachable 2.3.3/arp).
   *
   * @rfc 1122 3.3.1.4/forever 3.3.1.4/continuously 3.3.1.4/traffic 3.3.1.4/no-sign what is used is confirmed from time to time, unless the
   * neighbour has been heard.
   * @rfc-not 1122 3.3.1.4/no-sign by ARP that is: that TCP gets its acknowledgments through the neighbour does not count
   */
  resolve(iface: Interface, nextHop: Address, packet: Address): Address {
    const key = this.#context.view.getInt32(nextHop)
    let entry = this.#last
    if (entry === undefined || entry.key !== key || entry.iface !== iface) {
      entry = this.#find(iface, key)
      if (entry === undefined) {
        entry = this.#create(iface, key)
        if (entry === undefined) {
          this.#drop(packet, C.packetsRefused)
          return 0
        }
      }
      this.#last = entry
    }
    const { now } = this.#context.cpu
    entry.usedAt = now
    if (entry.state === State.incomplete) {
      if (this.#context.cpu.tracer.isSet) this.#context.cpu.tracer.held(packet)
      this.#hold(entry, packet)
      // Asked again after a while, for the question or its answer may have found no memory.
      if (now - entry.askedAt >= ArpLimits.retransmitUs * ArpLimits.tries) {
        entry.askedAt = now
        this.#ask(entry, Operation.resolve)
      }
      return 0
    }
    if (entry.state === State.stale && !entry.asked) {
      entry.asked = true
      this.#ask(entry, Operation.confirm)
    }
    return entry.bytes
  }

  /** A neighbour that is known may be gone: whoever sends to it gets no answer. @rfc 1122 3.3.1.4/failure 3.3.1.4/advice */
  suspect(iface: Interface, nextHop: Address): void {
    const entry = this.#find(iface, this.#context.view.getInt32(nextHop))
    if (entry !== undefined && entry.state !== State.incomplete) this.#ask(entry, Operation.suspect)
  }

  /** An ARP packet came; its data begins with the ARP header. The control CPU looks at it. */
  input(packet: Address): void {
    if (this.#context.isControl) this.#input(packet)
    else {
      this.#inputPort ||= this.#context.cpu.ports.lookup(this.#context.portName('arp input', this.#context.controlCpu))
      this.#context.mbufs.handOff(this.#inputPort, packet)
    }
  }

  #input(packet: Address): void {
    const { u8, view, mbufs } = this.#context
    const m = this.#m
    m.at = packet
    const arp = m.data
    this.#count[C.received]!++
    if (checkArpHeader(u8, arp, m.length) !== ArpDrop.none) return this.#drop(packet, C.droppedMalformed)
    const iface = this.#context.interfaces[m.interfaceIndex]!
    // Nobody is 0.0.0.0 (RFC 5227 probes are), a group, or ourselves.
    const sender = view.getInt32(arp + AT.senderProtocol)
    const isProbe = sender === 0
    if (isEtherMulticast(u8, arp + AT.senderHardware) || iface.has(u8, 4, arp + AT.senderProtocol)) {
      return this.#drop(packet, C.droppedSender)
    }
    const isRequest = view.getUint16(arp + AT.operation) === ArpOperation.request
    const forUs = iface.has(u8, 4, arp + AT.targetProtocol)
    if (!isProbe) this.#learn(iface, sender, arp + AT.senderHardware, isRequest && forUs, !isRequest)
    if (isRequest && forUs) {
      this.#count[C.requestsAnswered]!++
      this.#answer(iface, packet, arp)
    } else {
      if (isRequest || isProbe) this.#count[C.ignored]!++
      mbufs.free(packet)
    }
  }

  /**
   * What the sender of an ARP packet says about itself. @rfc 826 reception/merge reception/learn reception/others
   * @rfc-not 826 reception/merge not where it contradicts what we know of a neighbour lately heard: so neighbours are impersonated
   */
  #learn(iface: Interface, key: number, link: Address, wantsUs: boolean, isReply: boolean): void {
    const entry = this.#find(iface, key)
    if (entry === undefined) {
      if (isReply) this.#count[C.droppedUnsolicited]!++
      // Somebody asks for us: it will be sent to soon (RFC 826).
      else if (wantsUs) {
        // Not at the cost of somebody whom we know: it can ask again, and we can.
        const created = this.#size < ArpLimits.entries ? this.#create(iface, key) : undefined
        if (created !== undefined) this.#resolved(created, link)
      }
      return
    }
    const same = this.#sameLink(entry, link)
    // Whom we know and have not asked may not take another's place: that is how neighbours are impersonated.
    const asked = entry.state === State.incomplete || entry.state === State.probe
    if (same || asked || (entry.state === State.stale && !isReply)) {
      if (isReply) this.#count[C.repliesUsed]!++
      this.#resolved(entry, link)
    } else if (isReply) this.#count[C.droppedUnsolicited]!++
  }

  /** @rfc 826 reception/reply reception/reply-fields */
  #answer(iface: Interface, packet: Address, arp: Address): void {
    const { u8, view } = this.#context
    view.setUint16(arp + AT.operation, ArpOperation.reply)
    // The target it asked for becomes the sender; the sender becomes the target.
    for (let i = 0; i < 4; i++) {
      const asked = u8[arp + AT.targetProtocol + i]!
      u8[arp + AT.targetProtocol + i] = u8[arp + AT.senderProtocol + i]!
      u8[arp + AT.senderProtocol + i] = asked
    }
    u8.copyWithin(arp + AT.targetHardware, arp + AT.senderHardware, arp + AT.senderHardware + 6)
    u8.copyWithin(arp + AT.senderHardware, iface.linkAddress, iface.linkAddress + 6)
    this.#context.mbufs.trimTo(packet, ArpHeader.size)
    this.#m.at = packet
    this.#m.flags = 0
    this.#count[C.repliesSent]!++
    this.#output.frame(iface, packet, arp + AT.targetHardware, EtherType.arp)
  }

  /** The control CPU: the link address is known. All replicas are told. */
  #resolved(entry: Entry, link: Address): void {
    const { view } = this.#context
    this.#count[C.resolved]!++
    entry.tries = 0
    this.#use(entry, view.getUint16(link), view.getUint32(link + 2), State.reachable)
    this.#timer(entry, ArpLimits.reachableUs)
    this.#tellAll(entry, Operation.resolved)
  }

  /** A replica's entry has this link address now: what was held for it goes out. */
  #use(entry: Entry, high: number, low: number, state: State): void {
    const { view } = this.#context
    view.setUint16(entry.bytes, high)
    view.setUint32(entry.bytes + 2, low)
    entry.state = state
    entry.asked = false
    let packet = entry.firstHeld
    entry.firstHeld = 0
    entry.lastHeld = 0
    this.#heldInAll -= entry.held
    entry.held = 0
    while (packet !== 0) {
      this.#m.at = packet
      const next = this.#m.link
      this.#count[C.packetsReleased]!++
      this.#output.frame(entry.iface, packet, entry.bytes, EtherType.ipv4)
      packet = next
    }
  }

  /** The control CPU: an entry's time is over. @rfc 826 related/timeout, @rfc 1122 2.3.2.1/flush */
  #onTimer(entry: Entry): void {
    if (entry.state === State.reachable) {
      entry.state = State.stale
      this.#tellAll(entry, Operation.stale)
      this.#timer(entry, ArpLimits.staleUs)
    } else if (entry.state === State.stale) this.#fail(entry)
    else if (++entry.tries > ArpLimits.tries) {
      this.#count[C.failed]!++
      this.#fail(entry)
    } else this.#request(entry)
  }

  /**
   * Sends a request: to all while nothing is known, to the neighbour alone when it is only to be confirmed (RFC 1122 2.3.2.1).
   * @rfc 826 generation/ask generation/fields
   */
  #request(entry: Entry): void {
    const { mbufs, view, u8 } = this.#context
    this.#timer(entry, ArpLimits.retransmitUs)
    const source = entry.iface.sourceFor(u8, Family.inet, entry.bytes + IP)
    if (source === 0) return
    const packet = mbufs.allocate()
    if (packet === 0) return
    const arp = mbufs.prepend(packet, ArpHeader.size)
    view.setUint16(arp + AT.hardwareType, arpHardwareEther)
    view.setUint16(arp + AT.protocolType, EtherType.ipv4)
    u8[arp + AT.hardwareLength] = 6
    u8[arp + AT.protocolLength] = 4
    view.setUint16(arp + AT.operation, ArpOperation.request)
    u8.copyWithin(arp + AT.senderHardware, entry.iface.linkAddress, entry.iface.linkAddress + 6)
    u8.copyWithin(arp + AT.senderProtocol, source, source + 4)
    u8.fill(0, arp + AT.targetHardware, arp + AT.targetHardware + 6)
    view.setInt32(arp + AT.targetProtocol, entry.key)
    if (entry.state === State.probe) {
      this.#count[C.probesSent]!++
      this.#output.frame(entry.iface, packet, entry.bytes, EtherType.arp)
    } else {
      this.#count[C.requestsSent]!++
      this.#output.broadcast(entry.iface, packet, EtherType.arp)
    }
  }

  /** A replica tells the control CPU what it needs; the control CPU does it at once. */
  #ask(entry: Entry, operation: number): void {
    if (this.#context.isControl) this.#serve(entry, operation)
    else this.#send(this.#context.controlCpu, entry, operation)
  }

  /** The control CPU: an address is wanted, or a stale entry is used. */
  #serve(entry: Entry, operation: number): void {
    entry.usedAt = this.#context.cpu.now
    if (entry.state === State.incomplete) {
      if (entry.tries > 0) return
      entry.tries = 1
      this.#request(entry)
      return
    }
    if (operation === Operation.resolve) this.#tellAll(entry, Operation.resolved)
    // Whoever uses it, it has to be confirmed: the replicas learn how that ends.
    if (entry.state === State.stale || (operation === Operation.suspect && entry.state === State.reachable)) {
      entry.state = State.probe
      entry.tries = 1
      this.#request(entry)
    }
  }

  #onMessage(m: Address): number {
    const message = this.#message
    message.at = m
    const iface = this.#context.interfaces[message.interfaceIndex]
    if (iface === undefined) return Errno.ENXIO
    const { operation } = message
    const key = message.key | 0
    const { linkHigh, linkLow } = message
    const entry = this.#find(iface, key)
    if (operation === Operation.resolve || operation === Operation.confirm || operation === Operation.suspect) {
      const served = entry ?? this.#create(iface, key)
      if (served === undefined) return Errno.ENOMEM
      this.#serve(served, operation)
    } else if (operation === Operation.failed) {
      if (entry !== undefined) this.#giveUp(entry)
    } else {
      this.#count[C.updates]!++
      // Only who has asked keeps what it did not know; all take the change of what they know.
      if (entry !== undefined)
        this.#use(entry, linkHigh, linkLow, operation === Operation.stale ? State.stale : State.reachable)
    }
    return 0
  }

  #fail(entry: Entry): void {
    this.#giveUp(entry)
    this.#tellAll(entry, Operation.failed)
  }

  #tellAll(entry: Entry, operation: number): void {
    for (const cpu of this.#context.members) if (cpu !== this.#context.cpu.index) this.#send(cpu, entry, operation)
  }

  #send(cpu: number, entry: Entry, operation: number): void {
    const { view, cpu: own } = this.#context
    const m = own.ports.tryAllocate(ArpMessage)
    if (m === 0) return
    const message = this.#message
    message.at = m
    message.operation = operation
    message.interfaceIndex = entry.iface.index
    message.key = entry.key
    message.linkHigh = view.getUint16(entry.bytes)
    message.linkLow = view.getUint32(entry.bytes + 2)
    this.#ports[cpu] ||= own.ports.lookup(this.#context.portName('arp', cpu))
    own.ports.send(this.#ports[cpu], m)
  }

  #find(iface: Interface, key: number): Entry | undefined {
    return this.#entries[iface.index]?.get(key)
  }

  /** A new entry, or undefined when there is no memory. */
  #create(iface: Interface, key: number): Entry | undefined {
    if (this.#size >= ArpLimits.entries) this.#evict()
    const record = this.#context.cpu.slab.tryAllocate(RECORD_BYTES)
    if (record === 0) return undefined
    const bytes = record + RECORD
    this.#context.u8.fill(0, bytes, record + RECORD_BYTES)
    this.#context.view.setInt32(bytes + IP, key)
    const entry: Entry = {
      iface,
      key,
      bytes,
      state: State.incomplete,
      firstHeld: 0,
      lastHeld: 0,
      held: 0,
      usedAt: this.#context.cpu.now,
      asked: false,
      askedAt: Number.NEGATIVE_INFINITY,
      tries: 0,
    }
    this.#byTimer.set(bytes + TIMER, entry)
    this.#entries[iface.index] ??= new Map()
    this.#entries[iface.index]!.set(key, entry)
    this.#size++
    return entry
  }

  #evict(): void {
    let oldest: Entry | undefined
    for (const entries of this.#entries) {
      if (entries === undefined) continue
      for (const entry of entries.values()) {
        if (oldest === undefined || this.#goesBefore(entry, oldest)) oldest = entry
      }
    }
    if (oldest === undefined) return
    this.#count[C.evicted]!++
    // Here nobody is told: who sends is inside of a connection now, and may not be told of another one.
    if (this.#context.isControl) this.#tellAll(oldest, Operation.failed)
    this.#remove(oldest)
  }

  /** Who is known to be there stays as long as there are others: a flood of new names does not put the gateway out. */
  #goesBefore(entry: Entry, other: Entry): boolean {
    const known = (each: Entry) => each.state === State.reachable || each.state === State.probe
    return known(entry) === known(other) ? entry.usedAt < other.usedAt : known(other)
  }

  /** Nobody has answered: who has sent what waits here is told. */
  #giveUp(entry: Entry): void {
    for (let packet = entry.firstHeld; packet !== 0; packet = this.#m.link) {
      this.onUnreachable(packet)
      this.#m.at = packet
    }
    this.#remove(entry)
  }

  #remove(entry: Entry): void {
    this.#context.cpu.timers.cancel(entry.bytes + TIMER)
    this.#byTimer.delete(entry.bytes + TIMER)
    this.#entries[entry.iface.index]!.delete(entry.key)
    this.#size--
    if (this.#last === entry) this.#last = undefined
    while (entry.held > 0) this.#dropOldest(entry)
    this.#context.cpu.slab.free(entry.bytes - RECORD)
  }

  #hold(entry: Entry, given: Address): void {
    if (entry.held >= ArpLimits.held) this.#dropOldest(entry)
    if (this.#heldInAll >= ArpLimits.heldInAll) return this.#drop(given, C.packetsRefused)
    // It waits for longer than its sender need keep what it refers to.
    const packet = this.#context.mbufs.detach(given)
    if (packet === 0) {
      this.#count[C.packetsRefused]!++
      return
    }
    this.#heldInAll++
    const m = this.#m
    m.at = packet
    m.link = 0
    if (entry.lastHeld === 0) entry.firstHeld = packet
    else {
      m.at = entry.lastHeld
      m.link = packet
    }
    entry.lastHeld = packet
    entry.held++
    this.#count[C.packetsHeld]!++
  }

  #dropOldest(entry: Entry): void {
    const packet = entry.firstHeld
    this.#m.at = packet
    entry.firstHeld = this.#m.link
    if (entry.firstHeld === 0) entry.lastHeld = 0
    entry.held--
    this.#heldInAll--
    this.#drop(packet, C.packetsDropped)
  }

  #timer(entry: Entry, us: number): void {
    this.#context.cpu.timers.arm(entry.bytes + TIMER, us, EXPIRE, this.#context.config.index)
  }

  /** The time of an entry is over. */
  expire(timer: Address): void {
    const entry = this.#byTimer.get(timer)
    if (entry !== undefined) this.#onTimer(entry)
  }

  #sameLink(entry: Entry, link: Address): boolean {
    const { view } = this.#context
    return (
      view.getUint16(entry.bytes) === view.getUint16(link) &&
      view.getUint32(entry.bytes + 2) === view.getUint32(link + 2)
    )
  }

  #drop(packet: Address, counter: number): void {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
  }

  #end(): void {
    for (const entries of this.#entries) {
      if (entries === undefined) continue
      for (const entry of [...entries.values()]) this.#remove(entry)
    }
  }
}

const ALL = Symbol('arp')
const EXPIRE = define('arp.expire', (cpu, host, timer) => {
  cpu.slot(ALL, () => [] as Arp[])[host]?.expire(timer)
})
