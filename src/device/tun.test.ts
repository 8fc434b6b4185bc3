// The queue of a TUN device: over a pair of sockets that carry packets as one does, and over the real thing in a network
// namespace. For the latter this file is started a second time inside; on threads it is the CPUs' program as well.
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import fc from 'fast-check'
import { finish, pseudoHeaderSum } from '../base/checksum.ts'
import { Errno } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import { boot, type Cpu, message, type SimMachine, simulate, total } from '../kernel.ts'
import { available, inNamespace, output } from '../lab/tun/namespace.ts'
import { attachQueue, DeviceCounters } from './device.ts'
import { configureInterface } from './linux/interface.ts'
import { type Libc, libc, libcUnavailable } from './linux/library.ts'
import { Poller } from './linux/poll.ts'
import { openTun } from './linux/tun.ts'
import { Mbuf, MbufCounters, MbufFlag, Mbufs } from './mbuf.ts'
import { SleeperCounters } from './sleeper.ts'
import { TunQueue, type TunQueueOptions } from './tun.ts'

const ADDRESSES = 12
const PINGS = 2
const PART_MS = 15_000
const TCP = 6
const UDP = 17
const ACK = 0x10
const SYN = 0x02
const CWR = 0x80
const MSS = 1460
const HOSTS = { source: '10.77.0.2', target: '10.77.0.1' }
/** Of struct virtio_net_hdr. */
const NEEDS_CSUM = 1
const DATA_VALID = 2
const GSO_NONE = 0
const GSO_TCPV4 = 1
const GSO_ECN = 0x80

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
  else if (process.argv[2] === 'offload') console.log(JSON.stringify(offload()))
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

/** An IPv4 packet to make: the transport's header, with its checksum's field 0, and payload that somebody keeps. */
interface Plan {
  readonly protocol: number
  readonly source: string
  readonly target: string
  readonly header: Uint8Array
  readonly payload?: Address
  readonly payloadBytes?: number
  readonly flags?: number
  readonly segmentBytes?: number
  /** Bytes of options in the IP header. */
  readonly optionBytes?: number
  /** An Ethernet header stands in front. */
  readonly framed?: boolean
}

function tcpHeader(
  ports: readonly [number, number],
  sequence: number,
  acknowledged: number,
  flags: number,
  options = '',
) {
  const bytes = new Uint8Array(20 + options.length / 2)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, ports[0])
  view.setUint16(2, ports[1])
  view.setUint32(4, sequence)
  view.setUint32(8, acknowledged)
  bytes[12] = (bytes.length >> 2) << 4
  bytes[13] = flags
  view.setUint16(14, 65535)
  bytes.set(Buffer.from(options, 'hex'), 20)
  return bytes
}

function udpHeader(ports: readonly [number, number], payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, ports[0])
  view.setUint16(2, ports[1])
  view.setUint16(4, 8 + payloadBytes)
  return bytes
}

/** The packet of a plan: its headers in an mbuf for headers, the payload by reference, and of the checksum the first part. */
function make(cpu: Cpu, plan: Plan): Address {
  const { protocol, header, payload = 0, payloadBytes = 0, optionBytes = 0 } = plan
  const { u8, view, routines } = cpu.memory
  const mbufs = Mbufs.of(cpu)
  const packet = mbufs.allocateHeader()
  const link = plan.framed === true ? 14 : 0
  const ipBytes = 20 + optionBytes
  const frame = mbufs.prepend(packet, link + ipBytes + header.length)
  const ip = frame + link
  u8.fill(0, frame, ip + ipBytes)
  u8[ip] = 0x40 | (ipBytes >> 2)
  view.setUint16(ip + 2, ipBytes + header.length + payloadBytes)
  u8[ip + 8] = 64
  u8[ip + 9] = protocol
  u8.set(plan.source.split('.').map(Number), ip + 12)
  u8.set(plan.target.split('.').map(Number), ip + 16)
  u8.fill(1, ip + 20, ip + ipBytes)
  view.setUint16(ip + 10, finish(routines.sum(ip, ipBytes, 0)))
  const transport = ip + ipBytes
  u8.set(header, transport)
  const sum = pseudoHeaderSum(routines, ip + 12, ip + 16, 4, protocol, header.length + payloadBytes)
  view.setUint16(transport + (protocol === TCP ? 16 : 6), sum)
  if (payloadBytes > 0) mbufs.append(packet, mbufs.reference(payload, payloadBytes))
  const m = Mbuf.cursor(cpu.memory)
  m.at = packet
  m.flags = plan.flags ?? MbufFlag.PARTIAL_CHECKSUM
  m.segmentBytes = plan.segmentBytes ?? 0
  return packet
}

/** Of struct virtio_net_hdr. */
interface VnetFields {
  readonly flags?: number
  readonly type?: number
  readonly headerBytes?: number
  readonly segmentBytes?: number
  readonly start?: number
  readonly offset?: number
}

/** A packet behind its virtio_net_hdr. */
function vnet(fields: VnetFields, packet: Uint8Array): Uint8Array {
  const { flags = 0, type = 0, headerBytes = 0, segmentBytes = 0, start = 0, offset = 0 } = fields
  const bytes = new Uint8Array(10 + packet.length)
  bytes.set([flags, type])
  const view = new DataView(bytes.buffer)
  for (const [i, word] of [headerBytes, segmentBytes, start, offset].entries()) view.setUint16(2 + i * 2, word, true)
  bytes.set(packet, 10)
  return bytes
}

/** Bytes that are kept for packets to refer to, each told by its place. */
function keep(cpu: Cpu, bytes: number): Address {
  const at = cpu.slab.allocate(bytes + 64) + 64
  for (let i = 0; i < bytes; i++) cpu.memory.u8[at + i] = i * 7 + (i >> 8)
  return at
}

interface Seen {
  readonly bytes: Uint8Array
  readonly flags: number
  readonly segmentBytes: number
}

function tcpOf({ bytes }: Seen) {
  const at = (bytes[0]! & 15) * 4
  const view = new DataView(bytes.buffer)
  return {
    ports: [view.getUint16(at), view.getUint16(at + 2)] as const,
    sequence: view.getUint32(at + 4),
    flags: bytes[at + 13]!,
    payload: bytes.subarray(at + (bytes[at + 12]! >> 4) * 4),
  }
}

/** Whether the checksum of a packet's TCP or UDP header is right. */
function isWhole(cpu: Cpu, bytes: Uint8Array): boolean {
  const { memory } = cpu
  const at = cpu.slab.allocate(bytes.length)
  memory.u8.set(bytes, at)
  const headerBytes = (bytes[0]! & 15) * 4
  const length = bytes.length - headerBytes
  const pseudo = pseudoHeaderSum(memory.routines, at + 12, at + 16, 4, bytes[9]!, length)
  const checksum = finish(memory.routines.sum(at + headerBytes, length, pseudo))
  cpu.slab.free(at)
  return checksum === 0
}

/**
 * In the namespace: df0 has a virtio_net_hdr and df1 has none, and the kernel forwards between them, so that it has to
 * finish what we left to it. Then a connection of the kernel's, whose other end is made by hand.
 */
function offload() {
  const system = libc()
  const devices = [
    openTun({ name: 'df0', kind: 'tun', queues: 1, vnetHeader: true }),
    openTun({ name: 'df1', kind: 'tun', queues: 1 }),
  ]
  configureInterface('df0', { address: '10.77.0.1/24', up: true })
  configureInterface('df1', { address: '10.78.0.1/24', up: true })
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1')
  const machine = simulate({ cpus: 1, seed: 1 })
  const cpu = machine.cpus[0]!
  const mbufs = Mbufs.of(cpu)
  const queues = devices.map(({ name, kind, vnetHeader, descriptors }) => {
    return new TunQueue(cpu, { name, kind, vnetHeader, descriptors, cpus: [0] }, () => {})
  })
  const [near, far] = queues as [TunQueue, TunQueue]
  const poller = new Poller(2)
  for (const { descriptor } of queues) poller.add(descriptor)
  const m = Mbuf.cursor(cpu.memory)
  const seen: Seen[][] = [[], []]
  const receive = () => {
    assert(poller.wait(100) >= 0)
    for (const [index, queue] of queues.entries()) {
      queue.receive(64, (packet) => {
        m.at = packet
        const each = { bytes: mbufs.bytes(packet), flags: m.flags, segmentBytes: m.segmentBytes }
        mbufs.free(packet)
        // Of IPv6 there are the kernel's own questions.
        if (each.bytes[0]! >>> 4 === 4) seen[index]!.push(each)
      })
    }
  }
  const until = (isDone: () => boolean) => {
    const endMs = performance.now() + PART_MS
    while (!isDone()) {
      assert(performance.now() < endMs, 'what is waited for comes in time')
      receive()
    }
  }
  const send = (plan: Plan) => {
    near.transmit(make(cpu, plan))
    near.flush()
  }
  const kept = keep(cpu, 60_000)
  const whole = cpu.memory.u8.slice(kept, kept + 60_000)
  const { SEGMENTED, PARTIAL_CHECKSUM } = MbufFlag

  // Through the kernel to df1, which offloads nothing.
  const there = { source: '10.77.0.2', target: '10.78.0.2' }
  const ports = [1000, 2000] as const
  send({ ...there, protocol: UDP, header: udpHeader(ports, 500), payload: kept, payloadBytes: 500 })
  send({ ...there, protocol: TCP, header: tcpHeader(ports, 7, 9, ACK), payload: kept, payloadBytes: 700 })
  const long = { header: tcpHeader(ports, 100, 9, ACK | CWR), payload: kept, payloadBytes: 60_000, segmentBytes: MSS }
  send({ ...there, ...long, protocol: TCP, flags: SEGMENTED | PARTIAL_CHECKSUM })
  const segments = Math.ceil(60_000 / MSS)
  until(() => seen[1]!.length >= 2 + segments)
  const [datagram, single, ...cut] = seen[1]! as [Seen, Seen, ...Seen[]]
  const forwarded = {
    whole: seen[1]!.every(({ bytes }) => isWhole(cpu, bytes)),
    datagram: Buffer.compare(datagram.bytes.subarray(28), whole.subarray(0, 500)) === 0,
    single: Buffer.compare(tcpOf(single).payload, whole.subarray(0, 700)) === 0,
    segments: cut.length === segments,
    places: cut.every((each, i) => tcpOf(each).sequence === 100 + i * MSS),
    bytes: Buffer.compare(Buffer.concat(cut.map((each) => tcpOf(each).payload)), whole) === 0,
  }

  // The kernel connects to us, and sends what it never cuts.
  const AF_INET = 2
  const SOCK_STREAM_NONBLOCK = 1 | 0o4000
  const connection = system.socket(AF_INET, SOCK_STREAM_NONBLOCK, 0)
  const buffer = new Uint8Array(new ArrayBuffer(65536))
  buffer.set([AF_INET, 0, 2000 >> 8, 2000 & 0xff, 10, 77, 0, 2])
  const connect = system.declare('int connect(int, uintptr_t, unsigned int)')
  assert.equal(connect(connection, system.pointer(buffer), 16), -Errno.EINPROGRESS)
  until(() => seen[0]!.some((each) => (tcpOf(each).flags & SYN) !== 0))
  const syn = tcpOf(seen[0]!.find((each) => (tcpOf(each).flags & SYN) !== 0)!)
  const back = { source: '10.77.0.2', target: '10.77.0.1', protocol: TCP } as const
  const ours = [2000, syn.ports[0]] as const
  let expected = (syn.sequence + 1) >>> 0
  // An MSS of 1460, and nothing else.
  send({ ...back, header: tcpHeader(ours, 5000, expected, SYN | ACK, '020405b4') })
  let received = 0
  const data = () => seen[0]!.filter((each) => tcpOf(each).sequence === expected && tcpOf(each).payload.length > 0)
  const supers: number[] = []
  let inOrder = true
  let vouched = true
  let offered = false
  while (received < whole.length) {
    if (!offered) {
      buffer.set(whole)
      until(() => (offered = system.write(connection, system.pointer(buffer), whole.length) > 0))
    }
    until(() => data().length > 0)
    const each = data()[0]!
    const { payload } = tcpOf(each)
    inOrder &&= Buffer.compare(payload, whole.subarray(received, received + payload.length)) === 0
    vouched &&= (each.flags & MbufFlag.CHECKED) !== 0
    if ((each.flags & SEGMENTED) !== 0) supers.push(each.segmentBytes, payload.length > each.segmentBytes ? 1 : 0)
    received += payload.length
    expected = (expected + payload.length) >>> 0
    send({ ...back, header: tcpHeader(ours, 5001, expected, ACK) })
  }
  const taken = { inOrder, vouched, supers: supers.length > 0, sizes: [...new Set(supers)] }

  // And a super-segment of ours to the kernel's socket: one system call.
  const calls = () => total(machine.memory, DeviceCounters, 'systemCalls')
  const before = calls()
  const reply = { header: tcpHeader(ours, 5001, expected, ACK), payload: kept, payloadBytes: 40_000, segmentBytes: MSS }
  send({ ...back, ...reply, flags: SEGMENTED | PARTIAL_CHECKSUM })
  const written = calls() - before
  let heard = Buffer.alloc(0)
  until(() => {
    const bytes = system.read(connection, system.pointer(buffer), buffer.length)
    if (bytes > 0) heard = Buffer.concat([heard, buffer.subarray(0, bytes)])
    return heard.length >= 40_000
  })
  const given = { written, bytes: Buffer.compare(heard, whole.subarray(0, 40_000)) === 0 }
  system.close(connection)
  for (const queue of queues) queue.close()
  for (const device of devices) device.close()
  cpu.slab.free(kept - 64)
  const errors =
    total(machine.memory, DeviceCounters, 'transmitErrors') + total(machine.memory, DeviceCounters, 'receiveErrors')
  return { forwarded, taken, given, errors, live: cpu.slab.live, far: far.info.offload === undefined }
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

  test('the kernel finishes checksums and cuts super-segments that we leave to it, and leaves its own to us', {
    skip: noLibc ?? available(),
  }, async () => {
    await inNamespace('offload', async (namespace) => {
      const child = namespace.spawn(process.execPath, [fileURLToPath(import.meta.url), 'offload'])
      assert.deepEqual(JSON.parse(await output(child, 3 * PART_MS)), {
        forwarded: { whole: true, datagram: true, single: true, segments: true, places: true, bytes: true },
        taken: { inOrder: true, vouched: true, supers: true, sizes: [MSS, 1] },
        given: { written: 1, bytes: true },
        errors: 0,
        live: 0,
        far: true,
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

  const withHeader = { vnetHeader: true }

  test('a packet comes without its virtio_net_hdr, in as little memory as it needs', { skip: noLibc }, () => {
    withPair(withHeader, ({ queue, cpu, write }) => {
      const mbufs = Mbufs.of(cpu)
      // The ordinary mbuf alone; with a cluster of the tail's size; with the one that it was read into.
      const cases = [
        [1, 2048],
        [1500, 2048],
        [1824, 2048],
        [1825, 2048 + 256],
        [2920, 2048 + 2048],
        [1824 + 16_384, 2048 + 32_768],
        [1824 + 16_385, 2048 + 81_920],
        [65_535, 2048 + 81_920],
      ] as const
      for (const [length, memory] of cases) {
        const bytes = Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8))
        write(vnet({ type: GSO_TCPV4, segmentBytes: MSS }, bytes))
        const deliver = (packet: number) => {
          assert.deepEqual(mbufs.bytes(packet), bytes)
          assert.equal(mbufs.memoryBytes(packet), memory)
          mbufs.free(packet)
        }
        assert.equal(queue.receive(64, deliver), 1)
      }
    })
  })

  test('what the virtio_net_hdr says becomes flags', { skip: noLibc }, () => {
    withPair(withHeader, ({ queue, cpu, write }) => {
      const m = Mbuf.cursor(cpu.memory)
      const { CHECKED, SEGMENTED } = MbufFlag
      const cases: [VnetFields, number[]][] = [
        [{}, [0, 0]],
        [{ flags: NEEDS_CSUM, start: 20, offset: 16 }, [CHECKED, 0]],
        [{ flags: DATA_VALID }, [CHECKED, 0]],
        [{ type: GSO_TCPV4, segmentBytes: 1448 }, [SEGMENTED, 1448]],
        [{ flags: NEEDS_CSUM, type: GSO_TCPV4, segmentBytes: 1 }, [SEGMENTED | CHECKED, 1]],
        [{ flags: NEEDS_CSUM, type: GSO_TCPV4 | GSO_ECN, segmentBytes: 9000 }, [SEGMENTED | CHECKED, 9000]],
        // Not what the one before was.
        [{}, [0, 0]],
      ]
      for (const [fields, expected] of cases) {
        write(vnet(fields, new Uint8Array(100)))
        queue.receive(64, (packet) => {
          m.at = packet
          assert.deepEqual([m.flags, m.segmentBytes], expected)
          Mbufs.of(cpu).free(packet)
        })
      }
    })
  })

  test('a virtio_net_hdr that makes no sense is a counted drop', { skip: noLibc }, () => {
    withPair(withHeader, ({ queue, write, machine }) => {
      const count = (name: 'receiveErrors' | 'receiveEmpty' | 'receiveTooLong') =>
        total(machine.memory, DeviceCounters, name)
      const packet = new Uint8Array(100)
      write(vnet({ type: 2 }, packet))
      write(vnet({ type: 4, segmentBytes: MSS }, packet))
      write(vnet({ type: GSO_ECN, segmentBytes: MSS }, packet))
      write(vnet({ type: GSO_TCPV4 }, packet))
      write(vnet({ flags: NEEDS_CSUM, start: 83, offset: 16 }, packet))
      write(vnet({ flags: NEEDS_CSUM, start: 65535, offset: 65535 }, packet))
      write(new Uint8Array(9))
      write(vnet({}, new Uint8Array(0)))
      // Longer than the MTU without being a super-segment, and longer than one can be.
      write(vnet({}, new Uint8Array(1501)))
      write(vnet({ type: GSO_TCPV4, segmentBytes: MSS }, new Uint8Array(65536)))
      assert.equal(
        queue.receive(64, () => assert.fail('none of them is a packet')),
        0,
      )
      assert.deepEqual([count('receiveErrors'), count('receiveEmpty'), count('receiveTooLong')], [7, 1, 2])
    })
  })

  test('whatever comes is delivered or counted, and nothing leaks', { skip: noLibc }, () => {
    const header = fc.uint8Array({ minLength: 10, maxLength: 10 })
    const plausible = fc
      .record({ flags: fc.nat(3), type: fc.constantFrom(0, 1, 0x81), segmentBytes: fc.nat(9000), start: fc.nat(40) })
      .map((fields) => vnet(fields, new Uint8Array(0)))
    const length = fc.oneof(fc.nat(2000), fc.nat(65_600))
    const come = fc.tuple(fc.oneof(header, plausible), length)
    withPair(withHeader, ({ queue, cpu, write, machine }) => {
      let written = 0
      let delivered = 0
      fc.assert(
        fc.property(come, ([head, bytes]) => {
          const packet = new Uint8Array(10 + bytes)
          packet.set(head)
          write(packet)
          written++
          queue.receive(64, (arrived) => {
            delivered++
            assert.equal(Mbufs.of(cpu).bytes(arrived).length, bytes)
            Mbufs.of(cpu).free(arrived)
          })
        }),
        { seed: 41, numRuns: 300 },
      )
      const dropped = (['receiveErrors', 'receiveEmpty', 'receiveTooLong'] as const).map((name) =>
        total(machine.memory, DeviceCounters, name),
      )
      assert.equal(total(machine.memory, DeviceCounters, 'received'), delivered)
      assert.equal(dropped.reduce((sum, count) => sum + count) + delivered, written)
      assert(delivered > 50 && dropped.every((count) => count > 0))
    })
  })

  test('with a virtio_net_hdr, too, a read that finds nothing allocates nothing', { skip: noLibc }, () => {
    withPair(withHeader, ({ queue, cpu, write, machine }) => {
      for (let i = 0; i < 10; i++) {
        if (i === 5) write(vnet({}, new Uint8Array(100)))
        queue.receive(64, (packet) => Mbufs.of(cpu).free(packet))
        assert.equal(cpu.slab.live, 2)
      }
      assert.equal(total(machine.memory, DeviceCounters, 'systemCalls'), 11)
    })
  })

  test('a read that finds no memory leaves the packet in the kernel', { skip: noLibc }, () => {
    withPair(withHeader, ({ queue, cpu, write, machine }) => {
      write(vnet({}, new Uint8Array(100).fill(5)))
      const mbufs = Mbufs.of(cpu)
      const taken: Address[] = []
      for (let m = mbufs.allocate(); m !== 0; m = mbufs.allocate()) taken.push(m)
      assert.equal(
        queue.receive(64, () => assert.fail('there is no memory')),
        0,
      )
      assert.equal(total(machine.memory, DeviceCounters, 'receiveNoMbuf'), 1)
      for (const m of taken) mbufs.free(m)
      // The zones are all of ordinary mbufs now: those that are free may serve for the cluster.
      cpu.slab.returnZones(cpu.slab.detachFreeZones())
      assert.equal(
        queue.receive(64, (packet) => {
          assert.deepEqual(mbufs.bytes(packet), new Uint8Array(100).fill(5))
          mbufs.free(packet)
        }),
        1,
      )
    })
  })

  test('an ordinary packet goes out behind a virtio_net_hdr that asks for nothing', { skip: noLibc }, () => {
    withPair(withHeader, ({ queue, cpu, read, machine }) => {
      const bytes = new Uint8Array(1500).fill(3)
      assert(queue.transmit(Mbufs.of(cpu).copyFrom(bytes)))
      assert.equal(read(), undefined)
      queue.flush()
      assert.deepEqual(read(), vnet({}, bytes))
      assert.equal(total(machine.memory, DeviceCounters, 'systemCalls'), 1)
      assert.equal(total(machine.memory, DeviceCounters, 'transmittedBytes'), 1500)
    })
  })

  test('a checksum that is left to the device is told by its place', { skip: noLibc }, () => {
    const cases = [
      [{ protocol: UDP, header: udpHeader([1, 2], 100) }, 20, 6],
      [{ protocol: TCP, header: tcpHeader([1, 2], 3, 4, ACK) }, 20, 16],
      [{ protocol: TCP, header: tcpHeader([1, 2], 3, 4, SYN, '020405b4'), optionBytes: 12 }, 32, 16],
      [{ protocol: TCP, header: tcpHeader([1, 2], 3, 4, ACK), framed: true }, 34, 16],
    ] as const
    for (const [fields, start, offset] of cases) {
      const kind = 'framed' in fields ? 'tap' : 'tun'
      withPair({ ...withHeader, kind }, ({ queue, cpu, read }) => {
        const kept = keep(cpu, 100)
        const packet = make(cpu, { ...HOSTS, ...fields, payload: kept, payloadBytes: 100 })
        const bytes = Mbufs.of(cpu).bytes(packet)
        queue.transmit(packet)
        queue.flush()
        assert.deepEqual(read(), vnet({ flags: NEEDS_CSUM, start, offset }, bytes))
        cpu.slab.free(kept - 64)
      })
    }
  })

  test('a super-segment is one system call, of bytes that nobody has copied', { skip: noLibc }, () => {
    for (const [flags, type] of [
      [ACK, GSO_TCPV4],
      [ACK | CWR, GSO_TCPV4 | GSO_ECN],
    ] as const) {
      withPair(withHeader, ({ queue, cpu, read, machine }) => {
        const payloadBytes = 65_535 - 52
        const kept = keep(cpu, payloadBytes)
        // Twelve bytes of options: as timestamps are.
        const header = tcpHeader([1, 2], 3, 4, flags, '0101080a0000000000000000')
        const plan = { ...HOSTS, protocol: TCP, header, payload: kept, payloadBytes, segmentBytes: 1448 }
        const packet = make(cpu, { ...plan, flags: MbufFlag.SEGMENTED | MbufFlag.PARTIAL_CHECKSUM })
        const bytes = Mbufs.of(cpu).bytes(packet)
        assert(queue.transmit(packet))
        queue.flush()
        const fields = { flags: NEEDS_CSUM, start: 20, offset: 16, type, headerBytes: 52, segmentBytes: 1448 }
        assert.deepEqual(read(), vnet(fields, bytes))
        assert.equal(total(machine.memory, DeviceCounters, 'systemCalls'), 1)
        assert.equal(total(machine.memory, MbufCounters, 'copies'), 0)
        cpu.slab.free(kept - 64)
      })
    }
  })

  test('a super-segment of one segment is an ordinary packet', { skip: noLibc }, () => {
    withPair(withHeader, ({ queue, cpu, read }) => {
      const kept = keep(cpu, MSS + 1)
      for (const payloadBytes of [MSS, MSS + 1]) {
        const header = tcpHeader([1, 2], 3, 4, ACK)
        const flags = MbufFlag.SEGMENTED | MbufFlag.PARTIAL_CHECKSUM
        queue.transmit(
          make(cpu, { ...HOSTS, protocol: TCP, header, payload: kept, payloadBytes, flags, segmentBytes: MSS }),
        )
        queue.flush()
        assert.equal(read()![1], payloadBytes === MSS ? GSO_NONE : GSO_TCPV4)
      }
      cpu.slab.free(kept - 64)
    })
  })

  test('only a super-segment may be longer than the MTU, and no longer than a packet can be', { skip: noLibc }, () => {
    withPair({ ...withHeader, kind: 'tap' }, ({ queue, cpu, machine }) => {
      const m = Mbuf.cursor(cpu.memory)
      const offered = (bytes: number, flags: number) => {
        m.at = Mbufs.of(cpu).copyFrom(new Uint8Array(bytes))
        m.flags = flags
        return queue.transmit(m.at)
      }
      assert.equal(offered(1514, 0), true)
      assert.equal(offered(1515, 0), false)
      assert.equal(offered(1515, MbufFlag.PARTIAL_CHECKSUM), false)
      assert.equal(offered(65_535 + 14, MbufFlag.SEGMENTED), true)
      assert.equal(offered(65_536 + 14, MbufFlag.SEGMENTED), false)
      assert.equal(total(machine.memory, DeviceCounters, 'transmitTooLong'), 3)
    })
    withPair({}, ({ queue, cpu }) => {
      const m = Mbuf.cursor(cpu.memory)
      m.at = Mbufs.of(cpu).copyFrom(new Uint8Array(1501))
      m.flags = MbufFlag.SEGMENTED
      assert.equal(queue.transmit(m.at), false)
    })
  })

  test('what cannot be offloaded is not sent, and counted', { skip: noLibc }, () => {
    withPair(withHeader, ({ queue, cpu, read, machine }) => {
      const { SEGMENTED, PARTIAL_CHECKSUM } = MbufFlag
      const tcp = { ...HOSTS, protocol: TCP, header: tcpHeader([1, 2], 3, 4, ACK) }
      const kept = keep(cpu, 1000)
      const m = Mbuf.cursor(cpu.memory)
      const { u8 } = cpu.memory
      // Another protocol; UDP, which is not segmented; segments of nothing; IPv6; headers that are not in the first part.
      queue.transmit(make(cpu, { ...tcp, protocol: 47 }))
      queue.transmit(
        make(cpu, { ...HOSTS, protocol: UDP, header: udpHeader([1, 2], 0), flags: SEGMENTED, segmentBytes: 9 }),
      )
      queue.transmit(make(cpu, { ...tcp, payload: kept, payloadBytes: 1000, flags: SEGMENTED }))
      m.at = make(cpu, tcp)
      u8[m.data] = 0x60
      queue.transmit(m.at)
      for (const length of [19, 39]) {
        m.at = make(cpu, { ...tcp, payload: kept, payloadBytes: 1000, flags: PARTIAL_CHECKSUM })
        m.total -= m.length - length
        m.length = length
        queue.transmit(m.at)
      }
      queue.flush()
      assert.equal(read(), undefined)
      assert.equal(total(machine.memory, DeviceCounters, 'transmitErrors'), 6)
      cpu.slab.free(kept - 64)
    })
  })

  test('a packet of very many parts is put together behind its virtio_net_hdr', { skip: noLibc }, () => {
    for (const parts of [63, 64, 65]) {
      withPair(withHeader, ({ queue, cpu, read, machine }) => {
        const kept = keep(cpu, 6500)
        const mbufs = Mbufs.of(cpu)
        const header = tcpHeader([1, 2], 3, 4, ACK)
        const flags = MbufFlag.SEGMENTED | MbufFlag.PARTIAL_CHECKSUM
        const packet = make(cpu, { ...HOSTS, protocol: TCP, header, flags, segmentBytes: MSS })
        let last = packet
        for (let i = 1; i < parts; i++) last = mbufs.append(packet, mbufs.reference(kept + i * 100, 100), last)
        const bytes = mbufs.bytes(packet)
        queue.transmit(packet)
        queue.flush()
        const fields = { flags: NEEDS_CSUM, start: 20, offset: 16, type: GSO_TCPV4, headerBytes: 40, segmentBytes: MSS }
        assert.deepEqual(read(), vnet(fields, bytes))
        assert.equal(total(machine.memory, MbufCounters, 'copies'), parts === 65 ? 1 : 0)
        cpu.slab.free(kept - 64)
      })
    }
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
  const buffer = new Uint8Array(131_072)
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
