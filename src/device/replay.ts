// A device that plays a capture file to its CPU: with the file's own timing, faster, slower, or as fast as it is taken. What is
// transmitted vanishes; wrap the device in a capture to keep it.
//
// Of several queues each reads the file for itself when it is opened, and plays the packets whose flow hash is its own, as
// a card would have given them to it. The file is held in memory, outside of the machine's: this is for tests and laboratories.
import { Errno, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from '../kernel/cpu.ts'
import {
  type Deliver,
  DeviceCounters,
  type DeviceInfo,
  type DeviceQueue,
  deviceCounts,
  type Framing,
  frameBytes,
  LINK_HEADER_BYTES,
  type Steer,
} from './device.ts'
import { Mbuf, Mbufs } from './mbuf.ts'
import { openCapture } from './pcap/file.ts'
import { LinkType } from './pcap/format.ts'
import type { Packet } from './pcap/reader.ts'

export interface ReplayOptions {
  readonly path: string
  /** Default: the path. */
  readonly name?: string
  /** The CPUs that have a queue, each once. */
  readonly cpus: readonly number[]
  /** How many times faster than it was captured; Infinity is as fast as it is taken. Default 1. */
  readonly speed?: number
  /** How many times it is played. Default 1. */
  readonly loops?: number
  /** Which packets: those that came in and those of no known direction (`in`, default), those that went out, or all. */
  readonly direction?: 'in' | 'out' | 'all'
  /** Default: what the file's first interface says. */
  readonly framing?: Framing
  /** Default: of the longest packet in the file, 1500 at least. */
  readonly mtu?: number
}

const MTU = 1500
const C = DeviceCounters.index
const ARRIVED_AT = Mbuf.offset.arrivedAt >> 3
const TOTAL = Mbuf.offset.total >> 2

export class ReplayQueue implements DeviceQueue {
  readonly info: DeviceInfo
  readonly #cpu: Cpu
  readonly #mbufs: Mbufs
  readonly #count: Float64Array
  readonly #bytesMax: number
  /** What is played here, and µs since the file's first packet. */
  readonly #data: readonly Uint8Array[]
  readonly #times: Float64Array
  readonly #usPerUs: number
  /** From the file's first packet to its last. */
  readonly #durationUs: number
  readonly #loops: number
  readonly #startedAt: number
  #loop = 0
  #next = 0
  #cancelWake: (() => void) | undefined
  #closed = false

  /**
   * @param steer gives the flow hash by which several queues share the packets; without it queue 0 plays all
   * @throws KernelError EINVAL for options that cannot be or a CPU without a queue; those of `openCapture` and its packets
   */
  constructor(cpu: Cpu, options: ReplayOptions, steer?: Steer) {
    const packets = load(options)
    this.info = infoOf(options, packets)
    const queue = options.cpus.indexOf(cpu.index)
    if (queue < 0) throw refusal(options, `CPU ${cpu.index} has no queue: name it in its cpus`)
    this.#cpu = cpu
    this.#mbufs = Mbufs.of(cpu)
    this.#count = deviceCounts(cpu)
    this.#bytesMax = frameBytes(this.info)
    const firstUs = packets[0]?.timeUs ?? 0
    const mine = packets.filter((packet) => this.#queueOf(packet, steer) === queue)
    this.#data = mine.map((packet) => packet.data)
    this.#times = Float64Array.from(mine, (packet) => packet.timeUs - firstUs)
    this.#durationUs = packets.reduce((last, packet) => Math.max(last, packet.timeUs - firstUs), 0)
    this.#usPerUs = 1 / (options.speed ?? 1)
    this.#loops = this.#data.length === 0 ? 0 : (options.loops ?? 1)
    this.#startedAt = cpu.now
    this.#armWake()
  }

  /** Whether all has been played. */
  get finished(): boolean {
    return this.#loop >= this.#loops
  }

  receive(budget: number, deliver: Deliver): number {
    let played = 0
    while (played < budget && !this.finished && this.#dueAt() <= this.#cpu.now) {
      played++
      const data = this.#data[this.#next]!
      this.#advance()
      if (data.length > this.#bytesMax) this.#count[C.receiveTooLong]!++
      else this.#play(data, deliver)
    }
    if (played > 0) this.#armWake()
    return played
  }

  transmit(packet: Address): boolean {
    this.#count[C.transmitted]!++
    this.#count[C.transmittedBytes]! += this.#cpu.memory.u32[(packet >> 2) + TOTAL]!
    this.#mbufs.free(packet)
    return true
  }

  flush(): void {}

  pending(): boolean {
    return !this.finished && !this.#closed && this.#dueAt() <= this.#cpu.now
  }

  close(): void {
    this.#closed = true
    this.#cancelWake?.()
    this.#cancelWake = undefined
    this.#loop = this.#loops
  }

  #play(data: Uint8Array, deliver: Deliver): void {
    const packet = this.#mbufs.copyFrom(data)
    if (packet === 0) {
      this.#count[C.receiveNoMbuf]!++
      return
    }
    this.#cpu.memory.f64[(packet >> 3) + ARRIVED_AT] = this.#cpu.now
    this.#count[C.received]!++
    this.#count[C.receivedBytes]! += data.length
    deliver(packet)
  }

  #advance(): void {
    if (++this.#next < this.#data.length) return
    this.#next = 0
    this.#loop++
  }

  #dueAt(): number {
    return this.#startedAt + (this.#loop * this.#durationUs + this.#times[this.#next]!) * this.#usPerUs
  }

  /** A timer does no more than wake the CPU. */
  #armWake(): void {
    if (this.finished || this.#cancelWake !== undefined) return
    const delay = this.#dueAt() - this.#cpu.now
    if (delay <= 0) return
    this.#cancelWake = this.#cpu.timers.after(delay, () => {
      this.#cancelWake = undefined
      this.#armWake()
    })
  }

  #queueOf(packet: Packet, steer: Steer | undefined): number {
    const queues = this.info.cpus.length
    if (queues === 1 || steer === undefined) return 0
    const copy = this.#mbufs.copyFrom(packet.data)
    if (copy === 0) return 0
    const hash = steer(this.#cpu.memory, copy)
    this.#mbufs.free(copy)
    return (hash >>> 0) % queues
  }
}

/**
 * How a capture appears as a device. Reads the file where the options do not say all.
 * @throws KernelError EINVAL; those of `openCapture` and its packets
 */
export function replayInfo(options: ReplayOptions): DeviceInfo {
  const isTold = options.framing !== undefined && options.mtu !== undefined
  return infoOf(options, isTold ? [] : load(options))
}

function infoOf(options: ReplayOptions, packets: readonly Packet[]): DeviceInfo {
  const framing = options.framing ?? (packets[0]?.linkType === LinkType.RAW ? 'ip' : 'ethernet')
  const longest = packets.reduce((most, packet) => Math.max(most, packet.data.length), 0) - LINK_HEADER_BYTES[framing]
  return { name: options.name ?? options.path, framing, mtu: options.mtu ?? Math.max(MTU, longest), cpus: options.cpus }
}

/** The packets that are played: of one link type, those of the direction asked for. */
function load(options: ReplayOptions): Packet[] {
  const { speed = 1, loops = 1, direction = 'in', cpus } = options
  if (!(speed > 0)) throw refusal(options, `speed is ${speed}: give a number above 0, or Infinity`)
  if (!Number.isSafeInteger(loops) || loops < 1) throw refusal(options, `loops is ${loops}: give a whole number from 1`)
  if (!['in', 'out', 'all'].includes(direction)) {
    throw refusal(options, `direction is "${direction}": give "in", "out" or "all"`)
  }
  if (cpus.length === 0 || new Set(cpus).size !== cpus.length)
    throw refusal(options, 'give at least one CPU, and each once')
  const all = [...openCapture(options.path).packets()].filter(({ data }) => data.length > 0)
  const linkType = linkTypeOf(options, all)
  const isWanted = (packet: Packet) =>
    direction === 'all' || (packet.direction === 'out' ? direction === 'out' : direction === 'in')
  return all.filter((packet) => packet.linkType === linkType && isWanted(packet))
}

function linkTypeOf(options: ReplayOptions, packets: readonly Packet[]): number {
  if (options.framing !== undefined) return options.framing === 'ethernet' ? LinkType.ETHERNET : LinkType.RAW
  const found = packets[0]?.linkType ?? LinkType.ETHERNET
  if (found === LinkType.ETHERNET || found === LinkType.RAW) return found
  throw refusal(options, `its packets have link type ${found}: give a capture of Ethernet (1) or of raw IP (101)`)
}

function refusal(options: ReplayOptions, sentence: string): KernelError {
  return new KernelError(Errno.EINVAL, `replay of ${options.path}: ${sentence}`)
}
