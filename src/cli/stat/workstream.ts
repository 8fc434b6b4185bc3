// What `netstat -Q` calls Workstreams: a line for each CPU and hand-off point, with all that is measured there; and one for
// each CPU as a whole. Of a queue it tells what its consumer has to do with; the doorbells are those that were rung for it.
import type { Histogram } from '../../base/histogram.ts'
import { HANDOFF_POINTS } from '../../kernel/layout.ts'
import type { HandoffRow, Snapshot } from '../snapshot.ts'
import { addRows, count, histogram, table } from '../table.ts'

/** One line. NaN is what has no meaning there. */
interface Workstream {
  readonly cpu: number
  readonly point: string
  readonly values: { readonly [column in ColumnName]: number }
}

interface Column {
  readonly name: ColumnName
  readonly title: string
  readonly format: (value: number) => string
}

const whole = (value: number) => count(value)
const tenths = (value: number) => value.toFixed(1)

const COLUMNS = [
  { name: 'len', title: 'len', format: whole },
  { name: 'watermark', title: 'wmark', format: whole },
  { name: 'direct', title: "disp'd", format: whole },
  { name: 'queued', title: 'queued', format: whole },
  { name: 'handled', title: 'handled', format: whole },
  { name: 'dropped', title: 'dropped', format: whole },
  { name: 'depth50', title: 'depth p50', format: whole },
  { name: 'depth99', title: 'p99', format: whole },
  { name: 'wait50', title: 'wait µs p50', format: tenths },
  { name: 'wait99', title: 'p99', format: tenths },
  { name: 'batch', title: 'batch', format: tenths },
  { name: 'batch99', title: 'p99', format: whole },
  { name: 'empty', title: 'empty', format: whole },
  { name: 'limit', title: 'limit', format: whole },
  { name: 'rung', title: 'rung', format: whole },
  { name: 'avoided', title: 'avoided', format: whole },
  { name: 'spurious', title: 'spurious', format: whole },
  { name: 'sleeps', title: 'sleeps', format: whole },
] as const satisfies readonly { name: string; title: string; format: (value: number) => string }[]

type ColumnName = (typeof COLUMNS)[number]['name']

/** The columns that one may sort by. */
export const SORT_COLUMNS: readonly string[] = COLUMNS.map(({ name }) => name)

/** How lines are ordered: by a column, the largest first, or the smallest. */
export interface Order {
  readonly column: string
  readonly ascending: boolean
}

export function workstreams(snapshot: Snapshot, order?: Order): string {
  const head = ['cpu', 'point', ...COLUMNS.map(({ name, title }) => (name === order?.column ? `${title}*` : title))]
  const lines = sorted(allOf(snapshot), order).map(({ cpu, point, values }) => [
    `cpu ${cpu}`,
    point,
    ...COLUMNS.map(({ name, format }: Column) => (Number.isNaN(values[name]) ? '–' : format(values[name]))),
  ])
  return `Workstreams\n${table(head, lines)}`
}

function allOf(snapshot: Snapshot): Workstream[] {
  return Array.from({ length: snapshot.cpus }, (_, cpu) => cpu).flatMap((cpu) => {
    const mine = snapshot.handoffs.filter(({ target }) => target === cpu)
    const points = HANDOFF_POINTS.flatMap((point) => {
      const rows = mine.filter((row) => row.point === point)
      return rows.length === 0 ? [] : [ofPoint(snapshot, cpu, rows.reduce(addRows))]
    })
    return [...points, ofCpu(snapshot, cpu, mine)]
  })
}

function ofPoint(snapshot: Snapshot, cpu: number, row: HandoffRow): Workstream {
  // Not each point measures each: an empty histogram tells nothing.
  const [depth, wait, batch] = [row.depth, row.wait, row.batch].map(histogram) as [Histogram, Histogram, Histogram]
  const of = (measured: Histogram, value: number) => (measured.total === 0 ? Number.NaN : value)
  const hasDoorbell = row.point === 'ring' || row.point === 'rx'
  return {
    cpu,
    point: row.point,
    values: {
      len: row.length,
      watermark: of(depth, depth.max),
      // The one point at which what did not have to wait is counted by itself.
      direct: row.point === 'netisr' ? counterOf(snapshot, cpu, 'dispatch.direct') : Number.NaN,
      queued: row.enqueued,
      handled: row.dequeued,
      dropped: row.dropped,
      depth50: of(depth, depth.quantile(0.5)),
      depth99: of(depth, depth.quantile(0.99)),
      wait50: of(wait, wait.quantile(0.5) / 10),
      wait99: of(wait, wait.quantile(0.99) / 10),
      batch: of(batch, batch.mean),
      batch99: of(batch, batch.quantile(0.99)),
      empty: row.endedEmpty,
      limit: row.endedLimit,
      // A message to a port of another CPU rings by its ring.
      rung: hasDoorbell ? row.rung : Number.NaN,
      avoided: hasDoorbell ? row.avoided : Number.NaN,
      spurious: Number.NaN,
      sleeps: Number.NaN,
    },
  }
}

function ofCpu(snapshot: Snapshot, cpu: number, rows: readonly HandoffRow[]): Workstream {
  const total = (
    field: 'length' | 'enqueued' | 'dequeued' | 'dropped' | 'endedEmpty' | 'endedLimit' | 'rung' | 'avoided',
  ) => rows.reduce((all, row) => all + row[field], 0)
  const none = Number.NaN
  return {
    cpu,
    point: 'all',
    values: {
      len: total('length'),
      watermark: none,
      direct: counterOf(snapshot, cpu, 'cpu.messagesDirect') + counterOf(snapshot, cpu, 'dispatch.direct'),
      queued: total('enqueued'),
      handled: total('dequeued'),
      dropped: total('dropped'),
      depth50: none,
      depth99: none,
      wait50: none,
      wait99: none,
      batch: none,
      batch99: none,
      empty: total('endedEmpty'),
      limit: total('endedLimit'),
      rung: total('rung'),
      avoided: total('avoided'),
      spurious: counterOf(snapshot, cpu, 'cpu.spuriousWakeups'),
      sleeps: counterOf(snapshot, cpu, 'cpu.sleeps'),
    },
  }
}

/** Lines that have no such value come last, either way. */
function sorted(lines: readonly Workstream[], order: Order | undefined): readonly Workstream[] {
  if (order === undefined) return lines
  const column = order.column as ColumnName
  const sign = order.ascending ? 1 : -1
  return lines.toSorted((one, other) => {
    const a = one.values[column]
    const b = other.values[column]
    if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
    return sign * (a - b)
  })
}

function counterOf(snapshot: Snapshot, cpu: number, name: string): number {
  return snapshot.counters[cpu]?.[name] ?? 0
}
