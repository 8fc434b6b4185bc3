import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { Random } from '../base/random.ts'
import { simulate } from '../machine/sim.ts'
import { ByHand, sum } from '../machine/testing/sim.ts'
import { define } from './function.ts'
import { Timer } from './timer.ts'

const HOUR_US = 3600e6
const TICK_US = 128

/** One CPU whose timers tell the test. */
class Bench extends ByHand {
  readonly cpu = this.cpus[0]!
  readonly fired: { argument: number; at: number }[] = []
  onFire: (argument: number, timer: number) => void = () => {}

  constructor() {
    super(2)
    this.cpu.slot(BENCH, () => this)
  }

  timer(): number {
    const timer = this.cpu.slab.allocate(64) + 8
    this.memory.u8.fill(0, timer, timer + Timer.size)
    return timer
  }

  arm(timer: number, delayUs: number, argument = 0): void {
    this.cpu.timers.arm(timer, delayUs, FIRED, argument)
  }

  /** A turn at this time. */
  at(timeUs: number): void {
    this.clock.advanceTo(timeUs - 1)
    this.turn(0)
  }

  /** As a host does: sleeps until the next thing may have to be done. Returns the number of turns. */
  sleepUntil(timeUs: number): number {
    let turns = 0
    for (;;) {
      const wake = this.cpu.now + this.cpu.timers.untilNext()
      if (wake > timeUs) break
      this.at(Math.max(wake, this.cpu.now + 1))
      turns++
    }
    this.at(timeUs)
    return turns
  }
}
const BENCH = Symbol('bench')
const FIRED = define('test.timer.fired', (cpu, argument, timer) => {
  const bench = cpu.slot<Bench>(BENCH, () => {
    throw new Error('a timer fired on another CPU')
  })
  bench.fired.push({ argument, at: cpu.now })
  bench.onFire(argument, timer)
})

/** Delays of every level of the wheel, and beyond. */
function delay(random: Random): number {
  const shortest = [1, 100, TICK_US, 8e3, 0.5e6, 33e6, 36 * 60e6, 38 * HOUR_US, 90 * HOUR_US]
  return Math.floor(random.real() * shortest[random.below(shortest.length)]! * 2)
}

describe('timer', () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    test(`timers agree with a sorted list: armed, cancelled and armed anew at all distances (seed ${seed})`, () => {
      const bench = new Bench()
      const random = new Random(seed)
      const timers = Array.from({ length: 40 }, () => bench.timer())
      /** The model: the deadline of each armed timer. */
      const model = new Map<number, number>()
      const arm = (index: number) => {
        const us = delay(random)
        bench.arm(timers[index]!, us, index)
        model.set(index, bench.cpu.now + us)
      }
      bench.onFire = (index, timer) => {
        assert.equal(timer, timers[index])
        const deadline = model.get(index)
        assert.ok(deadline !== undefined, 'a timer fires only while it is armed')
        assert.ok(bench.cpu.now >= deadline, 'a timer never fires early')
        model.delete(index)
        // Now and then a callback arms its own timer, or another one, or cancels one.
        if (random.chance(0.2)) arm(index)
        if (random.chance(0.2)) arm(random.below(timers.length))
        if (random.chance(0.1)) cancel(random.below(timers.length))
      }
      const cancel = (index: number) => {
        assert.equal(bench.cpu.timers.cancel(timers[index]!), model.has(index))
        model.delete(index)
      }
      for (let op = 0; op < 1500; op++) {
        if (random.chance(0.5)) arm(random.below(timers.length))
        else if (random.chance(0.3)) cancel(random.below(timers.length))
        else if (random.chance(0.6)) bench.at(bench.cpu.now + 1 + delay(random) / (1 + random.below(50)))
        else if (model.size > 0) bench.at(bench.cpu.now + Math.max(1, bench.cpu.timers.untilNext()))
        const now = bench.cpu.now
        for (const [index, deadline] of model) {
          assert.ok(bench.cpu.timers.isArmed(timers[index]!))
          assert.ok(deadline + TICK_US >= now, 'no timer is more than a tick late')
        }
        assert.equal(bench.cpu.timers.armed, model.size)
        const next = Math.min(...model.values())
        assert.ok(now + bench.cpu.timers.untilNext() <= next + TICK_US, 'a sleep ends in time for the next timer')
      }
      const { fired } = bench
      assert.ok(fired.length > 100)
      assert.equal(sum(bench, 'timersFired'), fired.length)
      assert.equal(sum(bench, 'timersArmed') >= fired.length, true)
    })
  }

  test('a deadline beyond the top level goes round and is kept, also after days of uptime', () => {
    const bench = new Bench()
    for (const hours of [39, 77, 80, 24 * 30]) {
      const timer = bench.timer()
      const began = bench.cpu.now
      bench.arm(timer, hours * HOUR_US, hours)
      bench.sleepUntil(began + hours * HOUR_US)
      assert.equal(bench.fired.length, 0, `${hours} hours are not over`)
      bench.sleepUntil(began + hours * HOUR_US + TICK_US)
      assert.equal(bench.fired.pop()?.argument, hours)
    }
    const soon = bench.timer()
    const began = bench.cpu.now
    bench.arm(soon, 1000)
    bench.sleepUntil(began + 1000)
    assert.equal(bench.fired.length, 0, 'a short timer is not early after a month')
    bench.sleepUntil(began + 1000 + TICK_US)
    assert.equal(bench.fired.length, 1)
  })

  test('a CPU that sleeps until the next timer is woken at most once for each level', () => {
    const bench = new Bench()
    bench.arm(bench.timer(), HOUR_US)
    assert.ok(bench.sleepUntil(bench.cpu.now + HOUR_US + TICK_US) <= 6)
    assert.equal(bench.fired.length, 1)
    assert.equal(bench.cpu.timers.untilNext(), Number.POSITIVE_INFINITY)
  })

  test('a timer that arms itself anew in its callback fires once for each period', () => {
    const bench = new Bench()
    const timer = bench.timer()
    bench.onFire = () => bench.arm(timer, 1000)
    bench.arm(timer, 1000)
    bench.sleepUntil(100_000)
    const { length } = bench.fired
    assert.ok(length >= 100_000 / (1000 + TICK_US) - 1 && length <= 100, `${length}`)
  })

  test('a callback may cancel its neighbours of the same tick', () => {
    const bench = new Bench()
    const timers = [bench.timer(), bench.timer(), bench.timer()]
    for (const [i, timer] of timers.entries()) bench.arm(timer, 500, i)
    bench.onFire = () => {
      for (const timer of timers) bench.cpu.timers.cancel(timer)
    }
    bench.sleepUntil(10_000)
    assert.equal(bench.fired.length, 1)
    assert.equal(bench.cpu.timers.armed, 0)
  })

  test('more timers than a turn fires are all fired in the turns that follow', () => {
    const bench = new Bench()
    for (let i = 0; i < 1000; i++) bench.arm(bench.timer(), i * TICK_US)
    bench.at(1000 * TICK_US + TICK_US)
    assert.ok(bench.fired.length >= 256 && bench.fired.length < 1000)
    assert.equal(bench.cpu.timers.untilNext(), 0)
    for (let turn = 0; turn < 4; turn++) bench.turn(0)
    assert.equal(bench.fired.length, 1000)
  })

  test('`after` runs once, and its cancel does nothing to others once it has run or was cancelled', () => {
    const bench = new Bench()
    const { timers, slab } = bench.cpu
    const live = slab.live
    const ran: string[] = []
    const cancelFirst = timers.after(200, () => ran.push('first'))
    const cancelSecond = timers.after(200, () => ran.push('second'))
    cancelSecond()
    bench.sleepUntil(1000)
    assert.deepEqual(ran, ['first'])
    // These take the place of the two before.
    timers.after(200, () => ran.push('third'))
    timers.after(200, () => ran.push('fourth'))
    cancelFirst()
    cancelSecond()
    bench.sleepUntil(2000)
    assert.deepEqual(ran.toSorted(), ['first', 'fourth', 'third'])
    assert.equal(slab.live, live)
  })

  test('a timer is cancelled on the CPU where it was armed, or it is a bug', () => {
    const bench = new Bench()
    const timer = bench.timer()
    bench.arm(timer, 1000)
    assert.throws(() => bench.cpus[1]!.timers.cancel(timer), AssertionFailure)
  })
})

test('timers that have not run when the machine stops give their memory back', async () => {
  const machine = simulate({ cpus: 2, seed: 1 })
  const [first] = machine.cpus
  const cancel = first!.timers.after(1000, () => {})
  for (const us of [1, 10_000, 1e9]) first!.timers.after(us, () => {})
  machine.run({ untilUs: 5000 })
  await machine.stop()
  cancel()
  assert.equal(first!.timers.armed, 0)
  assert.equal(first!.slab.live, 0)
})
