// What the parts of TCP share on one CPU of a host: cursors, lists of what is to be done at the end of the batch, and the fields of the
// segment that is being processed. Every part is a file of functions over `(t: Tcp, p: Pcb)`; `p` is `t.p`, the one cursor
// over PCBs, positioned at the connection.
//
// All of it runs inside the connection's group: on its CPU, without a lock. Input marks connections that have something to
// send or to tell; the roll-ups at the end of the batch do it, once for each connection:
//
//   device ──► input ──► input ──► …   │ tell the programs │ their calls │ output ──► flush
//              one segment each        │           at the end of the batch
// What the RFC leaves open, or asks of others than us:
// @rfc-not 9293 SHLD-13 SHLD-23 these are advice to programs
// @rfc-not 9293 MAY-4 IP identities are not repeated: RFC 6864 gives them no meaning where nothing is cut
// @rfc-not 9293 MAY-6 keep-alives carry no octet: SHLD-12
// @rfc-not 9293 MAY-9 MAY-14 MAY-15 MAY-17 not done: no program of this interface asks for them
// @rfc-not 9293 MUST-51 MUST-52 MUST-53 SHLD-24 source routes are refused by IP (RFC 7126 4.3)
// @rfc-not 9293 MAY-10 MAY-11 not done: timestamp and record route options of IP are passed over, and none is sent
import type { Routines } from '../../base/routines.ts'
import type { Address } from '../../base/struct.ts'
import type { MbufCursor, Mbufs } from '../../device/mbuf.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import type { Slab } from '../../kernel/slab.ts'
import type { Timers } from '../../kernel/timer.ts'
import type { NetContext } from '../context.ts'
import { TcpCounters } from '../counters.ts'
import type { HostCache } from '../hostcache/hostcache.ts'
import type { IpOutput } from '../ip/output.ts'
import { type CongestionControl, congestionControl } from './congestion/control.ts'
import { SynCookies } from './cookie.ts'
import { InitialSequence } from './isn.ts'
import { Listeners } from './listener.ts'
import { TcpOptions } from './options.ts'
import { Embryo, type Pcb, PcbFlag, TcpPcb, TcpTuple, TimeWait, type Tuple } from './pcb.ts'
import { Segment } from './segment.ts'
import { TcpTable } from './table.ts'

export class Tcp {
  readonly context: NetContext
  readonly cpu: Cpu
  readonly words: Uint32Array
  readonly u8: Uint8Array
  readonly view: DataView
  readonly routines: Routines
  readonly slab: Slab
  readonly timers: Timers
  readonly mbufs: Mbufs
  readonly ip: IpOutput
  readonly hostCache: HostCache
  readonly count: Float64Array
  /** The host's index: what timers find this object by. */
  readonly host: number
  /** The connections of the group. */
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
  /** Heads of the lists of connections with something to send, and with something to tell. */
  outputFirst: Address = 0
  eventFirst: Address = 0
  /** Embryonic connections, and those in TIME-WAIT. */
  embryos = 0
  timeWaits = 0
  timeWaitOldest: Address = 0
  timeWaitNewest: Address = 0
  connections = 0
  /** The round trip of the newest segment that the acknowledgment being processed has confirmed, µs; 0: none. */
  rttSampleUs = 0
  /** The acknowledgment being processed covers our FIN. */
  finAcknowledged = false
  /** Segments that it has made lost. */
  marked = 0
  /** SACK blocks of the segment that is being written. */
  readonly blocks = new Int32Array(8)
  /** Connections that are over: their records are freed when no list has them any more. */
  deadFirst: Address = 0
  /** What a connection that ends tells the host cache. */
  readonly metrics = { rttUs: 0, rttvarUs: 0, ssthreshBytes: 0, cwndBytes: 0 }
  /** Connections that are over and still belong to a program. */
  readonly shells = new Set<Address>()

  constructor(context: NetContext, ip: IpOutput, hostCache: HostCache) {
    const { cpu, memory } = context
    this.context = context
    this.cpu = cpu
    this.words = memory.u32
    this.u8 = memory.u8
    this.view = memory.view
    this.routines = memory.routines
    this.slab = cpu.slab
    this.timers = cpu.timers
    this.mbufs = context.mbufs
    this.ip = ip
    this.hostCache = hostCache
    this.count = context.count(TcpCounters)
    this.host = context.config.index
    this.table = new TcpTable(context)
    this.listeners = new Listeners(context)
    this.sequences = new InitialSequence(cpu.random)
    this.cookies = new SynCookies(cpu.random)
    this.m = context.mbuf()
    this.p = TcpPcb.cursor(memory)
    this.s = Segment.cursor(memory)
    this.tuple = TcpTuple.cursor(memory)
    this.embryo = Embryo.cursor(memory)
    this.timeWait = TimeWait.cursor(memory)
    all(cpu)[this.host] = this
  }

  /** To be called where code is entered: the time may have gone on. */
  enter(): void {
    this.cpu.refresh()
    this.now = this.cpu.now
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

  /** Our timestamp clock: milliseconds (RFC 7323 5.4), from an offset of the connection's own. */
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
const ALL = Symbol('tcp')
