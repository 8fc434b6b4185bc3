import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Settling, warmUpOf } from './settle.ts'

/** How many rates it took. */
function settledAfter(rates: readonly number[]): number | undefined {
  const settling = new Settling(0)
  const at = rates.findIndex((rate) => settling.add(rate, 0))
  return at < 0 ? undefined : at + 1
}

test('a rate that stays has settled when there is enough to compare', () => {
  assert.equal(settledAfter([100, 100, 100, 100, 100, 100, 100]), 6)
})

test('a rate that rises has not settled until it has risen', () => {
  assert.equal(settledAfter([10, 20, 40, 80, 100, 101, 99, 100, 101, 100]), 9)
  assert.equal(settledAfter([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]), undefined)
})

test('one stretch that something disturbed is not looked at', () => {
  assert.equal(settledAfter([100, 20, 100, 100, 300, 100]), 6)
})

test('a rate that stays before anything was done has not settled', () => {
  const settling = new Settling(1)
  const settled = Array.from({ length: 20 }, (_, i) => settling.add(100, i / 10))
  assert.equal(settled.indexOf(true), 10)
})

test('a short measurement warms up in short stretches, and a long one not longer than it measures', () => {
  const rounded = (seconds: number) => Object.values(warmUpOf(seconds)).map((value) => Number(value.toFixed(4)))
  assert.deepEqual(rounded(0.04), [0.01, 0.08, 0.4])
  assert.deepEqual(rounded(1), [0.05, 0.4, 2])
  assert.deepEqual(rounded(10), [0.05, 0.4, 10])
})

test('what stands still never settles', () => {
  assert.equal(settledAfter([0, 0, 0, 0, 0, 0, 0, 0]), undefined)
})
