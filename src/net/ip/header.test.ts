import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { checkIpHeader, IpDrop, IpHeader, IpOption, ipHeaderSum, walkOptions } from './header.ts'

const seed = 20040611

/** A datagram of 10.77.0.2 to 10.77.0.1 with 20 bytes of payload, of which `change` may alter anything before it is summed. */
function datagram(change: (u8: Uint8Array) => void = () => {}, options: readonly number[] = []): Uint8Array {
  const headerBytes = 20 + options.length
  const u8 = new Uint8Array(headerBytes + 20).fill(0x5c, headerBytes)
  u8.set([0x40 | (headerBytes / 4), 0, 0, u8.length, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1])
  u8.set(options, 20)
  change(u8)
  const sum = ~ipHeaderSum(u8, 0, Math.min((u8[0]! & 0x0f) * 4, u8.length)) & 0xffff
  u8.set([sum >>> 8, sum & 0xff], 10)
  return u8
}

const check = (u8: Uint8Array) => checkIpHeader(u8, 0, u8.length)

test('the fields lie where RFC 791 3.1 draws them', () => {
  assert.deepEqual(IpHeader.offset, {
    versionAndLength: 0,
    service: 1,
    totalLength: 2,
    identification: 4,
    flagsAndOffset: 6,
    timeToLive: 8,
    protocol: 9,
    checksum: 10,
    source: 12,
    destination: 16,
  })
})

test('a header that came whole is good, and its sum is all ones', () => {
  // The worked example of RFC 1071's method that textbooks share: checksum 0xb861.
  const u8 = Uint8Array.of(0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 192, 168, 0, 1, 192, 168, 0, 199)
  assert.equal(ipHeaderSum(u8, 0, 20), 0xffff)
  assert.equal(checkIpHeader(u8, 0, 0x73), IpDrop.none)
  assert.equal(check(datagram()), IpDrop.none)
  assert.equal(check(datagram(undefined, new Array<number>(40).fill(IpOption.noOperation))), IpDrop.none)
})

test('a version other than 4 and lengths that contradict each other are dropped, each by its name', () => {
  const table: [string, IpDrop, (u8: Uint8Array) => void][] = [
    ['version 6', IpDrop.version, (u8) => (u8[0] = 0x65)],
    ['version 0', IpDrop.version, (u8) => (u8[0] = 0x05)],
    ['header length 0', IpDrop.headerLength, (u8) => (u8[0] = 0x40)],
    ['header length 4 words', IpDrop.headerLength, (u8) => (u8[0] = 0x44)],
    ['header beyond the total length', IpDrop.totalLength, (u8) => (u8[0] = 0x4f)],
    ['total length 0', IpDrop.totalLength, (u8) => (u8[3] = 0)],
    ['total length 19', IpDrop.totalLength, (u8) => (u8[3] = 19)],
    ['total length beyond the frame by one', IpDrop.truncated, (u8) => (u8[3] = 41)],
    ['total length 65535', IpDrop.truncated, (u8) => u8.set([0xff, 0xff], 2)],
  ]
  for (const [name, expected, change] of table) assert.equal(check(datagram(change)), expected, name)
})

test('a frame shorter than a header is dropped, at every length', () => {
  for (let length = 0; length < 20; length++) assert.equal(checkIpHeader(datagram(), 0, length), IpDrop.short)
  for (let length = 20; length < 40; length++) assert.equal(checkIpHeader(datagram(), 0, length), IpDrop.truncated)
})

test('a frame longer than its datagram is good: the rest is padding', () => {
  const u8 = new Uint8Array(60).fill(0xee)
  u8.set(datagram())
  assert.equal(check(u8), IpDrop.none)
})

test('a header in which any single bit is wrong is dropped', () => {
  for (const padding of [0, 200])
    for (let bit = 0; bit < 160; bit++) {
      const u8 = new Uint8Array(40 + padding)
      u8.set(datagram())
      u8[bit >>> 3]! ^= 0x80 >>> (bit & 7)
      assert.notEqual(check(u8), IpDrop.none, `bit ${bit}`)
    }
})

test('whatever the bytes, a header that passes has lengths that hold, and no byte behind the frame matters', () => {
  // Mostly right, so that every check is reached.
  const headers = fc
    .tuple(fc.uint8Array({ minLength: 60, maxLength: 60 }), fc.integer({ min: 3, max: 15 }), fc.nat(80), fc.nat(70))
    .map(([u8, words, totalLength, length]) => {
      u8.set([0x40 | words, u8[1]!, 0, totalLength], 0)
      u8.set([0, 0], 10)
      const sum = ~ipHeaderSum(u8, 0, words * 4) & 0xffff
      u8.set([sum >>> 8, sum & 0xff], 10)
      return { u8, length: Math.min(length, 60) }
    })
  let passed = 0
  fc.assert(
    fc.property(headers, fc.nat(255), ({ u8: frame, length }, filler) => {
      const u8 = new Uint8Array(100).fill(filler)
      u8.set(frame.subarray(0, length), 7)
      const outcome = checkIpHeader(u8, 7, length)
      u8.fill(~filler & 0xff, 7 + length)
      assert.equal(checkIpHeader(u8, 7, length), outcome)
      if (outcome !== IpDrop.none) return
      passed++
      const headerBytes = (frame[0]! & 15) * 4
      assert.ok(headerBytes >= 20 && headerBytes <= frame[3]! && frame[3]! <= length)
    }),
    { seed, numRuns: 2000 },
  )
  assert.ok(passed > 50, `only ${passed} passed`)
})

/** What the walker says of these options, padded to a whole header. */
function walk(...options: number[]): IpDrop {
  const padded = [...options, ...new Array<number>(-options.length & 3).fill(IpOption.noOperation)]
  return walkOptions(datagram(undefined, padded), 0, 20 + padded.length)
}

test('options are walked to their end, and those that nobody knows are skipped (@rfc 791 3.1/end-and-nop)', () => {
  assert.equal(walk(), IpDrop.none)
  assert.equal(walk(IpOption.noOperation, IpOption.noOperation), IpDrop.none)
  assert.equal(walk(148, 4, 0, 0), IpDrop.none) // router alert, RFC 2113
  assert.equal(walk(7, 39, ...new Array<number>(37).fill(4)), IpDrop.none) // record route
  assert.equal(walk(200, 2, 201, 6, 1, 2, 3, 4), IpDrop.none)
})

test('what follows the end of the options is not looked at (@rfc 791 3.1/end-and-nop)', () => {
  assert.equal(walk(IpOption.end, IpOption.looseSourceRoute, 0, 0), IpDrop.none)
})

test('an option of length 0 or 1, or beyond the end of the header, is dropped', () => {
  assert.equal(walk(7, 0), IpDrop.option)
  assert.equal(walk(7, 1), IpDrop.option)
  assert.equal(walk(7, 5, 0, 0), IpDrop.option)
  assert.equal(walk(1, 1, 1, 7), IpDrop.option)
  assert.equal(walk(7, 255), IpDrop.option)
})

test('a source route is dropped by policy, loose or strict, first or behind others', () => {
  assert.equal(walk(131, 7, 4, 10, 77, 0, 9), IpDrop.sourceRoute)
  assert.equal(walk(137, 7, 4, 10, 77, 0, 9), IpDrop.sourceRoute)
  assert.equal(walk(1, 148, 4, 0, 0, 131, 3, 4), IpDrop.sourceRoute)
  assert.equal(walk(1, 1, 1, 137), IpDrop.sourceRoute)
})

test('every pair of option type and length has the outcome that follows from its room (@rfc 1122 3.2.1.8/stream-ignore 3.2.1.8/unknown)', () => {
  for (let type = 0; type < 256; type++)
    for (let length = 0; length < 256; length++) {
      // Eight bytes of options, of which those behind the pair do nothing.
      const outcome = walk(type, length, 1, 1, 1, 1, 1, 1)
      const route = (code: number) => code === 131 || code === 137
      let expected: IpDrop = length >= 2 && length <= 8 ? IpDrop.none : IpDrop.option
      if (route(type)) expected = IpDrop.sourceRoute
      if (type === 0) expected = IpDrop.none
      // Here the length is a type of its own, and the ones behind it are its length and padding.
      if (type === 1) expected = length <= 1 ? IpDrop.none : route(length) ? IpDrop.sourceRoute : IpDrop.option
      assert.equal(outcome, expected, `type ${type}, length ${length}`)
    }
})

test('whatever the options, the walk ends with a named outcome that no byte behind the header changes', () => {
  const named = new Set<number>(Object.values(IpDrop))
  const option = fc.oneof(fc.constantFrom(0, 1, 2, 3, 4, 7, 131, 137, 148, 255), fc.nat(255))
  fc.assert(
    fc.property(fc.array(option, { maxLength: 40 }), fc.nat(255), (options, filler) => {
      const headerBytes = 20 + (options.length & ~3)
      const u8 = new Uint8Array(100).fill(filler)
      u8.set(options, 20)
      u8.fill(filler, headerBytes)
      const outcome = walkOptions(u8, 0, headerBytes)
      assert.ok(named.has(outcome))
      u8.fill(~filler & 0xff, headerBytes)
      assert.equal(walkOptions(u8, 0, headerBytes), outcome)
    }),
    { seed, numRuns: 2000 },
  )
})
