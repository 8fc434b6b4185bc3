// The Ethernet header (IEEE 802.3, DIX form) and the check that a frame has a usable one. What is up to policy
// (is it for us, is it too long for the link, has it our own source) is the input's.
import { assert } from '../../base/assert.ts'
import { type Address, be16, bytes, struct } from '../../base/struct.ts'
import { etherAddressBytes, isEtherMulticast } from './address.ts'

export const EtherHeader = struct({
  destination: bytes(etherAddressBytes), //  0
  source: bytes(etherAddressBytes), //  6
  type: be16, // 12
})
assert(EtherHeader.size === 14, 'ethernet header is 14 bytes')

/** What the payload is (IANA "EtherType" registry). Below 0x600 the field is a length, as in 802.3 with LLC. */
export const EtherType = {
  ipv4: 0x0800, // RFC 894
  arp: 0x0806, // RFC 826
  vlan: 0x8100, // IEEE 802.1Q
  ipv6: 0x86dd, // RFC 2464
} as const
export type EtherType = (typeof EtherType)[keyof typeof EtherType]

/** Why a frame is dropped for its Ethernet header; 0 when it is not. */
export const EtherDrop = {
  none: 0,
  /** Shorter than a header. */
  runt: 1,
  /** The source is a group, and nobody is one. */
  source: 2,
  /** The type is a length. */
  type: 3,
} as const
export type EtherDrop = (typeof EtherDrop)[keyof typeof EtherDrop]

const smallestType = 0x600

/** Looks at the frame of `length` bytes at `address`, without its check sequence. */
export function checkEtherHeader(u8: Uint8Array, address: Address, length: number): EtherDrop {
  if (length < EtherHeader.size) return EtherDrop.runt
  if (isEtherMulticast(u8, address + EtherHeader.offset.source)) return EtherDrop.source
  const type = address + EtherHeader.offset.type
  if (((u8[type]! << 8) | u8[type + 1]!) < smallestType) return EtherDrop.type
  return EtherDrop.none
}
