// One test as a child process, with a limit of time. For ../test-node.ts.
import { spawn } from 'node:child_process'

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** Why it was ended from here. */
  readonly stopped: 'timeout' | 'interrupt' | undefined
  readonly stdout: string
  readonly stderr: string
  readonly ms: number
}

export interface Command {
  /** What node is given: flags and the file. */
  readonly args: readonly string[]
  readonly folder: string
  readonly environment: NodeJS.ProcessEnv
  readonly timeoutMs: number
}

/** Of each stream; a test that floods us has said what went wrong before that. */
const OUTPUT_CHARACTERS_MAX = 256 * 1024

/** How long the output may stay open behind a test, by a process that left its group; then nobody listens any more. */
const OUTPUT_AFTER_EXIT_MS = 2000

/**
 * Runs it to its end, or to that of its time, or until `interrupt` aborts.
 *
 * The child leads a process group of its own, and the whole group ends with it: tests have children too, and one that is
 * left would keep our pipes open and hold ports.
 */
export function runChild(command: Command, interrupt: AbortSignal): Promise<Ended> {
  const started = performance.now()
  const child = spawn(process.execPath, command.args, {
    cwd: command.folder,
    env: command.environment,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let stopped: Ended['stopped']
  const endGroup = () => {
    // No pid: it was never started, and 'error' says so.
    if (child.pid !== undefined) killGroup(child.pid)
  }
  const stop = (why: NonNullable<Ended['stopped']>) => {
    stopped ??= why
    endGroup()
  }
  const onInterrupt = () => stop('interrupt')
  const timer = setTimeout(() => stop('timeout'), command.timeoutMs)
  interrupt.addEventListener('abort', onInterrupt, { once: true })
  if (interrupt.aborted) onInterrupt()
  const stdout = collect(child.stdout)
  const stderr = collect(child.stderr)
  let listening: NodeJS.Timeout | undefined
  return new Promise<Ended>((resolve) => {
    const end = (code: number | null, signal: NodeJS.Signals | null, more = '') => {
      const ms = Math.round(performance.now() - started)
      resolve({ code, signal, stopped, stdout: stdout(), stderr: stderr() + more, ms })
    }
    child.once('error', (error) => end(null, null, `${error}`))
    child.once('exit', () => {
      clearTimeout(timer)
      endGroup()
      listening = setTimeout(() => {
        child.stdout.destroy()
        child.stderr.destroy()
      }, OUTPUT_AFTER_EXIT_MS)
    })
    child.once('close', (code, signal) => end(code, signal))
  }).finally(() => {
    clearTimeout(timer)
    clearTimeout(listening)
    interrupt.removeEventListener('abort', onInterrupt)
  })
}

/** Ends what is left of a child's process group. */
function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function collect(stream: NodeJS.ReadableStream): () => string {
  let text = ''
  stream.setEncoding('utf8')
  stream.on('data', (piece: string) => {
    if (text.length < OUTPUT_CHARACTERS_MAX) text += piece
  })
  return () => text
}
