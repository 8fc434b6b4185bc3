// The table and the plot that most experiments want: a row for each cell, a series for each value of one parameter.
import type { Axis, Column, Entry, Plot, Point, Series, Table } from './experiment.ts'
import type { Measurements } from './measurements.ts'

export interface SweepTableOptions {
  readonly title: string
  /** Columns in front, in this order; what each is called. */
  readonly parameters: { readonly [name: string]: string }
  /** Default: all of the experiment's. */
  readonly metrics?: readonly string[]
}

/** A row for each cell: its parameters, and its metrics with their spread. */
export function sweepTable(results: Measurements, options: SweepTableOptions): Table {
  const metrics = options.metrics ?? [...results.metrics.keys()]
  const columns: Column[] = [
    ...Object.values(options.parameters).map((title) => ({ title })),
    ...metrics.map((name) => {
      const { title, unit } = results.metric(name)
      return { title, unit }
    }),
  ]
  const rows = results.cells.map((cell): Entry[] => [
    ...Object.keys(options.parameters).map((name) => cell.parameters[name]),
    ...metrics.map((name) => cell.summary(name)),
  ])
  return { title: options.title, columns, rows }
}

export interface SweepPlotOptions {
  readonly title: string
  /** The parameter along x. On linear and logarithmic axes only cells where it is a number are drawn. */
  readonly x: string
  readonly xTitle: string
  readonly xScale: Axis['scale']
  readonly metric: string
  /** Default linear. */
  readonly yScale?: 'linear' | 'log'
  /** The parameter that parts the series; without it there is one. */
  readonly by?: string
  /** What the legend calls a series. Default: the parameter's value. */
  readonly name?: (value: string) => string
  readonly limits?: Plot['limits']
}

/** A series for each value of `by`: medians with their spread. */
export function sweepPlot(results: Measurements, options: SweepPlotOptions): Plot {
  const { title, x, by, metric, name = (value: string) => value } = options
  const { title: yTitle, unit } = results.metric(metric)
  const groups = by === undefined ? [undefined] : results.values(by)
  const series = groups.map((value): Series => {
    const mine = value === undefined || by === undefined ? results : results.where({ [by]: value })
    return { name: value === undefined ? yTitle : name(String(value)), points: points(mine, x, metric, options.xScale) }
  })
  return {
    title,
    x: { title: options.xTitle, scale: options.xScale },
    y: { title: unit === '' ? yTitle : `${yTitle} (${unit})`, scale: options.yScale ?? 'linear' },
    series: series.filter((each) => each.points.length > 0),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  }
}

function points(results: Measurements, x: string, metric: string, scale: Axis['scale']): Point[] {
  const points = results.cells.flatMap((cell): Point[] => {
    const at = cell.parameters[x]
    const summary = cell.summary(metric)
    if (at === undefined || summary === undefined) return []
    const place = scale === 'category' ? String(at) : at
    if (scale !== 'category' && typeof place !== 'number') return []
    return [{ x: place as number | string, y: summary.median, low: summary.low, high: summary.high }]
  })
  return scale === 'category' ? points : points.sort((a, b) => Number(a.x) - Number(b.x))
}
