// CPUs on an event loop: the caller's own CPU of a threads machine, and all CPUs of an inline machine. They run in
// slices between the loop's other work, and when there is nothing to do the loop is free until a doorbell or a timer; after it
// has looked some more for work, where that is likely to come soon (spin.ts).
//
// Programs of the event loop (src/node) are called by the slice as well, but between turns and never inside one: what they
// throw is an exception of the event loop, and no failure of a CPU.
import { availableParallelism } from 'node:os'
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { MachineStopping } from '../kernel/ipi.ts'
import { AdaptiveSpin } from './spin.ts'

/** A slice ends after so long, so that timers, sockets and promises of the program get their turn. */
const SLICE_US = 2000
/**
 * Slices without work, at most and at least, before the CPUs sleep. Each is a round of the event loop, which has its own work
 * done in between, and takes some 3 µs.
 */
const SPIN_SLICES = 64
const SPIN_SLICES_LEAST = 4

/** What keeps the event loop alive, or does not: a timer, the watch of a descriptor, a worker. */
export interface Referable {
  ref(): void
  unref(): void
}

export class EventLoopDriver {
  readonly #cpus: readonly Cpu[]
  readonly #clock: Clock
  readonly #onFailure: (cpu: Cpu, error: unknown) => void
  readonly #programs: (() => number)[] = []
  readonly #watches = new Set<Referable>()
  #immediate: NodeJS.Immediate | undefined = undefined
  #timer: NodeJS.Timeout | undefined = undefined
  #sleepingSince: number | undefined = undefined
  #rung = false
  #ended = false
  #referenced = true
  #inSlice = false
  #inTurn = false
  /** Work was announced in a slice, whose end looks for it. */
  #again = false
  #onSleep: () => void = () => {}
  readonly #spin: AdaptiveSpin

  /** @param threads those of the machine: where processors are fewer, a thread that looks for work would keep another from doing it */
  constructor(cpus: readonly Cpu[], clock: Clock, threads: number, onFailure: (cpu: Cpu, error: unknown) => void) {
    this.#cpus = cpus
    this.#clock = clock
    this.#onFailure = onFailure
    this.#spin = new AdaptiveSpin(threads <= availableParallelism() ? SPIN_SLICES : 0, SPIN_SLICES_LEAST)
    for (const cpu of cpus) cpu.slot(SLOT, () => this)
  }

  /** The driver of a CPU that is on an event loop. */
  static of(cpu: Cpu): EventLoopDriver | undefined {
    return cpu.slot<EventLoopDriver | undefined>(SLOT, () => undefined)
  }

  /** The machine has stopped. */
  get ended(): boolean {
    return this.#ended
  }

  /** There is work, or there may be. Cheap to call again and again. */
  schedule(rung = false): void {
    if (rung) this.#rung = true
    if (this.#inSlice) this.#again = true
    else if (!this.#ended) this.#immediate ??= setImmediate(this.#onImmediate)
  }

  /**
   * To be called before work is given to a CPU from the event loop: its time is now, and it is scheduled. Within a slice
   * there is nothing to do: its time is that of the last turn, and another turn follows.
   */
  enter(): void {
    if (this.#inSlice) {
      this.#again = true
      return
    }
    for (let i = 0; i < this.#cpus.length; i++) {
      const cpu = this.#cpus[i]!
      cpu.refresh()
      // What a program does of its own accord may begin a chain.
      if (cpu.tracer.isSet && cpu.tracer.current === 0) cpu.tracer.begin()
    }
    this.schedule()
  }

  /**
   * `run` is called after each turn, outside of it, and returns how much it did. The function that this gives ends that.
   */
  addProgram(run: () => number): () => void {
    this.#programs.push(run)
    return () => {
      const index = this.#programs.indexOf(run)
      if (index >= 0) this.#programs.splice(index, 1)
    }
  }

  /** `call` is called whenever the CPUs have announced that they sleep: somebody has to hear who wakes them. */
  whenAsleep(call: () => void): void {
    this.#onSleep = call
  }

  /**
   * Runs turns here and now, until `done` says so or `limitMs` are over: how a program waits for an answer of its own host
   * as for a system call. Not within a turn. Calls no programs. Returns what `done` said last.
   */
  wait(done: () => boolean, limitMs: number): boolean {
    assert(!this.#inTurn, 'who waits for a turn is not in one')
    const until = this.#clock.now() + limitMs * 1000
    while (!done() && !this.#ended) {
      this.#wake()
      const work = this.#turns()
      if (work === 0 && !done()) {
        if (this.#clock.now() > until) break
        // Another CPU has the answer, or the network; processors may be fewer than CPUs.
        for (const cpu of this.#cpus) cpu.host.relax(cpu)
      }
    }
    this.schedule()
    return done()
  }

  /** The machine's timers and the descriptors that it watches keep the event loop alive: so from the beginning. */
  ref(): void {
    this.#referenced = true
    this.#timer?.ref()
    for (const watch of this.#watches) watch.ref()
  }

  /** They do not: then a process with nothing else to do ends, whatever the machine waits for. What is under way is finished. */
  unref(): void {
    this.#referenced = false
    this.#timer?.unref()
    for (const watch of this.#watches) watch.unref()
  }

  /** Takes a watch in, to be referenced as the machine is. The function that this gives takes it out again. */
  addWatch(watch: Referable): () => void {
    this.#watches.add(watch)
    if (!this.#referenced) watch.unref()
    return () => void this.#watches.delete(watch)
  }

  end(): void {
    this.#ended = true
    clearImmediate(this.#immediate)
    clearTimeout(this.#timer)
  }

  readonly #onImmediate = (): void => {
    this.#immediate = undefined
    this.#slice()
  }

  #slice(): void {
    clearTimeout(this.#timer)
    this.#wake()
    this.#inSlice = true
    let work = 1
    try {
      work = this.#work()
    } finally {
      // Also when a program has thrown: the machine goes on, and so do the other programs.
      this.#inSlice = false
      if (!this.#ended && (!this.#spin.afterTurn(work) || !this.#sleep())) this.schedule()
    }
  }

  /** Turns and programs, until there is nothing to do or the slice is over. Returns whether something is left. */
  #work(): number {
    const until = this.#clock.now() + SLICE_US
    for (;;) {
      this.#again = false
      let work = this.#turns()
      for (let i = 0; i < this.#programs.length && !this.#ended; i++) work += this.#programs[i]!()
      if (this.#ended) return 0
      if (this.#again) work++
      if (work === 0 || this.#clock.now() >= until) return work
    }
  }

  /** A turn of each CPU; while one is held (cpusync), more of them: no program may call into a CPU that stands still. */
  #turns(): number {
    let work = this.#round()
    while (!this.#ended && this.#isHeld()) {
      // Who tells this event loop that another thread has stopped the machine is heard only when it is free.
      if (this.#cpus[0]!.stopping()) {
        this.#ended = true
        break
      }
      for (const cpu of this.#cpus) cpu.host.relax(cpu)
      work += this.#round()
    }
    return work
  }

  #isHeld(): boolean {
    for (let i = 0; i < this.#cpus.length; i++) if (this.#cpus[i]!.cpusync.held) return true
    return false
  }

  /** One turn of each CPU. */
  #round(): number {
    let work = 0
    for (const cpu of this.#cpus) {
      this.#inTurn = true
      try {
        work += cpu.turn()
      } catch (error) {
        // Another CPU has stopped the machine while this one waited for it: the owner is told by that one.
        if (!(error instanceof MachineStopping)) this.#onFailure(cpu, error)
        this.#ended = true
      } finally {
        this.#inTurn = false
      }
      // The machine was stopped, also from within the turn.
      if (this.#ended) return 0
    }
    return work
  }

  #wake(): void {
    if (this.#sleepingSince === undefined) return
    const slept = this.#clock.now() - this.#sleepingSince
    this.#spin.slept(slept)
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
      if (!this.#referenced) this.#timer.unref()
    }
    this.#onSleep()
    return true
  }
}

const SLOT = Symbol('event loop driver')
