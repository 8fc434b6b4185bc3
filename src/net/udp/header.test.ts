import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkUdpHeader, UdpDrop, UdpHeader } from './header.ts'

/** A datagram to port 53 that says it has `ownLength` bytes, of which `length` came. */
function check(ownLength: number, length: number, sourcePort = 40000, destinationPort = 53): UdpDrop {
  const u8 = new Uint8Array(64)
  const view = new DataView(u8.buffer)
  view.setUint16(0, sourcePort)
  view.setUint16(2, destinationPort)
  view.setUint16(4, ownLength)
  return checkUdpHeader(u8, 0, length)
}

test('the fields lie where RFC 768 draws them', () => {
  assert.deepEqual(UdpHeader.offset, { sourcePort: 0, destinationPort: 2, length: 4, checksum: 6 })
})

test('a datagram is good when its length is that of what came, or less', () => {
  assert.equal(check(8, 8), UdpDrop.none)
  assert.equal(check(20, 20), UdpDrop.none)
  assert.equal(check(12, 20), UdpDrop.none)
})

test('a datagram that is shorter than a header, or says so, is dropped', () => {
  for (let length = 0; length < 8; length++) {
    assert.equal(check(8, length), UdpDrop.short)
    assert.equal(check(length, 20), UdpDrop.length)
  }
})

test('a datagram that says it is longer than what came is dropped', () => {
  assert.equal(check(21, 20), UdpDrop.truncated)
  assert.equal(check(65535, 20), UdpDrop.truncated)
})

test('port 0 may send and may not receive', () => {
  assert.equal(check(20, 20, 0, 53), UdpDrop.none)
  assert.equal(check(20, 20, 40000, 0), UdpDrop.port)
})

test('any bytes have a named outcome, and none behind the datagram changes it', () => {
  const named = new Set<number>(Object.values(UdpDrop))
  const small = fc.oneof(fc.nat(16), fc.nat(65535))
  fc.assert(
    fc.property(small, small, fc.nat(16), fc.nat(255), (port, ownLength, length, filler) => {
      const u8 = new Uint8Array(32)
      u8.set([0, 0, port >>> 8, port & 0xff, ownLength >>> 8, ownLength & 0xff], 3)
      u8.fill(filler, 3 + length)
      const outcome = checkUdpHeader(u8, 3, length)
      assert.ok(named.has(outcome))
      u8.fill(~filler & 0xff, 3 + length)
      assert.equal(checkUdpHeader(u8, 3, length), outcome)
    }),
    { seed: 20040611, numRuns: 500 },
  )
})
