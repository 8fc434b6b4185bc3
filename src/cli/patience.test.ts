import assert from 'node:assert/strict'
import { test } from 'node:test'
import { askFor } from './patience.ts'

/** Answers with how often it was asked, and notes for how long each time, and what it was told of the answer before. */
function counting() {
  const asked: [number, number | undefined][] = []
  return {
    asked,
    ask: async (patienceMs: number, earlier: number | undefined) => asked.push([patienceMs, earlier]),
  }
}

test('no order takes longer than an instance may take to answer, however long the user waits', async () => {
  const { asked, ask } = counting()
  assert.equal(await askFor(4500, ask, () => false), 3)
  assert.deepEqual(asked, [
    [2000, undefined],
    [2000, 1],
    [500, 2],
  ])
})

test('the first answer that is enough ends it', async () => {
  const { asked, ask } = counting()
  assert.equal(await askFor(60_000, ask, (answer) => answer === 2), 2)
  assert.equal(asked.length, 2)
})

test('who does not wait asks once', async () => {
  const { asked, ask } = counting()
  assert.equal(await askFor(0, ask, () => false), 1)
  assert.deepEqual(asked, [[0, undefined]])
})
