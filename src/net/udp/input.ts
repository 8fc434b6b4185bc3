// UDP in (RFC 768, RFC 1122 4.1). Runs in the group of the packet's flow: finds the socket, and passes the packet to it.
import { finish, pseudoHeaderSum } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import { type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import { addressBytes, type Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { UdpCounters } from '../counters.ts'
import type { IcmpErrors } from '../icmp/error.ts'
import { IcmpType, IcmpUnreachable } from '../icmp/header.ts'
import { IpHeader, IpProtocol, ipHeaderBytes } from '../ip/header.ts'
import { sumPacket } from '../ip/sum.ts'
import { checkUdpHeader, UdpDrop, UdpHeader } from './header.ts'
import type { UdpTable } from './pcb.ts'

const C = UdpCounters.index
const AT = UdpHeader.offset
const UDP = IpProtocol.udp

export class UdpInput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
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
    this.#table = table
    this.#errors = errors
  }

  /** A packet came; its data begins with the UDP header, and its mbuf names the addresses. */
  input(packet: Address, isBroadcast: boolean): void {
    const { u8, view, routines, mbufs } = this.#context
    const m = this.#m
    m.at = packet
    this.#count[C.received]!++
    const header = m.data
    // The header lies in one piece: a first fragment is at least 16 bytes long.
    const drop = m.length < UdpHeader.size ? UdpDrop.short : checkUdpHeader(u8, header, m.total)
    if (drop !== UdpDrop.none) return this.#drop(packet, REASONS[drop]!)
    const length = view.getUint16(header + AT.length)
    if (length < m.total) mbufs.trimTo(packet, length)
    const family = m.family as Family
    if (view.getUint16(header + AT.checksum) !== 0 && this.#context.checksums && (m.flags & MbufFlag.CHECKED) === 0) {
      const { source, target } = m
      const pseudo = pseudoHeaderSum(routines, source, target, addressBytes(family), UDP, length)
      if (finish(sumPacket(routines, m, packet, pseudo)) !== 0) return this.#drop(packet, C.droppedChecksum)
      m.at = packet
    }
    const sourcePort = view.getUint16(header)
    const targetPort = view.getUint16(header + AT.destinationPort)
    const pcb = this.#table.lookup(family, m.target, targetPort, m.source, sourcePort)
    if (pcb === 0) {
      this.#count[C.noPort]!++
      if (!isBroadcast) this.#errors.send(packet, m.network, IcmpType.unreachable, IcmpUnreachable.port)
      mbufs.free(packet)
      return
    }
    m.sourcePort = sourcePort
    m.targetPort = targetPort
    m.socket = pcb
    // Nobody answers from a broadcast address: whoever sends the packet back has to know.
    if (isBroadcast) m.flags |= MbufFlag.LINK_BROADCAST
    this.#count[C.delivered]!++
    mbufs.trimFront(packet, UdpHeader.size)
    this.onDatagram(pcb, packet)
  }

  /** An ICMP error that quotes a UDP packet of ours. Only a connected socket is told: others cannot know whom it is about. */
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
