// A plan: all that a measurement does, as data. The same plan gives the same cells in the same order with the same seeds; it
// is saved, and can be run again.
import { Errno, KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'
import { Random } from '../base/random.ts'
import type { Cell, Experiment, LabOptions, Parameter } from './experiment.ts'

export interface Plan {
  readonly seed: number
  /** Times that each cell is run. */
  readonly repetitions: number
  /** Time that each run measures. */
  readonly seconds: number
  readonly full: boolean
  /** What it may take: no run is begun that would not end within that time. Without it all runs are. */
  readonly budgetSeconds?: number
  readonly experiments: readonly PlannedExperiment[]
}

export interface PlannedExperiment {
  readonly name: string
  readonly cells: readonly Cell[]
}

/** One run of one cell. */
export interface Step {
  readonly experiment: string
  readonly cell: Cell
  /** From 0. */
  readonly repetition: number
  readonly seed: number
}

export const PlanLimits = { repetitions: 1000, seconds: 3600, cells: 10_000 } as const

/** Only the cells whose parameter has one of these values. */
export interface Restriction {
  readonly name: string
  readonly values: readonly string[]
}

export interface PlanOptions extends LabOptions {
  readonly seed: number
  /** Undefined: as many as the form has, and in the quick one as fit. */
  readonly repetitions: number | undefined
  /** Undefined: as long as the form allows. */
  readonly seconds: number | undefined
  readonly restrictions: readonly Restriction[]
}

/** @throws KernelError EINVAL where a sweep cannot be */
export function makePlan(experiments: readonly Experiment[], options: PlanOptions): Plan {
  const { seed, full, restrictions } = options
  const planned = experiments.map((experiment) => ({
    name: experiment.name,
    cells: experiment.cells(options).map(({ key, parameters, workload }) => ({ key, parameters, workload })),
  }))
  for (const experiment of planned) {
    const fault = cellsFault(experiment)
    if (fault !== undefined) throw impossible(fault)
  }
  const kept = restrictions.reduce(restrict, planned)
  const repetitions = options.repetitions ?? (full ? REPETITIONS.full : REPETITIONS.quick)
  const round = measurements(kept.flatMap(({ cells }) => cells))
  const seconds = options.seconds ?? (full ? FULL_SECONDS : quickSeconds(Math.min(repetitions, FITTING) * round))
  // Who says how long or how often has said how long all of it may take.
  const isBounded = !full && options.seconds === undefined && options.repetitions === undefined
  const budget = isBounded ? { budgetSeconds: QUICK_SECONDS } : {}
  return { seed, repetitions, seconds, full, ...budget, experiments: kept }
}

const REPETITIONS = { quick: 3, full: 7 } as const
const FULL_SECONDS = 3
/** What the runs of the quick form take: it must end within a minute, with the build before it and the report behind it. */
const QUICK_SECONDS = 50
/** So many repetitions are to fit into that, where they fit at all. */
const FITTING = 2
/** What a run takes beyond its measuring, its start and its warming up, as a guess from before the first was seen. */
export const STARTUP_SECONDS = 1
const RUN_SECONDS = { low: 0.2, high: 1 } as const

/** The time of each run of the quick form, so that all of them fit. */
function quickSeconds(runs: number): number {
  const share = QUICK_SECONDS / runs - STARTUP_SECONDS
  return Math.floor(Math.min(RUN_SECONDS.high, Math.max(RUN_SECONDS.low, share)) * 100) / 100
}

/** What the plan takes, as far as can be said before. */
export function plannedSeconds(plan: Plan): number {
  const round = measurements(plan.experiments.flatMap(({ cells }) => cells)) * (plan.seconds + STARTUP_SECONDS)
  const all = round * plan.repetitions
  return Math.min(all, plan.budgetSeconds ?? all)
}

/**
 * What a cell measures, whatever it is called and whichever experiment has it: cells that measure the same are measured once for
 * all of them.
 */
export function measurementName({ workload, parameters }: Cell): string {
  const sorted = Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1))
  return `${workload} ${JSON.stringify(sorted)}`
}

function measurements(cells: readonly Cell[]): number {
  return new Set(cells.map(measurementName)).size
}

/** What is wrong with the sweep of an experiment, or undefined. */
export function cellsFault({ name, cells }: PlannedExperiment): string | undefined {
  if (cells.length === 0) return `the sweep of "${name}" has no cell`
  if (cells.length > PlanLimits.cells)
    return `the sweep of "${name}" has ${cells.length} cells, above ${PlanLimits.cells}`
  const keys = new Set<string>()
  for (const { key, parameters } of cells) {
    if (keys.has(key)) return `the sweep of "${name}" has the cell "${key}" twice`
    keys.add(key)
    for (const [parameter, value] of Object.entries(parameters)) {
      // JSON knows neither NaN nor infinity: such a cell would be another one when the plan is read again.
      if (typeof value === 'number' && !Number.isFinite(value)) {
        return `the sweep of "${name}" has ${parameter} = ${value}, which no plan can hold`
      }
    }
    const { cpus } = parameters
    if (typeof cpus === 'number' && !(Number.isInteger(cpus) && cpus >= 1 && cpus <= Limits.cpus)) {
      return `the sweep of "${name}" has cpus = ${cpus}: a machine has 1 to ${Limits.cpus}`
    }
  }
  return undefined
}

function restrict(experiments: readonly PlannedExperiment[], { name, values }: Restriction): PlannedExperiment[] {
  const known = new Set<Parameter>()
  const kept = experiments.map((experiment) => ({
    ...experiment,
    cells: experiment.cells.filter(({ parameters }) => {
      const value = parameters[name]
      if (value !== undefined) known.add(value)
      return values.includes(String(value))
    }),
  }))
  if (known.size === 0) {
    const names = new Set(experiments.flatMap(({ cells }) => cells.flatMap((cell) => Object.keys(cell.parameters))))
    throw impossible(`no sweep has a parameter "${name}": there are ${[...names].join(', ')}`)
  }
  for (const value of values) {
    if (![...known].some((other) => String(other) === value)) {
      throw impossible(`no cell has ${name} = ${value}: there are ${[...known].join(', ')}`)
    }
  }
  const left = kept.filter(({ cells }) => cells.length > 0)
  if (left.length === 0) throw impossible('no cell is left of the sweep: give fewer restrictions')
  return left
}

function impossible(fault: string): KernelError {
  return new KernelError(Errno.EINVAL, fault, 'lab')
}

/**
 * Every cell once, then every cell again: a machine whose speed drifts drifts for all alike. Each round in an order of its
 * own, so that no cell always comes behind the same other one.
 */
export function steps(plan: Plan): Step[] {
  const random = new Random(plan.seed)
  const cells = plan.experiments.flatMap(({ name, cells }) => cells.map((cell) => ({ experiment: name, cell })))
  return Array.from({ length: plan.repetitions }, (_, repetition) => {
    const round = random.fork(repetition)
    // The seed belongs to the cell and not to its place.
    const steps = cells.map((each) => ({ ...each, repetition, seed: round.next() }))
    for (let i = steps.length - 1; i > 0; i--) {
      const j = round.below(i + 1)
      const step = steps[i]!
      steps[i] = steps[j]!
      steps[j] = step
    }
    return steps
  }).flat()
}

/** What a run is found by in a plan. */
export function stepName(step: {
  readonly experiment: string
  readonly cell: string
  readonly repetition: number
}): string {
  return `${step.experiment} ${step.cell} ${step.repetition}`
}

/** How another plan differs from this one, in words that follow "it"; undefined where it does not. */
export function planDifference(saved: Plan, wanted: Plan): string | undefined {
  const form = (full: boolean) => (full ? 'the full form' : 'the quick form')
  if (saved.full !== wanted.full) return `has ${form(saved.full)}, not ${form(wanted.full)}`
  const names = (plan: Plan) => plan.experiments.map(({ name }) => name).join(', ')
  if (names(saved) !== names(wanted)) return `has the experiments ${names(saved)}, not ${names(wanted)}`
  for (const name of ['repetitions', 'seconds', 'seed', 'budgetSeconds'] as const) {
    const shown = (plan: Plan) => plan[name] ?? 'none'
    if (saved[name] !== wanted[name]) return `has ${name} = ${shown(saved)}, not ${shown(wanted)}`
  }
  const cells = (plan: Plan) => JSON.stringify(plan.experiments)
  return cells(saved) === cells(wanted) ? undefined : 'has other cells'
}
