import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { columnText, duration, entryText, figure, spread } from './format.ts'
import { summarize } from './statistics.ts'

test('a figure has three digits that mean something', () => {
  const cases: [number, string][] = [
    [0, '0'],
    [7, '7'],
    [1234567, '1 234 567'],
    [-1234, '-1 234'],
    [1234.6, '1 235'],
    [999.6, '1 000'],
    [123.4, '123'],
    [12.34, '12.3'],
    [9.996, '10.0'],
    [99.96, '100'],
    [1.5, '1.50'],
    [0.012345, '0.0123'],
    [0.00099999, '0.00100'],
    [1.25e-9, '1.3e-9'],
    [Number.NaN, '–'],
    [Number.POSITIVE_INFINITY, '–'],
  ]
  for (const [value, text] of cases) assert.equal(figure(value), text)
})

test('a figure is within half a percent of its number', () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-5, max: 1e12, noNaN: true }), (value) => {
      const read = Number(figure(value).replaceAll(' ', ''))
      assert.ok(Math.abs(read - value) <= value * 0.00501, `${value} is shown as ${figure(value)}`)
    }),
    { seed: 1, numRuns: 500 },
  )
})

test('a summary is its median with the spread, or only the number where there is none to see', () => {
  assert.equal(spread(summarize([3, 1, 2])), '2 (1 to 3)')
  assert.equal(spread(summarize([2])), '2')
  assert.equal(spread(summarize([2.0001, 2.0002])), '2.00')
})

test('an entry of a table is text', () => {
  assert.equal(entryText(undefined), '–')
  assert.equal(entryText(true), 'yes')
  assert.equal(entryText(false), 'no')
  assert.equal(entryText('word'), 'word')
  assert.equal(entryText(1024), '1 024')
  assert.equal(entryText(summarize([1, 3])), '2 (1 to 3)')
  assert.equal(columnText({ title: 'rate', unit: 'M/s' }), 'rate (M/s)')
  assert.equal(columnText({ title: 'way', unit: '' }), 'way')
  assert.equal(columnText({ title: 'way' }), 'way')
})

test('a duration has two units at most', () => {
  const cases: [number, string][] = [
    [-5, '0 s'],
    [400, '0 s'],
    [42_000, '42 s'],
    [60_000, '1 min'],
    [200_000, '3 min 20 s'],
    [3_600_000, '1 h'],
    [7_500_000, '2 h 5 min'],
  ]
  for (const [ms, text] of cases) assert.equal(duration(ms), text)
})
