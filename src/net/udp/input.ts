// UDP in (RFC 768, RFC 1122 4.1). Runs in the group of the packet's flow: finds the socket, and passes the packet to it.
import { finish, pseudoHeaderSum } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import { HEADROOM, type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import type { TallyOf } from '../../kernel/counters.ts'
import { addressBytes, type Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { GroupCounters, UdpCounters, UdpTally } from '../counters.ts'
import type { IcmpErrors } from '../icmp/error.ts'
import { IcmpType, IcmpUnreachable } from '../icmp/header.ts'
import { IpHeader, IpProtocol, ipHeaderBytes } from '../ip/header.ts'
import { sumPacket } from '../ip/sum.ts'
import { checkUdpHeader, UdpDrop, UdpHeader } from './header.ts'
import type { UdpTable } from './pcb.ts'

const C = UdpCounters.index
const G = GroupCounters.index
const AT = UdpHeader.offset
const UDP = IpProtocol.udp

export class UdpInput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  readonly #tally: TallyOf<typeof UdpTally>
  readonly #groupCount: Float64Array
  readonly #table: UdpTable
  readonly #errors: IcmpErrors
  /** Set by stack.ts: a datagram for the socket of `pcb`; its data is the payload. It owns the packet. */
  onDatagram: (pcb: Address, packet: Address) => void = () => {}
  /** Set by stack.ts: an ICMP error about what a connected socket sent. */
  onSocketError: (pcb: Address, type: number, code: number) => void = () => {}

  constructor(context: NetContext, table: UdpTable, errors: IcmpErrors) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(UdpCounters)
    this.#tally = context.tally(UdpTally)
    this.#groupCount = context.count(GroupCounters)
    this.#table = table
    this.#errors = errors
  }

  /** A packet came; its data begins with the UDP header, and its mbuf names the addresses. */
  input(packet: Address, isBroadcast: boolean): void {
    const { u8, view, routines, mbufs } = this.#context
    const m = this.#m
    m.at = packet
    this.#tally.received++
    const header = m.data
    // The header lies in one piece: a first fragment is at least 16 bytes long.
    const drop = m.length < UdpHeader.size ? UdpDrop.short : checkUdpHeader(u8, header, m.total)
    if (drop !== UdpDrop.none) return this.#drop(packet, REASONS[drop]!)
    const length = view.getUint16(header + AT.length)
    if (length < m.total) mbufs.trimTo(packet, length)
    const family = m.family as Family
    // @rfc 768 checksum/none checksum/coverage ip-interface/addresses, @rfc 1122 4.1.3.4/able 4.1.3.4/bad
    if (view.getUint16(header + AT.checksum) !== 0 && this.#context.checksums && (m.flags & MbufFlag.CHECKED) === 0) {
      const { source, target } = m
      const pseudo = pseudoHeaderSum(routines, source, target, addressBytes(family), UDP, length)
      if (finish(sumPacket(routines, m, packet, pseudo)) !== 0) return this.#drop(packet, C.droppedChecksum)
      m.at = packet
    }
    const sourcePort = view.getUint16(header)
    const targetPort = view.getUint16(header + AT.destinationPort)
    m.sourcePort = sourcePort
    m.targetPort = targetPort
    if (isBroadcast) return this.#toAll(packet)
    // @rfc 768 fields/destination-port
    const pcb = this.#table.lookup(family, m.target, targetPort, m.source, sourcePort, m.hash)
    if (pcb === 0) {
      this.#count[C.noPort]!++
      // @rfc 792 unreachable/send, @rfc 1122 3.2.2.1/send 3.4/send-icmp 4.1.3.1
      this.#errors.send(packet, m.network, IcmpType.unreachable, IcmpUnreachable.port)
      mbufs.free(packet)
      return
    }
    this.#tally.delivered++
    this.#give(packet, pcb)
  }

  /** A datagram to a group, or to everybody: each socket that it is for gets it, all but the last a copy (RFC 1122 4.1.3.5 and 3.3.6). */
  #toAll(packet: Address): void {
    const m = this.#m
    m.at = packet
    const { target, targetPort, source, sourcePort } = m
    const family = m.family as Family
    let pcb = this.#table.next(0, family, target, targetPort, source, sourcePort)
    if (pcb === 0) {
      this.#count[C.noPort]!++
      this.#context.mbufs.free(packet)
      return
    }
    // Nobody answers from such an address: whoever sends the packet back has to know.
    m.flags |= MbufFlag.LINK_BROADCAST
    this.#tally.delivered++
    for (;;) {
      const next = this.#table.next(pcb, family, target, targetPort, source, sourcePort)
      if (next === 0) break
      const copy = this.#copy(packet)
      if (copy === 0) this.#groupCount[G.copyNoMbuf]!++
      else {
        this.#groupCount[G.copies]!++
        this.#give(copy, pcb)
      }
      pcb = next
    }
    this.#give(packet, pcb)
  }

  /** To the socket of `pcb`. */
  #give(packet: Address, pcb: Address): void {
    this.#m.at = packet
    this.#m.socket = pcb
    this.#context.mbufs.trimFront(packet, UdpHeader.size)
    this.onDatagram(pcb, packet)
  }

  /**
   * A copy of a packet whose data begins with the UDP header, with the notes that sockets look at, and the IP header in front without options.
   * @rfc-not 1122 4.1.3.2/receive of what is sent to many only the last socket gets the options
   */
  #copy(packet: Address): Address {
    const { u8, mbufs } = this.#context
    const m = this.#m
    m.at = packet
    const { total, network, flags, interfaceIndex, hash, arrivedAt, sourcePort, targetPort } = m
    const { family, protocol, ttl, trafficClass } = m
    const copy = mbufs.copySlice(packet, 0, total, HEADROOM)
    if (copy === 0) return 0
    m.at = copy
    const header = m.data - IpHeader.size
    u8.copyWithin(header, network, network + IpHeader.size)
    m.network = header
    m.source = header + IpHeader.offset.source
    m.target = header + IpHeader.offset.destination
    m.flags = flags
    m.interfaceIndex = interfaceIndex
    m.hash = hash
    m.arrivedAt = arrivedAt
    m.sourcePort = sourcePort
    m.targetPort = targetPort
    m.family = family
    m.protocol = protocol
    m.ttl = ttl
    m.trafficClass = trafficClass
    return copy
  }

  /**
   * An ICMP error that quotes a UDP packet of ours. @rfc 1122 3.4/quote the quote says whose it was.
   * @rfc-not 1122 4.1.3.3 a socket that is not connected is told nothing: it could not know whom the error is about, and BSD's and Linux's are not told either
   */
  error(type: number, code: number, quote: Address): boolean {
    const { u8, view } = this.#context
    const udp = quote + ipHeaderBytes(u8, quote)
    const local = quote + IpHeader.offset.source
    const remote = quote + IpHeader.offset.destination
    const pcb = this.#table.lookup(4, local, view.getUint16(udp), remote, view.getUint16(udp + 2))
    if (pcb === 0) return false
    this.onSocketError(pcb, type, code)
    return true
  }

  #drop(packet: Address, counter: number): void {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
  }
}

const REASONS: { readonly [drop: number]: number } = {
  [UdpDrop.short]: C.droppedShort,
  [UdpDrop.length]: C.droppedLength,
  [UdpDrop.truncated]: C.droppedTruncated,
  [UdpDrop.port]: C.droppedPort,
}
