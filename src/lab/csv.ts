// The results as CSV (RFC 4180), a row for each number: what a spreadsheet or a data frame reads without asking. Numbers are
// in base units, as they were measured.
import type { CellParameters } from './experiment.ts'
import { isMeasured } from './outcome.ts'
import type { Results } from './results.ts'

export function resultsCsv({ plan, runs }: Results): string {
  const cells = new Map<string, CellParameters>()
  for (const { name, cells: list } of plan.experiments) {
    for (const { key, parameters } of list) cells.set(`${name} ${key}`, parameters)
  }
  const names = [...new Set([...cells.values()].flatMap((parameters) => Object.keys(parameters)))]
  const head = [
    'experiment',
    'cell',
    'repetition',
    'at',
    'ms',
    'metric',
    'value',
    'failure',
    ...names.map((name) => `parameter ${name}`),
  ]
  const rows = runs.flatMap((run) => {
    const { experiment, cell, repetition, at, ms, outcome } = run
    const parameters = cells.get(`${experiment} ${cell}`) ?? {}
    const row = (metric: string, value: number | string, failure: string) => [
      ...[experiment, cell, repetition, at, ms, metric, value, failure],
      ...names.map((name) => parameters[name] ?? ''),
    ]
    if (isMeasured(outcome)) return Object.entries(outcome.metrics).map(([name, value]) => row(name, value, ''))
    return [row('', '', 'error' in outcome ? outcome.error : outcome.impossible)]
  })
  return [head, ...rows].map((row) => `${row.map(field).join(',')}\r\n`).join('')
}

function field(value: string | number | boolean): string {
  const text = String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
