import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { delivered, difference, type HandoffRow, type Snapshot, sum } from './snapshot.ts'

const list = (value: number) => Array.from({ length: 64 }, (_, i) => value * i)

/** Every count is `value`, or a multiple of it. */
function row(point: HandoffRow['point'], source: number, target: number, value: number): HandoffRow {
  return {
    point,
    source,
    target,
    enqueued: value,
    dequeued: value * 2,
    dropped: value * 3,
    batches: value * 4,
    endedEmpty: value * 5,
    endedLimit: value * 6,
    rung: value * 7,
    avoided: value * 8,
    depth: list(value),
    wait: list(value * 2),
    batch: list(value * 3),
  }
}

function snapshot(change: Partial<Snapshot>): Snapshot {
  return { version: 1, pid: 5, title: 'a machine', cpus: 2, atUs: 1e6, counters: [{}, {}], handoffs: [], ...change }
}

describe('a snapshot', () => {
  test('adds up a counter over the CPUs; one that a CPU does not have is 0', () => {
    const both = snapshot({ counters: [{ 'ip.delivered': 3, 'ip.sent': 1 }, { 'ip.delivered': 4 }] })
    assert.deepEqual([sum(both, 'ip.delivered'), sum(both, 'ip.sent'), sum(both, 'ip.none')], [7, 1, 0])
    assert.equal(delivered(both), 7)
  })
})

describe('the difference of two snapshots', () => {
  test('is what was counted between them, on each CPU', () => {
    const earlier = snapshot({ atUs: 1e6, counters: [{ 'ip.sent': 3 }, { 'ip.sent': 10 }] })
    const later = snapshot({ atUs: 3.5e6, counters: [{ 'ip.sent': 5, 'udp.sent': 2 }, { 'ip.sent': 10 }] })
    const change = difference(later, earlier)
    assert.equal(change.atUs, 2.5e6)
    assert.deepEqual(change.counters, [{ 'ip.sent': 2, 'udp.sent': 2 }, { 'ip.sent': 0 }])
    assert.deepEqual([change.title, change.pid, change.cpus], ['a machine', 5, 2])
  })

  test('leaves alone what tells a level and not a count', () => {
    const levels = (percent: number) => [{ 'cpu.loadPercent': percent, 'reassembly.held': percent }, {}]
    const change = difference(snapshot({ counters: levels(40) }), snapshot({ counters: levels(90) }))
    assert.deepEqual(change.counters[0], { 'cpu.loadPercent': 40, 'reassembly.held': 40 })
  })

  test('pairs hand-offs by point, source and target, whatever their order', () => {
    const earlier = snapshot({ handoffs: [row('rx', 0, 1, 1), row('ring', 0, 1, 5)] })
    const later = snapshot({ handoffs: [row('ring', 0, 1, 7), row('rx', 1, 0, 4), row('rx', 0, 1, 3)] })
    assert.deepEqual(difference(later, earlier).handoffs, [
      row('ring', 0, 1, 2),
      row('rx', 1, 0, 4),
      row('rx', 0, 1, 2),
    ])
  })

  test('of a snapshot with itself is nothing', () => {
    const one = snapshot({ counters: [{ 'ip.sent': 3 }, {}], handoffs: [row('rx', 0, 1, 9)] })
    assert.deepEqual(
      difference(one, one),
      snapshot({ atUs: 0, counters: [{ 'ip.sent': 0 }, {}], handoffs: [row('rx', 0, 1, 0)] }),
    )
  })
})
