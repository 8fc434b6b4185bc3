import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Address } from '../base/struct.ts'
import { type Cpu, type SimMachine, simulate } from '../kernel.ts'
import { attachQueue } from './device.ts'
import { FaultCounters, type FaultOptions, FaultQueue } from './fault.ts'
import { Mbuf, MbufFlag, Mbufs } from './mbuf.ts'
import { type WireOptions, WireQueue, wireRegions } from './wire.ts'

const WIRE: WireOptions = { name: 'w', a: [0], b: [1] }
const LINK_HEADER = 14

interface Arrival {
  readonly sequence: number
  readonly atUs: number
  readonly arrivedAtUs: number
  readonly bytes: Uint8Array
}

interface Plan {
  readonly count: number
  readonly seed?: number
  /** Between two packets; 0 sends all at once. */
  readonly everyUs?: number
  readonly frameBytes?: number
  /** The fault is at the receiving end. Default: at the sending one. */
  readonly atReceiver?: boolean
}

interface Run {
  readonly machine: SimMachine
  readonly arrivals: Arrival[]
  readonly counts: Record<string, number>
  readonly sentAtUs: number[]
}

type Count = (typeof FaultCounters.counters)[number]

/** A wire from CPU 0 to CPU 1, with the fault at one end. Frames carry their number at byte 14, and the byte 0x55. */
function run(options: FaultOptions, plan: Plan): Run {
  const { count, seed = 1, everyUs = 10, frameBytes = 64, atReceiver = false } = plan
  const machine = simulate({ cpus: 2, seed, stall: 0, regions: wireRegions(WIRE) })
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const a = new WireQueue(sender, WIRE, 'a')
  const b = new WireQueue(receiver, WIRE, 'b')
  const out = atReceiver ? a : new FaultQueue(sender, a, { direction: 'out', ...options })
  const inn = atReceiver ? new FaultQueue(receiver, b, { direction: 'in', ...options }) : b
  attachQueue(sender, out, () => assert.fail('nothing is sent back'))
  const arrivals: Arrival[] = []
  const m = Mbuf.cursor(machine.memory)
  attachQueue(receiver, inn, (packet) => {
    m.at = packet
    const bytes = Mbufs.of(receiver).bytes(packet)
    const sequence = bytes.length < LINK_HEADER + 4 ? -1 : new DataView(bytes.buffer).getUint32(LINK_HEADER)
    arrivals.push({ sequence, atUs: machine.clock.now(), arrivedAtUs: m.arrivedAt, bytes })
    Mbufs.of(receiver).free(packet)
  })
  const sentAtUs: number[] = []
  sender.threads.start('source', function* (thread) {
    for (let sequence = 0; sequence < count; sequence++) {
      sentAtUs.push(sender.now)
      out.transmit(frame(sender, sequence, frameBytes))
      // The clock of the simulation moves a µs a turn; a timer would move it by ticks of 128.
      const until = sender.now + everyUs
      if (everyUs > 0) yield* thread.until(() => sender.now >= until)
    }
  })
  assert.equal(machine.run(), 'idle')
  for (const queue of [out, inn]) queue.close()
  return { machine, arrivals, counts: countsOf(machine), sentAtUs }
}

function frame(cpu: Cpu, sequence: number, bytes: number): Address {
  const data = new Uint8Array(bytes).fill(0x55)
  new DataView(data.buffer).setUint32(LINK_HEADER, sequence)
  return Mbufs.of(cpu).copyFrom(data)
}

function countsOf(machine: SimMachine): Record<Count, number> {
  const sums = Object.fromEntries(FaultCounters.counters.map((name) => [name, 0])) as Record<Count, number>
  for (const { set, values } of machine.counters()) {
    if (set === FaultCounters.name) for (const name of FaultCounters.counters) sums[name] += values[name]!
  }
  return sums
}

function assertBalance(counts: Record<string, number>): void {
  const { offered, duplicated, passed, partitioned, blackHoled, held, ...rest } = counts as Record<Count, number>
  const { lost, lostInBurst, tailDropped, overflowed, noMemory, discarded } = rest
  const gone = partitioned + blackHoled + lost + lostInBurst + tailDropped + overflowed + noMemory + discarded
  assert.equal(offered + duplicated, passed + gone + held)
}

function assertAllFree(machine: SimMachine): void {
  for (const cpu of machine.cpus) cpu.slab.flush()
  for (const cpu of machine.cpus) cpu.slab.collect()
  for (const cpu of machine.cpus) assert.equal(cpu.slab.live, 0)
}

/** Whether `value` is within five standard deviations of a binomial distribution: a fixed seed decides once and for all. */
function assertAbout(value: number, count: number, probability: number): void {
  const deviation = Math.sqrt(count * probability * (1 - probability))
  assert(Math.abs(value - count * probability) <= 5 * deviation, `${value} of ${count} is about ${probability}`)
}

const sequences = (arrivals: readonly Arrival[]) => arrivals.map(({ sequence }) => sequence)
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)

test('without faults everything passes as it is, in order and at once', () => {
  for (const atReceiver of [false, true]) {
    const { arrivals, counts, machine } = run({}, { count: 200, atReceiver })
    assert.deepEqual(sequences(arrivals), upTo(200))
    assert.equal(counts.passed, 200)
    assertBalance(counts)
    assertAllFree(machine)
  }
})

test('losses, doubles, damage and cuts are as many as asked for, whatever the seed', () => {
  for (const seed of [1, 2, 3]) {
    const count = 3000
    const options = { loss: 0.1, duplicate: 0.05, corrupt: 0.08, truncate: 0.03 }
    const { arrivals, counts, machine } = run(options, { count, seed })
    assertAbout(counts.lost!, count, 0.1)
    assertAbout(counts.duplicated!, count - counts.lost!, 0.05)
    assertAbout(counts.corrupted!, count - counts.lost!, 0.08)
    assertAbout(counts.truncated!, count - counts.lost!, 0.03)
    assert.equal(arrivals.length, counts.passed)
    assert.equal(arrivals.length, count - counts.lost! + counts.duplicated!)
    assertBalance(counts)
    assertAllFree(machine)
  }
})

test('the same seed gives the same faults, another seed others', () => {
  const options = { loss: 0.2, duplicate: 0.1, reorder: 0.1, jitterUs: 500, corrupt: 0.1 }
  const result = (seed: number) => {
    const { machine, arrivals } = run(options, { count: 300, seed })
    return { hash: machine.traceHash, order: sequences(arrivals), counts: countsOf(machine) }
  }
  assert.deepEqual(result(5), result(5))
  assert.notDeepEqual(result(5).order, result(6).order)
})

test('a seed of its own makes the faults the same whatever the machine does', () => {
  const lossy = (seed: number) => sequences(run({ loss: 0.3, seed: 42 }, { count: 200, seed }).arrivals)
  assert.deepEqual(lossy(1), lossy(2))
})

test('losses come in bursts of the length that the two chances give', () => {
  const count = 10_000
  const { arrivals, counts } = run({ burst: { pGoodToBad: 0.01, pBadToGood: 0.1 } }, { count, everyUs: 2 })
  // In the long run a share of p / (p + q) is bad, and a burst has 1 / q packets.
  assert(Math.abs(counts.lostInBurst! / count - 0.01 / 0.11) < 0.03)
  const got = new Set(sequences(arrivals))
  const bursts = upTo(count).filter((i) => !got.has(i) && (i === 0 || got.has(i - 1))).length
  const length = counts.lostInBurst! / bursts
  assert(length > 8 && length < 12.5, `a burst has ${length} packets`)
  assertBalance(counts)
})

test('a delayed packet wakes the CPU at its time, on the way out and on the way in', () => {
  for (const atReceiver of [false, true]) {
    const { arrivals, sentAtUs, machine } = run({ delayUs: 50_000 }, { count: 5, everyUs: 10_000, atReceiver })
    assert.deepEqual(sequences(arrivals), upTo(5))
    for (const [i, { atUs, arrivedAtUs }] of arrivals.entries()) {
      const late = atUs - sentAtUs[i]! - 50_000
      assert(late >= 0 && late < 400, `packet ${i} is ${late} µs late`)
      assert(Math.abs(atUs - arrivedAtUs) < 10)
    }
    assertAllFree(machine)
  }
})

test('jitter spreads the delay, and lets packets overtake each other', () => {
  const { arrivals, counts } = run({ delayUs: 1000, jitterUs: 5000 }, { count: 500, everyUs: 50 })
  assert.notDeepEqual(sequences(arrivals), upTo(500))
  assert.deepEqual(
    sequences(arrivals).sort((a, b) => a - b),
    upTo(500),
  )
  assertBalance(counts)
})

test('a packet that is held back comes behind the next three, or after its time when there are none', () => {
  const { arrivals, counts } = run({ reorder: 0.02, seed: 4 }, { count: 500 })
  assertAbout(counts.reordered!, 500, 0.02)
  assert(counts.reordered! > 0)
  const order = sequences(arrivals)
  assert.deepEqual(
    [...order].sort((a, b) => a - b),
    upTo(500),
  )
  for (const [place, sequence] of order.entries()) assert(place - sequence <= 3, `${sequence} came as number ${place}`)
  const alone = run({ reorder: 1, reorderUs: 5000 }, { count: 1 })
  const waited = alone.arrivals[0]!.atUs - alone.sentAtUs[0]!
  assert(waited >= 5000 && waited < 5400, `${waited} µs`)
})

/** How many bits differ in each of `count` damaged frames, in the order of their sending. */
function flipsOf(options: FaultOptions, count: number): number[] {
  const { arrivals } = run({ corrupt: 1, ...options }, { count, frameBytes: 1400 })
  return arrivals.map(({ bytes }, sequence) => {
    const expected = new Uint8Array(1400).fill(0x55)
    new DataView(expected.buffer).setUint32(LINK_HEADER, sequence)
    let bits = 0
    for (const [i, byte] of bytes.entries()) {
      for (let d = byte ^ expected[i]!; d !== 0; d &= d - 1) bits++
      if (i < LINK_HEADER) assert.equal(byte, 0x55)
    }
    return bits
  })
}

test('damage flips one to three bits behind the header of the link', () => {
  const flips = flipsOf({}, 300)
  // Two flips may hit one bit.
  assert(flips.every((bits) => bits <= 3))
  assert.deepEqual(
    [1, 2, 3].map((bits) => flips.includes(bits)),
    [true, true, true],
  )
})

test('damage can be a single bit of each packet', () => {
  assert.deepEqual(flipsOf({ corruptBits: 1 }, 100), new Array(100).fill(1))
})

test('damaged packets are not trusted any more, and keep neither hash nor checksum', () => {
  const machine = simulate({ cpus: 1, seed: 1, regions: wireRegions({ ...WIRE, b: [0] }) })
  const cpu = machine.cpus[0]!
  const flags: number[] = []
  const m = Mbuf.cursor(cpu.memory)
  const inner = new WireQueue(cpu, { ...WIRE, b: [0] }, 'a')
  inner.transmit = (packet) => {
    m.at = packet
    flags.push(m.flags)
    Mbufs.of(cpu).free(packet)
    return true
  }
  const queue = new FaultQueue(cpu, inner, { corrupt: 1, duplicate: 1 })
  m.at = frame(cpu, 0, 64)
  m.flags = MbufFlag.HASHED | MbufFlag.CHECKED | MbufFlag.LINK_BROADCAST
  queue.transmit(m.at)
  queue.flush()
  assert.deepEqual(flags, [MbufFlag.LINK_BROADCAST, MbufFlag.LINK_BROADCAST])
})

test('a packet is cut to any length, of the header of the link at least', () => {
  const { arrivals, machine } = run({ truncate: 1 }, { count: 300, frameBytes: 1500 })
  const lengths = arrivals.map(({ bytes }) => bytes.length)
  assert(Math.min(...lengths) >= LINK_HEADER && Math.max(...lengths) < 1500)
  assert(new Set(lengths).size > 200)
  assertAllFree(machine)
})

test('packets of given numbers are lost, and no other', () => {
  const { arrivals, counts, machine } = run({ lose: [0, 7, 8, 199] }, { count: 200 })
  assert.deepEqual(
    sequences(arrivals),
    upTo(200).filter((n) => ![0, 7, 8, 199].includes(n)),
  )
  assert.equal(counts.lost, 4)
  assertBalance(counts)
  assertAllFree(machine)
})

test('a bottleneck sends at its rate, and drops what its queue does not hold', () => {
  // 1000 bytes at 8 Mbit/s take 1 ms; the queue holds ten, and eleven packets come in each ms.
  const options = { rateBitsPerSecond: 8_000_000, queueBytes: 10_000 }
  const { arrivals, counts, sentAtUs } = run(options, { count: 500, everyUs: 90, frameBytes: 1000 })
  assert(counts.tailDropped! > 400)
  const durationUs = arrivals.at(-1)!.atUs - sentAtUs[0]!
  const rate = (arrivals.length * 1000 * 8) / (durationUs / 1e6)
  assert(rate > 7_800_000 && rate <= 8_000_000, `${rate} bit/s`)
  const waits = arrivals.map(({ sequence, atUs }) => atUs - sentAtUs[sequence]!)
  assert(Math.max(...waits) <= 10_400, 'nothing waits longer than the full queue takes')
  assert.deepEqual(
    sequences(arrivals),
    sequences(arrivals).sort((a, b) => a - b),
  )
  assertBalance(counts)
})

test('in a partition everything is lost in its direction, and nothing before and after it', () => {
  const partitions = [{ fromUs: 1000, untilUs: 2000 }]
  for (const atReceiver of [false, true]) {
    const { arrivals, counts, sentAtUs, machine } = run({ partitions }, { count: 400, atReceiver })
    const got = new Set(sequences(arrivals))
    // A turn or two lie between the sender's time and the receiver's.
    for (const [i, atUs] of sentAtUs.entries()) {
      if (atUs < 990 || atUs > 2010) assert(got.has(i), `packet ${i} of ${atUs} µs`)
      else if (atUs > 1010 && atUs < 1990) assert(!got.has(i), `packet ${i} of ${atUs} µs`)
    }
    assert.equal(counts.partitioned, 400 - arrivals.length)
    assertBalance(counts)
    assertAllFree(machine)
  }
})

test('a clogged link keeps everything back, and lets it go in order at the end', () => {
  const clogs = [
    { fromUs: 500, untilUs: 20_000 },
    // Begins within the other one.
    { fromUs: 10_000, untilUs: 50_000 },
  ]
  for (const atReceiver of [false, true]) {
    const { arrivals, counts, sentAtUs, machine } = run({ clogs }, { count: 100, atReceiver })
    assert.deepEqual(sequences(arrivals), upTo(100))
    for (const { sequence, atUs } of arrivals) {
      if (sentAtUs[sequence]! < 480) assert(atUs < 520)
      else if (sentAtUs[sequence]! > 520) assert(atUs >= 50_000 && atUs < 50_400, `${atUs}`)
    }
    assertBalance(counts)
    assertAllFree(machine)
  }
})

test('a black hole swallows what is larger than it lets through, and nothing else', () => {
  const size = 500
  for (const [more, passed] of [
    [0, 20],
    [1, 0],
  ] as const) {
    const { arrivals, counts, machine } = run(
      { blackHoleBytes: size },
      { count: 20, frameBytes: LINK_HEADER + size + more },
    )
    assert.deepEqual([arrivals.length, counts.blackHoled], [passed, 20 - passed])
    assertBalance(counts)
    assertAllFree(machine)
  }
})

test('old duplicates come long after the packet itself, unchanged and once each', () => {
  const { arrivals, counts, sentAtUs, machine } = run({ replay: 0.2, replayUs: 100_000 }, { count: 300 })
  assertAbout(counts.replayed!, 300, 0.2)
  assert.equal(counts.duplicated, counts.replayed)
  assert.equal(arrivals.length, 300 + counts.replayed!)
  const late = arrivals.filter(({ sequence, atUs }) => atUs > sentAtUs[sequence]! + 3000)
  assert(late.length > counts.replayed! * 0.8)
  for (const { sequence, atUs, bytes } of arrivals) {
    assert(atUs < sentAtUs[sequence]! + 100_400)
    assert.equal(bytes[20], 0x55)
  }
  const times = new Map<number, number>()
  for (const sequence of sequences(arrivals)) times.set(sequence, (times.get(sequence) ?? 0) + 1)
  assert(Math.max(...times.values()) === 2)
  assertBalance(counts)
  assertAllFree(machine)
})

test('what waits is let go also where the memory is used up', () => {
  const machine = simulate({ cpus: 2, seed: 1, memoryBytes: 16 * 1024 * 1024, stall: 0, regions: wireRegions(WIRE) })
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const queue = new FaultQueue(sender, new WireQueue(sender, WIRE, 'a'), { delayUs: 1000 })
  attachQueue(sender, queue, () => {})
  let arrived = 0
  attachQueue(receiver, new WireQueue(receiver, WIRE, 'b'), (packet) => {
    arrived++
    Mbufs.of(receiver).free(packet)
  })
  const packet = frame(sender, 1, 64)
  const taken: Address[] = []
  for (const bytes of [65_536, 4096, 64]) {
    for (let each = sender.slab.tryAllocate(bytes); each !== 0; each = sender.slab.tryAllocate(bytes)) taken.push(each)
  }
  queue.transmit(packet)
  machine.run()
  assert.equal(arrived, 1)
  for (const each of taken) sender.slab.free(each)
  queue.close()
  assertAllFree(machine)
})

test('what waits is bounded, and what exceeds the bound is counted', () => {
  const { counts, arrivals, machine } = run({ delayUs: 1000, queuePackets: 20 }, { count: 50, everyUs: 0 })
  assert.deepEqual([counts.overflowed, counts.passed, arrivals.length], [30, 20, 20])
  assertBalance(counts)
  assertAllFree(machine)
})

test('what is held when the machine stops is freed and counted', async () => {
  const machine = simulate({ cpus: 2, seed: 1, regions: wireRegions(WIRE) })
  const cpu = machine.cpus[0]!
  const queue = new FaultQueue(cpu, new WireQueue(cpu, WIRE, 'a'), { delayUs: 1e6, reorder: 0.5 })
  attachQueue(cpu, queue, () => {})
  for (let i = 0; i < 20; i++) queue.transmit(frame(cpu, i, 64))
  machine.run({ untilUs: 1000 })
  assert.equal(countsOf(machine).held, 20)
  assertBalance(countsOf(machine))
  await machine.stop()
  assert.deepEqual([countsOf(machine).held, countsOf(machine).discarded], [0, 20])
  assertBalance(countsOf(machine))
  assertAllFree(machine)
})

test('whatever faults come together, every packet is accounted for', () => {
  const chance = fc.constantFrom(0, 0.1, 0.5, 1)
  const options = fc.record({
    loss: fc.constantFrom(0, 0.1, 0.5),
    duplicate: chance,
    reorder: chance,
    corrupt: chance,
    corruptAnywhere: fc.boolean(),
    truncate: chance,
    delayUs: fc.constantFrom(0, 100, 5000),
    jitterUs: fc.constantFrom(0, 300, 20_000),
    queuePackets: fc.constantFrom(8, 4096),
    rateBitsPerSecond: fc.constantFrom(1_000_000, 1_000_000_000),
    replay: chance,
    replayUs: fc.constantFrom(0, 3000),
    blackHoleBytes: fc.constantFrom(1, 500, 1500),
    partitions: fc.constantFrom([], [{ fromUs: 100, untilUs: 300 }]),
    clogs: fc.constantFrom([], [{ fromUs: 200, untilUs: 5000 }]),
  })
  const frameBytes = fc.constantFrom(15, 64, 1500, 1514)
  fc.assert(
    fc.property(options, frameBytes, fc.boolean(), fc.nat(), (options, frameBytes, atReceiver, seed) => {
      const { counts, arrivals, machine } = run(options, {
        count: 60,
        frameBytes: Math.max(18, frameBytes),
        atReceiver,
        seed,
      })
      assert.equal(counts.offered, 60)
      assert.equal(counts.held, 0)
      assert.equal(counts.passed, arrivals.length)
      assertBalance(counts)
      assertAllFree(machine)
    }),
    { seed: 8, numRuns: 60 },
  )
})

test('figures that cannot be are refused', () => {
  const machine = simulate({ cpus: 2, seed: 1, regions: wireRegions(WIRE) })
  const inner = new WireQueue(machine.cpus[0]!, WIRE, 'a')
  const refused = (options: FaultOptions, message: RegExp) =>
    assert.throws(() => new FaultQueue(machine.cpus[0]!, inner, options), { code: 'EINVAL', message })
  refused({ loss: 1.1 }, /loss is 1\.1: give a probability/)
  refused({ burst: { pGoodToBad: 0.1, pBadToGood: -1 } }, /pBadToGood/)
  refused({ delayUs: -1 }, /microseconds, from 0/)
  refused({ rateBitsPerSecond: 0 }, /whole number from 1/)
  refused({ replay: 2 }, /replay is 2: give a probability/)
  refused({ partitions: [{ fromUs: 5, untilUs: 4 }] }, /partitions has one from 5 until 4/)
  refused({ clogs: [{ fromUs: 0, untilUs: Number.POSITIVE_INFINITY }] }, /clogs has one/)
  refused({ blackHoleBytes: 0 }, /blackHoleBytes is 0/)
  refused({ corruptBits: 0 }, /corruptBits is 0/)
  refused({ direction: 'up' as 'in' }, /"in", "out" or "both"/)
})

/** A packet of 14 bytes of its own and 100 that lie at `kept`. */
function referring(cpu: Cpu, kept: Address): Address {
  const packet = Mbufs.of(cpu).copyFrom(new Uint8Array(LINK_HEADER))
  Mbufs.of(cpu).append(packet, Mbufs.of(cpu).reference(kept, 100))
  return packet
}

test('what waits owns its bytes, and what is damaged is not the bytes that the sender keeps', () => {
  const machine = simulate({ cpus: 2, seed: 1, stall: 0, regions: wireRegions(WIRE) })
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const queue = new FaultQueue(sender, new WireQueue(sender, WIRE, 'a'), { corrupt: 1, delayUs: 1000, duplicate: 1 })
  attachQueue(sender, queue, () => assert.fail('nothing is sent back'))
  const seen: Uint8Array[] = []
  attachQueue(receiver, new WireQueue(receiver, WIRE, 'b'), (packet) => {
    seen.push(Mbufs.of(receiver).bytes(packet))
    Mbufs.of(receiver).free(packet)
  })
  const room = sender.slab.allocate(1024)
  const kept = room + 64
  sender.memory.u8.fill(7, kept, kept + 100)
  queue.transmit(referring(sender, kept))
  assert.deepEqual(sender.memory.u8.slice(kept, kept + 100), new Uint8Array(100).fill(7))
  // Nothing leaves before its time: by then the sender uses the place for something else.
  queue.flush()
  sender.memory.u8.fill(9, kept, kept + 100)
  sender.slab.free(room)
  assert.equal(machine.run(), 'idle')
  assert.equal(seen.length, 2)
  for (const bytes of seen) {
    const damaged = bytes.slice(LINK_HEADER).filter((byte) => byte !== 7)
    assert(damaged.length >= 1 && damaged.length <= 3, `${damaged.length} bytes are damaged`)
  }
  queue.close()
  assertAllFree(machine)
})

test('what cannot be kept for want of memory is a loss of its own', () => {
  const machine = simulate({ cpus: 2, seed: 1, memoryBytes: 16 * 1024 * 1024, regions: wireRegions(WIRE) })
  const cpu = machine.cpus[0]!
  const mbufs = Mbufs.of(cpu)
  const queue = new FaultQueue(cpu, new WireQueue(cpu, WIRE, 'a'), {})
  const packet = referring(cpu, 4096)
  const taken: Address[] = []
  for (let m = mbufs.allocate(); m !== 0; m = mbufs.allocate()) taken.push(m)
  queue.transmit(packet)
  const counts = countsOf(machine)
  assert.deepEqual([counts.offered, counts.noMemory, counts.held], [1, 1, 0])
  assertBalance(counts)
  for (const m of taken) mbufs.free(m)
  queue.close()
  assertAllFree(machine)
})

test('a device with faults offloads nothing, whatever it wraps', () => {
  const wire = { ...WIRE, offload: true }
  const machine = simulate({ cpus: 2, seed: 1, regions: wireRegions(wire) })
  const inner = new WireQueue(machine.cpus[0]!, wire, 'a')
  const queue = new FaultQueue(machine.cpus[0]!, inner, {})
  assert.notEqual(inner.info.offload, undefined)
  assert.equal('offload' in queue.info, false)
  assert.deepEqual({ ...queue.info, offload: inner.info.offload }, inner.info)
})
