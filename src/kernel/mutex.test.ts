import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import type { SimMachine } from '../machine/sim.ts'
import { ByHand, simulated, start } from '../machine/testing/sim.ts'
import { lockClass, readLocks } from './lock.ts'
import { Mutex } from './mutex.ts'

const CLASS = lockClass('test.mutex')

function word(machine: Pick<SimMachine, 'cpus' | 'memory'>): number {
  const address = machine.cpus[0]!.slab.allocate(64) + 8
  machine.memory.i32.fill(0, address >> 2, (address >> 2) + 4)
  return address
}

describe('mutex', () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    test(`one thread at a time is inside, although it waits there, and everybody gets in (seed ${seed})`, () => {
      const machine = simulated(4, seed, { stall: 0.05, profileLocks: true })
      const address = word(machine)
      let inside = 0
      let entered = 0
      for (let i = 0; i < 8; i++) {
        start(machine, i % 4, function* (thread) {
          const mutex = new Mutex(address, CLASS)
          for (let round = 0; round < 25; round++) {
            yield* mutex.lock(thread)
            assert.equal(++inside, 1)
            entered++
            if (thread.cpu.random.chance(0.5)) yield* thread.delay(thread.cpu.random.below(300))
            else yield* thread.pause()
            inside--
            mutex.leave(thread.cpu)
            if (thread.cpu.random.chance(0.5)) yield* thread.pause()
          }
        })
      }
      assert.equal(machine.run(), 'idle')
      assert.equal(entered, 200)
      assert.equal(machine.memory.i32[address >> 2], 0)
      const profile = readLocks(machine.memory).find(({ name }) => name === 'test.mutex')!
      assert.equal(profile.count, 200)
      assert.ok(profile.countLock > 0 && profile.countLock <= 200 && profile.waitTotalUs > 0 && profile.totalUs > 0)
      assert.ok(profile.maxUs <= profile.totalUs && profile.waitMaxUs <= profile.waitTotalUs)
      void machine.stop()
    })
  }

  test('a CPU that finds it held spins, serves its IPIs meanwhile, and gets it', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const [mine, other] = [new Mutex(word(machine), CLASS), new Mutex(0, CLASS)]
    const theirs = new Mutex(mine.address, CLASS)
    assert.equal(other.address, 0)
    assert.equal(mine.tryEnter(a), true)
    assert.equal(theirs.tryEnter(b), false)
    assert.equal(theirs.holder(b), 0)
    machine.alongside = (cpu) => {
      if (mine.holder(cpu) === 0) mine.leave(a)
    }
    machine.as(1, () => theirs.enter(b))
    assert.equal(theirs.holder(a), 1)
    theirs.leave(b)
    assert.equal(theirs.holder(a), -1)
  })

  test('to enter twice, or to leave what another CPU entered, is a bug', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const mutex = new Mutex(word(machine), CLASS)
    mutex.enter(a)
    assert.throws(() => mutex.enter(a), AssertionFailure)
    assert.throws(() => mutex.leave(b), AssertionFailure)
    assert.throws(() => new Mutex(6, CLASS), AssertionFailure)
  })

  test('in the simulation a CPU that spins for what no IPI can bring is a failure, not an endless loop', () => {
    const machine = simulated(2, 1)
    const address = word(machine)
    start(machine, 0, function* (thread) {
      yield* new Mutex(address, CLASS).lock(thread)
      yield* thread.delay(1e6)
    })
    start(machine, 1, function* (thread) {
      yield* thread.delay(100)
      new Mutex(address, CLASS).enter(thread.cpu)
    })
    assert.throws(() => machine.run(), /seed 1.* cpu 1 waits, busily/)
  })
})
