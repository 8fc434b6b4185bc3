// damselfly calibrate: measures on this machine what things cost that the laboratory's model is made of, and writes it to a file.
import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { Errno, KernelError } from '../base/errno.ts'
import { systemSeed } from '../base/random.ts'
import { isBusy } from '../lab/computer.ts'
import { figure } from '../lab/format.ts'
import { calibrate as measure } from '../lab/model/calibrate.ts'
import {
  type Calibration,
  COST_NAMES,
  COSTS,
  calibrationText,
  readCalibration,
  writeCalibration,
} from '../lab/model/calibration.ts'
import type { Summary } from '../lab/statistics.ts'
import { decimalNumber } from './argument.ts'
import { table } from './table.ts'
import { UsageError } from './usage.ts'

const OUT = 'damselfly-lab/calibration.json'
const SECONDS = 0.5

export async function calibrate(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: { out: { type: 'string' }, seconds: { type: 'string' }, json: { type: 'boolean' } },
  })
  const { out = OUT, json = false } = values
  if (out === '') throw new UsageError('--out is empty: give a path')
  const seconds = decimalNumber('seconds', values.seconds, 0.05, 60, SECONDS)
  // What is there and no calibration is somebody's: said before anything is measured.
  await readCalibration(out)
  makeFolder(dirname(out))
  const onProgress = (what: string) => console.error(`measuring ${what}`)
  const calibration = await measure({ seconds, seed: systemSeed(), onProgress })
  await writeCalibration(out, calibration)
  if (json) process.stdout.write(calibrationText(calibration))
  else console.log(`${tables(calibration)}\n\nThe calibration is ${out}: damselfly lab scaling --calibration ${out}`)
  if (isBusy(calibration.computer)) {
    const { load, processors } = calibration.computer
    console.error(
      `Others were at work here (load ${figure(load)} on ${processors} processors): it will show in the figures.`,
    )
  }
}

function makeFolder(path: string): void {
  if (existsSync(path)) return
  try {
    mkdirSync(path, { recursive: true })
  } catch (error) {
    throw new KernelError(Errno.EIO, `the folder ${path} cannot be made: ${(error as Error).message}`, 'calibrate')
  }
}

function tables({ costs, work }: Calibration): string {
  const middle = ({ median, lowerQuartile, upperQuartile }: Summary) => [
    figure(median),
    `${figure(lowerQuartile)} to ${figure(upperQuartile)}`,
  ]
  const rows = COST_NAMES.map((name) => [name, ...middle(costs[name]), COSTS[name]])
  const inside = (holds: { readonly [site: string]: number }) => Object.values(holds).reduce((sum, ns) => sum + ns, 0)
  const works = work.map(({ load, discipline, packet, told, holds, delivered, sent }) => [
    load,
    discipline,
    ...middle(packet),
    figure(told),
    figure(inside(holds)),
    figure(delivered),
    figure(sent),
  ])
  return [
    table(['cost', 'ns', 'half of them', 'what it is'], rows),
    table(['load', 'discipline', 'ns of a packet', 'half of them', 'program', 'in locks', 'told', 'sent'], works),
  ].join('\n\n')
}
