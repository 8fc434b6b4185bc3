// What batches are worth to the message design: against the best of those with locks, by how much is done together, where packets
// really have to be handed on; and what it costs a CPU to look for work for longer.

import { crossovers, type RatioPoint } from '../crossover.ts'
import type { Cell, Experiment, Plot, Point, Table } from '../experiment.ts'
import { figure } from '../format.ts'
import type { Measurements } from '../measurements.ts'
import { sweep } from '../sweep.ts'
import { sweepPlot, sweepTable } from '../view.ts'
import { CHAMPION, duel, duelText } from './duel.ts'
import { accountingTable } from './recorded.ts'

const RIVAL = 'connp-l'
const CONNECTIONS = 256
const BATCHES = [1, 2, 4, 8, 16, 32, 64] as const
const RATE = 'thousand exchanges a second'
/** Questions a second, of the open loop: little enough that CPUs sleep. */
const OFFERED = 20_000
const CLOSED = 0

const BATCH_METRICS = ['exchanges', 'together', 'queued', 'doorbells', 'p50', 'p99'] as const
const SPIN_METRICS = ['exchanges', 'doorbells', 'sleeps', 'p50', 'p99', 'idle'] as const

export const batch: Experiment = {
  name: 'batch',
  title: 'What batches are worth',
  question:
    'Published comparisons of connection threads and connection locks handed packets on one by one, and the threads lost. From which size of a batch on do messages win, if they do?',
  method: `A host of two CPUs serves an echo over TCP to ${CONNECTIONS} connections with one question of 64 bytes under way each. With packets
at home connp-t sends no message, and there is nothing to batch; so here all of the connections, or half of them, have their packets
come to the CPU that is not their owner's.

The limit is what a CPU takes from its device in one turn of its run loop, and what a port of messages serves before others get
their turn; what is sent in a turn is published at its end, or by sixteens. With a limit of 1 each packet is a turn of its own, with
one message, one publish and one answer. The limit holds for both disciplines: connp-l, too, does what follows a packet once for a batch.

Spinning (full form) is how many turns without work a CPU looks for some before it sleeps; a sleeping CPU has to be woken by a doorbell.
It matters where there is little to do: the open loop offers ${figure(OFFERED)} questions a second.`,
  metrics: [
    { name: 'exchanges', title: 'exchanges', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'together', title: 'packets handed on at a time', unit: '', better: 'more' },
    { name: 'queued', title: 'queue operations', unit: 'a packet', better: 'less' },
    { name: 'doorbells', title: 'doorbells', unit: 'a packet', better: 'less' },
    { name: 'sleeps', title: 'sleeps', unit: 'a packet', better: 'less' },
    { name: 'p50', title: 'latency, half', unit: 'µs', better: 'less' },
    { name: 'p99', title: '99 %', unit: 'µs', better: 'less' },
    { name: 'idle', title: 'CPUs idle', unit: '%', scale: 0.01, better: 'more' },
  ],
  cells: ({ full }) => [
    ...sweep('server', {
      ...COMMON,
      wrong: full ? [0.5, 1] : [1],
      batch: full ? BATCHES : [1, 8, 64],
      discipline: [RIVAL, CHAMPION],
    }),
    ...(full ? spinCells() : []),
  ],
  table: (results) =>
    sweepTable(limited(results), {
      title: 'Exchanges of 64 bytes, by the limit of batches',
      parameters: { wrong: 'share on the wrong CPU', batch: 'limit', discipline: 'discipline' },
      metrics: BATCH_METRICS,
    }),
  plot: (results) => {
    const wrong = Math.max(...limited(results).values('wrong').map(Number))
    return sweepPlot(limited(results).where({ wrong }), {
      title: `Exchanges on 2 CPUs, by the limit of batches, ${shareText(wrong)}`,
      x: 'batch',
      xTitle: 'limit of batches',
      xScale: 'log',
      metric: 'exchanges',
      by: 'discipline',
    })
  },
  plots: (results) => [ratioPlot(limited(results))],
  tables: (results) => spinTables(spun(results)),
  conclude,
  accounting: (results) =>
    limited(results)
      .where({ discipline: CHAMPION })
      .cells.flatMap((cell) => accountingTable(cell, 'queues', 'exchanges', `Queues: ${cell.key}`)),
}

const COMMON = { cpus: [2], load: ['exchange'], connections: [CONNECTIONS] } as const

function spinCells(): Cell[] {
  return sweep('server', {
    ...COMMON,
    wrong: [1],
    offered: [OFFERED, CLOSED],
    spin: [0, 200, 2000, 20_000],
    discipline: [RIVAL, CHAMPION],
  })
}

const limited = (results: Measurements) => results.having('batch')
const spun = (results: Measurements) => results.having('spin')

/** By the limit: what connp-t does by what connp-l does. Only where both were measured. */
function ratios(mine: Measurements): RatioPoint[] {
  return mine.values('batch').flatMap((batch): RatioPoint[] => {
    const ratio = mine.ratio('exchanges', { batch, discipline: CHAMPION }, { batch, discipline: RIVAL })
    return ratio === undefined || ratio === 0 ? [] : [{ x: Number(batch), ratio }]
  })
}

function ratioPlot(results: Measurements): Plot {
  const series = results.values('wrong').map((wrong) => {
    const points = ratios(results.where({ wrong })).map(
      ({ x, ratio }): Point => ({ x, y: ratio, low: ratio, high: ratio }),
    )
    return { name: shareText(Number(wrong)), points }
  })
  return {
    title: `${CHAMPION} by ${RIVAL}, by the limit of batches`,
    x: { title: 'limit of batches', scale: 'log' },
    y: { title: `times the median of ${RIVAL}`, scale: 'linear' },
    series: series.filter(({ points }) => points.length > 0),
    limits: [{ title: 'alike', y: 1 }],
  }
}

function spinTables(mine: Measurements): Table[] {
  if (mine.isEmpty) return []
  const made = sweepTable(mine, {
    title: 'By the turns that a CPU looks for work before it sleeps, all packets on the wrong CPU',
    parameters: { offered: 'offered a second', spin: 'turns', discipline: 'discipline' },
    metrics: SPIN_METRICS,
  })
  return [
    { ...made, rows: made.rows.map(([offered, ...rest]) => [offered === CLOSED ? 'closed loop' : offered, ...rest]) },
  ]
}

function conclude(results: Measurements): string {
  const mine = limited(results)
  const text = [...mine.values('wrong').flatMap((wrong) => crossoverText(mine.where({ wrong }), Number(wrong)))]
  text.push(...gainText(mine), ...spinText(spun(results)))
  return text.length === 0 ? 'Too little was measured to compare batches.' : text.join(' ')
}

function crossoverText(mine: Measurements, wrong: number): string[] {
  const points = ratios(mine)
  const [first, last] = [points[0], points.at(-1)]
  if (first === undefined || last === undefined || first === last) return []
  const place = `With ${shareText(wrong)}`
  const found = crossovers(points)
  if (found.length === 0) {
    const isAhead = points.some(({ ratio }) => ratio > 1)
    const nearest = points.reduce((best, each) => (distance(each) < distance(best) ? each : best))
    const most = mine.where({ batch: nearest.x })
    const each = duel(most, 'exchanges')
    const figures = each === undefined ? '' : `; nearest with ${nearest.x}, where ${duelText(each, RATE)}`
    const winner = isAhead ? CHAMPION : RIVAL
    return [
      `${place} there is no crossover: ${winner} is ahead at every limit of batches from ${first.x} to ${last.x}${figures}.`,
    ]
  }
  const list = found.map(({ x, between: [from, to], rises }) => {
    const [winner, loser] = rises ? [CHAMPION, RIVAL] : [RIVAL, CHAMPION]
    return `${winner} overtakes ${loser} at a limit of about ${figure(Number(x.toPrecision(2)))} (between ${from} and ${to})`
  })
  const ends = `${figure(first.ratio)} times with ${first.x}, ${figure(last.ratio)} times with ${last.x}`
  const doubt = found.length === 1 ? '' : '; they cross more than once, so that they are alike as far as this can tell'
  return [`${place} ${list.join(', and ')}${doubt}: ${CHAMPION} does ${ends}.`]
}

const distance = ({ ratio }: RatioPoint) => Math.abs(Math.log(ratio))

/** What each of them gains from the smallest limit to the largest. */
function gainText(mine: Measurements): string[] {
  const wrong = mine.values('wrong').at(-1)
  if (wrong === undefined) return []
  const batches = mine.values('batch')
  const gains = [CHAMPION, RIVAL].flatMap((discipline) => {
    const where = { wrong, discipline }
    const gain = mine.ratio('exchanges', { ...where, batch: batches.at(-1)! }, { ...where, batch: batches[0]! })
    return gain === undefined ? [] : [`${discipline} ${figure(gain)} times`]
  })
  if (gains.length < 2) return []
  return [`Batches of up to ${batches.at(-1)} instead of ${batches[0]} make ${gains.join(' and ')} as fast.`]
}

function spinText(mine: Measurements): string[] {
  const low = mine.where({ discipline: CHAMPION, offered: OFFERED })
  const best = low.best('p50')
  const asleep = low.cell({ spin: 0 })
  const [fast, slow] = [best?.median('p50'), asleep?.median('p50')]
  if (best === undefined || best === asleep || fast === undefined || slow === undefined) return []
  const idle = best.median('idle')
  return [
    `With ${figure(OFFERED)} questions a second half of the answers of ${CHAMPION} take ${figure(slow)} µs where its CPUs sleep at once, and ${figure(fast)} µs where they look for work for ${figure(Number(best.parameters.spin))} turns${idle === undefined ? '' : ` (idle, looking or asleep, for ${figure(idle)} % of the time)`}.`,
  ]
}

function shareText(wrong: number): string {
  return wrong === 1 ? 'all packets on the wrong CPU' : `${figure(wrong * 100)} % of the packets on the wrong CPU`
}
