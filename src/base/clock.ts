// Time. Everything that needs it asks a Clock, so that the simulator owns it.

/** Time is microseconds since the machine booted, as a double: monotonic, and the same on every CPU of the machine. */
export interface Clock {
  now(): number
}

/** Where a machine's time began: fixed once at boot, then handed to every CPU's clock. */
export interface Epoch {
  /** CLOCK_MONOTONIC at boot, in µs. */
  readonly monotonicUs: number
  /** The wall clock at boot, in µs since 1970: what a capture file's time stamps are counted from. */
  readonly wallUs: number
}

export function epoch(): Epoch {
  return { monotonicUs: monotonicUs(), wallUs: Date.now() * 1000 }
}

/**
 * The real clock of the calling thread. Each worker's `performance.now()` counts from its own start, so the distance to
 * CLOCK_MONOTONIC is taken once; a reading then costs 50 ns and no allocation (`hrtime.bigint()` would allocate).
 */
export function monotonicClock(since: Epoch): Clock {
  const offset = monotonicUs() - performance.now() * 1000 - since.monotonicUs
  return { now: () => performance.now() * 1000 + offset }
}

/** A clock that moves only when told to. */
export class VirtualClock implements Clock {
  #timeUs = 0

  now(): number {
    return this.#timeUs
  }

  /** Moves to `timeUs`; time never goes back. */
  advanceTo(timeUs: number): void {
    if (timeUs > this.#timeUs) this.#timeUs = timeUs
  }
}

function monotonicUs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e6 + nanoseconds / 1e3
}
