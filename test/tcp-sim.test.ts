// TCP between hosts in virtual time: recovery of losses at each place, fairness, and worlds of seeds in which everything is by
// chance. What must hold in every one: all that is sent arrives, as it was sent, or the program is told; in bounded time; counters
// add up, and at the end all memory is back.
//   DAMSELFLY_LONG=1 node --test dist/test/tcp-sim.test.js        a thousand seeds instead of thirty
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Errno } from '../src/base/errno.ts'
import { Random } from '../src/base/random.ts'
import { FaultCounters, type FaultOptions } from '../src/device/fault.ts'
import { TcpCounters } from '../src/net/counters.ts'
import { type ConversationOptions, type Plan, World, type WorldOptions } from '../src/net/tcp/testing/pair.ts'

const IS_LONG = process.env.DAMSELFLY_LONG !== undefined

/** Runs a test in a world of its own, and checks that world afterwards. */
function inWorld<T>(options: WorldOptions, run: (world: World) => T): T {
  const world = new World(options)
  try {
    const result = run(world)
    world.finish()
    return result
  } finally {
    world.abandon()
  }
}

interface Loss {
  readonly timeouts: number
  readonly windowProbes: number
  readonly tailProbes: number
  readonly recoveries: number
  readonly retransmitted: number
  readonly packets: number
  readonly us: number
}

/** One transfer to host 0, in which the client's packets of these numbers are lost; 0 is its SYN. */
function transfer(lose: readonly number[], bytes: number, options: WorldOptions, talk: ConversationOptions = {}): Loss {
  return inWorld(options, (world) => {
    const first = world.offered(1)
    world.change('forward', { lose: lose.map((number) => first + number) })
    const { client, server } = world.converse({ ...talk, client: { ...talk.client, sends: bytes } })
    world.settle({ limitUs: 600e6, stallUs: 5e6 })
    assert.equal(server.received, bytes)
    const { timeouts, windowProbes, tailProbes, recoveries, retransmitted } = world.counts(TcpCounters)
    const packets = world.offered(1) - first
    const us = server.endedAtUs - client.connectedAtUs
    return { timeouts, windowProbes, tailProbes, recoveries, retransmitted, packets, us }
  })
}

const far = (us: number, more: FaultOptions = {}): WorldOptions => ({
  seed: 3,
  // There are many worlds, of one connection each.
  memoryBytes: 24 * 1024 * 1024,
  forward: { delayUs: us, ...more },
  backward: { delayUs: us },
})
const BYTES = 60_000

for (const [kind, options] of [
  ['in one burst', far(10_000)],
  ['one after the other', far(10_000, { rateBitsPerSecond: 50e6 })],
] as const) {
  test(`a single loss at any place of windows that arrive ${kind} needs no timeout`, () => {
    const whole = transfer([], BYTES, options)
    assert.equal(whole.retransmitted, 0)
    // Behind the SYN.
    for (let lost = 1; lost < whole.packets; lost++) {
      const { timeouts, retransmitted, us } = transfer([lost], BYTES, options)
      assert.equal(timeouts, 0, `packet ${lost} is lost`)
      // It, and the FIN's packet, whose FIN is not kept where something before it is missing.
      assert(retransmitted >= 1 && retransmitted <= 2, `packet ${lost}: ${retransmitted} are sent again`)
      // The last one is all alone: a probe of it waits for a delayed acknowledgment.
      assert(us <= whole.us + (lost === whole.packets - 1 ? 300_000 : 150_000), `packet ${lost}: ${us} µs`)
    }
  })
}

test('the loss of the end of a train is found by a probe, before the timeout', () => {
  const options = far(10_000)
  const bytes = 14_480
  const { us, packets } = transfer([], bytes, options)
  // The window of the beginning goes at once: three of its last segments, and the FIN with them.
  const found = transfer([packets - 4, packets - 3, packets - 2], bytes, options)
  assert.deepEqual({ timeouts: found.timeouts, tailProbes: found.tailProbes }, { timeouts: 0, tailProbes: 1 })
  assert(found.us < us + 150_000, `${found.us} µs, and ${us} without loss`)
})

test('two losses need no timeout, wherever the second is: also where it is what was sent again for the first', () => {
  const options = far(100_000)
  const { packets } = transfer([], BYTES, options)
  const LOST = 5
  // The end of the transfer has nothing behind it that would tell.
  for (let second = LOST + 1; second < packets - 4; second++) {
    assert.equal(transfer([LOST, second], BYTES, options).timeouts, 0, `packets ${LOST} and ${second} are lost`)
  }
})

test('without selective acknowledgments three segments behind a loss are enough, wherever the sequence numbers begin', () => {
  for (const initialSequence of [1, 0x7fffffff - 20_000, -0x80000000, -20_000]) {
    const options = { ...far(10_000, { rateBitsPerSecond: 50e6 }), initialSequence }
    const { packets } = transfer([], BYTES, options, { sack: false })
    for (let lost = 1; lost < packets - 3; lost += 4) {
      const { timeouts } = transfer([lost], BYTES, options, { sack: false })
      assert.equal(timeouts, 0, `from ${initialSequence}, packet ${lost} is lost`)
    }
  }
})

test('reordering is taken for a loss a few times, and then for what it is', () => {
  const { recoveries, retransmitted, timeouts } = transfer(
    [],
    3_000_000,
    far(50_000, { rateBitsPerSecond: 20e6, queueBytes: 1_000_000, reorder: 0.02, reorderUs: 25_000 }),
  )
  assert.equal(timeouts, 0)
  assert(recoveries >= 1 && recoveries <= 3, `${recoveries} recoveries`)
  assert(retransmitted <= 12, `${retransmitted} are sent again`)
})

test('losses make no round trip longer than it is, with selective acknowledgments or without', () => {
  for (const sack of [true, false]) {
    inWorld({ seed: 5, forward: { delayUs: 30_000, loss: 0.1 }, backward: { delayUs: 30_000, loss: 0.1 } }, (world) => {
      const { client, server } = world.converse({ client: { sends: 600_000 }, server: { ends: 'last' }, sack })
      let largest = 0
      while (server.received < 500_000) {
        world.run(100_000)
        if (client.connectedAtUs > 0) largest = Math.max(largest, client.pcb.srtt)
      }
      assert(
        largest >= 60_000 && largest < 200_000,
        `${largest} µs are measured of 60 000, ${sack ? 'with' : 'without'} SACK`,
      )
      world.settle({ limitUs: 600e6, stallUs: 10e6 })
    })
  }
})

test('a window of less than a segment is used by itself, without probes', () => {
  for (const receiveBytes of [500, 1000, 3000]) {
    const { windowProbes, timeouts, us } = transfer([], 100_000, far(5000), { server: { options: { receiveBytes } } })
    assert.deepEqual({ windowProbes, timeouts }, { windowProbes: 0, timeouts: 0 })
    // Not each round trip is a full window: half of one is worth being announced.
    assert(us < 2.2 * (100_000 / receiveBytes) * 10_500, `${us} µs through ${receiveBytes} bytes`)
  }
})

test('a program that does not read for half an hour loses nothing by it', () => {
  inWorld({ seed: 1, forward: { delayUs: 1000 }, backward: { delayUs: 1000 } }, (world) => {
    const reader = { bytes: 65536, everyUs: 1800e6 }
    const { server } = world.converse({
      client: { sends: 200_000 },
      server: { ends: 'last', reader, options: { receiveBytes: 65536 } },
    })
    world.settle({ limitUs: 20_000e6 })
    assert.equal(server.received, 200_000)
    assert(world.counts(TcpCounters).windowProbes > 60)
  })
})

test('both directions fill small windows at once, and lose, and nothing stands still', () => {
  // A window is a whole number of segments: what acknowledges while it is full lies at its end, and is taken all the same.
  const options = { receiveBytes: 12_800 }
  const bad: FaultOptions = { delayUs: 1000, loss: 0.02 }
  inWorld({ seed: 2, mtu: 1332, forward: bad, backward: bad }, (world) => {
    const { client, server } = world.converse({
      client: { sends: 1_000_000, options },
      server: { sends: 1_000_000, options },
    })
    world.settle({ limitUs: 100e6, stallUs: 5e6 })
    assert.equal(client.received, 1_000_000)
    assert.equal(server.received, 1_000_000)
    const { timeouts, rejectedWindow } = world.counts(TcpCounters)
    assert(timeouts <= 3, `${timeouts} timeouts`)
    assert.equal(rejectedWindow, 0)
  })
})

/** Jain's index: 1 when all have the same, 1/n when one has all. */
function fairness(shares: readonly number[]): number {
  const sum = shares.reduce((all, share) => all + share, 0)
  return sum ** 2 / (shares.length * shares.reduce((all, share) => all + share ** 2, 0))
}

for (const congestionControl of ['cubic', 'newreno']) {
  for (const flows of [2, 8]) {
    test(`${flows} ${congestionControl} flows of the same round trip share a bottleneck`, () => {
      const rate = 10e6
      const forward = { delayUs: 10_000, rateBitsPerSecond: rate, queueBytes: 64 * 1024 }
      const world = new World({ seed: 1, forward, backward: { delayUs: 10_000 } })
      try {
        // One after the other, so that the first ones have filled it before the last one begins.
        for (let i = 0; i < flows; i++) world.converse({ client: { sends: 1e9, congestionControl }, atUs: i * 300_000 })
        world.run(10e6)
        const before = world.conversations.map(({ server }) => server.received)
        world.run(30e6)
        const shares = world.conversations.map(({ server }, i) => server.received - before[i]!)
        const used = (shares.reduce((all, share) => all + share, 0) * 8) / 30 / rate
        assert(fairness(shares) >= 0.9, `${fairness(shares)}: ${shares.join(', ')}`)
        assert(used >= 0.93, `${used} of the rate is used`)
      } finally {
        world.abandon()
      }
    })
  }
}

/** What one end does, by chance. Bytes are few where much else goes on. */
function plan(random: Random, most: number, ends: 'first' | 'last'): Plan {
  const sizes = [0, 1, 100, 3000, most / 10, most]
  let sends = random.below(1 + random.below(2) + sizes[random.below(sizes.length)]!)
  const reader = random.chance(0.25)
    ? { bytes: 50 + random.below(20_000), everyUs: 1000 + random.below(50_000) }
    : undefined
  const writer = random.chance(0.2)
    ? { bytes: 1 + random.below(3000), everyUs: 1000 + random.below(20_000) }
    : undefined
  if (writer !== undefined) sends = Math.min(sends, writer.bytes * 300)
  const options = {
    // An end that waits for nothing but its peer learns by this that there is none any more.
    keepAliveMs: 20_000,
    noDelay: random.chance(0.3),
    receiveBytes: random.chance(0.25) ? pick(random, [2000, 5000, 20_000, 65_536, 300_000]) : 0,
    sendBytes: random.chance(0.15) ? pick(random, [2000, 20_000, 65_536]) : 0,
  }
  return {
    sends,
    ends,
    options,
    congestionControl: pick(random, ['cubic', 'cubic', 'newreno']),
    ...(reader === undefined ? {} : { reader }),
    ...(writer === undefined ? {} : { writer }),
    ...(random.chance(0.08) ? { abortsAfterSent: random.below(sends + 1) } : {}),
    ...(random.chance(0.08) ? { abortsAfterReceived: 1 + random.below(50_000) } : {}),
  }
}

function pick<T>(random: Random, values: readonly T[]): T {
  return values[random.below(values.length)]!
}

function faults(random: Random): FaultOptions {
  return {
    ...(random.chance(0.6) ? { loss: pick(random, [0.001, 0.01, 0.05, 0.1]) } : {}),
    ...(random.chance(0.2) ? { burst: { pGoodToBad: 0.005, pBadToGood: 0.3 } } : {}),
    ...(random.chance(0.4) ? { duplicate: 0.03 } : {}),
    ...(random.chance(0.4) ? { reorder: 0.03, reorderUs: 500 + random.below(20_000) } : {}),
    // Of two bits the checksum may miss both.
    ...(random.chance(0.3) ? { corrupt: 0.02, corruptBits: 1 } : {}),
    ...(random.chance(0.3) ? { truncate: 0.02 } : {}),
    ...(random.chance(0.6) ? { delayUs: random.below(60_000) } : {}),
    ...(random.chance(0.3) ? { jitterUs: random.below(20_000) } : {}),
    ...(random.chance(0.3)
      ? { rateBitsPerSecond: 1e6 * (1 + random.below(50)), queueBytes: 20_000 + random.below(200_000) }
      : {}),
  }
}

/** A world of a seed: hosts of 1 to 4 CPUs, up to a dozen conversations at once, or two hundred. */
function live(seed: number): { readonly lost: number; readonly received: number; readonly aborted: number } {
  const random = new Random(seed)
  const cpus = 1 + random.below(4)
  const hosts = pick(random, [2, 2, 2, 3])
  const count = random.chance(0.15) ? 200 : 1 + random.below(12)
  // A link that carries super-segments has no faults: they would be unlike any on a wire.
  const offload = random.chance(0.1)
  const options: WorldOptions = {
    seed,
    cpus,
    hosts,
    offload,
    ...(offload ? {} : { forward: faults(random), backward: faults(random) }),
    mtu: pick(random, [1500, 1500, 576, 9000]),
    // Sequence numbers go past 2^32 in the middle of the streams.
    ...(random.chance(0.5) ? { initialSequence: -1 - random.below(60_000) } : {}),
  }
  const listens = random.chance(0.5) ? 'everywhere' : 'once'
  return inWorld(options, (world) => {
    for (let i = 0; i < count; i++) {
      const last = random.below(3)
      const most = count === 200 ? 30_000 : 1_000_000
      world.converse({
        client: plan(random, most, last === 1 ? 'last' : 'first'),
        server: plan(random, most, last === 2 ? 'last' : 'first'),
        host: 1 + random.below(hosts - 1),
        cpu: random.below(cpus),
        // A port of our own may be any CPU's.
        localPort: random.chance(0.5) ? 20_000 + i : 0,
        atUs: random.below(200_000),
        sack: !random.chance(0.2),
        listens,
      })
    }
    world.settle({ limitUs: 6000e6 })
    let received = 0
    let aborted = 0
    for (const { client, server } of world.conversations) {
      const isAborted = client.aborted || server.aborted
      if (isAborted) aborted++
      for (const party of [client, server]) {
        received += party.received
        if (isAborted) assert([0, Errno.ECONNRESET, Errno.ETIMEDOUT].includes(party.errno), party.describe())
        else {
          assert.equal(party.errno, 0, party.describe())
          assert(party.ended && party.received === party.peer!.plan.sends, party.describe())
        }
      }
    }
    return { lost: world.counts(FaultCounters).lost, received, aborted }
  })
}

function liveAll(seeds: Iterable<number>): void {
  const sum = { lost: 0, received: 0, aborted: 0 }
  for (const seed of seeds) {
    try {
      const { lost, received, aborted } = live(seed)
      sum.lost += lost
      sum.received += received
      sum.aborted += aborted
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`
      throw error
    }
  }
  assert(sum.lost > 0 && sum.received > 0 && sum.aborted > 0, 'there was traffic, and there were faults')
}

const SEEDS = IS_LONG ? 1000 : 30

test(`in ${SEEDS} worlds of chance all streams are whole or their programs are told, and all memory is back`, () => {
  liveAll(Array.from({ length: SEEDS }, (_, i) => i + 1))
})

test('a seed is the same world every time', () => {
  const hashes = [11, 11, 12].map((seed) => {
    const options = { seed, cpus: 2, forward: { loss: 0.05, delayUs: 3000 }, backward: { loss: 0.05 } }
    return inWorld(options, (world) => {
      world.converse({ client: { sends: 100_000 }, server: { sends: 100_000 } })
      world.settle({ limitUs: 100e6 })
      return world.machine.traceHash
    })
  })
  assert.equal(hashes[0], hashes[1])
  assert.notEqual(hashes[1], hashes[2])
})
