// damselfly lab: runs the experiments of the laboratory, each cell in a process of its own, and writes what was found: the results,
// a report, and the tables on the terminal.
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Errno, KernelError } from '../base/errno.ts'
import { systemSeed } from '../base/random.ts'
import { runInChild } from '../lab/child.ts'
import { describeComputer, isBusy } from '../lab/computer.ts'
import type { Experiment, Table } from '../lab/experiment.ts'
import { EXPERIMENTS } from '../lab/experiments.ts'
import { conclusion, findings } from '../lab/finding.ts'
import { Folder } from '../lab/folder.ts'
import { columnText, duration, entryText, figure } from '../lab/format.ts'
import { readCalibration, writeCalibration } from '../lab/model/calibration.ts'
import { openCalibration } from '../lab/model/open.ts'
import { isMeasured } from '../lab/outcome.ts'
import { makePlan, type Plan, PlanLimits, plannedSeconds, type Restriction } from '../lab/plan.ts'
import { ProgressLine } from '../lab/progress.ts'
import { type Results, type Run, readPlan } from '../lab/results.ts'
import { runPlan } from '../lab/run.ts'
import { workloadModule } from '../lab/workload.ts'
import { decimalNumber, wholeNumber } from './argument.ts'
import { missingPackages, missingText, REPORT_PACKAGES } from './optional.ts'
import { table } from './table.ts'
import { UsageError } from './usage.ts'

/** What is measured with; the tests have a laboratory of their own. */
export interface Laboratory {
  readonly experiments: readonly Experiment[]
  /** The folder of the workloads. Default: the laboratory's own. */
  readonly workloads?: URL
}

interface Options {
  readonly names: readonly string[]
  readonly full: boolean
  readonly out: string | undefined
  readonly planPath: string | undefined
  readonly seed: number | undefined
  readonly repetitions: number | undefined
  readonly seconds: number | undefined
  readonly restrictions: readonly Restriction[]
  readonly list: boolean
  readonly report: string | undefined
  readonly calibration: string | undefined
}

/** What a shell tells of a program that a signal ended: 128 and its number. */
const SIGNAL_CODES = { SIGINT: 130, SIGTERM: 143 } as const

export async function lab(
  args: readonly string[],
  laboratory: Laboratory = { experiments: EXPERIMENTS },
): Promise<void> {
  const options = parse(args)
  const chosen = choose(options, laboratory.experiments)
  if (options.list) return list(chosen)
  const saved = options.planPath === undefined ? undefined : await readPlan(options.planPath)
  if (saved !== undefined) checkPlan(saved, laboratory)
  // One that cannot be used is refused before anything is measured.
  if (options.calibration !== undefined) await openCalibration(options.calibration)
  const path = options.out ?? (options.full && saved === undefined ? 'damselfly-lab/full' : `damselfly-lab/${stamp()}`)
  const folder = await Folder.open({
    path,
    report: options.report,
    plan: (earlier) => {
      const plan = saved ?? newPlan(chosen, options, earlier)
      checkPlan(plan, laboratory)
      return plan
    },
  })
  try {
    await measure(folder, laboratory, options.calibration)
  } finally {
    folder.close()
  }
}

/** The measurement in `earlier` goes on with its own seed, unless another one is given. */
function newPlan(chosen: readonly Experiment[], options: Options, earlier: Plan | undefined): Plan {
  const { full, repetitions, restrictions, seconds } = options
  const seed = options.seed ?? earlier?.seed ?? systemSeed()
  return makePlan(chosen, { full, repetitions, restrictions, seed, seconds, processors: availableParallelism() })
}

async function measure(folder: Folder, laboratory: Laboratory, calibration: string | undefined): Promise<void> {
  const { plan, runs: earlier } = folder.results
  const progress = new ProgressLine(process.stderr)
  if (folder.isContinued) progress.line(`The measurement in ${folder.path} goes on.`)
  else progress.line(`This takes about ${duration(plannedSeconds(plan) * 1000)}; the results go to ${folder.path}.`)
  const here = describeComputer()
  if (isBusy(here)) {
    progress.line(
      `Others are at work here (load ${figure(here.load)} on ${here.processors} processors): it will show in the figures.`,
    )
  }
  const undrawn = missingText('The report', missingPackages(REPORT_PACKAGES))
  if (undrawn !== undefined)
    progress.line(`There will be tables and results, and neither report nor plots. ${undrawn}.`)
  const costs = calibration ?? (await ownCosts(folder, (text) => progress.line(text)))
  const { signal, stop, caught } = untilSignal()
  const runs = await runPlan({
    plan,
    runs: earlier,
    measure: (step) => runInChild(step, plan, signal, laboratory.workloads, undefined, costs),
    save: (all) => folder.save(all),
    onProgress: (each) => progress.show(each),
  })
  stop()
  const by = caught()
  if (by !== undefined) {
    progress.line(`Broken off. ${runs.length} runs are saved: the same command with --out ${folder.path} goes on.`)
    process.exitCode = SIGNAL_CODES[by]
    return
  }
  console.log(summary(laboratory.experiments, folder.results))
  await folder.saveTable()
  const results = `the results are ${join(folder.path, 'results.json')} and results.csv`
  if (undrawn === undefined) {
    await draw(folder, laboratory)
    console.log(`\nThe report is ${folder.reportPath}; ${results}, and the plots *.svg.`)
  } else console.log(`\nThere is no report; ${results}. ${undrawn}.`)
  if (runs.some(({ outcome }) => 'error' in outcome)) process.exitCode = 1
}

async function draw(folder: Folder, { experiments }: Laboratory): Promise<void> {
  // Loaded only here: what draws the plots takes longer to load than all else.
  const { reportText } = await import('../lab/report/report.ts')
  const { picturesOf } = await import('../lab/report/picture.ts')
  const { results } = folder
  const pictures = findings(experiments, results).flatMap((finding) => picturesOf(finding, results))
  await folder.saveReport(reportText(experiments, results), pictures)
}

/**
 * The costs that models take, measured first where there is time for that: their file, in the folder. Undefined: those that came with this
 * version, or nobody needs any.
 */
async function ownCosts(folder: Folder, tell: (text: string) => void): Promise<string | undefined> {
  const { full, experiments } = folder.results.plan
  const isModel = ({ cells }: Plan['experiments'][number]) => cells.some(({ workload }) => workload === 'model')
  if (!experiments.some(isModel) || !(full || experiments.every(isModel))) return undefined
  const path = join(folder.path, 'calibration.json')
  if ((await readCalibration(path)) !== undefined) return path
  if (availableParallelism() < 2) {
    tell('The costs of the model are those that came with this version: to measure them takes two processors.')
    return undefined
  }
  tell(`First the costs of the model are measured, which takes some 20 s: ${path}.`)
  const { calibrate } = await import('../lab/model/calibrate.ts')
  await writeCalibration(path, await calibrate({ seconds: CALIBRATION_SECONDS, seed: folder.results.plan.seed }))
  return path
}
const CALIBRATION_SECONDS = 0.5

/** The first signal ends what is under way and lets the rest be said; the second one ends this process. */
function untilSignal() {
  const controller = new AbortController()
  let by: keyof typeof SIGNAL_CODES | undefined
  const onSignal = (name: NodeJS.Signals) => {
    by = name as keyof typeof SIGNAL_CODES
    stop()
    controller.abort()
  }
  const stop = () => {
    for (const name of Object.keys(SIGNAL_CODES)) process.off(name, onSignal)
  }
  for (const name of Object.keys(SIGNAL_CODES)) process.on(name, onSignal)
  return { signal: controller.signal, stop, caught: () => by }
}

/** Each experiment's table and conclusion, and what could not be measured. */
function summary(experiments: readonly Experiment[], results: Results): string {
  const parts = findings(experiments, results).map((finding) => {
    const { experiment, results } = finding
    const further = results.isEmpty ? [] : (experiment.tables?.(results) ?? [])
    const shown = results.isEmpty ? [] : [tableText(experiment.table(results)), ...further.map(titledText)]
    return [`\n${experiment.title}`, ...shown, wrapped(conclusion(finding))].join('\n\n')
  })
  const missing = [notMeasured(results.runs), notRun(results)].filter((text) => text !== '').join('\n')
  return [...parts, ...(missing === '' ? [] : [`\n${missing}`])].join('\n')
}

function titledText(table: Table): string {
  const note = table.note === undefined ? '' : `\n\n${wrapped(table.note)}`
  return `${table.title}\n\n${tableText(table)}${note}`
}

function tableText({ columns, rows }: Table): string {
  return table(
    columns.map(columnText),
    rows.map((row) => row.map(entryText)),
  )
}

function notMeasured(runs: readonly Run[]): string {
  const reasons = runs.flatMap(({ experiment, cell, outcome }) =>
    isMeasured(outcome) ? [] : `${experiment} ${cell}: ${'error' in outcome ? outcome.error : outcome.impossible}`,
  )
  const lines = [...new Set(reasons)].map((reason) => {
    const times = reasons.filter((other) => other === reason).length
    return `  ${reason}${times === 1 ? '' : ` (${times} times)`}`
  })
  return lines.length === 0 ? '' : ['Not measured:', ...lines].join('\n')
}

function notRun({ plan, runs }: Results): string {
  const ran = new Set(runs.map(({ experiment, cell }) => `${experiment} ${cell}`))
  const open = plan.experiments.flatMap(({ name, cells }) => cells.filter(({ key }) => !ran.has(`${name} ${key}`)))
  if (open.length === 0) return ''
  const cells = open.length === 1 ? 'One cell' : `${open.length} cells`
  return `${cells} did not run within the ${plan.budgetSeconds} s of the quick form: the same command with --out and this folder goes on.`
}

const WIDTH = 100

function wrapped(text: string): string {
  return text
    .split(/\s+/)
    .reduce<string[]>((lines, word) => {
      const line = lines.at(-1)
      if (line === undefined || line.length + word.length >= WIDTH) lines.push(word)
      else lines[lines.length - 1] = `${line} ${word}`
      return lines
    }, [])
    .join('\n')
}

function list(experiments: readonly Experiment[]): void {
  const processors = availableParallelism()
  const cells = (experiment: Experiment, full: boolean) => experiment.cells({ full, processors }).length
  console.log(
    table(
      ['experiment', 'question', 'cells', 'with --full'],
      experiments.map((each) => [each.name, each.title, cells(each, false), cells(each, true)]),
    ),
  )
}

function choose({ names, full, list }: Options, experiments: readonly Experiment[]): Experiment[] {
  const known = experiments.map(({ name }) => name)
  for (const name of names) {
    if (!known.includes(name)) throw new UsageError(`there is no experiment "${name}": there are ${known.join(', ')}`)
  }
  if (names.length > 0) return experiments.filter(({ name }) => names.includes(name))
  return experiments.filter(({ isLong = false }) => full || list || !isLong)
}

/** Whether all of it is known here, before the first cell runs. */
function checkPlan({ experiments }: Plan, laboratory: Laboratory): void {
  for (const { name, cells } of experiments) {
    if (!laboratory.experiments.some((known) => known.name === name)) {
      const known = laboratory.experiments.map((each) => each.name).join(', ')
      throw new KernelError(Errno.ENOENT, `the plan has an experiment "${name}", and there are ${known}`, 'lab')
    }
    for (const { workload } of cells) workloadModule(workload, laboratory.workloads)
  }
}

/** What a plan says already. */
const PLANNED = ['full', 'seed', 'repeat', 'seconds', 'only'] as const

function parse(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      full: { type: 'boolean' },
      out: { type: 'string' },
      plan: { type: 'string' },
      seed: { type: 'string' },
      repeat: { type: 'string' },
      seconds: { type: 'string' },
      only: { type: 'string', multiple: true },
      list: { type: 'boolean' },
      report: { type: 'string' },
      calibration: { type: 'string' },
    },
  })
  for (const name of ['out', 'plan', 'report', 'calibration'] as const) {
    if (values[name] === '') throw new UsageError(`--${name} is empty: give a path`)
  }
  if (values.plan !== undefined) {
    const other = PLANNED.find((name) => values[name] !== undefined)
    if (other !== undefined) throw new UsageError(`--${other} cannot be given with --plan, which says it already`)
    if (positionals.length > 0) throw new UsageError('experiments cannot be given with --plan, which names its own')
  }
  const { full = false, list = false } = values
  return {
    names: positionals,
    full,
    list,
    out: values.out,
    planPath: values.plan,
    report: values.report,
    calibration: values.calibration,
    seed: values.seed === undefined ? undefined : wholeNumber('seed', values.seed, 0, 0xffffffff, 0),
    repetitions:
      values.repeat === undefined ? undefined : wholeNumber('repeat', values.repeat, 1, PlanLimits.repetitions, 1),
    seconds:
      values.seconds === undefined ? undefined : decimalNumber('seconds', values.seconds, 0.01, PlanLimits.seconds, 1),
    restrictions: (values.only ?? []).map(restriction),
  }
}

/** `cpus=1,2`. */
function restriction(text: string): Restriction {
  const match = /^([^=]+)=(.+)$/.exec(text)
  if (match === null) throw new UsageError(`--only is "${text}": give a parameter and its values, like batch=1,16`)
  return { name: match[1]!, values: match[2]!.split(',') }
}

/** A folder for each measurement of the quick form. */
function stamp(): string {
  return new Date().toISOString().slice(0, 19).replaceAll(':', '-')
}
