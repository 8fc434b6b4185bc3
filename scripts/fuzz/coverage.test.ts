import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Coverage } from './coverage.ts'

test('an edge is news once for each class of counts', () => {
  const edges = new Uint8Array(8)
  const coverage = new Coverage(edges)
  const take = (at: number, count: number) => {
    coverage.begin()
    edges[at] = count
    return coverage.take()
  }
  assert.deepEqual(
    [1, 1, 2, 3, 4, 7, 8, 200, 255, 128].map((count) => take(5, count)),
    [1, 0, 1, 1, 1, 0, 1, 1, 0, 0],
  )
  assert.equal(take(0, 1), 1)
  assert.deepEqual([coverage.edges, coverage.classes], [2, 7])
})
