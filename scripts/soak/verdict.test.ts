import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Reading } from './measure.ts'
import { judge } from './verdict.ts'

const readings = (change: (i: number) => Partial<Reading>): Reading[] =>
  Array.from({ length: 60 }, (_, i) => i).map((at) => ({
    at: at * 10,
    rss: 200e6 + (at % 3) * 1e6,
    descriptors: 30 + (at % 2),
    slab: 500 + (at % 5),
    heap: 20e6 + (at % 4) * 1e5,
    ...change(at),
  }))

test('what is flat is good, also where it grew in the beginning', () => {
  const { isGood, text } = judge(
    readings((i) => (i < 20 ? { rss: 100e6 + i * 5e6, heap: 5e6 + i * 7e5 } : {})),
    undefined,
  )
  assert(isGood, text)
  assert.match(text, /descriptors +3[01] {2}flat/)
})

for (const [name, change] of [
  ['memory', (i: number) => ({ rss: 200e6 + i * 1e6 })],
  ['descriptors', (i: number) => ({ descriptors: 30 + Math.floor(i / 4) })],
  ['slab objects', (i: number) => ({ slab: 500 + 7 * i })],
  ['V8 heap', (i: number) => ({ heap: 20e6 + i * 1e5 })],
] as const) {
  test(`${name} that grow are found, and they alone`, () => {
    const { isGood, text } = judge(readings(change), undefined)
    assert(!isGood)
    assert.deepEqual(
      text.split('\n').map((line) => line.includes('GROWS')),
      ['memory', 'descriptors', 'slab objects', 'V8 heap'].map((each) => each === name),
    )
  })
}

test('what is left at rest is found', () => {
  assert(
    judge(
      readings(() => ({})),
      150,
    ).isGood,
  )
  const { isGood, text } = judge(
    readings(() => ({})),
    1500,
  )
  assert(!isGood)
  assert.match(text, /at rest +1500 {2}LEFT: slab objects \(400 may be\)/)
})

test('too few readings are no proof', () => {
  const { isGood, text } = judge(readings(() => ({})).slice(0, 8), undefined)
  assert(!isGood)
  assert.match(text, /too few: give it more minutes/)
})
