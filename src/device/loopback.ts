// The device that leads back to its own CPU: what is transmitted is received on the same queue, in the next `receive` and
// never within the transmit, so that a packet which answers itself does not nest.
import { Errno, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { POINT } from '../kernel/handoff.ts'
import { MessageHeader } from '../kernel/message.ts'
import {
  type Deliver,
  DeviceCounters,
  type DeviceInfo,
  type DeviceQueue,
  deviceCounts,
  type Framing,
  frameBytes,
} from './device.ts'
import { Mbuf, MbufFlag, Mbufs } from './mbuf.ts'

export interface LoopbackOptions {
  /** Default `lo`. */
  readonly name?: string
  /** The CPUs that have a queue, each once. */
  readonly cpus: readonly number[]
  /** Default `ip`. */
  readonly framing?: Framing
  /** Default 65535: nothing on the way asks for less. */
  readonly mtu?: number
  /** Packets that wait in a queue at most. Default 512. */
  readonly limit?: number
}

const MTU = 65535
const LIMIT = 512

// Constants of this module, because the compiler folds those (see port.ts).
const M = Mbuf.offset
const FLAGS = M.flags >> 1
const INTERFACE_INDEX = M.interfaceIndex >> 1
const TOTAL = M.total >> 2
const LINK = M.link >> 2
const ARRIVED_AT = M.arrivedAt >> 3
const QUEUED_AT = MessageHeader.offset.queuedAt >> 3
const { HASHED, CHECKED, LOOPBACK } = MbufFlag
const C = DeviceCounters.index

export class LoopbackQueue implements DeviceQueue {
  readonly info: DeviceInfo
  readonly #cpu: Cpu
  readonly #mbufs: Mbufs
  readonly #u32: Uint32Array
  readonly #u16: Uint16Array
  readonly #f64: Float64Array
  readonly #count: Float64Array
  readonly #record: number
  readonly #limit: number
  readonly #bytesMax: number
  #head = 0
  #tail = 0
  #depth = 0

  /** @throws KernelError EINVAL where this CPU has no queue */
  constructor(cpu: Cpu, options: LoopbackOptions) {
    this.info = loopbackInfo(options)
    if (!options.cpus.includes(cpu.index)) {
      throw new KernelError(Errno.EINVAL, `CPU ${cpu.index} has no queue of ${this.info.name}: name it in its cpus`)
    }
    this.#cpu = cpu
    this.#mbufs = Mbufs.of(cpu)
    this.#u32 = cpu.memory.u32
    this.#u16 = cpu.memory.u16
    this.#f64 = cpu.memory.f64
    this.#count = deviceCounts(cpu)
    this.#record = cpu.handoffs.record(POINT.rx, cpu.index)
    this.#limit = options.limit ?? LIMIT
    this.#bytesMax = frameBytes(this.info)
  }

  receive(budget: number, deliver: Deliver): number {
    const waiting = this.#depth
    if (waiting === 0) return 0
    const { now, handoffs } = this.#cpu
    const count = Math.min(waiting, budget)
    handoffs.depth(this.#record, waiting)
    handoffs.waited(this.#record, now - this.#f64[(this.#head >> 3) + QUEUED_AT]!)
    // What these cause to be transmitted stands behind them, and waits for the next time.
    for (let i = 0; i < count; i++) {
      const packet = this.#take()
      this.#f64[(packet >> 3) + ARRIVED_AT] = now
      this.#count[C.receivedBytes]! += this.#u32[(packet >> 2) + TOTAL]!
      deliver(packet)
    }
    this.#count[C.received]! += count
    handoffs.served(this.#record, count, count < waiting)
    return count
  }

  transmit(given: Address): boolean {
    const total = this.#u32[(given >> 2) + TOTAL]!
    if (total > this.#bytesMax) return this.#refuse(given, C.transmitTooLong)
    if (this.#depth >= this.#limit) {
      this.#cpu.handoffs.dropped(this.#record)
      return this.#refuse(given, C.transmitFull)
    }
    // It waits here for the next turn, and then is the receiver's.
    const packet = this.#mbufs.detach(given)
    if (packet === 0) {
      this.#cpu.handoffs.dropped(this.#record)
      this.#count[C.transmitNoMbuf]!++
      return false
    }
    const flags = (packet >> 1) + FLAGS
    // Memory does not damage packets: nobody needs to look at their checksums.
    this.#u16[flags] = (this.#u16[flags]! & HASHED) | CHECKED | LOOPBACK
    this.#u16[(packet >> 1) + INTERFACE_INDEX] = 0
    this.#f64[(packet >> 3) + QUEUED_AT] = this.#cpu.now
    this.#u32[(packet >> 2) + LINK] = 0
    if (this.#head === 0) this.#head = packet
    else this.#u32[(this.#tail >> 2) + LINK] = packet
    this.#tail = packet
    this.#depth++
    this.#count[C.transmitted]!++
    this.#count[C.transmittedBytes]! += total
    this.#cpu.handoffs.enqueued(this.#record, 1)
    return true
  }

  flush(): void {}

  pending(): boolean {
    return this.#depth > 0
  }

  close(): void {
    while (this.#depth > 0) this.#mbufs.free(this.#take())
  }

  #take(): Address {
    const packet = this.#head
    this.#head = this.#u32[(packet >> 2) + LINK]!
    this.#depth--
    return packet
  }

  #refuse(packet: Address, counter: number): boolean {
    this.#count[counter]!++
    this.#mbufs.free(packet)
    return false
  }
}

/** How a loopback appears as a device. */
export function loopbackInfo(options: LoopbackOptions): DeviceInfo {
  const { name = 'lo', framing = 'ip', mtu = MTU, cpus } = options
  const info = { name, framing, mtu, cpus }
  // Of Ethernet frames that come back everyone is the target, so the address is of no account.
  return framing === 'ethernet' ? { ...info, address: [0, 0, 0, 0, 0, 0] } : info
}
