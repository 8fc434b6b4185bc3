import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isLevel } from '../cli/snapshot.ts'
import { buckets, busySnapshot, handoff, lockOf, snapshotOf } from '../cli/stat/testing/snapshot.ts'
import type { Counts } from './counts.ts'
import { exposition } from './prometheus.ts'

const SUBJECT = { labels: { title: 'two hosts' }, uptimeUs: 2_500_000, isLevel }

async function linesOf(counts: Counts, subject = SUBJECT): Promise<string[]> {
  const { text } = await exposition(counts, subject)
  return text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
}

const named = (lines: readonly string[], name: string) => lines.filter((line) => new RegExp(`^${name}[{ ]`).test(line))

describe('the counts for Prometheus', () => {
  test('are in its text format', async () => {
    const { type, text } = await exposition(snapshotOf({}), SUBJECT)
    assert.equal(type, 'text/plain; version=0.0.4; charset=utf-8')
    assert.match(text, /^# TYPE damselfly_handoff_depth histogram$/m)
    assert.match(text, /^# TYPE damselfly_counter_total counter$/m)
  })

  test('say what the machine is', async () => {
    const lines = await linesOf(busySnapshot(), { ...SUBJECT, labels: { title: 'a "quoted"\\\n title' } })
    assert.deepEqual(named(lines, 'damselfly_machine_info'), [
      'damselfly_machine_info{title="a \\"quoted\\"\\\\\\n title"} 1',
    ])
    assert.deepEqual(named(lines, 'damselfly_cpus'), ['damselfly_cpus 2'])
    assert.deepEqual(named(lines, 'damselfly_uptime_seconds'), ['damselfly_uptime_seconds 2.5'])
  })

  test('have each counter of each CPU by its set and name; levels are gauges, locks stand elsewhere', async () => {
    const counters = [{ 'ip.sent': 3, 'tcp socket.sent': 1, 'cpu.loadPercent': 40, 'lock.count': 9 }, { 'ip.sent': 4 }]
    const lines = await linesOf(snapshotOf({ cpus: 2, counters }))
    assert.deepEqual(named(lines, 'damselfly_counter_total'), [
      'damselfly_counter_total{cpu="0",set="ip",name="sent"} 3',
      'damselfly_counter_total{cpu="0",set="tcp socket",name="sent"} 1',
      'damselfly_counter_total{cpu="1",set="ip",name="sent"} 4',
    ])
    assert.deepEqual(named(lines, 'damselfly_level'), ['damselfly_level{cpu="0",set="cpu",name="loadPercent"} 40'])
  })

  test('sum hand-offs over their sources', async () => {
    const handoffs = [
      handoff({ source: 0, target: 1, enqueued: 3, dequeued: 2, length: 1, rung: 1, endedEmpty: 4 }),
      handoff({ source: 1, target: 1, enqueued: 10, dequeued: 10, avoided: 2 }),
      handoff({ source: 0, target: 0, enqueued: 7, dequeued: 7 }),
    ]
    const lines = await linesOf(snapshotOf({ cpus: 2, handoffs }))
    assert.deepEqual(named(lines, 'damselfly_handoff_enqueued_total'), [
      'damselfly_handoff_enqueued_total{point="rx",cpu="1"} 13',
      'damselfly_handoff_enqueued_total{point="rx",cpu="0"} 7',
    ])
    for (const line of [
      'damselfly_handoff_dequeued_total{point="rx",cpu="1"} 12',
      'damselfly_handoff_length{point="rx",cpu="1"} 1',
      'damselfly_handoff_rung_total{point="rx",cpu="1"} 1',
      'damselfly_handoff_avoided_total{point="rx",cpu="1"} 2',
      'damselfly_handoff_ended_empty_total{point="rx",cpu="1"} 4',
    ]) {
      assert(lines.includes(line), line)
    }
  })

  test('have cumulative histograms whose last bucket is all', async () => {
    // Depths 1, 2–2, and 4–5; waits of 0.8–1.1 µs and more than 26 s.
    const row = handoff({
      depth: buckets({ 1: 5, 2: 3, 4: 2 }),
      wait: buckets({ 6: 4, 63: 1 }),
      batch: buckets({ 0: 1 }),
    })
    const lines = await linesOf(snapshotOf({ handoffs: [row, { ...row, source: 1, target: 0 }] }))
    const depth = named(lines, 'damselfly_handoff_depth_bucket')
    assert.deepEqual(depth.slice(0, 4), [
      'damselfly_handoff_depth_bucket{le="1",point="rx"} 10',
      'damselfly_handoff_depth_bucket{le="3",point="rx"} 16',
      'damselfly_handoff_depth_bucket{le="7",point="rx"} 20',
      'damselfly_handoff_depth_bucket{le="15",point="rx"} 20',
    ])
    assert.equal(depth.at(-1), 'damselfly_handoff_depth_bucket{le="+Inf",point="rx"} 20')
    assert.deepEqual(named(lines, 'damselfly_handoff_depth_count'), ['damselfly_handoff_depth_count{point="rx"} 20'])
    assert.deepEqual(named(lines, 'damselfly_handoff_depth_sum'), ['damselfly_handoff_depth_sum{point="rx"} 40'])
    const wait = named(lines, 'damselfly_handoff_wait_seconds_bucket')
    assert.deepEqual(wait.slice(0, 2), [
      'damselfly_handoff_wait_seconds_bucket{le="8e-7",point="rx"} 0',
      'damselfly_handoff_wait_seconds_bucket{le="0.0000016",point="rx"} 8',
    ])
    assert.deepEqual(wait.slice(-2), [
      'damselfly_handoff_wait_seconds_bucket{le="13.4217728",point="rx"} 8',
      'damselfly_handoff_wait_seconds_bucket{le="+Inf",point="rx"} 10',
    ])
    assert.equal(
      named(lines, 'damselfly_handoff_batch_bucket')[0],
      'damselfly_handoff_batch_bucket{le="1",point="rx"} 2',
    )
  })

  test('have the profile of the locks, in seconds', async () => {
    const lines = await linesOf(snapshotOf({ locks: [lockOf({ site: 'tcp input' })] }))
    assert.deepEqual(
      lines.filter((line) => line.includes('_lock_')),
      [
        'damselfly_lock_acquisitions_total{lock="group",site="tcp input"} 100',
        'damselfly_lock_waited_total{lock="group",site="tcp input"} 10',
        'damselfly_lock_wanted_total{lock="group",site="tcp input"} 9',
        'damselfly_lock_wait_seconds_total{lock="group",site="tcp input"} 0.00009',
        'damselfly_lock_hold_seconds_total{lock="group",site="tcp input"} 0.00015',
        'damselfly_lock_wait_seconds_max{lock="group",site="tcp input"} 0.00004',
        'damselfly_lock_hold_seconds_max{lock="group",site="tcp input"} 0.000008',
      ],
    )
  })

  test('of two scrapes do not add up: each is of its moment', async () => {
    const first = await linesOf(busySnapshot())
    assert.deepEqual(await linesOf(busySnapshot()), first)
    assert.deepEqual(named(await linesOf(snapshotOf({})), 'damselfly_counter_total'), [])
  })

  test('have no more series for more pairs of CPUs', async () => {
    const all = (cpus: number) =>
      Array.from({ length: cpus * cpus }, (_, i) =>
        handoff({ source: i % cpus, target: Math.floor(i / cpus), enqueued: 1 }),
      )
    const series = async (cpus: number) => (await linesOf(snapshotOf({ cpus, handoffs: all(cpus) }))).length
    const [four, eight, twelve] = [await series(4), await series(8), await series(12)]
    assert.equal(eight - four, twelve - eight)
  })
})
