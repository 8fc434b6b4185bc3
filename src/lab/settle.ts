// When something has warmed up: its code is optimized, its caches and windows are what they stay. That is seen by its rate,
// which rises until then; but not at once, for before the compiler has done anything it stays, too. So some work is asked for first.
import { median } from './statistics.ts'

/** How long the stretches of time are whose rates are compared: so many seconds, but of a short measurement only this share. */
const STRETCH = { seconds: 0.05, share: 0.25 } as const
/** So many are spent before a rate can have settled: until then hardly anything is optimized. */
const LEAST_STRETCHES = 8
/** So many are waited for at most: where others are at work on the machine, rates never are alike. */
const MOST_STRETCHES = 40

/** How a measurement of so many seconds warms up; all in seconds. */
export function warmUpOf(measuringSeconds: number): { stretch: number; least: number; most: number } {
  const stretch = Math.min(STRETCH.seconds, measuringSeconds * STRETCH.share)
  return { stretch, least: LEAST_STRETCHES * stretch, most: Math.max(MOST_STRETCHES * stretch, measuringSeconds) }
}

/** Rates that are compared with as many before them: the middle of three is not the one that something disturbed. */
const RATES = 3
/** Two middles that differ less are the same. */
const SHARE = 0.04

export class Settling {
  readonly #leastSeconds: number
  readonly #rates: number[] = []

  /** @param leastSeconds of the processors' time that must have been spent on it */
  constructor(leastSeconds: number) {
    this.#leastSeconds = leastSeconds
  }

  /**
   * The rate of one more stretch of time, as long as all others, and what was spent since the beginning. Returns whether it has
   * settled.
   */
  add(rate: number, spentSeconds: number): boolean {
    this.#rates.push(rate)
    if (this.#rates.length < 2 * RATES || spentSeconds < this.#leastSeconds) return false
    const before = median(this.#rates.slice(-2 * RATES, -RATES))
    const now = median(this.#rates.slice(-RATES))
    return now > 0 && Math.abs(now - before) <= SHARE * now
  }
}
