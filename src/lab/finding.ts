// An experiment together with what was measured of it: what the report and the terminal show.
import type { Experiment } from './experiment.ts'
import { Measurements } from './measurements.ts'
import type { Results } from './results.ts'

export interface Finding {
  readonly experiment: Experiment
  readonly results: Measurements
}

/** `experiments`: all that the plan names, in any order. */
export function findings(experiments: readonly Experiment[], { plan, runs }: Results): Finding[] {
  return plan.experiments.flatMap((planned) => {
    const experiment = experiments.find(({ name }) => name === planned.name)
    if (experiment === undefined) return []
    const mine = runs.filter((run) => run.experiment === planned.name)
    return [{ experiment, results: Measurements.of(experiment, planned, mine) }]
  })
}

export const NOTHING_MEASURED = 'No conclusion: nothing of it could be measured on this machine.'

export function conclusion({ experiment, results }: Finding): string {
  return results.isEmpty ? NOTHING_MEASURED : experiment.conclude(results)
}
