// The figures of the workload "hard-part": the difference of two readings.
import { type Counts, sum } from '../../metrics/counts.ts'
import { ReassemblyCounters } from '../../net/counters.ts'
import { median } from '../statistics.ts'
import type { Measured } from '../workload.ts'
import { lockDifference, lockTable, queueDifference, queueTable } from './server-figures.ts'

export interface Reading {
  /** When it was taken. */
  readonly ms: number
  /** Of all threads of the process on processors, so far. */
  readonly cpuUs: number
  readonly counts: Pick<Counts, 'counters' | 'handoffs' | 'locks'>
  /** Of the probe, so far. */
  readonly samples: number
}

const SET = 'lab hard part'
const DROPS = ReassemblyCounters.counters.filter((name) => name.startsWith('dropped'))

/**
 * @param visibleUs how long changes took until all CPUs saw them
 * @throws Error where what was measured means nothing: something was dropped or refused, or nothing was done
 */
export function measured(before: Reading, after: Reading, visibleUs: readonly number[]): Measured {
  const counted = (name: string) => sum(after.counts, name) - sum(before.counts, name)
  const faults = [`${SET}.refused`, ...DROPS.map((name) => `${ReassemblyCounters.name}.${name}`)]
    .map((name) => [name, sum(after.counts, name)] as const)
    .filter(([, times]) => times > 0)
  if (faults.length > 0) {
    const list = faults.map(([name, times]) => `${name} ${times}`).join(', ')
    throw new Error(`not all was done, so its figures mean nothing: ${list}`)
  }
  const seconds = (after.ms - before.ms) / 1000
  const packets = counted(`${SET}.packets`)
  if (packets === 0) throw new Error(`no packet was done in ${seconds.toFixed(2)} s: it stands still`)
  const locks = lockDifference(before.counts.locks, after.counts.locks)
  const queues = queueDifference(before.counts, after.counts)
  const acquired = locks.reduce((n, { count }) => n + count, 0)
  const contended = locks.reduce((n, { countLock }) => n + countLock, 0)
  return {
    metrics: {
      // All CPUs are busy all the time. What others take of the processors is in none of it.
      nanoseconds: ((after.cpuUs - before.cpuUs) * 1000) / packets,
      rate: packets / seconds,
      changes: counted(`${SET}.changes`) / seconds,
      locks: acquired / packets,
      contention: acquired === 0 ? 0 : contended / acquired,
      queued: queues.reduce((n, { enqueued }) => n + enqueued, 0) / packets,
      messages: counted('cpu.messagesSent') / packets,
      ...(visibleUs.length === 0 ? {} : { visible: median(visibleUs) }),
    },
    tables: { locks: lockTable(locks, packets), queues: queueTable(queues, packets) },
  }
}
