import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { libcUnavailable } from '../../device/linux/library.ts'
import { tun as experiment } from '../experiments/tun.ts'
import { isMeasured } from '../outcome.ts'
import { peersUnavailable } from '../tun/peer.ts'
import tun from './tun.ts'

const skip = peersUnavailable() ?? libcUnavailable() ?? false
const SECONDS = 0.1

for (const [load, connections, what] of [
  ['bulk-out', 1, 'bits'],
  ['exchange', 8, 'exchanges'],
  ['http', 8, 'exchanges'],
] as const) {
  test(`a load of ${load} is measured on both sides, and leaves no namespace`, { skip }, async () => {
    const outcome = await tun.run({ load, connections }, SECONDS, 1)
    assert(isMeasured(outcome), JSON.stringify(outcome))
    const { metrics } = outcome
    const kernel = metrics[`kernel${what[0]!.toUpperCase()}${what.slice(1)}`]!
    assert(metrics[what]! > 0 && kernel > 0)
    assert.equal(metrics.ratio, metrics[what]! / kernel)
    const names = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    assert(!names.includes(`damselfly-${process.pid}-`), names)
  })
}

test('where it cannot be measured it says why', async () => {
  const { PATH } = process.env
  try {
    process.env.PATH = '/nowhere'
    const outcome = await tun.run({ load: 'exchange', connections: 1 }, SECONDS, 1)
    assert('impossible' in outcome && outcome.impossible.length > 0)
  } finally {
    process.env.PATH = PATH
  }
})

test('parameters that cannot be are refused with a sentence', async () => {
  await assert.rejects(tun.run({ load: 'flood', connections: 1 }, SECONDS, 1), /load is flood: give one of bulk-in/)
  await assert.rejects(tun.run({ load: 'http', connections: 0 }, SECONDS, 1), /connections is 0/)
  await assert.rejects(tun.run({ load: 'http', connections: 1, spins: 1 }, SECONDS, 1), /spins is 1/)
})

test('the cells of the experiment are taken as they are', async () => {
  const { PATH } = process.env
  try {
    // What cannot be is refused before anybody looks for programs.
    process.env.PATH = '/nowhere'
    for (const full of [false, true]) {
      for (const { parameters } of experiment.cells({ full, processors: 2 })) {
        assert('impossible' in (await tun.run(parameters, SECONDS, 1)))
      }
    }
  } finally {
    process.env.PATH = PATH
  }
})
