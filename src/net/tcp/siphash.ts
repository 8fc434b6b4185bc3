// SipHash-2-4 (Aumasson and Bernstein, 2012): a hash under a key that nobody outside can compute, or learn from its results. For
// what a stranger must not guess: sequence numbers, cookies, ports. An object holds a key, and the state of the hash in the making;
// one for each CPU and key, never one for each hash.
//
// JavaScript has no 64-bit integers that cost nothing, so each of the four words is two halves of 32 bits. The ends of a
// connection take 0.2 µs.
import type { Random } from '../../base/random.ts'
import type { Address } from '../../base/struct.ts'
import { Family } from '../address.ts'

export class SipHash {
  readonly #key = new Int32Array(4)
  /** v0 to v3, each its lower half first. */
  readonly #v = new Int32Array(8)
  /** The hash, after `finish`: signed halves. */
  low = 0
  high = 0

  /** `key` is 128 bits, as four words of which the first holds the first bytes, little-endian; without it, zero. */
  constructor(key: readonly number[] = [0, 0, 0, 0]) {
    this.#key.set(key)
  }

  /** Another key, of 128 bits from `random`. */
  rekey(random: Pick<Random, 'next'>): void {
    for (let i = 0; i < 4; i++) this.#key[i] = random.next()
  }

  start(): void {
    const k = this.#key
    const v = this.#v
    // "somepseudorandomlygeneratedbytes"
    v[0] = k[0]! ^ 0x70736575
    v[1] = k[1]! ^ 0x736f6d65
    v[2] = k[2]! ^ 0x6e646f6d
    v[3] = k[3]! ^ 0x646f7261
    v[4] = k[0]! ^ 0x6e657261
    v[5] = k[1]! ^ 0x6c796765
    v[6] = k[2]! ^ 0x79746573
    v[7] = k[3]! ^ 0x74656462
  }

  /** The next 8 bytes of the message: two little-endian words. */
  word(low: number, high: number): void {
    const v = this.#v
    v[6]! ^= low
    v[7]! ^= high
    this.#rounds(2)
    v[0]! ^= low
    v[1]! ^= high
  }

  /** The message ends: its last word, with its length modulo 256 in the upper byte, was given. */
  finish(): void {
    const v = this.#v
    v[4]! ^= 0xff
    this.#rounds(4)
    this.low = v[0]! ^ v[2]! ^ v[4]! ^ v[6]!
    this.high = v[1]! ^ v[3]! ^ v[5]! ^ v[7]!
  }

  /**
   * Hashes the two ends of a connection, and two numbers more: addresses are 4 or 16 bytes in `view`. Both families cannot give the
   * same message, as it ends with its length.
   */
  tuple(
    view: DataView,
    family: Family,
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
    extra: number,
    more: number,
  ): void {
    this.start()
    let bytes = 20
    if (family === Family.inet) this.word(view.getInt32(local), view.getInt32(remote))
    else {
      for (let i = 0; i < 16; i += 8) this.word(view.getInt32(local + i), view.getInt32(local + i + 4))
      for (let i = 0; i < 16; i += 8) this.word(view.getInt32(remote + i), view.getInt32(remote + i + 4))
      bytes = 44
    }
    this.word((localPort << 16) | remotePort, extra)
    this.word(more, bytes << 24)
    this.finish()
  }

  /** As the paper writes it, on halves. Constant shifts of less and more than 32 bits become plain ones here. */
  #rounds(count: number): void {
    const v = this.#v
    let a = v[0]!
    let A = v[1]!
    let b = v[2]!
    let B = v[3]!
    let c = v[4]!
    let C = v[5]!
    let d = v[6]!
    let D = v[7]!
    for (let i = 0; i < count; i++) {
      // v0 += v1; v1 = (v1 <<< 13) ^ v0; v0 <<<= 32
      let sum = (a + b) | 0
      A = (A + B + carry(sum, a)) | 0
      a = sum
      let low = ((b << 13) | (B >>> 19)) ^ a
      B = ((B << 13) | (b >>> 19)) ^ A
      b = low
      low = A
      A = a
      a = low
      // v2 += v3; v3 = (v3 <<< 16) ^ v2
      sum = (c + d) | 0
      C = (C + D + carry(sum, c)) | 0
      c = sum
      low = ((d << 16) | (D >>> 16)) ^ c
      D = ((D << 16) | (d >>> 16)) ^ C
      d = low
      // v0 += v3; v3 = (v3 <<< 21) ^ v0
      sum = (a + d) | 0
      A = (A + D + carry(sum, a)) | 0
      a = sum
      low = ((d << 21) | (D >>> 11)) ^ a
      D = ((D << 21) | (d >>> 11)) ^ A
      d = low
      // v2 += v1; v1 = (v1 <<< 17) ^ v2; v2 <<<= 32
      sum = (c + b) | 0
      C = (C + B + carry(sum, c)) | 0
      c = sum
      low = ((b << 17) | (B >>> 15)) ^ c
      B = ((B << 17) | (b >>> 15)) ^ C
      b = low
      low = C
      C = c
      c = low
    }
    v[0] = a
    v[1] = A
    v[2] = b
    v[3] = B
    v[4] = c
    v[5] = C
    v[6] = d
    v[7] = D
  }
}

/** Of a sum of two lower halves: it is less than either of them, if there is one. */
function carry(sum: number, part: number): number {
  return sum >>> 0 < part >>> 0 ? 1 : 0
}
