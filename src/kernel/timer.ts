// Timers: a hierarchical wheel for each CPU (Varghese and Lauck, 1987), five levels of 64 slots, a tick of 128 µs.
// A timer is a record in the machine's memory, embedded in what it belongs to, so that it moves with it; arming,
// cancelling and firing are a few stores. Bit masks say which slots are in use, so that idle time costs nothing.
//
//   level 0: 8 ms   1: 0.5 s   2: 33 s   3: 36 min   4: 38 h          later deadlines wait in the last slot and go round
//
// `TimerWheel` is the wheel alone. All of its state lies in the machine's memory too, so that whoever may (under a lock,
// shared-timer.ts; while all other CPUs are held) links and unlinks in the wheel of another CPU. `Timers` is one CPU's
// own: it needs no lock, and nobody else touches it while the CPU runs.
import { assert } from '../base/assert.ts'
import { Limits } from '../base/limits.ts'
import { type Address, f64, struct, u16, u32, type Views } from '../base/struct.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define, type FunctionId, functionOf, type RemoteFunction } from './function.ts'
import { WHEEL_BYTES } from './layout.ts'
import type { Memory } from './memory.ts'
import type { Tracer } from './trace/tracer.ts'

/** 32 bytes, to be embedded (`bytes(Timer.size)`) at a multiple of 8 in what the timer belongs to. All zero: not armed. */
export const Timer = struct({
  next: u32, //       0
  previous: u32, //   4  address of the word that points here
  deadline: f64, //   8  µs
  run: u16, //       16  registered function, called with (argument, the timer's address)
  slot: u16, //      18  1 + level * 64 + slot while armed
  argument: u32, //  20
  armed: u32, //     24  0, or 1 + the CPU whose wheel it is in
  wheel: u32, //     28  address of that wheel, while armed
})
assert(Timer.size === 32, 'a timer is 32 bytes')
const AT = Timer.offset
// Constants of this module, because the compiler folds those (see port.ts).
const NEXT = AT.next
const PREVIOUS = AT.previous
const DEADLINE = AT.deadline
const RUN = AT.run
const SLOT = AT.slot
const ARGUMENT = AT.argument
const ARMED = AT.armed
const WHEEL = AT.wheel

export const TICK_US = 128
const LEVELS = 5
const SLOTS = 64
const LEVEL_BITS = 6
/** Ticks that a slot of each level covers. */
const SPANS = [1, SLOTS, SLOTS ** 2, SLOTS ** 3, SLOTS ** 4] as const
const LAST = SLOTS ** LEVELS - 1

// A wheel's block: the slots' first timers; then
/** two words of bits for each level: which slots are not empty; */
const USED = LEVELS * SLOTS * 4
/** the tick before which all have fired, a double: more than 31 bits after three days; */
const TICK = USED + LEVELS * 8
/** and how many timers are linked. */
const LINKED = TICK + 8
assert(TICK % 8 === 0 && LINKED + 4 <= WHEEL_BYTES, 'the wheel has room for its slots and its state')

/** What arms timers: one CPU's own (`Timers`), or those of what belongs to no CPU (`SharedTimers`). */
export interface TimerSet {
  isArmed(timer: Address): boolean
  /** When an armed timer fires, µs. */
  deadline(timer: Address): number
  /** Arms `timer` to run `run(argument, timer)` in `delayUs`; never earlier. Arms anew if it was armed. */
  arm(timer: Address, delayUs: number, run: FunctionId, argument?: number): void
  /** Disarms. Returns whether it was armed. */
  cancel(timer: Address): boolean
}

/** The tick in which `us` lies. */
export function tickOf(us: number): number {
  return Math.floor(us / TICK_US)
}

/**
 * A view of the wheel whose block (WHEEL_BYTES, at a multiple of 8, all zero: empty) lies at `address`, and which belongs
 * to CPU `cpu`. It takes no lock: the caller has the only right to touch the wheel, and its timers' links, now.
 */
export class TimerWheel {
  readonly address: Address
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #u16: Uint16Array
  readonly #home: number

  constructor(memory: Views, address: Address, cpu: number) {
    assert(address % 8 === 0, 'a wheel lies at a multiple of 8')
    this.address = address
    this.#i32 = memory.i32
    this.#f64 = memory.f64
    this.#u16 = memory.u16
    this.#home = 1 + cpu
  }

  /** Timers that are linked. */
  get linked(): number {
    return this.#i32[(this.address + LINKED) >> 2]!
  }

  /** All ticks before this one have fired. */
  get tick(): number {
    return this.#f64[(this.address + TICK) >> 3]!
  }

  set tick(tick: number) {
    this.#f64[(this.address + TICK) >> 3] = tick
  }

  /** Says what a timer that is not linked will do, and links it. A deadline that is over fires at the next tick that does. */
  link(timer: Address, deadlineUs: number, run: FunctionId, argument: number): void {
    const words = this.#i32
    this.#f64[(timer + DEADLINE) >> 3] = deadlineUs
    this.#u16[(timer + RUN) >> 1] = run
    words[(timer + ARGUMENT) >> 2] = argument
    words[(timer + ARMED) >> 2] = this.#home
    words[(timer + WHEEL) >> 2] = this.address
    words[(this.address + LINKED) >> 2]!++
    this.#place(timer, this.#expires(timer))
  }

  /** Says anew what a timer of this wheel will do, and when. */
  relink(timer: Address, deadlineUs: number, run: FunctionId, argument: number): void {
    this.#displace(timer)
    this.#f64[(timer + DEADLINE) >> 3] = deadlineUs
    this.#u16[(timer + RUN) >> 1] = run
    this.#i32[(timer + ARGUMENT) >> 2] = argument
    this.#place(timer, this.#expires(timer))
  }

  /** Unlinks a timer of this wheel: it is not armed any more. */
  unlink(timer: Address): void {
    this.#displace(timer)
    this.#i32[(timer + ARMED) >> 2] = 0
    this.#i32[(this.address + LINKED) >> 2]!--
  }

  /** Has a timer of this wheel, which is due, wait until `tick`. It stays linked. */
  postpone(timer: Address, tick: number): void {
    this.#displace(timer)
    this.#place(timer, tick)
  }

  /** Nothing fires up to and with tick `now`, where that is so: those ticks are done. */
  skip(now: number): void {
    if (this.tick <= now && (this.linked === 0 || this.nextTick() > now)) this.tick = now + 1
  }

  /** The next tick at which a slot fires or a level has to be spread over the one below; Infinity when there is nothing. */
  nextTick(): number {
    const { tick } = this
    const used = (this.address + USED) >> 2
    let best = Number.POSITIVE_INFINITY
    for (let level = 0; level < LEVELS; level++) {
      const low = this.#i32[used + level * 2]!
      const high = this.#i32[used + level * 2 + 1]!
      if ((low | high) === 0) continue
      // The slot of the current tick itself counts only on the lowest level: above, it was spread when it was reached.
      const span = SPANS[level]!
      const position = Math.floor(tick / span)
      const start = level === 0 || tick % span === 0 ? 0 : 1
      const first = (position + start + distanceTo(low, high, (position + start) & (SLOTS - 1))) * span
      if (first < best) best = first
    }
    return best > tick ? best : tick
  }

  /** On to `tick`: spreads the slots of the higher levels that begin there over the levels below. */
  turnTo(tick: number): void {
    this.tick = tick
    if ((tick & (SLOTS - 1)) !== 0) return
    for (let level = LEVELS - 1; level > 0; level--) {
      const span = SPANS[level]!
      if (tick % span !== 0) continue
      const slot = Math.floor(tick / span) & (SLOTS - 1)
      const head = (this.address + (level * SLOTS + slot) * 4) >> 2
      let timer = this.#i32[head]!
      this.#i32[head] = 0
      this.#clearUsed(level * SLOTS + slot)
      while (timer !== 0) {
        const next = this.#i32[(timer + NEXT) >> 2]!
        this.#place(timer, this.#expires(timer))
        timer = next
      }
    }
  }

  /** The first timer that is due at the current tick, or 0. */
  due(): Address {
    const { tick } = this
    const timer = this.#i32[(this.address >> 2) + (tick & (SLOTS - 1))]!
    assert(timer === 0 || this.#expires(timer) <= tick, 'a timer fires at its time')
    return timer
  }

  /** The tick at which it fires: the first that begins after the deadline. */
  #expires(timer: Address): number {
    return Math.floor(this.#f64[(timer + DEADLINE) >> 3]! / TICK_US) + 1
  }

  /** Into the list of the slot that is reached at tick `expires`. */
  #place(timer: Address, expires: number): void {
    const words = this.#i32
    const { tick } = this
    const ahead = expires - tick
    const distance = ahead <= 0 ? 0 : ahead >= LAST ? LAST : ahead | 0
    // A level's slots are long enough for six more bits of the distance; a slot is six bits of the tick.
    const level = ((31 - Math.clz32(distance | 1)) / LEVEL_BITS) | 0
    const slot = level * SLOTS + (((tick + distance) >>> (level * LEVEL_BITS)) & (SLOTS - 1))
    const head = this.address + slot * 4
    const next = words[head >> 2]!
    words[(timer + NEXT) >> 2] = next
    words[(timer + PREVIOUS) >> 2] = head
    if (next !== 0) words[(next + PREVIOUS) >> 2] = timer + NEXT
    words[head >> 2] = timer
    this.#u16[(timer + SLOT) >> 1] = 1 + slot
    words[((this.address + USED) >> 2) + (slot >> 5)]! |= 1 << (slot & 31)
  }

  #displace(timer: Address): void {
    const words = this.#i32
    assert(
      words[(timer + WHEEL) >> 2] === this.address,
      'a timer is armed anew and cancelled in the wheel that it is in',
    )
    const next = words[(timer + NEXT) >> 2]!
    const previous = words[(timer + PREVIOUS) >> 2]!
    words[previous >> 2] = next
    if (next !== 0) words[(next + PREVIOUS) >> 2] = previous
    const slot = this.#u16[(timer + SLOT) >> 1]! - 1
    if (words[(this.address >> 2) + slot] === 0) this.#clearUsed(slot)
  }

  /** `slot` counts through all levels: 64 slots are two words. */
  #clearUsed(slot: number): void {
    this.#i32[((this.address + USED) >> 2) + (slot >> 5)]! &= ~(1 << (slot & 31))
  }
}

/** How many slots on from slot `from`, and round, the first is that has its bit set; one has. */
function distanceTo(low: number, high: number, from: number): number {
  const here = from < 32 ? low : high
  const there = from < 32 ? high : low
  const shift = from & 31
  const rest = here >>> shift
  if (rest !== 0) return trailingZeros(rest)
  return there !== 0 ? 32 - shift + trailingZeros(there) : 64 - shift + trailingZeros(here)
}

function trailingZeros(bits: number): number {
  return 31 - Math.clz32(bits & -bits)
}

/** What a timer that was taken out of its wheel would have done, and when. */
export interface TakenTimer {
  readonly deadlineUs: number
  readonly run: FunctionId
  readonly argument: number
}

/**
 * Takes a timer out of whatever wheel it is in, of `Timers` or `SharedTimers` and of any CPU. Answers what it would have
 * done, or undefined if it is not armed. Takes no lock and counts nothing: for whoever holds all other CPUs (cpusync).
 */
export function takeTimer(memory: Memory, timer: Address): TakenTimer | undefined {
  const home = memory.i32[(timer + ARMED) >> 2]!
  if (home === 0) return undefined
  new TimerWheel(memory, memory.i32[(timer + WHEEL) >> 2]!, home - 1).unlink(timer)
  return {
    deadlineUs: memory.f64[(timer + DEADLINE) >> 3]!,
    run: memory.u16[(timer + RUN) >> 1]!,
    argument: memory.i32[(timer + ARGUMENT) >> 2]!,
  }
}

/**
 * Links a timer that is not armed into the wheel of CPU `cpu`'s own `Timers`. For whoever holds all other CPUs: the CPU
 * sees it when it goes on. `SharedTimers.put` is its like.
 */
export function putTimer(memory: Memory, cpu: number, timer: Address, { deadlineUs, run, argument }: TakenTimer): void {
  assert(memory.i32[(timer + ARMED) >> 2] === 0, 'a timer is in one wheel at a time')
  const address = memory.layout.wheels + cpu * WHEEL_BYTES
  new TimerWheel(memory, address, cpu).link(timer, deadlineUs, run, argument)
}

export class Timers implements TimerSet {
  readonly #cpu: Cpu
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #u16: Uint16Array
  readonly #wheel: TimerWheel
  readonly #tracer: Tracer
  /** What `after` was given: how it runs, and how it is taken back. */
  readonly #closures: ({ readonly run: () => void; readonly cancel: () => void } | undefined)[] = []
  readonly #freeClosures: number[] = []

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#i32 = cpu.memory.i32
    this.#f64 = cpu.memory.f64
    this.#u16 = cpu.memory.u16
    this.#tracer = cpu.tracer
    this.#wheel = new TimerWheel(cpu.memory, cpu.memory.layout.wheels + cpu.index * WHEEL_BYTES, cpu.index)
  }

  /** Timers armed on this CPU. */
  get armed(): number {
    return this.#wheel.linked
  }

  /** Whether this timer is armed, on whatever CPU. */
  isArmed(timer: Address): boolean {
    return this.#i32[(timer + ARMED) >> 2] !== 0
  }

  /** When an armed timer fires, µs. */
  deadline(timer: Address): number {
    return this.#f64[(timer + DEADLINE) >> 3]!
  }

  /** Arms `timer` to run `run(argument, timer)` in `delayUs`; never earlier, and up to a tick (128 µs) later. Arms anew if it was armed. */
  arm(timer: Address, delayUs: number, run: FunctionId, argument = 0): void {
    this.#cpu.refresh()
    this.armAt(timer, this.#cpu.now + (delayUs > 0 ? delayUs : 0), run, argument)
  }

  /** As `arm`, but for a time of the machine's clock, in µs; one that is over fires in the next turn. */
  armAt(timer: Address, deadlineUs: number, run: FunctionId, argument = 0): void {
    const wheel = this.#wheel
    if (this.isArmed(timer)) {
      wheel.relink(timer, deadlineUs, run, argument)
      this.#cpu.count[K.timersRearmed]!++
    } else wheel.link(timer, deadlineUs, run, argument)
    this.#cpu.count[K.timersArmed]!++
    if (this.#tracer.isSet) this.#tracer.armed(timer, run, this.armAt)
  }

  /** Disarms. Returns whether it was armed. */
  cancel(timer: Address): boolean {
    if (!this.isArmed(timer)) return false
    this.#wheel.unlink(timer)
    this.#cpu.count[K.timersCancelled]!++
    if (this.#tracer.isSet) this.#tracer.disarmed(timer)
    return true
  }

  /** Runs `run` once, in `delayUs`. For set-up and for threads; packets' timers are embedded records. Returns a function that cancels. */
  after(delayUs: number, run: () => void): () => void {
    const timer = this.#cpu.slab.allocate(64)
    this.#cpu.memory.u8.fill(0, timer + 8, timer + 8 + Timer.size)
    const index = this.#freeClosures.pop() ?? this.#closures.length
    let pending = true
    const release = () => {
      pending = false
      this.#closures[index] = undefined
      this.#freeClosures.push(index)
      this.#cpu.slab.free(timer)
    }
    const cancel = () => {
      // Once it has run, or was cancelled, the record is somebody else's.
      if (!pending) return
      this.cancel(timer + 8)
      release()
    }
    const runOnce = () => {
      release()
      run()
    }
    this.#closures[index] = { run: runOnce, cancel }
    // The slab owns an object's first words while it is free: the record stands behind them.
    this.arm(timer + 8, delayUs, RUN_CLOSURE, index)
    return cancel
  }

  /** Takes back what `after` was given and has not run. For the machine's stop. */
  cancelAll(): void {
    for (const closure of this.#closures) closure?.cancel()
  }

  /** Runs every timer whose deadline has passed. Returns how many. */
  fire(): number {
    const wheel = this.#wheel
    const now = tickOf(this.#cpu.now)
    if (wheel.linked === 0) {
      if (now >= wheel.tick) wheel.tick = now + 1
      return 0
    }
    let fired = 0
    while (wheel.tick <= now && fired < Limits.timerBatch) {
      // Straight to the next tick at which anything is to be done: a slot fires, or a level turns over.
      const next = wheel.nextTick()
      if (next > now) {
        wheel.tick = now + 1
        break
      }
      wheel.turnTo(next)
      fired += this.#fireSlot()
      wheel.tick = next + 1
    }
    return fired
  }

  /** µs from now until something may have to fire, or Infinity. Never later than the next timer fires, at most a tick after its deadline. */
  untilNext(): number {
    if (this.#wheel.linked === 0) return Number.POSITIVE_INFINITY
    return Math.max(0, this.#wheel.nextTick() * TICK_US - this.#cpu.now)
  }

  /** Runs closure `index`, for timers made by `after`. */
  runClosure(index: number): void {
    this.#closures[index]!.run()
  }

  #fireSlot(): number {
    const words = this.#i32
    const wheel = this.#wheel
    let fired = 0
    // The first is read anew each time: what fires may cancel its neighbours.
    for (let timer = wheel.due(); timer !== 0; timer = wheel.due()) {
      wheel.unlink(timer)
      fired++
      this.#cpu.count[K.timersFired]!++
      const run = functionOf(this.#u16[(timer + RUN) >> 1]!)
      const argument = words[(timer + ARGUMENT) >> 2]!
      if (this.#tracer.isSet) this.#fireTraced(timer, run, argument)
      else run(this.#cpu, argument, timer, 0, this.#cpu.index)
    }
    if (this.#tracer.isSet) this.#tracer.current = 0
    return fired
  }

  #fireTraced(timer: Address, run: RemoteFunction, argument: number): void {
    this.#tracer.fired(timer)
    if (this.#tracer.tasks === undefined) run(this.#cpu, argument, timer, 0, this.#cpu.index)
    else this.#tracer.run(this.#tracer.current, () => run(this.#cpu, argument, timer, 0, this.#cpu.index))
  }
}

const RUN_CLOSURE = define('timer.closure', (cpu, index) => cpu.timers.runClosure(index))
