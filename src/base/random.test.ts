import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random, randomOf, SystemRandom, systemSeed } from './random.ts'

const draw = (random: Random, count: number) => Array.from({ length: count }, () => random.next())

describe('random', () => {
  test('one seed gives one sequence, and another seed another', () => {
    assert.deepEqual(draw(new Random(7), 100), draw(new Random(7), 100))
    assert.notDeepEqual(draw(new Random(7), 4), draw(new Random(8), 4))
  })

  test('without a seed the operating system is asked, and nothing repeats', () => {
    assert.ok(randomOf(7) instanceof Random && !(randomOf(7) instanceof SystemRandom))
    const random: Random = randomOf(undefined)
    assert.ok(random instanceof SystemRandom)
    // More than the words that are fetched at once.
    const words = draw(random, 1000)
    assert.ok(new Set(words).size > 995)
    assert.notDeepEqual(draw(random.fork(1), 8), draw(random.fork(1), 8))
    assert.ok(words.every((word) => Number.isInteger(word) && word >= 0 && word <= 0xffffffff))
  })

  test('a seed is taken as 32 bits', () => {
    assert.deepEqual(draw(new Random(-1), 4), draw(new Random(0xffffffff), 4))
  })

  test('the seed 0 gives a sequence that is not all zeros', () => {
    assert.ok(new Set(draw(new Random(0), 100)).size > 95)
  })

  test('next gives 32 bits of which each is set half of the time', () => {
    const random = new Random(3)
    const set = new Array<number>(32).fill(0)
    for (let i = 0; i < 10_000; i++) {
      const value = random.next()
      assert.ok(Number.isInteger(value) && value >= 0 && value <= 0xffffffff)
      for (let bit = 0; bit < 32; bit++) set[bit]! += (value >>> bit) & 1
    }
    // Ten standard deviations of 50 each.
    for (const count of set) assert.ok(Math.abs(count - 5000) < 500, `${set}`)
  })

  test('below gives every whole number under the count, evenly, and nothing else', () => {
    const random = new Random(4)
    const counts = new Map<number, number>()
    for (let i = 0; i < 7000; i++) {
      const value = random.below(7)
      counts.set(value, (counts.get(value) ?? 0) + 1)
    }
    assert.deepEqual([...counts.keys()].sort(), [0, 1, 2, 3, 4, 5, 6])
    for (const count of counts.values()) assert.ok(Math.abs(count - 1000) < 300)
    assert.equal(random.below(1), 0)
  })

  test('chance happens as often as it says, and a chance of 0 draws nothing', () => {
    const random = new Random(5)
    let happened = 0
    for (let i = 0; i < 10_000; i++) if (random.chance(0.25)) happened++
    assert.ok(Math.abs(happened - 2500) < 400)
    const [a, b] = [new Random(6), new Random(6)]
    assert.equal(a.chance(0), false)
    assert.equal(a.next(), b.next())
    assert.equal(a.chance(1), true)
  })

  test('a fork depends on the seed and its index only, not on what was drawn before', () => {
    const [a, b] = [new Random(9), new Random(9)]
    draw(a, 50)
    assert.deepEqual(draw(a.fork(2), 8), draw(b.fork(2), 8))
    assert.notDeepEqual(draw(b.fork(2), 8), draw(b.fork(3), 8))
    assert.notDeepEqual(draw(new Random(9), 8), draw(b.fork(0), 8))
    assert.notDeepEqual(draw(new Random(10).fork(2), 8), draw(b.fork(2), 8))
  })

  test('the operating system gives seeds of 32 bits that differ', () => {
    const seeds = new Set(Array.from({ length: 8 }, systemSeed))
    assert.ok(seeds.size > 4)
    for (const seed of seeds) assert.equal(seed, seed >>> 0)
  })
})
