// A plot as a file of its own: an SVG with its title, its legend and its colours in it, which a browser shows light or dark as its
// user has it. For a page that shows a picture of a measurement.
import type { Plot } from '../experiment.ts'
import type { Finding } from '../finding.ts'
import type { Results } from '../results.ts'
import { type Content, html, Markup } from './markup.ts'
import { drawnPlot, LETTER, legendOf, SWATCH_WIDTH } from './plot.ts'
import { DARK, LIGHT, variables } from './style.ts'

const MARGIN = 24
const TITLE = 50
const LEGEND_ROW = 26
const FOOTER = 44
const GAP = 8

/** The pictures of an experiment, the first one by its name and those behind it with a number. */
export function picturesOf({ experiment, results }: Finding, all: Results): { name: string; text: string }[] {
  if (results.isEmpty) return []
  return [experiment.plot(results), ...(experiment.plots?.(results) ?? [])].flatMap((plot, i) => {
    const text = pictureOf(plot, all)
    return text === undefined ? [] : [{ name: `${experiment.name}${i === 0 ? '' : `-${i + 1}`}.svg`, text }]
  })
}

/** The text of the file; undefined where there is nothing to draw. */
function pictureOf(plot: Plot, results: Results): string | undefined {
  const drawn = drawnPlot(plot, 'plot')
  if (drawn === undefined) return undefined
  const width = drawn.width + 2 * MARGIN
  const legend = placedLegend(plot, drawn.width)
  const top = TITLE + legend.height + GAP
  const height = top + drawn.height + FOOTER
  const picture = html`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
<title>${plot.title}</title>
<style>${new Markup(STYLE)}</style>
<rect class="ground" width="${width}" height="${height}" rx="8"/>
<text class="title" x="${MARGIN}" y="${TITLE - 14}">${plot.title}</text>
${legend.items}
<g transform="translate(${MARGIN},${top})">${drawn.svg}</g>
<text class="note" x="${MARGIN}" y="${height - FOOTER / 2}">${origin(results)}</text>
</svg>
`
  return picture.text
}

/** In rows, as many names in each as there is room for. */
function placedLegend(plot: Plot, width: number): { items: Content; height: number } {
  let x = 0
  let row = 0
  const items = legendOf(plot).map(({ name, swatch }) => {
    const wide = SWATCH_WIDTH + GAP + name.length * LETTER
    if (x > 0 && x + wide > width) {
      x = 0
      row++
    }
    const y = TITLE + row * LEGEND_ROW
    const item = html`<g transform="translate(${MARGIN + x},${y})">${swatch}<text class="name" x="${SWATCH_WIDTH + GAP}" y="11">${name}</text></g>\n`
    x += wide + 3 * GAP
    return item
  })
  return { items, height: items.length === 0 ? 0 : (row + 1) * LEGEND_ROW }
}

/** Where the figures come from, which a picture must say itself: it goes about without its report. */
function origin({ computer, plan, began }: Results): string {
  const { processors, model, node } = computer
  const form = plan.full ? '--full' : 'quick form'
  return `${processors} × ${model}, Node ${node}, ${began.slice(0, 10)}; damselfly lab, ${form}: up to ${plan.repetitions} runs of ${plan.seconds} s each, median and spread`
}

const STYLE = `
svg { ${variables(LIGHT)} color: var(--text); }
@media (prefers-color-scheme: dark) { svg { ${variables(DARK)} } }
.ground { fill: var(--ground); }
text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; }
.title { fill: var(--text); font-size: 17px; font-weight: 600; }
.name { fill: var(--text); font-size: 13px; text-anchor: start; }
.note { fill: var(--faint); font-size: 11px; }
`
