// What must not grow in a process that runs a stack, and by how much its measurement may be off. Each CPU reads its own, on its own thread; what
// is of the process is read once.
import { readdirSync } from 'node:fs'
import { Limits } from '../../src/base/limits.ts'
import { type CounterReading, CpuCounters, K, readCounters } from '../../src/kernel/counters.ts'
import type { Cpu } from '../../src/kernel/cpu.ts'
import { readHandoffs } from '../../src/kernel/handoff.ts'
import { ZONE_BYTES } from '../../src/kernel/layout.ts'
import type { Memory } from '../../src/kernel/memory.ts'
import { SharedTimerCounters } from '../../src/kernel/shared-timer.ts'
import { SLAB_SIZES } from '../../src/kernel/slab.ts'
import { GroupRecord } from '../../src/net/tcp/groupset.ts'
import { TimeWait } from '../../src/net/tcp/pcb.ts'
import type { Stack } from '../../src/stack.ts'

/** One CPU's. */
export interface CpuReading {
  /** Bytes of its thread's V8 heap behind a collection. */
  readonly heap: number
  /** Objects of its slabs that are in use, but for those of a TIME-WAIT's size, of which there are as many as connections came in a minute: */
  readonly slab: number
  /** those, */
  readonly ofTimeWaitSize: number
  /** and how many TIME-WAITs there are, in groups that are at home here; their memory may be another CPU's. */
  readonly timeWaits: number
  /** Bytes of the zones that it owns, but for those of a TIME-WAIT's size. */
  readonly pages: number
  /** Free addresses in all magazines. */
  readonly magazines: number
  /** Objects of its that others have freed, and it has not taken back. */
  readonly remoteFrees: number
  readonly ports: number
  readonly threads: number
  /** TCP sockets that are not closed. */
  readonly sockets: number
  /** How often it has found a ring for IPIs full since the beginning. */
  readonly ringsFull: number
}

export interface ProcessReading {
  /** Bytes that the process has in memory. */
  readonly rss: number
  /** File descriptors. */
  readonly descriptors: number
  /** Objects of a TIME-WAIT's size that are none, on all CPUs. */
  readonly records: number
  /** Timers that are armed, on all CPUs, but for those of TIME-WAITs. Under locks a CPU's timers may be in the wheel of any. */
  readonly timers: number
}

export interface Reading extends ProcessReading {
  /** Seconds since the beginning. */
  readonly at: number
  readonly cpus: readonly CpuReading[]
}

export interface Tolerance {
  readonly title: string
  readonly unit: string
  readonly scale: number
  /** Of its median, in all of the run. */
  readonly share: number
  /** In its own unit. */
  readonly least: number
  /** What is tested is not what was read, but by how much it rises in a second. */
  readonly isRate?: true
}

/** A leak of one object for each connection is hundreds of objects and kilobytes a minute. */
export const OF_PROCESS: { readonly [Q in keyof ProcessReading]: Tolerance } = {
  // The allocator of the C library keeps pages, and V8 gives them back when it likes.
  rss: { title: 'memory', unit: 'MB', scale: 1e6, share: 0.1, least: 12e6 },
  // Descriptors come and go one by one; two are chance.
  descriptors: { title: 'descriptors', unit: '', scale: 1, share: 0, least: 2 },
  // Messages, mostly, and embryonic connections.
  records: { title: 'small slab objects', unit: '', scale: 1, share: 0.05, least: 100 },
  // Connections that are ending have one or two.
  timers: { title: 'timers', unit: '', scale: 1, share: 0.05, least: 40 },
}
export const OF_CPU: { readonly [Q in Exclude<keyof CpuReading, 'ofTimeWaitSize' | 'timeWaits'>]: Tolerance } = {
  // Code that is compiled anew, and inline caches, are on the heap as well.
  heap: { title: 'V8 heap', unit: 'MB', scale: 1e6, share: 0.05, least: 1.5e6 },
  // What is on its way just then, and spare packets, of which a device takes 128 at a time.
  slab: { title: 'slab objects', unit: '', scale: 1, share: 0.05, least: 100 },
  // As many zones as there ever were at the same time: a higher peak may still come.
  pages: { title: 'slab pages', unit: 'MB', scale: 1e6, share: 0.05, least: 4 * ZONE_BYTES },
  // What is free lies there or in a zone. They fill up slowly, for a peak takes out of them what comes home later, to 2048 each: of some sizes
  // that goes on after the warm-up, and not of all.
  magazines: { title: 'magazines', unit: '', scale: 1, share: 0.1, least: 2 * 2048 },
  // They are taken back in the owner's next turn.
  remoteFrees: { title: 'remote frees', unit: '', scale: 1, share: 0, least: 200 },
  ports: { title: 'ports', unit: '', scale: 1, share: 0, least: 0 },
  threads: { title: 'threads', unit: '', scale: 1, share: 0, least: 0 },
  sockets: { title: 'sockets', unit: '', scale: 1, share: 0, least: 20 },
  ringsFull: { title: 'rings full', unit: '/s', scale: 1, share: 0.5, least: 100, isRate: true },
}
/** Sets that count timers. */
const WHEELS = new Set<string>([CpuCounters.name, SharedTimerCounters.name])
/** Of the slab's, the size that TIME-WAITs have. */
const TIME_WAIT_BYTES = SLAB_SIZES.find((bytes) => bytes >= TimeWait.size)

/** Of the process of this thread, which has a machine with this memory. @param cpus all of its CPUs' */
export function readProcess(memory: Memory, cpus: readonly CpuReading[]): ProcessReading {
  const timeWaits = sum(cpus, (cpu) => cpu.timeWaits)
  return {
    rss: process.memoryUsage.rss(),
    descriptors: readdirSync('/proc/self/fd').length,
    records: sum(cpus, ({ ofTimeWaitSize }) => ofTimeWaitSize) - timeWaits,
    timers: armedTimers(memory) - timeWaits,
  }
}

/** Of a CPU of this thread. The process runs with --expose-gc. */
export function readCpu(cpu: Cpu, stacks: readonly Stack[]): CpuReading {
  // What finalizers let go of is collected by the second.
  globalThis.gc!()
  globalThis.gc!()
  const slabs = cpu.slab.read()
  const counted = slabs.filter(({ objectBytes }) => objectBytes !== TIME_WAIT_BYTES)
  return {
    heap: process.memoryUsage().heapUsed,
    slab: sum(counted, ({ live }) => live),
    ofTimeWaitSize: sum(slabs, ({ live }) => live) - sum(counted, ({ live }) => live),
    timeWaits: sum(stacks, ({ connectionGroups }) =>
      sum(connectionGroups, (group) => cpu.memory.u32[(group + GroupRecord.offset.timeWaits) >> 2]!),
    ),
    pages: sum(counted, ({ zones }) => zones) * ZONE_BYTES,
    magazines: sum(slabs, ({ magazine }) => magazine),
    remoteFrees: remoteFrees(cpu),
    ports: openPorts(cpu),
    threads: cpu.threads.size,
    sockets: sum(stacks, ({ tcp }) => tcp.size),
    ringsFull: cpu.count[K.ipiRingFull]!,
  }
}

/** All objects of a CPU's slabs that are in use. */
export function liveObjects(cpu: Cpu): number {
  return sum(cpu.slab.read(), ({ live }) => live)
}

/** Those that are at home on this CPU, wherever their number is from. */
function openPorts({ memory, index }: Cpu): number {
  const homes = memory.layout.portHomes >> 2
  let open = 0
  for (let id = 0; id < memory.layout.cpus * Limits.portsPerCpu; id++) {
    const home = Atomics.load(memory.i32, homes + id)
    if (home >>> 16 !== 0 && (home & 0xffff) === index) open++
  }
  return open
}

/** As the counts of all hand-offs of freed memory have it: what was enqueued for this CPU, and not dequeued. */
function remoteFrees({ memory, index }: Cpu): number {
  let count = 0
  for (const { point, target, enqueued, dequeued } of readHandoffs(memory)) {
    if (point === 'free' && target === index) count += enqueued - dequeued
  }
  return Math.max(0, count)
}

/** In all wheels, those of CPUs and those behind a lock, by what was counted of them. */
function armedTimers(memory: Memory): number {
  const still = ({
    timersArmed = 0,
    timersRearmed = 0,
    timersFired = 0,
    timersCancelled = 0,
  }: CounterReading['values']) => timersArmed - timersRearmed - timersFired - timersCancelled
  return sum(readCounters(memory), ({ set, values }) => (WHEELS.has(set) ? still(values) : 0))
}

function sum<Each>(all: readonly Each[], value: (each: Each) => number): number {
  return all.reduce((total, each) => total + value(each), 0)
}
