// Tables of the report: the first column heads its row, numbers stand right, the spread stands below its median.
import type { Entry, Table } from '../experiment.ts'
import { entryText, figure, spread } from '../format.ts'
import { type Content, html, type Markup } from './markup.ts'

/** `id` is of the caption, which also names the region that scrolls where the table is too wide. */
export function drawTable({ title, note, columns, rows }: Table, id: string): Markup {
  const isNumber = columns.map(
    (_, i) => rows.every((row) => isFigure(row[i])) && rows.some((row) => row[i] !== undefined),
  )
  const kind = (i: number) => (isNumber[i] ? 'number' : 'word')
  const head = columns.map(
    ({ title, unit }, i) =>
      html`<th scope="col" class="${kind(i)}">${title}${unit === undefined || unit === '' ? '' : html` <span class="unit">${unit}</span>`}</th>`,
  )
  const body = rows.map(
    (row) =>
      html`<tr>${columns.map((_, i) =>
        i === 0
          ? html`<th scope="row" class="${kind(i)}">${entry(row[i])}</th>`
          : html`<td class="${kind(i)}">${entry(row[i])}</td>`,
      )}</tr>\n`,
  )
  return html`<div class="scroll" role="region" aria-labelledby="${id}" tabindex="0">
<table>
<caption id="${id}">${title}</caption>
<thead><tr>${head}</tr></thead>
<tbody>
${body}</tbody>
</table>
</div>${
    note === undefined
      ? ''
      : html`
<p class="note">${note}</p>`
  }`
}

function isFigure(entry: Entry): boolean {
  return entry === undefined || typeof entry === 'number' || typeof entry === 'object'
}

function entry(value: Entry): Content {
  if (typeof value !== 'object') return entryText(value)
  if (spread(value) === figure(value.median)) return figure(value.median)
  return html`${figure(value.median)} <span class="spread">${figure(value.low)} to ${figure(value.high)}</span>`
}
