// The conclusion about the parts that all share, on results that were made up.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CellParameters } from '../experiment.ts'
import { hardParts } from './hard-parts.ts'
import { made } from './testing/made.ts'

const isMessages = ({ form }: CellParameters) => form === 'messages'

test('it says who wins each part, and by how much', () => {
  const results = made(hardParts, (cell) => {
    if (cell.part === 'routes') return { nanoseconds: isMessages(cell) ? [50, 52] : [100, 110] }
    if (cell.part === 'hostcache') return { nanoseconds: isMessages(cell) ? [200] : [100] }
    return { nanoseconds: isMessages(cell) ? [90, 110] : [95, 105] }
  })
  const text = hardParts.conclude(results)
  assert.match(
    text,
    /^On 2 CPUs messages cost a packet less than the best of the locks in 1 of 3 cases, and more in 1\./,
  )
  assert.match(
    text,
    /1 000 routes, a change in 100: messages win with 51 against 105 ns of one lock \(2\.06 times as fast\)/,
  )
  assert.match(
    text,
    /Host cache, a change in 100: many locks win: messages take 200 against 100 ns .* \(2 times as long\)/,
  )
  assert.match(text, /Fragments, 50 % elsewhere: messages and many locks are alike within their spread/)
  assert.doesNotMatch(text, /share/)
})

test('it says at which share of changes the other form begins to cost less', () => {
  const results = made(
    hardParts,
    (cell) => {
      const share = Number(cell.changes ?? cell.away)
      if (cell.part !== 'routes') return { nanoseconds: [isMessages(cell) ? 10 : 20] }
      // With 10 routes they cross at 0.001, half way between two shares; with others before the first change.
      if (cell.routes === 10) return { nanoseconds: [isMessages(cell) ? (share < 0.001 ? 50 : 200) : 100] }
      return { nanoseconds: [isMessages(cell) === (share === 0) ? 50 : 100] }
    },
    true,
  )
  const text = hardParts.conclude(results)
  assert.match(text, /With 10 routes messages cost less up to a share of about 0\.100 %\./)
  assert.match(text, /With 1 000 routes messages cost less up to a share between 0 % and 0\.0100 %\./)
  assert.match(text, /With the host cache messages cost less at all shares from 0 % to 10 %\./)
})

test('it says how often locks were waited for, and how late a replica learns', () => {
  const results = made(hardParts, (cell) => ({
    nanoseconds: [100],
    contention: [cell.part === 'routes' && !isMessages(cell) ? 0.25 : 0],
    ...(cell.part === 'reassembly' ? {} : { visible: [isMessages(cell) ? 50_000 : 5] }),
  }))
  const text = hardParts.conclude(results)
  assert.match(text, /found held most often with 1 000 routes, a change in 100, one lock: 25 % of the times/)
  assert.match(text, /News for the host cache took up to 50 000 µs by messages .* up to 5 µs under locks/)
})

test('it is drawn by what messages cost', () => {
  const results = made(hardParts, (cell) => ({ nanoseconds: isMessages(cell) ? [100] : [150, 250] }))
  const { series, limits } = hardParts.plot(results)
  assert.deepEqual(
    series.map(({ name }) => name),
    ['one lock', 'many locks'],
  )
  assert.deepEqual(series[0]!.points, [{ x: '1 000 routes, a change in 100', y: 2, low: 1.5, high: 2.5 }])
  assert.deepEqual(limits, [{ title: 'messages', y: 1 }])
})

test('it says so when nothing can be compared', () => {
  assert.match(hardParts.conclude(made(hardParts, () => ({ locks: [1] }))), /^Too little was measured/)
})
