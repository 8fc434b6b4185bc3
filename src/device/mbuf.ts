// A packet in the machine's memory. Its header embeds a message, so that handing it from CPU to CPU allocates nothing;
// behind the header lies the storage, with headroom for the protocol headers that are still to be put in front.
//
//   | message 48 | mbuf 80 | headroom 96 | data ...            | 2048 bytes in all
//                             ^ data       length bytes
//
// A packet longer than one mbuf is a chain through `part`; `total` in its first mbuf is the length of all parts.
//
// Storage comes in other sizes too (`storage` says how much), and there are mbufs without any: references, whose data are
// bytes that somebody else owns, as TCP's send buffer owns what is sent until it is acknowledged. A packet with references
// is good until the flush of the turn it was made in. Whoever keeps one longer, or gives it away, calls `detach` first.
import { assert } from '../base/assert.ts'
import { type Address, bytes, f64, u8, u16, u32 } from '../base/struct.ts'
import { counterSet, type TallyOf, tallyOf } from '../kernel/counters.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { MessageFlag, MessageHeader, message, onFree } from '../kernel/message.ts'
import { FREE_PORT, type PortId } from '../kernel/port.ts'
import { SLAB_SIZES } from '../kernel/slab.ts'
import type { Entry, Marks, Tracer } from '../kernel/trace/tracer.ts'

export const Mbuf = message('mbuf', {
  data: u32, //         48  address of the first byte
  length: u32, //       52  bytes in this part
  total: u32, //        56  bytes in all parts; in the first part only
  part: u32, //         60  the next part, or 0
  hash: u32, //         64  flow hash, valid with HASHED
  flags: u16, //        68  MbufFlag
  interfaceIndex: u16, // 70  where it came from
  network: u32, //      72  address of the IP header
  storage: u16, //      76  bytes of storage behind this header, in units of 64; 0: a reference
  segmentBytes: u16, // 78  payload of each segment of a super-segment, valid with SEGMENTED
  source: u32, //       80  address of the source address's bytes
  target: u32, //       84
  arrivedAt: f64, //    88  µs
  sourcePort: u16, //   96
  targetPort: u16, //   98
  family: u8, //       100  4 or 6
  protocol: u8, //     101
  ttl: u8, //          102
  trafficClass: u8, // 103
  socket: u32, //      104  the PCB that it goes to
  link: u32, //        108  next in a queue that is no port
  nextHop: bytes(16), // 112  on the way to another CPU's queue of a device
})
assert(Mbuf.size === 128, 'an mbuf header is two cache lines')

export const MbufFlag = {
  /** `hash` is the flow hash. */
  HASHED: 1 << 0,
  /** It came as a broadcast or multicast of the link. */
  LINK_BROADCAST: 1 << 1,
  /** Somebody who can be trusted has checked the checksums: the sender is this machine, or the device has. */
  CHECKED: 1 << 2,
  /** It never left this host. */
  LOOPBACK: 1 << 3,
  /** Put together out of fragments. */
  REASSEMBLED: 1 << 4,
  /**
   * A TCP super-segment: one header, and payload for several segments of `segmentBytes` each, the last one of the rest. Only a
   * device that offloads segmentation takes one that is longer than its MTU.
   */
  SEGMENTED: 1 << 5,
  /**
   * The field of the transport's checksum holds no more than the sum of the pseudo header, folded and not complemented: the
   * device finishes it, or whoever receives it needs none. Only for a device that offloads checksums.
   */
  PARTIAL_CHECKSUM: 1 << 6,
  /** To a broadcast address or a group: in a queue between IP and a transport. */
  TO_MANY: 1 << 7,
  /** Its trace says already that it came here: see arrival.ts. */
  ARRIVED: 1 << 8,
} as const

export const MBUF_BYTES = 2048
/** Room in front of the data for headers: Ethernet 14, IP up to 60, and a device's own. */
export const HEADROOM = 96
/** Bytes that an mbuf takes with all of its headroom in front. */
export const MBUF_ROOM = MBUF_BYTES - Mbuf.size - HEADROOM

/** Bytes of an mbuf for headers alone: 128 of them are storage, for Ethernet 14, IP 20 and TCP 60, or a little more. */
const HEADER_MBUF_BYTES = 256
/** The largest mbuf, and what it holds: a frame of 64 KiB, and 16 KiB for which the slab has no better size. */
const CLUSTER_MBUF_BYTES = SLAB_SIZES[SLAB_SIZES.length - 1]!
export const CLUSTER_BYTES_MAX = CLUSTER_MBUF_BYTES - Mbuf.size
const SMALLEST_CLUSTER = SLAB_SIZES.findIndex((size) => size > Mbuf.size)
/** Of `storage`. */
const UNIT = 64
const UNIT_SHIFT = 6
assert(
  SLAB_SIZES.every((size) => size % UNIT === 0) && CLUSTER_MBUF_BYTES >> UNIT_SHIFT <= 0xffff,
  'the size of every object is a number of units of storage',
)

export const MbufCounters = counterSet('mbuf', [
  'allocated',
  'freed',
  'exhausted',
  'copies',
  'copiedBytes',
  /** Packets that had references and were made to own their bytes, and bytes that were copied for it. */
  'detached',
  'detachedBytes',
] as const)
const C = MbufCounters.index
const MbufTally = tallyOf(MbufCounters, ['allocated', 'freed'])
const { DONE, TRACED, LEFT_OUT } = MessageFlag
const HEADER = Mbuf.size
const DATA = Mbuf.offset.data >> 2
const LENGTH = Mbuf.offset.length >> 2
const TOTAL = Mbuf.offset.total >> 2
const PART = Mbuf.offset.part >> 2
const FLAGS = Mbuf.offset.flags >> 1
/** As a word, with `segmentBytes` in its upper half, which is cleared by the same store. */
const STORAGE = Mbuf.offset.storage >> 2
const STORAGE_MASK = 0xffff
const SEGMENT_BYTES = Mbuf.offset.segmentBytes >> 1
const HASH = Mbuf.offset.hash >> 2
const NETWORK = Mbuf.offset.network >> 2
const SOURCE = Mbuf.offset.source >> 2
const TARGET = Mbuf.offset.target >> 2
const QUEUED_AT = MessageHeader.offset.queuedAt >> 3
const TRACE = MessageHeader.offset.trace >> 2
const TYPE = Mbuf.type

/** One CPU's way to mbufs. `Mbufs.of(cpu)` is the one of the CPU. */
export class Mbufs {
  readonly #cpu: Cpu
  readonly #tracer: Tracer
  /** See `Tracer.watch`. */
  #traceMarks: Marks = 0
  readonly #u32: Uint32Array
  readonly #i32: Int32Array
  readonly #u16: Uint16Array
  readonly #count: Float64Array
  readonly #tally: TallyOf<typeof MbufTally>

  private constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#tracer = cpu.tracer
    this.#tracer.watch((marks) => {
      this.#traceMarks = marks
    })
    this.#u32 = cpu.memory.u32
    this.#i32 = cpu.memory.i32
    this.#u16 = cpu.memory.u16
    this.#count = cpu.counterPage.open(MbufCounters)
    this.#tally = cpu.counterPage.tally(MbufTally)
  }

  static of(cpu: Cpu): Mbufs {
    return cpu.slot(SLOT, () => new Mbufs(cpu))
  }

  /** An empty mbuf with `headroom` bytes in front of its data, or 0 when memory is used up: a counted drop for the caller. */
  allocate(headroom = HEADROOM): Address {
    const m = this.#make(MBUF_BYTES)
    if (m !== 0) this.#u32[(m >> 2) + DATA] = m + HEADER + headroom
    return m
  }

  /** An empty mbuf of 256 bytes for headers alone, to be put in front of its end by `prepend`; or 0. */
  allocateHeader(): Address {
    const m = this.#make(HEADER_MBUF_BYTES)
    if (m !== 0) this.#u32[(m >> 2) + DATA] = m + HEADER_MBUF_BYTES
    return m
  }

  /**
   * An empty mbuf of the smallest size with room for `headroom` bytes and `bytes` behind them, CLUSTER_BYTES_MAX together at
   * most; or 0.
   */
  allocateCluster(bytes: number, headroom = 0): Address {
    const size = HEADER + headroom + bytes
    assert(size <= CLUSTER_MBUF_BYTES, 'a cluster has no more bytes than the largest object')
    // A header's size alone would be a reference's.
    let index = SMALLEST_CLUSTER
    while (SLAB_SIZES[index]! < size) index++
    const m = this.#make(SLAB_SIZES[index]!)
    if (m !== 0) this.#u32[(m >> 2) + DATA] = m + HEADER + headroom
    return m
  }

  /**
   * An mbuf whose data are `length` bytes at `address`, which somebody else owns and keeps as they are until the packet is
   * flushed or detached; or 0. Nothing can be put in front of them or behind.
   */
  reference(address: Address, length: number): Address {
    const m = this.#make(HEADER)
    if (m === 0) return 0
    const w = m >> 2
    this.#u32[w + DATA] = address
    this.#u32[w + LENGTH] = length
    this.#u32[w + TOTAL] = length
    return m
  }

  /**
   * Links `part`, and what is linked to it, behind the packet's parts, and counts its bytes in `total`. Returns the
   * packet's last part then: given as `last` with the next one, it spares the walk there.
   */
  append(packet: Address, part: Address, last: Address = packet): Address {
    const words = this.#u32
    words[(this.#lastOf(last) >> 2) + PART] = part
    let added = 0
    for (let m = part; m !== 0; m = words[(m >> 2) + PART]!) added += words[(m >> 2) + LENGTH]!
    words[(packet >> 2) + TOTAL]! += added
    return this.#lastOf(part)
  }

  /** Whether the data of this part belong to somebody else. */
  isReference(m: Address): boolean {
    return (this.#u32[(m >> 2) + STORAGE]! & STORAGE_MASK) === 0
  }

  /** Whether some part's data belong to somebody else. */
  hasReferences(packet: Address): boolean {
    for (let m = packet; m !== 0; m = this.#u32[(m >> 2) + PART]!) if (this.isReference(m)) return true
    return false
  }

  /**
   * The packet, made to own all of its bytes, so that it can be kept beyond the turn's flush, or given to another CPU or
   * owner: parts that are references are replaced by copies. What fits into one ordinary mbuf becomes one, so that whoever
   * receives it finds header and payload in one piece; it is then another mbuf than before, with the same notes. 0 when
   * there is no memory: the packet was freed, and the caller counts the drop. Looks at each part, and at no flag.
   */
  detach(packet: Address): Address {
    const w = packet >> 2
    // Most packets are one ordinary mbuf.
    if (this.#u32[w + PART] === 0 && (this.#u32[w + STORAGE]! & STORAGE_MASK) !== 0) return packet
    if (!this.hasReferences(packet)) return packet
    const total = this.#u32[(packet >> 2) + TOTAL]!
    const detached = total <= MBUF_ROOM ? this.#inOne(packet, total) : this.#inClusters(packet)
    if (detached !== 0) this.#count[C.detached]!++
    return detached
  }

  /** What a packet takes of the machine's memory: headers and storage of all parts. */
  memoryBytes(packet: Address): number {
    let bytes = 0
    for (let m = packet; m !== 0; m = this.#u32[(m >> 2) + PART]!) bytes += HEADER + this.#storageBytes(m)
    return bytes
  }

  /** Frees a packet with all of its parts. */
  free(packet: Address): void {
    for (let m = packet; m !== 0; ) {
      const part = this.#u32[(m >> 2) + PART]!
      this.#cpu.slab.free(m)
      this.#tally.freed++
      m = part
    }
  }

  /**
   * Sends a packet as a message: whoever serves `port` owns it then, and its bytes. False: it had references, there was no memory, and it is gone.
   * `entry`: the function that a program has called, for whoever wants to know who it was.
   */
  handOff(port: PortId, packet: Address, entry?: Entry): boolean {
    const own = this.detach(packet)
    if (own === 0) return false
    const traced = this.#traceMarks === 0 ? 0 : this.#i32[own >> 2]! & (TRACED | LEFT_OUT)
    this.#i32[own >> 2] = DONE | traced
    // One that has gone no way yet, as a program's, is the send's to note.
    if (traced !== 0 && ((this.#traceMarks | traced) & TRACED) !== 0) this.#sendTraced(port, own, entry)
    else this.#cpu.ports.sendFor(port, own, entry)
    return true
  }

  /** Of what a packet leads to it is the cause, whatever runs now. */
  #sendTraced(port: PortId, packet: Address, entry: Entry | undefined): void {
    const { tracer, ports } = this.#cpu
    const { current } = tracer
    if (tracer.of(packet) !== 0) tracer.enter(packet)
    ports.sendFor(port, packet, entry)
    tracer.current = current
  }

  /** Bytes that can still be put in front of the data. */
  headroom(m: Address): number {
    return this.isReference(m) ? 0 : this.#u32[(m >> 2) + DATA]! - m - HEADER
  }

  /** Bytes that can still be put behind the data. */
  tailroom(m: Address): number {
    if (this.isReference(m)) return 0
    return m + HEADER + this.#storageBytes(m) - this.#u32[(m >> 2) + DATA]! - this.#u32[(m >> 2) + LENGTH]!
  }

  /** Puts `count` bytes in front of the data and returns their address: the first byte of the packet now. */
  prepend(m: Address, count: number): Address {
    const w = m >> 2
    assert(this.headroom(m) >= count, 'an mbuf has headroom for the headers put in front')
    this.#u32[w + DATA]! -= count
    this.#u32[w + LENGTH]! += count
    this.#u32[w + TOTAL]! += count
    return this.#u32[w + DATA]!
  }

  /** Makes room for `count` bytes behind the data of a packet of one part, and returns where they begin. */
  extend(m: Address, count: number): Address {
    const w = m >> 2
    assert(this.tailroom(m) >= count, 'an mbuf has room for what is put behind its data')
    const end = this.#u32[w + DATA]! + this.#u32[w + LENGTH]!
    this.#u32[w + LENGTH]! += count
    this.#u32[w + TOTAL]! += count
    return end
  }

  /** Takes `count` bytes from the front of the first part. */
  trimFront(m: Address, count: number): void {
    const w = m >> 2
    assert(this.#u32[w + LENGTH]! >= count, 'what is taken from the front lies in the first part')
    this.#u32[w + DATA]! += count
    this.#u32[w + LENGTH]! -= count
    this.#u32[w + TOTAL]! -= count
  }

  /** Cuts a packet to `total` bytes, from its end; parts that become empty are freed. */
  trimTo(packet: Address, total: number): void {
    assert(total <= this.#u32[(packet >> 2) + TOTAL]!, 'a packet is cut, not made longer')
    let left = total
    let m = packet
    while (left > this.#u32[(m >> 2) + LENGTH]!) {
      left -= this.#u32[(m >> 2) + LENGTH]!
      m = this.#u32[(m >> 2) + PART]!
    }
    this.#u32[(m >> 2) + LENGTH] = left
    const rest = this.#u32[(m >> 2) + PART]!
    this.#u32[(m >> 2) + PART] = 0
    if (rest !== 0) this.free(rest)
    this.#u32[(packet >> 2) + TOTAL] = total
  }

  /**
   * A packet with a copy of `length` bytes from memory at `source`, in as many parts as it takes; 0 when there are not enough mbufs.
   */
  copyIn(source: Address, length: number, headroom = HEADROOM): Address {
    const { routines } = this.#cpu.memory
    const first = this.#chain(length, headroom)
    let from = source
    for (let m = first; m !== 0; m = this.#u32[(m >> 2) + PART]!) {
      const count = this.#u32[(m >> 2) + LENGTH]!
      routines.copy(this.#u32[(m >> 2) + DATA]!, from, count)
      from += count
    }
    if (first !== 0) this.#copied(length)
    return first
  }

  /** As `copyIn`, of bytes outside of the machine's memory. */
  copyFrom(bytes: Uint8Array, headroom = HEADROOM): Address {
    const first = this.#chain(bytes.length, headroom)
    let from = 0
    for (let m = first; m !== 0; m = this.#u32[(m >> 2) + PART]!) {
      const count = this.#u32[(m >> 2) + LENGTH]!
      this.#cpu.memory.transfer.toMachine(bytes, from, count, this.#u32[(m >> 2) + DATA]!)
      from += count
    }
    if (first !== 0) this.#copied(bytes.length)
    return first
  }

  /** Copies `length` bytes of a packet, from `offset` on, to memory at `target`. */
  copyOut(packet: Address, offset: number, length: number, target: Address): void {
    const { routines } = this.#cpu.memory
    let m = packet
    let skip = offset
    let left = length
    let to = target
    while (left > 0) {
      assert(m !== 0, 'what is copied out lies within the packet')
      const here = this.#u32[(m >> 2) + LENGTH]!
      if (skip < here) {
        const count = Math.min(left, here - skip)
        routines.copy(to, this.#u32[(m >> 2) + DATA]! + skip, count)
        to += count
        left -= count
        skip = 0
      } else skip -= here
      m = this.#u32[(m >> 2) + PART]!
    }
    this.#copied(length)
  }

  /** A packet with a copy of part of another: what a fragment carries. */
  copySlice(packet: Address, offset: number, length: number, headroom = HEADROOM): Address {
    const first = this.#chain(length, headroom)
    if (first !== 0) this.#noteTrace(packet, first)
    let at = offset
    for (let m = first; m !== 0; m = this.#u32[(m >> 2) + PART]!) {
      const count = this.#u32[(m >> 2) + LENGTH]!
      this.copyOut(packet, at, count, this.#u32[(m >> 2) + DATA]!)
      at += count
    }
    return first
  }

  /** The packet's bytes, copied out of the machine's memory. For tests and for programs that want to keep them. */
  bytes(packet: Address): Uint8Array {
    const copy = new Uint8Array(this.#u32[(packet >> 2) + TOTAL]!)
    let at = 0
    for (let m = packet; m !== 0; m = this.#u32[(m >> 2) + PART]!) {
      const data = this.#u32[(m >> 2) + DATA]!
      const length = this.#u32[(m >> 2) + LENGTH]!
      copy.set(this.#cpu.memory.u8.subarray(data, data + length), at)
      at += length
    }
    return copy
  }

  /** Empty mbufs with room for `length` bytes, their lengths set. Only the first needs headroom for headers, all have it. */
  #chain(length: number, headroom: number): Address {
    const first = this.allocate(headroom)
    if (first === 0) return 0
    const room = MBUF_BYTES - HEADER - headroom
    this.#u32[(first >> 2) + TOTAL] = length
    this.#u32[(first >> 2) + LENGTH] = Math.min(length, room)
    let last = first
    for (let left = length - room; left > 0; left -= room) {
      const m = this.allocate(headroom)
      if (m === 0) {
        this.free(first)
        return 0
      }
      this.#u32[(m >> 2) + LENGTH] = Math.min(left, room)
      this.#u32[(last >> 2) + PART] = m
      last = m
    }
    return first
  }

  /** An empty mbuf in an object of so many bytes, or 0. Where its data begin the caller says. */
  #make(objectBytes: number): Address {
    const m = this.#cpu.slab.tryAllocate(objectBytes)
    if (m === 0) {
      this.#count[C.exhausted]!++
      return 0
    }
    const w = m >> 2
    const words = this.#u32
    words[w] = DONE
    words[w + 3] = FREE_PORT
    words[w + 4] = TYPE
    words[w + 5] = 0
    words[w + 10] = 0
    words[w + 11] = 0
    words[w + LENGTH] = 0
    words[w + TOTAL] = 0
    words[w + PART] = 0
    words[w + STORAGE] = (objectBytes - HEADER) >> UNIT_SHIFT
    this.#u16[(m >> 1) + FLAGS] = 0
    this.#tally.allocated++
    return m
  }

  #storageBytes(m: Address): number {
    return (this.#u32[(m >> 2) + STORAGE]! & STORAGE_MASK) << UNIT_SHIFT
  }

  /** The packet as one ordinary mbuf. */
  #inOne(packet: Address, total: number): Address {
    const words = this.#u32
    const own = this.allocate()
    if (own !== 0) {
      words[(own >> 2) + LENGTH] = total
      words[(own >> 2) + TOTAL] = total
      this.copyOut(packet, 0, total, words[(own >> 2) + DATA]!)
      this.#count[C.detachedBytes]! += total
      this.#note(packet, own)
    }
    this.free(packet)
    return own
  }

  /** The packet with a cluster, or as many as it takes, for each run of references; other parts stay. */
  #inClusters(packet: Address): Address {
    const words = this.#u32
    let first = 0
    let last = 0
    for (let m = packet; m !== 0; ) {
      let own = m
      let next = words[(m >> 2) + PART]!
      if (this.isReference(m)) {
        next = this.#endOfRun(m)
        own = this.#copyRun(m, next, first === 0 ? HEADROOM : 0)
        if (own === 0) {
          if (first !== 0) this.free(first)
          this.free(m)
          return 0
        }
        if (first === 0) this.#note(packet, own)
        this.#freeRun(m, next)
      } else words[(m >> 2) + PART] = 0
      if (first === 0) first = own
      else words[(last >> 2) + PART] = own
      last = this.#lastOf(own)
      m = next
    }
    return first
  }

  #lastOf(m: Address): Address {
    let last = m
    while (this.#u32[(last >> 2) + PART] !== 0) last = this.#u32[(last >> 2) + PART]!
    return last
  }

  /** The first part from `m` on that is no reference. */
  #endOfRun(m: Address): Address {
    let end = m
    while (end !== 0 && this.isReference(end)) end = this.#u32[(end >> 2) + PART]!
    return end
  }

  /** Parts with a copy of the data of those from `m` up to `end`; or 0, and then nothing has changed. */
  #copyRun(m: Address, end: Address, headroom: number): Address {
    const words = this.#u32
    let bytes = 0
    for (let part = m; part !== end; part = words[(part >> 2) + PART]!) bytes += words[(part >> 2) + LENGTH]!
    let first = 0
    let last = 0
    // One at least: an empty packet is one as well.
    for (let offset = 0; offset < bytes || first === 0; ) {
      const room = first === 0 ? headroom : 0
      const count = Math.min(bytes - offset, CLUSTER_BYTES_MAX - room)
      const part = this.allocateCluster(count, room)
      if (part === 0) {
        if (first !== 0) this.free(first)
        return 0
      }
      words[(part >> 2) + LENGTH] = count
      this.copyOut(m, offset, count, words[(part >> 2) + DATA]!)
      if (first === 0) first = part
      else words[(last >> 2) + PART] = part
      last = part
      offset += count
    }
    this.#count[C.detachedBytes]! += bytes
    return first
  }

  #freeRun(m: Address, end: Address): void {
    for (let part = m; part !== end; ) {
      const next = this.#u32[(part >> 2) + PART]!
      this.#u32[(part >> 2) + PART] = 0
      this.free(part)
      part = next
    }
  }

  /** Carries over what is noted of a packet, to the mbuf that becomes its first. */
  #note(from: Address, to: Address): void {
    const words = this.#u32
    const f = from >> 2
    const t = to >> 2
    const storage = words[t + STORAGE]! & STORAGE_MASK
    words[t + TOTAL] = words[f + TOTAL]!
    this.#noteTrace(from, to)
    this.#cpu.memory.f64[(to >> 3) + QUEUED_AT] = this.#cpu.memory.f64[(from >> 3) + QUEUED_AT]!
    for (let i = HASH; i < HEADER >> 2; i++) words[t + i] = words[f + i]!
    words[t + STORAGE] = storage | (this.#u16[(from >> 1) + SEGMENT_BYTES]! << 16)
    // These point into the packet, or to where somebody keeps an address; those stay.
    for (const pointer of POINTERS) {
      const offset = words[f + pointer]! - words[f + DATA]!
      if (offset >= 0 && offset < words[f + LENGTH]!) words[t + pointer] = words[t + DATA]! + offset
    }
  }

  #noteTrace(from: Address, to: Address): void {
    const words = this.#u32
    words[to >> 2]! |= words[from >> 2]! & (TRACED | LEFT_OUT)
    words[(to >> 2) + TRACE] = words[(from >> 2) + TRACE]!
  }

  #copied(length: number): void {
    this.#count[C.copies]!++
    this.#count[C.copiedBytes]! += length
  }
}

// A packet that was handed to a closed port goes home with all of its parts.
onFree(Mbuf.type, (cpu, packet) => Mbufs.of(cpu).free(packet))

/** Words of the header that may point into the packet. */
const POINTERS = [NETWORK, SOURCE, TARGET]
const SLOT = Symbol('mbufs')

/** The type of a cursor over an mbuf's header. */
export type MbufCursor = ReturnType<(typeof Mbuf)['cursor']>
