// The host cache as a rival: one for all CPUs, in the machine's memory, where the stack has a replica on each CPU that
// learns by messages (net/hostcache/hostcache.ts: read it first, for what is kept and how it is merged is the same). It is
// built as FreeBSD's tcp_hostcache: rows with a chain in the order of use and a bound each, and a lock for each row, or one lock
// for all.
//
//   table  | secret keys 64 | rows, a cache line each: mutex, first, last, count |
//
// A lookup copies out under the lock, and makes what it finds the first of its row: a reader writes here, too.
import { assert } from '../../base/assert.ts'
import { type Address, u8 as byte, bytes, f64, i32, struct, u16, u32 } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { lockClass, lockSite } from '../../kernel/lock.ts'
import { Mutex } from '../../kernel/mutex.ts'
import { addressBytes, equalAddress, type Family } from '../../net/address.ts'
import { HostCacheLimits, type Metrics, smooth, whole } from '../../net/hostcache/hostcache.ts'
import { allocateCleared, publish, published, unpublish } from './shared.ts'

const LOCK = lockClass('rival hostcache')
const LOOKUP = lockSite('hostcache lookup')
const UPDATE = lockSite('hostcache update')

const ROWS = 512
const ROW_SHIFT = 1 + Math.clz32(ROWS)

export const LockedHostCacheLimits = {
  /** Locks at most: one for each row. */
  locks: ROWS,
  /** Destinations in a row. The least recently used goes first. */
  rowEntries: 8,
} as const

const Row = struct({
  lock: i32, //    0
  first: u32, //   4  the most recently used
  last: u32, //    8
  count: u32, //  12
  alone: bytes(48),
})
assert(Row.size === 64, 'a row is alone on its cache line')

const Entry = struct({
  next: u32, //            0  the next less recently used of the row
  previous: u32, //        4
  hash: i32, //            8
  family: byte, //        12
  padding: byte,
  unused: u16,
  rttUs: u32, //          16
  rttvarUs: u32, //       20
  ssthreshBytes: u32, //  24
  cwndBytes: u32, //      28
  metricsAt: f64, //      32  µs: when these were last heard of
  mtuAt: f64, //          40
  mtu: u32, //            48
  more: u32,
  unused2: bytes(8),
  address: bytes(16), //  64
})
const ENTRY_BYTES = 128
assert(Entry.size <= ENTRY_BYTES, 'an entry is two cache lines')

/** Nine secret numbers, and then the rows. */
const FIRST_ROW = 64
const TABLE_BYTES = FIRST_ROW + ROWS * Row.size

/** One CPU's handle to the host cache that all share. */
export class LockedHostCache {
  readonly #cpu: Cpu
  readonly #name: string
  readonly #u8: Uint8Array
  readonly #table: Address
  readonly #keys: Int32Array
  readonly #locks: readonly Mutex[]
  readonly #row
  readonly #e
  /** What the last lookup found; 0 is what is not known. */
  rttUs = 0
  rttvarUs = 0
  ssthreshBytes = 0
  cwndBytes = 0
  mtu = 0

  private constructor(cpu: Cpu, name: string, table: Address, locks: number) {
    const isPower = Number.isInteger(Math.log2(locks))
    assert(isPower && locks <= LockedHostCacheLimits.locks, 'the locks are a power of two, one for each row at most')
    this.#cpu = cpu
    this.#name = name
    this.#u8 = cpu.memory.u8
    this.#table = table
    this.#row = Row.cursor(cpu.memory)
    this.#e = Entry.cursor(cpu.memory)
    this.#keys = cpu.memory.i32.subarray(table >> 2, (table >> 2) + 9)
    this.#locks = Array.from({ length: locks }, (_, i) => new Mutex(table + FIRST_ROW + i * Row.size, LOCK))
  }

  /**
   * Makes the cache, by one CPU.
   * @param locks 1 for all rows, or any power of two up to one for each
   * @throws KernelError EEXIST, ENOMEM
   */
  static create(cpu: Cpu, name: string, locks: number): LockedHostCache {
    const cache = new LockedHostCache(cpu, name, allocateCleared(cpu, TABLE_BYTES), locks)
    for (let i = 0; i < cache.#keys.length; i++) cache.#keys[i] = cpu.random.next()
    publish(cpu, name, cache.#table)
    return cache
  }

  /** A handle to the cache that another CPU has made, with as many locks. */
  static attach(cpu: Cpu, name: string, locks: number): LockedHostCache {
    return new LockedHostCache(cpu, name, published(cpu, name), locks)
  }

  /** Takes the cache down, when nobody uses it any more. */
  free(): void {
    const { slab } = this.#cpu
    unpublish(this.#cpu, this.#name)
    for (let row = 0; row < ROWS; row++) {
      this.#row.at = this.#table + FIRST_ROW + row * Row.size
      for (let entry = this.#row.first; entry !== 0; ) {
        this.#e.at = entry
        entry = this.#e.next
        slab.free(this.#e.at)
      }
    }
    slab.free(this.#table)
  }

  /** What is known of a destination is in this handle's fields then; false where nothing is. */
  lookup(family: Family, address: Address): boolean {
    const cpu = this.#cpu
    cpu.refresh()
    const hash = this.#hash(family, address)
    const lock = this.#lockOf(hash)
    lock.enter(cpu, LOOKUP)
    const entry = this.#find(family, address, hash)
    const isKnown = entry !== 0 && !this.#forgetOld(entry)
    if (isKnown) {
      this.#use(entry)
      const e = this.#e
      this.rttUs = e.rttUs
      this.rttvarUs = e.rttvarUs
      this.ssthreshBytes = e.ssthreshBytes
      this.cwndBytes = e.cwndBytes
      this.mtu = e.mtu
    } else if (entry !== 0) this.#remove(entry)
    lock.leave(cpu)
    return isKnown
  }

  /** A connection to this destination is over. Without memory nothing is remembered. */
  update(family: Family, address: Address, metrics: Metrics): void {
    const cpu = this.#cpu
    const rttUs = whole(metrics.rttUs)
    const rttvarUs = whole(metrics.rttvarUs)
    const ssthreshBytes = whole(metrics.ssthreshBytes)
    const cwndBytes = whole(metrics.cwndBytes)
    if (rttUs + rttvarUs + ssthreshBytes + cwndBytes === 0) return
    cpu.refresh()
    const hash = this.#hash(family, address)
    const lock = this.#lockOf(hash)
    lock.enter(cpu, UPDATE)
    if (this.#obtain(family, address, hash)) {
      const e = this.#e
      e.metricsAt = this.#hasMetrics() ? Math.max(e.metricsAt, cpu.now) : cpu.now
      e.rttUs = smooth(e.rttUs, rttUs)
      e.rttvarUs = smooth(e.rttvarUs, rttvarUs)
      e.ssthreshBytes = smooth(e.ssthreshBytes, ssthreshBytes)
      e.cwndBytes = smooth(e.cwndBytes, cwndBytes)
    }
    lock.leave(cpu)
  }

  /** The path to this destination takes packets of so many bytes; what cannot be nobody believes. */
  updateMtu(family: Family, address: Address, mtu: number): void {
    if (mtu < HostCacheLimits.mtuMin[family] || mtu > HostCacheLimits.mtuMax) return
    const cpu = this.#cpu
    cpu.refresh()
    const hash = this.#hash(family, address)
    const lock = this.#lockOf(hash)
    lock.enter(cpu, UPDATE)
    if (this.#obtain(family, address, hash)) {
      const e = this.#e
      // What was learned last holds, by the CPUs' clocks; of what was learned at the same time, the smaller.
      if (e.mtu === 0 || cpu.now > e.mtuAt || (cpu.now === e.mtuAt && mtu < e.mtu)) {
        e.mtu = mtu
        e.mtuAt = cpu.now
      }
    }
    lock.leave(cpu)
  }

  /** Moves the cursor to the destination's entry, made the first of its row, a new one if there was none. False without memory. */
  #obtain(family: Family, address: Address, hash: number): boolean {
    const known = this.#find(family, address, hash)
    if (known !== 0) {
      this.#forgetOld(known)
      this.#use(known)
      return true
    }
    const r = this.#row
    if (r.count >= LockedHostCacheLimits.rowEntries) this.#remove(r.last)
    const entry = this.#cpu.slab.tryAllocate(ENTRY_BYTES)
    if (entry === 0) return false
    this.#u8.fill(0, entry, entry + ENTRY_BYTES)
    const e = this.#e
    e.at = entry
    e.hash = hash
    e.family = family
    this.#u8.copyWithin(e.address, address, address + addressBytes(family))
    this.#link(entry)
    r.count++
    return true
  }

  /** The entry of a destination, or 0. Moves the row's cursor to its row. */
  #find(family: Family, address: Address, hash: number): Address {
    const e = this.#e
    this.#row.at = this.#table + FIRST_ROW + (hash >>> ROW_SHIFT) * Row.size
    let entry = this.#row.first
    while (entry !== 0) {
      e.at = entry
      if (e.hash === hash && e.family === family && equalAddress(this.#u8, e.address, address, family)) break
      entry = e.next
    }
    return entry
  }

  /** Moves the cursor to an entry and forgets what is too old of it. Whether nothing is left. */
  #forgetOld(entry: Address): boolean {
    const { now } = this.#cpu
    const e = this.#e
    e.at = entry
    if (this.#hasMetrics() && now - e.metricsAt > HostCacheLimits.metricsUs) {
      e.rttUs = 0
      e.rttvarUs = 0
      e.ssthreshBytes = 0
      e.cwndBytes = 0
    }
    if (e.mtu !== 0 && now - e.mtuAt > HostCacheLimits.mtuUs) e.mtu = 0
    return !this.#hasMetrics() && e.mtu === 0
  }

  #hasMetrics(): boolean {
    const e = this.#e
    return (e.rttUs | e.rttvarUs | e.ssthreshBytes | e.cwndBytes) !== 0
  }

  /** An entry becomes the most recently used of the row that the cursor is at. The cursor is at the entry then. */
  #use(entry: Address): void {
    if (this.#row.first === entry) return
    this.#unlink(entry)
    this.#link(entry)
  }

  #remove(entry: Address): void {
    this.#unlink(entry)
    this.#row.count--
    this.#cpu.slab.free(entry)
  }

  #link(entry: Address): void {
    const e = this.#e
    const r = this.#row
    const { first } = r
    if (first === 0) r.last = entry
    else {
      e.at = first
      e.previous = entry
    }
    e.at = entry
    e.next = first
    e.previous = 0
    r.first = entry
  }

  #unlink(entry: Address): void {
    const e = this.#e
    const r = this.#row
    e.at = entry
    const { next, previous } = e
    if (previous === 0) r.first = next
    else {
      e.at = previous
      e.next = next
    }
    if (next === 0) r.last = previous
    else {
      e.at = next
      e.previous = previous
    }
    e.at = entry
  }

  #lockOf(hash: number): Mutex {
    return this.#locks[(hash >>> ROW_SHIFT) & (this.#locks.length - 1)]!
  }

  /** As the stack's: multilinear, with secret keys, of which all CPUs have the same. */
  #hash(family: Family, address: Address): number {
    const u8 = this.#u8
    const keys = this.#keys
    let hash = keys[8]!
    for (let i = addressBytes(family) / 2 - 1; i >= 0; i--) {
      const word = (u8[address + 2 * i]! << 8) | u8[address + 2 * i + 1]!
      hash = (hash + Math.imul(keys[i]!, word)) | 0
    }
    return hash
  }
}
