// A hub: an Ethernet switch in memory, for the hosts on the CPUs of one thread (the inline and the sim machine). Each port
// is the queue of one host on its CPU. A frame crosses as the address of its mbuf, without a copy; only a flood makes one
// for each further port. Whoever receives a packet owns it, and frees it home.
//
//     host ── port 0 ─┐         ┌─ port 2 ── host
//                     ├── hub ──┤
//     host ── port 1 ─┘         └─ port 3 ── host
//
// It learns which address is at which port from the source of what it is given (IEEE 802.1Q 8.7), and what it has not
// learned goes to all other ports. Whoever transmits puts the frame into the other port's queue at once, which only code of
// one thread can do: there is no ring, no lock, and no delay. Between threads, lay wires (wire.ts).
//
// Ports come and go on a running machine. A closed port frees what waits in it, and its addresses are forgotten.
//
// Identity of a machine, at rest: transmitted + copies = received + filtered + nobody, the first and third of DeviceCounters.
import { assert } from '../base/assert.ts'
import { Errno, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import { counterSet } from '../kernel/counters.ts'
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
  frameBytes,
  LINK_HEADER_BYTES,
} from './device.ts'
import { Mbuf, MbufFlag, Mbufs } from './mbuf.ts'
import { linkAddressOf } from './wire.ts'

export interface HubOptions {
  /** Tells the hubs of a machine apart. */
  readonly name: string
  /** The same at all ports. Default 1500. */
  readonly mtu?: number
}

/** One port of a hub. A hub is there as long as it has an open port. */
export interface HubPortOptions {
  readonly hub: HubOptions
  /** 0 to 65535, each once. */
  readonly port: number
  /** The CPU of the host that is plugged in here. */
  readonly cpu: number
}

export const HubLimits = {
  /** Packets that wait in a port's queue at most. */
  queue: 512,
  /** Addresses that a hub knows: so many sets of so many. Of a full set the one not seen for the longest time goes. */
  sets: 256,
  ways: 4,
  /** An address that was not seen for so long is not known any more (IEEE 802.1Q 8.8.3). */
  ageUs: 300_000_000,
} as const

/** What the ports of one CPU have given their hubs. */
export const HubCounters = counterSet('hub', [
  /** Frames to everybody, to a group, or to an address that is not known. */
  'flooded',
  'copies',
  /** Copies that were not made, for want of an mbuf. */
  'noMbuf',
  /** Frames and copies of them that a full queue did not take; `transmitFull` counts frames that nobody got for that. */
  'full',
  /** To an address at the port that they came from. */
  'filtered',
  /** There was no other port to flood to. */
  'nobody',
  'learned',
  /** Addresses that changed their port. */
  'moved',
  /** Learned in the place of another, in a full set. */
  'evicted',
] as const)

const MTU = 1500
const PORT_MAX = 65535
const HEADER_BYTES = LINK_HEADER_BYTES.ethernet
/** A frame begins with its target, and then its source. */
const SOURCE = 6

// Constants of this module, because the compiler folds those (see port.ts).
const M = Mbuf.offset
const FLAGS = M.flags >> 1
const INTERFACE_INDEX = M.interfaceIndex >> 1
const HASH = M.hash >> 2
const DATA = M.data >> 2
const LENGTH = M.length >> 2
const TOTAL = M.total >> 2
const LINK = M.link >> 2
const ARRIVED_AT = M.arrivedAt >> 3
const FROM = MessageHeader.offset.from >> 1
const QUEUED_AT = MessageHeader.offset.queuedAt >> 3
const REPLY_PORT = MessageHeader.offset.replyPort >> 2
const ERROR = MessageHeader.offset.error >> 2
const ON_ABORT = MessageHeader.offset.onAbort >> 2
const { HASHED } = MbufFlag
const { DONE, TRACED } = MessageFlag
const C = DeviceCounters.index
const H = HubCounters.index
/** Of a hash, the upper bits are the better ones. */
const SET_SHIFT = 1 + Math.clz32(HubLimits.sets)
const { queue: QUEUE, sets: SETS, ways: WAYS, ageUs: AGE_US } = HubLimits

/** One port. */
export class HubQueue implements DeviceQueue {
  readonly info: DeviceInfo
  readonly port: number
  readonly #cpu: Cpu
  readonly #hub: Hub
  readonly #mbufs: Mbufs
  readonly #handoffs: Handoffs
  readonly #i32: Int32Array
  readonly #u16: Uint16Array
  readonly #u8: Uint8Array
  readonly #f64: Float64Array
  readonly #count: Float64Array
  readonly #hubCount: Float64Array
  readonly #bytesMax: number
  /** What waits here, linked through `link`. */
  #head: Address = 0
  #tail: Address = 0
  #depth = 0
  /** CPUs that were given something since the last flush: the first `#toldCount`, each once. */
  readonly #told: Uint16Array
  readonly #isTold: Uint8Array
  #toldCount = 0
  #closed = false

  /**
   * @throws KernelError EINVAL where the options cannot be or name another CPU, EBUSY where the port is open already,
   * EOPNOTSUPP on a machine of several threads
   */
  constructor(cpu: Cpu, options: HubPortOptions) {
    checkOptions(cpu, options)
    this.info = hubInfo(options)
    this.port = options.port
    this.#cpu = cpu
    this.#mbufs = Mbufs.of(cpu)
    this.#handoffs = cpu.handoffs
    this.#i32 = cpu.memory.i32
    this.#u16 = cpu.memory.u16
    this.#u8 = cpu.memory.u8
    this.#f64 = cpu.memory.f64
    this.#bytesMax = frameBytes(this.info)
    this.#told = new Uint16Array(cpu.cpus)
    this.#isTold = new Uint8Array(cpu.cpus)
    this.#hubCount = cpu.counterPage.open(HubCounters)
    this.#hub = Hub.join(cpu.memory, options, this)
    // A counter page has no room for those of every host that ever came and went.
    this.#count = spareCounts(cpu).pop() ?? deviceCounts(cpu)
  }

  receive(budget: number, deliver: Deliver): number {
    const waiting = this.#depth
    if (waiting === 0) return 0
    const { now } = this.#cpu
    const count = Math.min(waiting, budget)
    // Consecutive frames of one CPU are counted together.
    let from = -1
    let record = 0
    let ofRecord = 0
    let taken = 0
    // What these cause to be sent here stands behind them, and waits for the next time. One of them may close the port.
    while (taken < count && this.#depth > 0) {
      const packet = this.#take()
      taken++
      const itsFrom = this.#u16[(packet >> 1) + FROM]!
      if (itsFrom !== from) {
        if (ofRecord > 0) this.#handoffs.served(record, ofRecord, false)
        from = itsFrom
        record = this.#handoffs.record(POINT.rx, from)
        ofRecord = 0
        this.#handoffs.depth(record, waiting - taken + 1)
        this.#handoffs.waited(record, now - this.#f64[(packet >> 3) + QUEUED_AT]!)
      }
      ofRecord++
      this.#f64[(packet >> 3) + ARRIVED_AT] = now
      this.#count[C.received]!++
      this.#count[C.receivedBytes]! += this.#i32[(packet >> 2) + TOTAL]!
      deliver(packet)
    }
    if (ofRecord > 0) this.#handoffs.served(record, ofRecord, count < waiting)
    return taken
  }

  transmit(given: Address): boolean {
    const words = this.#i32
    const total = words[(given >> 2) + TOTAL]!
    if (this.#closed || words[(given >> 2) + LENGTH]! < HEADER_BYTES) return this.#refuse(given, C.transmitErrors)
    if (total > this.#bytesMax) return this.#refuse(given, C.transmitTooLong)
    // What arrives is the receiver's, with all of its bytes.
    const frame = this.#mbufs.detach(given)
    if (frame === 0) {
      this.#count[C.transmitNoMbuf]!++
      return false
    }
    const { addresses } = this.#hub
    const data = words[(frame >> 2) + DATA]!
    const { now } = this.#cpu
    const learned = addresses.learn(this.#u8, data + SOURCE, this.port, now)
    if (learned >= 0) this.#hubCount[learned]!++
    const known = addresses.find(this.#u8, data, now)
    this.#leaveBehind(frame)
    const taken = known < 0 ? this.#flood(frame, total) : this.#forward(frame, known)
    if (!taken) return this.#refuse(frame, C.transmitFull)
    this.#count[C.transmitted]!++
    this.#count[C.transmittedBytes]! += total
    return true
  }

  /** Wakes the CPUs that were given something and sleep. */
  flush(): void {
    for (let i = 0; i < this.#toldCount; i++) {
      const target = this.#told[i]!
      this.#isTold[target] = 0
      const state = (this.#cpu.memory.layout.cpuBlock(target) + CpuBlock.offset.state) >> 2
      const rung = ringDoorbell(this.#cpu, target, state)
      this.#handoffs.doorbell(this.#handoffs.record(POINT.rx, target), rung)
    }
    this.#toldCount = 0
  }

  pending(): boolean {
    return this.#depth > 0
  }

  /** Unplugs the host: what waits here is freed, and what is sent to it from now on goes to nobody. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.flush()
    this.#hub.leave(this)
    this.receive(Number.MAX_SAFE_INTEGER, (packet) => this.#mbufs.free(packet))
    spareCounts(this.#cpu).push(this.#count)
  }

  /** Whether the queue has room for one more. For the other ports. */
  get hasRoom(): boolean {
    return this.#depth < QUEUE
  }

  /** The CPU that this port's host is on. */
  get cpu(): number {
    return this.#cpu.index
  }

  /** Puts a frame into this port's queue, which owns it then. For the other ports. */
  put(frame: Address): void {
    assert(!this.#closed, 'a frame goes to an open port')
    this.#i32[(frame >> 2) + LINK] = 0
    if (this.#head === 0) this.#head = frame
    else this.#i32[(this.#tail >> 2) + LINK] = frame
    this.#tail = frame
    this.#depth++
  }

  /** To the one port where the target is. False: its queue is full. */
  #forward(frame: Address, known: number): boolean {
    const target = this.#hub.port(known)
    if (target === this) {
      // The target has it already, or is nobody (IEEE 802.1Q 8.6.1).
      this.#hubCount[H.filtered]!++
      this.#mbufs.free(frame)
      return true
    }
    if (!this.#look(target)) return false
    this.#give(target, frame)
    return true
  }

  /** To all other ports. False: the queues of all of them are full. */
  #flood(frame: Address, total: number): boolean {
    const { ports } = this.#hub
    this.#hubCount[H.flooded]!++
    // The last that has room gets the frame itself.
    let last: HubQueue | undefined
    for (let i = 0; i < ports.length; i++) {
      const target = ports[i]!
      if (target === this || !this.#look(target)) continue
      if (last !== undefined) this.#giveCopy(last, frame, total)
      last = target
    }
    if (last !== undefined) this.#give(last, frame)
    else if (ports.length > 1) return false
    else {
      this.#hubCount[H.nobody]!++
      this.#mbufs.free(frame)
    }
    return true
  }

  /** Whether a port has room; that it has none is counted. */
  #look(target: HubQueue): boolean {
    if (target.hasRoom) return true
    this.#hubCount[H.full]!++
    this.#handoffs.dropped(this.#handoffs.record(POINT.rx, target.cpu))
    return false
  }

  #give(target: HubQueue, frame: Address): void {
    const { cpu } = target
    target.put(frame)
    this.#handoffs.enqueued(this.#handoffs.record(POINT.rx, cpu), 1)
    // The own CPU looks at its queues before it sleeps.
    if (cpu === this.#cpu.index || this.#isTold[cpu] === 1) return
    this.#isTold[cpu] = 1
    this.#told[this.#toldCount++] = cpu
  }

  #giveCopy(target: HubQueue, frame: Address, total: number): void {
    const copy = this.#mbufs.copySlice(frame, 0, total)
    if (copy === 0) {
      this.#hubCount[H.noMbuf]!++
      return
    }
    this.#hubCount[H.copies]!++
    this.#i32[(copy >> 2) + HASH] = this.#i32[(frame >> 2) + HASH]!
    this.#u16[(copy >> 1) + FLAGS] = this.#u16[(frame >> 1) + FLAGS]!
    this.#leaveBehind(copy)
    this.#give(target, copy)
  }

  /** What the sender's stack noted of a packet stays behind, but for the flow hash, which is symmetric and the receiver's as well. */
  #leaveBehind(packet: Address): void {
    const words = this.#i32
    const w = packet >> 2
    // How it came about is told across the hub, where anybody wants to know.
    words[w] = this.#cpu.tracer.isSet ? DONE | (words[w]! & TRACED) : DONE
    words[w + REPLY_PORT] = FREE_PORT
    words[w + ERROR] = 0
    words[w + ON_ABORT] = 0
    this.#u16[(packet >> 1) + FROM] = this.#cpu.index
    this.#u16[(packet >> 1) + FLAGS]! &= HASHED
    this.#u16[(packet >> 1) + INTERFACE_INDEX] = 0
    this.#f64[(packet >> 3) + QUEUED_AT] = this.#cpu.now
  }

  #take(): Address {
    const packet = this.#head
    this.#head = this.#i32[(packet >> 2) + LINK]!
    this.#depth--
    return packet
  }

  #refuse(packet: Address, counter: number): boolean {
    this.#count[counter]!++
    this.#mbufs.free(packet)
    return false
  }
}

/** What the ports of a hub share. */
class Hub {
  readonly addresses = new Addresses()
  /** In the order of their numbers, so that a flood does not depend on who came first. */
  readonly ports: HubQueue[] = []
  readonly #memory: Memory
  readonly #name: string
  readonly #mtu: number
  readonly #byNumber = new Map<number, HubQueue>()

  private constructor(memory: Memory, name: string, mtu: number) {
    this.#memory = memory
    this.#name = name
    this.#mtu = mtu
  }

  /** Opens a port of a hub, which is made if this is its first. */
  static join(memory: Memory, options: HubPortOptions, queue: HubQueue): Hub {
    const { port } = options
    const { name, mtu = MTU } = options.hub
    let all = HUBS.get(memory)
    if (all === undefined) {
      all = new Map()
      HUBS.set(memory, all)
    }
    const hub = all.get(name) ?? new Hub(memory, name, mtu)
    if (hub.#mtu !== mtu) {
      const sentence = `hub ${name} has the MTU ${hub.#mtu}, and port ${port} asks for ${mtu}: give all ports the same`
      throw new KernelError(Errno.EINVAL, sentence)
    }
    if (hub.#byNumber.has(port)) {
      throw new KernelError(
        Errno.EBUSY,
        `port ${port} of hub ${name} is open already: give another number, or close it`,
      )
    }
    all.set(name, hub)
    hub.#byNumber.set(port, queue)
    hub.ports.push(queue)
    hub.ports.sort((a, b) => a.port - b.port)
    return hub
  }

  leave(queue: HubQueue): void {
    this.addresses.forget(queue.port)
    this.#byNumber.delete(queue.port)
    this.ports.splice(this.ports.indexOf(queue), 1)
    if (this.ports.length === 0) HUBS.get(this.#memory)?.delete(this.#name)
  }

  /** An open port by its number. */
  port(number: number): HubQueue {
    const queue = this.#byNumber.get(number)
    assert(queue !== undefined, 'an address is known at an open port')
    return queue
  }
}

/**
 * Which address is at which port: a table of sets, each with a few places, as switches have it. A look-up costs the places
 * of one set, whatever the table holds, and allocates nothing.
 */
class Addresses {
  /** The address: its first 16 bits and its last 32. */
  readonly #high = new Uint16Array(SETS * WAYS)
  readonly #low = new Int32Array(SETS * WAYS)
  /** The port, or -1. */
  readonly #port = new Int32Array(SETS * WAYS).fill(-1)
  readonly #seenAt = new Float64Array(SETS * WAYS)

  /**
   * The source at `address` was seen at `port`. Returns what that changed, as the number of the counter for it, or -1.
   */
  learn(u8: Uint8Array, address: Address, port: number, now: number): number {
    const high = highOf(u8, address)
    const low = lowOf(u8, address)
    // A group, or nobody, is at no port.
    if ((high & 0x0100) !== 0 || (high === 0 && low === 0)) return -1
    const first = setOf(high, low)
    let place = first
    for (let i = first; i < first + WAYS; i++) {
      if (this.#port[i]! >= 0 && this.#high[i] === high && this.#low[i] === low) {
        const before = this.#port[i]!
        this.#seenAt[i] = now
        this.#port[i] = port
        return before === port ? -1 : H.moved
      }
      if (this.#goesBefore(i, place)) place = i
    }
    const isFree = this.#port[place]! < 0 || now - this.#seenAt[place]! > AGE_US
    this.#high[place] = high
    this.#low[place] = low
    this.#port[place] = port
    this.#seenAt[place] = now
    return isFree ? H.learned : H.evicted
  }

  /** The port that the address at `address` was last seen at, or -1: a group, everybody, or nobody knows. */
  find(u8: Uint8Array, address: Address, now: number): number {
    const high = highOf(u8, address)
    if ((high & 0x0100) !== 0) return -1
    const low = lowOf(u8, address)
    const first = setOf(high, low)
    for (let i = first; i < first + WAYS; i++) {
      if (this.#high[i] === high && this.#low[i] === low && this.#port[i]! >= 0) {
        return now - this.#seenAt[i]! > AGE_US ? -1 : this.#port[i]!
      }
    }
    return -1
  }

  /** All that was seen at a port. */
  forget(port: number): void {
    for (let i = 0; i < SETS * WAYS; i++) if (this.#port[i] === port) this.#port[i] = -1
  }

  /** Which place is given away rather: an empty one, or the one not seen for longer. */
  #goesBefore(a: number, b: number): boolean {
    if (this.#port[b]! < 0) return false
    return this.#port[a]! < 0 || this.#seenAt[a]! < this.#seenAt[b]!
  }
}

function highOf(u8: Uint8Array, address: Address): number {
  return (u8[address]! << 8) | u8[address + 1]!
}

function lowOf(u8: Uint8Array, address: Address): number {
  return (u8[address + 2]! << 24) | (u8[address + 3]! << 16) | (u8[address + 4]! << 8) | u8[address + 5]!
}

/** The first place of an address's set (multiplicative hashing, Knuth 6.4). */
function setOf(high: number, low: number): number {
  return (Math.imul(low ^ Math.imul(high, 0x85ebca6b), 0x9e3779b1) >>> SET_SHIFT) * WAYS
}

/** How a port appears as a device. Its link address is made of its name: the same at each boot. */
export function hubInfo(options: HubPortOptions): DeviceInfo {
  const { hub, port, cpu } = options
  const name = `${hub.name}.${port}`
  return { name, framing: 'ethernet', mtu: hub.mtu ?? MTU, cpus: [cpu], address: linkAddressOf(name) }
}

function checkOptions(cpu: Cpu, options: HubPortOptions): void {
  const { hub, port } = options
  const { name, mtu = MTU } = hub
  const refuse = (errno: number, sentence: string): never => {
    throw new KernelError(errno, `hub ${name}, port ${port}: ${sentence}`)
  }
  if (options.cpu !== cpu.index) refuse(Errno.EINVAL, `it is on CPU ${options.cpu}, and this is CPU ${cpu.index}`)
  if (!Number.isInteger(port) || port < 0 || port > PORT_MAX) {
    refuse(Errno.EINVAL, `give a whole number from 0 to ${PORT_MAX} as the port`)
  }
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535) {
    refuse(Errno.EINVAL, `mtu is ${mtu}: give a whole number from 68 to 65535`)
  }
  if (cpu.memory.shared) {
    refuse(
      Errno.EOPNOTSUPP,
      'a hub joins CPUs of one thread, and this machine has several: lay wires between its hosts',
    )
  }
}

/** Counts of ports that were closed on this CPU: the next ones go on with them. */
function spareCounts(cpu: Cpu): Float64Array[] {
  return cpu.slot(SPARE, () => [])
}

const SPARE = Symbol('hub counts')

/**
 * The hubs of each machine, by name. The CPUs of a thread do not know each other: the one object that they have in common,
 * and that no other machine has, is their memory. So hubs hang on it, and go when it goes, and no machine finds another's.
 */
const HUBS = new WeakMap<Memory, Map<string, Hub>>()

assert((SETS & (SETS - 1)) === 0, 'the sets of a hub are a power of two')
assert(M.flags >= MessageHeader.size, "the mbuf's flags are not those of the message that it embeds")
