// The inline host: all CPUs on the caller's event loop, in memory that is not shared. For small programs, and for
// places without worker threads.
import { type Clock, epoch, monotonicClock } from '../base/clock.ts'
import { randomOf } from '../base/random.ts'
import { Cpu } from '../kernel/cpu.ts'
import { MachineHeader } from '../kernel/layout.ts'
import { Ending } from './ending.ts'
import { EventLoopDriver } from './eventloop.ts'
import { CpuFailure } from './failure.ts'
import { createMemory, type Machine, MachineView } from './machine.ts'
import type { CpuProgram, MachineOptions } from './options.ts'
import { startProgram } from './program.ts'
import { put, Questions } from './question.ts'
import { serveOther, shown } from './tracing.ts'

export class InlineMachine extends MachineView implements Machine {
  readonly cpus: readonly Cpu[]
  readonly clock: Clock = monotonicClock(epoch())
  readonly #driver: EventLoopDriver
  #stopped = false
  #failure: CpuFailure | undefined
  readonly #ending = new Ending()
  readonly #questions = new Questions()

  constructor(options: MachineOptions, program: CpuProgram | undefined) {
    super(createMemory(options, false))
    const random = randomOf(options.seed)
    const host = {
      ring: () => this.#driver.schedule(true),
      relax: (cpu: Cpu) => {
        for (const other of this.cpus) if (other !== cpu) serveOther(cpu, other)
      },
    }
    this.cpus = Array.from({ length: this.layout.cpus }, (_, i) =>
      shown(new Cpu(i, this.memory, host, this.clock, random.fork(i), options), options),
    )
    this.#driver = new EventLoopDriver(this.cpus, this.clock, 1, (cpu, error) => this.#fail(CpuFailure.of(cpu, error)))
    for (const cpu of this.cpus) {
      try {
        if (program !== undefined) startProgram(cpu, program, options.data)
      } catch (error) {
        this.#fail(new CpuFailure(cpu.index, 'while it started', error))
        return
      }
    }
    this.#driver.schedule()
  }

  /** The first CPU: the caller's program works with it. */
  get cpu(): Cpu {
    return this.cpus[0]!
  }

  /** To be called after work was given to a CPU from outside of its turns. */
  kick(): void {
    this.#driver.schedule()
  }

  ask(cpu: number, question: unknown): Promise<unknown> {
    return this.#questions.ask(question, (numbered) => {
      if (this.#stopped) return this.#questions.close()
      put(this.cpus[cpu]!, numbered, (answer) => this.#questions.answered(answer))
      this.kick()
    })
  }

  /** The machine's timers and watches keep the event loop alive, as they do from the beginning. */
  ref(): void {
    this.#driver.ref()
  }

  /** They do not: a process with nothing else to do ends. */
  unref(): void {
    this.#driver.unref()
  }

  /** Why it stopped, when a CPU threw. */
  get failure(): CpuFailure | undefined {
    return this.#failure
  }

  get done(): Promise<void> {
    return this.#ending.done
  }

  get settled(): Promise<void> {
    return this.#ending.settled
  }

  stop(): Promise<void> {
    this.#end()
    return this.done
  }

  #fail(failure: CpuFailure): void {
    if (this.#stopped) return
    this.#failure = failure
    this.#end()
  }

  #end(): void {
    if (this.#stopped) return
    this.#stopped = true
    Atomics.store(this.memory.i32, (this.layout.header + MachineHeader.offset.stop) >> 2, 1)
    this.#driver.end()
    this.#questions.close()
    const failure = CpuFailure.ofShutdowns(this.cpus)
    this.#failure ??= failure
    if (this.#failure === undefined) this.#ending.well()
    else this.#ending.badly(this.#failure)
  }
}
