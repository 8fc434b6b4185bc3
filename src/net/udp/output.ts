// UDP out (RFC 768). Runs on the sender's CPU: a datagram has no state that another CPU would own.
//
// @rfc-not 1122 4.1.3.4/sender-option not done: sums are left out for a whole host (HostConfig.checksums), and not for a socket
// @rfc-not 1122 4.1.3.4/receiver-option not done: a datagram without a checksum is taken, as everybody does
import { finishUdp, pseudoHeaderSum } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import type { MbufCursor } from '../../device/mbuf.ts'
import type { TallyOf } from '../../kernel/counters.ts'
import { addressBytes, Family } from '../address.ts'
import type { NetContext } from '../context.ts'
import { UdpTally } from '../counters.ts'
import type { Interface } from '../interface.ts'
import { IpProtocol } from '../ip/header.ts'
import type { MulticastOutput } from '../ip/multicast.ts'
import type { IpOutput, IpSendOptions } from '../ip/output.ts'
import { sumPacket } from '../ip/sum.ts'
import { UdpHeader } from './header.ts'

const AT = UdpHeader.offset
const UDP = IpProtocol.udp

export class UdpOutput {
  readonly #context: NetContext
  readonly #m: MbufCursor
  readonly #tally: TallyOf<typeof UdpTally>
  readonly #ip: IpOutput
  readonly #multicast: MulticastOutput

  constructor(context: NetContext, ip: IpOutput, multicast: MulticastOutput) {
    this.#context = context
    this.#m = context.mbuf()
    this.#tally = context.tally(UdpTally)
    this.#ip = ip
    this.#multicast = multicast
  }

  /**
   * Sends a packet whose data is the payload, between the addresses and ports that its mbuf names (`source`, `target`,
   * `sourcePort`, `targetPort`, `ttl`, `trafficClass`). It owns the packet. Returns 0 or an errno.
   */
  output(packet: Address, options?: IpSendOptions): number {
    this.#frame(packet)
    return this.#ip.output(packet, options)
  }

  /** As `output`, to a group or a broadcast address, by an interface: see MulticastOutput. */
  outputToMany(packet: Address, iface: Interface, isBroadcast: boolean, isLooped: boolean): number {
    this.#frame(packet)
    return this.#multicast.output(packet, iface, isBroadcast, isLooped)
  }

  /** Puts the header in front. */
  #frame(packet: Address): void {
    const { view, mbufs, routines } = this.#context
    const m = this.#m
    m.at = packet
    m.family = Family.inet
    // @rfc 768 ip-interface/protocol
    m.protocol = UDP
    const { source, target, sourcePort, targetPort } = m
    // The addresses may lie where the header is about to be written, in a packet that is turned round: summed first. @rfc 768 checksum/coverage,
    // @rfc 1122 4.1.3.4/able 4.1.3.4/default
    const length = m.total + UdpHeader.size
    const pseudo = this.#context.checksums
      ? pseudoHeaderSum(routines, source, target, addressBytes(Family.inet), UDP, length)
      : 0
    const header = mbufs.prepend(packet, UdpHeader.size)
    view.setUint16(header, sourcePort)
    view.setUint16(header + AT.destinationPort, targetPort)
    view.setUint16(header + AT.length, length)
    view.setUint16(header + AT.checksum, 0)
    // @rfc 768 checksum/as-ones
    if (this.#context.checksums) view.setUint16(header + AT.checksum, finishUdp(sumPacket(routines, m, packet, pseudo)))
    this.#tally.sent++
  }
}
