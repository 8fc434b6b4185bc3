import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseHTML } from 'linkedom'
import type { Plot, Series } from '../experiment.ts'
import { drawPlot } from './plot.ts'
import { LIGHT } from './style.ts'

const series = (name: string, points: readonly (readonly [number | string, number])[]): Series => ({
  name,
  points: points.map(([x, y]) => ({ x, y, low: y * 0.9, high: y * 1.1 })),
})
const LINES: Plot = {
  title: 'Rate <by> size',
  x: { title: 'size', scale: 'log' },
  y: { title: 'rate (M/s)', scale: 'linear' },
  series: [
    series('giant', [
      [1, 10],
      [8, 20],
      [64, 40],
    ]),
    series('connp-t', [
      [1, 5],
      [8, 30],
      [64, 80],
    ]),
  ],
  limits: [{ title: 'the wire', y: 100 }],
}
const BARS: Plot = {
  ...LINES,
  x: { title: 'discipline', scale: 'category' },
  series: [
    series('quick', [
      ['giant', 1],
      ['connp-t', 2],
    ]),
    series('slow', [
      ['giant', 3],
      ['connp-t', 4],
    ]),
  ],
}

function parsed(plot: Plot) {
  const text = drawPlot(plot, 'p').text
  const { document } = parseHTML(`<body>${text}</body>`)
  return { text, document, svg: document.querySelector('svg[role=img]')! }
}

const textsOf = (svg: { querySelectorAll(selector: string): Iterable<{ textContent: string | null }> }) =>
  [...svg.querySelectorAll('text')].map(({ textContent }) => textContent)

test('a plot has a caption, a legend, a title and a description in words', () => {
  const { document, svg } = parsed(LINES)
  assert.equal(document.querySelector('figcaption')!.textContent, 'Rate <by> size')
  assert.deepEqual(
    [...document.querySelectorAll('.legend li')].map((each) => each.textContent),
    ['giant', 'connp-t'],
  )
  assert.equal(svg.getAttribute('aria-labelledby'), 'p-title p-description')
  assert.equal(svg.querySelector('title')!.textContent, 'Rate <by> size')
  assert.equal(
    svg.querySelector('desc')!.textContent,
    'rate (M/s), by size. giant: 10 at 1 … 40 at 64. connp-t: 5 at 1 … 80 at 64. A line at 100: the wire.',
  )
})

test('the series of lines differ in colour, in marker and in dash', () => {
  const names = Array.from({ length: 12 }, (_, i) => `series ${i}`)
  const { svg } = parsed({
    ...LINES,
    series: names.map((name, i) =>
      series(name, [
        [1, i],
        [2, i + 1],
      ]),
    ),
  })
  const lines = [...svg.querySelectorAll('g[stroke-width="2"]')]
  const looks = lines.map((line) => `${line.getAttribute('stroke')} ${line.getAttribute('stroke-dasharray')}`)
  assert.equal(new Set(looks.slice(0, 6)).size, 6)
  const dots = [...svg.querySelectorAll('g[stroke="var(--ground)"]')]
  const markers = dots.map(
    (dot) => `${dot.getAttribute('fill')} ${dot.querySelector('path, circle')!.getAttribute('d')}`,
  )
  assert.equal(markers.length, 12)
  assert.equal(new Set(markers).size, 12)
})

test('the spread is drawn at each point, from the lowest to the highest', () => {
  const { svg } = parsed(LINES)
  const rules = [...svg.querySelectorAll('g[stroke="var(--series-2)"][stroke-width="1.5"] line')]
  assert.equal(rules.length, 3)
  for (const rule of rules) assert.ok(Number(rule.getAttribute('y1')) > Number(rule.getAttribute('y2')))
})

test('an axis has a tick for each value of x, and both have their titles', () => {
  const texts = textsOf(parsed(LINES).svg)
  for (const text of ['1', '8', '64', 'size →', 'rate (M/s)', 'the wire']) assert.ok(texts.includes(text), text)
})

test('ticks have no zeros that say nothing', () => {
  const texts = textsOf(
    parsed({
      ...LINES,
      limits: [],
      series: [
        series('one', [
          [1, 0.5],
          [2, 2],
        ]),
      ],
    }).svg,
  )
  assert.ok(texts.includes('0.5') && texts.includes('1'), texts.join())
  assert.ok(!texts.includes('0.500'))
})

test('categories are lying bars, each with its name', () => {
  const { svg, document } = parsed(BARS)
  assert.equal(svg.querySelectorAll('rect').length, 4)
  const texts = textsOf(svg)
  for (const text of ['giant', 'connp-t', 'quick', 'slow', 'rate (M/s)']) assert.ok(texts.includes(text), text)
  assert.equal(document.querySelectorAll('.legend li').length, 2)
  const alone = parsed({ ...BARS, series: [BARS.series[0]!] })
  assert.equal(alone.document.querySelectorAll('.legend').length, 0)
  for (const text of ['giant', 'connp-t', 'discipline']) assert.ok(textsOf(alone.svg).join().includes(text), text)
})

test('nothing is drawn in a colour that is not of the palette, and nothing is not a number', () => {
  for (const plot of [LINES, BARS, { ...BARS, y: { ...BARS.y, scale: 'log' as const } }]) {
    const { text } = parsed(plot)
    assert.doesNotMatch(text, /NaN|undefined|Infinity/)
    for (const [, name] of text.matchAll(/var\(--([a-z0-9-]+)\)/g)) assert.ok(name! in LIGHT, name)
    for (const [, value] of text.matchAll(/ (?:fill|stroke)="([^"]+)"/g)) {
      assert.match(value!, /^(none|currentColor|transparent|var\(--[a-z0-9-]+\))$/)
    }
  }
})

test('a logarithmic axis leaves out what has no place on it', () => {
  const points = {
    ...LINES,
    y: { ...LINES.y, scale: 'log' as const },
    series: [
      series('one', [
        [0, 1],
        [1, 0],
        [2, 1],
      ]),
    ],
  }
  const { text, svg } = parsed(points)
  assert.doesNotMatch(text, /NaN|Infinity/)
  assert.equal(svg.querySelectorAll('g[fill="var(--series-1)"] > *').length, 1)
})

test('a plot of nothing says so', () => {
  assert.match(drawPlot({ ...LINES, series: [] }, 'p').text, /^<p>There is nothing to draw/)
})

test('each place on a logarithmic axis has its label, round or not', () => {
  const places = [6, 24, 64, 192, 768, 16384]
  const { svg } = parsed({
    ...LINES,
    series: [
      series(
        'one',
        places.map((x) => [x, 1]),
      ),
    ],
  })
  const texts = textsOf(svg)
  for (const label of ['6', '24', '64', '192', '768', '16 384'])
    assert.ok(texts.includes(label), `${label} of ${texts}`)
})
