// The life of one packet: from its arrival through every hand-off to whatever it led to on this machine, the program that took it, what
// that wrote because of it, and the segment that left; or, of one that a program began, from that on. A tree of hops, read from outside
// while the machine runs: the records of all CPUs once, each put below the one that caused it. Nobody is stopped for that, so a hop may be
// missing that was made or written over meanwhile.
//
//     packet ── send netisr ── send rcv ── read ── send snd ─┬─ segment ── transmit ── packet at the other end
//                                                            └─ retransmit ── transmit
//
// It ends where a packet arrives elsewhere: what that leads to is that one's life.
import type { Memory } from '../memory.ts'
import type { ChainEnd } from './chain.ts'
import { ChainReader, type HopReading } from './reader.ts'
import { type TraceId, TraceRecord, TraceRings } from './record.ts'
import { HOP } from './tracer.ts'

export type LifeQuery =
  /** The packet that has this hop, as a capture names it. */
  { readonly id: TraceId } | LifeFilter

/** One whose life is complete: it was read by a program, or answered. */
export interface LifeFilter {
  /** Whose segments, datagrams or reads are in it. Default: any. */
  readonly protocol?: 'tcp' | 'udp' | undefined
  /** One of its ports, on either side. */
  readonly port?: number | undefined
  /** The first that came after this, by the machine's clock; default: the last one. What a program has answered goes before all else. */
  readonly sinceUs?: number | undefined
}

export interface LifeHop extends HopReading {
  /** Since the first hop, and since the one that led to it: so long it was at that one. */
  readonly sinceUs: number
  readonly afterUs: number
  /** How many branches lie between it and the first. */
  readonly branch: number
}

export interface Life {
  /** The hop that was asked for; else the first one. */
  readonly id: TraceId
  /** Each behind the one that led to it; of several that one led to, in the order of time. */
  readonly hops: readonly LifeHop[]
  /** Why nothing stands before the first: it is the origin or an arrival, it is no longer kept, or it would be too much. */
  readonly begins: ChainEnd
  /** There is more. */
  readonly isCut: boolean
}

/** Hops of a life. */
const HOPS_MAX = 256
/** Of those, hops from the first to the one that was asked for. */
const WAY_MAX = 64
/** Hops at which a life begins and ends, and those that tell whose it is. */
const { packet: PACKET, transmit: TRANSMIT, read: READ, accept: ACCEPT } = HOP
const OWNED: ReadonlySet<number> = new Set([HOP.segment, HOP.retransmit, HOP.datagram, READ, ACCEPT])
/** How much of a life there is: nothing, an answer of the stack's own, taken by a program, answered by one. */
const NOTHING = 0
const LEFT = 1
const TAKEN = 2
const ANSWERED = 3

const AT = TraceRecord.offset

/** Undefined: no packet is like that, among those whose records are kept. */
export function packetLife(memory: Memory, query: LifeQuery): Life | undefined {
  const records = new Records(memory)
  const at = 'id' in query ? records.slotOf(query.id) : records.find(query)
  return at < 0 ? undefined : new LifeReader(memory, records).life(at)
}

/** The records of all CPUs as they were when they were looked at, each at its place: a slot. */
class Records {
  readonly ids: Int32Array
  readonly #rings: TraceRings
  readonly #memory: Memory
  readonly #reader: ChainReader
  readonly #kinds: Uint16Array
  readonly #parents: Int32Array
  readonly #times: Float64Array
  /** 1 + the slot of the first that a record led to, and of the next one that the same record led to; 0: none. */
  readonly #first: Int32Array
  readonly #next: Int32Array

  constructor(memory: Memory) {
    const { layout, i32, u16, f64 } = memory
    const count = layout.cpus * layout.traceRecords
    this.#memory = memory
    this.#rings = new TraceRings(memory)
    this.#reader = new ChainReader(memory)
    this.ids = new Int32Array(count)
    this.#kinds = new Uint16Array(count)
    this.#parents = new Int32Array(count)
    this.#times = new Float64Array(count)
    this.#first = new Int32Array(count)
    this.#next = new Int32Array(count)
    for (let slot = 0; slot < count; slot++) {
      const place = layout.traces + slot * TraceRecord.size
      const sequence = Atomics.load(i32, place >> 2)
      if (sequence === 0) continue
      this.#kinds[slot] = u16[(place + AT.kind) >> 1]!
      this.#parents[slot] = i32[(place + AT.parent) >> 2]!
      this.#times[slot] = f64[(place + AT.time) >> 3]!
      // Not written over meanwhile.
      if (Atomics.load(i32, place >> 2) !== sequence) continue
      this.ids[slot] = this.#rings.id(Math.floor(slot / layout.traceRecords), sequence)
    }
    for (let slot = 0; slot < count; slot++) {
      const parent = this.ids[slot] === 0 ? -1 : this.slotOf(this.#parents[slot]!)
      if (parent < 0) continue
      this.#next[slot] = this.#first[parent]!
      this.#first[parent] = slot + 1
    }
  }

  /** Where a record is; -1 where it is not. */
  slotOf(id: TraceId): number {
    if (!(id > 0) || this.#rings.cpuOf(id) >= this.#memory.layout.cpus) return -1
    const slot = (this.#rings.place(id) - this.#memory.layout.traces) / TraceRecord.size
    return this.ids[slot] === id ? slot : -1
  }

  kind(slot: number): number {
    return this.#kinds[slot]!
  }

  time(slot: number): number {
    return this.#times[slot]!
  }

  parentId(slot: number): TraceId {
    return this.#parents[slot]!
  }

  /** What a record led to, in the order of time. */
  children(slot: number): number[] {
    const children: number[] = []
    for (let child = this.#first[slot]!; child !== 0; child = this.#next[child - 1]!) children.push(child - 1)
    return children.sort((a, b) => this.#times[a]! - this.#times[b]! || this.ids[a]! - this.ids[b]!)
  }

  /** The slot of the packet that a filter means; else, of what no packet has led to, the last hop; -1: there is none. */
  find(filter: LifeFilter): number {
    const { sinceUs } = filter
    const isNext = sinceUs !== undefined
    let best = -1
    let most = NOTHING
    for (let slot = 0; slot < this.ids.length; slot++) {
      if (this.ids[slot] === 0 || (isNext && this.#times[slot]! <= sinceUs)) continue
      const kind = this.#kinds[slot]
      if (kind !== PACKET && kind !== TRANSMIT) continue
      const isBetter =
        best < 0 || (isNext ? this.#times[slot]! < this.#times[best]! : this.#times[slot]! > this.#times[best]!)
      // As good as this only if it is better in time.
      const rest = kind === PACKET ? ANSWERED : LEFT
      if (rest < most || (rest === most && !isBetter)) continue
      const good = kind === PACKET ? this.#judge(slot, filter) : this.#judgeLeft(slot, filter)
      if (good > most || (good === most && good > NOTHING && isBetter)) {
        best = slot
        most = good
      }
    }
    return best
  }

  /** How much of a life there is behind an arrival; NOTHING as well where it is somebody else's. */
  #judge(arrival: number, filter: LifeFilter): number {
    let isMeant = filter.protocol === undefined && filter.port === undefined
    let good = NOTHING
    const left = [{ slot: arrival, isTaken: false }]
    for (let looked = 0; left.length > 0 && looked < HOPS_MAX; looked++) {
      const { slot, isTaken } = left.pop()!
      const kind = this.#kinds[slot]!
      if (kind === PACKET && slot !== arrival) continue
      const isHere = isTaken || kind === READ || kind === ACCEPT
      good = Math.max(good, kind === TRANSMIT ? (isTaken ? ANSWERED : LEFT) : isHere ? TAKEN : NOTHING)
      isMeant ||= OWNED.has(kind) && this.#isMeant(slot, filter)
      for (let child = this.#first[slot]!; child !== 0; child = this.#next[child - 1]!) {
        left.push({ slot: child - 1, isTaken: isHere })
      }
    }
    return isMeant ? good : NOTHING
  }

  /** Of what left without that a packet had led to it. */
  #judgeLeft(transmitted: number, filter: LifeFilter): number {
    let isMeant = filter.protocol === undefined && filter.port === undefined
    let slot = transmitted
    for (let way = 0; slot >= 0 && way < WAY_MAX; way++) {
      const kind = this.#kinds[slot]!
      if (kind === PACKET) return NOTHING
      isMeant ||= OWNED.has(kind) && this.#isMeant(slot, filter)
      slot = this.slotOf(this.#parents[slot]!)
    }
    return isMeant ? LEFT : NOTHING
  }

  #isMeant(slot: number, { protocol, port }: LifeFilter): boolean {
    const hop = this.#reader.hop(this.ids[slot]!)
    if (hop === undefined || (protocol !== undefined && hop.label !== protocol)) return false
    return port === undefined || hop.localPort === port || hop.remotePort === port
  }
}

/** Reads the hops of one life. */
class LifeReader {
  readonly #records: Records
  readonly #reader: ChainReader
  readonly #hops: LifeHop[] = []
  #isCut = false

  constructor(memory: Memory, records: Records) {
    this.#records = records
    this.#reader = new ChainReader(memory)
  }

  life(asked: number): Life | undefined {
    const { way, begins } = this.#wayTo(asked)
    const id = this.#records.ids[asked]!
    const beganUs = this.#records.time(way[0]!)
    for (const [i, slot] of way.slice(0, -1).entries()) this.#add(slot, way[i - 1] ?? slot, 0, beganUs)
    this.#grow(asked, way.at(-2) ?? asked, beganUs)
    const hops = this.#hops
    return hops.length === 0 ? undefined : { id, hops, begins, isCut: this.#isCut }
  }

  /** From the arrival, or the origin, to a hop. */
  #wayTo(asked: number): { way: number[]; begins: ChainEnd } {
    const records = this.#records
    const way = [asked]
    for (let slot = asked; records.kind(slot) !== PACKET; ) {
      const parent = records.parentId(slot)
      if (parent === 0) break
      if (way.length === WAY_MAX) return { way, begins: 'limit' }
      slot = records.slotOf(parent)
      if (slot < 0) return { way, begins: 'evicted' }
      way.unshift(slot)
    }
    return { way, begins: 'origin' }
  }

  /** A hop and all that it led to. */
  #grow(asked: number, before: number, beganUs: number): void {
    const records = this.#records
    const left = [{ slot: asked, parent: before, branch: 0 }]
    while (left.length > 0) {
      const { slot, parent, branch } = left.pop()!
      if (this.#hops.length === HOPS_MAX) {
        this.#isCut = true
        return
      }
      this.#add(slot, parent, branch, beganUs)
      if (records.kind(slot) === PACKET && slot !== asked) continue
      const children = records.children(slot)
      for (const child of children.reverse()) {
        left.push({ slot: child, parent: slot, branch: children.length > 1 ? branch + 1 : branch })
      }
    }
  }

  /** One that was written over meanwhile is left out. */
  #add(slot: number, parent: number, branch: number, beganUs: number): void {
    const records = this.#records
    const hop = this.#reader.hop(records.ids[slot]!)
    if (hop === undefined) return
    const { atUs } = hop
    this.#hops.push({ ...hop, sinceUs: atUs - beganUs, afterUs: Math.max(0, atUs - records.time(parent)), branch })
  }
}
