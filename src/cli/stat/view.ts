// All sections of `damselfly stat`, one under the other.
import { delivered, type Snapshot } from '../snapshot.ts'
import { costTable, count, cpuTable, handoffTable } from '../table.ts'
import { amortized } from './amortized.ts'
import { configuration } from './configuration.ts'
import { locks } from './lock.ts'
import { losses, protocols } from './protocol.ts'
import { type Order, workstreams } from './workstream.ts'

export interface View {
  readonly order?: Order
  /** Also the hand-offs of each pair of CPUs. */
  readonly pairs: boolean
  /** The numbers are for each second. */
  readonly rates: boolean
}

export function view(snapshot: Snapshot, { order, pairs, rates }: View): string {
  const packets = delivered(snapshot)
  const perSecond = snapshot.atUs === 0 ? 0 : packets / (snapshot.atUs / 1e6)
  const parts = [
    rates
      ? `${count(packets)} packets delivered a second; all counts are for each second`
      : `${count(packets)} packets delivered, ${count(perSecond)} a second`,
    // What does not change is not shown again and again.
    ...(rates ? [] : [configuration(snapshot)]),
    protocols(snapshot),
    workstreams(snapshot, order),
    pairs ? handoffTable(snapshot, true) : '',
    costTable(snapshot),
    amortized(snapshot),
    cpuTable(snapshot),
    locks(snapshot),
    losses(snapshot),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}
