// A calibration with round figures that nobody has measured, for tests of the model.
import { DISCIPLINES } from '../../net/discipline.ts'
import type { Calibration, CostName } from '../model/calibration.ts'
import { COST_NAMES } from '../model/calibration.ts'
import { type Summary, summarize } from '../statistics.ts'

const NS: Partial<{ readonly [name in CostName]: number }> = {
  clock: 50,
  lock: 20,
  lockTransfer: 100,
  line: 100,
  nextLine: 20,
  spinLook: 40,
  spinSleep: 100_000,
  ringLook: 10,
  entry: 60,
  queued: 20,
  doorbell: 10_000,
  wakeup: 30_000,
  turn: 1000,
  idleTurn: 200,
  together: 1,
}

const one = (value: number): Summary => summarize([value])

/** Under locks two thirds of the work is done inside of one. */
export function testCalibration(costs: Partial<{ readonly [name in CostName]: number }> = {}): Calibration {
  const all = { ...NS, ...costs }
  return {
    date: '2026-01-02T03:04:05.000Z',
    computer: {
      processors: 2,
      model: 'Abacus',
      architecture: 'x64',
      kernel: 'Linux 6',
      node: 'v20.0.0',
      v8: '11',
      memoryBytes: 1e9,
      load: 0,
    },
    seconds: 1,
    costs: Object.fromEntries(COST_NAMES.map((name) => [name, one(all[name] ?? 0)])) as Calibration['costs'],
    work: ['exchange', 'short'].flatMap((load) =>
      DISCIPLINES.map((discipline) => {
        const lock = discipline === 'giant' ? 'giant' : 'connection group'
        const isLocked = discipline !== 'connp-t'
        return {
          load,
          discipline,
          turns: 1 / 64,
          packet: one(isLocked ? 300 : 1000),
          told: 300,
          holds: isLocked
            ? { [`${lock}@tcp input`]: 500, [`${lock}@tcp data of a program`]: 100, [`${lock}@tcp request`]: 100 }
            : {},
          delivered: isLocked ? 100 : 0,
          sent: isLocked ? 400 : 0,
        }
      }),
    ),
  }
}
