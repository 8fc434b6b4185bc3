// ICMP in (RFC 792, RFC 1122 3.2.2). Runs on the owner of the pair of addresses, or, for an error, of the flow that it
// is about. Echo is answered in the packet that asked; errors go to the transport that they quote.
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
    if (checksums && finish(sumPacket(routines, m, packet, 0)) !== 0) return this.#drop(packet, C.droppedChecksum)
    const type = u8[header]!
    if (type === IcmpType.echo) {
      // Who pings a broadcast address wants everybody to answer somebody else (smurf; RFC 1122 3.2.2.6 allows silence).
      if (isBroadcast) return this.#drop(packet, C.droppedBroadcast)
      this.#answer(packet, header)
    } else if (type === IcmpType.echoReply) {
      this.#count[C.echoReplies]!++
      this.onEchoReply(packet)
      mbufs.free(packet)
    } else if (isIcmpError(type) && type !== IcmpType.redirect && type !== IcmpType.sourceQuench) {
      this.#error(packet, header, type)
    } else this.#drop(packet, C.ignored)
  }

  /** Turns the request round: same identifier, sequence number and data; exactly what came, however long it was. */
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
