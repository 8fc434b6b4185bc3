import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Handoffs, POINT, readHandoffs } from './handoff.ts'
import { HANDOFF_POINTS } from './layout.ts'
import { Memory } from './memory.ts'

const create = () => Memory.create({ cpus: 3, memoryBytes: 8 * 1024 * 1024 }, false)

describe('handoff', () => {
  test('the two sides of each point are counted apart from all others', () => {
    const memory = create()
    const cpus = [0, 1, 2].map((cpu) => new Handoffs(memory, cpu))
    let n = 0
    const expected: unknown[] = []
    for (const point of HANDOFF_POINTS) {
      for (const source of [0, 1, 2]) {
        for (const target of [0, 1, 2]) {
          n++
          const isProducers = ['ring', 'rx', 'free', 'accept'].includes(point)
          const [counting, peer] = isProducers ? [source, target] : [target, source]
          cpus[counting]!.enqueued(cpus[counting]!.record(POINT[point], peer), n)
          cpus[target]!.served(cpus[target]!.record(POINT[point], source), n - 1, false)
          cpus[counting]!.dropped(cpus[counting]!.record(POINT[point], peer))
          cpus[source]!.doorbell(cpus[source]!.record(POINT[point], target), n % 2 === 0)
          expected.push([point, source, target, n, n - 1, 1, n % 2, 1 - (n % 2)])
        }
      }
    }
    assert.deepEqual(
      readHandoffs(memory).map((r) => [
        r.point,
        r.source,
        r.target,
        r.enqueued,
        r.dequeued,
        r.dropped,
        r.avoided,
        r.rung,
      ]),
      expected,
    )
  })

  test('depth, waiting and batches are histograms, and a batch says why it ended', () => {
    const memory = create()
    const handoffs = new Handoffs(memory, 1)
    const record = handoffs.record(POINT.port, 0)
    for (const depth of [1, 1, 2, 3]) handoffs.depth(record, depth)
    for (const us of [-5, 0, 0.1, 100, 3e6]) handoffs.waited(record, us)
    handoffs.served(record, 32, true)
    handoffs.served(record, 3, false)
    const [reading] = readHandoffs(memory)
    assert.deepEqual([reading!.source, reading!.target, reading!.dequeued], [0, 1, 35])
    assert.deepEqual([reading!.depth.total, reading!.depth.max, reading!.depth.quantile(0.5)], [4, 3, 1])
    assert.equal(reading!.wait.total, 5)
    assert.ok(reading!.wait.max >= 3e7 && reading!.wait.quantile(0.4) === 0)
    assert.deepEqual([reading!.batches, reading!.endedLimit, reading!.endedEmpty], [2, 1, 1])
  })

  test('no wait is so long that it is counted elsewhere than in the histogram of waits', () => {
    const memory = create()
    const handoffs = new Handoffs(memory, 1)
    const record = handoffs.record(POINT.port, 0)
    handoffs.served(record, 1, false)
    for (const us of [214e6, 215e6, 429e6, 429496729.1, 429496729.6, 1e9, 1e12]) handoffs.waited(record, us)
    const [reading] = readHandoffs(memory)
    assert.equal(reading!.wait.total, 7)
    assert.equal(reading!.depth.total, 0)
    assert.deepEqual([reading!.enqueued, reading!.dequeued, reading!.dropped], [0, 1, 0])
  })
})
