// Echo requests that we send: ping (@rfc 792 echo/send, @rfc 1122 3.2.2.6/client).
import { finish } from '../../base/checksum.ts'
import { Errno } from '../../base/errno.ts'
import type { MbufCursor } from '../../device/mbuf.ts'
import { Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { IcmpCounters } from '../counters.ts'
import type { Endpoint } from '../endpoint.ts'
import { IpProtocol } from '../ip/header.ts'
import { DEFAULT_TTL, type IpOutput } from '../ip/output.ts'
import { sumPacket } from '../ip/sum.ts'
import { IcmpEcho, IcmpType } from './header.ts'

export class EchoSender {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #output: IpOutput
  readonly #count: Float64Array

  constructor(context: NetContext, output: IpOutput) {
    this.#context = context
    this.#m = context.mbuf()
    this.#output = output
    this.#count = context.count(IcmpCounters)
  }

  /** Sends a request with `length` bytes of data that count up. Returns 0 or an errno. */
  send(target: Endpoint, identifier: number, sequence: number, length: number): number {
    const { mbufs, u8, view, routines } = this.#context
    if (target.family !== Family.inet) return Errno.EAFNOSUPPORT
    const source = this.#output.sourceTo(target.address)
    if (source === 0) return Errno.ENETUNREACH
    const packet = mbufs.copyFrom(pattern(length))
    if (packet === 0) return Errno.ENOBUFS
    const header = mbufs.prepend(packet, IcmpEcho.size)
    u8[header] = IcmpType.echo
    u8[header + 1] = 0
    view.setUint16(header + 2, 0)
    view.setUint16(header + 4, identifier)
    view.setUint16(header + 6, sequence)
    view.setUint16(header + 2, finish(sumPacket(routines, this.#m, packet, 0)))
    const m = this.#m
    m.at = packet
    m.source = source
    m.target = target.address
    m.family = target.family
    m.protocol = IpProtocol.icmp
    m.ttl = DEFAULT_TTL
    m.trafficClass = 0
    this.#count[IcmpCounters.index.sentRequests]!++
    return this.#output.output(packet)
  }
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => i & 0xff)
}
