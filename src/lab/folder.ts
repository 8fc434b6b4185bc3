// The folder that a measurement is in: its results, its plan, a table for spreadsheets and the report. Opening it decides
// whether a measurement goes on or begins; what does not belong to it is never written over.
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Errno, KernelError } from '../base/errno.ts'
import { Claim } from './claim.ts'
import { computerDifference, describeComputer } from './computer.ts'
import { resultsCsv } from './csv.ts'
import { type Plan, planDifference } from './plan.ts'
import { GENERATOR } from './report/generator.ts'
import { planText, type Results, type Run, readResults, resultsText, writeWhole } from './results.ts'

export interface FolderOptions {
  readonly path: string
  /** The plan that is wanted; `saved` is that of the measurement in the folder, if there is one. */
  readonly plan: (saved: Plan | undefined) => Plan
  /** Undefined: in the folder. */
  readonly report: string | undefined
}

export class Folder {
  readonly path: string
  readonly reportPath: string
  /** Whether there was a measurement in it that goes on. */
  readonly isContinued: boolean
  readonly #claim: Claim
  #results: Results

  /** @throws KernelError where there is something else in the folder, and where another process uses it */
  static async open(options: FolderOptions): Promise<Folder> {
    const { path, report } = options
    // First without touching anything: what is refused leaves no folder behind.
    begin(options, await readResults(join(path, 'results.json')))
    checkReport(report ?? join(path, 'report.html'))
    for (const folder of [path, ...(report === undefined ? [] : [dirname(report)])]) makeFolder(folder)
    const claim = new Claim(join(path, 'running'))
    try {
      const saved = await readResults(join(path, 'results.json'))
      const folder = new Folder(options, claim, begin(options, saved), saved !== undefined)
      if (saved === undefined) {
        await folder.save([])
        await writeWhole(join(path, 'plan.json'), planText(folder.results.plan))
      }
      return folder
    } catch (error) {
      claim.free()
      throw error
    }
  }

  private constructor({ path, report }: FolderOptions, claim: Claim, results: Results, isContinued: boolean) {
    this.path = path
    this.reportPath = report ?? join(path, 'report.html')
    this.isContinued = isContinued
    this.#claim = claim
    this.#results = results
  }

  get results(): Results {
    return this.#results
  }

  async save(runs: readonly Run[]): Promise<void> {
    this.#results = { ...this.#results, runs: [...runs] }
    await writeWhole(join(this.path, 'results.json'), resultsText(this.#results))
  }

  async saveTable(): Promise<void> {
    await writeWhole(join(this.path, 'results.csv'), resultsCsv(this.#results))
  }

  /** The report, and its pictures as files beside the results. */
  async saveReport(
    report: string,
    pictures: readonly { readonly name: string; readonly text: string }[],
  ): Promise<void> {
    for (const { name, text } of pictures) await writeWhole(join(this.path, name), text)
    await writeWhole(this.reportPath, report)
  }

  close(): void {
    this.#claim.free()
  }
}

/** The measurement that is wanted: the saved one where it is that, a new one where there is none. */
function begin({ path, plan }: FolderOptions, saved: Results | undefined): Results {
  const wanted = plan(saved?.plan)
  if (saved === undefined) {
    const pictures = wanted.experiments.map(({ name }) => `${name}.svg`)
    const other = ['plan.json', 'results.csv', 'report.html', ...pictures]
      .map((name) => join(path, name))
      .find((file) => existsSync(file))
    if (other !== undefined) throw refused(`${other} is there without results.json`)
    return { began: new Date().toISOString(), computer: describeComputer(), plan: wanted, runs: [] }
  }
  const difference = planDifference(saved.plan, wanted)
  if (difference !== undefined) throw refused(`the measurement in ${path} ${difference}`)
  const moved = computerDifference(saved.computer, describeComputer())
  if (moved !== undefined) throw refused(`the measurement in ${path} is of another machine: ${moved}`)
  return saved
}

function checkReport(path: string): void {
  if (!existsSync(path)) return
  let head = ''
  try {
    head = readFileSync(path, 'utf8').slice(0, 1000)
  } catch {
    // A folder, or not ours to read: not a report in any case.
  }
  if (!head.includes(GENERATOR)) {
    throw new KernelError(
      Errno.EEXIST,
      `${path} is no report of the laboratory and stays as it is: give another --report`,
      'lab',
    )
  }
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true })
  } catch (error) {
    throw new KernelError(Errno.EIO, `the folder ${path} cannot be made: ${(error as Error).message}`, 'lab', {
      cause: error,
    })
  }
}

function refused(what: string): KernelError {
  return new KernelError(Errno.EEXIST, `${what}. It was left as it is: give another --out.`, 'lab')
}
