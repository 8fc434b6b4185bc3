import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { VirtualClock } from '../base/clock.ts'
import { Random } from '../base/random.ts'
import type { Address } from '../base/struct.ts'
import { Cpu } from '../kernel/cpu.ts'
import { Memory } from '../kernel/memory.ts'
import { type SimMachine, simulate, total } from '../kernel.ts'
import { InlineMachine } from '../machine/inline.ts'
import { nudge } from '../machine/testing/sim.ts'
import { assertAllFree } from '../net/testing/host.ts'
import { echo } from '../service/echo.ts'
import { type HostConfig, Stack, type UdpSocket } from '../stack.ts'
import { attachQueue, DeviceCounters } from './device.ts'
import { FaultCounters } from './fault.ts'
import { HubCounters, HubLimits, HubQueue, hubInfo } from './hub.ts'
import { Mbuf, MbufFlag, Mbufs } from './mbuf.ts'
import { type DeviceSpec, deviceInfo, deviceRegions, openQueue } from './spec.ts'
import { linkAddressOf } from './wire.ts'

const EVERYBODY = 0xffffffffffff
const SEQUENCE = 14
const FRAME_BYTES = 60

/** A frame from one address to another, its number behind the header. */
function frame(cpu: Cpu, source: number, target: number, sequence = 0, bytes = FRAME_BYTES): Address {
  const data = Buffer.alloc(bytes)
  data.writeUIntBE(target, 0, 6)
  data.writeUIntBE(source, 6, 6)
  if (bytes >= SEQUENCE + 4) data.writeUInt32BE(sequence, SEQUENCE)
  const packet = Mbufs.of(cpu).copyFrom(data)
  assert.notEqual(packet, 0)
  return packet
}

interface Arrival {
  readonly source: number
  readonly target: number
  readonly sequence: number
  readonly bytes: Uint8Array
}

/** Notes a frame, and frees it. */
function noter(cpu: Cpu, arrivals: Arrival[]): (packet: Address) => void {
  return (packet) => {
    const bytes = Buffer.from(Mbufs.of(cpu).bytes(packet))
    Mbufs.of(cpu).free(packet)
    const sequence = bytes.length < SEQUENCE + 4 ? 0 : bytes.readUInt32BE(SEQUENCE)
    arrivals.push({ source: bytes.readUIntBE(6, 6), target: bytes.readUIntBE(0, 6), sequence, bytes })
  }
}

/** A machine with a CPU for each port, or as `cpuOf` says, whose ports take nothing by themselves. */
class Bench {
  readonly machine: SimMachine
  readonly queues: HubQueue[]
  readonly #cpuOf: readonly number[]

  constructor(cpuOf: readonly number[], mtu = 1500) {
    this.#cpuOf = cpuOf
    this.machine = simulate({ cpus: Math.max(...cpuOf) + 1, seed: 1, memoryBytes: 16 * 1024 * 1024 })
    this.queues = cpuOf.map(
      (cpu, port) => new HubQueue(this.machine.cpus[cpu]!, { hub: { name: 'h', mtu }, port, cpu }),
    )
  }

  /** Transmits a frame at a port. */
  send(port: number, source: number, target: number, sequence = 0, bytes = FRAME_BYTES): boolean {
    return this.queues[port]!.transmit(frame(this.cpu(port), source, target, sequence, bytes))
  }

  /** All that waits at a port. */
  take(port: number): Arrival[] {
    const arrivals: Arrival[] = []
    this.queues[port]!.receive(Number.MAX_SAFE_INTEGER, noter(this.cpu(port), arrivals))
    return arrivals
  }

  /** Which ports got something, and what: their sequence numbers. */
  got(): { readonly [port: number]: readonly number[] } {
    const all = this.queues.map((_, port) => [port, this.take(port).map(({ sequence }) => sequence)] as const)
    return Object.fromEntries(all.filter(([, sequences]) => sequences.length > 0))
  }

  count(counter: (typeof HubCounters.counters)[number]): number {
    return total(this.machine.memory, HubCounters, counter)
  }

  device(counter: (typeof DeviceCounters.counters)[number]): number {
    return total(this.machine.memory, DeviceCounters, counter)
  }

  cpu(port: number): Cpu {
    return this.machine.cpus[this.#cpuOf[port]!]!
  }

  /** The time goes on, on all CPUs. */
  wait(us: number): void {
    this.machine.clock.advanceTo(this.machine.clock.now() + us)
    for (const cpu of this.machine.cpus) cpu.now = this.machine.clock.now()
  }

  /** Everything adds up, and nothing was left behind. */
  finish(): void {
    for (const queue of this.queues) queue.close()
    assertBalance(this.machine)
    this.machine.stop().catch(() => {})
    assertAllFree(this.machine)
  }
}

/** What was sent has been received, filtered, or was for nobody; and each hand-off was seen from both sides alike. */
function assertBalance(machine: SimMachine): void {
  const device = (counter: (typeof DeviceCounters.counters)[number]) => total(machine.memory, DeviceCounters, counter)
  const hub = (counter: (typeof HubCounters.counters)[number]) => total(machine.memory, HubCounters, counter)
  assert.equal(device('transmitted') + hub('copies'), device('received') + hub('filtered') + hub('nobody'))
  let taken = 0
  for (const { point, source, target, enqueued, dequeued } of machine.handoffs()) {
    if (point !== 'rx') continue
    assert.equal(enqueued, dequeued, `rx ${source} → ${target}`)
    taken += dequeued
  }
  assert.equal(taken, device('received'))
}

describe('a hub', () => {
  test('a frame to an address that is not known goes to all other ports, and its answer to one', () => {
    const bench = new Bench([0, 1, 2, 3])
    assert(bench.send(0, 0xa0, 0xa1, 1))
    assert.deepEqual(bench.got(), { 1: [1], 2: [1], 3: [1] })
    assert(bench.send(1, 0xa1, 0xa0, 2))
    assert.deepEqual(bench.got(), { 0: [2] })
    assert(bench.send(0, 0xa0, 0xa1, 3))
    assert.deepEqual(bench.got(), { 1: [3] })
    assert.deepEqual([bench.count('flooded'), bench.count('copies'), bench.count('learned')], [1, 2, 2])
    bench.finish()
  })

  test('frames to everybody and to groups go to all, and their senders are learned', () => {
    const bench = new Bench([0, 1, 2])
    bench.send(0, 0xa0, EVERYBODY, 1)
    bench.send(1, 0xa1, 0x01005e000001, 2)
    assert.deepEqual(bench.got(), { 0: [2], 1: [1], 2: [1, 2] })
    bench.send(2, 0xa2, 0xa0, 3)
    bench.send(2, 0xa2, 0xa1, 4)
    assert.deepEqual(bench.got(), { 0: [3], 1: [4] })
    bench.finish()
  })

  test('nobody is learned by a source that is a group or zero', () => {
    const bench = new Bench([0, 1, 2])
    bench.send(0, 0x010000000001, EVERYBODY)
    bench.send(0, 0, EVERYBODY)
    bench.got()
    bench.send(1, 0xa1, 0x010000000001, 1)
    bench.send(1, 0xa1, 0, 2)
    assert.deepEqual(bench.got(), { 0: [1, 2], 2: [1, 2] })
    assert.equal(bench.count('learned'), 1)
    bench.finish()
  })

  test('a frame to an address at its own port goes nowhere', () => {
    const bench = new Bench([0, 1])
    bench.send(0, 0xa0, EVERYBODY)
    bench.got()
    assert(bench.send(0, 0xb0, 0xa0))
    assert.deepEqual(bench.got(), {})
    assert.equal(bench.count('filtered'), 1)
    bench.finish()
  })

  test('a hub with one port floods to nobody', () => {
    const bench = new Bench([0])
    assert(bench.send(0, 0xa0, EVERYBODY))
    assert.deepEqual(bench.got(), {})
    assert.equal(bench.count('nobody'), 1)
    bench.finish()
  })

  test('an address that shows up at another port has moved there', () => {
    const bench = new Bench([0, 1, 2])
    bench.send(0, 0xa0, EVERYBODY)
    bench.send(1, 0xa0, EVERYBODY)
    bench.got()
    bench.send(2, 0xa2, 0xa0, 1)
    assert.deepEqual(bench.got(), { 1: [1] })
    assert.equal(bench.count('moved'), 1)
    bench.finish()
  })

  test('an address that was not seen for five minutes is not known any more', () => {
    const bench = new Bench([0, 1, 2])
    bench.send(0, 0xa0, EVERYBODY)
    bench.got()
    bench.wait(HubLimits.ageUs)
    bench.send(1, 0xa1, 0xa0, 1)
    assert.deepEqual(bench.got(), { 0: [1] })
    bench.wait(1)
    bench.send(1, 0xa1, 0xa0, 2)
    assert.deepEqual(bench.got(), { 0: [2], 2: [2] })
    bench.send(0, 0xa0, 0xa1, 3)
    assert.deepEqual(bench.got(), { 1: [3] })
    bench.send(1, 0xa1, 0xa0, 4)
    assert.deepEqual(bench.got(), { 0: [4] })
    bench.finish()
  })

  test('a flood of new addresses puts others out of a bounded table, and what is put out is flooded to', () => {
    const bench = new Bench([0, 1, 2])
    const room = HubLimits.sets * HubLimits.ways
    bench.send(0, 0xa0, EVERYBODY)
    bench.take(1)
    bench.take(2)
    for (let i = 0; i < 20 * room; i++) {
      bench.wait(1)
      bench.send(1, 0x020000000000 + i, 0xa0, i)
      assert.equal(bench.take(0).length, 1)
      // Seen now and then, it stays.
      if (i % 50 === 0) bench.send(0, 0xa0, 0xff, i)
      bench.take(1)
      bench.take(2)
    }
    assert(bench.count('evicted') > 18 * room)
    assert(bench.count('learned') <= room)
    bench.send(2, 0xa2, 0x020000000000, 7)
    assert.deepEqual(bench.got(), { 0: [7], 1: [7] })
    bench.finish()
  })

  test('a full queue takes no more: the frame is freed, refused and counted, and then there is room again', () => {
    const bench = new Bench([0, 1])
    bench.send(1, 0xa1, EVERYBODY)
    bench.take(0)
    const taken = Array.from({ length: HubLimits.queue + 3 }, (_, i) => bench.send(0, 0xa0, 0xa1, i))
    assert.deepEqual(taken, [...Array(HubLimits.queue).fill(true), false, false, false])
    assert.equal(bench.device('transmitFull'), 3)
    assert.equal(bench.machine.handoffs().find(({ source }) => source === 0)!.dropped, 3)
    const sequences = bench.take(1).map(({ sequence }) => sequence)
    assert.deepEqual(
      sequences,
      Array.from({ length: HubLimits.queue }, (_, i) => i),
    )
    assert(bench.send(0, 0xa0, 0xa1, 9))
    assert.deepEqual(bench.got(), { 1: [9] })
    bench.finish()
  })

  test('a flood passes over a full queue, and is refused only when all are full', () => {
    const bench = new Bench([0, 1, 2])
    bench.send(2, 0xa2, EVERYBODY)
    bench.take(0)
    bench.take(1)
    for (let i = 0; i < HubLimits.queue; i++) assert(bench.send(0, 0xa0, 0xa2, i))
    assert(bench.send(0, 0xa0, EVERYBODY, 1000))
    assert.deepEqual([bench.count('full'), bench.device('transmitFull')], [1, 0])
    assert.deepEqual(
      bench.take(1).map(({ sequence }) => sequence),
      [1000],
    )
    bench.send(1, 0xa1, 0xa0)
    for (let i = 0; i < HubLimits.queue; i++) assert(bench.send(0, 0xa0, 0xa1, i))
    assert.equal(bench.send(0, 0xa0, EVERYBODY, 1001), false)
    assert.deepEqual([bench.count('full'), bench.device('transmitFull')], [3, 1])
    bench.finish()
  })

  test('each receiver of a flood has bytes of its own, also of a frame in many parts', () => {
    const bench = new Bench([0, 1, 2], 9000)
    const packet = frame(bench.cpu(0), 0xa0, EVERYBODY, 5, 9014)
    const expected = Mbufs.of(bench.cpu(0)).bytes(packet)
    assert(bench.queues[0]!.transmit(packet))
    const m = Mbuf.cursor(bench.machine.memory)
    bench.queues[1]!.receive(1, (mine) => {
      for (m.at = mine; m.at !== 0; m.at = m.part) bench.machine.memory.u8.fill(0xee, m.data, m.data + m.length)
      Mbufs.of(bench.cpu(1)).free(mine)
    })
    const [arrival] = bench.take(2)
    assert.deepEqual(Buffer.from(arrival!.bytes), Buffer.from(expected))
    bench.finish()
  })

  test('what the sender noted of a packet stays behind, but for its flow hash, for the copies as well', () => {
    const bench = new Bench([0, 1, 2])
    const m = Mbuf.cursor(bench.machine.memory)
    m.at = frame(bench.cpu(0), 0xa0, EVERYBODY)
    m.flags = MbufFlag.HASHED | MbufFlag.CHECKED | MbufFlag.LOOPBACK | MbufFlag.LINK_BROADCAST
    m.hash = 0xdeadbeef
    m.interfaceIndex = 7
    m.error = 5
    bench.queues[0]!.transmit(m.at)
    bench.wait(1234)
    for (const port of [1, 2]) {
      bench.queues[port]!.receive(1, (packet) => {
        m.at = packet
        const noted = [m.flags, m.hash, m.interfaceIndex, m.error, m.arrivedAt]
        assert.deepEqual(noted, [MbufFlag.HASHED, 0xdeadbeef, 0, 0, 1234])
        Mbufs.of(bench.cpu(port)).free(packet)
      })
    }
    assert.equal(bench.device('received'), 2)
    bench.finish()
  })

  test('a packet that refers to bytes of its sender arrives with bytes of its own', () => {
    const bench = new Bench([0, 1, 2])
    const cpu = bench.cpu(0)
    const mbufs = Mbufs.of(cpu)
    const kept = cpu.slab.allocate(1024) + 64
    bench.machine.memory.u8.fill(0x77, kept, kept + 500)
    for (const target of [EVERYBODY, 0xa1]) {
      const packet = frame(cpu, 0xa0, target)
      mbufs.append(packet, mbufs.reference(kept, 500))
      assert(bench.queues[0]!.transmit(packet))
      bench.send(1, 0xa1, 0xa0)
    }
    // The sender's bytes are good until its flush.
    bench.machine.memory.u8.fill(0, kept, kept + 500)
    const arrivals = [...bench.take(1), ...bench.take(2)]
    assert.equal(arrivals.length, 3)
    for (const { bytes } of arrivals) {
      assert.equal(bytes.length, FRAME_BYTES + 500)
      assert(bytes.subarray(FRAME_BYTES).every((byte) => byte === 0x77))
    }
    bench.take(0)
    cpu.slab.free(kept - 64)
    bench.finish()
  })

  test('what is longer than the MTU is refused, and so is what has no whole header', () => {
    const bench = new Bench([0, 1])
    assert(bench.send(0, 0xa0, EVERYBODY, 0, 1514))
    assert.equal(bench.send(0, 0xa0, EVERYBODY, 0, 1515), false)
    assert.equal(bench.device('transmitTooLong'), 1)
    const runt = frame(bench.cpu(0), 0xa0, EVERYBODY)
    Mbufs.of(bench.cpu(0)).trimTo(runt, 13)
    assert.equal(bench.queues[0]!.transmit(runt), false)
    assert.equal(bench.device('transmitErrors'), 1)
    assert.equal(bench.take(1).length, 1)
    bench.finish()
  })

  test('without memory a flood still reaches one port, and the copies that are missing are counted', () => {
    const bench = new Bench([0, 1, 2, 3])
    const cpu = bench.cpu(0)
    // Whoever was plugged in last, it is the one with the highest number.
    bench.queues[1]!.close()
    bench.queues[1] = new HubQueue(bench.cpu(1), { hub: { name: 'h' }, port: 1, cpu: 1 })
    const packet = frame(cpu, 0xa0, EVERYBODY, 1)
    const hoard: Address[] = []
    for (let m = Mbufs.of(cpu).allocate(); m !== 0; m = Mbufs.of(cpu).allocate()) hoard.push(m)
    assert(bench.queues[0]!.transmit(packet))
    assert.equal(bench.count('noMbuf'), 2)
    assert.deepEqual(bench.got(), { 3: [1] })
    for (const m of hoard) Mbufs.of(cpu).free(m)
    bench.finish()
  })

  test('a sleeping receiver is woken once, by the flush', () => {
    const bench = new Bench([0, 1, 2])
    const { machine } = bench
    const arrivals: Arrival[] = []
    attachQueue(bench.cpu(1), bench.queues[1]!, noter(bench.cpu(1), arrivals))
    assert.equal(machine.run(), 'idle')
    for (let i = 0; i < 5; i++) bench.send(0, 0xa0, EVERYBODY, i)
    const rx = () => machine.handoffs().find(({ source, target }) => source === 0 && target === 1)!
    assert.deepEqual([rx().enqueued, rx().rung, rx().avoided], [5, 0, 0])
    bench.queues[0]!.flush()
    bench.queues[0]!.flush()
    assert.deepEqual([rx().rung, rx().avoided], [1, 0])
    machine.run()
    assert.equal(arrivals.length, 5)
    bench.finish()
  })

  test('a budget bounds what one receive takes, and what it causes to be sent waits for the next', () => {
    const bench = new Bench([0, 0])
    const [a, b] = bench.queues as [HubQueue, HubQueue]
    for (let i = 0; i < 10; i++) bench.send(0, 0xa0, 0xa1, i)
    assert.equal(
      b.receive(4, (packet) => Mbufs.of(bench.cpu(1)).free(packet)),
      4,
    )
    assert(b.pending())
    const sent: number[] = []
    // Each is answered by a frame to its own queue, by way of the other port.
    const count = b.receive(64, (packet) => {
      Mbufs.of(bench.cpu(1)).free(packet)
      sent.push(sent.length)
      a.transmit(frame(bench.cpu(0), 0xa0, 0xa1, 100))
    })
    assert.deepEqual([count, sent.length, bench.take(1).length], [6, 6, 6])
    assert.equal(b.pending(), false)
    bench.finish()
  })

  test('a closed port frees what waits, gets nothing more, takes nothing, and its addresses are forgotten', () => {
    const bench = new Bench([0, 1, 2])
    bench.send(1, 0xa1, EVERYBODY)
    bench.got()
    bench.send(0, 0xa0, 0xa1, 1)
    bench.send(0, 0xa0, 0xa1, 2)
    bench.queues[1]!.close()
    assert.deepEqual([bench.queues[1]!.pending(), bench.take(1)], [false, []])
    bench.send(0, 0xa0, 0xa1, 3)
    assert.deepEqual(bench.got(), { 2: [3] })
    assert.equal(bench.send(1, 0xa1, 0xa0), false)
    assert.equal(bench.device('transmitErrors'), 1)
    bench.queues[1]!.close()
    bench.finish()
  })

  test('a port may be closed by what it receives', () => {
    const bench = new Bench([0, 1])
    for (let i = 0; i < 5; i++) bench.send(0, 0xa0, EVERYBODY, i)
    let seen = 0
    const queue = bench.queues[1]!
    queue.receive(64, (packet) => {
      seen++
      Mbufs.of(bench.cpu(1)).free(packet)
      queue.close()
    })
    assert.equal(seen, 1)
    bench.finish()
  })

  test('a port that was closed can be opened again, by another CPU, as often as one likes', () => {
    const bench = new Bench([0, 1])
    for (let i = 0; i < 500; i++) {
      bench.queues[1]!.close()
      const cpu = i % 2
      bench.queues[1] = new HubQueue(bench.machine.cpus[cpu]!, { hub: { name: 'h' }, port: 1, cpu })
      const arrivals: Arrival[] = []
      bench.send(0, 0xa0, EVERYBODY, i)
      bench.queues[1]!.receive(64, noter(bench.machine.cpus[cpu]!, arrivals))
      assert.deepEqual(
        arrivals.map(({ sequence }) => sequence),
        [i],
      )
    }
    bench.finish()
  })

  test('hubs of other names, and of other machines, are other hubs', () => {
    const [here, there] = [new Bench([0, 0]), new Bench([0, 0])]
    const beside = new HubQueue(here.machine.cpus[0]!, { hub: { name: 'other' }, port: 7, cpu: 0 })
    here.send(0, 0xa0, EVERYBODY, 1)
    assert.deepEqual([here.got(), there.got(), beside.pending()], [{ 1: [1] }, {}, false])
    beside.close()
    here.finish()
    there.finish()
  })

  test('when its last port is closed a hub is gone, and another may take its name', () => {
    const bench = new Bench([0, 1])
    bench.send(0, 0xa0, EVERYBODY)
    for (const queue of bench.queues) queue.close()
    const cpu = bench.machine.cpus[0]!
    const hub = { name: 'h', mtu: 9000 }
    const [a, b] = [0, 1].map((port) => new HubQueue(cpu, { hub, port, cpu: 0 })) as [HubQueue, HubQueue]
    b.transmit(frame(cpu, 0xb1, 0xa0, 0, 9014))
    assert(a.pending())
    bench.queues.push(a, b)
    bench.finish()
  })

  test('a port says what it is, and its link address is made of its name', () => {
    const spec: DeviceSpec = { kind: 'hub', hub: { name: 'lab', mtu: 1400 }, port: 12, cpu: 3 }
    const info = deviceInfo(JSON.parse(JSON.stringify(spec)) as DeviceSpec)
    const address = linkAddressOf('lab.12')
    assert.deepEqual(info, { name: 'lab.12', framing: 'ethernet', mtu: 1400, cpus: [3], address })
    assert.deepEqual(deviceRegions([spec]), {})
    const all = Array.from({ length: 4096 }, (_, port) => hubInfo({ hub: { name: 'lab' }, port, cpu: 0 }))
    assert.equal(new Set(all.map(({ address }) => address!.join())).size, 4096)
  })

  test('each CPU opens the ports that are its own', () => {
    const machine = simulate({ cpus: 2, seed: 1 })
    const spec: DeviceSpec = { kind: 'hub', hub: { name: 'h' }, port: 0, cpu: 1 }
    assert.equal(openQueue(machine.cpus[0]!, spec), undefined)
    const queue = openQueue(machine.cpus[1]!, spec)
    assert(queue instanceof HubQueue)
    assert.deepEqual(queue.info, deviceInfo(spec))
    machine.stop().catch(() => {})
  })

  test('what cannot be is refused with a sentence that says what to do', () => {
    const bench = new Bench([0, 1])
    const cpu = bench.machine.cpus[0]!
    const refused = (options: object, code: string, message: RegExp) =>
      assert.throws(() => new HubQueue(cpu, { hub: { name: 'h' }, port: 5, cpu: 0, ...options }), { code, message })
    refused({ cpu: 1 }, 'EINVAL', /on CPU 1, and this is CPU 0/)
    refused({ port: -1 }, 'EINVAL', /0 to 65535/)
    refused({ port: 1.5 }, 'EINVAL', /0 to 65535/)
    refused({ hub: { name: 'h', mtu: 10 } }, 'EINVAL', /68 to 65535/)
    refused({ hub: { name: 'h', mtu: 1400 } }, 'EINVAL', /give all ports the same/)
    refused({ port: 1 }, 'EBUSY', /give another number/)
    bench.finish()
  })

  test('a machine of several threads has no hubs', () => {
    const shared = Memory.create({ cpus: 1, memoryBytes: 16 * 1024 * 1024 }, true)
    const host = { ring: () => {}, relax: () => {} }
    const cpu = new Cpu(0, shared, host, new VirtualClock(), new Random(1))
    const make = () => new HubQueue(cpu, { hub: { name: 'h' }, port: 0, cpu: 0 })
    assert.throws(make, { code: 'EOPNOTSUPP', message: /lay wires/ })
  })

  test('every frame arrives once at each port that it is for, in the order sent, whoever runs when', () => {
    const cpus = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 2, maxLength: 6 })
    fc.assert(
      fc.property(fc.nat(), cpus, (seed, cpuOf) => {
        const machine = simulate({ cpus: Math.max(...cpuOf) + 1, seed, memoryBytes: 16 * 1024 * 1024 })
        const address = (port: number) => 0x020000000000 + port
        const arrivals = cpuOf.map((): Arrival[] => [])
        const sent: { readonly source: number; readonly target: number; readonly sequence: number }[] = []
        for (const [port, index] of cpuOf.entries()) {
          const cpu = machine.cpus[index]!
          const queue = new HubQueue(cpu, { hub: { name: 'h' }, port, cpu: index })
          attachQueue(cpu, queue, noter(cpu, arrivals[port]!))
          const random = cpu.random.fork(port)
          cpu.threads.start('sender', function* (thread) {
            // Known to all, so that it is certain from here on where each frame goes.
            queue.transmit(frame(cpu, address(port), EVERYBODY))
            yield* thread.delay(10_000)
            for (let sequence = 1; sequence <= 60; ) {
              for (let burst = 1 + random.below(10); burst > 0 && sequence <= 60; burst--) {
                const to = random.below(cpuOf.length + 1)
                const target = to === cpuOf.length ? EVERYBODY : address(to)
                sent.push({ source: address(port), target, sequence })
                assert(queue.transmit(frame(cpu, address(port), target, sequence++)))
              }
              yield* thread.delay(random.below(2) * 3000 + 1000)
            }
          })
        }
        assert.equal(machine.run(), 'idle')
        for (const [port, mine] of arrivals.entries()) {
          for (const [other] of cpuOf.entries()) {
            if (other === port) continue
            const of = (all: readonly Omit<Arrival, 'bytes'>[]) =>
              all.filter(({ source, sequence }) => source === address(other) && sequence > 0)
            const expected = of(sent).filter(({ target }) => target === EVERYBODY || target === address(port))
            assert.deepEqual(
              of(mine).map(({ sequence }) => sequence),
              expected.map(({ sequence }) => sequence),
            )
          }
          assert.equal(mine.filter(({ source }) => source === address(port)).length, 0)
        }
        assertBalance(machine)
        machine.stop().catch(() => {})
        assertAllFree(machine)
      }),
      { seed: 21, numRuns: 25 },
    )
  })
})

interface Host {
  readonly stack: Stack
  readonly address: string
  /** Who has answered our pings, in order. */
  readonly pongs: string[]
  /** What came back from echo services: from whom, and what. */
  readonly echoes: string[]
  socket: UdpSocket | undefined
}

/** Hosts on one hub, each on the CPU that `cpuOf` says, with an echo service and a client each. */
class Lab {
  readonly machine: SimMachine
  readonly hosts: Host[] = []

  constructor(cpuOf: readonly number[], around: (device: DeviceSpec, host: number) => DeviceSpec = (device) => device) {
    const cpus = Math.max(...cpuOf) + 1
    this.machine = simulate({ cpus, seed: 5, memoryBytes: 48 * 1024 * 1024, checkOrder: true })
    for (const [index, cpu] of cpuOf.entries()) {
      const device = around({ kind: 'hub', hub: { name: 'lab' }, port: index, cpu }, index)
      const address = `10.0.0.${index + 1}`
      const config: HostConfig = {
        name: `host ${index}`,
        index,
        cpus: [cpu],
        interfaces: [{ name: 'eth0', device, addresses: [`${address}/24`] }],
      }
      this.hosts.push(this.#start(this.machine.cpus[cpu]!, config, address))
    }
    this.run()
    for (const { socket } of this.hosts) assert(socket !== undefined)
  }

  /** Host `from` pings host `to`, and asks its echo service. */
  talk(from: number, to: number, sequence: number): void {
    const { stack, socket } = this.hosts[from]!
    stack.context.cpu.timers.after(0, () => {
      const target = stack.endpoint(this.hosts[to]!.address, 7)
      stack.icmp.echo.send(target, 1, sequence, 32)
      socket!.sendBytes(Buffer.from(`${from} asks ${to}, ${sequence}`), target)
      target.free()
    })
    nudge(this.machine, stack.context.cpu.index)
  }

  run(us = 10_000): void {
    for (const cpu of this.machine.cpus) nudge(this.machine, cpu.index)
    this.machine.run({ untilUs: this.machine.clock.now() + us })
  }

  /** Unplugs a host from the hub. */
  unplug(host: number): void {
    this.hosts[host]!.stack.context.interfaces[1]!.queue!.close()
  }

  finish(): void {
    this.run(60_000_000)
    this.run()
    assertBalance(this.machine)
    this.machine.stop().catch(() => {})
    assertAllFree(this.machine)
  }

  #start(cpu: Cpu, config: HostConfig, address: string): Host {
    const stack = new Stack(cpu, config)
    const host: Host = { stack, address, pongs: [], echoes: [], socket: undefined }
    const m = stack.context.mbuf()
    const text = (at: Address) => cpu.memory.u8.slice(at, at + 4).join('.')
    stack.icmp.input.onEchoReply = (packet) => {
      m.at = packet
      host.pongs.push(text(m.source))
    }
    cpu.threads.start(config.name, function* (thread) {
      yield* stack.start(thread)
      echo(stack, 7, (error) => assert.equal(error, undefined))
      const onReadable = (socket: UdpSocket) => {
        for (let packet = socket.receive(); packet !== 0; packet = socket.receive()) {
          m.at = packet
          host.echoes.push(`${text(m.source)}: ${Buffer.from(stack.context.mbufs.bytes(packet))}`)
          stack.context.mbufs.free(packet)
        }
      }
      stack.udp.open({ port: 5000, onReadable }, (error, socket) => {
        assert.equal(error, undefined)
        host.socket = socket
      })
    })
    return host
  }
}

describe('hosts on a hub', () => {
  for (const cpuOf of [
    [0, 1, 2],
    [0, 0, 0],
    [1, 0, 1],
  ]) {
    test(`on CPUs ${cpuOf.join(', ')}: each pings the others, and has its questions answered`, () => {
      const lab = new Lab(cpuOf)
      const everyone = [0, 1, 2]
      for (let round = 1; round <= 3; round++) {
        for (const from of everyone) for (const to of everyone) if (from !== to) lab.talk(from, to, round)
        lab.run()
      }
      for (const [from, { pongs, echoes }] of lab.hosts.entries()) {
        const others = everyone.filter((to) => to !== from)
        const expected = [1, 2, 3].flatMap((round) =>
          others.map((to) => `${lab.hosts[to]!.address}: ${from} asks ${to}, ${round}`),
        )
        assert.deepEqual(echoes.toSorted(), expected.toSorted())
        assert.deepEqual(
          pongs.toSorted(),
          [1, 2, 3].flatMap(() => others.map((to) => lab.hosts[to]!.address)).toSorted(),
        )
      }
      // Only who asks for an address asks all; everything else went to one.
      const hub = (counter: (typeof HubCounters.counters)[number]) => total(lab.machine.memory, HubCounters, counter)
      assert(hub('flooded') > 0 && hub('flooded') <= 6, `${hub('flooded')} frames were flooded`)
      assert.equal(hub('full'), 0)
      lab.finish()
    })
  }

  test('a bad link around one port loses what passes there, and all of it is accounted for', () => {
    const lab = new Lab([0, 1, 2], (device, host) =>
      host === 1 ? { kind: 'fault', of: device, loss: 0.3, duplicate: 0.1, jitterUs: 500, seed: 3 } : device,
    )
    for (let sequence = 1; sequence <= 200; sequence++) {
      lab.talk(0, 1, sequence)
      lab.talk(0, 2, sequence)
      lab.run(2000)
    }
    const { echoes } = lab.hosts[0]!
    const from = (host: number) => echoes.filter((echo) => echo.startsWith(`10.0.0.${host + 1}:`))
    assert.equal(from(2).length, 200)
    const count = new Set(from(1)).size
    assert(count > 60 && count < 140, `${count} of 200 came back, of 49 in 100`)
    assert(from(1).length > count, 'some came twice')
    assert(total(lab.machine.memory, FaultCounters, 'lost') > 100)
    lab.finish()
  })

  test('a host that is unplugged is silent, the others go on, and its packets are given back', () => {
    const lab = new Lab([0, 1, 2])
    lab.talk(0, 1, 1)
    lab.talk(1, 2, 1)
    lab.run()
    assert.deepEqual([lab.hosts[0]!.echoes.length, lab.hosts[1]!.echoes.length], [1, 1])
    // Something is on its way to it.
    for (let sequence = 2; sequence <= 20; sequence++) lab.talk(0, 1, sequence)
    lab.machine.run({ until: () => lab.hosts[1]!.stack.context.interfaces[1]!.queue!.pending() })
    lab.unplug(1)
    lab.run()
    assert.equal(lab.hosts[0]!.echoes.length, 1)
    lab.talk(1, 2, 2)
    lab.talk(0, 2, 3)
    lab.run()
    assert.deepEqual([lab.hosts[0]!.echoes.length, lab.hosts[1]!.echoes.length], [2, 1])
    lab.finish()
  })

  test('a host that comes later finds the others', () => {
    const lab = new Lab([0, 1, 0])
    lab.talk(0, 1, 1)
    lab.run()
    lab.unplug(2)
    const cpu = lab.machine.cpus[1]!
    const arrivals: Arrival[] = []
    const queue = new HubQueue(cpu, { hub: { name: 'lab' }, port: 2, cpu: 1 })
    attachQueue(cpu, queue, noter(cpu, arrivals))
    lab.talk(0, 2, 1)
    lab.run()
    assert.equal(arrivals.length, 1, 'it is asked for its address, as all are')
    assert.equal(arrivals[0]!.target, EVERYBODY)
    lab.finish()
  })

  test('the same seed gives the same run', () => {
    const run = () => {
      const lab = new Lab([0, 1, 2])
      for (let sequence = 1; sequence <= 20; sequence++) lab.talk(sequence % 3, (sequence + 1) % 3, sequence)
      lab.run()
      lab.finish()
      return lab.machine.traceHash
    }
    assert.equal(run(), run())
  })

  test('on one event loop, a frame wakes the CPU of the other host', async () => {
    const machine = new InlineMachine({ cpus: 2, memoryBytes: 16 * 1024 * 1024 }, undefined)
    const { cpus } = machine
    const queues = [0, 1].map((cpu) => new HubQueue(cpus[cpu]!, { hub: { name: 'h' }, port: cpu, cpu }))
    const arrived = new Promise<number>((resolve) => {
      for (const [i, queue] of queues.entries()) {
        attachQueue(cpus[i]!, queue, (packet) => {
          // There and back again.
          if (i === 1) return void queue.transmit(packet)
          Mbufs.of(cpus[i]!).free(packet)
          resolve(cpus[i]!.index)
        })
      }
    })
    // Nothing is to do, so that both sleep until a doorbell.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    queues[0]!.transmit(frame(cpus[0]!, 0xa0, 0xa1))
    queues[0]!.flush()
    assert.equal(await arrived, 0)
    await machine.stop()
  })
})
