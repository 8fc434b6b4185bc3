// An adaptive mutex: one word in the machine's memory. For the rival disciplines, and where a lock is honestly needed.
// `enter`/`leave` bracket a stretch without any wait in it; a thread that must wait while it holds one uses `lock`. One
// mutex is taken in one of the two ways only: whoever spins in `enter` for a thread that waits can hold up a cpusync.
//
//   word: 0 free; else 1 + the CPU that holds it, WANTED when somebody waits
import { assert } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from './cpu.ts'
import { profileReleased, profileTaken, profileWaited, spin } from './lock.ts'
import type { Thread } from './thread.ts'

const WANTED = 1 << 30

/** A handle to a mutex: the word lies at `address`, 4 bytes, zero when free. Any CPU may have handles to the same word. */
export class Mutex {
  readonly address: Address
  readonly #class: number
  /** Handles are per CPU, so this is the holder's own. */
  #since = 0

  constructor(address: Address, lockClass: number) {
    assert(address % 4 === 0, 'a mutex is a word')
    this.address = address
    this.#class = lockClass
  }

  /** Takes it, spinning (and serving IPIs) while another CPU has it. What follows must not wait before `leave`. */
  enter(cpu: Cpu): void {
    if (this.tryEnter(cpu)) return
    const words = cpu.memory.i32
    const word = this.address >> 2
    assert((Atomics.load(words, word) & ~WANTED) !== cpu.index + 1, 'a mutex is not entered twice by one CPU')
    const began = cpu.clock.now()
    for (;;) {
      const seen = Atomics.load(words, word)
      if (seen === 0 && Atomics.compareExchange(words, word, 0, cpu.index + 1) === 0) break
      if (seen !== 0 && (seen & WANTED) === 0) Atomics.compareExchange(words, word, seen, seen | WANTED)
      spin(cpu)
    }
    this.#since = cpu.profileLocks ? cpu.clock.now() : 0
    profileWaited(cpu, this.#class, cpu.clock.now() - began)
  }

  /** Takes it if it is free. */
  tryEnter(cpu: Cpu): boolean {
    if (Atomics.compareExchange(cpu.memory.i32, this.address >> 2, 0, cpu.index + 1) !== 0) return false
    profileTaken(cpu, this.#class)
    this.#since = cpu.profileLocks ? cpu.clock.now() : 0
    return true
  }

  leave(cpu: Cpu): void {
    const word = Atomics.exchange(cpu.memory.i32, this.address >> 2, 0)
    assert((word & ~WANTED) === cpu.index + 1, 'a mutex is left by the CPU that entered it')
    const wanted = (word & WANTED) !== 0
    profileReleased(cpu, this.#class, cpu.profileLocks ? cpu.clock.now() - this.#since : 0, wanted)
    if (wanted) cpu.sleepQueue.wakeup(this.address)
  }

  /** Takes it for a thread, which sleeps while another has it, and may wait while it holds it. */
  *lock(thread: Thread): Generator<void, void, void> {
    const { cpu } = thread
    if (this.tryEnter(cpu)) return
    const words = cpu.memory.i32
    const word = this.address >> 2
    const began = cpu.clock.now()
    for (;;) {
      thread.interlock(this.address)
      const seen = Atomics.load(words, word)
      if (seen === 0 && Atomics.compareExchange(words, word, 0, cpu.index + 1) === 0) break
      // Only a holder that sees WANTED wakes us: without it we look again.
      if (seen === 0 || ((seen & WANTED) === 0 && Atomics.compareExchange(words, word, seen, seen | WANTED) !== seen))
        continue
      yield* thread.sleep(this.address)
    }
    thread.disinterlock()
    this.#since = cpu.profileLocks ? cpu.clock.now() : 0
    profileWaited(cpu, this.#class, cpu.clock.now() - began)
  }

  /** The CPU that holds it, or -1. */
  holder(cpu: Cpu): number {
    return (Atomics.load(cpu.memory.i32, this.address >> 2) & ~WANTED) - 1
  }
}
