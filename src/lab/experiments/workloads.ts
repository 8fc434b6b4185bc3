// The disciplines by what is done with the connections: moved in bulk, asked, opened and closed, or not there at all.
import { DISCIPLINES } from '../../net/discipline.ts'
import type { Experiment, Plot, Point } from '../experiment.ts'
import type { Measurements } from '../measurements.ts'
import { sweep } from '../sweep.ts'
import { sweepTable } from '../view.ts'
import { duel, duelText } from './duel.ts'
import { accountingTable } from './recorded.ts'

/** What a load is measured by. */
const LOADS: { readonly [load: string]: { readonly metric: string; readonly name: string; readonly unit: string } } = {
  'bulk-in': { metric: 'bits', name: 'receiving in bulk', unit: 'Gbit/s' },
  'bulk-out': { metric: 'bits', name: 'sending in bulk', unit: 'Gbit/s' },
  exchange: { metric: 'exchanges', name: 'exchanges', unit: 'thousand a second' },
  short: { metric: 'connections', name: 'short connections', unit: 'thousand a second' },
  http: { metric: 'exchanges', name: 'requests of HTTP', unit: 'thousand a second' },
  udp: { metric: 'exchanges', name: 'datagrams', unit: 'thousand a second' },
}
/** The strongest of those with locks in the literature: what the others are drawn against. */
const BASE = 'connp-l'

export const workloads: Experiment = {
  name: 'workloads',
  title: 'The disciplines by what there is to do',
  question:
    'A lock is taken several times for each segment, and a connection is entered in tables when it begins. Which work suits which discipline?',
  method: `A host of two CPUs, and 64 connections or flows of datagrams, with packets by the queue of the CPU that owns them. It receives
as much as its windows permit (bulk-in), sends as much as is acknowledged (bulk-out), echoes a question of 64 bytes on each
connection (exchange), or on a new connection for each question (short), or in a datagram (udp). Node’s own http answers requests, on the
event loop of each CPU’s thread (http). All loops are closed.

Datagrams have no connection, and every CPU has an echo socket of its own: no discipline has anything to lock or to send there, and
what differs is noise. Bulk is moved within one memory: a real link is slower than these figures.`,
  metrics: [
    { name: 'bits', title: 'payload', unit: 'Gbit/s', scale: 1e9, better: 'more' },
    { name: 'exchanges', title: 'exchanges', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'connections', title: 'connections', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'packets', title: 'packets delivered', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'p50', title: 'latency, half', unit: 'µs', better: 'less' },
    { name: 'p99', title: '99 %', unit: 'µs', better: 'less' },
    { name: 'locks', title: 'locks taken', unit: 'a packet', better: 'less' },
    { name: 'contention', title: 'of these waited', unit: '%', scale: 0.01, better: 'less' },
    { name: 'queued', title: 'queue operations', unit: 'a packet', better: 'less' },
  ],
  cells: ({ full }) =>
    sweep('server', {
      cpus: [2],
      connections: [64],
      load: full ? Object.keys(LOADS) : ['bulk-in', 'short'],
      discipline: full ? DISCIPLINES : [BASE, 'connp-t'],
    }),
  table: (results) =>
    sweepTable(results, {
      title: 'Two CPUs, 64 connections',
      parameters: { load: 'load', discipline: 'discipline' },
    }),
  plot,
  conclude,
  accounting: (results) =>
    results.cells.flatMap((cell) => accountingTable(cell, 'locks', 'packets', `Where locks were taken: ${cell.key}`)),
}

/** Each load has a unit of its own: drawn is what a discipline does by what connp-l does. */
function plot(results: Measurements): Plot {
  const series = results.values('discipline').map((discipline) => ({
    name: String(discipline),
    points: results.values('load').flatMap((load): Point[] => {
      const { metric } = LOADS[String(load)]!
      const base = results.cell({ load, discipline: BASE })?.median(metric)
      const mine = results.cell({ load, discipline })?.summary(metric)
      if (base === undefined || base === 0 || mine === undefined) return []
      return [{ x: String(load), y: mine.median / base, low: mine.low / base, high: mine.high / base }]
    }),
  }))
  return {
    title: `The disciplines, by what ${BASE} does`,
    x: { title: 'load', scale: 'category' },
    y: { title: `times the median of ${BASE}`, scale: 'linear' },
    series: series.filter(({ points }) => points.length > 0),
    limits: [{ title: BASE, y: 1 }],
  }
}

function conclude(results: Measurements): string {
  const text = results.values('load').flatMap((load) => {
    const { metric, name, unit } = LOADS[String(load)]!
    const each = duel(results, metric, { load })
    return each === undefined ? [] : [{ verdict: each.verdict, sentence: `${name}: ${duelText(each, unit)}.` }]
  })
  if (text.length === 0) return 'Too little was measured to compare the disciplines.'
  const lost = text.filter(({ verdict }) => verdict === 'loses').length
  const won = text.filter(({ verdict }) => verdict === 'wins').length
  const score = `Of ${text.length} loads the message design wins ${won} and loses ${lost} to the best of those with locks.`
  return [score, ...text.map(({ sentence }) => sentence[0]!.toUpperCase() + sentence.slice(1))].join(' ')
}
