// Changes of bytes by chance, as fuzzers have them: bits, values at the edges of ranges, small sums, pieces taken out, doubled, moved, and
// the beginning of one input with the end of another.
import type { Random } from '../../src/base/random.ts'

export type Bytes = Uint8Array

/** No input grows beyond this. */
export const INPUT_BYTES_MAX = 4096

const EDGE_8 = [0, 1, 0x10, 0x20, 0x40, 0x64, 0x7f, 0x80, 0xfe, 0xff]
const EDGE_16 = [0, 1, 0x7f, 0x80, 0xff, 0x100, 0x200, 0x3ff, 0x400, 0x7fff, 0x8000, 0xfffe, 0xffff]
const EDGE_32 = [0, 1, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff]
/** More changes are made only now and then. */
const CHANGES = [1, 1, 1, 2, 2, 3, 4, 8]

/** A changed copy of `input`. `other` lends pieces; `from` and `to` are where changes are made, as far as the length stays. */
export function mutate(random: Random, input: Bytes, other: Bytes, from = 0, to = input.length): Bytes {
  let bytes = Uint8Array.from(input)
  for (let left = CHANGES[random.below(CHANGES.length)]!; left > 0; left--) {
    bytes = change(random, bytes, other, from, Math.min(to, bytes.length))
  }
  return bytes.length > INPUT_BYTES_MAX ? bytes.subarray(0, INPUT_BYTES_MAX) : bytes
}

function change(random: Random, bytes: Bytes, other: Bytes, from: number, to: number): Uint8Array<ArrayBuffer> {
  const result = Uint8Array.from(bytes)
  const room = to - from
  if (room <= 0) return Uint8Array.from([...result, random.below(256)])
  const at = from + random.below(room)
  const length = Math.min(1 + random.below(random.chance(0.8) ? 8 : 64), to - at)
  switch (random.below(11)) {
    case 0:
      result[at]! ^= 1 << random.below(8)
      return result
    case 1:
      result[at] = random.below(256)
      return result
    case 2:
      result[at] = EDGE_8[random.below(EDGE_8.length)]!
      return result
    case 3:
      return put(random, result, at, 2, EDGE_16[random.below(EDGE_16.length)]!)
    case 4:
      return put(random, result, at, 4, EDGE_32[random.below(EDGE_32.length)]!)
    case 5:
      result[at] = result[at]! + random.below(33) - 16
      return result
    case 6:
      return Uint8Array.from([...result.subarray(0, at), ...result.subarray(at + length)])
    case 7:
      return Uint8Array.from([...result.subarray(0, at + length), ...result.subarray(at)])
    case 8: {
      const pieceAt = random.below(Math.max(other.length, 1))
      const piece = other.subarray(pieceAt, pieceAt + length)
      if (random.chance(0.5)) return Uint8Array.from([...result.subarray(0, at), ...piece, ...result.subarray(at)])
      result.set(piece.subarray(0, result.length - at), at)
      return result
    }
    case 9:
      return Uint8Array.from([...result.subarray(0, at), ...other.subarray(Math.min(at, other.length))])
    default: {
      const source = from + random.below(room)
      result.copyWithin(at, source, source + Math.min(length, to - source, result.length - at))
      return result
    }
  }
}

/** Writes a number, in either byte order. */
function put(random: Random, bytes: Uint8Array<ArrayBuffer>, at: number, size: number, value: number) {
  const isLittle = random.chance(0.3)
  for (let i = 0; i < size && at + i < bytes.length; i++) {
    bytes[at + i] = value / 2 ** (8 * (isLittle ? i : size - 1 - i))
  }
  return bytes
}
