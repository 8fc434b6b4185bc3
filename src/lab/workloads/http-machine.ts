// A machine whose CPUs are on event loops, each on a thread of its own, and serve HTTP there.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { InstanceMachine, type InstanceStart } from '../../machine/instance.ts'
import type { MachineOptions } from '../../machine/options.ts'
import type { HostConfig } from '../../stack.ts'

/** What a thread is handed. */
export interface InstanceData {
  readonly start: InstanceStart
  readonly config: HostConfig
}

/** A machine that serves. `done` rejects when one of its CPUs threw. */
export interface HttpMachine {
  readonly machine: InstanceMachine
  readonly done: Promise<void>
  /** Resolves when its threads have ended. */
  stop(): Promise<void>
}

/** @throws KernelError EINVAL, ENOMEM */
export function httpMachine(options: MachineOptions, config: HostConfig): HttpMachine {
  const machine = new InstanceMachine(options)
  const workers = machine.starts.map(
    (start) =>
      new Worker(new URL('./http-instance.js', import.meta.url), {
        workerData: { start, config } satisfies InstanceData,
        name: `cpu ${start.index}`,
      }),
  )
  const ended = workers.map((worker) => once(worker, 'exit'))
  const done = Promise.all(ended).then(() => {})
  // Somebody waits for it, or nobody does any more.
  done.catch(() => {})
  return {
    machine,
    done,
    async stop() {
      for (const worker of workers) worker.postMessage('end')
      await Promise.allSettled(ended)
    },
  }
}
