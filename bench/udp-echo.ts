// UDP echo between two hosts on an in-memory wire, in one process: packets that each CPU's stacks receive a second. A CPU
// runs its part of both hosts: client and server, questions and answers.
//   node dist/bench/udp-echo.js [--rounds 5] [--seconds 2]
import { parseArgs } from 'node:util'
import { untilReady } from '../src/cli/ready.ts'
import type { UpData } from '../src/cli/up-program.ts'
import { wireRegions } from '../src/device/wire.ts'
import { boot, total } from '../src/kernel.ts'
import { IpCounters } from '../src/net/counters.ts'
import { compare, print } from './report.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '2' } },
})

async function run(count: number, payload: number): Promise<number> {
  const cpus = Array.from({ length: count }, (_, i) => i)
  const wire = { name: 'wire0', a: cpus, b: cpus }
  const config = (name: string, index: number, side: 'a' | 'b', address: string) => ({
    name,
    index,
    cpus,
    interfaces: [{ name: 'wire0', device: { kind: 'wire' as const, wire, side }, addresses: [address] }],
  })
  const load = { target: '10.0.0.2', port: 7, flows: 16, window: 16, payload, pingsPerSecond: 0 }
  const data: UpData = {
    hosts: [
      { config: config('server', 0, 'b', '10.0.0.2/24'), echoPort: 7 },
      { config: config('client', 1, 'a', '10.0.0.1/24'), load },
    ],
  }
  const program = new URL('../src/cli/up-program.js', import.meta.url)
  const machine = await boot({ cpus: count, program, data, regions: wireRegions(wire), seed: 1 })
  await untilReady(machine, data)
  const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
  // The first half second is that of the compiler.
  await wait(500)
  const began = performance.now()
  const before = total(machine.memory, IpCounters, 'delivered')
  await wait(Number(values.seconds) * 1000)
  const packets = total(machine.memory, IpCounters, 'delivered') - before
  const seconds = (performance.now() - began) / 1000
  await machine.stop()
  return packets / seconds / count
}

const results = await compare(
  [
    { name: '1 CPU, 64 B', run: () => run(1, 64) },
    { name: '2 CPUs, 64 B', run: () => run(2, 64) },
    { name: '1 CPU, 1472 B', run: () => run(1, 1472) },
    { name: '2 CPUs, 1472 B', run: () => run(2, 1472) },
  ],
  Number(values.rounds),
)
print('UDP echo over the wire: packets received by the stacks of one CPU', results, 'M packets/s', 1e6)
