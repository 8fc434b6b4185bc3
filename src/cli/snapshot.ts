// What a running machine counted, as plain data: what tables are made of, here and in another process.

import type { HandoffReading } from '../kernel/handoff.ts'
import type { Machine } from '../machine/machine.ts'
// Declares the counters of the network and the services here too, where no packet passes: a reader knows them by their names.
import { IpCounters } from '../net/counters.ts'
import '../service/echo.ts'
import '../service/load.ts'

/** A hand-off as it is sent and stored: a histogram is the counts of its 64 buckets. */
export interface HandoffRow extends Omit<HandoffReading, 'depth' | 'wait' | 'batch'> {
  readonly depth: readonly number[]
  /** Tenths of a µs. */
  readonly wait: readonly number[]
  readonly batch: readonly number[]
}

export interface Snapshot {
  readonly version: 1
  readonly pid: number
  readonly title: string
  readonly cpus: number
  readonly atUs: number
  /** Summed over hosts, one object for each CPU: counters by `set.name`. */
  readonly counters: readonly { readonly [name: string]: number }[]
  readonly handoffs: readonly HandoffRow[]
}

export function snapshot(machine: Machine, title: string, atUs: number): Snapshot {
  const counters: { [name: string]: number }[] = Array.from({ length: machine.layout.cpus }, () => ({}))
  for (const { cpu, set, values } of machine.counters()) {
    const mine = counters[cpu]!
    for (const [name, value] of Object.entries(values)) mine[`${set}.${name}`] = (mine[`${set}.${name}`] ?? 0) + value
  }
  const handoffs = machine.handoffs().map(({ depth, wait, batch, ...counts }) => ({
    ...counts,
    depth: [...depth.counts],
    wait: [...wait.counts],
    batch: [...batch.counts],
  }))
  return { version: 1, pid: process.pid, title, cpus: machine.layout.cpus, atUs, counters, handoffs }
}

/** A counter summed over the CPUs. */
export function sum(snapshot: Snapshot, counter: string): number {
  return snapshot.counters.reduce((total, counters) => total + (counters[counter] ?? 0), 0)
}

/** Packets that reached a transport: what costs are amortized over. */
export function delivered(snapshot: Snapshot): number {
  return sum(snapshot, `${IpCounters.name}.delivered`)
}

/** Counters that tell how it is, and not how often it was. */
const LEVELS: ReadonlySet<string> = new Set(['cpu.loadPercent', 'cpu.cpusStuck', 'reassembly.held'])

/** What happened between two snapshots of one machine. */
export function difference(later: Snapshot, earlier: Snapshot): Snapshot {
  const subtract = (a: readonly number[], b: readonly number[]) => a.map((value, i) => value - (b[i] ?? 0))
  const before = new Map(earlier.handoffs.map((row) => [`${row.point} ${row.source} ${row.target}`, row]))
  return {
    ...later,
    atUs: later.atUs - earlier.atUs,
    counters: later.counters.map((counters, cpu) =>
      Object.fromEntries(
        Object.entries(counters).map(([name, value]) => [
          name,
          LEVELS.has(name) ? value : value - (earlier.counters[cpu]?.[name] ?? 0),
        ]),
      ),
    ),
    handoffs: later.handoffs.map((row) => {
      const old = before.get(`${row.point} ${row.source} ${row.target}`)
      if (old === undefined) return row
      return {
        ...row,
        enqueued: row.enqueued - old.enqueued,
        dequeued: row.dequeued - old.dequeued,
        dropped: row.dropped - old.dropped,
        batches: row.batches - old.batches,
        endedEmpty: row.endedEmpty - old.endedEmpty,
        endedLimit: row.endedLimit - old.endedLimit,
        rung: row.rung - old.rung,
        avoided: row.avoided - old.avoided,
        depth: subtract(row.depth, old.depth),
        wait: subtract(row.wait, old.wait),
        batch: subtract(row.batch, old.batch),
      }
    }),
  }
}
