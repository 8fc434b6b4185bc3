// Orders of locks that contradict each other are found when the second is met, though nobody is deadlocked; and told with the stacks of both.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { ByHand } from '../machine/testing/sim.ts'
import type { Cpu } from './cpu.ts'
import { lockClass, lockSite } from './lock.ts'
import { Mutex } from './mutex.ts'
import { Rwlock } from './rwlock.ts'

const RED = lockClass('witness red')
const GREEN = lockClass('witness green')
const BLUE = lockClass('witness blue')
const SITE = lockSite('witness site')

/** Locks of three classes, and one more of the first. */
function locks(machine: ByHand) {
  const block = machine.cpus[0]!.slab.allocate(64)
  machine.memory.u8.fill(0, block, block + 64)
  return {
    red: new Mutex(block + 8, RED),
    otherRed: new Mutex(block + 12, RED),
    green: new Mutex(block + 16, GREEN),
    blue: new Rwlock(block + 20, BLUE),
  }
}

type Lock = { enter(cpu: Cpu, site?: number): void; leave(cpu: Cpu): void }

const read = (lock: Rwlock): Lock => ({
  enter: (cpu, site) => lock.enterRead(cpu, site),
  leave: (cpu) => lock.leaveRead(cpu),
})

/** Takes all, in this order, and leaves them in the opposite one. */
function nest(cpu: Cpu, ...all: readonly Lock[]): void {
  for (const lock of all) lock.enter(cpu, SITE)
  for (const lock of all.toReversed()) lock.leave(cpu)
}

function checked(): ByHand {
  return new ByHand(2, { checkLocks: true })
}

describe('the order of locks', () => {
  test('that is kept everywhere is no failure', () => {
    const machine = checked()
    const { red, green, blue } = locks(machine)
    for (const cpu of machine.cpus) {
      nest(cpu, red, green, read(blue))
      nest(cpu, red, read(blue))
      nest(cpu, green, read(blue))
      nest(cpu, read(blue))
    }
  })

  test('that is turned round on another CPU is told with the stacks of both', () => {
    const machine = checked()
    const { red, green } = locks(machine)
    const redFirst = () => nest(machine.cpus[0]!, red, green)
    const greenFirst = () => nest(machine.cpus[1]!, green, red)
    redFirst()
    assert.throws(greenFirst, (error: Error) => {
      assert.ok(error instanceof AssertionFailure)
      const [now = '', before = ''] = error.message.split('before that, ')
      assert.match(
        now,
        /^a lock is taken against its order: "witness red" while "witness green" is held, against the order of before\n"witness green" was taken at "witness site":\n[\s\S]*greenFirst[\s\S]*then "witness red" at "witness site":\n[\s\S]*greenFirst/,
      )
      assert.match(
        before,
        /^witness red before witness green:\n"witness red" was taken[\s\S]*redFirst[\s\S]*then "witness green"[\s\S]*redFirst/,
      )
      assert.match(before, /witness\.test\.ts:\d+/, 'places are those of the sources')
      return true
    })
  })

  test('is found over a third class that stands between', () => {
    const machine = checked()
    const { red, green, blue } = locks(machine)
    nest(machine.cpus[0]!, red, green)
    nest(machine.cpus[1]!, green, read(blue))
    assert.throws(
      () => nest(machine.cpus[0]!, read(blue), red),
      /witness red before witness green:[\s\S]*witness green before witness blue:/,
    )
  })

  test('does not let two of one class be held', () => {
    const machine = checked()
    const { red, otherRed } = locks(machine)
    assert.throws(
      () => nest(machine.cpus[0]!, red, otherRed),
      /"witness red" while "witness red" is held, which is of the same class/,
    )
  })

  test('does not bind who only tries, and holds again for what comes after', () => {
    const machine = checked()
    const { red, green, blue } = locks(machine)
    const cpu = machine.cpus[0]!
    nest(cpu, red, green)
    green.enter(cpu)
    assert.equal(red.tryEnter(cpu), true)
    // What was got by trying is held as any other.
    blue.enterWrite(cpu)
    blue.leaveWrite(cpu)
    red.leave(cpu)
    green.leave(cpu)
    assert.throws(() => nest(cpu, read(blue), red), /against the order of before/)
  })

  test('is that of each thread: what one holds while it waits is nothing to another', () => {
    const machine = checked()
    const { red, green } = locks(machine)
    const cpu = machine.cpus[0]!
    let done = 0
    cpu.threads.start('first', function* (thread) {
      yield* red.lock(thread)
      yield* thread.pause()
      yield* thread.pause()
      red.leave(cpu)
      done++
    })
    cpu.threads.start('second', function* (thread) {
      yield* green.lock(thread)
      yield* thread.pause()
      green.leave(cpu)
      yield* red.lock(thread)
      yield* green.lock(thread)
      green.leave(cpu)
      red.leave(cpu)
      done++
    })
    machine.settle()
    assert.equal(done, 2)
  })
})
