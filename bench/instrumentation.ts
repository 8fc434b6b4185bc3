// What the instrumentation costs: the stack as it is against the same stack without any counting in it (uncounted.ts), both at saturation
// under the load device, in the same run. In each round both are booted anew, so that what the compiler has made of them by chance
// is in the spread; then they are measured in turn, a fraction of a second each, and the pairs of neighbours are held
// against each other. Rates are by processor time of the process, so that what else the computer does counts for neither.
// The first line holds the stack against a copy of itself: what is no more than that is chance.
//   node dist/bench/instrumentation.js [--rounds 5] [--pairs 8] [--ms 250] [--cpus 1] [--only exchange] [--discipline connp-t]
//     [--part counters|handoffs|locks]...  takes out only these, to see where the cost lies
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { LoadWorkload } from '../src/device/load/options.ts'
import type { Discipline } from '../src/net/discipline.ts'
import { LoadedMachine } from './instrumentation-machine.ts'
import { median } from './report.ts'
import { PARTS, type Part, stripTree } from './uncounted.ts'

/** What the contract allows. */
const LIMIT = 0.03
const WARM_UP_MS = 1500

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    pairs: { type: 'string', default: '8' },
    ms: { type: 'string', default: '250' },
    cpus: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    discipline: { type: 'string', default: '' },
    part: { type: 'string', multiple: true, default: [...PARTS] },
  },
})
const rounds = Number(values.rounds)
const pairs = Number(values.pairs)
const ms = Number(values.ms)
const cpus = Number(values.cpus)

const WORKLOADS = [
  { workload: 'exchange', title: 'exchange 64 B', connections: 64 },
  { workload: 'bulk-in', title: 'bulk in', connections: 8 },
  { workload: 'short', title: 'short connections', connections: 64 },
] as const satisfies readonly { workload: LoadWorkload; title: string; connections: number }[]
const DISCIPLINES = [
  { discipline: 'connp-t', title: 'connp-t' },
  { discipline: 'connp-l', groups: 128, title: 'connp-l/128' },
] as const satisfies readonly { discipline: Discipline; groups?: number; title: string }[]

type Options = Parameters<typeof LoadedMachine.boot>[0]

const dist = new URL('../', import.meta.url)

/** The machine of a tree that lacks these parts. It lies below the repository, where the packages are found that the stack imports. */
async function without(parts: readonly Part[], name: string): Promise<typeof LoadedMachine> {
  const tree = new URL(`../../dist-${name}/`, import.meta.url)
  const removed = stripTree(fileURLToPath(dist), fileURLToPath(tree), parts)
  console.log(`  ${name}: ${removed} statements taken out`)
  const loaded = (await import(new URL('bench/instrumentation-machine.js', tree).href)) as {
    LoadedMachine: typeof LoadedMachine
  }
  return loaded.LoadedMachine
}

/** The rate of the stack as it is by that of the other one: one number for each pair. */
async function round(options: Options, otherIsFirst: boolean, Other: typeof LoadedMachine): Promise<number[]> {
  const real = await LoadedMachine.boot(options)
  const other = await Other.boot(options)
  try {
    for (const machine of otherIsFirst ? [other, real] : [real, other]) await machine.measure(WARM_UP_MS)
    const ratios: number[] = []
    for (let pair = 0; pair < pairs; pair++) {
      // Whoever is second in one pair is first in the next.
      const isSecond = pair % 2 === 1
      const before = isSecond ? await other.measure(ms) : 0
      const rate = await real.measure(ms)
      ratios.push(rate / (isSecond ? before : await other.measure(ms)))
    }
    return ratios
  } finally {
    await real.stop()
    await other.stop()
  }
}

/** Prints and returns the share of the throughput that the other stack has more. */
async function cost(label: string, options: Options, Other: typeof LoadedMachine): Promise<number> {
  const medians: number[] = []
  for (let i = 0; i < rounds; i++) medians.push(median(await round(options, i % 2 === 1, Other)))
  const percent = (ratio: number) => ((1 - ratio) * 100).toFixed(1)
  const spread = `rounds ${percent(Math.max(...medians))} to ${percent(Math.min(...medians))}`
  console.log(`  ${label.padEnd(44)} ${percent(median(medians)).padStart(6)} % of the throughput   (${spread})`)
  return 1 - median(medians)
}

async function main(): Promise<void> {
  console.log(`What counting costs, at saturation on ${cpus} CPUs (${rounds} rounds of ${pairs} pairs of ${ms} ms)`)
  const Uncounted = await without(values.part as Part[], 'uncounted')
  const workloads = WORKLOADS.filter(({ workload }) => workload.startsWith(values.only))
  const disciplines = DISCIPLINES.filter(({ discipline }) => discipline.startsWith(values.discipline))
  const cells = workloads.flatMap(({ title: of, ...load }) =>
    disciplines.map(({ title, ...discipline }) => ({
      label: `${of}, ${title}`,
      options: { cpus, ...load, ...discipline },
    })),
  )
  await cost('chance: a copy, nothing taken out', cells[0]!.options, await without([], 'copy'))
  const costs: number[] = []
  for (const { label, options } of cells) costs.push(await cost(label, options, Uncounted))
  console.log(`  the most: ${(Math.max(...costs) * 100).toFixed(1)} %; allowed: ${LIMIT * 100} %`)
}

await main()
