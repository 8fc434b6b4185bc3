// Ethernet (MAC) addresses: six bytes in the machine's memory, by their address. Text is for configuration and
// printing. Anyone may call; nothing here blocks or keeps state.
import { Errno, KernelError } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'

export const etherAddressBytes = 6

/**
 * `'02:00:0a:4d:00:02'`: six pairs of hexadecimal digits joined by colons, in either case.
 * @throws KernelError EINVAL
 */
export function parseEtherAddress(text: string): Uint8Array {
  if (!/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$/.test(text))
    throw new KernelError(
      Errno.EINVAL,
      `'${text.slice(0, 64)}' is not an Ethernet address: expected six pairs of hexadecimal digits joined by colons, like 02:00:0a:4d:00:02`,
    )
  return Uint8Array.from(text.split(':'), (pair) => Number.parseInt(pair, 16))
}

/** Lower case, joined by colons. */
export function formatEtherAddress(u8: Uint8Array, address: Address): string {
  const bytes = u8.subarray(address, address + etherAddressBytes)
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':')
}

export function equalEtherAddress(u8: Uint8Array, a: Address, b: Address): boolean {
  // The last bytes first: cards of one maker share the first three.
  for (let index = etherAddressBytes - 1; index >= 0; index--) if (u8[a + index] !== u8[b + index]) return false
  return true
}

/** The group bit: multicast, and broadcast with it. Never the address of a sender (IEEE 802.3 3.2.3). */
export function isEtherMulticast(u8: Uint8Array, address: Address): boolean {
  return (u8[address]! & 1) !== 0
}

export function isEtherBroadcast(u8: Uint8Array, address: Address): boolean {
  for (let index = 0; index < etherAddressBytes; index++) if (u8[address + index] !== 0xff) return false
  return true
}
