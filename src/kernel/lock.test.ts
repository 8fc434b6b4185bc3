// The profile of locks, by class and call site: in one thread, and on two real ones, which load this file too.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isMainThread } from 'node:worker_threads'
import { AssertionFailure } from '../base/assert.ts'
import { boot } from '../machine/boot.ts'
import { ByHand } from '../machine/testing/sim.ts'
import type { Cpu } from './cpu.ts'
import { type LockReading, type LockSiteReading, lockClass, lockSite, readLockSites, readLocks } from './lock.ts'
import type { Memory } from './memory.ts'
import { Mutex } from './mutex.ts'
import { Rwlock } from './rwlock.ts'
import type { Thread } from './thread.ts'

const CLASS = lockClass('test.lock')
const OTHER = lockClass('test.lock other')
const INPUT = lockSite('test input')
const OUTPUT = lockSite('test output')

/** What the two real threads do, and share. */
const ENTERS = 40_000
const WORDS = { started: 0, finished: 1, mutex: 16, rwlock: 32, counter: 48, written: 49, torn: 50 } as const
const word = (memory: Memory, index: number) => (memory.layout.region('locks').address >> 2) + index

/** Counts under a mutex, and under the write side of a reader-writer lock, with plain additions. */
export default function* contend(thread: Thread): Generator<void, void, void> {
  const { cpu } = thread
  const { memory, random } = cpu
  const words = memory.i32
  const mutex = new Mutex(word(memory, WORDS.mutex) << 2, CLASS)
  const rwlock = new Rwlock(word(memory, WORDS.rwlock) << 2, OTHER)
  const [counter, written] = [word(memory, WORDS.counter), word(memory, WORDS.written)]
  // Both begin together, or one would be done before the other has started.
  Atomics.add(words, word(memory, WORDS.started), 1)
  yield* thread.until(() => Atomics.load(words, word(memory, WORDS.started)) === cpu.cpus)
  for (let i = 0; i < ENTERS; i++) {
    mutex.enter(cpu, i % 2 === 0 ? INPUT : OUTPUT)
    words[counter]!++
    mutex.leave(cpu)
    if (i % 4 === 0) {
      rwlock.enterWrite(cpu, OUTPUT)
      words[written]!++
      rwlock.leaveWrite(cpu)
    } else {
      rwlock.enterRead(cpu, INPUT)
      const before = words[written]!
      if (Atomics.load(words, written) !== before) Atomics.add(words, word(memory, WORDS.torn), 1)
      rwlock.leaveRead(cpu)
    }
    if (random.chance(0.01)) yield* thread.pause()
  }
  Atomics.add(words, word(memory, WORDS.finished), 1)
}

function lock(machine: ByHand, kind: number = CLASS): Mutex {
  const address = machine.cpus[0]!.slab.allocate(64) + 8
  machine.memory.i32[address >> 2] = 0
  return new Mutex(address, kind)
}

const sitesOf = (memory: Memory, name: string): [string, number][] =>
  readLockSites(memory)
    .filter((reading) => reading.name === name)
    .map(({ site, count }): [string, number] => [site, count])
    .sort()

const classOf = (memory: Memory, name: string): LockReading =>
  readLocks(memory).find((reading) => reading.name === name)!

function take(cpu: Cpu, mutex: Mutex, site: number, times: number): void {
  for (let i = 0; i < times; i++) {
    mutex.enter(cpu, site)
    mutex.leave(cpu)
  }
}

if (isMainThread) {
  describe('lock', () => {
    test('what is taken is counted for its class and its site, and a class is the sum of its sites', () => {
      const machine = new ByHand(2, { profileLocks: true })
      const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
      const mutex = lock(machine)
      take(a, mutex, INPUT, 3)
      take(a, mutex, OUTPUT, 4)
      take(a, mutex, 0, 5)
      take(a, lock(machine, OTHER), INPUT, 6)
      // Another CPU comes to them in another order.
      take(b, lock(machine, OTHER), OUTPUT, 7)
      take(b, mutex, OUTPUT, 8)
      take(b, mutex, INPUT, 9)
      assert.deepEqual(sitesOf(machine.memory, 'test.lock'), [
        ['', 5],
        ['test input', 12],
        ['test output', 12],
      ])
      assert.deepEqual(sitesOf(machine.memory, 'test.lock other'), [
        ['test input', 6],
        ['test output', 7],
      ])
      assert.equal(classOf(machine.memory, 'test.lock').count, 29)
      assert.equal(classOf(machine.memory, 'test.lock other').count, 13)
    })

    test('the wait is the waiter’s and the hold is the holder’s, each at the site where it took the lock', () => {
      const machine = new ByHand(2, { profileLocks: true })
      const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
      const mine = lock(machine)
      const theirs = new Mutex(mine.address, CLASS)
      mine.enter(a, INPUT)
      const since = machine.clock.now()
      machine.clock.advanceTo(since + 1000)
      let released = 0
      machine.alongside = () => {
        if (released !== 0) return
        machine.clock.advanceTo(machine.clock.now() + 500)
        mine.leave(a)
        released = machine.clock.now()
      }
      machine.as(1, () => theirs.enter(b, OUTPUT))
      theirs.leave(b)
      const line = (site: string): LockSiteReading =>
        readLockSites(machine.memory).find((reading) => reading.site === site && reading.name === 'test.lock')!
      const [input, output] = [line('test input'), line('test output')]
      assert.equal(input.totalUs, released - since)
      assert.equal(input.maxUs, input.totalUs)
      assert.deepEqual([input.count, input.countLock, input.countHold, input.waitTotalUs], [1, 0, 1, 0])
      assert.deepEqual([output.count, output.countLock, output.countHold], [1, 1, 0])
      assert.ok(output.waitTotalUs >= 500 && output.waitMaxUs === output.waitTotalUs)
    })

    test('the clock is read only where times are measured', () => {
      for (const profileLocks of [false, true]) {
        const machine = new ByHand(1, { profileLocks })
        const cpu = machine.cpus[0]!
        const mutex = lock(machine)
        const rwlock = new Rwlock(lock(machine).address, CLASS)
        let reads = 0
        machine.clock.now = () => ++reads
        take(cpu, mutex, INPUT, 2)
        rwlock.enterRead(cpu, INPUT)
        rwlock.leaveRead(cpu)
        rwlock.enterWrite(cpu)
        rwlock.leaveWrite(cpu)
        assert.equal(reads, profileLocks ? 8 : 0)
        assert.equal(classOf(machine.memory, 'test.lock').totalUs, profileLocks ? 4 : 0)
      }
    })

    test('a contested lock is counted as such also where no times are measured', () => {
      const machine = new ByHand(2)
      const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
      const mine = lock(machine)
      mine.enter(a, INPUT)
      machine.alongside = () => {
        if (mine.holder(a) === 0) mine.leave(a)
      }
      const theirs = new Mutex(mine.address, CLASS)
      machine.as(1, () => theirs.enter(b, INPUT))
      const reading = classOf(machine.memory, 'test.lock')
      assert.deepEqual([reading.count, reading.countLock, reading.countHold, reading.waitTotalUs], [2, 1, 1, 0])
    })

    test('sites beyond what a machine has places for are counted for their class alone: none is lost', () => {
      const machine = new ByHand(1)
      const cpu = machine.cpus[0]!
      const mutex = lock(machine)
      for (let i = 0; i < 100; i++) take(cpu, mutex, lockSite(`test site ${i}`), 2)
      // Classes as such have room all the same.
      take(cpu, lock(machine, OTHER), 0, 3)
      const sites = sitesOf(machine.memory, 'test.lock')
      assert.equal(sites.length, 49)
      assert.deepEqual(sites[0], ['', 104])
      assert.equal(classOf(machine.memory, 'test.lock').count, 200)
      assert.equal(classOf(machine.memory, 'test.lock other').count, 3)
    })

    test('a class or site that is declared again is the same; a name that does not fit is refused', () => {
      assert.equal(lockClass('test.lock'), CLASS)
      assert.equal(lockSite('test input'), INPUT)
      assert.notEqual(INPUT, OUTPUT)
      for (const name of ['', 'with @ in it', 'a name that is longer than the directory has room for']) {
        assert.throws(() => lockClass(name), AssertionFailure)
        assert.throws(() => lockSite(name), AssertionFailure)
      }
    })

    for (const profileLocks of [false, true]) {
      test(`two real threads contend: nothing is lost, and each taking is counted once (times ${profileLocks ? 'measured' : 'not measured'})`, {
        timeout: 60_000,
      }, async () => {
        const machine = await boot({
          cpus: 2,
          seed: 1,
          program: new URL(import.meta.url),
          regions: { locks: 256 },
          memoryBytes: 16 * 1024 * 1024,
          signals: false,
          profileLocks,
        })
        let failure: unknown
        machine.done.catch((error) => {
          failure = error
        })
        const { memory } = machine
        const read = (index: number) => Atomics.load(memory.i32, word(memory, index))
        while (read(WORDS.finished) < 2) {
          if (failure !== undefined) throw failure
          await new Promise((resolve) => setTimeout(resolve, 1))
        }
        await machine.stop()
        assert.equal(read(WORDS.counter), 2 * ENTERS, 'no addition was lost')
        assert.equal(read(WORDS.written), ENTERS / 2)
        assert.equal(read(WORDS.torn), 0, 'nobody writes while one reads')
        assert.deepEqual([read(WORDS.mutex), read(WORDS.rwlock)], [0, 0])
        assert.deepEqual(sitesOf(memory, 'test.lock'), [
          ['test input', ENTERS],
          ['test output', ENTERS],
        ])
        assert.deepEqual(sitesOf(memory, 'test.lock other'), [
          ['test input', 1.5 * ENTERS],
          ['test output', 0.5 * ENTERS],
        ])
        for (const name of ['test.lock', 'test.lock other']) {
          const { count, countLock, countHold, totalUs, maxUs, waitTotalUs, waitMaxUs } = classOf(memory, name)
          assert.equal(count, 2 * ENTERS)
          assert.ok(countLock <= count && countHold <= count)
          assert.ok(maxUs <= totalUs && waitMaxUs <= waitTotalUs)
          assert.equal(totalUs > 0, profileLocks)
        }
      })
    }
  })
}
