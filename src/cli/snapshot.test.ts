import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { MachineView } from '../machine/machine.ts'
import { ByHand } from '../machine/testing/sim.ts'
import { delivered, difference, type HandoffRow, perSecond, type Snapshot, sum, snapshot as take } from './snapshot.ts'
import { handoff, lockOf, snapshotOf } from './stat/testing/snapshot.ts'

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
    length: 6,
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

const snapshot = (change: Partial<Snapshot>) => snapshotOf({ cpus: 2, counters: [{}, {}], ...change })

describe('a snapshot', () => {
  test('adds up a counter over the CPUs; one that a CPU does not have is 0', () => {
    const both = snapshot({ counters: [{ 'ip.delivered': 3, 'ip.sent': 1 }, { 'ip.delivered': 4 }] })
    assert.deepEqual([sum(both, 'ip.delivered'), sum(both, 'ip.sent'), sum(both, 'ip.none')], [7, 1, 0])
    assert.equal(delivered(both), 7)
  })

  test('of a machine says what it was booted as, and what its owner adds', () => {
    const { memory } = new ByHand(2, { ringEntries: 32 })
    const about = { discipline: 'connp-l', groups: 64 }
    const one = take(new MachineView(memory), 'by hand', 5, about)
    assert.deepEqual(
      [one.version, one.pid, one.title, one.atUs, one.cpus, one.ringEntries, one.memoryBytes, one.host],
      [1, process.pid, 'by hand', 5, 2, 32, 16 * 1024 * 1024, 'one thread'],
    )
    assert.deepEqual([one.discipline, one.groups], ['connp-l', 64])
    assert.deepEqual([one.counters.length, one.waiting.length, one.locks, one.handoffs], [2, 2, [], []])
    assert.equal(take(new MachineView(memory), 'by hand', 5, { host: 'sim' }).host, 'sim')
    assert.deepEqual(JSON.parse(JSON.stringify(one)), one)
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

describe('the difference of locks', () => {
  test('is by class and site, with averages of its own; maxima are since boot', () => {
    const earlier = snapshot({
      locks: [
        lockOf({ name: 'other' }),
        lockOf({ site: 'elsewhere', count: 1 }),
        lockOf({ count: 60, totalUs: 50, waitTotalUs: 80 }),
      ],
    })
    const [group, fresh] = difference(snapshot({ locks: [lockOf({}), lockOf({ name: 'new' })] }), earlier).locks
    const { count, totalUs, waitTotalUs, averageUs, waitAverageUs, maxUs, waitMaxUs } = group!
    assert.deepEqual(
      { count, totalUs, waitTotalUs, averageUs, waitAverageUs, maxUs, waitMaxUs },
      { count: 40, totalUs: 100, waitTotalUs: 10, averageUs: 2.5, waitAverageUs: 0.25, maxUs: 8, waitMaxUs: 40 },
    )
    assert.deepEqual(fresh, lockOf({ name: 'new' }))
  })

  test('is no division by zero where it was not taken', () => {
    const same = snapshot({ locks: [lockOf({})] })
    const [group] = difference(same, same).locks
    assert.deepEqual([group?.count, group?.averageUs, group?.waitAverageUs], [0, 0, 0])
  })
})

describe('counts for each second', () => {
  test('are divided by the time; levels, lengths and distributions are not', () => {
    const row = handoff({ enqueued: 10, dequeued: 8, length: 2, rung: 4, depth: list(1) })
    const rates = perSecond(
      snapshot({
        atUs: 4e6,
        counters: [{ 'ip.sent': 8, 'cpu.loadPercent': 40 }, {}],
        handoffs: [row],
        locks: [lockOf({})],
      }),
    )
    assert.deepEqual(rates.counters, [{ 'ip.sent': 2, 'cpu.loadPercent': 40 }, {}])
    assert.deepEqual(rates.handoffs, [{ ...row, enqueued: 2.5, dequeued: 2, rung: 1 }])
    assert.deepEqual([rates.locks[0]?.count, rates.locks[0]?.waitTotalUs, rates.locks[0]?.averageUs], [25, 22.5, 1.5])
  })

  test('are the counts where no time has passed', () => {
    const none = snapshot({ atUs: 0, counters: [{ 'ip.sent': 8 }, {}] })
    assert.deepEqual(perSecond(none), none)
  })
})
