// An adaptive mutex: one word in the machine's memory. For the rival disciplines, and where a lock is honestly needed.
// `enter`/`leave` bracket a stretch without any wait in it; a thread that must wait while it holds one uses `lock`. One
// mutex is taken in one of the two ways only: whoever spins in `enter` for a thread that waits can hold up a cpusync.
//
// It is adaptive in this sense: `enter` looks at the word, which stays in the waiter's cache until the holder writes it, and
// between two looks lets `host.relax` decide when to give the processor away (on threads: for 50 µs after each 512 looks),
// so that with more CPUs than processors the holder gets to run. It is not a queue: whoever finds it free has it. A CPU
// that enters again at once may overtake one that waits, again and again, but not for ever, because each of its gaps is a
// chance for the other: two threads with nothing between leaving and entering took it 81,295 and 84,886 times in 0.4 s,
// and four on two processors from 21,977 to 36,983 times each.
//
//   word: 0 free; else 1 + the CPU that holds it, the site at which it took it in the next 8 bits, WANTED when somebody waits
import { assert } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from './cpu.ts'
import { LOCK_SITES, spin } from './lock.ts'
import type { Thread } from './thread.ts'

const WANTED = 1 << 30
const HOLDER = 0xffff
const SITE_SHIFT = 16
const SITE = LOCK_SITES - 1
assert(SITE << SITE_SHIFT < WANTED && (LOCK_SITES & SITE) === 0, 'holder, site and WANTED have bits of their own')

/** A handle to a mutex: the word lies at `address`, 4 bytes, zero when free. Any CPU may have handles to the same word. */
export class Mutex {
  readonly address: Address
  readonly #class: number

  constructor(address: Address, lockClass: number) {
    assert(address % 4 === 0, 'a mutex is a word')
    this.address = address
    this.#class = lockClass
  }

  /**
   * Takes it, spinning (and serving IPIs) while another CPU has it. What follows must not wait before `leave`. `site` says
   * where in the code it is taken (`lockSite`), for the profile.
   */
  enter(cpu: Cpu, site = 0): void {
    if (cpu.witness !== undefined) cpu.witness.wants(this.#class, site, this.enter)
    if (!this.tryEnter(cpu, site)) this.#spin(cpu, site)
  }

  /** Takes it if it is free. */
  tryEnter(cpu: Cpu, site = 0): boolean {
    if (Atomics.compareExchange(cpu.memory.i32, this.address >> 2, 0, held(cpu, site)) !== 0) return false
    cpu.locks.taken(this.address, this.#class, site)
    if (cpu.witness !== undefined) cpu.witness.acquired(this.address, this.#class, site, this.tryEnter)
    return true
  }

  leave(cpu: Cpu): void {
    const word = Atomics.exchange(cpu.memory.i32, this.address >> 2, 0)
    assert((word & HOLDER) === cpu.index + 1, 'a mutex is left by the CPU that entered it')
    if (cpu.witness !== undefined) cpu.witness.released(this.address)
    const wanted = (word & WANTED) !== 0
    cpu.locks.released(this.address, this.#class, (word >> SITE_SHIFT) & SITE, wanted)
    if (wanted) cpu.sleepQueue.wakeup(this.address)
  }

  /** Takes it for a thread, which sleeps while another has it, and may wait while it holds it. */
  *lock(thread: Thread, site = 0): Generator<void, void, void> {
    const { cpu } = thread
    if (cpu.witness !== undefined) cpu.witness.wants(this.#class, site, this.lock)
    if (this.tryEnter(cpu, site)) return
    const words = cpu.memory.i32
    const word = this.address >> 2
    const began = cpu.locks.contested()
    for (;;) {
      thread.interlock(this.address)
      const seen = Atomics.load(words, word)
      if (seen === 0 && Atomics.compareExchange(words, word, 0, held(cpu, site)) === 0) break
      // Only a holder that sees WANTED wakes us: without it we look again.
      if (seen === 0 || ((seen & WANTED) === 0 && Atomics.compareExchange(words, word, seen, seen | WANTED) !== seen))
        continue
      yield* thread.sleep(this.address)
    }
    thread.disinterlock()
    cpu.locks.waited(this.address, this.#class, site, began)
    if (cpu.witness !== undefined) cpu.witness.acquired(this.address, this.#class, site, this.lock)
  }

  /** The CPU that holds it, or -1. */
  holder(cpu: Cpu): number {
    return (Atomics.load(cpu.memory.i32, this.address >> 2) & HOLDER) - 1
  }

  #spin(cpu: Cpu, site: number): void {
    const words = cpu.memory.i32
    const word = this.address >> 2
    assert((Atomics.load(words, word) & HOLDER) !== cpu.index + 1, 'a mutex is not entered twice by one CPU')
    const began = cpu.locks.contested()
    for (;;) {
      const seen = Atomics.load(words, word)
      if (seen === 0 && Atomics.compareExchange(words, word, 0, held(cpu, site)) === 0) break
      if (seen !== 0 && (seen & WANTED) === 0) Atomics.compareExchange(words, word, seen, seen | WANTED)
      spin(cpu)
    }
    cpu.locks.waited(this.address, this.#class, site, began)
    if (cpu.witness !== undefined) cpu.witness.acquired(this.address, this.#class, site, this.enter)
  }
}

/** The word of a mutex that `cpu` has taken at `site`. */
function held(cpu: Cpu, site: number): number {
  return (site << SITE_SHIFT) | (cpu.index + 1)
}
