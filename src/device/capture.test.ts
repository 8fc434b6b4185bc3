import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Cpu, type SimMachine, simulate, total } from '../kernel.ts'
import { CaptureCounters, CaptureQueue, type CaptureQueueOptions } from './capture.ts'
import { attachQueue, DeviceCounters, type Framing } from './device.ts'
import { Mbuf, MbufFlag, Mbufs } from './mbuf.ts'
import { openCapture } from './pcap/file.ts'
import { type ReplayOptions, ReplayQueue, replayInfo } from './replay.ts'
import { type WireOptions, WireQueue, wireRegions } from './wire.ts'

function inFolder(body: (folder: string) => void | Promise<void>): () => Promise<void> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), 'damselfly-'))
    try {
      await body(folder)
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
}

/** Frames of many lengths, some of which take several mbufs. */
function frames(cpu: Cpu, count: number): Uint8Array[] {
  const random = cpu.random.fork(9)
  return Array.from({ length: count }, (_, i) => {
    const bytes = new Uint8Array(i % 10 === 9 ? 2000 + random.below(6000) : 20 + random.below(1400))
    for (let k = 0; k < bytes.length; k++) bytes[k] = random.next()
    return bytes
  })
}

function assertAllFree(machine: SimMachine): void {
  for (const cpu of machine.cpus) cpu.slab.flush()
  for (const cpu of machine.cpus) cpu.slab.collect()
  for (const cpu of machine.cpus) assert.equal(cpu.slab.live, 0)
}

/** CPU 0 sends frames to CPU 1, which echoes them; the capture is at CPU 0's end. */
async function record(options: CaptureQueueOptions, framing: Framing = 'ethernet', count = 30): Promise<Uint8Array[]> {
  const wire: WireOptions = { name: 'w', a: [0], b: [1], mtu: 9000, framing }
  const machine = simulate({ cpus: 2, seed: 3, regions: wireRegions(wire) })
  const [sender, receiver] = machine.cpus as [Cpu, Cpu]
  const queue = new CaptureQueue(sender, new WireQueue(sender, wire, 'a'), options)
  const echo = new WireQueue(receiver, wire, 'b')
  attachQueue(receiver, echo, (packet) => void echo.transmit(packet))
  attachQueue(sender, queue, (packet) => Mbufs.of(sender).free(packet))
  const sent = frames(sender, count)
  sender.threads.start('source', function* (thread) {
    for (const bytes of sent) {
      queue.transmit(Mbufs.of(sender).copyFrom(bytes))
      yield* thread.delay(1000)
    }
  })
  assert.equal(machine.run(), 'idle')
  assert.equal(total(machine.memory, CaptureCounters, 'recorded'), options.direction === undefined ? 2 * count : count)
  assertAllFree(machine)
  await machine.stop()
  return sent
}

/** What a replay delivers, and when. */
function play(options: ReplayOptions): { packets: Uint8Array[]; atUs: number[]; machine: SimMachine } {
  const machine = simulate({ cpus: 1, seed: 1, stall: 0 })
  const cpu = machine.cpus[0]!
  const queue = new ReplayQueue(cpu, options)
  const packets: Uint8Array[] = []
  const atUs: number[] = []
  const m = Mbuf.cursor(cpu.memory)
  attachQueue(cpu, queue, (packet) => {
    m.at = packet
    packets.push(Mbufs.of(cpu).bytes(packet))
    atUs.push(m.arrivedAt)
    Mbufs.of(cpu).free(packet)
  })
  assert.equal(machine.run(), 'idle')
  assert(queue.finished)
  assertAllFree(machine)
  return { packets, atUs, machine }
}

test(
  'what was captured and is played again is the same to the byte, both ways and in both framings',
  inFolder(async (folder) => {
    for (const framing of ['ethernet', 'ip'] as const) {
      for (const extension of ['pcapng', 'pcap']) {
        const path = join(folder, `${framing}.${extension}`)
        const sent = await record({ path }, framing)
        const both = play({ path, cpus: [0], direction: 'all' }).packets
        assert.equal(both.length, 60)
        assert.deepEqual(openCapture(path).linkTypes, [framing === 'ethernet' ? 1 : 101])
        if (extension === 'pcap') continue
        for (const direction of ['in', 'out'] as const) {
          assert.deepEqual(play({ path, cpus: [0], direction }).packets, sent, direction)
        }
        assert.deepEqual(replayInfo({ path, cpus: [0] }).framing, framing)
      }
    }
  }),
)

test(
  'a capture has the time of the machine, counted from its boot by the wall clock',
  inFolder(async (folder) => {
    const path = join(folder, 'w.pcapng')
    const wallUs = 1.7e15
    await record({ path, wallUs, direction: 'out' })
    const times = [...openCapture(path).packets()].map(({ timeUs }) => timeUs - wallUs)
    assert(times[0]! >= 0 && times[0]! < 1000)
    for (const [i, time] of times.entries()) {
      const since = time - (times[i - 1] ?? time - 1000)
      assert(since >= 1000 && since < 1300, `${since} µs`)
    }
  }),
)

test(
  'a replay keeps the times of the file, multiplied by its speed, and repeats',
  inFolder(async (folder) => {
    const path = join(folder, 'w.pcapng')
    await record({ path, direction: 'in' })
    const packets = [...openCapture(path).packets()]
    const expected = packets.map(({ timeUs }) => timeUs - packets[0]!.timeUs)
    for (const speed of [0.5, 1, 4]) {
      const { atUs } = play({ path, cpus: [0], speed })
      for (const [i, at] of atUs.entries()) {
        const late = at - atUs[0]! - expected[i]! / speed
        assert(Math.abs(late) < 300, `packet ${i} at speed ${speed} is ${late} µs late`)
      }
    }
    const fast = play({ path, cpus: [0], speed: Number.POSITIVE_INFINITY, loops: 3 })
    assert.equal(fast.packets.length, 90)
    assert.deepEqual(fast.packets.slice(30, 60), fast.packets.slice(0, 30))
    assert(fast.atUs.at(-1)! < 100)
    assert.equal(total(fast.machine.memory, DeviceCounters, 'received'), 90)
  }),
)

test(
  'several queues share a file by the flow hash, each packet once',
  inFolder(async (folder) => {
    const path = join(folder, 'w.pcapng')
    const sent = await record({ path, direction: 'in' })
    const machine = simulate({ cpus: 3, seed: 1 })
    const m = Mbuf.cursor(machine.memory)
    const steer = (memory: { u8: Uint8Array }, packet: number) => {
      m.at = packet
      return memory.u8[m.data]!
    }
    const got = machine.cpus.map((cpu) => {
      const mine: Uint8Array[] = []
      attachQueue(cpu, new ReplayQueue(cpu, { path, cpus: [0, 1, 2] }, steer), (packet) => {
        mine.push(Mbufs.of(cpu).bytes(packet))
        Mbufs.of(cpu).free(packet)
      })
      return mine
    })
    machine.run()
    for (const [place, mine] of got.entries()) {
      assert.deepEqual(
        mine,
        sent.filter((bytes) => bytes[0]! % 3 === place),
      )
    }
  }),
)

test(
  'the file can be read while the machine runs, a second behind at most',
  inFolder((folder) => {
    const path = join(folder, 'w.pcapng')
    const wire: WireOptions = { name: 'w', a: [0], b: [1] }
    const machine = simulate({ cpus: 2, seed: 1, regions: wireRegions(wire) })
    const cpu = machine.cpus[0]!
    const queue = new CaptureQueue(cpu, new WireQueue(cpu, wire, 'a'), { path })
    attachQueue(cpu, queue, () => {})
    queue.transmit(Mbufs.of(cpu).copyFrom(new Uint8Array(60)))
    machine.run({ untilUs: 500_000 })
    assert.equal(readFileSync(path).length, 0)
    machine.run({ untilUs: 1_100_000 })
    assert.equal([...openCapture(path).packets()].length, 1)
    // Nothing more to write: the machine comes to rest.
    assert.equal(machine.run(), 'idle')
  }),
)

test(
  'queues of one device write files of their own',
  inFolder(async (folder) => {
    const path = join(folder, 'w.pcapng')
    const wire: WireOptions = { name: 'w', a: [0, 1], b: [2] }
    const machine = simulate({ cpus: 3, seed: 1, regions: wireRegions(wire) })
    for (const cpu of machine.cpus.slice(0, 2)) {
      const queue = new CaptureQueue(cpu, new WireQueue(cpu, wire, 'a'), { path })
      attachQueue(cpu, queue, () => {})
      for (let i = 0; i <= cpu.index; i++) queue.transmit(Mbufs.of(cpu).copyFrom(new Uint8Array(60)))
    }
    await machine.stop()
    for (const queue of [0, 1]) {
      assert.equal([...openCapture(join(folder, `w-${queue}.pcapng`)).packets()].length, queue + 1)
    }
  }),
)

const full = existsSync('/dev/full') ? false : 'there is no /dev/full'

test('a file that cannot be written any more ends the capture, and nothing else', { skip: full }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'damselfly-'))
  try {
    const path = join(folder, 'full.pcapng')
    symlinkSync('/dev/full', path)
    const wire: WireOptions = { name: 'w', a: [0], b: [1] }
    const machine = simulate({ cpus: 2, seed: 1, regions: wireRegions(wire) })
    const cpu = machine.cpus[0]!
    assert.throws(
      () => new CaptureQueue(cpu, new WireQueue(cpu, wire, 'a'), { path: join(folder, 'none', 'w.pcap') }),
      {
        code: 'ENOENT',
      },
    )
    const queue = new CaptureQueue(cpu, new WireQueue(cpu, wire, 'a'), { path })
    attachQueue(cpu, queue, () => {})
    assert(queue.transmit(Mbufs.of(cpu).copyFrom(new Uint8Array(60))))
    machine.run()
    assert.equal(queue.failure?.code, 'ENOSPC')
    assert(queue.transmit(Mbufs.of(cpu).copyFrom(new Uint8Array(60))))
    machine.run()
    assert.equal(total(machine.memory, CaptureCounters, 'lost'), 1)
    assert.equal(total(machine.memory, DeviceCounters, 'transmitted'), 2)
    await machine.stop()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what is transmitted to a replay vanishes, and is counted', () => {
  const folder = mkdtempSync(join(tmpdir(), 'damselfly-'))
  try {
    const path = join(folder, 'empty.pcap')
    const machine = simulate({ cpus: 1, seed: 1 })
    const cpu = machine.cpus[0]!
    assert.throws(() => new ReplayQueue(cpu, { path, cpus: [0] }), { code: 'ENOENT' })
    const wire: WireOptions = { name: 'w', a: [0], b: [0] }
    const other = simulate({ cpus: 1, seed: 1, regions: wireRegions(wire) }).cpus[0]!
    new CaptureQueue(other, new WireQueue(other, wire, 'a'), { path }).close()
    const queue = new ReplayQueue(cpu, { path, cpus: [0] })
    assert(queue.finished && !queue.pending())
    assert(queue.transmit(Mbufs.of(cpu).copyFrom(new Uint8Array(60))))
    assert.equal(total(machine.memory, DeviceCounters, 'transmittedBytes'), 60)
    assertAllFree(machine)
    for (const bad of [{ speed: 0 }, { speed: Number.NaN }, { loops: 0 }, { cpus: [] }, { cpus: [1] }]) {
      assert.throws(() => new ReplayQueue(cpu, { path, cpus: [0], ...bad }), { code: 'EINVAL' })
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test(
  'a super-segment is recorded whole, with what its sender keeps, and the device behind still offloads',
  inFolder(async (folder) => {
    const path = join(folder, 'segment.pcapng')
    const wire: WireOptions = { name: 'w', a: [0], b: [1], offload: true }
    const machine = simulate({ cpus: 2, seed: 1, regions: wireRegions(wire) })
    const cpu = machine.cpus[0]!
    const mbufs = Mbufs.of(cpu)
    const inner = new WireQueue(cpu, wire, 'a')
    const queue = new CaptureQueue(cpu, inner, { path })
    assert.deepEqual(queue.info.offload, inner.info.offload)
    const kept = cpu.slab.allocate(81920)
    for (let i = 64; i < 81920; i++) cpu.memory.u8[kept + i] = i * 7 + (i >> 8)
    const m = Mbuf.cursor(cpu.memory)
    m.at = mbufs.copyFrom(new Uint8Array(54))
    m.flags = MbufFlag.SEGMENTED
    mbufs.append(m.at, mbufs.reference(kept + 64, 40_000))
    mbufs.append(m.at, mbufs.reference(kept + 40_064, 65_549 - 40_054))
    const bytes = mbufs.bytes(m.at)
    assert(queue.transmit(m.at))
    queue.close()
    assert.deepEqual(
      [...openCapture(path).packets()].map(({ data }) => data),
      [bytes],
    )
    await machine.stop()
  }),
)
