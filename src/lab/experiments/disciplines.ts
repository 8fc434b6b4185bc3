// The four disciplines of one stack under the same load: what a lock costs against what a message costs.
import { DISCIPLINES } from '../../net/discipline.ts'
import type { Cell, Experiment, Plot, Point, Table } from '../experiment.ts'
import { figure } from '../format.ts'
import type { Measurements } from '../measurements.ts'
import { sweep } from '../sweep.ts'
import { sweepPlot, sweepTable } from '../view.ts'
import { contentionCells, contentionTables, contentionText } from './contention.ts'
import { CHAMPION, type Duel, duel, duelText } from './duel.ts'
import { accountingTable } from './recorded.ts'

const METRICS = ['exchanges', 'p50', 'p99', 'p999', 'locks', 'contention', 'queued'] as const
/** Of the full form, as far as the machine has processors. */
const CPUS = [1, 2, 4, 8, 16]
/** Of the open loop. */
const LATENCY_CONNECTIONS = 192
const RATE = 'thousand exchanges a second'

export const disciplines: Experiment = {
  name: 'disciplines',
  title: 'One stack, four disciplines',
  question:
    'Willmann, Rixner and Cox (2006) found that a stack whose connections belong to threads loses to one whose connections are locked. Does it still, when messages are batched and most of what arrives is at home already?',
  method: `A host serves an echo over TCP, with one listener for each CPU. Its clients are made in the same memory by a load
device, with a queue for each CPU and packets by the queue of the CPU that owns their connection. Each connection has one
question of 64 bytes under way: the loop is closed. The protocol code is the same in all four; what differs is how a CPU comes
to work on a connection: one lock around the stack (giant), a lock for each connection and one for the table (msgp), a lock for
each group of connections (connp-l), or none, because each connection has one CPU (connp-t).

In the open loop (full form) questions come at random times, as a share of what the same discipline does in a closed loop on the same
machine, which is measured just before; latency counts from when a question came.

How often locks are found held is measured in cells of their own, whose clocks are read at each acquisition, and where half of the
connections have their packets come to the CPU that is not their owner's: with packets at home two CPUs never want the same lock of
connp-l, because both the owner and the group are chosen by the flow's hash.

Making packets is part of the work of the same CPUs, and the same for all four, so that the differences of the stacks alone are larger
than those shown. With as many CPUs as processors, whatever else runs on the machine disturbs all of them; a CPU that is
taken off its processor while it holds a lock has all others wait, which is true of locks in user space anywhere.`,
  metrics: [
    { name: 'exchanges', title: 'exchanges', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'p50', title: 'latency, half', unit: 'µs', better: 'less' },
    { name: 'p99', title: '99 %', unit: 'µs', better: 'less' },
    { name: 'p999', title: '99.9 %', unit: 'µs', better: 'less' },
    { name: 'locks', title: 'locks taken', unit: 'a packet', better: 'less' },
    { name: 'contention', title: 'of these waited', unit: '%', scale: 0.01, better: 'less' },
    { name: 'queued', title: 'queue operations', unit: 'a packet', better: 'less' },
    { name: 'offered', title: 'offered', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'global', title: 'global locks found held', unit: '%', scale: 0.01, better: 'less' },
    { name: 'held', title: 'a lock is held for', unit: 'µs', better: 'less' },
    { name: 'waited', title: 'and waited for, where it is', unit: 'µs', better: 'less' },
    { name: 'waiting', title: "of the CPUs' time in waiting", unit: '%', scale: 0.01, better: 'less' },
  ],
  cells: ({ full, processors }) => [
    ...sweep('server', {
      cpus: full ? CPUS.filter((cpus) => cpus <= Math.max(2, processors)) : [2],
      load: ['exchange'],
      connections: full ? [6, 24, 64, 192, 768, 3072, 16384] : [64],
      wrong: [0],
      discipline: DISCIPLINES,
    }),
    ...(full ? latencyCells() : []),
    ...contentionCells(full),
  ],
  table: (results) =>
    sweepTable(closed(results), {
      title: 'Exchanges of 64 bytes, closed loop',
      parameters: { cpus: 'CPUs', connections: 'connections', discipline: 'discipline' },
      metrics: METRICS,
    }),
  plot,
  plots: (results) => (open(results).isEmpty ? [] : [latencyPlot(open(results))]),
  tables: (results) => [...latencyTables(open(results)), ...contentionTables(results)],
  conclude,
  accounting: (results) =>
    DISCIPLINES.flatMap((discipline) => {
      const cell = results.where({ discipline }).best('contention')
      return cell === undefined
        ? []
        : accountingTable(cell, 'locks', 'contention', `Where locks were taken: ${cell.key}`)
    }),
}

function latencyCells(): Cell[] {
  return sweep('server', {
    cpus: [2],
    load: ['exchange'],
    connections: [LATENCY_CONNECTIONS],
    wrong: [0],
    share: [0.25, 0.5, 0.75, 0.9],
    discipline: DISCIPLINES,
  })
}

/** The cells of the closed loop whose clocks are not disturbed. */
const closed = (results: Measurements) => results.having('share', false).having('profile', false)
const open = (results: Measurements) => results.having('share')

function plot(results: Measurements): Plot {
  const mine = closed(results)
  const cpus = Math.max(...mine.values('cpus').map(Number))
  const isOne = mine.values('connections').length === 1
  const title = `Exchanges on ${cpusText(cpus)}`
  return sweepPlot(mine.where({ cpus }), {
    title: isOne
      ? `${title} with ${figure(Number(mine.values('connections')[0]))} connections`
      : `${title}, by connections`,
    metric: 'exchanges',
    ...(isOne
      ? { x: 'discipline', xTitle: 'discipline', xScale: 'category' }
      : { x: 'connections', xTitle: 'connections', xScale: 'log', by: 'discipline' }),
  })
}

/** Over what was done, since each discipline has a saturation of its own. */
function latencyPlot(mine: Measurements): Plot {
  const series = mine.values('discipline').map((discipline) => ({
    name: String(discipline),
    points: mine
      .where({ discipline })
      .cells.flatMap((cell): Point[] => {
        const x = cell.median('exchanges')
        const latency = cell.summary('p99')
        return x === undefined || latency === undefined
          ? []
          : [{ x, y: latency.median, low: latency.low, high: latency.high }]
      })
      .sort((a, b) => Number(a.x) - Number(b.x)),
  }))
  return {
    title: `Latency (99 %) on 2 CPUs with ${LATENCY_CONNECTIONS} connections, by load`,
    x: { title: 'exchanges (thousand a second)', scale: 'linear' },
    y: { title: 'µs', scale: 'log' },
    series: series.filter(({ points }) => points.length > 0),
  }
}

function latencyTables(mine: Measurements): Table[] {
  if (mine.isEmpty) return []
  return [
    sweepTable(mine, {
      title: `Latency in an open loop: 2 CPUs, ${LATENCY_CONNECTIONS} connections`,
      parameters: { share: 'share of saturation', discipline: 'discipline' },
      metrics: ['offered', 'exchanges', 'p50', 'p99', 'p999'],
    }),
  ]
}

function conclude(results: Measurements): string {
  const mine = closed(results)
  const text = mine
    .values('cpus')
    .flatMap((cpus) => [
      ...verdicts(mine.where({ cpus }), 'exchanges', RATE, `On ${cpusText(Number(cpus))}`),
      ...losses(mine.where({ cpus }), 'p99', 'µs', `Of latency (99 %) on ${cpusText(Number(cpus))}`),
    ])
  const share = open(results).values('share').at(-1)
  const latency = share === undefined ? undefined : duel(open(results), 'p99', { share })
  if (latency !== undefined) {
    text.push(
      `At ${figure(Number(share) * 100)} % of what each does at most, of latency (99 %) ${duelText(latency, 'µs')}.`,
    )
  }
  text.push(...worstText(mine), ...contentionText(results))
  return text.length === 0 ? 'Too little was measured to compare the disciplines.' : text.join(' ')
}

interface Place {
  readonly connections: number
  readonly duel: Duel
}

function places(mine: Measurements, metric: string): Place[] {
  return mine.values('connections').flatMap((connections) => {
    const each = duel(mine, metric, { connections })
    return each === undefined ? [] : [{ connections: Number(connections), duel: each }]
  })
}

/** Who wins where: the clearest win, and each loss. */
function verdicts(mine: Measurements, metric: string, unit: string, where: string): string[] {
  const all = places(mine, metric)
  const won = all.filter(({ duel }) => duel.verdict === 'wins')
  const even = all.filter(({ duel }) => duel.verdict === 'even')
  const text: string[] = []
  const clearest = won.reduce<Place | undefined>(
    (best, each) => (best === undefined || each.duel.ratio > best.duel.ratio ? each : best),
    undefined,
  )
  if (clearest !== undefined) {
    const { connections, duel } = clearest
    const place = `with ${connectionsText(connections)}`
    const count = `${CHAMPION} is ahead at ${won.length} of ${all.length} numbers of connections, most`
    text.push(`${where} ${all.length === 1 ? place : `${count} ${place}, where`} ${duelText(duel, unit)}.`)
  }
  for (const { connections, duel } of even) {
    text.push(`${where} with ${connectionsText(connections)} ${duelText(duel, unit)}.`)
  }
  return [...text, ...losses(mine, metric, unit, where)]
}

function losses(mine: Measurements, metric: string, unit: string, where: string): string[] {
  return places(mine, metric)
    .filter(({ duel }) => duel.verdict === 'loses')
    .map(({ connections, duel }) => `${where} with ${connectionsText(connections)} ${duelText(duel, unit)}.`)
}

/** Where locks are waited for most. */
function worstText(mine: Measurements): string[] {
  const waits = mine.cells.flatMap((cell) => {
    const share = cell.median('contention')
    return share === undefined || cell.parameters.discipline === CHAMPION ? [] : [{ cell, share }]
  })
  const worst = waits.reduce<(typeof waits)[number] | undefined>(
    (most, each) => (most === undefined || each.share > most.share ? each : most),
    undefined,
  )
  if (worst === undefined) return []
  if (worst.share === 0)
    return ['With packets at home no lock was ever found held: what the locks cost is taking them.']
  const { discipline, connections, cpus } = worst.cell.parameters
  const where = `${discipline} with ${connectionsText(Number(connections))} on ${cpusText(Number(cpus))}`
  return [
    `With packets at home locks are waited for most often by ${where}: at ${figure(worst.share)} % of the times that one is taken.`,
  ]
}

const connectionsText = (connections: number) => `${figure(connections)} connections`
const cpusText = (cpus: number) => `${cpus} CPU${cpus === 1 ? '' : 's'}`
