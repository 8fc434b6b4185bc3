// All tables of a snapshot, one under the other.
import { delivered, type Snapshot } from './snapshot.ts'
import { costTable, count, cpuTable, dropTable, handoffTable } from './table.ts'

export function report(snapshot: Snapshot, byPair: boolean): string {
  const packets = delivered(snapshot)
  const rate = snapshot.atUs === 0 ? 0 : packets / (snapshot.atUs / 1e6)
  const parts = [
    `${count(packets)} packets delivered, ${count(rate)} a second`,
    handoffTable(snapshot, byPair),
    costTable(snapshot),
    cpuTable(snapshot),
    dropTable(snapshot),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}
