// TCP between two hosts on an in-memory wire, both on one CPU, at MTU 1500 and without offloads: what one CPU's stacks do
// in a second, both sides of every packet, with the programs that send and receive.
//
//   node dist/bench/tcp-memory.js [--rounds 5] [--seconds 2]
import { parseArgs } from 'node:util'
import { wireRegions } from '../src/device/wire.ts'
import { boot, total } from '../src/kernel.ts'
import { untilHosts } from '../src/lab/tun/service-machine.ts'
import { IpCounters } from '../src/net/counters.ts'
import { compare, print, type Result } from './report.ts'
import { judge } from './tcp-bar.ts'
import { LoadCounters } from './tcp-load.ts'
import { type MemoryData, wireOf } from './tcp-memory-program.ts'

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '2' } },
})
const BAR_BITS = 5e9
const BAR_PACKETS = 900e3
const CONNECT_MS = 30_000

interface Rates {
  readonly bits: number
  readonly exchanges: number
  /** Received by either host. */
  readonly packets: number
}

async function run(data: MemoryData): Promise<Rates> {
  const program = new URL('./tcp-memory-program.js', import.meta.url)
  const machine = await boot({
    cpus: 1,
    program,
    data,
    regions: wireRegions(wireOf(data)),
    memoryBytes: 512 << 20,
    seed: 1,
  })
  try {
    await untilHosts(machine, 1)
    const wait = (ms: number) =>
      Promise.race([machine.done, new Promise<void>((resolve) => setTimeout(resolve, ms).unref())])
    const take = () => ({
      bits: total(machine.memory, LoadCounters, 'bytes') * 8,
      exchanges: total(machine.memory, LoadCounters, 'exchanges'),
      packets: total(machine.memory, IpCounters, 'delivered'),
      now: performance.now(),
    })
    const began = performance.now()
    while (total(machine.memory, LoadCounters, 'connected') < data.connections) {
      await wait(20)
      if (performance.now() - began > CONNECT_MS) throw new Error(`not all connected after ${CONNECT_MS} ms`)
    }
    // The first second is that of the compiler.
    await wait(1000)
    const before = take()
    await wait(Number(values.seconds) * 1000)
    const after = take()
    const ended = total(machine.memory, LoadCounters, 'ended')
    if (ended > 0) throw new Error(`${ended} connections ended of themselves`)
    const seconds = (after.now - before.now) / 1000
    return {
      bits: (after.bits - before.bits) / seconds,
      exchanges: (after.exchanges - before.exchanges) / seconds,
      packets: (after.packets - before.packets) / seconds,
    }
  } finally {
    await machine.stop()
  }
}

const rates = new Map<string, Rates[]>()
const variant = (name: string, data: MemoryData, rate: (rates: Rates) => number) => ({
  name,
  run: async () => {
    const result = await run(data)
    rates.set(name, [...(rates.get(name) ?? []), result])
    return rate(result)
  },
})

/** The same runs, by another of their rates. */
function packets(name: string): Result {
  // The first run of each is the one that compare does to warm up.
  const sorted = rates
    .get(name)!
    .slice(1)
    .map((each) => each.packets)
    .sort((a, b) => a - b)
  return { name, median: sorted[sorted.length >> 1]!, low: sorted[0]!, high: sorted[sorted.length - 1]!, ratio: 1 }
}

const rounds = Number(values.rounds)
const bulk = await compare(
  [
    variant('bulk, 1 connection', { load: 'bulk', connections: 1 }, ({ bits }) => bits),
    variant('bulk, 16 connections', { load: 'bulk', connections: 16 }, ({ bits }) => bits),
  ],
  rounds,
)
const exchanges = await compare(
  [
    variant('rr 64 B, 64 connections', { load: 'exchange', connections: 64 }, (each) => each.exchanges),
    variant('rr 64 B, 10 000 connections', { load: 'exchange', connections: 10_000 }, (each) => each.exchanges),
  ],
  rounds,
)
print('TCP in memory, one CPU for both hosts, MTU 1500', bulk, 'Gb/s', 1e9)
print('the same', exchanges, 'k exchanges/s', 1e3)
const received = [...bulk, ...exchanges].map(({ name }) => packets(name))
print('packets received by the stacks of the one CPU', received, 'k packets/s', 1e3)
judge(bulk[0]!, { rate: BAR_BITS }, 'Gb/s', 1e9)
judge(received[0]!, { rate: BAR_PACKETS }, 'k packets/s', 1e3)
