import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { epoch, monotonicClock, VirtualClock } from './clock.ts'

describe('clock', () => {
  test('a virtual clock moves only when told to, and never back', () => {
    const clock = new VirtualClock()
    assert.equal(clock.now(), 0)
    clock.advanceTo(10.5)
    clock.advanceTo(3)
    assert.equal(clock.now(), 10.5)
  })

  test('a monotonic clock begins near 0 at its epoch and does not go back', () => {
    const clock = monotonicClock(epoch())
    let last = clock.now()
    assert.ok(last >= -1000 && last < 60e6)
    for (let i = 0; i < 1000; i++) {
      const now = clock.now()
      assert.ok(now >= last)
      last = now
    }
  })

  test('the epoch knows the wall clock', () => {
    const before = Date.now()
    const { wallUs } = epoch()
    assert.ok(wallUs >= before * 1000 && wallUs <= Date.now() * 1000)
  })

  test('a worker that was started later has the same time', async () => {
    const since = epoch()
    const here = monotonicClock(since)
    const source = `
      const { workerData, parentPort } = require('node:worker_threads')
      import(workerData.module).then(({ monotonicClock }) => {
        parentPort.postMessage(monotonicClock(workerData.since).now())
      })`
    const module = new URL(`./clock${import.meta.url.slice(import.meta.url.lastIndexOf('.'))}`, import.meta.url).href
    const before = here.now()
    const worker = new Worker(source, { eval: true, workerData: { since, module } })
    const there = await new Promise<number>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    // Both clocks are taken at different moments, so they may be some µs apart.
    assert.ok(there >= before - 1000 && there <= here.now() + 1000, `${before} ${there} ${here.now()}`)
  })
})
