import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { type CellOutcome, Measurements } from './measurements.ts'
import { fakeExperiment, fakePlan, fakeRun } from './testing/fake.ts'
import { sweepPlot, sweepTable } from './view.ts'

const experiment = fakeExperiment('sizes', { size: [1, 2, 4], way: ['a', 'b'] })
const rate = (value: number, note = value): CellOutcome['outcome'] => ({
  metrics: { rate: value },
  tables: { waits: { columns: ['note'], rows: [[note]] } },
})
const results = Measurements.of(experiment, fakePlan([experiment]).experiments[0]!, [
  fakeRun('size=1 way=a', 2, rate(9000)),
  fakeRun('size=1 way=a', 0, rate(1000)),
  fakeRun('size=1 way=a', 1, rate(2000)),
  fakeRun('size=2 way=a', 0, { error: 'failed' }),
  fakeRun('size=2 way=a', 1, rate(5000)),
  fakeRun('size=4 way=a', 0, { impossible: 'not here' }),
  fakeRun('size=1 way=b', 0, rate(0)),
])

test('a cell has the median of what was measured, in the metric’s unit', () => {
  const cell = results.cell({ size: 1, way: 'a' })
  assert.deepEqual(cell?.summary('rate'), {
    count: 3,
    median: 2,
    low: 1,
    high: 9,
    lowerQuartile: 1.5,
    upperQuartile: 5.5,
  })
  assert.equal(results.cell({ size: 2, way: 'a' })?.summary('rate')?.count, 1)
})

test('what was not measured is undefined', () => {
  assert.equal(results.cell({ size: 4, way: 'a' })?.median('rate'), undefined)
  assert.equal(results.cell({ size: 4, way: 'b' })?.median('rate'), undefined)
  assert.equal(results.cell({ size: 3 }), undefined)
  assert.equal(results.isEmpty, false)
  assert.equal(results.where({ size: 4 }).isEmpty, true)
})

test('a metric that the experiment did not declare is a bug of the experiment', () => {
  assert.throws(() => results.cells[0]!.median('rats'), AssertionFailure)
  assert.throws(() => results.best('rats'), AssertionFailure)
})

test('a recorded table is that of the ordinary repetition', () => {
  assert.deepEqual(results.cell({ size: 1, way: 'a' })?.recorded('waits', 'rate')?.rows, [[2000]])
  assert.equal(results.cell({ size: 1, way: 'a' })?.recorded('others', 'rate'), undefined)
  assert.equal(results.cell({ size: 4, way: 'a' })?.recorded('waits', 'rate'), undefined)
})

test('the best cell is the one that its metric calls better', () => {
  assert.equal(results.best('rate')?.key, 'size=2 way=a')
  const less = { ...experiment, metrics: [{ ...experiment.metrics[0]!, better: 'less' as const }] }
  const other = Measurements.of(less, fakePlan([less]).experiments[0]!, [
    fakeRun('size=1 way=a', 0, rate(3)),
    fakeRun('size=2 way=a', 0, rate(2)),
  ])
  assert.equal(other.best('rate')?.key, 'size=2 way=a')
  assert.equal(results.where({ size: 4 }).best('rate'), undefined)
})

test('a ratio is of two medians, and undefined where one is missing or zero', () => {
  assert.equal(results.ratio('rate', { size: 2, way: 'a' }, { size: 1, way: 'a' }), 2.5)
  assert.equal(results.ratio('rate', { size: 4, way: 'a' }, { size: 1, way: 'a' }), undefined)
  assert.equal(results.ratio('rate', { size: 1, way: 'a' }, { size: 1, way: 'b' }), undefined)
})

test('the values of a parameter come in the order of the sweep', () => {
  assert.deepEqual(results.values('size'), [1, 2, 4])
  assert.deepEqual(results.values('way'), ['a', 'b'])
  assert.deepEqual(results.values('color'), [])
})

test('a table of the sweep has a row for each cell, with dashes for what is missing', () => {
  const table = sweepTable(results, { title: 'T', parameters: { way: 'the way', size: 'the size' } })
  assert.deepEqual(table.columns, [{ title: 'the way' }, { title: 'the size' }, { title: 'rate', unit: 'k/s' }])
  assert.equal(table.rows.length, 6)
  assert.deepEqual(table.rows.at(-1), ['b', 4, undefined])
})

test('a plot of the sweep has a series for each value, without the points that are missing', () => {
  const options = { title: 'P', x: 'size', xTitle: 'bytes', metric: 'rate', by: 'way' } as const
  const lines = sweepPlot(results, { ...options, xScale: 'log', name: (way) => `way ${way}` })
  assert.deepEqual(
    lines.series.map(({ name, points }) => [name, points.map(({ x }) => x)]),
    [
      ['way a', [1, 2]],
      ['way b', [1]],
    ],
  )
  assert.equal(lines.y.title, 'rate (k/s)')
  const bars = sweepPlot(results.where({ way: 'a' }), { ...options, xScale: 'category' })
  assert.deepEqual(bars.series[0]!.points[0], { x: '1', y: 2, low: 1, high: 9 })
})
