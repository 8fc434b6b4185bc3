import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { readLockSites } from '../../kernel/lock.ts'
import { ByHand } from '../../machine/testing/sim.ts'
import { Family } from '../../net/address.ts'
import { NetContext } from '../../net/context.ts'
import { HostCache, HostCacheLimits, HostMetrics, type Metrics } from '../../net/hostcache/hostcache.ts'
import { LockedHostCache, LockedHostCacheLimits } from './hostcache.ts'

const SOME: Metrics = { rttUs: 20_000, rttvarUs: 4000, ssthreshBytes: 60_000, cwndBytes: 30_000 }
const FIELDS = ['rttUs', 'rttvarUs', 'ssthreshBytes', 'cwndBytes', 'mtu'] as const

const value = fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 100_000 }))
const step = fc.record({
  kind: fc.constantFrom('update', 'update', 'mtu', 'lookup', 'lookup', 'wait'),
  destination: fc.nat(5),
  metrics: fc.record({ rttUs: value, rttvarUs: value, ssthreshBytes: value, cwndBytes: value }),
  mtu: fc.integer({ min: 0, max: 70_000 }),
  // Also longer than what an MTU lives, and than what metrics live.
  waitUs: fc.constantFrom(1, 1000, HostCacheLimits.mtuUs, HostCacheLimits.metricsUs / 2, HostCacheLimits.metricsUs),
  cpu: fc.nat(1),
})

function contextOf(machine: ByHand): NetContext {
  return new NetContext(machine.cpus[0]!, { name: 'host', index: 0, cpus: [0], interfaces: [] })
}

for (const locks of [1, LockedHostCacheLimits.locks]) {
  test(`with ${locks === 1 ? 'one lock' : `${locks} locks`} it knows what the cache of the stack knows`, () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const machine = new ByHand(2)
        const { memory, cpus, clock } = machine
        const stack = new HostCache(contextOf(machine))
        const made = LockedHostCache.create(cpus[0]!, 'hosts', locks)
        const handles = [made, LockedHostCache.attach(cpus[1]!, 'hosts', locks)]
        const address = cpus[0]!.slab.allocate(64) + 16
        const r = HostMetrics.cursor(memory)
        for (const { kind, destination, metrics, mtu, waitUs, cpu } of steps) {
          memory.u8.set([192, 0, 2, destination], address)
          const locked = handles[cpu]!
          if (kind === 'wait') clock.advanceTo(clock.now() + waitUs)
          else if (kind === 'update') {
            stack.update(Family.inet, address, metrics)
            locked.update(Family.inet, address, metrics)
          } else if (kind === 'mtu') {
            stack.updateMtu(Family.inet, address, mtu)
            locked.updateMtu(Family.inet, address, mtu)
          } else {
            r.at = stack.lookup(Family.inet, address)
            assert.equal(locked.lookup(Family.inet, address), r.at !== 0)
            if (r.at !== 0) for (const field of FIELDS) assert.equal(locked[field], r[field], field)
          }
        }
        cpus[0]!.slab.free(address - 16)
        made.free()
        for (const cpu of cpus) cpu.shutdown()
        for (const { slab } of cpus) slab.collect()
        assert.equal(cpus[0]!.slab.live + cpus[1]!.slab.live, 0, 'all memory is back')
      }),
      { seed: 9040, numRuns: 150 },
    )
  })
}

test('a row that is full forgets whom nobody has asked for longest', () => {
  const machine = new ByHand(1)
  const cpu = machine.cpus[0]!
  const cache = LockedHostCache.create(cpu, 'hosts', 1)
  const address = cpu.slab.allocate(64) + 16
  const to = (i: number) => machine.memory.u8.set([10, i >> 16, (i >> 8) & 255, i & 255], address)
  const many = 512 * LockedHostCacheLimits.rowEntries * 4
  to(0)
  cache.update(Family.inet, address, SOME)
  for (let i = 1; i <= many; i++) {
    to(i)
    cache.update(Family.inet, address, SOME)
    to(0)
    assert.equal(cache.lookup(Family.inet, address), true)
  }
  let known = 0
  for (let i = 0; i <= many; i++) {
    to(i)
    if (cache.lookup(Family.inet, address)) known++
  }
  assert(known > many / 8 && known <= 512 * LockedHostCacheLimits.rowEntries, `${known} are known`)
})

test('a lookup and an update take one lock each', () => {
  const machine = new ByHand(1)
  const cpu = machine.cpus[0]!
  const cache = LockedHostCache.create(cpu, 'hosts', 512)
  const address = cpu.slab.allocate(64) + 16
  machine.memory.u8.set([10, 0, 0, 1], address)
  cache.update(Family.inet, address, SOME)
  cache.updateMtu(Family.inet, address, 1400)
  for (let i = 0; i < 3; i++) cache.lookup(Family.inet, address)
  const counts = readLockSites(machine.memory).map(({ name, site, count }) => `${name}, ${site}: ${count}`)
  assert.deepEqual(counts.sort(), ['rival hostcache, hostcache lookup: 3', 'rival hostcache, hostcache update: 2'])
})
