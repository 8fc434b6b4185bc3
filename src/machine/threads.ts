// The threads host: a worker thread for each CPU over one shared memory. The caller's thread may join as the last CPU.
import { Worker } from 'node:worker_threads'
import { type Clock, type Epoch, epoch, monotonicClock } from '../base/clock.ts'
import { Errno, KernelError } from '../base/errno.ts'
import { randomOf } from '../base/random.ts'
import { Cpu } from '../kernel/cpu.ts'
import { MachineHeader } from '../kernel/layout.ts'
import { Ending } from './ending.ts'
import { EventLoopDriver } from './eventloop.ts'
import { CpuFailure, unpack } from './failure.ts'
import { isInspected } from './inspector.ts'
import { createMemory, type Machine, MachineView } from './machine.ts'
import type { BootOptions, MachineOptions } from './options.ts'
import { put, Questions } from './question.ts'
import { shown } from './tracing.ts'
import { relaxation, ringThread, type WorkerReport, type WorkerStart, wakeThread } from './worker.ts'

const WORKER = new URL(`./worker${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url)

export class ThreadsMachine extends MachineView implements Machine {
  readonly cpu: Cpu | undefined
  readonly clock: Clock
  readonly #workers: Worker[] = []
  /** CPUs that have said how they ended. */
  readonly #reported = new Set<number>()
  readonly #driver: EventLoopDriver | undefined
  readonly #stopTimeoutMs: number
  #running = 0
  #starting = 0
  #failure: CpuFailure | undefined
  #stopping = false
  readonly #ending = new Ending()
  readonly #questions = new Questions()
  #started: { resolve: () => void; reject: (error: unknown) => void } | undefined

  private constructor(options: BootOptions) {
    super(createMemory(options, true))
    this.#stopTimeoutMs = options.stopTimeoutMs ?? 2000
    const since = epoch()
    this.clock = monotonicClock(since)
    const { seed } = options
    const joined = options.join === true ? this.layout.cpus - 1 : -1
    if (joined >= 0) {
      const { clock } = this
      const host = { ring: (target: number) => ringThread(this.memory, target), relax: relaxation() }
      this.cpu = shown(new Cpu(joined, this.memory, host, clock, randomOf(seed).fork(joined), options), options)
      this.#driver = new EventLoopDriver([this.cpu], clock, this.layout.cpus, (cpu, error) =>
        this.#fail(CpuFailure.of(cpu, error)),
      )
    }
    const workers = joined >= 0 ? joined : this.layout.cpus
    this.#starting = workers
    for (let index = 0; index < workers; index++) this.#startWorker(index, options, since, seed, joined)
    if (this.#starting === 0) this.#workerEnded()
  }

  /** Resolves when every CPU has run its program. Rejects, with nothing left behind, when one of them threw. */
  static async boot(options: BootOptions): Promise<ThreadsMachine> {
    if (typeof options.program === 'function') {
      const sentence =
        'on host "threads" the program is a module, which each worker loads: give its URL, as new URL("./program.js", import.meta.url)'
      throw new KernelError(Errno.EINVAL, sentence, 'boot')
    }
    const machine = new ThreadsMachine(options)
    try {
      await new Promise<void>((resolve, reject) => {
        machine.#started = { resolve, reject }
        if (machine.#starting === 0) resolve()
      })
    } catch (error) {
      await machine.stop().catch(() => {})
      throw error
    }
    machine.#driver?.schedule()
    return machine
  }

  /** To be called after work was given to the joined CPU from outside of its turns. */
  kick(): void {
    this.#driver?.schedule()
  }

  ask(cpu: number, question: unknown): Promise<unknown> {
    return this.#questions.ask(question, (numbered) => {
      if (cpu === this.cpu?.index) {
        put(this.cpu, numbered, (answer) => this.#questions.answered(answer))
        this.kick()
        return
      }
      if (this.#stopping) return this.#questions.close()
      this.#workers[cpu]!.postMessage(numbered)
      wakeThread(this.memory, cpu)
    })
  }

  /** The workers, and what the joined CPU waits for, keep the event loop alive, as they do from the beginning. */
  ref(): void {
    this.#driver?.ref()
    for (const worker of this.#workers) worker.ref()
  }

  /** They do not: a process with nothing else to do ends. */
  unref(): void {
    this.#driver?.unref()
    for (const worker of this.#workers) worker.unref()
  }

  get done(): Promise<void> {
    return this.#ending.done
  }

  get settled(): Promise<void> {
    return this.#ending.settled
  }

  stop(): Promise<void> {
    if (!this.#stopping) this.#begin()
    return this.done
  }

  #startWorker(index: number, options: BootOptions, since: Epoch, seed: number | undefined, joined: number): void {
    const start: WorkerStart = {
      isCpu: true,
      index,
      memory: this.memory.wasm,
      options: cloneableOptions(options),
      epoch: since,
      seed,
      program: options.program === undefined ? undefined : String(options.program),
      spinTurns: options.spinTurns ?? 2000,
      joined,
    }
    const worker = new Worker(WORKER, { workerData: start, name: `cpu ${index}` })
    this.#workers.push(worker)
    this.#running++
    worker.on('message', (report: WorkerReport) => this.#onReport(index, report))
    worker.on('error', (error) => this.#fail(new CpuFailure(index, 'outside of its run loop', error)))
    worker.on('exit', () => this.#onExit(index))
  }

  #onReport(index: number, report: WorkerReport): void {
    if (report.kind === 'failed' || report.kind === 'ended') this.#reported.add(index)
    if (report.kind === 'ring') this.#driver?.schedule(true)
    else if (report.kind === 'answer') this.#questions.answered(report.answer)
    else if (report.kind === 'failed') this.#fail(new CpuFailure(index, report.where, unpack(report.error)))
    else if (report.kind === 'started' && --this.#starting === 0) this.#started?.resolve()
  }

  #onExit(index: number): void {
    if (!this.#stopping && !this.#reported.has(index)) {
      this.#fail(new CpuFailure(index, 'outside of its run loop', new Error('its worker thread has ended by itself')))
    }
    this.#workerEnded()
  }

  #fail(failure: CpuFailure): void {
    this.#failure ??= failure
    this.#started?.reject(this.#failure)
    if (!this.#stopping) this.#begin()
  }

  /** The order of the stop: the word that all look at, everybody awake, the own CPU, then the workers one by one as they end. */
  #begin(): void {
    this.#stopping = true
    Atomics.store(this.memory.i32, (this.layout.header + MachineHeader.offset.stop) >> 2, 1)
    for (let cpu = 0; cpu < this.#workers.length; cpu++) wakeThread(this.memory, cpu)
    this.#questions.close()
    this.#driver?.end()
    if (this.cpu !== undefined) {
      const failure = CpuFailure.ofShutdown(this.cpu)
      this.#failure ??= failure
    }
    const force = setTimeout(() => {
      for (const worker of this.#workers) void worker.terminate()
    }, this.#stopTimeoutMs)
    void this.settled.then(() => clearTimeout(force))
    if (this.#running === 0) this.#end()
  }

  #workerEnded(): void {
    if (this.#running > 0) this.#running--
    if (this.#running > 0) return
    if (!this.#stopping) this.#begin()
    else this.#end()
  }

  #end(): void {
    if (this.#failure === undefined) this.#ending.well()
    else this.#ending.badly(this.#failure)
  }
}

/** What a worker needs of the options: functions and URLs do not travel. */
function cloneableOptions(options: BootOptions): MachineOptions {
  const { program: _program, ...rest } = options
  // A worker cannot tell whether its process has an inspector.
  return { ...rest, inspect: options.inspect ?? isInspected() }
}
