// Makes the packets of a load: a template is copied into an mbuf, and patched with what is the flow's and the moment's.
// One for each queue, on its CPU. Nothing is allocated but the mbuf.
import { fold } from '../../base/checksum.ts'
import type { Routines } from '../../base/routines.ts'
import type { Address } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { Mbuf, MbufFlag, Mbufs } from '../mbuf.ts'
import { IP_BYTES } from './header.ts'
import type { Homes } from './home.ts'
import { portAfter } from './number.ts'
import { Flow } from './region.ts'
import type { Template } from './template.ts'

const DATA = Mbuf.offset.data >> 2
const LENGTH = Mbuf.offset.length >> 2
const TOTAL = Mbuf.offset.total >> 2
const HASH = Mbuf.offset.hash >> 2
const FLAGS = Mbuf.offset.flags >> 1
const ARRIVED_AT = Mbuf.offset.arrivedAt >> 3
const PORT = Flow.offset.port >> 2
const FLOW_HASH = Flow.offset.hash >> 2
const CLIENT = Flow.offset.client >> 2
const CLIENT_SUM = Flow.offset.clientSum >> 2
const { HASHED, CHECKED } = MbufFlag

export class Maker {
  readonly #cpu: Cpu
  readonly #mbufs: Mbufs
  readonly #routines: Routines
  readonly #i32: Int32Array
  readonly #u16: Uint16Array
  readonly #f64: Float64Array
  readonly #view: DataView
  readonly #homes: Homes
  readonly #offload: boolean
  readonly #flags: number

  constructor(cpu: Cpu, homes: Homes, offload: boolean) {
    const { memory } = cpu
    this.#cpu = cpu
    this.#mbufs = Mbufs.of(cpu)
    this.#routines = memory.routines
    this.#i32 = memory.i32
    this.#u16 = memory.u16
    this.#f64 = memory.f64
    this.#view = memory.view
    this.#homes = homes
    this.#offload = offload
    // What a card says of a packet: the hash that it has chosen the queue by, and that the checksums are right.
    this.#flags = (homes.isSteered ? HASHED : 0) | (offload ? CHECKED : 0)
  }

  /** A segment of the flow at `flow`, or 0: no mbuf. */
  tcp(flow: Address, template: Template, sequence: number, acknowledgment: number): Address {
    const packet = this.#copy(flow, template)
    if (packet === 0) return 0
    const view = this.#view
    const data = this.#i32[(packet >> 2) + DATA]!
    view.setInt32(data + 24, sequence)
    view.setInt32(data + 28, acknowledgment)
    if (!this.#offload) {
      const numbers = (sequence >>> 16) + (sequence & 0xffff) + (acknowledgment >>> 16) + (acknowledgment & 0xffff)
      view.setUint16(data + 36, checksumOf(template.sum + this.#flowSum(flow) + numbers))
    }
    return packet
  }

  /** A datagram with the time `tick` in it, or 0: no mbuf. */
  udp(flow: Address, template: Template, tick: number): Address {
    const packet = this.#copy(flow, template)
    if (packet === 0) return 0
    const data = this.#i32[(packet >> 2) + DATA]!
    this.#view.setInt32(data + 28, tick)
    if (!this.#offload) {
      const time = (tick >>> 16) + (tick & 0xffff)
      this.#view.setUint16(data + 26, checksumOf(template.sum + this.#flowSum(flow) + time))
    }
    return packet
  }

  /**
   * A SYN from the flow's next port whose flow the same CPU owns, or 0: no mbuf. With very many CPUs that may be the same
   * port again.
   */
  reopen(flow: Address, template: Template, sequence: number, owner: number): Address {
    const words = this.#i32
    const w = flow >> 2
    const packet = this.#copy(flow, template)
    if (packet === 0) return 0
    const data = words[(packet >> 2) + DATA]!
    let port = words[w + PORT]!
    let hash = 0
    do {
      port = portAfter(port)
      this.#view.setUint16(data + IP_BYTES, port)
      hash = this.#homes.hashOf(packet)
    } while (this.#homes.isSteered && this.#homes.ownerOf(hash) !== owner && port !== words[w + PORT])
    words[w + PORT] = port
    words[w + FLOW_HASH] = hash
    words[(packet >> 2) + HASH] = hash
    this.#view.setInt32(data + 24, sequence)
    if (!this.#offload) {
      const number = (sequence >>> 16) + (sequence & 0xffff)
      this.#view.setUint16(data + 36, checksumOf(template.sum + this.#flowSum(flow) + number))
    }
    return packet
  }

  #copy(flow: Address, template: Template): Address {
    const packet = this.#mbufs.allocate()
    if (packet === 0) return 0
    const words = this.#i32
    const w = packet >> 2
    const f = flow >> 2
    const { length } = template
    const data = words[w + DATA]!
    this.#routines.copy(data, template.address, length)
    words[w + LENGTH] = length
    words[w + TOTAL] = length
    words[w + HASH] = words[f + FLOW_HASH]!
    this.#u16[(packet >> 1) + FLAGS] = this.#flags
    this.#f64[(packet >> 3) + ARRIVED_AT] = this.#cpu.now
    this.#view.setInt32(data + 12, words[f + CLIENT]!)
    this.#view.setUint16(data + IP_BYTES, words[f + PORT]!)
    // Of the IP header, which no card takes over.
    this.#view.setUint16(data + 10, ~fold(template.ipSum + words[f + CLIENT_SUM]!) & 0xffff)
    return packet
  }

  /** What the client's address and port add to a checksum. */
  #flowSum(flow: Address): number {
    return this.#i32[(flow >> 2) + CLIENT_SUM]! + this.#i32[(flow >> 2) + PORT]!
  }
}

/** The transport's checksum, of a sum of up to 32 bits. 0 would say that UDP has none (RFC 768); TCP takes either zero. */
function checksumOf(sum: number): number {
  const checksum = ~fold(sum) & 0xffff
  return checksum === 0 ? 0xffff : checksum
}
