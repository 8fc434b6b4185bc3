// A machine that runs, as its owner sees it; what the three hosts have in common.

import type { Clock } from '../base/clock.ts'
import { type CounterReading, type CounterSet, readCounters } from '../kernel/counters.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { type HandoffReading, readHandoffs } from '../kernel/handoff.ts'
import type { Layout } from '../kernel/layout.ts'
import { type LockReading, readLocks } from '../kernel/lock.ts'
import { Memory } from '../kernel/memory.ts'
import { setTraceMode } from '../kernel/trace/mode.ts'
import type { MachineOptions } from './options.ts'

export interface Machine {
  readonly memory: Memory
  /** The time that its CPUs go by. */
  readonly clock: Clock
  /** Where everything lies; prints itself. */
  readonly layout: Layout
  /** The CPU on the caller's own thread, where there is one. */
  readonly cpu: Cpu | undefined
  /** Settles when the machine has stopped: rejects with a CpuFailure when a CPU threw. */
  readonly done: Promise<void>
  /** Settles when the machine has stopped, well or not. */
  readonly settled: Promise<void>
  /** Stops all CPUs in order and frees all that the machine had. May be called again; rejects as `done` does. */
  stop(): Promise<void>
  /**
   * Asks a CPU's program, from a thread that need be no CPU, and waits for what it answers (`answerQuestions`). Rejects with what it
   * throws, EOPNOTSUPP where it answers nothing, ECANCELED when the machine stops.
   * @param question what can be cloned
   */
  ask(cpu: number, question: unknown): Promise<unknown>
  /** Every CPU's counters, live; or those of one set. */
  counters(only?: CounterSet<string>): CounterReading[]
  /** Every hand-off between two CPUs, live. */
  handoffs(): HandoffReading[]
  /** Every class of locks, live. */
  locks(): LockReading[]
}

/** The memory of a machine with these options. @throws KernelError EINVAL, ENOMEM */
export function createMemory(options: MachineOptions, shared: boolean): Memory {
  const memory = Memory.create(options, shared)
  setTraceMode(memory, options.trace ?? 'off')
  return memory
}

/** The part of a Machine that only reads its memory. */
export class MachineView {
  readonly memory: Memory

  constructor(memory: Memory) {
    this.memory = memory
  }

  get layout(): Layout {
    return this.memory.layout
  }

  counters(only?: CounterSet<string>): CounterReading[] {
    return readCounters(this.memory, only)
  }

  handoffs(): HandoffReading[] {
    return readHandoffs(this.memory)
  }

  locks(): LockReading[] {
    return readLocks(this.memory)
  }
}
