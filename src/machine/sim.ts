// The sim host: all CPUs in one thread, in virtual time. A seeded generator chooses which CPU takes the next turn, and
// stalls one now and then, so that every interleaving of turns has its chance; the same seed gives the same run.
import { assert } from '../base/assert.ts'
import { VirtualClock } from '../base/clock.ts'
import { Random, systemSeed } from '../base/random.ts'
import { Cpu } from '../kernel/cpu.ts'
import { MachineStopping } from '../kernel/ipi.ts'
import { MachineHeader } from '../kernel/layout.ts'
import { Ending } from './ending.ts'
import { CpuFailure } from './failure.ts'
import { createMemory, type Machine, MachineView } from './machine.ts'
import type { CpuProgram, MachineOptions } from './options.ts'
import { startProgram } from './program.ts'
import { put, Questions } from './question.ts'
import { checkFaults, PAUSE_US, runShort, type SimFaults, WanderingClock } from './simfault.ts'
import { serveOther, shown } from './tracing.ts'

export interface SimOptions extends MachineOptions {
  readonly program?: CpuProgram
  /** What a turn takes, in µs of virtual time. Default 1. */
  readonly turnUs?: number
  /** The chance of each turn that the CPU then stands still for up to 100 turns of the others, as one that the operating system has taken away. Default 0.01. */
  readonly stall?: number
  /** What goes wrong with the CPUs. Looked at as the machine runs: the owner of the object may change its figures. Default: nothing. */
  readonly faults?: SimFaults
}

/** A busy wait of so many looks is a livelock: only what IPIs do can end one here. */
const RELAX_MAX = 1_000_000

/** One that stands still is awake in the eyes of the others: nobody rings for it. */
const Awake = { yes: 0, no: 1, standsStill: 2 } as const

export class SimMachine extends MachineView implements Machine {
  readonly clock = new VirtualClock()
  readonly cpus: readonly Cpu[]
  readonly cpu: Cpu | undefined = undefined
  readonly seed: number
  readonly #random: Random
  readonly #turnUs: number
  readonly #stall: number
  /** CPUs that are awake, by index into `cpus`; which place a CPU has is part of the seeded run. */
  readonly #awake: number[] = []
  readonly #state: Uint8Array
  readonly #stalledUntil: Float64Array
  readonly #sleptAt: Float64Array
  /** When a sleeping CPU has to look after its timers, or one that stands still goes on; and the earliest of these times or one before it. */
  readonly #wakeAt: Float64Array
  /** By how much the end of a CPU's sleep is late. */
  readonly #late: Float64Array
  readonly #faults: SimFaults
  #earliest = Number.POSITIVE_INFINITY
  #steps = 0
  /** How often a CPU has looked around in the busy wait that it is in. */
  #relaxed = 0
  #hash = 0x811c9dc5
  #stopped = false
  readonly #ending = new Ending()
  readonly #questions = new Questions()

  constructor(options: SimOptions) {
    super(createMemory(options, false))
    this.seed = options.seed ?? systemSeed()
    this.#random = new Random(this.seed)
    this.#turnUs = options.turnUs ?? 1
    this.#stall = options.stall ?? 0.01
    const { cpus: count } = this.layout
    this.#state = new Uint8Array(count)
    this.#stalledUntil = new Float64Array(count)
    this.#sleptAt = new Float64Array(count)
    this.#wakeAt = new Float64Array(count).fill(Number.POSITIVE_INFINITY)
    this.#late = new Float64Array(count)
    const { faults } = options
    this.#faults = faults ?? {}
    checkFaults(this.#faults)
    const chance = this.#random.fork(count)
    // A caller that never looks at `done` gets the error from `run`.
    this.done.catch(() => {})
    const host = { ring: (target: number) => this.#wake(target, true), relax: (cpu: Cpu) => this.#relax(cpu) }
    this.cpus = Array.from({ length: count }, (_, i) => {
      const clock = faults === undefined ? this.clock : new WanderingClock(this.clock, faults, chance.fork(i))
      return shown(new Cpu(i, this.memory, host, clock, this.#random.fork(i), options), options)
    })
    for (const cpu of this.cpus) {
      if (faults !== undefined) runShort(cpu.slab, faults, chance.fork(count + cpu.index))
      this.#awake.push(cpu.index)
      if (options.program !== undefined) {
        this.#guard(cpu, () => startProgram(cpu, options.program!, options.data), 'while it started')
      }
    }
  }

  /** Turns taken so far. */
  get steps(): number {
    return this.#steps
  }

  /** A hash over all that happened: which CPU, when, how much it did. Two runs of one seed have the same. */
  get traceHash(): number {
    return this.#hash >>> 0
  }

  /**
   * Runs until `until` holds, the time `untilUs` is reached, or nothing is left that could happen.
   * Returns why it ended.
   * @throws CpuFailure when a CPU threw; Error after `maxSteps` turns (default 10 million), which is a livelock
   */
  run(options: { until?: () => boolean; untilUs?: number; maxSteps?: number } = {}): 'until' | 'time' | 'idle' {
    assert(!this.#stopped, 'a stopped machine does not run')
    const last = this.#steps + (options.maxSteps ?? 10_000_000)
    const untilUs = options.untilUs ?? Number.POSITIVE_INFINITY
    while (options.until === undefined || !options.until()) {
      if (this.#stopped) return 'idle'
      if (this.clock.now() >= untilUs) return 'time'
      if (this.#awake.length === 0) {
        if (!this.#skipTo(untilUs)) return this.clock.now() >= untilUs ? 'time' : 'idle'
        // A clock of a CPU's own may not be there yet.
        if (this.#awake.length === 0) continue
      }
      if (this.#steps >= last)
        throw new Error(`the simulation (seed ${this.seed}) has not ended after ${this.#steps} turns`)
      if (this.clock.now() >= this.#earliest) this.#wakeDue()
      this.#step()
    }
    return 'until'
  }

  get done(): Promise<void> {
    return this.#ending.done
  }

  get settled(): Promise<void> {
    return this.#ending.settled
  }

  ask(cpu: number, question: unknown): Promise<unknown> {
    return this.#questions.ask(question, (numbered) => {
      if (this.#stopped) return this.#questions.close()
      put(this.cpus[cpu]!, numbered, (answer) => this.#questions.answered(answer))
      this.#wake(cpu, true)
    })
  }

  /** Gives a CPU that sleeps a turn, as a timer would: for who has given it something to do from outside of its turns. */
  wake(cpu: number): void {
    this.#wake(cpu, false)
  }

  stop(): Promise<void> {
    if (this.#stopped) return this.done
    this.#stopped = true
    this.#questions.close()
    Atomics.store(this.memory.i32, (this.layout.header + MachineHeader.offset.stop) >> 2, 1)
    const failure = CpuFailure.ofShutdowns(this.cpus)
    if (failure === undefined) this.#ending.well()
    else this.#ending.badly(failure)
    return this.done
  }

  #step(): void {
    this.#steps++
    const place = this.#random.below(this.#awake.length)
    const index = this.#awake[place]!
    if (this.#stalledUntil[index]! > this.#steps && this.#awake.length > 1) return
    const cpu = this.cpus[index]!
    this.clock.advanceTo(this.clock.now() + this.#turnUs)
    this.#relaxed = 0
    const work = this.#guard(cpu, () => cpu.turn()) ?? 0
    this.#note(index, work)
    if (this.#stopped) return
    if (this.#random.chance(this.#stall)) this.#stalledUntil[index] = this.#steps + this.#random.below(100)
    const { pause = 0, pauseUs = PAUSE_US, timerUs = 0 } = this.#faults
    if (this.#random.chance(pause)) {
      this.#rest(place, Awake.standsStill, this.clock.now() + this.#random.real() * pauseUs)
    } else if (work === 0 && cpu.announceSleep()) {
      this.#late[index] = timerUs > 0 ? (2 * this.#random.real() - 1) * timerUs : 0
      this.#sleptAt[index] = this.clock.now()
      cpu.now = cpu.clock.now()
      const inUs = Math.max(0, cpu.timers.untilNext() + this.#late[index]!)
      this.#rest(place, Awake.no, this.clock.now() + inUs)
    }
  }

  /** The CPU at this place takes no turn until somebody rings for it, where it sleeps, or it is time. */
  #rest(place: number, state: number, untilUs: number): void {
    const index = this.#awake[place]!
    this.#state[index] = state
    this.#wakeAt[index] = untilUs
    this.#earliest = Math.min(this.#earliest, untilUs)
    this.#awake[place] = this.#awake[this.#awake.length - 1]!
    this.#awake.pop()
  }

  /** When a CPU that sleeps or stands still has its next turn, if nobody rings for it. */
  #goesOnAt(cpu: Cpu): number {
    if (this.#state[cpu.index] === Awake.standsStill || this.#late[cpu.index] !== 0) return this.#wakeAt[cpu.index]!
    // Its clock stands at its last turn: its timers are counted from now.
    cpu.now = cpu.clock.now()
    return this.clock.now() + cpu.timers.untilNext()
  }

  #guard<T>(cpu: Cpu, run: () => T, where?: string): T | undefined {
    try {
      return run()
    } catch (error) {
      if (error instanceof MachineStopping) return undefined
      const failure = where === undefined ? CpuFailure.of(cpu, error) : new CpuFailure(cpu.index, where, error)
      this.#ending.badly(failure)
      this.stop().catch(() => {})
      throw failure
    }
  }

  #note(index: number, work: number): void {
    for (const value of [index, work, this.clock.now()]) this.#hash = Math.imul(this.#hash ^ value, 0x01000193)
  }

  #wake(index: number, rung: boolean): void {
    const slept = this.#state[index] === Awake.no
    if (this.#state[index] === Awake.yes || (!slept && this.#wakeAt[index]! > this.clock.now())) return
    this.#state[index] = Awake.yes
    this.#wakeAt[index] = Number.POSITIVE_INFINITY
    if (slept) this.cpus[index]!.awake(rung, this.clock.now() - this.#sleptAt[index]!)
    this.#awake.push(index)
  }

  /** Others go on while these slept: their timers are due. */
  #wakeDue(): void {
    const now = this.clock.now()
    this.#earliest = Number.POSITIVE_INFINITY
    for (let index = 0; index < this.#wakeAt.length; index++) {
      if (this.#wakeAt[index]! <= now) this.#wake(index, false)
      this.#earliest = Math.min(this.#earliest, this.#wakeAt[index]!)
    }
  }

  /** All sleep: on to the next timer, but not beyond `untilUs`. */
  #skipTo(untilUs: number): boolean {
    let next = Number.POSITIVE_INFINITY
    for (const cpu of this.cpus) next = Math.min(next, this.#goesOnAt(cpu))
    if (next === Number.POSITIVE_INFINITY) {
      if (untilUs < Number.POSITIVE_INFINITY) this.clock.advanceTo(untilUs)
      return false
    }
    if (next > untilUs) {
      this.clock.advanceTo(untilUs)
      return false
    }
    this.clock.advanceTo(next)
    for (const cpu of this.cpus) if (this.#goesOnAt(cpu) - next < 0.001) this.#wake(cpu.index, false)
    return true
  }

  /** A CPU spins: one of the others serves its IPIs meanwhile, as it would on a processor of its own. */
  #relax(cpu: Cpu): void {
    if (++this.#relaxed > RELAX_MAX) {
      throw new Error(`in the simulation (seed ${this.seed}) cpu ${cpu.index} waits, busily, for what no IPI brings`)
    }
    this.clock.advanceTo(this.clock.now() + this.#turnUs)
    const other = this.cpus[this.#random.below(this.cpus.length)]!
    // One that sleeps has nothing to serve but passive IPIs, which must not set it to work in its sleep.
    const state = this.#state[other.index]
    const goesOn = state === Awake.standsStill && this.#wakeAt[other.index]! <= this.clock.now()
    if (other !== cpu && (state === Awake.yes || goesOn)) serveOther(cpu, other)
  }
}

/** Boots a simulated machine. Nothing runs until `run`. */
export function simulate(options: SimOptions): SimMachine {
  return new SimMachine(options)
}
