import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'

test("a program's own threads may load the machine: they are no CPUs", async () => {
  for (const workerData of [undefined, null, 7, { memory: 'mine' }]) {
    const url = new URL('./threads.js', import.meta.url).href
    const worker = new Worker(
      `import(${JSON.stringify(url)}).then((m) => require('node:worker_threads').parentPort.postMessage(typeof m.ThreadsMachine))`,
      { eval: true, workerData },
    )
    const answer = await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject))
    assert.equal(answer, 'function')
    await worker.terminate()
  }
})
