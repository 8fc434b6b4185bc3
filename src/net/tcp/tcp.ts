// What the parts of TCP share on one CPU of a host: cursors, lists of what is to be done at the end of the batch, and the fields of the
// segment that is being processed. Every part is a file of functions over `(t: Tcp, p: Pcb)`; `p` is `t.p`, the one cursor
// over PCBs, positioned at the connection.
//
// All of it runs inside the connection's group (group.ts): on its CPU, or with its lock. Input marks connections that have something to
// send or to tell; the roll-ups at the end of the batch do it, once for each connection:
//
//   device ──► input ──► input ──► …   │ tell the programs │ their calls │ output ──► flush
//              one segment each        │           at the end of the batch
// What the RFC leaves open, or asks of others than us:
// @rfc-not 9293 SHLD-13 SHLD-23 these are advice to programs
// @rfc-not 9293 MAY-4 IP identities are not repeated: RFC 6864 gives them no meaning where nothing is cut
// @rfc-not 9293 MAY-6 keep-alives carry no octet: SHLD-12
// @rfc-not 9293 MAY-9 not done: neither Node's interface nor ours has a place for it, and no program asks
// @rfc-not 9293 MAY-14 not done: what is to be thrown away is thrown away by a reset; no interface of today has this call
// @rfc-not 9293 MAY-15 nothing waits for a PUSH: what a program has written goes at the end of its turn, and the last segment has PSH
// @rfc-not 9293 MAY-17 nothing waits for a PSH: what came in order is given to the program at the end of the batch
// @rfc-not 9293 MUST-51 MUST-52 MUST-53 SHLD-24 source routes are refused by IP (RFC 7126 4.3)
// @rfc-not 9293 MAY-10 MAY-11 not done: RFC 7126 4.5 and 4.7 have routers drop what has these options of IP; they are passed over, and none is sent
import { assert } from '../../base/assert.ts'
import { Limits } from '../../base/limits.ts'
import type { Routines } from '../../base/routines.ts'
import type { Address } from '../../base/struct.ts'
import type { MbufCursor, Mbufs } from '../../device/mbuf.ts'
import type { TallyOf } from '../../kernel/counters.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { SharedTimers } from '../../kernel/shared-timer.ts'
import type { Slab } from '../../kernel/slab.ts'
import type { TimerSet } from '../../kernel/timer.ts'
import type { Marks, Tracer } from '../../kernel/trace/tracer.ts'
import type { NetContext } from '../context.ts'
import { TcpCounters, TcpTally } from '../counters.ts'
import type { HostCache } from '../hostcache/hostcache.ts'
import type { IpOutput } from '../ip/output.ts'
import { type CongestionControl, congestionControl } from './congestion/control.ts'
import { SynCookies } from './cookie.ts'
import { Groups } from './group.ts'
import { GroupRecord, type GroupSet } from './groupset.ts'
import { InitialSequence } from './isn.ts'
import { Listeners } from './listener.ts'
import { TcpOptions } from './options.ts'
import { Embryo, type Pcb, PcbFlag, TcpPcb, TcpTuple, TimeWait, type Tuple } from './pcb.ts'
import { Segment } from './segment.ts'
import { TcpTable } from './table.ts'

export class Tcp {
  readonly context: NetContext
  readonly cpu: Cpu
  readonly tracer: Tracer
  /** See `Tracer.watch`. */
  traceMarks: Marks = 0
  readonly words: Uint32Array
  readonly u8: Uint8Array
  readonly f64: Float64Array
  readonly view: DataView
  readonly routines: Routines
  readonly slab: Slab
  /** Those of the CPU; or, where any CPU may be inside a group, some that all CPUs share. */
  timers: TimerSet
  readonly groups: Groups
  readonly mbufs: Mbufs
  readonly ip: IpOutput
  readonly hostCache: HostCache
  readonly count: Float64Array
  readonly tally: TallyOf<typeof TcpTally>
  /** The host's index: what timers find this object by. */
  readonly host: number
  /** The connections of the group that this CPU is in. */
  readonly table: TcpTable
  readonly listeners: Listeners
  readonly options = new TcpOptions()
  readonly sequences: InitialSequence
  readonly cookies: SynCookies
  /** Cursors. No part keeps one of them positioned over a call into another, except `p` over the parts that are given it. */
  readonly m: MbufCursor
  readonly p: Pcb
  readonly s: ReturnType<(typeof Segment)['cursor']>
  readonly tuple: Tuple
  readonly embryo: ReturnType<(typeof Embryo)['cursor']>
  readonly timeWait: ReturnType<(typeof TimeWait)['cursor']>
  /** The time of this turn, µs. */
  now = 0
  /** All CPUs of the host have their part: from here on groups of others can be entered. */
  isAttached = false
  /** The segment that is being processed (RFC 9293 3.3.1, current segment variables). */
  packet: Address = 0
  seq = 0
  ack = 0
  bits = 0
  window = 0
  urgent = 0
  /** Bytes of payload, and whether the segment carries the peer's FIN: what is left of it after trimming. */
  bytes = 0
  fin = false
  /** The IP header said that congestion was experienced (RFC 3168). */
  congestion = false
  /** The acknowledgment reported a duplicate (RFC 2883). */
  duplicate = false
  /** The segment is a SYN that ends a TIME-WAIT: ours must then have a number behind `issAfter` (RFC 9293 3.6.1). */
  reopens = false
  issAfter = 0
  /** The round trip of the newest segment that the acknowledgment being processed has confirmed, µs; 0: none. */
  rttSampleUs = 0
  /** The acknowledgment being processed covers our FIN. */
  finAcknowledged = false
  /** Segments that it has made lost. */
  marked = 0
  /** SACK blocks of the segment that is being written. */
  readonly blocks = new Int32Array(8)
  /** What a connection that ends tells the host cache. */
  readonly metrics = { rttUs: 0, rttvarUs: 0, ssthreshBytes: 0, cwndBytes: 0 }
  /** What one group may have of each. */
  limits: { readonly connections: number; readonly embryos: number; readonly timeWaits: number }
  #sharedTimers: SharedTimers | undefined = undefined
  /** A segment was given to IP: set by those that do, asked by who then wants it flushed. */
  hasSent = false
  /** Another discipline is in use. */
  onUse: () => void = () => {}

  constructor(context: NetContext, ip: IpOutput, hostCache: HostCache) {
    const { cpu, memory } = context
    this.context = context
    this.cpu = cpu
    this.tracer = cpu.tracer
    this.tracer.watch((marks) => {
      this.traceMarks = marks
    })
    this.words = memory.u32
    this.u8 = memory.u8
    this.f64 = memory.f64
    this.view = memory.view
    this.routines = memory.routines
    this.slab = cpu.slab
    this.mbufs = context.mbufs
    this.ip = ip
    this.hostCache = hostCache
    this.count = context.count(TcpCounters)
    this.tally = context.tally(TcpTally)
    this.host = context.config.index
    this.groups = new Groups(context)
    this.groups.onEnter = () => {
      this.now = this.#time()
    }
    this.timers = this.groups.isLocked ? this.sharedTimers() : cpu.timers
    this.table = new TcpTable(context, this.groups)
    this.limits = limitsOf(context.config.cpus.length, this.groups.count)
    this.listeners = new Listeners(context)
    this.sequences = new InitialSequence(cpu.random, context.config.initialSequence)
    this.cookies = new SynCookies(cpu.random)
    this.m = context.mbuf()
    this.p = TcpPcb.cursor(memory)
    this.s = Segment.cursor(memory)
    this.tuple = TcpTuple.cursor(memory)
    this.embryo = Embryo.cursor(memory)
    this.timeWait = TimeWait.cursor(memory)
    all(cpu)[this.host] = this
  }

  /** Heads of the lists of the group: connections with something to send, */
  get outputFirst(): number {
    return this.words[(this.groups.current >> 2) + OUTPUT_FIRST]!
  }

  set outputFirst(value: number) {
    this.words[(this.groups.current >> 2) + OUTPUT_FIRST] = value
  }

  /** with something to tell, */
  get eventFirst(): number {
    return this.words[(this.groups.current >> 2) + EVENT_FIRST]!
  }

  set eventFirst(value: number) {
    this.words[(this.groups.current >> 2) + EVENT_FIRST] = value
  }

  /** those that are over, whose records are freed when no list has them any more, */
  get deadFirst(): number {
    return this.words[(this.groups.current >> 2) + DEAD_FIRST]!
  }

  set deadFirst(value: number) {
    this.words[(this.groups.current >> 2) + DEAD_FIRST] = value
  }

  /** and those that are over and still belong to a program. */
  get shellFirst(): number {
    return this.words[(this.groups.current >> 2) + SHELL_FIRST]!
  }

  set shellFirst(value: number) {
    this.words[(this.groups.current >> 2) + SHELL_FIRST] = value
  }

  /** Embryonic connections, */
  get embryos(): number {
    return this.words[(this.groups.current >> 2) + EMBRYOS]!
  }

  set embryos(value: number) {
    this.words[(this.groups.current >> 2) + EMBRYOS] = value
  }

  /** and those in TIME-WAIT. */
  get timeWaits(): number {
    return this.words[(this.groups.current >> 2) + TIME_WAITS]!
  }

  set timeWaits(value: number) {
    this.words[(this.groups.current >> 2) + TIME_WAITS] = value
  }

  get timeWaitOldest(): number {
    return this.words[(this.groups.current >> 2) + TIME_WAIT_OLDEST]!
  }

  set timeWaitOldest(value: number) {
    this.words[(this.groups.current >> 2) + TIME_WAIT_OLDEST] = value
  }

  get timeWaitNewest(): number {
    return this.words[(this.groups.current >> 2) + TIME_WAIT_NEWEST]!
  }

  set timeWaitNewest(value: number) {
    this.words[(this.groups.current >> 2) + TIME_WAIT_NEWEST] = value
  }

  get connections(): number {
    return this.words[(this.groups.current >> 2) + CONNECTIONS]!
  }

  set connections(value: number) {
    this.words[(this.groups.current >> 2) + CONNECTIONS] = value
  }

  /** All CPUs of the host have their part. */
  attach(): void {
    this.isAttached = true
    const secret = this.groups.directory.secret()
    this.sequences.share(secret)
    this.cookies.share(secret)
  }

  /** This CPU's part of the timers that all CPUs share, made when first wanted. They fire inside the group of their connection. */
  sharedTimers(): SharedTimers {
    this.#sharedTimers ??= SharedTimers.create(this.cpu, `${this.context.config.name}/tcp`, {
      tryEnter: (_cpu, _run, record) => this.groups.tryEnter(this.groupOf(record)),
      leave: () => this.groups.leave(),
    })
    return this.#sharedTimers
  }

  /**
   * From now on CPUs come to work on connections as `set` says, which has all of them already; what this CPU had of the set before is
   * freed. For change.ts, while all CPUs are held.
   */
  use(set: GroupSet, before: GroupSet): void {
    if (this.groups.set !== set) this.groups.use(set)
    this.table.close(before)
    before.free()
    this.limits = limitsOf(this.context.config.cpus.length, set.count)
    this.timers = set.isLocked ? this.sharedTimers() : this.cpu.timers
    this.#sharedTimers?.refresh()
    this.groups.touchHome()
    this.cpu.refresh()
    this.onUse()
  }

  /** To be called where code is entered: the time may have gone on. */
  enter(): void {
    this.cpu.refresh()
    this.now = this.#time()
  }

  /** The time of this CPU's turn; inside a group that others enter as well, never before what one of them has had. */
  #time(): number {
    const { now } = this.cpu
    if (!this.groups.isLocked || !this.groups.isInside) return now
    const at = (this.groups.current + G.now) >> 3
    const time = Math.max(now, this.f64[at]!)
    this.f64[at] = time
    return time
  }

  /** Something is to be told, sent or freed in the group that this CPU is in. */
  get hasWork(): boolean {
    return this.outputFirst !== 0 || this.eventFirst !== 0 || this.deadFirst !== 0
  }

  /** Runs `each` inside every group that is at home on this CPU. */
  forHome(each: () => void): void {
    for (const group of this.groups.home) {
      this.groups.enter(group)
      each()
      this.groups.leave()
    }
  }

  /** The group that a record of the table belongs to. */
  groupOf(record: Address): Address {
    return this.words[(record >> 2) + GROUP]!
  }

  /** Who works on a connection is inside its group. */
  assertInside(record: Address): void {
    assert(
      this.words[(record >> 2) + GROUP] === this.groups.current && this.groups.isInside,
      'a connection is touched inside its group',
    )
  }

  /** The connection has something to send, or may have: `output` looks at it at the end of the batch. */
  wantOutput(p: Pcb): void {
    if ((p.flags & PcbFlag.IN_OUTPUT) !== 0) return
    p.flags |= PcbFlag.IN_OUTPUT
    p.outputNext = this.outputFirst
    this.outputFirst = p.at
  }

  /** The program is to be told of `events` at the end of the batch. */
  tell(p: Pcb, events: number): void {
    p.events |= events
    if ((p.flags & PcbFlag.IN_EVENTS) !== 0) return
    p.flags |= PcbFlag.IN_EVENTS
    p.eventNext = this.eventFirst
    this.eventFirst = p.at
  }

  control(p: Pcb): CongestionControl {
    return congestionControl(p.congestionControl)
  }

  /** Our timestamp clock: milliseconds (@rfc 7323 5.4), from an offset of the connection's own (@rfc 7323 7.1). */
  timestamp(p: { readonly timestampOffset: number }): number {
    return (Math.floor(this.now / 1000) + p.timestampOffset) | 0
  }
}

/** The TCP that a record of the table belongs to: what a timer's function is given is only the record. */
export function tcpOf(cpu: Cpu, record: Address): Tcp {
  return all(cpu)[cpu.memory.u32[(record >> 2) + HOST]!]!
}

/** The hosts' TCPs on a CPU, by the host's index. */
function all(cpu: Cpu): Tcp[] {
  return cpu.slot(ALL, () => [])
}
const HOST = TcpTuple.offset.host >> 2
const GROUP = TcpTuple.offset.group >> 2
const G = GroupRecord.offset
const OUTPUT_FIRST = G.outputFirst >> 2
const EVENT_FIRST = G.eventFirst >> 2
const DEAD_FIRST = G.deadFirst >> 2
const SHELL_FIRST = G.shellFirst >> 2
const EMBRYOS = G.embryos >> 2
const TIME_WAITS = G.timeWaits >> 2
const TIME_WAIT_OLDEST = G.timeWaitOldest >> 2
const TIME_WAIT_NEWEST = G.timeWaitNewest >> 2
const CONNECTIONS = G.connections >> 2
/** The least that a group may have of anything. */
const SHARE_MIN = 16

/** What the limits of a CPU are for one of the groups. */
function limitsOf(cpus: number, groups: number): Tcp['limits'] {
  const share = (limit: number) => Math.max(Math.ceil((limit * cpus) / groups), SHARE_MIN)
  return {
    connections: share(Limits.tcpConnections),
    embryos: share(Limits.tcpEmbryos),
    timeWaits: share(Limits.tcpTimeWaits),
  }
}
const ALL = Symbol('tcp')
