import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { FaultOptions } from './device/fault.ts'
import { type DeviceSpec, deviceRegions } from './device/spec.ts'
import type { WireOptions } from './device/wire.ts'
import { type SimMachine, simulate } from './machine/sim.ts'
import { nudge, sumOf } from './machine/testing/sim.ts'
import { disciplineUnderTest } from './net/testing/discipline.ts'
import { assertAllFree, balance } from './net/testing/host.ts'
import { echo } from './service/echo.ts'
import { Load, type LoadOptions } from './service/load.ts'
import { type HostConfig, Stack } from './stack.ts'

interface Plan {
  /** CPUs of each of the two hosts. */
  readonly cpus: number
  readonly seed: number
  readonly faults?: FaultOptions
  readonly load?: Partial<LoadOptions>
  readonly mtu?: number
  /** How long the load goes on, in µs. */
  readonly us?: number
}

/** At first no more than may wait for ARP. */
const LOAD: LoadOptions = { target: '10.0.0.2', port: 7, flows: 4, window: 3, payload: 100, pingsPerSecond: 200 }

/** Two hosts on a wire: each CPU of the first has a client of the second's echo service. Gives the machine, stopped. */
function talk(plan: Plan): SimMachine {
  const { cpus, seed, faults, mtu = 1500, us = 50_000 } = plan
  const own = (first: number) => Array.from({ length: cpus }, (_, i) => first + i)
  const wire: WireOptions = { name: 'w', a: own(0), b: own(cpus), mtu }
  const device = (side: 'a' | 'b'): DeviceSpec => {
    const end = { kind: 'wire', wire, side } as const
    // What goes out is damaged, so that what comes in is what the wire has counted.
    return faults === undefined ? end : { kind: 'fault', of: end, direction: 'out', ...faults }
  }
  const hosts: HostConfig[] = (['a', 'b'] as const).map((side, index) => ({
    name: `host ${side}`,
    index,
    cpus: own(index * cpus),
    ...disciplineUnderTest(),
    interfaces: [{ name: 'eth0', device: device(side), addresses: [`10.0.0.${index + 1}/24`] }],
  }))
  const regions = deviceRegions([device('a')])
  const machine = simulate({
    cpus: 2 * cpus,
    seed,
    memoryBytes: 64 * 1024 * 1024,
    regions,
    checkOrder: true,
    checkLocks: true,
  })
  const loads: Load[] = []
  let echoes = 0
  for (const cpu of machine.cpus) {
    const isServer = cpu.index >= cpus
    const stack = new Stack(cpu, hosts[isServer ? 1 : 0]!)
    cpu.threads.start('host', function* (thread) {
      yield* stack.start(thread)
      if (isServer) {
        echo(stack, 7, (error) => {
          assert.equal(error, undefined)
          echoes++
        })
      } else {
        yield* thread.until(() => echoes === cpus)
        loads.push(new Load(stack, { ...LOAD, ...plan.load }))
      }
    })
  }
  machine.run({ until: () => loads.length === cpus })
  machine.run({ untilUs: machine.clock.now() + us })
  for (const load of loads) load.stop()
  // Longer than a datagram may wait for its fragments, so that nothing is under way.
  machine.run({ untilUs: machine.clock.now() + 31_000_000 })
  for (let i = 0; i < 2; i++) {
    for (const cpu of machine.cpus) nudge(machine, cpu.index)
    machine.run({ untilUs: machine.clock.now() + 1000 })
  }
  balance(machine)
  machine.stop().catch(() => {})
  assertAllFree(machine)
  return machine
}

describe('two hosts on a wire', () => {
  for (const cpus of [1, 2]) {
    for (const seed of [1, 2]) {
      test(`with ${cpus} CPUs each, seed ${seed}: every question is answered, once`, () => {
        const machine = talk({ cpus, seed })
        const count = (counter: string) => sumOf(machine, 'load', counter)
        assert(count('asked') > 1000, `${count('asked')} asked`)
        assert.equal(count('answered'), count('asked'))
        assert.equal(sumOf(machine, 'echo', 'echoed'), count('asked'))
        assert.equal(count('wrong'), 0)
        assert.equal(count('retries'), 0)
        assert.equal(count('pongs'), count('pings'))
        assert(count('pings') > 5)
      })
    }

    test(`with ${cpus} CPUs each, over a bad link: it goes on, and all that was lost is accounted for`, () => {
      const faults = {
        loss: 0.05,
        duplicate: 0.03,
        reorder: 0.05,
        delayUs: 200,
        jitterUs: 300,
        corrupt: 0.03,
        truncate: 0.02,
      }
      for (const seed of [3, 4]) {
        const machine = talk({ cpus, seed, faults, us: 3_000_000 })
        const count = (counter: string) => sumOf(machine, 'load', counter)
        assert(count('answered') > 500, `${count('answered')} answered`)
        assert.equal(count('wrong'), 0)
        assert(sumOf(machine, 'udp', 'droppedChecksum') > 0)
        assert(sumOf(machine, 'fault', 'lost') > 0)
      }
    })

    test(`with ${cpus} CPUs each, datagrams in fragments over a bad link: whole, or not at all`, () => {
      const faults = { loss: 0.02, duplicate: 0.02, reorder: 0.2, jitterUs: 100 }
      const machine = talk({ cpus, seed: 5, faults, load: { payload: 4000, flows: 2, window: 2 }, us: 1_500_000 })
      const count = (counter: string) => sumOf(machine, 'load', counter)
      assert(count('answered') > 100, `${count('answered')} answered`)
      assert.equal(count('wrong'), 0)
      assert(sumOf(machine, 'reassembly', 'reassembled') > 200)
      assert(sumOf(machine, 'reassembly', 'droppedTimeout') > 0)
    })
  }

  test('the same seed gives the same run, another one another', () => {
    const plan = { cpus: 2, faults: { loss: 0.1, jitterUs: 50 }, us: 20_000 }
    const [first, again, other] = [7, 7, 8].map((seed) => talk({ ...plan, seed }).traceHash)
    assert.equal(first, again)
    assert.notEqual(first, other)
  })

  test('a network that loses everything costs no memory', () => {
    const machine = talk({ cpus: 2, seed: 9, faults: { loss: 1 }, us: 5_000_000 })
    assert.equal(sumOf(machine, 'load', 'answered'), 0)
    assert(sumOf(machine, 'arp', 'failed') > 0)
    assert(sumOf(machine, 'arp', 'packetsDropped') > 0)
  })
})
