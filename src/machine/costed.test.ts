import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { counterSet, K, total } from '../kernel/counters.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { lockClass, readLocks } from '../kernel/lock.ts'
import { Plain } from '../kernel/message.ts'
import { Mutex } from '../kernel/mutex.ts'
import { NULL_PORT } from '../kernel/port.ts'
import { Rwlock } from '../kernel/rwlock.ts'
import { Token } from '../kernel/token.ts'
import { type CostTable, FREE } from './cost.ts'
import { CostedMachine, simulateCosts } from './costed.ts'
import { CpuFailure } from './failure.ts'
import { ByHand } from './testing/sim.ts'

const TestCounters = counterSet('costed test', ['done'] as const)
const LOCK = lockClass('costed test')
const MEMORY = 16 * 1024 * 1024
/** Each piece of work is a µs. */
const WORK: CostTable = {
  ...FREE,
  counted: [{ set: 'costed test', counter: 'done', ns: 1000 }],
  turn: 10,
  idleTurn: 10,
}
const OUTER = 64

/** A thread on each CPU that does pieces of work for ever, each as `piece` says. */
function workers(cpus: number, costs: CostTable, piece: (cpu: Cpu, work: () => void, word: number) => void) {
  const machine = simulateCosts({
    cpus,
    seed: 1,
    memoryBytes: MEMORY * 2,
    regions: { words: 128 },
    costs,
    program: (cpu: Cpu) => {
      const count = cpu.counterPage.open(TestCounters)
      const word = cpu.memory.layout.region('words').address
      const work = () => {
        count[0]!++
      }
      cpu.threads.start('worker', function* (thread) {
        for (;;) {
          piece(cpu, work, word)
          yield* thread.pause()
        }
      })
    },
  })
  machine.run({ untilUs: 2000 })
  return { machine, done: total(machine.memory, TestCounters, 'done') }
}

const locked = () => {
  const mutexes = new Map<Cpu, Mutex>()
  return (cpu: Cpu, work: () => void, word: number) => {
    if (!mutexes.has(cpu)) mutexes.set(cpu, new Mutex(word, LOCK))
    mutexes.get(cpu)!.enter(cpu)
    work()
    mutexes.get(cpu)!.leave(cpu)
  }
}

describe('a machine that is simulated with costs', () => {
  test('takes as long for its work as the table says, on each CPU by itself', () => {
    const one = workers(1, WORK, (_cpu, work) => work())
    assert.ok(Math.abs(one.done - 2000 / 1.01) < 5, `${one.done}`)
    const four = workers(4, WORK, (_cpu, work) => work())
    assert.equal(four.done, 4 * one.done)
    assert.equal(four.machine.lockTimes.waitedUs, 0)
  })

  test('does no more on many CPUs than on one where all work is under one lock, and the profile says why', () => {
    const one = workers(1, WORK, locked())
    const four = workers(4, WORK, locked())
    // And what is under way at the end.
    assert.ok(four.done <= 2000 + 4 && four.done >= one.done, `${four.done} and ${one.done}`)
    const profile = readLocks(four.machine.memory).find(({ name }) => name === 'costed test')!
    assert.ok(profile.countLock > profile.count / 2)
    // Three of four CPUs wait at any time.
    assert.ok(Math.abs(profile.waitTotalUs / (4 * 2000) - 0.75) < 0.05, `${profile.waitTotalUs}`)
    assert.ok(Math.abs(profile.averageUs - 1) < 0.05)
    assert.equal(readLocks(one.machine.memory).find(({ name }) => name === 'costed test')!.countLock, 0)
  })

  test('moves the lines of a lock when another CPU had it last', () => {
    const costs = { ...WORK, lockTransfer: 1000 }
    const one = workers(1, costs, locked())
    const two = workers(2, costs, locked())
    assert.ok(one.done > 1900)
    // Each hold is of two µs then.
    assert.ok(two.done < 1100, `${two.done}`)
    assert.ok(two.machine.lockTimes.movedUs > 900)
  })

  test('knows locks that threads hold while they wait, and tokens that they give up for that', () => {
    const machine = simulateCosts({
      cpus: 3,
      seed: 1,
      memoryBytes: MEMORY * 2,
      regions: { words: 128 },
      costs: WORK,
      program: (cpu: Cpu) => {
        const count = cpu.counterPage.open(TestCounters)
        const word = cpu.memory.layout.region('words').address
        const mutex = new Mutex(word, LOCK)
        const token = new Token(word + OUTER, LOCK)
        cpu.threads.start('holder', function* (thread) {
          for (;;) {
            yield* mutex.lock(thread)
            count[0]!++
            yield* thread.pause()
            count[0]!++
            mutex.leave(cpu)
            yield* token.acquire(thread)
            count[0]!++
            yield* thread.pause()
            token.release(thread)
            // It is not a queue: others need a moment to come.
            count[0]!++
            yield* thread.pause()
            yield* thread.pause()
          }
        })
      },
    })
    machine.run({ untilUs: 1000 })
    const done = machine.cpus.map((cpu) => cpu.counterPage.open(TestCounters)[0]!)
    assert.ok(Math.min(...done) > 0, `${done}`)
    // Half of the pieces are done under the mutex.
    const all = done.reduce((sum, each) => sum + each, 0)
    assert.ok(all > 1100 && all <= 2 * 1000 + 9, `${done}`)
  })

  test('pays for a hold by its class and site', () => {
    const holds = { 'costed test@': 3000 }
    const { done } = workers(1, { ...WORK, holds }, locked())
    assert.ok(Math.abs(done - 2000 / 4.01) < 5, `${done}`)
  })

  test('lets readers in together, but each waits for the line that they all write', () => {
    const read = (cpu: Cpu, work: () => void, word: number) => {
      const lock = new Rwlock(word + OUTER, LOCK)
      lock.enterRead(cpu)
      work()
      lock.leaveRead(cpu)
    }
    const free = workers(4, WORK, read)
    assert.ok(free.done > 4 * 1900, `${free.done}`)
    assert.equal(free.machine.lockTimes.waitedUs, 0)
    // Who comes writes the word, 500 ns after another CPU did: two pieces a µs, whoever does them.
    const { done } = workers(8, { ...WORK, lineTransfer: 500 }, read)
    assert.ok(done <= 2 * 2000 + 8, `${done}`)
  })

  test('has writers wait for readers, and readers for writers', () => {
    const both = (cpu: Cpu, work: () => void, word: number) => {
      const lock = new Rwlock(word + OUTER, LOCK)
      if (cpu.index === 0) lock.enterWrite(cpu)
      else lock.enterRead(cpu)
      work()
      if (cpu.index === 0) lock.leaveWrite(cpu)
      else lock.leaveRead(cpu)
    }
    const { done, machine } = workers(2, WORK, both)
    assert.ok(done <= 2000 + 2, `${done}`)
    assert.ok(machine.lockTimes.waitedUs > 1500)
  })

  test('shows nobody a message before it was sent, and wakes who sleeps some time later', () => {
    const sent: number[] = []
    const heard: number[] = []
    const machine = simulateCosts({
      cpus: 2,
      seed: 1,
      memoryBytes: MEMORY,
      costs: { ...WORK, wakeup: 30_000, doorbell: 5000, patience: 20_000 },
      program: (cpu: Cpu) => {
        if (cpu.index === 1) {
          cpu.ports.create({
            name: 'ear',
            handler: () => {
              heard.push(cpu.clock.now())
              return 0
            },
          })
          return
        }
        const count = cpu.counterPage.open(TestCounters)
        cpu.threads.start('mouth', function* (thread) {
          yield* thread.until(() => cpu.ports.find('ear') !== undefined)
          for (const pieces of [1, 100, 5]) {
            count[0]! += pieces
            cpu.ports.send(cpu.ports.lookup('ear'), cpu.ports.allocate(Plain, NULL_PORT))
            sent.push(cpu.clock.now())
            yield* thread.pause()
          }
        })
      },
    })
    machine.run({ untilUs: 1000 })
    assert.equal(heard.length, 3)
    for (const [i, at] of heard.entries()) assert.ok(at >= sent[i]!, `${at} and ${sent[i]}`)
    // The second one finds a sleeper: its work takes longer than the other CPU looks for some.
    assert.ok(heard[1]! >= sent[1]! + 30, `${heard} and ${sent}`)
    assert.ok(heard[2]! < sent[2]! + 60)
    assert.ok(machine.cpus[1]!.count[K.sleeps]! > 0)
    assert.equal(machine.cpus[1]!.count[K.doorbellsReceived], 1)
  })

  test('is the same for the same seed, and costs nothing that the table does not say', () => {
    const run = () => {
      const { machine, done } = workers(3, { ...WORK, lockTransfer: 130, lock: 20 }, locked())
      return JSON.stringify([done, machine.now, machine.lockTimes, machine.counters(), machine.locks()])
    }
    assert.equal(run(), run())
    const free = workers(3, FREE, locked())
    // Without costs each turn takes a µs, and locks none.
    assert.equal(free.done, 3 * 2000)
    assert.equal(free.machine.lockTimes.waitedUs, 0)
  })

  test('stops when a CPU throws, and says which one', () => {
    const machine = new CostedMachine({
      cpus: 2,
      seed: 1,
      memoryBytes: MEMORY,
      costs: FREE,
      program: (cpu: Cpu) => {
        cpu.threads.start('fails', function* (thread) {
          yield* thread.pause()
          if (cpu.index === 1) throw new Error('on purpose')
        })
      },
    })
    assert.throws(
      () => machine.run({ untilUs: 100 }),
      (error) => error instanceof CpuFailure && error.cpu === 1,
    )
    return assert.rejects(machine.done, CpuFailure)
  })
})

test('a turn in parts does what a turn does', () => {
  const outcome = (inParts: boolean) => {
    const hands = new ByHand(1)
    const cpu = hands.cpus[0]!
    const seen: string[] = []
    cpu.addPollable({
      poll: () => seen.push('poll') % 3,
      flush: () => seen.push('flush'),
      pending: () => false,
      close: () => {},
    })
    cpu.addRollup(2, () => seen.push('second'))
    cpu.addRollup(1, () => seen.push('first'))
    cpu.timers.after(500, () => seen.push('timer'))
    for (let i = 0; i < 8; i++) {
      hands.clock.advanceTo(hands.clock.now() + 200)
      if (!inParts) seen.push(`${cpu.turn()}`)
      else {
        const parts = cpu.turnInParts()
        let part = parts.next()
        while (part.done !== true) part = parts.next()
        seen.push(`${part.value}`)
      }
    }
    return [seen, [...cpu.count]]
  }
  assert.deepEqual(outcome(true), outcome(false))
})
