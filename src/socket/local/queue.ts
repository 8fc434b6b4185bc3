// Packets that were received and not taken: of one local socket, on its CPU.
import type { Address } from '../../base/struct.ts'
import { LocalCounters } from './counters.ts'
import type { Packets } from './packet.ts'

const C = LocalCounters.index

export class PacketQueue {
  readonly #packets: Packets
  readonly #count: Float64Array
  #first: Address = 0
  #last: Address = 0
  #messages = 0
  #bytes = 0

  constructor(packets: Packets, count: Float64Array) {
    this.#packets = packets
    this.#count = count
  }

  get messages(): number {
    return this.#messages
  }

  /** What they are charged for: see Packets.charge. */
  get bytes(): number {
    return this.#bytes
  }

  get first(): Address {
    return this.#first
  }

  push(packet: Address): void {
    const packets = this.#packets
    packets.link(packet, 0)
    if (this.#last === 0) this.#first = packet
    else packets.link(this.#last, packet)
    this.#last = packet
    this.#messages++
    this.#bytes += packets.charge(packet)
    this.#count[C.queued]!++
    this.#count[C.rightsQueued]! += packets.rights(packet)
  }

  /** Puts the bytes of a small piece of a stream behind the last one's: whether it could. */
  merge(packet: Address): boolean {
    const bytes = this.#packets.total(packet)
    if (this.#last === 0 || !this.#packets.merge(this.#last, packet)) return false
    this.#bytes += bytes
    return true
  }

  /** Takes the first one out, whatever is left of it; 0: there is none. */
  shift(): Address {
    const packet = this.#first
    if (packet === 0) return 0
    this.#first = this.#packets.next(packet)
    if (this.#first === 0) this.#last = 0
    this.#messages--
    this.#bytes -= this.#packets.charge(packet)
    this.#count[C.queued]!--
    this.#count[C.rightsQueued]! -= this.#packets.rights(packet)
    return packet
  }

  /** Bytes of the first one have been taken. */
  took(bytes: number): void {
    this.#bytes -= bytes
  }

  /** What was sent along with the first one is taken from it: the bytes that it took. */
  detach(): number {
    const packet = this.#first
    const bytes = this.#packets.ancillaryBytes(packet)
    this.#bytes -= bytes
    this.#count[C.rightsQueued]! -= this.#packets.rights(packet)
    this.#packets.attach(packet, 0, 0, 0)
    return bytes
  }

  /** The highest rank of the sockets in its messages. */
  rank(): number {
    let rank = 0
    for (let packet = this.#first; packet !== 0; packet = this.#packets.next(packet)) {
      rank = Math.max(rank, this.#packets.rank(packet))
    }
    return rank
  }
}
