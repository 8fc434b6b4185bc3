import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { AssertionFailure } from './assert.ts'
import { atomic, be16, be32, bytes, f64, i32, struct, u8, u16, u32, type Views } from './struct.ts'

const seed = 9293

function views(size = 256): Views {
  const buffer = new SharedArrayBuffer(size)
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
    f64: new Float64Array(buffer),
    view: new DataView(buffer),
  }
}

const All = struct({
  double: f64, //   0
  unsigned: u32, // 8
  signed: i32, //  12
  half: u16, //    16
  byte: u8, //     18
  odd: bytes(3), // 19
  port: be16, //   22
  address: be32, // 24
  word: atomic, // 28
})

describe('struct', () => {
  test('fields lie in the order given, without padding', () => {
    assert.equal(All.size, 32)
    assert.deepEqual(All.offset, {
      double: 0,
      unsigned: 8,
      signed: 12,
      half: 16,
      byte: 18,
      odd: 19,
      port: 22,
      address: 24,
      word: 28,
    })
  })

  test('every field reads what was written to it, at every place a cursor is moved to', () => {
    const memory = views()
    const cursor = All.cursor(memory)
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 27 }),
        fc.double(),
        fc.integer({ min: 0, max: 0xffffffff }),
        fc.integer(),
        fc.integer({ min: 0, max: 0xffff }),
        fc.nat(255),
        (place, double, unsigned, signed, half, byte) => {
          memory.u8.fill(0)
          cursor.at = place * 8
          cursor.double = double
          cursor.unsigned = unsigned
          cursor.signed = signed
          cursor.half = half
          cursor.byte = byte
          cursor.port = half
          cursor.address = unsigned
          cursor.storeWord(signed)
          const { double: d, unsigned: u, signed: s, half: h, byte: b, port, address } = cursor
          assert.deepEqual(
            [d, u, s, h, b, port, address, cursor.loadWord()],
            [double, unsigned, signed, half, byte, half, unsigned, signed],
          )
          assert.equal(cursor.odd, place * 8 + 19, 'a field of bytes gives its address')
          assert.ok(
            memory.u8.every((value, at) => value === 0 || (at >= place * 8 && at < place * 8 + 32)),
            'nothing outside of the record was written',
          )
        },
      ),
      { seed },
    )
  })

  test('network-order fields put the high byte first, at odd addresses too', () => {
    const memory = views()
    const Header = struct({ flags: u8, port: be16, address: be32 })
    const cursor = Header.cursor(memory)
    cursor.at = 5
    cursor.port = 0x1234
    cursor.address = 0xc0000201
    assert.deepEqual([...memory.u8.subarray(6, 12)], [0x12, 0x34, 0xc0, 0, 2, 1])
  })

  test('an atomic word is swapped, compared and added to where it lies', () => {
    const memory = views()
    const cursor = struct({ first: u32, word: atomic }).cursor(memory)
    cursor.at = 8
    cursor.storeWord(5)
    assert.equal(cursor.swapWord(6), 5)
    assert.equal(cursor.casWord(5, 9), false)
    assert.equal(cursor.loadWord(), 6)
    assert.equal(cursor.casWord(6, 9), true)
    assert.equal(cursor.addWord(-10), 9)
    assert.equal(memory.i32[3], -1)
  })

  test('cursors of one record are moved independently', () => {
    const memory = views()
    const [a, b] = [All.cursor(memory), All.cursor(memory)]
    a.at = 0
    b.at = 64
    a.half = 1
    b.half = 2
    assert.deepEqual([a.half, b.half, memory.u16[8], memory.u16[40]], [1, 2, 1, 2])
  })

  test('a host-order field that does not lie at a multiple of its size is a bug', () => {
    assert.throws(() => struct({ byte: u8, word: u32 }), AssertionFailure)
    assert.throws(() => struct({ word: u32, double: f64 }), AssertionFailure)
    assert.throws(() => struct({ half: u16, word: atomic }), AssertionFailure)
  })

  test("a field whose name is no identifier, or the cursor's own, is a bug", () => {
    assert.throws(() => struct({ at: u32 }), AssertionFailure)
    assert.throws(() => struct({ 'a-b': u32 }), AssertionFailure)
    assert.throws(() => bytes(-1), AssertionFailure)
    assert.throws(() => bytes(1.5), AssertionFailure)
  })
})
