// A queue of a TUN or TAP device of Linux: one packet or frame each time by read(2) into mbufs and by write(2) out of them.
// The device is opened on the main thread (linux/tun.ts), which also closes it; the numbers of its descriptors travel in
// the specification, and each CPU makes a queue of its own over one of them.
//
// No virtio_net_hdr yet: it would be read into the headroom, by a first vector in front of the packet's.
import { Errno, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { type Deliver, DeviceCounters, type DeviceInfo, type DeviceQueue, deviceCounts, frameBytes } from './device.ts'
import { type Libc, libc, type Pointer } from './linux/library.ts'
import { MBUF_ROOM, Mbuf, Mbufs } from './mbuf.ts'
import { awaitDescriptor } from './sleeper.ts'
import { linkAddressOf } from './wire.ts'

export interface TunQueueOptions {
  /** `tun`: IP packets; `tap`: Ethernet frames. */
  readonly kind: 'tun' | 'tap'
  /** The interface's name. */
  readonly name: string
  /** One for each queue, opened by `openTun`; they are not closed here. */
  readonly descriptors: readonly number[]
  /** The CPUs of the queues, as many as descriptors, each once. */
  readonly cpus: readonly number[]
  /** The interface's, in bytes. Default 1500. */
  readonly mtu?: number
  /** Of a TAP device: the link address of this end (the interface has its own, of the kernel's end). Default: made of the name. */
  readonly address?: readonly number[]
}

const MTU = 1500
/** Packets staged until they are written; more are written at once. */
const STAGED_MAX = 256
/** Pieces that one writev takes; a packet of more is put together before. */
const VECTORS = 64
const VECTOR_BYTES = 16

// Constants of this module, because the compiler folds those (see port.ts).
const M = Mbuf.offset
const DATA = M.data >> 2
const LENGTH = M.length >> 2
const TOTAL = M.total >> 2
const PART = M.part >> 2
const ARRIVED_AT = M.arrivedAt >> 3
const C = DeviceCounters.index
const SYSTEM_CALLS = C.systemCalls
const AGAIN = -Errno.EAGAIN

export class TunQueue implements DeviceQueue {
  readonly info: DeviceInfo
  readonly descriptor: number
  readonly #cpu: Cpu
  readonly #system: Libc
  readonly #mbufs: Mbufs
  readonly #u32: Uint32Array
  readonly #count: Float64Array
  /** Where the machine's memory lies in the process: a pointer is this plus an address. */
  readonly #base: Pointer
  readonly #bytesMax: number
  /** Mbufs that the next packet is read into, as many as the longest takes: there already, so that a read that finds nothing has allocated nothing. */
  readonly #ready: Int32Array
  #readyCount = 0
  readonly #staged = new Int32Array(STAGED_MAX)
  #stagedCount = 0
  readonly #vectors = new Uint32Array(VECTORS * (VECTOR_BYTES / 4))
  readonly #vectorsAt: Pointer
  /** The last `receive` ended with packets left, as far as it knows. */
  #more = false
  #closed = false
  readonly #forget: () => void

  /**
   * @param kick see `awaitDescriptor`
   * @throws KernelError EINVAL where the options cannot be or this CPU has no queue; those of `libc` and `awaitDescriptor`
   */
  constructor(cpu: Cpu, options: TunQueueOptions, kick?: () => void, system: Libc = libc()) {
    this.info = tunInfo(options)
    const queue = options.cpus.indexOf(cpu.index)
    if (queue < 0)
      throw new KernelError(Errno.EINVAL, `CPU ${cpu.index} has no queue of ${options.name}: name it in its cpus`)
    this.descriptor = options.descriptors[queue]!
    this.#cpu = cpu
    this.#system = system
    this.#mbufs = Mbufs.of(cpu)
    this.#u32 = cpu.memory.u32
    this.#count = deviceCounts(cpu)
    this.#base = system.pointer(cpu.memory.u8)
    this.#bytesMax = frameBytes(this.info)
    // Room for a byte more than may come, so that what is too long is seen.
    this.#ready = new Int32Array(Math.floor(this.#bytesMax / MBUF_ROOM) + 1)
    this.#vectorsAt = system.pointer(new Uint8Array(this.#vectors.buffer))
    this.#forget = awaitDescriptor(cpu, this.descriptor, kick)
  }

  receive(budget: number, deliver: Deliver): number {
    let taken = 0
    let reads = 0
    this.#more = false
    while (reads < budget && this.#refill()) {
      reads++
      const bytes = this.#read()
      if (bytes < 0) {
        if (bytes !== AGAIN) this.#count[C.receiveErrors]!++
        break
      }
      this.#more = reads === budget
      if (bytes === 0) this.#count[C.receiveEmpty]!++
      else if (bytes > this.#bytesMax) this.#count[C.receiveTooLong]!++
      else {
        taken++
        this.#count[C.received]!++
        this.#count[C.receivedBytes]! += bytes
        deliver(this.#take(bytes))
      }
    }
    return taken
  }

  transmit(packet: Address): boolean {
    if (this.#u32[(packet >> 2) + TOTAL]! > this.#bytesMax) {
      this.#count[C.transmitTooLong]!++
      this.#mbufs.free(packet)
      return false
    }
    if (this.#stagedCount === STAGED_MAX) this.flush()
    this.#staged[this.#stagedCount++] = packet
    return true
  }

  flush(): void {
    const count = this.#stagedCount
    this.#stagedCount = 0
    for (let i = 0; i < count; i++) {
      const packet = this.#staged[i]!
      this.#write(packet)
      this.#mbufs.free(packet)
    }
  }

  /** Without a system call: what has come since the last `receive` found nothing, poll(2) tells. */
  pending(): boolean {
    return this.#more
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#forget()
    this.flush()
    while (this.#readyCount > 0) this.#mbufs.free(this.#ready[--this.#readyCount]!)
  }

  /** Makes the mbufs ready that the last packet took. False when there are none: what waits for them stays in the kernel. */
  #refill(): boolean {
    while (this.#readyCount < this.#ready.length) {
      const m = this.#mbufs.allocate()
      if (m === 0) {
        this.#count[C.receiveNoMbuf]!++
        return false
      }
      this.#ready[this.#readyCount++] = m
    }
    return true
  }

  #read(): number {
    this.#count[SYSTEM_CALLS]!++
    const parts = this.#ready.length
    if (parts === 1) {
      return this.#system.read(this.descriptor, this.#base + this.#u32[(this.#ready[0]! >> 2) + DATA]!, MBUF_ROOM)
    }
    for (let i = 0; i < parts; i++) this.#setVector(i, this.#u32[(this.#ready[i]! >> 2) + DATA]!, MBUF_ROOM)
    return this.#system.readv(this.descriptor, this.#vectorsAt, parts)
  }

  /** Makes a packet of the ready mbufs that `bytes` bytes were read into; the others stay ready. */
  #take(bytes: number): Address {
    const words = this.#u32
    const first = this.#ready[0]!
    words[(first >> 2) + TOTAL] = bytes
    this.#cpu.memory.f64[(first >> 3) + ARRIVED_AT] = this.#cpu.now
    let taken = 0
    let left = bytes
    for (let last = 0; left > 0; taken++) {
      const m = this.#ready[taken]!
      words[(m >> 2) + LENGTH] = Math.min(left, MBUF_ROOM)
      if (last !== 0) words[(last >> 2) + PART] = m
      left -= MBUF_ROOM
      last = m
    }
    this.#ready.copyWithin(0, taken, this.#readyCount)
    this.#readyCount -= taken
    return first
  }

  #write(packet: Address): void {
    const words = this.#u32
    const w = packet >> 2
    const total = words[w + TOTAL]!
    let written: number
    if (words[w + PART] === 0) {
      this.#count[SYSTEM_CALLS]!++
      written = this.#system.write(this.descriptor, this.#base + words[w + DATA]!, total)
    } else written = this.#gather(packet, total)
    if (written >= 0) {
      this.#count[C.transmitted]!++
      this.#count[C.transmittedBytes]! += total
    } else this.#count[written === AGAIN ? C.transmitFull : C.transmitErrors]!++
  }

  /** Writes a packet of several parts. */
  #gather(packet: Address, total: number): number {
    const words = this.#u32
    let count = 0
    for (let m = packet; m !== 0; m = words[(m >> 2) + PART]!) {
      if (count === VECTORS) return this.#writeCopy(packet, total)
      const length = words[(m >> 2) + LENGTH]!
      if (length > 0) this.#setVector(count++, words[(m >> 2) + DATA]!, length)
    }
    this.#count[SYSTEM_CALLS]!++
    return this.#system.writev(this.descriptor, this.#vectorsAt, count)
  }

  /** A packet in very many small parts: in one piece first. */
  #writeCopy(packet: Address, total: number): number {
    const { slab } = this.#cpu
    // The first words of an object are the slab's: bytes from outside lie behind them.
    const room = slab.tryAllocate(total + 16)
    if (room === 0) return AGAIN
    const copy = room + 16
    this.#mbufs.copyOut(packet, 0, total, copy)
    this.#count[SYSTEM_CALLS]!++
    const written = this.#system.write(this.descriptor, this.#base + copy, total)
    slab.free(room)
    return written
  }

  /** struct iovec: a pointer and a length, 64 bits each. */
  #setVector(index: number, address: Address, bytes: number): void {
    const pointer = this.#base + address
    this.#vectors[index * 4] = pointer % 0x100000000
    this.#vectors[index * 4 + 1] = Math.floor(pointer / 0x100000000)
    this.#vectors[index * 4 + 2] = bytes
    this.#vectors[index * 4 + 3] = 0
  }
}

/**
 * How a TUN or TAP device appears.
 * @throws KernelError EINVAL
 */
export function tunInfo(options: TunQueueOptions): DeviceInfo {
  const { kind, name, descriptors, cpus, mtu = MTU } = options
  const refuse = (sentence: string): never => {
    throw new KernelError(Errno.EINVAL, `${kind} device ${name}: ${sentence}`)
  }
  if (cpus.length === 0 || cpus.length !== descriptors.length || new Set(cpus).size !== cpus.length) {
    refuse(
      `it has ${descriptors.length} descriptors and the CPUs [${cpus.join(', ')}]: open a queue for each CPU, by openTun`,
    )
  }
  if (!Number.isInteger(mtu) || mtu < 68 || mtu > 65535) refuse(`mtu is ${mtu}: give a whole number from 68 to 65535`)
  const framing = kind === 'tap' ? 'ethernet' : 'ip'
  const info = { name, framing, mtu, cpus } as const
  return kind === 'tap' ? { ...info, address: options.address ?? linkAddressOf(`${name}.here`) } : info
}
