// When the questions of an open loop come: at random times, independent of each other (a Poisson process), as those of many
// clients do who know nothing of each other.
import type { Random } from '../../base/random.ts'

export class Arrivals {
  readonly #random: Random
  readonly #meanUs: number
  #nextUs = Number.POSITIVE_INFINITY

  constructor(random: Random, perSecond: number) {
    this.#random = random
    this.#meanUs = 1e6 / perSecond
  }

  /** When the next one comes. Never before `begin`. */
  get nextUs(): number {
    return this.#nextUs
  }

  begin(nowUs: number): void {
    this.#nextUs = nowUs
    this.advance()
  }

  end(): void {
    this.#nextUs = Number.POSITIVE_INFINITY
  }

  /** On to the one behind the next. */
  advance(): void {
    // 1 - real() is never 0.
    this.#nextUs -= Math.log(1 - this.#random.real()) * this.#meanUs
  }
}
