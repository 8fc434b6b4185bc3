// ICMP in (RFC 792, @rfc 1122 3.1/ip-and-icmp 3.2.2/demultiplex). Runs on the owner of the pair of addresses, or, for an error, of the flow that it
// is about. Echo is answered in the packet that asked; errors go to the transport that they quote.
//
// What a host may do, or is asked to, and this one does not:
// @rfc-not 792 redirect/receive not done: anybody on the link could have our traffic sent to himself; routes are the operator's
// @rfc-not 1122 3.2.2.2/update 3.2.2.2/both 3.3.1.2/redirects not done: anybody on the link could have our traffic sent to himself; routes are the operator's
// @rfc-not 1122 3.2.2.2/send a host that forwards nothing has nobody to redirect
// @rfc-not 1122 3.3.1.2/overridable redirects override nothing
// @rfc-not 792 source-quench/send source-quench/receive RFC 6633 forbids to send it, and to act on it
// @rfc-not 1122 3.2.2.3/send 3.2.2.3/pass-up 3.2.2.3/act RFC 6633 forbids to send it, and to act on it
// @rfc-not 792 parameter-problem/send not done: what has a bad header is dropped in silence, for its source is as likely wrong as the rest
// @rfc-not 1122 3.2.2.5/send not done: what has a bad header is dropped in silence, for its source is as likely wrong as the rest
// @rfc-not 1122 3.2.2.6/reflect not done: record route and timestamp options are passed over
// @rfc-not 1122 3.2.2.6/reverse source routes are refused by IP (RFC 7126 4.3)
// @rfc-not 792 timestamp/reply not done: a clock that tells strangers the time is of use to them only
// @rfc-not 1122 3.2.2.8 not done: a clock that tells strangers the time is of use to them only
// @rfc-not 1122 3.2.2.8/rules timestamps are not answered
// @rfc-not 792 information/reply not done: RFC 6918 has retired it
// @rfc-not 1122 3.2.2.9/source 3.2.2.9/dynamic-rules masks are configured, and come from nowhere else
// @rfc-not 1122 3.2.2.9/dynamic not done: masks are configured
import { finish, update } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import type { MbufCursor } from '../../device/mbuf.ts'
import type { NetContext } from '../context.ts'
import { IcmpCounters } from '../counters.ts'
import { IpHeader, ipHeaderBytes } from '../ip/header.ts'
import { DEFAULT_TTL, type IpOutput } from '../ip/output.ts'
import { sumPacket } from '../ip/sum.ts'
import { checkIcmpHeader, IcmpDrop, IcmpError, IcmpType, isIcmpError } from './header.ts'

const C = IcmpCounters.index
const CHECKSUM = IcmpError.offset.checksum

/**
 * An error about a packet that we sent: `quote` is the address of its IP header, followed by at least 8 bytes of its
 * transport header. Returns whether it was about anything that there is.
 */
export type IcmpErrorHandler = (type: number, code: number, quote: Address, nextHopMtu: number) => boolean

/** An answer to an echo request of ours. Does not own the packet, whose data begins with the ICMP header. */
export type EchoReplyHandler = (packet: Address) => void

export class IcmpInput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #count: Float64Array
  readonly #output: IpOutput
  /** By protocol. Set by stack.ts. */
  readonly onError: (IcmpErrorHandler | undefined)[] = []
  /** Set by whoever pings. */
  onEchoReply: EchoReplyHandler = () => {}

  constructor(context: NetContext, output: IpOutput) {
    this.#context = context
    this.#m = context.mbuf()
    this.#count = context.count(IcmpCounters)
    this.#output = output
  }

  input(packet: Address, isBroadcast: boolean): void {
    const { u8, routines, mbufs, checksums } = this.#context
    const m = this.#m
    m.at = packet
    this.#count[C.received]!++
    const header = m.data
    const drop = checkIcmpHeader(u8, header, m.length)
    if (drop !== IcmpDrop.none) return this.#drop(packet, drop === IcmpDrop.short ? C.droppedShort : C.droppedQuote)
    // @rfc 792 message/checksum
    if (checksums && finish(sumPacket(routines, m, packet, 0)) !== 0) return this.#drop(packet, C.droppedChecksum)
    const type = u8[header]!
    if (type === IcmpType.echo) {
      // Who pings a broadcast address wants everybody to answer somebody else (smurf; @rfc 1122 3.2.2.6/to-many allows silence).
      if (isBroadcast) return this.#drop(packet, C.droppedBroadcast)
      this.#answer(packet, header)
    } else if (type === IcmpType.echoReply) {
      // @rfc 792 echo/send, @rfc 1122 3.2.2.6/pass-up
      this.#count[C.echoReplies]!++
      this.onEchoReply(packet)
      mbufs.free(packet)
    } else if (isIcmpError(type) && type !== IcmpType.redirect && type !== IcmpType.sourceQuench) {
      this.#error(packet, header, type)
    } else {
      // @rfc 1122 3.2.2/unknown 3.2.2.2/illegal 3.2.2.7 3.2.2.9/unauthorized
      this.#drop(packet, C.ignored)
    }
  }

  /**
   * Turns the request round: same identifier, sequence number and data; exactly what came, however long it was.
   * @rfc 792 echo/reply echo/same-data echo/identifier echo/addresses, @rfc 1122 3.2.2.6/server 3.2.2.6/source 3.2.2.6/same-data
   */
  #answer(packet: Address, header: Address): void {
    const { u8, view, routines } = this.#context
    const m = this.#m
    this.#count[C.echoRequests]!++
    u8[header] = IcmpType.echoReply
    const changed = update(view.getUint16(header + CHECKSUM), IcmpType.echo << 8, IcmpType.echoReply << 8)
    view.setUint16(header + CHECKSUM, changed)
    // The one message that the update cannot tell from nothing: all zeros (see checksum.ts).
    if (changed === 0) view.setUint16(header + CHECKSUM, finish(sumPacket(routines, m, packet, 0)))
    m.at = packet
    const { source } = m
    m.source = m.target
    m.target = source
    m.ttl = DEFAULT_TTL
    m.trafficClass &= 0xfc
    this.#output.output(packet)
  }

  /** @rfc 1122 3.2.2.1/pass-up 3.2.2.4 3.2.2.5/pass-up 3.4/pass-icmp 3.4/quote */
  #error(packet: Address, header: Address, type: number): void {
    const { u8, view, mbufs } = this.#context
    const quote = header + IcmpError.size
    const handler = this.onError[u8[quote + IpHeader.offset.protocol]!]
    // The quoted packet is one of ours, or it is none of our business (RFC 5927 4).
    const fragmentOffset = view.getUint16(quote + IpHeader.offset.flagsAndOffset) & 0x1fff
    const known =
      handler !== undefined &&
      fragmentOffset === 0 &&
      ipHeaderBytes(u8, quote) >= IpHeader.size &&
      handler(type, u8[header + 1]!, quote, view.getUint16(header + IcmpError.offset.nextHopMtu))
    this.#count[known ? C.errors : C.errorsUnmatched]!++
    mbufs.free(packet)
  }

  #drop(packet: Address, counter: number): void {
    this.#count[counter]!++
    this.#context.mbufs.free(packet)
  }
}
