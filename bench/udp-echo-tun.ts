// UDP echo over TUN against the kernel: the whole stack as a ratio to the loop that only swaps addresses on the same
// device (tun-limit.ts), in turn in one run. The load is a client on the kernel's sockets, in a namespace of its own.
//   node dist/bench/udp-echo-tun.js [--rounds 5] [--seconds 3]
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { untilReady } from '../src/cli/ready.ts'
import type { UpData } from '../src/cli/up-program.ts'
import { configureInterface } from '../src/device/linux/interface.ts'
import { openTun } from '../src/device/linux/tun.ts'
import { boot } from '../src/kernel.ts'
import { available, Namespace, output } from '../src/lab/tun/namespace.ts'
import { compare, print } from './report.ts'
import { swapLoop } from './tun-limit.ts'
import type { UdpClientResult } from './udp-client.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    inside: { type: 'boolean', default: false },
  },
})

/** One run of the client: echoes a second. */
function client(): Promise<number> {
  const path = fileURLToPath(new URL('./udp-client.js', import.meta.url))
  const args = [path, '--port', '7', '--seconds', values.seconds, '--window', '256', '--payload', '64']
  return output(spawn(process.execPath, args), (Number(values.seconds) + 10) * 1000).then(
    (text) => (JSON.parse(text) as UdpClientResult).packetsPerSecond,
  )
}

async function inside(): Promise<void> {
  const tun = openTun({ name: 'df0', kind: 'tun', queues: 1 })
  configureInterface('df0', { address: '10.77.0.1/24', up: true })
  const descriptor = tun.descriptors[0]!
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })

  const swap = async () => {
    let rate = 0
    const ended = client().then((packets) => {
      rate = packets
    })
    // Slices, between which the event loop hears that the client has ended.
    while (rate === 0) {
      swapLoop(descriptor, memory, performance.now() + 50)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await ended
    return rate
  }
  const stack = async () => {
    const device = { kind: 'tun', name: 'df0', descriptors: [descriptor], cpus: [0] } as const
    const interfaces = [{ name: 'df0', device, addresses: ['10.77.0.2/24'] }]
    const data: UpData = { hosts: [{ config: { name: 'host', index: 0, cpus: [0], interfaces }, echoPort: 7 }] }
    const program = new URL('../src/cli/up-program.js', import.meta.url)
    const machine = await boot({ cpus: 1, program, data, spinTurns: Number.POSITIVE_INFINITY })
    await untilReady(machine, data)
    const rate = await client()
    await machine.stop()
    return rate
  }
  const results = await compare(
    [
      { name: 'loop that swaps addresses, spinning', run: swap },
      { name: 'the stack, one CPU, spinning', run: stack },
    ],
    Number(values.rounds),
  )
  print('UDP echo over TUN, 64 B, 256 under way', results, 'k packets/s', 1000)
  tun.close()
}

if (values.inside) await inside()
else {
  const reason = available()
  if (reason === undefined) {
    const namespace = new Namespace('udp-echo')
    try {
      const args = [fileURLToPath(import.meta.url), '--rounds', values.rounds, '--seconds', values.seconds, '--inside']
      const budgetMs = (Number(values.rounds) + 1) * (Number(values.seconds) + 3) * 2 * 1000
      process.stdout.write(await output(namespace.spawn(process.execPath, args), budgetMs))
    } finally {
      namespace.remove()
    }
  } else console.log(`not measured: ${reason}`)
}
