// Latencies of a load queue, from a question put in to its answer seen, in ticks of 0.1 µs that go round after seven
// minutes. An answer is seen when it leaves the host, with the flush of the turn: one look at the clock for all of a turn.
import { bucketOf } from '../../base/histogram.ts'
import type { Address } from '../../base/struct.ts'

/** Answers of a turn that can wait for its flush; more are recorded with the time when the turn began. */
const WAITING = 1024

/** The time in ticks. */
export function tickOf(us: number): number {
  return (us * 10) | 0
}

export class Latency {
  readonly #f64: Float64Array
  readonly #histogram: number
  readonly #askedAt = new Int32Array(WAITING)
  #waiting = 0

  /** @param histogram where its 64 counts lie */
  constructor(f64: Float64Array, histogram: Address) {
    this.#f64 = f64
    this.#histogram = histogram >> 3
  }

  /** An answer leaves, to what was asked at `askedAt`. */
  seen(askedAt: number, tick: number): void {
    if (this.#waiting < WAITING) this.#askedAt[this.#waiting++] = askedAt
    else this.record(askedAt, tick)
  }

  flush(tick: number): void {
    for (let i = 0; i < this.#waiting; i++) this.record(this.#askedAt[i]!, tick)
    this.#waiting = 0
  }

  record(askedAt: number, tick: number): void {
    const ticks = (tick - askedAt) | 0
    // The clocks of two threads may differ a little.
    this.#f64[this.#histogram + bucketOf(ticks < 0 ? 0 : ticks)]!++
  }
}
