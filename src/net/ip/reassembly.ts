// Reassembly (RFC 791 3.2, RFC 815 in spirit, RFC 1122 3.3.2, RFC 3128, RFC 5722's rule on overlaps applied to IPv4).
// Fragments of one datagram are kept as a list in the order of their offsets, and become the parts of one packet
// without being copied. Whatever a stranger can make grow has a bound: datagrams, fragments, bytes, time.
import { assert } from '../../base/assert.ts'
import { type Address, u8 as byte, bytes, i32, struct, u16, u32 } from '../../base/struct.ts'
import { type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import { define } from '../../kernel/function.ts'
import { Timer } from '../../kernel/timer.ts'
import { equalAddress, Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { ReassemblyCounters } from '../counters.ts'
import { IpFragment, IpHeader, ipHeaderSum } from './header.ts'

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
  /** How long a datagram may take (RFC 1122 3.3.2 says 60 to 120 s; Linux 30 s). */
  timeoutUs: 30_000_000,
  /** The least that a first fragment carries of the transport's header (RFC 3128 2.1). */
  firstBytes: 16,
} as const

/** A datagram under way. */
const Datagram = struct({
  next: u32, //           0  in the hash chain
  previous: u32, //       4  address of the word that points here
  older: u32, //          8  in the order of arrival
  younger: u32, //       12
  first: u32, //         16  first fragment
  fragments: u16, //     20
  protocol: byte, //     22
  padding: byte,
  identification: u16, // 24
  ended: u16, //         26  1 when the last fragment is there
  received: u32, //      28  bytes of data there
  total: i32, //         32  bytes of data in all, once `ended`
  highest: u32, //       36  end of the data that is there
  addresses: bytes(8), // 40  source, target
  timer: bytes(32), //   48
})
assert(Datagram.size - Datagram.offset.timer === Timer.size, 'a datagram ends with its timer')
const DATAGRAM_BYTES = 128
const BUCKETS = 64

export class Reassembly {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #other: MbufCursor
  readonly #datagram
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
    const { u8, mbufs } = this.#context
    const m = this.#m
    m.at = packet
    const header = m.data
    const flagsAndOffset = (u8[header + AT.flagsAndOffset]! << 8) | u8[header + AT.flagsAndOffset + 1]!
    const offset = (flagsAndOffset & IpFragment.offsetMask) * 8
    const more = (flagsAndOffset & IpFragment.moreFragments) !== 0
    const length = m.total - headerBytes
    this.#count[C.fragments]!++
    // A fragment in the middle is a multiple of 8 long; none is empty, none ends beyond what a datagram can be.
    if (length === 0 || (more && length % 8 !== 0) || offset + length + headerBytes > 65535) {
      return this.#refuse(packet, C.droppedLayout)
    }
    if (offset === 0 && more && length < ReassemblyLimits.firstBytes) return this.#refuse(packet, C.droppedTiny)
    const known = this.#find(header)
    const datagram = known !== 0 ? known : this.#create(header)
    if (datagram === 0) return this.#refuse(packet, C.droppedLimit)
    const d = this.#datagram
    d.at = datagram
    if (d.fragments >= ReassemblyLimits.fragments) {
      this.#drop(datagram, C.droppedLimit)
      return this.#refuse(packet, C.droppedLimit)
    }
    // From here on the packet's data is the fragment's; its offset stands where the flow hash stood.
    mbufs.trimFront(packet, headerBytes)
    m.at = packet
    m.network = header
    m.hash = offset
    m.link = 0
    if (!this.#insert(datagram, packet, offset, length, more)) return
    d.at = datagram
    if (d.ended === 1 && d.received === d.total) this.#finish(datagram)
    else if (this.#count[C.held]! > ReassemblyLimits.held) this.#drop(this.#oldest, C.droppedLimit)
  }

  /** Puts a fragment in its place. Anything that overlaps costs the whole datagram (RFC 5722); false when the datagram or the fragment is gone. */
  #insert(datagram: Address, packet: Address, offset: number, length: number, more: boolean): boolean {
    const d = this.#datagram
    const m = this.#m
    const end = offset + length
    d.at = datagram
    let previous = 0
    let next = d.first
    // Most come in order: then the place is the end, and the walk is as long as the list. Its bound is 128.
    while (next !== 0) {
      m.at = next
      if (m.hash >= offset) break
      previous = next
      next = m.link
    }
    if (next !== 0) {
      m.at = next
      if (m.hash === offset && m.total === length) {
        this.#refuse(packet, C.droppedDuplicate)
        return false
      }
      if (m.hash < end) return this.#overlap(datagram, packet)
    }
    if (previous !== 0) {
      m.at = previous
      if (m.hash + m.total > offset) return this.#overlap(datagram, packet)
    }
    // A second end elsewhere, or data behind the end, is no honest datagram.
    const endsElsewhere = d.ended === 1 && (end > d.total || (!more && end !== d.total))
    if (endsElsewhere || (!more && end < d.highest)) return this.#overlap(datagram, packet)
    if (!more) {
      d.ended = 1
      d.total = end
    }
    if (end > d.highest) d.highest = end
    d.received += length
    d.fragments++
    this.#count[C.held]!++
    m.at = packet
    m.link = next
    if (previous === 0) d.first = packet
    else {
      m.at = previous
      m.link = packet
    }
    return true
  }

  #overlap(datagram: Address, packet: Address): false {
    this.#drop(datagram, C.droppedOverlap)
    this.#refuse(packet, C.droppedOverlap)
    return false
  }

  /** All is there: the fragments become the parts of one packet, behind the first one's IP header. */
  #finish(datagram: Address): void {
    const { view, u8, mbufs } = this.#context
    const d = this.#datagram
    d.at = datagram
    const first = d.first
    const total = d.total
    const count = d.fragments
    const m = this.#m
    m.at = first
    const header = m.network
    const headerBytes = m.data - header
    // Each fragment's own header left room for its data; that of the first may be longer.
    if (headerBytes + total > 65535) return this.#drop(datagram, C.droppedLayout)
    this.#count[C.held]! -= count
    this.#count[C.reassembledFragments]! += count
    this.#count[C.reassembled]!++
    this.#forget(datagram)
    for (let fragment = first; fragment !== 0; ) {
      m.at = fragment
      const next = m.link
      // A fragment may itself be in parts.
      while (m.part !== 0) m.at = m.part
      m.part = next
      fragment = next
    }
    m.at = first
    m.total = total
    m.flags = (m.flags | MbufFlag.REASSEMBLED) & ~MbufFlag.HASHED
    mbufs.prepend(first, headerBytes)
    view.setUint16(header + AT.totalLength, total + headerBytes)
    view.setUint16(header + AT.flagsAndOffset, 0)
    view.setUint16(header + AT.checksum, 0)
    view.setUint16(header + AT.checksum, ~ipHeaderSum(u8, header, headerBytes) & 0xffff)
    this.onWhole(first)
  }

  /** The datagram's time is over. */
  expire(datagram: Address): void {
    const d = this.#datagram
    d.at = datagram
    const { first } = d
    this.#m.at = first
    if (first !== 0 && this.#m.hash === 0) this.onTimeout(first)
    this.#drop(datagram, C.droppedTimeout)
  }

  #find(header: Address): Address {
    const { u8, view } = this.#context
    const d = this.#datagram
    const identification = view.getUint16(header + AT.identification)
    const protocol = u8[header + AT.protocol]!
    d.at = this.#context.memory.u32[this.#bucket(header) >> 2]!
    while (d.at !== 0) {
      const same = d.identification === identification && d.protocol === protocol
      if (same && equalAddress(u8, d.addresses, header + AT.source, Family.inet)) {
        if (equalAddress(u8, d.addresses + 4, header + AT.destination, Family.inet)) return d.at
      }
      d.at = d.next
    }
    return 0
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
    const { u8, view, cpu, memory } = this.#context
    const source = view.getInt32(header + AT.source)
    if ((this.#perSource.get(source) ?? 0) >= ReassemblyLimits.datagramsPerSource) {
      this.#drop(this.#oldestOf(source), C.droppedLimit)
    } else if (this.#datagrams >= ReassemblyLimits.datagrams) this.#drop(this.#oldest, C.droppedLimit)
    const datagram = cpu.slab.tryAllocate(DATAGRAM_BYTES)
    if (datagram === 0) return 0
    u8.fill(0, datagram, datagram + DATAGRAM_BYTES)
    const d = this.#datagram
    d.at = datagram
    d.identification = view.getUint16(header + AT.identification)
    d.protocol = u8[header + AT.protocol]!
    u8.copyWithin(d.addresses, header + AT.source, header + AT.source + 8)
    const bucket = this.#bucket(header)
    const next = memory.u32[bucket >> 2]!
    d.next = next
    d.previous = bucket
    memory.u32[bucket >> 2] = datagram
    if (next !== 0) memory.u32[(next + Datagram.offset.previous) >> 2] = datagram
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
    // `next` is the record's first word: the word that points here is a bucket, or another record's first.
    u32[d.previous >> 2] = d.next
    if (d.next !== 0) u32[(d.next + Datagram.offset.previous) >> 2] = d.previous
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
    const { view } = this.#context
    const mixed =
      view.getUint32(header + AT.source) ^
      view.getUint32(header + AT.destination) ^
      view.getUint16(header + AT.identification)
    return this.#buckets + ((Math.imul(mixed, 0x9e3779b1) >>> 26) & (BUCKETS - 1)) * 4
  }
}

const ALL = Symbol('reassembly')
const EXPIRE = define('reassembly.expire', (cpu, host, timer) => {
  const all = cpu.slot(ALL, () => [] as Reassembly[])
  all[host]?.expire(timer - Datagram.offset.timer)
})
