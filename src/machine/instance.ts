// CPUs whose threads are event loops: each thread runs a program of Node's, and beside it its CPU of the machine, in slices. The thread
// that starts them is no CPU. For src/node, which starts a program once on each.
//
// A CPU that sleeps leaves its thread to the event loop, which Atomics.waitAsync wakes when somebody rings: no descriptor
// and no message, and who rings does it as for any other CPU without a device (worker.ts).
import { type Clock, type Epoch, epoch, monotonicClock } from '../base/clock.ts'
import { randomOf } from '../base/random.ts'
import { Cpu } from '../kernel/cpu.ts'
import { CpuState } from '../kernel/cpustate.ts'
import { MachineHeader } from '../kernel/layout.ts'
import { Memory } from '../kernel/memory.ts'
import { EventLoopDriver } from './eventloop.ts'
import { CpuFailure } from './failure.ts'
import { inlineMore } from './inlining.ts'
import { isInspected } from './inspector.ts'
import { createMemory, MachineView } from './machine.ts'
import type { MachineOptions } from './options.ts'
import { shown } from './tracing.ts'
import { relaxation, ringThread, wakeThread } from './worker.ts'

/** What a thread is handed to be a CPU: plain data. */
export interface InstanceStart {
  readonly index: number
  readonly memory: WebAssembly.Memory
  readonly options: MachineOptions
  readonly epoch: Epoch
}

/** Of the ECMAScript standard of 2024, and in Node since 16. */
type WaitAsync = (
  words: Int32Array,
  index: number,
  value: number,
) => { readonly async: false } | { readonly async: true; readonly value: Promise<string> }
const { waitAsync } = Atomics as unknown as { waitAsync: WaitAsync }

/** The machine, for the thread that starts the others. */
export class InstanceMachine extends MachineView {
  readonly starts: readonly InstanceStart[]

  /** @throws KernelError EINVAL, ENOMEM */
  constructor(options: MachineOptions) {
    super(createMemory(options, true))
    inlineMore()
    const since = epoch()
    const { wasm } = this.memory
    // A worker cannot tell whether its process has an inspector.
    const inspect = options.inspect ?? isInspected()
    this.starts = Array.from({ length: this.layout.cpus }, (_, index) => ({
      index,
      memory: wasm,
      options: { ...options, inspect },
      epoch: since,
    }))
  }

  /** Asks all CPUs to stop: each shuts down on its own thread, which may end then. */
  stop(): void {
    stopAll(this.memory)
  }
}

function stopAll(memory: Memory): void {
  const { layout, i32 } = memory
  Atomics.store(i32, (layout.header + MachineHeader.offset.stop) >> 2, 1)
  for (let cpu = 0; cpu < layout.cpus; cpu++) wakeThread(memory, cpu)
}

/** One CPU, on the thread that calls. */
export class Instance {
  readonly cpu: Cpu
  readonly driver: EventLoopDriver
  readonly #memory: Memory
  readonly #onFailure: (failure: CpuFailure) => void
  /** Somebody's ring will be heard: one wait at a time, or those that nobody has ended would pile up. */
  #listening = false
  #stopped = false

  /** @param onFailure the CPU threw: all CPUs have been asked to stop, and this one has */
  constructor(start: InstanceStart, onFailure: (failure: CpuFailure) => void) {
    const { index, options } = start
    this.#onFailure = onFailure
    this.#memory = new Memory(start.memory, options, true)
    const clock: Clock = monotonicClock(start.epoch)
    const host = { ring: (target: number) => ringThread(this.#memory, target), relax: relaxation() }
    this.cpu = shown(new Cpu(index, this.#memory, host, clock, randomOf(options.seed).fork(index), options), options)
    this.driver = new EventLoopDriver([this.cpu], clock, options.cpus, (cpu, error) =>
      this.#fail(CpuFailure.of(cpu, error)),
    )
    this.driver.whenAsleep(() => this.#listen())
    this.driver.addProgram(() => {
      if (this.cpu.stopping()) this.#shutdown()
      return 0
    })
    this.driver.schedule()
  }

  #listen(): void {
    if (this.#listening) return
    const waiting = waitAsync(this.#memory.i32, this.cpu.stateWord, CpuState.sleeping)
    if (!waiting.async) return this.driver.schedule(true)
    this.#listening = true
    void waiting.value.then(() => {
      this.#listening = false
      this.driver.schedule(true)
    })
  }

  #fail(failure: CpuFailure): void {
    // At once: other CPUs may wait for this one.
    stopAll(this.#memory)
    this.#shutdown()
    this.#onFailure(failure)
  }

  #shutdown(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.driver.end()
    const failure = CpuFailure.ofShutdown(this.cpu)
    if (failure !== undefined) this.#onFailure(failure)
  }
}
