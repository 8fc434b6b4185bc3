import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../base/random.ts'
import { Timeline } from './timeline.ts'

describe('a timeline', () => {
  test('is free until somebody uses it, and then from when that ends', () => {
    const line = new Timeline()
    assert.equal(line.free(5), 5)
    assert.equal(line.use(5, 3, 0), 8)
    assert.equal(line.free(4), 4)
    assert.equal(line.free(5), 8)
    assert.equal(line.free(7.5), 8)
    assert.equal(line.free(8), 8)
  })

  test('gives who comes later, at an earlier time, the first gap', () => {
    const line = new Timeline()
    line.use(0, 2, 0)
    line.use(4, 2, 0)
    assert.equal(line.use(1, 1, 1), 3)
    assert.equal(line.free(0), 3)
    assert.equal(line.free(3.5), 3.5)
  })

  test('has a use that is longer than its gap go on behind what is there', () => {
    const line = new Timeline()
    line.use(2, 2, 0)
    line.use(6, 2, 0)
    // One before the first, two between, one behind.
    assert.equal(line.use(1, 4, 1), 9)
    assert.equal(line.free(1), 9)
  })

  test('knows how often it went from one CPU to another', () => {
    const line = new Timeline()
    // Out of memory.
    assert.equal(line.passes(0, 0), 1)
    line.use(0, 1, 0)
    assert.equal(line.passes(1, 0), 0)
    assert.equal(line.passes(1, 1), 1)
    line.use(5, 1, 0)
    // Between two uses of the same one: to it and back.
    assert.equal(line.passes(2, 1), 2)
    line.use(2, 1, 1)
    assert.equal(line.passes(3, 0), 1)
  })

  test('is used by several at once where they only read', () => {
    const line = new Timeline()
    line.cover(0, 4, 0)
    line.cover(2, 6, 1)
    line.cover(8, 9, 0)
    assert.equal(line.free(1), 6)
    line.cover(5, 8, 2)
    assert.equal(line.free(1), 9)
  })

  test('forgets what nobody can come before any more, but not who was the last', () => {
    const line = new Timeline()
    for (let i = 0; i < 100; i++) line.use(i * 2, 1, 3)
    line.forget(1000)
    assert.equal(line.free(5), 5)
    assert.equal(line.passes(1000, 3), 0)
    assert.equal(line.passes(1000, 4), 1)
  })

  test('is never used for longer than there is time, in whatever order uses come', () => {
    const random = new Random(7)
    const line = new Timeline()
    const end = Array.from({ length: 500 }, () => line.use(random.below(1000), 1 + random.below(3), random.below(4)))
    const used = new Set<number>()
    for (let time = 0; time < Math.max(...end); time++) if (line.free(time) !== time) used.add(time)
    const replay = new Random(7)
    let asked = 0
    for (let i = 0; i < 500; i++) {
      replay.below(1000)
      asked += 1 + replay.below(3)
      replay.below(4)
    }
    assert.equal(used.size, asked)
  })
})
