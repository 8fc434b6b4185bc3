// How one run of a cell ended, as it goes through a pipe and into a file; and what a reader of either must check, for a
// workload may print anything and a file may be cut off.
import type { Impossible, Measured } from './workload.ts'

export interface Failed {
  readonly error: string
}

export type Outcome = Measured | Impossible | Failed

export function isMeasured(outcome: Outcome): outcome is Measured {
  return 'metrics' in outcome
}

/** What is wrong with it as an outcome, or undefined. */
export function outcomeFault(value: unknown): string | undefined {
  if (!isRecord(value)) return 'the outcome is no object'
  if ('error' in value) return typeof value.error === 'string' ? undefined : 'the error is no text'
  if ('impossible' in value) return typeof value.impossible === 'string' ? undefined : 'the reason is no text'
  if (!isRecord(value.metrics)) return 'there are no metrics'
  for (const [name, metric] of Object.entries(value.metrics)) {
    if (typeof metric !== 'number' || !Number.isFinite(metric)) return `the metric "${name}" is no finite number`
  }
  if (value.tables === undefined) return undefined
  if (!isRecord(value.tables)) return 'the tables are no object'
  const bad = Object.entries(value.tables).find(([, table]) => !isTable(table))
  return bad === undefined ? undefined : `the table "${bad[0]}" has no columns, or rows of another length`
}

export function isRecord(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isTable(value: unknown): boolean {
  if (!isRecord(value) || !Array.isArray(value.columns) || !Array.isArray(value.rows)) return false
  const { columns, rows }: { columns: readonly unknown[]; rows: readonly unknown[] } = {
    columns: value.columns,
    rows: value.rows,
  }
  return (
    columns.every((column) => typeof column === 'string') &&
    rows.every(
      (row) =>
        Array.isArray(row) &&
        row.length === columns.length &&
        row.every((entry) => typeof entry === 'string' || typeof entry === 'number'),
    )
  )
}
