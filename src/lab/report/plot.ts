// Plots as SVG text, drawn by Observable Plot into a document that nobody sees. Nothing of it needs a script where it is
// read. Series differ in colour, in marker and in dash, so that they stay apart in grey and for every eye.
import * as ObservablePlot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import type { Plot, Point, Series } from '../experiment.ts'
import { figure } from '../format.ts'
import { type Content, html, Markup } from './markup.ts'

const WIDTH = 760
const HEIGHT = 400
const MARKERS = ['circle', 'square', 'triangle', 'diamond', 'star', 'wye'] as const
const DASHES = ['none', '7 3', '2 3', '9 3 2 3', '12 4', '4 4'] as const
const COLORS = 6
/** Ticks for single values of x, where they are few; else Plot chooses. */
const TICKS_MAX = 12
/** Of a letter of the axis, about. */
export const LETTER = 7.4

type Mark = ObservablePlot.Markish

/** A figure: its caption, its legend, and the drawing with a title and a description for those who do not see it. */
export function drawPlot(plot: Plot, id: string): Markup {
  const drawing = drawnPlot(plot, id)
  if (drawing === undefined) return html`<p>There is nothing to draw: no cell was measured.</p>`
  return html`<figure>
<figcaption>${plot.title}</figcaption>
${legend(plot)}<div class="scroll" role="region" aria-label="Plot: ${plot.title}" tabindex="0">${drawing.svg}</div>
<p class="note">${MARKS}</p>
</figure>`
}

export const MARKS = 'Marks are medians; lines through them reach from the lowest to the highest repetition.'

/** The drawing alone, in pixels, with a title and a description; undefined where there is nothing to draw. */
export function drawnPlot(plot: Plot, id: string): { svg: Markup; width: number; height: number } | undefined {
  if (plot.series.every(({ points }) => points.length === 0)) return undefined
  const drawing = plot.x.scale === 'category' ? drawBars(plot) : drawLines(plot)
  drawing.setAttribute('role', 'img')
  drawing.setAttribute('aria-labelledby', `${id}-title ${id}-description`)
  const svg = drawing.outerHTML.replace(
    /^<svg[^>]*>/,
    (head) =>
      `${head}${html`<title id="${id}-title">${plot.title}</title><desc id="${id}-description">${describe(plot)}</desc>`.text}`,
  )
  const [width, height] = ['width', 'height'].map((name) => Number(drawing.getAttribute(name)))
  return { svg: new Markup(svg), width: width!, height: height! }
}

/** In words: what the axes are, and how each series begins and ends. */
function describe({ x, y, series, limits = [] }: Plot): string {
  const parts = series
    .filter(({ points }) => points.length > 0)
    .map(({ name, points }) => `${name}: ${[...new Set([points[0]!, points.at(-1)!])].map(pointText).join(' … ')}.`)
  const lines = limits.map(({ title, y: at }) => `A line at ${figure(at)}: ${title}.`)
  return [`${y.title}, by ${x.title}.`, ...parts, ...lines].join(' ')
}

function pointText({ x, y }: Point): string {
  return `${figure(y)} at ${typeof x === 'number' ? figure(x) : x}`
}

function legend(plot: Plot): Content {
  const entries = legendOf(plot)
  if (entries.length === 0) return undefined
  return html`<ul class="legend">${entries.map(({ name, swatch }) => html`<li>${swatch}${name}</li>`)}</ul>
`
}

/** The series with what each is drawn by, SWATCH_WIDTH wide; none where there is only one. */
export function legendOf({ series, x }: Plot): { readonly name: string; readonly swatch: Markup }[] {
  if (series.length < 2) return []
  return series.map(({ name }, i) => ({ name, swatch: swatch(i, x.scale === 'category') }))
}

export const SWATCH_WIDTH = 34

/** As the series is drawn. */
function swatch(index: number, isBar: boolean): Markup {
  const marks: Mark[] = isBar
    ? [ObservablePlot.rect([0], { x1: 0, x2: 34, y1: 1, y2: 13, fill: color(index) })]
    : [
        ObservablePlot.line([0, 34], { x: (x: number) => x, y: 7, ...lineStyle(index) }),
        ObservablePlot.dot([17], { x: (x: number) => x, y: 7, ...markerStyle(index) }),
      ]
  const axis = { axis: null, type: 'identity' } as const
  const svg = draw({ width: SWATCH_WIDTH, height: 14, margin: 0, x: axis, y: axis, marks })
  svg.setAttribute('aria-hidden', 'true')
  return new Markup(svg.outerHTML)
}

function drawLines(plot: Plot): SVGElementLike {
  const series = plot.series.map((each) => ({ ...each, points: drawable(each, plot) }))
  const places = [...new Set(series.flatMap(({ points }) => points.map(({ x }) => Number(x))))].sort((a, b) => a - b)
  const yMax = Math.max(...series.flatMap(({ points }) => points.map(({ high }) => high)))
  return draw({
    width: WIDTH,
    height: HEIGHT,
    marginLeft: Math.max(46, 18 + LETTER * figure(yMax).length),
    marginBottom: 44,
    marginTop: 28,
    marginRight: 24,
    x: { ...xScale(plot, places), label: plot.x.title },
    y: { ...valueScale(plot), label: plot.y.title, labelArrow: 'none' },
    marks: [
      ...(plot.y.scale === 'log' ? [] : [ObservablePlot.ruleY([0])]),
      ...limitMarks(plot, 'y'),
      ...series.flatMap(({ points }, i) => [
        ObservablePlot.ruleX(points, { x: 'x', y1: 'low', y2: 'high', stroke: color(i), strokeWidth: 1.5 }),
        ObservablePlot.line(points, { x: 'x', y: 'y', ...lineStyle(i) }),
        ObservablePlot.dot(points, { x: 'x', y: 'y', ...markerStyle(i) }),
      ]),
    ],
  })
}

/** Lying bars: names of any length stand in front of them, and each tells its series by its name as well. */
function drawBars(plot: Plot): SVGElementLike {
  const isLog = plot.y.scale === 'log'
  const rows = plot.series.flatMap(({ name, points }, index) =>
    points.filter(({ y }) => !isLog || y > 0).map((point) => ({ ...point, name, index, x: String(point.x) })),
  )
  const isGrouped = plot.series.length > 1
  const categories = [...new Set(rows.map(({ x }) => x))]
  const longest = (names: readonly string[]) => Math.max(...names.map((name) => name.length)) * LETTER
  const names = isGrouped ? plot.series.map(({ name }) => name) : categories
  // Beside the names a title would stand on its side, and between them.
  const above = { labelAnchor: 'top', labelArrow: 'none' } as const
  const place = isGrouped ? ({ y: 'name', fy: 'x' } as const) : ({ y: 'x' } as const)
  return draw({
    width: WIDTH,
    height: rows.length * 24 + (isGrouped ? categories.length * 14 : 0) + 84,
    marginTop: 40,
    marginLeft: 24 + longest(names),
    marginRight: 24 + (isGrouped ? longest(categories) : 0),
    marginBottom: 44,
    x: { ...valueScale(plot), label: plot.y.title, labelArrow: 'none' },
    y: { type: 'band', label: isGrouped ? null : plot.x.title, ...above, domain: names, padding: 0.25 },
    ...(isGrouped ? { fy: { label: plot.x.title, ...above, domain: categories, padding: 0.15 } } : {}),
    marks: [
      ...limitMarks(plot, 'x'),
      ...plot.series.flatMap((_, i) => {
        const mine = rows.filter(({ index }) => index === i)
        const shape = isLog
          ? ObservablePlot.dot(mine, { x: 'y', ...place, ...markerStyle(i) })
          : ObservablePlot.barX(mine, { x: 'y', ...place, fill: color(i) })
        return [
          shape,
          // A light line below the dark one: it is seen on the bar as well as beside it.
          ObservablePlot.link(mine, { x1: 'low', x2: 'high', ...place, stroke: 'var(--ground)', strokeWidth: 4 }),
          ObservablePlot.link(mine, { x1: 'low', x2: 'high', ...place, stroke: 'var(--text)', strokeWidth: 1.5 }),
        ]
      }),
      ...(isLog ? [] : [ObservablePlot.ruleX([0])]),
    ],
  })
}

/** As `figure`, without zeros at the end: 0.5 beside 1, not 0.500. */
function tick(value: number): string {
  return figure(value)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '')
}

/** A logarithmic axis has no place for zero and below. */
function drawable({ points }: Series, { x, y }: Plot): Point[] {
  return points.filter(
    (point) =>
      typeof point.x === 'number' && (x.scale !== 'log' || point.x > 0) && (y.scale !== 'log' || point.low > 0),
  )
}

function xScale({ x }: Plot, places: readonly number[]): ObservablePlot.ScaleOptions {
  const isFew = places.length <= TICKS_MAX
  if (x.scale !== 'log') return { type: 'linear', tickFormat: tick, ...(isFew ? { ticks: [...places] } : {}) }
  if (!isFew) return { type: 'log', tickFormat: tick }
  // A logarithmic scale of Plot's leaves out the labels of ticks that are not round.
  return {
    type: 'linear',
    transform: Math.log,
    ticks: places.map(Math.log),
    tickFormat: (_: number, i: number) => tick(places[i]!),
  }
}

function valueScale({ y }: Plot): ObservablePlot.ScaleOptions {
  return y.scale === 'log'
    ? { type: 'log', grid: true, ticks: 5, tickFormat: tick }
    : { type: 'linear', grid: true, zero: true, ticks: 6, tickFormat: tick, nice: true }
}

function limitMarks({ limits = [] }: Plot, along: 'x' | 'y'): Mark[] {
  const style = { stroke: 'var(--faint)', strokeDasharray: '3 3' } as const
  return limits.flatMap(({ title, y }): Mark[] => {
    const text = { text: [title], fill: 'var(--faint)', frameAnchor: along === 'y' ? 'right' : 'top' } as const
    return along === 'y'
      ? [ObservablePlot.ruleY([y], style), ObservablePlot.text([y], { y: [y], dy: -7, textAnchor: 'end', ...text })]
      : [ObservablePlot.ruleX([y], style), ObservablePlot.text([y], { x: [y], dy: -10, ...text })]
  })
}

const color = (index: number) => `var(--series-${(index % COLORS) + 1})`

function lineStyle(index: number) {
  return { stroke: color(index), strokeWidth: 2, strokeDasharray: DASHES[index % DASHES.length]! }
}

/** After one round of the colours the markers are shifted: two series of a colour differ in these. */
function markerStyle(index: number) {
  const marker = MARKERS[(index + Math.floor(index / COLORS)) % MARKERS.length]!
  return { fill: color(index), symbol: marker, r: 4.5, stroke: 'var(--ground)', strokeWidth: 1 }
}

/** What is used of an element. */
interface SVGElementLike {
  readonly outerHTML: string
  getAttribute(name: string): string | null
  setAttribute(name: string, value: string): void
}

function draw(options: ObservablePlot.PlotOptions): SVGElementLike {
  const { document } = parseHTML('<!doctype html><html><body></body></html>')
  const svg = ObservablePlot.plot({ ...options, document, className: 'plot', style: { fontSize: '13px' } })
  // Its style sheet would be repeated in each; the report's has it.
  svg.querySelector('style')?.remove()
  for (const labelled of svg.querySelectorAll('[aria-label]')) labelled.removeAttribute('aria-label')
  return svg
}
