// The one interface to whatever carries packets. A device has queues; each queue belongs to one CPU, which alone
// receives and transmits there. Devices wrap devices (fault, capture) behind the same interface.
import type { Address } from '../base/struct.ts'
import { counterSet } from '../kernel/counters.ts'
import type { Cpu } from '../kernel/cpu.ts'
import type { Memory } from '../kernel/memory.ts'

/** What a frame begins with: an Ethernet header, or at once the IP header. */
export type Framing = 'ethernet' | 'ip'

/** What of a packet's making a device takes over; the transport layer leaves that out then. */
export interface DeviceOffload {
  /** It finishes checksums: packets may be PARTIAL_CHECKSUM. */
  readonly checksum: boolean
  /** It cuts TCP super-segments: packets may be SEGMENTED, and then longer than the MTU. */
  readonly segmentation: boolean
}

/** A device as it is described in a host's configuration: plain data, so that each CPU can open its own queue of it. */
export interface DeviceInfo {
  readonly name: string
  readonly framing: Framing
  /** Largest IP packet, in bytes. */
  readonly mtu: number
  /** The link address, 6 bytes, where frames are Ethernet. */
  readonly address?: readonly number[]
  /** The CPUs that have a queue, in the order of the queues. */
  readonly cpus: readonly number[]
  /** Default: none. */
  readonly offload?: DeviceOffload
}

/** Bytes of the link's header, which a frame begins with. */
export const LINK_HEADER_BYTES: { readonly [F in Framing]: number } = { ethernet: 14, ip: 0 }

/** The longest IP packet that there is, which is also the longest super-segment. */
const PACKET_BYTES_MAX = 65535

/** Bytes of the longest frame that a device takes, super-segments aside. */
export function frameBytes(info: DeviceInfo): number {
  return info.mtu + LINK_HEADER_BYTES[info.framing]
}

/** Bytes of the longest frame that is SEGMENTED: of any length where the device cuts it, and else as any other. */
export function segmentedFrameBytes(info: DeviceInfo): number {
  if (info.offload?.segmentation !== true) return frameBytes(info)
  return PACKET_BYTES_MAX + LINK_HEADER_BYTES[info.framing]
}

/** Takes a packet that came in. It owns the packet. */
export type Deliver = (packet: Address) => void

/**
 * Gives the flow hash of a frame: 32 bits, signed or not, or 0 for what belongs to no flow. The network layer has it, and
 * hands it to devices that choose among several queues as a card does.
 */
export type Steer = (memory: Memory, packet: Address) => number

/** One queue of a device, on its CPU. */
export interface DeviceQueue {
  readonly info: DeviceInfo
  /**
   * Takes in up to `budget` packets: each is a new mbuf whose data is the frame, its `arrivedAt` set.
   * Returns how many; frames that were dropped here (no mbuf, too long) are counted.
   */
  receive(budget: number, deliver: Deliver): number
  /**
   * Takes a packet to send: data is the frame. It is staged until `flush`. The device owns the packet in every case;
   * false says that it was dropped, and counted, because the device is full. Parts may refer to bytes of the sender's,
   * which are there until the flush: a device that keeps the packet longer, or gives it to somebody, detaches it.
   */
  transmit(packet: Address): boolean
  /** Sends out what was staged, with as few system calls and doorbells as it takes. */
  flush(): void
  /** Whether `receive` would find something: the CPU's last look before it sleeps. */
  pending(): boolean
  /** It is no device, but keeps what it is given until that is transmitted to one. */
  readonly isBoundary?: boolean
  /** Readable when there is something, where the device is a descriptor. */
  readonly descriptor?: number | undefined
  close(): void
}

/**
 * Has the CPU's run loop serve a queue: `deliver` gets what it receives, at most `budget` packets a turn. The queue is
 * closed when the CPU stops.
 */
export function attachQueue(cpu: Cpu, queue: DeviceQueue, deliver: Deliver, budget: number = cpu.batches.device): void {
  cpu.addPollable({
    poll: () => queue.receive(budget, deliver),
    flush: () => queue.flush(),
    pending: () => queue.pending(),
    descriptor: queue.descriptor,
    close: () => queue.close(),
  })
}

/** What every device counts: identity `received = delivered + dropped…` on the way in, the same on the way out. */
export const DeviceCounters = counterSet('device', [
  'received',
  'receivedBytes',
  'receiveNoMbuf',
  'receiveTooLong',
  'receiveEmpty',
  'receiveErrors',
  'transmitted',
  'transmittedBytes',
  'transmitFull',
  'transmitTooLong',
  'transmitErrors',
  'systemCalls',
  'transmitNoMbuf',
] as const)

/** The next number for a device's counters on this CPU: each queue that is opened has counts of its own. */
export function deviceCounts(cpu: Cpu): Float64Array {
  const instance = cpu.slot(INSTANCE, () => ({ next: 0 }))
  return cpu.counterPage.open(DeviceCounters, instance.next++)
}

const INSTANCE = Symbol('device instance')
