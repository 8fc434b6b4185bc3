// ICMP messages (RFC 792) and the check of their bytes. The checksum covers the whole message and is the input's,
// as is what to believe of an error.
import { assert } from '../../base/assert.ts'
import { type Address, be16, be32, u8 as byte, struct } from '../../base/struct.ts'
import { IpHeader, ipHeaderBytes } from '../ip/header.ts'

/** Echo and its reply. */
export const IcmpEcho = struct({
  type: byte, // 0
  code: byte, // 1
  checksum: be16, // 2
  identifier: be16, // 4
  sequence: be16, // 6
})
assert(IcmpEcho.size === 8, 'icmp echo header is 8 bytes')

/** An error. Behind it comes the datagram it is about: its header and at least 8 bytes. */
export const IcmpError = struct({
  type: byte, // 0
  code: byte, // 1
  checksum: be16, // 2
  unused: be16, // 4
  nextHopMtu: be16, // 6  for "fragmentation needed" (RFC 1191 4), else unused
})
assert(IcmpError.size === 8, 'icmp error header is 8 bytes')

/** A redirect, whose second word is the better gateway. Recognised to be ignored. */
export const IcmpRedirect = struct({
  type: byte, // 0
  code: byte, // 1
  checksum: be16, // 2
  gateway: be32, // 4
})
assert(IcmpRedirect.size === 8, 'icmp redirect header is 8 bytes')

export const IcmpType = {
  echoReply: 0, // RFC 792
  unreachable: 3, // RFC 792
  sourceQuench: 4, // RFC 792, deprecated by RFC 6633
  redirect: 5, // RFC 792
  echo: 8, // RFC 792
  routerAdvertisement: 9, // RFC 1256
  routerSolicitation: 10, // RFC 1256
  timeExceeded: 11, // RFC 792
  parameterProblem: 12, // RFC 792
  timestamp: 13, // RFC 792
  timestampReply: 14, // RFC 792
  maskRequest: 17, // RFC 950, deprecated by RFC 6918
  maskReply: 18, // RFC 950, deprecated by RFC 6918
} as const
export type IcmpType = (typeof IcmpType)[keyof typeof IcmpType]

/** Codes of `IcmpType.unreachable`. */
export const IcmpUnreachable = {
  network: 0, // RFC 792
  host: 1, // RFC 792
  protocol: 2, // RFC 792
  port: 3, // RFC 792
  fragmentationNeeded: 4, // RFC 792, RFC 1191
  sourceRouteFailed: 5, // RFC 792
  networkUnknown: 6, // RFC 1122 3.2.2.1
  hostUnknown: 7, // RFC 1122 3.2.2.1
  sourceIsolated: 8, // RFC 1122 3.2.2.1
  networkProhibited: 9, // RFC 1122 3.2.2.1
  hostProhibited: 10, // RFC 1122 3.2.2.1
  networkService: 11, // RFC 1122 3.2.2.1
  hostService: 12, // RFC 1122 3.2.2.1
  prohibited: 13, // RFC 1812 5.2.7.1
  precedenceViolation: 14, // RFC 1812 5.2.7.1
  precedenceCutoff: 15, // RFC 1812 5.2.7.1
} as const
export type IcmpUnreachable = (typeof IcmpUnreachable)[keyof typeof IcmpUnreachable]

/** Codes of `IcmpType.timeExceeded` (RFC 792). */
export const IcmpTimeExceeded = { transit: 0, reassembly: 1 } as const
export type IcmpTimeExceeded = (typeof IcmpTimeExceeded)[keyof typeof IcmpTimeExceeded]

/** Codes of `IcmpType.parameterProblem`. */
export const IcmpParameterProblem = {
  pointer: 0, // RFC 792
  optionMissing: 1, // RFC 1122 3.2.2.5
  length: 2, // IANA "ICMP parameters" registry
} as const
export type IcmpParameterProblem = (typeof IcmpParameterProblem)[keyof typeof IcmpParameterProblem]

/** Why an ICMP message is dropped for its bytes; 0 when it is not. */
export const IcmpDrop = {
  none: 0,
  /** Shorter than a header. */
  short: 1,
  /** An error that quotes less than an IPv4 header and 8 bytes: nobody can say whom it is about. */
  quote: 2,
} as const
export type IcmpDrop = (typeof IcmpDrop)[keyof typeof IcmpDrop]

/** How much of the payload an error quotes at least: both ports, and TCP's sequence number. */
export const icmpQuoteBytes = 8

/** The types that report an error: never answered by one (RFC 1122 3.2.2). Unknown types are not for answering either. */
export function isIcmpError(type: number): boolean {
  return (
    type === IcmpType.unreachable ||
    type === IcmpType.sourceQuench ||
    type === IcmpType.redirect ||
    type === IcmpType.timeExceeded ||
    type === IcmpType.parameterProblem
  )
}

/**
 * Looks at the `length` bytes behind the IP header.
 *
 * When the result is 0 there are 8 bytes of header, and behind the header of an error a quoted IPv4 header with
 * its first 8 bytes of payload; nothing is said about the quoted total length, which is that of the lost datagram.
 */
export function checkIcmpHeader(u8: Uint8Array, address: Address, length: number): IcmpDrop {
  if (length < IcmpEcho.size) return IcmpDrop.short
  if (!isIcmpError(u8[address]!)) return IcmpDrop.none
  const quote = address + IcmpError.size
  const quotedBytes = length - IcmpError.size
  if (quotedBytes < IpHeader.size + icmpQuoteBytes) return IcmpDrop.quote
  if (u8[quote]! >>> 4 !== 4) return IcmpDrop.quote
  const headerBytes = ipHeaderBytes(u8, quote)
  if (headerBytes < IpHeader.size || headerBytes + icmpQuoteBytes > quotedBytes) return IcmpDrop.quote
  return IcmpDrop.none
}
