import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Address } from '../base/struct.ts'
import { type Cpu, type SimMachine, simulate, total } from '../kernel.ts'
import { attachQueue, DeviceCounters } from './device.ts'
import { Mbuf, MbufFlag, Mbufs } from './mbuf.ts'
import { type WireOptions, WireQueue, wireRegionBytes, wireRegions } from './wire.ts'

/** A packet's data: an Ethernet header of zeros, and then who sent it and its number. */
const FRAME_BYTES = 64
const SENDER = 14
const SEQUENCE = 16

interface Arrival {
  readonly sender: number
  readonly sequence: number
  readonly hash: number
}

function frame(cpu: Cpu, sender: number, sequence: number, hash?: number, bytes = FRAME_BYTES): Address {
  const data = new Uint8Array(bytes)
  const view = new DataView(data.buffer)
  view.setUint16(SENDER, sender)
  view.setUint32(SEQUENCE, sequence)
  const packet = Mbufs.of(cpu).copyFrom(data)
  assert.notEqual(packet, 0)
  if (hash !== undefined) {
    const m = Mbuf.cursor(cpu.memory)
    m.at = packet
    m.hash = hash
    m.flags = MbufFlag.HASHED
  }
  return packet
}

/** Attaches a queue that notes what comes, and frees it. */
function listen(cpu: Cpu, queue: WireQueue): Arrival[] {
  const arrivals: Arrival[] = []
  const m = Mbuf.cursor(cpu.memory)
  attachQueue(cpu, queue, (packet) => {
    m.at = packet
    const { view } = cpu.memory
    arrivals.push({
      sender: view.getUint16(m.data + SENDER),
      sequence: view.getUint32(m.data + SEQUENCE),
      hash: m.hash,
    })
    Mbufs.of(cpu).free(packet)
  })
  return arrivals
}

function machineOf(wire: WireOptions, cpus: number, seed = 1): SimMachine {
  return simulate({ cpus, seed, regions: wireRegions(wire) })
}

/** Whether every mbuf is at home again. */
function assertAllFree(machine: SimMachine): void {
  for (const cpu of machine.cpus) cpu.slab.flush()
  for (const cpu of machine.cpus) cpu.slab.collect()
  for (const cpu of machine.cpus) assert.equal(cpu.slab.live, 0, `CPU ${cpu.index} has all of its objects`)
}

function assertRxBalance(machine: SimMachine): void {
  const rx = machine.handoffs().filter(({ point }) => point === 'rx')
  for (const { source, target, enqueued, dequeued } of rx) assert.equal(enqueued, dequeued, `${source} → ${target}`)
  const sum = rx.reduce((sum, { dequeued }) => sum + dequeued, 0)
  assert.equal(sum, total(machine.memory, DeviceCounters, 'received'))
  assert.equal(sum, total(machine.memory, DeviceCounters, 'transmitted'))
}

test('every packet arrives once, in the order sent, at the queue that its hash chooses', async () => {
  const sides = fc.integer({ min: 1, max: 4 })
  await fc.assert(
    fc.asyncProperty(fc.nat(), sides, sides, fc.constantFrom(64, 512), async (seed, countA, countB, entries) => {
      const cpus = countA + countB
      const a = Array.from({ length: countA }, (_, i) => i)
      const b = Array.from({ length: countB }, (_, i) => countA + i)
      const wire: WireOptions = { name: 'w', a, b, entries }
      const machine = machineOf(wire, cpus, seed)
      const perSender = 150
      const arrivals = machine.cpus.map((cpu) => {
        const queue = new WireQueue(cpu, wire, cpu.index < countA ? 'a' : 'b')
        const random = cpu.random.fork(1)
        cpu.threads.start('sender', function* (thread) {
          for (let sequence = 0; sequence < perSender; ) {
            // Rests between the bursts let the others sleep.
            for (let burst = 1 + random.below(20); burst > 0 && sequence < perSender; burst--) {
              assert(queue.transmit(frame(cpu, cpu.index, sequence++, random.next())))
            }
            yield* thread.delay(random.below(2) * 3000 + 1000)
          }
        })
        return listen(cpu, queue)
      })
      assert.equal(machine.run(), 'idle')
      let received = 0
      for (const [index, mine] of arrivals.entries()) {
        received += mine.length
        const theirs = index < countA ? b : a
        const queues = index < countA ? countA : countB
        const place = index < countA ? index : index - countA
        for (const { hash } of mine) assert.equal(hash % queues, place)
        for (const sender of theirs) {
          const order = mine.filter((arrival) => arrival.sender === sender).map(({ sequence }) => sequence)
          assert.deepEqual(
            order,
            [...new Set(order)].sort((x, y) => x - y),
          )
        }
      }
      assert.equal(received, perSender * cpus)
      assertRxBalance(machine)
      assertAllFree(machine)
      await machine.stop()
    }),
    { seed: 11, numRuns: 15 },
  )
})

test('the same seed gives the same run', () => {
  const run = () => {
    const wire: WireOptions = { name: 'w', a: [0, 1], b: [2, 3] }
    const machine = machineOf(wire, 4, 7)
    for (const cpu of machine.cpus) {
      const queue = new WireQueue(cpu, wire, cpu.index < 2 ? 'a' : 'b')
      listen(cpu, queue)
      for (let i = 0; i < 100; i++) queue.transmit(frame(cpu, cpu.index, i, cpu.random.next()))
    }
    machine.run()
    return machine.traceHash
  }
  assert.equal(run(), run())
})

test('what does not fit into a full ring is freed, refused and counted', async () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1], entries: 16 }
  const machine = machineOf(wire, 2)
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const queue = new WireQueue(sender, wire, 'a')
  const arrivals = listen(receiver, new WireQueue(receiver, wire, 'b'))
  const taken = Array.from({ length: 50 }, (_, i) => queue.transmit(frame(sender, 0, i)))
  assert.deepEqual(taken, [...Array(16).fill(true), ...Array(34).fill(false)])
  queue.flush()
  machine.run()
  assert.deepEqual(
    arrivals.map(({ sequence }) => sequence),
    Array.from({ length: 16 }, (_, i) => i),
  )
  assert.equal(total(machine.memory, DeviceCounters, 'transmitFull'), 34)
  assert.equal(machine.handoffs().find(({ point }) => point === 'rx')!.dropped, 34)
  // There is room again.
  assert(queue.transmit(frame(sender, 0, 50)))
  queue.flush()
  machine.run()
  assert.equal(arrivals.at(-1)!.sequence, 50)
  assertRxBalance(machine)
  assertAllFree(machine)
  await machine.stop()
})

test('nothing is to be seen before the flush or sixteen packets, and a sleeping receiver is woken once', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1] }
  const machine = machineOf(wire, 2)
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const queue = new WireQueue(sender, wire, 'a')
  const end = new WireQueue(receiver, wire, 'b')
  const arrivals = listen(receiver, end)
  assert.equal(machine.run(), 'idle')
  for (let i = 0; i < 15; i++) queue.transmit(frame(sender, 0, i))
  assert.equal(end.pending(), false)
  queue.transmit(frame(sender, 0, 15))
  assert.equal(end.pending(), true)
  queue.transmit(frame(sender, 0, 16))
  queue.flush()
  queue.flush()
  const rx = machine.handoffs().find(({ point }) => point === 'rx')!
  assert.deepEqual([rx.enqueued, rx.rung, rx.avoided], [17, 1, 1])
  machine.run()
  assert.equal(arrivals.length, 17)
})

test('a CPU may have both ends, and what it sends does not come in the same receive', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [0], framing: 'ip' }
  const machine = machineOf(wire, 1)
  const cpu = machine.cpus[0]!
  const a = new WireQueue(cpu, wire, 'a')
  const b = new WireQueue(cpu, wire, 'b')
  assert.deepEqual([a.info.framing, a.info.address], ['ip', undefined])
  attachQueue(cpu, b, (packet) => void b.transmit(packet))
  const echoes = listen(cpu, a)
  for (let i = 0; i < 10; i++) a.transmit(frame(cpu, 0, i))
  a.flush()
  assert.equal(
    a.receive(64, () => assert.fail('nothing came back yet')),
    0,
  )
  machine.run()
  assert.equal(echoes.length, 10)
  assertAllFree(machine)
})

test('a chain of mbufs crosses whole, and what is longer than the MTU is refused', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1], mtu: 9000 }
  const machine = machineOf(wire, 2)
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const queue = new WireQueue(sender, wire, 'a')
  const bytes: number[] = []
  attachQueue(receiver, new WireQueue(receiver, wire, 'b'), (packet) => {
    bytes.push(Mbufs.of(receiver).bytes(packet).length)
    Mbufs.of(receiver).free(packet)
  })
  assert.equal(queue.transmit(frame(sender, 0, 0, undefined, 9014)), true)
  assert.equal(queue.transmit(frame(sender, 0, 1, undefined, 9015)), false)
  queue.flush()
  machine.run()
  assert.deepEqual(bytes, [9014])
  assert.equal(total(machine.memory, DeviceCounters, 'transmitTooLong'), 1)
  assertAllFree(machine)
})

test('what the sender noted of a packet stays behind, but for its flow hash', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1] }
  const machine = machineOf(wire, 2)
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const queue = new WireQueue(sender, wire, 'a')
  const end = new WireQueue(receiver, wire, 'b')
  const m = Mbuf.cursor(sender.memory)
  m.at = frame(sender, 0, 0)
  m.flags = MbufFlag.HASHED | MbufFlag.CHECKED | MbufFlag.LOOPBACK | MbufFlag.LINK_BROADCAST
  m.hash = 0xdeadbeef
  m.interfaceIndex = 7
  m.error = 5
  queue.transmit(m.at)
  queue.flush()
  machine.clock.advanceTo(1234)
  receiver.now = 1234
  const packets: Address[] = []
  end.receive(1, (packet) => packets.push(packet))
  m.at = packets[0]!
  assert.deepEqual([m.flags, m.hash, m.interfaceIndex, m.error, m.arrivedAt], [MbufFlag.HASHED, 0xdeadbeef, 0, 0, 1234])
})

test('what the sender keeps is copied when it is transmitted: the receiver has it for itself', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1] }
  const machine = machineOf(wire, 2)
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const mbufs = Mbufs.of(sender)
  const queue = new WireQueue(sender, wire, 'a')
  const end = new WireQueue(receiver, wire, 'b')
  const kept = sender.slab.allocate(2048)
  sender.memory.u8.fill(7, kept + 64, kept + 164)
  const packet = frame(sender, 0, 0)
  mbufs.append(packet, mbufs.reference(kept + 64, 100))
  const bytes = mbufs.bytes(packet)
  assert(queue.transmit(packet))
  sender.memory.u8.fill(9, kept + 64, kept + 164)
  sender.slab.free(kept)
  queue.flush()
  const seen: Uint8Array[] = []
  end.receive(64, (arrived) => {
    seen.push(Mbufs.of(receiver).bytes(arrived))
    Mbufs.of(receiver).free(arrived)
  })
  assert.deepEqual(seen, [bytes])
  assertAllFree(machine)
})

test('without memory for the copy the packet is dropped and counted', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1] }
  const machine = simulate({ cpus: 2, seed: 1, memoryBytes: 16 * 1024 * 1024, regions: wireRegions(wire) })
  const sender = machine.cpus[0]!
  const mbufs = Mbufs.of(sender)
  const queue = new WireQueue(sender, wire, 'a')
  const packet = frame(sender, 0, 0)
  mbufs.append(packet, mbufs.reference(4096, 100))
  const taken: Address[] = []
  for (let m = mbufs.allocate(); m !== 0; m = mbufs.allocate()) taken.push(m)
  assert.equal(queue.transmit(packet), false)
  assert.equal(total(machine.memory, DeviceCounters, 'transmitNoMbuf'), 1)
  assert.equal(total(machine.memory, DeviceCounters, 'transmitted'), 0)
  for (const m of taken) mbufs.free(m)
  assertAllFree(machine)
})

test('a wire that offloads carries super-segments uncut, and vouches for what has no checksum', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1], offload: true }
  const machine = machineOf(wire, 2)
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const queue = new WireQueue(sender, wire, 'a')
  const end = new WireQueue(receiver, wire, 'b')
  assert.deepEqual(queue.info.offload, { checksum: true, segmentation: true })
  const m = Mbuf.cursor(sender.memory)
  const { SEGMENTED, PARTIAL_CHECKSUM, CHECKED, HASHED, LINK_BROADCAST } = MbufFlag
  const longest = 65535 + 14
  const send = (bytes: number, flags: number): boolean => {
    m.at = frame(sender, 0, bytes, undefined, bytes)
    m.flags = flags
    m.segmentBytes = 1460
    return queue.transmit(m.at)
  }
  assert(send(longest, SEGMENTED | PARTIAL_CHECKSUM))
  assert(send(1000, PARTIAL_CHECKSUM | LINK_BROADCAST))
  assert(send(1001, HASHED))
  assert.equal(send(longest + 1, SEGMENTED), false)
  assert.equal(send(1515, PARTIAL_CHECKSUM), false)
  queue.flush()
  const seen: number[][] = []
  end.receive(64, (arrived) => {
    m.at = arrived
    seen.push([m.total, m.flags, m.segmentBytes])
    Mbufs.of(receiver).free(arrived)
  })
  assert.deepEqual(seen, [
    [longest, SEGMENTED | CHECKED, 1460],
    [1000, CHECKED, 1460],
    [1001, HASHED, 1460],
  ])
  assert.equal(total(machine.memory, DeviceCounters, 'transmitTooLong'), 2)
  assertAllFree(machine)
})

test('a wire that does not offload takes no super-segment, and vouches for nothing', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1] }
  const machine = machineOf(wire, 2)
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const queue = new WireQueue(sender, wire, 'a')
  const end = new WireQueue(receiver, wire, 'b')
  assert.equal('offload' in queue.info, false)
  const m = Mbuf.cursor(sender.memory)
  const sent = [1514, 1515].map((bytes) => {
    m.at = frame(sender, 0, 0, undefined, bytes)
    m.flags = MbufFlag.SEGMENTED
    return queue.transmit(m.at)
  })
  assert.deepEqual(sent, [true, false])
  queue.flush()
  end.receive(64, (arrived) => {
    m.at = arrived
    Mbufs.of(receiver).free(arrived)
  })
  assert.equal(m.flags, 0)
  assertAllFree(machine)
})

test('without a hash the function that steers chooses the queue, and its hash goes along', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1, 2, 3] }
  const machine = machineOf(wire, 4)
  const sender = machine.cpus[0]!
  const m = Mbuf.cursor(machine.memory)
  const queue = new WireQueue(sender, wire, 'a', (memory, packet) => {
    m.at = packet
    // As a hash of 32 bits is where it is a signed number.
    return (memory.view.getUint32(m.data + SEQUENCE) * 0x9e3779b1) | 0
  })
  const arrivals = machine.cpus.slice(1).map((cpu) => listen(cpu, new WireQueue(cpu, wire, 'b')))
  for (let i = 0; i < 30; i++) queue.transmit(frame(sender, 0, i))
  queue.flush()
  machine.run()
  assert.equal(arrivals.flat().length, 30)
  for (const [place, mine] of arrivals.entries()) {
    for (const { hash, sequence } of mine) {
      if (sequence > 0) assert.equal(hash, (sequence * 0x9e3779b1) >>> 0)
      assert.equal(sequence === 0 ? 0 : hash % 3, place)
    }
  }
})

test('a budget that ends with one sender begins with the next', () => {
  const wire: WireOptions = { name: 'w', a: [0, 1], b: [2] }
  const machine = machineOf(wire, 3)
  for (const cpu of machine.cpus.slice(0, 2)) {
    const queue = new WireQueue(cpu, wire, 'a')
    for (let i = 0; i < 30; i++) queue.transmit(frame(cpu, cpu.index, i))
    queue.flush()
  }
  const receiver = machine.cpus[2]!
  const end = new WireQueue(receiver, wire, 'b')
  const from: number[] = []
  const m = Mbuf.cursor(machine.memory)
  const deliver = (packet: Address) => {
    m.at = packet
    from.push(machine.memory.view.getUint16(m.data + SENDER))
  }
  for (let i = 0; i < 4; i++) assert.equal(end.receive(10, deliver), 10)
  assert.deepEqual(
    [0, 10, 20, 30].map((at) => [...new Set(from.slice(at, at + 10))]),
    [[0], [1], [0], [1]],
  )
})

test('the indices of a ring may run over', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [0], entries: 16 }
  const machine = machineOf(wire, 1)
  const { address } = machine.layout.region('wire:w')
  const almost = 0x7fffffff - 5
  for (const at of [address, address + 64]) machine.memory.i32[at >> 2] = almost
  const cpu = machine.cpus[0]!
  const a = new WireQueue(cpu, wire, 'a')
  const b = new WireQueue(cpu, wire, 'b')
  const sequences: number[] = []
  for (let i = 0; i < 40; i += 10) {
    for (let k = i; k < i + 10; k++) assert(a.transmit(frame(cpu, 0, k)))
    a.flush()
    b.receive(64, (packet) => {
      sequences.push(machine.memory.view.getUint32(machine.memory.u32[(packet + Mbuf.offset.data) >> 2]! + SEQUENCE))
      Mbufs.of(cpu).free(packet)
    })
  }
  assert.deepEqual(
    sequences,
    Array.from({ length: 40 }, (_, i) => i),
  )
})

test('a queue that is closed frees what has come, and another may be opened in its place', () => {
  const wire: WireOptions = { name: 'w', a: [0], b: [1] }
  const machine = machineOf(wire, 2)
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const a = new WireQueue(sender, wire, 'a')
  const b = new WireQueue(receiver, wire, 'b')
  for (let i = 0; i < 5; i++) a.transmit(frame(sender, 0, i))
  a.close()
  b.close()
  b.close()
  const arrivals = listen(receiver, new WireQueue(receiver, wire, 'b'))
  const again = new WireQueue(sender, wire, 'a')
  again.transmit(frame(sender, 0, 5))
  again.flush()
  machine.run()
  assert.deepEqual(
    arrivals.map(({ sequence }) => sequence),
    [5],
  )
  assertAllFree(machine)
})

test('options that cannot be are refused with what is expected', () => {
  const machine = machineOf({ name: 'w', a: [0], b: [1] }, 2)
  const cpu = machine.cpus[0]!
  const refused = (wire: WireOptions, code: string, message: RegExp) =>
    assert.throws(() => new WireQueue(cpu, wire, 'a'), { code, message })
  refused({ name: 'w', a: [], b: [1] }, 'EINVAL', /at least one/)
  refused({ name: 'w', a: [0, 0], b: [1] }, 'EINVAL', /each once/)
  refused({ name: 'w', a: [0], b: [1], entries: 100 }, 'EINVAL', /power of two from 16 to 65536/)
  refused({ name: 'w', a: [0], b: [1], mtu: 10 }, 'EINVAL', /68 to 65535/)
  refused({ name: 'w', a: [1], b: [0] }, 'EINVAL', /CPU 0 has no queue at side a/)
  refused({ name: 'w', a: [0], b: [1], entries: 1024 }, 'EINVAL', /wireRegions/)
  refused({ name: 'v', a: [0], b: [1] }, 'ENOENT', /wire:v/)
  assert.equal(wireRegionBytes({ name: 'w', a: [0, 1], b: [2] }), 2 * 2 * (128 + 512 * 4))
})
