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
  return { monotonicUs: monotonicUs(), wallUs: wallClockUs() }
}

/** The wall clock, in µs since 1970: for what is told to others. */
export function wallClockUs(): number {
  return Date.now() * 1000
}

/**
 * The real clock of the calling thread. Each worker's `performance.now()` counts from its own start, so the distance to
 * CLOCK_MONOTONIC is taken once; a reading then costs 50 ns and no allocation (`hrtime.bigint()` would allocate).
 */
export function monotonicClock(since: Epoch): Clock {
  const offset = distance() - since.monotonicUs
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

/**
 * CLOCK_MONOTONIC less this thread's `performance.now()`, in µs: the narrowest of several readings. The first loads
 * what Node loads lazily, which took 4 ms once, and every CPU's clock would then have been another.
 */
function distance(): number {
  let narrowest = Number.POSITIVE_INFINITY
  let result = 0
  for (let i = 0; i < 8; i++) {
    const before = performance.now()
    const monotonic = monotonicUs()
    const after = performance.now()
    if (after - before >= narrowest) continue
    narrowest = after - before
    result = monotonic - ((before + after) / 2) * 1000
  }
  return result
}

function monotonicUs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1e6 + nanoseconds / 1e3
}
