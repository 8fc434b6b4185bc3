import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { ByHand, simulated, start, sum } from '../machine/testing/sim.ts'
import { K as CPU } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define } from './function.ts'
import { MachineStopping } from './ipi.ts'
import { MachineHeader } from './layout.ts'
import { lockClass } from './lock.ts'
import { Plain } from './message.ts'
import { Mutex } from './mutex.ts'

/**
 * Of one CPU: what it has sent to each other, what it has got of each, and what else it does on arrival. What an IPI
 * function sends is numbered apart: it may run while an ordinary send waits for room, and is then first.
 */
class Traffic {
  readonly sent = new Map<string, number>()
  readonly received = new Map<string, number>()
  onArrival: (cpu: Cpu, source: number, left: number) => void = () => {}

  sentTo(target: number): number {
    return (this.sent.get(`${target} 0`) ?? 0) + (this.sent.get(`${target} 1`) ?? 0)
  }

  receivedFrom(source: number): number {
    return (this.received.get(`${source} 0`) ?? 0) + (this.received.get(`${source} 1`) ?? 0)
  }
}
const TRAFFIC = Symbol('traffic')
const traffic = (cpu: Cpu) => cpu.slot(TRAFFIC, () => new Traffic())

/** (sequence, its complement, how many rounds are left and by whom it was sent) */
const NUMBERED = define('test.ipi.numbered', (cpu, sequence, complement, rest, source) => {
  const mine = traffic(cpu)
  const lane = `${source} ${rest & 1}`
  assert.equal(complement, ~sequence, 'an entry is seen whole')
  assert.equal(sequence, mine.received.get(lane) ?? 0, `in order, from cpu ${source} to cpu ${cpu.index}`)
  mine.received.set(lane, sequence + 1)
  mine.onArrival(cpu, source, rest >> 1)
})

function send(cpu: Cpu, target: number, left = 0, passive = false): void {
  const mine = traffic(cpu)
  const lane = cpu.ipi.draining > 0 ? 1 : 0
  const sequence = mine.sent.get(`${target} ${lane}`) ?? 0
  mine.sent.set(`${target} ${lane}`, sequence + 1)
  const rest = left * 2 + lane
  if (passive) cpu.ipi.sendPassive(target, NUMBERED, sequence, ~sequence, rest)
  else cpu.ipi.send(target, NUMBERED, sequence, ~sequence, rest)
}

/** Every IPI has arrived: also the passive ones, for which this wakes everybody. */
function assertAllArrived(cpus: readonly Cpu[]): void {
  for (const cpu of cpus) {
    cpus.forEach((other) => {
      const sent = traffic(cpu).sentTo(other.index)
      assert.equal(traffic(other).receivedFrom(cpu.index), sent, `from cpu ${cpu.index} to cpu ${other.index}`)
    })
  }
}

describe('ipi', () => {
  for (const cpus of [2, 3, 4, 5]) {
    for (const seed of [1, 2, 3, 4, 5]) {
      test(`none is lost and each pair's are in order, ${cpus} CPUs with rings of 16 (seed ${seed})`, () => {
        const machine = simulated(cpus, seed, { ringEntries: 16 })
        for (const cpu of machine.cpus) {
          traffic(cpu).onArrival = (here, source, left) => {
            // Sends of IPI functions: with three for one, rings overflow into the private queues.
            for (let i = 0; left > 0 && i < 3; i++) send(here, i === 2 ? here.random.below(cpus) : source, left - 1)
          }
          start(machine, cpu.index, function* (thread) {
            for (let round = 0; round < 20; round++) {
              const { random } = cpu
              const target = random.below(cpus)
              for (let i = random.below(40); i > 0; i--) send(cpu, target, random.below(3), random.chance(0.3))
              if (random.chance(0.5)) yield* thread.pause()
              else yield* thread.delay(random.below(500))
            }
          })
        }
        machine.run()
        // Passive ones lie where they are until somebody wakes their target.
        for (let i = 0; i < 3; i++) {
          for (const cpu of machine.cpus) {
            machine.cpus.forEach((other) => {
              if (other !== cpu) cpu.ipi.flushTo(other.index)
            })
          }
          machine.run()
        }
        assertAllArrived(machine.cpus)
        assert.equal(sum(machine, 'ipisSent'), sum(machine, 'ipisReceived'))
        assert.ok(sum(machine, 'ipiRingFull') > 0, 'rings were full')
        assert.ok(sum(machine, 'ipisPassive') > 0)
        if (cpus === 2) assert.ok(sum(machine, 'ipiNested') > 0, 'IPI functions found rings full')
        void machine.stop()
      })
    }
  }

  test('two full rings face to face: two CPUs that send to each other without looking get on all the same', () => {
    const machine = new ByHand(2, { ringEntries: 16 })
    const flood = (cpu: Cpu) => {
      for (let i = 0; i < 1000; i++) send(cpu, 1 - cpu.index)
    }
    let other = false
    // While CPU 0 waits for room, CPU 1 begins to do the same.
    machine.alongside = (cpu) => {
      if (other) return
      other = true
      flood(cpu)
    }
    machine.as(0, flood)
    machine.settle()
    assert.equal(traffic(machine.cpus[1]!).sentTo(0), 1000)
    assertAllArrived(machine.cpus)
    assert.ok(machine.cpus[0]!.count[CPU.ipiRingFull]! > 0 && machine.cpus[1]!.count[CPU.ipiRingFull]! > 0)
  })

  test('nested sends: IPI functions that send more than the rings hold, both ways, neither deadlock nor reorder', () => {
    const machine = new ByHand(2, { ringEntries: 16 })
    for (const cpu of machine.cpus) {
      traffic(cpu).onArrival = (here, source, left) => {
        for (let i = 0; i < 2 && left > 0; i++) send(here, source, left - 1)
      }
    }
    let other = false
    machine.alongside = (cpu) => {
      if (other) return
      other = true
      for (let i = 0; i < 50; i++) send(cpu, 0, 5)
    }
    machine.as(0, (cpu) => {
      for (let i = 0; i < 50; i++) send(cpu, 1, 5)
    })
    machine.settle()
    assertAllArrived(machine.cpus)
    assert.equal(sum(machine, 'ipisReceived'), 2 * 50 * 63)
    assert.ok(sum(machine, 'ipiNested') > 0)
  })

  test('IPI functions that send without end are called a bug', () => {
    const machine = new ByHand(2, { ringEntries: 16 })
    traffic(machine.cpus[1]!).onArrival = (here) => {
      for (let i = 0; i < 100_000; i++) send(here, 0)
    }
    machine.as(0, (cpu) => {
      send(cpu, 1)
      cpu.ipi.flush()
    })
    assert.throws(() => machine.turn(1), AssertionFailure)
  })

  test('what was sent is published by sixteens, or at the end of the turn', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    for (let i = 0; i < 15; i++) send(a, 1)
    assert.equal(b.ipi.depth(0), 0)
    send(a, 1)
    assert.equal(b.ipi.depth(0), 16)
    send(a, 1)
    assert.equal(b.ipi.depth(0), 16)
    machine.turn(0)
    assert.equal(b.ipi.depth(0), 17)
    assert.equal(a.count[CPU.ipiPublishes], 2)
  })

  test('an IPI to the CPU itself runs at once', () => {
    const machine = new ByHand(1)
    send(machine.cpus[0]!, 0)
    assertAllArrived(machine.cpus)
  })

  test('a mask is served from the next CPU upward, the sender last', () => {
    const machine = new ByHand(5)
    const order: number[] = []
    const cpu = machine.cpus[2]!
    const isEven = (target: number) => order.push(target) > 0 && target % 2 === 0
    cpu.ipi.sendMask(isEven, NUMBERED, 0, ~0)
    assert.deepEqual(order, [3, 4, 0, 1, 2])
    machine.settle()
    assert.deepEqual(
      machine.cpus.map((target) => traffic(target).receivedFrom(2)),
      [1, 0, 1, 0, 1],
    )
  })

  test('the doorbell is rung for a CPU that sleeps, once, and not for one that is busy', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    send(a, 1)
    machine.turn(0)
    assert.deepEqual(machine.rung, [])
    machine.turn(1)
    assert.equal(b.announceSleep(), true)
    send(a, 1)
    machine.turn(0)
    send(a, 1)
    machine.turn(0)
    assert.deepEqual(machine.rung, [1])
    assert.deepEqual([a.count[CPU.doorbellsRung], a.count[CPU.doorbellsAvoided]], [1, 2])
  })

  test('a CPU that announces its sleep while something is published for it does not sleep', () => {
    const machine = new ByHand(2)
    send(machine.cpus[0]!, 1)
    machine.turn(0)
    assert.equal(machine.cpus[1]!.announceSleep(), false)
  })

  test('passive IPIs wake nobody until a quarter of the ring is full', () => {
    const machine = new ByHand(2, { ringEntries: 16 })
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    assert.equal(b.announceSleep(), true)
    for (let i = 0; i < 3; i++) {
      send(a, 1, 0, true)
      machine.turn(0)
    }
    assert.deepEqual(machine.rung, [])
    assert.equal(b.ipi.depth(0), 3)
    send(a, 1, 0, true)
    machine.turn(0)
    assert.deepEqual(machine.rung, [1])
  })

  test('an active IPI behind passive ones rings for all of them', () => {
    const machine = new ByHand(2)
    assert.equal(machine.cpus[1]!.announceSleep(), true)
    send(machine.cpus[0]!, 1, 0, true)
    send(machine.cpus[0]!, 1)
    machine.turn(0)
    assert.deepEqual(machine.rung, [1])
    machine.settle()
    assertAllArrived(machine.cpus)
  })

  test('a mark is done when the function of the last entry before it has returned, and not while it runs', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    assert.equal(a.ipi.done(1, a.ipi.mark(1)), true)
    send(a, 1)
    const mark = a.ipi.mark(1)
    let during: boolean | undefined
    traffic(b).onArrival = () => {
      during = a.ipi.done(1, mark)
    }
    machine.turn(0)
    assert.equal(a.ipi.done(1, mark), false)
    machine.turn(1)
    assert.equal(during, false)
    assert.equal(a.ipi.done(1, mark), true)
  })

  test('a mark is done also when a function before it had to wait for a lock, and the ring was served meanwhile', () => {
    const machine = new ByHand(3)
    const [a, b, c] = [machine.cpus[0]!, machine.cpus[1]!, machine.cpus[2]!]
    const mutex = new Mutex(a.slab.allocate(64) + 8, lockClass('test.ipi'))
    machine.memory.i32[mutex.address >> 2] = 0
    mutex.enter(a)
    // While CPU 2 waits for the lock in a function that CPU 1 asked for, CPU 0 sends to it and then leaves the lock.
    traffic(c).onArrival = (here, source) => {
      if (source !== 1) return
      mutex.enter(here)
      mutex.leave(here)
    }
    let mark = 0
    machine.alongside = (cpu) => {
      if (cpu !== a || mark !== 0) return
      send(a, 2)
      mark = a.ipi.mark(2)
      a.ipi.flush()
    }
    let looks = 0
    machine.cpus[1]!.addPollable({
      poll: () => {
        if (mark !== 0 && ++looks === 3) mutex.leave(a)
        return 0
      },
      flush: () => {},
      pending: () => false,
      close: () => {},
    })
    send(b, 2)
    b.ipi.flush()
    machine.turn(2)
    machine.settle()
    assertAllArrived(machine.cpus)
    assert.equal(a.ipi.done(2, mark), true)
  })

  test('a CPU that waits for a full ring leaves the wait when the machine stops', () => {
    const machine = new ByHand(2, { ringEntries: 16 })
    const { memory } = machine
    machine.alongside = () => {
      Atomics.store(memory.i32, (memory.layout.header + MachineHeader.offset.stop) >> 2, 1)
    }
    assert.throws(() => {
      machine.as(0, (cpu) => {
        for (let i = 0; i < 100; i++) send(cpu, 1)
      })
    }, MachineStopping)
  })

  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    test(`barrier overtaking data: after \`synchronize\` everything sent before has run, everywhere (seed ${seed})`, () => {
      const machine = simulated(4, seed, { ringEntries: 16, stall: 0.05 })
      let synchronized = 0
      for (const cpu of machine.cpus) {
        start(machine, cpu.index, function* (thread) {
          for (let round = 0; round < 15; round++) {
            for (let i = cpu.random.below(60); i > 0; i--) send(cpu, cpu.random.below(4), 0, cpu.random.chance(0.5))
            const before = machine.cpus.map((target) => traffic(cpu).sentTo(target.index))
            yield* thread.synchronize()
            machine.cpus.forEach((target) => {
              assert.ok(traffic(target).receivedFrom(cpu.index) >= before[target.index]!)
            })
            synchronized++
          }
        })
      }
      machine.run()
      assert.equal(synchronized, 60)
      void machine.stop()
    })
  }

  test('a blocking IPI returns when its function has returned', () => {
    const machine = simulated(3, 3)
    let returned = false
    start(machine, 0, function* (thread) {
      traffic(machine.cpus[2]!).onArrival = () => {
        returned = true
      }
      yield* thread.run(2, NUMBERED, 0, ~0)
      assert.equal(returned, true)
      returned = false
    })
    machine.run()
    assert.equal(returned, false, 'the thread went on')
    void machine.stop()
  })
})

test('a message does not slip into an open entry before an IPI that was sent earlier, when the ring is full', () => {
  const machine = new ByHand(2, { ringEntries: 16 })
  const [first, second] = machine.cpus
  // Nobody takes them: they stay where the IPIs see them.
  const port = second!.ports.create({})
  const depths: number[] = []
  const mark = define('ipi.test.mark', () => void depths.push(second!.ports.depth(port)))
  const put = () => first!.ports.send(port.id, first!.ports.allocate(Plain))
  // From within an IPI function, which does not wait for a full ring: the first message has the last entry.
  const fill = define('ipi.test.fill', (cpu) => {
    for (let i = 0; i < 5; i++) cpu.ipi.send(1, mark)
    // What follows is not published by itself when the ring is full.
    cpu.ipi.flush()
    for (let i = 0; i < 10; i++) cpu.ipi.send(1, mark)
    put()
    cpu.ipi.send(1, mark)
    put()
  })
  machine.as(1, (cpu) => cpu.ipi.send(0, fill))
  machine.settle()
  assert.equal(depths.length, 16)
  assert.equal(depths.at(-1), 1, 'the second message came after the last IPI')
  assert.equal(second!.ports.depth(port), 2)
})
