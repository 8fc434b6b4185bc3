// What it costs to know who sent what: the stack in each trace mode against the same stack with no tracing in it (untraced.ts), at saturation under
// the load device, in the same run; 64-byte questions and answers over TCP. In each round both are booted anew; then they are measured
// in turn, and neighbours are held against each other. Rates are by processor time, as in bench/instrumentation.ts.
// The first line holds the stack against a copy of itself: what is no more than that is chance.
//   node dist/bench/provenance.js [--rounds 5] [--pairs 8] [--ms 250] [--cpus 1] [--connections 64] [--modes off,1/1000,all]
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { parseTraceMode, setTraceMode, type TraceMode, traceModeText } from '../src/kernel/trace/mode.ts'
import { LoadedMachine } from './instrumentation-machine.ts'
import { median } from './report.ts'
import { stripTree } from './uncounted.ts'
import { untraceTree } from './untraced.ts'

const WARM_UP_MS = 1500

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    pairs: { type: 'string', default: '8' },
    ms: { type: 'string', default: '250' },
    cpus: { type: 'string', default: '1' },
    connections: { type: 'string', default: '64' },
    modes: { type: 'string', default: 'off,1/1000,all' },
  },
})
const rounds = Number(values.rounds)
const pairs = Number(values.pairs)
const ms = Number(values.ms)
const options = {
  cpus: Number(values.cpus),
  discipline: 'connp-t',
  workload: 'exchange',
  connections: Number(values.connections),
} as const

const MODES: readonly TraceMode[] = values.modes.split(',').map(parseTraceMode)
/** What the contract asks of some: the share of the throughput without tracing that is left, at least. */
const LEAST: ReadonlyMap<TraceMode, number> = new Map<TraceMode, number>([
  ['off', 0.995],
  [1000, 0.97],
  ['all', 0.2],
])

const dist = new URL('../', import.meta.url)

/** The machine of another tree. It lies below the repository, where the packages are found that the stack imports. */
async function treeOf(name: string, make: (from: string, to: string) => number): Promise<typeof LoadedMachine> {
  const tree = new URL(`../../dist-${name}/`, import.meta.url)
  const places = make(fileURLToPath(dist), fileURLToPath(tree))
  console.log(`  ${name}: changed in ${places} places`)
  const loaded = (await import(new URL('bench/instrumentation-machine.js', tree).href)) as {
    LoadedMachine: typeof LoadedMachine
  }
  return loaded.LoadedMachine
}

/** The rate in a mode by that of the other stack, in the same fraction of a second: a median for each mode. */
async function round(
  modes: readonly TraceMode[],
  Other: typeof LoadedMachine,
  otherIsFirst: boolean,
): Promise<number[]> {
  const real = await LoadedMachine.boot(options)
  const other = await Other.boot(options)
  try {
    for (const machine of otherIsFirst ? [other, real] : [real, other]) await machine.measure(WARM_UP_MS)
    const medians: number[] = []
    for (const mode of modes) {
      setTraceMode(real.memory, mode)
      // What a mode runs has to be compiled as well; with 1/N it is run seldom.
      await real.measure(WARM_UP_MS)
      const ratios: number[] = []
      for (let pair = 0; pair < pairs; pair++) {
        const isSecond = pair % 2 === 1
        const before = isSecond ? await other.measure(ms) : 0
        const rate = await real.measure(ms)
        ratios.push(rate / (isSecond ? before : await other.measure(ms)))
      }
      medians.push(median(ratios))
    }
    return medians
  } finally {
    await real.stop()
    await other.stop()
  }
}

function line(label: string, ratios: readonly number[], least?: number): void {
  const percent = (ratio: number) => (ratio * 100).toFixed(1)
  const spread = `rounds ${percent(Math.min(...ratios))} to ${percent(Math.max(...ratios))}`
  const bar = least === undefined ? '' : `; asked for: ${percent(least)}`
  console.log(`  ${label.padEnd(34)} ${percent(median(ratios)).padStart(6)} % of the throughput   (${spread}${bar})`)
}

async function main(): Promise<void> {
  console.log(
    `What tracing costs, at saturation on ${options.cpus} CPUs, ${options.connections} connections (${rounds} rounds of ${pairs} pairs of ${ms} ms)`,
  )
  const Untraced = await treeOf('untraced', untraceTree)
  const Copy = await treeOf('copy', (from, to) => stripTree(from, to, []))
  const chance: number[] = []
  const found: number[][] = MODES.map(() => [])
  for (let i = 0; i < rounds; i++) {
    chance.push(...(await round(['off'], Copy, i % 2 === 1)))
    const ratios = await round(MODES, Untraced, i % 2 === 1)
    for (const [m, ratio] of ratios.entries()) found[m]!.push(ratio)
  }
  line('chance: a copy, nothing changed', chance)
  for (const [m, mode] of MODES.entries()) line(`mode ${traceModeText(mode)}`, found[m]!, LEAST.get(mode))
}

await main()
