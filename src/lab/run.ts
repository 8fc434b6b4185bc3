// Runs a plan: the steps that have no outcome yet, one after the other, each recorded before the next begins.
import { TimeLeft } from './left.ts'
import type { Outcome } from './outcome.ts'
import { measurementName, type Plan, type Step, stepName, steps } from './plan.ts'
import type { Run } from './results.ts'

export interface Progress {
  /** Runs that are behind us, also of earlier sessions. */
  readonly done: number
  readonly total: number
  /** Time left, estimated from what the runs took so far. */
  readonly leftMs: number
  /** What runs now; undefined when all is done, or when the time of the plan is over. */
  readonly next: Step | undefined
  /** What just ended; undefined at the beginning. */
  readonly last: Run | undefined
}

export interface RunOptions {
  readonly plan: Plan
  /** Runs of earlier sessions. Those that failed are tried again. */
  readonly runs: readonly Run[]
  /** Measures one step. Undefined: it was broken off. */
  readonly measure: (step: Step) => Promise<Outcome | undefined>
  /** Called after each run with all runs; the next one begins when it has resolved. */
  readonly save: (runs: readonly Run[]) => Promise<void>
  readonly onProgress?: (progress: Progress) => void
  /** Milliseconds, monotonic. */
  readonly now?: () => number
}

/** Returns all runs, or those so far when `measure` was broken off or the time of the plan is over. */
export async function runPlan(options: RunOptions): Promise<readonly Run[]> {
  const { plan, measure, save, onProgress, now = () => performance.now() } = options
  const runs = options.runs.filter(({ outcome }) => !('error' in outcome))
  const finished = new Set(runs.map(stepName))
  const all = steps(plan)
  const open = all.filter((step) => !finished.has(nameOf(step)))
  const left = new TimeLeft(plan, runs)
  const end = now() + 1000 * (plan.budgetSeconds ?? Number.POSITIVE_INFINITY)
  let last: Run | undefined
  for (const [i, step] of open.entries()) {
    if (finished.has(nameOf(step))) continue
    const rest = open.slice(i).filter((other) => !finished.has(nameOf(other)))
    const began = now()
    // Something runs in any case: else it would never begin.
    if (last !== undefined && began + left.of([step]) > end) break
    const leftMs = Math.min(left.of(rest), end - began)
    onProgress?.({ done: runs.length, total: all.length, leftMs, next: step, last })
    const outcome = await measure(step)
    if (outcome === undefined) return runs
    const ms = Math.max(1, Math.round(now() - began))
    const at = new Date().toISOString()
    for (const same of rest.filter((other) => measuresTheSame(step, other))) {
      const { experiment, repetition, cell } = same
      const run = { experiment, cell: cell.key, repetition, at, ms: 0, outcome, measuredFor: step.experiment }
      runs.push(same === step ? { experiment, cell: cell.key, repetition, at, ms, outcome } : run)
      finished.add(nameOf(same))
    }
    last = runs.find((run) => stepName(run) === nameOf(step))!
    left.add(last)
    await save(runs)
  }
  onProgress?.({ done: runs.length, total: all.length, leftMs: 0, next: undefined, last })
  return runs
}

function measuresTheSame(step: Step, other: Step): boolean {
  return step.repetition === other.repetition && measurementName(step.cell) === measurementName(other.cell)
}

function nameOf(step: Step): string {
  return stepName({ ...step, cell: step.cell.key })
}
