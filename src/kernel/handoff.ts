// The measurement contract: what is counted wherever something waits for somebody else.
// A CPU keeps one record for each hand-off point and peer: as the producer it counts what it enqueued for the peer,
// as the consumer what it took of the peer's. Nobody else writes there, so no count needs an atomic.
import { assert } from '../base/assert.ts'
import { bucketOf, Histogram } from '../base/histogram.ts'
import { HANDOFF_POINTS, type HandoffPoint, HandoffRecord } from './layout.ts'
import type { Memory } from './memory.ts'

const AT = HandoffRecord.offset
// Constants of this module, because the compiler folds those (see port.ts).
const ENQUEUED = AT.enqueued >> 3
const DEQUEUED = AT.dequeued >> 3
const DEPTH = AT.depth >> 3
const TIME = AT.time >> 3
assert(AT.depth % 8 === 0 && HandoffRecord.size % 64 === 0, 'histograms lie on doubles, records on lines')

/** From here on tenths of a µs are no 31-bit number, and take the slower way. */
const LONG_US = 200_000_000

/** The number of a hand-off point. */
export const POINT = Object.fromEntries(HANDOFF_POINTS.map((name, i) => [name, i])) as { [K in HandoffPoint]: number }

/**
 * Where the producer itself enqueues in the consumer's memory, it counts that. At ports the consumer does: a message is
 * put into a port's queue by the port's own CPU, wherever it came from.
 */
const PRODUCER_COUNTS: readonly HandoffPoint[] = ['ring', 'rx', 'free', 'accept']

/** One CPU's hand-off records. Every method is a few adds: they are always on. */
export class Handoffs {
  readonly #f64: Float64Array
  readonly #base: number
  readonly #cpus: number

  constructor(memory: Memory, cpu: number) {
    this.#f64 = memory.f64
    this.#base = memory.layout.handoff(cpu, 0, 0)
    this.#cpus = memory.layout.cpus
  }

  /** Where the record of `point` with `peer` lies: kept by callers that count for one peer again and again. */
  record(point: number, peer: number): number {
    return this.#base + (point * this.#cpus + peer) * HandoffRecord.size
  }

  enqueued(record: number, count: number): void {
    this.#f64[(record >> 3) + ENQUEUED]! += count
  }

  /** The queue is `depth` deep: with the `count` things that were enqueued, or, where only the consumer sees it, as one service found it. */
  depth(record: number, depth: number, count = 1): void {
    this.#f64[(record >> 3) + DEPTH + bucketOf(depth)]! += count
  }

  /** `count` things were taken that had each waited `us`. Kept in tenths of a µs. */
  waited(record: number, us: number, count = 1): void {
    const tenths = us > 0 ? (us < LONG_US ? (us * 10) | 0 : Math.min(us * 10, 0xffffffff)) : 0
    this.#f64[(record >> 3) + TIME + bucketOf(tenths)]! += count
  }

  /** A service of the queue took `count`, and ended because it was empty, or because the limit was reached. */
  served(record: number, count: number, reachedLimit: boolean): void {
    this.#f64[(record >> 3) + DEQUEUED]! += count
    this.#f64[((record + AT.batch) >> 3) + bucketOf(count)]!++
    this.#f64[(record + (reachedLimit ? AT.endedLimit : AT.endedEmpty)) >> 3]!++
  }

  dropped(record: number): void {
    this.#f64[(record + AT.dropped) >> 3]!++
  }

  doorbell(record: number, rung: boolean): void {
    this.#f64[(record + (rung ? AT.rung : AT.avoided)) >> 3]!++
  }
}

/** A hand-off point between two CPUs, as read from outside: what the producer counted and what the consumer counted. */
export interface HandoffReading {
  readonly point: HandoffPoint
  readonly source: number
  readonly target: number
  readonly enqueued: number
  readonly dequeued: number
  readonly dropped: number
  readonly batches: number
  readonly endedEmpty: number
  readonly endedLimit: number
  readonly rung: number
  readonly avoided: number
  /** Depth that an enqueue found; at a ring, that a drain found. */
  readonly depth: Histogram
  /** Tenths of a µs, by the clocks of the two turns; at a ring, of the oldest entry of each drain. */
  readonly wait: Histogram
  readonly batch: Histogram
}

/** All hand-offs of a machine where anything was ever enqueued, dropped or taken; live. */
export function readHandoffs(memory: Memory): HandoffReading[] {
  const { layout } = memory
  const readings: HandoffReading[] = []
  HANDOFF_POINTS.forEach((point, p) => {
    for (let source = 0; source < layout.cpus; source++) {
      for (let target = 0; target < layout.cpus; target++) {
        // Most pairs of a large machine have nothing to do with each other: they cost three reads, and no histograms.
        if (isUsed(memory, point, p, source, target)) readings.push(readOne(memory, point, p, source, target))
      }
    }
  })
  return readings
}

function isUsed(memory: Memory, point: HandoffPoint, p: number, source: number, target: number): boolean {
  const consumer = memory.layout.handoff(target, p, source)
  const counting = PRODUCER_COUNTS.includes(point) ? memory.layout.handoff(source, p, target) : consumer
  const number = (record: number, offset: number) => memory.f64[(record + offset) >> 3]!
  return number(counting, AT.enqueued) + number(counting, AT.dropped) + number(consumer, AT.dequeued) > 0
}

function readOne(memory: Memory, point: HandoffPoint, p: number, source: number, target: number): HandoffReading {
  const producer = memory.layout.handoff(source, p, target)
  const consumer = memory.layout.handoff(target, p, source)
  const number = (record: number, offset: number) => memory.f64[(record + offset) >> 3]!
  const histogram = (offset: number) => {
    const h = new Histogram()
    h.add(memory.f64, (consumer + offset) >> 3)
    return h
  }
  const batch = histogram(AT.batch)
  const counting = PRODUCER_COUNTS.includes(point) ? producer : consumer
  return {
    point,
    source,
    target,
    enqueued: number(counting, AT.enqueued),
    dequeued: number(consumer, AT.dequeued),
    dropped: number(counting, AT.dropped),
    batches: batch.total,
    endedEmpty: number(consumer, AT.endedEmpty),
    endedLimit: number(consumer, AT.endedLimit),
    rung: number(producer, AT.rung),
    avoided: number(producer, AT.avoided),
    depth: histogram(AT.depth),
    wait: histogram(AT.time),
    batch,
  }
}
