import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Histogram } from '../../base/histogram.ts'
import { LoadQueueCounters } from '../../device/load/counters.ts'
import type { LoadOptions } from '../../device/load/options.ts'
import type { LoadCounts } from '../../device/load/reading.ts'
import type { HandoffRow } from '../../metrics/counts.ts'
import { isMeasured } from '../outcome.ts'
import { measured, type Reading } from './server-figures.ts'

const LOAD: LoadOptions = {
  name: 'load0',
  cpus: [0, 1],
  workload: 'exchange',
  connections: 2,
  server: '10.0.0.1',
  port: 7,
}

function reading(ms: number, load: Partial<LoadCounts>, cpu: { readonly [name: string]: number }): Reading {
  const none = Object.fromEntries(LoadQueueCounters.counters.map((name) => [name, 0])) as LoadCounts
  return {
    ms,
    load: { counts: { ...none, ...load }, latency: new Histogram() },
    broken: 0,
    counts: { counters: [cpu, {}], handoffs: [], locks: [] },
  }
}

const lock = (site: string, count: number, countLock: number, name = 'giant', totalUs = 0, waitTotalUs = 0) => {
  const times = { maxUs: 0, waitMaxUs: 0, totalUs, waitTotalUs, averageUs: 0, waitAverageUs: 0, countHold: 0 }
  return { name, site, count, countLock, ...times }
}

const handoff = (source: number, enqueued: number, rung: number): HandoffRow => ({
  ...({
    point: 'netisr',
    source,
    target: 0,
    enqueued,
    dequeued: enqueued,
    dropped: 0,
    length: 0,
    batches: enqueued / 5,
  } as const),
  ...{ endedEmpty: 0, endedLimit: 0, rung, avoided: 2, depth: [], wait: [], batch: [] },
})

test('figures are differences of two readings, by time and by packet', () => {
  const before = reading(1000, { exchanges: 100 }, { 'ip.delivered': 50, 'cpu.sleeps': 1 })
  const first = { ...before, counts: { ...before.counts, handoffs: [handoff(1, 5, 1)], locks: [lock('input', 10, 2)] } }
  // The doorbells of the load itself are none of the stack's.
  const cpu = {
    ...{ 'ip.delivered': 150, 'cpu.doorbellsRung': 77, 'cpu.sleeps': 11, 'cpu.contextSwitches': 5 },
    ...{ 'cpu.busyUs': 300, 'cpu.sleepUs': 100 },
  }
  const after = reading(3000, { exchanges: 500 }, cpu)
  after.load.latency.record(10_000)
  const second = {
    ...after,
    counts: {
      ...after.counts,
      handoffs: [handoff(0, 10, 3), handoff(1, 45, 18)],
      locks: [lock('input', 60, 12), lock('output', 50, 10)],
    },
  }
  const outcome = measured(LOAD, first, second)
  assert(isMeasured(outcome))
  const { p50, p99, p999, ...metrics } = outcome.metrics
  assert.deepEqual(metrics, {
    rate: 200,
    exchanges: 200,
    packets: 50,
    doorbells: 0.2,
    locks: 1,
    contended: 0.2,
    contention: 0.2,
    queued: 1,
    handoffs: 0.5,
    resumes: 0.05,
    cost: 3000,
    together: 5,
    sleeps: 0.1,
    switches: 0.15,
    idle: 0.25,
    global: 0.2,
  })
  // Tenths of a µs, as far as the buckets tell.
  assert(p50! > 750 && p50! < 1250 && p99 === p50 && p999 === p50, `${p50}`)
  assert.deepEqual(outcome.tables!.locks!.rows, [
    ['giant', 'input', 50, 0.5, 10, 0.2],
    ['giant', 'output', 50, 0.5, 10, 0.2],
  ])
  assert.deepEqual(outcome.tables!.queues!.rows, [
    ['netisr', 'the same CPU', 10, 0.1, 3, 2],
    ['netisr', 'another CPU', 40, 0.4, 17, 0],
  ])
})

test('global locks are those of the table where there is one, else those of the groups', () => {
  const global = (locks: ReturnType<typeof lock>[]) => {
    const after = reading(1000, { exchanges: 1 }, { 'ip.delivered': 1 })
    const outcome = measured(LOAD, reading(0, {}, {}), { ...after, counts: { ...after.counts, locks } })
    assert(isMeasured(outcome))
    return outcome.metrics.global
  }
  const group = lock('input', 100, 50, 'connection group')
  const wheel = lock('arm', 100, 100, 'timer wheel')
  assert.equal(global([group, wheel]), 0.5)
  assert.equal(global([group, wheel, lock('find', 100, 10, 'tcp table')]), 0.1)
  assert.equal(global([wheel]), undefined)
})

test('the times of locks are shown where they were measured', () => {
  const before = reading(0, {}, {})
  const after = reading(500, { exchanges: 1 }, { 'ip.delivered': 100 })
  const locks = [lock('input', 200, 10, 'giant', 600, 50_000), lock('output', 100, 0, 'giant', 300)]
  const outcome = measured(LOAD, before, { ...after, counts: { ...after.counts, locks } }, true)
  assert(isMeasured(outcome))
  // 300 times in all, 10 of them with waiting; and two CPUs for half a second.
  assert.deepEqual([outcome.metrics.held, outcome.metrics.waited, outcome.metrics.waiting], [3, 5000, 0.05])
  assert.deepEqual(outcome.tables!.locks!.columns.slice(-2), ['µs held', 'µs waited'])
  assert.deepEqual(outcome.tables!.locks!.rows[0], ['giant', 'input', 200, 2, 10, 0.05, 3, 5000])
})

test('a load that met errors has no figures, but a sentence that names them', () => {
  const before = reading(0, {}, { 'ip.delivered': 0 })
  const after = reading(1000, { exchanges: 9, errorStalled: 3, errorReset: 1 }, { 'ip.delivered': 9 })
  assert.throws(() => measured(LOAD, before, after), /met errors, .*: errorStalled 3, errorReset 1$/)
  const broken = { ...reading(1000, { exchanges: 9 }, { 'ip.delivered': 9 }), broken: 2 }
  assert.throws(() => measured(LOAD, before, broken), /connections that the server lost 2$/)
})

test('a load that stands still has no figures', () => {
  const still = reading(0, {}, { 'ip.delivered': 5 })
  assert.throws(() => measured(LOAD, still, { ...still, ms: 500 }), /no packet was delivered in 0\.50 s/)
})

test('errors count more than a load that is too much', () => {
  const before = reading(0, {}, { 'ip.delivered': 0 })
  const tooMuch = { ...LOAD, offered: 500 }
  const overrun = reading(1000, { errorOverrun: 1 }, { 'ip.delivered': 9 })
  assert.deepEqual(measured(tooMuch, before, overrun), {
    impossible: 'it does not keep up with 1000 questions a second',
  })
  const both = reading(1000, { errorOverrun: 1, errorNoMbuf: 1 }, { 'ip.delivered': 9 })
  assert.throws(() => measured(tooMuch, before, both), /errorNoMbuf 1$/)
})
