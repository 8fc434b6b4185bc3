// CPUs that sleep in poll(2), on threads of their own, and a CPU on an event loop. The device is one end of a pair of sockets
// that carry packets; the test has the other end. The worker threads load this file as their program.
import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { test } from 'node:test'
import { isMainThread } from 'node:worker_threads'
import { Errno } from '../base/errno.ts'
import { CpuState } from '../kernel/cpustate.ts'
import { CpuBlock } from '../kernel/layout.ts'
import type { Memory } from '../kernel/memory.ts'
import { boot, type Cpu, message, type Thread, total, u32 } from '../kernel.ts'
import { attachQueue, DeviceCounters } from './device.ts'
import { closeEventfd, drain, openEventfd, signal } from './linux/eventfd.ts'
import { libc, libcUnavailable } from './linux/library.ts'
import { ensureSleeper, SleeperCounters, watchByTimer, watchDescriptor } from './sleeper.ts'
import { TunQueue } from './tun.ts'

const skip = libcUnavailable()

const AF_UNIX = 1
const SOCK_SEQPACKET_NONBLOCK = 5 | 0o4000

/** Words of the region "talk". */
const Talk = { ask: 0, heard: 1 } as const
/** Rounds until a wake-up was seen that the regular looking up of a sleeping CPU had not come before. */
const ROUNDS = 50

interface Data {
  readonly descriptor: number
}

const Note = message('sleeper.test.note', { number: u32 })

/** CPU 0 has the device, echoes what comes, and sleeps; CPU 1 never sleeps, and sends it a message when the test asks for it. */
export default function program(cpu: Cpu, { descriptor }: Data): void {
  const talk = cpu.memory.layout.region('talk').address >> 2
  if (cpu.index === 0) {
    const queue = new TunQueue(cpu, { kind: 'tun', name: 'pair', descriptors: [descriptor], cpus: [0] })
    attachQueue(cpu, queue, (packet) => void queue.transmit(packet))
    const note = Note.cursor(cpu.memory)
    cpu.ports.create({
      name: 'sleeper',
      handler: (m) => {
        note.at = m
        Atomics.store(cpu.memory.i32, talk + Talk.heard, note.number)
        return 0
      },
    })
    return
  }
  cpu.threads.start('asker', function* (thread: Thread) {
    yield* thread.until(() => cpu.ports.find('sleeper') !== undefined)
    const note = Note.cursor(cpu.memory)
    for (let asked = 1; ; asked++) {
      yield* thread.until(() => Atomics.load(cpu.memory.i32, talk + Talk.ask) === asked)
      note.at = cpu.ports.allocate(Note)
      note.number = asked
      cpu.ports.send(cpu.ports.lookup('sleeper'), note.at)
    }
  })
}

if (isMainThread) tests()

function tests(): void {
  test('a CPU asleep in poll(2) is woken by a packet, and by a message of another CPU', {
    skip,
    timeout: 30_000,
  }, async () => {
    const before = openFiles()
    const [mine, its] = pair()
    const machine = await boot({
      cpus: 2,
      program: new URL(import.meta.url),
      data: { descriptor: its } satisfies Data,
      regions: { talk: 64 },
      spinTurns: 0,
      signals: false,
    })
    const { memory } = machine
    for (let round = 0; total(memory, SleeperCounters, 'wokenByDevice') === 0; round++) {
      assert(round < ROUNDS)
      await until(() => isAsleep(memory, 0))
      await echoed(mine, round)
    }
    const talk = memory.layout.region('talk').address >> 2
    for (let round = 1; total(memory, SleeperCounters, 'wokenByDoorbell') === 0; round++) {
      assert(round < ROUNDS)
      await until(() => isAsleep(memory, 0))
      Atomics.store(memory.i32, talk + Talk.ask, round)
      await until(() => Atomics.load(memory.i32, talk + Talk.heard) === round)
    }
    await machine.stop()
    assert.equal(total(memory, DeviceCounters, 'received'), total(memory, DeviceCounters, 'transmitted'))
    closeBoth(mine, its)
    assert.equal(openFiles(), before)
  })

  test('a CPU on an event loop is scheduled when its descriptor is readable', { skip, timeout: 30_000 }, async () => {
    const before = openFiles()
    const [mine, its] = pair()
    const machine = await boot({
      cpus: 1,
      host: 'inline',
      program: (cpu: Cpu) => program(cpu, { descriptor: its }),
      regions: { talk: 64 },
      signals: false,
    })
    await until(() => isAsleep(machine.memory, 0))
    for (let i = 0; i < 3; i++) await echoed(mine, i)
    await machine.stop()
    closeBoth(mine, its)
    // libuv keeps descriptors of its own from its first watch on.
    assert(openFiles() <= before + 1)
  })

  test('a descriptor is watched by the event loop, or by a timer', { skip, timeout: 30_000 }, async () => {
    for (const start of [watchDescriptor, watchByTimer]) {
      const bell = openEventfd()
      let calls = 0
      const watch = start(bell, () => {
        calls++
        drain(bell)
      })
      signal(bell)
      await until(() => calls === 1)
      signal(bell)
      await until(() => calls === 2)
      watch.close()
      watch.close()
      watch.unref()
      closeEventfd(bell)
    }
  })

  test('the main thread never blocks in poll(2)', () => {
    assert.throws(() => ensureSleeper({} as Cpu), { code: 'EOPNOTSUPP', message: /`kick`/ })
  })
}

/** Two ends that keep the borders of packets, as a TUN device does. */
function pair(): [number, number] {
  const ends = new Int32Array(2)
  const system = libc()
  const socketpair = system.declare('int socketpair(int, int, int, uintptr_t)')
  assert.equal(socketpair(AF_UNIX, SOCK_SEQPACKET_NONBLOCK, 0, system.pointer(new Uint8Array(ends.buffer))), 0)
  return [ends[0]!, ends[1]!]
}

function closeBoth(...descriptors: number[]): void {
  for (const descriptor of descriptors) libc().close(descriptor)
}

/** Sends a packet of 100 bytes, and waits for it to come back. */
async function echoed(descriptor: number, byte: number): Promise<void> {
  const system = libc()
  const sent = new Uint8Array(100).fill(byte)
  assert.equal(system.write(descriptor, system.pointer(sent), sent.length), sent.length)
  const got = new Uint8Array(200)
  let bytes = -Errno.EAGAIN
  await until(() => {
    bytes = system.read(descriptor, system.pointer(got), got.length)
    return bytes !== -Errno.EAGAIN
  })
  assert.deepEqual(got.subarray(0, bytes), sent)
}

function isAsleep(memory: Memory, cpu: number): boolean {
  return Atomics.load(memory.i32, (memory.layout.cpuBlock(cpu) + CpuBlock.offset.state) >> 2) === CpuState.sleeping
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}

function openFiles(): number {
  return readdirSync('/proc/self/fd').length
}
