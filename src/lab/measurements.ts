// What an experiment reads when it makes its table, its plot and its conclusion: its cells with their repetitions. Numbers
// come out in the metric's unit. What was not measured is undefined everywhere, never zero and never NaN.
import { assert } from '../base/assert.ts'
import type { Cell, CellParameters, Experiment, Metric, Parameter } from './experiment.ts'
import { isMeasured, type Outcome } from './outcome.ts'
import type { PlannedExperiment } from './plan.ts'
import { type Summary, summarize } from './statistics.ts'
import type { Measured, MeasuredTable } from './workload.ts'

/** An outcome of one repetition of one cell; what a saved run is, as far as it matters here. */
export interface CellOutcome {
  readonly cell: string
  readonly repetition: number
  readonly outcome: Outcome
}

export class MeasuredCell {
  readonly key: string
  readonly parameters: CellParameters
  readonly outcomes: readonly Outcome[]
  readonly #metrics: ReadonlyMap<string, Metric>
  readonly #measured: readonly Measured[]

  constructor(cell: Cell, metrics: ReadonlyMap<string, Metric>, outcomes: readonly Outcome[]) {
    this.key = cell.key
    this.parameters = cell.parameters
    this.outcomes = outcomes
    this.#metrics = metrics
    this.#measured = outcomes.filter(isMeasured)
  }

  /** Over the repetitions that measured this metric. */
  summary(metric: string): Summary | undefined {
    const { scale = 1 } = this.#metric(metric)
    const values = this.#values(metric)
    return values.length === 0 ? undefined : summarize(values.map((value) => value / scale))
  }

  median(metric: string): number | undefined {
    return this.summary(metric)?.median
  }

  /**
   * A table that the workload took down, from the repetition whose `metric` is nearest the median: tables of several runs cannot
   * be added up, and this one is of an ordinary run.
   */
  recorded(table: string, metric: string): MeasuredTable | undefined {
    this.#metric(metric)
    const values = this.#values(metric)
    if (values.length === 0) return undefined
    const { median } = summarize(values)
    const distance = (measured: Measured) => Math.abs((measured.metrics[metric] ?? Number.POSITIVE_INFINITY) - median)
    const nearest = this.#measured.reduce((best, each) => (distance(each) < distance(best) ? each : best))
    return nearest.tables?.[table]
  }

  #values(metric: string): number[] {
    return this.#measured.flatMap(({ metrics }) => metrics[metric] ?? [])
  }

  #metric(name: string): Metric {
    const metric = this.#metrics.get(name)
    assert(metric !== undefined, 'an experiment asks only for metrics that it declares')
    return metric
  }
}

export class Measurements {
  /** In the order of the sweep; also those where every repetition failed. */
  readonly cells: readonly MeasuredCell[]
  readonly metrics: ReadonlyMap<string, Metric>

  constructor(cells: readonly MeasuredCell[], metrics: ReadonlyMap<string, Metric>) {
    this.cells = cells
    this.metrics = metrics
  }

  static of(experiment: Experiment, planned: PlannedExperiment, outcomes: readonly CellOutcome[]): Measurements {
    const metrics = new Map(experiment.metrics.map((metric) => [metric.name, metric]))
    const sorted = [...outcomes].sort((a, b) => a.repetition - b.repetition)
    const cells = planned.cells.map((cell) => {
      const mine = sorted.filter((each) => each.cell === cell.key)
      return new MeasuredCell(
        cell,
        metrics,
        mine.map(({ outcome }) => outcome),
      )
    })
    return new Measurements(cells, metrics)
  }

  /** Whether any cell measured anything. */
  get isEmpty(): boolean {
    return !this.cells.some(({ outcomes }) => outcomes.some(isMeasured))
  }

  metric(name: string): Metric {
    const metric = this.metrics.get(name)
    assert(metric !== undefined, 'an experiment asks only for metrics that it declares')
    return metric
  }

  /** The cells that have all of these parameters. */
  where(parameters: CellParameters): Measurements {
    const names = Object.keys(parameters)
    const cells = this.cells.filter((cell) => names.every((name) => cell.parameters[name] === parameters[name]))
    return new Measurements(cells, this.metrics)
  }

  /** The cells that have a parameter of this name, or that have none. */
  having(parameter: string, has = true): Measurements {
    const cells = this.cells.filter((cell) => (cell.parameters[parameter] !== undefined) === has)
    return new Measurements(cells, this.metrics)
  }

  /** The first cell that has all of these parameters. */
  cell(parameters: CellParameters): MeasuredCell | undefined {
    return this.where(parameters).cells[0]
  }

  /** The values that a parameter has, each once, in the order of the sweep. */
  values(parameter: string): Parameter[] {
    return [...new Set(this.cells.flatMap((cell) => cell.parameters[parameter] ?? []))]
  }

  /** The cell with the best median of a metric, of those that measured it. */
  best(metric: string): MeasuredCell | undefined {
    const sign = this.metric(metric).better === 'more' ? 1 : -1
    const score = (cell: MeasuredCell) => sign * (cell.median(metric) ?? Number.NaN)
    const able = this.cells.filter((cell) => cell.median(metric) !== undefined)
    return able.reduce<MeasuredCell | undefined>(
      (best, cell) => (best === undefined || score(cell) > score(best) ? cell : best),
      undefined,
    )
  }

  /** A cell's median of a metric by another's; undefined where either is missing, or the other is zero. */
  ratio(metric: string, parameters: CellParameters, to: CellParameters): number | undefined {
    const above = this.cell(parameters)?.median(metric)
    const below = this.cell(to)?.median(metric)
    return above === undefined || below === undefined || below === 0 ? undefined : above / below
  }
}
