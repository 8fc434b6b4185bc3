import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { simulated, start, sum } from '../machine/testing/sim.ts'

describe('signal', () => {
  test('signals are pending until the thread takes them, lowest number first, and each is pending once', () => {
    const machine = simulated(2, 1)
    const taken: number[] = []
    const target = start(machine, 0, function* (thread) {
      yield* thread.delay(1000)
      thread.mask = 1 << 5
      for (let number = thread.takeSignal(); number >= 0; number = thread.takeSignal()) taken.push(number)
      assert.notEqual(thread.pending, 0)
      thread.mask = 0
      taken.push(thread.takeSignal(), thread.takeSignal())
    })
    start(machine, 1, function* (thread) {
      for (const number of [31, 7, 5, 0, 7]) thread.cpu.signals.send(target.id, number)
      yield* thread.pause()
    })
    machine.run()
    assert.deepEqual(taken, [0, 7, 31, 5, -1])
    assert.equal(sum(machine, 'signals'), 5)
    void machine.stop()
  })

  test('a number that is no signal is a bug', () => {
    const machine = simulated(1, 1)
    const { signals } = machine.cpus[0]!
    for (const number of [-1, 32, 1.5]) assert.throws(() => signals.send(0, number), AssertionFailure)
    void machine.stop()
  })

  test('a thread that has ended is not signalled, and the next of its number starts without signals', () => {
    const machine = simulated(2, 1)
    const first = start(machine, 0, function* () {})
    start(machine, 1, function* (thread) {
      yield* thread.until(() => thread.cpu.threads.home(first.id) < 0)
      thread.cpu.signals.send(first.id, 1)
      yield* thread.delay(100)
      const next = machine.cpus[0]!.threads.start('next', function* () {})
      assert.deepEqual([next.id, next.pending], [first.id, 0])
    })
    machine.run()
    assert.equal(sum(machine, 'signals'), 0)
    void machine.stop()
  })
})
