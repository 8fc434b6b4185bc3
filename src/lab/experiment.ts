// What an experiment of the laboratory is: a plain object in a file of its own under experiments/, listed in experiments.ts.
// It says what is asked and which cells are measured; how a cell is measured is the matter of a workload (workload.ts), and
// what came out is read through Measurements (measurements.ts). Nothing here runs anything.
import type { Measurements } from './measurements.ts'
import type { Summary } from './statistics.ts'

export type Parameter = string | number | boolean

export interface CellParameters {
  readonly [name: string]: Parameter
}

/** One point of a sweep. Pure data: it is saved in the plan, and sent to a process of its own. */
export interface Cell {
  /** Unique within the experiment; see `sweep`, which makes it of the parameters. */
  readonly key: string
  readonly parameters: CellParameters
  /** The name of a file in workloads/. */
  readonly workload: string
}

export interface LabOptions {
  /** The long form; the quick one must leave time for the other experiments: all of them have a minute. */
  readonly full: boolean
  /** Processors of this machine. */
  readonly processors: number
}

/** A number that a cell measures. */
export interface Metric {
  /** As the workload calls it. */
  readonly name: string
  readonly title: string
  /** What is shown is in this unit: the measured number divided by `scale`. */
  readonly unit: string
  /** Default 1. */
  readonly scale?: number
  readonly better: 'more' | 'less'
}

export interface Experiment {
  /** What the command line calls it: lower case, digits and hyphens. */
  readonly name: string
  /** There is no time for it in the quick form of all experiments: it must be named. Default false. */
  readonly isLong?: boolean
  readonly title: string
  readonly question: string
  /** How it is measured, and what the figures do not say. Blank lines part paragraphs. */
  readonly method: string
  readonly metrics: readonly Metric[]
  cells(options: LabOptions): readonly Cell[]
  /** Cells may have failed: what was not measured is undefined in all that follows, and is shown as a dash. */
  table(results: Measurements): Table
  plot(results: Measurements): Plot
  /** A sentence or a few with figures computed from the data, also where the message design loses. */
  conclude(results: Measurements): string
  /** Further plots and tables of the results, which stand behind the first ones; a table is shown on the terminal as well. */
  plots?(results: Measurements): readonly Plot[]
  tables?(results: Measurements): readonly Table[]
  /** Tables that say how it came about: what a packet cost, where it waited. */
  accounting?(results: Measurements): readonly Table[]
}

/** An entry of a table. A summary is shown as its median with the spread, undefined as a dash. */
export type Entry = Parameter | Summary | undefined

export interface Table {
  readonly title: string
  /** What its figures are to be read with: a source, a difference. */
  readonly note?: string
  readonly columns: readonly Column[]
  readonly rows: readonly (readonly Entry[])[]
}

export interface Column {
  readonly title: string
  readonly unit?: string
}

/** A plot as data. With a category on x it is drawn as bars, else as lines. */
export interface Plot {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly series: readonly Series[]
  /** Horizontal lines: a peer or a limit of the same run. */
  readonly limits?: readonly { readonly title: string; readonly y: number }[]
}

export interface Axis {
  readonly title: string
  readonly scale: 'linear' | 'log' | 'category'
}

export interface Series {
  readonly name: string
  readonly points: readonly Point[]
}

export interface Point {
  readonly x: number | string
  readonly y: number
  /** The spread: the lowest and the highest repetition. */
  readonly low: number
  readonly high: number
}
