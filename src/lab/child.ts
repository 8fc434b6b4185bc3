// The laboratory's end of a cell's process (cell.ts): starts it, waits for its outcome, and ends it when it takes too long
// or when the measurement is broken off. Whatever happens to the process is an outcome, and never an exception.
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { CellParameters } from './experiment.ts'
import { type Outcome, outcomeFault } from './outcome.ts'
import type { Plan, Step } from './plan.ts'
import { workloadModule } from './workload.ts'

export interface CellRequest {
  readonly module: string
  readonly parameters: CellParameters
  readonly seconds: number
  readonly seed: number
  /** The file that models take their costs from; none: those that came with this version. */
  readonly calibration?: string
}

/** Beyond its measuring time: starting, warming up and stopping. */
const LIMIT_SECONDS = 60
/** Between asking a process to end and ending it. */
const GRACE_MS = 2000
/** Kept of what a process wrote: an outcome with its tables, and the last words of a failure. */
const OUTPUT_BYTES = 16 * 1024 * 1024
const LAST_WORDS = 2000

const CELL = fileURLToPath(new URL('./cell.js', import.meta.url))

/** Runs `step` in a process of its own. Undefined: `signal` came before the outcome. */
export async function runInChild(
  step: Step,
  plan: Plan,
  signal: AbortSignal,
  workloads: URL | undefined,
  limitSeconds: number = LIMIT_SECONDS,
  calibration?: string,
): Promise<Outcome | undefined> {
  const request: CellRequest = {
    module: workloadModule(step.cell.workload, workloads).href,
    parameters: step.cell.parameters,
    seconds: plan.seconds,
    seed: step.seed,
    ...(calibration === undefined ? {} : { calibration }),
  }
  // A group of its own: Ctrl-C on a terminal is for the laboratory, which ends this one and those that it started.
  const child = spawn(process.execPath, [...process.execArgv, CELL], { stdio: 'pipe', detached: true })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout = (stdout + text).slice(-OUTPUT_BYTES)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-LAST_WORDS)
  })
  // A process that ended before it read: its code tells.
  child.stdin.on('error', () => {})
  child.stdin.write(`${JSON.stringify(request)}\n`)

  const end = () => endGroup(child)
  const limit = (plan.seconds + limitSeconds) * 1000
  let late = false
  const timer = setTimeout(() => {
    late = true
    end()
  }, limit)
  signal.addEventListener('abort', end, { once: true })
  if (signal.aborted) end()
  const how = await ended(child)
  signal.removeEventListener('abort', end)
  clearTimeout(timer)
  // What it started, and what did not end with it.
  killGroup(child, 'SIGKILL')
  if (signal.aborted) return undefined
  if (late) return { error: `it did not end within ${limit / 1000} s` }
  return outcomeOf(stdout) ?? { error: `its process ended with ${how} and no outcome${lastLine(stderr)}` }
}

function outcomeOf(stdout: string): Outcome | undefined {
  const line = stdout.trimEnd().split('\n').at(-1)!
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  const fault = outcomeFault(value)
  return fault === undefined ? (value as Outcome) : { error: `the workload is wrong: ${fault}` }
}

function lastLine(stderr: string): string {
  const line = stderr.trimEnd().split('\n').at(-1)!
  return line === '' ? '' : `: ${line}`
}

function ended(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(`"${error.message}"`))
    child.once('close', (code, signal) => resolve(signal ?? `code ${code}`))
  })
}

function endGroup(child: ChildProcess): void {
  killGroup(child, 'SIGTERM')
  const timer = setTimeout(() => killGroup(child, 'SIGKILL'), GRACE_MS)
  child.once('close', () => clearTimeout(timer))
}

function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // None of them is left.
  }
}
