// Unmodified Node programs on the stack against the same programs on the kernel: src/lab/tun/node-program.ts, run by node
// in a namespace of its own behind a veth, and by `damselfly run` on a TUN device; the same C client, and wrk, as the load.
// In turn, in one run.
//
//   node dist/bench/tcp-node.js [--rounds 5] [--seconds 3] [--instances 1] [--only echo1,echo64,connect,bulk-in,bulk-out,http] [--peer-only]
//
// With --instances N the program runs N times on the stack, and as so many processes of Node's cluster on the kernel.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { libcUnavailable } from '../src/device/linux/library.ts'
import { available, type Namespace, output } from '../src/lab/tun/namespace.ts'
import {
  type ClientMode,
  KERNEL_ADDRESS,
  peersUnavailable,
  type Running,
  runClient,
  untilPrinted,
  withPrograms,
  withVeth,
} from '../src/lab/tun/peer.ts'
import { print, type Variant } from './report.ts'
import { compareOrSay, judge } from './tcp-bar.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    instances: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    'peer-only': { type: 'boolean', default: false },
  },
})
const seconds = Number(values.seconds)
const rounds = Number(values.rounds)
const instances = Number(values.instances)

const STACK_ADDRESS = '10.77.0.2'
/** What is not counted before: Node compiles what is hot. */
const WARM_MS = 1000
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const PROGRAM = here('../src/lab/tun/node-program.js')

interface Workload {
  /** For --only. */
  readonly key: string
  readonly name: string
  /** A rate, more is better. */
  readonly run: (target: string, client: Namespace, program: string) => Promise<number>
  readonly unit: string
  readonly scale: number
  /** A program that it needs. */
  readonly needs?: string
}

const exchanges = (mode: ClientMode, connections: number) => ({
  run: async (target: string, client: Namespace, program: string) => {
    const options = { mode, target, seconds, connections, warmMs: WARM_MS }
    return (await runClient(program, options, client)).perSecond
  },
  unit: 'k/s',
  scale: 1e3,
})
const bulk = (mode: ClientMode) => ({
  run: async (target: string, client: Namespace, program: string) =>
    (await runClient(program, { mode, target, seconds, warmMs: WARM_MS }, client)).bitsPerSecond,
  unit: 'Gb/s',
  scale: 1e9,
})

const WORKLOADS: readonly Workload[] = [
  { key: 'echo1', name: 'net echo 64 B, 1 connection', ...exchanges('rr', 1) },
  { key: 'echo64', name: 'net echo 64 B, 64 connections', ...exchanges('rr', 64) },
  { key: 'connect', name: 'net connect, request, close, 64 at a time', ...exchanges('connect', 64) },
  { key: 'bulk-in', name: 'net bulk into the program', ...bulk('out') },
  { key: 'bulk-out', name: 'net bulk out of the program', ...bulk('in') },
  { key: 'http', name: 'http hello, wrk -c 64', run: wrk, unit: 'k requests/s', scale: 1e3, needs: 'wrk' },
]

/** Requests a second. */
async function wrk(target: string, client: Namespace): Promise<number> {
  const run = (duration: number) =>
    output(
      client.spawn('wrk', ['-c', '64', '-t', '1', '-d', `${duration}s`, `http://${target}:8080/`]),
      (duration + 15) * 1000,
    )
  await run(1)
  const printed = await run(seconds)
  const [, rate] = /^Requests\/sec: +([\d.]+)$/m.exec(printed) ?? []
  if (rate === undefined || /Socket errors|Non-2xx/.test(printed)) throw new Error(`wrk to ${target}:\n${printed}`)
  return Number(rate)
}

function onKernel(server: Namespace): Promise<Running> {
  const args = [PROGRAM, '--cluster', `${instances}`]
  return untilPrinted(server.spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] }), 'ready')
}

function onStack(client: Namespace): Promise<Running> {
  const many = instances === 1 ? [] : ['--cpus', `${instances}`, '--instances']
  const args = [here('../src/cli/main.js'), 'run', '--tun', 'df0', ...many, PROGRAM]
  return untilPrinted(client.spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] }), 'ready')
}

async function main(): Promise<void> {
  const reason = peersUnavailable() ?? libcUnavailable()
  if (reason !== undefined) {
    console.log(`not measured: ${reason}`)
    return
  }
  if (!values['peer-only'] && !existsSync(here('../src/cli/run.js'))) throw new Error('there is no damselfly run')
  const missed: string[] = []
  const wanted = values.only.split(',')
  await withPrograms((programs) =>
    withVeth('node', async (client, server) => {
      for (const workload of WORKLOADS) {
        if (values.only !== '' && !wanted.includes(workload.key)) continue
        const missing = workload.needs === undefined ? undefined : available(workload.needs)
        if (missing !== undefined) {
          console.log(`\n${workload.name}\n  not measured: ${missing}`)
          continue
        }
        const variant = (name: string, start: () => Promise<Running>, target: string): Variant => ({
          name,
          run: async () => {
            const running = await start()
            try {
              return await workload.run(target, client, programs.client)
            } finally {
              await running.stop()
            }
          },
        })
        const kernelName = instances === 1 ? 'node on the kernel' : `node on the kernel, cluster of ${instances}`
        const variants = [variant(kernelName, () => onKernel(server), KERNEL_ADDRESS)]
        const stackName = instances === 1 ? 'damselfly run' : `damselfly run, ${instances} instances`
        if (!values['peer-only']) variants.push(variant(stackName, () => onStack(client), STACK_ADDRESS))
        const results = await compareOrSay(workload.name, variants, rounds)
        if (results === undefined) {
          missed.push(workload.name)
          continue
        }
        print(workload.name, results, workload.unit, workload.scale)
        const ours = results[1]
        if (ours !== undefined && !judge(ours, { ratio: 1 }, workload.unit, workload.scale)) missed.push(workload.name)
      }
    }),
  )
  if (values['peer-only']) return
  console.log(missed.length === 0 ? '\nevery bar is reached' : `\nbars missed: ${missed.join('; ')}`)
}

await main()
