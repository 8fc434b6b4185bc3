// What it costs to know who sent what: the stack in each trace mode against the same stack with no tracing in it (untraced.ts), at saturation under
// the load device, in the same run; 64-byte questions and answers over TCP. In each round both are booted anew; then the other stack and each mode
// of the real one are measured in turn. Rates are by processor time, as in bench/instrumentation.ts. Mode off, and what traces all or much of
// it, has machines of its own, for what has been run changes what V8 makes of the code. With 1/1000 it takes V8 some ten seconds to compile what
// runs so seldom, and a second when it is run more often for a while, as is done here.
//
// Each mode is held against the other stack, and against mode off of the same machine: of two machines, though they run the same, one is often some
// percent faster as long as it lives, so the second is the finer measure of what a mode adds. What a line of chance says is no more than that: of the
// first kind it is the other stack against a copy of the real one, of the second mode off against itself. Behind each median stands where it lies with
// 95 %, and from where to where single rounds go. Two machines that run the same differ by 3 %, so to see half a percent takes some 60 rounds: of
// mode off alone, by `--modes off --rounds 60 --turns 4`.
//   node dist/bench/provenance.js [--rounds 5] [--turns 8] [--ms 250] [--cpus 1] [--connections 64] [--modes 1/1000,all]
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { parseTraceMode, setTraceMode, type TraceMode, traceModeText } from '../src/kernel/trace/mode.ts'
import { LoadedMachine } from './instrumentation-machine.ts'
import { median, medianInterval } from './report.ts'
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

/** Mode off always is. */
const MODES: readonly TraceMode[] = values.modes
  .split(',')
  .map(parseTraceMode)
  .filter((mode) => mode !== 'off')
/** Of fewer than one of so many one does not see that they are traced. */
const SELDOM = 100
const isSeldom = (mode: TraceMode) => typeof mode === 'number' && mode >= SELDOM
/** With this one V8 soon knows the code of all those. */
const WARM_UP_MODE: TraceMode = 16
/** Those that are measured on one machine. */
const GROUPS = [MODES.filter(isSeldom), ...MODES.filter((mode) => !isSeldom(mode)).map((mode) => [mode])].filter(
  (group) => group.length > 0,
)
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

/** For each mode the medians of a round; the first is off. */
async function round(
  modes: readonly TraceMode[],
  Other: typeof LoadedMachine,
  isOtherFirst: boolean,
): Promise<Shares[]> {
  const real = await LoadedMachine.boot(options)
  const other = await Other.boot(options)
  const inMode = (mode: TraceMode, time: number) => {
    setTraceMode(real.memory, mode)
    return real.measure(time)
  }
  try {
    // What a mode runs has to be compiled as well. The other stack has as long for itself.
    for (const mode of modes.flatMap((each) => (isSeldom(each) ? [WARM_UP_MODE, each] : [each]))) {
      if (isOtherFirst) await other.measure(WARM_UP_MS)
      await inMode(mode, WARM_UP_MS)
      if (!isOtherFirst) await other.measure(WARM_UP_MS)
    }
    const ofOther = modes.map((): number[] => [])
    const ofOff = modes.map((): number[] => [])
    for (let turn = 0; turn < turns; turn++) {
      const otherRate = await other.measure(ms)
      const rates: number[] = []
      // Each comes behind each other one.
      for (let i = 0; i < modes.length; i++) {
        const m = (i + turn) % modes.length
        rates[m] = await inMode(modes[m]!, ms)
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
  const { from, to } = medianInterval(ratios)
  const spread = `(${percent(from)} to ${percent(to)}; ${percent(Math.min(...ratios))} to ${percent(Math.max(...ratios))})`
  return `${percent(median(ratios)).padStart(6)} ${spread.padEnd(33)}`
}

function line(label: string, ofOther: readonly number[], ofOff?: readonly number[], least?: number): void {
  const asked = least === undefined ? '' : `  asked for: ${percent(least)}`
  console.log(
    `  ${label.padEnd(34)} ${share(ofOther)}  ${(ofOff === undefined ? '' : share(ofOff)).padEnd(40)}${asked}`,
  )
}

async function main(): Promise<void> {
  console.log(
    `What tracing costs, at saturation on ${options.cpus} CPUs, ${options.connections} connections (medians of ${rounds} rounds of ${turns} turns of ${ms} ms, where they lie with 95 %, and the rounds' spread)`,
  )
  const Untraced = await treeOf('untraced', untraceTree)
  const Copy = await treeOf('copy', (from, to) => stripTree(from, to, []))
  const chance: Shares[] = []
  const again: Shares[] = []
  const off: Shares[] = []
  const found = new Map<TraceMode, Shares[]>(MODES.map((mode) => [mode, []]))
  for (let i = 0; i < rounds; i++) {
    const isOtherFirst = i % 2 === 1
    chance.push((await round(['off'], Copy, isOtherFirst))[0]!)
    off.push((await round(['off'], Untraced, isOtherFirst))[0]!)
    for (const group of GROUPS) {
      const [, ...rest] = await round(['off', ...group, 'off'], Untraced, isOtherFirst)
      again.push(rest.pop()!)
      for (const [m, shares] of rest.entries()) found.get(group[m]!)!.push(shares)
    }
  }
  const toOther = (all: readonly Shares[]) => all.map(({ ofOther }) => ofOther)
  const toOff = (all: readonly Shares[]) => all.map(({ ofOff }) => ofOff)
  console.log(`  ${''.padEnd(34)} % of the stack without                     % of mode off, same machine`)
  line('chance: a copy, nothing changed', toOther(chance))
  line('mode off, and never another', toOther(off), undefined, LEAST.get('off'))
  if (again.length > 0) line('chance: mode off beside others', toOther(again), toOff(again))
  for (const [mode, all] of found) line(`mode ${traceModeText(mode)}`, toOther(all), toOff(all), LEAST.get(mode))
}

await main()
