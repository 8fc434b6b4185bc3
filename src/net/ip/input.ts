// IPv4 in (RFC 791, RFC 1122 3.2). Runs on the CPU that owns the packet's flow; for fragments, on the one that owns the
// pair of addresses. Every packet is delivered, kept as a fragment, or dropped under a name.
//
// What a host may do, or is asked to, and this one does not:
// @rfc-not 791 3.1/source-route not done: the sender of a source route says by which way its datagram goes. Refused: RFC 7126 4.3 and 4.4
// @rfc-not 791 3.1/record-route 3.1/timestamp not done: passed over; RFC 7126 4.5 and 4.7 have routers drop what has them
// @rfc-not 791 3.1/security 3.1/stream-id not done: passed over: nobody's, or of networks with labels (RFC 7126 4.12, RFC 6814)
// @rfc-not 1122 3.2.1.8/source-route 3.2.1.8/completed 3.2.1.8/return-route not done: source routes are refused (RFC 7126 4.3 and 4.4)
// @rfc-not 1122 3.2.1.8/two-routes none is ever sent
// @rfc-not 1122 3.2.1.8/security 3.2.1.8/record-route 3.2.1.8/timestamp not done: these options are passed over
// @rfc-not 1122 3.2.1.8/stream-send none is ever sent
// @rfc-not 1122 3.3.5/forward 3.3.5/rules a host that forwards nothing
// @rfc-not 1122 3.3.5/unreachable not done: source routes are refused in silence, or everybody could have us send errors
// @rfc-not 1122 3.1/forward 3.1/gateway-switch there is no gateway in it: nothing is ever forwarded
// @rfc-not 1122 3.1/remote-multihoming a program is given addresses, and tries the next one itself
// @rfc-not 1122 3.1/log not done: what is discarded is counted under a name, and a capture of the device has the packet
import type { Address } from '../../base/struct.ts'
import { type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import type { TallyOf } from '../../kernel/counters.ts'
import { Family, isBroadcast, isLoopback, isMulticast, isUnspecified } from '../address.ts'
import type { NetContext } from '../context.ts'
import { IpCounters, IpInputTally } from '../counters.ts'
import type { Groups } from '../group.ts'
import { checkIpHeader, IpDrop, IpFragment, IpHeader, IpProtocol, ipHeaderBytes, walkOptions } from './header.ts'
import type { Reassembly } from './reassembly.ts'

const C = IpCounters.index
const AT = IpHeader.offset
const { LINK_BROADCAST, LOOPBACK } = MbufFlag
const INET = Family.inet
const UDP = IpProtocol.udp
const TCP = IpProtocol.tcp
const ICMP = IpProtocol.icmp
const IGMP = IpProtocol.igmp

/** Takes a packet whose data begins with the transport header, and whose mbuf names addresses, protocol and the rest. */
export type TransportInput = (packet: Address, isBroadcast: boolean) => void

export class IpInput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  readonly #tally: TallyOf<typeof IpInputTally>
  readonly #reassembly: Reassembly
  readonly #groups: Groups
  /** The last pair of addresses that was good and ours, and how it came. -1: none yet. */
  #goodSource = -1
  #goodTarget = -1
  #goodWay = -1
  /** Set by stack.ts. */
  onTcp: TransportInput = () => {}
  onUdp: TransportInput = () => {}
  onIcmp: TransportInput = () => {}
  onIgmp: TransportInput = () => {}
  /** A protocol that nobody here speaks: the packet is still whole, its data at the IP header. It owns the packet. */
  onUnknownProtocol: (packet: Address) => void = () => {}

  constructor(context: NetContext, reassembly: Reassembly, groups: Groups) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(IpCounters)
    this.#tally = context.tally(IpInputTally)
    this.#reassembly = reassembly
    this.#groups = groups
  }

  /** A packet came; its data begins with the IP header. */
  input(packet: Address): void {
    const { u8, view, mbufs } = this.#context
    const m = this.#m
    m.at = packet
    const reassembled = (m.flags & MbufFlag.REASSEMBLED) !== 0
    if (!reassembled) this.#tally.received++
    const header = m.data
    const drop = checkIpHeader(u8, header, m.total)
    if (drop !== IpDrop.none) return this.#drop(packet, REASONS[drop]!)
    const headerBytes = ipHeaderBytes(u8, header)
    // Headers lie in one piece: a packet that splits its own has come from nobody's device.
    if (m.length < headerBytes) return this.#drop(packet, C.droppedLayout)
    if (headerBytes > IpHeader.size) {
      const bad = walkOptions(u8, header, headerBytes)
      if (bad !== IpDrop.none) return this.#drop(packet, REASONS[bad]!)
    }
    // The link pads short frames: what is behind the packet's own length is not part of it.
    const total = (u8[header + AT.totalLength]! << 8) | u8[header + AT.totalLength + 1]!
    // @rfc 791 3.1/total-length
    if (total < m.total) mbufs.trimTo(packet, total)
    // @rfc 791 3.1/ttl-zero. @rfc 1122 3.2.1.7/below-two: 1 is enough for the last host.
    // @rfc-not 1122 3.2.1.7/below-two 0 is dropped, as RFC 791 3.1 says: no host may send it
    if (u8[header + AT.timeToLive] === 0) return this.#drop(packet, C.droppedTtl)
    const source = header + AT.source
    const target = header + AT.destination
    // Most packets have the addresses of the one before: what was found out about them then holds now.
    const sourceWord = view.getInt32(source)
    const targetWord = view.getInt32(target)
    const way = m.interfaceIndex | ((m.flags & (LOOPBACK | LINK_BROADCAST)) << 16)
    let broadcast: -1 | 0 | 1 = 0
    if (sourceWord !== this.#goodSource || targetWord !== this.#goodTarget || way !== this.#goodWay) {
      if (!this.#isGoodSource(m, source)) return this.#drop(packet, C.droppedSource)
      broadcast = this.#isOurs(m, target)
      if (broadcast < 0) return this.#drop(packet, C.droppedNotOurs)
      if (broadcast === 0) {
        this.#goodSource = sourceWord
        this.#goodTarget = targetWord
        this.#goodWay = way
      }
    }

    const flagsAndOffset = (u8[header + AT.flagsAndOffset]! << 8) | u8[header + AT.flagsAndOffset + 1]!
    if ((flagsAndOffset & IpFragment.mask) !== 0) {
      this.#count[C.fragments]!++
      this.#reassembly.input(packet, headerBytes)
      return
    }
    m.at = packet
    // @rfc 791 3.3/receive, @rfc 1122 3.2.1.6/pass-up 3.2.1.8/pass-up 3.4/interface 3.4/options: the header, options and all, lies at `network`.
    m.network = header
    m.source = source
    m.target = target
    m.family = INET
    m.ttl = u8[header + AT.timeToLive]!
    m.trafficClass = u8[header + AT.service]!
    // @rfc 791 3.1/protocol
    const protocol = u8[header + AT.protocol]!
    m.protocol = protocol
    if (reassembled) this.#count[C.reassembled]!++
    if (protocol === TCP) {
      this.#tally.delivered++
      mbufs.trimFront(packet, headerBytes)
      this.onTcp(packet, broadcast > 0)
    } else if (protocol === UDP) {
      this.#tally.delivered++
      mbufs.trimFront(packet, headerBytes)
      this.onUdp(packet, broadcast > 0)
    } else if (protocol === ICMP) {
      this.#tally.delivered++
      mbufs.trimFront(packet, headerBytes)
      this.onIcmp(packet, broadcast > 0)
    } else if (protocol === IGMP) {
      this.#tally.delivered++
      mbufs.trimFront(packet, headerBytes)
      this.onIgmp(packet, broadcast > 0)
    } else {
      this.#count[C.droppedProtocol]!++
      if (broadcast === 0) this.onUnknownProtocol(packet)
      else mbufs.free(packet)
    }
  }

  /**
   * Nobody sends from a group, a broadcast address or nowhere; nobody else from our own or the loopback addresses.
   * @rfc 1122 3.2.1.3/bad-source 3.2.2/about-source 4.1.3.6/bad-source
   */
  #isGoodSource(m: MbufCursor, source: Address): boolean {
    const { u8, interfaces } = this.#context
    if (isUnspecified(u8, INET, source) || isMulticast(u8, INET, source) || isBroadcast(u8, INET, source)) return false
    // 240/4 is reserved and 0/8 is "this network": neither is anybody's source.
    if (u8[source]! >= 240 || u8[source] === 0) return false
    if ((m.flags & LOOPBACK) !== 0) return true
    if (isLoopback(u8, INET, source)) return false
    for (let i = 0; i < interfaces.length; i++) {
      const iface = interfaces[i]!
      if (iface.has(u8, INET, source) || iface.isBroadcast(u8, INET, source)) return false
    }
    return true
  }

  /**
   * 0: to one of our addresses; 1: to a broadcast or multicast that we take; -1: not to us. @rfc 1122 3.2.1.3/bad-target 3.1/gateway-automatic: then it
   * goes nowhere, however many interfaces there are. @rfc 791 3.2/addressing, @rfc 1122 3.1/local-multihoming
   * @rfc-not 1122 3.3.4.2/wrong-receive the addresses are the host's, and not an interface's (the weak model of 3.3.4.2)
   */
  #isOurs(m: MbufCursor, target: Address): -1 | 0 | 1 {
    const { u8, interfaces } = this.#context
    // All of 127/8 is this host, to itself.
    if (u8[target] === 127) return (m.flags & LOOPBACK) !== 0 ? 0 : -1
    for (let i = 0; i < interfaces.length; i++) {
      const iface = interfaces[i]!
      if (iface.has(u8, INET, target)) {
        // A unicast in a broadcast frame is a trick (@rfc 1122 3.3.6/unicast).
        return (m.flags & LINK_BROADCAST) === 0 ? 0 : -1
      }
    }
    // @rfc 1122 3.3.6/receive 3.3.6/all-forms. @rfc-not 1122 3.3.6/all-forms everybody is not meant by 0.0.0.0, as on Linux
    const came = interfaces[m.interfaceIndex]
    if (isBroadcast(u8, INET, target) || came?.isBroadcast(u8, INET, target)) return 1
    // A group is joined on an interface, and not heard on others (RFC 1112 7.1).
    if (isMulticast(u8, INET, target) && this.#groups.accepts(m.interfaceIndex, INET, target)) return 1
    return -1
  }

  /** @rfc 1122 3.1/count */
  #drop(packet: Address, counter: number): void {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
  }
}

const REASONS: { readonly [drop: number]: number } = {
  [IpDrop.short]: C.droppedShort,
  [IpDrop.version]: C.droppedVersion,
  [IpDrop.headerLength]: C.droppedHeaderLength,
  [IpDrop.totalLength]: C.droppedTotalLength,
  [IpDrop.truncated]: C.droppedTruncated,
  [IpDrop.checksum]: C.droppedChecksum,
  [IpDrop.option]: C.droppedOption,
  [IpDrop.sourceRoute]: C.droppedSourceRoute,
}
