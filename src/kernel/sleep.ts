// Sleep and wakeup by channel (kern_synch.c). A channel is any number, usually an address. Sleepers wait on their own
// CPU; a table with a bit for each CPU says where a channel has any, and a wakeup sends one IPI to each of those.
//
// The race-free interlock: `interlock(channel)` puts the thread on the queue and sets this CPU's bit; then the thread looks
// at its condition once more; then it sleeps. A wakeup in between takes it off the queue, and the sleep returns at once.
import { hashName } from '../base/hash.ts'
import { Limits } from '../base/limits.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define } from './function.ts'
import { CpuBlock } from './layout.ts'
import type { Thread } from './thread.ts'
import { HOP } from './trace/tracer.ts'

/** A channel for a name, where no address is at hand. */
export function channel(name: string): number {
  return hashName(name) | 0
}

export class SleepQueue {
  readonly #cpu: Cpu
  readonly #words: Int32Array
  readonly #masks: number
  readonly #fence: number
  readonly #maskWords: number
  readonly #sleepers = new Map<number, Thread[]>()
  /** Sleepers per bucket: the bit goes when the last one goes. */
  readonly #bucketCount = new Uint16Array(Limits.sleepBuckets)

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#words = cpu.memory.i32
    this.#masks = cpu.memory.layout.sleepMasks >> 2
    this.#fence = (cpu.block + CpuBlock.offset.fence) >> 2
    this.#maskWords = cpu.memory.layout.sleepMaskWords
  }

  /** Threads of this CPU that sleep or are interlocked. */
  get size(): number {
    let size = 0
    for (const list of this.#sleepers.values()) size += list.length
    return size
  }

  /** Puts `thread` on the channel's queue: from here on no wakeup is lost. */
  add(thread: Thread, on: number): void {
    const list = this.#sleepers.get(on)
    if (list === undefined) this.#sleepers.set(on, [thread])
    else list.push(thread)
    const bucket = bucketOf(on)
    if (this.#bucketCount[bucket]!++ === 0) {
      const { index } = this.#cpu
      Atomics.or(this.#words, this.#masks + bucket * this.#maskWords + (index >> 5), 1 << (index & 31))
    }
  }

  /** Takes `thread` off the queue. Returns whether it was still there. */
  remove(thread: Thread, on: number): boolean {
    const list = this.#sleepers.get(on)
    const at = list === undefined ? -1 : list.indexOf(thread)
    if (list === undefined || at < 0) return false
    list.splice(at, 1)
    if (list.length === 0) this.#sleepers.delete(on)
    this.#leave(on, 1)
    return true
  }

  /** Wakes every sleeper on the channel, or with `one` a single one: of this CPU if there is any. */
  wakeup(channel: number, one = false): void {
    const on = channel | 0
    this.#cpu.count[K.wakeups]!++
    const { tracer } = this.#cpu
    const { current } = tracer
    if (tracer.on) tracer.current = tracer.note(HOP.wakeup, on, 0, this.wakeup)
    this.#wake(on, one)
    tracer.current = current
  }

  #wake(on: number, one: boolean): void {
    if (this.wakeLocal(on, one) > 0 && one) return
    // The condition that the caller has set, by a plain store perhaps, is there for all before the masks are read: a
    // sleeper sets its bit, and then looks at the condition. Without this one wakeup in 400 000 was lost.
    Atomics.store(this.#words, this.#fence, 0)
    const base = this.#masks + bucketOf(on) * this.#maskWords
    if (one) {
      // From the highest candidate down: each is asked by the one before it, which had no such sleeper.
      this.passOn(on, nextCandidate(this.#words, base, this.#maskWords, Number.POSITIVE_INFINITY))
      return
    }
    for (let w = 0; w < this.#maskWords; w++) {
      let bits = Atomics.load(this.#words, base + w)
      while (bits !== 0) {
        const target = w * 32 + (31 - Math.clz32(bits))
        bits &= ~(1 << (target & 31))
        if (target === this.#cpu.index) continue
        this.#cpu.count[K.wakeupIpis]!++
        this.#cpu.ipi.send(target, WAKEUP, on)
      }
    }
  }

  /** Wakes this CPU's sleepers on the channel. Returns how many. */
  wakeLocal(on: number, one: boolean): number {
    const list = this.#sleepers.get(on)
    if (list === undefined) return 0
    const woken = one ? list.splice(0, 1) : list.splice(0, list.length)
    if (list.length === 0) this.#sleepers.delete(on)
    this.#leave(on, woken.length)
    const { tracer } = this.#cpu
    for (const thread of woken) {
      if (tracer.isSet) thread.trace = tracer.wokenBy(thread.trace)
      this.#cpu.threads.wokenUp(thread)
    }
    return woken.length
  }

  /** Passes a wakeup of one sleeper on to `target`, which passes it on to the next CPU below that may have any; -1 ends it. */
  passOn(on: number, target: number): void {
    if (target < 0) return
    const base = this.#masks + bucketOf(on) * this.#maskWords
    const next = nextCandidate(this.#words, base, this.#maskWords, target)
    this.#cpu.count[K.wakeupIpis]!++
    this.#cpu.ipi.send(target, WAKEUP_ONE, on, next)
  }

  #leave(on: number, count: number): void {
    const bucket = bucketOf(on)
    this.#bucketCount[bucket]! -= count
    if (this.#bucketCount[bucket] === 0) {
      const { index } = this.#cpu
      Atomics.and(this.#words, this.#masks + bucket * this.#maskWords + (index >> 5), ~(1 << (index & 31)))
    }
  }
}

function bucketOf(on: number): number {
  return (Math.imul(on, 0x9e3779b1) >>> 16) & (Limits.sleepBuckets - 1)
}

/** The highest CPU below `from` whose bit is set, or -1. */
function nextCandidate(words: Int32Array, base: number, maskWords: number, from: number): number {
  for (let cpu = Math.min(from, maskWords * 32) - 1; cpu >= 0; cpu--) {
    if ((Atomics.load(words, base + (cpu >> 5)) & (1 << (cpu & 31))) !== 0) return cpu
  }
  return -1
}

const WAKEUP = define('sleep.wakeup', (cpu, on) => {
  cpu.sleepQueue.wakeLocal(on, false)
})
const WAKEUP_ONE = define('sleep.wakeupOne', (cpu, on, next) => {
  if (cpu.sleepQueue.wakeLocal(on, true) === 0) cpu.sleepQueue.passOn(on, next)
})
