import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseHTML } from 'linkedom'
import type { Parameter } from '../experiment.ts'
import { findings } from '../finding.ts'
import { fakeExperiment, fakePlan, fakeResults, fakeRun } from '../testing/fake.ts'
import { picturesOf } from './picture.ts'

const rate = (rate: number) => ({ metrics: { rate } })

function pictures(values: { readonly [name: string]: readonly Parameter[] }, by?: string) {
  const experiment = fakeExperiment('sizes', values, 'size', by)
  const plan = fakePlan([experiment], 1)
  const runs = plan.experiments[0]!.cells.map(({ key }, i) => fakeRun(key, 0, rate(1000 * (i + 1))))
  const results = fakeResults(plan, runs)
  const [finding] = findings([experiment], results)
  return picturesOf(finding!, results)
}

test('a picture is a whole SVG, with its title, its legend and where it comes from, and loads nothing', () => {
  const [picture, ...others] = pictures({ way: ['a "quick" <one>', 'b'], size: [1, 2, 3] }, 'way')
  assert.deepEqual(others, [])
  assert.equal(picture!.name, 'sizes.svg')
  const { text } = picture!
  assert.match(text, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="\d+" height="\d+" viewBox=/)
  assert.match(text, /@media \(prefers-color-scheme: dark\) \{ svg \{ --ground:#/)
  assert.doesNotMatch(text.replace('http://www.w3.org/2000/svg', ''), /https?:|url\(|<script|NaN|undefined/)
  const { document } = parseHTML(`<body>${text}</body>`)
  const shown = [...document.querySelectorAll('text')].map(({ textContent }) => textContent)
  for (const word of ['Plot of sizes', 'a "quick" <one>', 'b']) assert.ok(shown.includes(word), word)
  assert.match(shown.at(-1)!, /^2 × A "fast" <one>, Node v20\.0\.0, 2026-01-02; .* up to 1 runs of 0\.01 s/)
})

test('a legend that is too wide for one row takes another', () => {
  const height = (ways: readonly string[]) =>
    Number(/ height="(\d+)"/.exec(pictures({ way: ways, size: [1, 2] }, 'way')[0]!.text)![1])
  const long = Array.from({ length: 6 }, (_, i) => `a series whose name is long, ${i}`)
  assert.ok(height(long) > height(['a', 'b']))
})

test('where nothing was measured there is no picture', () => {
  const experiment = fakeExperiment('sizes', { size: [1] })
  const results = fakeResults(fakePlan([experiment], 1), [fakeRun('size=1', 0, { error: 'no' })])
  assert.deepEqual(picturesOf(findings([experiment], results)[0]!, results), [])
})
