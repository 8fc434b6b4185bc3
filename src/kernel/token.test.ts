import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { CpuFailure } from '../machine/failure.ts'
import { simulated, start } from '../machine/testing/sim.ts'
import { lockClass, lockSite, readLockSites } from './lock.ts'
import { Token } from './token.ts'

const CLASS = lockClass('test.token')
const SITES = [lockSite('token left'), lockSite('token right')] as const

describe('token', () => {
  for (const seed of [1, 2, 3, 4, 5, 6]) {
    test(`threads that take two tokens in either order never deadlock, and run one at a time (seed ${seed})`, () => {
      const machine = simulated(3, seed, { stall: 0.05 })
      const base = machine.cpus[0]!.slab.allocate(64) + 8
      machine.memory.i32.fill(0, base >> 2, (base >> 2) + 2)
      let rounds = 0
      for (let i = 0; i < 6; i++) {
        start(
          machine,
          i % 3,
          function* (thread) {
            const tokens = [new Token(base, CLASS), new Token(base + 4, CLASS)]
            if (i % 2 === 1) tokens.reverse()
            for (let round = 0; round < 20; round++) {
              for (const token of tokens) yield* token.acquire(thread)
              for (let step = 0; step < 3; step++) {
                // Whoever runs holds both words, also after each wait.
                for (const token of tokens) assert.equal(machine.memory.i32[token.address >> 2], thread.cpu.index + 1)
                if (thread.cpu.random.chance(0.5)) yield* thread.pause()
                else yield* thread.delay(thread.cpu.random.below(200))
              }
              for (const token of tokens) token.release(thread)
              rounds++
            }
          },
          i % 4,
        )
      }
      assert.equal(machine.run(), 'idle')
      assert.equal(rounds, 120)
      assert.deepEqual([...machine.memory.i32.subarray(base >> 2, (base >> 2) + 2)], [0, 0])
      void machine.stop()
    })
  }

  test('is profiled by the place where it is taken, and what is taken again after a wait is counted once', () => {
    const machine = simulated(1, 1, { profileLocks: true })
    const address = machine.cpus[0]!.slab.allocate(64) + 8
    machine.memory.i32[address >> 2] = 0
    for (const [i, site] of SITES.entries()) {
      start(machine, 0, function* (thread) {
        const token = new Token(address, CLASS)
        for (let round = 0; round <= i; round++) {
          yield* token.acquire(thread, site)
          yield* thread.delay(1000)
          machine.clock.advanceTo(machine.clock.now() + 5)
          token.release(thread)
        }
      })
    }
    machine.run()
    const lines = readLockSites(machine.memory).filter(({ name }) => name === 'test.token')
    assert.deepEqual(
      // It is free while its thread is delayed: that is no time in which it was held.
      lines.map(({ site, count, maxUs, totalUs }) => ({ site, count, maxUs, totalUs })),
      [
        { site: 'token left', count: 1, maxUs: 5, totalUs: 5 },
        { site: 'token right', count: 2, maxUs: 5, totalUs: 10 },
      ],
    )
    void machine.stop()
  })

  test('a thread of high priority that waits for a token lets its holder, of low priority, run', () => {
    const machine = simulated(1, 1)
    const address = machine.cpus[0]!.slab.allocate(64) + 8
    machine.memory.i32[address >> 2] = 0
    const order: string[] = []
    const hold = start(
      machine,
      0,
      function* (thread) {
        const token = new Token(address, CLASS)
        yield* token.acquire(thread)
        // Not given up while another thread of this CPU is only started, but at the wait.
        high()
        order.push('low has it')
        token.release(thread)
      },
      3,
    )
    const high = () => {
      start(
        machine,
        0,
        function* (thread) {
          const token = new Token(address, CLASS)
          yield* token.acquire(thread)
          order.push('high has it')
          token.release(thread)
        },
        0,
      )
    }
    machine.run()
    assert.equal(hold.tokens.length, 0)
    assert.deepEqual(order, ['low has it', 'high has it'])
    void machine.stop()
  })

  test('to take a token twice, or to release one that is not held, is a bug', () => {
    for (const twice of [true, false]) {
      const machine = simulated(1, 1)
      start(machine, 0, function* (thread) {
        const token = new Token(machine.cpus[0]!.slab.allocate(64) + 8, CLASS)
        machine.memory.i32[token.address >> 2] = 0
        if (!twice) token.release(thread)
        yield* token.acquire(thread)
        yield* token.acquire(thread)
      })
      assert.throws(
        () => machine.run(),
        (error) => error instanceof CpuFailure && error.cause instanceof AssertionFailure,
      )
    }
  })
})
