// A token bucket: how often something may happen, in the long run and at once. Time is from a Clock.
import type { Clock } from '../../base/clock.ts'

export class TokenBucket {
  readonly #clock: Clock
  readonly #perUs: number
  readonly #burst: number
  #tokens: number
  #filledUs: number

  /** @param burst how many at once: what it holds at first, and at most */
  constructor(clock: Clock, perSecond: number, burst: number) {
    this.#clock = clock
    this.#perUs = perSecond / 1e6
    this.#burst = burst
    this.#tokens = burst
    this.#filledUs = clock.now()
  }

  /** Whether there is one. */
  get isFilled(): boolean {
    const nowUs = this.#clock.now()
    this.#tokens = Math.min(this.#burst, this.#tokens + (nowUs - this.#filledUs) * this.#perUs)
    this.#filledUs = nowUs
    return this.#tokens >= 1
  }

  /** Takes one. To be asked first whether there is one. */
  take(): void {
    this.#tokens--
  }
}
