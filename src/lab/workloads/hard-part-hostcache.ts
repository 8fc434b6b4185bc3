// The host cache of the workload "hard-part": a lookup for each connection that begins, and news from each that ends.
import { Random } from '../../base/random.ts'
import type { Address, Thread } from '../../kernel.ts'
import { Family } from '../../net/address.ts'
import type { NetContext } from '../../net/context.ts'
import { HostCache, HostMetrics, type Metrics } from '../../net/hostcache/hostcache.ts'
import { LockedHostCache, LockedHostCacheLimits } from '../rival/hostcache.ts'
import { isPublished } from '../rival/shared.ts'
import { Changes } from './hard-part-changes.ts'
import { HardPartCounters, type PartSetup, RIVAL, TURN_PACKETS, type WorkingPart } from './hard-part-setup.ts'

const C = HardPartCounters.index
/** Powers of two: whom connections go to, and in what order. */
const DESTINATIONS = 512
const ORDER = 4096
const ADDRESS = 4
/** What is told of one destination goes out each 100 ms at most. */
const PROBE_US = 130_000
const PROBE_MTUS = 500

const HEARD: readonly Metrics[] = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => ({
  rttUs: n * 1000,
  rttvarUs: n * 100,
  ssthreshBytes: n * 20_000,
  cwndBytes: n * 10_000,
}))

/** The host cache, in one form or the other. */
interface Hosts {
  /** What a connection begins with, of one destination: its five values, added up. */
  lookup(address: Address): number
  mtu(address: Address): number
  update(address: Address, metrics: Metrics): void
  updateMtu(address: Address, mtu: number): void
}

export function* hostCachePart(thread: Thread, setup: PartSetup): Generator<void, WorkingPart, void> {
  const { context, data, count } = setup
  const { cpu } = context
  const random = new Random(data.seed).fork(cpu.index)
  const addresses = cpu.slab.allocate(DESTINATIONS * ADDRESS)
  for (let i = 0; i < DESTINATIONS; i++) context.u8.set([10, 1, i >> 8, i & 255], addresses + i * ADDRESS)
  const order = Uint16Array.from({ length: ORDER }, () => random.below(DESTINATIONS))
  const hosts = yield* data.form === 'messages' ? replicated(thread, context) : locked(thread, setup)
  for (let i = 0; i < DESTINATIONS; i++) hosts.update(addresses + i * ADDRESS, HEARD[i % HEARD.length]!)
  const changes = new Changes(data.changes, DESTINATIONS, (place, isThere, done) => {
    hosts.update(addresses + place * ADDRESS, HEARD[(place + (isThere ? 1 : 0)) % HEARD.length]!)
    count[C.changes]!++
    done()
  })
  const probed = cpu.slab.allocate(64) + 16
  context.u8.set([10, 2, 0, 1], probed)
  let next = 0
  let sum = 0
  return {
    work() {
      for (let left = TURN_PACKETS; left > 0; ) {
        const run = changes.before(left)
        for (let i = 0; i < run; i++) sum += hosts.lookup(addresses + order[next++ & (ORDER - 1)]! * ADDRESS)
        left -= run
        count[C.packets]! += run
      }
      // What is looked up must be of use to somebody, or it need not be done at all.
      if (sum < 0) throw new RangeError('what is known is not negative')
      return TURN_PACKETS
    },
    visible: {
      everyUs: PROBE_US,
      change: (sequence) => hosts.updateMtu(probed, mtuOf(sequence)),
      sees: (sequence) => hosts.mtu(probed) === mtuOf(sequence),
    },
  }
}

function mtuOf(sequence: number): number {
  return 1000 + (sequence % PROBE_MTUS)
}

/** As the stack has it: a replica on each CPU, and news by messages. */
function* replicated(thread: Thread, context: NetContext): Generator<void, Hosts, void> {
  const { cpu, memory, members } = context
  const cache = new HostCache(context)
  yield* thread.until(() => members.every((each) => cpu.ports.find(context.portName('hostcache', each)) !== undefined))
  const r = HostMetrics.cursor(memory)
  return {
    lookup(address) {
      const record = cache.lookup(Family.inet, address)
      if (record === 0) return 0
      r.at = record
      return r.rttUs + r.rttvarUs + r.ssthreshBytes + r.cwndBytes + r.mtu
    },
    mtu(address) {
      const record = cache.lookup(Family.inet, address)
      if (record === 0) return 0
      r.at = record
      return r.mtu
    },
    update: (address, metrics) => cache.update(Family.inet, address, metrics),
    updateMtu: (address, mtu) => cache.updateMtu(Family.inet, address, mtu),
  }
}

/** One for all, under one lock or one for each row. */
function* locked(thread: Thread, { context, data }: PartSetup): Generator<void, Hosts, void> {
  const { cpu } = context
  const locks = data.form === 'lock' ? 1 : LockedHostCacheLimits.locks
  let cache: LockedHostCache
  if (cpu.index === 0) cache = LockedHostCache.create(cpu, RIVAL, locks)
  else {
    yield* thread.until(() => isPublished(cpu, RIVAL))
    cache = LockedHostCache.attach(cpu, RIVAL, locks)
  }
  return {
    lookup(address) {
      if (!cache.lookup(Family.inet, address)) return 0
      return cache.rttUs + cache.rttvarUs + cache.ssthreshBytes + cache.cwndBytes + cache.mtu
    },
    mtu: (address) => (cache.lookup(Family.inet, address) ? cache.mtu : 0),
    update: (address, metrics) => cache.update(Family.inet, address, metrics),
    updateMtu: (address, mtu) => cache.updateMtu(Family.inet, address, mtu),
  }
}
