// Small machines for tests: in virtual time, or with turns that the test takes itself.
import { VirtualClock } from '../../base/clock.ts'
import { Random } from '../../base/random.ts'
import { type CounterReading, type CpuCounter, readCounters } from '../../kernel/counters.ts'
import { Cpu, type CpuOptions } from '../../kernel/cpu.ts'
import { ringDoorbell } from '../../kernel/ipi.ts'
import type { LayoutOptions } from '../../kernel/layout.ts'
import { Memory } from '../../kernel/memory.ts'
import type { Program, Thread } from '../../kernel/thread.ts'
import { type SimMachine, type SimOptions, simulate } from '../sim.ts'

const SMALL = 16 * 1024 * 1024

/** A simulated machine with the order checker on. */
export function simulated(cpus: number, seed: number, options: Partial<SimOptions> = {}): SimMachine {
  return simulate({ cpus, seed, memoryBytes: SMALL, checkOrder: true, ...options })
}

/** Starts a thread on `cpu`; what it throws ends the run. */
export function start(machine: { readonly cpus: readonly Cpu[] }, cpu: number, run: Program, priority = 1): Thread {
  return machine.cpus[cpu]!.threads.start(`test ${cpu}`, run, 0, priority)
}

/** Wakes a CPU that was given work from outside of its turns. */
export function nudge(machine: { readonly cpus: readonly Cpu[] }, index: number): void {
  const cpu = machine.cpus[index]!
  ringDoorbell(cpu, index, cpu.stateWord)
}

/** CPUs whose turns the test takes itself. A busy wait of one lets the others have theirs, unless they are on the stack. */
export class ByHand {
  readonly clock = new VirtualClock()
  readonly memory: Memory
  readonly cpus: readonly Cpu[]
  readonly #onStack = new Set<Cpu>()
  #relaxed = 0
  /** CPUs whose doorbell was rung, in order. */
  readonly rung: number[] = []
  /** What else a CPU does in a turn that it gets while another one waits. */
  alongside: (cpu: Cpu) => void = () => {}

  constructor(cpus: number, options: Partial<LayoutOptions & CpuOptions> = {}) {
    const all = { memoryBytes: SMALL, checkOrder: true, ...options, cpus }
    this.memory = Memory.create(all, false)
    const host = { ring: (target: number) => void this.rung.push(target), relax: (cpu: Cpu) => this.#relax(cpu) }
    const random = new Random(1)
    this.cpus = Array.from({ length: cpus }, (_, i) => new Cpu(i, this.memory, host, this.clock, random.fork(i), all))
  }

  /** A turn of one CPU, 1 µs after the last. */
  turn(index: number): number {
    const cpu = this.cpus[index]!
    this.clock.advanceTo(this.clock.now() + 1)
    this.#onStack.add(cpu)
    try {
      return cpu.turn()
    } finally {
      this.#onStack.delete(cpu)
    }
  }

  /** `run` as a part of a turn of this CPU. */
  as<T>(index: number, run: (cpu: Cpu) => T): T {
    const cpu = this.cpus[index]!
    this.#onStack.add(cpu)
    try {
      return run(cpu)
    } finally {
      this.#onStack.delete(cpu)
    }
  }

  /** Turns of all, until nobody does anything any more. */
  settle(): void {
    for (let quiet = 0; quiet < 2; quiet++) for (const cpu of this.cpus) if (this.turn(cpu.index) > 0) quiet = -1
  }

  #relax(waiting: Cpu): void {
    if (++this.#relaxed > 100_000) throw new Error(`cpu ${waiting.index} waits for what does not come`)
    for (const cpu of this.cpus) {
      if (cpu === waiting) continue
      if (this.#onStack.has(cpu)) cpu.ipi.drain()
      else {
        this.#onStack.add(cpu)
        this.alongside(cpu)
        this.#onStack.delete(cpu)
        this.turn(cpu.index)
      }
    }
  }
}

/** A count of the kernel, summed over all CPUs. */
export function sum(machine: { readonly memory: Memory }, counter: CpuCounter): number {
  return sumOf(machine, 'cpu', counter)
}

export function sumOf(machine: { readonly memory: Memory }, set: string, counter: string): number {
  const readings: CounterReading[] = readCounters(machine.memory)
  return readings.filter((reading) => reading.set === set).reduce((n, { values }) => n + values[counter]!, 0)
}
