import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { checkIgmpHeader, IgmpDrop, igmpMaxResponseUs, igmpQueryVersion } from './header.ts'

const GROUP = [224, 1, 2, 3]
const NONE = [0, 0, 0, 0]

function check(...bytes: readonly (number | readonly number[])[]): IgmpDrop {
  const message = bytes.flat()
  return checkIgmpHeader(Uint8Array.from(message), 0, message.length)
}

describe('igmp header', () => {
  test('a message of 8 bytes is one, a shorter one is not', () => {
    const message = [0x11, 100, 0, 0, ...GROUP]
    for (let length = 0; length < 8; length++) assert.equal(check(message.slice(0, length)), IgmpDrop.short)
    assert.equal(check(message), IgmpDrop.none)
    assert.equal(check(0x11, 100, 0, 0, NONE), IgmpDrop.none)
  })

  test('a query is about a group or about all, a report about a group', () => {
    const others = [
      [10, 0, 0, 1],
      [255, 255, 255, 255],
      [240, 0, 0, 1],
      [0, 0, 0, 1],
    ] as const
    for (const other of others)
      for (const type of [0x11, 0x12, 0x16]) assert.equal(check(type, 0, 0, 0, other), IgmpDrop.group)
    for (const type of [0x12, 0x16]) {
      assert.equal(check(type, 0, 0, 0, NONE), IgmpDrop.group)
      assert.equal(check(type, 0, 0, 0, [239, 255, 255, 255]), IgmpDrop.none)
    }
    // What nobody here reads may say what it likes.
    assert.equal(check(0x22, 0, 0, 0, NONE), IgmpDrop.none)
  })

  test('a query of 8 bytes is of version 1 or 2, of 12 and more of version 3, and of no version in between', () => {
    for (const extra of [1, 2, 3]) {
      assert.equal(check(0x11, 100, 0, 0, NONE, new Array<number>(extra).fill(0)), IgmpDrop.length)
    }
    assert.equal(check(0x11, 100, 0, 0, GROUP, [2, 125, 0, 1]), IgmpDrop.length)
    assert.equal(check(0x11, 100, 0, 0, GROUP, [2, 125, 0, 1], [10, 0, 0, 1]), IgmpDrop.none)
    assert.equal(check(0x11, 100, 0, 0, GROUP, [2, 125, 255, 255], [10, 0, 0, 1]), IgmpDrop.length)
    const version = (...bytes: readonly (number | readonly number[])[]) =>
      igmpQueryVersion(Uint8Array.from(bytes.flat()), 0, bytes.flat().length)
    assert.equal(version(0x11, 0, 0, 0, NONE), 1)
    assert.equal(version(0x11, 1, 0, 0, NONE), 2)
    assert.equal(version(0x11, 0, 0, 0, NONE, [2, 125, 0, 0]), 3)
  })

  test('the time to answer is in tenths of a second, 10 s for version 1, and a floating point number for version 3', () => {
    assert.equal(igmpMaxResponseUs(0, 1), 10_000_000)
    assert.equal(igmpMaxResponseUs(100, 2), 10_000_000)
    assert.equal(igmpMaxResponseUs(255, 2), 25_500_000)
    assert.equal(igmpMaxResponseUs(127, 3), 12_700_000)
    assert.equal(igmpMaxResponseUs(0x80, 3), 128 * 100_000)
    assert.equal(igmpMaxResponseUs(0x8f, 3), 248 * 100_000)
    assert.equal(igmpMaxResponseUs(0xff, 3), 31744 * 100_000)
    let last = 0
    for (let code = 0; code < 256; code++) {
      assert(code === 0 || igmpMaxResponseUs(code, 3) > last, 'a larger code is a longer time')
      last = igmpMaxResponseUs(code, 3)
    }
  })

  test('no bytes are read beyond the length that was given', () => {
    const anything = fc.uint8Array({ maxLength: 40 })
    fc.assert(
      fc.property(anything, anything, (message, behind) => {
        const alone = checkIgmpHeader(message, 0, message.length)
        const followed = checkIgmpHeader(Uint8Array.from([...message, ...behind]), 0, message.length)
        assert.equal(followed, alone)
      }),
      { seed: 7, numRuns: 2000 },
    )
  })
})
