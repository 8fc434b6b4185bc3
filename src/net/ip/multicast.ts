// IPv4 out to many (RFC 1112 6): to groups, and to broadcast addresses. Such a packet leaves by one interface, which the
// sender may have chosen, by nobody's gateway; and members on the sending host itself get a copy of it, which comes in again as
// any other packet does. Runs on any CPU of the host. What goes to one host goes by output.ts.
import { Errno } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import { HEADROOM, type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import type { PortId } from '../../kernel/port.ts'
import { Family, isLoopback } from '../address.ts'
import type { NetContext } from '../context.ts'
import { GroupCounters, IpCounters } from '../counters.ts'
import type { EtherOutput } from '../ether/output.ts'
import type { Groups } from '../group.ts'
import type { Interface } from '../interface.ts'
import { transmit } from '../transmit.ts'
import { IpFragment, IpHeader, ipHeaderSum } from './header.ts'

const C = IpCounters.index
const G = GroupCounters.index
const AT = IpHeader.offset
const HEADER = IpHeader.size
const INET = Family.inet
/**
 * Routers look at the packet, although it is not addressed to them (RFC 2113): copied, class 0, number 20, length 4, value 0.
 * @rfc-not 791 3.1/padding the only option that is sent is four bytes long: there is nothing to pad
 */
const ROUTER_ALERT = 0x94040000
const ROUTER_ALERT_BYTES = 4

export class MulticastOutput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  readonly #groupCount: Float64Array
  readonly #ether: EtherOutput
  readonly #groups: Groups
  readonly #txPorts: PortId[] = []
  /** As in output.ts; no packet of this file has the addresses of one of that, so that the numbers may be the same. */
  #identification: number
  /** Set by stack.ts: a packet to ourselves; it owns the packet. */
  onLocal: (packet: Address) => void = () => {}

  constructor(context: NetContext, ether: EtherOutput, groups: Groups) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(IpCounters)
    this.#groupCount = context.count(GroupCounters)
    this.#ether = ether
    this.#groups = groups
    this.#identification = context.cpu.random.below(256) * context.cpu.cpus + context.cpu.index
  }

  /**
   * The interface by which a packet to `target`, where the bytes of a group or of 255.255.255.255 lie, leaves when the sender
   * has chosen none: the route's, or, since a host with one network needs no route for groups, the first that is not the
   * loopback. Undefined where none has an IPv4 address.
   */
  interfaceTo(target: Address): Interface | undefined {
    const { u8, interfaces, routes } = this.#context
    const route = routes.lookup(u8, INET, target)
    if (route !== undefined) return interfaces[route.interfaceIndex]
    const usable = (iface: Interface) => iface.addresses.some(({ family }) => family === INET)
    return interfaces.find((iface) => !iface.loopback && usable(iface)) ?? interfaces.find(usable)
  }

  /**
   * Sends a packet whose data begins with the transport header, and whose mbuf names `source`, `target`, `protocol`, `ttl` and
   * `trafficClass`, by an interface. `isLooped`: what goes to a group comes in again for the host's own members; a broadcast
   * always does. It owns the packet. Returns 0 or an errno.
   */
  output(packet: Address, iface: Interface, isBroadcast: boolean, isLooped: boolean): number {
    const { u8, mbufs } = this.#context
    const m = this.#m
    m.at = packet
    if (m.total + HEADER > 65535) return this.#fail(packet, C.sendTooLong, Errno.EMSGSIZE)
    if (isLoopback(u8, INET, m.source) && !iface.loopback) {
      return this.#fail(packet, C.sendNoAddress, Errno.EADDRNOTAVAIL)
    }
    const leaves = !iface.loopback && m.ttl > 0
    const returns = isBroadcast || ((isLooped || iface.loopback) && this.#groups.accepts(iface.index, INET, m.target))
    if (!leaves) {
      this.#count[C.sentInside]!++
      if (returns) return this.#loop(packet, iface)
      mbufs.free(packet)
      return 0
    }
    if (returns) this.#loopCopy(packet, iface)
    m.at = packet
    if (m.total + HEADER > iface.info.mtu) return this.#fragment(iface, packet, isBroadcast)
    this.#writeHeader(packet, HEADER, 0, this.#nextIdentification())
    this.#count[C.sent]!++
    if (this.#transmit(iface, packet, isBroadcast)) return 0
    this.#count[C.sendDeviceFull]!++
    return Errno.ENOBUFS
  }

  /** As `output` of a short packet to a group, which the routers of the link are to look at, and which does not come back. */
  outputAlert(packet: Address, iface: Interface): number {
    this.#writeHeader(packet, HEADER + ROUTER_ALERT_BYTES, 0, this.#nextIdentification())
    this.#count[C.sent]!++
    if (this.#transmit(iface, packet, false)) return 0
    this.#count[C.sendDeviceFull]!++
    return Errno.ENOBUFS
  }

  /** A copy of the packet comes in again. Without memory for it the host's own members miss it, as they miss what a link loses. */
  #loopCopy(packet: Address, iface: Interface): void {
    const m = this.#m
    m.at = packet
    const { total, source, target, protocol, ttl, trafficClass } = m
    const copy = this.#context.mbufs.copySlice(packet, 0, total, HEADROOM)
    if (copy === 0) {
      this.#groupCount[G.loopNoMbuf]!++
      return
    }
    m.at = copy
    m.source = source
    m.target = target
    m.protocol = protocol
    m.ttl = ttl
    m.trafficClass = trafficClass
    this.#loop(copy, iface)
  }

  /** The packet comes in again, through the queue of whoever owns the flow. */
  #loop(packet: Address, iface: Interface): number {
    const m = this.#m
    m.at = packet
    // Nobody takes what has no time left to live; this one needs none.
    m.ttl ||= 1
    this.#writeHeader(packet, HEADER, 0, this.#nextIdentification())
    // Whoever receives it keeps it: it may not refer to what belongs to the sender.
    const own = this.#context.mbufs.detach(packet)
    if (own === 0) {
      this.#groupCount[G.loopNoMbuf]!++
      return Errno.ENOBUFS
    }
    m.at = own
    m.flags = MbufFlag.LOOPBACK
    // As if it had come by the interface that it left by: the membership is one of that interface.
    m.interfaceIndex = iface.index
    this.#groupCount[G.looped]!++
    this.onLocal(own)
    return 0
  }

  /** Puts the header in front, with the router alert when there is room for it. */
  #writeHeader(packet: Address, headerBytes: number, flagsAndOffset: number, identification: number): void {
    const { view, u8, mbufs } = this.#context
    const m = this.#m
    m.at = packet
    const source = view.getUint32(m.source)
    const target = view.getUint32(m.target)
    const header = mbufs.prepend(packet, headerBytes)
    view.setUint16(header, 0x4000 | (headerBytes << 6) | m.trafficClass)
    view.setUint16(header + AT.totalLength, m.total)
    view.setUint16(header + AT.identification, identification)
    view.setUint16(header + AT.flagsAndOffset, flagsAndOffset)
    u8[header + AT.timeToLive] = m.ttl
    u8[header + AT.protocol] = m.protocol
    view.setUint16(header + AT.checksum, 0)
    view.setUint32(header + AT.source, source)
    view.setUint32(header + AT.destination, target)
    if (headerBytes > HEADER) view.setUint32(header + HEADER, ROUTER_ALERT)
    view.setUint16(header + AT.checksum, ~ipHeaderSum(u8, header, headerBytes) & 0xffff)
    m.network = header
  }

  /** Cuts a packet into fragments, copies each, and sends all or none of them. */
  #fragment(iface: Interface, packet: Address, isBroadcast: boolean): number {
    const { mbufs } = this.#context
    const m = this.#m
    m.at = packet
    const { total, source, target, protocol, ttl, trafficClass } = m
    const each = (iface.info.mtu - HEADER) & ~7
    const identification = this.#nextIdentification()
    const cut: Address[] = []
    for (let offset = 0; offset < total; offset += each) {
      const length = Math.min(each, total - offset)
      const fragment = mbufs.copySlice(packet, offset, length, HEADROOM)
      if (fragment === 0) {
        for (const made of cut) mbufs.free(made)
        return this.#fail(packet, C.sendNoMbuf, Errno.ENOBUFS)
      }
      m.at = fragment
      m.source = source
      m.target = target
      m.protocol = protocol
      m.ttl = ttl
      m.trafficClass = trafficClass
      const more = offset + length < total ? IpFragment.moreFragments : 0
      this.#writeHeader(fragment, HEADER, more | (offset >> 3), identification)
      cut.push(fragment)
    }
    mbufs.free(packet)
    this.#count[C.sentDatagramsFragmented]!++
    let sent = true
    for (const fragment of cut) {
      this.#count[C.sentFragments]!++
      sent = this.#transmit(iface, fragment, isBroadcast) && sent
    }
    if (sent) return 0
    this.#count[C.sendDeviceFull]!++
    return Errno.ENOBUFS
  }

  /** To the interface's queue of this CPU, or to a CPU that has one. */
  #transmit(iface: Interface, packet: Address, isBroadcast: boolean): boolean {
    const m = this.#m
    m.at = packet
    m.family = INET
    m.flags = 0
    // The target is on the link itself: it is its own next hop.
    if (iface.info.framing === 'ethernet') {
      return this.#ether.output(iface, packet, INET, m.network + AT.destination, isBroadcast)
    }
    if (iface.queue !== undefined) {
      this.#count[C.sentUnframed]!++
      return transmit(this.#context.cpu, iface.queue, packet)
    }
    m.interfaceIndex = iface.index
    const { cpus } = iface.info
    const cpu = cpus[this.#context.cpu.index % cpus.length]!
    this.#txPorts[cpu] ||= this.#context.cpu.ports.lookup(this.#context.portName('tx', cpu))
    if (this.#context.mbufs.handOff(this.#txPorts[cpu], packet)) return true
    this.#count[C.sentNoMemory]!++
    return false
  }

  #nextIdentification(): number {
    const { cpus, index } = this.#context.cpu
    this.#identification += cpus
    if (this.#identification > 0xffff) this.#identification = index
    return this.#identification
  }

  #fail(packet: Address, counter: number, errno: number): number {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
    return errno
  }
}
