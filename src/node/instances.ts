// `damselfly run --instances`: the program once on each CPU, each in a worker of its own with the connections that are its CPU's. This is
// the thread that starts them, and does nothing else. For the preload.
//
// They are one program in several threads. When one of them ends by process.exit or an exception, all end, with its code; one that
// has nothing left to do stays, because its CPU has flows, until the others are done as well.
import { writeSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { Errno, KernelError } from '../base/errno.ts'
import { InstanceMachine, type InstanceStart } from '../machine/instance.ts'
import type { HostConfig } from '../net/config.ts'
import type { ProgramOptions } from './options.ts'
import { hostConfig, machineOptions } from './start.ts'

/** What a worker is handed. */
export interface InstanceData {
  readonly start: InstanceStart
  readonly config: HostConfig
  /** The file of the program. */
  readonly program: string
}

/** What a worker tells. */
export type InstanceReport = { readonly kind: 'idle'; readonly code: number }

/** How long the others have to close their connections when one has ended. */
const FINISH_MS = 1500

const WORKER = new URL(`./instance${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url)

/** Resolves with the exit code, or with the signal that has ended all of them. */
export async function runInstances(options: ProgramOptions, argv: readonly string[]): Promise<number | NodeJS.Signals> {
  const [program, ...rest] = argv
  if (program === undefined) {
    throw new KernelError(Errno.EINVAL, '--instances needs a program in a file: damselfly run --instances server.js')
  }
  const cpus = Array.from({ length: options.cpus }, (_, i) => i)
  const config = hostConfig(options, cpus)
  const machine = new InstanceMachine(machineOptions(config, options.cpus, options.trace))
  const workers = machine.starts.map(
    (start) =>
      new Worker(WORKER, {
        workerData: { start, config, program } satisfies InstanceData,
        argv: rest,
        name: `cpu ${start.index}`,
      }),
  )
  const result = await Promise.race([untilEnd(workers), untilSignal()])
  await finish(machine, workers)
  return result
}

/** The code of the first that ends by itself; or, when nothing is left to do, the last that was set. */
function untilEnd(workers: readonly Worker[]): Promise<number> {
  return new Promise((resolve) => {
    const idle = new Map<number, number>()
    for (const [index, worker] of workers.entries()) {
      worker.on('message', ({ code }: InstanceReport) => {
        idle.set(index, code)
        if (idle.size === workers.length) resolve(Math.max(...idle.values()))
      })
      worker.on('error', (error: unknown) => {
        writeSync(2, `${error instanceof Error ? error.stack : String(error)}\n`)
        resolve(1)
      })
      worker.on('exit', (code) => resolve(code))
    }
  })
}

function untilSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve(signal))
  })
}

/** Each closes its connections and ends; then the CPUs stop. */
async function finish(machine: InstanceMachine, workers: readonly Worker[]): Promise<void> {
  const ended = workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve)))
  for (const worker of workers) worker.postMessage('finish')
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, FINISH_MS)
  })
  await Promise.race([Promise.all(ended), late])
  clearTimeout(timer)
  machine.stop()
}
