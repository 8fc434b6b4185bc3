// Ethernet in: looks at the header, takes it off, and passes the packet up by its type (@rfc 1122 2.3.3/rfc894, RFC 894).
// Runs on the CPU whose queue the frame came from.
//
// What a host may do, or is asked to, and this one does not:
// @rfc-not 1122 2.3.1/trailers not done: nobody has sent trailers for decades
// @rfc-not 1122 2.3.1/unasked trailers are never sent
// @rfc-not 1122 2.3.3/rfc1042-receive 2.3.3/rfc1042-send not done: nobody sends IP so on an Ethernet of today
// @rfc-not 1122 2.3.3/rfc1042-switch 2.3.3/k1-6 IEEE 802 frames are never sent
import type { Address } from '../../base/struct.ts'
import { type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import type { NetContext } from '../context.ts'
import { EtherCounters } from '../counters.ts'
import type { Interface } from '../interface.ts'
import { equalEtherAddress, isEtherBroadcast, isEtherMulticast } from './address.ts'
import { checkEtherHeader, EtherDrop, EtherHeader, EtherType } from './header.ts'

const C = EtherCounters.index
const HEADER = EtherHeader.size
const SOURCE = EtherHeader.offset.source
const TYPE = EtherHeader.offset.type

export class EtherInput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  /** Set by stack.ts. They own the packet, whose data begins behind the Ethernet header. */
  onIp: (packet: Address) => void = () => {}
  onArp: (packet: Address) => void = () => {}

  constructor(context: NetContext) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(EtherCounters)
  }

  input(iface: Interface, packet: Address): void {
    const m = this.#m
    const { u8 } = this.#context
    m.at = packet
    const frame = m.data
    this.#count[C.received]!++
    const drop = checkEtherHeader(u8, frame, m.length)
    if (drop !== EtherDrop.none) return this.#drop(packet, REASONS[drop]!)
    // A frame with our own source is our own, come back, or a lie.
    if (equalEtherAddress(u8, frame + SOURCE, iface.linkAddress)) return this.#drop(packet, C.droppedSource)
    // @rfc 1122 2.4/broadcast
    if (isEtherMulticast(u8, frame)) m.flags |= MbufFlag.LINK_BROADCAST
    else if (!equalEtherAddress(u8, frame, iface.linkAddress)) return this.#drop(packet, C.droppedNotOurs)
    if (isEtherMulticast(u8, frame) && !isEtherBroadcast(u8, frame) && !isIpMulticast(u8, frame)) {
      return this.#drop(packet, C.droppedNotOurs)
    }
    const type = (u8[frame + TYPE]! << 8) | u8[frame + TYPE + 1]!
    this.#context.mbufs.trimFront(packet, HEADER)
    if (type === EtherType.ipv4) {
      this.#count[C.ip]!++
      this.onIp(packet)
    } else if (type === EtherType.arp) {
      this.#count[C.arp]!++
      this.onArp(packet)
    } else this.#drop(packet, C.droppedUnknownType)
  }

  #drop(packet: Address, counter: number): void {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
  }
}

/** The groups that IPv4 multicast is mapped to: 01:00:5e with a 0 bit behind it (RFC 1112 6.4). */
function isIpMulticast(u8: Uint8Array, address: Address): boolean {
  return u8[address] === 1 && u8[address + 1] === 0 && u8[address + 2] === 0x5e && u8[address + 3]! < 0x80
}

const REASONS: { readonly [drop: number]: number } = {
  [EtherDrop.runt]: C.droppedRunt,
  [EtherDrop.source]: C.droppedSource,
  [EtherDrop.type]: C.droppedType,
}
