// A queue of a TUN or TAP device of Linux: one packet or frame each time by read(2) into mbufs and by write(2) out of them.
// The device is opened on the main thread (linux/tun.ts), which also closes it; the numbers of its descriptors travel in
// the specification, and each CPU makes a queue of its own over one of them.
//
// With `vnetHeader` a struct virtio_net_hdr goes before each packet, both ways (virtio 1.2, 5.1.6; in the host's order):
//
//   u8 flags | u8 gso_type | u16 hdr_len | u16 gso_size | u16 csum_start | u16 csum_offset     10 bytes
//
// and two things are left to whoever does them best: checksums are not computed between us and the kernel, and a TCP
// super-segment of up to 64 KiB crosses by one system call, to be cut by the kernel where it leaves the machine, or never.
import { Errno, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { POINT } from '../kernel/handoff.ts'
import {
  type Deliver,
  DeviceCounters,
  type DeviceInfo,
  type DeviceQueue,
  deviceCounts,
  frameBytes,
  LINK_HEADER_BYTES,
  segmentedFrameBytes,
} from './device.ts'
import { type Libc, libc, type Pointer } from './linux/library.ts'
import { ReceiveSteering } from './linux/steering.ts'
import { VNET_HEADER_BYTES } from './linux/tun.ts'
import { MBUF_ROOM, Mbuf, MbufFlag, Mbufs } from './mbuf.ts'
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
  /**
   * The device was opened with `vnetHeader`: checksums and TCP segmentation (IPv4) are offloaded, both ways. For a host:
   * what the kernel hands over has no checksum but counts as checked, so it cannot be sent on over another device. Default false.
   */
  readonly vnetHeader?: boolean
}

const MTU = 1500
/** Packets staged until they are written; more are written at once. */
const STAGED_MAX = 256
/** Pieces that one writev takes; a packet of more is put together before. */
const VECTORS = 64
const VECTOR_BYTES = 16
/** Of a super-segment, what does not fit into the first mbuf. */
const CLUSTER_BYTES = 65536
/** Less than this in a cluster moves to one of its own size, or a receive buffer would be full of air. */
const CLUSTER_FILLED_MIN = 16384

/** Of struct virtio_net_hdr: flags, types, and its fields as 16-bit words. */
const NEEDS_CSUM = 1
const DATA_VALID = 2
const GSO_NONE = 0
const GSO_TCPV4 = 1
const GSO_ECN = 0x80
const VNET_KIND = 0
const VNET_HEADER_LENGTH = 1
const VNET_GSO_SIZE = 2
const VNET_CSUM_START = 3
const VNET_CSUM_OFFSET = 4

/** What is read of the packets' own headers (RFC 791, RFC 9293, RFC 768). */
const IP_HEADER_BYTES_MIN = 20
const IP_PROTOCOL = 9
const TCP = 6
const TCP_CHECKSUM = 16
const TCP_DATA_OFFSET = 12
const TCP_FLAGS = 13
const TCP_CWR = 0x80
const TCP_HEADER_BYTES_MIN = 20
const UDP = 17
const UDP_CHECKSUM = 6
const UDP_HEADER_BYTES = 8

// Constants of this module, because the compiler folds those (see port.ts).
const M = Mbuf.offset
const DATA = M.data >> 2
const LENGTH = M.length >> 2
const TOTAL = M.total >> 2
const PART = M.part >> 2
const ARRIVED_AT = M.arrivedAt >> 3
const FLAGS = M.flags >> 1
const SEGMENT_BYTES = M.segmentBytes >> 1
const { CHECKED, SEGMENTED, PARTIAL_CHECKSUM } = MbufFlag
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
  /** The record of what waits in the kernel's queue for this CPU. */
  readonly #record: number
  /** Where the machine's memory lies in the process: a pointer is this plus an address. */
  readonly #base: Pointer
  readonly #u8: Uint8Array
  readonly #u16: Uint16Array
  readonly #bytesMax: number
  readonly #segmentedBytesMax: number
  readonly #linkHeader: number
  readonly #vnetHeader: boolean
  /** Mbufs that the next packet is read into, as many as the longest takes: there already, so that a read that finds nothing has allocated nothing. */
  readonly #ready: Int32Array
  /** How many of them, from the first on, went with the last packet. */
  #missing: number
  readonly #inVectors: Uint32Array
  readonly #inVectorsAt: Pointer
  /** The virtio_net_hdr of a packet that has no room for it in front. */
  readonly #vnet = new Uint16Array(new ArrayBuffer(16))
  readonly #staged = new Int32Array(STAGED_MAX)
  #stagedCount = 0
  readonly #vectors = new Uint32Array(new ArrayBuffer((1 + VECTORS) * VECTOR_BYTES))
  readonly #vectorsAt: Pointer
  /** The last `receive` ended with packets left, as far as it knows. */
  #more = false
  #closed = false
  readonly #forget: () => void
  readonly #steering: ReceiveSteering | undefined

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
    this.#record = cpu.handoffs.record(POINT.rx, cpu.index)
    this.#base = system.pointer(cpu.memory.u8)
    this.#u8 = cpu.memory.u8
    this.#u16 = cpu.memory.u16
    this.#bytesMax = frameBytes(this.info)
    this.#segmentedBytesMax = segmentedFrameBytes(this.info)
    this.#linkHeader = LINK_HEADER_BYTES[this.info.framing]
    this.#vnetHeader = options.vnetHeader === true
    // Room for a byte more than may come, so that what is too long is seen.
    this.#ready = new Int32Array(this.#vnetHeader ? 2 : Math.floor(this.#bytesMax / MBUF_ROOM) + 1)
    this.#missing = this.#ready.length
    this.#inVectors = new Uint32Array(new ArrayBuffer(this.#ready.length * VECTOR_BYTES))
    this.#inVectorsAt = system.pointer(new Uint8Array(this.#inVectors.buffer))
    this.#vectorsAt = system.pointer(new Uint8Array(this.#vectors.buffer))
    // The first is the header's, where it is needed, and never changes.
    setVector(this.#vectors, 0, system.pointer(new Uint8Array(this.#vnet.buffer)), VNET_HEADER_BYTES)
    this.#forget = awaitDescriptor(cpu, this.descriptor, kick)
    this.#steering = ReceiveSteering.open(options.name, queue, options.cpus.length, { system })
  }

  receive(budget: number, deliver: Deliver): number {
    let taken = 0
    let reads = 0
    this.#more = false
    while (reads < budget && this.#refill()) {
      reads++
      const read = this.#read()
      if (read < 0) {
        if (read !== AGAIN) this.#count[C.receiveErrors]!++
        break
      }
      this.#more = reads === budget
      const bytes = this.#vnetHeader ? read - VNET_HEADER_BYTES : read
      if (this.#accepts(bytes)) {
        taken++
        this.#count[C.received]!++
        this.#count[C.receivedBytes]! += bytes
        deliver(this.#take(bytes))
      }
    }
    if (taken > 0) this.#counted(taken)
    return taken
  }

  /** Of the kernel's queue only that is known which one service has found: how much more there was at the limit is not. */
  #counted(taken: number): void {
    const { handoffs } = this.#cpu
    handoffs.enqueued(this.#record, taken)
    handoffs.depth(this.#record, taken)
    handoffs.served(this.#record, taken, this.#more)
  }

  transmit(packet: Address): boolean {
    const total = this.#u32[(packet >> 2) + TOTAL]!
    const isSegmented = (this.#u16[(packet >> 1) + FLAGS]! & SEGMENTED) !== 0
    if (total > (isSegmented ? this.#segmentedBytesMax : this.#bytesMax)) {
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
    if (count === 0) return
    this.#stagedCount = 0
    const done = this.#count
    this.#steering?.look(
      this.#cpu.now,
      done[C.received]! + done[C.transmitted]!,
      done[C.receivedBytes]! + done[C.transmittedBytes]!,
    )
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
    this.#steering?.close()
    while (this.#missing < this.#ready.length) this.#mbufs.free(this.#ready[this.#missing++]!)
  }

  /** Makes the mbufs ready that the last packet took. False when there are none: what waits for them stays in the kernel. */
  #refill(): boolean {
    while (this.#missing > 0) {
      const index = this.#missing - 1
      const bytes = this.#roomOf(index)
      const m = bytes === MBUF_ROOM ? this.#mbufs.allocate() : this.#mbufs.allocateCluster(bytes)
      if (m === 0) {
        this.#count[C.receiveNoMbuf]!++
        return false
      }
      this.#ready[index] = m
      // The virtio_net_hdr is read into the first one's headroom.
      const extra = this.#vnetHeader && index === 0 ? VNET_HEADER_BYTES : 0
      setVector(this.#inVectors, index, this.#base + this.#u32[(m >> 2) + DATA]! - extra, bytes + extra)
      this.#missing--
    }
    return true
  }

  /** Bytes that are read into a ready mbuf. */
  #roomOf(index: number): number {
    return this.#vnetHeader && index === 1 ? CLUSTER_BYTES : MBUF_ROOM
  }

  #read(): number {
    this.#count[SYSTEM_CALLS]!++
    const parts = this.#ready.length
    if (parts > 1) return this.#system.readv(this.descriptor, this.#inVectorsAt, parts)
    return this.#system.read(this.descriptor, this.#base + this.#u32[(this.#ready[0]! >> 2) + DATA]!, MBUF_ROOM)
  }

  /** Whether the packet of `bytes` bytes that was read can be one. Counts it where not. */
  #accepts(bytes: number): boolean {
    if (bytes === 0) {
      this.#count[C.receiveEmpty]!++
      return false
    }
    if (this.#vnetHeader && !this.#makesSense(bytes)) {
      this.#count[C.receiveErrors]!++
      return false
    }
    const isSegmented = this.#vnetHeader && this.#u16[this.#vnetIn() + VNET_KIND]! >>> 8 !== GSO_NONE
    if (bytes > (isSegmented ? this.#segmentedBytesMax : this.#bytesMax)) {
      this.#count[C.receiveTooLong]!++
      return false
    }
    return true
  }

  /** Whether the virtio_net_hdr says what we have agreed to, about a packet of this length. */
  #makesSense(bytes: number): boolean {
    const vnet = this.#u16
    const at = this.#vnetIn()
    if (bytes < 0) return false
    const needsChecksum = (vnet[at + VNET_KIND]! & NEEDS_CSUM) !== 0
    if (needsChecksum && vnet[at + VNET_CSUM_START]! + vnet[at + VNET_CSUM_OFFSET]! + 2 > bytes) return false
    const type = vnet[at + VNET_KIND]! >>> 8
    if (type === GSO_NONE) return true
    return (type & ~GSO_ECN) === GSO_TCPV4 && vnet[at + VNET_GSO_SIZE]! > 0
  }

  /** The index, among halfwords, of the virtio_net_hdr that was read. */
  #vnetIn(): number {
    return (this.#u32[(this.#ready[0]! >> 2) + DATA]! - VNET_HEADER_BYTES) >> 1
  }

  /** Makes a packet of the ready mbufs that `bytes` bytes were read into; the others stay ready. */
  #take(bytes: number): Address {
    const words = this.#u32
    const first = this.#ready[0]!
    words[(first >> 2) + TOTAL] = bytes
    this.#cpu.memory.f64[(first >> 3) + ARRIVED_AT] = this.#cpu.now
    if (this.#vnetHeader) this.#takeFlags(first)
    let taken = 0
    let left = bytes
    for (let last = 0; left > 0; ) {
      const length = Math.min(left, this.#roomOf(taken))
      const m = this.#takePart(taken, length)
      // A cluster whose bytes have moved stays ready.
      if (m === this.#ready[taken]) this.#missing = ++taken
      words[(m >> 2) + LENGTH] = length
      if (last !== 0) words[(last >> 2) + PART] = m
      left -= length
      last = m
    }
    return first
  }

  /** A ready mbuf that `length` bytes were read into, or one with a copy of them, where they are few for its size. */
  #takePart(index: number, length: number): Address {
    const m = this.#ready[index]!
    if (this.#roomOf(index) !== CLUSTER_BYTES || length > CLUSTER_FILLED_MIN) return m
    const own = this.#mbufs.allocateCluster(length)
    if (own === 0) return m
    this.#cpu.memory.routines.copy(this.#u32[(own >> 2) + DATA]!, this.#u32[(m >> 2) + DATA]!, length)
    return own
  }

  /** The kernel vouches for what it has checked, and for what it has made itself and not computed a checksum for. */
  #takeFlags(packet: Address): void {
    const at = this.#vnetIn()
    const kind = this.#u16[at + VNET_KIND]!
    let flags = (kind & (NEEDS_CSUM | DATA_VALID)) === 0 ? 0 : CHECKED
    if (kind >>> 8 !== GSO_NONE) {
      flags |= SEGMENTED
      this.#u16[(packet >> 1) + SEGMENT_BYTES] = this.#u16[at + VNET_GSO_SIZE]!
    }
    this.#u16[(packet >> 1) + FLAGS] = flags
  }

  #write(packet: Address): void {
    const words = this.#u32
    const w = packet >> 2
    const total = words[w + TOTAL]!
    // The header goes into the headroom, where there is some: one vector less, and for a packet of one part none at all.
    const data = words[w + DATA]!
    const inFront = this.#vnetHeader && (data & 1) === 0 && this.#mbufs.headroom(packet) >= VNET_HEADER_BYTES
    if (this.#vnetHeader) {
      const described = inFront
        ? this.#describe(packet, total, this.#u16, (data - VNET_HEADER_BYTES) >> 1)
        : this.#describe(packet, total, this.#vnet, 0)
      if (!described) {
        this.#count[C.transmitErrors]!++
        return
      }
    }
    const extra = inFront ? VNET_HEADER_BYTES : 0
    let written: number
    if (words[w + PART] === 0 && this.#vnetHeader === inFront) {
      this.#count[SYSTEM_CALLS]!++
      written = this.#system.write(this.descriptor, this.#base + data - extra, total + extra)
    } else written = this.#gather(packet, total, extra)
    if (written >= 0) {
      this.#count[C.transmitted]!++
      this.#count[C.transmittedBytes]! += total
    } else this.#count[written === AGAIN ? C.transmitFull : C.transmitErrors]!++
  }

  /**
   * Writes the virtio_net_hdr of a packet. False where its flags ask for what cannot be said of its headers, which lie in
   * its first part.
   */
  #describe(packet: Address, total: number, vnet: Uint16Array, out: number): boolean {
    const flags = this.#u16[(packet >> 1) + FLAGS]! & (SEGMENTED | PARTIAL_CHECKSUM)
    vnet[out + VNET_KIND] = 0
    vnet[out + VNET_HEADER_LENGTH] = 0
    vnet[out + VNET_GSO_SIZE] = 0
    vnet[out + VNET_CSUM_START] = 0
    vnet[out + VNET_CSUM_OFFSET] = 0
    if (flags === 0) return true
    const u8 = this.#u8
    const data = this.#u32[(packet >> 2) + DATA]!
    const length = this.#u32[(packet >> 2) + LENGTH]!
    const ip = data + this.#linkHeader
    if (length < this.#linkHeader + IP_HEADER_BYTES_MIN || u8[ip]! >>> 4 !== 4) return false
    const protocol = u8[ip + IP_PROTOCOL]!
    const start = this.#linkHeader + ((u8[ip]! & 15) << 2)
    const isTcp = protocol === TCP && length >= start + TCP_HEADER_BYTES_MIN
    const isUdp = protocol === UDP && length >= start + UDP_HEADER_BYTES
    if (!isTcp && !isUdp) return false
    if ((flags & PARTIAL_CHECKSUM) !== 0) {
      vnet[out + VNET_KIND] = NEEDS_CSUM
      vnet[out + VNET_CSUM_START] = start
      vnet[out + VNET_CSUM_OFFSET] = isTcp ? TCP_CHECKSUM : UDP_CHECKSUM
    }
    if ((flags & SEGMENTED) === 0) return true
    const segmentBytes = this.#u16[(packet >> 1) + SEGMENT_BYTES]!
    if (!isTcp || segmentBytes === 0) return false
    const headerBytes = start + ((u8[data + start + TCP_DATA_OFFSET]! >>> 4) << 2)
    // One segment is no super-segment.
    if (total - headerBytes <= segmentBytes) return true
    const ecn = (u8[data + start + TCP_FLAGS]! & TCP_CWR) === 0 ? 0 : GSO_ECN
    vnet[out + VNET_KIND]! |= (GSO_TCPV4 | ecn) << 8
    vnet[out + VNET_HEADER_LENGTH] = headerBytes
    vnet[out + VNET_GSO_SIZE] = segmentBytes
    return true
  }

  /** Writes a packet of several parts, or one with a header before it. `extra` bytes in front of its data go with it. */
  #gather(packet: Address, total: number, extra: number): number {
    const words = this.#u32
    let count = 0
    for (let m = packet; m !== 0; m = words[(m >> 2) + PART]!) {
      if (count === VECTORS) return this.#writeCopy(packet, total, extra)
      const length = words[(m >> 2) + LENGTH]!
      const more = m === packet ? extra : 0
      if (length + more > 0)
        setVector(this.#vectors, 1 + count++, this.#base + words[(m >> 2) + DATA]! - more, length + more)
    }
    return this.#writeVectors(count, extra)
  }

  /** A packet in very many small parts: in one piece first. */
  #writeCopy(packet: Address, total: number, extra: number): number {
    const { slab, memory } = this.#cpu
    // The first words of an object are the slab's: bytes from outside lie behind them.
    const room = slab.tryAllocate(total + 32)
    if (room === 0) return AGAIN
    const copy = room + 32
    this.#mbufs.copyOut(packet, 0, total, copy)
    memory.u8.copyWithin(copy - extra, this.#u32[(packet >> 2) + DATA]! - extra, this.#u32[(packet >> 2) + DATA]!)
    setVector(this.#vectors, 1, this.#base + copy - extra, total + extra)
    const written = this.#writeVectors(1, extra)
    slab.free(room)
    return written
  }

  #writeVectors(count: number, extra: number): number {
    this.#count[SYSTEM_CALLS]!++
    if (this.#vnetHeader && extra === 0) return this.#system.writev(this.descriptor, this.#vectorsAt, 1 + count)
    return this.#system.writev(this.descriptor, this.#vectorsAt + VECTOR_BYTES, count)
  }
}

/** struct iovec: a pointer and a length, 64 bits each. */
function setVector(vectors: Uint32Array, index: number, pointer: Pointer, bytes: number): void {
  vectors[index * 4] = pointer % 0x100000000
  vectors[index * 4 + 1] = Math.floor(pointer / 0x100000000)
  vectors[index * 4 + 2] = bytes
  vectors[index * 4 + 3] = 0
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
  const address = kind === 'tap' ? { address: options.address ?? linkAddressOf(`${name}.here`) } : {}
  const offload = options.vnetHeader === true ? { offload: { checksum: true, segmentation: true } } : {}
  return { ...info, ...address, ...offload }
}
