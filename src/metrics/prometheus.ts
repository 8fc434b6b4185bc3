// The counts of a machine in Prometheus's text format, by prom-client. Series are bounded by what is declared in the code and by the
// number of CPUs, never by what a packet says: labels are CPUs, names of counters, hand-off points, classes of locks and where in the code
// they are taken. What would
// grow with the square of the CPUs, the pairs of them, is summed.
//
// Read and built anew for each scrape: an exposition holds no metric that the machine does not have.
import { Counter, Gauge, Registry } from 'prom-client'
import { bucketFloor, HISTOGRAM_BUCKETS, Histogram } from '../base/histogram.ts'
import { HANDOFF_POINTS } from '../kernel/layout.ts'
import type { Counts, HandoffRow } from './counts.ts'
import type { Exposition } from './endpoint.ts'

/** What is told of the machine beside its counts. */
export interface Subject {
  readonly labels: { readonly [name: string]: string }
  readonly uptimeUs: number
  /** Counters that tell how it is, and not how often it was. */
  readonly isLevel: (counter: string) => boolean
}

export async function exposition(counts: Counts, subject: Subject): Promise<Exposition> {
  const registry = new Registry()
  const registers = [registry]
  machine(registers, counts, subject)
  counters(registers, counts, subject)
  handoffs(registers, counts)
  histograms(registers, counts)
  locks(registers, counts)
  return { type: registry.contentType, text: await registry.metrics() }
}

type Registers = readonly Registry[]

function machine(registers: Registers, counts: Counts, { labels, uptimeUs }: Subject): void {
  const common = { registers: [...registers] }
  const names = Object.keys(labels)
  new Gauge({
    name: 'damselfly_machine_info',
    help: 'What the machine was booted as.',
    labelNames: names,
    ...common,
  }).set(labels, 1)
  new Gauge({ name: 'damselfly_cpus', help: 'CPUs of the machine.', ...common }).set(counts.cpus)
  new Gauge({ name: 'damselfly_uptime_seconds', help: 'Time since the machine was booted.', ...common }).set(
    uptimeUs / 1e6,
  )
}

function counters(registers: Registers, counts: Counts, { isLevel }: Subject): void {
  const labelNames = ['cpu', 'set', 'name'] as const
  const common = { labelNames, registers: [...registers] }
  const counter = new Counter({
    name: 'damselfly_counter_total',
    help: 'Counters of each CPU, summed over hosts.',
    ...common,
  })
  const level = new Gauge({ name: 'damselfly_level', help: 'Levels of each CPU, summed over hosts.', ...common })
  for (const [cpu, mine] of counts.counters.entries()) {
    for (const [key, value] of Object.entries(mine)) {
      const dot = key.indexOf('.')
      const labels = { cpu: `${cpu}`, set: key.slice(0, dot), name: key.slice(dot + 1) }
      // Locks have metrics of their own, by class.
      if (labels.set === 'lock') continue
      if (isLevel(key)) level.set(labels, value)
      else counter.inc(labels, value)
    }
  }
}

const FIELDS = [
  ['enqueued', 'What was put into the queues of a hand-off point, by the CPU that takes it.'],
  ['dequeued', 'What was taken out of them.'],
  ['dropped', 'What was dropped there.'],
  ['rung', 'Doorbells that were rung for it.'],
  ['avoided', 'Doorbells that did not have to be rung, because the CPU was awake.'],
  ['endedEmpty', 'Services that ended because the queue was empty.'],
  ['endedLimit', 'Services that ended at their limit.'],
] as const satisfies readonly (readonly [keyof HandoffRow, string])[]

function handoffs(registers: Registers, counts: Counts): void {
  const common = { labelNames: ['point', 'cpu'] as const, registers: [...registers] }
  for (const [field, help] of FIELDS) {
    const name = `damselfly_handoff_${field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`
    const counter = new Counter({ name, help, ...common })
    for (const row of counts.handoffs) counter.inc({ point: row.point, cpu: `${row.target}` }, row[field])
  }
  const length = new Gauge({ name: 'damselfly_handoff_length', help: 'What waits at a hand-off point.', ...common })
  for (const row of counts.handoffs) length.inc({ point: row.point, cpu: `${row.target}` }, row.length)
}

/** A histogram as Prometheus has it. */
interface Shape {
  readonly name: string
  readonly help: string
  readonly of: (row: HandoffRow) => readonly number[]
  /** The bounds are 2 ** first to 2 ** last, less one where values are whole. */
  readonly first: number
  readonly last: number
  /** What one unit of the counts is in Prometheus's. */
  readonly unit: number
  readonly isWhole: boolean
}

const SHAPES: readonly Shape[] = [
  {
    name: 'depth',
    help: 'Queue depth that an enqueue found; at rings, that a service found.',
    of: (row) => row.depth,
    first: 1,
    last: 16,
    unit: 1,
    isWhole: true,
  },
  {
    name: 'wait_seconds',
    help: 'Time in queue; at rings, of the oldest entry of each service.',
    of: (row) => row.wait,
    first: 3,
    last: 27,
    unit: 1e-7,
    isWhole: false,
  },
  { name: 'batch', help: 'What one service took.', of: (row) => row.batch, first: 1, last: 16, unit: 1, isWhole: true },
]

function histograms(registers: Registers, counts: Counts): void {
  for (const { name, help, of, first, last, unit, isWhole } of SHAPES) {
    const exponents = Array.from({ length: last - first + 1 }, (_, i) => first + i)
    const bounds = exponents.map((exponent) => rounded((2 ** exponent - (isWhole ? 1 : 0)) * unit))
    const points = HANDOFF_POINTS.flatMap((point) => {
      const rows = counts.handoffs.filter((row) => row.point === point)
      if (rows.length === 0) return []
      const all = Array.from({ length: HISTOGRAM_BUCKETS }, (_, i) =>
        rows.reduce((sum, row) => sum + (of(row)[i] ?? 0), 0),
      )
      const below = exponents.map((exponent) =>
        all.reduce((sum, count, i) => (bucketFloor(i) < 2 ** exponent ? sum + count : sum), 0),
      )
      return [{ point, below, sum: meanTimesCount(all) * unit, count: all.reduce((sum, count) => sum + count, 0) }]
    })
    new Counted({ name: `damselfly_handoff_${name}`, help, bounds, registers }, points)
  }
}

interface Point {
  readonly point: string
  /** For each bound, how many values are not above it. */
  readonly below: readonly number[]
  readonly sum: number
  readonly count: number
}

/**
 * A histogram that was counted elsewhere. prom-client's own takes one value at a time: those here are millions, and are in buckets
 * already. So this one gives the registry its lines as they are. Their sum is what the buckets tell, within 25 %.
 */
class Counted extends Gauge<string> {
  readonly #name: string
  readonly #bounds: readonly number[]
  readonly #points: readonly Point[]

  constructor(config: CountedConfig, points: readonly Point[]) {
    const { name, help, bounds, registers } = config
    super({ name, help, labelNames: ['le', 'point'], registers: [...registers] })
    this.#name = name
    this.#bounds = bounds
    this.#points = points
  }

  override async get() {
    const bucket = `${this.#name}_bucket`
    const values = this.#points.flatMap(({ point, below, sum, count }) => [
      ...below.map((value, i) => ({ labels: { le: this.#bounds[i]!, point }, value, metricName: bucket })),
      { labels: { le: '+Inf', point }, value: count, metricName: bucket },
      { labels: { point }, value: sum, metricName: `${this.#name}_sum` },
      { labels: { point }, value: count, metricName: `${this.#name}_count` },
    ])
    const gauge = await super.get()
    // The declarations say that a type is a number; it is the word that is printed.
    return { ...gauge, type: 'histogram' as unknown as typeof gauge.type, values }
  }
}

interface CountedConfig {
  readonly name: string
  readonly help: string
  readonly bounds: readonly number[]
  readonly registers: Registers
}

function meanTimesCount(counts: readonly number[]): number {
  const histogram = new Histogram()
  histogram.add(Float64Array.from(counts), 0)
  return histogram.mean * histogram.total
}

/** Without the noise of a product: 8e-7 and not 7.999999999999999e-7. */
function rounded(value: number): number {
  return Number(value.toPrecision(12))
}

function locks(registers: Registers, counts: Counts): void {
  const common = { labelNames: ['lock', 'site'] as const, registers: [...registers] }
  const counter = (name: string, help: string) => new Counter({ name: `damselfly_lock_${name}_total`, help, ...common })
  const gauge = (name: string, help: string) => new Gauge({ name: `damselfly_lock_${name}`, help, ...common })
  const taken = counter('acquisitions', 'Acquisitions of a class of locks.')
  const waited = counter('waited', 'Acquisitions that found the lock held.')
  const wanted = counter('wanted', 'Releases of a lock that somebody waited for.')
  const waitSeconds = counter('wait_seconds', 'Time that was waited for it.')
  const holdSeconds = counter('hold_seconds', 'Time that it was held.')
  const waitMax = gauge('wait_seconds_max', 'The longest wait since boot.')
  const holdMax = gauge('hold_seconds_max', 'The longest time that it was held since boot.')
  for (const reading of counts.locks) {
    const lock = { lock: reading.name, site: reading.site }
    taken.inc(lock, reading.count)
    waited.inc(lock, reading.countLock)
    wanted.inc(lock, reading.countHold)
    waitSeconds.inc(lock, reading.waitTotalUs / 1e6)
    holdSeconds.inc(lock, reading.totalUs / 1e6)
    waitMax.set(lock, reading.waitMaxUs / 1e6)
    holdMax.set(lock, reading.maxUs / 1e6)
  }
}
