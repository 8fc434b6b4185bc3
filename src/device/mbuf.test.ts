import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Address } from '../base/struct.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { EASYNC } from '../kernel/message.ts'
import { ByHand, sumOf } from '../machine/testing/sim.ts'
import { CLUSTER_BYTES_MAX, HEADROOM, MBUF_BYTES, MBUF_ROOM, Mbuf, MbufFlag, Mbufs } from './mbuf.ts'

/** Bytes that a sender keeps, and packets refer to. */
class Kept {
  readonly #cpu: Cpu
  readonly #room: Address
  readonly data: Address
  readonly bytes: number

  constructor(cpu: Cpu, bytes: number) {
    this.#cpu = cpu
    this.#room = cpu.slab.allocate(bytes + 64)
    this.data = this.#room + 64
    this.bytes = bytes
    for (let i = 0; i < bytes; i++) cpu.memory.u8[this.data + i] = i * 7 + (i >> 8)
  }

  /** The sender uses their place for something else. */
  overwrite(): void {
    this.#cpu.memory.u8.fill(0xee, this.data, this.data + this.bytes)
  }

  free(): void {
    this.#cpu.slab.free(this.#room)
  }
}

/** A packet whose first part has a header of 52 bytes, and whose others refer to pieces of `lengths` bytes, one after the other. */
function referring(cpu: Cpu, kept: Kept, lengths: readonly number[]): Address {
  const mbufs = Mbufs.of(cpu)
  const packet = mbufs.allocateHeader()
  const header = mbufs.prepend(packet, 52)
  cpu.memory.u8.fill(0x11, header, header + 52)
  let last = packet
  let at = kept.data
  for (const length of lengths) {
    last = mbufs.append(packet, mbufs.reference(at, length), last)
    at += length
  }
  return packet
}

function parts(cpu: Cpu, packet: Address): Address[] {
  const m = Mbuf.cursor(cpu.memory)
  const all: Address[] = []
  for (m.at = packet; m.at !== 0; m.at = m.part) all.push(m.at)
  return all
}

function oneCpu(): { readonly machine: ByHand; readonly cpu: Cpu; readonly mbufs: Mbufs } {
  const machine = new ByHand(1)
  const cpu = machine.cpus[0]!
  return { machine, cpu, mbufs: Mbufs.of(cpu) }
}

test('a packet of several parts that was handed to a closed port goes home whole, from here and from there', () => {
  for (const sender of [0, 1]) {
    const machine = new ByHand(2)
    const [owner] = machine.cpus
    const port = owner!.ports.create({ handler: () => assert.fail('nobody is there') })
    const cpu = machine.cpus[sender]!
    const mbufs = Mbufs.of(cpu)
    const packets = [mbufs.copyFrom(new Uint8Array(5000)), mbufs.copyFrom(new Uint8Array(5000))]
    // One on its way when the port is closed, one after it.
    if (sender === 1) mbufs.handOff(port.id, packets.pop()!)
    owner!.ports.close(port)
    for (const packet of packets) mbufs.handOff(port.id, packet)
    machine.settle()
    for (const each of machine.cpus) each.slab.flush()
    for (const each of machine.cpus) each.slab.collect()
    assert.equal(sumOf(machine, 'mbuf', 'allocated'), 6)
    assert.equal(sumOf(machine, 'mbuf', 'freed'), 6)
    assert.equal(sumOf(machine, 'slab', 'allocated'), sumOf(machine, 'slab', 'freed'))
  }
})

test('what could not be allocated is not counted as copied', () => {
  const machine = new ByHand(1)
  const mbufs = Mbufs.of(machine.cpus[0]!)
  const taken: number[] = []
  for (let m = mbufs.allocate(); m !== 0; m = mbufs.allocate()) taken.push(m)
  assert.equal(mbufs.copyFrom(new Uint8Array(10)), 0)
  assert.equal(sumOf(machine, 'mbuf', 'copies'), 0)
  for (const m of taken) mbufs.free(m)
})

test('a header mbuf has its storage in front of its data, and nothing behind', () => {
  const { cpu, mbufs } = oneCpu()
  const m = mbufs.allocateHeader()
  assert.deepEqual([mbufs.headroom(m), mbufs.tailroom(m), mbufs.memoryBytes(m)], [128, 0, 256])
  assert.equal(mbufs.prepend(m, 128), m + Mbuf.size)
  assert.deepEqual([mbufs.headroom(m), mbufs.bytes(m).length], [0, 128])
  assert.throws(() => mbufs.prepend(m, 1), /headroom/)
  mbufs.free(m)
  assert.equal(cpu.slab.live, 0)
})

test('a cluster is of the smallest size that has room, and never looks like a reference', () => {
  const { cpu, mbufs } = oneCpu()
  const sizes = [
    [0, 0, 256],
    [128, 0, 256],
    [129, 0, 512],
    [1920, 0, 2048],
    [1824, HEADROOM, 2048],
    [1825, HEADROOM, 4096],
    [65536, 0, 81920],
    [CLUSTER_BYTES_MAX, 0, 81920],
    [CLUSTER_BYTES_MAX - HEADROOM, HEADROOM, 81920],
  ] as const
  for (const [bytes, headroom, expected] of sizes) {
    const m = mbufs.allocateCluster(bytes, headroom)
    assert.equal(mbufs.memoryBytes(m), expected)
    assert.equal(mbufs.isReference(m), false)
    assert.equal(mbufs.headroom(m), headroom)
    assert.equal(mbufs.tailroom(m), expected - Mbuf.size - headroom)
    mbufs.free(m)
  }
  assert.throws(() => mbufs.allocateCluster(CLUSTER_BYTES_MAX + 1), /largest object/)
  assert.equal(cpu.slab.live, 0)
})

test('every allocation says how much storage it has, whatever was there before', () => {
  const { cpu, mbufs } = oneCpu()
  const m = Mbuf.cursor(cpu.memory)
  const kinds = [
    () => mbufs.allocate(),
    () => mbufs.allocateHeader(),
    () => mbufs.allocateCluster(5000),
    () => mbufs.reference(4096, 10),
  ]
  for (const [i, storage] of [30, 2, 126, 0].entries()) {
    const before = kinds[i]!()
    m.at = before
    m.storage = 999
    m.segmentBytes = 999
    m.flags = 0xffff
    mbufs.free(before)
    m.at = kinds[i]!()
    assert.equal(m.at, before)
    assert.deepEqual([m.storage, m.segmentBytes, m.flags, m.part], [storage, 0, 0, 0])
    mbufs.free(m.at)
  }
})

test('a reference has no room of its own, and shows what is at its place', () => {
  const { cpu, mbufs } = oneCpu()
  const kept = new Kept(cpu, 100)
  const m = mbufs.reference(kept.data + 10, 20)
  assert.deepEqual([mbufs.headroom(m), mbufs.tailroom(m), mbufs.memoryBytes(m)], [0, 0, 128])
  assert(mbufs.isReference(m))
  assert.deepEqual(mbufs.bytes(m), cpu.memory.u8.slice(kept.data + 10, kept.data + 30))
  kept.overwrite()
  assert.deepEqual(mbufs.bytes(m), new Uint8Array(20).fill(0xee))
  mbufs.free(m)
  kept.free()
  assert.equal(cpu.slab.live, 0)
})

test('parts are appended in their order, with or without the last one named, one or several', () => {
  const { cpu, mbufs } = oneCpu()
  const packet = mbufs.copyFrom(Uint8Array.of(1, 2))
  const third = mbufs.copyFrom(Uint8Array.of(3))
  const pair = mbufs.copyFrom(Uint8Array.of(4))
  const fifth = mbufs.copyFrom(Uint8Array.of(5, 6))
  assert.equal(mbufs.append(pair, fifth), fifth)
  assert.equal(mbufs.append(packet, third), third)
  assert.equal(mbufs.append(packet, pair, third), fifth)
  const seventh = mbufs.copyFrom(Uint8Array.of(7))
  assert.equal(mbufs.append(packet, seventh, third), seventh)
  assert.deepEqual(parts(cpu, packet), [packet, third, pair, fifth, seventh])
  assert.deepEqual(mbufs.bytes(packet), Uint8Array.of(1, 2, 3, 4, 5, 6, 7))
  mbufs.free(packet)
  assert.equal(cpu.slab.live, 0)
})

test('a detached packet has the same bytes, and is not touched by what becomes of their first place', () => {
  const length = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 40_000 }))
  const piece = fc.record({ length, isReference: fc.boolean() })
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 12 }), (pieces) => {
      const { machine, cpu, mbufs } = oneCpu()
      const kepts = pieces.map((each) => new Kept(cpu, each.length))
      const make = ({ isReference }: { isReference: boolean }, { data, bytes }: Kept): Address =>
        isReference ? mbufs.reference(data, bytes) : mbufs.copyIn(data, bytes)
      const packet = make(pieces[0]!, kepts[0]!)
      for (let i = 1; i < pieces.length; i++) mbufs.append(packet, make(pieces[i]!, kepts[i]!))
      const before = mbufs.bytes(packet)
      const hadReferences = pieces.some(({ isReference }) => isReference)
      assert.equal(mbufs.hasReferences(packet), hadReferences)
      const own = mbufs.detach(packet)
      assert.notEqual(own, 0)
      for (const kept of kepts) {
        kept.overwrite()
        kept.free()
      }
      assert.equal(mbufs.hasReferences(own), false)
      assert.deepEqual(mbufs.bytes(own), before)
      if (before.length <= MBUF_ROOM && hadReferences) assert.equal(parts(cpu, own).length, 1)
      assert.equal(sumOf(machine, 'mbuf', 'detached'), hadReferences ? 1 : 0)
      mbufs.free(own)
      assert.equal(cpu.slab.live, 0)
      assert.equal(sumOf(machine, 'mbuf', 'allocated'), sumOf(machine, 'mbuf', 'freed'))
    }),
    { seed: 31, numRuns: 150 },
  )
})

test('what fits into an ordinary mbuf becomes one, with headroom as if it had just come in', () => {
  const { cpu, machine, mbufs } = oneCpu()
  const kept = new Kept(cpu, 4096)
  for (const [payload, count] of [
    [1460, 1],
    [MBUF_ROOM - 52, 1],
    [MBUF_ROOM - 51, 2],
  ] as const) {
    const own = mbufs.detach(referring(cpu, kept, [1000, payload - 1000]))
    assert.equal(parts(cpu, own).length, count)
    if (count === 1) assert.deepEqual([mbufs.headroom(own), mbufs.memoryBytes(own)], [HEADROOM, MBUF_BYTES])
    mbufs.free(own)
  }
  // All of the first two, header and payload; of the third the payload alone.
  assert.equal(sumOf(machine, 'mbuf', 'detachedBytes'), 1460 + 52 + MBUF_ROOM + MBUF_ROOM - 51)
  kept.free()
})

test('a run of references becomes one cluster behind the header as it was, and one of more than a cluster two', () => {
  const { cpu, mbufs } = oneCpu()
  const kept = new Kept(cpu, CLUSTER_BYTES_MAX)
  const packet = referring(cpu, kept, [20_000, 30_000, 10_000])
  const own = mbufs.detach(packet)
  assert.equal(own, packet)
  assert.equal(parts(cpu, own).length, 2)
  assert.equal(mbufs.memoryBytes(own), 256 + 65536)
  mbufs.free(own)
  const long = mbufs.allocateHeader()
  for (let i = 0; i < 2; i++) mbufs.append(long, mbufs.reference(kept.data, 60_000))
  const bytes = mbufs.bytes(long)
  assert.equal(mbufs.detach(long), long)
  assert.equal(parts(cpu, long).length, 3)
  assert.deepEqual(mbufs.bytes(long), bytes)
  mbufs.free(long)
  kept.free()
  assert.equal(cpu.slab.live, 0)
})

test('a packet without references is itself when it is detached', () => {
  const { cpu, machine, mbufs } = oneCpu()
  const packet = mbufs.copyFrom(new Uint8Array(5000))
  const { live } = cpu.slab
  assert.equal(mbufs.detach(packet), packet)
  assert.equal(cpu.slab.live, live)
  assert.equal(sumOf(machine, 'mbuf', 'detached'), 0)
  mbufs.free(packet)
})

test('a detached packet keeps what was noted of it, and its pointers into itself move along', () => {
  for (const payload of [1000, 9000]) {
    const { cpu, mbufs } = oneCpu()
    const kept = new Kept(cpu, 9000)
    const m = Mbuf.cursor(cpu.memory)
    // Once with a header of its own, once with nothing but a reference.
    for (const packet of [referring(cpu, kept, [payload]), mbufs.reference(kept.data, payload)]) {
      const mine = kept.data + 8000
      m.at = packet
      const { total } = m
      m.hash = 0xfedcba98
      m.flags = MbufFlag.HASHED | MbufFlag.SEGMENTED | MbufFlag.PARTIAL_CHECKSUM
      m.interfaceIndex = 3
      m.network = m.data + 14
      m.segmentBytes = 1448
      m.source = m.data + 26
      // Outside of the packet: where a connection keeps it.
      m.target = payload === 1000 ? mine : 4096
      m.arrivedAt = 12.5
      m.sourcePort = 80
      m.targetPort = 40_000
      m.family = 4
      m.protocol = 6
      m.ttl = 63
      m.trafficClass = 8
      m.socket = 77
      m.link = 88
      m.trace = 99
      m.queuedAt = 11.5
      for (let i = 0; i < 16; i++) cpu.memory.u8[m.nextHop + i] = i
      const own = mbufs.detach(packet)
      m.at = own
      assert.deepEqual(
        [m.hash, m.flags, m.interfaceIndex, m.network - m.data, m.segmentBytes, m.source - m.data, m.total],
        [0xfedcba98, MbufFlag.HASHED | MbufFlag.SEGMENTED | MbufFlag.PARTIAL_CHECKSUM, 3, 14, 1448, 26, total],
      )
      assert.equal(m.target, payload === 1000 ? mine : 4096)
      assert.deepEqual(
        [m.arrivedAt, m.sourcePort, m.targetPort, m.family, m.protocol, m.ttl, m.trafficClass, m.socket, m.link],
        [12.5, 80, 40_000, 4, 6, 63, 8, 77, 88],
      )
      assert.deepEqual([m.trace, m.queuedAt, m.type], [99, 11.5, Mbuf.type])
      assert.deepEqual(
        cpu.memory.u8.slice(m.nextHop, m.nextHop + 16),
        Uint8Array.from({ length: 16 }, (_, i) => i),
      )
      // What was not noted of the packet, but is the mbuf's own: how much storage it has.
      assert.equal(mbufs.memoryBytes(own), payload === 1000 ? MBUF_BYTES : 16_384 + (own === packet ? 256 : 0))
      assert.equal(mbufs.isReference(own), false)
      mbufs.free(own)
    }
    kept.free()
    assert.equal(cpu.slab.live, 0)
  }
})

test('without memory a packet cannot be detached: it is freed whole, and nothing leaks', () => {
  for (const lengths of [[100], [700, 700], [60_000], [40_000, 40_000]]) {
    const { cpu, machine, mbufs } = oneCpu()
    const kept = new Kept(cpu, 80_000)
    const packet = referring(cpu, kept, lengths)
    // A part of its own between two runs: the first run's copy may be there when the second's cannot be.
    mbufs.append(packet, mbufs.copyFrom(Uint8Array.of(1)))
    mbufs.append(packet, mbufs.reference(kept.data, lengths[0]!))
    const taken: Address[] = []
    for (let m = cpu.slab.tryAllocate(81920); m !== 0; m = cpu.slab.tryAllocate(81920)) taken.push(m)
    for (let m = cpu.slab.tryAllocate(2048); m !== 0; m = cpu.slab.tryAllocate(2048)) taken.push(m)
    for (let m = cpu.slab.tryAllocate(65536); m !== 0; m = cpu.slab.tryAllocate(65536)) taken.push(m)
    if (lengths.length === 2) cpu.slab.free(taken.shift()!)
    assert.equal(mbufs.detach(packet), 0)
    assert.equal(sumOf(machine, 'mbuf', 'detached'), 0)
    assert.equal(sumOf(machine, 'mbuf', 'exhausted'), 1)
    for (const m of taken) if (m !== 0) cpu.slab.free(m)
    kept.free()
    assert.equal(cpu.slab.live, 0)
  }
})

test('what is handed off belongs to the receiver, with all of its bytes', () => {
  const machine = new ByHand(2)
  const [receiver, sender] = machine.cpus as [Cpu, Cpu]
  const seen: Uint8Array[] = []
  const port = receiver.ports.create({
    handler: (packet) => {
      seen.push(Mbufs.of(receiver).bytes(packet))
      assert.equal(Mbufs.of(receiver).hasReferences(packet), false)
      Mbufs.of(receiver).free(packet)
      return EASYNC
    },
  })
  const kept = new Kept(sender, 5000)
  const packet = referring(sender, kept, [100, 4000])
  const bytes = Mbufs.of(sender).bytes(packet)
  Mbufs.of(sender).handOff(port.id, packet)
  kept.overwrite()
  kept.free()
  machine.settle()
  assert.deepEqual(seen, [bytes])
  for (const cpu of machine.cpus) cpu.slab.flush()
  for (const cpu of machine.cpus) cpu.slab.collect()
  for (const cpu of machine.cpus) assert.equal(cpu.slab.live, 0)
})

test('packets with references are cut and copied as others are', () => {
  const { cpu, mbufs } = oneCpu()
  const kept = new Kept(cpu, 5000)
  const packet = referring(cpu, kept, [1000, 2000, 2000])
  const bytes = mbufs.bytes(packet)
  const slice = mbufs.copySlice(packet, 900, 3000)
  assert.deepEqual(mbufs.bytes(slice), bytes.slice(900, 3900))
  assert.equal(mbufs.hasReferences(slice), false)
  mbufs.trimTo(packet, 1500)
  mbufs.trimFront(packet, 52)
  assert.deepEqual(mbufs.bytes(packet), bytes.slice(52, 1500))
  mbufs.free(slice)
  mbufs.free(packet)
  kept.free()
  assert.equal(cpu.slab.live, 0)
})

test('the memory of a packet is that of all of its parts', () => {
  const { cpu, mbufs } = oneCpu()
  const kept = new Kept(cpu, 100)
  const packet = referring(cpu, kept, [50, 50])
  mbufs.append(packet, mbufs.allocateCluster(3000))
  mbufs.append(packet, mbufs.allocate())
  assert.equal(mbufs.memoryBytes(packet), 256 + 128 + 128 + 4096 + 2048)
  mbufs.free(packet)
  kept.free()
})
