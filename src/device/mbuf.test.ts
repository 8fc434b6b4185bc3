import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByHand, sumOf } from '../machine/testing/sim.ts'
import { Mbufs } from './mbuf.ts'

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
