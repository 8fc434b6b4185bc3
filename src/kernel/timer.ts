// Timers: a hierarchical wheel for each CPU (Varghese and Lauck, 1987), five levels of 64 slots, a tick of 128 µs.
// A timer is a record in the machine's memory, embedded in what it belongs to, so that it moves with it; arming,
// cancelling and firing are a few stores. Bit masks say which slots are in use, so that idle time costs nothing.
//
//   level 0: 8 ms   1: 0.5 s   2: 33 s   3: 36 min   4: 38 h          later deadlines wait in the last slot and go round
import { assert } from '../base/assert.ts'
import { Limits } from '../base/limits.ts'
import { type Address, bytes, f64, struct, u16, u32 } from '../base/struct.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define, type FunctionId, functionOf } from './function.ts'
import { WHEEL_BYTES } from './layout.ts'

/** 32 bytes, to be embedded (`bytes(Timer.size)`) at a multiple of 8 in what the timer belongs to. All zero: not armed. */
export const Timer = struct({
  next: u32, //       0
  previous: u32, //   4  address of the word that points here
  deadline: f64, //   8  µs
  run: u16, //       16  registered function, called with (argument, the timer's address)
  slot: u16, //      18  1 + level * 64 + slot while armed
  argument: u32, //  20
  armed: u32, //     24  0, or 1 + the CPU whose wheel it is in
  padding: bytes(4),
})
assert(Timer.size === 32, 'a timer is 32 bytes')
const AT = Timer.offset

const TICK_US = 128
const LEVELS = 5
const SLOTS = 64
const LEVEL_BITS = 6
assert(LEVELS * SLOTS * 4 <= WHEEL_BYTES, 'the wheel has room for its slots')
/** Ticks that a slot of each level covers. */
const SPANS = [1, SLOTS, SLOTS ** 2, SLOTS ** 3, SLOTS ** 4, SLOTS ** 5] as const
const LAST = SLOTS ** LEVELS - 1

export class Timers {
  readonly #cpu: Cpu
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #u16: Uint16Array
  readonly #wheel: Address
  /** Two words of bits for each level: which slots are not empty. */
  readonly #used = new Int32Array(LEVELS * 2)
  /** All ticks before this one have fired. */
  #tick = 0
  #armed = 0
  /** What `after` was given: how it runs, and how it is taken back. */
  readonly #closures: ({ readonly run: () => void; readonly cancel: () => void } | undefined)[] = []
  readonly #freeClosures: number[] = []

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#i32 = cpu.memory.i32
    this.#f64 = cpu.memory.f64
    this.#u16 = cpu.memory.u16
    this.#wheel = cpu.memory.layout.wheels + cpu.index * WHEEL_BYTES
  }

  /** Timers armed on this CPU. */
  get armed(): number {
    return this.#armed
  }

  /** Whether this timer is armed, on whatever CPU. */
  isArmed(timer: Address): boolean {
    return this.#i32[(timer + AT.armed) >> 2] !== 0
  }

  /** When an armed timer fires, µs. */
  deadline(timer: Address): number {
    return this.#f64[(timer + AT.deadline) >> 3]!
  }

  /** Arms `timer` to run `run(argument, timer)` in `delayUs`; never earlier, and up to a tick (128 µs) later. Arms anew if it was armed. */
  arm(timer: Address, delayUs: number, run: FunctionId, argument = 0): void {
    if (this.isArmed(timer)) this.#unlink(timer)
    else this.#armed++
    this.#cpu.refresh()
    const deadline = this.#cpu.now + (delayUs > 0 ? delayUs : 0)
    this.#f64[(timer + AT.deadline) >> 3] = deadline
    this.#u16[(timer + AT.run) >> 1] = run
    this.#i32[(timer + AT.argument) >> 2] = argument
    this.#link(timer)
    this.#cpu.count[K.timersArmed]!++
  }

  /** Disarms. Returns whether it was armed. */
  cancel(timer: Address): boolean {
    if (!this.isArmed(timer)) return false
    this.#unlink(timer)
    this.#i32[(timer + AT.armed) >> 2] = 0
    this.#armed--
    this.#cpu.count[K.timersCancelled]!++
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
    const now = Math.floor(this.#cpu.now / TICK_US)
    if (this.#armed === 0) {
      if (now >= this.#tick) this.#tick = now + 1
      return 0
    }
    let fired = 0
    while (this.#tick <= now && fired < Limits.timerBatch) {
      // Straight to the next tick at which anything is to be done: a slot fires, or a level turns over.
      const next = this.#nextTick()
      if (next > now) {
        this.#tick = now + 1
        break
      }
      this.#tick = next
      this.#cascade(next)
      fired += this.#fireSlot(next & (SLOTS - 1), next)
      this.#tick = next + 1
    }
    return fired
  }

  /** µs from now until something may have to fire, or Infinity. Never later than the next timer fires, at most a tick after its deadline. */
  untilNext(): number {
    if (this.#armed === 0) return Number.POSITIVE_INFINITY
    return Math.max(0, this.#nextTick() * TICK_US - this.#cpu.now)
  }

  /** Runs closure `index`, for timers made by `after`. */
  runClosure(index: number): void {
    this.#closures[index]!.run()
  }

  /** The tick at which it fires: the first that begins after the deadline. More than 31 bits after three days. */
  #expires(timer: Address): number {
    return Math.floor(this.#f64[(timer + AT.deadline) >> 3]! / TICK_US) + 1
  }

  #link(timer: Address): void {
    const words = this.#i32
    const distance = Math.min(Math.max(this.#expires(timer) - this.#tick, 0), LAST)
    const target = this.#tick + distance
    let level = 0
    while (distance >= SPANS[level + 1]!) level++
    const slot = Math.floor(target / SPANS[level]!) & (SLOTS - 1)
    const head = this.#wheel + (level * SLOTS + slot) * 4
    const next = words[head >> 2]!
    words[(timer + AT.next) >> 2] = next
    words[(timer + AT.previous) >> 2] = head
    if (next !== 0) words[(next + AT.previous) >> 2] = timer + AT.next
    words[head >> 2] = timer
    this.#u16[(timer + AT.slot) >> 1] = 1 + level * SLOTS + slot
    words[(timer + AT.armed) >> 2] = 1 + this.#cpu.index
    this.#used[level * 2 + (slot >> 5)]! |= 1 << (slot & 31)
  }

  #unlink(timer: Address): void {
    const words = this.#i32
    assert(words[(timer + AT.armed) >> 2] === 1 + this.#cpu.index, 'a timer is armed and cancelled on one CPU')
    const next = words[(timer + AT.next) >> 2]!
    const previous = words[(timer + AT.previous) >> 2]!
    words[previous >> 2] = next
    if (next !== 0) words[(next + AT.previous) >> 2] = previous
    const place = this.#u16[(timer + AT.slot) >> 1]! - 1
    if (words[(this.#wheel >> 2) + place] === 0) this.#clearUsed(place >> LEVEL_BITS, place & (SLOTS - 1))
  }

  #clearUsed(level: number, slot: number): void {
    this.#used[level * 2 + (slot >> 5)]! &= ~(1 << (slot & 31))
  }

  /** The next tick at which a slot fires or a level has to be spread over the one below. */
  #nextTick(): number {
    let best = Number.POSITIVE_INFINITY
    for (let level = 0; level < LEVELS; level++) {
      const span = SPANS[level]!
      const low = this.#used[level * 2]!
      const high = this.#used[level * 2 + 1]!
      if ((low | high) === 0) continue
      // The slot of the current tick itself counts only on the lowest level: above, it was spread when it was reached.
      const position = Math.floor(this.#tick / span)
      const start = level === 0 || this.#tick % span === 0 ? 0 : 1
      for (let i = start; i <= SLOTS; i++) {
        const slot = (position + i) & (SLOTS - 1)
        const word = slot < 32 ? low : high
        if ((word & (1 << (slot & 31))) !== 0) {
          best = Math.min(best, Math.max(this.#tick, (position + i) * span))
          break
        }
      }
    }
    return best
  }

  /** Spreads the slots of the higher levels that begin at `tick` over the levels below. */
  #cascade(tick: number): void {
    for (let level = LEVELS - 1; level > 0; level--) {
      const span = SPANS[level]!
      if (tick % span !== 0) continue
      const slot = Math.floor(tick / span) & (SLOTS - 1)
      const head = this.#wheel + (level * SLOTS + slot) * 4
      let timer = this.#i32[head >> 2]!
      this.#i32[head >> 2] = 0
      this.#clearUsed(level, slot)
      while (timer !== 0) {
        const next = this.#i32[(timer + AT.next) >> 2]!
        this.#link(timer)
        timer = next
      }
    }
  }

  #fireSlot(slot: number, tick: number): number {
    const words = this.#i32
    const head = (this.#wheel + slot * 4) >> 2
    let fired = 0
    // The head is read anew each time: what fires may cancel its neighbours.
    for (let timer = words[head]!; timer !== 0; timer = words[head]!) {
      assert(this.#expires(timer) <= tick, 'a timer fires at its time')
      this.#unlink(timer)
      words[(timer + AT.armed) >> 2] = 0
      this.#armed--
      fired++
      this.#cpu.count[K.timersFired]!++
      functionOf(this.#u16[(timer + AT.run) >> 1]!)(
        this.#cpu,
        words[(timer + AT.argument) >> 2]!,
        timer,
        0,
        this.#cpu.index,
      )
    }
    return fired
  }
}

const RUN_CLOSURE = define('timer.closure', (cpu, index) => cpu.timers.runClosure(index))
