// A packet in the machine's memory. Its header embeds a message, so that handing it from CPU to CPU allocates nothing;
// behind the header lies the storage, with headroom for the protocol headers that are still to be put in front.
//
//   | message 48 | mbuf 80 | headroom 96 | data ...            | 2048 bytes in all
//                             ^ data       length bytes
//
// A packet longer than one mbuf is a chain through `part`; `total` in its first mbuf is the length of all parts.
import { assert } from '../base/assert.ts'
import { type Address, bytes, f64, u8, u16, u32 } from '../base/struct.ts'
import { counterSet } from '../kernel/counters.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { MessageFlag, message, onFree } from '../kernel/message.ts'
import { FREE_PORT, type PortId } from '../kernel/port.ts'

export const Mbuf = message('mbuf', {
  data: u32, //         48  address of the first byte
  length: u32, //       52  bytes in this part
  total: u32, //        56  bytes in all parts; in the first part only
  part: u32, //         60  the next part, or 0
  hash: u32, //         64  flow hash, valid with HASHED
  flags: u16, //        68  MbufFlag
  interfaceIndex: u16, // 70  where it came from
  network: u32, //      72  address of the IP header
  padding: u32, //      76
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
} as const

export const MBUF_BYTES = 2048
/** Room in front of the data for headers: Ethernet 14, IP up to 60, and a device's own. */
export const HEADROOM = 96
/** Bytes that an mbuf takes with all of its headroom in front. */
export const MBUF_ROOM = MBUF_BYTES - Mbuf.size - HEADROOM

export const MbufCounters = counterSet('mbuf', ['allocated', 'freed', 'exhausted', 'copies', 'copiedBytes'] as const)
const C = MbufCounters.index
const ALLOCATED = C.allocated
const FREED = C.freed
const DONE = MessageFlag.DONE
const HEADER = Mbuf.size
const DATA = Mbuf.offset.data >> 2
const LENGTH = Mbuf.offset.length >> 2
const TOTAL = Mbuf.offset.total >> 2
const PART = Mbuf.offset.part >> 2
const FLAGS = Mbuf.offset.flags >> 1
const TYPE = Mbuf.type

/** One CPU's way to mbufs. `Mbufs.of(cpu)` is the one of the CPU. */
export class Mbufs {
  readonly #cpu: Cpu
  readonly #u32: Uint32Array
  readonly #i32: Int32Array
  readonly #u16: Uint16Array
  readonly #count: Float64Array

  private constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#u32 = cpu.memory.u32
    this.#i32 = cpu.memory.i32
    this.#u16 = cpu.memory.u16
    this.#count = cpu.counterPage.open(MbufCounters)
  }

  static of(cpu: Cpu): Mbufs {
    return cpu.slot(SLOT, () => new Mbufs(cpu))
  }

  /** An empty mbuf with `headroom` bytes in front of its data, or 0 when memory is used up: a counted drop for the caller. */
  allocate(headroom = HEADROOM): Address {
    const m = this.#cpu.slab.tryAllocate(MBUF_BYTES)
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
    words[w + DATA] = m + HEADER + headroom
    words[w + LENGTH] = 0
    words[w + TOTAL] = 0
    words[w + PART] = 0
    this.#u16[(m >> 1) + FLAGS] = 0
    this.#count[ALLOCATED]!++
    return m
  }

  /** Frees a packet with all of its parts. */
  free(packet: Address): void {
    for (let m = packet; m !== 0; ) {
      const part = this.#u32[(m >> 2) + PART]!
      this.#cpu.slab.free(m)
      this.#count[FREED]!++
      m = part
    }
  }

  /** Sends a packet as a message: whoever serves `port` owns it then. */
  handOff(port: PortId, packet: Address): void {
    this.#i32[packet >> 2] = DONE
    this.#cpu.ports.send(port, packet)
  }

  /** Bytes that can still be put in front of the data. */
  headroom(m: Address): number {
    return this.#u32[(m >> 2) + DATA]! - m - HEADER
  }

  /** Bytes that can still be put behind the data. */
  tailroom(m: Address): number {
    return m + MBUF_BYTES - this.#u32[(m >> 2) + DATA]! - this.#u32[(m >> 2) + LENGTH]!
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
      this.#cpu.memory.u8.set(bytes.subarray(from, from + count), this.#u32[(m >> 2) + DATA]!)
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

  #copied(length: number): void {
    this.#count[C.copies]!++
    this.#count[C.copiedBytes]! += length
  }
}

// A packet that was handed to a closed port goes home with all of its parts.
onFree(Mbuf.type, (cpu, packet) => Mbufs.of(cpu).free(packet))

const SLOT = Symbol('mbufs')

/** The type of a cursor over an mbuf's header. */
export type MbufCursor = ReturnType<(typeof Mbuf)['cursor']>
