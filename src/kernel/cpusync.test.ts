import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { ByHand, simulated, start, sum } from '../machine/testing/sim.ts'
import { define } from './function.ts'
import { Plain } from './message.ts'

const RAN = Symbol('ran')
const RUN = define('test.cpusync.run', (cpu, a, b) => {
  cpu.slot<number[][]>(RAN, () => []).push([a, b])
})
const COUNTED = Symbol('counted')
const COUNT = define('test.cpusync.count', (cpu, _a, _b, _c, source) => {
  const counted = cpu.slot<number[]>(COUNTED, () => new Array(cpu.cpus).fill(0))
  counted[source]!++
})

describe('cpusync', () => {
  test('a CPU that was held goes on in a turn of its own, whose time is not before that of what others did meanwhile', () => {
    const machine = new ByHand(2)
    const { clock, cpus } = machine
    const held = cpus[1]!
    let isReleasing = false
    let releasedAt = 0
    const times: number[] = []
    start(machine, 1, function* (thread) {
      for (;;) {
        times.push(held.now)
        yield* thread.pause()
      }
    })
    start(machine, 0, function* (thread) {
      yield* thread.cpu.cpusync.hold(thread)
      yield* thread.until(() => isReleasing)
      releasedAt = thread.cpu.now
      yield* thread.cpu.cpusync.release()
    })
    for (let turn = 0; turn < 4; turn++) for (const cpu of [0, 1]) machine.turn(cpu)
    assert.equal(held.cpusync.held, true)
    times.length = 0
    // Its turn has just begun when the other lets it go.
    const now = clock.now.bind(clock)
    clock.now = () => {
      clock.now = now
      const began = now()
      isReleasing = true
      clock.advanceTo(began + 500)
      machine.turn(0)
      return began
    }
    held.turn()
    for (let turn = 0; turn < 3; turn++) for (const cpu of [1, 0]) machine.turn(cpu)
    assert(releasedAt > 500 && times.length > 0)
    assert(Math.min(...times) >= releasedAt, `let go at ${releasedAt}, works at ${times}`)
  })

  for (const cpus of [1, 2, 5]) {
    for (const seed of [1, 2, 3, 4, 5]) {
      test(`nobody else does anything while all are held, and the function runs once on each of ${cpus} CPUs (seed ${seed})`, () => {
        const machine = simulated(cpus, seed, { stall: 0.05 })
        const slices = new Array<number>(cpus).fill(0)
        let over = false
        for (const cpu of machine.cpus) {
          const port = cpu.ports.create({ dispatch: 'deferred', handler: () => slices[cpu.index]++ & 0 })
          start(machine, cpu.index, function* (thread) {
            while (!over) {
              slices[cpu.index]!++
              cpu.ports.send(port.id, cpu.ports.allocate(Plain))
              yield* thread.pause()
            }
          })
        }
        start(machine, 0, function* (thread) {
          for (let round = 0; round < 10; round++) {
            yield* thread.delay(thread.cpu.random.below(200))
            yield* thread.cpu.cpusync.hold(thread)
            const before = [...slices]
            yield* thread.delay(300)
            for (let i = 1; i < cpus; i++) assert.equal(slices[i], before[i], `cpu ${i} stands still`)
            yield* thread.cpu.cpusync.release(RUN, round, round * 2)
          }
          over = true
        })
        machine.run()
        const expected = Array.from({ length: 10 }, (_, round) => [round, round * 2])
        for (const cpu of machine.cpus)
          assert.deepEqual(
            cpu.slot(RAN, () => []),
            expected,
          )
        assert.equal(sum(machine, 'cpusyncs'), 10)
        void machine.stop()
      })
    }
  }

  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    test(`cpusync deadlock: all CPUs start one at the same time, while rings are full, and all get through (seed ${seed})`, () => {
      const machine = simulated(4, seed, { ringEntries: 16, stall: 0.05 })
      let finished = 0
      for (const cpu of machine.cpus) {
        start(machine, cpu.index, function* (thread) {
          for (let round = 0; round < 5; round++) {
            for (let i = 0; i < 50; i++) cpu.ipi.send(cpu.random.below(4), COUNT)
            yield* cpu.cpusync.run(thread, RUN, cpu.index, round)
            for (let i = 0; i < 50; i++) cpu.ipi.send((cpu.index + 1) % 4, COUNT)
          }
          finished++
        })
      }
      assert.equal(machine.run({ maxSteps: 500_000 }), 'idle')
      assert.equal(finished, 4)
      const first = machine.cpus[0]!.slot<number[][]>(RAN, () => [])
      assert.equal(first.length, 20)
      for (const cpu of machine.cpus)
        assert.deepEqual(
          cpu.slot(RAN, () => []),
          first,
          'in the same order everywhere',
        )
      assert.ok(sum(machine, 'ipiRingFull') > 0)
      void machine.stop()
    })
  }

  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    test(`barrier overtaking data: what was sent to the holder before the hold has all arrived (seed ${seed})`, () => {
      const machine = simulated(4, seed, { ringEntries: 16, stall: 0.05 })
      const sent = new Array<number>(4).fill(0)
      for (const cpu of machine.cpus) {
        if (cpu.index === 2) continue
        start(machine, cpu.index, function* (thread) {
          for (let i = 0; i < 100; i++) {
            for (let k = cpu.random.below(30); k > 0; k--) {
              if (cpu.random.chance(0.5)) cpu.ipi.send(2, COUNT)
              else cpu.ipi.sendPassive(2, COUNT)
              sent[cpu.index]!++
            }
            yield* thread.pause()
          }
        })
      }
      start(machine, 2, function* (thread) {
        for (let round = 0; round < 10; round++) {
          yield* thread.cpu.cpusync.hold(thread)
          const counted = thread.cpu.slot<number[]>(COUNTED, () => [0, 0, 0, 0])
          assert.deepEqual(counted, sent)
          yield* thread.cpu.cpusync.release()
          yield* thread.pause()
        }
      })
      machine.run()
      void machine.stop()
    })
  }

  test('two threads of one CPU hold one after the other', () => {
    const machine = simulated(2, 1)
    let holding = 0
    let held = 0
    for (let i = 0; i < 2; i++) {
      start(machine, 0, function* (thread) {
        yield* thread.cpu.cpusync.hold(thread)
        assert.equal(++holding, 1)
        yield* thread.delay(100)
        holding--
        held++
        yield* thread.cpu.cpusync.release()
      })
    }
    machine.run()
    assert.equal(held, 2)
    void machine.stop()
  })

  test('a release by a CPU that does not hold the others is a bug', () => {
    const machine = simulated(2, 1)
    assert.throws(() => machine.cpus[0]!.cpusync.release().next(), AssertionFailure)
    void machine.stop()
  })
})
