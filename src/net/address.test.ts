import assert from 'node:assert/strict'
import { isIP } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { KernelError } from '../base/errno.ts'
import {
  addressBytes,
  directedBroadcast,
  equalAddress,
  Family,
  formatAddress,
  isBroadcast,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isUnspecified,
  maskEqual,
  networkBytes,
  parseAddress,
  parsePrefix,
} from './address.ts'

const seed = 20040611
const family = fc.constantFrom<Family>(Family.inet, Family.inet6)

/** Puts addresses into a fresh memory, 16 bytes apart from 16 on. */
function memoryOf(...texts: string[]): Uint8Array {
  const u8 = new Uint8Array(16 * (texts.length + 1)).fill(0xa5)
  for (const [index, text] of texts.entries()) u8.set(parseAddress(text).bytes, 16 * (index + 1))
  return u8
}

function holds(predicate: (u8: Uint8Array, family: Family, address: number) => boolean, text: string): boolean {
  return predicate(memoryOf(text), parseAddress(text).family, 16)
}

function roundTrip(text: string): string {
  const { family, bytes } = parseAddress(text)
  return formatAddress(family, bytes, 0)
}

test('an address has four or sixteen bytes', () => {
  assert.equal(addressBytes(Family.inet), 4)
  assert.equal(addressBytes(Family.inet6), 16)
})

test('a dotted quad is four bytes in network order', () => {
  assert.deepEqual(parseAddress('10.77.0.2'), { family: 4, bytes: Uint8Array.of(10, 77, 0, 2) })
})

test('every form of RFC 4291 2.2 is read', () => {
  const bytes = (text: string) => [...parseAddress(text).bytes].map((byte) => byte.toString(16)).join(' ')
  assert.equal(bytes('2001:DB8:0:0:8:800:200C:417A'), '20 1 d b8 0 0 0 0 0 8 8 0 20 c 41 7a')
  assert.equal(bytes('2001:db8::8:800:200c:417a'), '20 1 d b8 0 0 0 0 0 8 8 0 20 c 41 7a')
  assert.equal(bytes('::'), '0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0')
  assert.equal(bytes('::13.1.68.3'), '0 0 0 0 0 0 0 0 0 0 0 0 d 1 44 3')
  assert.equal(bytes('0:0:0:0:0:ffff:129.144.52.38'), '0 0 0 0 0 0 0 0 0 0 ff ff 81 90 34 26')
  assert.equal(bytes('1:2:3:4:5:6:7::'), '0 1 0 2 0 3 0 4 0 5 0 6 0 7 0 0')
})

test('what is not an address is refused with EINVAL and a sentence that says what was expected', () => {
  const refused = [
    ...['', ' ', '10.77.0', '10.77.0.2.1', '10.77.0.256', '10.77.0.02', '0x7f.0.0.1', '127.1', '1.2.3.4 ', '+1.2.3.4'],
    ...[
      ':',
      ':::',
      '1::2::3',
      '1:2:3:4:5:6:7',
      '1:2:3:4:5:6:7:8:9',
      '1:2:3:4:5:6:7::8',
      '12345::',
      'g::',
      'fe80::1%lo',
    ],
    ...['1.2.3.4::', '::1.2.3.4:5', '::1.2.3', ':1:2:3:4:5:6:7', '1:2:3:4:5:6:7:', '::1.2.3.04', 'x'.repeat(100_000)],
  ]
  for (const text of refused)
    assert.throws(
      () => parseAddress(text),
      (error) => error instanceof KernelError && error.code === 'EINVAL' && /expected .* like/.test(error.message),
      text.slice(0, 50),
    )
})

test('exactly the texts that Node takes for addresses are read', () => {
  const piece = fc.constantFrom('0', '1', '25', '255', '256', '01', 'f', 'ffff', '.', '.', ':', ':', ':', '::')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 17 }), (pieces) => {
      const text = pieces.join('')
      let version: number
      try {
        version = parseAddress(text).family
      } catch {
        version = 0
      }
      assert.equal(version, isIP(text), text)
    }),
    { seed, numRuns: 5000 },
  )
})

test('IPv6 addresses are written as RFC 5952 says', () => {
  const spellings = {
    '2001:0db8:0:0:0:0:0:0001': '2001:db8::1',
    '2001:db8:0:0:0:0:2:1': '2001:db8::2:1',
    '2001:db8:0:1:1:1:1:1': '2001:db8:0:1:1:1:1:1', // 4.2.2: one group is not shortened
    '2001:0:0:1:0:0:0:1': '2001:0:0:1::1', // 4.2.3: the longest run
    '2001:db8:0:0:1:0:0:1': '2001:db8::1:0:0:1', // 4.2.3: the first of equals
    '2001:DB8::ABCD': '2001:db8::abcd', // 4.3: lower case
    '0:0:0:0:0:0:0:0': '::',
    '0:0:0:0:0:0:0:1': '::1',
    'fe80:0:0:0:0:0:0:0': 'fe80::',
    '::ffff:c000:201': '::ffff:192.0.2.1', // 5: mapped
    '0:0:0:0:ffff:0:1:1': '::ffff:0:1:1',
  }
  for (const [given, written] of Object.entries(spellings)) assert.equal(roundTrip(given), written)
})

test('what is written reads back as the same bytes', () => {
  const byte = fc.oneof(fc.constant(0), fc.nat(255))
  const bytes = family.chain((family) =>
    fc.tuple(
      fc.constant(family),
      fc.array(byte, { minLength: addressBytes(family), maxLength: addressBytes(family) }),
      fc.nat(9),
    ),
  )
  fc.assert(
    fc.property(bytes, ([family, bytes, at]) => {
      const u8 = new Uint8Array(32)
      u8.set(bytes, at)
      assert.deepEqual(parseAddress(formatAddress(family, u8, at)), { family, bytes: Uint8Array.from(bytes) })
    }),
    { seed, numRuns: 1000 },
  )
})

test('a prefix keeps the bits behind its length, and its network has them cleared (@rfc 1122 3.2.2.9/static 3.3.1.6)', () => {
  const prefix = parsePrefix('10.77.0.2/15')
  assert.deepEqual(prefix, { family: 4, bytes: Uint8Array.of(10, 77, 0, 2), length: 15 })
  assert.deepEqual(networkBytes(prefix.bytes, prefix.length), Uint8Array.of(10, 76, 0, 0))
  assert.equal(parsePrefix('::/0').length, 0)
  assert.equal(parsePrefix('fd00::2/128').length, 128)
})

test('a prefix without a length, or with one that is too long, is refused with EINVAL (@rfc 1122 3.2.2.9/reasonable)', () => {
  for (const text of [
    '10.77.0.2',
    '10.77.0.2/',
    '10.77.0.2/33',
    '::/129',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '/8',
    '::/8/8',
  ])
    assert.throws(() => parsePrefix(text), { code: 'EINVAL', message: /is not a prefix: expected/ }, text)
})

test('addresses are equal when all their bytes are', () => {
  const u8 = memoryOf('fd00::1', 'fd00::1', 'fd00::2')
  assert.ok(equalAddress(u8, 16, 32, Family.inet6))
  assert.ok(!equalAddress(u8, 16, 48, Family.inet6))
  assert.ok(equalAddress(u8, 16, 48, Family.inet))
})

test('a mask compares exactly its bits', () => {
  const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 })
  fc.assert(
    fc.property(bytes, fc.nat(128), fc.nat(127), (bytes, bits, flipped) => {
      const u8 = new Uint8Array(32)
      u8.set(bytes)
      u8.set(bytes, 16)
      u8[16 + (flipped >>> 3)]! ^= 0x80 >>> (flipped & 7)
      assert.equal(maskEqual(u8, 0, 16, bits), flipped >= bits)
    }),
    { seed, numRuns: 1000 },
  )
})

test('the special addresses of both families are known', () => {
  const table: [string, ...((u8: Uint8Array, family: Family, address: number) => boolean)[]][] = [
    ['0.0.0.0', isUnspecified],
    ['::', isUnspecified],
    ['127.0.0.1', isLoopback],
    ['127.255.255.254', isLoopback],
    ['::1', isLoopback],
    ['224.0.0.1', isMulticast],
    ['239.255.255.255', isMulticast],
    ['ff02::1', isMulticast],
    ['255.255.255.255', isBroadcast],
    ['169.254.1.1', isLinkLocal],
    ['fe80::1', isLinkLocal],
    ['febf::1', isLinkLocal],
    ...['0.0.0.1', '10.77.0.2', '126.255.255.255', '128.0.0.1', '223.255.255.255', '240.0.0.1'].map((t): [string] => [
      t,
    ]),
    ...['255.255.255.254', '169.253.0.1', '::2', '1::1', 'fec0::1', 'fe00::1', '7f00::1', 'e000::'].map(
      (t): [string] => [t],
    ),
  ]
  for (const [text, ...expected] of table)
    for (const predicate of [isUnspecified, isLoopback, isMulticast, isBroadcast, isLinkLocal])
      assert.equal(holds(predicate, text), expected.includes(predicate), `${predicate.name} ${text}`)
  assert.ok(!holds(isBroadcast, 'ffff:ffff::'), 'IPv6 has no broadcast')
})

test('the directed broadcast of a prefix has every bit behind it set', () => {
  assert.deepEqual(directedBroadcast(parsePrefix('10.77.0.2/24')), Uint8Array.of(10, 77, 0, 255))
  assert.deepEqual(directedBroadcast(parsePrefix('10.77.0.2/30')), Uint8Array.of(10, 77, 0, 3))
  assert.deepEqual(directedBroadcast(parsePrefix('10.77.0.2/13')), Uint8Array.of(10, 79, 255, 255))
  for (const text of ['10.77.0.2/31', '10.77.0.2/32', 'fd00::/64'])
    assert.equal(directedBroadcast(parsePrefix(text)), undefined, text)
})
