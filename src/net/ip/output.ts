// IPv4 out (RFC 791, RFC 1122 3.3): finds the way, writes the header, cuts what is too long for the link, and gives it to
// the interface. Runs on any CPU of the host: routes are replicated, and each CPU has a queue of its own.
//
// What a host may do, or is asked to, and this one does not:
// @rfc-not 1122 3.2.1.8/send not done: no program of today's sends IP options, and much of the network drops what has any (RFC 7126 1, RFC 7872).
// IGMP alone sends one (multicast.ts)
// @rfc-not 1122 3.2.1.5 identifications are not repeated: RFC 6864 gives them no meaning where nothing is cut
// @rfc-not 1122 3.2.1.6/rfc795 there is no link that RFC 795 knows
// @rfc-not 1122 3.3.3/no-larger what is larger is cut
// @rfc-not 1122 3.3.3/off-net 3.3.3/all-subnets TCP finds the path's MTU instead (RFC 1191), and UDP's datagrams are cut for the link
// @rfc-not 1122 3.3.4.2/wrong-send the addresses are the host's, and not an interface's (the weak model of 3.3.4.2)
// @rfc-not 1122 3.3.6/send-zero all ones alone: the forms with zeros are 4.2BSD's, and accepted
// @rfc-not 1122 3.3.6/limited it is the program's to choose
// @rfc-not 1122 3.3.7/capability every interface can
import { assert } from '../../base/assert.ts'
import { Errno } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import { HEADROOM, Mbuf, type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import type { TallyOf } from '../../kernel/counters.ts'
import { EASYNC } from '../../kernel/message.ts'
import type { PortId } from '../../kernel/port.ts'
import { Family, isBroadcast, isLoopback, isMulticast } from '../address.ts'
import type { NetContext } from '../context.ts'
import { IpCounters, IpOutputTally } from '../counters.ts'
import type { EtherOutput } from '../ether/output.ts'
import type { Interface } from '../interface.ts'
import { transmit } from '../transmit.ts'
import { IpFragment, IpHeader, ipHeaderSum } from './header.ts'

const C = IpCounters.index
const AT = IpHeader.offset
const HEADER = IpHeader.size
const INET = Family.inet
const NEXT_HOP = Mbuf.offset.nextHop
/**
 * RFC 1122 3.2.1.7: at least 40; 64 is what IANA recommends.
 * @rfc-not 1122 3.2.1.7/configurable sockets have it configurable; in messages of ICMP it is 64
 */
export const DEFAULT_TTL = 64

/** What the sender of a packet may ask for. */
export interface IpSendOptions {
  /** Refuse to cut it: EMSGSIZE when it is too long. Default false. */
  readonly dontFragment?: boolean
  /** May go to a broadcast address. Default false: EACCES. */
  readonly broadcast?: boolean
}

/** What the device has to know of a packet. */
const FOR_DEVICE = MbufFlag.SEGMENTED | MbufFlag.PARTIAL_CHECKSUM
const NO_OPTIONS: IpSendOptions = {}
/** No errno: there is a way. */
const FOUND = -1

export class IpOutput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  readonly #tally: TallyOf<typeof IpOutputTally>
  readonly #ether: EtherOutput
  /** CPUs count on, interleaved, from a place nobody knows: no two packets under way have the same (RFC 6864 only asks that of fragments). */
  #identification: number
  /** Where the bytes of the next hop lie while a packet is sent. */
  readonly #nextHop: Address
  readonly #txPorts: PortId[] = []
  /** The way that the last packet took: its target, the table's generation then, and what was found. */
  #wayWord = 0
  #wayGeneration = -1
  #wayInterface: Interface | undefined = undefined
  #wayGateway: Uint8Array | undefined = undefined
  #wayBroadcast = false
  /** Set by stack.ts: a packet to ourselves; it owns the packet. */
  onLocal: (packet: Address) => void = () => {}

  constructor(context: NetContext, ether: EtherOutput) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(IpCounters)
    this.#tally = context.tally(IpOutputTally)
    this.#ether = ether
    this.#identification = context.cpu.random.below(256) * context.cpu.cpus + context.cpu.index
    this.#nextHop = context.cpu.slab.allocate(64) + 16
    context.cpu.onStop(() => context.cpu.slab.free(this.#nextHop - 16))
    context.cpu.ports.create({
      name: context.portName('tx', context.cpu.index),
      point: 'tx',
      handler: (packet) => {
        this.#transmitHere(packet)
        return EASYNC
      },
    })
  }

  /**
   * Sends a packet whose data begins with the transport header, and whose mbuf names `source`, `target` (where their bytes
   * lie), `protocol`, `ttl` and `trafficClass`. It owns the packet. Returns 0 or an errno.
   *
   * @rfc 791 3.3/send 3.2/type-of-service 3.2/time-to-live, @rfc 1122 3.2.1.6/set 3.2.1.7/set 3.4/all
   * @rfc-not 791 3.3/send IP options are none of the parameters
   * @rfc-not 1122 3.4/all IP options cannot be sent
   */
  output(packet: Address, options: IpSendOptions = NO_OPTIONS): number {
    const { u8, view } = this.#context
    const m = this.#m
    m.at = packet
    const target = m.target
    const targetWord = view.getInt32(target)
    if (targetWord !== this.#wayWord || this.#context.routes.generation !== this.#wayGeneration) {
      const errno = this.#findWay(packet, target, options)
      if (errno !== FOUND) return errno
    }
    const iface = this.#wayInterface!
    const toBroadcast = this.#wayBroadcast
    // An address of the loopback network never leaves the host (@rfc 1122 3.2.1.3/loopback).
    if (isLoopback(u8, INET, m.source)) return this.#fail(packet, C.sendNoAddress, Errno.EADDRNOTAVAIL)
    if (m.total + HEADER > 65535) return this.#fail(packet, C.sendTooLong, Errno.EMSGSIZE)
    // The header may be written over the bytes that these point to (a packet that is turned round): read first.
    if (this.#wayGateway === undefined) view.setInt32(this.#nextHop, targetWord)
    else u8.set(this.#wayGateway, this.#nextHop)
    // A super-segment is cut by the device into what the link carries.
    const isCutBelow = (m.flags & MbufFlag.SEGMENTED) !== 0 && iface.info.offload?.segmentation === true
    if (m.total + HEADER > iface.info.mtu && !isCutBelow) {
      // @rfc 791 3.1/dont-fragment
      if (options.dontFragment === true) return this.#fail(packet, C.sendTooLong, Errno.EMSGSIZE)
      return this.#fragment(iface, packet, toBroadcast)
    }
    this.#writeHeader(packet, options.dontFragment === true ? IpFragment.dontFragment : 0, this.#nextIdentification())
    this.#tally.sent++
    if (this.#transmit(iface, packet, toBroadcast)) return 0
    this.#count[C.sendDeviceFull]!++
    return Errno.ENOBUFS
  }

  /**
   * Looks up the way to `target`, and keeps it for the next packet if it is an ordinary one. FOUND, or what `output` is to
   * return: then the packet is gone. @rfc 1122 3.3.1.1/mask 3.3.1.1/no-gateway 3.3.1.2/cache 3.3.1.2/default
   */
  #findWay(packet: Address, target: Address, options: IpSendOptions): number {
    const { u8, view, routes, interfaces } = this.#context
    this.#wayGeneration = -1
    const route = routes.lookup(u8, INET, target)
    if (route === undefined) {
      if (this.#isOwn(target)) return this.#local(packet)
      return this.#fail(packet, C.sendNoRoute, Errno.ENETUNREACH)
    }
    const iface = interfaces[route.interfaceIndex]!
    // @rfc 1122 3.3.6/link: only then the link's own broadcast is used.
    const toBroadcast = isBroadcast(u8, INET, target) || iface.isBroadcast(u8, INET, target)
    if (toBroadcast && options.broadcast !== true) return this.#fail(packet, C.sendNotAllowed, Errno.EACCES)
    if (this.#isOwn(target)) return this.#local(packet)
    this.#wayInterface = iface
    this.#wayBroadcast = toBroadcast
    // A group is on the link itself, whoever routes it on from there (RFC 1112 6.1).
    this.#wayGateway = isMulticast(u8, INET, target) ? undefined : route.gateway
    // A broadcast is asked for anew each time: the next sender may not be allowed to.
    this.#wayGeneration = toBroadcast ? -1 : routes.generation
    this.#wayWord = view.getInt32(target)
    return FOUND
  }

  /** Puts the header in front. */
  #writeHeader(packet: Address, flagsAndOffset: number, identification: number): void {
    const { view, u8, mbufs } = this.#context
    const m = this.#m
    m.at = packet
    const source = view.getUint32(m.source)
    const target = view.getUint32(m.target)
    const header = mbufs.prepend(packet, HEADER)
    view.setUint16(header, 0x4500 | m.trafficClass)
    view.setUint16(header + AT.totalLength, m.total)
    view.setUint16(header + AT.identification, identification)
    view.setUint16(header + AT.flagsAndOffset, flagsAndOffset)
    // @rfc 1122 3.2.1.7/zero sockets refuse it, and whoever else sends has a fixed one.
    assert(m.ttl > 0, 'a packet that is sent has a time to live')
    u8[header + AT.timeToLive] = m.ttl
    u8[header + AT.protocol] = m.protocol
    view.setUint16(header + AT.checksum, 0)
    view.setUint32(header + AT.source, source)
    view.setUint32(header + AT.destination, target)
    // @rfc 791 3.1/checksum
    view.setUint16(header + AT.checksum, ~ipHeaderSum(u8, header, HEADER) & 0xffff)
    m.network = header
  }

  /** Cuts a packet into fragments, copies each, and sends all or none of them. @rfc 791 3.2/fragment 3.2/fragment-68, @rfc 1122 3.3.3/fragment */
  #fragment(iface: Interface, packet: Address, toBroadcast: boolean): number {
    const { mbufs } = this.#context
    const m = this.#m
    m.at = packet
    const { total, source, target, protocol, ttl, trafficClass } = m
    const each = (iface.info.mtu - HEADER) & ~7
    const identification = this.#nextIdentification()
    let first = 0
    let last = 0
    for (let offset = 0; offset < total; offset += each) {
      const length = Math.min(each, total - offset)
      const fragment = mbufs.copySlice(packet, offset, length, HEADROOM)
      if (fragment === 0) {
        this.#freeList(first)
        return this.#fail(packet, C.sendNoMbuf, Errno.ENOBUFS)
      }
      m.at = fragment
      m.source = source
      m.target = target
      m.protocol = protocol
      m.ttl = ttl
      m.trafficClass = trafficClass
      m.family = INET
      m.link = 0
      const more = offset + length < total ? IpFragment.moreFragments : 0
      this.#writeHeader(fragment, more | (offset >> 3), identification)
      if (first === 0) first = fragment
      else {
        m.at = last
        m.link = fragment
      }
      last = fragment
    }
    mbufs.free(packet)
    this.#count[C.sentDatagramsFragmented]!++
    let sent = true
    for (let fragment = first; fragment !== 0; ) {
      m.at = fragment
      const next = m.link
      this.#count[C.sentFragments]!++
      sent = this.#transmit(iface, fragment, toBroadcast) && sent
      fragment = next
    }
    if (sent) return 0
    this.#count[C.sendDeviceFull]!++
    return Errno.ENOBUFS
  }

  /** To the interface's queue of this CPU, or to a CPU that has one. */
  #transmit(iface: Interface, packet: Address, toBroadcast: boolean): boolean {
    if (iface.queue === undefined) return this.#transmitElsewhere(iface, packet, toBroadcast)
    if (iface.info.framing === 'ip') {
      this.#tally.sentUnframed++
      return transmit(this.#context.cpu, iface.queue, packet)
    }
    return this.#ether.output(iface, packet, INET, this.#nextHop, toBroadcast)
  }

  /** The next hop travels with the packet, in what the mbuf's header leaves free. */
  #transmitElsewhere(iface: Interface, packet: Address, toBroadcast: boolean): boolean {
    const { cpus } = iface.info
    const m = this.#m
    m.at = packet
    m.interfaceIndex = iface.index
    m.flags = (m.flags & FOR_DEVICE) | (toBroadcast ? MbufFlag.LINK_BROADCAST : 0)
    this.#context.u8.copyWithin(packet + NEXT_HOP, this.#nextHop, this.#nextHop + 4)
    const cpu = cpus[this.#context.cpu.index % cpus.length]!
    this.#txPorts[cpu] ||= this.#context.cpu.ports.lookup(this.#context.portName('tx', cpu))
    if (this.#context.mbufs.handOff(this.#txPorts[cpu], packet)) return true
    this.#count[C.sentNoMemory]!++
    return false
  }

  #transmitHere(packet: Address): void {
    const m = this.#m
    m.at = packet
    const iface = this.#context.interfaces[m.interfaceIndex]!
    const toBroadcast = (m.flags & MbufFlag.LINK_BROADCAST) !== 0
    m.flags &= FOR_DEVICE
    this.#context.u8.copyWithin(this.#nextHop, packet + NEXT_HOP, packet + NEXT_HOP + 4)
    if (!this.#transmit(iface, packet, toBroadcast)) this.#count[C.sendDeviceFull]!++
  }

  /** To ourselves: in again, through the queue of whoever owns the flow. */
  #local(packet: Address): number {
    const m = this.#m
    m.at = packet
    if (m.total + HEADER > 65535) return this.#fail(packet, C.sendTooLong, Errno.EMSGSIZE)
    this.#writeHeader(packet, 0, this.#nextIdentification())
    // Whoever receives it keeps it: it may not refer to what belongs to the sender.
    const own = this.#context.mbufs.detach(packet)
    if (own === 0) {
      this.#count[C.sendNoMbuf]!++
      return Errno.ENOBUFS
    }
    m.at = own
    // Nothing happens to it on the way: there is nothing to verify.
    m.flags = MbufFlag.LOOPBACK | ((m.flags & MbufFlag.PARTIAL_CHECKSUM) !== 0 ? MbufFlag.CHECKED : 0)
    m.interfaceIndex = 0
    this.#tally.sent++
    this.#count[C.sentLocal]!++
    this.onLocal(own)
    return 0
  }

  /** The interface that a packet to `target` leaves by, the host's own loopback for itself; undefined where there is no way. */
  interfaceTo(target: Address): Interface | undefined {
    const { u8, interfaces, routes } = this.#context
    if (this.#isOwn(target)) return interfaces[0]
    const route = routes.lookup(u8, INET, target)
    return route === undefined ? undefined : interfaces[route.interfaceIndex]
  }

  /** Whoever sends to `target` has had no answer for a while: its neighbour, or the router, is asked whether it is there (RFC 1122 3.3.1.4). */
  suspect(target: Address): void {
    const { u8, interfaces, routes } = this.#context
    const route = routes.lookup(u8, INET, target)
    if (route === undefined || this.#isOwn(target)) return
    const iface = interfaces[route.interfaceIndex]!
    if (iface.info.framing !== 'ethernet') return
    this.#context.view.setInt32(this.#nextHop, this.#context.view.getInt32(target))
    if (route.gateway !== undefined) u8.set(route.gateway, this.#nextHop)
    this.#ether.suspect(iface, this.#nextHop)
  }

  #isOwn(target: Address): boolean {
    const { u8, interfaces } = this.#context
    for (let i = 0; i < interfaces.length; i++) {
      const iface = interfaces[i]!
      if (iface.has(u8, INET, target)) return true
      if (iface.loopback && u8[target] === 127) return true
    }
    return false
  }

  /** The source that a packet to `target` will have, as an address of its bytes; 0 when there is no way, or no address. @rfc 1122 3.2.1.3/own-source */
  sourceTo(target: Address): Address {
    const { u8, interfaces } = this.#context
    // All of 127/8 is the host itself.
    if (isLoopback(u8, INET, target)) return interfaces[0]!.sourceFor(u8, INET, target)
    for (let i = 0; i < interfaces.length; i++) {
      const iface = interfaces[i]!
      for (const own of iface.addresses) {
        if (own.family === INET && this.#context.view.getUint32(own.address) === this.#context.view.getUint32(target))
          return own.address
      }
    }
    const route = this.#context.routes.lookup(u8, INET, target)
    return route === undefined ? 0 : interfaces[route.interfaceIndex]!.sourceFor(u8, INET, target)
  }

  /** @rfc 791 3.1/identification */
  #nextIdentification(): number {
    const { cpus } = this.#context.cpu
    this.#identification += cpus
    // Back to this CPU's own place: the numbers of two CPUs never meet.
    if (this.#identification > 0xffff) this.#identification = this.#context.cpu.index
    return this.#identification
  }

  #freeList(first: Address): void {
    const m = this.#m
    for (let packet = first; packet !== 0; ) {
      m.at = packet
      const next = m.link
      this.#context.mbufs.free(packet)
      packet = next
    }
  }

  #fail(packet: Address, counter: number, errno: number): number {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
    return errno
  }
}
