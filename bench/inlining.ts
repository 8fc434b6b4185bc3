// What it is worth that V8 inlines more of the stack (src/machine/inlining.ts): a host at saturation under the load device, in processes with V8's own
// bound and with ours, in turn; when V8 has compiled what is hot, and in a process's first second, which has the price of that. Rates are by
// processor time, as in bench/instrumentation.ts.
//   node dist/bench/inlining.js [--rounds 5] [--discipline connp-t] [--workloads exchange,udp]
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import type { LoadWorkload } from '../src/device/load/options.ts'
import type { Discipline } from '../src/net/discipline.ts'
import { LoadedMachine } from './instrumentation-machine.ts'
import { compare, median, print } from './report.ts'

const V8_BOUND = '--max-inlined-bytecode-size-cumulative=920'
const FIRST_MS = 1000
const WARM_UP_MS = 2000
const TURNS = 5
const TURN_MS = 300
const UNITS: { readonly [W in LoadWorkload]: readonly [unit: string, scale: number] } = {
  exchange: ['k/s', 1e3],
  udp: ['k/s', 1e3],
  short: ['k/s', 1e3],
  'bulk-in': ['GB/s', 1e9],
  'bulk-out': ['GB/s', 1e9],
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    discipline: { type: 'string', default: 'connp-t' },
    workloads: { type: 'string', default: Object.keys(UNITS).join() },
    child: { type: 'string' },
    phase: { type: 'string', default: 'steady' },
  },
})
const discipline = values.discipline as Discipline

/** Of a process: its first second, or what comes after it is warm. */
type Phase = 'first' | 'steady'

async function measure(workload: LoadWorkload, phase: Phase): Promise<number> {
  const connections = workload.startsWith('bulk') ? 8 : 64
  const machine = await LoadedMachine.boot({ cpus: 1, discipline, workload, connections })
  try {
    if (phase === 'first') return await machine.measure(FIRST_MS)
    await machine.measure(WARM_UP_MS)
    const rates: number[] = []
    for (let turn = 0; turn < TURNS; turn++) rates.push(await machine.measure(TURN_MS))
    return median(rates)
  } finally {
    await machine.stop()
  }
}

async function inProcess(flags: readonly string[], workload: LoadWorkload, phase: Phase): Promise<number> {
  const own = ['--child', workload, '--phase', phase, '--discipline', discipline]
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, fileURLToPath(import.meta.url), ...own])
  return Number(stdout)
}

async function main(): Promise<void> {
  for (const workload of values.workloads.split(',') as LoadWorkload[]) {
    const [unit, scale] = UNITS[workload]
    for (const [phase, title] of [
      ['steady', 'warm'],
      ['first', 'the first second'],
    ] as const) {
      const results = await compare(
        [
          { name: "V8's own bound", run: () => inProcess([V8_BOUND], workload, phase) },
          { name: 'ours', run: () => inProcess([], workload, phase) },
        ],
        Number(values.rounds),
      )
      print(`${workload} under ${discipline}, ${title}`, results, unit, scale)
    }
  }
}

if (values.child === undefined) await main()
else process.stdout.write(String(await measure(values.child as LoadWorkload, values.phase as Phase)))
