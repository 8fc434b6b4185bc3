// The few routines that JavaScript is too slow for: copying and checksumming in the machine's memory.
// AssemblyScript; assembly/build.mjs compiles it for shared and for unshared memory, src/base/routines.ts loads it and
// has the same four in JavaScript, to the same results. They own no memory: no data, no heap, no start function.
//
// How the sum works. RFC 1071's sum can be taken over words of any width and in either byte order, because carries go
// round: 2^16 = 1 (mod 2^16 - 1), and exchanging the bytes of all words exchanges those of the sum (RFC 1071, 2).
// So memory is summed as little-endian 32-bit words, exactly, in 64 bits, and folded and byte-swapped once at the end.
//
// A vector holds two 64-bit lanes of two words each. Rather than take each lane apart (mask, shift, two additions),
// `whole` adds up the lanes as they are, modulo 2^64, and `high` their upper words; the sum of the lower words is what
// remains: whole - high * 2^32. It is less than 2^64, so it is exact. Three operations for 16 bytes: 32 ns for 1460 B,
// where pairwise 16-bit additions take 38 ns and signed dot products 42 ns.

/** Copies `length` bytes; the ranges may overlap. */
export function copy(target: u32, source: u32, length: u32): void {
  const distance = target - source
  // The engine's own copy is memmove: best from some hundred bytes on (1460 B: 20 to 28 ns, the loop here 26 to 35), and
  // the one that handles every overlap. But a call of it costs 8 ns, in which the loop moves 128 B; and above 2 KiB it
  // may be `rep movsb` (glibc's choice), which on AMD's Zen 4 takes up to 25 times as long where the target lies 1 to 31
  // bytes above the source modulo a page, as payloads in half-page clusters do (65160 B: 19 us, the loop 1.5 us).
  const stumbles = length > 2048 && (distance & 4095) - 1 < 31
  if (distance < length || (length > 128 && !stumbles)) {
    memory.copy(target, source, length)
    return
  }
  const end = source + length
  const blocks = source + (length & ~63)
  let at = source
  let to = target
  while (at < blocks) {
    // All loads come before the stores: a target just below the source may overlap the same block.
    const a = v128.load(at)
    const b = v128.load(at, 16)
    const c = v128.load(at, 32)
    const d = v128.load(at, 48)
    v128.store(to, a)
    v128.store(to, b, 16)
    v128.store(to, c, 32)
    v128.store(to, d, 48)
    at += 64
    to += 64
  }
  while (end - at >= 16) {
    v128.store(to, v128.load(at))
    at += 16
    to += 16
  }
  const rest = end - at
  if (rest & 8) {
    store<u64>(to, load<u64>(at))
    at += 8
    to += 8
  }
  if (rest & 4) {
    store<u32>(to, load<u32>(at))
    at += 4
    to += 4
  }
  if (rest & 2) {
    store<u16>(to, load<u16>(at))
    at += 2
    to += 2
  }
  if (rest & 1) store<u8>(to, load<u8>(at))
}

/** Writes the low byte of `value` to `length` bytes. */
export function fill(target: u32, value: u32, length: u32): void {
  memory.fill(target, <u8>value, length)
}

/** The sum of the big-endian 16-bit words of a range, plus `initial`: 0 only if all of that is 0, else 1 to 0xffff. */
export function sum(address: u32, length: u32, initial: u32): u32 {
  const end = address + length
  const blocks = address + (length & ~63)
  let at = address
  // Two of each, so that an addition need not wait for the one before it.
  let whole = i64x2.splat(0)
  let high = i64x2.splat(0)
  let whole2 = i64x2.splat(0)
  let high2 = i64x2.splat(0)
  while (at < blocks) {
    const a = v128.load(at)
    const b = v128.load(at, 16)
    const c = v128.load(at, 32)
    const d = v128.load(at, 48)
    whole = i64x2.add(whole, a)
    high = i64x2.add(high, i64x2.shr_u(a, 32))
    whole2 = i64x2.add(whole2, b)
    high2 = i64x2.add(high2, i64x2.shr_u(b, 32))
    whole = i64x2.add(whole, c)
    high = i64x2.add(high, i64x2.shr_u(c, 32))
    whole2 = i64x2.add(whole2, d)
    high2 = i64x2.add(high2, i64x2.shr_u(d, 32))
    at += 64
  }
  whole = i64x2.add(whole, whole2)
  high = i64x2.add(high, high2)
  while (end - at >= 16) {
    const a = v128.load(at)
    whole = i64x2.add(whole, a)
    high = i64x2.add(high, i64x2.shr_u(a, 32))
    at += 16
  }
  let total = across(whole, high)
  const rest = end - at
  if (rest & 8) {
    const word = load<u64>(at)
    total += (word & 0xffffffff) + (word >> 32)
    at += 8
  }
  if (rest & 4) {
    total += load<u32>(at)
    at += 4
  }
  if (rest & 2) {
    total += load<u16>(at)
    at += 2
  }
  // Alone in the low half of a little-endian word: its right neighbour counts as zero.
  if (rest & 1) total += load<u8>(at)
  return finish(total, initial)
}

/** `copy` and `sum` of the source in one pass: each byte is read once, and what is summed is what is written. */
export function copySum(target: u32, source: u32, length: u32, initial: u32): u32 {
  // Going upwards would overwrite what is still to be read: the only overlap that hurts.
  if (target - source < length) {
    const result = sum(source, length, initial)
    memory.copy(target, source, length)
    return result
  }
  const end = source + length
  const blocks = source + (length & ~63)
  let at = source
  let to = target
  let whole = i64x2.splat(0)
  let high = i64x2.splat(0)
  let whole2 = i64x2.splat(0)
  let high2 = i64x2.splat(0)
  while (at < blocks) {
    // Loads first, as in `copy`.
    const a = v128.load(at)
    const b = v128.load(at, 16)
    const c = v128.load(at, 32)
    const d = v128.load(at, 48)
    v128.store(to, a)
    v128.store(to, b, 16)
    v128.store(to, c, 32)
    v128.store(to, d, 48)
    whole = i64x2.add(whole, a)
    high = i64x2.add(high, i64x2.shr_u(a, 32))
    whole2 = i64x2.add(whole2, b)
    high2 = i64x2.add(high2, i64x2.shr_u(b, 32))
    whole = i64x2.add(whole, c)
    high = i64x2.add(high, i64x2.shr_u(c, 32))
    whole2 = i64x2.add(whole2, d)
    high2 = i64x2.add(high2, i64x2.shr_u(d, 32))
    at += 64
    to += 64
  }
  whole = i64x2.add(whole, whole2)
  high = i64x2.add(high, high2)
  while (end - at >= 16) {
    const a = v128.load(at)
    v128.store(to, a)
    whole = i64x2.add(whole, a)
    high = i64x2.add(high, i64x2.shr_u(a, 32))
    at += 16
    to += 16
  }
  let total = across(whole, high)
  const rest = end - at
  if (rest & 8) {
    const word = load<u64>(at)
    store<u64>(to, word)
    total += (word & 0xffffffff) + (word >> 32)
    at += 8
    to += 8
  }
  if (rest & 4) {
    const word = load<u32>(at)
    store<u32>(to, word)
    total += word
    at += 4
    to += 4
  }
  if (rest & 2) {
    const word = load<u16>(at)
    store<u16>(to, word)
    total += word
    at += 2
    to += 2
  }
  if (rest & 1) {
    const byte = load<u8>(at)
    store<u8>(to, byte)
    total += byte
  }
  return finish(total, initial)
}

/** The sum of all four words of the two lanes. */
// @ts-ignore: AssemblyScript's decorator
@inline
function across(whole: v128, high: v128): u64 {
  const lanes = i64x2.add(i64x2.sub(whole, i64x2.shl(high, 32)), high)
  return i64x2.extract_lane(lanes, 0) + i64x2.extract_lane(lanes, 1)
}

/** Folds to 16 bits, puts the bytes into network order and adds `initial`. A fold never makes 0 of what is not 0. */
// @ts-ignore: AssemblyScript's decorator
@inline
function finish(total: u64, initial: u32): u32 {
  total = (total & 0xffffffff) + (total >> 32) // 33 bits
  total = (total & 0xffff) + (total >> 16) // 18 bits
  let result = <u32>total
  result = (result & 0xffff) + (result >> 16)
  result = (result & 0xffff) + (result >> 16)
  result = ((result & 0xff) << 8) | (result >> 8)
  result += (initial & 0xffff) + (initial >> 16) // 18 bits
  result = (result & 0xffff) + (result >> 16)
  return (result & 0xffff) + (result >> 16)
}
