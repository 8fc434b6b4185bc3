// The four disciplines of one stack under the same load: what a lock costs against what a message costs.
import { DISCIPLINES } from '../../net/discipline.ts'
import type { Experiment } from '../experiment.ts'
import { figure } from '../format.ts'
import type { Measurements } from '../measurements.ts'
import { sweep } from '../sweep.ts'
import { sweepPlot, sweepTable } from '../view.ts'
import { CHAMPION, duel, duelText } from './duel.ts'
import { accountingTable } from './recorded.ts'

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
  ],
  cells: ({ full }) =>
    sweep('server', {
      cpus: full ? [1, 2] : [2],
      load: ['exchange'],
      connections: full ? [6, 48, 192, 768, 3072, 16384] : [64, 1024],
      discipline: DISCIPLINES,
    }),
  table: (results) =>
    sweepTable(results, {
      title: 'Exchanges of 64 bytes',
      parameters: { cpus: 'CPUs', connections: 'connections', discipline: 'discipline' },
    }),
  plot: (results) => {
    const cpus = Math.max(...results.values('cpus').map(Number))
    return sweepPlot(results.where({ cpus }), {
      title: `Exchanges on ${cpus} CPU${cpus === 1 ? '' : 's'}, by connections`,
      x: 'connections',
      xTitle: 'connections',
      xScale: 'log',
      metric: 'exchanges',
      by: 'discipline',
    })
  },
  conclude,
  accounting: (results) => {
    const title = 'Where locks were taken'
    return DISCIPLINES.flatMap((discipline) => {
      const cell = results.where({ discipline }).best('contention')
      return cell === undefined ? [] : accountingTable(cell, 'locks', 'exchanges', `${title}: ${cell.key}`)
    })
  },
}

function conclude(results: Measurements): string {
  const text: string[] = []
  for (const cpus of results.values('cpus')) {
    for (const connections of results.values('connections')) {
      const where = { cpus, connections }
      const place = `With ${figure(Number(connections))} connections on ${cpus} CPU${cpus === 1 ? '' : 's'}`
      const throughput = duel(results, 'exchanges', where)
      if (throughput !== undefined) text.push(`${place} ${duelText(throughput, 'thousand exchanges a second')}.`)
      const tail = duel(results, 'p99', where)
      if (tail?.verdict === 'loses') text.push(`Of latency (99 %) ${duelText(tail, 'µs')}.`)
    }
  }
  const waits = results.cells.flatMap((cell) => {
    const share = cell.median('contention')
    return share === undefined || cell.parameters.discipline === CHAMPION ? [] : [{ cell, share }]
  })
  const worst = waits.reduce<(typeof waits)[number] | undefined>(
    (most, each) => (most === undefined || each.share > most.share ? each : most),
    undefined,
  )
  if (worst !== undefined) {
    const { discipline, connections, cpus } = worst.cell.parameters
    const where = `${discipline} with ${figure(Number(connections))} connections on ${cpus} CPU${cpus === 1 ? '' : 's'}`
    text.push(
      worst.share === 0
        ? 'No lock was ever found held: what the locks cost is taking them.'
        : `Most often locks are waited for by ${where}: at ${figure(worst.share)} % of the times that one is taken.`,
    )
  }
  if (text.length === 0) return 'Too little was measured to compare the disciplines.'
  return text.join(' ')
}
