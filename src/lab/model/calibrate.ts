// Calibrates the cost model on this machine: the microbenchmarks of primitive.ts and the stack's work of work.ts, one after the other.
import { availableParallelism } from 'node:os'
import { Errno, KernelError } from '../../base/errno.ts'
import { DISCIPLINES } from '../../net/discipline.ts'
import { describeComputer } from '../computer.ts'
import { mapSummary } from '../statistics.ts'
import type { Calibration, Work } from './calibration.ts'
import {
  measureClock,
  measureEntry,
  measureLock,
  measurePassing,
  measureQueued,
  measureRingLook,
  measureSpinLook,
  measureSpinSleep,
  measureWakeup,
} from './primitive.ts'
import { measureTogether, measureTurn, measureWork } from './work.ts'

/** What the model is asked for. */
export const LOADS = ['exchange', 'short'] as const

export interface CalibrateOptions {
  /** Measuring time of each run of the stack. */
  readonly seconds: number
  readonly seed: number
  /** Told what is measured next. */
  readonly onProgress?: (what: string) => void
}

/** @throws KernelError ENOTSUP where there is only one processor */
export async function calibrate({ seconds, seed, onProgress = () => {} }: CalibrateOptions): Promise<Calibration> {
  if (availableParallelism() < 2) {
    throw new KernelError(Errno.EOPNOTSUPP, 'what CPUs cost each other is measured with two processors', 'calibrate')
  }
  const date = new Date().toISOString()
  const computer = describeComputer()
  onProgress('what a CPU does alone')
  const clock = measureClock(2000)
  const lock = measureLock(2000)
  const spinLook = measureSpinLook(2000)
  const ringLook = measureRingLook(500)
  const spinSleep = measureSpinSleep()
  const queued = measureQueued(500)
  const entry = measureEntry(500, queued.median)
  onProgress('what passes between two CPUs')
  const passing = await measurePassing(500)
  const { doorbell, wakeup } = await measureWakeup(200)
  const together = await measureTogether(2 * seconds, seed)
  const work: Work[] = []
  for (const load of LOADS) {
    for (const discipline of DISCIPLINES) {
      onProgress(`the work of ${load} under ${discipline}`)
      work.push(await measureWork(load, discipline, seconds, seed, clock.median, lock.median))
    }
  }
  onProgress('turns')
  const packet = work.find(({ load, discipline }) => load === 'exchange' && discipline === 'connp-t')!.packet
  const { idle, busy } = await measureTurn(seconds, seed, packet.median)
  const costs = {
    clock,
    lock,
    lockTransfer: mapSummary(passing.lock, (ns) => Math.max(0, ns - lock.median)),
    line: passing.line,
    nextLine: passing.nextLine,
    spinLook,
    spinSleep,
    ringLook,
    entry,
    queued,
    doorbell,
    wakeup,
    turn: busy,
    idleTurn: idle,
    together,
  }
  return { date, computer, seconds, costs, work }
}
