// The fragments of one datagram: a list in the order of their offsets, which becomes the parts of one packet without a copy.
// What lists the datagrams themselves are in, and who may touch them, is the affair of whoever calls (reassembly.ts): here
// nothing is counted, armed or freed. Nothing blocks.
import { assert } from '../../base/assert.ts'
import { type Address, u8 as byte, bytes, i32, struct, u16, u32 } from '../../base/struct.ts'
import { type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import { Timer } from '../../kernel/timer.ts'
import { equalAddress, Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { ReassemblyCounters } from '../counters.ts'
import { IpFragment, IpHeader, ipHeaderSum } from './header.ts'

const C = ReassemblyCounters.index
const AT = IpHeader.offset

/** The least that a first fragment carries of the transport's header (RFC 3128 2.1). */
const FIRST_BYTES = 16

/** A datagram under way. */
export const Datagram = struct({
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

/** Bytes of a slab's object that a record takes. */
export const DATAGRAM_BYTES = 128

export type DatagramCursor = ReturnType<(typeof Datagram)['cursor']>

/** What came of putting a fragment in its place. */
export const Placed = { whole: 0, waiting: 1, duplicate: 2, overlap: 3 } as const
export type Placed = (typeof Placed)[keyof typeof Placed]

/** One CPU's way to lists of fragments. */
export class Fragments {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #datagram: DatagramCursor
  /** Of the packet that was looked at last. */
  #offset = 0
  #length = 0
  #more = false

  constructor(context: NetContext) {
    this.#context = context
    this.#m = context.mbuf()
    this.#datagram = Datagram.cursor(context.memory)
  }

  /**
   * Looks at a fragment whose data begins with an IP header of `headerBytes`: what `place` then puts in its place. Returns -1, or
   * the counter of what is wrong with it.
   */
  look(packet: Address, headerBytes: number): number {
    const { u8 } = this.#context
    const m = this.#m
    m.at = packet
    const header = m.data
    const flagsAndOffset = (u8[header + AT.flagsAndOffset]! << 8) | u8[header + AT.flagsAndOffset + 1]!
    const offset = (flagsAndOffset & IpFragment.offsetMask) * 8
    const more = (flagsAndOffset & IpFragment.moreFragments) !== 0
    const length = m.total - headerBytes
    this.#offset = offset
    this.#more = more
    this.#length = length
    // A fragment in the middle is a multiple of 8 long; none is empty, none ends beyond what a datagram can be.
    if (length === 0 || (more && length % 8 !== 0) || offset + length + headerBytes > 65535) return C.droppedLayout
    if (offset === 0 && more && length < FIRST_BYTES) return C.droppedTiny
    return -1
  }

  /**
   * Puts the packet that was looked at in its place among those of a datagram. After a duplicate the packet is still the
   * caller's, and after an overlap the datagram is to be dropped as well (RFC 5722).
   */
  place(datagram: Address, packet: Address, headerBytes: number): Placed {
    const m = this.#m
    m.at = packet
    // From here on the packet's data is the fragment's; its offset stands where the flow hash stood.
    const header = m.data
    this.#context.mbufs.trimFront(packet, headerBytes)
    m.at = packet
    m.network = header
    m.hash = this.#offset
    m.link = 0
    return this.#insert(datagram, packet)
  }

  #insert(datagram: Address, packet: Address): Placed {
    const d = this.#datagram
    const m = this.#m
    const offset = this.#offset
    const length = this.#length
    const more = this.#more
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
      if (m.hash === offset && m.total === length) return Placed.duplicate
      if (m.hash < end) return Placed.overlap
    }
    if (previous !== 0) {
      m.at = previous
      if (m.hash + m.total > offset) return Placed.overlap
    }
    // A second end elsewhere, or data behind the end, is no honest datagram.
    const endsElsewhere = d.ended === 1 && (end > d.total || (!more && end !== d.total))
    if (endsElsewhere || (!more && end < d.highest)) return Placed.overlap
    if (!more) {
      d.ended = 1
      d.total = end
    }
    if (end > d.highest) d.highest = end
    d.received += length
    d.fragments++
    m.at = packet
    m.link = next
    if (previous === 0) d.first = packet
    else {
      m.at = previous
      m.link = packet
    }
    return d.ended === 1 && d.received === d.total ? Placed.whole : Placed.waiting
  }

  /** Whether the datagram, with the header of its first fragment, is no longer than one can be. */
  fits(datagram: Address): boolean {
    const d = this.#datagram
    d.at = datagram
    this.#m.at = d.first
    // Each fragment's own header left room for its data; that of the first may be longer.
    return this.#m.data - this.#m.network + d.total <= 65535
  }

  /**
   * All is there: the fragments, from `first` on, become the parts of one packet of `total` bytes behind the first one's IP header.
   * The datagram's record is no longer looked at. Returns the packet.
   */
  join(first: Address, total: number): Address {
    const { view, u8, mbufs } = this.#context
    const m = this.#m
    m.at = first
    const header = m.network
    const headerBytes = m.data - header
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
    return first
  }

  /** The datagram of the fragment with this IP header, in the chain whose first is in the word at `bucket`; or 0. */
  find(bucket: Address, header: Address): Address {
    const { u8, view } = this.#context
    const d = this.#datagram
    const identification = view.getUint16(header + AT.identification)
    const protocol = u8[header + AT.protocol]!
    d.at = this.#context.memory.u32[bucket >> 2]!
    while (d.at !== 0) {
      const same = d.identification === identification && d.protocol === protocol
      if (same && equalAddress(u8, d.addresses, header + AT.source, Family.inet)) {
        if (equalAddress(u8, d.addresses + 4, header + AT.destination, Family.inet)) return d.at
      }
      d.at = d.next
    }
    return 0
  }

  /** Makes an object the record of the datagram of the fragment with this IP header, and the first of its chain. */
  begin(datagram: Address, bucket: Address, header: Address): void {
    const { u8, view, memory } = this.#context
    u8.fill(0, datagram, datagram + DATAGRAM_BYTES)
    const d = this.#datagram
    d.at = datagram
    d.identification = view.getUint16(header + AT.identification)
    d.protocol = u8[header + AT.protocol]!
    u8.copyWithin(d.addresses, header + AT.source, header + AT.source + 8)
    const next = memory.u32[bucket >> 2]!
    d.next = next
    d.previous = bucket
    memory.u32[bucket >> 2] = datagram
    if (next !== 0) memory.u32[(next + Datagram.offset.previous) >> 2] = datagram
  }

  /** Takes a record out of its chain. */
  unchain(datagram: Address): void {
    const { u32 } = this.#context.memory
    const d = this.#datagram
    d.at = datagram
    // `next` is the record's first word: the word that points here is a bucket, or another record's first.
    u32[d.previous >> 2] = d.next
    if (d.next !== 0) u32[(d.next + Datagram.offset.previous) >> 2] = d.previous
  }
}

/** The bucket of 2^`bits` that the fragment with this IP header is looked for in: its number. */
export function bucketOf(view: DataView, header: Address, bits: number): number {
  const mixed =
    view.getUint32(header + AT.source) ^
    view.getUint32(header + AT.destination) ^
    view.getUint16(header + AT.identification)
  return Math.imul(mixed, 0x9e3779b1) >>> (32 - bits)
}
