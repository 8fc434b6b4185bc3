// The stack on a TUN device against the kernel's own TCP: the same client, a program in C on the kernel's sockets, in a network
// namespace of its own, once to the stack in that namespace, and once to a server of the kernel's in another one, over veth with
// its default offloads. One after the other, in an order that the seed chooses. Linux, root and a C compiler are needed.
//   load         "bulk-in": into the server; "bulk-out"; "exchange": 64 bytes, echoed; "short": a connection for each of these; "http":
//                requests to Node's http, by `damselfly run` and by Node on the kernel
//   connections  at a time
//   spins        of all but http: neither server ever sleeps; default false
import { fileURLToPath } from 'node:url'
import { libcUnavailable } from '../../device/linux/library.ts'
import type { CellParameters } from '../experiment.ts'
import type { Namespace } from '../tun/namespace.ts'
import {
  type ClientMode,
  type ClientResult,
  KERNEL_ADDRESS,
  type Programs,
  peersUnavailable,
  type Running,
  runClient,
  startServer,
  untilPrinted,
  withPrograms,
  withVeth,
} from '../tun/peer.ts'
import { SERVICE_ADDRESS } from '../tun/service-machine.ts'
import type { Measured, Workload } from '../workload.ts'

const MODES: { readonly [load: string]: ClientMode } = {
  'bulk-in': 'out',
  'bulk-out': 'in',
  exchange: 'rr',
  short: 'connect',
  http: 'http',
}
/** What is not counted before, of the measuring time; and at least, for code is compiled meanwhile. */
const WARM_UP = 0.3
const WARM_UP_SECONDS = 0.5

interface Setup {
  readonly load: string
  readonly connections: number
  readonly spins: boolean
}

/** One of the two that are measured. */
interface Side {
  readonly name: 'stack' | 'kernel'
  readonly address: string
  readonly start: () => Promise<Running>
}

export default {
  name: 'tun',
  async run(parameters, seconds, seed) {
    const setup = check(parameters)
    const reason = peersUnavailable() ?? libcUnavailable()
    if (reason !== undefined) return { impossible: reason }
    return withPrograms((programs) =>
      withVeth('lab', async (client, server) => {
        const sides = sidesOf(setup, programs, client, server)
        const results = new Map<Side['name'], ClientResult>()
        for (const side of seed % 2 === 0 ? sides : sides.toReversed()) {
          results.set(side.name, await measure(setup, side, programs, client, seconds))
        }
        return measured(setup, results.get('stack')!, results.get('kernel')!)
      }),
    )
  },
} satisfies Workload

async function measure(setup: Setup, side: Side, { client }: Programs, namespace: Namespace, seconds: number) {
  const { load, connections } = setup
  const running = await side.start()
  try {
    const warmMs = Math.round(Math.max(seconds * WARM_UP, WARM_UP_SECONDS) * 1000)
    return await runClient(
      client,
      { mode: MODES[load]!, target: side.address, seconds, warmMs, connections },
      namespace,
    )
  } finally {
    await running.stop()
  }
}

function sidesOf({ load, spins }: Setup, programs: Programs, client: Namespace, server: Namespace): readonly Side[] {
  const program = (path: string) => fileURLToPath(new URL(path, import.meta.url))
  const node = (namespace: Namespace, ...args: readonly string[]) =>
    untilPrinted(namespace.spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] }), 'ready')
  const hello = program('../tun/node-program.js')
  const spin = spins ? ['--spin'] : []
  if (load === 'http') {
    const run = [program('../../cli/main.js'), 'run', '--tun', 'df0', hello]
    return [
      { name: 'stack', address: SERVICE_ADDRESS, start: () => node(client, ...run) },
      { name: 'kernel', address: KERNEL_ADDRESS, start: () => node(server, hello) },
    ]
  }
  return [
    { name: 'stack', address: SERVICE_ADDRESS, start: () => node(client, program('../tun/server.js'), ...spin) },
    { name: 'kernel', address: KERNEL_ADDRESS, start: () => startServer(programs.server, server.name, spins) },
  ]
}

function measured({ load }: Setup, stack: ClientResult, kernel: ClientResult): Measured {
  if (load.startsWith('bulk')) {
    const [bits, kernelBits] = [stack.bitsPerSecond, kernel.bitsPerSecond]
    return { metrics: { ratio: ratioOf(bits, kernelBits), bits, kernelBits } }
  }
  const [exchanges, kernelExchanges] = [stack.perSecond, kernel.perSecond]
  const latencies = { p50: stack.p50Us, kernelP50: kernel.p50Us, p99: stack.p99Us, kernelP99: kernel.p99Us }
  return { metrics: { ratio: ratioOf(exchanges, kernelExchanges), exchanges, kernelExchanges, ...latencies } }
}

/** @throws Error where one of them stands still */
function ratioOf(stack: number, kernel: number): number {
  if (stack === 0 || kernel === 0) throw new Error(`${stack === 0 ? 'the stack' : 'the kernel'} did nothing at all`)
  return stack / kernel
}

/** @throws RangeError for parameters that cannot be */
function check({ load, connections, spins = false }: CellParameters): Setup {
  if (typeof load !== 'string' || MODES[load] === undefined) {
    throw new RangeError(`load is ${load}: give one of ${Object.keys(MODES).join(', ')}`)
  }
  if (typeof connections !== 'number' || !(Number.isInteger(connections) && connections >= 1 && connections <= 1024)) {
    throw new RangeError(`connections is ${connections}: give a whole number from 1 to 1024`)
  }
  if (typeof spins !== 'boolean') throw new RangeError(`spins is ${spins}: give true or false`)
  return { load, connections, spins }
}
