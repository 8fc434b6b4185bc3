// Makes a calibration the one that comes with the laboratory (src/lab/model/recorded.ts), with figures rounded to what they are worth.
//
//     damselfly calibrate --out FILE, on a machine with nothing else at work
//     node dist/scripts/record-calibration.js FILE
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readCalibration } from '../src/lab/model/calibration.ts'
import { projectFolder } from './conformance/project.ts'

const DIGITS = 4

const path = process.argv[2]
const calibration = path === undefined ? undefined : await readCalibration(path)
if (calibration === undefined) {
  console.error('give the file that "damselfly calibrate" has written')
  process.exitCode = 1
} else {
  const rounded = (_name: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(DIGITS)) : value
  const text = JSON.stringify(calibration, rounded, 2)
  const lines = [
    '// The calibration that comes with this version, for a run that has none of its own: made by scripts/record-calibration.ts.',
    "import type { Calibration } from './calibration.ts'",
    '',
    `export const RECORDED: Calibration = ${text}`,
    '',
  ]
  writeFileSync(join(projectFolder(), 'src/lab/model/recorded.ts'), lines.join('\n'))
}
