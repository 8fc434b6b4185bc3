// Makes a frame that was changed look right again: its lengths and checksums, as far as its headers can be found. So what was changed gets
// past the first checks, and to code that has never seen such a thing.
import { type Bytes, checksumOf, get16, join, Protocol, put16, Type } from './frame.ts'

export interface Repairs {
  /** IP's total length is what there is. */
  readonly totalLength: boolean
  /** UDP's length is that of IP's payload. */
  readonly transportLength: boolean
  readonly ipChecksum: boolean
  /** Of TCP, UDP and ICMP. Not of fragments. */
  readonly transportChecksum: boolean
}

export const ALL_REPAIRS: Repairs = {
  totalLength: true,
  transportLength: true,
  ipChecksum: true,
  transportChecksum: true,
}

const ETHER_BYTES = 14
/** Where the checksum stands in each protocol's header. */
const CHECKSUM_AT: { readonly [protocol: number]: number } = {
  [Protocol.icmp]: 2,
  [Protocol.tcp]: 16,
  [Protocol.udp]: 6,
}

/** Changes `frame`, an Ethernet frame, in place. */
export function repair(frame: Bytes, repairs: Repairs = ALL_REPAIRS): void {
  if (frame.length < ETHER_BYTES + 20 || get16(frame, 12) !== Type.ipv4) return
  const packet = frame.subarray(ETHER_BYTES)
  const headerBytes = (packet[0]! & 15) * 4
  if (headerBytes < 20 || headerBytes > packet.length) return
  if (repairs.totalLength) put16(packet, 2, packet.length)
  const end = Math.max(headerBytes, Math.min(get16(packet, 2), packet.length))
  const isFragment = (get16(packet, 6) & 0x3fff) !== 0
  if (!isFragment) repairTransport(packet, packet.subarray(headerBytes, end), repairs)
  if (!repairs.ipChecksum) return
  put16(packet, 10, 0)
  put16(packet, 10, checksumOf(packet.subarray(0, headerBytes)))
}

function repairTransport(packet: Bytes, segment: Bytes, repairs: Repairs): void {
  const protocol = packet[9]!
  const at = CHECKSUM_AT[protocol]
  if (at === undefined || segment.length < at + 2) return
  if (protocol === Protocol.udp && segment.length >= 8 && repairs.transportLength) put16(segment, 4, segment.length)
  if (!repairs.transportChecksum) return
  put16(segment, at, 0)
  const length = [segment.length >>> 8, segment.length & 0xff]
  const pseudo = protocol === Protocol.icmp ? [] : [packet.subarray(12, 20), [0, protocol, ...length]]
  put16(segment, at, checksumOf(join(...pseudo, segment)) || (protocol === Protocol.udp ? 0xffff : 0))
}
