// What goes from one local socket to another: a packet of the machine's memory (device/mbuf.ts), whose data are the program's bytes and
// nothing else. Who it is for stands in the fields of its header that the network would use; what was sent along (ancillary.ts) is
// an mbuf of its own, which belongs to the packet.
//
//   socket            the target's id               source             the sender's id
//   network           the ancillary data, or 0      sourcePort         the sender's CPU
//   target            rank of its rights            targetPort         PacketFlag
//   hash              the sender's lane             interfaceIndex     how many rights
import { assert } from '../../base/assert.ts'
import type { Address } from '../../base/struct.ts'
import { CLUSTER_BYTES_MAX, Mbuf, Mbufs } from '../../device/mbuf.ts'
import type { Cpu } from '../../kernel/cpu.ts'

const M = Mbuf.offset
const DATA = M.data >> 2
const LENGTH = M.length >> 2
const TOTAL = M.total >> 2
const PART = M.part >> 2
const LINK = M.link >> 2
const SOCKET = M.socket >> 2
const SOURCE = M.source >> 2
const ANCILLARY = M.network >> 2
const RANK = M.target >> 2
const LANE = M.hash >> 2
const SOURCE_CPU = M.sourcePort >> 1
const KIND = M.targetPort >> 1
const RIGHTS = M.interfaceIndex >> 1

export const PacketFlag = {
  /** Its bytes are a letter (message.ts), and for the CPU. */
  LETTER: 1 << 0,
  /** It was received on another CPU, and comes with its socket. */
  MOVED: 1 << 1,
  /** The last of its lane's grant. */
  LAST: 1 << 2,
  /** Some of its rights were lost. */
  LOST_RIGHTS: 1 << 3,
} as const

/** The largest part: what an object of 64 KiB of the slab holds. */
export const PART_BYTES_MAX = Math.min(65536 - Mbuf.size, CLUSTER_BYTES_MAX)
/** Pieces of a stream that are smaller than this are copied together: who writes byte by byte does not fill the receiver's queue. */
const MERGE_BYTES_MAX = 256
const ROOM_BYTES = 512 - Mbuf.size

/** One CPU's way to such packets. */
export class Packets {
  readonly mbufs: Mbufs
  readonly words: Uint32Array
  readonly #halves: Uint16Array
  readonly #cpu: Cpu

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.mbufs = Mbufs.of(cpu)
    this.words = cpu.memory.u32
    this.#halves = cpu.memory.u16
  }

  /** A packet with a copy of `count` of the program's bytes, in as many parts as it takes; or 0, where there is no memory. */
  pack(bytes: Uint8Array, from: number, count: number): Address {
    let packet = 0
    let last = 0
    let done = 0
    do {
      const here = Math.min(count - done, PART_BYTES_MAX)
      const part = this.#part(bytes, from + done, here)
      if (part === 0) {
        if (packet !== 0) this.mbufs.free(packet)
        return 0
      }
      if (packet === 0) packet = part
      else this.words[(last >> 2) + PART] = part
      last = part
      done += here
    } while (done < count)
    this.words[(packet >> 2) + TOTAL] = count
    return packet
  }

  #part(bytes: Uint8Array, from: number, count: number): Address {
    // A small one has room for those behind it.
    const part = this.mbufs.allocateCluster(Math.max(count, ROOM_BYTES))
    if (part === 0) return 0
    const w = part >> 2
    assert(this.mbufs.tailroom(part) >= count, 'a part has room for its bytes')
    if (count > 0) this.#cpu.memory.transfer.toMachine(bytes, from, count, this.words[w + DATA]!)
    for (const field of [SOCKET, SOURCE, ANCILLARY, RANK, LANE, LINK]) this.words[w + field] = 0
    this.words[w + LENGTH] = count
    this.#halves[(part >> 1) + KIND] = 0
    this.#halves[(part >> 1) + RIGHTS] = 0
    this.#halves[(part >> 1) + SOURCE_CPU] = this.#cpu.index
    return part
  }

  free(packet: Address): void {
    const ancillary = this.words[(packet >> 2) + ANCILLARY]!
    if (ancillary !== 0) this.mbufs.free(ancillary)
    this.mbufs.free(packet)
  }

  /** Bytes of its data that are left. */
  total(packet: Address): number {
    return this.words[(packet >> 2) + TOTAL]!
  }

  /** What it takes of its receiver's buffer: its data, and what was sent along. */
  charge(packet: Address): number {
    return this.total(packet) + this.ancillaryBytes(packet)
  }

  ancillaryBytes(packet: Address): number {
    const ancillary = this.words[(packet >> 2) + ANCILLARY]!
    return ancillary === 0 ? 0 : this.words[(ancillary >> 2) + LENGTH]!
  }

  ancillary(packet: Address): Address {
    return this.words[(packet >> 2) + ANCILLARY]!
  }

  /** What was sent along, with how many rights, of which rank. */
  attach(packet: Address, ancillary: Address, rights: number, rank: number): void {
    this.words[(packet >> 2) + ANCILLARY] = ancillary
    this.words[(packet >> 2) + RANK] = rank
    this.#halves[(packet >> 1) + RIGHTS] = rights
  }

  rights(packet: Address): number {
    return this.#halves[(packet >> 1) + RIGHTS]!
  }

  rank(packet: Address): number {
    return this.words[(packet >> 2) + RANK]!
  }

  /** For which socket it is, and of which it comes. */
  direct(packet: Address, target: number, source: number, lane = 0): void {
    this.words[(packet >> 2) + SOCKET] = target
    this.words[(packet >> 2) + SOURCE] = source
    this.words[(packet >> 2) + LANE] = lane
  }

  target(packet: Address): number {
    return this.words[(packet >> 2) + SOCKET]!
  }

  source(packet: Address): number {
    return this.words[(packet >> 2) + SOURCE]!
  }

  lane(packet: Address): number {
    return this.words[(packet >> 2) + LANE]!
  }

  sourceCpu(packet: Address): number {
    return this.#halves[(packet >> 1) + SOURCE_CPU]!
  }

  has(packet: Address, flag: number): boolean {
    return (this.#halves[(packet >> 1) + KIND]! & flag) !== 0
  }

  mark(packet: Address, flag: number, on = true): void {
    const half = (packet >> 1) + KIND
    this.#halves[half] = on ? this.#halves[half]! | flag : this.#halves[half]! & ~flag
  }

  next(packet: Address): Address {
    return this.words[(packet >> 2) + LINK]!
  }

  link(packet: Address, next: Address): void {
    this.words[(packet >> 2) + LINK] = next
  }

  /** Puts a small packet's bytes behind those of another: whether they fit. The packet is free then. */
  merge(last: Address, packet: Address): boolean {
    const { words, mbufs } = this
    const bytes = this.total(packet)
    if (bytes > MERGE_BYTES_MAX || this.ancillary(packet) !== 0 || this.ancillary(last) !== 0) return false
    const l = last >> 2
    if (words[l + PART] !== 0 || mbufs.tailroom(last) < bytes) return false
    mbufs.copyOut(packet, 0, bytes, mbufs.extend(last, bytes))
    mbufs.free(packet)
    return true
  }

  /** Copies from the front of its data to `target`, and takes that away from it: how many bytes. */
  take(packet: Address, target: Uint8Array, offset: number): number {
    const { words } = this
    const w = packet >> 2
    let copied = 0
    for (let m = packet; m !== 0 && offset + copied < target.length; m = words[(m >> 2) + PART]!) {
      const count = Math.min(words[(m >> 2) + LENGTH]!, target.length - offset - copied)
      if (count > 0) this.#cpu.memory.transfer.toProgram(words[(m >> 2) + DATA]!, count, target, offset + copied)
      words[(m >> 2) + DATA]! += count
      words[(m >> 2) + LENGTH]! -= count
      copied += count
    }
    words[w + TOTAL]! -= copied
    this.#freeEmptyParts(packet)
    return copied
  }

  /** A long packet that is read in pieces gives its memory back in pieces. The first part stays: it is the packet. */
  #freeEmptyParts(packet: Address): void {
    const { words } = this
    for (;;) {
      const part = words[(packet >> 2) + PART]!
      if (part === 0 || words[(packet >> 2) + LENGTH]! > 0 || words[(part >> 2) + LENGTH]! > 0) return
      words[(packet >> 2) + PART] = words[(part >> 2) + PART]!
      words[(part >> 2) + PART] = 0
      this.mbufs.free(part)
    }
  }
}
