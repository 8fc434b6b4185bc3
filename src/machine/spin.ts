// How long a CPU looks for work before it goes to sleep. A wake-up costs its sender some 10 µs and comes tens of µs
// later, so a CPU whose sleeps turn out to be short should have looked a little longer, and one that sleeps long should
// not burn the processor before: the limit doubles after a short sleep, and halves after a long one.

/** A sleep is short when looking on would have cost no more than the wake-up did: twice its time, about. */
const SHORT_US = 150
const LONG_US = 2000
/** The least that is looked for, in turns without work: about 10 µs of a CPU without devices. */
const TURNS_MIN = 100

export class AdaptiveSpin {
  readonly #most: number
  readonly #least: number
  #limit: number
  #idle = 0

  /**
   * @param most turns without work that are allowed at most; 0 never looks, Infinity never sleeps
   * @param least those that are allowed however long the sleeps are
   */
  constructor(most: number, least: number = TURNS_MIN) {
    this.#most = most
    this.#least = Math.min(least, most)
    this.#limit = most
  }

  /** Turns without work after which the CPU sleeps now. */
  get limit(): number {
    return this.#limit
  }

  /** A turn is over. Returns whether the CPU should go to sleep. */
  afterTurn(work: number): boolean {
    if (work > 0) {
      this.#idle = 0
      return false
    }
    return ++this.#idle > this.#limit
  }

  /** The CPU has slept, or found at the last look that it must not: 0. */
  slept(us: number): void {
    this.#idle = 0
    if (us <= 0 || !Number.isFinite(this.#most)) return
    if (us < SHORT_US) this.#limit = Math.min(this.#most, Math.max(this.#limit, this.#least) * 2)
    else if (us > LONG_US) this.#limit = Math.max(this.#least, this.#limit >> 1)
  }
}
