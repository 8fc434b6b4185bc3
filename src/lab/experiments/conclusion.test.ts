// The conclusions of the experiments about the stack, on results that were made up: each has to say who wins, and to say it
// when the message design loses.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makePlan } from '../plan.ts'
import { boundaries } from './boundaries.ts'
import { coalescing } from './coalescing.ts'
import { disciplines } from './disciplines.ts'
import { steering } from './steering.ts'
import { made } from './testing/made.ts'
import { workloads } from './workloads.ts'

const ALL = [disciplines, workloads, steering, coalescing, boundaries]

test('the conclusion about the disciplines says where messages win, and how often locks are waited for', () => {
  const results = made(disciplines, ({ discipline, connections }) => ({
    exchanges: [discipline === 'connp-t' ? 900_000 : 600_000],
    p99: [100],
    contention: [discipline === 'giant' && connections === 1024 ? 0.25 : 0],
  }))
  const text = disciplines.conclude(results)
  assert.match(text, /With 64 connections on 2 CPUs connp-t wins with 900 against 600 thousand .* \(1\.50 times\)/)
  assert.match(text, /by giant with 1 024 connections on 2 CPUs: at 25 % of the times/)
  assert.doesNotMatch(text, /loses/)
})

test('the conclusion about the disciplines says where locks win, in throughput and in latency', () => {
  const results = made(disciplines, ({ discipline }) => ({
    exchanges: [discipline === 'connp-l' ? 900_000 : 600_000],
    p99: [discipline === 'connp-t' ? 300 : 100],
    contention: [0],
  }))
  const text = disciplines.conclude(results)
  assert.match(text, /connp-t loses with 600 against 900 thousand exchanges a second of connp-l \(0\.667 times\)/)
  assert.match(text, /Of latency \(99 %\) connp-t loses with 300 against 100 µs/)
  assert.match(text, /No lock was ever found held/)
})

test('the conclusion about workloads counts what is won and lost, each load in its own unit', () => {
  const results = made(workloads, ({ load, discipline }) => {
    const isMessages = discipline === 'connp-t'
    return load === 'short' ? { connections: [isMessages ? 1000 : 2000] } : { bits: [isMessages ? 3e9 : 1e9] }
  })
  const text = workloads.conclude(results)
  assert.match(text, /^Of 2 loads the message design wins 1 and loses 1 /)
  assert.match(text, /Receiving in bulk: connp-t wins with 3 against 1 Gbit\/s of connp-l/)
  assert.match(text, /Short connections: connp-t loses with 1 against 2 thousand a second/)
})

test('the plot of workloads is drawn by what connp-l does', () => {
  const results = made(workloads, ({ load, discipline }) => {
    const value = discipline === 'connp-t' ? [2000, 4000] : [1000, 1000]
    return load === 'short' ? { connections: value } : { bits: value }
  })
  const series = workloads.plot(results).series.find(({ name }) => name === 'connp-t')!
  assert.deepEqual(series.points[1], { x: 'short', y: 3, low: 2, high: 4 })
})

test('the conclusion about steering says who wins at each share, and what is kept', () => {
  const results = made(steering, ({ discipline, wrong }) => ({
    exchanges: [discipline === 'connp-t' ? (wrong === 0 ? 800_000 : 200_000) : 400_000],
    queued: [discipline === 'connp-t' && wrong === 1 ? 2.5 : 0],
  }))
  const text = steering.conclude(results)
  assert.match(text, /With all packets at home connp-t wins with 800 against 400/)
  assert.match(text, /With none at home connp-t loses with 200 against 400/)
  assert.match(text, /With all on the wrong CPU connp-t keeps 25 % of what it does with none/)
  assert.match(text, /on the wrong CPU connp-l keeps 100 %/)
  assert.match(text, /costs 2\.50 queue operations/)
})

test('the conclusion about coalescing says what load saves, and what is lost where there is none', () => {
  const results = made(coalescing, ({ offered }) => {
    const isClosed = offered === 0
    return {
      exchanges: [isClosed ? 90_000 : Number(offered)],
      queued: [1.5, 1.5],
      doorbells: [isClosed ? 0.01 : 0.5],
      sleeps: [isClosed ? 0.6 : 0.5],
      p50: [isClosed ? 50 : 200],
    }
  })
  const text = coalescing.conclude(results)
  assert.match(text, /^From 2 000 questions offered a second to the closed loop: /)
  assert.match(text, /doorbells fall from 0\.500 to 0\.0100 a packet\./)
  assert.match(text, /sleeps rise from 0\.500 to 0\.600 a packet, so that load saves nothing/)
  assert.match(text, /queue operations stay within their spread/)
  assert.match(text, /the message design loses: with 2 000 questions .* half of the answers take more than 200 µs/)
})

test('the conclusion about boundaries says what each added hand-off costs, and where nothing can be said', () => {
  const results = made(
    boundaries,
    ({ layers, dispatch, load }) => {
      const isQueued = dispatch === 'deferred' || layers !== 0
      if (load === 'bulk-in')
        return { cost: [1000, 1000 + (isQueued ? 2 : 1)], handoffs: [isQueued ? 5 : 0, 5], resumes: [0, 0] }
      return {
        cost: [1000 + 60 * Number(layers) + (dispatch === 'deferred' ? 90 : 0)],
        handoffs: [1.5 * Number(layers) + (dispatch === 'deferred' ? 3 : 0)],
        resumes: [0.5 * Number(layers)],
      }
    },
    true,
  )
  const text = boundaries.conclude(results)
  assert.match(
    text,
    /Under connp-t, exchanges of 64 bytes on 64 connections, with all 4 boundaries queues a packet costs 240 ns more than by calls \(1\.24 times\), with 6 more hand-offs and 2 resumed threads: 40 ns for each added hand-off\./,
  )
  assert.match(text, /Under connp-l, exchanges .* with dispatch deferred a packet costs 90 ns more .*: 30 ns for each/)
  assert.match(text, /Under connp-t, exchanges .* with dispatch hybrid a packet costs what it does by calls, within/)
  assert.match(
    text,
    /Under connp-t, receiving in bulk on 64 connections, with all 4 boundaries queues a packet costs what it does by calls/,
  )
  const row = boundaries.table(results).rows.find(([, load, , , layers]) => load === 'exchange' && layers === 2)!
  assert.equal(row.at(-1), 40)
})

test('the closed loop is called so in the table, and drawn where its exchanges are', () => {
  const results = made(coalescing, ({ offered }) => ({ exchanges: [offered === 0 ? 1e6 : 1000], queued: [1] }))
  assert.equal(coalescing.table(results).rows.at(-1)![0], 'closed loop')
  assert.deepEqual(coalescing.plot(results).series[0]!.points.at(-1), { x: 1000, y: 1, low: 1, high: 1 })
})

for (const experiment of ALL) {
  test(`the conclusion of "${experiment.name}" says so when nothing can be compared`, () => {
    const results = made(experiment, () => ({ idle: [0.5] }))
    assert.match(experiment.conclude(results), /^Too little was measured/)
  })
}

test('the quick form leaves each run half a second, with two repetitions of all that is about the stack', () => {
  const options = { seed: 1, repetitions: 2, seconds: undefined, full: false, processors: 2, restrictions: [] }
  const plan = makePlan(ALL, options)
  assert.ok(plan.seconds >= 0.5, `${plan.seconds} s`)
})
