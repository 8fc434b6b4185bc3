// What it costs to know who sent what: the stack in each trace mode against the same stack with no tracing in it (untraced.ts), at saturation under
// the load device, in the same run; 64-byte questions and answers over TCP. In each round both are booted anew; then the other stack and each mode
// of the real one are measured in turn. Rates are by processor time, as in bench/instrumentation.ts.
//
// Each mode is held against the other stack, and against mode off of the same machine: of two machines, though they run the same, one is often some
// percent faster as long as it lives, so the second is the finer measure of what a mode adds. What a line of chance says is no more than that: of the
// first kind it is the other stack against a copy of the real one, of the second mode off against itself.
//   node dist/bench/provenance.js [--rounds 5] [--turns 8] [--ms 250] [--cpus 1] [--connections 64] [--modes 1/1000,all]
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
    turns: { type: 'string', default: '8' },
    ms: { type: 'string', default: '250' },
    cpus: { type: 'string', default: '1' },
    connections: { type: 'string', default: '64' },
    modes: { type: 'string', default: '1/1000,all' },
  },
})
const rounds = Number(values.rounds)
const turns = Number(values.turns)
const ms = Number(values.ms)
const options = {
  cpus: Number(values.cpus),
  discipline: 'connp-t',
  workload: 'exchange',
  connections: Number(values.connections),
} as const

/** Mode off once more behind the others, for chance. */
const MODES: readonly TraceMode[] = ['off', ...values.modes.split(',').map(parseTraceMode), 'off']
/** What the contract asks of some: the share of the throughput that is left, at least. */
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

interface Shares {
  /** Of the rate of the other stack. */
  readonly ofOther: number
  /** Of its own rate in mode off. */
  readonly ofOff: number
}

/** For each mode the medians of a round. */
async function round(
  modes: readonly TraceMode[],
  Other: typeof LoadedMachine,
  isOtherFirst: boolean,
): Promise<Shares[]> {
  const real = await LoadedMachine.boot(options)
  const other = await Other.boot(options)
  try {
    for (const machine of isOtherFirst ? [other, real] : [real, other]) await machine.measure(WARM_UP_MS)
    for (const mode of new Set(modes)) {
      // What a mode runs has to be compiled as well; with 1/N it is run seldom.
      setTraceMode(real.memory, mode)
      await real.measure(WARM_UP_MS)
    }
    const ofOther = modes.map((): number[] => [])
    const ofOff = modes.map((): number[] => [])
    for (let turn = 0; turn < turns; turn++) {
      const otherRate = await other.measure(ms)
      const rates: number[] = []
      for (const mode of modes) {
        setTraceMode(real.memory, mode)
        rates.push(await real.measure(ms))
      }
      for (const [m, rate] of rates.entries()) {
        ofOther[m]!.push(rate / otherRate)
        ofOff[m]!.push(rate / rates[0]!)
      }
    }
    return modes.map((_, m) => ({ ofOther: median(ofOther[m]!), ofOff: median(ofOff[m]!) }))
  } finally {
    await real.stop()
    await other.stop()
  }
}

const percent = (ratio: number) => (ratio * 100).toFixed(1)

function share(ratios: readonly number[]): string {
  const spread = `(${percent(Math.min(...ratios))} to ${percent(Math.max(...ratios))})`
  return `${percent(median(ratios)).padStart(6)} ${spread.padEnd(17)}`
}

function line(label: string, shares: readonly Shares[], least?: number): void {
  const ofOther = share(shares.map((each) => each.ofOther))
  const ofOff = share(shares.map((each) => each.ofOff))
  console.log(
    `  ${label.padEnd(34)} ${ofOther}  ${ofOff}${least === undefined ? '' : `  asked for: ${percent(least)}`}`,
  )
}

async function main(): Promise<void> {
  console.log(
    `What tracing costs, at saturation on ${options.cpus} CPUs, ${options.connections} connections (medians of ${rounds} rounds of ${turns} turns of ${ms} ms, and their spread)`,
  )
  const Untraced = await treeOf('untraced', untraceTree)
  const Copy = await treeOf('copy', (from, to) => stripTree(from, to, []))
  const chance: Shares[] = []
  const found: Shares[][] = MODES.map(() => [])
  for (let i = 0; i < rounds; i++) {
    chance.push((await round(['off'], Copy, i % 2 === 1))[0]!)
    for (const [m, shares] of (await round(MODES, Untraced, i % 2 === 1)).entries()) found[m]!.push(shares)
  }
  console.log(`  ${''.padEnd(34)} % of the stack without      % of mode off, same machine`)
  line('chance: a copy, nothing changed', chance)
  for (const [m, mode] of MODES.entries()) {
    const isAgain = m > 0 && mode === 'off'
    line(
      isAgain ? 'chance: mode off again' : `mode ${traceModeText(mode)}`,
      found[m]!,
      isAgain ? undefined : LEAST.get(mode),
    )
  }
}

await main()
