// Reassembly as a rival: one table of datagrams for all CPUs, in the machine's memory, where the stack hands each fragment to
// the CPU that owns its addresses (net/ip/reassembly.ts: read it first). What is done with the fragments of a datagram is
// the same code (net/ip/fragments.ts); whichever CPU a fragment came to does it, under the lock of the datagram's shard.
//
//   shard (1 KiB)  | mutex 64 | oldest, youngest, datagrams, held 64 | how many of each source 512 | buckets 256 | unused |
//
// A shard is chosen by the source, so that a source's bound is the matter of one lock. There is no timer for each datagram, which
// would be in the wheel of one CPU under a lock of its own: one CPU looks at the oldest of each shard now and then, as the BSDs do.
import { assert } from '../../base/assert.ts'
import { type Address, bytes, i32, struct, u32 } from '../../base/struct.ts'
import type { MbufCursor } from '../../device/mbuf.ts'
import { lockClass, lockSite } from '../../kernel/lock.ts'
import { Mutex } from '../../kernel/mutex.ts'
import type { NetContext } from '../../net/context.ts'
import { ReassemblyCounters } from '../../net/counters.ts'
import { bucketOf, DATAGRAM_BYTES, Datagram, type DatagramCursor, Fragments, Placed } from '../../net/ip/fragments.ts'
import { IpHeader } from '../../net/ip/header.ts'
import { ReassemblyLimits } from '../../net/ip/reassembly.ts'
import { allocateCleared, publish, published, unpublish } from './shared.ts'

const LOCK = lockClass('rival reassembly')
const INPUT = lockSite('fragment input')
const SWEEP = lockSite('fragment timeout')
const C = ReassemblyCounters.index
const AT = IpHeader.offset

const SOURCES = 256
const BUCKET_BITS = 6

const Shard = struct({
  lock: i32, //        0
  alone: bytes(60),
  oldest: u32, //     64
  youngest: u32, //   68
  datagrams: u32, //  72  under way
  held: u32, //       76  their fragments
  more: bytes(48),
  sources: bytes(SOURCES * 2), // 128  datagrams under way of the sources that meet in a place
  buckets: bytes(4 << BUCKET_BITS), // 640
})
const SHARD_BYTES = 1024
assert(Shard.size <= SHARD_BYTES, 'a shard is one object')

export const LockedReassemblyLimits = {
  /** Shards at most, each with a lock. */
  shards: 64,
  /** Datagrams under way in a shard, where it is not the only one: then it has as many as a CPU of the stack has. */
  datagrams: 64,
  /** How often the oldest are looked at. */
  sweepUs: 500_000,
} as const

/** One CPU's handle to the table that all share. */
export class LockedReassembly {
  readonly #context: NetContext
  readonly #name: string
  readonly #table: Address
  readonly #locks: readonly Mutex[]
  readonly #datagramsMaximum: number
  readonly #shard
  readonly #d: DatagramCursor
  readonly #m: MbufCursor
  readonly #fragments: Fragments
  readonly #count: Float64Array
  #cancelSweep: () => void = () => {}
  /** A datagram is whole. Called without a lock. */
  onWhole: (packet: Address) => void = () => {}
  /** The time was over, and the first fragment was there (RFC 792). Called under the lock, and does not own the packet. */
  onTimeout: (first: Address) => void = () => {}

  private constructor(context: NetContext, name: string, table: Address, shards: number) {
    const isPower = Number.isInteger(Math.log2(shards))
    assert(isPower && shards <= LockedReassemblyLimits.shards, 'there are 1 to 64 shards, a power of two')
    this.#context = context
    this.#name = name
    this.#table = table
    this.#locks = Array.from({ length: shards }, (_, i) => new Mutex(table + i * SHARD_BYTES, LOCK))
    this.#datagramsMaximum = shards === 1 ? ReassemblyLimits.datagrams : LockedReassemblyLimits.datagrams
    this.#shard = Shard.cursor(context.memory)
    this.#d = Datagram.cursor(context.memory)
    this.#m = context.mbuf()
    this.#fragments = new Fragments(context)
    this.#count = context.count(ReassemblyCounters)
  }

  /** Makes the table, by one CPU, which also looks after what has taken too long. @throws KernelError EEXIST, ENOMEM */
  static create(context: NetContext, name: string, shards: number): LockedReassembly {
    const table = allocateCleared(context.cpu, shards * SHARD_BYTES)
    const made = new LockedReassembly(context, name, table, shards)
    publish(context.cpu, name, table)
    made.#sweepLater()
    return made
  }

  /** A handle to the table that another CPU has made, with as many shards. */
  static attach(context: NetContext, name: string, shards: number): LockedReassembly {
    return new LockedReassembly(context, name, published(context.cpu, name), shards)
  }

  /** Takes the table down with all that is in it, by the CPU that made it, when nobody uses it any more. */
  free(): void {
    const { cpu } = this.#context
    this.#cancelSweep()
    unpublish(cpu, this.#name)
    for (let shard = 0; shard < this.#locks.length; shard++) {
      this.#shard.at = this.#table + shard * SHARD_BYTES
      while (this.#shard.oldest !== 0) this.#drop(this.#shard.oldest, C.droppedTimeout)
    }
    cpu.slab.free(this.#table)
  }

  /** Datagrams under way. */
  get datagrams(): number {
    let sum = 0
    for (let shard = 0; shard < this.#locks.length; shard++) {
      this.#shard.at = this.#table + shard * SHARD_BYTES
      sum += this.#shard.datagrams
    }
    return sum
  }

  /** A fragment came; its data begins with an IP header of `headerBytes` that was looked at. */
  input(packet: Address, headerBytes: number): void {
    const { cpu } = this.#context
    this.#m.at = packet
    const header = this.#m.data
    this.#count[C.fragments]!++
    const fault = this.#fragments.look(packet, headerBytes)
    if (fault >= 0) {
      this.#refuse(packet, fault)
      return
    }
    const shard = this.#shardOf(header)
    const lock = this.#locks[shard]!
    lock.enter(cpu, INPUT)
    this.#shard.at = this.#table + shard * SHARD_BYTES
    const whole = this.#take(packet, header, headerBytes)
    lock.leave(cpu)
    if (whole !== 0) this.onWhole(whole)
  }

  /** Inside. The packet that has become whole, or 0. */
  #take(packet: Address, header: Address, headerBytes: number): Address {
    const s = this.#shard
    const known = this.#fragments.find(this.#bucket(header), header)
    const datagram = known !== 0 ? known : this.#create(header)
    if (datagram === 0) return this.#refuse(packet, C.droppedLimit)
    const d = this.#d
    d.at = datagram
    if (d.fragments >= ReassemblyLimits.fragments) {
      this.#drop(datagram, C.droppedLimit)
      return this.#refuse(packet, C.droppedLimit)
    }
    const placed = this.#fragments.place(datagram, packet, headerBytes)
    if (placed === Placed.duplicate) return this.#refuse(packet, C.droppedDuplicate)
    if (placed === Placed.overlap) {
      this.#drop(datagram, C.droppedOverlap)
      return this.#refuse(packet, C.droppedOverlap)
    }
    s.held++
    this.#count[C.held]!++
    if (placed === Placed.whole) return this.#finish(datagram)
    if (s.held > ReassemblyLimits.held) this.#drop(s.oldest, C.droppedLimit)
    return 0
  }

  #finish(datagram: Address): Address {
    if (!this.#fragments.fits(datagram)) return this.#drop(datagram, C.droppedLayout)
    const d = this.#d
    d.at = datagram
    const { first, total, fragments } = d
    this.#count[C.reassembledFragments]! += fragments
    this.#count[C.reassembled]!++
    this.#forget(datagram)
    return this.#fragments.join(first, total)
  }

  /** A record for a new datagram, or 0 when memory is used up. */
  #create(header: Address): Address {
    const { cpu, memory } = this.#context
    const s = this.#shard
    const sources = memory.u16
    const source = this.#sourceWord(header + AT.source)
    if (sources[source]! >= ReassemblyLimits.datagramsPerSource) this.#drop(this.#oldestOf(source), C.droppedLimit)
    else if (s.datagrams >= this.#datagramsMaximum) this.#drop(s.oldest, C.droppedLimit)
    const datagram = cpu.slab.tryAllocate(DATAGRAM_BYTES)
    if (datagram === 0) return 0
    this.#fragments.begin(datagram, this.#bucket(header), header)
    const d = this.#d
    d.at = datagram
    // Where the stack has the timer's deadline: when it began.
    memory.f64[(d.timer + 8) >> 3] = cpu.now
    d.older = s.youngest
    if (s.youngest !== 0) memory.u32[(s.youngest + Datagram.offset.younger) >> 2] = datagram
    else s.oldest = datagram
    s.youngest = datagram
    s.datagrams++
    sources[source]!++
    return datagram
  }

  /** The first to have begun of the datagrams of the sources that meet in a place. There are some. */
  #oldestOf(source: number): Address {
    const d = this.#d
    d.at = this.#shard.oldest
    while (this.#sourceWord(d.addresses) !== source) d.at = d.younger
    return d.at
  }

  /** Takes a datagram out of all lists and frees its record; its fragments are the caller's. */
  #forget(datagram: Address): void {
    const { memory, cpu } = this.#context
    const { u32 } = memory
    const s = this.#shard
    const d = this.#d
    this.#fragments.unchain(datagram)
    d.at = datagram
    if (d.older === 0) s.oldest = d.younger
    else u32[(d.older + Datagram.offset.younger) >> 2] = d.younger
    if (d.younger === 0) s.youngest = d.older
    else u32[(d.younger + Datagram.offset.older) >> 2] = d.older
    s.datagrams--
    s.held -= d.fragments
    this.#count[C.held]! -= d.fragments
    memory.u16[this.#sourceWord(d.addresses)]!--
    cpu.slab.free(datagram)
  }

  #drop(datagram: Address, counter: number): 0 {
    const d = this.#d
    d.at = datagram
    let packet = d.first
    this.#count[counter]! += d.fragments
    this.#forget(datagram)
    while (packet !== 0) {
      this.#m.at = packet
      const next = this.#m.link
      this.#context.mbufs.free(packet)
      packet = next
    }
    return 0
  }

  #refuse(packet: Address, counter: number): 0 {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
    return 0
  }

  /** Drops what has taken too long. The oldest of a shard began first. */
  #sweep(): void {
    const { cpu, memory } = this.#context
    const s = this.#shard
    const d = this.#d
    for (const [shard, lock] of this.#locks.entries()) {
      lock.enter(cpu, SWEEP)
      s.at = this.#table + shard * SHARD_BYTES
      while (s.oldest !== 0) {
        d.at = s.oldest
        if (cpu.now - memory.f64[(d.timer + 8) >> 3]! < ReassemblyLimits.timeoutUs) break
        const { first } = d
        this.#m.at = first
        if (first !== 0 && this.#m.hash === 0) this.onTimeout(first)
        this.#drop(s.oldest, C.droppedTimeout)
      }
      lock.leave(cpu)
    }
    this.#sweepLater()
  }

  #sweepLater(): void {
    const { timers } = this.#context.cpu
    this.#cancelSweep = timers.after(LockedReassemblyLimits.sweepUs, () => this.#sweep())
  }

  #shardOf(header: Address): number {
    return hashOf(this.#context.view, header + AT.source) & (this.#locks.length - 1)
  }

  /** Which half-word of the memory counts a source's datagrams, in the shard that the cursor is at. */
  #sourceWord(source: Address): number {
    const place = (hashOf(this.#context.view, source) >>> 16) & (SOURCES - 1)
    return ((this.#shard.at + Shard.offset.sources) >> 1) + place
  }

  #bucket(header: Address): Address {
    return this.#shard.at + Shard.offset.buckets + bucketOf(this.#context.view, header, BUCKET_BITS) * 4
  }
}

function hashOf(view: DataView, source: Address): number {
  const mixed = Math.imul(view.getUint32(source), 0x9e3779b1)
  return mixed ^ (mixed >>> 15)
}
