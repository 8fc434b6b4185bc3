// A bad link around a device: what goes through is lost, doubled, delayed, put out of order, damaged or cut, by chance. The
// same seed gives the same faults to the same packets. For tests and laboratories: one draw for each fault that is switched on.
//
// Each direction is a lane of its own, and a packet's way through it is always this:
//
//   cut off, too large, lost, singly or in bursts → cut → damaged → doubled → held back behind later ones → rate → delay → out
//
// What waits lies in a heap by the time it is due; everything passes through there, so that order is kept wherever no
// fault changes it. Every wait has a bound, and what exceeds it is a counted loss:
//   offered + duplicated = passed + partitioned + blackHoled + lost + lostInBurst + tailDropped + overflowed + noMemory + discarded + held
//
// A device with faults offloads nothing, whatever the one behind it does: a super-segment that is lost, damaged or cut as
// one would be unlike anything that happens on a wire. So that none comes in either, the other end should offload nothing.
import { Errno, KernelError } from '../base/errno.ts'
import { hashName } from '../base/hash.ts'
import { Random } from '../base/random.ts'
import type { Address } from '../base/struct.ts'
import { counterSet } from '../kernel/counters.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { define } from '../kernel/function.ts'
import { Timer } from '../kernel/timer.ts'
import { type Deliver, type DeviceInfo, type DeviceQueue, LINK_HEADER_BYTES } from './device.ts'
import { Mbuf, MbufFlag, Mbufs } from './mbuf.ts'

/** Losses in bursts, by the model of Gilbert and Elliott: two states, and a chance for each packet to change between them. */
export interface BurstLoss {
  readonly pGoodToBad: number
  readonly pBadToGood: number
  /** The chance of loss in the bad state; in the good one it is `loss`. Default 1. */
  readonly lossInBad?: number
}

/** A time, by the machine's clock. */
export interface FaultSpan {
  readonly fromUs: number
  readonly untilUs: number
}

/** Probabilities are 0 to 1. What is not given does not happen. */
export interface FaultOptions {
  /** What comes in, what goes out, or both (default), by the same figures and draws of their own. */
  readonly direction?: 'in' | 'out' | 'both'
  readonly loss?: number
  /** Packets that are lost whatever chance says: their numbers, in each direction from 0. For tests of a loss at one place. */
  readonly lose?: readonly number[]
  readonly burst?: BurstLoss
  /** Times at which nothing comes through. Of one direction only, a partition that is asymmetric. */
  readonly partitions?: readonly FaultSpan[]
  /** Times at which everything is kept back, and comes at their end. */
  readonly clogs?: readonly FaultSpan[]
  /** A black hole: packets of more bytes than this, behind the link's header, are lost, and nobody is told. */
  readonly blackHoleBytes?: number
  readonly duplicate?: number
  /** The chance that a packet comes once more, up to `replayUs` after it was due: an old duplicate. */
  readonly replay?: number
  /** Default 1 000 000. */
  readonly replayUs?: number
  /** The chance that a packet is held back until `reorderBy` later ones have passed, or for `reorderUs`. */
  readonly reorder?: number
  /** Default 3. */
  readonly reorderBy?: number
  /** Default 20 000. */
  readonly reorderUs?: number
  readonly delayUs?: number
  /** Up to so much more delay, evenly spread: packets may then overtake each other. */
  readonly jitterUs?: number
  /** The chance that 1 to `corruptBits` bits are flipped: behind the link's header, or anywhere in the frame. */
  readonly corrupt?: number
  /** Default 3. Internet checksums find each single flip; of two, each 32nd pair escapes them. */
  readonly corruptBits?: number
  readonly corruptAnywhere?: boolean
  /** The chance that a packet is cut to a random length, of the link's header at least. */
  readonly truncate?: number
  /** A bottleneck: packets leave one after the other at this rate, and wait in a queue before it. */
  readonly rateBitsPerSecond?: number
  /** Bytes that wait before the bottleneck at most; what is beyond is dropped. Default 65 536. */
  readonly queueBytes?: number
  /** Packets that wait anywhere in a lane at most. Default 4096. */
  readonly queuePackets?: number
  /** Default: the CPU's own, so that the machine's seed decides. */
  readonly seed?: number
}

export const FaultCounters = counterSet('fault', [
  'offered',
  'passed',
  'partitioned',
  'blackHoled',
  'lost',
  'lostInBurst',
  /** Doubles, those that come much later included. */
  'duplicated',
  'replayed',
  'reordered',
  'corrupted',
  'truncated',
  'tailDropped',
  'overflowed',
  /** Still held when the device was closed. */
  'discarded',
  /** Wanted to be doubled, and there was no mbuf. */
  'noMbuf',
  /** Had references (mbuf.ts), and there was no memory to keep it until it is due. */
  'noMemory',
  /** Waiting now. */
  'held',
] as const)
const C = FaultCounters.index

const M = Mbuf.offset
const DATA = M.data >> 2
const LENGTH = M.length >> 2
const TOTAL = M.total >> 2
const PART = M.part >> 2
const HASH = M.hash >> 2
const FLAGS = M.flags >> 1
const ARRIVED_AT = M.arrivedAt >> 3

const REORDER_BY = 3
const REORDER_US = 20_000
const REPLAY_US = 1_000_000
const QUEUE_BYTES = 65_536
const QUEUE_PACKETS = 4096
/** Packets that are held back at the same time at most; more are not reordered. */
const HELD_BACK_MAX = 64
const BITS_FLIPPED_MAX = 3

/** Which lane: also the instance of its counters. */
const INBOUND = 0
const OUTBOUND = 1

export class FaultQueue implements DeviceQueue {
  readonly info: DeviceInfo
  readonly descriptor: number | undefined
  readonly #cpu: Cpu
  readonly #inner: DeviceQueue
  readonly #inbound: Lane | undefined
  readonly #outbound: Lane | undefined
  readonly #intake: Deliver
  /** A record of its own from the beginning: what waits is let go also where there is no memory left. */
  readonly #room: Address
  readonly #wake: Address
  #closed = false

  /** @throws KernelError EINVAL for a figure that cannot be */
  constructor(cpu: Cpu, inner: DeviceQueue, options: FaultOptions) {
    checkOptions(options)
    this.info = faultInfo(inner.info)
    this.descriptor = inner.descriptor
    this.#cpu = cpu
    this.#inner = inner
    const { direction = 'both' } = options
    const number = cpu.slot(NUMBER, () => ({ next: 0 })).next++
    const lane = (which: number) => new Lane(cpu, inner.info, options, number, which)
    this.#inbound = direction === 'out' ? undefined : lane(INBOUND)
    this.#outbound = direction === 'in' ? undefined : lane(OUTBOUND)
    this.#intake = (packet) => this.#inbound!.offer(packet)
    // The slab owns an object's first words while it is free: the record stands behind them.
    this.#room = cpu.slab.allocate(64)
    this.#wake = this.#room + 8
    cpu.memory.u8.fill(0, this.#wake, this.#wake + Timer.size)
  }

  receive(budget: number, deliver: Deliver): number {
    const lane = this.#inbound
    if (lane === undefined) return this.#inner.receive(budget, deliver)
    // What is lost is work done as well: the CPU must come back for what is behind it.
    const taken = this.#inner.receive(budget, this.#intake)
    const delivered = lane.release(budget, deliver)
    return Math.max(taken, delivered)
  }

  transmit(packet: Address): boolean {
    if (this.#outbound === undefined) return this.#inner.transmit(packet)
    this.#outbound.offer(packet)
    return true
  }

  flush(): void {
    this.#outbound?.release(Number.POSITIVE_INFINITY, this.#transmit)
    this.#inner.flush()
    this.#armWake()
  }

  pending(): boolean {
    return this.#inner.pending() || (this.#inbound !== undefined && this.#inbound.dueAt() <= this.#cpu.now)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#cpu.timers.cancel(this.#wake)
    this.#cpu.slab.free(this.#room)
    this.#inbound?.discard()
    this.#outbound?.discard()
    this.#inner.close()
  }

  readonly #transmit: Deliver = (packet) => {
    this.#inner.transmit(packet)
  }

  /** A timer does no more than wake the CPU: the next `receive` and `flush` do the rest. */
  #armWake(): void {
    const due = Math.min(
      this.#inbound?.dueAt() ?? Number.POSITIVE_INFINITY,
      this.#outbound?.dueAt() ?? Number.POSITIVE_INFINITY,
    )
    const { timers, now } = this.#cpu
    if (due === Number.POSITIVE_INFINITY || (timers.isArmed(this.#wake) && timers.deadline(this.#wake) <= due)) return
    timers.arm(this.#wake, due - now, WAKE)
  }
}

/** That the CPU is awake is all that is wanted. */
const WAKE = define('fault.wake', () => {})
const NUMBER = Symbol('fault number')

/** A packet that waits for later ones to pass it. */
interface HeldBack {
  packet: Address
  /** How many are still to pass. */
  left: number
  untilUs: number
}

/** One direction. */
class Lane {
  readonly #cpu: Cpu
  readonly #mbufs: Mbufs
  readonly #random: Random
  readonly #options: FaultOptions
  readonly #count: Float64Array
  readonly #heap: DueHeap
  readonly #limit: number
  readonly #linkHeader: number
  readonly #inbound: boolean
  readonly #heldBack: HeldBack[] = []
  #bad = false
  /** When the bottleneck has sent all that is before it. */
  #freeAt = 0

  constructor(cpu: Cpu, info: DeviceInfo, options: FaultOptions, number: number, which: number) {
    this.#cpu = cpu
    this.#mbufs = Mbufs.of(cpu)
    const parent = options.seed === undefined ? cpu.random : new Random(options.seed).fork(cpu.index)
    this.#random = parent.fork(hashName(`fault ${info.name} ${number} ${which}`))
    this.#options = options
    this.#count = cpu.counterPage.open(FaultCounters, number * 2 + which)
    this.#limit = options.queuePackets ?? QUEUE_PACKETS
    this.#heap = new DueHeap(this.#limit)
    this.#linkHeader = LINK_HEADER_BYTES[info.framing]
    this.#inbound = which === INBOUND
  }

  /** Takes a packet in, to its loss or to the heap. */
  offer(given: Address): void {
    const random = this.#random
    const { loss = 0, lose, truncate = 0, corrupt = 0, duplicate = 0, replay = 0, partitions } = this.#options
    const number = this.#count[C.offered]!++
    if (partitions !== undefined && endOf(partitions, this.#cpu.now) > this.#cpu.now) {
      this.#drop(given, C.partitioned)
      return
    }
    if (this.#isTooLarge(given)) {
      this.#drop(given, C.blackHoled)
      return
    }
    const bad = this.#isBad()
    if (lose?.includes(number) === true) {
      this.#drop(given, C.lost)
      return
    }
    if (random.chance(bad ? (this.#options.burst!.lossInBad ?? 1) : loss)) {
      this.#drop(given, bad ? C.lostInBurst : C.lost)
      return
    }
    // It may wait, and must not be damaged where its sender keeps it.
    const packet = this.#mbufs.detach(given)
    if (packet === 0) {
      this.#count[C.noMemory]!++
      return
    }
    if (random.chance(truncate)) this.#truncate(packet)
    if (random.chance(corrupt)) this.#corrupt(packet)
    const copy = random.chance(duplicate) ? this.#copy(packet) : 0
    const late = random.chance(replay) ? this.#copy(packet) : 0
    this.#order(packet)
    if (copy !== 0) this.#order(copy)
    if (late !== 0) this.#replay(late)
  }

  /** Hands on what is due, `budget` packets at most, and gives how many. */
  release(budget: number, deliver: Deliver): number {
    const { now } = this.#cpu
    if (this.#heldBack.length > 0) this.#releaseHeldBack()
    if (this.#unclogged(now) > now) return 0
    let released = 0
    while (released < budget && this.#heap.due <= now) {
      const packet = this.#heap.take()
      released++
      this.#count[C.passed]!++
      this.#countHeld()
      if (this.#inbound) this.#cpu.memory.f64[(packet >> 3) + ARRIVED_AT] = now
      deliver(packet)
    }
    return released
  }

  /** When there is something to release, or Infinity. */
  dueAt(): number {
    let due = this.#heap.due
    if (due < Number.POSITIVE_INFINITY) due = this.#unclogged(Math.max(due, this.#cpu.now))
    for (const { untilUs } of this.#heldBack) due = Math.min(due, untilUs)
    return due
  }

  /** Frees all that waits. */
  discard(): void {
    while (this.#heldBack.length > 0) this.#drop(this.#heldBack.pop()!.packet, C.discarded)
    while (this.#heap.count > 0) this.#drop(this.#heap.take(), C.discarded)
    this.#countHeld()
  }

  /** The first time from `us` on at which something can leave. */
  #unclogged(us: number): number {
    const { clogs } = this.#options
    return clogs === undefined ? us : endOf(clogs, us)
  }

  #isTooLarge(packet: Address): boolean {
    const { blackHoleBytes = 0 } = this.#options
    return blackHoleBytes > 0 && this.#cpu.memory.u32[(packet >> 2) + TOTAL]! - this.#linkHeader > blackHoleBytes
  }

  #isBad(): boolean {
    const { burst } = this.#options
    if (burst === undefined) return false
    if (this.#random.chance(this.#bad ? burst.pBadToGood : burst.pGoodToBad)) this.#bad = !this.#bad
    return this.#bad
  }

  #drop(packet: Address, counter: number): void {
    this.#count[counter]!++
    this.#mbufs.free(packet)
  }

  #truncate(packet: Address): void {
    const total = this.#cpu.memory.u32[(packet >> 2) + TOTAL]!
    if (total <= this.#linkHeader) return
    this.#mbufs.trimTo(packet, this.#linkHeader + this.#random.below(total - this.#linkHeader))
    this.#damaged(packet)
    this.#count[C.truncated]!++
  }

  #corrupt(packet: Address): void {
    const { u8, u32 } = this.#cpu.memory
    const total = u32[(packet >> 2) + TOTAL]!
    const first = this.#options.corruptAnywhere === true ? 0 : this.#linkHeader
    if (total <= first) return
    const { corruptBits = BITS_FLIPPED_MAX } = this.#options
    for (let flips = 1 + this.#random.below(corruptBits); flips > 0; flips--) {
      let at = first + this.#random.below(total - first)
      let m = packet
      for (; at >= u32[(m >> 2) + LENGTH]!; m = u32[(m >> 2) + PART]!) at -= u32[(m >> 2) + LENGTH]!
      u8[u32[(m >> 2) + DATA]! + at]! ^= 1 << this.#random.below(8)
    }
    this.#damaged(packet)
    this.#count[C.corrupted]!++
  }

  /** What was known of the packet need not be true any more. */
  #damaged(packet: Address): void {
    this.#cpu.memory.u16[(packet >> 1) + FLAGS]! &= ~(MbufFlag.HASHED | MbufFlag.CHECKED)
  }

  #copy(packet: Address): Address {
    const { u32, u16 } = this.#cpu.memory
    const copy = this.#mbufs.copySlice(packet, 0, u32[(packet >> 2) + TOTAL]!)
    if (copy === 0) {
      this.#count[C.noMbuf]!++
      return 0
    }
    u32[(copy >> 2) + HASH] = u32[(packet >> 2) + HASH]!
    u16[(copy >> 1) + FLAGS] = u16[(packet >> 1) + FLAGS]!
    this.#count[C.duplicated]!++
    return copy
  }

  /** An old duplicate: it passes by the bottleneck, which it has passed already. */
  #replay(packet: Address): void {
    const { replayUs = REPLAY_US, delayUs = 0 } = this.#options
    this.#count[C.replayed]!++
    if (this.#heap.count >= this.#limit) {
      this.#drop(packet, C.overflowed)
      return
    }
    this.#heap.put(packet, this.#cpu.now + delayUs + this.#random.real() * replayUs)
    this.#countHeld()
  }

  /** Lets a packet go on, or holds it back behind the next ones. */
  #order(packet: Address): void {
    const { reorder = 0, reorderBy = REORDER_BY, reorderUs = REORDER_US } = this.#options
    if (this.#random.chance(reorder) && this.#heldBack.length < HELD_BACK_MAX) {
      this.#heldBack.push({ packet, left: reorderBy, untilUs: this.#cpu.now + reorderUs })
      this.#count[C.reordered]!++
      this.#countHeld()
      return
    }
    this.#schedule(packet)
    if (this.#heldBack.length === 0) return
    for (const held of this.#heldBack) held.left--
    this.#releaseHeldBack()
  }

  #releaseHeldBack(): void {
    const { now } = this.#cpu
    for (let i = 0; i < this.#heldBack.length; ) {
      const { packet, left, untilUs } = this.#heldBack[i]!
      if (left > 0 && untilUs > now) i++
      else {
        this.#heldBack.splice(i, 1)
        this.#schedule(packet)
      }
    }
  }

  /** Rate and delay. */
  #schedule(packet: Address): void {
    const { now } = this.#cpu
    const { rateBitsPerSecond, queueBytes = QUEUE_BYTES, delayUs = 0, jitterUs = 0 } = this.#options
    const usPerByte = rateBitsPerSecond === undefined ? 0 : 8e6 / rateBitsPerSecond
    let leavesAt = now
    if (usPerByte > 0) {
      const bytes = this.#cpu.memory.u32[(packet >> 2) + TOTAL]!
      const startsAt = Math.max(now, this.#freeAt)
      // What is before it, in time, is the queue in bytes.
      if ((startsAt - now) / usPerByte + bytes > queueBytes) {
        this.#drop(packet, C.tailDropped)
        return
      }
      leavesAt = startsAt + bytes * usPerByte
    }
    if (this.#heap.count >= this.#limit) {
      this.#drop(packet, C.overflowed)
      return
    }
    if (usPerByte > 0) this.#freeAt = leavesAt
    const jitter = jitterUs > 0 ? this.#random.real() * jitterUs : 0
    this.#heap.put(packet, leavesAt + delayUs + jitter)
    this.#countHeld()
  }

  #countHeld(): void {
    this.#count[C.held] = this.#heap.count + this.#heldBack.length
  }
}

/** A binary heap of packets by the time when they are due; of equal times in the order of their coming. */
class DueHeap {
  readonly #packet: Int32Array
  readonly #due: Float64Array
  readonly #order: Float64Array
  #next = 0
  count = 0

  constructor(limit: number) {
    this.#packet = new Int32Array(limit)
    this.#due = new Float64Array(limit)
    this.#order = new Float64Array(limit)
  }

  /** When the first is due, or Infinity. */
  get due(): number {
    return this.count === 0 ? Number.POSITIVE_INFINITY : this.#due[0]!
  }

  put(packet: Address, due: number): void {
    let at = this.count++
    this.#set(at, packet, due, this.#next++)
    while (at > 0 && this.#isBefore(at, (at - 1) >> 1)) {
      this.#swap(at, (at - 1) >> 1)
      at = (at - 1) >> 1
    }
  }

  take(): Address {
    const packet = this.#packet[0]!
    const last = --this.count
    this.#set(0, this.#packet[last]!, this.#due[last]!, this.#order[last]!)
    for (let at = 0; ; ) {
      let first = at
      for (let child = 2 * at + 1; child <= 2 * at + 2 && child < last; child++) {
        if (this.#isBefore(child, first)) first = child
      }
      if (first === at) return packet
      this.#swap(at, first)
      at = first
    }
  }

  #isBefore(a: number, b: number): boolean {
    const early = this.#due[a]! - this.#due[b]!
    return early < 0 || (early === 0 && this.#order[a]! < this.#order[b]!)
  }

  #swap(a: number, b: number): void {
    const packet = this.#packet[a]!
    const due = this.#due[a]!
    const order = this.#order[a]!
    this.#set(a, this.#packet[b]!, this.#due[b]!, this.#order[b]!)
    this.#set(b, packet, due, order)
  }

  #set(at: number, packet: Address, due: number, order: number): void {
    this.#packet[at] = packet
    this.#due[at] = due
    this.#order[at] = order
  }
}

/** The first time from `us` on that lies in none of the spans. */
function endOf(spans: readonly FaultSpan[], us: number): number {
  let end = us
  // One may begin in another, wherever it stands in the list.
  for (let found = true; found; ) {
    found = false
    for (const { fromUs, untilUs } of spans) {
      if (end < fromUs || end >= untilUs) continue
      end = untilUs
      found = true
    }
  }
  return end
}

/** How a device appears with faults. */
export function faultInfo(inner: DeviceInfo): DeviceInfo {
  const { offload: _, ...info } = inner
  return info
}

function checkOptions(options: FaultOptions): void {
  const { burst, direction = 'both' } = options
  const { loss, duplicate, replay, reorder, corrupt, truncate } = options
  const probabilities = { loss, duplicate, replay, reorder, corrupt, truncate, ...burst }
  for (const [name, value = 0] of Object.entries(probabilities)) {
    demand(value >= 0 && value <= 1, `${name} is ${value}: give a probability, from 0 to 1`)
  }
  const { delayUs, jitterUs, reorderUs, replayUs } = options
  for (const [name, value = 0] of Object.entries({ delayUs, jitterUs, reorderUs, replayUs })) {
    demand(value >= 0 && value < Number.POSITIVE_INFINITY, `${name} is ${value}: give microseconds, from 0`)
  }
  const { rateBitsPerSecond, queueBytes, queuePackets, reorderBy, corruptBits, blackHoleBytes } = options
  const wholes = { rateBitsPerSecond, queueBytes, queuePackets, reorderBy, corruptBits, blackHoleBytes }
  for (const [name, value = 1] of Object.entries(wholes)) {
    demand(Number.isSafeInteger(value) && value >= 1, `${name} is ${value}: give a whole number from 1`)
  }
  for (const [name, spans = []] of Object.entries({ partitions: options.partitions, clogs: options.clogs })) {
    for (const { fromUs, untilUs } of spans) {
      const isSpan = fromUs >= 0 && untilUs >= fromUs && untilUs < Number.POSITIVE_INFINITY
      demand(
        isSpan,
        `${name} has one from ${fromUs} until ${untilUs}: give microseconds, the end not before the beginning`,
      )
    }
  }
  demand(['in', 'out', 'both'].includes(direction), `direction is "${direction}": give "in", "out" or "both"`)
}

function demand(condition: boolean, sentence: string): void {
  if (!condition) throw new KernelError(Errno.EINVAL, `fault: ${sentence}`)
}
