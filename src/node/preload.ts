// `node --import damselfly/register program.js`: the program's net and dgram, and all that is built on them, run on a host of
// ours. What can be said about it are environment variables: options.ts. `damselfly run` sets them, and starts Node so.
//
// Only the main thread has the host: worker threads that the program starts keep the kernel's network, and so do processes
// that it forks.
import { writeSync } from 'node:fs'
import { isMainThread } from 'node:worker_threads'
import { KernelError } from '../base/errno.ts'
import { type ProgramOptions, programOptions } from './options.ts'
import { patch, preferInet } from './patch.ts'
import type { StartedHost } from './start.ts'

/** Set in the environment of a process with an interface, for those that it starts: its id. */
const HOST_OF = 'DAMSELFLY_HOST_OF'
/** What a shell tells of a program that could not be started. */
const CANNOT_START = 126

/** The host of this process, and its machine; undefined where it has none of its own. */
export const started = isMainThread ? await register() : undefined

async function register(): Promise<Pick<StartedHost, 'host' | 'machine'> | undefined> {
  try {
    const options = programOptions(process.env)
    if (process.env[HOST_OF] !== undefined) return undefined
    // An interface has one process: those that this one forks, with its own arguments, keep the kernel's network.
    if (options.device !== 'none') process.env[HOST_OF] = String(process.pid)
    if (options.instances) await runAsInstances(options)
    // First of all: much of Node loads net for the standard streams, when they are pipes.
    const runOn = patch()
    const { startHost } = await import('./start.ts')
    const { host, machine, finish } = await startHost(options)
    if (runOn !== undefined) runOn(host)
    else (await import('./patch-loaded.ts')).patchLoaded(host)
    await preferInet()
    process.on('exit', finish)
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) endInOrder(signal, finish)
    return { host, machine }
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    // Not by the console, which may be a stream of net's.
    writeSync(2, `damselfly: ${error.message}\n`)
    process.exit(CANNOT_START)
  }
}

/** The program does not run on this thread: the process ends when its instances have. */
async function runAsInstances(options: ProgramOptions): Promise<void> {
  const { runInstances } = await import('./instances.ts')
  const result = await runInstances(options, process.argv.slice(1))
  if (typeof result === 'number') process.exit(result)
  process.removeAllListeners(result)
  process.kill(process.pid, result)
  // The signal ends the process before this is over.
  await new Promise(() => {})
}

/** A signal that ends the process has no exit behind it: connections are closed before. Where the program listens, it decides. */
function endInOrder(signal: NodeJS.Signals, finish: () => void): void {
  const onSignal = () => {
    if (process.listenerCount(signal) > 1) return
    finish()
    process.removeListener(signal, onSignal)
    process.kill(process.pid, signal)
  }
  process.on(signal, onSignal)
}
