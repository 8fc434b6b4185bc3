// How long the rest of a plan takes. What was measured before takes as long as it did; other cells of its experiment as long as
// most of those did, and cells of experiments that did not run yet as long as most did so far. Before anything ran it is a guess.
import type { CellOutcome } from './measurements.ts'
import { measurementName, type Plan, STARTUP_SECONDS, type Step } from './plan.ts'
import { median } from './statistics.ts'

/** What it looks at of a run. */
type Timed = Pick<CellOutcome, 'cell'> & { readonly experiment: string; readonly ms: number }

export class TimeLeft {
  readonly #guessMs: number
  /** By experiment and cell: what it measures. */
  readonly #names = new Map<string, string>()
  readonly #measured = new Map<string, number>()
  readonly #byExperiment = new Map<string, number[]>()
  readonly #all: number[] = []

  constructor(plan: Plan, runs: readonly Timed[]) {
    this.#guessMs = (plan.seconds + STARTUP_SECONDS) * 1000
    for (const { name, cells } of plan.experiments) {
      for (const cell of cells) this.#names.set(`${name} ${cell.key}`, measurementName(cell))
    }
    for (const run of runs) this.add(run)
  }

  add({ experiment, cell, ms }: Timed): void {
    // Measured for another experiment, whose run tells.
    if (ms === 0) return
    this.#measured.set(this.#names.get(`${experiment} ${cell}`)!, ms)
    const list = this.#byExperiment.get(experiment)
    if (list === undefined) this.#byExperiment.set(experiment, [ms])
    else list.push(ms)
    this.#all.push(ms)
  }

  /** Milliseconds. What measures the same takes its time once in each round. */
  of(steps: readonly Step[]): number {
    const usual = this.#all.length === 0 ? this.#guessMs : median(this.#all)
    const once = new Map(steps.map((step) => [`${measurementName(step.cell)} ${step.repetition}`, step]))
    return [...once.values()].reduce((sum, { experiment, cell }) => {
      const likely = this.#byExperiment.get(experiment)
      return sum + (this.#measured.get(measurementName(cell)) ?? (likely === undefined ? usual : median(likely)))
    }, 0)
  }
}
