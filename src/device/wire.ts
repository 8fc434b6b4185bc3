// A wire: two network cards in memory, side a and side b, and what is sent at one end is received at the other. A packet
// crosses as the address of its mbuf, without a copy, as a card takes it by DMA: the receiver owns it, and frees it home.
// Only bytes that the sender keeps (a reference's, see mbuf.ts) are copied, as a card would have to read them.
//
// Each queue belongs to a CPU (device.ts). In each direction there is a ring from each sending to each receiving queue,
// so that each has one producer and one consumer, and no lock. They lie in a region of the machine's memory that is
// asked for at boot (`wireRegions`), in the order [direction][receiving queue][sending queue]:
//
//   | windex, a line of the producer's | rindex, a line of the consumer's | entries: addresses of mbufs ... |
//
// The indices run freely, and only they are atomic: a store of windex publishes the entries and mbufs before it, a store
// of rindex gives the places back.
import { assert } from '../base/assert.ts'
import { Errno, KernelError } from '../base/errno.ts'
import { hashName } from '../base/hash.ts'
import { Limits } from '../base/limits.ts'
import { type Address, atomic, bytes, struct } from '../base/struct.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { type Handoffs, POINT } from '../kernel/handoff.ts'
import { ringDoorbell } from '../kernel/ipi.ts'
import { CpuBlock } from '../kernel/layout.ts'
import type { Memory } from '../kernel/memory.ts'
import { MessageFlag, MessageHeader } from '../kernel/message.ts'
import { FREE_PORT } from '../kernel/port.ts'
import {
  type Deliver,
  DeviceCounters,
  type DeviceInfo,
  type DeviceQueue,
  deviceCounts,
  type Framing,
  frameBytes,
  type Steer,
  segmentedFrameBytes,
} from './device.ts'
import { Mbuf, MbufFlag, Mbufs } from './mbuf.ts'

export interface WireOptions {
  /** Tells the wires of a machine apart. */
  readonly name: string
  /** The CPUs with a queue at this side, each once, in the order of the queues. A CPU may have one at either side. */
  readonly a: readonly number[]
  readonly b: readonly number[]
  /** Default `ethernet`. */
  readonly framing?: Framing
  /** Default 1500. */
  readonly mtu?: number
  /** Places of each ring, a power of two from 16 to 65536. Default 512. */
  readonly entries?: number
  /**
   * Both ends take checksums and segmentation over, as two virtual machines' cards do for each other: nobody computes a
   * checksum, and TCP super-segments cross uncut. Not for a wire that is to behave like one, with losses for instance:
   * one fault would hit all of up to 64 KiB. Default false.
   */
  readonly offload?: boolean
}

export type WireSide = 'a' | 'b'

const MTU = 1500
const ENTRIES = 512
const ENTRIES_MIN = 16
const ENTRIES_MAX = 65536

const WireRing = struct({
  windex: atomic, //   0  producer: entries published
  padding0: bytes(60),
  rindex: atomic, //  64  consumer: entries taken
  padding1: bytes(60),
})

// Constants of this module, because the compiler folds those (see port.ts).
const BATCH = Limits.ipiBatch
const M = Mbuf.offset
const FLAGS = M.flags >> 1
const INTERFACE_INDEX = M.interfaceIndex >> 1
const HASH = M.hash >> 2
const DATA = M.data >> 2
const TOTAL = M.total >> 2
const ARRIVED_AT = M.arrivedAt >> 3
const QUEUED_AT = MessageHeader.offset.queuedAt >> 3
const REPLY_PORT = MessageHeader.offset.replyPort >> 2
const ERROR = MessageHeader.offset.error >> 2
const ON_ABORT = MessageHeader.offset.onAbort >> 2
const SECOND_LINE = 64 >> 2
const { HASHED, CHECKED, SEGMENTED, PARTIAL_CHECKSUM } = MbufFlag
const { DONE, TRACED } = MessageFlag
const HOME = FREE_PORT
const C = DeviceCounters.index
const RECEIVED = C.received
const RECEIVED_BYTES = C.receivedBytes
const TRANSMITTED = C.transmitted
const TRANSMITTED_BYTES = C.transmittedBytes

/** The sending side of a ring. A class, as `In`, so that all have one shape for the compiler (a spread gives several). */
class Out {
  readonly target: number
  readonly windex: number
  readonly rindex: number
  /** The first entry, in words. */
  readonly entries: number
  readonly state: number
  readonly record: number
  staged: number
  published: number
  /** rindex when it was last looked at. */
  consumed: number
  /** On the list of those that `flush` looks after. */
  listed = false

  constructor(cpu: Cpu, ring: Address, target: number) {
    const { memory } = cpu
    this.target = target
    this.windex = (ring + WireRing.offset.windex) >> 2
    this.rindex = (ring + WireRing.offset.rindex) >> 2
    this.entries = (ring + WireRing.size) >> 2
    this.state = (memory.layout.cpuBlock(target) + CpuBlock.offset.state) >> 2
    this.record = cpu.handoffs.record(POINT.rx, target)
    // Not 0 where another queue had this ring before, and was closed.
    this.published = Atomics.load(memory.i32, this.windex)
    this.staged = this.published
    this.consumed = Atomics.load(memory.i32, this.rindex)
  }
}

/** The receiving side of a ring. */
class In {
  readonly windex: number
  readonly rindex: number
  readonly entries: number
  readonly record: number
  read: number

  constructor(cpu: Cpu, ring: Address, source: number) {
    this.windex = (ring + WireRing.offset.windex) >> 2
    this.rindex = (ring + WireRing.offset.rindex) >> 2
    this.entries = (ring + WireRing.size) >> 2
    this.record = cpu.handoffs.record(POINT.rx, source)
    this.read = Atomics.load(cpu.memory.i32, this.rindex)
  }
}

/** One queue of one side. */
export class WireQueue implements DeviceQueue {
  readonly info: DeviceInfo
  readonly #cpu: Cpu
  readonly #memory: Memory
  readonly #mbufs: Mbufs
  readonly #handoffs: Handoffs
  readonly #i32: Int32Array
  readonly #u16: Uint16Array
  readonly #f64: Float64Array
  readonly #count: Float64Array
  readonly #steer: Steer | undefined
  readonly #size: number
  readonly #mask: number
  readonly #bytesMax: number
  readonly #segmentedBytesMax: number
  /** Of the sender's flags: which the receiver sees, and which it sees as CHECKED. */
  readonly #kept: number
  readonly #vouched: number
  readonly #out: readonly Out[]
  readonly #in: readonly In[]
  /** Rings with staged entries: the first `#stagedCount`. */
  readonly #staged: Out[]
  #stagedCount = 0
  /** The ring that the next `receive` looks at first. */
  #first = 0
  #closed = false

  /**
   * @param steer gives frames that are not HASHED their flow hash; without it they go to queue 0
   * @throws KernelError EINVAL where the options cannot be or this CPU has no queue, ENOENT without the region
   */
  constructor(cpu: Cpu, options: WireOptions, side: WireSide, steer?: Steer) {
    const entries = checkOptions(options)
    const { layout } = cpu.memory
    const region = layout.region(wireRegionName(options.name))
    if (region.bytes < wireRegionBytes(options)) {
      const sentence = `region "${region.name}" has ${region.bytes} bytes and ${wireRegionBytes(options)} are needed: ask for it by wireRegions with the options of both ends`
      throw new KernelError(Errno.EINVAL, sentence)
    }
    const mine = side === 'a' ? options.a : options.b
    const theirs = side === 'a' ? options.b : options.a
    const queue = mine.indexOf(cpu.index)
    if (queue < 0)
      throw new KernelError(
        Errno.EINVAL,
        `CPU ${cpu.index} has no queue at side ${side} of wire ${options.name}: name it there`,
      )

    this.info = wireInfo(options, side)
    this.#cpu = cpu
    this.#memory = cpu.memory
    this.#mbufs = Mbufs.of(cpu)
    this.#handoffs = cpu.handoffs
    this.#i32 = cpu.memory.i32
    this.#u16 = cpu.memory.u16
    this.#f64 = cpu.memory.f64
    this.#count = deviceCounts(cpu)
    this.#steer = steer
    this.#size = entries
    this.#mask = entries - 1
    this.#bytesMax = frameBytes(this.info)
    this.#segmentedBytesMax = segmentedFrameBytes(this.info)
    this.#kept = options.offload === true ? HASHED | SEGMENTED : HASHED
    this.#vouched = options.offload === true ? SEGMENTED | PARTIAL_CHECKSUM : 0

    const ringBytes = WireRing.size + entries * 4
    const half = mine.length * theirs.length * ringBytes
    const outbound = region.address + (side === 'a' ? 0 : half)
    const inbound = region.address + (side === 'a' ? half : 0)
    this.#out = theirs.map((target, i) => new Out(cpu, outbound + (i * mine.length + queue) * ringBytes, target))
    this.#in = theirs.map((source, i) => new In(cpu, inbound + (queue * theirs.length + i) * ringBytes, source))
    this.#staged = [...this.#out]
  }

  receive(budget: number, deliver: Deliver): number {
    const rings = this.#in
    const words = this.#i32
    let taken = 0
    let at = this.#first
    for (let left = rings.length; left > 0 && taken < budget; left--) {
      const ring = rings[at]!
      at = at + 1 === rings.length ? 0 : at + 1
      // Read once, before the entries.
      const windex = Atomics.load(words, ring.windex)
      if (windex !== ring.read) taken += this.#drain(ring, windex, budget - taken, deliver)
    }
    // A budget that ended with one sender begins with the next one.
    this.#first = at
    return taken
  }

  transmit(given: Address): boolean {
    const words = this.#i32
    const total = words[(given >> 2) + TOTAL]!
    if (total > this.#bytesMax && !this.#isSuperSegment(given, total)) return this.#refuse(given, C.transmitTooLong)
    const outs = this.#out
    const out = outs.length === 1 ? outs[0]! : outs[this.#queueOf(given)]!
    if (((out.staged - out.consumed) | 0) >= this.#size && !this.#hasRoom(out)) {
      this.#handoffs.dropped(out.record)
      return this.#refuse(given, C.transmitFull)
    }
    // What arrives is the receiver's, with all of its bytes.
    const packet = this.#mbufs.detach(given)
    if (packet === 0) {
      this.#handoffs.dropped(out.record)
      this.#count[C.transmitNoMbuf]!++
      return false
    }
    const w = packet >> 2
    // What the sender's stack noted of the packet stays behind. Here, and not by the receiver, because these lines are
    // still in this cache; the flow hash is symmetric, so it is the receiver's as well.
    // How it came about is told across the wire, where anybody wants to know.
    words[w] = this.#cpu.tracer.isSet ? DONE | (words[w]! & TRACED) : DONE
    words[w + REPLY_PORT] = HOME
    words[w + ERROR] = 0
    words[w + ON_ABORT] = 0
    const flags = this.#u16[(packet >> 1) + FLAGS]!
    this.#u16[(packet >> 1) + FLAGS] = (flags & this.#kept) | ((flags & this.#vouched) === 0 ? 0 : CHECKED)
    this.#u16[(packet >> 1) + INTERFACE_INDEX] = 0
    this.#f64[(packet >> 3) + QUEUED_AT] = this.#cpu.now
    words[out.entries + (out.staged & this.#mask)] = packet
    out.staged = (out.staged + 1) | 0
    this.#count[TRANSMITTED]!++
    this.#count[TRANSMITTED_BYTES]! += total
    if (((out.staged - out.published) | 0) >= BATCH) this.#publish(out)
    else if (!out.listed) this.#list(out)
    return true
  }

  flush(): void {
    for (let i = 0; i < this.#stagedCount; i++) {
      const out = this.#staged[i]!
      out.listed = false
      if (out.staged !== out.published) this.#publish(out)
    }
    this.#stagedCount = 0
  }

  pending(): boolean {
    const rings = this.#in
    for (let i = 0; i < rings.length; i++) {
      if (Atomics.load(this.#i32, rings[i]!.windex) !== rings[i]!.read) return true
    }
    return false
  }

  /** Sends what is staged and frees what has come. What comes later fills the rings, and is then the sender's drop. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.flush()
    this.receive(Number.MAX_SAFE_INTEGER, (packet) => this.#mbufs.free(packet))
  }

  #drain(ring: In, windex: number, budget: number, deliver: Deliver): number {
    const words = this.#i32
    const { now } = this.#cpu
    const waiting = (windex - ring.read) | 0
    const count = Math.min(waiting, budget)
    const first = words[ring.entries + (ring.read & this.#mask)]!
    this.#handoffs.depth(ring.record, waiting)
    this.#handoffs.waited(ring.record, now - this.#f64[(first >> 3) + QUEUED_AT]!)
    this.#touch(ring, count)
    let received = 0
    for (let i = 0; i < count; i++) {
      const packet = words[ring.entries + (ring.read & this.#mask)]!
      // Before the delivery: should that end the machine, the packet is no longer the ring's.
      ring.read = (ring.read + 1) | 0
      if ((ring.read & (BATCH - 1)) === 0) Atomics.store(words, ring.rindex, ring.read)
      this.#f64[(packet >> 3) + ARRIVED_AT] = now
      received += words[(packet >> 2) + TOTAL]!
      deliver(packet)
    }
    Atomics.store(words, ring.rindex, ring.read)
    this.#handoffs.served(ring.record, count, count < waiting)
    this.#count[RECEIVED]! += count
    this.#count[RECEIVED_BYTES]! += received
    return count
  }

  /**
   * Reads a word of each line that the first layers will need: both of the mbuf, and two of its data. They lie in the
   * sender's cache: asked for together they come together (see Ipi.#touch).
   */
  #touch(ring: In, count: number): number {
    const words = this.#i32
    let sum = 0
    for (let i = 0; i < count; i++) {
      const w = words[ring.entries + ((ring.read + i) & this.#mask)]! >> 2
      const data = words[w + DATA]! >> 2
      sum += words[w + SECOND_LINE]! + words[data]! + words[data + SECOND_LINE]!
    }
    return sum
  }

  /** As a card does by RSS: the flow hash chooses, and queue 0 takes what has none. */
  #queueOf(packet: Address): number {
    const flags = (packet >> 1) + FLAGS
    if ((this.#u16[flags]! & HASHED) !== 0) return (this.#i32[(packet >> 2) + HASH]! >>> 0) % this.#out.length
    if (this.#steer === undefined) return 0
    const hash = this.#steer(this.#memory, packet)
    if (hash === 0) return 0
    this.#i32[(packet >> 2) + HASH] = hash
    this.#u16[flags]! |= HASHED
    return (hash >>> 0) % this.#out.length
  }

  #isSuperSegment(packet: Address, total: number): boolean {
    return (this.#u16[(packet >> 1) + FLAGS]! & SEGMENTED) !== 0 && total <= this.#segmentedBytesMax
  }

  #hasRoom(out: Out): boolean {
    out.consumed = Atomics.load(this.#i32, out.rindex)
    return ((out.staged - out.consumed) | 0) < this.#size
  }

  #refuse(packet: Address, counter: number): boolean {
    this.#count[counter]!++
    this.#mbufs.free(packet)
    return false
  }

  #list(out: Out): void {
    out.listed = true
    this.#staged[this.#stagedCount++] = out
  }

  #publish(out: Out): void {
    const count = (out.staged - out.published) | 0
    out.published = out.staged
    // Also the fence between the entries and the look at the target's state.
    Atomics.store(this.#i32, out.windex, out.staged)
    this.#handoffs.enqueued(out.record, count)
    // The own CPU looks at its queues before it sleeps.
    if (out.target !== this.#cpu.index)
      this.#handoffs.doorbell(out.record, ringDoorbell(this.#cpu, out.target, out.state))
  }
}

/** How a side appears as a device. Its link address is made of its name: the same at each boot. */
export function wireInfo(options: WireOptions, side: WireSide): DeviceInfo {
  const name = `${options.name}.${side}`
  const { framing = 'ethernet', mtu = MTU } = options
  const info = { name, framing, mtu, cpus: side === 'a' ? options.a : options.b }
  const offload = options.offload === true ? { offload: { checksum: true, segmentation: true } } : {}
  return { ...info, ...offload, ...(framing === 'ethernet' ? { address: linkAddressOf(name) } : {}) }
}

/** A link address made of a name: locally administered (IEEE 802, 02:…), 02:df and 32 bits of hash. */
export function linkAddressOf(name: string): readonly number[] {
  const hash = hashName(name)
  return [0x02, 0xdf, hash >>> 24, (hash >>> 16) & 0xff, (hash >>> 8) & 0xff, hash & 0xff]
}

/** The region that the rings of the wire `name` lie in. */
export function wireRegionName(name: string): string {
  return `wire:${name}`
}

/**
 * Bytes of the wire's region.
 * @throws KernelError EINVAL for options that cannot be
 */
export function wireRegionBytes(options: WireOptions): number {
  const entries = checkOptions(options)
  return 2 * options.a.length * options.b.length * (WireRing.size + entries * 4)
}

/** What to boot with: `boot({ regions: { ...wireRegions(wire) } })`. */
export function wireRegions(...wires: readonly WireOptions[]): { readonly [name: string]: number } {
  return Object.fromEntries(wires.map((wire) => [wireRegionName(wire.name), wireRegionBytes(wire)]))
}

/** The number of places of each ring. */
function checkOptions(options: WireOptions): number {
  const { name, a, b, entries = ENTRIES, mtu = MTU } = options
  const refuse = (sentence: string): never => {
    throw new KernelError(Errno.EINVAL, `wire ${name}: ${sentence}`)
  }
  for (const cpus of [a, b]) {
    if (
      cpus.length === 0 ||
      new Set(cpus).size !== cpus.length ||
      cpus.some((cpu) => !Number.isInteger(cpu) || cpu < 0)
    ) {
      refuse(`a side has CPUs [${cpus.join(', ')}]: give at least one, and each once`)
    }
  }
  if (!Number.isInteger(entries) || entries < ENTRIES_MIN || entries > ENTRIES_MAX || (entries & (entries - 1)) !== 0) {
    refuse(`entries is ${entries}: give a power of two from ${ENTRIES_MIN} to ${ENTRIES_MAX}`)
  }
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535) refuse(`mtu is ${mtu}: give a whole number from 68 to 65535`)
  return entries
}

assert(M.flags >= MessageHeader.size, "the mbuf's flags are not those of the message that it embeds")
assert(WireRing.size % 64 === 0 && ENTRIES_MIN * 4 >= 64, 'each index of a wire has a line of its own')
