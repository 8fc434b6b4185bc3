import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { KernelError } from '../base/errno.ts'
import { Random } from '../base/random.ts'
import { ByHand, simulated, start, sum, sumOf } from '../machine/testing/sim.ts'
import { ZONE_BYTES } from './layout.ts'
import { SLAB_SIZES } from './slab.ts'

/** Everything is free again: no size of any CPU has a live object, and what was allocated was freed. */
function assertEmpty(machine: Pick<ByHand, 'cpus' | 'memory'>): void {
  for (const cpu of machine.cpus) {
    cpu.slab.flush()
    cpu.ipi.flush()
  }
  for (const cpu of machine.cpus) {
    cpu.slab.collect()
    assert.equal(cpu.slab.live, 0)
    for (const { objectBytes, live } of cpu.slab.read()) assert.equal(live, 0, `objects of ${objectBytes} bytes`)
  }
  assert.equal(sumOf(machine, 'slab', 'allocated'), sumOf(machine, 'slab', 'freed'))
  assert.equal(sumOf(machine, 'slab', 'freedRemote'), sumOf(machine, 'slab', 'freedElsewhere'))
}

interface Live {
  readonly address: number
  readonly bytes: number
  readonly tag: number
}

describe('slab', () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    const recycling = seed % 2 === 0
    const title = `live objects never overlap, whoever frees them${recycling ? ', with zones recycled' : ''}, and all pools are full at the end`
    test(`${title} (seed ${seed})`, () => {
      const machine = new ByHand(3, { memoryBytes: 24 * 1024 * 1024 })
      const random = new Random(seed)
      const { u8 } = machine.memory
      const live: Live[] = []
      const free = (index: number) => {
        const { address, bytes, tag } = live[index]!
        // The whole object is still as its owner left it.
        for (let i = 0; i < bytes; i++) assert.equal(u8[address + i], tag)
        live[index] = live[live.length - 1]!
        live.pop()
        machine.cpus[random.below(3)]!.slab.free(address)
      }
      for (let op = 0; op < 4000; op++) {
        const cpu = machine.cpus[random.below(3)]!
        if (random.chance(live.length < 150 ? 0.6 : 0.4)) {
          const bytes = 1 + random.below(random.chance(0.05) ? 81920 : 700)
          const address = cpu.slab.allocate(bytes)
          assert.equal(address % 64, 0)
          const tag = 1 + random.below(0xf0)
          u8.fill(tag, address, address + bytes)
          live.push({ address, bytes, tag })
        } else if (live.length > 0) free(random.below(live.length))
        if (random.chance(0.1)) machine.turn(cpu.index)
        if (random.chance(0.02)) cpu.slab.collect()
        // Turns are taken by hand here, so that nobody is in the middle of anything: as within a cpusync.
        if (recycling && random.chance(0.05)) cpu.slab.returnZones(cpu.slab.detachFreeZones())
      }
      while (live.length > 0) free(live.length - 1)
      assertEmpty(machine)
      assert.ok(sumOf(machine, 'slab', 'freedRemote') > 500)
      if (!recycling) assert.equal(sumOf(machine, 'slab', 'zonesRecycled'), 0)
    })
  }

  test('allocations and frees are counted one by one, wherever an object comes from and goes to', () => {
    const machine = new ByHand(2, { memoryBytes: 24 * 1024 * 1024 })
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const random = new Random(11)
    const live: number[] = []
    let [allocated, freed] = [0, 0]
    // More than a magazine holds at a time, so that some go back to their zones.
    for (let round = 0; round < 6; round++) {
      for (; live.length < 5000; allocated++) live.push(a.slab.allocate(random.chance(0.9) ? 64 : 256))
      for (; live.length > 100; freed++) (random.chance(0.2) ? b : a).slab.free(live.pop()!)
      for (const { slab, ipi } of machine.cpus) {
        slab.flush()
        ipi.flush()
      }
      if (round % 2 === 1) a.slab.returnZones(a.slab.detachFreeZones())
      assert.deepEqual(
        ['allocated', 'freed'].map((counter) => sumOf(machine, 'slab', counter)),
        [allocated, freed],
      )
    }
    while (live.length > 0) a.slab.free(live.pop()!)
    assertEmpty(machine)
  })

  test('an allocation gets the smallest size that fits', () => {
    const machine = new ByHand(1)
    const { slab } = machine.cpus[0]!
    for (const size of SLAB_SIZES) {
      for (const bytes of [size - 63, size]) {
        const address = slab.allocate(bytes)
        const [reading] = slab.read().filter((reading) => reading.live > 0)
        assert.equal(reading?.objectBytes, size, `${bytes} bytes`)
        assert.ok((address & (ZONE_BYTES - 1)) + size <= ZONE_BYTES, 'an object lies in one zone')
        slab.free(address)
      }
    }
    assertEmpty(machine)
  })

  test('a size that no zone can hold is a bug', () => {
    const { slab } = new ByHand(1).cpus[0]!
    for (const bytes of [0, -1, 81921, Number.NaN]) assert.throws(() => slab.allocate(bytes), AssertionFailure)
  })

  test('a double free is found: here, elsewhere, and after the object has gone home', () => {
    const machine = new ByHand(2)
    const [home, away] = [machine.cpus[0]!.slab, machine.cpus[1]!.slab]
    const [a, b, c] = [home.allocate(64), home.allocate(64), home.allocate(64)]
    home.free(a)
    assert.throws(() => home.free(a), AssertionFailure)
    assert.throws(() => away.free(a), AssertionFailure)
    away.free(b)
    assert.throws(() => away.free(b), AssertionFailure)
    away.free(c)
    machine.settle()
    home.collect()
    assert.throws(() => home.free(b), AssertionFailure)
    assert.throws(() => home.free(c), AssertionFailure)
    assertEmpty(machine)
  })

  test('a machine whose memory is used up says so, counts it, and goes on when something is freed', () => {
    const machine = new ByHand(2, { memoryBytes: 4 * 1024 * 1024 })
    const [a, b] = [machine.cpus[0]!.slab, machine.cpus[1]!.slab]
    const all: number[] = []
    for (let address = a.tryAllocate(81920); address !== 0; address = a.tryAllocate(81920)) all.push(address)
    assert.equal(all.length, machine.memory.layout.zoneCount * 3)
    assert.throws(
      () => b.allocate(64),
      (error) => error instanceof KernelError && error.code === 'ENOMEM' && /memoryBytes/.test(error.message),
    )
    assert.equal(sumOf(machine, 'slab', 'exhausted'), 2)
    b.free(all.pop()!)
    machine.settle()
    assert.notEqual(a.tryAllocate(81920), 0, 'what another CPU freed is found when the own is used up')
  })

  test('an object that was written to while it was free is found', () => {
    const machine = new ByHand(1)
    const { slab } = machine.cpus[0]!
    // More than a magazine holds, so that the rest goes back to its zone.
    const all = Array.from({ length: 3000 }, () => slab.allocate(64))
    for (const address of all) slab.free(address)
    for (const address of all) machine.memory.i32[(address >> 2) + 1] = 12345
    assert.throws(() => {
      for (let i = 0; i < 3000; i++) slab.allocate(64)
    }, AssertionFailure)
  })

  test('free storm: 100,000 objects freed by another CPU cost an IPI each time their owner has emptied its list, no more', () => {
    const machine = new ByHand(2)
    const [home, away] = [machine.cpus[0]!.slab, machine.cpus[1]!.slab]
    const all = Array.from({ length: 100_000 }, () => home.allocate(64))
    for (const address of all.slice(0, 50_000)) away.free(address)
    machine.turn(1)
    assert.equal(sum(machine, 'ipisPassive'), 1, 'one, while the owner does not look')
    let turns = 0
    for (let i = 50_000; i < 100_000; i++) {
      away.free(all[i]!)
      if (i % 1000 !== 0) continue
      machine.turn(1)
      machine.turn(0)
      turns++
    }
    machine.settle()
    assert.ok(sum(machine, 'ipisPassive') <= 2 * turns + 2, `${sum(machine, 'ipisPassive')} IPIs in ${turns} turns`)
    assert.deepEqual(machine.rung, [], 'nobody was woken for it')
    assertEmpty(machine)
  })

  test('zones that are given back while all CPUs are held serve another CPU and another size', () => {
    const machine = simulated(3, 11, { memoryBytes: 8 * 1024 * 1024 })
    const { zoneCount } = machine.memory.layout
    const finished: number[] = []
    // One after the other each CPU takes nearly all of the memory, for objects of a size of its own.
    for (const cpu of machine.cpus) {
      start(machine, cpu.index, function* (thread) {
        yield* thread.until(() => finished.length === cpu.index)
        const size = [64, 512, 16384][cpu.index]!
        const capacity = Math.floor((ZONE_BYTES - 64) / size)
        const all: number[] = []
        for (let i = 0; i < (zoneCount - 4) * capacity; i++) all.push(cpu.slab.allocate(size))
        assert.equal(new Set(all).size, all.length)
        for (const address of all) cpu.slab.free(address)
        yield* thread.cpu.cpusync.hold(thread)
        cpu.slab.returnZones(cpu.slab.detachFreeZones())
        yield* thread.cpu.cpusync.release()
        finished.push(cpu.index)
      })
    }
    machine.run()
    assert.deepEqual(finished, [0, 1, 2])
    assert.ok(sumOf(machine, 'slab', 'zonesRecycled') > zoneCount)
    assertEmpty(machine)
    void machine.stop()
  })
})
