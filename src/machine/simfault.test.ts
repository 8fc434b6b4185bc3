import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../base/clock.ts'
import { Random } from '../base/random.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { type SimMachine, type SimOptions, simulate } from './sim.ts'
import { type SimFaults, WanderingClock } from './simfault.ts'
import { start, sum, sumOf } from './testing/sim.ts'

const ROUNDS = 200

/** Two CPUs that have each other called, with pauses of a thread in between. */
function talk(options: Partial<SimOptions>): { machine: SimMachine; late: number[]; answered: () => number } {
  const machine = simulate({ cpus: 2, seed: 3, checkOrder: true, memoryBytes: 16 * 1024 * 1024, ...options })
  const late: number[] = []
  let answered = 0
  for (const cpu of machine.cpus) {
    start(machine, cpu.index, function* (thread) {
      for (let round = 0; round < ROUNDS; round++) {
        const due = cpu.now + 5000
        yield* thread.delay(5000)
        late.push(cpu.now - due)
        // A blocking IPI: done when the other CPU has run it.
        yield* thread.synchronize()
        answered++
      }
    })
  }
  return { machine, late, answered: () => answered }
}

test('faults that do not happen change nothing', () => {
  const hashes = [undefined, {}, { pause: 0, pauseUs: 5, timerUs: 0, clockUs: 0, shortage: 0 }].map((faults) => {
    const { machine } = talk(faults === undefined ? {} : { faults })
    assert.equal(machine.run(), 'idle')
    return machine.traceHash
  })
  assert.deepEqual(hashes, [hashes[0], hashes[0], hashes[0]])
})

test('a seed reproduces all faults', () => {
  const faults = { pause: 0.1, pauseUs: 3000, timerUs: 700, clockUs: 50, shortage: 0.1 }
  const hashes = [3, 3, 4].map((seed) => {
    const { machine } = talk({ faults, seed })
    assert.equal(machine.run(), 'idle')
    return machine.traceHash
  })
  assert.equal(hashes[0], hashes[1])
  assert.notEqual(hashes[1], hashes[2])
})

test('a CPU that stands still goes on after its time, and then does what was to be done', () => {
  const pauseUs = 40_000
  const { machine, late, answered } = talk({ faults: { pause: 0.05, pauseUs } })
  assert.equal(machine.run(), 'idle')
  assert.equal(answered(), 2 * ROUNDS)
  const long = late.filter((us) => us > 1000)
  assert(long.length > 5, `${long.length} timers were late`)
  // A pause may follow another before the thread has its turn.
  assert(Math.max(...late) < 3 * pauseUs, `${Math.max(...late)} µs`)
  assert(Math.min(...late) >= 0)
})

test('nobody rings for a CPU that stands still, as it is not asleep', () => {
  const { machine } = talk({ faults: { pause: 0.9, pauseUs: 500 } })
  assert.equal(machine.run(), 'idle')
  assert.equal(sum(machine, 'doorbellsReceived'), sum(machine, 'doorbellsRung'))
})

test('timers wake their CPU too early and too late, and never fire before their time', () => {
  const timerUs = 2000
  const { machine, late } = talk({ faults: { timerUs }, stall: 0 })
  assert.equal(machine.run(), 'idle')
  assert(Math.min(...late) >= 0, 'a timer does not fire before it is due')
  assert(Math.max(...late) > 1000 && Math.max(...late) < timerUs + 400, `${Math.max(...late)} µs`)
  // Those that came too early found nothing, and slept again.
  const exact = talk({ stall: 0 }).machine
  exact.run()
  assert(sum(machine, 'sleeps') > sum(exact, 'sleeps') + ROUNDS / 2, `${sum(machine, 'sleeps')} sleeps`)
})

test('a clock wanders within its bound, and never goes back', () => {
  const machine = new VirtualClock()
  const faults: SimFaults = { clockUs: 300 }
  const clocks = [1, 2].map((seed) => new WanderingClock(machine, faults, new Random(seed)))
  const last = [0, 0]
  const far = [0, 0]
  for (let us = 0; us < 20e6; us += 997) {
    machine.advanceTo(us)
    for (const [i, clock] of clocks.entries()) {
      const now = clock.now()
      assert(now >= last[i]! && Math.abs(now - us) <= 300)
      last[i] = now
      far[i] = Math.max(far[i]!, Math.abs(now - us))
    }
  }
  assert(far.every((us) => us > 290))
  // They come together again when it is over, at the latest when the machine's has caught up.
  faults.clockUs = 0
  machine.advanceTo(21e6)
  assert.deepEqual(
    clocks.map((clock) => clock.now()),
    [21e6, 21e6],
  )
})

test('allocations that may fail do, as many as asked for, until it is over; those that may not never do', () => {
  const faults: SimFaults = { shortage: 0.25 }
  const machine = simulate({ cpus: 1, seed: 1, faults })
  const { slab } = machine.cpus[0] as Cpu
  const take = (count: number) => {
    let failed = 0
    for (let i = 0; i < count; i++) {
      const address = slab.tryAllocate(100)
      if (address === 0) failed++
      else slab.free(address)
    }
    return failed
  }
  const failed = take(4000)
  assert(failed > 900 && failed < 1100, `${failed} of 4000`)
  assert.equal(sumOf(machine, 'slab', 'exhausted'), failed)
  for (let i = 0; i < 1000; i++) slab.free(slab.allocate(100))
  faults.shortage = 0
  assert.equal(take(1000), 0)
  assert.equal(slab.live, 0)
})

test('figures that cannot be are refused', () => {
  const refused = (faults: SimFaults, message: RegExp) =>
    assert.throws(() => simulate({ cpus: 1, faults }), { code: 'EINVAL', message })
  refused({ pause: 2 }, /pause is 2: give a probability/)
  refused({ shortage: -1 }, /shortage is -1/)
  refused({ clockUs: Number.POSITIVE_INFINITY }, /clockUs is Infinity: give microseconds/)
})
