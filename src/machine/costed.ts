// The sim host with costs: each CPU has a virtual time of its own, and what it does takes as much of it as a table says (cost.ts). So a
// machine of 128 CPUs can be asked how fast it would be, on one thread. Read sim.ts first; tests of behaviour use that one.
//
// The CPU that is furthest behind goes on, with the next part of its turn (`Cpu.turnInParts`). Its time goes on within a part as well, at each
// lock that it takes or leaves and whenever it asks for the time, by what it has counted since. Where this is not what happens on threads:
//
//   - A part is carried out as a whole: the packets of one poll, the messages of one service, one roll-up. Two CPUs whose parts overlap in
//     virtual time do not see each other's marks in a shared group in between. Locks are right nevertheless, up to the order in which
//     they are had: each has a timeline of its own (timeline.ts), and who comes later in the simulation finds the first gap.
//   - What is published to another CPU is shown to it at the time when the part that did it was over, not in its middle.
//   - Words that CPUs share without a message (free lists, the load device's cells) are seen at once, by up to a turn too early.
//   - A CPU that waits for a lock serves no IPIs meanwhile, and a `tryEnter` that would have failed waits instead.
//   - Cache lines are those of locks and of what is counted; what else moves between caches is free.
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { Random, systemSeed } from '../base/random.ts'
import type { Address } from '../base/struct.ts'
import { K } from '../kernel/counters.ts'
import { Cpu, type LockTimes } from '../kernel/cpu.ts'
import { MachineStopping } from '../kernel/ipi.ts'
import { MachineHeader } from '../kernel/layout.ts'
import { lockClassName, lockSiteName } from '../kernel/lock.ts'
import { Account, CpuTime } from './account.ts'
import type { CostTable } from './cost.ts'
import { Ending } from './ending.ts'
import { CpuFailure } from './failure.ts'
import { LockModel } from './lockmodel.ts'
import { createMemory, MachineView } from './machine.ts'
import type { CpuProgram, MachineOptions } from './options.ts'
import { startProgram } from './program.ts'
import { Publications } from './publication.ts'
import { serveOther, shown } from './tracing.ts'

export interface CostedOptions extends MachineOptions {
  readonly program?: CpuProgram
  readonly costs: CostTable
}

/** A busy wait of so many looks is a livelock: only what IPIs do can end one here. */
const RELAX_MAX = 1_000_000
/** Turns after which the locks forget what is over. */
const FORGET_TURNS = 256
const US = 1e-3

/** A CPU with what the model knows of it. */
interface Seat {
  readonly cpu: Cpu
  readonly time: CpuTime
  readonly account: Account
  /** The turn that it is in the middle of. */
  turn: Generator<void, number, void> | undefined
  asleep: boolean
  sleptAt: number
  /** When a sleeping CPU is woken as far as is known, and whether by another one: else it has to look after its timers. */
  wakeAt: number
  isRung: boolean
  /** Since when it has found nothing to do; Infinity while it does. */
  idleSince: number
}

export class CostedMachine extends MachineView implements LockTimes {
  readonly cpus: readonly Cpu[]
  readonly seed: number
  /** The CPU that is furthest behind. */
  readonly clock: Clock = { now: () => Math.min(...this.cpus.map((cpu) => cpu.clock.now())) }
  readonly #costs: CostTable
  readonly #seats: readonly Seat[]
  readonly #locks: LockModel
  readonly #publications: Publications
  readonly #turnLooks: number
  readonly #ending = new Ending()
  /** By class and site. */
  readonly #siteNames: string[][] = []
  #running: Seat | undefined
  #relaxed = 0
  #steps = 0
  #stopped = false

  constructor(options: CostedOptions) {
    super(createMemory(options, false))
    this.seed = options.seed ?? systemSeed()
    this.#costs = options.costs
    const { cpus: count } = this.layout
    this.#locks = new LockModel(options.costs, count)
    this.#publications = new Publications(this.memory)
    this.#turnLooks = options.costs.ringLook * (count - 1) * US
    this.done.catch(() => {})
    const random = new Random(this.seed)
    // The hook of locks is where they are measured.
    const cpuOptions = { ...options, profileLocks: true }
    this.#seats = Array.from({ length: count }, (_, index) => {
      const time = new CpuTime()
      const host = {
        ring: (target: number) => this.#ring(this.#seats[index]!, this.#seats[target]!),
        relax: () => this.#relax(this.#seats[index]!),
        locks: this,
      }
      const cpu = shown(new Cpu(index, this.memory, host, time, random.fork(index), cpuOptions), options)
      const account = new Account(this.memory, index, options.costs)
      time.pay = () => account.due()
      const idleSince = Number.POSITIVE_INFINITY
      const wakeAt = Number.POSITIVE_INFINITY
      return { cpu, time, account, turn: undefined, asleep: false, sleptAt: 0, wakeAt, isRung: false, idleSince }
    })
    this.cpus = this.#seats.map(({ cpu }) => cpu)
    if (options.program === undefined) return
    for (const seat of this.#seats) {
      this.#guard(seat.cpu, () => startProgram(seat.cpu, options.program!, options.data), 'while it started')
      this.#settle(seat)
    }
    // What the programs have sent as they began is seen at once.
    for (const { cpu } of this.#seats) this.#publications.showAll(cpu.index)
  }

  /** The time that all CPUs that are awake have reached, µs. */
  get now(): number {
    let least = Number.POSITIVE_INFINITY
    for (const { asleep, time, wakeAt } of this.#seats) least = Math.min(least, asleep ? wakeAt : time.us)
    return least
  }

  /** What all CPUs together have waited for locks so far, and for lines of locks that others had: µs. */
  get lockTimes(): { readonly waitedUs: number; readonly movedUs: number } {
    const { waitedUs, movedUs } = this.#locks
    return { waitedUs, movedUs }
  }

  /** Turns taken so far. */
  get steps(): number {
    return this.#steps
  }

  /**
   * Runs until `until` holds, all CPUs have reached `untilUs`, or nothing is left that could happen. Returns why it ended.
   * @throws CpuFailure when a CPU threw; Error after `maxSteps` turns (default 100 million)
   */
  run(options: { until?: () => boolean; untilUs?: number; maxSteps?: number } = {}): 'until' | 'time' | 'idle' {
    assert(!this.#stopped, 'a stopped machine does not run')
    const { until, untilUs = Number.POSITIVE_INFINITY, maxSteps = 100_000_000 } = options
    const last = this.#steps + maxSteps
    while (until === undefined || !until()) {
      if (this.#stopped) return 'idle'
      const seat = this.#next()
      const at = seat.asleep ? seat.wakeAt : seat.time.us
      if (at >= untilUs) return 'time'
      if (at === Number.POSITIVE_INFINITY) return 'idle'
      if (this.#steps > last) {
        throw new Error(`the simulation (seed ${this.seed}) has not ended after ${maxSteps} turns`)
      }
      if (seat.asleep) this.#wake(seat, seat.isRung, seat.wakeAt)
      this.#advance(seat)
    }
    return 'until'
  }

  get done(): Promise<void> {
    return this.#ending.done
  }

  get settled(): Promise<void> {
    return this.#ending.settled
  }

  stop(): Promise<void> {
    if (this.#stopped) return this.done
    this.#stopped = true
    Atomics.store(this.memory.i32, (this.layout.header + MachineHeader.offset.stop) >> 2, 1)
    const failure = CpuFailure.ofShutdowns(this.cpus)
    if (failure === undefined) this.#ending.well()
    else this.#ending.badly(failure)
    return this.done
  }

  entered(cpu: Cpu, lock: Address, lockClass: number, site: number, shared: boolean): number {
    if (this.#stopped) return 0
    const seat = this.#seats[cpu.index]!
    this.#settle(seat)
    const name = this.#siteName(lockClass, site)
    seat.time.us = this.#locks.enter(cpu.index, lock, seat.time.us, name, shared)
    return this.#locks.waited
  }

  left(cpu: Cpu, lock: Address): void {
    if (this.#stopped) return
    const seat = this.#seats[cpu.index]!
    this.#settle(seat)
    seat.time.us = this.#locks.leave(cpu.index, lock, seat.time.us)
  }

  /** The CPU, awake or with a timer, that is furthest behind; the one with the lowest number of several. */
  #next(): Seat {
    let next = this.#seats[0]!
    let least = Number.POSITIVE_INFINITY
    for (const seat of this.#seats) {
      const at = seat.asleep ? seat.wakeAt : seat.time.us
      if (at < least) {
        least = at
        next = seat
      }
    }
    return next
  }

  /** The next part of the turn that a CPU is in, or of its next one. */
  #advance(seat: Seat): void {
    const { cpu, time } = seat
    if (seat.turn === undefined) {
      this.#publications.show(cpu.index, time.us)
      seat.account.look()
      if (++this.#steps % FORGET_TURNS === 0) this.#locks.forget(time.us)
      seat.turn = cpu.turnInParts()
    }
    this.#relaxed = 0
    this.#running = seat
    const part = this.#guard(cpu, () => seat.turn!.next())
    this.#running = undefined
    if (this.#stopped || part === undefined) return
    this.#settle(seat)
    if (part.done === true) this.#endTurn(seat, part.value)
    const seen = time.us + 2 * this.#costs.lineTransfer * US
    this.#publications.hold(cpu.index, cpu.count[K.ipiPublishes]!, seen)
  }

  #endTurn(seat: Seat, work: number): void {
    const { turn, idleTurn } = this.#costs
    seat.turn = undefined
    seat.time.us += (work > 0 ? turn : idleTurn) * US + this.#turnLooks
    if (work > 0) seat.idleSince = Number.POSITIVE_INFINITY
    else this.#idle(seat)
  }

  /** Nothing was to be done: on to when something may be, or to sleep. */
  #idle(seat: Seat): void {
    const { cpu, time } = seat
    if (seat.idleSince === Number.POSITIVE_INFINITY) seat.idleSince = time.us
    const shown = this.#publications.next(cpu.index)
    const giveUp = seat.idleSince + this.#costs.patience * US
    const timer = time.us + cpu.timers.untilNext()
    if (time.us >= giveUp && shown > time.us && cpu.announceSleep()) {
      seat.asleep = true
      seat.sleptAt = time.us
      // Who has sent what is still to be seen found it awake, in the order of the simulation: it would have rung.
      const rung = shown + (this.#costs.doorbell + this.#costs.wakeup) * US
      seat.isRung = rung < timer
      seat.wakeAt = Math.min(rung, timer)
      return
    }
    // Until another CPU has had a turn nothing changes: the looks in between are not carried out.
    let others = Number.POSITIVE_INFINITY
    for (const other of this.#seats) {
      if (other !== seat) others = Math.min(others, other.asleep ? other.wakeAt : other.time.us)
    }
    const next = Math.min(others, shown, timer, Math.max(giveUp, time.us))
    if (next > time.us && next < Number.POSITIVE_INFINITY) time.us = next
  }

  #siteName(lockClass: number, site: number): string {
    this.#siteNames[lockClass] ??= []
    const names = this.#siteNames[lockClass]
    names[site] ??= `${lockClassName(lockClass)}@${lockSiteName(site)}`
    return names[site]
  }

  #ring(by: Seat, target: Seat): void {
    if (!target.asleep) return
    this.#settle(by)
    this.#wake(target, true, Math.max(target.sleptAt, by.time.us) + this.#costs.wakeup * US)
  }

  #wake(seat: Seat, rung: boolean, at: number): void {
    seat.asleep = false
    seat.wakeAt = Number.POSITIVE_INFINITY
    seat.idleSince = Number.POSITIVE_INFINITY
    seat.time.us = Math.max(seat.time.us, at)
    this.#publications.show(seat.cpu.index, seat.time.us)
    seat.cpu.awake(rung, seat.time.us - seat.sleptAt)
  }

  /** Takes the time for what was counted. */
  #settle(seat: Seat): void {
    seat.time.now()
  }

  /** A CPU waits for room in a ring: what it has sent is seen, and the others serve their IPIs. */
  #relax(seat: Seat): void {
    if (++this.#relaxed > RELAX_MAX) {
      throw new Error(
        `in the simulation (seed ${this.seed}) cpu ${seat.cpu.index} waits, busily, for what no IPI brings`,
      )
    }
    seat.time.us += this.#costs.idleTurn * US
    for (const other of this.#seats) {
      if (other.asleep || other === seat || other === this.#running) continue
      this.#publications.showAll(other.cpu.index)
      serveOther(seat.cpu, other.cpu)
      this.#settle(other)
    }
    this.#publications.showAll(seat.cpu.index)
  }

  #guard<T>(cpu: Cpu, run: () => T, where?: string): T | undefined {
    try {
      return run()
    } catch (error) {
      if (error instanceof MachineStopping) return undefined
      const failure = where === undefined ? CpuFailure.of(cpu, error) : new CpuFailure(cpu.index, where, error)
      this.#ending.badly(failure)
      this.stop().catch(() => {})
      throw failure
    }
  }
}

/** Boots a machine that is simulated with costs. Nothing runs until `run`. */
export function simulateCosts(options: CostedOptions): CostedMachine {
  return new CostedMachine(options)
}
