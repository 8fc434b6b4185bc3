// What goes wrong with the CPUs of a simulated machine (sim.ts): they stand still, their timers and clocks are off, and their allocations
// find no memory. All by the machine's seed. The figures are looked at as the machine runs, so that a test may change them.
import type { Clock } from '../base/clock.ts'
import { Errno, KernelError } from '../base/errno.ts'
import type { Random } from '../base/random.ts'
import type { Slab } from '../kernel/slab.ts'

/** What is not given does not happen. */
export interface SimFaults {
  /** The chance of each turn that the CPU then stands still, as a process that was stopped, for up to `pauseUs`. */
  pause?: number
  /** Default 10 000. */
  pauseUs?: number
  /** A sleep that a timer is to end ends up to so much before that, with nothing to do, or after it. */
  timerUs?: number
  /** Each CPU's clock wanders up to so much before and behind the machine's. It never goes back. */
  clockUs?: number
  /** The chance that an allocation which may fail does (`tryAllocate`). */
  shortage?: number
}

export const PAUSE_US = 10_000
/** A clock goes there and back in so long at least: so slowly that it is never seen to stand still. */
const WANDER_US = 4_000_000

/**
 * @throws KernelError EINVAL for a figure that cannot be
 */
export function checkFaults({ pause, shortage, pauseUs, timerUs, clockUs }: SimFaults): void {
  for (const [name, value = 0] of Object.entries({ pause, shortage })) {
    if (!(value >= 0 && value <= 1)) refuse(`${name} is ${value}: give a probability, from 0 to 1`)
  }
  for (const [name, value = 0] of Object.entries({ pauseUs, timerUs, clockUs })) {
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) refuse(`${name} is ${value}: give microseconds, from 0`)
  }
}

function refuse(sentence: string): never {
  throw new KernelError(Errno.EINVAL, `simulated faults: ${sentence}`)
}

/** The clock of one CPU: it goes up and down about the machine's, in straight lines. */
export class WanderingClock implements Clock {
  readonly #machine: Clock
  readonly #faults: SimFaults
  readonly #periodUs: number
  readonly #phase: number
  #last = 0

  constructor(machine: Clock, faults: SimFaults, random: Random) {
    this.#machine = machine
    this.#faults = faults
    this.#periodUs = WANDER_US * (1 + random.real())
    this.#phase = random.real()
  }

  now(): number {
    const now = this.#machine.now()
    const { clockUs = 0 } = this.#faults
    const part = (now / this.#periodUs + this.#phase) % 1
    const height = part < 0.5 ? 4 * part - 1 : 3 - 4 * part
    this.#last = Math.max(this.#last, now + clockUs * height)
    return this.#last
  }
}

/** From now on allocations of this slab that may fail do so, by chance. */
export function runShort(slab: Slab, faults: SimFaults, random: Random): void {
  const allocate = slab.allocate.bind(slab)
  const tryAllocate = slab.tryAllocate.bind(slab)
  let isFirm = false
  slab.allocate = (bytes) => {
    isFirm = true
    try {
      return allocate(bytes)
    } finally {
      isFirm = false
    }
  }
  slab.tryAllocate = (bytes) => (!isFirm && random.chance(faults.shortage ?? 0) ? slab.refuse() : tryAllocate(bytes))
}
