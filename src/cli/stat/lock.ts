// The profile of the locks, in the columns of FreeBSD's LOCK_PROFILING(9), by class and place in the code. Times are µs; 0 where the
// machine does not measure them.
import type { Snapshot } from '../snapshot.ts'
import { table } from '../table.ts'

/** Empty where no lock was ever taken: a machine of the default discipline has none in a packet's way. */
export function locks(snapshot: Snapshot): string {
  const used = snapshot.locks.filter(({ count }) => count > 0)
  if (used.length === 0) return ''
  const rows = used
    .toSorted((a, b) => b.waitTotalUs - a.waitTotalUs || b.count - a.count)
    .map(
      ({
        name,
        site,
        maxUs,
        waitMaxUs,
        totalUs,
        waitTotalUs,
        count,
        averageUs,
        waitAverageUs,
        countHold,
        countLock,
      }) => [
        name,
        site,
        maxUs.toFixed(1),
        waitMaxUs.toFixed(1),
        Math.round(totalUs),
        Math.round(waitTotalUs),
        count,
        averageUs.toFixed(2),
        waitAverageUs.toFixed(2),
        countHold,
        countLock,
        `${((countLock / count) * 100).toFixed(1)} %`,
      ],
    )
  const head = [
    'lock',
    'taken at',
    'max µs',
    'wait_max',
    'total',
    'wait_total',
    'count',
    'avg',
    'wait_avg',
    'cnt_hold',
    'cnt_lock',
    'waited',
  ]
  return `Locks\n${table(head, rows)}`
}
