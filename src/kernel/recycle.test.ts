import assert from 'node:assert/strict'
import { test } from 'node:test'
import { simulate } from '../machine/sim.ts'
import { Layout, ZONE_BYTES } from './layout.ts'

const MEMORY_BYTES = 16 * 1024 * 1024

/** A machine with eight zones: the rest of its memory is taken by a region. */
function small(cpus: number) {
  const { zones } = new Layout({ cpus, memoryBytes: MEMORY_BYTES })
  const filler = MEMORY_BYTES - zones - 8 * ZONE_BYTES
  return simulate({ cpus, seed: 3, memoryBytes: MEMORY_BYTES, regions: { filler } })
}

test('zones that one CPU has used up and freed are there for another size on another CPU', async () => {
  const machine = small(3)
  const [first, second] = machine.cpus
  const taken: number[] = []
  for (let m = first!.slab.tryAllocate(64); m !== 0; m = first!.slab.tryAllocate(64)) taken.push(m)
  assert.ok(taken.length > 7 * 4000, 'all zones were taken')
  for (const m of taken) first!.slab.free(m)
  assert.equal(second!.slab.tryAllocate(2048), 0)
  machine.run()
  const m = second!.slab.tryAllocate(2048)
  assert.notEqual(m, 0)
  second!.slab.free(m)
  await machine.stop()
})

test('a shortage with nothing to recycle ends, and leaves the machine as it was', async () => {
  const machine = small(2)
  const [first, second] = machine.cpus
  const taken: number[] = []
  for (let m = first!.slab.tryAllocate(64); m !== 0; m = first!.slab.tryAllocate(64)) taken.push(m)
  for (let i = 0; i < 100; i++) assert.equal(second!.slab.tryAllocate(64), 0)
  assert.equal(machine.run(), 'idle')
  assert.equal(second!.slab.tryAllocate(64), 0)
  for (const m of taken) first!.slab.free(m)
  machine.run()
  assert.equal(first!.slab.live, 0)
  await machine.stop()
})

test('many CPUs in need at once are all served', async () => {
  const machine = small(4)
  const [first, ...others] = machine.cpus
  const taken: number[] = []
  for (let m = first!.slab.tryAllocate(128); m !== 0; m = first!.slab.tryAllocate(128)) taken.push(m)
  for (const m of taken) first!.slab.free(m)
  for (const cpu of others) assert.equal(cpu.slab.tryAllocate(1024), 0)
  machine.run()
  for (const cpu of others) {
    const m = cpu.slab.tryAllocate(1024)
    assert.notEqual(m, 0)
    cpu.slab.free(m)
  }
  await machine.stop()
})
