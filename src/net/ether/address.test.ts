import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  equalEtherAddress,
  formatEtherAddress,
  isEtherBroadcast,
  isEtherMulticast,
  parseEtherAddress,
} from './address.ts'

test('an Ethernet address reads in either case and is written in lower case', () => {
  const bytes = parseEtherAddress('02:00:0A:4d:00:fE')
  assert.deepEqual(bytes, Uint8Array.of(2, 0, 10, 77, 0, 254))
  assert.equal(formatEtherAddress(bytes, 0), '02:00:0a:4d:00:fe')
})

test('what is written reads back, wherever the bytes lie', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), fc.nat(10), (bytes, at) => {
      const u8 = new Uint8Array(16)
      u8.set(bytes, at)
      assert.deepEqual(parseEtherAddress(formatEtherAddress(u8, at)), bytes)
    }),
    { seed: 20040611 },
  )
})

test('any other text is refused with EINVAL', () => {
  for (const text of [
    '',
    '02:00:0a:4d:00',
    '02:00:0a:4d:00:02:03',
    '2:0:a:4d:0:2',
    '02-00-0a-4d-00-02',
    '02000a4d0002',
  ])
    assert.throws(() => parseEtherAddress(text), { code: 'EINVAL', message: /expected six pairs/ }, text)
})

test('the group bit makes an address multicast, and all bits make it broadcast', () => {
  const u8 = Uint8Array.from(
    ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01', '02:00:0a:4d:00:02'].flatMap((text) => [...parseEtherAddress(text)]),
  )
  assert.deepEqual(
    [0, 6, 12].map((at) => isEtherMulticast(u8, at)),
    [true, true, false],
  )
  assert.deepEqual(
    [0, 6, 12].map((at) => isEtherBroadcast(u8, at)),
    [true, false, false],
  )
})

test('addresses that differ in one byte are not equal', () => {
  const u8 = new Uint8Array(12)
  assert.ok(equalEtherAddress(u8, 0, 6))
  for (let index = 0; index < 6; index++) {
    u8.fill(0)[index] = 1
    assert.ok(!equalEtherAddress(u8, 0, 6))
  }
})
