// The main job's own program in the simulator, over bad links, on machines of all sizes: each seed is another world. What
// must hold in every one: nobody throws, messages keep their order, and at the end all memory is back.
//   DAMSELFLY_LONG=1 node --test dist/test/seeds.test.js        a thousand seeds instead of sixty
import assert from 'node:assert/strict'
import { test } from 'node:test'
import up, { type UpData } from '../src/cli/up-program.ts'
import type { DeviceSpec } from '../src/device/spec.ts'
import { wireRegions } from '../src/device/wire.ts'
import { SlabCounters, total } from '../src/kernel.ts'
import type { CpuProgram } from '../src/machine/options.ts'
import { type SimMachine, simulate } from '../src/machine/sim.ts'
import { IpCounters } from '../src/net/counters.ts'

const SEEDS = process.env.DAMSELFLY_LONG === undefined ? 60 : 1000

function pick<T>(values: readonly T[], seed: number): T {
  return values[seed % values.length]!
}

/** A client and a server over a bad wire: how many CPUs, how large the rings, packets and datagrams are is the seed's. */
function world(seed: number): SimMachine {
  const cpus = Array.from({ length: 1 + (seed % 5) }, (_, i) => i)
  const wire = {
    name: 'w',
    a: cpus,
    b: cpus.toReversed(),
    mtu: pick([1500, 576, 9000], seed),
    entries: pick([16, 64, 512], seed),
  }
  const delays = seed % 2 === 0 ? {} : { delayUs: 50, jitterUs: 200 }
  const bad: DeviceSpec = {
    kind: 'fault',
    of: { kind: 'wire', wire, side: 'a' },
    loss: 0.05,
    duplicate: 0.05,
    reorder: 0.05,
    corrupt: 0.05,
    truncate: 0.02,
    ...delays,
  }
  const host = (name: string, index: number, device: DeviceSpec, address: string) => ({
    config: { name, index, cpus, interfaces: [{ name: 'wire0', device, addresses: [address] }] },
  })
  const payload = pick([0, 64, 1400, 5000], seed)
  const load = { target: '10.0.0.2', port: 7, flows: 3, window: 4, payload, pingsPerSecond: 500 }
  const data: UpData = {
    hosts: [
      { ...host('server', 0, { kind: 'wire', wire, side: 'b' }, '10.0.0.2/24'), echoPort: 7 },
      { ...host('client', 1, bad, '10.0.0.1/24'), load },
    ],
  }
  return simulate({
    cpus: cpus.length,
    seed,
    ringEntries: pick([16, 64, 256], seed),
    checkOrder: true,
    memoryBytes: 48 * 1024 * 1024,
    regions: wireRegions(wire),
    program: up as CpuProgram,
    data,
  })
}

test(`${SEEDS} seeds of hosts over bad links: nobody throws, and all memory is back`, async () => {
  let delivered = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    const machine = world(seed)
    machine.run({ untilUs: 60_000 })
    await machine.stop()
    for (const cpu of machine.cpus) cpu.slab.collect()
    for (const cpu of machine.cpus) assert.equal(cpu.slab.live, 0, `seed ${seed}: cpu ${cpu.index}`)
    const { memory } = machine
    assert.equal(total(memory, SlabCounters, 'allocated'), total(memory, SlabCounters, 'freed'), `seed ${seed}`)
    delivered += total(memory, IpCounters, 'delivered')
  }
  assert.ok(delivered > SEEDS * 20, 'there was traffic')
})

test('a seed is the same world every time', async () => {
  const hashes: number[] = []
  for (const seed of [7, 7, 8]) {
    const machine = world(seed)
    machine.run({ untilUs: 30_000 })
    hashes.push(machine.traceHash)
    await machine.stop()
  }
  assert.equal(hashes[0], hashes[1])
  assert.notEqual(hashes[1], hashes[2])
})
