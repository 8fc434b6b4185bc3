// How often locks are found held, and for how long: the part of "disciplines" that stands beside what was published of it.
import type { Cell, Column, Entry, Table } from '../experiment.ts'
import { figure } from '../format.ts'
import type { MeasuredCell, Measurements } from '../measurements.ts'
import { cell } from '../sweep.ts'
import { publishedContention, TABLE_CONNECTIONS, TABLE_GROUPS, WILLMANN } from './willmann.ts'

/** Half of the connections' packets come to another CPU: only so do two CPUs want the same groups. */
const WRONG = 0.5

/** Whose locks are looked at: a name, and the groups of connp-l. */
const ROWS: readonly { readonly discipline: string; readonly groups?: number }[] = [
  { discipline: 'giant' },
  { discipline: 'msgp' },
  ...TABLE_GROUPS.map((groups) => ({ discipline: 'connp-l', groups })),
]

export function contentionCells(full: boolean): Cell[] {
  const rows = full ? ROWS : ROWS.filter(({ discipline, groups = 128 }) => discipline !== 'giant' && groups === 128)
  const connections = full ? TABLE_CONNECTIONS : [192]
  return connections.flatMap((connections) =>
    rows.map((row) => cell('server', { cpus: 2, load: 'exchange', connections, wrong: WRONG, ...row, profile: true })),
  )
}

/** The cells of this part. */
export function contentionOf(results: Measurements): Measurements {
  return results.having('profile')
}

export function contentionTables(results: Measurements): Table[] {
  const mine = contentionOf(results)
  if (mine.isEmpty) return []
  return [shares(mine), times(mine)]
}

function shares(mine: Measurements): Table {
  const columns = mine.values('connections').map(Number)
  const named = (connections: number, whose: string): Column => ({
    title: `${figure(connections)} connections, ${whose}`,
    unit: '%',
  })
  return {
    title: 'Acquisitions of global TCP/IP locks that did not succeed immediately',
    note: `Published: ${WILLMANN}, measured in FreeBSD 7 on four cores that moved data in bulk. Here: two CPUs, questions and answers of 64
bytes, and half of the connections with packets to another CPU than the one that they are at home on. Global locks are those through
which a connection is found: of msgp the lock of the table, of connp-l those of its groups, giant the only one. connp-t has none,
here as there. The published table was behind a lock for one at a time; msgp's is behind one that readers share, as FreeBSD's came to be later, and
whoever only looks a connection up waits for nobody. The published figures are of another machine, twice as many CPUs and other work: the form is the same, the figures need not be.`,
    columns: [
      { title: 'discipline' },
      ...columns.flatMap((connections) => [named(connections, 'here'), named(connections, 'published')]),
    ],
    rows: rowsOf(mine).map(({ name, discipline, groups }): Entry[] => [
      name,
      ...columns.flatMap((connections) => {
        const cell = cellOf(mine, discipline, groups, connections)
        return [cell?.summary('global'), publishedContention(discipline, connections, groups)]
      }),
    ]),
  }
}

function times(mine: Measurements): Table {
  const metrics = ['locks', 'held', 'waited', 'waiting'] as const
  return {
    title: 'How long locks were held and waited for',
    note: 'From the same cells. Measuring it takes two looks at the clock for each acquisition, so their throughput is not compared with that of others.',
    columns: [
      { title: 'discipline' },
      { title: 'connections' },
      ...metrics.map((name) => ({ title: mine.metric(name).title, unit: mine.metric(name).unit })),
    ],
    rows: mine.cells.map((cell): Entry[] => [
      nameOf(cell),
      cell.parameters.connections,
      ...metrics.map((name) => cell.summary(name)),
    ]),
  }
}

/** What was found here and what was published, of the middle number of connections. */
export function contentionText(results: Measurements): string[] {
  const mine = contentionOf(results)
  const found = ['msgp', 'connp-l'].flatMap((discipline) => {
    const cell = mine.where({ discipline, connections: 192 }).cells.at(-1)
    const share = cell?.median('global')
    if (cell === undefined || share === undefined) return []
    const published = publishedContention(discipline, 192, Number(cell.parameters.groups ?? 0))
    const beside = published === undefined ? '' : ` (published: ${figure(published)} %)`
    return [`${figure(share)} % under ${nameOf(cell)}${beside}`]
  })
  if (found.length === 0) return []
  return [
    `With 192 connections, half of them away from home, the locks through which connections are found were held already at ${found.join(' and ')} of the times that one was taken.`,
  ]
}

interface Row {
  readonly name: string
  readonly discipline: string
  readonly groups: number | undefined
}

function rowsOf(mine: Measurements): Row[] {
  const rows = mine.cells.map((cell): [string, Row] => {
    const { discipline, groups } = cell.parameters
    return [
      nameOf(cell),
      {
        name: nameOf(cell),
        discipline: String(discipline),
        groups: groups === undefined ? undefined : Number(groups),
      },
    ]
  })
  return [...new Map(rows).values()]
}

function cellOf(mine: Measurements, discipline: string, groups: number | undefined, connections: number) {
  return mine.where({ discipline, connections }).cells.find(({ parameters }) => parameters.groups === groups)
}

function nameOf({ parameters: { discipline, groups } }: MeasuredCell): string {
  return groups === undefined ? String(discipline) : `${discipline}(${groups})`
}
