// Ethernet out: puts the header in front and gives the frame to this CPU's queue of the device (@rfc 1122 2.3.3/rfc894 2.3.3/arp).
// @rfc-not 1122 2.4/tos the packet brings it along, and an Ethernet frame without tags (IEEE 802.1Q) has no place for it
import type { Address } from '../../base/struct.ts'
import { Mbuf, type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import { EASYNC } from '../../kernel/message.ts'
import type { PortId } from '../../kernel/port.ts'
import { addressBytes, type Family, isBroadcast, isMulticast } from '../address.ts'
import type { NetContext } from '../context.ts'
import { EtherCounters } from '../counters.ts'
import type { Interface } from '../interface.ts'
import { transmit } from '../transmit.ts'
import type { Arp } from './arp.ts'
import { EtherHeader, EtherType } from './header.ts'

const C = EtherCounters.index
const HEADER = EtherHeader.size
const NEXT_HOP = Mbuf.offset.nextHop
const { LINK_BROADCAST } = MbufFlag

export class EtherOutput {
  readonly #context: NetContext
  readonly #count: Float64Array
  readonly #m: MbufCursor
  readonly #ports: PortId[] = []
  /** Set by stack.ts. */
  arp: Arp | undefined
  /** Set by stack.ts where the boundary to IP is a queue: takes an IP packet, which comes back by `outputQueued`. */
  defer: ((packet: Address) => boolean) | undefined = undefined

  constructor(context: NetContext) {
    this.#context = context
    this.#count = context.count(EtherCounters)
    this.#m = context.mbuf()
    context.cpu.ports.create({
      name: context.portName('frames', context.cpu.index),
      point: 'tx',
      handler: (packet) => {
        this.#m.at = packet
        transmit(context.cpu, context.interfaces[this.#m.interfaceIndex]!.queue!, packet)
        return EASYNC
      },
    })
  }

  /**
   * Sends an IP packet to `nextHop`, the address of its bytes. It owns the packet, which may have to wait for ARP.
   * False when the device was full.
   */
  output(iface: Interface, packet: Address, family: Family, nextHop: Address, broadcast: boolean): boolean {
    if (this.defer === undefined) return this.#output(iface, packet, family, nextHop, broadcast)
    // The packet takes along what is to be done with it: in another mbuf, if it has references.
    const own = this.#context.mbufs.detach(packet)
    if (own === 0) {
      this.#count[C.noMemory]!++
      return false
    }
    const m = this.#m
    m.at = own
    m.interfaceIndex = iface.index
    m.family = family
    m.flags = (m.flags & ~LINK_BROADCAST) | (broadcast ? LINK_BROADCAST : 0)
    this.#context.u8.copyWithin(own + NEXT_HOP, nextHop, nextHop + addressBytes(family))
    return this.defer(own)
  }

  /** The other half of `output`, where it has deferred a packet. */
  outputQueued(packet: Address): void {
    const m = this.#m
    m.at = packet
    const isBroadcast = (m.flags & LINK_BROADCAST) !== 0
    m.flags &= ~LINK_BROADCAST
    const iface = this.#context.interfaces[m.interfaceIndex]!
    // A device that is full has counted it.
    this.#output(iface, packet, m.family as Family, packet + NEXT_HOP, isBroadcast)
  }

  #output(iface: Interface, packet: Address, family: Family, nextHop: Address, broadcast: boolean): boolean {
    const { u8 } = this.#context
    // @rfc 1122 3.3.6/link
    if (broadcast || isBroadcast(u8, family, nextHop)) return this.#sendTo(iface, packet, BROADCAST_HIGH, BROADCAST_LOW)
    if (isMulticast(u8, family, nextHop)) {
      const group = ((u8[nextHop + 1]! & 0x7f) << 16) | (u8[nextHop + 2]! << 8) | u8[nextHop + 3]!
      return this.#sendTo(iface, packet, 0x0100, (0x5e000000 | group) >>> 0)
    }
    const link = this.arp!.resolve(iface, nextHop, packet)
    // Held until the address is known, or dropped there.
    if (link === 0) return true
    return this.frame(iface, packet, link, EtherType.ipv4)
  }

  /** Nothing comes back from `nextHop`: is it still there? */
  suspect(iface: Interface, nextHop: Address): void {
    this.arp!.suspect(iface, nextHop)
  }

  /** Frames a packet for the 6 bytes at `link`. */
  frame(iface: Interface, packet: Address, link: Address, type: EtherType): boolean {
    const { view } = this.#context
    return this.#send(iface, packet, view.getUint16(link), view.getUint32(link + 2), type)
  }

  /** Frames a packet as a broadcast. */
  broadcast(iface: Interface, packet: Address, type: EtherType): boolean {
    return this.#send(iface, packet, BROADCAST_HIGH, BROADCAST_LOW, type)
  }

  #sendTo(iface: Interface, packet: Address, high: number, low: number): boolean {
    return this.#send(iface, packet, high, low, EtherType.ipv4)
  }

  #send(iface: Interface, packet: Address, high: number, low: number, type: EtherType): boolean {
    const { u8, view, mbufs } = this.#context
    const frame = mbufs.prepend(packet, HEADER)
    view.setUint16(frame, high)
    view.setUint32(frame + 2, low)
    for (let i = 0; i < 6; i++) u8[frame + 6 + i] = u8[iface.linkAddress + i]!
    view.setUint16(frame + 12, type)
    this.#count[C.transmitted]!++
    if (iface.queue === undefined) return this.#transmitElsewhere(iface, packet)
    return transmit(this.#context.cpu, iface.queue, packet)
  }

  /** This CPU has no queue of the device: ARP's answers, say, where the control CPU has none. */
  #transmitElsewhere(iface: Interface, packet: Address): boolean {
    const { cpus } = iface.info
    this.#m.at = packet
    this.#m.interfaceIndex = iface.index
    const cpu = cpus[this.#context.cpu.index % cpus.length]!
    this.#ports[cpu] ||= this.#context.cpu.ports.lookup(this.#context.portName('frames', cpu))
    this.#context.mbufs.handOff(this.#ports[cpu], packet)
    return true
  }
}

const BROADCAST_HIGH = 0xffff
const BROADCAST_LOW = 0xffffffff
