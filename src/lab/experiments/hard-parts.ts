// The parts that all connections share, which is where a stack of messages is said to be hard: what they cost with a replica or an
// owner for each CPU and messages between them, and what one for all costs under locks.
import { Limits } from '../../base/limits.ts'
import type { CellParameters, Entry, Experiment, Plot, Point, Table } from '../experiment.ts'
import { figure } from '../format.ts'
import type { MeasuredCell, Measurements } from '../measurements.ts'
import { sweep } from '../sweep.ts'
import { type Contest, type Duel, duel } from './duel.ts'
import { accountingTable } from './recorded.ts'

const CONTEST: Contest = { parameter: 'form', champion: 'messages' }
const FORMS: { readonly [form: string]: string } = { messages: 'messages', lock: 'one lock', locks: 'many locks' }
const METRICS = ['nanoseconds', 'rate', 'changes', 'locks', 'contention', 'queued', 'messages', 'visible'] as const
/** Of changes to lookups. */
const SHARES = [0, 0.0001, 0.01, 0.1]

export const hardParts: Experiment = {
  name: 'hard-parts',
  title: 'The parts that all connections share',
  question:
    'Connections can be dealt out to CPUs; the routes, the host cache and the fragments of datagrams belong to all of them. What does a packet pay for these by messages, and what under locks?',
  method: `Each part by itself, on CPUs that never sleep. Routes: a lookup for each packet, among routes as of the Internet. Host cache: a
lookup for each connection, among 512 destinations. Reassembly: datagrams of four fragments with 64 bytes each, until they are whole.

By messages is what the stack does. Each CPU has a replica of the routes, and a change goes round as one message, from CPU to CPU. Each
CPU has a replica of the host cache; what is new goes to the destination’s home CPU, which tells the others, not more often than ten
times a second for each destination. A fragment is handed to the CPU that owns its addresses.

Under locks there is one of each for all CPUs, with the same records in shared memory. The routes are under one reader-writer lock. The
host cache and reassembly are under one mutex, or under many: one for each row of the host cache, as FreeBSD has it, and 64 for
reassembly. Both forms find the same, which is tested.

The share is of changes by lookups; for reassembly it is of the datagrams that come to another CPU than the owner of their addresses. All CPUs
look up and change. Where messages hold changes up, lookups wait for them, so that the share holds. The time is that of a processor,
with everything the CPU did; it leaves out what else the machine did. How long a change takes to be seen is as good as one look for it in
each 64 packets; of the host cache it is asked less than ten times a second, so that what a destination’s news may have to wait, up to 100 ms,
is not in it.`,
  metrics: [
    { name: 'nanoseconds', title: 'time of a packet', unit: 'ns', better: 'less' },
    { name: 'rate', title: 'packets', unit: 'million a second', scale: 1e6, better: 'more' },
    { name: 'changes', title: 'changes', unit: 'thousand a second', scale: 1000, better: 'more' },
    { name: 'locks', title: 'locks taken', unit: 'a packet', better: 'less' },
    { name: 'contention', title: 'of these waited', unit: '%', scale: 0.01, better: 'less' },
    { name: 'queued', title: 'queue operations', unit: 'a packet', better: 'less' },
    { name: 'messages', title: 'messages', unit: 'a packet', better: 'less' },
    { name: 'visible', title: 'a change seen by all', unit: 'µs', better: 'less' },
  ],
  cells: ({ full, processors }) => {
    const all = Math.min(Math.max(2, processors), Limits.cpus)
    const cpus = full ? [1, all] : [2]
    const shares = full ? SHARES : [0.01]
    const forms = full ? ['messages', 'lock', 'locks'] : ['messages', 'locks']
    return [
      ...sweep('hard-part', {
        part: ['routes'],
        cpus,
        routes: full ? [10, 1000, 10_000] : [1000],
        changes: shares,
        form: ['messages', 'lock'],
      }),
      ...sweep('hard-part', { part: ['hostcache'], cpus, changes: shares, form: forms }),
      ...cpus.flatMap((cpus) => {
        const away = cpus === 1 ? [0] : full ? [0, 0.25, 0.5, 1] : [0.5]
        return sweep('hard-part', { part: ['reassembly'], cpus: [cpus], away, form: forms })
      }),
    ]
  },
  table,
  plot,
  conclude,
  accounting: (results) =>
    results.where({ cpus: mostCpus(results) }).cells.flatMap((cell) => {
      const form = FORMS[String(cell.parameters.form)]!
      const name = cell.parameters.form === 'messages' ? 'queues' : 'locks'
      return accountingTable(cell, name, 'nanoseconds', `${name}: ${situation(cell.parameters)}, ${form}`)
    }),
}

function mostCpus(results: Measurements): number {
  return Math.max(...results.values('cpus').map(Number))
}

/** What a cell measures, in words that leave out by which form and on how many CPUs. */
function situation({ part, routes, changes, away }: CellParameters): string {
  if (part === 'reassembly') return `fragments, ${away === 0 ? 'all at their owner' : `${percent(away)} elsewhere`}`
  const often = changes === 0 ? 'no change' : `a change in ${figure(Math.round(1 / Number(changes)))}`
  return part === 'routes' ? `${figure(Number(routes))} routes, ${often}` : `host cache, ${often}`
}

function percent(share: unknown): string {
  return `${figure(Number(share) * 100)} %`
}

/** Situations on so many CPUs, each with its cells by form, in the order of the sweep. */
function situations(results: Measurements, cpus: number): Map<string, MeasuredCell[]> {
  const all = new Map<string, MeasuredCell[]>()
  for (const cell of results.where({ cpus }).cells) {
    const name = situation(cell.parameters)
    all.set(name, [...(all.get(name) ?? []), cell])
  }
  return all
}

function table(results: Measurements): Table {
  const rows = results.cells.map((cell): Entry[] => {
    const { cpus, form } = cell.parameters
    return [situation(cell.parameters), cpus, FORMS[String(form)], ...METRICS.map((name) => cell.summary(name))]
  })
  const columns = METRICS.map((name) => {
    const { title, unit } = results.metric(name)
    return { title, unit }
  })
  return {
    title: 'What a packet pays for what all share',
    columns: [{ title: 'part' }, { title: 'CPUs' }, { title: 'form' }, ...columns],
    rows,
  }
}

/** Parts differ by more than their forms do: drawn is what locks cost by what messages cost. */
function plot(results: Measurements): Plot {
  const cpus = mostCpus(results)
  const points = (form: string) =>
    [...situations(results, cpus)].flatMap(([x, cells]): Point[] => {
      const base = cells.find(({ parameters }) => parameters.form === CONTEST.champion)?.median('nanoseconds')
      const mine = cells.find(({ parameters }) => parameters.form === form)?.summary('nanoseconds')
      if (base === undefined || base === 0 || mine === undefined) return []
      return [{ x, y: mine.median / base, low: mine.low / base, high: mine.high / base }]
    })
  const forms = results
    .values('form')
    .map(String)
    .filter((form) => form !== CONTEST.champion)
  return {
    title: `The time of a packet under locks, by that with messages, on ${cpus} CPUs`,
    x: { title: 'part', scale: 'category' },
    y: { title: 'times the median of messages', scale: 'linear' },
    series: forms
      .map((form) => ({ name: FORMS[form]!, points: points(form) }))
      .filter(({ points }) => points.length > 0),
    limits: [{ title: 'messages', y: 1 }],
  }
}

function conclude(results: Measurements): string {
  const cpus = mostCpus(results)
  const duels = [...situations(results, cpus)].flatMap(([name, [cell]]) => {
    const { form: _, ...where } = cell!.parameters
    const each = duel(results, 'nanoseconds', where, CONTEST)
    return each === undefined ? [] : [{ name, where, each }]
  })
  if (duels.length === 0) return 'Too little was measured to compare messages with locks.'
  const won = (verdict: Duel['verdict']) => duels.filter(({ each }) => each.verdict === verdict).length
  return [
    `On ${cpus} CPUs messages cost a packet less than the best of the locks in ${won('wins')} of ${duels.length} cases, and more in ${won('loses')}.`,
    ...duels.map(({ name, each }) => `${name}: ${verdictText(each)}.`).map(capital),
    ...crossovers(duels),
    ...contention(results.where({ cpus })),
    ...visibility(results.where({ cpus })),
  ].join(' ')
}

function verdictText({ champion, rival, rivalName, ratio, verdict }: Duel): string {
  const figures = `${figure(champion.median)} against ${figure(rival.median)} ns of ${FORMS[rivalName]}`
  if (verdict === 'even') return `messages and ${FORMS[rivalName]} are alike within their spread (${figures})`
  return verdict === 'wins'
    ? `messages win with ${figures} (${figure(1 / ratio)} times as fast)`
    : `${FORMS[rivalName]} ${rivalName === 'locks' ? 'win' : 'wins'}: messages take ${figures} (${figure(ratio)} times as long)`
}

interface Case {
  readonly name: string
  readonly where: CellParameters
  readonly each: Duel
}

/** For each part that was measured at several shares: from which one on the other form costs less. */
function crossovers(duels: readonly Case[]): string[] {
  const parts = new Map<string, { readonly share: number; readonly ratio: number }[]>()
  for (const { where, each } of duels) {
    const { part, routes, changes, away } = where
    const name =
      part === 'routes' ? `${figure(Number(routes))} routes` : part === 'hostcache' ? 'the host cache' : 'fragments'
    const list = parts.get(name) ?? []
    list.push({ share: Number(changes ?? away), ratio: each.ratio })
    parts.set(name, list)
  }
  return [...parts].filter(([, list]) => list.length > 1).map(([name, list]) => `${crossover(name, list)}.`)
}

function crossover(name: string, unsorted: readonly { readonly share: number; readonly ratio: number }[]): string {
  const list = unsorted.toSorted((a, b) => a.share - b.share)
  const [low, high] = [list[0]!, list.at(-1)!]
  const cheap = (ratio: number) => (ratio < 1 ? 'messages' : 'locks')
  const after = list.findIndex(({ ratio }, i) => i > 0 && cheap(ratio) !== cheap(list[i - 1]!.ratio))
  if (after < 0)
    return `With ${name} ${cheap(low.ratio)} cost less at all shares from ${shareText(low.share)} to ${shareText(high.share)}`
  const [from, to] = [list[after - 1]!, list[after]!]
  const first = `With ${name} ${cheap(from.ratio)} cost less up to`
  if (from.share === 0 || from.ratio === 0)
    return `${first} a share between ${shareText(from.share)} and ${shareText(to.share)}`
  // Both sides of the crossing are known: on a straight line between them, both axes logarithmic.
  const part = Math.log(from.ratio) / (Math.log(from.ratio) - Math.log(to.ratio))
  return `${first} a share of about ${shareText(from.share * (to.share / from.share) ** part)}`
}

function shareText(share: number): string {
  return percent(share)
}

function contention(results: Measurements): string[] {
  const worst = results.cells
    .map((cell) => ({ cell, share: cell.median('contention') ?? 0 }))
    .reduce((most, each) => (each.share > most.share ? each : most))
  if (worst.share === 0) return []
  const { form } = worst.cell.parameters
  return [
    `Locks were found held most often with ${situation(worst.cell.parameters)}, ${FORMS[String(form)]}: ${figure(worst.share)} % of the times.`,
  ]
}

/** The other side of a replica: it learns late. */
function visibility(results: Measurements): string[] {
  return (['routes', 'hostcache'] as const).flatMap((part) => {
    const late = (form: string) => {
      const cells = results.where({ part, form }).cells
      return Math.max(0, ...cells.map((cell) => cell.median('visible') ?? 0))
    }
    const [messages, locks] = [late('messages'), Math.max(late('lock'), late('locks'))]
    if (messages === 0 || locks === 0) return []
    const what = part === 'routes' ? 'A change of the routes' : 'News for the host cache'
    return [
      `${what} took up to ${figure(messages)} µs by messages until all CPUs saw it, and up to ${figure(locks)} µs under locks (medians).`,
    ]
  })
}

function capital(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1)
}
