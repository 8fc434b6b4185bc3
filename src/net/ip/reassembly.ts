// Reassembly (@rfc 791 3.2/reassemble 3.1/accept-576, @rfc 1122 3.2.1.4 3.3.2/able 3.3.2/576 3.3.2/indefinite, RFC 815 in spirit, RFC 1122 3.3.2, RFC 3128, RFC 5722's rule on overlaps applied to IPv4).
// Fragments of one datagram are kept as a list in the order of their offsets, and become the parts of one packet
// without being copied (fragments.ts). Whatever a stranger can make grow has a bound: datagrams, fragments, bytes, time.
import type { Address } from '../../base/struct.ts'
import type { MbufCursor } from '../../device/mbuf.ts'
import { define } from '../../kernel/function.ts'
import type { NetContext } from '../context.ts'
import { ReassemblyCounters } from '../counters.ts'
import { bucketOf, DATAGRAM_BYTES, Datagram, type DatagramCursor, Fragments, Placed } from './fragments.ts'
import { IpHeader } from './header.ts'

const C = ReassemblyCounters.index
const AT = IpHeader.offset

export const ReassemblyLimits = {
  /** Datagrams under way on one CPU. Another one drops the oldest. */
  datagrams: 256,
  /** Of those, datagrams of one source: a flood in one name leaves the others room. Another one drops that source's oldest. */
  datagramsPerSource: 64,
  /** Fragments of one datagram: 64 KiB in fragments of 512 bytes. */
  fragments: 128,
  /** Fragments of all datagrams on one CPU, each of them an mbuf: 8 MiB. */
  held: 4096,
  /**
   * How long a datagram may take. @rfc 1122 3.3.2/fixed
   * @rfc-not 1122 3.3.2/fixed 30 s, as on Linux, and not 60: half the time halves what a stranger's fragments can hold
   */
  timeoutUs: 30_000_000,
} as const

const BUCKET_BITS = 6
const BUCKETS = 1 << BUCKET_BITS

export class Reassembly {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #other: MbufCursor
  readonly #datagram: DatagramCursor
  readonly #fragments: Fragments
  readonly #count: Float64Array
  readonly #buckets: Address
  #oldest: Address = 0
  #youngest: Address = 0
  #datagrams = 0
  /** Datagrams under way by source: its four bytes as a number, a key within this file and nowhere else. */
  readonly #perSource = new Map<number, number>()
  /** Set by stack.ts: a datagram is whole, and goes to the owner of its flow. */
  onWhole: (packet: Address) => void = () => {}
  /** Set by stack.ts: the time was over, and the first fragment was there (RFC 792). Does not own the packet. */
  onTimeout: (first: Address) => void = () => {}

  constructor(context: NetContext) {
    this.#context = context
    this.#m = context.mbuf()
    this.#other = context.mbuf()
    this.#datagram = Datagram.cursor(context.memory)
    this.#fragments = new Fragments(context)
    this.#count = context.count(ReassemblyCounters)
    // Behind the two words that the slab needs.
    this.#buckets = context.cpu.slab.allocate(BUCKETS * 4 + 64) + 64
    context.u8.fill(0, this.#buckets, this.#buckets + BUCKETS * 4)
    const all = context.cpu.slot(ALL, () => [] as Reassembly[])
    all[context.config.index] = this
    context.cpu.onStop(() => {
      while (this.#oldest !== 0) this.#drop(this.#oldest, C.droppedTimeout)
      context.cpu.slab.free(this.#buckets - 64)
    })
  }

  /** Datagrams under way. */
  get datagrams(): number {
    return this.#datagrams
  }

  /** A fragment came; its data begins with an IP header of `headerBytes` that was looked at. */
  input(packet: Address, headerBytes: number): void {
    const m = this.#m
    m.at = packet
    const header = m.data
    this.#count[C.fragments]!++
    const fault = this.#fragments.look(packet, headerBytes)
    if (fault >= 0) return this.#refuse(packet, fault)
    const known = this.#fragments.find(this.#bucket(header), header)
    const datagram = known !== 0 ? known : this.#create(header)
    if (datagram === 0) return this.#refuse(packet, C.droppedLimit)
    const d = this.#datagram
    d.at = datagram
    if (d.fragments >= ReassemblyLimits.fragments) {
      this.#drop(datagram, C.droppedLimit)
      return this.#refuse(packet, C.droppedLimit)
    }
    const placed = this.#fragments.place(datagram, packet, headerBytes)
    if (placed === Placed.duplicate) return this.#refuse(packet, C.droppedDuplicate)
    // Anything that overlaps costs the whole datagram (RFC 5722).
    if (placed === Placed.overlap) {
      this.#drop(datagram, C.droppedOverlap)
      return this.#refuse(packet, C.droppedOverlap)
    }
    this.#count[C.held]!++
    if (placed === Placed.whole) this.#finish(datagram)
    else if (this.#count[C.held]! > ReassemblyLimits.held) this.#drop(this.#oldest, C.droppedLimit)
  }

  /** All is there. */
  #finish(datagram: Address): void {
    const d = this.#datagram
    if (!this.#fragments.fits(datagram)) return this.#drop(datagram, C.droppedLayout)
    d.at = datagram
    const { first, total, fragments: count } = d
    this.#count[C.held]! -= count
    this.#count[C.reassembledFragments]! += count
    this.#count[C.reassembled]!++
    this.#forget(datagram)
    this.onWhole(this.#fragments.join(first, total))
  }

  /** The datagram's time is over. @rfc 791 3.2/reassembly-timer, @rfc 792 time-exceeded/without-first */
  expire(datagram: Address): void {
    const d = this.#datagram
    d.at = datagram
    const { first } = d
    this.#m.at = first
    if (first !== 0 && this.#m.hash === 0) this.onTimeout(first)
    this.#drop(datagram, C.droppedTimeout)
  }

  /** The first of a source's datagrams to have begun. The source has some. */
  #oldestOf(source: number): Address {
    const d = this.#datagram
    d.at = this.#oldest
    while (this.#context.view.getInt32(d.addresses) !== source) d.at = d.younger
    return d.at
  }

  /** A record for a new datagram, or 0 when memory is used up. */
  #create(header: Address): Address {
    const { view, cpu, memory } = this.#context
    const source = view.getInt32(header + AT.source)
    if ((this.#perSource.get(source) ?? 0) >= ReassemblyLimits.datagramsPerSource) {
      this.#drop(this.#oldestOf(source), C.droppedLimit)
    } else if (this.#datagrams >= ReassemblyLimits.datagrams) this.#drop(this.#oldest, C.droppedLimit)
    const datagram = cpu.slab.tryAllocate(DATAGRAM_BYTES)
    if (datagram === 0) return 0
    this.#fragments.begin(datagram, this.#bucket(header), header)
    const d = this.#datagram
    d.at = datagram
    d.older = this.#youngest
    if (this.#youngest !== 0) memory.u32[(this.#youngest + Datagram.offset.younger) >> 2] = datagram
    else this.#oldest = datagram
    this.#youngest = datagram
    this.#datagrams++
    this.#perSource.set(source, (this.#perSource.get(source) ?? 0) + 1)
    cpu.timers.arm(d.timer, ReassemblyLimits.timeoutUs, EXPIRE, this.#context.config.index)
    return datagram
  }

  /** Takes a datagram out of all lists and frees its record; its fragments are the caller's. */
  #forget(datagram: Address): void {
    const { u32 } = this.#context.memory
    const d = this.#datagram
    d.at = datagram
    this.#context.cpu.timers.cancel(d.timer)
    this.#fragments.unchain(datagram)
    if (d.older === 0) this.#oldest = d.younger
    else u32[(d.older + Datagram.offset.younger) >> 2] = d.younger
    if (d.younger === 0) this.#youngest = d.older
    else u32[(d.younger + Datagram.offset.older) >> 2] = d.older
    this.#datagrams--
    const source = this.#context.view.getInt32(d.addresses)
    const left = this.#perSource.get(source)! - 1
    if (left === 0) this.#perSource.delete(source)
    else this.#perSource.set(source, left)
    this.#context.cpu.slab.free(datagram)
  }

  /** Drops a datagram with all that is there of it. */
  #drop(datagram: Address, counter: number): void {
    const d = this.#datagram
    d.at = datagram
    let packet = d.first
    this.#count[C.held]! -= d.fragments
    this.#count[counter]! += d.fragments
    this.#forget(datagram)
    while (packet !== 0) {
      this.#other.at = packet
      const next = this.#other.link
      this.#context.mbufs.free(packet)
      packet = next
    }
  }

  #refuse(packet: Address, counter: number): void {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
  }

  #bucket(header: Address): Address {
    return this.#buckets + bucketOf(this.#context.view, header, BUCKET_BITS) * 4
  }
}

const ALL = Symbol('reassembly')
const EXPIRE = define('reassembly.expire', (cpu, host, timer) => {
  const all = cpu.slot(ALL, () => [] as Reassembly[])
  all[host]?.expire(timer - Datagram.offset.timer)
})
