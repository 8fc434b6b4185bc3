// How long the rest of a plan takes: a cell that ran before takes as long as it did, another one as long as most did so far.
import type { CellOutcome } from './measurements.ts'
import { type Plan, STARTUP_SECONDS, type Step } from './plan.ts'
import { median } from './statistics.ts'

/** What it looks at of a run. */
type Timed = Pick<CellOutcome, 'cell'> & { readonly experiment: string; readonly ms: number }

export class TimeLeft {
  readonly #secondsMs: number
  readonly #cells = new Map<string, number>()
  readonly #times: number[] = []

  constructor(plan: Plan, runs: readonly Timed[]) {
    this.#secondsMs = plan.seconds * 1000
    for (const run of runs) this.add(run)
  }

  add(run: Timed): void {
    this.#cells.set(`${run.experiment} ${run.cell}`, run.ms)
    this.#times.push(run.ms)
  }

  /** Milliseconds. */
  of(steps: readonly Step[]): number {
    const usual = this.#times.length === 0 ? this.#secondsMs + STARTUP_SECONDS * 1000 : median(this.#times)
    return steps.reduce((sum, { experiment, cell }) => sum + (this.#cells.get(`${experiment} ${cell.key}`) ?? usual), 0)
  }
}
