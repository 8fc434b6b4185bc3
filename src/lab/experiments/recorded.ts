// A table that a workload took down, as a table of the report.
import type { Table } from '../experiment.ts'
import type { MeasuredCell } from '../measurements.ts'

/** Of an ordinary repetition by `metric`; none where there is none, or nothing in it. */
export function accountingTable(cell: MeasuredCell, name: string, metric: string, title: string): Table[] {
  const table = cell.recorded(name, metric)
  if (table === undefined || table.rows.length === 0) return []
  return [{ title, columns: table.columns.map((column) => ({ title: column })), rows: table.rows }]
}
