// Beyond this machine: the same stack on up to 128 CPUs that are simulated with the costs that were measured here, and how far the model is
// from what one and two real CPUs do.
import { DISCIPLINES } from '../../net/discipline.ts'
import type { Entry, Experiment, LabOptions, Table } from '../experiment.ts'
import { figure } from '../format.ts'
import type { MeasuredCell, Measurements } from '../measurements.ts'
import { cell } from '../sweep.ts'
import { sweepPlot } from '../view.ts'

/** What the model may be off by, where real CPUs can say. */
export const BAR = 0.2
/** From this share of a CPU's time on, something is what bounds it. */
const BOUND = 0.25
/** A discipline scales no more from the fewest CPUs on that do this share of the most that it ever does. */
const NEARLY = 0.9
const CPUS = [1, 2, 4, 8, 16, 32, 64, 128]
const QUICK_CPUS = [1, 2, 8, 32]
const LOADS: { readonly [load: string]: string } = { exchange: 'exchanges', short: 'short connections' }

export const scaling: Experiment = {
  name: 'scaling',
  isLong: true,
  title: 'Beyond this machine: up to 128 CPUs',
  question:
    'Two processors can show what a lock and a message cost, and not where a design ends. With the costs of this machine, how far does each discipline go?',
  method: `The stack itself runs, with the load device that makes its clients, on CPUs that are simulated: each has a virtual time of its own, and what
it does takes as long as it was measured to take ("damselfly calibrate"). A CPU that comes to a lock while another one has it waits
in virtual time; a lock, a record or a packet that another CPU had last costs what moving its cache lines costs; messages arrive
when they were sent. Each CPU has 64 connections, and packets come to the CPU that owns theirs.

What the work of a packet takes was measured on one CPU, so that the model's figure for one CPU only shows that it adds up; that for two
is a prediction. Both are compared with the same on real CPUs, in the same run, as far as this machine has them.

Not in the model: memory bandwidth and caches that are too small for all (but for what two processors that have nothing in common cost
each other, which is measured), cores that are farther from each other than these two, and the operating system. All CPUs are taken to be as
near as two of this machine are. So the figures say where a discipline stops for what it does itself, and are too high for all of them.`,
  metrics: [
    { name: 'rate', title: 'model', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'real', title: 'real CPUs', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'error', title: 'error of the model', unit: '%', scale: 0.01, better: 'less' },
    { name: 'waiting', title: 'waiting for locks', unit: '% of the time', scale: 0.01, better: 'less' },
    { name: 'moving', title: 'moving lines of locks', unit: '% of the time', scale: 0.01, better: 'less' },
    { name: 'contention', title: 'locks found held', unit: '%', scale: 0.01, better: 'less' },
    { name: 'queued', title: 'queue operations', unit: 'a packet', better: 'less' },
    { name: 'p50', title: 'latency, half', unit: 'µs', better: 'less' },
    { name: 'recorded', title: 'calibration of another time', unit: '', better: 'less' },
  ],
  cells,
  table,
  plot: (results) =>
    sweepPlot(results.where({ load: 'exchange' }), {
      title: 'Exchanges, by CPUs',
      x: 'cpus',
      xTitle: 'CPUs',
      xScale: 'log',
      yScale: 'log',
      metric: 'rate',
      by: 'discipline',
    }),
  conclude,
}

function cells({ full, processors }: LabOptions) {
  return Object.keys(full ? LOADS : { exchange: '' }).flatMap((load) =>
    (full ? CPUS : QUICK_CPUS).flatMap((cpus) =>
      DISCIPLINES.map((discipline) =>
        cell('model', { load, cpus, discipline, each: 64, ms: full ? 5 : 1, isReal: cpus <= Math.min(processors, 2) }),
      ),
    ),
  )
}

/** A row for each number of CPUs, a column for each discipline's rate; behind them what is compared with real CPUs. */
function table(results: Measurements): Table {
  const rate = results.metric('rate')
  const rows = results
    .values('load')
    .flatMap((load) =>
      results
        .values('cpus')
        .flatMap((cpus) =>
          results
            .where({ load, cpus })
            .cells.map((each): Entry[] => [
              LOADS[String(load)],
              cpus,
              each.parameters.discipline,
              ...['rate', 'real', 'error', 'waiting', 'moving', 'queued', 'p50'].map((name) => each.summary(name)),
            ]),
        ),
    )
  const shown = ['rate', 'real', 'error', 'waiting', 'moving', 'queued', 'p50'].map((name) => {
    const { title, unit } = results.metric(name)
    return { title, unit }
  })
  return {
    title: `What the model says, ${rate.unit}`,
    columns: [{ title: 'load' }, { title: 'CPUs' }, { title: 'discipline' }, ...shown],
    rows,
  }
}

function conclude(results: Measurements): string {
  const text = results.values('load').flatMap((load) =>
    results.values('discipline').flatMap((discipline) => {
      const mine = results.where({ load, discipline }).cells.filter((each) => each.median('rate') !== undefined)
      return mine.length < 2 ? [] : [ending(mine, `${discipline} (${LOADS[String(load)]})`)]
    }),
  )
  return [...text, check(results), source(results)].join(' ')
}

/** Where a discipline stops, and for what. */
function ending(mine: readonly MeasuredCell[], name: string): string {
  const cpus = (each: MeasuredCell) => Number(each.parameters.cpus)
  const rate = (each: MeasuredCell) => each.median('rate')!
  const first = mine[0]!
  const most = mine.reduce((best, each) => (rate(each) > rate(best) ? each : best))
  const enough = mine.find((each) => rate(each) >= NEARLY * rate(most))!
  const last = mine.at(-1)!
  const times = rate(last) / rate(first)
  const of = `${figure(times)} times what it does on ${cpus(first)}`
  if (cpus(enough) === cpus(last)) {
    return `${name} still gains at ${cpus(last)} CPUs: ${figure(rate(last))} thousand a second, ${of}${reason(last)}.`
  }
  const stops = `${name} gains nothing more from ${cpus(enough)} CPU${cpus(enough) === 1 ? '' : 's'} on`
  return `${stops}, with at most ${figure(rate(most))} thousand a second; at ${cpus(last)} it is ${of}${reason(last)}.`
}

function reason(each: MeasuredCell): string {
  const waiting = (each.median('waiting') ?? 0) / 100
  const moving = (each.median('moving') ?? 0) / 100
  if (Math.max(waiting, moving) < BOUND) return ''
  return waiting > moving
    ? `, because its CPUs wait for a lock for ${figure(waiting * 100)} % of their time`
    : `, because its CPUs wait for the line of a lock that all write for ${figure(moving * 100)} % of their time`
}

/** The model beside real CPUs. */
function check(results: Measurements): string {
  const compared = results.cells.flatMap((each) => {
    const error = each.median('error')
    return error === undefined ? [] : [{ each, error: error / 100 }]
  })
  if (compared.length === 0) return 'No real CPUs were there to compare with: how far the model is off is not known.'
  const worst = compared.reduce((most, each) => (Math.abs(each.error) > Math.abs(most.error) ? each : most))
  const { discipline, cpus, load } = worst.each.parameters
  const where = `${discipline} on ${cpus} CPU${cpus === 1 ? '' : 's'} (${LOADS[String(load)]})`
  const far = `${figure(Math.abs(worst.error) * 100)} % too ${worst.error > 0 ? 'high' : 'low'}`
  const within = compared.filter(({ error }) => Math.abs(error) <= BAR).length
  const bar = `${BAR * 100} %`
  if (within === compared.length) {
    return `Compared with real CPUs the model is within ${bar} in all ${within} cases; the farthest is ${where}, ${far}.`
  }
  return `Compared with real CPUs the model misses the bar of ${bar} in ${compared.length - within} of ${compared.length} cases; the farthest is ${where}, ${far}.`
}

/** Whose costs these are. */
function source(results: Measurements): string {
  return results.cells.some((each) => each.median('recorded') === 1)
    ? 'The costs were recorded with this version, on another machine or at another time: "damselfly calibrate" measures those of this one.'
    : 'The costs were measured on this machine.'
}
