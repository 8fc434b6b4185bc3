// A protocol's queue on one CPU (netisr(9)): what comes in front of a protocol whose policy is not `direct`. It is served by the CPU's run
// loop or, where the boundary is a layer, by the layer's thread (layer.ts). It is bounded: what is too much is dropped and counted.
// Everything here is the CPU's own.
import type { Address } from '../../base/struct.ts'
import type { HandoffPoint } from '../../kernel/layout.ts'
import { EASYNC } from '../../kernel/message.ts'
import type { Port } from '../../kernel/port.ts'
import type { NetContext } from '../context.ts'
import { NetisrCounters } from '../counters.ts'

const C = NetisrCounters.index

/** As the counters name it. */
export type QueueName = 'Ether' | 'Arp' | 'Icmp' | 'Igmp' | 'Udp' | 'Tcp' | 'Socket' | 'Link' | 'Device'

export interface QueueOptions {
  readonly name: QueueName
  readonly point: HandoffPoint
  readonly limit: number
  /** By which other CPUs find its port. Default: none. */
  readonly portName?: string
  /** Call where nothing waits. Default false: always queue. */
  readonly isHybrid?: boolean
  /** Takes a packet; it owns it. */
  readonly run: (packet: Address) => void
}

export class PacketQueue {
  readonly port: Port
  readonly #context: NetContext
  readonly #count: Float64Array
  readonly #run: (packet: Address) => void
  readonly #isHybrid: boolean
  readonly #limit: number
  readonly #direct: number
  readonly #queued: number
  readonly #dropped: number

  constructor(context: NetContext, options: QueueOptions) {
    const { name, point, limit, portName, isHybrid = false, run } = options
    this.#context = context
    this.#count = context.count(NetisrCounters)
    this.#run = run
    this.#isHybrid = isHybrid
    this.#limit = limit
    this.#direct = C[`direct${name}`]
    this.#queued = C[`queued${name}`]
    this.#dropped = C[`dropped${name}`]
    this.port = context.cpu.ports.create({
      ...(portName === undefined ? {} : { name: portName }),
      point,
      dispatch: 'deferred',
      // A worker takes the whole queue: a device gives more in a turn than a port serves otherwise.
      batch: limit,
      handler: (packet) => {
        this.#run(packet)
        return EASYNC
      },
    })
    context.cpu.onStop(() => context.cpu.ports.discard(this.port))
  }

  /** Takes a packet on to the protocol, at once or later. It owns the packet. */
  input(packet: Address): void {
    if (this.#isHybrid && !this.port.running && this.#context.cpu.ports.depth(this.port) === 0) {
      this.#count[this.#direct]!++
      this.#run(packet)
    } else this.defer(packet)
  }

  /** As `input`, but never a call. False: the queue was full, or there was no memory to keep the packet in; it is gone, and counted. */
  defer(packet: Address): boolean {
    const { mbufs, cpu } = this.#context
    if (cpu.ports.depth(this.port) >= this.#limit) {
      this.#count[this.#dropped]!++
      mbufs.free(packet)
      return false
    }
    // What its parts refer to may be gone when its turn comes.
    const own = mbufs.detach(packet)
    if (own === 0) {
      this.#count[this.#dropped]!++
      return false
    }
    this.#count[this.#queued]!++
    mbufs.handOff(this.port.id, own)
    return true
  }
}
