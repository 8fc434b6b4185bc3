// What it costs when the boundaries between layers are queues with threads of their own, as in a Mach-like system of servers: from none
// to all four of them; and what the dispatch policies of netisr(9) cost, which have the queues and not the threads.
import type { Cell, Entry, Experiment, Plot, Table } from '../experiment.ts'
import { figure } from '../format.ts'
import type { MeasuredCell, Measurements } from '../measurements.ts'
import { sweep } from '../sweep.ts'
import { sweepPlot, sweepTable } from '../view.ts'
import { accountingTable } from './recorded.ts'

/** Boundaries that are queues, from the wire up; and fewer of these where there is little time. */
const COUNTS = [0, 1, 2, 3, 4]
const QUICK_COUNTS = [0, 2, 4]
const LOADS: { readonly [load: string]: string } = { exchange: 'exchanges of 64 bytes', 'bulk-in': 'receiving in bulk' }

export const boundaries: Experiment = {
  name: 'boundaries',
  title: 'What a boundary between layers costs',
  question:
    'Where layers are servers with threads of their own, every boundary between them is a hand-off and a switch. What does each of them cost a packet, and how much of it does batching save?',
  method: `A host of one CPU serves 64 connections: an echo of 64 bytes, or a stream that it receives; and one connection, on which an echo has
nothing to share a hand-off with. First everything is a call. Then the
boundaries become queues with a thread each, from the wire up: device | IP, IP's own queue, IP | TCP, and TCP | sockets, upwards and, at the
first and the last of them, downwards as well. "hybrid" and "deferred" are netisr(9)'s policies for all protocols together: hybrid is a
call where nothing waits, deferred always a queue, and the CPU's run loop serves it, with no thread.

One CPU, since a boundary is a hand-off to a thread of the same CPU: the way to another CPU is what the experiment "steering" measures.
What a packet costs is the CPU's busy time by the packets that came in; making and taking packets at the other end is part of it, and the
same in all cells, so that the differences are those of the boundaries. What a hand-off costs is such a difference, to the cell with calls
only, by the difference in hand-offs.`,
  metrics: [
    { name: 'cost', title: 'CPU time', unit: 'ns a packet', better: 'less' },
    { name: 'packets', title: 'packets', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'handoffs', title: 'hand-offs', unit: 'a packet', better: 'less' },
    { name: 'resumes', title: 'threads resumed', unit: 'a packet', better: 'less' },
    { name: 'p50', title: 'latency, half', unit: 'µs', better: 'less' },
    { name: 'p99', title: '99 %', unit: 'µs', better: 'less' },
  ],
  cells: ({ full }) => {
    const common = { cpus: [1], discipline: full ? ['connp-t', 'connp-l'] : ['connp-t'] }
    const loads = full ? Object.keys(LOADS) : ['exchange']
    return loads.flatMap((load): Cell[] => {
      const connections = full && load === 'exchange' ? [1, 64] : [64]
      const here = { ...common, load: [load], connections }
      const layered = sweep('server', { ...here, dispatch: ['direct'], layers: full ? COUNTS : QUICK_COUNTS })
      if (!full) return layered
      return [...layered, ...sweep('server', { ...here, dispatch: ['hybrid', 'deferred'], layers: [0] })]
    })
  },
  table,
  plot,
  conclude,
  accounting: (results) =>
    results
      .where({ layers: COUNTS.at(-1)! })
      .cells.flatMap((cell) => accountingTable(cell, 'queues', 'cost', `Queues: ${cell.key}`)),
}

function table(results: Measurements): Table {
  const made = sweepTable(results, {
    title: 'A packet’s cost, by the boundaries that are queues',
    parameters: {
      discipline: 'discipline',
      load: 'load',
      connections: 'connections',
      dispatch: 'dispatch',
      layers: 'boundaries',
    },
  })
  const each = results.cells.map((cell): Entry => added(results, cell)?.handoffNs)
  return {
    ...made,
    columns: [...made.columns, { title: 'an added hand-off', unit: 'ns' }],
    rows: made.rows.map((row, i) => [...row, each[i]]),
  }
}

function plot(results: Measurements): Plot {
  const [load = 'exchange'] = results.values('load')
  return sweepPlot(results.where({ load, connections: 64, dispatch: 'direct' }), {
    title: `CPU time of a packet, by the boundaries that are queues: ${LOADS[String(load)]}, 64 connections`,
    x: 'layers',
    xTitle: 'boundaries that are queues',
    xScale: 'linear',
    metric: 'cost',
    by: 'discipline',
  })
}

interface Added {
  readonly ns: number
  /** Of the calls. */
  readonly times: number
  readonly handoffs: number
  /** Undefined where there are no more hand-offs than before. */
  readonly handoffNs: number | undefined
  /** The spreads of the two do not overlap. */
  readonly isCertain: boolean
}

/** What a cell costs more than the same one where all is a call; undefined for that one itself. */
function added(results: Measurements, cell: MeasuredCell): Added | undefined {
  const base = results.cell({ ...cell.parameters, dispatch: 'direct', layers: 0 })
  if (base === undefined || base.key === cell.key) return undefined
  const [cost, before] = [cell.summary('cost'), base.summary('cost')]
  const [count, countBefore] = [cell.median('handoffs'), base.median('handoffs')]
  if (cost === undefined || before === undefined || count === undefined || countBefore === undefined) return undefined
  const ns = cost.median - before.median
  const handoffs = count - countBefore
  return {
    ns,
    times: before.median === 0 ? 1 : cost.median / before.median,
    handoffs,
    handoffNs: handoffs > LEAST ? ns / handoffs : undefined,
    isCertain: cost.low > before.high || cost.high < before.low,
  }
}

/** Hand-offs a packet, below which a quotient by them means nothing. */
const LEAST = 0.05

function conclude(results: Measurements): string {
  const text = results.cells.flatMap((cell): string[] => {
    const { dispatch, layers } = cell.parameters
    const isMost = layers === COUNTS.at(-1)
    return isMost || dispatch !== 'direct' ? sentence(results, cell) : []
  })
  return text.length === 0 ? 'Too little was measured to tell what a boundary costs.' : text.join(' ')
}

function sentence(results: Measurements, cell: MeasuredCell): string[] {
  const more = added(results, cell)
  if (more === undefined) return []
  const { discipline, load, connections, dispatch, layers } = cell.parameters
  const on = connections === 1 ? 'on one connection' : `on ${connections} connections`
  const what = layers === 0 ? `dispatch ${dispatch}` : `all ${layers} boundaries queues`
  const place = `Under ${discipline}, ${LOADS[String(load)]} ${on}, with ${what}`
  const { ns, times, handoffs, handoffNs, isCertain } = more
  if (!isCertain) return [`${place} a packet costs what it does by calls, within the spread (${figure(times)} times).`]
  const word = ns < 0 ? 'less' : 'more'
  const resumes = cell.median('resumes')
  const resumed = resumes === undefined ? '' : ` and ${figure(resumes)} resumed threads`
  const each = handoffNs === undefined ? '' : `: ${figure(handoffNs)} ns for each added hand-off`
  const cost = `a packet costs ${figure(Math.abs(ns))} ns ${word} than by calls (${figure(times)} times)`
  return [`${place} ${cost}, with ${figure(handoffs)} more hand-offs${resumed}${each}.`]
}
