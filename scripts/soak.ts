// Endurance: connections come and go for as long as one likes, and nothing may grow by it.
//
//     npm run soak -- --minutes 60          see --help for the options
//
// Each part is a process of its own (soak/network-program.ts, soak/tun-program.ts) with a stack on one or several CPUs. It tells a reading of its
// memory and descriptors, and of each CPU's slabs, heap and tables, behind each round (soak/measure.ts), and comes to rest every so often, where
// all counts must add up. At the end the slope of each is tested (soak/slope.ts); one that grows makes the exit code 1.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { libcUnavailable } from '../src/device/linux/library.ts'
import { available, Namespace } from '../src/lab/tun/namespace.ts'
import type { Reading } from './soak/measure.ts'
import { type Options, type Part, parseOptions, USAGE, UsageError } from './soak/options.ts'
import type { PartMessage, PartOptions, Progress } from './soak/part.ts'
import { judge } from './soak/verdict.ts'

const PROGRESS_MS = 10_000
/** A part that tells nothing for so long stands still: it waits for quiet, and then for the last TIME-WAIT. */
const SILENCE_MS = 180_000
/**
 * V8 makes each thread's space for young objects smaller and larger as it likes, up to 48 MB of the process's memory: here its size stays. Without
 * that, memory rose by 34 MB in a minute on two CPUs, and fell again.
 */
const PINNED = ['--min-semi-space-size=4', '--max-semi-space-size=4']
/** The exit code after Ctrl-C, as shells have it. */
const INTERRUPTED = 130

try {
  const options = parseOptions(process.argv.slice(2))
  if (options.help) console.log(USAGE)
  else await soak(options)
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`soak: ${error.message}`)
  process.exitCode = 2
}

async function soak(options: Options): Promise<void> {
  const interrupt = new AbortController()
  process.on('SIGINT', () => interrupt.abort())
  process.on('SIGTERM', () => interrupt.abort())
  console.log(`seed ${options.seed}`)
  for (const part of options.parts) {
    const reason = part === 'tun' ? (libcUnavailable() ?? available()) : undefined
    if (reason !== undefined) {
      console.log(`${part}: left out, for ${reason}`)
      continue
    }
    if (!(await run(part, options, interrupt.signal))) process.exitCode = 1
    if (!interrupt.signal.aborted) continue
    process.exitCode = INTERRUPTED
    break
  }
}

/** Runs a part to its end; whether all was well. */
async function run(part: Part, options: Options, interrupt: AbortSignal): Promise<boolean> {
  const { minutes, seed, cpus, leak } = options
  const namespace = part === 'tun' ? new Namespace('soak') : undefined
  try {
    const child = start(part, { minutes, seed, cpus, leak }, namespace)
    const { readings, rest, error, progress } = await follow(part, child, interrupt)
    console.log(`${part}, ${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'}: ${readings.length} readings; ${doneText(progress)}`)
    if (error !== undefined) {
      console.log(`  it failed: ${error}`)
      return false
    }
    const { text, isGood } = judge(readings, rest)
    console.log(text)
    // Whoever ended it early knows that it says little.
    return isGood || interrupt.aborted
  } finally {
    namespace?.remove()
  }
}

function start(part: Part, options: PartOptions, namespace: Namespace | undefined): ChildProcess {
  const program = fileURLToPath(new URL(`./soak/${part}-program.js`, import.meta.url))
  const args = ['--expose-gc', ...PINNED, '--enable-source-maps', program, JSON.stringify(options)]
  const stdio = ['ignore', 'inherit', 'inherit', 'ipc'] as const
  return namespace === undefined
    ? spawn(process.execPath, args, { stdio: [...stdio] })
    : namespace.spawn(process.execPath, args, { stdio: [...stdio] })
}

interface Followed {
  readonly readings: readonly Reading[]
  readonly rest: readonly number[] | undefined
  readonly progress: Progress | undefined
  readonly error: string | undefined
}

/** Listens to a part until its process has ended. */
function follow(part: Part, child: ChildProcess, interrupt: AbortSignal): Promise<Followed> {
  return new Promise((resolve) => {
    const readings: Reading[] = []
    let progress: Progress | undefined
    let rest: readonly number[] | undefined
    let error: string | undefined
    let toldAt = performance.now()
    const silence = setTimeout(() => {
      error = `nothing was heard of it for ${SILENCE_MS / 1000} s`
      child.kill('SIGKILL')
    }, SILENCE_MS)
    const stop = () => {
      if (child.connected) child.send('stop')
    }
    interrupt.addEventListener('abort', stop, { once: true })
    child.on('message', (message: PartMessage) => {
      silence.refresh()
      if ('error' in message) {
        error ??= message.error
        return
      }
      if ('rest' in message) {
        rest = message.rest
        return
      }
      readings.push(message.reading)
      progress = message.progress
      if (performance.now() - toldAt < PROGRESS_MS) return
      toldAt = performance.now()
      console.log(`${part}: ${progressText(message.reading, progress)}`)
    })
    child.once('exit', (code, signal) => {
      clearTimeout(silence)
      interrupt.removeEventListener('abort', stop)
      if (code !== 0) error ??= `its process ended by ${signal ?? code}`
      resolve({ readings, rest, progress, error })
    })
  })
}

function doneText(progress: Progress | undefined): string {
  if (progress === undefined) return 'nothing was done'
  const { rounds, connections, cut, restarts, disciplines, crossed, rests } = progress
  return [
    `${rounds} rounds, ${connections} connections, ${cut} of them cut off by ${restarts} restarts`,
    `${disciplines} changes of discipline`,
    `${crossed} messages from connections to programs on other CPUs`,
    `${rests} rests`,
  ].join('; ')
}

function progressText({ at, rss, descriptors, cpus }: Reading, { connections }: Progress): string {
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1)
  const slabs = cpus.map(({ slab }) => slab).join(' + ')
  const heaps = cpus.map(({ heap }) => mb(heap)).join(' + ')
  return `${at.toFixed(0)} s, ${connections} connections, memory ${mb(rss)} MB, ${descriptors} descriptors, ${slabs} slab objects, heap ${heaps} MB`
}
