// What it costs when packets come to another CPU than the one that owns their connection: a network card that spreads its
// packets by another hash, or a program that runs elsewhere.
import type { CellParameters, Experiment } from '../experiment.ts'
import { figure } from '../format.ts'
import type { Measurements } from '../measurements.ts'
import { sweep } from '../sweep.ts'
import { sweepPlot, sweepTable } from '../view.ts'
import { CHAMPION, duel, duelText } from './duel.ts'
import { accountingTable } from './recorded.ts'

export const steering: Experiment = {
  name: 'steering',
  title: 'Packets on the wrong CPU',
  question:
    'With threads for connections a packet that arrives elsewhere must be handed on; with locks any CPU may take it. How many packets must arrive at home for the hand-off to be worth it?',
  method: `A host of two CPUs serves an echo over TCP to 64 connections with one question of 64 bytes under way each. Of a share of the
connections the packets come by the queue of the other CPU. In connp-t such a packet is sent to its owner, and its answer leaves by
the owner's queue; in connp-l the CPU where it arrived takes the lock of the connection's group and goes on.

The device keeps the share also where the packets that are handed on are answered later: what is slow then holds up the rest,
as it would where every user is served alike.`,
  metrics: [
    { name: 'exchanges', title: 'exchanges', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'queued', title: 'queue operations', unit: 'a packet', better: 'less' },
    { name: 'doorbells', title: 'doorbells', unit: 'a packet', better: 'less' },
    { name: 'locks', title: 'locks taken', unit: 'a packet', better: 'less' },
    { name: 'contention', title: 'of these waited', unit: '%', scale: 0.01, better: 'less' },
    { name: 'p50', title: 'latency, half', unit: 'µs', better: 'less' },
    { name: 'p99', title: '99 %', unit: 'µs', better: 'less' },
  ],
  cells: ({ full }) =>
    sweep('server', {
      cpus: [2],
      load: ['exchange'],
      connections: [64],
      wrong: full ? [0, 0.25, 0.5, 1] : [0, 1],
      discipline: ['connp-l', CHAMPION],
    }),
  table: (results) =>
    sweepTable(results, {
      title: 'Exchanges, by the share of packets on the wrong CPU',
      parameters: { wrong: 'share on the wrong CPU', discipline: 'discipline' },
    }),
  plot: (results) =>
    sweepPlot(results, {
      title: 'Exchanges on 2 CPUs, by the share of packets on the wrong one',
      x: 'wrong',
      xTitle: 'share of packets on the wrong CPU',
      xScale: 'linear',
      metric: 'exchanges',
      by: 'discipline',
    }),
  conclude,
  accounting: (results) =>
    results
      .where({ discipline: CHAMPION })
      .cells.flatMap((cell) => accountingTable(cell, 'queues', 'exchanges', `Queues: ${cell.key}`)),
}

function conclude(results: Measurements): string {
  const shares = results.values('wrong')
  const text = shares.flatMap((wrong) => {
    const each = duel(results, 'exchanges', { wrong })
    return each === undefined ? [] : [`${placeText(Number(wrong))} ${duelText(each, 'thousand exchanges a second')}.`]
  })
  const last = shares.at(-1)
  if (last !== undefined && last !== 0) {
    const place = Number(last) === 1 ? 'all' : `${figure(Number(last) * 100)} %`
    for (const discipline of results.values('discipline')) {
      const left = kept(results, { discipline, wrong: last }, { discipline, wrong: 0 })
      if (left !== undefined)
        text.push(`With ${place} on the wrong CPU ${discipline} keeps ${left} of what it does with none.`)
    }
  }
  const cost = results.cell({ discipline: CHAMPION, wrong: 1 })?.median('queued')
  if (cost !== undefined) text.push(`A packet that must be handed on costs ${figure(cost)} queue operations.`)
  return text.length === 0 ? 'Too little was measured to compare the disciplines.' : text.join(' ')
}

function placeText(wrong: number): string {
  if (wrong === 0) return 'With all packets at home'
  return wrong === 1 ? 'With none at home' : `With ${figure(wrong * 100)} % of them elsewhere`
}

function kept(results: Measurements, parameters: CellParameters, to: CellParameters): string | undefined {
  const ratio = results.ratio('exchanges', parameters, to)
  return ratio === undefined ? undefined : `${figure(ratio * 100)} %`
}
