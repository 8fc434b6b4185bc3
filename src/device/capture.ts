// Records what passes a device, both ways, into a capture file that Wireshark and tcpdump read, also while it is written:
// what was recorded is in the file after a second at most, and after the end.
//
// Each queue is written by its own CPU, so a device of several queues gives several files: wire.pcapng becomes
// wire-0.pcapng, wire-1.pcapng … by the number of the queue (mergecap puts them together). What came in is recorded when
// it is delivered, what goes out when it is transmitted and before the device takes it.
//
// Where packets are traced, each has in a pcapng file a comment with the number of its trace and how it came about (trace/summary.ts).
//
// A capture never disturbs what it looks at: when the file cannot be written any more, that is counted and the capture is over.

import { VirtualClock } from '../base/clock.ts'
import { Errno, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import { counterSet } from '../kernel/counters.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { ChainReader } from '../kernel/trace/reader.ts'
import { traceSummary } from '../kernel/trace/summary.ts'
import { noteArrival } from './arrival.ts'
import { type Deliver, type DeviceInfo, type DeviceQueue, frameBytes, segmentedFrameBytes } from './device.ts'
import { Mbuf, type MbufCursor, MbufFlag, Mbufs } from './mbuf.ts'
import { captureFile, formatOf } from './pcap/file.ts'
import { type Direction, LinkType, SNAP_LENGTH_MAX } from './pcap/format.ts'
import type { CaptureWriter } from './pcap/writer.ts'

export interface CaptureQueueOptions {
  /** `*.pcapng`, which also tells the directions, or `*.pcap`. */
  readonly path: string
  /** Default `both`. */
  readonly direction?: 'in' | 'out' | 'both'
  /** Bytes kept of each frame. Default: all. */
  readonly snapLength?: number
  /**
   * The wall clock when the machine's time was 0, in µs since 1970 (`Epoch.wallUs`): the same for all queues. Without it
   * each takes it of its own thread, which agree to a millisecond; a simulated machine then begins at 0.
   */
  readonly wallUs?: number
}

export const CaptureCounters = counterSet('capture', [
  'recorded',
  'recordedBytes',
  /** A chain of mbufs for which there was no memory to put it together: its first part was recorded. */
  'cut',
  /** Since the file could not be written; what was gathered until then and not yet written is lost as well, but counted as recorded. */
  'lost',
] as const)
const C = CaptureCounters.index

const M = Mbuf.offset
const DATA = M.data >> 2
const LENGTH = M.length >> 2
const TOTAL = M.total >> 2
const PART = M.part >> 2

const FLUSH_US = 1e6

export class CaptureQueue implements DeviceQueue {
  readonly info: DeviceInfo
  readonly descriptor: number | undefined
  /** The file of this queue. */
  readonly path: string
  /** Why it is not written any more. */
  failure: KernelError | undefined
  readonly #cpu: Cpu
  readonly #inner: DeviceQueue
  readonly #mbufs: Mbufs
  readonly #count: Float64Array
  readonly #writer: CaptureWriter
  readonly #wallUs: number
  readonly #snapLength: number
  readonly #inbound: boolean
  readonly #outbound: boolean
  readonly #m: MbufCursor
  /** Classic pcap has no room for comments. */
  readonly #hasComments: boolean
  #reader: ChainReader | undefined
  /** Armed while something was recorded that is not in the file: a machine at rest has no timer. */
  #cancelFlush: (() => void) | undefined
  #closed = false
  #deliver: Deliver = () => {}

  /** @throws KernelError those of `captureFile` */
  constructor(cpu: Cpu, inner: DeviceQueue, options: CaptureQueueOptions) {
    const { direction = 'both' } = options
    if (!['in', 'out', 'both'].includes(direction)) {
      throw new KernelError(Errno.EINVAL, `capture: direction is "${direction}": give "in", "out" or "both"`)
    }
    this.info = inner.info
    this.descriptor = inner.descriptor
    this.path = capturePath(options.path, inner.info, cpu.index)
    this.#cpu = cpu
    this.#inner = inner
    this.#mbufs = Mbufs.of(cpu)
    this.#count = cpu.counterPage.open(CaptureCounters, cpu.slot(NUMBER, () => ({ next: 0 })).next++)
    this.#snapLength =
      options.snapLength ??
      Math.min(SNAP_LENGTH_MAX, Math.max(frameBytes(inner.info), segmentedFrameBytes(inner.info), 65_535))
    this.#inbound = direction !== 'out'
    this.#outbound = direction !== 'in'
    this.#m = Mbuf.cursor(cpu.memory)
    this.#hasComments = formatOf(this.path) === 'pcapng'
    this.#wallUs = options.wallUs ?? wallAtBoot(cpu)
    this.#writer = captureFile(this.path, {
      linkType: inner.info.framing === 'ethernet' ? LinkType.ETHERNET : LinkType.RAW,
      snapLength: this.#snapLength,
      interfaceName: inner.info.name,
    })
  }

  receive(budget: number, deliver: Deliver): number {
    this.#deliver = deliver
    return this.#inner.receive(budget, this.#inbound ? this.#recordAndDeliver : deliver)
  }

  transmit(packet: Address): boolean {
    if (this.#outbound) this.#record(packet, 'out')
    return this.#inner.transmit(packet)
  }

  flush(): void {
    this.#inner.flush()
  }

  pending(): boolean {
    return this.#inner.pending()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#cancelFlush?.()
    this.#attempt(() => this.#writer.close())
    this.#inner.close()
  }

  readonly #recordAndDeliver: Deliver = (packet) => {
    const { tracer } = this.#cpu
    if (tracer.isSet) {
      noteArrival(tracer, this.#m, packet, this.info.name)
      this.#m.at = packet
      this.#m.flags |= MbufFlag.ARRIVED
    }
    this.#record(packet, 'in')
    this.#deliver(packet)
  }

  #record(packet: Address, direction: Direction): void {
    if (this.failure !== undefined || this.#closed) {
      this.#count[C.lost]!++
      return
    }
    const { memory, tracer } = this.#cpu
    const { u32 } = memory
    const total = u32[(packet >> 2) + TOTAL]!
    const comment = tracer.isSet && this.#hasComments ? this.#comment(packet) : undefined
    if (u32[(packet >> 2) + PART] === 0) this.#write(u32[(packet >> 2) + DATA]!, total, total, direction, comment)
    else this.#recordChain(packet, total, direction, comment)
    this.#cancelFlush ??= this.#cpu.timers.after(FLUSH_US, this.#flushFile)
  }

  #comment(packet: Address): string | undefined {
    const { tracer, memory } = this.#cpu
    if (!tracer.isTraced(packet)) return undefined
    this.#reader ??= new ChainReader(memory)
    return traceSummary(this.#reader, tracer.of(packet))
  }

  /** The writer takes one piece of memory. */
  #recordChain(packet: Address, total: number, direction: Direction, comment: string | undefined): void {
    const { slab, memory } = this.#cpu
    const length = Math.min(total, this.#snapLength)
    const copy = length > COPY_MAX ? 0 : slab.tryAllocate(length)
    if (copy === 0) {
      this.#count[C.cut]!++
      this.#write(memory.u32[(packet >> 2) + DATA]!, memory.u32[(packet >> 2) + LENGTH]!, total, direction, comment)
      return
    }
    this.#mbufs.copyOut(packet, 0, length, copy)
    this.#write(copy, length, total, direction, comment)
    slab.free(copy)
  }

  #write(address: Address, length: number, total: number, direction: Direction, comment: string | undefined): void {
    const timeUs = this.#wallUs + this.#cpu.now
    try {
      this.#writer.record(this.#cpu.memory.u8, address, length, total, timeUs, direction, comment)
      this.#count[C.recorded]!++
      this.#count[C.recordedBytes]! += total
    } catch (error) {
      this.#count[C.lost]!++
      this.#fail(error)
    }
  }

  readonly #flushFile = () => {
    this.#cancelFlush = undefined
    this.#attempt(() => this.#writer.flush())
  }

  #attempt(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#fail(error)
    }
  }

  /** The file's errors end the capture; anything else is a bug, and ends the machine. */
  #fail(error: unknown): void {
    if (!(error instanceof KernelError)) throw error
    this.failure ??= error
  }
}

const NUMBER = Symbol('capture number')
/** The largest object of the slab. */
const COPY_MAX = 81920

/** The file of a CPU's queue: the path itself, or, of several queues, with the queue's number. */
export function capturePath(path: string, info: DeviceInfo, cpu: number): string {
  if (info.cpus.length <= 1) return path
  return path.replace(/(\.[^./]*)?$/, `-${info.cpus.indexOf(cpu)}$1`)
}

function wallAtBoot(cpu: Cpu): number {
  if (cpu.clock instanceof VirtualClock) return 0
  return (performance.timeOrigin + performance.now()) * 1000 - cpu.clock.now()
}
