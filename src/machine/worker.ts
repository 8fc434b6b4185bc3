// A worker thread of a threads machine: one CPU, from its program to the end of its run loop.
// Started by threads.ts only.
import { writeSync } from 'node:fs'
import { type MessagePort, parentPort, workerData } from 'node:worker_threads'
import { type Epoch, monotonicClock } from '../base/clock.ts'
import { randomOf } from '../base/random.ts'
import { Cpu, type Host } from '../kernel/cpu.ts'
import { CpuState } from '../kernel/cpustate.ts'
import { MachineStopping } from '../kernel/ipi.ts'
import { CpuBlock, MachineHeader } from '../kernel/layout.ts'
import { Memory } from '../kernel/memory.ts'
import { type PackedError, pack } from './failure.ts'
import type { MachineOptions } from './options.ts'
import { loadProgram, startProgram } from './program.ts'
import { type Answer, put, type Question } from './question.ts'
import { AdaptiveSpin } from './spin.ts'
import { shown } from './tracing.ts'

/** What threads.ts hands to each worker. */
export interface WorkerStart {
  /** Tells the threads of a machine from those that a program starts: it may have loaded this module. */
  readonly isCpu: true
  readonly index: number
  readonly memory: WebAssembly.Memory
  readonly options: MachineOptions
  readonly epoch: Epoch
  readonly seed: number | undefined
  readonly program: string | undefined
  readonly spinTurns: number
  /** The CPU on the caller's event loop, woken by a message; -1 when there is none. */
  readonly joined: number
}

/** What a worker tells its parent. */
export type WorkerReport =
  | { readonly kind: 'started' }
  | { readonly kind: 'ring' }
  | { readonly kind: 'failed'; readonly where: string; readonly error: PackedError }
  | { readonly kind: 'answer'; readonly answer: Answer }
  | { readonly kind: 'ended' }

/** The run loop gives the worker's own event loop a turn so often: console output and the like need it. */
const YIELD_US = 20_000
/** A sleeping CPU looks up now and then for the same reason. */
const SLEEP_MS_MAX = 100

/** Wakes a CPU that is on another thread, if it sleeps: for whoever is no CPU, and has given it something to look at. */
export function wakeThread(memory: Memory, target: number): void {
  const state = (memory.layout.cpuBlock(target) + CpuBlock.offset.state) >> 2
  const seen = Atomics.compareExchange(memory.i32, state, CpuState.sleeping, CpuState.running)
  // One that does not sleep looks by itself, and may have closed its doorbell already.
  if (seen === CpuState.sleeping) ringThread(memory, target)
}

/** The doorbell of `target`: a descriptor where it sleeps in poll(2), else its state word. */
export function ringThread(memory: Memory, target: number): void {
  const block = memory.layout.cpuBlock(target)
  const doorbell = Atomics.load(memory.i32, (block + CpuBlock.offset.doorbell) >> 2)
  if (doorbell !== 0) ringDescriptor(doorbell - 1)
  else Atomics.notify(memory.i32, (block + CpuBlock.offset.state) >> 2)
}

/** Looks of a busy wait before it lets go of its processor for a moment. */
const PATIENT_LOOKS = 512
const MOMENT_MS = 0.05

/**
 * What a CPU of the threads host does in a busy wait. Where there are more CPUs than processors, the one that it waits for
 * may be the one that it keeps from running: 12,000 IPIs through full rings between three CPUs on two processors took 4.8 s
 * without the pause.
 */
export function relaxation(): () => void {
  const word = new Int32Array(new SharedArrayBuffer(4))
  let looks = 0
  return () => {
    if (++looks % PATIENT_LOOKS === 0) Atomics.wait(word, 0, 0, MOMENT_MS)
  }
}

const ONE = new Uint8Array(new BigUint64Array([1n]).buffer)

function ringDescriptor(descriptor: number): void {
  try {
    writeSync(descriptor, ONE)
  } catch (error) {
    // EAGAIN: the eventfd's count is full, so it is readable; EBADF: that CPU has just closed it and is stopping.
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'EAGAIN' && code !== 'EBADF') throw error
  }
}

class WorkerCpu {
  readonly #cpu: Cpu
  readonly #parent: MessagePort
  readonly #spin: AdaptiveSpin

  constructor(start: WorkerStart, parent: MessagePort) {
    const memory = new Memory(start.memory, start.options, true)
    const ring = { kind: 'ring' } satisfies WorkerReport
    const host: Host = {
      ring: (target) => (target === start.joined ? parent.postMessage(ring) : ringThread(memory, target)),
      relax: relaxation(),
    }
    const random = randomOf(start.seed).fork(start.index)
    this.#cpu = shown(
      new Cpu(start.index, memory, host, monotonicClock(start.epoch), random, start.options),
      start.options,
    )
    this.#parent = parent
    this.#spin = new AdaptiveSpin(start.spinTurns)
  }

  async begin(program: string | undefined, data: unknown): Promise<void> {
    try {
      if (program !== undefined) startProgram(this.#cpu, await loadProgram(program), data)
    } catch (error) {
      this.#fail(error, 'while it started')
      return
    }
    this.#parent.on('message', (question: Question) =>
      put(this.#cpu, question, (answer) => this.#report({ kind: 'answer', answer })),
    )
    this.#report({ kind: 'started' })
    this.#slice()
  }

  #slice(): void {
    const cpu = this.#cpu
    try {
      const until = cpu.clock.now() + YIELD_US
      do {
        if (this.#spin.afterTurn(cpu.turn())) {
          this.#sleep()
          break
        }
      } while (cpu.now < until && !cpu.stopping())
    } catch (error) {
      if (!(error instanceof MachineStopping)) {
        this.#fail(error)
        return
      }
    }
    if (cpu.stopping()) this.#end()
    else setImmediate(() => this.#slice())
  }

  #sleep(): void {
    const cpu = this.#cpu
    if (!cpu.announceSleep()) {
      this.#spin.slept(0)
      return
    }
    const began = cpu.clock.now()
    const timeoutMs = Math.min(SLEEP_MS_MAX, Math.ceil(cpu.timers.untilNext() / 1000))
    const { sleeper, memory, stateWord } = cpu
    let rung: boolean
    if (sleeper !== undefined) {
      sleeper.sleep(timeoutMs)
      rung = Atomics.load(memory.i32, stateWord) === CpuState.running
    } else rung = Atomics.wait(memory.i32, stateWord, CpuState.sleeping, timeoutMs) !== 'timed-out'
    const sleptUs = cpu.clock.now() - began
    this.#spin.slept(sleptUs)
    cpu.awake(rung, sleptUs)
  }

  #fail(error: unknown, where = this.#cpu.running()): void {
    const { memory, tracer } = this.#cpu
    tracer.explain(error)
    // At once, and not by way of the parent: its thread may be a CPU that waits for this one.
    Atomics.store(memory.i32, (memory.layout.header + MachineHeader.offset.stop) >> 2, 1)
    this.#shutdown()
    this.#report({ kind: 'failed', where, error: pack(error) })
    this.#parent.close()
  }

  #end(): void {
    this.#shutdown()
    this.#report({ kind: 'ended' })
    this.#parent.close()
  }

  #shutdown(): void {
    try {
      this.#cpu.shutdown()
    } catch (error) {
      this.#report({ kind: 'failed', where: 'while it stopped', error: pack(error) })
    }
  }

  #report(report: WorkerReport): void {
    this.#parent.postMessage(report)
  }
}

const start = workerData as WorkerStart | null | undefined
if (parentPort !== null && start?.isCpu === true) {
  void new WorkerCpu(start, parentPort).begin(start.program, start.options.data)
}
