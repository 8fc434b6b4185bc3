import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type CpuReading, OF_CPU, OF_PROCESS, type Reading } from './measure.ts'
import { judge } from './verdict.ts'

const flat = (i: number): CpuReading => ({
  heap: 20e6 + (i % 4) * 1e5,
  slab: 500 + (i % 5),
  ofTimeWaitSize: 1000,
  timeWaits: 900,
  pages: 4e6,
  magazines: 3000 + (i % 7) * 50,
  remoteFrees: i % 3,
  ports: 40,
  threads: 2,
  sockets: i % 2,
  ringsFull: 10 * i,
})

type Change = (i: number) => Partial<Omit<Reading, 'cpus'>>

/** A minute and forty of each of two CPUs, the second of which may be otherwise. */
const readings = (change: Change, ofSecond: (i: number) => Partial<CpuReading> = () => ({})): Reading[] =>
  Array.from({ length: 60 }, (_, i) => ({
    at: i * 10,
    rss: 200e6 + (i % 3) * 1e6,
    descriptors: 30 + (i % 2),
    records: 200 + (i % 9),
    timers: 60 + (i % 4),
    cpus: [flat(i), { ...flat(i), ...ofSecond(i) }],
    ...change(i),
  }))
const nothing = () => ({})

test('what is flat is good, also where it grew in the beginning', () => {
  const { isGood, text } = judge(
    readings(
      (i) => (i < 20 ? { rss: 100e6 + i * 5e6 } : {}),
      (i) => (i < 20 ? { heap: 5e6 + i * 7e5 } : {}),
    ),
    undefined,
  )
  assert(isGood, text)
  assert.match(text, /descriptors +3[01] {2}flat/)
  assert.match(text, /rings full, cpu 1 +1 \/s {2}flat/)
})

describe('what grows is found, and it alone:', () => {
  const growing = (text: string) =>
    text
      .split('\n')
      .filter((line) => line.includes('GROWS'))
      .map((line) => line.slice(2, 24).trim())

  const OF_THE_PROCESS: { readonly [Q in keyof typeof OF_PROCESS]: Change } = {
    rss: (i) => ({ rss: 200e6 + i * 1e6 }),
    descriptors: (i) => ({ descriptors: 30 + Math.floor(i / 4) }),
    records: (i) => ({ records: 200 + 7 * i }),
    timers: (i) => ({ timers: 60 + 2 * i }),
  }
  for (const [quantity, change] of Object.entries(OF_THE_PROCESS)) {
    const { title } = OF_PROCESS[quantity as keyof typeof OF_PROCESS]
    test(`${title} of all`, () => {
      const { isGood, text } = judge(readings(change), undefined)
      assert(!isGood)
      assert.deepEqual(growing(text), [title])
    })
  }

  const OF_ONE_CPU: { readonly [Q in keyof typeof OF_CPU]: (i: number) => number } = {
    heap: (i) => 20e6 + i * 1e5,
    slab: (i) => 500 + 7 * i,
    pages: (i) => 4e6 + 262_144 * Math.floor(i / 4),
    magazines: (i) => 3000 + 150 * i,
    remoteFrees: (i) => 20 * i,
    ports: (i) => 40 + Math.floor(i / 8),
    threads: (i) => 2 + Math.floor(i / 8),
    sockets: (i) => i,
    // More often all the time.
    ringsFull: (i) => 50 * i * i,
  }
  for (const [key, value] of Object.entries(OF_ONE_CPU)) {
    const { title } = OF_CPU[key as keyof typeof OF_CPU]
    test(`${title} of one CPU of two`, () => {
      const { isGood, text } = judge(
        readings(nothing, (i) => ({ [key]: value(i) })),
        undefined,
      )
      assert(!isGood)
      assert.deepEqual(growing(text), [`${title}, cpu 1`])
    })
  }
})

test('what is left on a CPU at rest is found', () => {
  assert(judge(readings(nothing), [150, 399]).isGood)
  const { isGood, text } = judge(readings(nothing), [150, 1500])
  assert(!isGood)
  assert.match(text, /at rest, cpu 0 +150 {2}flat/)
  assert.match(text, /at rest, cpu 1 +1500 {2}LEFT: slab objects \(400 may be\)/)
})

test('too few readings are no proof', () => {
  const { isGood, text } = judge(readings(nothing).slice(0, 8), undefined)
  assert(!isGood)
  assert.match(text, /too few: give it more minutes/)
})
