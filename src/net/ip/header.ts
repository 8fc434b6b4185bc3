// The IPv4 header (RFC 791 3.1) and the checks that it is one, by its bytes alone. What is up to policy (source
// addresses that cannot be, time to live, unknown protocols) is the input's.
import { assert } from '../../base/assert.ts'
import { type Address, be16, u8 as byte, bytes, struct } from '../../base/struct.ts'

export const IpHeader = struct({
  versionAndLength: byte, //  0  version 4, header length in 32-bit words
  service: byte, //  1  DSCP (RFC 2474) and ECN (RFC 3168)
  totalLength: be16, //  2
  identification: be16, //  4
  flagsAndOffset: be16, //  6  see IpFragment
  timeToLive: byte, //  8
  protocol: byte, //  9
  checksum: be16, // 10
  source: bytes(4), // 12
  destination: bytes(4), // 16
})
assert(IpHeader.size === 20, 'ip header without options is 20 bytes')

/** The longest header, with 40 bytes of options. */
export const ipHeaderBytesMaximum = 60

/** Parts of `flagsAndOffset`. */
export const IpFragment = {
  dontFragment: 0x4000,
  moreFragments: 0x2000,
  /** In units of 8 bytes. */
  offsetMask: 0x1fff,
  /** A header with any of these set is a fragment. */
  mask: 0x3fff,
} as const

/** What the payload is (IANA "Protocol Numbers" registry). */
export const IpProtocol = {
  icmp: 1, // RFC 792
  igmp: 2, // RFC 1112
  ipv4: 4, // RFC 2003
  tcp: 6, // RFC 9293
  udp: 17, // RFC 768
  ipv6: 41, // RFC 2473
  esp: 50, // RFC 4303
  ah: 51, // RFC 4302
  icmp6: 58, // RFC 4443
} as const
export type IpProtocol = (typeof IpProtocol)[keyof typeof IpProtocol]

/** The option types that are looked at (@rfc 791 3.1/end-and-nop). Others are skipped by their length (@rfc 1122 3.2.1.8/unknown). */
export const IpOption = { end: 0, noOperation: 1, looseSourceRoute: 131, strictSourceRoute: 137 } as const
export type IpOption = (typeof IpOption)[keyof typeof IpOption]

/** Why a datagram is dropped for its header; 0 when it is not. */
export const IpDrop = {
  none: 0,
  /** Shorter than a header. */
  short: 1,
  /** Not 4. */
  version: 2,
  /** The header says that it is shorter than a header. */
  headerLength: 3,
  /** The total length does not reach the header's end. */
  totalLength: 4,
  /** The total length is more than came. */
  truncated: 5,
  checksum: 6,
  /** An option has no room for itself, or for what it says. */
  option: 7,
  /** The sender wants to say by which way the datagram goes. Refused: nobody honest does (RFC 7126 4.3, 4.4). */
  sourceRoute: 8,
} as const
export type IpDrop = (typeof IpDrop)[keyof typeof IpDrop]

/** How long the header at `address` says it is, in bytes: a multiple of 4 up to 60. */
export function ipHeaderBytes(u8: Uint8Array, address: Address): number {
  return (u8[address]! & 0x0f) << 2
}

/**
 * Looks at the `length` bytes behind the link's header. There may be more than the datagram, for padding:
 * what follows the total length is nobody's, and the caller cuts it off.
 *
 * When the result is 0: 20 <= header length <= total length <= `length`, and the checksum is right. The options
 * are not looked at: `walkOptions` does, for the few headers that are longer than 20 bytes.
 * @rfc 1122 3.2.1.1 3.2.1.2, @rfc 791 3.1/version 3.1/header-length 3.1/checksum
 */
export function checkIpHeader(u8: Uint8Array, address: Address, length: number): IpDrop {
  if (length < IpHeader.size) return IpDrop.short
  if (u8[address]! >>> 4 !== 4) return IpDrop.version
  const headerBytes = ipHeaderBytes(u8, address)
  if (headerBytes < IpHeader.size) return IpDrop.headerLength
  const totalLength = (u8[address + IpHeader.offset.totalLength]! << 8) | u8[address + IpHeader.offset.totalLength + 1]!
  if (totalLength < headerBytes) return IpDrop.totalLength
  if (totalLength > length) return IpDrop.truncated
  if (ipHeaderSum(u8, address, headerBytes) !== 0xffff) return IpDrop.checksum
  return IpDrop.none
}

/**
 * The ones' complement sum of the header's 16-bit words: 0xffff for a header that came whole. To write the
 * checksum, set its field to 0 and then to `~ipHeaderSum(...) & 0xffff`.
 */
export function ipHeaderSum(u8: Uint8Array, address: Address, headerBytes: number): number {
  let sum = 0
  // At most 30 words: the sum stays far below 2^32.
  for (let at = address; at < address + headerBytes; at += 2) sum += (u8[at]! << 8) | u8[at + 1]!
  sum = (sum & 0xffff) + (sum >>> 16)
  return (sum & 0xffff) + (sum >>> 16)
}

/**
 * Walks the options of a header that `checkIpHeader` has passed. Ends at the header's end: every option moves
 * on by at least one byte, and none is believed about more bytes than there are. Unknown ones are skipped
 * (@rfc 1122 3.2.1.8/unknown 3.2.1.8/stream-ignore, @rfc 791 3.1/options).
 */
export function walkOptions(u8: Uint8Array, address: Address, headerBytes: number): IpDrop {
  assert(headerBytes >= IpHeader.size && headerBytes <= ipHeaderBytesMaximum, 'options lie in a header of 20..60 bytes')
  const end = address + headerBytes
  let at = address + IpHeader.size
  while (at < end) {
    const type = u8[at]!
    if (type === IpOption.end) break
    if (type === IpOption.noOperation) {
      at++
      continue
    }
    if (type === IpOption.looseSourceRoute || type === IpOption.strictSourceRoute) return IpDrop.sourceRoute
    // The length counts the type and itself.
    if (at + 1 >= end) return IpDrop.option
    const optionBytes = u8[at + 1]!
    if (optionBytes < 2 || at + optionBytes > end) return IpDrop.option
    at += optionBytes
  }
  return IpDrop.none
}
