// The flow hash: which CPU owns a connection. Toeplitz, as network cards compute it for receive-side scaling, with
// DragonFly's key: the two bytes 6d 5a, repeated. Any CPU may call; no state, no allocation.
//
// Toeplitz slides a window over the key, one bit for each bit of the input, and XORs the windows under the ones:
//
//     input   source address | target address | source port | target port     most significant bit first
//     key     6d5a 6d5a 6d5a 6d5a 6d5a 6d5a ...
//     hash  = XOR over every set input bit i of key bits i .. i+31
//
// A key that repeats every 16 bits makes bit i and bit i+16 select the same window. From this follows all the rest:
//
//  - The hash is that of the XOR of the input's 16-bit words: XOR first, then two table look-ups, whatever the length.
//  - Source and target may change places: both directions of a flow have one owner.
//  - The upper half of the 32 bits that a card reports repeats the lower. Only the lower 16 are returned here:
//    nothing is lost, and the result is a small integer that is never boxed.
//  - Zero bits add nothing: the hash of two addresses is that of a flow between their ports 0.
//
// The key has nine ones, an odd number, so that the XOR and the hash determine each other: no two
// ports of one client share a hash, and every bit of the hash is as even as the input allows.
import type { Address } from '../base/struct.ts'
import { Family } from './address.ts'

const key = 0x6d5a

/** The hash of a word with only its upper byte, at 0..255; with only its lower byte, at 256..511. Constant: 1 KiB. */
const table = Uint16Array.from({ length: 512 }, (_, index) => hashWord(index < 256 ? index << 8 : index - 256))

/** Ports are numbers 0..65535 in host order. Gives 0..65535, the same in both directions. */
export function flowHash(
  u8: Uint8Array,
  family: Family,
  source: Address,
  target: Address,
  sourcePort: number,
  targetPort: number,
): number {
  const word = foldAddresses(u8, family, source, target) ^ sourcePort ^ targetPort
  return table[word >>> 8]! ^ table[256 + (word & 0xff)]!
}

/** For fragments and protocols without ports. Gives 0..65535, the same in both directions. */
export function addressHash(u8: Uint8Array, family: Family, source: Address, target: Address): number {
  const word = foldAddresses(u8, family, source, target)
  return table[word >>> 8]! ^ table[256 + (word & 0xff)]!
}

/** The XOR of the 16-bit words of both addresses. By bytes, since a header may lie at an odd address. */
function foldAddresses(u8: Uint8Array, family: Family, source: Address, target: Address): number {
  let high = u8[source]! ^ u8[source + 2]! ^ u8[target]! ^ u8[target + 2]!
  let low = u8[source + 1]! ^ u8[source + 3]! ^ u8[target + 1]! ^ u8[target + 3]!
  if (family === Family.inet6) {
    for (let index = 4; index < 16; index += 2) {
      high ^= u8[source + index]! ^ u8[target + index]!
      low ^= u8[source + index + 1]! ^ u8[target + index + 1]!
    }
  }
  return (high << 8) | low
}

/** Bit by bit, to build the table: input bit i, counted from the most significant, selects the key rotated left by i. */
function hashWord(word: number): number {
  let hash = 0
  for (let bit = 0; bit < 16; bit++) if ((word & (0x8000 >>> bit)) !== 0) hash ^= (key << bit) | (key >>> (16 - bit))
  return hash & 0xffff
}
