import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Address } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import type { SimMachine } from '../../machine/sim.ts'
import { ByHand, nudge, simulated, sumOf } from '../../machine/testing/sim.ts'
import { Family, parseAddress } from '../address.ts'
import type { HostConfig } from '../config.ts'
import { NetContext } from '../context.ts'
import { addressHash } from '../toeplitz.ts'
import {
  HostCache,
  type HostCacheCounters,
  type HostCacheEntry,
  HostCacheLimits,
  HostMetrics,
  type Metrics,
} from './hostcache.ts'

type Counter = (typeof HostCacheCounters.counters)[number]

const DESTINATION = '192.0.2.1'
const SECOND = 1_000_000
const NOTHING: Metrics = { rttUs: 0, rttvarUs: 0, ssthreshBytes: 0, cwndBytes: 0 }
const SOME: Metrics = { rttUs: 20_000, rttvarUs: 4000, ssthreshBytes: 60_000, cwndBytes: 30_000 }

interface HostsOptions {
  readonly seed?: number
  /** CPUs that only run programs, behind the host's own. */
  readonly programs?: number
  /** CPUs on which the host is not built. */
  readonly missing?: readonly number[]
  readonly hosts?: number
}

/** A machine with nothing but a host's cache on each CPU. */
class Caches {
  readonly machine: SimMachine
  readonly contexts: NetContext[] = []
  readonly caches: HostCache[] = []
  /** A second host's, where there is one. */
  readonly others: HostCache[] = []
  readonly #missing: readonly number[]

  constructor(cpus: number, options: HostsOptions = {}) {
    const { seed = 1, programs = 0, missing = [], hosts = 1 } = options
    this.#missing = missing
    this.machine = simulated(cpus + programs, seed)
    const own = Array.from({ length: cpus }, (_, i) => i)
    for (const cpu of this.machine.cpus) {
      if (missing.includes(cpu.index)) continue
      for (let index = 0; index < hosts; index++) {
        const config: HostConfig = {
          name: `host ${index}`,
          index,
          cpus: own,
          programs: Array.from({ length: programs }, (_, i) => cpus + i),
          interfaces: [],
        }
        const context = new NetContext(cpu, config)
        const cache = new HostCache(context)
        if (index > 0) this.others[cpu.index] = cache
        else {
          this.contexts[cpu.index] = context
          this.caches[cpu.index] = cache
        }
      }
    }
    this.run()
  }

  get nowUs(): number {
    return this.machine.clock.now()
  }

  /** Every CPU that has a replica. */
  get all(): readonly number[] {
    return this.machine.cpus.map(({ index }) => index).filter((index) => !this.#missing.includes(index))
  }

  run(us = 1000): void {
    for (const cpu of this.machine.cpus) nudge(this.machine, cpu.index)
    this.machine.run({ untilUs: this.nowUs + us })
  }

  /** Until all is told. */
  settle(): void {
    this.run(3 * HostCacheLimits.intervalUs)
  }

  /** Calls `job` as a part of a turn of a CPU, and lets no more happen than it takes. */
  on<T>(cpu: number, job: (cache: HostCache) => T): T {
    let result: { readonly value: T } | undefined
    this.machine.cpus[cpu]!.timers.after(0, () => {
      result = { value: job(this.caches[cpu]!) }
    })
    nudge(this.machine, cpu)
    this.machine.run({ until: () => result !== undefined })
    return result!.value
  }

  update(cpu: number, metrics: Partial<Metrics>, text = DESTINATION): void {
    this.on(cpu, (cache) => cache.update(...this.address(cpu, text), { ...NOTHING, ...metrics }))
  }

  updateMtu(cpu: number, mtu: number, text = DESTINATION): void {
    this.on(cpu, (cache) => cache.updateMtu(...this.address(cpu, text), mtu))
  }

  /** What a connection on this CPU would begin with, read through the cursor. */
  lookup(cpu: number, text = DESTINATION): (Metrics & { readonly mtu: number }) | undefined {
    return this.on(cpu, (cache) => {
      const record = cache.lookup(...this.address(cpu, text))
      if (record === 0) return undefined
      const r = HostMetrics.cursor(this.machine.memory)
      r.at = record
      const { rttUs, rttvarUs, ssthreshBytes, cwndBytes, mtu } = r
      return { rttUs, rttvarUs, ssthreshBytes, cwndBytes, mtu }
    })
  }

  /** The same on every CPU, and this is it. */
  everywhere(text = DESTINATION): (Metrics & { readonly mtu: number }) | undefined {
    const [first, ...rest] = this.all.map((cpu) => this.lookup(cpu, text))
    for (const other of rest) assert.deepEqual(other, first)
    return first
  }

  /** What a CPU's table shows, without the order of use and ages. */
  table(cpu: number): readonly Omit<HostCacheEntry, 'ageUs'>[] {
    const entries = this.on(cpu, (cache) => cache.entries())
    return entries
      .map(({ ageUs: _, ...entry }) => entry)
      .toSorted((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0))
  }

  /** The text's address in memory of the CPU's, for one call. */
  address(cpu: number, text: string): [Family, Address] {
    const { family, bytes } = parseAddress(text)
    const { scratch, u8 } = this.contexts[cpu]!
    u8.set(bytes, scratch)
    return [family, scratch]
  }

  home(text: string): number {
    const [cpu] = this.all as [number]
    const { u8, scratch } = this.contexts[cpu]!
    const [family, address] = this.address(cpu, text)
    u8.fill(0, scratch + 16, scratch + 32)
    return this.contexts[cpu]!.owner(addressHash(u8, family, address, scratch + 16))
  }

  count(counter: Counter): number {
    return sumOf(this.machine, 'hostcache', counter)
  }

  /** Ends the machine, and checks that all adds up. */
  finish(): void {
    this.settle()
    this.run()
    const present = [...this.caches, ...this.others].reduce((sum, cache) => sum + (cache?.size ?? 0), 0)
    assert.equal(this.count('inserted'), this.count('evicted') + this.count('expired') + present)
    if (this.#missing.length === 0) {
      assert.equal(this.count('newsSent'), this.count('newsReceived'))
      assert.equal(this.count('tellsReceived'), this.count('tellsSent') * (this.all.length - 1))
      assert.equal(this.count('unreached'), 0)
    }
    assert.equal(sumOf(this.machine, 'cpu', 'orderViolations'), 0)
    this.machine.stop().catch(() => {})
    assertAllFree(this.machine)
  }
}

/** A host whose turns the test takes itself, and a destination whose home is its last CPU. */
class Stepped {
  readonly machine: ByHand
  readonly #caches: readonly HostCache[]
  readonly #address: Address

  constructor(cpus: number) {
    this.machine = new ByHand(cpus)
    const { u8 } = this.machine.memory
    const config: HostConfig = {
      name: 'host',
      index: 0,
      cpus: this.machine.cpus.map(({ index }) => index),
      interfaces: [],
    }
    const contexts = this.machine.cpus.map((cpu) => new NetContext(cpu, config))
    this.#caches = contexts.map((context) => new HostCache(context))
    const { scratch } = contexts[0]!
    u8.fill(0, scratch, scratch + 32)
    u8[scratch] = 10
    while (contexts[0]!.owner(addressHash(u8, Family.inet, scratch, scratch + 16)) !== cpus - 1) u8[scratch + 3]!++
    this.#address = scratch
  }

  turn(cpu: number): void {
    this.machine.turn(cpu)
  }

  update(cpu: number, rttUs: number): void {
    this.machine.as(cpu, () => this.#caches[cpu]!.update(Family.inet, this.#address, { ...NOTHING, rttUs }))
  }

  /** What each CPU has. */
  rtts(): number[] {
    return this.#caches.map((cache) => cache.entries()[0]?.rttUs ?? 0)
  }

  finish(): void {
    this.machine.settle()
    for (const cpu of this.machine.cpus) cpu.shutdown()
    assertAllFree(this.machine)
  }
}

/** Whether all memory is at home again: after the stop. */
function assertAllFree(machine: { readonly cpus: readonly Cpu[] }): void {
  for (const cpu of machine.cpus) cpu.slab.flush()
  for (const cpu of machine.cpus) cpu.slab.collect()
  for (const cpu of machine.cpus) assert.equal(cpu.slab.live, 0, `CPU ${cpu.index} has all of its objects`)
}

/** One test on hosts of 1, 2 and 4 CPUs. */
function onCpus(name: string, run: (host: Caches) => void): void {
  test(name, () => {
    for (const cpus of [1, 2, 4]) {
      const host = new Caches(cpus, { seed: cpus })
      try {
        run(host)
        host.finish()
      } catch (error) {
        if (error instanceof Error) error.message = `with ${cpus} CPUs: ${error.message}`
        throw error
      }
    }
  })
}

/** Addresses whose home is a CPU. */
function homedAt(host: Caches, cpu: number, count: number): string[] {
  const found: string[] = []
  for (let i = 0; found.length < count; i++) {
    const text = `10.${i >>> 16}.${(i >>> 8) & 255}.${i & 255}`
    if (host.home(text) === cpu) found.push(text)
  }
  return found
}

/** Takes all memory there is in objects of a record's size, but `left` of them for CPU 0; gives the function that returns it. */
function hoard(host: Caches, left = 0): () => void {
  // So that each has the small objects that the test itself needs, and will have one that is given back.
  for (const cpu of host.all) {
    const { slab } = host.machine.cpus[cpu]!
    host.on(cpu, () => slab.free(slab.tryAllocate(256)))
  }
  const taken = host.all.map((cpu) => {
    const { slab } = host.machine.cpus[cpu]!
    const all: Address[] = []
    host.on(cpu, () => {
      for (let at = slab.tryAllocate(256); at !== 0; at = slab.tryAllocate(256)) all.push(at)
    })
    return all
  })
  host.on(0, () => {
    for (let i = 0; i < left; i++) host.machine.cpus[0]!.slab.free(taken[0]!.pop()!)
  })
  return () => {
    for (const cpu of host.all) {
      const { slab } = host.machine.cpus[cpu]!
      host.on(cpu, () => {
        for (const at of taken[cpu]!) slab.free(at)
      })
    }
  }
}

describe('the host cache', () => {
  onCpus('what nobody has heard of is not found', (host) => {
    assert.equal(host.everywhere(), undefined)
    assert.equal(host.count('hits'), 0)
  })

  onCpus('news are known at once where they were heard, and soon everywhere', (host) => {
    for (const cpu of host.all) {
      const text = `192.0.2.${cpu + 1}`
      host.update(cpu, SOME, text)
      assert.deepEqual(host.lookup(cpu, text), { ...SOME, mtu: 0 })
      host.settle()
      assert.deepEqual(host.everywhere(text), { ...SOME, mtu: 0 })
    }
  })

  onCpus("a path's MTU is known at once where it was learned, and soon everywhere", (host) => {
    for (const cpu of host.all) {
      host.updateMtu(cpu, 1400 - cpu)
      assert.equal(host.lookup(cpu)?.mtu, 1400 - cpu)
      host.settle()
      assert.deepEqual(host.everywhere(), { ...NOTHING, mtu: 1400 - cpu })
    }
  })

  onCpus('addresses of both families are kept apart, to the last byte', (host) => {
    const addresses = ['192.0.2.1', '192.0.2.2', 'c000:201::', 'c000:201::1', '2001:db8::1', '2001:db8::1:0']
    for (const [i, text] of addresses.entries()) host.update(i % host.all.length, { rttUs: 1000 + i }, text)
    host.settle()
    for (const [i, text] of addresses.entries()) assert.equal(host.everywhere(text)?.rttUs, 1000 + i)
    for (const cpu of host.all) assert.equal(host.table(cpu).length, addresses.length)
  })

  onCpus('of what is known and what is new, each has one half; what is 0 is not known', (host) => {
    const last = host.all.length - 1
    host.update(last, { rttUs: 10_000, cwndBytes: 5000 })
    host.settle()
    host.update(last, { rttUs: 20_001, ssthreshBytes: 7000 })
    const expected = { rttUs: 15_000, rttvarUs: 0, ssthreshBytes: 7000, cwndBytes: 5000, mtu: 0 }
    assert.deepEqual(host.lookup(last), expected)
    host.settle()
    assert.deepEqual(host.everywhere(), expected)
    host.update(0, NOTHING)
    host.settle()
    assert.deepEqual(host.everywhere(), expected)
  })

  test('news of two CPUs about one destination are merged by its home, and all have the same', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const host = new Caches(4, { seed })
      const home = host.home(DESTINATION)
      const [x, y] = host.all.filter((cpu) => cpu !== home) as [number, number]
      host.update(x, { rttUs: 10_000 })
      host.update(y, { rttUs: 30_000 })
      host.settle()
      assert.equal(host.everywhere()?.rttUs, 20_000)
      host.finish()
    }
  })

  test('news that come while the home is telling are neither lost nor overwritten in the end', () => {
    for (let seed = 1; seed <= 40; seed++) {
      const host = new Caches(4, { seed })
      const home = host.home(DESTINATION)
      const [x, y] = host.all.filter((cpu) => cpu !== home) as [number, number]
      host.update(y, { rttUs: 40_000 })
      // Some µs later, when the answer, or the tell, or neither is on its way.
      host.machine.run({ untilUs: host.nowUs + (seed % 20) })
      host.update(x, { rttUs: 20_000 })
      host.settle()
      const rttUs = host.everywhere()?.rttUs
      assert.equal(rttUs, 30_000, `seed ${seed}`)
      host.finish()
    }
  })

  test('what was heard here, and waits to be told, is not forgotten when the home speaks of something else', () => {
    const host = new Caches(2)
    const [text] = homedAt(host, 0, 1) as [string]
    host.update(0, { ssthreshBytes: 7000 }, text)
    host.run(0.6 * HostCacheLimits.intervalUs)
    host.update(1, { rttUs: 8000 }, text)
    host.run(0.2 * HostCacheLimits.intervalUs)
    host.update(1, { rttUs: 12_000, cwndBytes: 9000 }, text)
    // Now the home tells what it has, and the rest is still to come.
    host.run(0.4 * HostCacheLimits.intervalUs)
    assert.equal(host.count('tellsReceived'), 2)
    assert.deepEqual(host.lookup(0, text), { ...NOTHING, rttUs: 8000, ssthreshBytes: 7000, mtu: 0 })
    const all = { ...NOTHING, rttUs: 10_000, cwndBytes: 9000, ssthreshBytes: 7000, mtu: 0 }
    assert.deepEqual(host.lookup(1, text), all)
    host.settle()
    assert.deepEqual(host.everywhere(text), all)
    host.finish()
  })

  test('what was heard here, and is on its way to the home, is back with the answer when the home speaks meanwhile', () => {
    const host = new Stepped(2)
    host.update(1, 40_000)
    host.turn(1)
    host.update(0, 20_000)
    // The tell has left before the news came, so that it does not have them.
    host.turn(0)
    assert.equal(host.rtts()[0], 40_000)
    host.turn(1)
    host.turn(0)
    assert.deepEqual(host.rtts(), [30_000, 30_000])
    host.finish()
  })

  test('an answer that a newer tell has overtaken, by way of another CPU, changes nothing', () => {
    const host = new Stepped(3)
    host.update(2, 10_000)
    host.machine.settle()
    assert.deepEqual(host.rtts(), [10_000, 10_000, 10_000])
    // The home answers CPU 1, which does not look, then has news of CPU 0, and its time to tell has come.
    host.update(1, 20_000)
    host.turn(1)
    host.turn(2)
    host.update(0, 40_000)
    host.turn(0)
    host.machine.clock.advanceTo(host.machine.clock.now() + 2 * HostCacheLimits.intervalUs)
    host.turn(2)
    // The tell goes to CPU 0 first; CPU 1 finds it together with its answer, which is older.
    host.turn(0)
    host.turn(1)
    host.machine.settle()
    assert.deepEqual(host.rtts(), [27_500, 27_500, 27_500])
    host.finish()
  })

  test('a message that is under way for long is waited for, and its record is kept', () => {
    const host = new Caches(2)
    const [text] = homedAt(host, 1, 1) as [string]
    host.on(0, (cache) => {
      const cpu = host.machine.cpus[0]!
      const later = (us: number) => {
        host.machine.clock.advanceTo(host.nowUs + us)
        cpu.now = host.nowUs
      }
      cache.update(...host.address(0, text), SOME)
      later(2 * HostCacheLimits.intervalUs)
      cache.update(...host.address(0, text), SOME)
      later(2 * HostCacheLimits.metricsUs)
      assert.equal(cache.lookup(...host.address(0, text)), 0)
      assert.equal(cache.size, 1)
      cache.update(...host.address(0, text), { ...NOTHING, rttUs: 500 })
      assert.equal(host.count('newsSent'), 1)
    })
    host.settle()
    assert.equal(host.count('newsSent'), 2)
    assert.equal(host.everywhere(text)?.mtu, 0)
    host.finish()
  })

  test('a destination that is forgotten while its news wait takes its timer with it', () => {
    const host = new Caches(2)
    const [text, ...fillers] = homedAt(host, 1, HostCacheLimits.entries + 1) as [string, ...string[]]
    host.update(0, SOME, text)
    host.run()
    host.on(0, (cache) => {
      cache.update(...host.address(0, text), SOME)
      for (const filler of fillers) cache.update(...host.address(0, filler), SOME)
    })
    assert.equal(host.count('evicted'), 1)
    host.settle()
    assert.equal(host.lookup(0, text), undefined)
    host.finish()
  })

  onCpus('the MTU that was learned last holds, smaller or larger', (host) => {
    const last = host.all.length - 1
    host.updateMtu(last, 1400)
    host.updateMtu(0, 1300)
    host.settle()
    assert.equal(host.everywhere()?.mtu, 1300)
    host.updateMtu(last, 1480)
    host.settle()
    assert.equal(host.everywhere()?.mtu, 1480)
  })

  test('of MTUs that were learned at the same time the smaller one holds, on every CPU', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const host = new Caches(4, { seed })
      host.on(0, () => {
        for (const cpu of host.all) {
          host.machine.cpus[cpu]!.now = host.nowUs
          host.caches[cpu]!.updateMtu(...host.address(cpu, DESTINATION), 1300 + ((cpu + seed) % 4))
        }
      })
      host.settle()
      assert.equal(host.everywhere()?.mtu, 1300)
      host.finish()
    }
  })

  onCpus('an MTU that cannot be is not believed', (host) => {
    for (const mtu of [0, 67, 65_536]) host.updateMtu(0, mtu)
    for (const mtu of [68, 1279]) host.updateMtu(0, mtu, '2001:db8::1')
    assert.equal(host.count('mtuRefused'), 5)
    assert.equal(host.caches[0]!.size, 0)
    host.updateMtu(0, 68)
    host.updateMtu(0, 1280, '2001:db8::1')
    host.settle()
    assert.deepEqual([host.everywhere()?.mtu, host.everywhere('2001:db8::1')?.mtu], [68, 1280])
  })

  onCpus('metrics live for an hour since they were last heard of, and an MTU for ten minutes', (host) => {
    const last = host.all.length - 1
    host.update(last, SOME)
    host.updateMtu(0, 1400)
    host.run(HostCacheLimits.mtuUs - SECOND)
    assert.deepEqual(host.everywhere(), { ...SOME, mtu: 1400 })
    host.run(2 * SECOND)
    assert.deepEqual(host.everywhere(), { ...SOME, mtu: 0 })
    host.run(HostCacheLimits.metricsUs - HostCacheLimits.mtuUs - 3 * SECOND)
    assert.deepEqual(host.everywhere(), { ...SOME, mtu: 0 })
    for (const cpu of host.all) assert.equal(host.table(cpu).length, 1)
    host.run(3 * SECOND)
    for (const cpu of host.all) assert.deepEqual(host.table(cpu), [])
    assert.equal(host.everywhere(), undefined)
    assert.equal(host.count('expired'), host.all.length)
    assert.deepEqual(
      host.caches.map(({ size }) => size),
      host.all.map(() => 0),
    )
    // It is known again, and by what is new only.
    host.update(last, { rttUs: 1000 })
    host.settle()
    assert.deepEqual(host.everywhere(), { ...NOTHING, rttUs: 1000, mtu: 0 })
  })

  onCpus('what is heard again lives on', (host) => {
    host.update(0, { rttUs: 1000 })
    for (let i = 0; i < 3; i++) {
      host.run(HostCacheLimits.metricsUs * 0.75)
      host.update(host.all.length - 1, { rttUs: 1000 })
    }
    host.settle()
    assert.equal(host.everywhere()?.rttUs, 1000)
    assert.equal(host.count('expired'), 0)
  })

  onCpus('a full replica forgets the least recently used', (host) => {
    const last = host.all.length - 1
    const addresses = Array.from({ length: HostCacheLimits.entries + 100 }, (_, i) => `10.1.${i >>> 8}.${i & 255}`)
    for (const [i, text] of addresses.entries()) {
      host.update(last, { rttUs: i + 1 }, text)
      // The first is in use, here.
      if (i % 100 === 0) assert(host.lookup(last, addresses[0]) !== undefined)
    }
    host.settle()
    for (const cpu of host.all) assert.equal(host.caches[cpu]!.size, HostCacheLimits.entries)
    assert(host.lookup(last, addresses[0]) !== undefined)
    assert.equal(host.lookup(last, addresses[1]), undefined)
    assert.equal(host.lookup(last, addresses[100]), undefined)
    for (const text of addresses.slice(101)) assert(host.lookup(last, text) !== undefined, text)
    assert(host.count('evicted') >= 100 * host.all.length)
    assert.equal(host.count('refused'), 0)
  })

  test('what a home has forgotten, it does not have the others forget', () => {
    const host = new Caches(2)
    const [text, ...fillers] = homedAt(host, 0, HostCacheLimits.entries + 1) as [string, ...string[]]
    host.update(1, SOME, text)
    host.settle()
    for (const filler of fillers) {
      host.update(0, { rttUs: 1 }, filler)
      host.lookup(1, text)
    }
    host.settle()
    assert.equal(host.lookup(0, text), undefined)
    assert.deepEqual(host.lookup(1, text), { ...SOME, mtu: 0 })
    host.updateMtu(1, 1400, text)
    host.settle()
    assert.deepEqual(host.lookup(1, text), { ...SOME, mtu: 1400 })
    // And what is heard now is newer than all that it said before it forgot.
    host.update(1, { rttUs: 60_000 }, text)
    host.settle()
    assert.equal(host.everywhere(text)?.rttUs, 60_000)
    host.finish()
  })

  test('a record whose message is under way is not given away: what is too much at once is refused, and counted', () => {
    const host = new Caches(2)
    const over = 50
    const addresses = homedAt(host, 1, HostCacheLimits.entries + over)
    // All in one turn, in which the other CPU answers nothing.
    host.on(0, (cache) => {
      for (const text of addresses) cache.update(...host.address(0, text), SOME)
    })
    assert.equal(host.count('refused'), over)
    host.settle()
    for (const text of addresses.slice(0, -over)) assert(host.lookup(1, text) !== undefined, text)
    // Then there is room again.
    host.update(0, SOME, addresses.at(-1))
    host.settle()
    assert.deepEqual(host.everywhere(addresses.at(-1)), { ...SOME, mtu: 0 })
    host.finish()
  })

  test('however often a destination is heard of, its messages are 100 ms apart', () => {
    const host = new Caches(4)
    const home = host.home(DESTINATION)
    const x = host.all.find((cpu) => cpu !== home)!
    const begin = host.nowUs
    for (let i = 0; i < 1000; i++) {
      host.update(x, { rttUs: 1000 })
      host.run(900)
    }
    const intervals = (host.nowUs - begin) / HostCacheLimits.intervalUs
    assert(intervals > 8)
    assert(host.count('newsSent') <= intervals + 1, `${host.count('newsSent')} news in ${intervals} intervals`)
    assert(host.count('tellsSent') <= intervals + 1, `${host.count('tellsSent')} tells in ${intervals} intervals`)
    host.settle()
    assert.equal(host.everywhere()?.rttUs, 1000)
    host.finish()
  })

  test('a host of one CPU sends nothing', () => {
    const host = new Caches(1)
    host.update(0, SOME)
    host.updateMtu(0, 1400)
    host.settle()
    assert.equal(sumOf(host.machine, 'cpu', 'messagesSent'), 0)
    assert.equal(sumOf(host.machine, 'cpu', 'timersFired'), 2, 'which are those of this test')
    host.finish()
  })

  test('without memory nothing is remembered, which is counted, and with memory it goes on', () => {
    for (const cpus of [1, 2, 4]) {
      const host = new Caches(cpus, { seed: cpus })
      const giveBack = hoard(host)
      host.update(0, SOME)
      host.updateMtu(cpus - 1, 1400)
      host.settle()
      assert.equal(host.everywhere(), undefined)
      assert.equal(host.count('noMemory'), 2)
      giveBack()
      host.update(0, SOME)
      host.updateMtu(cpus - 1, 1400)
      host.settle()
      assert.deepEqual(host.everywhere(), { ...SOME, mtu: 1400 })
      host.finish()
    }
  })

  test('a home without memory answers so, and what was heard stays where it was heard', () => {
    const host = new Caches(2)
    const [text] = homedAt(host, 1, 1) as [string]
    const giveBack = hoard(host, 1)
    host.update(0, SOME, text)
    host.settle()
    assert.equal(host.count('newsRefused'), 1)
    assert.deepEqual(host.lookup(0, text), { ...SOME, mtu: 0 })
    assert.equal(host.lookup(1, text), undefined)
    giveBack()
    host.update(0, SOME, text)
    host.settle()
    assert.deepEqual(host.everywhere(text), { ...SOME, mtu: 0 })
    host.finish()
  })

  test('what is known already is told without any memory', () => {
    const host = new Caches(4)
    host.update(2, SOME)
    host.settle()
    const giveBack = hoard(host)
    host.update(3, { rttUs: 40_000 })
    host.updateMtu(1, 1400)
    host.settle()
    assert.deepEqual(host.everywhere(), { ...SOME, rttUs: 30_000, mtu: 1400 })
    assert.equal(host.count('noMemory'), 0)
    giveBack()
    host.finish()
  })

  test('CPUs that only run programs have a replica too, and their news count', () => {
    const host = new Caches(2, { programs: 2 })
    assert.deepEqual(host.all, [0, 1, 2, 3])
    host.update(3, { rttUs: 10_000 })
    host.settle()
    assert.equal(host.everywhere()?.rttUs, 10_000)
    host.update(0, { rttUs: 20_000 })
    host.settle()
    assert.equal(host.everywhere()?.rttUs, 15_000)
    host.finish()
  })

  test('two hosts on the same CPUs know nothing of each other', () => {
    const host = new Caches(2, { hosts: 2 })
    host.update(0, SOME)
    host.settle()
    assert.deepEqual(host.everywhere(), { ...SOME, mtu: 0 })
    for (const other of host.others) assert.deepEqual(other.entries(), [])
    host.finish()
  })

  test('a CPU without the host is passed over', () => {
    const host = new Caches(4, { missing: [2] })
    const addresses = [0, 1, 2, 3].map((cpu) => homedAt(host, cpu, 1)[0]!)
    for (const [i, text] of addresses.entries()) host.update([3, 0, 1, 0][i]!, SOME, text)
    host.settle()
    assert.deepEqual(host.everywhere(addresses[0]), { ...SOME, mtu: 0 })
    assert.deepEqual(host.everywhere(addresses[1]), { ...SOME, mtu: 0 })
    assert.deepEqual(host.everywhere(addresses[3]), { ...SOME, mtu: 0 })
    // Its home is not there: only who has heard it knows.
    assert.deepEqual(host.lookup(1, addresses[2]), { ...SOME, mtu: 0 })
    assert.equal(host.lookup(0, addresses[2]), undefined)
    assert.equal(host.count('unreached'), 4)
    host.finish()
  })

  test('addresses that are made to have one flow hash are found as fast as any', () => {
    const host = new Caches(1)
    for (let i = 0; i < HostCacheLimits.entries; i++) {
      const word = (i + 1).toString(16)
      host.update(0, { rttUs: i + 1 }, `2001:db8::${word}:${word}`)
    }
    const before = host.count('probes')
    for (let i = 0; i < HostCacheLimits.entries; i++) {
      const word = (i + 1).toString(16)
      assert.equal(host.lookup(0, `2001:db8::${word}:${word}`)?.rttUs, i + 1)
    }
    const probes = host.count('probes') - before
    assert(probes < 2 * HostCacheLimits.entries, `${probes} probes for ${HostCacheLimits.entries} look-ups`)
    host.finish()
  })

  test('the homes of addresses are spread over the CPUs', () => {
    const host = new Caches(4)
    const homes = Array.from({ length: 256 }, (_, i) => host.home(`198.51.100.${i}`))
    for (const cpu of host.all) assert.equal(homes.filter((home) => home === cpu).length, 64)
    host.finish()
  })

  test('values are kept to 32 bits, and without fractions', () => {
    const host = new Caches(2)
    host.update(1, { rttUs: 1234.75, cwndBytes: 1e12, ssthreshBytes: Number.POSITIVE_INFINITY, rttvarUs: 0.5 })
    host.settle()
    const most = 0xffffffff
    assert.deepEqual(host.everywhere(), { rttUs: 1234, rttvarUs: 0, ssthreshBytes: most, cwndBytes: most, mtu: 0 })
    host.update(0, { cwndBytes: 1e12 })
    host.settle()
    assert.equal(host.everywhere()?.cwndBytes, most)
    host.finish()
  })

  test('the table shows the most recently used first, with its age', () => {
    const host = new Caches(2)
    host.update(0, SOME, '192.0.2.1')
    host.updateMtu(0, 1300, '2001:db8::1')
    host.run(5 * SECOND)
    host.update(0, { rttUs: 7 }, '192.0.2.3')
    host.lookup(0, '192.0.2.1')
    const entries = host.on(0, (cache) => cache.entries())
    assert.deepEqual(
      entries.map(({ family, address }) => [family, address]),
      [
        [Family.inet, '192.0.2.1'],
        [Family.inet, '192.0.2.3'],
        [Family.inet6, '2001:db8::1'],
      ],
    )
    const [first, second, third] = entries.map(({ ageUs }) => Math.round(ageUs / SECOND))
    assert.deepEqual([first, second, third], [5, 0, 5])
    assert.equal(entries[2]!.mtu, 1300)
    host.finish()
  })

  test('a machine that stops in the middle of it all leaves nothing behind', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const host = new Caches(4, { seed })
      for (let i = 0; i < 40; i++) {
        host.update(i % 4, SOME, `10.0.0.${i % 10}`)
        host.machine.run({ untilUs: host.nowUs + (seed % 7) })
      }
      host.machine.stop().catch(() => {})
      assertAllFree(host.machine)
    }
  })

  test('whatever is heard where and when, all have the same in the end', () => {
    const step = fc.record({
      cpu: fc.nat(3),
      address: fc.nat(3),
      rttUs: fc.constantFrom(0, 1, 1000, 77_777),
      cwndBytes: fc.constantFrom(0, 3, 14_600),
      mtu: fc.constantFrom(0, 1280, 1400, 1500),
      waitUs: fc.constantFrom(0, 0, 1, 3, 10, 40, 500, 60_000, 130_000),
    })
    const steps = fc.array(step, { minLength: 1, maxLength: 60 })
    fc.assert(
      fc.property(fc.nat(), fc.constantFrom(2, 3, 4), steps, (seed, cpus, steps) => {
        const host = new Caches(cpus, { seed })
        const latest = new Map<string, number>()
        for (const { cpu, address, rttUs, cwndBytes, mtu, waitUs } of steps) {
          const where = cpu % cpus
          const text = address === 3 ? '2001:db8::3' : `10.0.0.${address}`
          host.update(where, { rttUs, cwndBytes }, text)
          if (mtu !== 0) {
            host.updateMtu(where, mtu, text)
            latest.set(text, mtu)
          }
          host.machine.run({ untilUs: host.nowUs + waitUs })
        }
        host.settle()
        const tables = host.all.map((index) => host.table(index))
        for (const table of tables) assert.deepEqual(table, tables[0])
        for (const { address, mtu, rttUs } of tables[0]!) {
          assert.equal(mtu, latest.get(address) ?? 0)
          assert(rttUs <= 77_777)
        }
        const heard = steps.filter(({ rttUs, cwndBytes, mtu }) => rttUs + cwndBytes + mtu > 0)
        assert.equal(tables[0]!.length, new Set(heard.map(({ address }) => address)).size)
        host.finish()
      }),
      { seed: 9040, numRuns: 150 },
    )
  })
})
