import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseHTML } from 'linkedom'
import type { Experiment } from '../experiment.ts'
import { NOTHING_MEASURED } from '../finding.ts'
import { type Plan, steps } from '../plan.ts'
import { fakeExperiment, fakePlan, fakeResults, fakeRun } from '../testing/fake.ts'
import { GENERATOR } from './generator.ts'
import { reportText } from './report.ts'

const experiments = [
  fakeExperiment('sizes', { size: [1, 2], way: ['a', 'b'] }, 'size', 'way'),
  fakeExperiment('ways', { way: ['a', 'b'] }),
  fakeExperiment('nothing', { size: [1] }),
]
const plan = fakePlan(experiments)
const runs = steps(plan).map(({ experiment, cell, repetition }) => {
  const rate = 1000 * Number(cell.parameters.size ?? 1) + repetition * 100
  const isBad = cell.key === 'way=b' && repetition > 0
  const outcome =
    experiment === 'nothing'
      ? { impossible: 'needs <another> machine' }
      : isBad
        ? { error: 'it "broke"' }
        : { metrics: { rate }, tables: { waits: { columns: ['point', 'n'], rows: [['ring', rate]] } } }
  return fakeRun(cell.key, repetition, outcome, experiment)
})
const text = reportText(experiments, fakeResults(plan, runs))
const { document } = parseHTML(text)
const all = (selector: string) => [...document.querySelectorAll(selector)]
const one = (selector: string) => {
  const found = all(selector)
  assert.equal(found.length, 1, `${found.length} of ${selector}`)
  return found[0]!
}

test('the report is one file: nothing in it is loaded, and nothing runs', () => {
  assert.equal(all('script, link, img, iframe, object, embed, audio, video').length, 0)
  assert.doesNotMatch(text, /url\((?!#)|@import|https?:\/\/(?!www\.w3\.org\/)/)
  for (const element of all('*')) {
    for (const { name } of element.attributes) assert.doesNotMatch(name, /^on|^src$/)
  }
  assert.ok(text.length < 200_000)
  assert.ok(text.startsWith('<!doctype html>\n<html lang="en">'))
  assert.ok(text.slice(0, 1000).includes(GENERATOR))
})

test('every id is there once, and everything that refers to one finds it', () => {
  const ids = all('[id]').map(({ id }) => id)
  assert.equal(new Set(ids).size, ids.length)
  const known = new Set(ids)
  for (const element of all('[aria-labelledby]')) {
    for (const id of element.getAttribute('aria-labelledby')!.split(' ')) assert.ok(known.has(id), id)
  }
  const links = all('a[href]').map((link) => link.getAttribute('href')!)
  for (const link of links) assert.ok(link.startsWith('#') && known.has(link.slice(1)), link)
})

test('it has landmarks, one first heading, and no heading that skips a level', () => {
  for (const landmark of ['header', 'nav', 'main', 'footer', 'h1', 'head > title', 'a.skip']) one(landmark)
  const levels = all('h1, h2, h3, h4, h5, h6').map(({ tagName }) => Number(tagName[1]))
  assert.equal(levels[0], 1)
  levels.forEach((level, i) => {
    assert.ok(i === 0 || level <= levels[i - 1]! + 1, `heading ${i} is of level ${level}`)
  })
  for (const part of all('section, article')) assert.ok(part.hasAttribute('aria-labelledby'))
})

test('the contents lead to every part, in its order', () => {
  const links = all('nav a').map((link) => link.getAttribute('href')!.slice(1))
  assert.deepEqual(
    links,
    all('main > section, main > article').map(({ id }) => id),
  )
  assert.deepEqual(links, [
    ...['findings', 'method', 'machine'],
    ...['experiment-sizes', 'experiment-ways', 'experiment-nothing', 'repeat'],
  ])
})

test('an experiment has its question, conclusion, plot, table, method and accounting', () => {
  const article = one('#experiment-sizes')
  const found = (selector: string) => article.querySelector(selector)?.textContent
  assert.equal(found('h2'), 'The fake "sizes" <&>')
  assert.equal(found('.question'), 'What does sizes ask?')
  assert.match(found('.conclusion')!, /The best is 2\.10 k\/s\./)
  assert.equal(found('figcaption'), 'Plot of sizes')
  assert.deepEqual(
    [...article.querySelectorAll('caption')].map((caption) => caption.textContent),
    ['Table of sizes', 'Waits'],
  )
  assert.match(article.textContent!, /One paragraph of two lines\./)
})

test('a table says what each of its cells belongs to, and can be scrolled by keys', () => {
  const table = one('#experiment-sizes-table').closest('table')!
  const head = [...table.querySelectorAll('thead th')]
  assert.deepEqual(
    head.map((cell) => cell.textContent),
    ['size', 'way', 'rate k/s'],
  )
  for (const cell of head) assert.equal(cell.getAttribute('scope'), 'col')
  const rows = [...table.querySelectorAll('tbody tr')]
  assert.deepEqual(
    rows.map((row) => [...row.children].map((cell) => cell.textContent)),
    [
      ['1', 'a', '1.10 1 to 1.20'],
      ['1', 'b', '1.10 1 to 1.20'],
      ['2', 'a', '2.10 2 to 2.20'],
      ['2', 'b', '2.10 2 to 2.20'],
    ],
  )
  for (const row of rows) assert.equal(row.children[0]!.getAttribute('scope'), 'row')
  for (const region of all('.scroll')) {
    assert.equal(region.getAttribute('tabindex'), '0')
    assert.equal(region.getAttribute('role'), 'region')
    assert.ok(region.hasAttribute('aria-labelledby') || region.hasAttribute('aria-label'))
  }
})

test('what was not measured is told with its reason, and draws no conclusion', () => {
  assert.equal(one('#experiment-ways .warning li').textContent, 'way=b, 2 of 3: it "broke"')
  const nothing = one('#experiment-nothing')
  assert.equal(nothing.querySelector('svg'), null)
  assert.ok(nothing.textContent!.includes(NOTHING_MEASURED))
  assert.ok(nothing.textContent!.includes('size=1, 3 of 3: needs <another> machine'))
})

test('the machine, the seed and the command are there', () => {
  assert.match(
    one('#machine').textContent!,
    /2 × A "fast" <one> \(x64\)[\s\S]*16 GiB[\s\S]*0.250[\s\S]*Linux 6\.1[\s\S]*v20\.0\.0/,
  )
  assert.match(one('#repeat').textContent!, /damselfly lab sizes ways nothing --seed 7 --repeat 3 --seconds 0\.01/)
  assert.match(one('header').textContent!, /3 experiments with 7 cells, 21 runs, begun on 2026-01-02/)
})

test('the first part has every conclusion', () => {
  assert.deepEqual(
    all('#findings dd').map((each) => each.textContent),
    ['The best is 2.10 k/s.', 'The best is 1.10 k/s.', NOTHING_MEASURED],
  )
})

test('it says how often each cell ran, which did not, and what was measured for two experiments', () => {
  const bounded = { ...fakePlan(experiments.slice(0, 2)), budgetSeconds: 50 }
  const ran = steps(bounded).filter(({ cell, repetition }) => cell.key !== 'way=b' && repetition < 2)
  const some = ran.map(({ experiment, cell, repetition }, i) => ({
    ...fakeRun(cell.key, repetition, { metrics: { rate: 1000 } }, experiment),
    ...(i === 0 ? { measuredFor: 'others' } : {}),
  }))
  const methodOf = (runs: typeof some, of: Plan = bounded) =>
    parseHTML(reportText(experiments, fakeResults(of, runs))).document.querySelector('#method')!.textContent!
  const words = (text: string) => text.replace(/\s+/g, ' ')
  assert.match(
    words(methodOf(some)),
    /for 0\.01 s after warming up, and 3 times as far as the 50 s of the quick form allow, which was 0 to 2 times\./,
  )
  assert.match(methodOf(some), /measured once for both: 1 of the runs/)
  assert.doesNotMatch(methodOf(some.slice(1)), /measured once for both/)
  const { budgetSeconds: _, ...unbounded } = bounded
  assert.match(words(methodOf(some, unbounded)), /and 3 times; so far each ran 0 to 2 times\./)
  assert.match(one('#method').textContent!, /after warming up, and 3 times\./)
  const article = parseHTML(reportText(experiments, fakeResults(bounded, some))).document
  assert.match(
    article.querySelector('#experiment-ways .warning')!.textContent!,
    /way=b: it did not run; there was no time left/,
  )
})

test('further plots and tables stand behind the first ones, a table with its note', () => {
  const base = experiments[1]!
  const experiment: Experiment = {
    ...base,
    plots: (results) => [{ ...base.plot(results), title: 'A second plot' }],
    tables: (results) => [{ ...base.table(results), title: 'A second table', note: 'Not <ours>.' }],
  }
  const { document } = parseHTML(reportText([experiment], fakeResults(plan, runs)))
  const texts = (selector: string) =>
    [...document.querySelectorAll(`article ${selector}`)].map((each) => each.textContent)
  assert.deepEqual(texts('figcaption'), ['Plot of ways', 'A second plot'])
  assert.deepEqual(texts('caption').slice(0, 2), ['Table of ways', 'A second table'])
  assert.ok(texts('.note').includes('Not <ours>.'))
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id)
  assert.equal(new Set(ids).size, ids.length)
})
