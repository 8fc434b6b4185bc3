// What must not grow in a process that runs a stack, and by how much its measurement may be off.
import { readdirSync } from 'node:fs'
import type { Cpu } from '../../src/kernel/cpu.ts'
import { SLAB_SIZES } from '../../src/kernel/slab.ts'
import { TimeWait } from '../../src/net/tcp/pcb.ts'

export interface Reading {
  /** Seconds since the beginning. */
  readonly at: number
  /** Bytes that the process has in memory. */
  readonly rss: number
  /** File descriptors. */
  readonly descriptors: number
  /** Objects of the machine's slabs that are in use, but for those of a TIME-WAIT's size, of which there are as many as connections came in a minute. */
  readonly slab: number
  /** Bytes of V8's heap behind a collection. */
  readonly heap: number
}

export type Quantity = Exclude<keyof Reading, 'at'>

interface Tolerance {
  readonly title: string
  readonly unit: string
  readonly scale: number
  /** Of its median, in all of the run. */
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
  // What is on its way just then, and spare packets, of which a device takes 128 at a time.
  slab: { title: 'slab objects', unit: '', scale: 1, share: 0.05, least: 100 },
  // Code that is compiled anew, and inline caches, are on the heap as well.
  heap: { title: 'V8 heap', unit: 'MB', scale: 1e6, share: 0.05, least: 1.5e6 },
}
/** Of the slab's, the size that TIME-WAITs have. */
const TIME_WAIT_BYTES = SLAB_SIZES.find((bytes) => bytes >= TimeWait.size)
export const QUANTITIES = Object.keys(TOLERANCES) as readonly Quantity[]

/** Takes one. The process runs with --expose-gc. */
export function measure(cpu: Cpu, beganMs: number): Reading {
  // What finalizers let go of is collected by the second.
  globalThis.gc!()
  globalThis.gc!()
  const { rss, heapUsed } = process.memoryUsage()
  return {
    at: (performance.now() - beganMs) / 1000,
    rss,
    descriptors: readdirSync('/proc/self/fd').length,
    slab: live(cpu, (objectBytes) => objectBytes !== TIME_WAIT_BYTES),
    heap: heapUsed,
  }
}

/** All objects of the CPU's slabs that are in use. */
export function liveObjects(cpu: Cpu): number {
  return live(cpu, () => true)
}

function live(cpu: Cpu, counts: (objectBytes: number) => boolean): number {
  return cpu.slab.read().reduce((sum, reading) => sum + (counts(reading.objectBytes) ? reading.live : 0), 0)
}
