// The report's style sheet. Colours are variables, for light and for dark; on paper it is always light. The series' colours
// are of Okabe and Ito's palette, which people with any kind of colour vision can tell apart, made darker or lighter until
// they stand out from the ground by 3:1 (WCAG 2.2, 1.4.11; a test computes it); text has 4.5:1 at least.

export const LIGHT = {
  ground: '#ffffff',
  raised: '#f4f6f8',
  text: '#1a1f26',
  faint: '#566070',
  line: '#d3d9e0',
  accent: '#0b5c94',
  warning: '#8f3d00',
  'series-1': '#0072b2',
  'series-2': '#d55e00',
  'series-3': '#008a64',
  'series-4': '#a8488a',
  'series-5': '#8a6a00',
  'series-6': '#3d4550',
} as const satisfies Palette

export const DARK = {
  ground: '#12161b',
  raised: '#1b2129',
  text: '#e6eaef',
  faint: '#a0abb8',
  line: '#343d48',
  accent: '#6cbcf0',
  warning: '#f0a36c',
  'series-1': '#56b4e9',
  'series-2': '#f08a3c',
  'series-3': '#2fc596',
  'series-4': '#e08fc4',
  'series-5': '#e3c53a',
  'series-6': '#c3cbd5',
} as const satisfies Palette

export interface Palette {
  readonly [name: string]: string
}

export function variables(palette: Palette): string {
  return Object.entries(palette)
    .map(([name, color]) => `--${name}:${color};`)
    .join('')
}

export const STYLE = `
:root { color-scheme: light dark; ${variables(LIGHT)} }
@media screen and (prefers-color-scheme: dark) { :root { ${variables(DARK)} } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; background: var(--ground); color: var(--text);
  font: 1rem/1.6 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
.skip { position: absolute; left: -100vw; padding: .5rem 1rem; background: var(--ground); z-index: 1; }
.skip:focus { left: 1rem; top: 1rem; }
.page { max-width: 76rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; display: grid; gap: 0 3rem;
  grid-template-columns: minmax(0, 1fr); }
header h1 { font-size: 2.1rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.015em; }
header p { margin: 0; color: var(--faint); max-width: 46rem; }
header { border-bottom: 1px solid var(--line); padding-bottom: 1.5rem; margin-bottom: 1.5rem; }
nav h2 { font-size: .8rem; text-transform: uppercase; letter-spacing: .08em; color: var(--faint); margin: 0 0 .5rem; }
nav ol { list-style: none; margin: 0 0 2rem; padding: 0; font-size: .925rem; }
nav a { display: block; padding: .2rem 0; text-decoration: none; }
nav a:hover { text-decoration: underline; }
@media (min-width: 62rem) {
  .page { grid-template-columns: 14rem minmax(0, 1fr); }
  header { grid-column: 1 / -1; }
  nav { position: sticky; top: 1.5rem; align-self: start; max-height: calc(100vh - 3rem); overflow-y: auto; }
}
main > * { margin-bottom: 3.5rem; }
h2 { font-size: 1.45rem; line-height: 1.3; margin: 0 0 .75rem; letter-spacing: -.01em; }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { max-width: 46rem; margin: 0 0 .9rem; }
.question { font-size: 1.1rem; color: var(--faint); }
.conclusion { border-left: 4px solid var(--accent); background: var(--raised); padding: .9rem 1.1rem; margin: 1.25rem 0;
  border-radius: 0 6px 6px 0; }
.conclusion p:last-child { margin: 0; }
.warning { border-left-color: var(--warning); }
.label { display: block; font-size: .8rem; font-weight: 600; text-transform: uppercase; letter-spacing: .08em; color: var(--accent); }
.warning .label { color: var(--warning); }
.findings { margin: 0; }
.findings dt { font-weight: 600; }
.findings dd { margin: 0 0 1rem; max-width: 46rem; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .3rem 1.5rem; margin: 0; }
.facts dt { color: var(--faint); }
.facts dd { margin: 0; }
figure { margin: 1.5rem 0; }
figcaption { font-weight: 600; margin-bottom: .4rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; list-style: none; margin: 0 0 .4rem; padding: 0; font-size: .9rem; }
.legend li { display: flex; align-items: center; gap: .45rem; }
svg { display: block; max-width: 100%; height: auto; overflow: visible; }
figure .scroll { margin: 0; }
figure .scroll svg { min-width: 34rem; }
svg text { white-space: pre; }
.note { font-size: .85rem; color: var(--faint); margin-top: .4rem; }
.scroll { overflow-x: auto; margin: 1.25rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; font-size: 1rem; padding-bottom: .4rem; }
th, td { padding: .35rem .9rem .35rem 0; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; white-space: normal; }
tbody th { font-weight: 500; }
.number { text-align: right; }
th:last-child, td:last-child { padding-right: 0; }
.unit { display: block; font-weight: 400; color: var(--faint); }
.spread { display: block; font-size: .8rem; color: var(--faint); }
pre { background: var(--raised); padding: .9rem 1.1rem; border-radius: 6px; overflow-x: auto; font-size: .9rem; }
code { font-family: ui-monospace, 'SF Mono', Menlo, Consolas, monospace; }
footer { grid-column: 1 / -1; border-top: 1px solid var(--line); padding-top: 1rem; color: var(--faint); font-size: .9rem; }
@media print {
  @page { margin: 16mm; }
  body { font-size: 10pt; }
  .page { display: block; padding: 0; max-width: none; }
  .skip, nav { display: none; }
  article { break-before: page; }
  figure, .conclusion, tr { break-inside: avoid; }
  h2, h3, caption { break-after: avoid; }
  .scroll { overflow: visible; }
  figure .scroll svg { min-width: 0; }
  table { font-size: 7.5pt; }
  .spread { font-size: 6.5pt; }
  th, td { padding-right: .5rem; }
  td.word, tbody th { white-space: normal; }
  a { color: inherit; text-decoration: none; }
}
`
