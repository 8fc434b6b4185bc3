import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Errno } from '../base/errno.ts'
import { nudge, simulated, start, sum } from '../machine/testing/sim.ts'
import { channel } from './sleep.ts'

describe('sleep', () => {
  test('a wakeup wakes every sleeper on the channel, on all CPUs, and nobody else', () => {
    const machine = simulated(4, 1)
    const woken: number[] = []
    for (let i = 0; i < 8; i++) {
      start(machine, i % 4, function* (thread) {
        assert.equal(yield* thread.sleep(1000), 0)
        woken.push(i)
      })
    }
    start(machine, 2, function* (thread) {
      assert.equal(yield* thread.sleep(1001, { timeoutUs: 1e6 }), Errno.ETIMEDOUT)
    })
    start(machine, 0, function* (thread) {
      yield* thread.delay(1000)
      thread.cpu.sleepQueue.wakeup(1000)
    })
    machine.run()
    assert.deepEqual(woken.toSorted(), [0, 1, 2, 3, 4, 5, 6, 7])
    assert.equal(
      machine.cpus.reduce((n, cpu) => n + cpu.sleepQueue.size, 0),
      0,
    )
    assert.equal(sum(machine, 'wakeupIpis'), 3, 'one for each other CPU that has sleepers')
    void machine.stop()
  })

  test('a wakeup that nobody sleeps for costs no IPI', () => {
    const machine = simulated(4, 1)
    start(machine, 0, function* (thread) {
      thread.cpu.sleepQueue.wakeup(77)
      yield* thread.pause()
    })
    machine.run()
    assert.equal(sum(machine, 'wakeupIpis'), 0)
    void machine.stop()
  })

  for (const [cpus, sleepers] of [
    [2, [1]],
    [40, [36]],
    [70, [3, 33, 69]],
    [40, [0, 1, 39]],
  ] as const) {
    test(`a wakeup of one wakes exactly one, of sleepers on CPUs ${sleepers} of ${cpus}`, () => {
      const machine = simulated(cpus, 5, { memoryBytes: 160 * 1024 * 1024, ringEntries: 16 })
      const on = 4711
      const other = collidingWith(on)
      let woken = 0
      // Others sleep in the same bucket, on CPUs that are asked in vain.
      for (const cpu of [cpus - 1, 4, 0]) if (cpu < cpus) start(machine, cpu, (thread) => nobody(thread.sleep(other)))
      for (const cpu of sleepers) {
        start(machine, cpu, function* (thread) {
          yield* thread.sleep(on)
          woken++
        })
      }
      machine.run()
      for (let i = 1; i <= sleepers.length; i++) {
        start(machine, 1, function* (thread) {
          thread.cpu.sleepQueue.wakeup(on, true)
          yield* thread.pause()
        })
        nudge(machine, 1)
        machine.run()
        assert.equal(woken, i)
      }
      void machine.stop()
    })
  }

  test('a sleep ends with a signal or after its time, and says which', () => {
    const machine = simulated(2, 1)
    const results: number[] = []
    const sleeper = start(machine, 0, function* (thread) {
      results.push(yield* thread.sleep(5, { catchSignals: true }))
      assert.equal(thread.takeSignal(), 9)
      results.push(yield* thread.sleep(5, { timeoutUs: 300 }))
      results.push(yield* thread.sleep(5, { timeoutUs: 1e6, catchSignals: true }))
    })
    start(machine, 1, function* (thread) {
      yield* thread.delay(500)
      thread.cpu.signals.send(sleeper.id, 9)
      yield* thread.delay(5000)
      thread.cpu.sleepQueue.wakeup(5)
    })
    machine.run()
    assert.deepEqual(results, [Errno.EINTR, Errno.ETIMEDOUT, 0])
    assert.equal(machine.cpus[0]!.timers.armed, 0)
    void machine.stop()
  })

  for (const on of [0, -1, 0x80000000, 0xffffffff, channel('a name')]) {
    test(`any number is a channel: ${on}`, () => {
      const machine = simulated(2, 1)
      let woken = 0
      start(machine, 0, function* (thread) {
        yield* thread.sleep(on)
        assert.ok(thread.cpu.now >= 1000, 'it really slept')
        woken++
        thread.interlock(on)
        thread.cpu.sleepQueue.wakeup(on)
        yield* thread.sleep(on)
        woken++
      })
      start(machine, 1, function* (thread) {
        yield* thread.delay(1000)
        thread.cpu.sleepQueue.wakeup(on)
      })
      machine.run()
      assert.equal(woken, 2)
      void machine.stop()
    })
  }

  test('lost window update: a wakeup between the interlock and the sleep is not lost', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const machine = simulated(3, seed, { stall: 0.1 })
      const word = machine.cpus[0]!.slab.allocate(64) >> 2
      const words = machine.memory.i32
      words[word + 2] = 0
      words[word + 3] = 0
      const rounds = 30
      // A buffer of one: each side sleeps until the other has changed it.
      start(machine, 0, function* (thread) {
        for (let i = 1; i <= rounds; i++) {
          for (;;) {
            thread.interlock(word)
            // Anything may happen here: the interlock holds.
            if (thread.cpu.random.chance(0.5)) yield* thread.pause()
            if (words[word + 2]! >= i) break
            yield* thread.sleep(word)
          }
          thread.disinterlock()
          words[word + 3] = i
          thread.cpu.sleepQueue.wakeup(word + 1)
        }
      })
      start(machine, 1 + (seed % 2), function* (thread) {
        for (let i = 1; i <= rounds; i++) {
          words[word + 2] = i
          thread.cpu.sleepQueue.wakeup(word)
          for (;;) {
            thread.interlock(word + 1)
            if (words[word + 3]! >= i) break
            yield* thread.sleep(word + 1)
          }
          thread.disinterlock()
        }
      })
      assert.equal(machine.run(), 'idle')
      assert.deepEqual([words[word + 2], words[word + 3]], [rounds, rounds], `seed ${seed}`)
      assert.equal(
        machine.cpus.reduce((n, cpu) => n + cpu.sleepQueue.size, 0),
        0,
      )
      void machine.stop()
    }
  })
})

/** Another channel of the same bucket. */
function collidingWith(on: number): number {
  const bucket = (n: number) => (Math.imul(n, 0x9e3779b1) >>> 16) & 1023
  for (let n = on + 1; ; n++) if (bucket(n) === bucket(on)) return n
}

function* nobody(sleep: Generator<void, number, void>): Generator<void, void, void> {
  yield* sleep
  assert.fail('nobody wakes this one')
}
