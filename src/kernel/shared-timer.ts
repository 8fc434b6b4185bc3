// Timers of what belongs to no CPU but stands behind a lock: read timer.ts first. A record is armed by whichever CPU has
// the lock, into that CPU's own wheel, and may be armed anew or cancelled by any other that has it later.
//
//   the record     is touched by whoever has the lock of what it belongs to: two CPUs never touch one record at a time,
//   the links      (next, previous, slot) and the wheel by whoever has the wheel's mutex, which is never waited in.
//
// Order of locks: first that of what the timer belongs to, then the wheel's. Firing goes the other way, from the wheel to
// the record, and therefore only tries: a record whose owner is busy is looked at again a tick later (`timersPostponed`).
// Under a lock that is always held when it is tried, a timer would be late without end; one tick is long for a lock.
import { assert } from '../base/assert.ts'
import { Limits } from '../base/limits.ts'
import type { Address } from '../base/struct.ts'
import { counterSet } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define, type FunctionId, functionOf } from './function.ts'
import { WHEEL_BYTES } from './layout.ts'
import { lockClass, lockSite } from './lock.ts'
import { Mutex } from './mutex.ts'
import { type TakenTimer, TICK_US, Timer, type TimerSet, TimerWheel, tickOf } from './timer.ts'

/** How what a timer belongs to is entered before it fires. */
export interface TimerGate {
  /**
   * Takes the lock of what the timer (run, argument) belongs to, if nobody has it. Called with the wheel's mutex held,
   * so that the timer cannot be cancelled, and what it belongs to not be freed, meanwhile. It must not wait, and arm or
   * cancel nothing.
   */
  tryEnter(cpu: Cpu, run: FunctionId, argument: number): boolean
  /** After `run` has returned, which may have freed what `argument` names: which lock it is must be known from `tryEnter`. */
  leave(cpu: Cpu, argument: number): void
}

/** `armed` counts all calls of `arm`; armed = rearmed + fired + cancelled + still armed, over all CPUs. */
export const SharedTimerCounters = counterSet('shared timer', [
  'timersArmed',
  'timersRearmed',
  'timersFired',
  'timersCancelled',
  'timersElsewhere', // armed anew or cancelled in the wheel of another CPU
  'timersPostponed', // due, but somebody was inside of what they belong to
  'carriers', //        times that a CPU looked after its wheel
] as const)
const C = SharedTimerCounters.index

const AT = Timer.offset
const CLASS = lockClass('timer wheel')
const ARM = lockSite('timer arm')
const CANCEL = lockSite('timer cancel')
const FIRE = lockSite('timer fire')

// A CPU's block. The first words are the slab's, and stay so after the block was freed at the machine's stop: a CPU that
// stops later, and cancels a timer there, harms nobody.
const MUTEX = 16
/** What the CPU's own `Timers` wake us by: a line of its own, for nobody else touches it. */
const CARRIER = 64
const WHEEL = 128
const BLOCK_BYTES = WHEEL + WHEEL_BYTES

/** One CPU's wheel, as any CPU sees it. */
interface Guarded {
  readonly wheel: TimerWheel
  readonly mutex: Mutex
}

export class SharedTimers implements TimerSet {
  readonly #cpu: Cpu
  readonly #name: string
  readonly #gate: TimerGate
  readonly #count: Float64Array
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #u16: Uint16Array
  readonly #block: Address
  readonly #own: Guarded
  /** By CPU, as far as they were needed. */
  readonly #others: (Guarded | undefined)[] = []
  #firing = false

  /**
   * This CPU's part of the timers called `name`: each CPU that arms, cancels or fires any makes its own.
   * @throws KernelError EEXIST where this CPU has made it before; ENOMEM
   */
  static create(cpu: Cpu, name: string, gate: TimerGate): SharedTimers {
    return new SharedTimers(cpu, name, gate)
  }

  private constructor(cpu: Cpu, name: string, gate: TimerGate) {
    this.#cpu = cpu
    this.#name = name
    this.#gate = gate
    this.#count = cpu.counterPage.open(SharedTimerCounters)
    this.#i32 = cpu.memory.i32
    this.#f64 = cpu.memory.f64
    this.#u16 = cpu.memory.u16
    this.#block = cpu.slab.allocate(BLOCK_BYTES)
    cpu.memory.u8.fill(0, this.#block + 8, this.#block + BLOCK_BYTES)
    this.#own = guarded(cpu, this.#block, cpu.index)
    this.#others[cpu.index] = this.#own
    try {
      cpu.names.add(wheelName(name, cpu.index), this.#block)
    } catch (error) {
      cpu.slab.free(this.#block)
      throw error
    }
    byBlock(cpu).set(this.#block, this)
    cpu.onStop(() => this.#close())
  }

  /** Timers in this CPU's wheel. */
  get armed(): number {
    return this.#own.wheel.linked
  }

  /** Whether this timer is armed, on whatever CPU. */
  isArmed(timer: Address): boolean {
    return this.#i32[(timer + AT.armed) >> 2] !== 0
  }

  /** When an armed timer fires, µs. */
  deadline(timer: Address): number {
    return this.#f64[(timer + AT.deadline) >> 3]!
  }

  /**
   * Arms `timer` to run `run(argument, timer)` in `delayUs` on this CPU, behind the gate; never earlier, and up to two
   * ticks (256 µs) later unless somebody is inside then. Arms anew if it was armed, here or elsewhere.
   */
  arm(timer: Address, delayUs: number, run: FunctionId, argument = 0): void {
    const cpu = this.#cpu
    const { wheel, mutex } = this.#own
    cpu.refresh()
    const deadlineUs = cpu.now + (delayUs > 0 ? delayUs : 0)
    const home = this.#i32[(timer + AT.armed) >> 2]!
    if (home !== 0) this.#count[C.timersRearmed]!++
    // Out of the other wheel before the record changes: that wheel's CPU may be looking at it.
    if (home !== 0 && home !== 1 + cpu.index) this.#unlink(timer, home - 1, ARM)
    this.#enter(mutex, ARM)
    // While timers fire, the wheel's tick is theirs.
    if (!this.#firing) wheel.skip(tickOf(cpu.now))
    if (home === 1 + cpu.index) wheel.relink(timer, deadlineUs, run, argument)
    else wheel.link(timer, deadlineUs, run, argument)
    mutex.leave(cpu)
    this.#count[C.timersArmed]!++
    if (cpu.tracer.isSet) cpu.tracer.armed(timer, run, this.arm)
    if (!this.#firing) this.#carryBy(deadlineUs)
  }

  /** Disarms. Returns whether it was armed. */
  cancel(timer: Address): boolean {
    const home = this.#i32[(timer + AT.armed) >> 2]!
    if (home === 0) return false
    this.#unlink(timer, home - 1, CANCEL)
    this.#count[C.timersCancelled]!++
    return true
  }

  /**
   * Links a timer that is not armed into the wheel of CPU `cpu`. Takes no lock: for whoever holds all other CPUs
   * (cpusync). When they go on, each calls `refresh`. `putTimer` is its like, `takeTimer` the reverse.
   */
  put(cpu: number, timer: Address, { deadlineUs, run, argument }: TakenTimer): void {
    assert(!this.isArmed(timer), 'a timer is in one wheel at a time')
    const { wheel } = this.#wheelOf(cpu)
    wheel.skip(tickOf(this.#cpu.now))
    wheel.link(timer, deadlineUs, run, argument)
  }

  /** This CPU's wheel was filled or emptied by another while this one was held: looks when it has to fire next. */
  refresh(): void {
    const { wheel, mutex } = this.#own
    this.#enter(mutex, FIRE)
    const next = wheel.nextTick()
    mutex.leave(this.#cpu)
    this.#carryAt(next)
  }

  /** Fires what is due in this CPU's wheel. For the carrier. */
  fire(): void {
    const cpu = this.#cpu
    const now = tickOf(cpu.now)
    this.#count[C.carriers]!++
    this.#firing = true
    for (let fired = 0; fired < Limits.timerBatch; fired++) {
      const timer = this.#enterDue(now)
      if (timer === 0) break
      this.#count[C.timersFired]!++
      // Read before it runs: what the record lies in may then be freed.
      const argument = this.#i32[(timer + AT.argument) >> 2]!
      if (cpu.tracer.isSet) cpu.tracer.fired(timer)
      functionOf(this.#u16[(timer + AT.run) >> 1]!)(cpu, argument, timer, 0, cpu.index)
      this.#gate.leave(cpu, argument)
    }
    this.#firing = false
    this.refresh()
  }

  /**
   * Takes the first timer that is due and can be entered out of the wheel, or answers 0. A record may be read here
   * without the lock of what it belongs to: while it is linked, and we have the wheel's mutex, nobody can cancel it, and
   * therefore neither free it nor change it.
   */
  #enterDue(now: number): Address {
    const { wheel, mutex } = this.#own
    this.#enter(mutex, FIRE)
    try {
      for (let tick = wheel.nextTick(); tick <= now; tick = wheel.nextTick()) {
        wheel.turnTo(tick)
        for (let timer = wheel.due(); timer !== 0; timer = wheel.due()) {
          const run = this.#u16[(timer + AT.run) >> 1]!
          if (this.#gate.tryEnter(this.#cpu, run, this.#i32[(timer + AT.argument) >> 2]!)) {
            wheel.unlink(timer)
            return timer
          }
          wheel.postpone(timer, now + 1)
          this.#count[C.timersPostponed]!++
        }
        wheel.tick = tick + 1
      }
      if (wheel.tick <= now) wheel.tick = now + 1
      return 0
    } finally {
      mutex.leave(this.#cpu)
    }
  }

  #unlink(timer: Address, cpu: number, site: number): void {
    const { wheel, mutex } = this.#wheelOf(cpu)
    if (cpu !== this.#cpu.index) this.#count[C.timersElsewhere]!++
    this.#enter(mutex, site)
    wheel.unlink(timer)
    mutex.leave(this.#cpu)
  }

  /** `Mutex.enter` gives up when the machine stops. What stops still takes its timers out, and whoever is in soon leaves. */
  #enter(mutex: Mutex, site: number): void {
    const cpu = this.#cpu
    if (mutex.tryEnter(cpu, site)) return
    if (!cpu.stopping()) mutex.enter(cpu, site)
    else while (!mutex.tryEnter(cpu, site)) cpu.host.relax(cpu)
  }

  #wheelOf(cpu: number): Guarded {
    this.#others[cpu] ??= this.#find(cpu)
    return this.#others[cpu]
  }

  #find(cpu: number): Guarded {
    const block = this.#cpu.names.find(wheelName(this.#name, cpu))
    assert(block !== 0, 'a CPU whose wheel is used has made it')
    return guarded(this.#cpu, block, cpu)
  }

  /** Has the carrier come in time for a timer of this deadline. It may come too early: then it finds nothing. */
  #carryBy(deadlineUs: number): void {
    const { timers } = this.#cpu
    const carrier = this.#block + CARRIER
    if (timers.isArmed(carrier) && timers.deadline(carrier) <= deadlineUs) return
    timers.armAt(carrier, deadlineUs, CARRY, this.#block)
  }

  /** Has the carrier come at this tick, or at the next where that is over: not again in this turn. */
  #carryAt(tick: number): void {
    const { timers, now } = this.#cpu
    const carrier = this.#block + CARRIER
    // In the middle of the tick before, so that no rounding matters.
    if (tick === Number.POSITIVE_INFINITY) timers.cancel(carrier)
    else timers.armAt(carrier, (Math.max(tick, tickOf(now) + 1) - 0.5) * TICK_US, CARRY, this.#block)
  }

  /** At the machine's stop. The name stays: a CPU that stops later may look for it. */
  #close(): void {
    const { timers, slab } = this.#cpu
    timers.cancel(this.#block + CARRIER)
    byBlock(this.#cpu).delete(this.#block)
    slab.free(this.#block)
  }
}

function wheelName(name: string, cpu: number): string {
  return `${name}/wheel/${cpu}`
}

function guarded(cpu: Cpu, block: Address, owner: number): Guarded {
  return { wheel: new TimerWheel(cpu.memory, block + WHEEL, owner), mutex: new Mutex(block + MUTEX, CLASS) }
}

/** A CPU's parts, by the address of their blocks: what a carrier carries. */
const PARTS = Symbol('shared timers')
const byBlock = (cpu: Cpu) => cpu.slot(PARTS, () => new Map<Address, SharedTimers>())
const CARRY = define('timer.carrier', (cpu, block) => byBlock(cpu).get(block)!.fire())
