import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crossovers } from './crossover.ts'

const points = (...ratios: readonly number[]) => ratios.map((ratio, i) => ({ x: 2 ** i, ratio }))

test('a crossover lies between two points as far as their ratios are from 1', () => {
  // Half and twice: in the middle of 2 and 4, on a logarithmic axis.
  const [middle, ...none] = crossovers(points(0.25, 0.5, 2, 4))
  assert.deepEqual(none, [])
  assert.ok(Math.abs(middle!.x - 2 ** 1.5) < 1e-9, `${middle!.x}`)
  assert.deepEqual([middle!.between, middle!.rises], [[2, 4], true])
  // An eighth and twice: three quarters of the way.
  assert.ok(Math.abs(crossovers(points(1 / 8, 2))[0]!.x - 2 ** 0.75) < 1e-9)
})

test('each is found, whichever way it goes, and what is exactly alike is none of its own', () => {
  assert.deepEqual(
    crossovers(points(0.5, 2, 0.5)).map(({ rises }) => rises),
    [true, false],
  )
  assert.deepEqual(crossovers(points(0.5, 1, 0.5)), [])
  assert.deepEqual(crossovers(points(1, 1, 1)), [])
  assert.deepEqual(crossovers(points(0.5, 1, 2))[0]!.between, [1, 4])
})

test('where one is always ahead there is none', () => {
  assert.deepEqual(crossovers(points(2, 3, 4)), [])
  assert.deepEqual(crossovers([]), [])
})
