import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Cpu, type SimMachine, simulate, total } from '../kernel.ts'
import { attachQueue, DeviceCounters } from './device.ts'
import { LoopbackQueue } from './loopback.ts'
import { Mbuf, MbufFlag, Mbufs } from './mbuf.ts'

function assertAllFree(machine: SimMachine): void {
  for (const cpu of machine.cpus) assert.equal(cpu.slab.live, 0)
}

function send(cpu: Cpu, queue: LoopbackQueue, ...bytes: number[]): boolean {
  return queue.transmit(Mbufs.of(cpu).copyFrom(Uint8Array.from(bytes)))
}

test('what is transmitted is received in order, and never within the receive that sent it', () => {
  const machine = simulate({ cpus: 1, seed: 1 })
  const cpu = machine.cpus[0]!
  const queue = new LoopbackQueue(cpu, { cpus: [0] })
  for (const byte of [1, 2, 3]) send(cpu, queue, byte)
  assert(queue.pending())
  const seen: number[] = []
  const deliver = (packet: number) => {
    const [byte = 0] = Mbufs.of(cpu).bytes(packet)
    seen.push(byte)
    Mbufs.of(cpu).free(packet)
    if (byte < 10) send(cpu, queue, byte + 10)
  }
  assert.equal(queue.receive(64, deliver), 3)
  assert.equal(queue.receive(2, deliver), 2)
  assert.equal(queue.receive(64, deliver), 1)
  assert.equal(queue.receive(64, deliver), 0)
  assert.deepEqual(seen, [1, 2, 3, 11, 12, 13])
  assert.equal(queue.pending(), false)
  assertAllFree(machine)
})

test('what comes back is known to be unharmed and of this host', () => {
  const machine = simulate({ cpus: 1, seed: 1 })
  const cpu = machine.cpus[0]!
  const queue = new LoopbackQueue(cpu, { cpus: [0] })
  const m = Mbuf.cursor(cpu.memory)
  m.at = Mbufs.of(cpu).copyFrom(Uint8Array.of(1))
  m.flags = MbufFlag.HASHED | MbufFlag.LINK_BROADCAST
  m.interfaceIndex = 3
  queue.transmit(m.at)
  queue.receive(1, (packet) => {
    m.at = packet
  })
  assert.equal(m.flags, MbufFlag.HASHED | MbufFlag.CHECKED | MbufFlag.LOOPBACK)
  assert.equal(m.interfaceIndex, 0)
})

test('what waits owns its bytes', () => {
  const machine = simulate({ cpus: 1, seed: 1 })
  const cpu = machine.cpus[0]!
  const mbufs = Mbufs.of(cpu)
  const queue = new LoopbackQueue(cpu, { cpus: [0] })
  const kept = cpu.slab.allocate(1024)
  cpu.memory.u8.fill(7, kept + 64, kept + 164)
  const packet = mbufs.copyFrom(Uint8Array.of(1))
  mbufs.append(packet, mbufs.reference(kept + 64, 100))
  const bytes = mbufs.bytes(packet)
  assert(queue.transmit(packet))
  cpu.memory.u8.fill(9, kept + 64, kept + 164)
  cpu.slab.free(kept)
  const seen: Uint8Array[] = []
  queue.receive(64, (arrived) => {
    seen.push(mbufs.bytes(arrived))
    mbufs.free(arrived)
  })
  assert.deepEqual(seen, [bytes])
  assertAllFree(machine)
})

test('without memory to own its bytes a packet is dropped and counted', () => {
  const machine = simulate({ cpus: 1, seed: 1, memoryBytes: 16 * 1024 * 1024 })
  const cpu = machine.cpus[0]!
  const mbufs = Mbufs.of(cpu)
  const queue = new LoopbackQueue(cpu, { cpus: [0] })
  const packet = mbufs.copyFrom(Uint8Array.of(1))
  mbufs.append(packet, mbufs.reference(4096, 100))
  const taken: number[] = []
  for (let m = mbufs.allocate(); m !== 0; m = mbufs.allocate()) taken.push(m)
  assert.equal(queue.transmit(packet), false)
  assert.equal(queue.pending(), false)
  assert.equal(total(machine.memory, DeviceCounters, 'transmitNoMbuf'), 1)
  for (const m of taken) mbufs.free(m)
  assertAllFree(machine)
})

test('beyond its limit and its MTU packets are dropped and counted', async () => {
  const machine = simulate({ cpus: 1, seed: 1 })
  const cpu = machine.cpus[0]!
  const queue = new LoopbackQueue(cpu, { cpus: [0], limit: 2, mtu: 100 })
  assert.equal(queue.transmit(Mbufs.of(cpu).copyFrom(new Uint8Array(101))), false)
  assert.deepEqual([send(cpu, queue, 1), send(cpu, queue, 2), send(cpu, queue, 3)], [true, true, false])
  assert.equal(total(machine.memory, DeviceCounters, 'transmitTooLong'), 1)
  assert.equal(total(machine.memory, DeviceCounters, 'transmitFull'), 1)
  attachQueue(cpu, queue, (packet) => Mbufs.of(cpu).free(packet), 1)
  assert.equal(machine.run(), 'idle')
  assert.equal(total(machine.memory, DeviceCounters, 'received'), 2)
  send(cpu, queue, 4)
  await machine.stop()
  assertAllFree(machine)
})

test('a CPU without a queue is told so', () => {
  const machine = simulate({ cpus: 1, seed: 1 })
  assert.throws(() => new LoopbackQueue(machine.cpus[0]!, { cpus: [1] }), { code: 'EINVAL', message: /CPU 0/ })
})
