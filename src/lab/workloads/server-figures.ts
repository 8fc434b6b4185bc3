// The figures of the workload "server": the difference of two readings of a machine under load.
import { HISTOGRAM_BUCKETS, Histogram } from '../../base/histogram.ts'
import type { LoadOptions, LoadWorkload } from '../../device/load/options.ts'
import { LOAD_ERRORS, type LoadReading } from '../../device/load/reading.ts'
import type { LockSiteReading } from '../../kernel.ts'
import { type Counts, delivered, sum } from '../../metrics/counts.ts'
import type { Impossible, Measured, MeasuredTable } from '../workload.ts'

export interface Reading {
  /** When it was taken. */
  readonly ms: number
  readonly load: Pick<LoadReading, 'counts' | 'latency'>
  /** Connections that ended with an error at the server. */
  readonly broken: number
  readonly counts: Pick<Counts, 'counters' | 'handoffs' | 'locks'>
}

/** @throws Error where what was measured means nothing: there were errors, or nothing moved */
export function measured(load: LoadOptions, before: Reading, after: Reading): Measured | Impossible {
  const { counts } = after.load
  const errors = LOAD_ERRORS.filter((name) => counts[name] > 0 && name !== 'errorOverrun')
  const list = errors.map((name) => `${name} ${counts[name]}`)
  if (after.broken > 0) list.push(`connections that the server lost ${after.broken}`)
  if (list.length > 0) throw new Error(`the load met errors, so its figures mean nothing: ${list.join(', ')}`)
  // Less a failure than an answer: the sweep goes beyond what this machine can.
  if (counts.errorOverrun > 0) return { impossible: `it does not keep up with ${offeredOf(load)} questions a second` }
  const seconds = (after.ms - before.ms) / 1000
  const packets = delivered(after.counts) - delivered(before.counts)
  if (packets === 0) throw new Error(`no packet was delivered in ${seconds.toFixed(2)} s: the load stands still`)
  const cpu = (counter: string) => sum(after.counts, `cpu.${counter}`) - sum(before.counts, `cpu.${counter}`)
  const loaded = (name: 'exchanges' | 'closes' | 'bytes') => after.load.counts[name] - before.load.counts[name]
  const locks = lockDifference(before.counts.locks, after.counts.locks)
  const queues = queueDifference(before.counts, after.counts)
  const acquired = locks.reduce((n, { count }) => n + count, 0)
  const contended = locks.reduce((n, { countLock }) => n + countLock, 0)
  const idle = cpu('idleUs') + cpu('sleepUs')
  return {
    metrics: {
      ...rates(load.workload, (name) => loaded(name) / seconds),
      packets: packets / seconds,
      ...latencies(before.load.latency, after.load.latency),
      // Of the stack's queues: the clients of the load ring their own.
      doorbells: queues.reduce((n, { rung }) => n + rung, 0) / packets,
      locks: acquired / packets,
      contended: contended / packets,
      // Where no lock is taken none is waited for.
      contention: acquired === 0 ? 0 : contended / acquired,
      // Each enqueue and each dequeue is one.
      queued: queues.reduce((n, { enqueued, dequeued }) => n + enqueued + dequeued, 0) / packets,
      // Enqueues alone.
      handoffs: queues.reduce((n, { enqueued }) => n + enqueued, 0) / packets,
      resumes: cpu('contextSwitches') / packets,
      // Of all CPUs, of which some time is the load's own.
      cost: (cpu('busyUs') * 1000) / packets,
      sleeps: cpu('sleeps') / packets,
      switches: (cpu('sleeps') + cpu('contextSwitches')) / packets,
      idle: idle / Math.max(1, cpu('busyUs') + idle),
    },
    tables: { locks: lockTable(locks, packets), queues: queueTable(queues, packets) },
  }
}

function offeredOf({ offered = 0, cpus }: LoadOptions): number {
  return offered * cpus.length
}

/** What a load does in a second, in its own unit: `rate`, and by its name. */
function rates(workload: LoadWorkload, rate: (name: 'exchanges' | 'closes' | 'bytes') => number) {
  if (workload === 'short') return { rate: rate('closes'), connections: rate('closes') }
  if (workload.startsWith('bulk')) return { rate: rate('bytes') * 8, bits: rate('bytes') * 8 }
  return { rate: rate('exchanges'), exchanges: rate('exchanges') }
}

/** µs. Bulk has no answers, and none of these. */
function latencies(before: Histogram, after: Histogram): { readonly [name: string]: number } {
  const between = new Histogram()
  between.add(after.counts, 0)
  between.add(
    Float64Array.from({ length: HISTOGRAM_BUCKETS }, (_, i) => -before.counts[i]!),
    0,
  )
  if (between.total === 0) return {}
  const at = (share: number) => between.quantile(share) / 10
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999) }
}

type LockDifference = Pick<LockSiteReading, 'name' | 'site' | 'count' | 'countLock'>

export function lockDifference(
  before: readonly LockSiteReading[],
  after: readonly LockSiteReading[],
): LockDifference[] {
  return after
    .map(({ name, site, count, countLock }) => {
      const earlier = before.find((line) => line.name === name && line.site === site)
      return { name, site, count: count - (earlier?.count ?? 0), countLock: countLock - (earlier?.countLock ?? 0) }
    })
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
}

export function lockTable(locks: readonly LockDifference[], packets: number): MeasuredTable {
  return {
    columns: ['lock', 'taken at', 'times', 'times a packet', 'waited', 'share that waited'],
    rows: locks.map(({ name, site, count, countLock }) => {
      return [name, site, count, count / packets, countLock, countLock / count]
    }),
  }
}

export interface QueueDifference {
  readonly point: string
  readonly from: string
  readonly enqueued: number
  readonly dequeued: number
  readonly rung: number
  readonly avoided: number
}

/** By point, and whether the one who put it in was another CPU. */
export function queueDifference(before: Reading['counts'], after: Reading['counts']): QueueDifference[] {
  const sums = new Map<string, { -readonly [K in keyof QueueDifference]: QueueDifference[K] }>()
  const addAll = ({ handoffs }: Reading['counts'], sign: 1 | -1) => {
    for (const { point, source, target, enqueued, dequeued, rung, avoided } of handoffs) {
      const from = source === target ? 'the same CPU' : 'another CPU'
      const key = `${point} ${from}`
      const line = sums.get(key) ?? { point, from, enqueued: 0, dequeued: 0, rung: 0, avoided: 0 }
      line.enqueued += sign * enqueued
      line.dequeued += sign * dequeued
      line.rung += sign * rung
      line.avoided += sign * avoided
      sums.set(key, line)
    }
  }
  addAll(after, 1)
  addAll(before, -1)
  return [...sums.values()].filter(({ enqueued, dequeued }) => enqueued + dequeued > 0)
}

export function queueTable(queues: readonly QueueDifference[], packets: number): MeasuredTable {
  return {
    columns: ['point', 'put in by', 'times', 'times a packet', 'doorbells', 'doorbells avoided'],
    rows: queues.map(({ point, from, enqueued, rung, avoided }) => {
      return [point, from, enqueued, enqueued / packets, rung, avoided]
    }),
  }
}
