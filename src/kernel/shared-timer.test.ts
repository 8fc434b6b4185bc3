// Timers behind locks: on simulated CPUs, against a model, and on two real threads, which load this file too.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { isMainThread } from 'node:worker_threads'
import fc from 'fast-check'
import { AssertionFailure } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import { boot } from '../machine/boot.ts'
import type { Machine } from '../machine/machine.ts'
import { ByHand, simulated, start, sumOf } from '../machine/testing/sim.ts'
import type { Cpu } from './cpu.ts'
import { define } from './function.ts'
import { lockClass, readLocks } from './lock.ts'
import { Mutex } from './mutex.ts'
import { SharedTimers } from './shared-timer.ts'
import type { Thread } from './thread.ts'
import { putTimer, Timer, takeTimer } from './timer.ts'
import { setTraceMode } from './trace/mode.ts'

const TICK_US = 128
const SET = 'shared timer'
const seed = 2031

/** A timer of these tests stands 8 bytes into its object, and behind it its group's lock: 0, or somebody is inside. */
const LOCK = 8 + Timer.size
const BENCH = Symbol('bench')
const FIRED = define('test.shared.fired', (cpu, argument, timer) => {
  cpu
    .slot<Bench>(BENCH, () => {
      throw new Error('fired on a CPU without a bench')
    })
    .fired(cpu, argument, timer)
})

/** Several CPUs, each with its part of one set of timers; the argument of a timer is its object's address. */
class Bench extends ByHand {
  readonly parts: SharedTimers[]
  readonly log: { cpu: number; object: Address; at: number }[] = []
  onFire: (cpu: Cpu, object: Address) => void = () => {}
  entered = 0
  left = 0

  constructor(cpus: number) {
    super(cpus)
    const word = (object: Address) => (object + LOCK) >> 2
    this.parts = this.cpus.map((cpu) => {
      cpu.slot(BENCH, () => this)
      return SharedTimers.create(cpu, 'test', {
        tryEnter: (_cpu, run, object) => {
          assert.equal(run, FIRED)
          if (this.memory.i32[word(object)] !== 0) return false
          this.memory.i32[word(object)] = 1
          this.entered++
          return true
        },
        leave: (_cpu, object) => {
          assert.equal(this.memory.i32[word(object)], 1)
          this.memory.i32[word(object)] = 0
          this.left++
        },
      })
    })
  }

  fired(cpu: Cpu, object: Address, timer: Address): void {
    assert.equal(timer, object + 8)
    assert.equal(this.parts[cpu.index]!.isArmed(timer), false)
    assert.equal(this.memory.i32[(object + LOCK) >> 2], 1, 'a timer fires inside of what it belongs to')
    this.log.push({ cpu: cpu.index, object, at: cpu.now })
    this.onFire(cpu, object)
  }

  object(): Address {
    const object = this.cpus[0]!.slab.allocate(64)
    this.memory.u8.fill(0, object + 8, object + 64)
    return object
  }

  /** Somebody is inside of what the timer belongs to, or nobody any more. */
  lock(object: Address, locked: boolean): void {
    this.memory.i32[(object + LOCK) >> 2] = locked ? 2 : 0
  }

  arm(cpu: number, object: Address, delayUs: number): void {
    this.parts[cpu]!.arm(object + 8, delayUs, FIRED, object)
  }

  cancel(cpu: number, object: Address): boolean {
    return this.parts[cpu]!.cancel(object + 8)
  }

  /** As the hosts do it: each CPU sleeps until its own next timer. Returns the number of turns. */
  sleepUntil(timeUs: number): number {
    let turns = 0
    for (;;) {
      let [index, wake] = [-1, timeUs]
      for (const cpu of this.cpus) {
        cpu.now = this.clock.now()
        const next = cpu.now + cpu.timers.untilNext()
        if (next < wake) [index, wake] = [cpu.index, next]
      }
      if (index < 0) break
      this.clock.advanceTo(wake)
      this.turn(index)
      turns++
    }
    this.clock.advanceTo(timeUs)
    for (const cpu of this.cpus) cpu.now = timeUs
    return turns
  }

  now(): number {
    return this.clock.now()
  }

  counts() {
    const of = (counter: string) => sumOf(this, SET, counter)
    return {
      armed: of('timersArmed'),
      rearmed: of('timersRearmed'),
      fired: of('timersFired'),
      cancelled: of('timersCancelled'),
      elsewhere: of('timersElsewhere'),
      postponed: of('timersPostponed'),
    }
  }
}

/** The words that real threads share. */
const GROUPS = 4
const TIMERS = 48
const ROUNDS = 100_000
const TALLY = ['armed', 'cancelled', 'fired', 'early', 'overlapping'] as const
const WORDS = { finished: 0, started: 1, inside: 16, locks: 32, tally: 64, timers: 128 } as const
const REGION_BYTES = WORDS.timers * 4 + TIMERS * Timer.size
const GROUP_CLASS = lockClass('test.shared group')
const base = (memory: Machine['memory']) => memory.layout.region('shared').address
const LOAD = Symbol('load')
const FIRED_LOAD = define('test.shared.load', (cpu, index, timer) =>
  cpu.slot(LOAD, () => new Load(cpu)).fired(index, timer),
)

/** One real CPU's part of the load: arms and cancels timers of all groups at random, each under its group's mutex. */
class Load {
  readonly #cpu: Cpu
  readonly #words: Int32Array
  readonly #base: Address
  readonly timers: SharedTimers
  readonly #groups: Mutex[]

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#words = cpu.memory.i32
    this.#base = base(cpu.memory)
    this.#groups = Array.from({ length: GROUPS }, (_, i) => new Mutex(this.#base + (WORDS.locks + i) * 4, GROUP_CLASS))
    this.timers = SharedTimers.create(cpu, 'load', {
      tryEnter: (_cpu, _run, index) => this.#groups[index % GROUPS]!.tryEnter(cpu),
      leave: (_cpu, index) => this.#groups[index % GROUPS]!.leave(cpu),
    })
  }

  #tally(what: (typeof TALLY)[number]): void {
    Atomics.add(this.#words, (this.#base >> 2) + WORDS.tally + TALLY.indexOf(what), 1)
  }

  /** Counts those who are inside of one group at the same time: never two. */
  #inside(index: number, run: () => void): void {
    const word = (this.#base >> 2) + WORDS.inside + (index % GROUPS)
    if (Atomics.add(this.#words, word, 1) !== 0) this.#tally('overlapping')
    run()
    Atomics.sub(this.#words, word, 1)
  }

  fired(index: number, timer: Address): void {
    this.#tally('fired')
    if (this.timers.deadline(timer) > this.#cpu.now) this.#tally('early')
    this.#inside(index, () => {
      if (this.#cpu.random.chance(0.1)) this.#arm(index)
    })
  }

  #arm(index: number): void {
    this.#tally('armed')
    const timer = this.#base + WORDS.timers * 4 + index * Timer.size
    this.timers.arm(timer, this.#cpu.random.below(3000), FIRED_LOAD, index)
  }

  *run(thread: Thread): Generator<void, void, void> {
    const { random } = this.#cpu
    // Both begin together, or one would be done before the other has started.
    Atomics.add(this.#words, (this.#base >> 2) + WORDS.started, 1)
    yield* thread.until(() => Atomics.load(this.#words, (this.#base >> 2) + WORDS.started) === this.#cpu.cpus)
    for (let round = 0; round < ROUNDS; round++) {
      const index = random.below(TIMERS)
      const group = this.#groups[index % GROUPS]!
      group.enter(this.#cpu)
      this.#inside(index, () => {
        if (random.chance(0.7)) this.#arm(index)
        else if (this.timers.cancel(this.#base + WORDS.timers * 4 + index * Timer.size)) this.#tally('cancelled')
      })
      group.leave(this.#cpu)
      if (random.chance(0.05)) yield* thread.pause()
      if (random.chance(0.002)) yield* thread.delay(random.below(500))
    }
    Atomics.add(this.#words, (this.#base >> 2) + WORDS.finished, 1)
  }
}

/** What each worker of the last test runs. */
export default function* load(thread: Thread): Generator<void, void, void> {
  yield* thread.cpu.slot(LOAD, () => new Load(thread.cpu)).run(thread)
}

if (isMainThread) {
  describe('shared timers', () => {
    test('tell who armed them last, on whatever CPU that was', () => {
      const bench = new Bench(2)
      setTraceMode(bench.memory, 'all')
      bench.settle()
      const object = bench.object()
      const told: (string | undefined)[] = []
      bench.onFire = (cpu) => {
        const [hop] = cpu.tracer.where().hops
        told.push(hop?.kind, hop?.to, hop?.frames[0]?.function)
      }
      const armFirst = (cpu: Cpu) => bench.parts[cpu.index]!.arm(object + 8, 1000, FIRED, object)
      const armAgain = (cpu: Cpu) => bench.parts[cpu.index]!.arm(object + 8, 1000, FIRED, object)
      bench.as(0, armFirst)
      bench.as(1, armAgain)
      bench.clock.advanceTo(bench.clock.now() + 5000)
      bench.settle()
      assert.deepEqual(told, ['timer', 'test.shared.fired', 'armAgain'])
    })

    test('a timer fires on the CPU that armed it last, once, within two ticks of its deadline', () => {
      const bench = new Bench(3)
      const object = bench.object()
      bench.arm(0, object, 5000)
      bench.arm(2, object, 1000)
      assert.deepEqual(
        bench.parts.map((part) => part.armed),
        [0, 0, 1],
      )
      const due = bench.now() + 1000
      assert.equal(bench.parts[1]!.deadline(object + 8), due)
      bench.sleepUntil(due)
      assert.deepEqual(bench.log, [])
      bench.sleepUntil(due + 2 * TICK_US)
      assert.deepEqual(
        bench.log.map(({ cpu, object }) => ({ cpu, object })),
        [{ cpu: 2, object }],
      )
      bench.sleepUntil(20_000)
      assert.equal(bench.log.length, 1)
      const { postponed, ...counts } = bench.counts()
      assert.deepEqual(counts, { armed: 2, rearmed: 1, fired: 1, cancelled: 0, elsewhere: 1 })
      assert.deepEqual([postponed, bench.entered, bench.left], [0, 1, 1])
    })

    test('a timer is cancelled by any CPU', () => {
      const bench = new Bench(2)
      const object = bench.object()
      bench.arm(0, object, 500)
      assert.equal(bench.parts[1]!.isArmed(object + 8), true)
      assert.equal(bench.cancel(1, object), true)
      assert.equal(bench.cancel(1, object), false)
      assert.equal(bench.cancel(0, object), false)
      bench.sleepUntil(5000)
      assert.deepEqual(bench.log, [])
      assert.equal(bench.counts().cancelled, 1)
    })

    test('a due timer whose owner is busy waits a tick at a time, and holds up no other', () => {
      const bench = new Bench(1)
      const [busy, free] = [bench.object(), bench.object()]
      bench.arm(0, busy, 1000)
      bench.arm(0, free, 1000)
      bench.lock(busy, true)
      const due = bench.now() + 1000
      bench.sleepUntil(due + 2 * TICK_US)
      assert.deepEqual(
        bench.log.map(({ object }) => object),
        [free],
      )
      const turns = bench.sleepUntil(due + 50 * TICK_US)
      assert.ok(turns <= 50, `${turns} turns in 48 ticks`)
      assert.ok(bench.counts().postponed >= 40)
      assert.ok(bench.parts[0]!.isArmed(busy + 8), 'it stays armed')
      bench.lock(busy, false)
      bench.sleepUntil(bench.now() + 2 * TICK_US)
      assert.deepEqual(
        bench.log.map(({ object }) => object),
        [free, busy],
      )
    })

    test('a postponed timer can be cancelled, and armed anew elsewhere', () => {
      const bench = new Bench(2)
      const [cancelled, moved] = [bench.object(), bench.object()]
      for (const object of [cancelled, moved]) {
        bench.arm(0, object, 100)
        bench.lock(object, true)
      }
      bench.sleepUntil(2000)
      assert.ok(bench.counts().postponed > 0)
      assert.equal(bench.cancel(1, cancelled), true)
      bench.arm(1, moved, 1000)
      for (const object of [cancelled, moved]) bench.lock(object, false)
      bench.sleepUntil(10_000)
      assert.deepEqual(
        bench.log.map(({ cpu, object }) => ({ cpu, object })),
        [{ cpu: 1, object: moved }],
      )
    })

    test('what fires may arm and cancel, and free what its timer lies in', () => {
      const bench = new Bench(2)
      const [first, second, third] = [bench.object(), bench.object(), bench.object()]
      bench.arm(0, first, 500)
      bench.arm(0, second, 500)
      bench.arm(1, third, 5000)
      let periods = 0
      bench.onFire = (cpu, object) => {
        // The one that fires cancels its neighbour of the same tick, and takes another over from another CPU.
        bench.cancel(cpu.index, object === first ? second : first)
        bench.arm(cpu.index, third, 1000)
        bench.onFire = (_cpu, again) => {
          assert.equal(again, third)
          if (++periods < 5) bench.arm(0, third, 300)
        }
      }
      bench.sleepUntil(20_000)
      assert.equal(periods, 5)
      assert.equal(bench.log.length, 6)
      assert.ok(bench.log.every(({ cpu }) => cpu === 0))
    })

    test('more timers than a turn fires are all fired soon after', () => {
      const bench = new Bench(1)
      for (let i = 0; i < 1000; i++) bench.arm(0, bench.object(), 100)
      bench.sleepUntil(300)
      assert.ok(bench.log.length >= 256 && bench.log.length < 1000)
      bench.sleepUntil(300 + 5 * TICK_US)
      assert.equal(bench.log.length, 1000)
    })

    test('a short timer is on time beside a long one that keeps the wheel standing', () => {
      const bench = new Bench(1)
      bench.arm(0, bench.object(), 3600e6)
      bench.sleepUntil(1800e6 + 77)
      const short = bench.object()
      bench.arm(0, short, 1000)
      bench.sleepUntil(1800e6 + 77 + 1000 + 2 * TICK_US)
      assert.deepEqual(
        bench.log.map(({ object }) => object),
        [short],
      )
      assert.ok(bench.sleepUntil(3600e6 + 2 * TICK_US) <= 8, 'a sleep ends once for each level, at most')
      assert.equal(bench.log.length, 2)
    })

    test('random calls from random CPUs agree with a model: each fires once, in time, where it was armed, or was cancelled', () => {
      const CPUS = 3
      const OBJECTS = 12
      const cpu = fc.nat(CPUS - 1)
      const object = fc.nat(OBJECTS - 1)
      const delay = fc.oneof(fc.nat(300), fc.nat(20_000), fc.nat(200_000), fc.nat(600_000_000))
      const op = fc.oneof(
        { weight: 5, arbitrary: fc.record({ op: fc.constant('arm' as const), cpu, object, us: delay }) },
        { weight: 2, arbitrary: fc.record({ op: fc.constant('cancel' as const), cpu, object, us: fc.constant(0) }) },
        { weight: 1, arbitrary: fc.record({ op: fc.constant('lock' as const), cpu, object, us: fc.constant(0) }) },
        { weight: 4, arbitrary: fc.record({ op: fc.constant('unlock' as const), cpu, object, us: fc.constant(0) }) },
        { weight: 6, arbitrary: fc.record({ op: fc.constant('pass' as const), cpu, object, us: delay }) },
      )
      let fires = 0
      let postponed = 0
      const property = fc.property(fc.array(op, { minLength: 1, maxLength: 200, size: 'max' }), (ops) => {
        const bench = new Bench(CPUS)
        const objects = Array.from({ length: OBJECTS }, () => bench.object())
        const model = new Map<Address, { cpu: number; deadline: number }>()
        const locked = new Set<Address>()
        /** From when on a timer may be expected: its deadline, or when its owner was left. */
        const freeSince = new Map<Address, number>()
        bench.onFire = (cpu, fired) => {
          const armed = model.get(fired)
          assert.ok(armed !== undefined, 'what fires was armed')
          assert.equal(cpu.index, armed.cpu)
          assert.ok(cpu.now >= armed.deadline, 'never early')
          assert.ok(!locked.has(fired))
          model.delete(fired)
          fires++
        }
        let calls = 0
        for (const { op, cpu, object, us } of ops) {
          const target = objects[object]!
          if (op === 'arm') {
            bench.arm(cpu, target, us)
            model.set(target, { cpu, deadline: bench.now() + us })
            calls++
          } else if (op === 'cancel') {
            assert.equal(bench.cancel(cpu, target), model.delete(target))
          } else if (op === 'pass') {
            // One that is locked is looked at every tick: that would be many.
            bench.sleepUntil(bench.now() + (locked.size > 0 ? us % 20_000 : us))
          } else {
            bench.lock(target, op === 'lock')
            if (op === 'lock') locked.add(target)
            else if (locked.delete(target)) freeSince.set(target, bench.now())
          }
          for (const [address, { deadline }] of model) {
            assert.ok(bench.parts[cpu]!.isArmed(address + 8))
            assert.equal(bench.parts[cpu]!.deadline(address + 8), deadline)
            const due = Math.max(deadline, freeSince.get(address) ?? 0)
            // A turn takes 1 µs here, and the CPUs take theirs one after the other.
            const slack = 2 * TICK_US + OBJECTS * CPUS
            assert.ok(locked.has(address) || bench.now() <= due + slack, 'at most two ticks late')
          }
          assert.equal(
            bench.parts.reduce((n, part) => n + part.armed, 0),
            model.size,
          )
        }
        const counts = bench.counts()
        assert.equal(counts.armed, calls)
        assert.equal(counts.armed, counts.rearmed + counts.fired + counts.cancelled + model.size)
        postponed += counts.postponed
      })
      fc.assert(property, { seed, numRuns: 150 })
      assert.ok(fires > 500 && postponed > 100, `${fires} fired, ${postponed} postponed`)
    })

    test('a timer of one set, or of a CPU itself, is not taken by another set', () => {
      const bench = new Bench(1)
      const object = bench.object()
      bench.arm(0, object, 1000)
      assert.throws(() => bench.cpus[0]!.timers.cancel(object + 8), AssertionFailure)
      const own = bench.object()
      bench.cpus[0]!.timers.arm(own + 8, 1000, FIRED, own)
      assert.throws(() => bench.cancel(0, own), AssertionFailure)
    })

    test('a CPU that spins for a wheel gets it when its holder leaves', () => {
      const bench = new Bench(2)
      const object = bench.object()
      bench.arm(0, object, 1000)
      const mutex = new Mutex(bench.cpus[0]!.names.find('test/wheel/0') + 16, lockClass('timer wheel'))
      mutex.enter(bench.cpus[0]!)
      bench.alongside = () => {
        if (mutex.holder(bench.cpus[0]!) === 0) mutex.leave(bench.cpus[0]!)
      }
      assert.equal(
        bench.as(1, () => bench.cancel(1, object)),
        true,
      )
      const profile = readLocks(bench.memory).find(({ name }) => name === 'timer wheel')!
      assert.equal(profile.countLock, 1)
    })

    for (const seed of [1, 2, 3]) {
      test(`while all CPUs are held, timers move from a CPU's own to shared ones and back, and all fire in time (seed ${seed})`, () => {
        const machine = simulated(3, seed)
        const fired: { index: number; at: number; cpu: number }[] = []
        const gate = { tryEnter: () => true, leave: () => {} }
        const parts = machine.cpus.map((cpu) => {
          cpu.slot(MOVED, () => ({
            fired: (index: number) => fired.push({ index, at: cpu.now, cpu: cpu.index }),
            part: () => parts[cpu.index]!,
          }))
          return SharedTimers.create(cpu, 'moving', gate)
        })
        const timers = Array.from({ length: 30 }, () => {
          const object = machine.cpus[0]!.slab.allocate(64)
          machine.memory.u8.fill(0, object + 8, object + 64)
          return object + 8
        })
        for (const [i, timer] of timers.entries())
          machine.cpus[i % 3]!.timers.arm(timer, 20_000 + i * 1000, FIRED_MOVED, i)
        const deadlines = timers.map((timer) => machine.cpus[0]!.timers.deadline(timer))
        start(machine, 0, function* (thread) {
          const { cpu } = thread
          yield* thread.delay(2000)
          // Into the shared wheels, each of the next CPU.
          yield* cpu.cpusync.hold(thread)
          for (const [i, timer] of timers.entries())
            parts[0]!.put((i + 1) % 3, timer, takeTimer(machine.memory, timer)!)
          assert.equal(takeTimer(machine.memory, blank(cpu)), undefined)
          yield* cpu.cpusync.release(REFRESH)
          assert.deepEqual(
            machine.cpus.map((cpu, i) => [parts[i]!.armed, cpu.index]),
            [0, 1, 2].map((i) => [10, i]),
          )
          yield* thread.delay(25_000)
          // And what has not fired yet back to the CPUs' own.
          yield* cpu.cpusync.hold(thread)
          for (const [i, timer] of timers.entries()) {
            const taken = takeTimer(machine.memory, timer)
            if (taken === undefined) continue
            assert.deepEqual([taken.deadlineUs, taken.argument], [deadlines[i], i])
            putTimer(machine.memory, (i + 2) % 3, timer, taken)
          }
          yield* cpu.cpusync.release(REFRESH)
        })
        assert.equal(machine.run(), 'idle')
        assert.deepEqual(
          fired.map(({ index }) => index).toSorted((a, b) => a - b),
          timers.map((_, i) => i),
        )
        const places = new Set<number>()
        for (const { index, at, cpu } of fired) {
          assert.ok(at >= deadlines[index]!, 'not early')
          // A stalled CPU of the simulation is late by its stall.
          assert.ok(at <= deadlines[index]! + 2 * TICK_US + 400, `late by ${at - deadlines[index]!}`)
          places.add((cpu - index + 30) % 3)
        }
        assert.deepEqual(places, new Set([1, 2]), 'some fired from the shared wheels, some after they had moved back')
        void machine.stop()
      })
    }

    test('when the machine stops, the wheels go back to the slab, and timers that are left in them do no harm', async () => {
      const machine = simulated(2, 1)
      const gate = { tryEnter: () => true, leave: () => {} }
      const object = machine.cpus[0]!.slab.allocate(64)
      machine.memory.u8.fill(0, object + 8, object + 64)
      const parts: SharedTimers[] = []
      for (const cpu of machine.cpus) parts.push(SharedTimers.create(cpu, 'test', gate))
      parts[0]!.arm(object + 8, 1e6, FIRED_MOVED)
      // CPU 0 has stopped, and its wheel is free, when CPU 1 cancels there.
      let cancelled = false
      machine.cpus[1]!.onStop(() => {
        cancelled = parts[1]!.cancel(object + 8)
        machine.cpus[0]!.slab.free(object)
      })
      assert.throws(() => SharedTimers.create(machine.cpus[0]!, 'test', gate), { code: 'EEXIST' })
      machine.run({ untilUs: 5000 })
      await machine.stop()
      assert.equal(cancelled, true)
      assert.equal(machine.cpus[1]!.slab.live, 0)
      // That of the second `create`, which failed, would be one more.
      assert.equal(machine.cpus[0]!.slab.live, 0)
      assert.equal(machine.cpus[0]!.timers.armed, 0)
    })

    test('two real threads arm, cancel and fire under load: nobody is inside twice, and the counts balance', {
      timeout: 60_000,
    }, async () => {
      const machine = await boot({
        cpus: 2,
        seed,
        program: new URL(import.meta.url),
        regions: { shared: REGION_BYTES },
        memoryBytes: 16 * 1024 * 1024,
        signals: false,
      })
      let failure: unknown
      machine.done.catch((error) => {
        failure = error
      })
      const { memory } = machine
      const word = (index: number) => Atomics.load(memory.i32, (base(memory) >> 2) + index)
      const tally = (what: (typeof TALLY)[number]) => word(WORDS.tally + TALLY.indexOf(what))
      const of = (counter: string) => sumOf(machine, SET, counter)
      const quiet = () => {
        for (let i = 0; i < TIMERS; i++)
          if (memory.i32[(base(memory) + WORDS.timers * 4 + i * Timer.size + Timer.offset.armed) >> 2] !== 0)
            return false
        return true
      }
      while (!(word(WORDS.finished) === 2 && quiet() && of('timersFired') === tally('fired'))) {
        if (failure !== undefined) throw failure
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      await machine.stop()
      assert.deepEqual([tally('overlapping'), tally('early')], [0, 0])
      assert.equal(of('timersArmed'), tally('armed'))
      assert.equal(of('timersCancelled'), tally('cancelled'))
      assert.equal(of('timersFired'), tally('fired'))
      assert.equal(of('timersArmed'), of('timersRearmed') + of('timersFired') + of('timersCancelled'))
      assert.ok(of('timersElsewhere') > 0 && of('timersFired') > 0 && of('timersCancelled') > 0)
      for (let i = 0; i < GROUPS; i++) assert.equal(word(WORDS.locks + i), 0)
      assert.equal(sumOf(machine, 'slab', 'allocated'), sumOf(machine, 'slab', 'freed'))
    })
  })
}

/** A record that is not armed. */
function blank(cpu: Cpu): Address {
  const object = cpu.slab.allocate(64)
  cpu.memory.u8.fill(0, object + 8, object + 64)
  return object + 8
}

const MOVED = Symbol('moved')
interface Moved {
  fired(index: number): void
  part(): SharedTimers
}
const moved = (cpu: Cpu): Moved =>
  cpu.slot<Moved>(MOVED, () => {
    throw new Error('nothing moves here')
  })
const FIRED_MOVED = define('test.shared.moved', (cpu, index) => moved(cpu).fired(index))
const REFRESH = define('test.shared.refresh', (cpu) => moved(cpu).part().refresh())
