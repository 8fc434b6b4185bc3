// The report: one HTML file that needs no network and no script. What was asked, how it was measured and on what, each
// experiment with its plot, its table and its conclusion, and how to do it again.
import { isBusy } from '../computer.ts'
import type { Experiment, Table } from '../experiment.ts'
import { conclusion, type Finding, findings } from '../finding.ts'
import { duration, figure } from '../format.ts'
import type { Measurements } from '../measurements.ts'
import { isMeasured } from '../outcome.ts'
import type { Plan } from '../plan.ts'
import type { Results, Run } from '../results.ts'
import { GENERATOR } from './generator.ts'
import { type Content, html, type Markup, paragraphs } from './markup.ts'
import { drawPlot } from './plot.ts'
import { STYLE } from './style.ts'
import { drawTable } from './table.ts'

export function reportText(experiments: readonly Experiment[], results: Results): string {
  const found = findings(experiments, results)
  const page = html`<body>
<a class="skip" href="#main">To the findings</a>
<div class="page">
<header>
<h1>Message passing or locks: the laboratory’s report</h1>
<p>${introduction(results)}</p>
</header>
${contents(found)}
<main id="main" tabindex="-1">
${summary(found)}
${method(results)}
${machine(results)}
${found.map(section)}
${repeat(results.plan)}
</main>
<footer>Made by <code>damselfly lab</code>, the laboratory of Damselfly, a multi-core TCP/IP stack in user space for Node.js.</footer>
</div>
</body>`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
${GENERATOR}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Damselfly: the laboratory’s report</title>
<style>${STYLE}</style>
</head>
${page.text}
</html>
`
}

function introduction({ plan, runs, computer, began }: Results): string {
  const experiments = plan.experiments.length
  const cells = plan.experiments.reduce((sum, each) => sum + each.cells.length, 0)
  return (
    `${experiments} ${experiments === 1 ? 'experiment' : 'experiments'} with ${cells} ${cells === 1 ? 'cell' : 'cells'}, ` +
    `${figure(runs.length)} runs, begun on ${day(began)} on ${computer.processors} × ${computer.model}, ` +
    `Node.js ${computer.node}. ${plan.full ? 'The full form.' : 'The quick form: short runs, wide spreads.'}`
  )
}

function contents(found: readonly Finding[]): Markup {
  const entries: [string, string][] = [
    ['findings', 'What was found'],
    ['method', 'How it was measured'],
    ['machine', 'The machine'],
    ...found.map(({ experiment }): [string, string] => [anchor(experiment), experiment.title]),
    ['repeat', 'How to repeat it'],
  ]
  return html`<nav aria-labelledby="contents">
<h2 id="contents">Contents</h2>
<ol>
${entries.map(([id, title]) => html`<li><a href="#${id}">${title}</a></li>\n`)}</ol>
</nav>`
}

const anchor = ({ name }: Experiment) => `experiment-${name}`

function part(id: string, title: string, content: Content): Markup {
  return html`<section id="${id}" aria-labelledby="${id}-heading">
<h2 id="${id}-heading">${title}</h2>
${content}
</section>`
}

function summary(found: readonly Finding[]): Markup {
  const entries = found.map(
    (finding) =>
      html`<dt><a href="#${anchor(finding.experiment)}">${finding.experiment.title}</a></dt>
<dd>${conclusion(finding)}</dd>\n`,
  )
  return part('findings', 'What was found', html`<dl class="findings">\n${entries}</dl>`)
}

function method({ plan, runs }: Results): Markup {
  const took = runs.reduce((sum, { ms }) => sum + ms, 0)
  return part(
    'method',
    'How it was measured',
    html`<p>Every cell of a sweep is run in a process of its own, for ${plan.seconds} s after warming up, and ${timesText(plan, runs)}
The runs are interleaved: every cell once, in an order that the plan’s seed shuffles, then every cell again in another. So a machine
whose speed drifts drifts for all of them, and no cell always follows the same other one. All runs together took
${duration(took)}.${sharedText(runs)}</p>
<p>Tables and plots show the median of the repetitions and, as the spread, the lowest and the highest of them. Two figures whose
spreads overlap are not told apart by this measurement.</p>`,
  )
}

/** How often each cell ran, which in the quick form is as often as there was time for. */
function timesText(plan: Plan, runs: readonly Run[]): string {
  const { repetitions, budgetSeconds, experiments } = plan
  const wanted = repetitions === 1 ? 'once' : `${figure(repetitions)} times`
  const counts = new Map(experiments.flatMap(({ name, cells }) => cells.map(({ key }) => [`${name} ${key}`, 0])))
  for (const { experiment, cell } of runs) counts.set(`${experiment} ${cell}`, counts.get(`${experiment} ${cell}`)! + 1)
  const [least, most] = [Math.min(...counts.values()), Math.max(...counts.values())]
  if (least === repetitions) return `${wanted}.`
  const ran = least === most ? `${least}` : `${least} to ${most}`
  const limit =
    budgetSeconds === undefined ? '' : ` as far as the ${figure(budgetSeconds)} s of the quick form allow, which was`
  return `${wanted}${limit === '' ? '; so far each ran' : limit} ${ran} ${ran === '1' ? 'time' : 'times'}.`
}

function sharedText(runs: readonly Run[]): string {
  const shared = runs.filter(({ measuredFor }) => measuredFor !== undefined).length
  if (shared === 0) return ''
  return ` Cells that are the same in two experiments were measured once for both: ${figure(shared)} of the runs.`
}

function machine({ computer, began }: Results): Markup {
  const facts: [string, string][] = [
    ['Processors', `${computer.processors} × ${computer.model} (${computer.architecture})`],
    ['Memory', `${figure(Number((computer.memoryBytes / 2 ** 30).toFixed(1)))} GiB`],
    [
      'Load before',
      `${figure(computer.load)}${isBusy(computer) ? ': others were at work, and show in these figures' : ''}`,
    ],
    ['Kernel', computer.kernel],
    ['Node.js', `${computer.node} (V8 ${computer.v8})`],
    ['Begun', `${began.slice(0, 16).replace('T', ' ')} UTC`],
  ]
  return part(
    'machine',
    'The machine',
    html`<dl class="facts">${facts.map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>\n`)}</dl>`,
  )
}

function section(finding: Finding): Markup {
  const { experiment, results } = finding
  const id = anchor(experiment)
  const drawn = results.isEmpty
    ? ''
    : html`${drawPlot(experiment.plot(results), `${id}-plot`)}
${drawTable(experiment.table(results), `${id}-table`)}
${(experiment.plots?.(results) ?? []).map((plot, i) => drawPlot(plot, `${id}-plot-${i + 2}`))}
${(experiment.tables?.(results) ?? []).map((table, i) => drawTable(table, `${id}-table-${i + 2}`))}`
  return html`<article id="${id}" aria-labelledby="${id}-heading">
<h2 id="${id}-heading">${experiment.title}</h2>
<p class="question">${experiment.question}</p>
<div class="conclusion"><span class="label">Conclusion</span>${paragraphs(conclusion(finding))}</div>
${drawn}
<h3>Method</h3>
${paragraphs(experiment.method)}
${results.isEmpty ? '' : accounting(experiment.accounting?.(results) ?? [], id)}
${missing(results)}
</article>
`
}

function accounting(tables: readonly Table[], id: string): Content {
  if (tables.length === 0) return undefined
  return html`<h3>Accounting</h3>
${tables.map((table, i) => drawTable(table, `${id}-accounting-${i + 1}`))}`
}

/** The cells that did not run, and those of which a repetition or more gave no figure, with the reasons. */
function missing({ cells }: Measurements): Content {
  const lines = cells.flatMap(({ key, outcomes }) => {
    if (outcomes.length === 0)
      return [html`<li>${key === '' ? 'the cell' : key}: it did not run; there was no time left</li>\n`]
    const reasons = outcomes.flatMap((outcome) =>
      isMeasured(outcome) ? [] : ['error' in outcome ? outcome.error : outcome.impossible],
    )
    return [...new Set(reasons)].map((reason) => {
      const times = reasons.filter((other) => other === reason).length
      return html`<li>${key === '' ? 'the cell' : key}, ${times} of ${outcomes.length}: ${reason}</li>\n`
    })
  })
  if (lines.length === 0) return undefined
  return html`<div class="conclusion warning"><span class="label">Not measured</span>
<ul>
${lines}</ul></div>`
}

function repeat(plan: Plan): Markup {
  return part(
    'repeat',
    'How to repeat it',
    html`<p>The plan, with the seed ${plan.seed}, was saved beside this report. It gives the same cells in the same order, and each
the same seed:</p>
<pre tabindex="0"><code>damselfly lab --plan plan.json --out again</code></pre>
<p>Without the file, on a machine with as many processors and where the sweep was not restricted:</p>
<pre tabindex="0"><code>${command(plan)}</code></pre>`,
  )
}

function command({ experiments, full, seed, repetitions, seconds }: Plan): string {
  const names = experiments.map(({ name }) => name).join(' ')
  return `damselfly lab ${names}${full ? ' --full' : ''} --seed ${seed} --repeat ${repetitions} --seconds ${seconds}`
}

function day(time: string): string {
  return time.slice(0, 10)
}
