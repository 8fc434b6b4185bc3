// The TCP header (RFC 9293 3.1) and the check that it is one, by its bytes alone.
import { assert } from '../../base/assert.ts'
import { type Address, be16, be32, u8 as byte, struct } from '../../base/struct.ts'

export const TcpHeader = struct({
  sourcePort: be16, //       0
  destinationPort: be16, //  2
  sequence: be32, //         4
  acknowledgment: be32, //   8
  dataOffset: byte, //      12  header length in 32-bit words, in the upper 4 bits
  flags: byte, //           13  TcpFlag
  window: be16, //          14
  checksum: be16, //        16
  urgentPointer: be16, //   18
})
assert(TcpHeader.size === 20, 'tcp header without options is 20 bytes')

/** The control bits (RFC 9293 3.1; ECE and CWR: RFC 3168 6.1). */
export const TcpFlag = {
  fin: 0x01,
  syn: 0x02,
  rst: 0x04,
  psh: 0x08,
  ack: 0x10,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const

/** The longest header: a data offset of 15 words. */
export const TCP_HEADER_BYTES_MAX = 60

export const TcpDrop = {
  none: 0,
  /** Shorter than a header. */
  short: 1,
  /** The data offset says less than a header, or more than came. */
  offset: 2,
} as const
export type TcpDrop = (typeof TcpDrop)[keyof typeof TcpDrop]

/** Length of the header at `address`, options included, in bytes. */
export function tcpHeaderBytes(u8: Uint8Array, address: Address): number {
  return (u8[address + 12]! >>> 4) << 2
}

/** Looks at the `length` bytes of a segment. When it is 0: 20 <= header length <= `length`. */
export function checkTcpHeader(u8: Uint8Array, address: Address, length: number): TcpDrop {
  if (length < TcpHeader.size) return TcpDrop.short
  const headerBytes = tcpHeaderBytes(u8, address)
  if (headerBytes < TcpHeader.size || headerBytes > length) return TcpDrop.offset
  return TcpDrop.none
}
