import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkEtherHeader, EtherDrop, EtherHeader } from './header.ts'

/** An IPv4 frame of 60 bytes from 02:00:0a:4d:00:02 to 02:00:0a:4d:00:01. */
function frame(): Uint8Array {
  const u8 = new Uint8Array(60)
  u8.set([0x02, 0x00, 0x0a, 0x4d, 0x00, 0x01, 0x02, 0x00, 0x0a, 0x4d, 0x00, 0x02, 0x08, 0x00])
  return u8
}

test('the fields lie where IEEE 802.3 draws them', () => {
  assert.deepEqual(EtherHeader.offset, { destination: 0, source: 6, type: 12 })
})

test('a frame is a runt below 14 bytes and good from there on', () => {
  for (let length = 0; length <= 60; length++)
    assert.equal(checkEtherHeader(frame(), 0, length), length < 14 ? EtherDrop.runt : EtherDrop.none)
})

test('a source that is a group is dropped', () => {
  const u8 = frame()
  u8[6] = 0x03
  assert.equal(checkEtherHeader(u8, 0, 60), EtherDrop.source)
})

test('a type below 0x600 is a length, and dropped', () => {
  const u8 = frame()
  u8.set([0x05, 0xff], 12)
  assert.equal(checkEtherHeader(u8, 0, 60), EtherDrop.type)
  u8.set([0x06, 0x00], 12)
  assert.equal(checkEtherHeader(u8, 0, 60), EtherDrop.none)
})

test('any bytes have a named outcome, and none behind the frame changes it', () => {
  const named = new Set<number>(Object.values(EtherDrop))
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), fc.nat(255), (frame, filler) => {
      const u8 = new Uint8Array(64).fill(filler)
      u8.set(frame, 8)
      const outcome = checkEtherHeader(u8, 8, frame.length)
      assert.ok(named.has(outcome))
      u8.fill(~filler & 0xff, 8 + frame.length)
      assert.equal(checkEtherHeader(u8, 8, frame.length), outcome)
    }),
    { seed: 20040611 },
  )
})
