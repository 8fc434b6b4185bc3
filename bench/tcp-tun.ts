// TCP over TUN against the kernel's TCP: the same C client in a namespace, once to a C server on the kernel's sockets in
// a second namespace, over veth with its default offloads, and once to the stack on a TUN device, served by a program on
// the stack's own CPU. In turn, in one run.
//
//   node dist/bench/tcp-tun.js [--rounds 5] [--seconds 3] [--only bulk-in,bulk-out,rr1,rr1-spin,rr64,connect] [--peer-only]
//
// Where one side spins, it has a core of its own as long as it runs. The kernel's server is shown spinning, too: what
// a ratio owes to looking instead of sleeping can be read from it.
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { configureInterface, QUEUE_LENGTH } from '../src/device/linux/interface.ts'
import { libcUnavailable } from '../src/device/linux/library.ts'
import { output } from '../src/lab/tun/namespace.ts'
import {
  type ClientMode,
  type ClientResult,
  KERNEL_ADDRESS,
  peersUnavailable,
  runClient,
  startServer,
  withPrograms,
  withVeth,
} from '../src/lab/tun/peer.ts'
import { openServiceTun, SERVICE_ADDRESS, serviceMachine } from '../src/lab/tun/service-machine.ts'
import { print, type Variant } from './report.ts'
import { type Bar, compareOrSay, judge } from './tcp-bar.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    only: { type: 'string', default: '' },
    'peer-only': { type: 'boolean', default: false },
    /** For the process inside the client's namespace. */
    client: { type: 'string', default: '' },
    server: { type: 'string', default: '' },
    namespace: { type: 'string', default: '' },
  },
})
const seconds = Number(values.seconds)
const rounds = Number(values.rounds)

interface Workload {
  /** For --only. */
  readonly key: string
  readonly name: string
  readonly mode: ClientMode
  readonly connections: number
  /** The client never blocks. */
  readonly clientSpins?: boolean
  /** The stack's CPU never sleeps; and the kernel's server is measured so as well. */
  readonly serverSpins?: boolean
  readonly rate: (result: ClientResult) => number
  readonly unit: string
  readonly scale: number
  readonly bar: Bar
}

const BULK = { rate: (result: ClientResult) => result.bitsPerSecond, unit: 'Gb/s', scale: 1e9 }
const EXCHANGES = { rate: (result: ClientResult) => result.perSecond, unit: 'k/s', scale: 1e3 }
const WORKLOADS: readonly Workload[] = [
  {
    key: 'bulk-in',
    name: 'bulk into the server',
    mode: 'out',
    connections: 1,
    ...BULK,
    bar: { ratio: 0.5, rate: 10e9 },
  },
  {
    key: 'bulk-out',
    name: 'bulk out of the server',
    mode: 'in',
    connections: 1,
    ...BULK,
    bar: { ratio: 0.5, rate: 10e9 },
  },
  {
    key: 'rr1',
    name: 'rr 64 B, 1 connection',
    mode: 'rr',
    connections: 1,
    serverSpins: true,
    ...EXCHANGES,
    bar: { ratio: 3 },
  },
  {
    key: 'rr1-spin',
    name: 'rr 64 B, 1 connection, client spinning',
    mode: 'rr',
    connections: 1,
    clientSpins: true,
    serverSpins: true,
    ...EXCHANGES,
    bar: { ratio: 3 },
  },
  { key: 'rr64', name: 'rr 64 B, 64 connections', mode: 'rr', connections: 64, ...EXCHANGES, bar: { ratio: 1.3 } },
  {
    key: 'connect',
    name: 'connect, request, close, 64 at a time',
    mode: 'connect',
    connections: 64,
    ...EXCHANGES,
    bar: { ratio: 2 },
  },
]

/** In the client's namespace. */
async function inside(): Promise<void> {
  const tun = values['peer-only'] ? undefined : openServiceTun('df0')
  if (tun !== undefined) configureInterface('df0', { address: '10.77.0.1/24', queueLength: QUEUE_LENGTH, up: true })
  const missed: string[] = []
  const wanted = values.only.split(',')
  for (const workload of WORKLOADS) {
    if (values.only !== '' && !wanted.includes(workload.key)) continue
    const last = new Map<string, ClientResult>()
    const client = async (name: string, target: string) => {
      const result = await runClient(values.client, {
        mode: workload.mode,
        target,
        seconds,
        connections: workload.connections,
        spins: workload.clientSpins ?? false,
      })
      last.set(name, result)
      return workload.rate(result)
    }
    const kernel = (name: string, spins: boolean): Variant => ({
      name,
      run: async () => {
        const server = await startServer(values.server, values.namespace, spins)
        try {
          return await client(name, KERNEL_ADDRESS)
        } finally {
          await server.stop()
        }
      },
    })
    const variants = [kernel('kernel', false)]
    if (workload.serverSpins) variants.push(kernel('kernel, its server spinning', true))
    const oursName = workload.serverSpins ? 'the stack, one CPU, spinning' : 'the stack, one CPU'
    if (tun !== undefined) {
      variants.push({
        name: oursName,
        run: async () => {
          const machine = await serviceMachine(tun, workload.serverSpins ?? false)
          try {
            return await client(oursName, SERVICE_ADDRESS)
          } finally {
            await machine.stop()
          }
        },
      })
    }
    const results = await compareOrSay(workload.name, variants, rounds)
    if (results === undefined) {
      missed.push(workload.name)
      continue
    }
    print(workload.name, results, workload.unit, workload.scale)
    for (const { name } of results) console.log(`  ${name.padEnd(44)} ${latencies(last.get(name)!)}`)
    const ours = results.find(({ name }) => name === oursName)
    if (ours !== undefined && !judge(ours, workload.bar, workload.unit, workload.scale)) missed.push(workload.name)
  }
  if (tun === undefined) return
  tun.close()
  console.log(missed.length === 0 ? '\nevery bar is reached' : `\nbars missed: ${missed.join('; ')}`)
}

function latencies(result: ClientResult): string {
  const busy = `client busy ${((result.cpuSeconds / result.seconds) * 100).toFixed(0)} %`
  if (result.exchanges === 0) return busy
  return `p50 ${result.p50Us} us, p99 ${result.p99Us} us, p99.9 ${result.p999Us} us, ${busy}`
}

async function outside(): Promise<void> {
  const reason = peersUnavailable() ?? libcUnavailable()
  if (reason !== undefined) {
    console.log(`not measured: ${reason}`)
    return
  }
  await withPrograms((programs) =>
    withVeth('tcp', async (client, server) => {
      const args = [fileURLToPath(import.meta.url), ...process.argv.slice(2)]
      args.push('--client', programs.client, '--server', programs.server, '--namespace', server.name)
      const budgetMs = WORKLOADS.length * 3 * (rounds + 1) * (seconds + 4) * 1000
      const child = client.spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] })
      await output(child, budgetMs)
    }),
  )
}

await (values.client === '' ? outside() : inside())
