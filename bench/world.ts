// How much faster than real time the world simulator is (test/world/): seconds of virtual time for one of the processor's, in a world of four hosts of
// two CPUs, each with a wire to each other, 50 ms there and back and 1 % loss on every way, and a stream that never ends from each host to each.
// The bar is 20: a minute of such a network takes three seconds at most.
//
//     node dist/bench/world.js [virtual seconds] [rounds]
import { total } from '../src/kernel.ts'
import { TcpCounters } from '../src/net/counters.ts'
import type { WorldPlan } from '../test/world/plan.ts'
import { World } from '../test/world/world.ts'
import { median } from './report.ts'

const BAR = 20
const seconds = Number(process.argv[2] ?? 60)
const rounds = Number(process.argv[3] ?? 5)
const PORT = 80
const BEGIN_US = 20_000
const DELAY_US = 25_000
const LOSS = 0.01
const names = ['a', 'b', 'c', 'd']

function plan(seed: number, isBusy: boolean): WorldPlan {
  const healUs = seconds * 1e6
  const pairs = names.flatMap((a, i) => names.slice(i + 1).map((b) => [a, b] as const))
  const ways = pairs.flatMap(([a, b]) => [[a, b] as const, [b, a] as const])
  const linkOf = (a: string, b: string) => [a, b].sort().join('-')
  return {
    seed,
    memoryBytes: 128 * 1024 * 1024,
    ringEntries: 256,
    hosts: names.map((name) => ({ name, cpus: 2, discipline: 'connp-t' })),
    links: pairs.map(([a, b]) => {
      return { name: linkOf(a, b), kind: 'wire', hosts: [a, b], mtu: 1500, entries: 2048, delayUs: DELAY_US }
    }),
    linkFaults: ways.map(([host, to]) => {
      return { link: linkOf(host, to), host, way: 'out', fromUs: BEGIN_US, untilUs: healUs, fault: { loss: LOSS } }
    }),
    machineFaults: [],
    listeners: names.map((host) => ({ host, cpu: 0, port: PORT, perCpu: true, backlog: 511, options: {} })),
    streams: ways.map(([client, server], i) => {
      const writer = { bytes: 200, everyUs: 100_000 }
      const sends = { sends: 1e12, ends: 'first', ...(isBusy ? {} : { writer }) } as const
      const ends = { client: sends, server: { sends: 0, ends: 'last' } } as const
      const id = i + 1
      return {
        id,
        link: linkOf(client, server),
        client,
        cpu: i % 2,
        server,
        port: PORT,
        localPort: 0,
        atUs: BEGIN_US,
        options: {},
        ends,
      }
    }),
    datagrams: [],
    changes: [],
    deaths: [],
    healUs,
  }
}

interface Round {
  readonly ratio: number
  readonly turns: number
  /** What all programs have received together. */
  readonly megabits: number
}

async function once(seed: number, isBusy: boolean): Promise<Round> {
  const world = new World(plan(seed, isBusy))
  // Of the processor, not of the wall: what else the machine does is not the simulator's.
  const began = process.cpuUsage()
  await world.live()
  const { user, system } = process.cpuUsage(began)
  const { steps, memory } = world.machine
  const megabits = (total(memory, TcpCounters, 'deliveredBytes') * 8) / 1e6 / seconds
  await world.machine.stop()
  return { ratio: (seconds * 1e6) / (user + system), turns: steps, megabits }
}

for (const [name, isBusy] of [
  ['12 streams as fast as they go', true],
  ['12 streams of 200 bytes ten times a second', false],
] as const) {
  await once(1, isBusy)
  const results: Round[] = []
  for (let round = 0; round < rounds; round++) results.push(await once(2 + round, isBusy))
  const ratios = results.map(({ ratio }) => ratio).sort((a, b) => a - b)
  const middle = median(ratios)
  const spread = `${ratios[0]!.toFixed(1)} to ${ratios.at(-1)!.toFixed(1)}`
  const turns = Math.round(median(results.map((each) => each.turns)))
  const rate = median(results.map((each) => each.megabits)).toFixed(2)
  console.log(`4 hosts, 50 ms, 1 % loss, ${name}, ${seconds} s (${rounds} rounds, ${turns} turns, ${rate} Mb/s in all)`)
  console.log(
    `  ${middle.toFixed(1)} times as fast as real time (${spread}); the bar is ${BAR}: ${middle >= BAR ? 'met' : 'NOT met'}`,
  )
}
