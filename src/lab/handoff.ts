// A machine's hand-offs as a table that a workload gives back beside its metrics: where packets and messages waited for
// another CPU, how long, and in what batches they were served.
import type { HandoffReading } from '../kernel/handoff.ts'
import type { MeasuredTable } from './workload.ts'

export function handoffTable(readings: readonly HandoffReading[]): MeasuredTable {
  return {
    columns: [
      ...['point', 'from', 'to', 'enqueued', 'dropped', 'mean depth', 'p99 depth'],
      ...['mean wait µs', 'p99 wait µs', 'mean batch', 'doorbells', 'doorbells avoided'],
    ],
    rows: readings.map(({ point, source, target, enqueued, dropped, depth, wait, batch, rung, avoided }) => [
      ...[point, source, target, enqueued, dropped, depth.mean, depth.quantile(0.99)],
      ...[wait.mean / 10, wait.quantile(0.99) / 10, batch.mean, rung, avoided],
    ]),
  }
}
