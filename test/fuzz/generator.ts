// Frames as a stack of another maker gone mad would send them: well-formed ones of every protocol, of which such and such shares have
// something wrong (as isic does for IP stacks). All by chance, from one seed; what is wrong with a frame is told.
import type { Random } from '../../src/base/random.ts'
import {
  arp,
  BROADCAST,
  type Bytes,
  counting,
  echoRest,
  ether,
  fragments,
  type IpFields,
  icmpMessage,
  ip,
  join,
  Protocol,
  type TcpFields,
  Type,
  tcpOption,
  tcpSegment,
  udp,
  udpSegment,
} from '../../src/net/testing/frame.ts'
import { HOST, PEER, PEER_LINK } from '../../src/net/testing/host.ts'

/** What can be wrong, and how often, 0 to 1 each. */
export interface Shares {
  /** Not Ethernet's type of IPv4. */
  readonly linkType: number
  /** To somebody else's link address, or from a group's. */
  readonly linkAddress: number
  /** ARP instead of IP, of any operation. */
  readonly arp: number
  /** Not 4. */
  readonly version: number
  /** A header length that is not the header's. */
  readonly headerLength: number
  readonly totalLength: number
  readonly ipChecksum: number
  /** IP options by chance. */
  readonly ipOptions: number
  /** In pieces, of which some are lost, doubled, moved or laid over each other. */
  readonly fragments: number
  /** None that the host speaks. */
  readonly protocol: number
  /** Not from the peer's address, or not to the host's. */
  readonly address: number
  readonly ttl: number
  /** UDP's length, TCP's data offset. */
  readonly transportLength: number
  readonly transportChecksum: number
  /** TCP options by chance. */
  readonly tcpOptions: number
  /** Control bits that do not go together. */
  readonly tcpFlags: number
  readonly urgent: number
  /** The frame is cut off somewhere. */
  readonly cut: number
}

export type Fault = keyof Shares

export const NOTHING_WRONG: Shares = {
  linkType: 0,
  linkAddress: 0,
  arp: 0,
  version: 0,
  headerLength: 0,
  totalLength: 0,
  ipChecksum: 0,
  ipOptions: 0,
  fragments: 0,
  protocol: 0,
  address: 0,
  ttl: 0,
  transportLength: 0,
  transportChecksum: 0,
  tcpOptions: 0,
  tcpFlags: 0,
  urgent: 0,
  cut: 0,
}

/** A little of everything, so that most frames get some way up. */
export const USUAL: Shares = {
  ...NOTHING_WRONG,
  linkType: 0.02,
  linkAddress: 0.02,
  arp: 0.05,
  version: 0.03,
  headerLength: 0.03,
  totalLength: 0.05,
  ipChecksum: 0.05,
  ipOptions: 0.1,
  fragments: 0.15,
  protocol: 0.03,
  address: 0.05,
  ttl: 0.02,
  transportLength: 0.08,
  transportChecksum: 0.08,
  tcpOptions: 0.4,
  tcpFlags: 0.3,
  urgent: 0.1,
  cut: 0.03,
}

export interface Made {
  /** More than one of a datagram that is in pieces. */
  readonly frames: readonly Bytes[]
  readonly faults: readonly Fault[]
}

const UDP_PORTS = [7, 9, 10, 7000]
const TCP_PORTS = [7, 9]
const EVERY_FLAG = [...'FSRPAUEC']
const SOURCES = ['0.0.0.0', '255.255.255.255', '10.0.0.255', '224.0.0.1', '127.0.0.1', HOST, '10.0.0.77', '192.0.2.1']
const TARGETS = ['10.0.0.255', '255.255.255.255', '224.0.0.1', '10.0.0.77', '0.0.0.0', '127.0.0.1']

export class Generator {
  readonly #random: Random
  readonly #shares: Shares
  /** The host's. */
  readonly #link: string
  #faults: Fault[] = []

  constructor(random: Random, shares: Shares, link: string) {
    this.#random = random
    this.#shares = shares
    this.#link = link
  }

  next(): Made {
    this.#faults = []
    const packets = this.#has('arp') ? undefined : this.#packets()
    const frames = (packets ?? [this.#arp()]).map((packet) => this.#frame(packet, packets === undefined))
    return { frames, faults: this.#faults }
  }

  #has(fault: Fault): boolean {
    const has = this.#random.chance(this.#shares[fault])
    if (has && !this.#faults.includes(fault)) this.#faults.push(fault)
    return has
  }

  #pick<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)]!
  }

  #bytes(length: number): Bytes {
    const bytes = new Uint8Array(length)
    for (let i = 0; i < length; i++) bytes[i] = this.#random.below(256)
    return bytes
  }

  #frame(payload: Bytes, isArp: boolean): Bytes {
    const random = this.#random
    const usual = isArp ? Type.arp : Type.ipv4
    const isElsewhere = this.#has('linkAddress')
    const whole = ether(
      {
        source: isElsewhere && random.chance(0.5) ? '03:00:00:00:00:01' : PEER_LINK,
        target: isElsewhere ? '02:00:00:00:00:77' : isArp ? BROADCAST : this.#link,
        type: this.#has('linkType') ? random.below(0x10000) : usual,
      },
      payload,
    )
    return this.#has('cut') ? whole.subarray(0, random.below(whole.length)) : whole
  }

  #arp(): Bytes {
    const random = this.#random
    return arp({
      operation: random.below(6),
      sender: this.#pick([PEER, HOST, '10.0.0.77', '0.0.0.0', '224.0.0.1']),
      target: this.#pick([HOST, HOST, PEER, '10.0.0.78']),
      ...(random.chance(0.3) ? { hardwareLength: random.below(256) } : {}),
      ...(random.chance(0.3) ? { protocolType: random.below(0x10000) } : {}),
    })
  }

  #packets(): Bytes[] {
    const random = this.#random
    const isElsewhere = this.#has('address')
    const addresses = {
      source: isElsewhere ? this.#pick(SOURCES) : PEER,
      target: isElsewhere && random.chance(0.3) ? this.#pick(TARGETS) : HOST,
    }
    const usual = this.#pick([Protocol.udp, Protocol.tcp, Protocol.icmp])
    const payload = this.#payload(usual, addresses)
    const isUnknown = this.#has('protocol')
    const fields: IpFields = {
      ...addresses,
      protocol: isUnknown ? this.#pick([0, 2, 4, 41, 50, 255]) : usual,
      id: random.below(isElsewhere ? 0x10000 : 32),
      service: random.below(256),
      ttl: this.#has('ttl') ? 0 : 1 + random.below(255),
    }
    if (this.#has('fragments')) return this.#pieces(ip(fields, payload))
    return [
      ip(
        {
          ...fields,
          dontFragment: random.chance(0.5),
          ...(this.#has('ipOptions') ? { options: this.#options(4 * (1 + random.below(10))) } : {}),
          ...(this.#has('version') ? { version: this.#other(4, 16) } : {}),
          ...(this.#has('headerLength') ? { headerLength: random.below(16) } : {}),
          ...(this.#has('totalLength') ? { totalLength: random.below(random.chance(0.5) ? 64 : 0x10000) } : {}),
          ...(this.#has('ipChecksum') ? { checksum: random.below(0x10000) } : {}),
        },
        payload,
      ),
    ]
  }

  /** Of a datagram's pieces so many as there are, or fewer, or more; in any order. */
  #pieces(packet: Bytes): Bytes[] {
    const random = this.#random
    const pieces = fragments(packet, 8 * (1 + random.below(20)), random.below(16)).slice(0, 12)
    const at = random.below(pieces.length)
    const what = random.below(6)
    if (what === 0) pieces.splice(at, 1)
    else if (what === 1) pieces.push(pieces[at]!)
    else if (what === 2) pieces.reverse()
    else if (what === 3) {
      const moved = Uint8Array.from(pieces[at]!)
      moved.set([moved[6]! ^ random.below(2), random.below(256)], 6)
      pieces[at] = moved
    }
    return pieces
  }

  #payload(protocol: number, addresses: { readonly source: string; readonly target: string }): Bytes {
    const random = this.#random
    const data = this.#bytes(random.below(random.chance(0.2) ? 1400 : 64))
    const checksum = this.#has('transportChecksum') ? { checksum: random.below(0x10000) } : {}
    if (protocol === Protocol.icmp) {
      const quote = udp({ source: HOST, target: PEER, sourcePort: 7000, targetPort: 9 }, data.subarray(0, 20))
      const type = this.#pick([8, 8, 8, 0, 3, 4, 5, 11, 12, 13, 17, random.below(256)])
      const isError = [3, 4, 5, 11, 12].includes(type)
      const rest = isError ? random.below(2000) : echoRest(random.below(4), random.below(4))
      return icmpMessage({ type, code: isError ? random.below(16) : 0, rest, ...checksum }, isError ? quote : data)
    }
    if (protocol === Protocol.udp) {
      const sourcePort = this.#pick([5000, 9, 0, 1 + random.below(65_535)])
      const targetPort = this.#pick(UDP_PORTS)
      const length = this.#has('transportLength') ? { length: random.below(random.chance(0.5) ? 32 : 0x10000) } : {}
      return udpSegment({ ...addresses, sourcePort, targetPort, ...length, ...checksum }, data)
    }
    return tcpSegment({ ...addresses, ...this.#tcp(), ...checksum }, data)
  }

  #tcp(): TcpFields {
    const random = this.#random
    const isOdd = this.#has('tcpFlags')
    const usual = this.#pick(['S', 'A', 'PA', 'FA', 'R'])
    const flags = isOdd ? EVERY_FLAG.filter(() => random.chance(0.4)).join('') : usual
    const options = this.#has('tcpOptions')
      ? this.#options(random.below(41))
      : flags === 'S'
        ? join(tcpOption.mss(1460), tcpOption.sackPermitted, tcpOption.windowScale(7))
        : []
    const isUrgent = this.#has('urgent')
    return {
      sourcePort: 5000 + random.below(64),
      targetPort: this.#pick(TCP_PORTS),
      seq: random.next() >>> 0,
      ack: random.next() >>> 0,
      window: random.below(0x10000),
      flags: isUrgent && !flags.includes('U') ? `${flags}U` : flags,
      urgent: isUrgent ? random.below(0x10000) : 0,
      tcpOptions: options,
      ...(this.#has('transportLength') ? { dataOffset: random.below(16) } : {}),
    }
  }

  /** Options that may be well-formed, or not: kinds that mean something, with lengths that may be theirs. */
  #options(length: number): number[] {
    const random = this.#random
    const bytes: number[] = []
    while (bytes.length < length) {
      const kind = random.chance(0.7) ? this.#pick([0, 1, 1, 2, 3, 4, 5, 7, 8, 68, 131, 137, 148]) : random.below(256)
      const size = random.chance(0.7) ? this.#pick([2, 3, 4, 8, 10, 18]) : random.below(256)
      bytes.push(kind)
      if (kind > 1) bytes.push(size, ...counting(Math.min(Math.max(size - 2, 0), 20), random.below(256)))
    }
    return bytes.slice(0, length)
  }

  #other(than: number, count: number): number {
    return (than + 1 + this.#random.below(count - 1)) % count
  }
}
