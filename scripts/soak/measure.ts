// What must not grow in a process that runs a stack, and by how much its measurement may be off.
import { readdirSync } from 'node:fs'
import { readCounters } from '../../src/kernel/counters.ts'
import type { Memory } from '../../src/kernel/memory.ts'

export interface Reading {
  /** Seconds since the beginning. */
  readonly at: number
  /** Bytes that the process has in memory. */
  readonly rss: number
  /** File descriptors. */
  readonly descriptors: number
  /** Objects of the machine's slabs that are in use. */
  readonly slab: number
  /** TIME-WAITs since the beginning, each of which is one of these objects for a minute. */
  readonly timeWaits: number
  /** Bytes of V8's heap behind a collection. */
  readonly heap: number
}

export type Quantity = Exclude<keyof Reading, 'at' | 'timeWaits'>

interface Tolerance {
  readonly title: string
  readonly unit: string
  readonly scale: number
  /** Of its median, with TIME-WAITs, in all of the run. */
  readonly share: number
  /** In its own unit. */
  readonly least: number
}

/** A leak of one object for each connection is hundreds of objects and kilobytes a minute. */
export const TOLERANCES: { readonly [Q in Quantity]: Tolerance } = {
  // The allocator of the C library keeps pages, and V8 gives them back when it likes.
  rss: { title: 'memory', unit: 'MB', scale: 1e6, share: 0.1, least: 12e6 },
  // Descriptors come and go one by one; two are chance.
  descriptors: { title: 'descriptors', unit: '', scale: 1, share: 0, least: 2 },
  // Besides TIME-WAITs: how many there are is worked out from how many there were, to a second or two of their minute.
  slab: { title: 'slab objects', unit: '', scale: 1, share: 0.05, least: 60 },
  // Code that is compiled anew, and inline caches, are on the heap as well.
  heap: { title: 'V8 heap', unit: 'MB', scale: 1e6, share: 0.05, least: 1.5e6 },
}
export const QUANTITIES = Object.keys(TOLERANCES) as readonly Quantity[]

/** Takes one. The process runs with --expose-gc. */
export function measure(memory: Memory, beganMs: number): Reading {
  // What finalizers let go of is collected by the second.
  globalThis.gc!()
  globalThis.gc!()
  let slab = 0
  let timeWaits = 0
  for (const { set, values } of readCounters(memory)) {
    if (set === 'slab') slab += values.allocated! - values.freed!
    if (set === 'tcp') timeWaits += values.timeWaits! - values.timeWaitsReused! - values.timeWaitsEvicted!
  }
  const { rss, heapUsed } = process.memoryUsage()
  const at = (performance.now() - beganMs) / 1000
  return { at, rss, descriptors: readdirSync('/proc/self/fd').length, slab, timeWaits, heap: heapUsed }
}
