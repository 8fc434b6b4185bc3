import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { AssertionFailure } from './assert.ts'
import { equal, readText, writeText } from './bytes.ts'

const seed = 3629
const u8 = new Uint8Array(new SharedArrayBuffer(4096))

describe('bytes', () => {
  test('text that fits reads as it was written, from shared memory', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), fc.integer({ min: 0, max: 1000 }), (text, address) => {
        const length = writeText(u8, address, text, 1000)
        assert.equal(length, Buffer.byteLength(text))
        assert.equal(readText(u8, address, length), text)
      }),
      {
        seed,
        examples: [
          ['', 0],
          ['\ufeffmarked', 8],
          ['damselfly €🐉', 9],
        ],
      },
    )
  })

  test('text that does not fit is cut between two characters, and nothing is written after it', () => {
    u8.fill(0x5a)
    assert.equal(writeText(u8, 100, 'ab€d', 4), 2)
    assert.equal(readText(u8, 99, 5), 'ZabZZ')
    assert.equal(writeText(u8, 100, 'ab€d', 5), 5)
    assert.equal(readText(u8, 99, 7), 'Zab€Z')
    assert.equal(writeText(u8, 100, 'ab', 0), 0)
  })

  test('bytes that are not UTF-8 read as replacement characters', () => {
    u8.set([0x61, 0xff, 0x62], 200)
    assert.equal(readText(u8, 200, 3), 'a\ufffdb')
  })

  test('ranges are equal if all their bytes are, and only then', () => {
    const data = fc.uint8Array({ minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(data, fc.nat(), fc.integer({ min: 1, max: 255 }), (data, place, change) => {
        u8.set(data, 64)
        u8.set(data, 1001)
        assert.equal(equal(u8, 64, 1001, data.length), true)
        const index = place % data.length
        u8[1001 + index]! ^= change
        assert.equal(equal(u8, 64, 1001, data.length), false)
        assert.equal(equal(u8, 64, 1001, index), true)
      }),
      { seed },
    )
  })

  test('a range that leaves the memory is a bug', () => {
    assert.throws(() => readText(u8, 4000, 97), AssertionFailure)
    assert.throws(() => writeText(u8, 4000, '', 97), AssertionFailure)
    assert.throws(() => equal(u8, 0, 4000, 97), AssertionFailure)
  })
})
