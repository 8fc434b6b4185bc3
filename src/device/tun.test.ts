// The queue of a TUN device: over a pair of sockets that carry packets as one does, and over the real thing in a network
// namespace, on threads. For the latter this file is started a second time inside, and is the CPUs' program.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { available, inNamespace, output } from '../../test/namespace.ts'
import { Errno } from '../base/errno.ts'
import { boot, type Cpu, message, type SimMachine, simulate, total } from '../kernel.ts'
import { attachQueue, DeviceCounters } from './device.ts'
import { configureInterface } from './linux/interface.ts'
import { type Libc, libc, libcUnavailable } from './linux/library.ts'
import { openTun } from './linux/tun.ts'
import { Mbuf, Mbufs } from './mbuf.ts'
import { SleeperCounters } from './sleeper.ts'
import { TunQueue, type TunQueueOptions } from './tun.ts'

const ADDRESSES = 12
const PINGS = 2
const PART_MS = 15_000

const Told = message('tun.test.told', {})

/** Answers pings, and tells the other CPU of each by a message. */
export default function program(cpu: Cpu, options: TunQueueOptions): void {
  const queue = new TunQueue(cpu, options)
  const told = cpu.memory.layout.region('told').address >> 2
  const ports = [0, 1].map((index) => `told-${index}`)
  cpu.ports.create({
    name: ports[cpu.index]!,
    handler: () => {
      Atomics.add(cpu.memory.i32, told + cpu.index, 1)
      return 0
    },
  })
  const m = Mbuf.cursor(cpu.memory)
  attachQueue(cpu, queue, (packet) => {
    m.at = packet
    if (!turnEcho(cpu.memory.u8, m.data)) {
      Mbufs.of(cpu).free(packet)
      return
    }
    queue.transmit(packet)
    cpu.ports.send(cpu.ports.lookup(ports[1 - cpu.index]!), cpu.ports.allocate(Told))
  })
}

/** Makes an ICMP echo request (IPv4 without options) its reply, and says whether it was one. */
function turnEcho(u8: Uint8Array, at: number): boolean {
  if (u8[at] !== 0x45 || u8[at + 9] !== 1 || u8[at + 20] !== 8) return false
  for (let i = 12; i < 16; i++) {
    const byte = u8[at + i]!
    u8[at + i] = u8[at + i + 4]!
    u8[at + i + 4] = byte
  }
  u8[at + 20] = 0
  // RFC 1624: the word with the type fell by 0x0800, so its checksum rises by that.
  const sum = ((u8[at + 22]! << 8) | u8[at + 23]!) + 0x0800
  const folded = (sum & 0xffff) + (sum >>> 16)
  u8[at + 22] = folded >>> 8
  u8[at + 23] = folded & 0xff
  return true
}

if (isMainThread) {
  if (process.argv[2] === 'answer') await answer()
  else tests()
}

/** In the namespace: a machine of two CPUs, until it was told to end. */
async function answer(): Promise<void> {
  const device = openTun({ name: 'df0', kind: 'tun', queues: 2 })
  configureInterface('df0', { address: '10.77.0.1/24', up: true })
  const options: TunQueueOptions = { kind: 'tun', name: 'df0', descriptors: device.descriptors, cpus: [0, 1] }
  const machine = await boot({
    cpus: 2,
    program: new URL(import.meta.url),
    data: options,
    regions: { told: 64 },
    spinTurns: 0,
    signals: false,
  })
  console.log('ready')
  const told = machine.layout.region('told').address >> 2
  const expected = ADDRESSES * PINGS
  const endMs = performance.now() + PART_MS
  const heard = () => Atomics.load(machine.memory.i32, told) + Atomics.load(machine.memory.i32, told + 1)
  while (heard() < expected && performance.now() < endMs) await new Promise((resolve) => setTimeout(resolve, 20))
  await machine.stop()
  device.close()
  const { memory } = machine
  const queues = machine.counters().filter(({ set }) => set === 'device')
  console.log(
    JSON.stringify({
      heard: heard(),
      transmitted: total(memory, DeviceCounters, 'transmitted'),
      errors: total(memory, DeviceCounters, 'transmitErrors') + total(memory, DeviceCounters, 'receiveErrors'),
      queues: queues.map(({ values }) => values.transmitted! > 0),
      wokenByDevice: total(memory, SleeperCounters, 'wokenByDevice') > 0,
      wokenByDoorbell: total(memory, SleeperCounters, 'wokenByDoorbell') > 0,
    }),
  )
}

function tests(): void {
  const noLibc = libcUnavailable()

  test('CPUs that sleep in poll(2) answer the pings of the kernel from both queues', {
    skip: noLibc ?? available('ping', 'sh'),
  }, async () => {
    await inNamespace('queue', async (namespace) => {
      const child = namespace.spawn(process.execPath, [fileURLToPath(import.meta.url), 'answer'])
      const ended = output(child, 2 * PART_MS)
      await new Promise((resolve) => child.stdout!.once('data', resolve))
      const pings = Array.from(
        { length: ADDRESSES },
        (_, i) => `ping -c ${PINGS} -i 0.2 -W 3 10.77.0.${i + 2} & pids="$pids $!"`,
      )
      const script = `${pings.join('\n')}\nfor pid in $pids; do wait $pid || exit 1; done`
      const printed = await output(namespace.spawn('sh', ['-c', script]), PART_MS)
      assert.equal(printed.match(/ 0% packet loss/g)?.length, ADDRESSES)
      assert.deepEqual(JSON.parse((await ended).split('\n')[1]!), {
        heard: ADDRESSES * PINGS,
        transmitted: ADDRESSES * PINGS,
        errors: 0,
        queues: [true, true],
        wokenByDevice: true,
        wokenByDoorbell: true,
      })
    })
  })

  test('packets are read one by one, until there are none or the budget is used up', { skip: noLibc }, () => {
    withPair({}, ({ queue, cpu, write }) => {
      for (let i = 0; i < 5; i++) write(new Uint8Array(100 + i).fill(i))
      cpu.now = 99
      const seen: number[][] = []
      const m = Mbuf.cursor(cpu.memory)
      const deliver = (packet: number) => {
        m.at = packet
        const bytes = Mbufs.of(cpu).bytes(packet)
        seen.push([bytes.length, bytes[0]!, m.arrivedAt])
        Mbufs.of(cpu).free(packet)
      }
      assert.equal(queue.pending(), false)
      assert.equal(queue.receive(3, deliver), 3)
      assert.equal(queue.pending(), true)
      assert.equal(queue.receive(3, deliver), 2)
      assert.equal(queue.pending(), false)
      assert.deepEqual(seen, [
        [100, 0, 99],
        [101, 1, 99],
        [102, 2, 99],
        [103, 3, 99],
        [104, 4, 99],
      ])
    })
  })

  test('a read that finds nothing allocates nothing', { skip: noLibc }, () => {
    withPair({}, ({ queue, cpu, machine }) => {
      queue.receive(64, () => assert.fail('there is nothing'))
      const { live } = cpu.slab
      assert.equal(live, 1)
      for (let i = 0; i < 10; i++) queue.receive(64, () => assert.fail('there is nothing'))
      assert.equal(cpu.slab.live, live)
      assert.equal(total(machine.memory, DeviceCounters, 'systemCalls'), 11)
    })
  })

  test('packets go out in the order of their transmission, at the flush', { skip: noLibc }, () => {
    withPair({}, ({ queue, cpu, read }) => {
      for (let i = 0; i < 4; i++) queue.transmit(Mbufs.of(cpu).copyFrom(new Uint8Array(50).fill(i)))
      assert.equal(read(), undefined)
      queue.flush()
      for (let i = 0; i < 4; i++) assert.deepEqual(read(), new Uint8Array(50).fill(i))
      assert.equal(read(), undefined)
    })
  })

  test('frames of several mbufs are read and written whole', { skip: noLibc }, () => {
    withPair({ kind: 'tap', mtu: 9000 }, ({ queue, cpu, write, read }) => {
      for (const length of [1, 1823, 1824, 1825, 3648, 9014]) {
        const bytes = Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8))
        write(bytes)
        assert.equal(
          queue.receive(64, (packet) => {
            assert.deepEqual(Mbufs.of(cpu).bytes(packet), bytes)
            queue.transmit(packet)
          }),
          1,
        )
        queue.flush()
        assert.deepEqual(read(), bytes)
      }
    })
  })

  test('a packet in more parts than one system call takes is put together first', { skip: noLibc }, () => {
    withPair({}, ({ queue, cpu, read }) => {
      const mbufs = Mbufs.of(cpu)
      const m = Mbuf.cursor(cpu.memory)
      const first = mbufs.copyFrom(new Uint8Array(10))
      let last = first
      for (let i = 1; i < 100; i++) {
        const part = mbufs.copyFrom(new Uint8Array(10).fill(i))
        m.at = last
        m.part = part
        last = part
      }
      m.at = first
      m.total = 1000
      queue.transmit(first)
      queue.flush()
      assert.deepEqual(
        read(),
        Uint8Array.from({ length: 1000 }, (_, i) => Math.floor(i / 10)),
      )
    })
  })

  test('what is too long is dropped and counted, both ways', { skip: noLibc }, () => {
    withPair({}, ({ queue, cpu, write, machine }) => {
      write(new Uint8Array(1501))
      assert.equal(
        queue.receive(64, () => assert.fail('too long')),
        0,
      )
      assert.equal(queue.transmit(Mbufs.of(cpu).copyFrom(new Uint8Array(1501))), false)
      assert.equal(total(machine.memory, DeviceCounters, 'receiveTooLong'), 1)
      assert.equal(total(machine.memory, DeviceCounters, 'transmitTooLong'), 1)
    })
  })

  test('what the kernel does not take is dropped and counted by its reason', { skip: noLibc }, () => {
    const answers = [-Errno.EAGAIN, -Errno.EIO, 40]
    withPair(
      {},
      ({ queue, cpu, machine }) => {
        for (let i = 0; i < 3; i++) queue.transmit(Mbufs.of(cpu).copyFrom(new Uint8Array(40)))
        queue.flush()
        const counts = (['transmitFull', 'transmitErrors', 'transmitted'] as const).map((name) =>
          total(machine.memory, DeviceCounters, name),
        )
        assert.deepEqual(counts, [1, 1, 1])
      },
      { write: () => answers.shift()! },
    )
  })

  test('a descriptor that fails is counted, and is not tried again in the same turn', { skip: noLibc }, () => {
    withPair(
      {},
      ({ queue, machine }) => {
        assert.equal(
          queue.receive(64, () => assert.fail('nothing was read')),
          0,
        )
        assert.equal(queue.pending(), false)
        assert.equal(total(machine.memory, DeviceCounters, 'receiveErrors'), 1)
      },
      { read: () => -Errno.EIO },
    )
  })
}

interface Pair {
  readonly machine: SimMachine
  readonly cpu: Cpu
  readonly queue: TunQueue
  /** To the queue. */
  write(bytes: Uint8Array): void
  /** From the queue. */
  read(): Uint8Array | undefined
}

/** A queue over one end of a pair of sockets; afterwards all of its memory must be free again. */
function withPair(options: Partial<TunQueueOptions>, body: (pair: Pair) => void, instead: Partial<Libc> = {}): void {
  const system = libc()
  const ends = new Int32Array(2)
  const socketpair = system.declare('int socketpair(int, int, int, uintptr_t)')
  const AF_UNIX = 1
  const SOCK_SEQPACKET_NONBLOCK = 5 | 0o4000
  assert.equal(socketpair(AF_UNIX, SOCK_SEQPACKET_NONBLOCK, 0, system.pointer(new Uint8Array(ends.buffer))), 0)
  const [mine, its] = [ends[0]!, ends[1]!]
  const machine = simulate({ cpus: 1, seed: 1 })
  const cpu = machine.cpus[0]!
  const all: TunQueueOptions = { kind: 'tun', name: 'pair', descriptors: [its], cpus: [0], ...options }
  const queue = new TunQueue(cpu, all, () => {}, { ...system, ...instead })
  const buffer = new Uint8Array(16384)
  try {
    body({
      machine,
      cpu,
      queue,
      write: (bytes) => assert.equal(system.write(mine, system.pointer(bytes), bytes.length), bytes.length),
      read: () => {
        const bytes = system.read(mine, system.pointer(buffer), buffer.length)
        return bytes < 0 ? undefined : buffer.slice(0, bytes)
      },
    })
  } finally {
    queue.close()
    system.close(mine)
    system.close(its)
  }
  assert.equal(cpu.slab.live, 0)
}
