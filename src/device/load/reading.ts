// A load device as it is seen, and told what to do, from outside of its CPUs: for whoever has the machine's memory.
import { HISTOGRAM_BUCKETS, Histogram } from '../../base/histogram.ts'
import type { Address } from '../../base/struct.ts'
import { readCounters } from '../../kernel/counters.ts'
import type { Memory } from '../../kernel/memory.ts'
import { type LoadQueueCounter, LoadQueueCounters } from './counters.ts'
import type { LoadOptions } from './options.ts'
import { LoadRegion, QueueBlock, Told } from './region.ts'

export type LoadCounts = { readonly [counter in LoadQueueCounter]: number }

export interface LoadReading {
  /** The connections of all queues are open, or there is none to be opened: the load runs, or is about to. */
  readonly ready: boolean
  /** Of all queues together. */
  readonly counts: LoadCounts
  /** From a question put in to its answer leaving, in tenths of a µs; of an open loop, from when the question came. */
  readonly latency: Histogram
  /** In the order of the options' `cpus`. */
  readonly queues: readonly { readonly cpu: number; readonly counts: LoadCounts; readonly latency: Histogram }[]
}

/** The counters that say that something was wrong. */
export const LOAD_ERRORS = LoadQueueCounters.counters.filter((name) => name.startsWith('error'))

/**
 * What a load device has done so far. Live: each number is whole, but they are not all of one instant.
 * @throws KernelError ENOENT where the machine has no such device
 */
export function readLoad(memory: Memory, options: LoadOptions): LoadReading {
  const region = LoadRegion.find(memory, options)
  const readings = readCounters(memory, LoadQueueCounters)
  const queues = options.cpus.map((cpu, queue) => {
    const block = region.queue(queue)
    const instance = memory.u32[(block + QueueBlock.offset.instance) >> 2]! - 1
    const reading = readings.find((each) => each.cpu === cpu && each.instance === instance)
    return { cpu, counts: sum(reading === undefined ? [] : [reading.values]), latency: latencyOf(memory, [block]) }
  })
  const blocks = queues.map((_, queue) => region.queue(queue))
  const isReady = (block: Address) => Atomics.load(memory.i32, (block + QueueBlock.offset.isReady) >> 2) === 1
  return {
    ready: blocks.every(isReady),
    counts: sum(queues.map(({ counts }) => counts)),
    latency: latencyOf(memory, blocks),
    queues,
  }
}

/** The errors of a reading that are not 0. */
export function loadErrors({ counts }: LoadReading): { readonly [counter: string]: number } {
  return Object.fromEntries(LOAD_ERRORS.filter((name) => counts[name] !== 0).map((name) => [name, counts[name]]))
}

/**
 * Tells a load device to run, or to rest: then no new question is asked, and those under way are answered. What a
 * `bulk-out` server sends is acknowledged nevertheless. Heard within 10 ms, and at once where the CPU is awake.
 * @throws KernelError ENOENT where the machine has no such device
 */
export function tellLoad(memory: Memory, options: LoadOptions, what: 'run' | 'rest'): void {
  Atomics.store(memory.i32, LoadRegion.find(memory, options).told >> 2, Told[what])
}

function sum(all: readonly { readonly [counter: string]: number }[]): LoadCounts {
  const entries = LoadQueueCounters.counters.map((name) => [name, all.reduce((n, counts) => n + counts[name]!, 0)])
  return Object.fromEntries(entries) as LoadCounts
}

function latencyOf({ f64 }: Memory, blocks: readonly Address[]): Histogram {
  const histogram = new Histogram()
  for (const block of blocks) {
    const first = (block + QueueBlock.offset.latency) >> 3
    histogram.add(f64.subarray(first, first + HISTOGRAM_BUCKETS), 0)
  }
  return histogram
}
