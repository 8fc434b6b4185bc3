// The locks of a machine that is simulated with costs (costed.ts): when each CPU gets them, and what their lines cost. All times are µs.
//
// A mutex is had by one CPU at a time; what it takes when another one had it before is part of the hold, for the next one waits for
// that too. Readers of a reader-writer lock have it together, but each writes its word when it comes and when it goes: these writes are
// one after the other, and each that follows another CPU's waits for the line.
import { assert } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import type { CostTable } from './cost.ts'
import { Timeline } from './timeline.ts'

const US = 1e-3

interface Lock {
  /** Holds of a mutex, or of writers. */
  readonly exclusive: Timeline
  /** Of a reader-writer lock, from its first reader on: who reads, and who writes its word. */
  readers: Timeline | undefined
  word: Timeline | undefined
}

interface Held {
  readonly lock: Address
  readonly began: number
  readonly shared: boolean
}

export class LockModel {
  /** How long the last `enter` had to wait. */
  waited = 0
  /** What all CPUs together have waited for locks, and for lines of locks that others had. */
  waitedUs = 0
  movedUs = 0
  readonly #locks = new Map<Address, Lock>()
  readonly #held: Held[][]
  /** Looks of a CPU at locks until it sleeps for a moment. */
  readonly #looks: Float64Array
  readonly #costs: CostTable
  readonly #sites: ReadonlyMap<string, number>

  constructor(costs: CostTable, cpus: number) {
    this.#costs = costs
    this.#sites = new Map(Object.entries(costs.holds))
    this.#held = Array.from({ length: cpus }, () => [])
    this.#looks = new Float64Array(cpus).fill(costs.spinLooks)
  }

  /** `cpu` comes at `time`. Returns when it goes on, inside, with what the hold costs however short it is. */
  enter(cpu: number, address: Address, time: number, site: string, shared: boolean): number {
    const lock = this.#lock(address, shared)
    const began = this.#free(cpu, lock, time, shared)
    this.waited = began - time
    this.waitedUs += this.waited
    this.#held[cpu]!.push({ lock: address, began, shared })
    const work = (this.#sites.get(site) ?? this.#costs.lock) * US
    if (lock.word !== undefined) return this.#write(lock.word, cpu, began) + work
    const moved = lock.exclusive.passes(began, cpu) * this.#costs.lockTransfer * US
    this.movedUs += moved
    return began + moved + work
  }

  /** `cpu` has done at `time` what it had to do inside. Returns when it goes on. */
  leave(cpu: number, address: Address, time: number): number {
    const held = this.#held[cpu]!
    const i = held.findLastIndex((each) => each.lock === address)
    assert(i >= 0, 'a lock is left by who has entered it')
    const { began, shared } = held.splice(i, 1)[0]!
    const lock = this.#locks.get(address)!
    const end = lock.word === undefined ? time : this.#write(lock.word, cpu, time)
    if (!shared) return lock.exclusive.use(began, end - began, cpu)
    lock.readers!.cover(began, end, cpu)
    return end
  }

  /** No CPU comes before `floor` any more. */
  forget(floor: number): void {
    for (const { exclusive, readers, word } of this.#locks.values()) {
      exclusive.forget(floor)
      readers?.forget(floor)
      word?.forget(floor)
    }
  }

  #lock(address: Address, shared: boolean): Lock {
    let lock = this.#locks.get(address)
    if (lock === undefined) {
      lock = { exclusive: new Timeline(), readers: undefined, word: undefined }
      this.#locks.set(address, lock)
    }
    if (shared && lock.readers === undefined) {
      lock.readers = new Timeline()
      lock.word = new Timeline()
    }
    return lock
  }

  /** When it is free for `cpu`, and `cpu` sees that: who has looked often sleeps for a moment between. */
  #free(cpu: number, lock: Lock, time: number, shared: boolean): number {
    const { spinLook, spinLooks, spinSleep } = this.#costs
    let from = time
    for (;;) {
      const free = this.#freeAt(lock, from, shared)
      const looks = (free - from) / (spinLook * US)
      if (looks < this.#looks[cpu]!) {
        this.#looks[cpu]! -= looks
        return free
      }
      from += this.#looks[cpu]! * spinLook * US + spinSleep * US
      this.#looks[cpu] = spinLooks
    }
  }

  #freeAt({ exclusive, readers }: Lock, time: number, shared: boolean): number {
    if (shared || readers === undefined) return exclusive.free(time)
    let free = time
    for (;;) {
      const next = readers.free(exclusive.free(free))
      if (next === free) return free
      free = next
    }
  }

  /** An atomic write of the word: by one CPU after the other. */
  #write(word: Timeline, cpu: number, time: number): number {
    const { lineTransfer, lock } = this.#costs
    const length = word.passes(time, cpu) * lineTransfer + lock / 2
    const end = word.use(time, length * US, cpu)
    this.movedUs += Math.max(0, end - time - (lock / 2) * US)
    return end
  }
}
