// Reads the counts of a running machine out of its memory: from any thread, at any time, without disturbing it.
import { Limits } from '../base/limits.ts'
import type { HandoffReading } from '../kernel/handoff.ts'
import { PORT_BYTES, RingHeader, WHEEL_BYTES } from '../kernel/layout.ts'
import { readLockSites } from '../kernel/lock.ts'
import type { Memory } from '../kernel/memory.ts'
import { TimerWheel } from '../kernel/timer.ts'
import type { Machine } from '../machine/machine.ts'
// A reader knows a set of counters by its name: they are declared here too, where no packet passes.
import '../device/spec.ts'
import '../kernel/shared-timer.ts'
import '../net/counters.ts'
import '../net/hostcache/hostcache.ts'
import '../service/echo.ts'
import '../service/load.ts'
import '../socket/local/counters.ts'
import type { Counts, HandoffRow } from './counts.ts'

/** Where a port's record (kernel/port.ts) has the number of messages in its queue. */
const PORT_DEPTH = 16

/** The part of a machine that only reads its memory. */
export type Readable = Pick<Machine, 'memory' | 'counters' | 'handoffs'>

export function takeCounts(machine: Readable): Counts {
  const { memory } = machine
  const { cpus } = memory.layout
  const counters: { [name: string]: number }[] = Array.from({ length: cpus }, () => ({}))
  for (const { cpu, set, values } of machine.counters()) {
    const mine = counters[cpu]!
    for (const [name, value] of Object.entries(values)) mine[`${set}.${name}`] = (mine[`${set}.${name}`] ?? 0) + value
  }
  return {
    cpus,
    counters,
    handoffs: withFreed(machine.handoffs().map((reading) => row(memory, reading))),
    locks: readLockSites(memory),
    waiting: Array.from({ length: cpus }, (_, cpu) => waitingAt(memory, cpu)),
  }
}

function row(memory: Memory, { depth, wait, batch, ...counts }: HandoffReading): HandoffRow {
  const { point, source, target, enqueued, dequeued, dropped } = counts
  // What a device drops was never in its queue. Reader and writers are not of one instant: hence never less than 0.
  const left = Math.max(0, enqueued - dequeued - (point === 'rx' ? 0 : dropped))
  return {
    ...counts,
    length: point === 'ring' ? ringLength(memory, source, target) : left,
    depth: [...depth.counts],
    wait: [...wait.counts],
    batch: [...batch.counts],
  }
}

/**
 * Of freed memory its owner knows how much came home, and not from whom: what is on its way is known of all sources together, and
 * stands in the first row of the owner's.
 */
function withFreed(rows: readonly HandoffRow[]): HandoffRow[] {
  const seen = new Set<number>()
  return rows.map((row) => {
    if (row.point !== 'free') return row
    if (seen.has(row.target)) return { ...row, length: 0 }
    seen.add(row.target)
    const mine = rows.filter(({ point, target }) => point === 'free' && target === row.target)
    return {
      ...row,
      length: Math.max(
        0,
        mine.reduce((all, { enqueued, dequeued }) => all + enqueued - dequeued, 0),
      ),
    }
  })
}

/** Entries that are published and not read. */
function ringLength(memory: Memory, source: number, target: number): number {
  const ring = memory.layout.ring(source, target)
  // In this order: read later, windex could only be further ahead.
  const windex = Atomics.load(memory.i32, (ring + RingHeader.offset.windex) >> 2)
  const rindex = Atomics.load(memory.i32, (ring + RingHeader.offset.rindex) >> 2)
  return Math.max(0, (windex - rindex) | 0)
}

function waitingAt(memory: Memory, cpu: number): { [name: string]: number } {
  const { layout } = memory
  let ports = 0
  const first = layout.ports + cpu * Limits.portsPerCpu * PORT_BYTES
  for (let i = 0; i < Limits.portsPerCpu; i++) ports += memory.i32[(first + i * PORT_BYTES + PORT_DEPTH) >> 2]!
  const timers = new TimerWheel(memory, layout.wheels + cpu * WHEEL_BYTES, cpu).linked
  return { 'port messages': ports, timers }
}
