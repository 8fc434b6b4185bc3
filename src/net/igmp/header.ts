// IGMP messages of all three versions (RFC 1112 appendix I, RFC 2236 2, RFC 3376 4) and the check of their bytes. The checksum
// covers the whole message and is the input's, as is what to believe of one by its way.
import { assert } from '../../base/assert.ts'
import { type Address, be16, u8 as byte, bytes, struct } from '../../base/struct.ts'
import { Family, isMulticast, isUnspecified } from '../address.ts'

/** What all versions begin with. */
export const IgmpHeader = struct({
  type: byte, //        0  IgmpType
  maxResponse: byte, // 1  of a query, tenths of a second or see `igmpMaxResponseUs`; else 0
  checksum: be16, //    2
  group: bytes(4), //   4  of a general query: 0.0.0.0
})
assert(IgmpHeader.size === 8, 'igmp header is 8 bytes')

/** A query of version 3. Behind it come the addresses of the sources that it asks for. */
export const IgmpQuery = struct({
  header: bytes(8), //     0
  robustness: byte, //     8  4 bits reserved, S, 3 bits of the querier's robustness variable
  interval: byte, //       9
  sources: be16, //       10
})
assert(IgmpQuery.size === 12, 'igmp query of version 3 is 12 bytes')

/** A report of version 3. Behind it come the records. */
export const IgmpReport = struct({
  type: byte, //      0
  reserved: byte, //  1
  checksum: be16, //  2
  reserved2: be16, // 4
  records: be16, //   6
})
assert(IgmpReport.size === 8, 'igmp report of version 3 is 8 bytes')

/** What a report of version 3 says of one group. This host names no sources: all of them, or none. */
export const IgmpRecord = struct({
  type: byte, //      0  IgmpRecordType
  auxiliary: byte, // 1
  sources: be16, //   2
  group: bytes(4), // 4
})
assert(IgmpRecord.size === 8, 'igmp record without sources is 8 bytes')

export const IgmpType = {
  query: 0x11, // RFC 1112, RFC 2236, RFC 3376
  report1: 0x12, // RFC 1112
  report2: 0x16, // RFC 2236
  leave: 0x17, // RFC 2236
  report3: 0x22, // RFC 3376
} as const
export type IgmpType = (typeof IgmpType)[keyof typeof IgmpType]

/** RFC 3376 4.2.12. To exclude no source is to be a member; to include none is not to be one. */
export const IgmpRecordType = { isExclude: 2, toInclude: 3, toExclude: 4 } as const
export type IgmpRecordType = (typeof IgmpRecordType)[keyof typeof IgmpRecordType]

export type IgmpVersion = 1 | 2 | 3

/** Why an IGMP message is dropped for its bytes; 0 when it is not. */
export const IgmpDrop = {
  none: 0,
  /** Shorter than a header. */
  short: 1,
  /** A query that is of no version, or shorter than its sources. */
  length: 2,
  /** About what is no group. */
  group: 3,
} as const
export type IgmpDrop = (typeof IgmpDrop)[keyof typeof IgmpDrop]

/**
 * Looks at the `length` bytes behind the IP header. When the result is 0 there are 8 bytes of header; a query of version 3
 * has all of what it says it has; and a query is about a group or all, a report of versions 1 and 2 about a group.
 */
export function checkIgmpHeader(u8: Uint8Array, address: Address, length: number): IgmpDrop {
  if (length < IgmpHeader.size) return IgmpDrop.short
  const type = u8[address]!
  const group = address + IgmpHeader.offset.group
  const isGroup = isMulticast(u8, Family.inet, group)
  if (type === IgmpType.query) {
    if (!isGroup && !isUnspecified(u8, Family.inet, group)) return IgmpDrop.group
    if (length === IgmpHeader.size) return IgmpDrop.none
    // RFC 3376 7.1: whatever else is not a query of version 3.
    if (length < IgmpQuery.size) return IgmpDrop.length
    const at = address + IgmpQuery.offset.sources
    const sources = (u8[at]! << 8) | u8[at + 1]!
    return IgmpQuery.size + sources * 4 <= length ? IgmpDrop.none : IgmpDrop.length
  }
  if ((type === IgmpType.report1 || type === IgmpType.report2) && !isGroup) return IgmpDrop.group
  return IgmpDrop.none
}

/** The version of a query that `checkIgmpHeader` has passed (RFC 3376 7.1). */
export function igmpQueryVersion(u8: Uint8Array, address: Address, length: number): IgmpVersion {
  if (length > IgmpHeader.size) return 3
  return u8[address + IgmpHeader.offset.maxResponse] === 0 ? 1 : 2
}

/**
 * In what time a query of a version is to be answered, in µs. Of version 1 always 10 s (RFC 2236 4); of version 3 the larger
 * values are a floating point number: 1, three bits of exponent, four of mantissa (RFC 3376 4.1.1).
 */
export function igmpMaxResponseUs(code: number, version: IgmpVersion): number {
  if (version === 1) return 10_000_000
  const tenths = version === 2 || code < 128 ? code : ((code & 15) | 16) << (((code >> 4) & 7) + 3)
  return tenths * 100_000
}
