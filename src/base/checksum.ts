// The Internet checksum: what the network layers do with the sums that the routines (routines.ts) take of memory.
// Numbers in, numbers out: any layer may call it, in any context.
//
// A *sum* is a ones' complement sum in the making: 16-bit words in network order, carries brought round, not
// complemented. A *checksum* is the complement of one, as it stands in a header. Read the contract of `Routines` first,
// for how a sum treats the two zeros of ones' complement.
import type { Routines } from './routines.ts'
import type { Address } from './struct.ts'

/** Brings the carries of a sum of up to 32 bits round, to 16 bits (RFC 1071, 2 and 4.1). Never makes 0 of what is not 0. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16)
  return (once & 0xffff) + (once >>> 16)
}

/** Exchanges the two bytes of a 16-bit word. */
export function exchangeBytes(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8)
}

/** Adds a 16-bit word to a folded sum (RFC 1071, 1). */
export function addWord(sum: number, word: number): number {
  const total = sum + word
  return (total & 0xffff) + (total >>> 16)
}

/**
 * Adds the folded sum of a part that begins `offset` bytes into the whole, for a packet that is summed in pieces. A part
 * at an odd offset was summed with its bytes in each other's places, so its sum's bytes are exchanged (RFC 1071, 2 B).
 */
export function joinSum(sum: number, part: number, offset: number): number {
  return addWord(sum, offset % 2 === 0 ? part : exchangeBytes(part))
}

/**
 * The checksum to put into a header, from a sum of up to 32 bits that was taken while the checksum's field was 0
 * (RFC 1071, 1). Taken over what was received, the field included, it is 0 if and only if the checksum is right.
 */
export function finish(sum: number): number {
  return ~fold(sum) & 0xffff
}

/**
 * `finish` for UDP, where 0 means that the sender computed no checksum: what comes out as 0 is sent as its equal, 0xffff
 * (RFC 768; RFC 8200, 8.1).
 */
export function finishUdp(sum: number): number {
  const checksum = finish(sum)
  return checksum === 0 ? 0xffff : checksum
}

/**
 * The folded sum of the pseudo header that TCP, UDP and ICMPv6 checksum before their own bytes: both addresses,
 * `protocol` (IPv6: next header) and `length`, that of the transport's header and data (RFC 9293, 3.1; RFC 768;
 * RFC 8200, 8.1). The two families order their fields differently and IPv6 has wider ones, but the sum sees only words.
 * @param sourceAddress where the raw bytes of the IP source address lie in memory
 * @param targetAddress where those of the IP destination address lie
 * @param addressBytes 4 for IPv4, 16 for IPv6
 */
export function pseudoHeaderSum(
  routines: Routines,
  sourceAddress: Address,
  targetAddress: Address,
  addressBytes: 4 | 16,
  protocol: number,
  length: number,
): number {
  const rest = protocol + (length & 0xffff) + (length >>> 16)
  // As they lie in either family's header, so that one call does for both.
  if (targetAddress === sourceAddress + addressBytes) return routines.sum(sourceAddress, addressBytes * 2, rest)
  return routines.sum(targetAddress, addressBytes, routines.sum(sourceAddress, addressBytes, rest))
}

/**
 * The checksum after one of the 16-bit words that it covers was changed, by equation 3 of RFC 1624:
 * HC' = ~(~HC + ~m + m'). A 32-bit field is two such updates. Equal to computing it anew, except where all that is
 * covered becomes 0: this gives 0, which a receiver refuses, and computing it anew 0xffff. No IP header and no pseudo
 * header is all 0, but an ICMP echo reply may be (identifier, sequence number and data of 0): compute that one anew.
 */
export function update(checksum: number, oldWord: number, newWord: number): number {
  return finish((~checksum & 0xffff) + (~oldWord & 0xffff) + newWord)
}
