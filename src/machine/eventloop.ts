// CPUs on an event loop: the caller's own CPU of a threads machine, and all CPUs of an inline machine. They run in
// slices between the loop's other work, and when there is nothing to do the loop is free until a doorbell or a timer.
import type { Clock } from '../base/clock.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { MachineStopping } from '../kernel/ipi.ts'

/** A slice ends after so long, so that timers, sockets and promises of the program get their turn. */
const SLICE_US = 2000

export class EventLoopDriver {
  readonly #cpus: readonly Cpu[]
  readonly #clock: Clock
  readonly #onFailure: (cpu: Cpu, error: unknown) => void
  #immediate: NodeJS.Immediate | undefined = undefined
  #timer: NodeJS.Timeout | undefined = undefined
  #sleepingSince: number | undefined = undefined
  #rung = false
  #ended = false

  constructor(cpus: readonly Cpu[], clock: Clock, onFailure: (cpu: Cpu, error: unknown) => void) {
    this.#cpus = cpus
    this.#clock = clock
    this.#onFailure = onFailure
  }

  /** There is work, or there may be. Cheap to call again and again. */
  schedule(rung = false): void {
    if (rung) this.#rung = true
    if (this.#ended || this.#immediate !== undefined) return
    this.#immediate = setImmediate(() => {
      this.#immediate = undefined
      this.#slice()
    })
  }

  end(): void {
    this.#ended = true
    clearImmediate(this.#immediate)
    clearTimeout(this.#timer)
  }

  #slice(): void {
    clearTimeout(this.#timer)
    this.#wake()
    const until = this.#clock.now() + SLICE_US
    let work: number
    do {
      work = 0
      for (const cpu of this.#cpus) {
        try {
          work += cpu.turn()
        } catch (error) {
          // Another CPU has stopped the machine while this one waited for it: the owner is told by that one.
          if (!(error instanceof MachineStopping)) this.#onFailure(cpu, error)
          return
        }
        // The machine was stopped from within the turn.
        if (this.#ended) return
      }
    } while (work > 0 && this.#clock.now() < until)
    if (work > 0 || !this.#sleep()) this.schedule()
  }

  #wake(): void {
    if (this.#sleepingSince === undefined) return
    const slept = this.#clock.now() - this.#sleepingSince
    this.#sleepingSince = undefined
    for (const cpu of this.#cpus) cpu.awake(this.#rung, slept)
    this.#rung = false
  }

  /** Announces the sleep of all CPUs here; false when one of them has work after all. */
  #sleep(): boolean {
    this.#sleepingSince = this.#clock.now()
    let nextUs = Number.POSITIVE_INFINITY
    for (const cpu of this.#cpus) {
      if (!cpu.announceSleep()) return false
      nextUs = Math.min(nextUs, cpu.timers.untilNext())
    }
    if (nextUs < Number.POSITIVE_INFINITY) {
      this.#timer = setTimeout(() => this.schedule(), Math.max(1, Math.ceil(nextUs / 1000)))
    }
    return true
  }
}
