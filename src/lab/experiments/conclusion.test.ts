// The conclusions of the experiments about the stack, on results that were made up: each has to say who wins, and to say it
// when the message design loses.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CellParameters } from '../experiment.ts'
import { batch } from './batch.ts'
import { boundaries } from './boundaries.ts'
import { coalescing } from './coalescing.ts'
import { disciplines } from './disciplines.ts'
import { steering } from './steering.ts'
import { made } from './testing/made.ts'
import { workloads } from './workloads.ts'

const ALL = [disciplines, batch, workloads, steering, coalescing, boundaries]

test('the conclusion about the disciplines says where messages win, and how often locks are waited for', () => {
  const of = ({ discipline, connections }: CellParameters) => ({
    exchanges: [discipline === 'connp-t' ? (connections === 768 ? 1_200_000 : 900_000) : 600_000],
    p99: [100],
    contention: [discipline === 'giant' && connections === 16384 ? 0.25 : 0],
  })
  const text = disciplines.conclude(made(disciplines, of, true))
  assert.match(
    text,
    /On 2 CPUs connp-t is ahead at 7 of 7 numbers of connections, most with 768 connections, where connp-t wins with 1 200 against 600 thousand .* \(2 times\)/,
  )
  assert.match(text, /by giant with 16 384 connections on 1 CPU: at 25 % of the times/)
  assert.doesNotMatch(text, /loses/)
  assert.match(disciplines.conclude(made(disciplines, of)), /On 2 CPUs with 64 connections connp-t wins with 900 /)
})

test('the conclusion about the disciplines says where locks win, in throughput and in latency', () => {
  const results = made(disciplines, ({ discipline }) => ({
    exchanges: [discipline === 'connp-l' ? 900_000 : 600_000],
    p99: [discipline === 'connp-t' ? 300 : 100],
    contention: [0],
  }))
  const text = disciplines.conclude(results)
  assert.match(
    text,
    /On 2 CPUs with 64 connections connp-t loses with 600 against 900 thousand exchanges a second of connp-l \(0\.667 times\)/,
  )
  assert.match(text, /Of latency \(99 %\) on 2 CPUs with 64 connections connp-t loses with 300 against 100 µs/)
  assert.match(text, /no lock was ever found held/)
})

test('lock contention stands beside what was published, in the same form', () => {
  const of = ({ discipline, connections, groups, profile }: CellParameters) =>
    profile === undefined || discipline === 'connp-t'
      ? { exchanges: [1] }
      : {
          global: [(Number(groups ?? 1) + Number(connections)) / 1e5],
          held: [1],
          waited: [2],
          waiting: [0],
          locks: [5],
        }
  const results = made(disciplines, of, true)
  const [, shares, times] = disciplines.tables!(results)
  assert.deepEqual(
    shares!.columns.map(({ title }) => title),
    ['discipline', ...['6', '192', '16 384'].flatMap((n) => [`${n} connections, here`, `${n} connections, published`])],
  )
  const shown = shares!.rows.map((row) =>
    row.map((entry) => (typeof entry === 'object' ? entry.median.toFixed(3) : entry)),
  )
  assert.deepEqual(shown[0], ['giant', '0.007', undefined, '0.193', undefined, '16.385', undefined])
  assert.deepEqual(shown[1], ['msgp', '0.007', 89, '0.193', 100, '16.385', 100])
  assert.deepEqual(shown[2], ['connp-l(4)', '0.010', 60, '0.196', 56, '16.388', 52])
  assert.deepEqual(shown.at(-1), ['connp-l(128)', '0.134', 33, '0.320', 5, '16.512', 2])
  assert.equal(shown.length, 8)
  assert.equal(times!.rows.length, 24)
  assert.match(
    disciplines.conclude(results),
    /at 0\.193 % under msgp \(published: 100 %\) and 0\.320 % under connp-l\(128\) \(published: 5 %\)/,
  )
})

test('latency is drawn over what was done, and compared at the same share of saturation', () => {
  const of = ({ discipline, share }: CellParameters) => {
    if (share === undefined) return { contention: [0] }
    const most = discipline === 'connp-t' ? 1000 : 500
    return { exchanges: [most * 1000 * Number(share)], p99: [discipline === 'connp-t' ? 200 : 100] }
  }
  const results = made(disciplines, of, true)
  const [plot] = disciplines.plots!(results)
  assert.deepEqual(
    plot!.series.find(({ name }) => name === 'connp-t')!.points.map(({ x }) => x),
    [250, 500, 750, 900],
  )
  assert.equal(disciplines.tables!(results)[0]!.rows.length, 16)
  assert.match(
    disciplines.conclude(results),
    /At 90 % of what each does at most, of latency \(99 %\) connp-t loses with 200 against 100 µs/,
  )
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
  assert.match(text, /Doorbells fall from 0\.500 to 0\.0100 a packet\./)
  assert.match(text, /Sleeps rise from 0\.500 to 0\.600 a packet, so that load saves nothing/)
  assert.match(text, /Queue operations stay at 1\.50 a packet\./)
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

test('the conclusion about batches names the crossover, between the two limits where it lies', () => {
  // A quarter, a half, …, 16 times: alike with 4 and no limit else.
  const of = ({ discipline, batch = 1, offered }: CellParameters) =>
    offered === undefined ? { exchanges: [discipline === 'connp-t' ? 1000 * Number(batch) : 3000] } : undefined
  const results = made(batch, of, true)
  const text = batch.conclude(results)
  for (const place of ['50 % of the packets', 'all packets']) {
    assert.match(
      text,
      new RegExp(
        `With ${place} on the wrong CPU connp-t overtakes connp-l at a limit of about 3 \\(between 2 and 4\\): connp-t does 0\\.333 times with 1, 21\\.3 times with 64`,
      ),
    )
  }
  assert.match(text, /Batches of up to 64 instead of 1 make connp-t 64 times and connp-l 1 times as fast\./)
  const [plot] = batch.plots!(results)
  assert.deepEqual(plot!.series[1]!.points[2], { x: 4, y: 4 / 3, low: 4 / 3, high: 4 / 3 })
})

test('where one is ahead at every limit the conclusion about batches says so, and where it is nearest', () => {
  const at = (factor: number) =>
    batch.conclude(
      made(batch, ({ discipline, batch: limit }) => ({
        exchanges: [discipline === 'connp-t' ? factor * (100 + Number(limit)) * 1000 : 100_000],
      })),
    )
  assert.match(
    at(2),
    /^With all packets on the wrong CPU there is no crossover: connp-t is ahead at every limit of batches from 1 to 64; nearest with 1, where connp-t wins with 202 against 100/,
  )
  assert.match(
    at(0.5),
    /no crossover: connp-l is ahead at every limit .*; nearest with 64, where connp-t loses with 82 against 100/,
  )
})

test('the conclusion about batches says when the two cross more than once', () => {
  const rates: { readonly [limit: number]: number } = { 1: 2, 8: 0.5, 64: 2 }
  const results = made(batch, ({ discipline, batch: limit }) => ({
    exchanges: [discipline === 'connp-t' ? rates[Number(limit)]! : 1],
  }))
  assert.match(
    batch.conclude(results),
    /connp-l overtakes connp-t at .*, and connp-t overtakes connp-l at .*; they cross more than once/,
  )
})

test('the conclusion about batches says what looking for work is worth where there is little', () => {
  const of = ({ spin, discipline }: CellParameters) =>
    spin === undefined ? undefined : { p50: [discipline === 'connp-t' ? 1000 - Number(spin) / 25 : 5], idle: [0.75] }
  assert.match(
    batch.conclude(made(batch, of, true)),
    /With 20 000 questions a second half of the answers of connp-t take 1 000 µs where its CPUs sleep at once, and 200 µs .* for 20 000 turns \(.* 75 % of the time\)/,
  )
})

for (const experiment of ALL) {
  test(`the conclusion of "${experiment.name}" says so when nothing can be compared`, () => {
    const results = made(experiment, () => ({ idle: [0.5] }))
    assert.match(experiment.conclude(results), /^Too little was measured/)
  })
}
