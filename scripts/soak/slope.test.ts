import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { grows, type Sample, slopeOf } from './slope.ts'

/** 60 samples with noise. */
function series(seed: number, value: (i: number) => number, noise: number): Sample[] {
  const random = new Random(seed)
  return Array.from({ length: 60 }, (_, at) => ({ at, value: value(at) + (random.real() - 0.5) * noise }))
}

test('what stays does not grow, whatever its noise', () => {
  for (let seed = 1; seed <= 200; seed++) {
    assert(!grows(slopeOf(series(seed, () => 1000, 300)), 50), `seed ${seed}`)
  }
})

test('a leak that is small beside the noise is found', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const slope = slopeOf(series(seed, (i) => 1000 + 4 * i, 200))
    assert(grows(slope, 50), `seed ${seed}: ${JSON.stringify(slope)}`)
    assert(slope.growth > 150 && slope.growth < 320)
  }
})

test('a few odd samples are no trend', () => {
  const odd = series(1, (i) => (i >= 57 ? 5000 : 1000), 10)
  assert(slopeOf(odd).growth < 50)
})

test('one that falls does not grow, and constant ones have no trend', () => {
  assert(!grows(slopeOf(series(1, (i) => 1000 - 5 * i, 10)), 50))
  assert.deepEqual(slopeOf(series(1, () => 7, 0)), { growth: 0, median: 7, z: 0 })
})

test('what grows less than it may is left alone', () => {
  assert(!grows(slopeOf(series(1, (i) => 1000 + i / 10, 0)), 50))
})
