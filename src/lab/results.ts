// The results file: versioned JSON with the machine, the plan and every run, written as a whole after each run. A reader
// trusts nothing in it: a file that is cut off, of another version or changed by hand is refused with a sentence.
import { open, readFile, rename, rm } from 'node:fs/promises'
import { Errno, KernelError } from '../base/errno.ts'
import type { Computer } from './computer.ts'
import { isRecord, type Outcome, outcomeFault } from './outcome.ts'
import { cellsFault, type Plan, PlanLimits, stepName, steps } from './plan.ts'

export const RESULTS_FORMAT = 'damselfly-lab-results'
export const PLAN_FORMAT = 'damselfly-lab-plan'
export const FORMAT_VERSION = 1

/** One run of one cell. */
export interface Run {
  readonly experiment: string
  readonly cell: string
  readonly repetition: number
  /** When it ended, in UTC (ISO 8601). */
  readonly at: string
  /** What it took, with the start of its process; 0 where it was measured for another experiment. */
  readonly ms: number
  /** The experiment for which it was measured, where that has a cell that measures the same. */
  readonly measuredFor?: string
  readonly outcome: Outcome
}

export interface Results {
  readonly began: string
  readonly computer: Computer
  readonly plan: Plan
  /** In the order in which they ran. */
  readonly runs: readonly Run[]
}

export function resultsText(results: Results): string {
  return `${JSON.stringify({ format: RESULTS_FORMAT, version: FORMAT_VERSION, ...results })}\n`
}

export function planText(plan: Plan): string {
  return `${JSON.stringify({ format: PLAN_FORMAT, version: FORMAT_VERSION, ...plan }, null, 2)}\n`
}

/**
 * @returns undefined where there is no such file
 * @throws KernelError where it cannot be read or is no whole results file of this version
 */
export async function readResults(path: string): Promise<Results | undefined> {
  const text = await readText(path)
  if (text === undefined) return undefined
  const value = parse(path, text, [RESULTS_FORMAT])
  const fault = resultsFault(value)
  if (fault !== undefined) throw refused(path, `is damaged: ${fault}`)
  return value as unknown as Results
}

/** A plan, from a file of its own or out of a results file. @throws KernelError where there is none in it */
export async function readPlan(path: string): Promise<Plan> {
  const text = await readText(path)
  if (text === undefined) throw new KernelError(Errno.ENOENT, `there is no plan ${path}`, 'lab')
  const value = parse(path, text, [PLAN_FORMAT, RESULTS_FORMAT])
  const plan = value.format === RESULTS_FORMAT ? value.plan : value
  const fault = planFault(plan)
  if (fault !== undefined) throw refused(path, `has no plan that can be run: ${fault}`)
  const { seed, repetitions, seconds, full, budgetSeconds, experiments } = plan as Plan
  return { seed, repetitions, seconds, full, ...(budgetSeconds === undefined ? {} : { budgetSeconds }), experiments }
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new KernelError(Errno.EIO, `${path} cannot be read: ${(error as Error).message}`, 'lab', { cause: error })
  }
}

function parse(path: string, text: string, formats: readonly string[]): { readonly [name: string]: unknown } {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw refused(path, 'is cut off, or is no JSON')
  }
  if (!isRecord(value) || typeof value.format !== 'string' || !formats.includes(value.format)) {
    throw refused(path, 'is no file of "damselfly lab"')
  }
  if (value.version !== FORMAT_VERSION) {
    const version = typeof value.version === 'number' ? `version ${value.version}` : 'another version'
    throw refused(path, `is of ${version}; this damselfly reads version ${FORMAT_VERSION}`)
  }
  return value
}

function refused(path: string, what: string): KernelError {
  return new KernelError(
    Errno.EPROTO,
    `${path} ${what}. It was left as it is: give another one, or move it away.`,
    'lab',
  )
}

type Kind = 'string' | 'number' | 'boolean'
const COMPUTER = {
  processors: 'number',
  model: 'string',
  architecture: 'string',
  kernel: 'string',
  node: 'string',
  v8: 'string',
  memoryBytes: 'number',
  load: 'number',
} as const satisfies { readonly [Name in keyof Computer]: Kind }

function resultsFault(value: { readonly [name: string]: unknown }): string | undefined {
  if (!isTime(value.began)) return 'began is no time'
  if (!isRecord(value.computer)) return 'there is no computer'
  for (const [name, kind] of Object.entries(COMPUTER)) {
    if (typeof value.computer[name] !== kind) return `computer.${name} is no ${kind}`
  }
  const fault = planFault(value.plan)
  if (fault !== undefined) return fault
  if (!Array.isArray(value.runs)) return 'there are no runs'
  const expected = new Set(steps(value.plan as Plan).map((step) => stepName({ ...step, cell: step.cell.key })))
  for (const [i, run] of value.runs.entries()) {
    const fault = runFault(run, expected)
    if (fault !== undefined) return `runs[${i}]: ${fault}`
  }
  return undefined
}

/** `expected`: the runs of the plan that did not come yet. */
function runFault(run: unknown, expected: Set<string>): string | undefined {
  if (!isRecord(run)) return 'it is no object'
  const { experiment, cell, repetition, at, ms } = run
  if (typeof experiment !== 'string' || typeof cell !== 'string' || typeof repetition !== 'number') {
    return 'experiment, cell or repetition is missing'
  }
  if (!expected.delete(stepName({ experiment, cell, repetition }))) return 'the plan has no such run, or it was before'
  if (!isTime(at)) return 'at is no time'
  if (typeof ms !== 'number' || !(ms >= 0)) return 'ms is no time'
  if (run.measuredFor !== undefined && typeof run.measuredFor !== 'string') return 'measuredFor is no name'
  return outcomeFault(run.outcome)
}

function planFault(plan: unknown): string | undefined {
  if (!isRecord(plan)) return 'there is no plan'
  const { seed, repetitions, seconds, full, budgetSeconds, experiments } = plan
  if (!isWhole(seed, 0, 0xffffffff)) return 'seed is no whole number from 0 to 4294967295'
  if (!isWhole(repetitions, 1, PlanLimits.repetitions)) return `repetitions is none of 1 to ${PlanLimits.repetitions}`
  if (typeof seconds !== 'number' || !(seconds > 0 && seconds <= PlanLimits.seconds)) {
    return `seconds is none of 0 to ${PlanLimits.seconds}`
  }
  if (typeof full !== 'boolean') return 'full is no boolean'
  if (budgetSeconds !== undefined && !(typeof budgetSeconds === 'number' && budgetSeconds > 0)) {
    return 'budgetSeconds is no time'
  }
  if (!Array.isArray(experiments) || experiments.length === 0) return 'there are no experiments'
  const names = new Set<string>()
  for (const experiment of experiments as readonly unknown[]) {
    if (!isRecord(experiment) || typeof experiment.name !== 'string') return 'an experiment has no name'
    if (names.has(experiment.name)) return `the experiment "${experiment.name}" is there twice`
    names.add(experiment.name)
    if (!Array.isArray(experiment.cells) || !experiment.cells.every(isCell)) {
      return `the experiment "${experiment.name}" has a cell without key, parameters or workload`
    }
    const fault = cellsFault({ name: experiment.name, cells: experiment.cells })
    if (fault !== undefined) return fault
  }
  return undefined
}

function isCell(cell: unknown): boolean {
  return (
    isRecord(cell) &&
    typeof cell.key === 'string' &&
    typeof cell.workload === 'string' &&
    isRecord(cell.parameters) &&
    Object.values(cell.parameters).every((value) => ['string', 'number', 'boolean'].includes(typeof value))
  )
}

function isWhole(value: unknown, low: number, high: number): boolean {
  return Number.isInteger(value) && (value as number) >= low && (value as number) <= high
}

function isTime(value: unknown): value is string {
  return typeof value === 'string' && !Number.isNaN(Date.parse(value))
}

/** Writes a file so that at every moment either the old one or the new one is there, whole. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`
  try {
    const file = await open(temporary, 'w')
    try {
      await file.writeFile(text)
      // Else a crash of the machine could leave the new name with nothing behind it.
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw new KernelError(Errno.EIO, `${path} cannot be written: ${(error as Error).message}`, 'lab', { cause: error })
  }
}
