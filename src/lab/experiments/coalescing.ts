// What a hand-off costs when little is to be done, and how that goes away when there is much: doorbells, sleeps and queue
// operations against the offered load.
import type { Experiment, Plot, Point, Table } from '../experiment.ts'
import { figure } from '../format.ts'
import type { MeasuredCell, Measurements } from '../measurements.ts'
import { sweep } from '../sweep.ts'
import { sweepTable } from '../view.ts'
import { accountingTable } from './recorded.ts'

/** What is counted of a packet. */
const COSTS = ['queued', 'doorbells', 'sleeps'] as const
/** A closed loop, as the workload calls it. */
const CLOSED = 0

export const coalescing: Experiment = {
  name: 'coalescing',
  title: 'What load does to the cost of a hand-off',
  question:
    'A message to a CPU that sleeps needs a doorbell, and one to a CPU that works needs none. How much of a hand-off is left as the load grows?',
  method: `A host of two CPUs (connp-t) serves an echo over TCP to 64 connections, of which half arrive at the CPU that does not own
them: those are the packets that are handed on. Where all arrive at their owner there is no hand-off, and nothing to be saved.
Questions come at random times, as many in a second as are offered, whether or not those before were answered. The closed
loop, with one question of each connection always under way, is as much as goes.

Latency is counted from when a question came, so that it includes the time for which it waited for a connection. A load that the
machine does not keep up with is not shown.`,
  metrics: [
    { name: 'exchanges', title: 'exchanges', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'doorbells', title: 'doorbells', unit: 'a packet', better: 'less' },
    { name: 'sleeps', title: 'sleeps', unit: 'a packet', better: 'less' },
    { name: 'queued', title: 'queue operations', unit: 'a packet', better: 'less' },
    { name: 'switches', title: 'context switches', unit: 'a packet', better: 'less' },
    { name: 'locks', title: 'locks taken', unit: 'a packet', better: 'less' },
    { name: 'p50', title: 'latency, half', unit: 'µs', better: 'less' },
    { name: 'p99', title: '99 %', unit: 'µs', better: 'less' },
    { name: 'idle', title: 'CPUs idle', unit: '%', scale: 0.01, better: 'more' },
  ],
  cells: ({ full }) =>
    sweep('server', {
      cpus: [2],
      discipline: ['connp-t'],
      load: ['exchange'],
      connections: [64],
      wrong: [0.5],
      offered: full ? [1000, 3000, 10_000, 30_000, 60_000, 100_000, 200_000, CLOSED] : [2000, CLOSED],
    }),
  table,
  plot,
  conclude,
  accounting: (results) =>
    results.cells.flatMap((cell) => accountingTable(cell, 'queues', 'exchanges', `Queues with ${loadText(cell)}`)),
}

function table(results: Measurements): Table {
  const made = sweepTable(results, {
    title: 'Costs of a packet, by the offered load',
    parameters: { offered: 'offered a second' },
  })
  return {
    ...made,
    rows: made.rows.map(([offered, ...rest]) => [offered === CLOSED ? 'closed loop' : offered, ...rest]),
  }
}

/** Over the exchanges that were done, since the closed loop offers nothing. */
function plot(results: Measurements): Plot {
  const series = COSTS.map((metric) => ({ name: results.metric(metric).title, points: points(results, metric) }))
  return {
    title: 'What a packet costs in hand-offs, by the load',
    x: { title: 'exchanges (thousand a second)', scale: 'linear' },
    y: { title: 'times a packet', scale: 'linear' },
    series: series.filter((each) => each.points.length > 0),
  }
}

function points(results: Measurements, metric: string): Point[] {
  return results.cells
    .flatMap((cell): Point[] => {
      const x = cell.median('exchanges')
      const cost = cell.summary(metric)
      return x === undefined || cost === undefined ? [] : [{ x, y: cost.median, low: cost.low, high: cost.high }]
    })
    .sort((a, b) => Number(a.x) - Number(b.x))
}

function loadText(cell: MeasuredCell): string {
  const { offered } = cell.parameters
  return offered === CLOSED ? 'the closed loop' : `${figure(Number(offered))} questions offered a second`
}

function conclude(results: Measurements): string {
  const measured = results.cells.filter((cell) => cell.median('exchanges') !== undefined)
  const [low, high] = [measured[0], measured.at(-1)]
  if (low === undefined || high === undefined || low === high) return 'Too little was measured to compare loads.'
  const text = COSTS.flatMap((metric) => change(results, metric, low, high))
  const latency = low.median('p50')
  const rung = low.median('doorbells')
  if (latency !== undefined && rung !== undefined && rung > 0) {
    text.push(
      `Here the message design loses: with ${loadText(low)} a packet needs ${figure(rung)} doorbells, and half of the answers take more than ${figure(latency)} µs: each hand-off pays for its own wake-up, and there is nothing to share it with.`,
    )
  }
  if (text.length === 0) return 'Too little was measured to compare loads.'
  return `From ${loadText(low)} to ${loadText(high)}: ${text.join(' ')}`
}

function change(results: Measurements, metric: string, low: MeasuredCell, high: MeasuredCell): string[] {
  const [from, to] = [low.summary(metric), high.summary(metric)]
  if (from === undefined || to === undefined) return []
  const name = results.metric(metric).title
  const title = name[0]!.toUpperCase() + name.slice(1)
  const figures = `from ${figure(from.median)} to ${figure(to.median)} a packet`
  if (figure(from.median) === figure(to.median)) return [`${title} stay at ${figure(to.median)} a packet.`]
  if (to.high < from.low) return [`${title} fall ${figures}.`]
  if (to.low > from.high) return [`${title} rise ${figures}, so that load saves nothing of them.`]
  return [`${title} stay within their spread (${figures}).`]
}
