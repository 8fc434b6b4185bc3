// Small snapshots for the tests of what is made of them.
import type { LockSiteReading } from '../../../kernel/lock.ts'
import type { HandoffRow, Snapshot } from '../../snapshot.ts'

/** A histogram with so many values in some of its 64 buckets. */
export function buckets(filled: { readonly [bucket: number]: number } = {}): number[] {
  return Array.from({ length: 64 }, (_, bucket) => filled[bucket] ?? 0)
}

/** A hand-off from CPU 0 to CPU 1 at which nothing has happened, but for what is given. */
export function handoff(change: Partial<HandoffRow>): HandoffRow {
  return {
    point: 'rx',
    source: 0,
    target: 1,
    enqueued: 0,
    dequeued: 0,
    dropped: 0,
    length: 0,
    batches: 0,
    endedEmpty: 0,
    endedLimit: 0,
    rung: 0,
    avoided: 0,
    depth: buckets(),
    wait: buckets(),
    batch: buckets(),
    ...change,
  }
}

/** A machine of one CPU that has been up for a second and has counted nothing, but for what is given. */
export function snapshotOf(change: Partial<Snapshot>): Snapshot {
  return {
    version: 1,
    pid: 5,
    title: 'a machine',
    cpus: 1,
    atUs: 1e6,
    host: 'threads',
    ringEntries: 256,
    memoryBytes: 512 * 2 ** 20,
    counters: [{}],
    handoffs: [],
    locks: [],
    waiting: [{}],
    ...change,
  }
}

/** A class of locks that was taken a hundred times, and ten times not at once. */
export function lockOf(change: Partial<LockSiteReading>): LockSiteReading {
  return {
    name: 'group',
    site: '',
    maxUs: 8,
    waitMaxUs: 40,
    totalUs: 150,
    waitTotalUs: 90,
    count: 100,
    averageUs: 1.5,
    waitAverageUs: 0.9,
    countHold: 9,
    countLock: 10,
    ...change,
  }
}

/** Two CPUs that have talked: something of everything. */
export function busySnapshot(change: Partial<Snapshot> = {}): Snapshot {
  return snapshotOf({
    title: 'two hosts',
    cpus: 2,
    atUs: 2e6,
    discipline: 'connp-l',
    groups: 128,
    counters: [
      {
        'ether.received': 1000,
        'ether.transmitted': 900,
        'ether.droppedRunt': 2,
        'ip.received': 998,
        'ip.delivered': 990,
        'ip.droppedChecksum': 8,
        'ip.sent': 900,
        'tcp.received': 990,
        'tcp.sent': 880,
        'dispatch.direct': 600,
        'cpu.messagesDirect': 50,
        'cpu.spuriousWakeups': 3,
        'cpu.sleeps': 20,
        'cpu.contextSwitches': 5,
        'cpu.ipiPublishes': 40,
        'cpu.busyUs': 1_500_000,
        'cpu.idleUs': 300_000,
        'cpu.sleepUs': 200_000,
        'cpu.loadPercent': 75,
        'cpu.turns': 12_345,
        'lock.count': 100,
      },
      { 'ip.delivered': 10, 'fault.lost': 4, 'cpu.sleeps': 30, 'cpu.ipiPublishes': 10, 'cpu.turns': 99 },
    ],
    handoffs: [
      handoff({
        point: 'netisr',
        source: 1,
        target: 0,
        enqueued: 400,
        dequeued: 390,
        dropped: 2,
        length: 8,
        batches: 100,
        endedEmpty: 90,
        endedLimit: 10,
        depth: buckets({ 1: 300, 8: 100 }),
        wait: buckets({ 6: 200, 12: 190 }),
        batch: buckets({ 2: 60, 6: 40 }),
      }),
      handoff({
        enqueued: 1000,
        dequeued: 1000,
        batches: 50,
        endedEmpty: 50,
        rung: 7,
        avoided: 43,
        depth: buckets({ 8: 50 }),
        wait: buckets({ 10: 50 }),
        batch: buckets({ 8: 50 }),
      }),
    ],
    locks: [
      lockOf({}),
      lockOf({ name: 'table', count: 0 }),
      lockOf({ name: 'giant', site: 'tcp input', waitTotalUs: 1234, countLock: 50 }),
    ],
    waiting: [{ 'port messages': 8 }, { 'port messages': 0 }],
    ...change,
  })
}
