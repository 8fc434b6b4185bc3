import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkIcmpHeader, IcmpDrop, IcmpEcho, IcmpError, IcmpRedirect, IcmpType, isIcmpError } from './header.ts'

/** An error about a datagram with a header of `headerWords`, quoted whole and with 8 bytes of payload. */
function errorMessage(headerWords = 5): Uint8Array {
  const u8 = new Uint8Array(8 + headerWords * 4 + 8)
  u8[0] = IcmpType.unreachable
  u8[8] = 0x40 | headerWords
  return u8
}

const check = (u8: Uint8Array) => checkIcmpHeader(u8, 0, u8.length)

test('the fields lie where RFC 792 and RFC 1191 draw them', () => {
  assert.deepEqual(IcmpEcho.offset, { type: 0, code: 1, checksum: 2, identifier: 4, sequence: 6 })
  assert.deepEqual(IcmpError.offset, { type: 0, code: 1, checksum: 2, unused: 4, nextHopMtu: 6 })
  assert.deepEqual(IcmpRedirect.offset, { type: 0, code: 1, checksum: 2, gateway: 4 })
})

test('a message shorter than its header is dropped, at every length', () => {
  for (let length = 0; length < 8; length++) assert.equal(checkIcmpHeader(errorMessage(), 0, length), IcmpDrop.short)
})

test('an echo needs no more than its header', () => {
  assert.equal(check(Uint8Array.of(8, 0, 0, 0, 0, 1, 0, 1)), IcmpDrop.none)
  assert.equal(check(Uint8Array.of(0, 0, 0, 0, 0, 1, 0, 1)), IcmpDrop.none)
})

test('exactly the five types that quote a datagram are errors', () => {
  const errors = Array.from({ length: 256 }, (_, type) => type).filter(isIcmpError)
  assert.deepEqual(errors, [3, 4, 5, 11, 12])
})

test('an error that quotes less than a header and 8 bytes is dropped, at every length', () => {
  for (const headerWords of [5, 6, 15]) {
    const whole = errorMessage(headerWords)
    assert.equal(check(whole), IcmpDrop.none)
    for (let length = 8; length < whole.length; length++)
      assert.equal(checkIcmpHeader(whole, 0, length), IcmpDrop.quote)
  }
})

test('an error about what is no IPv4 datagram is dropped', () => {
  for (const first of [0x65, 0x05, 0x44, 0x40, 0xff]) {
    const u8 = errorMessage()
    u8[8] = first
    assert.equal(check(u8), IcmpDrop.quote, `quoted first byte ${first}`)
  }
})

test('any bytes have a named outcome, and none behind the message changes it', () => {
  const named = new Set<number>(Object.values(IcmpDrop))
  const message = fc
    .tuple(fc.constantFrom(0, 3, 4, 5, 8, 11, 12, 13, 255), fc.uint8Array({ maxLength: 80 }))
    .map(([type, rest]) => Uint8Array.of(type, ...rest))
  fc.assert(
    fc.property(message, fc.nat(255), (message, filler) => {
      const u8 = new Uint8Array(128).fill(filler)
      u8.set(message, 3)
      const outcome = checkIcmpHeader(u8, 3, message.length)
      assert.ok(named.has(outcome))
      u8.fill(~filler & 0xff, 3 + message.length)
      assert.equal(checkIcmpHeader(u8, 3, message.length), outcome)
    }),
    { seed: 20040611, numRuns: 500 },
  )
})
