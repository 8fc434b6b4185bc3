// Experiments for the tests of the laboratory, and the folder of the workload that they use.
import type { Cell, Experiment, Parameter } from '../experiment.ts'
import { figure } from '../format.ts'
import type { CellOutcome } from '../measurements.ts'
import { makePlan, type Plan } from '../plan.ts'
import type { Results, Run } from '../results.ts'
import { sweep } from '../sweep.ts'
import { sweepPlot, sweepTable } from '../view.ts'

export const FAKE_WORKLOADS = new URL('./workloads/', import.meta.url)

/** An experiment whose cells are all combinations of `values`; `x` goes along the plot's axis. */
export function fakeExperiment(
  name: string,
  values: { readonly [name: string]: readonly Parameter[] },
  x = Object.keys(values)[0]!,
  by?: string,
): Experiment {
  return {
    name,
    title: `The fake "${name}" <&>`,
    question: `What does ${name} ask?`,
    method: 'One paragraph\nof two lines.\n\nAnother one.',
    metrics: [{ name: 'rate', title: 'rate', unit: 'k/s', scale: 1000, better: 'more' }],
    cells: (): readonly Cell[] => sweep('fake', values),
    table: (results) =>
      sweepTable(results, {
        title: `Table of ${name}`,
        parameters: Object.fromEntries(Object.keys(values).map((key) => [key, key])),
      }),
    plot: (results) =>
      sweepPlot(results, {
        title: `Plot of ${name}`,
        x,
        xTitle: x,
        xScale: typeof values[x]![0] === 'number' ? 'linear' : 'category',
        metric: 'rate',
        ...(by === undefined ? {} : { by }),
        limits: [{ title: 'the limit', y: 2 }],
      }),
    conclude: (results) => `The best is ${figure(results.best('rate')?.median('rate') ?? Number.NaN)} k/s.`,
    accounting: (results) => {
      const table = results.best('rate')?.recorded('waits', 'rate')
      if (table === undefined) return []
      return [{ title: 'Waits', columns: table.columns.map((title) => ({ title })), rows: table.rows }]
    },
  }
}

/** What "damselfly lab" is given in its tests. */
export const FAKE_LABORATORY = {
  experiments: [
    fakeExperiment('sizes', { size: [1, 2, 3] }),
    fakeExperiment('gate', { how: ['wait', 'well'] }),
    fakeExperiment('faults', { how: ['throw', 'impossible', 'well'] }),
    fakeExperiment('empty', { size: [] }),
  ],
  workloads: FAKE_WORKLOADS,
} as const

export function fakePlan(experiments: readonly Experiment[], repetitions = 3): Plan {
  return makePlan(experiments, {
    seed: 7,
    repetitions,
    seconds: 0.01,
    full: false,
    processors: 2,
    restrictions: [],
  })
}

export function fakeRun(cell: string, repetition: number, outcome: CellOutcome['outcome'], experiment = 'sizes'): Run {
  return { experiment, cell, repetition, at: '2026-01-02T03:04:05.000Z', ms: 12, outcome }
}

export function fakeResults(plan: Plan, runs: readonly Run[]): Results {
  const computer = {
    processors: 2,
    model: 'A "fast" <one>',
    architecture: 'x64',
    kernel: 'Linux 6.1',
    node: 'v20.0.0',
    v8: '11.3',
    memoryBytes: 2 ** 34,
    load: 0.25,
  }
  return { began: '2026-01-02T03:04:05.000Z', computer, plan, runs }
}
