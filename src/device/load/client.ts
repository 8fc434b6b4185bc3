// The clients of one load queue: what each connection is to send next (`make`), and what the host's packets say to it
// (`advance`). They do no more of TCP than a host on loss-free memory can ask for: nothing is sent twice but SYNs, and what
// does not move for a second is an error that is counted.
//
// A connection that has something to send is in the work queue, once; what it is stands in `due`. All numbers of the
// server's are cumulative, so that it does not matter by which queue, or in which order, they become known (cell.ts): the
// whole answer is there when the stream has reached `expected`, and the server's FIN is the one behind that.
import { assert } from '../../base/assert.ts'
import type { Address } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { LoadQueueCounters } from './counters.ts'
import { Fifo } from './fifo.ts'
import { Tcp, WINDOW_SCALE_SHIFT } from './header.ts'
import type { Homes } from './home.ts'
import type { Latency } from './latency.ts'
import type { Maker } from './maker.ts'
import { clientOf, firstPortOf } from './number.ts'
import type { LoadPlan } from './options.ts'
import { Flow, type LoadRegion } from './region.ts'
import type { Template, Templates } from './template.ts'

const FlowState = {
  closed: 0,
  synSent: 1,
  /** Refused, because nobody listens yet. */
  refused: 2,
  established: 3,
  /** The answer was whole, of a `short` connection: our FIN is due, or was sent. */
  closing: 4,
} as const

/** What a connection has to send, in this order; and where it is. */
const Due = { SYN: 1, ASK: 2, FIN: 4, ACK: 8, QUEUED: 16, PARKED: 32 } as const
const SENDS = Due.SYN | Due.ASK | Due.FIN | Due.ACK

const STATE = Flow.offset.state >> 2
const DUE = Flow.offset.due >> 2
const SND_NXT = Flow.offset.sndNxt >> 2
const SND_UNA = Flow.offset.sndUna >> 2
const RCV_NXT = Flow.offset.rcvNxt >> 2
const RCV_ACKED = Flow.offset.rcvAcked >> 2
const EXPECTED = Flow.offset.expected >> 2
const EDGE = Flow.offset.edge >> 2
const SHIFT = Flow.offset.shift >> 2
const PORT = Flow.offset.port >> 2
const HASH = Flow.offset.hash >> 2
const ASKED_AT = Flow.offset.askedAt >> 2
const PROGRESS_AT = Flow.offset.progressAt >> 2
const SEGMENTS = Flow.offset.segments >> 2
const CLIENT_SUM = Flow.offset.clientSum >> 2
const CLIENT = Flow.offset.client >> 2
const FLOW_WORDS_SHIFT = 4
const C = LoadQueueCounters.index

/** Questions of an open loop that wait for a connection. */
const WAITING_MAX = 65536
/** A second in which nothing moves, in ticks. */
const STALL_TICKS = 10_000_000
/** From one connection's sequence numbers to the next one's: what is late of the one means nothing to the other. */
const SEQUENCE_STEP = 65536
/** Packets by which those that go wrong may be ahead of their share, or behind it. */
const AHEAD = 32
/** A look at so many parts of the connections makes a look at all. */
const PARTS = 4

export class Clients {
  /** The connections at home here. */
  readonly mine: Int32Array
  /** The time of this turn: set before anything else is called in it. */
  tick = 0
  /** No new question is asked, and what is under way comes to its end. Only of closed loops. */
  resting = false
  /** Of the established workloads: connections that were opened, and those whose handshake is under way. */
  opened = 0
  opening = 0
  readonly #cpu: Cpu
  readonly #plan: LoadPlan
  readonly #words: Int32Array
  readonly #flows: number
  readonly #homes: Homes
  readonly #maker: Maker
  readonly #templates: Templates
  readonly #count: Float64Array
  readonly #latency: Latency
  readonly #isShort: boolean
  readonly #isExchange: boolean
  readonly #isBulkIn: boolean
  readonly #isOpenLoop: boolean
  /** Connections with something due, and those of them whose packets go wrong. */
  readonly #work: Fifo
  readonly #wrongWork: Fifo
  readonly #queue: number
  readonly #hasWrong: boolean
  /** The share of the connections here whose packets go wrong, and by how many packets they are ahead of it. */
  readonly #wrongShare: number
  #debt = 0
  #keepsShares = false
  /** Connections without a question: they wait for one (open loop), or rest (closed). */
  readonly #idle: Fifo
  /** When the questions came that wait for a connection. */
  readonly #waiting: Fifo
  #nextFlow = 0
  #part = 0

  constructor(
    cpu: Cpu,
    plan: LoadPlan,
    region: LoadRegion,
    queue: number,
    homes: Homes,
    maker: Maker,
    templates: Templates,
    count: Float64Array,
    latency: Latency,
  ) {
    this.#cpu = cpu
    this.#plan = plan
    this.#words = cpu.memory.i32
    this.#flows = region.flow(0) >> 2
    this.#homes = homes
    this.#maker = maker
    this.#templates = templates
    this.#count = count
    this.#latency = latency
    this.#isShort = plan.workload === 'short'
    this.#isExchange = plan.workload === 'exchange'
    this.#isBulkIn = plan.workload === 'bulk-in'
    this.#isOpenLoop = plan.offered > 0
    this.mine = Int32Array.from(homes.home.keys()).filter((number) => homes.home[number] === queue)
    this.#queue = queue
    this.#hasWrong = plan.wrong > 0
    const wrong = this.mine.filter((number) => this.#isWrong(number)).length
    this.#wrongShare = wrong / Math.max(this.mine.length, 1)
    this.#work = new Fifo(this.mine.length)
    this.#wrongWork = new Fifo(wrong)
    this.#idle = new Fifo(this.mine.length)
    this.#waiting = new Fifo(this.#isOpenLoop ? WAITING_MAX : 0)
    for (const number of this.mine) this.#prepare(number)
  }

  /** Connections with something to send; some of them may have to wait for others, see `next`. */
  get working(): number {
    return this.#work.length + this.#wrongWork.length
  }

  /** Whether `next` would give one. */
  get hasNext(): boolean {
    return this.#canRight || this.#canWrong
  }

  /**
   * The next connection with something to send, which is given back by `done`; or -1. Those whose packets go wrong are
   * answered later than the others, and would have less than their share of a closed loop: so neither kind gets ahead of
   * the other by more than a few packets.
   */
  next(): number {
    if (!this.#hasWrong) return this.#work.length > 0 ? this.#work.shift() : -1
    if (this.#canWrong && (this.#debt <= 0 || this.#work.length === 0)) return this.#wrongWork.shift()
    return this.#canRight ? this.#work.shift() : -1
  }

  /** A packet of this connection was put in: for the shares. */
  noteShare(number: number): void {
    this.#debt += (this.#isWrong(number) ? 1 : 0) - this.#wrongShare
  }

  /** What a connection has to send besides stands in the work queue again. */
  done(number: number): void {
    const words = this.#words
    const due = this.#flow(number) + DUE
    words[due]! &= ~Due.QUEUED
    if ((words[due]! & SENDS) !== 0) this.#schedule(number, 0)
  }

  /** The load begins: each connection asks its first question, or waits for one. */
  begin(): void {
    const { mine } = this
    this.#keepsShares = this.#hasWrong && !this.#isOpenLoop && !this.#plan.workload.startsWith('bulk')
    this.#debt = 0
    for (let i = 0; i < mine.length; i++) {
      if (this.#plan.workload === 'bulk-out') continue
      if (!this.#isOpenLoop) this.#schedule(mine[i]!, this.#first)
      else if (this.#plan.workload !== 'udp') this.#idle.push(mine[i]!)
    }
  }

  /** Opens a connection of an established workload. */
  open(number: number): void {
    this.opening++
    this.#schedule(number, Due.SYN)
  }

  /** What was parked in a rest goes on. */
  resume(): void {
    if (this.#isOpenLoop) return
    while (this.#idle.length > 0) {
      const number = this.#idle.shift()
      this.#words[this.#flow(number) + DUE]! &= ~Due.PARKED
      this.#schedule(number, this.#first)
    }
  }

  /** A question of an open loop came at `tick`: a connection that is free asks it, now or when there is one. */
  arrive(tick: number): void {
    if (this.#idle.length > 0) this.#ask(this.#idle.shift(), tick)
    else if (this.#waiting.isFull) this.#count[C.errorOverrun]!++
    else this.#waiting.push(tick)
  }

  /** The next packet of a connection that `next` gave, or 0 where there is none. */
  make(number: number): Address {
    const f = this.#flow(number)
    const due = this.#words[f + DUE]!
    if (this.resting && (due & this.#first) !== 0 && !this.#isOpenLoop) {
      if (!(due & Due.SYN) || this.#isShort) return this.#park(number, f, due)
    }
    if ((due & Due.SYN) !== 0) return this.#makeSyn(number, f)
    if ((due & Due.ASK) !== 0) {
      if (this.#isBulkIn) return this.#makeSegment(f)
      if (this.#isExchange || this.#isShort) return this.#makeQuestion(f)
      return this.#makeNextDatagram(f)
    }
    if ((due & Due.FIN) !== 0) return this.#makeFin(f)
    return (due & Due.ACK) === 0 ? 0 : this.#makeAcknowledgment(number, f)
  }

  /** The flow that has the next datagram of an open loop. Only where there are flows. */
  nextFlow(): number {
    const number = this.mine[this.#nextFlow]!
    this.#nextFlow = this.#nextFlow + 1 === this.mine.length ? 0 : this.#nextFlow + 1
    return number
  }

  /** A datagram that was asked at `tick`; 0: no mbuf. */
  datagram(number: number, tick: number): Address {
    return this.#makeDatagram(this.#flow(number), tick)
  }

  /** Datagrams of this flow were answered. */
  answered(number: number, count: number): void {
    const words = this.#words
    const f = this.#flow(number)
    if (((words[f + SND_NXT]! - words[f + SND_UNA]!) | 0) < count) {
      // What was given up comes after all.
      this.#count[C.errorUnexpected]! += count
      return
    }
    words[f + SND_UNA] = (words[f + SND_UNA]! + count) | 0
    words[f + PROGRESS_AT] = this.tick
    this.#count[C.exchanges]! += count
    this.#count[C.bytes]! += count * this.#plan.bytes
    if (!this.#isOpenLoop) this.#schedule(number, Due.ASK)
  }

  /**
   * What a packet of the server's says, or several of them together. `flags`: those of the header above the client's port;
   * `end`: the sequence number behind its last; `window`: as header.ts has it. `isForwarded`: it left by another queue,
   * where it was seen at `seenAt`.
   */
  advance(
    number: number,
    flags: number,
    acknowledged: number,
    end: number,
    window: number,
    segments: number,
    isForwarded: boolean,
    seenAt: number,
  ): void {
    const words = this.#words
    const f = this.#flow(number)
    const state = words[f + STATE]!
    if ((flags & 0xffff) !== words[f + PORT] || state < FlowState.synSent || state === FlowState.refused) {
      this.#count[C.errorUnexpected]!++
      return
    }
    if (((flags >>> 16) & Tcp.RST) !== 0) {
      this.#reset(number, f)
      return
    }
    if (((words[f + SND_NXT]! - acknowledged) | 0) < 0) {
      this.#count[C.errorUnexpected]!++
      return
    }
    if (((flags >>> 16) & Tcp.SYN) !== 0) {
      this.#synchronize(number, f, acknowledged, end, window)
      return
    }
    if (state === FlowState.synSent) {
      this.#count[C.errorUnexpected]!++
      return
    }
    // The numbers are taken over where they are news; `got` is how far the server's stream got on.
    const news = (acknowledged - words[f + SND_UNA]!) | 0
    const got = Math.max((end - words[f + RCV_NXT]!) | 0, 0)
    const edge = (acknowledged + ((window & 0xffff) << words[f + SHIFT]!)) | 0
    if (((edge - words[f + EDGE]!) | 0) > 0) words[f + EDGE] = edge
    if (news > 0) words[f + SND_UNA] = acknowledged
    if (got > 0) words[f + RCV_NXT] = end
    if (news > 0 || got > 0) words[f + PROGRESS_AT] = this.tick
    if (this.#isExchange) this.#onExchange(number, f, got, isForwarded, seenAt)
    else if (this.#isShort) this.#onShort(number, f, isForwarded, seenAt)
    else if (this.#isBulkIn) this.#onBulkIn(number, f, news, got)
    else this.#onBulkOut(number, f, got, segments, isForwarded)
  }

  /** Looks after a part of the connections: acknowledgments that were put off, and what does not move. */
  sweep(): void {
    const { mine } = this
    const { tick } = this
    for (let i = this.#part; i < mine.length; i += PARTS) this.#look(mine[i]!, tick)
    this.#part = (this.#part + 1) % PARTS
  }

  /** What a connection has to do first. */
  get #first(): number {
    return this.#isShort ? Due.SYN : Due.ASK
  }

  #prepare(number: number): void {
    const words = this.#words
    const f = this.#flow(number)
    const client = clientOf(this.#plan, number)
    words[f + CLIENT] = client
    words[f + CLIENT_SUM] = (client >>> 16) + (client & 0xffff)
    words[f + PORT] = firstPortOf(number)
    words[f + HASH] = this.#homes.hash[number]!
    words[f + SND_NXT] = this.#plan.workload === 'udp' ? 0 : this.#cpu.random.next() | 0
    words[f + SND_UNA] = words[f + SND_NXT]!
  }

  /** The record of a connection, as the number of its first word. */
  #flow(number: number): number {
    return this.#flows + (number << FLOW_WORDS_SHIFT)
  }

  #schedule(number: number, due: number): void {
    const words = this.#words
    const f = this.#flow(number)
    const before = words[f + DUE]!
    words[f + DUE] = before | due | Due.QUEUED
    if ((before & Due.QUEUED) !== 0) return
    if (this.#hasWrong && this.#isWrong(number)) this.#wrongWork.push(number)
    else this.#work.push(number)
  }

  #isWrong(number: number): boolean {
    return this.#homes.owner[number] !== this.#queue
  }

  get #canRight(): boolean {
    return this.#work.length > 0 && (!this.#keepsShares || this.resting || this.#debt > -AHEAD)
  }

  get #canWrong(): boolean {
    return this.#wrongWork.length > 0 && (!this.#keepsShares || this.resting || this.#debt < AHEAD)
  }

  /** A rest: the question is asked when it is over. */
  #park(number: number, f: number, due: number): Address {
    this.#words[f + DUE] = (due & ~this.#first) | Due.PARKED
    if ((due & Due.PARKED) === 0) this.#idle.push(number)
    return 0
  }

  #makeSyn(number: number, f: number): Address {
    const words = this.#words
    const isAgain = words[f + STATE] === FlowState.synSent
    if (!isAgain) {
      words[f + SND_UNA] = (words[f + SND_NXT]! + SEQUENCE_STEP) | 0
      words[f + SND_NXT] = words[f + SND_UNA]!
    }
    const sequence = words[f + SND_UNA]!
    const { syn } = this.#templates
    const packet =
      this.#isShort && !isAgain
        ? this.#maker.reopen(f << 2, syn, sequence, this.#homes.owner[number]!)
        : this.#maker.tcp(f << 2, syn, sequence, 0)
    if (packet === 0) return this.#noMbuf()
    if (!isAgain && this.#isShort && !this.#isOpenLoop) words[f + ASKED_AT] = this.tick
    words[f + STATE] = FlowState.synSent
    this.#sent(f, syn, Due.SYN)
    // Once more: the number is the same.
    words[f + SND_NXT] = (sequence + 1) | 0
    words[f + PROGRESS_AT] = this.tick
    return packet
  }

  #makeQuestion(f: number): Address {
    const words = this.#words
    const { data } = this.#templates
    const packet = this.#maker.tcp(f << 2, data, words[f + SND_NXT]!, words[f + RCV_NXT]!)
    if (packet === 0) return this.#noMbuf()
    const { tick } = this
    if (this.#isExchange && !this.#isOpenLoop) words[f + ASKED_AT] = tick
    words[f + PROGRESS_AT] = tick
    words[f + EXPECTED] = (words[f + RCV_NXT]! + this.#plan.answerBytes) | 0
    this.#sent(f, data, Due.ASK | Due.ACK)
    this.#count[C.asked]!++
    return packet
  }

  /** A segment of bulk, where the window permits. */
  #makeSegment(f: number): Address {
    const words = this.#words
    const { data } = this.#templates
    const { segmentBytes } = this.#plan
    if (this.#room(f) < segmentBytes) {
      words[f + DUE]! &= ~Due.ASK
      return 0
    }
    const packet = this.#maker.tcp(f << 2, data, words[f + SND_NXT]!, words[f + RCV_NXT]!)
    if (packet === 0) return this.#noMbuf()
    if (words[f + SND_NXT] === words[f + SND_UNA]) words[f + PROGRESS_AT] = this.tick
    this.#sent(f, data, Due.ACK)
    if (this.#room(f) < segmentBytes) words[f + DUE]! &= ~Due.ASK
    return packet
  }

  #makeNextDatagram(f: number): Address {
    const words = this.#words
    const underWay = (words[f + SND_NXT]! - words[f + SND_UNA]!) | 0
    // The last that is permitted now; or none is.
    if (underWay + 1 >= this.#plan.outstanding) words[f + DUE]! &= ~Due.ASK
    if (underWay >= this.#plan.outstanding) return 0
    const packet = this.#makeDatagram(f, this.tick)
    if (packet === 0) words[f + DUE]! |= Due.ASK
    return packet
  }

  #makeDatagram(f: number, tick: number): Address {
    const words = this.#words
    const packet = this.#maker.udp(f << 2, this.#templates.data, tick)
    if (packet === 0) return this.#noMbuf()
    if (words[f + SND_NXT] === words[f + SND_UNA]) words[f + PROGRESS_AT] = this.tick
    words[f + SND_NXT] = (words[f + SND_NXT]! + 1) | 0
    this.#count[C.asked]!++
    return packet
  }

  #makeFin(f: number): Address {
    const words = this.#words
    const { fin } = this.#templates
    const packet = this.#maker.tcp(f << 2, fin, words[f + SND_NXT]!, words[f + RCV_NXT]!)
    if (packet === 0) return this.#noMbuf()
    words[f + PROGRESS_AT] = this.tick
    this.#sent(f, fin, Due.FIN | Due.ACK)
    return packet
  }

  #makeAcknowledgment(number: number, f: number): Address {
    const words = this.#words
    const { acknowledgment } = this.#templates
    const packet = this.#maker.tcp(f << 2, acknowledgment, words[f + SND_NXT]!, words[f + RCV_NXT]!)
    if (packet === 0) return this.#noMbuf()
    this.#sent(f, acknowledgment, Due.ACK)
    this.#count[C.acknowledgments]!++
    // The last of a short connection may be it.
    if (words[f + STATE] === FlowState.closing) this.#perhapsClosed(number, f)
    return packet
  }

  #sent(f: number, template: Template, done: number): void {
    const words = this.#words
    words[f + SND_NXT] = (words[f + SND_NXT]! + template.sequences) | 0
    words[f + RCV_ACKED] = words[f + RCV_NXT]!
    words[f + SEGMENTS] = 0
    words[f + DUE]! &= ~done
  }

  #noMbuf(): Address {
    this.#count[C.errorNoMbuf]!++
    return 0
  }

  #room(f: number): number {
    return (this.#words[f + EDGE]! - this.#words[f + SND_NXT]!) | 0
  }

  /** The host's SYN, the first time or again. */
  #synchronize(number: number, f: number, acknowledged: number, end: number, window: number): void {
    const words = this.#words
    if (words[f + STATE] !== FlowState.synSent) {
      // It has not heard our acknowledgment.
      this.#schedule(number, Due.ACK)
      return
    }
    if (acknowledged !== words[f + SND_NXT]) {
      this.#count[C.errorUnexpected]!++
      return
    }
    const scale = window >>> WINDOW_SCALE_SHIFT
    words[f + STATE] = FlowState.established
    words[f + SND_UNA] = acknowledged
    words[f + RCV_NXT] = end
    words[f + EXPECTED] = end
    words[f + SHIFT] = scale === 0 ? 0 : scale - 1
    words[f + EDGE] = (acknowledged + (window & 0xffff)) | 0
    words[f + SEGMENTS] = 0
    words[f + PROGRESS_AT] = this.tick
    this.#count[C.connects]!++
    if (this.#isShort) {
      words[f + EXPECTED] = (end + this.#plan.answerBytes) | 0
      this.#schedule(number, Due.ASK)
      return
    }
    this.opening--
    this.opened++
    this.#count[C.open]!++
    this.#schedule(number, Due.ACK)
  }

  #onExchange(number: number, f: number, got: number, isForwarded: boolean, seenAt: number): void {
    if (got === 0) return
    const words = this.#words
    const reached = words[f + RCV_NXT]!
    const left = (words[f + EXPECTED]! - reached) | 0
    if (left > 0) return
    // More than was asked for, or without being asked.
    if (left < 0) {
      this.#count[C.errorUnexpected]!++
      words[f + EXPECTED] = reached
      this.#schedule(number, Due.ACK)
      if (left + got <= 0) return
    }
    this.#complete(f, isForwarded, seenAt)
    this.#askNext(number)
  }

  #onShort(number: number, f: number, isForwarded: boolean, seenAt: number): void {
    const words = this.#words
    const left = (words[f + EXPECTED]! - words[f + RCV_NXT]!) | 0
    if (left > 0) return
    // Its FIN is the one behind the answer.
    if (left < -1) this.#count[C.errorUnexpected]!++
    if (words[f + STATE] === FlowState.established) {
      words[f + STATE] = FlowState.closing
      this.#complete(f, isForwarded, seenAt)
      this.#schedule(number, Due.FIN)
    } else {
      if (words[f + RCV_ACKED] !== words[f + RCV_NXT]) this.#schedule(number, Due.ACK)
      this.#perhapsClosed(number, f)
    }
  }

  #onBulkIn(number: number, f: number, news: number, got: number): void {
    if (news > 0) this.#count[C.bytes]! += news
    if (got > 0) {
      this.#count[C.errorUnexpected]!++
      this.#schedule(number, Due.ACK)
    }
    if (this.#room(f) >= this.#plan.segmentBytes) this.#schedule(number, Due.ASK)
  }

  #onBulkOut(number: number, f: number, got: number, segments: number, isForwarded: boolean): void {
    const words = this.#words
    this.#count[C.bytes]! += got
    words[f + SEGMENTS]! += segments
    // An acknowledgment for each second segment (RFC 9293 3.8.6.3), and at once for one that comes again.
    const isRepeated = got === 0 && segments > 0 && !isForwarded
    if (isRepeated) this.#count[C.errorRepeated]!++
    if (words[f + SEGMENTS]! >= 2 || isRepeated) this.#schedule(number, Due.ACK)
  }

  /** An answer is whole. */
  #complete(f: number, isForwarded: boolean, seenAt: number): void {
    const askedAt = this.#words[f + ASKED_AT]!
    if (isForwarded) this.#latency.record(askedAt, seenAt)
    else this.#latency.seen(askedAt, this.tick)
    this.#count[C.exchanges]!++
    this.#count[C.bytes]! += this.#plan.answerBytes
  }

  /** A connection is free for its next question. */
  #askNext(number: number): void {
    if (!this.#isOpenLoop) this.#schedule(number, this.#first)
    else if (this.#waiting.length > 0) this.#ask(number, this.#waiting.shift())
    else this.#idle.push(number)
  }

  #ask(number: number, tick: number): void {
    this.#words[this.#flow(number) + ASKED_AT] = tick
    this.#schedule(number, this.#first)
  }

  /** Both FINs are acknowledged: the next connection. */
  #perhapsClosed(number: number, f: number): void {
    const words = this.#words
    if ((words[f + DUE]! & Due.FIN) !== 0 || words[f + SND_UNA] !== words[f + SND_NXT]) return
    const isEnded = ((words[f + RCV_NXT]! - words[f + EXPECTED]!) | 0) > 0
    if (!isEnded || words[f + RCV_ACKED] !== words[f + RCV_NXT]) return
    words[f + STATE] = FlowState.closed
    this.#count[C.closes]!++
    this.#askNext(number)
  }

  #reset(number: number, f: number): void {
    const words = this.#words
    words[f + DUE]! &= ~SENDS
    if (words[f + STATE] === FlowState.synSent) {
      this.#count[C.refused]!++
      words[f + STATE] = FlowState.refused
      return
    }
    this.#count[C.errorReset]!++
    words[f + STATE] = FlowState.closed
    if (this.#isShort) this.#askNext(number)
    else this.#count[C.open]!--
  }

  #look(number: number, tick: number): void {
    const words = this.#words
    const f = this.#flow(number)
    const state = words[f + STATE]!
    if (state === FlowState.refused) this.#schedule(number, Due.SYN)
    else if (state >= FlowState.established && words[f + RCV_ACKED] !== words[f + RCV_NXT]) {
      this.#schedule(number, Due.ACK)
    }
    if (((tick - words[f + PROGRESS_AT]!) | 0) > STALL_TICKS && this.#isUnderWay(f)) this.#stall(number, f, tick)
  }

  /** Whether the host owes something. */
  #isUnderWay(f: number): boolean {
    const words = this.#words
    const isUnacknowledged = words[f + SND_NXT] !== words[f + SND_UNA]
    if (this.#isShort) return words[f + STATE]! >= FlowState.established || isUnacknowledged
    return isUnacknowledged || (this.#isExchange && ((words[f + EXPECTED]! - words[f + RCV_NXT]!) | 0) > 0)
  }

  #stall(number: number, f: number, tick: number): void {
    const words = this.#words
    words[f + PROGRESS_AT] = tick
    if (this.#plan.workload === 'udp') {
      this.#count[C.errorLost]! += (words[f + SND_NXT]! - words[f + SND_UNA]!) | 0
      words[f + SND_UNA] = words[f + SND_NXT]!
      if (!this.#isOpenLoop) this.#schedule(number, Due.ASK)
      return
    }
    if (words[f + STATE] === FlowState.closed || words[f + STATE] === FlowState.refused) return
    this.#count[C.errorStalled]!++
    if (words[f + STATE] === FlowState.synSent) this.#schedule(number, Due.SYN)
    else if (this.#isShort) {
      words[f + STATE] = FlowState.closed
      words[f + DUE]! &= ~SENDS
      this.#askNext(number)
    }
  }
}

assert(Flow.size === 4 << FLOW_WORDS_SHIFT, 'a record is found by its number')
