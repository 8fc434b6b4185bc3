import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { Random } from '../base/random.ts'
import { ByHand } from '../machine/testing/sim.ts'
import { lockClass, readLocks } from './lock.ts'
import { Rwlock } from './rwlock.ts'

const CLASS = lockClass('test.rwlock')

function bench(cpus: number) {
  const machine = new ByHand(cpus, { profileLocks: true })
  const address = machine.cpus[0]!.slab.allocate(64) + 8
  machine.memory.i32[address >> 2] = 0
  return { machine, lock: new Rwlock(address, CLASS), word: address >> 2 }
}

describe('rwlock', () => {
  test('readers are inside together, a writer is alone', () => {
    const { machine, lock, word } = bench(3)
    const [a, b, c] = machine.cpus
    lock.enterRead(a!)
    lock.enterRead(b!)
    assert.equal(lock.readers(c!), 2)
    lock.leaveRead(a!)
    lock.leaveRead(b!)
    lock.enterWrite(c!)
    assert.equal(lock.readers(a!), -1)
    lock.leaveWrite(c!)
    assert.equal(lock.readers(a!), 0)
    assert.equal(machine.memory.i32[word], 0)
  })

  test('a writer that waits holds off new readers, and gets in when the last of the old ones has left', () => {
    const { machine, lock, word } = bench(3)
    const [a, b, c] = machine.cpus
    const order: string[] = []
    lock.enterRead(a!)
    let reader = false
    machine.alongside = (cpu) => {
      if (cpu === c && !reader) {
        // A new reader, while the writer waits: its turn comes after the writer's.
        reader = true
        lock.enterRead(c!)
        order.push('reader')
        lock.leaveRead(c!)
      } else if (cpu === a && reader && lock.readers(a) === 1 && order.length === 0 && !left) {
        left = true
        order.push('first reader left')
        lock.leaveRead(a)
        // The writer is below us on the stack: it enters as soon as this returns; until then the new reader waits.
      }
    }
    let left = false
    machine.cpus[0]!.addPollable({
      poll: () => {
        if (left && lock.readers(a!) === -1) lock.leaveWrite(b!)
        return 0
      },
      flush: () => {},
      pending: () => false,
      close: () => {},
    })
    // The reader is on the stack above the writer, so that it can only see that it may not enter.
    assert.throws(() => machine.as(1, () => lock.enterWrite(b!)), /cpu 2 waits for what does not come/)
    assert.deepEqual(order, ['first reader left'], 'the new reader did not get in before the writer')
    assert.equal((machine.memory.i32[word]! >> 16) & 0xff, 1, 'the writer still waits for its turn')
  })

  for (const seed of [1, 2, 3]) {
    test(`a random sequence of readers and writers agrees with a count (seed ${seed})`, () => {
      const { machine, lock, word } = bench(6)
      const random = new Random(seed)
      const readers = new Set<number>()
      let writer = -1
      for (let op = 0; op < 2000; op++) {
        const index = random.below(6)
        const cpu = machine.cpus[index]!
        if (writer === index) {
          lock.leaveWrite(cpu)
          writer = -1
        } else if (readers.has(index)) {
          lock.leaveRead(cpu)
          readers.delete(index)
        } else if (writer < 0 && readers.size === 0 && random.chance(0.5)) {
          lock.enterWrite(cpu)
          writer = index
        } else if (writer < 0) {
          lock.enterRead(cpu)
          readers.add(index)
        }
        assert.equal(lock.readers(cpu), writer >= 0 ? -1 : readers.size)
      }
      for (const index of readers) lock.leaveRead(machine.cpus[index]!)
      if (writer >= 0) lock.leaveWrite(machine.cpus[writer]!)
      assert.equal(machine.memory.i32[word], 0)
      assert.ok(readLocks(machine.memory).some(({ name, count }) => name === 'test.rwlock' && count > 500))
    })
  }

  test('a CPU that waits gets in when the writer leaves, reader or writer', () => {
    for (const writing of [false, true]) {
      const { machine, lock, word } = bench(2)
      const [a, b] = machine.cpus
      lock.enterWrite(a!)
      machine.alongside = () => {
        if (lock.readers(a!) === -1) lock.leaveWrite(a!)
      }
      machine.as(1, () => (writing ? lock.enterWrite(b!) : lock.enterRead(b!)))
      assert.equal(lock.readers(a!), writing ? -1 : 1)
      if (writing) lock.leaveWrite(b!)
      else lock.leaveRead(b!)
      assert.equal(machine.memory.i32[word], 0)
      const profile = readLocks(machine.memory).find(({ name }) => name === 'test.rwlock')!
      assert.deepEqual([profile.count, profile.countLock], [2, 1])
    }
  })

  test('to leave what was not entered is a bug', () => {
    for (const leave of ['leaveRead', 'leaveWrite'] as const) {
      const { machine, lock } = bench(1)
      assert.throws(() => lock[leave](machine.cpus[0]!), AssertionFailure)
    }
    assert.throws(() => new Rwlock(2, CLASS), AssertionFailure)
  })
})
