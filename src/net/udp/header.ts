// The UDP header (RFC 768) and the check of its bytes. The checksum needs the addresses and the whole datagram, and
// is the input's.
import { assert } from '../../base/assert.ts'
import { type Address, be16, struct } from '../../base/struct.ts'

export const UdpHeader = struct({
  sourcePort: be16, // 0
  destinationPort: be16, // 2
  length: be16, // 4  of header and data
  checksum: be16, // 6  0 says that there is none, for IPv4 only
})
assert(UdpHeader.size === 8, 'udp header is 8 bytes')

/** Why a datagram is dropped for its UDP header; 0 when it is not. */
export const UdpDrop = {
  none: 0,
  /** Shorter than a header. */
  short: 1,
  /** The length does not reach the header's end. Also 0, which means "see the jumbo payload" (RFC 2675) to nobody here. */
  length: 2,
  /** The length is more than came. */
  truncated: 3,
  /** Nobody can listen at port 0. */
  port: 4,
} as const
export type UdpDrop = (typeof UdpDrop)[keyof typeof UdpDrop]

/**
 * Looks at the `length` bytes behind the IP header; what follows the datagram's own length is nobody's, and the
 * caller cuts it off (@rfc 768 fields/length). A source port of 0 is good: it says that no answer is wanted (@rfc 768 fields/source-port).
 */
export function checkUdpHeader(u8: Uint8Array, address: Address, length: number): UdpDrop {
  if (length < UdpHeader.size) return UdpDrop.short
  const ownLength = word(u8, address + UdpHeader.offset.length)
  if (ownLength < UdpHeader.size) return UdpDrop.length
  if (ownLength > length) return UdpDrop.truncated
  if (word(u8, address + UdpHeader.offset.destinationPort) === 0) return UdpDrop.port
  return UdpDrop.none
}

function word(u8: Uint8Array, address: Address): number {
  return (u8[address]! << 8) | u8[address + 1]!
}
