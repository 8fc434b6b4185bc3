// ICMP errors that we send (RFC 792, RFC 1122 3.2.2, RFC 1812 4.3.2.8): about a packet that came, to its sender, with
// its header and the beginning of its data. Never about an error, a broadcast, or any fragment but the first; and no more
// than a token bucket allows. @rfc 1122 3.3.8 3.2.2.1/send, @rfc 792 unreachable/send time-exceeded/reassembly, @rfc 1122 3.3.2/time-exceeded: stack.ts says
// about what.
import { finish } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import { type MbufCursor, MbufFlag } from '../../device/mbuf.ts'
import { Family, isBroadcast, isMulticast } from '../address.ts'
import type { NetContext } from '../context.ts'
import { IcmpCounters } from '../counters.ts'
import { IpFragment, IpHeader, IpProtocol, ipHeaderBytes } from '../ip/header.ts'
import { DEFAULT_TTL, type IpOutput } from '../ip/output.ts'
import { IcmpEcho, IcmpError, IcmpType } from './header.ts'

const C = IcmpCounters.index
const AT = IpHeader.offset

export const IcmpLimits = {
  /** Errors a second that one CPU sends; Linux's icmp_msgs_per_sec is 1000 for the host. */
  errorsPerSecond: 1000,
  /** As many as may go at once. */
  burst: 50,
  /** Data quoted behind the IP header: as much as keeps the whole within 576 bytes (@rfc 1122 3.2.2/more, RFC 1812 4.3.2.3). */
  quoteBytes: 576 - IpHeader.size - IcmpError.size,
} as const

export class IcmpErrors {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  readonly #output: IpOutput
  #tokens: number = IcmpLimits.burst
  #filledAt = 0

  constructor(context: NetContext, output: IpOutput) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(IcmpCounters)
    this.#output = output
  }

  /** Sends an error about `packet`, whose IP header lies at `header`. The packet stays the caller's. */
  send(packet: Address, header: Address, type: IcmpType, code: number, extra = 0): void {
    const { mbufs, u8, view, routines } = this.#context
    const m = this.#m
    m.at = packet
    const inFirstPart = m.data + m.length - header
    if (!this.#isAllowed(header, m.flags, inFirstPart)) {
      this.#count[C.errorsNotAllowed]!++
      return
    }
    if (!this.#takeToken()) {
      this.#count[C.errorsRateLimited]!++
      return
    }
    const quoted = Math.min(inFirstPart, IcmpLimits.quoteBytes, view.getUint16(header + AT.totalLength))
    // @rfc 792 message/quote, @rfc 1122 3.2.2/unchanged
    const error = mbufs.copyIn(header, quoted)
    if (error === 0) {
      this.#count[C.droppedNoMbuf]!++
      return
    }
    const icmp = mbufs.prepend(error, IcmpError.size)
    u8[icmp] = type
    u8[icmp + 1] = code
    view.setUint16(icmp + 2, 0)
    view.setUint32(icmp + 4, extra)
    m.at = error
    view.setUint16(icmp + 2, finish(routines.sum(icmp, m.length, 0)))
    // The quote lies behind the ICMP header now; its addresses, turned round, are ours.
    const quote = icmp + IcmpError.size
    m.source = quote + AT.destination
    m.target = quote + AT.source
    m.protocol = IpProtocol.icmp
    m.family = Family.inet
    m.ttl = DEFAULT_TTL
    // @rfc 792 message/service-zero, @rfc 1122 3.2.2/tos
    m.trafficClass = 0
    this.#count[C.sentErrors]!++
    this.#output.output(error)
  }

  /**
   * @rfc 792 message/about-errors message/first-fragment, @rfc 1122 3.2.2/about-errors 3.2.2/about-broadcast 3.2.2/about-link-broadcast
   * 3.2.2/about-fragment; a source that is nobody's has not come so far.
   */
  #isAllowed(header: Address, flags: number, bytes: number): boolean {
    const { u8, view } = this.#context
    if (bytes < IpHeader.size || (flags & MbufFlag.LINK_BROADCAST) !== 0) return false
    if ((view.getUint16(header + AT.flagsAndOffset) & IpFragment.offsetMask) !== 0) return false
    const target = header + AT.destination
    if (isMulticast(u8, Family.inet, target) || isBroadcast(u8, Family.inet, target)) return false
    for (const iface of this.#context.interfaces) if (iface.isBroadcast(u8, Family.inet, target)) return false
    if (u8[header + AT.protocol] !== IpProtocol.icmp) return true
    // Of ICMP itself only the questions may be answered by an error; what is unknown may be one.
    const type = header + ipHeaderBytes(u8, header)
    return bytes >= type - header + IcmpEcho.size && u8[type] === IcmpType.echo
  }

  #takeToken(): boolean {
    const { now } = this.#context.cpu
    this.#tokens = Math.min(
      IcmpLimits.burst,
      this.#tokens + ((now - this.#filledAt) * IcmpLimits.errorsPerSecond) / 1e6,
    )
    this.#filledAt = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
