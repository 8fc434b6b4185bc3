import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { bucketFloor, bucketOf, HISTOGRAM_BUCKETS, Histogram } from './histogram.ts'

const seed = 64
const value = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  fc.nat(40),
  fc.integer({ min: 0, max: 31 }).map((bit) => 2 ** bit),
  fc.integer({ min: 1, max: 32 }).map((bit) => 2 ** bit - 1),
)

describe('histogram', () => {
  test('a value lies in its bucket, whose floor is at most a third below it', () => {
    fc.assert(
      fc.property(value, (value) => {
        const bucket = bucketOf(value)
        assert.ok(bucket >= 0 && bucket < HISTOGRAM_BUCKETS)
        assert.ok(bucketFloor(bucket) <= value)
        assert.ok(bucket === HISTOGRAM_BUCKETS - 1 || value < bucketFloor(bucket + 1))
        assert.ok(value - bucketFloor(bucket) <= value / 3)
      }),
      { seed, numRuns: 2000 },
    )
  })

  test('buckets 0 to 3 hold one value each, and later ones go up by halves', () => {
    assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16].map(bucketOf), [0, 1, 2, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8])
    assert.equal(bucketOf(0xffffffff), 63)
  })

  test('total, mean, maximum and quantiles are those of the values, within a bucket', () => {
    fc.assert(
      fc.property(
        fc.array(value, { minLength: 1, maxLength: 60 }),
        fc.double({ min: 0.01, max: 1, noNaN: true }),
        (values, q) => {
          const histogram = new Histogram()
          for (const value of values) histogram.record(value)
          const sorted = values.toSorted((a, b) => a - b)
          assert.equal(histogram.total, values.length)
          const largest = sorted[sorted.length - 1]!
          assert.ok(histogram.max >= largest && bucketOf(histogram.max) === bucketOf(largest))
          const exact = sorted[Math.ceil(q * sorted.length) - 1]!
          assert.equal(bucketOf(Math.floor(histogram.quantile(q))), bucketOf(exact))
          const mean = values.reduce((sum, value) => sum + value, 0) / values.length
          assert.ok(Math.abs(histogram.mean - mean) <= mean * 0.34)
        },
      ),
      { seed },
    )
  })

  test('an empty histogram answers 0 to all questions', () => {
    const { total, mean, max } = new Histogram()
    assert.deepEqual([total, mean, max, new Histogram().quantile(0.99)], [0, 0, 0, 0])
  })

  test('histograms in memory add up', () => {
    const memory = new Float64Array(200)
    memory[10 + bucketOf(5)] = 3
    memory[100 + bucketOf(5)] = 4
    memory[100 + bucketOf(9)] = 1
    const sum = new Histogram()
    sum.add(memory, 10)
    sum.add(memory, 100)
    assert.equal(sum.total, 8)
    assert.equal(sum.counts[bucketOf(5)], 7)
    assert.equal(sum.quantile(1), 9.5)
  })
})
