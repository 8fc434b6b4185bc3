import assert from 'node:assert/strict'
import { test } from 'node:test'
import { runAll } from './pool.ts'

const NEVER = new AbortController().signal

test('no more than the given number run at the same time, and all of them do', async () => {
  let running = 0
  let most = 0
  const results = await runAll([1, 2, 3, 4, 5], 2, NEVER, async (item) => {
    most = Math.max(most, ++running)
    await Promise.resolve()
    running--
    return item * 10
  })
  assert.deepEqual(results, [10, 20, 30, 40, 50])
  assert.equal(most, 2)
})

test('results stand in the order of the items, however they end', async () => {
  const release: (() => void)[] = []
  const results = await runAll(['first', 'second'], 2, NEVER, async (item) => {
    if (item === 'first') await new Promise<void>((resolve) => release.push(resolve))
    else release[0]!()
    return item
  })
  assert.deepEqual(results, ['first', 'second'])
})

test('each worker has a number of its own', async () => {
  const workers = await runAll([1, 2, 3], 3, NEVER, async (_, worker) => worker)
  assert.deepEqual(workers, [0, 1, 2])
})

test('after an interruption nothing more is started, and what ran is told', async () => {
  const stop = new AbortController()
  const results = await runAll([1, 2, 3, 4], 1, stop.signal, async (item) => {
    if (item === 2) stop.abort()
    return item
  })
  assert.deepEqual(results, [1, 2])
})

test('nothing to do is done at once', async () => {
  assert.deepEqual(await runAll([], 2, NEVER, async () => 1), [])
})
