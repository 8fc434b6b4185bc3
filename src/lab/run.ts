// Runs a plan: the steps that have no outcome yet, one after the other, each recorded before the next begins.
import { TimeLeft } from './left.ts'
import { isMeasured, type Outcome } from './outcome.ts'
import { type Plan, type Step, stepName, steps } from './plan.ts'
import type { Run } from './results.ts'

export interface Progress {
  /** Runs that are behind us, also of earlier sessions. */
  readonly done: number
  readonly total: number
  /** Time left, estimated from what the runs took so far. */
  readonly leftMs: number
  /** What runs now; undefined when all is done. */
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

/** Returns all runs, or those so far when `measure` was broken off. */
export async function runPlan(options: RunOptions): Promise<readonly Run[]> {
  const { plan, measure, save, onProgress, now = () => performance.now() } = options
  const runs = options.runs.filter(({ outcome }) => !('error' in outcome))
  const finished = new Set(runs.map(stepName))
  const all = steps(plan)
  const open = all.filter((step) => !finished.has(nameOf(step)))
  const left = new TimeLeft(plan, runs)
  let last: Run | undefined
  for (const [i, step] of open.entries()) {
    onProgress?.({ done: runs.length, total: all.length, leftMs: left.of(open.slice(i)), next: step, last })
    const began = now()
    const outcome = await measure(step)
    if (outcome === undefined) return runs
    last = {
      experiment: step.experiment,
      cell: step.cell.key,
      repetition: step.repetition,
      at: new Date().toISOString(),
      ms: Math.round(now() - began),
      outcome,
    }
    runs.push(last)
    left.add(last)
    await save(runs)
  }
  onProgress?.({ done: runs.length, total: all.length, leftMs: 0, next: undefined, last })
  return runs
}

function nameOf(step: Step): string {
  return stepName({ ...step, cell: step.cell.key })
}

export function failures(runs: readonly Run[]): Run[] {
  return runs.filter(({ outcome }) => !isMeasured(outcome))
}
