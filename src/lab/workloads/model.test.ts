// The stack itself on simulated CPUs with costs: round ones (testing/calibration.ts), so that what must come out can be said.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { CellParameters } from '../experiment.ts'
import { isMeasured } from '../outcome.ts'
import { testCalibration } from '../testing/calibration.ts'
import model, { simulateServer } from './model.ts'

async function metrics(cell: CellParameters, calibration = testCalibration()) {
  const parameters = { load: 'exchange', connections: 16 * Number(cell.cpus), ...cell }
  const outcome = await simulateServer(parameters, 1, 5, calibration)
  assert.ok(isMeasured(outcome))
  return outcome.metrics as { readonly [name: string]: number }
}

describe('the model of a server', () => {
  test('adds up on one CPU: what a packet costs is what it takes', async () => {
    const { rate, waiting } = await metrics({ cpus: 1, discipline: 'connp-t' })
    // 1300 ns of work in turns of 16, less the turns that the work was measured in.
    const ns = 1000 - 1000 / 64 + 300 + 1000 / 16
    assert.ok(Math.abs(1e9 / rate! - ns) < 0.03 * ns, `${1e9 / rate!} and ${ns}`)
    assert.equal(waiting, 0)
  })

  test('has connp-t do twice as much on two CPUs, and under one lock not even a half more', async () => {
    const rate = async (cell: CellParameters) => (await metrics(cell)).rate!
    const free = (await rate({ cpus: 2, discipline: 'connp-t' })) / (await rate({ cpus: 1, discipline: 'connp-t' }))
    assert.ok(Math.abs(free - 2) < 0.06, `${free}`)
    const two = await metrics({ cpus: 2, discipline: 'giant' })
    const locked = two.rate! / (await rate({ cpus: 1, discipline: 'giant' }))
    assert.ok(locked < 1.5, `${locked}`)
    assert.ok(two.waiting! > 0.1 && two.contention! > 0.005)
    // Nobody waits where each has groups of its own.
    assert.equal((await metrics({ cpus: 2, discipline: 'connp-l' })).contention, 0)
  })

  test('has the readers of one table wait for its line when there are many', async () => {
    const many = await metrics({ cpus: 8, discipline: 'msgp' })
    const far = await metrics({ cpus: 8, discipline: 'msgp' }, testCalibration({ line: 1000 }))
    assert.ok(far.rate! < 0.6 * many.rate!, `${far.rate} and ${many.rate}`)
    assert.ok(far.moving! > 0.3)
    const near = await metrics({ cpus: 8, discipline: 'connp-l' }, testCalibration({ line: 1000 }))
    assert.ok(near.rate! > 1.5 * far.rate!)
  })

  test('knows short connections too', async () => {
    const { connections } = await metrics({ cpus: 2, discipline: 'connp-t', load: 'short' })
    assert.ok(connections! > 100_000, `${connections}`)
  })

  test('is the same, byte for byte, for the same cell, seed and costs', async () => {
    const run = async (seed: number, cell: CellParameters) => {
      const all = { cpus: 3, load: 'exchange', connections: 48, ...cell }
      return JSON.stringify(await simulateServer(all, 1, seed, testCalibration()))
    }
    for (const discipline of ['giant', 'connp-t'])
      assert.equal(await run(1, { discipline }), await run(1, { discipline }))
    const wrong = { discipline: 'connp-t', wrong: 0.5 }
    const first = await run(1, wrong)
    assert.equal(await run(1, wrong), first)
    assert.match(first, /"rate":[1-9]/)
  })

  test('says so where the costs of a cell were not measured, or its parameters cannot be', async () => {
    const cell = { cpus: 1, discipline: 'connp-t', load: 'udp', each: 4, ms: 1 }
    await assert.rejects(model.run(cell, 0.1, 1), /the calibration has nothing of load "udp" under connp-t/)
    await assert.rejects(model.run({ ...cell, ms: 0 }, 0.1, 1), /ms is 0: give a time/)
    await assert.rejects(model.run({ ...cell, each: 'many' }, 0.1, 1), /each and cpus are numbers/)
    await assert.rejects(model.run(cell, 0.1, 1, 'nowhere.json'), /there is no calibration nowhere\.json/)
  })
})
