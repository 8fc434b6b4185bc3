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

/**
 * @param isProfiled the machine measured how long locks were held and waited for
 * @throws Error where what was measured means nothing: there were errors, or nothing moved
 */
export function measured(
  load: LoadOptions,
  before: Reading,
  after: Reading,
  isProfiled = false,
): Measured | Impossible {
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
  const { count: acquired, countLock: contended } = lockSum(locks)
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
      ...together(queues),
      sleeps: cpu('sleeps') / packets,
      switches: (cpu('sleeps') + cpu('contextSwitches')) / packets,
      idle: idle / Math.max(1, cpu('busyUs') + idle),
      ...globalContention(locks),
      ...(isProfiled ? lockTimes(locks, load.cpus.length * seconds) : {}),
    },
    tables: { locks: lockTable(locks, packets, isProfiled), queues: queueTable(queues, packets) },
  }
}

function offeredOf({ offered = 0, cpus }: LoadOptions): number {
  return offered * cpus.length
}

/** What a load has done so far, in its own unit. */
export function progress({ workload }: Pick<LoadOptions, 'workload'>, counts: LoadReading['counts']): number {
  if (workload === 'short') return counts.closes
  return workload.startsWith('bulk') ? counts.bytes : counts.exchanges
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

const LOCK_COUNTS = ['count', 'countLock', 'totalUs', 'waitTotalUs'] as const
type LockCounts = Pick<LockSiteReading, (typeof LOCK_COUNTS)[number]>
type LockDifference = LockCounts & Pick<LockSiteReading, 'name' | 'site'>

export function lockDifference(
  before: readonly LockSiteReading[],
  after: readonly LockSiteReading[],
): LockDifference[] {
  return after
    .map((line) => {
      const { name, site } = line
      const earlier = before.find((each) => each.name === name && each.site === site)
      const counts = LOCK_COUNTS.map((count) => [count, line[count] - (earlier?.[count] ?? 0)])
      return { name, site, ...(Object.fromEntries(counts) as LockCounts) }
    })
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count)
}

function lockSum(locks: readonly LockCounts[]): LockCounts {
  const sums = LOCK_COUNTS.map((count) => [count, locks.reduce((n, line) => n + line[count], 0)])
  return Object.fromEntries(sums) as LockCounts
}

/** The lock of the table that all connections are in; the others have a table behind each lock of theirs. */
const TABLE_LOCK = 'tcp table'
const GROUP_LOCKS: readonly string[] = ['connection group', 'giant']

/**
 * What Willmann, Rixner and Cox (2006, table 1) count: the share of the acquisitions that did not succeed at once, of the locks
 * through which a connection is found. Nothing where there is no such lock.
 */
function globalContention(locks: readonly LockDifference[]): { readonly global?: number } {
  const tables = locks.filter(({ name }) => name === TABLE_LOCK)
  const { count, countLock } = lockSum(
    tables.length > 0 ? tables : locks.filter(({ name }) => GROUP_LOCKS.includes(name)),
  )
  return count === 0 ? {} : { global: countLock / count }
}

/** µs of one holding and of one waiting, and the share of all CPUs' time that went by in waiting. */
function lockTimes(locks: readonly LockDifference[], cpuSeconds: number): { readonly [name: string]: number } {
  const { count, countLock, totalUs, waitTotalUs } = lockSum(locks)
  return {
    held: totalUs / Math.max(1, count),
    waited: waitTotalUs / Math.max(1, countLock),
    waiting: waitTotalUs / 1e6 / cpuSeconds,
  }
}

export function lockTable(locks: readonly LockDifference[], packets: number, isProfiled = false): MeasuredTable {
  return {
    columns: [
      ...['lock', 'taken at', 'times', 'times a packet', 'waited', 'share that waited'],
      ...(isProfiled ? ['µs held', 'µs waited'] : []),
    ],
    rows: locks.map(({ name, site, count, countLock, totalUs, waitTotalUs }) => [
      ...[name, site, count, count / packets, countLock, countLock / count],
      ...(isProfiled ? [totalUs / count, waitTotalUs / Math.max(1, countLock)] : []),
    ]),
  }
}

const [SAME, OTHER] = ['the same CPU', 'another CPU'] as const

export interface QueueDifference {
  readonly point: string
  readonly from: string
  readonly enqueued: number
  readonly dequeued: number
  readonly rung: number
  readonly avoided: number
  readonly batches: number
}

/** Packets that a CPU took of another one at a time, where any were handed on. */
function together(queues: readonly QueueDifference[]): { readonly together?: number } {
  const line = queues.find(({ point, from }) => point === 'netisr' && from === OTHER)
  return line === undefined || line.batches === 0 ? {} : { together: line.enqueued / line.batches }
}

/** By point, and whether the one who put it in was another CPU. */
export function queueDifference(before: Reading['counts'], after: Reading['counts']): QueueDifference[] {
  const sums = new Map<string, { -readonly [Name in keyof QueueDifference]: QueueDifference[Name] }>()
  const addAll = ({ handoffs }: Reading['counts'], sign: 1 | -1) => {
    for (const { point, source, target, enqueued, dequeued, rung, avoided, batches } of handoffs) {
      const from = source === target ? SAME : OTHER
      const key = `${point} ${from}`
      const line = sums.get(key) ?? { point, from, enqueued: 0, dequeued: 0, rung: 0, avoided: 0, batches: 0 }
      line.enqueued += sign * enqueued
      line.dequeued += sign * dequeued
      line.rung += sign * rung
      line.avoided += sign * avoided
      line.batches += sign * batches
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
