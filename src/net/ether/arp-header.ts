// An ARP packet for IPv4 over Ethernet (RFC 826) and the check that it is one. What to believe of it is the input's.
import { assert } from '../../base/assert.ts'
import { type Address, be16, u8 as byte, bytes, struct } from '../../base/struct.ts'
import { etherAddressBytes, isEtherMulticast } from './address.ts'
import { EtherType } from './header.ts'

const inetAddressBytes = 4

export const ArpHeader = struct({
  hardwareType: be16, //  0
  protocolType: be16, //  2
  hardwareLength: byte, //  4
  protocolLength: byte, //  5
  operation: be16, //  6
  senderHardware: bytes(etherAddressBytes), //  8
  senderProtocol: bytes(inetAddressBytes), // 14
  targetHardware: bytes(etherAddressBytes), // 18
  targetProtocol: bytes(inetAddressBytes), // 24
})
assert(ArpHeader.size === 28, 'arp packet for ipv4 over ethernet is 28 bytes')

/** `hardwareType` of Ethernet. */
export const arpHardwareEther = 1

/** Others exist (reverse ARP, InARP) and are not for us. */
export const ArpOperation = { request: 1, reply: 2 } as const
export type ArpOperation = (typeof ArpOperation)[keyof typeof ArpOperation]

/** Why an ARP packet is dropped for its bytes; 0 when it is not. */
export const ArpDrop = {
  none: 0,
  /** Shorter than a packet. */
  short: 1,
  /** Not of Ethernet and IPv4. */
  type: 2,
  /** The lengths are not those of their types. */
  length: 3,
  /** Neither request nor reply. */
  operation: 4,
  /** The sender says that its hardware address is a group. */
  sender: 5,
} as const
export type ArpDrop = (typeof ArpDrop)[keyof typeof ArpDrop]

/** @rfc 826 reception/hardware-type reception/lengths. Looks at the `length` bytes behind the Ethernet header; there may be more than the packet, for padding. */
export function checkArpHeader(u8: Uint8Array, address: Address, length: number): ArpDrop {
  if (length < ArpHeader.size) return ArpDrop.short
  if (word(u8, address + ArpHeader.offset.hardwareType) !== arpHardwareEther) return ArpDrop.type
  if (word(u8, address + ArpHeader.offset.protocolType) !== EtherType.ipv4) return ArpDrop.type
  if (u8[address + ArpHeader.offset.hardwareLength] !== etherAddressBytes) return ArpDrop.length
  if (u8[address + ArpHeader.offset.protocolLength] !== inetAddressBytes) return ArpDrop.length
  const operation = word(u8, address + ArpHeader.offset.operation)
  if (operation !== ArpOperation.request && operation !== ArpOperation.reply) return ArpDrop.operation
  if (isEtherMulticast(u8, address + ArpHeader.offset.senderHardware)) return ArpDrop.sender
  return ArpDrop.none
}

function word(u8: Uint8Array, address: Address): number {
  return (u8[address]! << 8) | u8[address + 1]!
}
