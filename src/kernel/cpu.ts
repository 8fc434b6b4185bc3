// A CPU: the globaldata of one processor of the machine, and its run loop. Nothing that belongs to a CPU is a module
// variable, so that many can live in one thread of the operating system. Who calls `turn` is the host (src/machine).
import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Address } from '../base/struct.ts'
import { type Batches, batchesOf } from './batch.ts'
import { CounterPage, CpuCounters, K, type TallyOf, tallyOf } from './counters.ts'
import { CpuState } from './cpustate.ts'
import { Cpusync } from './cpusync.ts'
import { Handoffs } from './handoff.ts'
import { Hardclock } from './hardclock.ts'
import { Ipi } from './ipi.ts'
import { CpuBlock, MachineHeader } from './layout.ts'
import { LockProfile } from './lock.ts'
import type { Memory } from './memory.ts'
import { Names } from './name.ts'
import { OrderChecker } from './order.ts'
import { Ports } from './port.ts'
import { Recycler } from './recycle.ts'
import { Signals } from './signal.ts'
import { Slab } from './slab.ts'
import { SleepQueue } from './sleep.ts'
import { Threads } from './thread.ts'
import { Timers } from './timer.ts'
import { type Marks, Tracer } from './trace/tracer.ts'
import { Witness } from './witness.ts'

/** What a CPU needs of whoever runs it. */
export interface Host {
  /** Wakes a CPU whose state word was just changed from sleeping to running. */
  ring(target: number): void
  /** Called again and again in a busy wait: lets the others get on. */
  relax(cpu: Cpu): void
  /** Where the host keeps the time of locks itself. Asked only by CPUs that measure locks (`profileLocks`). */
  readonly locks?: LockTimes
}

/** The time that locks take on a host whose CPUs have turns one after the other (machine/costed.ts): else none is ever found held. */
export interface LockTimes {
  /** `cpu` has taken a lock. Returns for how many µs it has waited for it. */
  entered(cpu: Cpu, lock: Address, lockClass: number, site: number, shared: boolean): number
  /** `cpu` has left the lock that it took last and has not left yet. */
  left(cpu: Cpu, lock: Address, lockClass: number, site: number, shared: boolean): void
}

/** Another way to sleep than on the state word: a CPU with devices blocks in poll(2). */
export interface Sleeper {
  /** Blocks until something is to be read, the descriptor `doorbell` is written to, or the time is over. */
  sleep(timeoutMs: number): void
  /** The eventfd that others write to. */
  readonly doorbell: number
  close(): void
}

/** What the run loop polls: a device's queue, mostly. */
export interface Pollable {
  /** Takes in what has come, up to a budget of its own. Returns how much. */
  poll(): number
  /** Sends out what was staged. Called at the end of each turn. */
  flush(): void
  /** Whether `poll` would find something: the last look before a sleep. */
  pending(): boolean
  /** A descriptor that becomes readable, where the sleep can wait for one. */
  readonly descriptor?: number | undefined
  close(): void
}

export interface CpuOptions {
  /** Prove the order of messages at run time. Default false. */
  readonly checkOrder?: boolean
  /** Prove that locks are taken in one order (witness.ts). Default false. */
  readonly checkLocks?: boolean
  /** Measure how long locks are held. Default false: counts only. */
  readonly profileLocks?: boolean
  /** How much is done together before others have their turn. */
  readonly batches?: Partial<Batches>
}

/** What is counted of each message. */
const CpuTally = tallyOf(CpuCounters, ['messagesSent', 'messagesDirect', 'messagesReplied'])

export class Cpu {
  readonly index: number
  readonly memory: Memory
  readonly host: Host
  readonly clock: Clock
  readonly random: Random
  /** This CPU's record that others write to. */
  readonly block: Address
  readonly counterPage: CounterPage
  /** Counts of the kernel itself: `count[K.name]`. */
  readonly count: Float64Array
  readonly tally: TallyOf<typeof CpuTally>
  readonly handoffs: Handoffs
  /** Who sent this? (provenance) */
  readonly tracer: Tracer
  /** Of the tracer (`Tracer.watch`). */
  traceMarks: Marks = 0
  readonly locks: LockProfile
  readonly ipi: Ipi
  readonly slab: Slab
  readonly names: Names
  readonly ports: Ports
  readonly timers: Timers
  readonly threads: Threads
  readonly sleepQueue: SleepQueue
  readonly signals: Signals
  readonly cpusync: Cpusync
  readonly hardclock: Hardclock
  readonly recycler: Recycler
  readonly order: OrderChecker | undefined
  readonly witness: Witness | undefined
  readonly profileLocks: boolean
  readonly batches: Batches
  /** The time at the beginning of this turn, µs. */
  now = 0
  #sleeper: Sleeper | undefined = undefined
  /** Data of the layers above, one object for each kind and CPU: see `slot`. */
  readonly #slots = new Map<symbol, unknown>()
  readonly #pollables: Pollable[] = []
  readonly #rollups: { readonly priority: number; readonly run: () => void }[] = []
  readonly #onStop: (() => void)[] = []
  readonly #stopWord: number
  readonly #turnsWord: number
  #turnBegan = 0
  #wasBusy = false
  #drained = 0
  #inTurn = false

  constructor(index: number, memory: Memory, host: Host, clock: Clock, random: Random, options: CpuOptions = {}) {
    assert(index >= 0 && index < memory.layout.cpus, 'a CPU has a number below the count of CPUs')
    this.index = index
    this.memory = memory
    this.host = host
    this.clock = clock
    this.random = random
    this.block = memory.layout.cpuBlock(index)
    this.counterPage = new CounterPage(memory, index)
    this.count = this.counterPage.open(CpuCounters)
    this.tally = this.counterPage.tally(CpuTally)
    this.handoffs = new Handoffs(memory, index)
    this.tracer = new Tracer(this)
    this.tracer.watch((marks) => {
      this.traceMarks = marks
    })
    this.locks = new LockProfile(this)
    this.order = options.checkOrder === true ? new OrderChecker(this) : undefined
    this.profileLocks = options.profileLocks ?? false
    this.batches = batchesOf(options.batches)
    this.ipi = new Ipi(this)
    this.slab = new Slab(this)
    this.names = new Names(memory)
    this.witness = options.checkLocks === true ? new Witness(this) : undefined
    this.ports = new Ports(this)
    this.timers = new Timers(this)
    this.sleepQueue = new SleepQueue(this)
    this.signals = new Signals(this)
    this.threads = new Threads(this)
    this.cpusync = new Cpusync(this)
    this.hardclock = new Hardclock(this)
    this.recycler = new Recycler(this)
    this.#stopWord = (memory.layout.header + MachineHeader.offset.stop) >> 2
    this.#turnsWord = (this.block + CpuBlock.offset.turns) >> 3
    this.now = clock.now()
    this.#turnBegan = this.now
  }

  /** How many CPUs the machine has. */
  get cpus(): number {
    return this.memory.layout.cpus
  }

  /** One turn of the run loop. Returns how much was done: 0 means that the CPU may sleep. */
  turn(): number {
    this.#inTurn = true
    const work = this.#turn()
    this.#inTurn = false
    return work
  }

  /**
   * As `turn`, in parts: between two of them another CPU of the same thread may have one of its own, and sees what they share half done,
   * as it would on threads. For a host whose CPUs have virtual times of their own (machine/costed.ts).
   */
  *turnInParts(): Generator<void, number, void> {
    this.#inTurn = true
    if (this.#standsStill()) {
      this.#inTurn = false
      return this.#drained + 1
    }
    let work = this.#drained
    for (const pollable of this.#pollables) work += pollable.poll()
    this.tracer.current = 0
    yield
    work += this.ports.serve()
    work += this.threads.run()
    work += this.timers.fire()
    if (work > 0) {
      for (const { run } of this.#rollups) {
        yield
        run()
      }
      this.count[K.rollups]! += this.#rollups.length
    }
    this.#endTurn(work)
    this.#inTurn = false
    return work
  }

  #turn(): number {
    if (this.#standsStill()) return this.#drained + 1
    let work = this.#drained
    for (let i = 0; i < this.#pollables.length; i++) work += this.#pollables[i]!.poll()
    this.tracer.current = 0
    work += this.ports.serve()
    work += this.threads.run()
    work += this.timers.fire()
    if (work > 0) this.#runRollups()
    this.#endTurn(work)
    return work
  }

  /** Outside of turns, on an event loop, the time stands still: whoever needs it to be now asks first. */
  refresh(): void {
    if (!this.#inTurn) this.now = this.clock.now()
  }

  /** Whether a turn would find something to do now. */
  busy(): boolean {
    if (this.ports.hasReady || this.threads.busy || this.cpusync.held || this.ipi.backlogged || this.ipi.pending())
      return true
    for (let i = 0; i < this.#pollables.length; i++) if (this.#pollables[i]!.pending()) return true
    return false
  }

  /**
   * Says "I sleep", and looks once more. From a `true` on, whoever has work for this CPU rings its doorbell;
   * `false` means that there is work already.
   */
  announceSleep(): boolean {
    const word = (this.block + CpuBlock.offset.state) >> 2
    Atomics.store(this.memory.i32, word, CpuState.sleeping)
    if (!this.busy() && !this.stopping()) {
      this.count[K.sleeps]!++
      // Programs of an event loop have their time between turns.
      this.counterPage.fold()
      return true
    }
    Atomics.store(this.memory.i32, word, CpuState.running)
    return false
  }

  /** Back from a sleep: `rung` when a doorbell ended it. */
  awake(rung: boolean, sleptUs: number): void {
    Atomics.store(this.memory.i32, (this.block + CpuBlock.offset.state) >> 2, CpuState.running)
    this.count[K.sleepUs]! += sleptUs
    if (rung) {
      this.count[K.doorbellsReceived]!++
      if (!this.busy()) this.count[K.spuriousWakeups]!++
    }
    this.#turnBegan = this.clock.now()
    this.#wasBusy = false
  }

  /** The index, among 32-bit words, of the word that sleeping hosts wait on. */
  get stateWord(): number {
    return (this.block + CpuBlock.offset.state) >> 2
  }

  get sleeper(): Sleeper | undefined {
    return this.#sleeper
  }

  /** From now on this CPU sleeps by `sleeper`, and is woken by its descriptor. */
  setSleeper(sleeper: Sleeper): void {
    assert(this.#sleeper === undefined, 'a CPU has one way to sleep')
    this.#sleeper = sleeper
    Atomics.store(this.memory.i32, (this.block + CpuBlock.offset.doorbell) >> 2, 1 + sleeper.doorbell)
  }

  stopping(): boolean {
    return Atomics.load(this.memory.i32, this.#stopWord) !== 0
  }

  /** Adds something that the run loop polls each turn. */
  addPollable(pollable: Pollable): void {
    this.#pollables.push(pollable)
  }

  get pollables(): readonly Pollable[] {
    return this.#pollables
  }

  /** Runs at the end of each turn in which something was done, lowest priority number first (netisr's roll-ups). */
  addRollup(priority: number, run: () => void): void {
    this.#rollups.push({ priority, run })
    this.#rollups.sort((a, b) => a.priority - b.priority)
  }

  /** Runs when the machine stops, last added first. */
  onStop(run: () => void): void {
    this.#onStop.push(run)
  }

  /** The end: threads end, what was added is closed. For the host. */
  shutdown(): void {
    this.ipi.close()
    // What throws on its way out keeps the others from nothing: the first error is the one that is told.
    const steps = [
      () => this.threads.endAll(),
      ...this.#onStop.splice(0).reverse(),
      ...this.#pollables.splice(0).map((pollable) => () => pollable.close()),
      () => this.timers.cancelAll(),
      () => this.slab.flush(),
      () => this.#closeSleeper(),
    ]
    const errors: unknown[] = []
    for (const step of steps) {
      try {
        step()
      } catch (error) {
        errors.push(error)
      }
    }
    this.counterPage.fold()
    Atomics.store(this.memory.i32, this.stateWord, CpuState.stopped)
    if (errors.length > 0) throw errors[0]
  }

  #closeSleeper(): void {
    Atomics.store(this.memory.i32, (this.block + CpuBlock.offset.doorbell) >> 2, 0)
    this.#sleeper?.close()
    this.#sleeper = undefined
  }

  /** What runs on this CPU now, in words, for the report of a failure. */
  running(): string {
    const thread = this.threads.current
    if (thread !== undefined) return `in ${thread}`
    const port = this.ports.running()
    if (port === undefined) return 'in its run loop'
    return port.name === undefined ? `in the handler of port ${port.id}` : `in the handler of port "${port.name}"`
  }

  /** An object of a layer above that exists once per CPU, made when first asked for. */
  slot<T>(key: symbol, make: () => T): T {
    if (!this.#slots.has(key)) this.#slots.set(key, make())
    return this.#slots.get(key) as T
  }

  #beginTurn(): void {
    const now = this.clock.now()
    const spent = now - this.#turnBegan
    this.count[this.#wasBusy ? K.busyUs : K.idleUs]! += spent
    this.#turnBegan = now
    this.now = now
    this.memory.f64[this.#turnsWord] = ++this.count[K.turns]!
    this.tracer.look()
  }

  /** The beginning of a turn: what IPIs have brought (`#drained`). True: the CPU is held, and does nothing else. */
  #standsStill(): boolean {
    this.#beginTurn()
    const wasHeld = this.cpusync.held
    this.#drained = this.ipi.drain()
    this.cpusync.atTop()
    // One that was just let go begins anew: others may have come further than the time at which this turn has begun.
    if (!this.cpusync.held && !wasHeld) return false
    this.ipi.flush()
    this.counterPage.fold()
    this.#wasBusy = true
    return true
  }

  #endTurn(work: number): void {
    for (let i = 0; i < this.#pollables.length; i++) this.#pollables[i]!.flush()
    this.slab.flush()
    this.ipi.flush()
    this.tracer.current = 0
    this.#wasBusy = work > 0
    if (work > 0) this.count[K.busyTurns]!++
    this.counterPage.fold()
  }

  #runRollups(): void {
    for (let i = 0; i < this.#rollups.length; i++) this.#rollups[i]!.run()
    this.count[K.rollups]! += this.#rollups.length
  }
}
