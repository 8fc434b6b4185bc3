import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { hashName } from './hash.ts'

describe('hash', () => {
  test('names have the hashes that FNV-1a gives them', () => {
    assert.equal(hashName(''), 0x811c9dc5)
    assert.equal(hashName('a'), 0xe40c292c)
    assert.equal(hashName('foobar'), 0xbf9cf968)
  })

  test('every hash is a whole number from 1 to 2^32 - 1, and those of like names differ', () => {
    const seen = new Set<number>()
    for (let i = 0; i < 1000; i++) {
      const hash = hashName(`port ${i}`)
      assert.ok(Number.isInteger(hash) && hash >= 1 && hash <= 0xffffffff)
      seen.add(hash)
    }
    assert.equal(seen.size, 1000)
  })
})
