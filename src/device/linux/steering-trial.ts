// Whether packets are steered (steering.ts): found by trying, as Linux's dynamic interrupt moderation finds its own settings (net_dim).
// It pays where this thread is what limits the traffic, and it costs a hand-over between processors where the peer is; which of the two
// it is depends on the traffic and on who else has work, and changes. So now and then the other way is tried for a moment, between two
// moments of the present one, and whichever moves more is kept.

/** Of what is compared: long enough for thousands of packets, short enough for a trial to cost little. */
const MOMENT_US = 50_000
/** What is under way when the way changes is nobody's. */
const SETTLE_US = 5_000
/** Between trials: longer after each that changed nothing. */
const HOLD_US_MIN = 100_000
const HOLD_US_MAX = 6_400_000
/** So much better must it be. */
const BETTER = 1.05
/** Traffic that has become so much more or less is another one: its trial is due at once, but for the least hold. */
const OTHER = 1.5
/** Less traffic than that, in packets and bytes as in `work`, is not worth a thought: 2000 small packets a second. */
const WORK_MIN = 100_000

const Phase = { holding: 0, before: 1, during: 2, after: 3 } as const
type Phase = (typeof Phase)[keyof typeof Phase]

/** What has been moved, as one number: a packet costs as much as a thousand bytes. */
export function work(packets: number, bytes: number): number {
  return packets * 1000 + bytes
}

export class SteeringTrial {
  #phase: Phase = Phase.holding
  /** The way that was found better until now. */
  #kept = false
  #from = 0
  #workFrom = 0
  #settled = false
  #until = 0
  #holdUs = HOLD_US_MIN
  #heldSince = 0
  /** What the last trial was about, in work per µs. */
  #heldRate = 0
  #before = 0
  #during = 0

  /**
   * @param now µs, never less than before
   * @param done of `work`, since the beginning
   * @returns whether to steer from now on
   */
  look(now: number, done: number): boolean {
    if (this.#phase === Phase.holding) {
      if (now >= this.#until || this.#isOther(now, done)) this.#begin(Phase.before, now, done)
    } else if (!this.#settled) {
      if (now >= this.#from + SETTLE_US) this.#measure(now, done)
    } else if (now >= this.#from + MOMENT_US) this.#end(now, done)
    return this.#phase === Phase.during ? !this.#kept : this.#kept
  }

  /** Looks at each moment of what is held. */
  #isOther(now: number, done: number): boolean {
    const us = now - this.#from
    if (us < MOMENT_US) return false
    const rate = (done - this.#workFrom) / us
    this.#measure(now, done)
    if (now < this.#heldSince + HOLD_US_MIN || rate * MOMENT_US < WORK_MIN) return false
    return areOther(rate, this.#heldRate)
  }

  #begin(phase: Phase, now: number, done: number): void {
    this.#phase = phase
    this.#from = now
    this.#settled = false
    // Nothing has changed before the first.
    if (phase === Phase.before) this.#measure(now, done)
  }

  #measure(now: number, done: number): void {
    this.#settled = true
    this.#from = now
    this.#workFrom = done
  }

  #end(now: number, done: number): void {
    const moved = done - this.#workFrom
    const rate = moved / (now - this.#from)
    if (moved < WORK_MIN) {
      this.#kept = false
      this.#hold(now, HOLD_US_MIN, rate)
    } else if (this.#phase === Phase.before) {
      this.#before = rate
      this.#begin(Phase.during, now, done)
    } else if (this.#phase === Phase.during) {
      this.#during = rate
      this.#begin(Phase.after, now, done)
    } else if (areOther(this.#before, rate)) {
      // It has changed meanwhile, by itself: nothing is known.
      this.#hold(now, HOLD_US_MIN, rate)
    } else if (this.#during > BETTER * 0.5 * (this.#before + rate)) {
      this.#kept = !this.#kept
      this.#hold(now, HOLD_US_MIN, this.#during)
    } else this.#hold(now, Math.min(this.#holdUs * 2, HOLD_US_MAX), rate)
    if (this.#phase === Phase.holding) this.#measure(now, done)
  }

  #hold(now: number, us: number, rate: number): void {
    this.#phase = Phase.holding
    this.#heldSince = now
    this.#heldRate = rate
    this.#holdUs = us
    this.#until = now + us
  }
}

function areOther(one: number, other: number): boolean {
  return one > other * OTHER || one * OTHER < other
}
