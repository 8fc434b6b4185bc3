// Results that were never measured, for the tests of conclusions: what a cell measured is said by a function of its
// parameters, a value for each repetition.
import type { CellParameters, Experiment } from '../../experiment.ts'
import { type CellOutcome, Measurements } from '../../measurements.ts'
import { makePlan } from '../../plan.ts'

export type Made = { readonly [metric: string]: readonly number[] }

/** Undefined: the cell failed. */
export function made(
  experiment: Experiment,
  of: (parameters: CellParameters) => Made | undefined,
  full = false,
): Measurements {
  const options = { seed: 1, repetitions: 1, seconds: 1, full, processors: 2, restrictions: [] }
  const planned = makePlan([experiment], options).experiments[0]!
  const outcomes = planned.cells.flatMap(({ key, parameters }): CellOutcome[] => {
    const values = of(parameters)
    if (values === undefined) return [{ cell: key, repetition: 0, outcome: { error: 'failed' } }]
    const repetitions = Math.max(...Object.values(values).map((list) => list.length))
    return Array.from({ length: repetitions }, (_, repetition) => ({
      cell: key,
      repetition,
      outcome: { metrics: Object.fromEntries(Object.entries(values).map(([name, list]) => [name, list[repetition]!])) },
    }))
  })
  return Measurements.of(experiment, planned, outcomes)
}
