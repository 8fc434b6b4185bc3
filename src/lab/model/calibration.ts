// A calibration: what things cost on one computer, measured by calibrate.ts, as a file. A reader trusts nothing in it: one that is cut
// off, of another kind or changed by hand is refused with a sentence.
import { readFile } from 'node:fs/promises'
import { Errno, KernelError } from '../../base/errno.ts'
import { DISCIPLINES, type Discipline } from '../../net/discipline.ts'
import type { Computer } from '../computer.ts'
import { isRecord } from '../outcome.ts'
import { writeWhole } from '../results.ts'
import type { Summary } from '../statistics.ts'

export const CALIBRATION_FORMAT = 'damselfly-calibration'
const VERSION = 1

/** The costs, with what each is: ns, but for `together`. */
export const COSTS = {
  clock: 'a reading of the clock, which is taken off what was measured with it',
  lock: 'a lock that this CPU had last: taken and left',
  lockTransfer: 'the same that another CPU had last, with a line of what it protects: on top',
  line: 'a cache line that another CPU has written',
  nextLine: 'each further one that comes together with it',
  spinLook: 'a look at a lock that somebody else has',
  spinSleep: 'the moment for which a CPU sleeps that has looked 512 times',
  ringLook: 'looking whether another CPU has sent something',
  entry: 'an entry of four messages to another CPU, each side, but for the lines that must come from there',
  queued: 'a message that waits at a port of its own CPU, on top of one that is a call',
  doorbell: 'waking a CPU that sleeps',
  wakeup: 'until it runs',
  turn: 'a turn in which something is done, besides what it is',
  idleTurn: 'a turn that finds nothing',
  together: 'times that a packet takes longer where another processor works at the same time',
} as const
export type CostName = keyof typeof COSTS
export const COST_NAMES = Object.keys(COSTS) as readonly CostName[]

/** Work of one load under one discipline on one CPU. All times are ns. */
export interface Work {
  readonly load: string
  readonly discipline: Discipline
  /** Turns for each packet while this was measured. */
  readonly turns: number
  /** Of a packet that comes in, with all that follows from it, while no lock is held. */
  readonly packet: Summary
  /** Of telling a program that it has something, with what it does, outside of locks. */
  readonly told: number
  /** Of a hold of a lock, by class and site ("giant@tcp input"), without what is counted by the following two. */
  readonly holds: { readonly [classAndSite: string]: number }
  /** Of telling a program of data, and of a segment that goes out: in holds, where there are locks. */
  readonly delivered: number
  readonly sent: number
}

export interface Calibration {
  /** When it was measured, in UTC (ISO 8601). */
  readonly date: string
  readonly computer: Computer
  /** Measuring time of each run of the stack. */
  readonly seconds: number
  readonly costs: { readonly [name in CostName]: Summary }
  readonly work: readonly Work[]
}

export function calibrationText(calibration: Calibration): string {
  return `${JSON.stringify({ format: CALIBRATION_FORMAT, version: VERSION, ...calibration }, null, 2)}\n`
}

/** @throws KernelError EIO */
export async function writeCalibration(path: string, calibration: Calibration): Promise<void> {
  await writeWhole(path, calibrationText(calibration))
}

/**
 * @returns undefined where there is no such file
 * @throws KernelError where it cannot be read or is no whole calibration of this version
 */
export async function readCalibration(path: string): Promise<Calibration | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new KernelError(Errno.EIO, `${path} cannot be read: ${(error as Error).message}`, 'calibrate')
  }
  return parseCalibration(path, text)
}

/** @throws KernelError EINVAL */
export function parseCalibration(path: string, text: string): Calibration {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw refused(path, 'is cut off, or is no JSON')
  }
  if (!isRecord(value) || value.format !== CALIBRATION_FORMAT) throw refused(path, 'is no calibration')
  if (value.version !== VERSION) {
    throw refused(path, `is of version ${String(value.version)}; this damselfly reads version ${VERSION}`)
  }
  const fault = calibrationFault(value)
  if (fault !== undefined) throw refused(path, `is damaged: ${fault}`)
  const { date, computer, seconds, costs, work } = value as unknown as Calibration
  return { date, computer, seconds, costs, work }
}

/** @throws KernelError ENOENT where the calibration has not measured this load under this discipline */
export function workOf({ work }: Calibration, load: string, discipline: Discipline): Work {
  const found = work.find((each) => each.load === load && each.discipline === discipline)
  if (found !== undefined) return found
  const sentence = `the calibration has nothing of load "${load}" under ${discipline}: make another by "damselfly calibrate"`
  throw new KernelError(Errno.ENOENT, sentence, 'calibrate')
}

function calibrationFault(value: { readonly [name: string]: unknown }): string | undefined {
  const { date, computer, seconds, costs, work } = value
  if (typeof date !== 'string' || Number.isNaN(Date.parse(date))) return 'date is no time'
  if (!isRecord(computer) || typeof computer.model !== 'string' || typeof computer.processors !== 'number') {
    return 'there is no computer'
  }
  if (!isCost(seconds)) return 'seconds is no time'
  if (!isRecord(costs)) return 'there are no costs'
  for (const name of COST_NAMES) if (!isSummary(costs[name])) return `the cost "${name}" is no number with its spread`
  if (!Array.isArray(work)) return 'there is no work'
  for (const [i, each] of work.entries()) {
    const fault = workFault(each)
    if (fault !== undefined) return `work[${i}]: ${fault}`
  }
  return undefined
}

function workFault(work: unknown): string | undefined {
  if (!isRecord(work) || typeof work.load !== 'string') return 'it has no load'
  if (!(DISCIPLINES as readonly unknown[]).includes(work.discipline)) return 'it has no discipline'
  if (!isSummary(work.packet)) return 'packet is no number with its spread'
  if (![work.turns, work.told, work.delivered, work.sent].every(isCost))
    return 'turns, told, delivered or sent is no number'
  if (!isRecord(work.holds) || !Object.values(work.holds).every(isCost)) return 'holds are no numbers'
  return undefined
}

function isSummary(value: unknown): boolean {
  const names = ['count', 'median', 'low', 'high', 'lowerQuartile', 'upperQuartile']
  return isRecord(value) && names.every((name) => isCost(value[name]))
}

function isCost(value: unknown): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0
}

function refused(path: string, what: string): KernelError {
  return new KernelError(Errno.EINVAL, `${path} ${what}. It was left as it is.`, 'calibrate')
}
