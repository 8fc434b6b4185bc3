import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '../src/base/random.ts'
import { median, medianInterval } from './report.ts'

const upTo = (n: number) => Array.from({ length: n }, (_, i) => i + 1)

test('the median of an even number is between the two in the middle', () => {
  assert.equal(median([3, 1, 2]), 2)
  assert.equal(median([4, 1, 3, 2]), 2.5)
})

test('where the median lies is told by the samples of the tables for 95 %', () => {
  for (const [n, from, to] of [
    [1, 1, 1],
    [5, 1, 5],
    [6, 1, 6],
    [8, 1, 8],
    [9, 2, 8],
    [20, 6, 15],
    [40, 14, 27],
    [100, 40, 61],
  ] as const) {
    assert.deepEqual(medianInterval(upTo(n).reverse()), { from, to }, `${n}`)
  }
})

test('a median lies within it about as often as is said', () => {
  // Of 1000 sets of 21 samples from 0 to 1.
  const random = new Random(12345)
  let within = 0
  for (let i = 0; i < 1000; i++) {
    const { from, to } = medianInterval(Array.from({ length: 21 }, () => random.real()))
    if (from <= 0.5 && 0.5 <= to) within++
  }
  assert.ok(within >= 935 && within <= 995, `${within}`)
})
