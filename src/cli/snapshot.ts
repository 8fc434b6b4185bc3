// What a running machine counted, as plain data: what tables are made of, here and in another process.
import type { LockSiteReading } from '../kernel/lock.ts'
import type { Memory } from '../kernel/memory.ts'
import type { Counts, HandoffRow } from '../metrics/counts.ts'
import { type Readable, takeCounts } from '../metrics/take.ts'
import type { HostConfig } from '../net/config.ts'
import { dispatchPlan } from '../net/policy.ts'
import { disciplineOf } from '../net/tcp/groupset.ts'

export { delivered, sum } from '../metrics/counts.ts'
export type { HandoffRow }

/** What the counts do not tell, and whoever booted the machine knows. */
export interface About {
  /** What runs the CPUs: `threads`, `inline`, `sim`. Default: as the memory is shared or not. */
  readonly host?: string
  /** How CPUs come to work on a connection (DESIGN: one stack, four disciplines). */
  readonly discipline?: string
  /** Of `connp-l`: connection groups. */
  readonly groups?: number
  /** Dispatch by protocol, where it is not `direct`: `hybrid`, `deferred`. */
  readonly dispatch?: { readonly [protocol: string]: string }
  /** The boundaries that are queues with threads of their own. */
  readonly layers?: readonly string[]
  /** What may wait in a queue that is there because of these two. */
  readonly queueLimit?: number
}

/** How a host is now, which may be another way than it was booted. */
export function aboutHost(memory: Memory, config: HostConfig): About {
  const now = disciplineOf(memory, config.name, config.cpus[0]!)
  const { policies, queueLimit } = dispatchPlan(config)
  return {
    ...(now === undefined ? {} : { discipline: now.discipline }),
    ...(now?.discipline === 'connp-l' ? { groups: now.groups } : {}),
    dispatch: policies,
    layers: config.layers ?? [],
    queueLimit,
  }
}

export interface Snapshot extends Counts, About {
  readonly version: 1
  readonly pid: number
  readonly title: string
  readonly atUs: number
  readonly host: string
  readonly ringEntries: number
  readonly memoryBytes: number
}

export function snapshot(machine: Readable, title: string, atUs: number, about: About = {}): Snapshot {
  const { layout, shared } = machine.memory
  const { ringEntries, memoryBytes } = layout
  const host = shared ? 'threads' : 'one thread'
  return { version: 1, pid: process.pid, title, atUs, host, ringEntries, memoryBytes, ...about, ...takeCounts(machine) }
}

/** Counters that tell how it is, and not how often it was. */
const LEVELS: ReadonlySet<string> = new Set([
  'cpu.loadPercent',
  'cpu.cpusStuck',
  'reassembly.held',
  'fault.held',
  'lock.max',
  'lock.waitMax',
])

export function isLevel(counter: string): boolean {
  return LEVELS.has(counter)
}

/** What happened between two snapshots of one machine. Levels, queues' lengths and maxima are those of the later one. */
export function difference(later: Snapshot, earlier: Snapshot): Snapshot {
  const subtract = (a: readonly number[], b: readonly number[]) => a.map((value, i) => value - (b[i] ?? 0))
  const before = new Map(earlier.handoffs.map((row) => [keyOf(row), row]))
  const locksBefore = new Map(earlier.locks.map((lock) => [lockKey(lock), lock]))
  return {
    ...later,
    atUs: later.atUs - earlier.atUs,
    counters: later.counters.map((counters, cpu) =>
      mapCounters(counters, (name, value) => (isLevel(name) ? value : value - (earlier.counters[cpu]?.[name] ?? 0))),
    ),
    handoffs: later.handoffs.map((row) => {
      const old = before.get(keyOf(row))
      if (old === undefined) return row
      return {
        ...mapCounts(row, (value, name) => value - old[name]),
        depth: subtract(row.depth, old.depth),
        wait: subtract(row.wait, old.wait),
        batch: subtract(row.batch, old.batch),
      }
    }),
    locks: later.locks.map((lock) => lockDifference(lock, locksBefore.get(lockKey(lock)))),
  }
}

/** The counts of a difference for each second. Histograms, from which only shares are read, stay as they are. */
export function perSecond(change: Snapshot): Snapshot {
  const seconds = change.atUs / 1e6
  if (seconds <= 0) return change
  return {
    ...change,
    counters: change.counters.map((counters) =>
      mapCounters(counters, (name, value) => (isLevel(name) ? value : value / seconds)),
    ),
    handoffs: change.handoffs.map((row) => mapCounts(row, (value) => value / seconds)),
    locks: change.locks.map((lock) => ({
      ...lock,
      count: lock.count / seconds,
      countLock: lock.countLock / seconds,
      countHold: lock.countHold / seconds,
      totalUs: lock.totalUs / seconds,
      waitTotalUs: lock.waitTotalUs / seconds,
    })),
  }
}

const COUNTS = [
  'enqueued',
  'dequeued',
  'dropped',
  'batches',
  'endedEmpty',
  'endedLimit',
  'rung',
  'avoided',
] as const satisfies readonly (keyof HandoffRow)[]

/** A row whose counts are others. */
function mapCounts(row: HandoffRow, change: (value: number, name: (typeof COUNTS)[number]) => number): HandoffRow {
  return { ...row, ...Object.fromEntries(COUNTS.map((name) => [name, change(row[name], name)])) }
}

function mapCounters(
  counters: { readonly [name: string]: number },
  change: (name: string, value: number) => number,
): { readonly [name: string]: number } {
  return Object.fromEntries(Object.entries(counters).map(([name, value]) => [name, change(name, value)]))
}

function lockDifference(lock: LockSiteReading, old: LockSiteReading | undefined): LockSiteReading {
  if (old === undefined) return lock
  const count = lock.count - old.count
  const totalUs = lock.totalUs - old.totalUs
  const waitTotalUs = lock.waitTotalUs - old.waitTotalUs
  return {
    ...lock,
    count,
    totalUs,
    waitTotalUs,
    averageUs: count === 0 ? 0 : totalUs / count,
    waitAverageUs: count === 0 ? 0 : waitTotalUs / count,
    countHold: lock.countHold - old.countHold,
    countLock: lock.countLock - old.countLock,
  }
}

function keyOf({ point, source, target }: HandoffRow): string {
  return `${point} ${source} ${target}`
}

function lockKey({ name, site }: LockSiteReading): string {
  return `${name}@${site}`
}
