import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AssertionFailure } from '../base/assert.ts'
import { median, summarize } from './statistics.ts'

const values = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 20 })

test('the median of an odd number of values is the middle one, of an even number halfway between the two', () => {
  assert.equal(median([9, 1, 5]), 5)
  assert.equal(median([9, 1, 5, 7]), 6)
  assert.equal(median([3]), 3)
})

test('the quartiles lie on straight lines between the values', () => {
  assert.deepEqual(summarize([5, 1, 2, 4, 3]), {
    count: 5,
    median: 3,
    low: 1,
    high: 5,
    lowerQuartile: 2,
    upperQuartile: 4,
  })
  assert.equal(summarize([0, 10]).lowerQuartile, 2.5)
  assert.equal(summarize([0, 10]).upperQuartile, 7.5)
})

test('low, quartiles, median and high never pass each other, whatever the values and their order', () => {
  fc.assert(
    fc.property(values, (list) => {
      const before = [...list]
      const { count, low, lowerQuartile, median, upperQuartile, high } = summarize(list)
      assert.equal(count, list.length)
      assert.equal(low, Math.min(...list) + 0)
      assert.equal(high, Math.max(...list) + 0)
      // Rounding may move an interpolated value by its last bits, and nothing more.
      const slack = Number.EPSILON * 4 * Math.max(Math.abs(low), Math.abs(high))
      const order = [low, lowerQuartile, median, upperQuartile, high]
      for (let i = 1; i < order.length; i++) assert.ok(order[i - 1]! <= order[i]! + slack, order.join(' '))
      assert.deepEqual(list, before)
      assert.deepEqual(summarize([...list].reverse()), summarize(list))
    }),
    { seed: 1, numRuns: 500 },
  )
})

test('nothing is said of no value', () => {
  assert.throws(() => summarize([]), AssertionFailure)
})
