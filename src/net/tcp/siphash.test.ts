import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Random } from '../../base/random.ts'
import { Family } from '../address.ts'
import { SipHash } from './siphash.ts'

const seed = 24

/** The authors' test vectors: the hashes of 00, 00 01, … under the key 00 01 … 0f, for lengths 0 to 16, as bytes. */
const VECTORS = [
  '310e0edd47db6f72',
  'fd67dc93c539f874',
  '5a4fa9d909806c0d',
  '2d7efbd796666785',
  'b7877127e09427cf',
  '8da699cd64557618',
  'cee3fe586e46c9cb',
  '37d1018bf50002ab',
  '6224939a79f5f593',
  'b0e4a90bdf82009e',
  'f3b9dd94c5bb5d7a',
  'a7ad6b22462fb3f4',
  'fbe50e86bc8f1e75',
  '903d84c02756ea14',
  'eef27a8e90ca23f7',
  'e545be4961ca29a1',
  'db9bc2577fcc2a3f',
]

const KEY = [0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c]

/** The hash of any bytes. */
function hashOf(hash: SipHash, bytes: Uint8Array): string {
  const padded = new Uint8Array((Math.floor(bytes.length / 8) + 1) * 8)
  padded.set(bytes)
  padded[padded.length - 1] = bytes.length
  const view = new DataView(padded.buffer)
  hash.start()
  for (let at = 0; at < padded.length; at += 8) hash.word(view.getInt32(at, true), view.getInt32(at + 4, true))
  hash.finish()
  const result = new DataView(new ArrayBuffer(8))
  result.setInt32(0, hash.low, true)
  result.setInt32(4, hash.high, true)
  return Buffer.from(result.buffer).toString('hex')
}

/** SipHash-2-4 in the words of the paper. */
function model(key: readonly number[], bytes: Uint8Array): string {
  const mask = (1n << 64n) - 1n
  const rotate = (x: bigint, n: bigint) => ((x << n) | (x >> (64n - n))) & mask
  const pair = (low: number, high: number) => (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
  const k0 = pair(key[0]!, key[1]!)
  const k1 = pair(key[2]!, key[3]!)
  let v0 = k0 ^ 0x736f6d6570736575n
  let v1 = k1 ^ 0x646f72616e646f6dn
  let v2 = k0 ^ 0x6c7967656e657261n
  let v3 = k1 ^ 0x7465646279746573n
  const round = () => {
    v0 = (v0 + v1) & mask
    v1 = rotate(v1, 13n) ^ v0
    v0 = rotate(v0, 32n)
    v2 = (v2 + v3) & mask
    v3 = rotate(v3, 16n) ^ v2
    v0 = (v0 + v3) & mask
    v3 = rotate(v3, 21n) ^ v0
    v2 = (v2 + v1) & mask
    v1 = rotate(v1, 17n) ^ v2
    v2 = rotate(v2, 32n)
  }
  const padded = Buffer.alloc((Math.floor(bytes.length / 8) + 1) * 8)
  padded.set(bytes)
  padded[padded.length - 1] = bytes.length & 0xff
  for (let at = 0; at < padded.length; at += 8) {
    const word = padded.readBigUInt64LE(at)
    v3 ^= word
    round()
    round()
    v0 ^= word
  }
  v2 ^= 0xffn
  for (let i = 0; i < 4; i++) round()
  const result = Buffer.alloc(8)
  result.writeBigUInt64LE(v0 ^ v1 ^ v2 ^ v3)
  return result.toString('hex')
}

describe('siphash', () => {
  test("the authors' vectors", () => {
    const hash = new SipHash(KEY)
    for (const [length, expected] of VECTORS.entries()) {
      const message = Uint8Array.from({ length }, (_, i) => i)
      assert.equal(hashOf(hash, message), expected, `${length} bytes`)
      assert.equal(model(KEY, message), expected)
    }
  })

  test('any key and any message give what the paper says', () => {
    const word = fc.integer()
    fc.assert(
      fc.property(fc.tuple(word, word, word, word), fc.uint8Array({ maxLength: 255 }), (key, message) => {
        assert.equal(hashOf(new SipHash(key), message), model(key, message))
      }),
      { seed, numRuns: 500 },
    )
  })

  test('the hash of two ends is that of their bytes, wherever they lie', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(Family.inet, Family.inet6),
        fc.uint8Array({ minLength: 36, maxLength: 36 }),
        fc.nat({ max: 3 }),
        fc.integer(),
        fc.integer(),
        (family, bytes, shift, extra, more) => {
          const size = family === Family.inet ? 4 : 16
          const memory = new DataView(new ArrayBuffer(64))
          for (const [i, byte] of bytes.entries()) memory.setUint8(shift + i, byte)
          const localPort = (bytes[32]! << 8) | bytes[33]!
          const remotePort = (bytes[34]! << 8) | bytes[35]!
          const hash = new SipHash(KEY)
          hash.tuple(memory, family, shift, localPort, shift + 16, remotePort, extra, more)
          // As the words are given: each of four bytes from the last to the first.
          const message = [bytes.subarray(0, size), bytes.subarray(16, 16 + size)].flatMap((address) => [...address])
          message.push(...bytes.subarray(32))
          const words = new DataView(new ArrayBuffer(message.length + 8))
          for (let at = 0; at < message.length; at += 4) {
            words.setUint32(at, Buffer.from(message).readUInt32LE(at))
          }
          words.setInt32(message.length, extra, true)
          words.setInt32(message.length + 4, more, true)
          const expected = model(KEY, new Uint8Array(words.buffer))
          const low = Buffer.from(expected, 'hex').readInt32LE(0)
          const high = Buffer.from(expected, 'hex').readInt32LE(4)
          assert.deepEqual([hash.low, hash.high], [low, high])
        },
      ),
      { seed, numRuns: 200 },
    )
  })

  test('another key is another hash', () => {
    const hash = new SipHash(KEY)
    const before = hashOf(hash, new Uint8Array(8))
    hash.rekey(new Random(1))
    assert.notEqual(hashOf(hash, new Uint8Array(8)), before)
  })
})
