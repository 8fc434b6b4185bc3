// What a machine has counted, as plain data: one shape for tables, for the identities between the counts, and for Prometheus;
// here and in another process. take.ts reads it out of a machine.
import type { HandoffPoint } from '../kernel/layout.ts'
import type { LockSiteReading } from '../kernel/lock.ts'

/** What was counted of a hand-off point between two CPUs. A histogram is the counts of its 64 buckets (base/histogram.ts). */
export interface HandoffRow {
  readonly point: HandoffPoint
  readonly source: number
  readonly target: number
  readonly enqueued: number
  readonly dequeued: number
  readonly dropped: number
  /** Waiting when this was read. At a ring measured; elsewhere what the counts leave, at least 0. */
  readonly length: number
  readonly batches: number
  readonly endedEmpty: number
  readonly endedLimit: number
  readonly rung: number
  readonly avoided: number
  readonly depth: readonly number[]
  /** Tenths of a µs. */
  readonly wait: readonly number[]
  readonly batch: readonly number[]
}

export interface Counts {
  readonly cpus: number
  /** Summed over hosts, one object for each CPU: counters by `set.name`. */
  readonly counters: readonly { readonly [name: string]: number }[]
  readonly handoffs: readonly HandoffRow[]
  /** By class and by the place in the code where they were taken. */
  readonly locks: readonly LockSiteReading[]
  /** What waits in each CPU's memory, looked at and not counted: for the identities of balance.ts. One for each CPU. */
  readonly waiting: readonly { readonly [name: string]: number }[]
}

/** A counter summed over the CPUs. */
export function sum(counts: Pick<Counts, 'counters'>, counter: string): number {
  return counts.counters.reduce((total, counters) => total + (counters[counter] ?? 0), 0)
}

/** Packets that reached a transport: what costs are amortized over. */
export function delivered(counts: Pick<Counts, 'counters'>): number {
  return sum(counts, 'ip.delivered')
}

/** Points whose producer counts what it enqueues, because it does so itself. At all others a port's own CPU does, for whoever sent. */
const BY_PRODUCER: ReadonlySet<HandoffPoint> = new Set(['ring', 'rx', 'free', 'accept'])

/** Whether a point is that of message ports. */
export function isPort(point: HandoffPoint): boolean {
  return !BY_PRODUCER.has(point)
}
