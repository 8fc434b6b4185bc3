// Tokens (DragonFly's serializing tokens): a lock that a thread gives up whenever it waits, and has again, with all
// its others, when it goes on. What a token protects may therefore have changed after every `yield*`; in return tokens
// cannot deadlock.
import { assert } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from './cpu.ts'
import { profileReleased, profileTaken, profileWaited } from './lock.ts'
import type { Thread } from './thread.ts'

/** A handle to the token whose word lies at `address`: 0, or 1 + the CPU whose running thread has it. */
export class Token {
  readonly address: Address
  readonly #class: number
  #since = 0

  constructor(address: Address, lockClass: number) {
    assert(address % 4 === 0, 'a token is a word')
    this.address = address
    this.#class = lockClass
  }

  /** Takes it; the thread lets others run until it has it. */
  *acquire(thread: Thread): Generator<void, void, void> {
    const { cpu } = thread
    assert(!thread.tokens.includes(this), 'a thread takes a token once')
    if (this.#take(cpu)) profileTaken(cpu, this.#class)
    else {
      const began = cpu.clock.now()
      do yield* thread.pause()
      while (!this.#take(cpu))
      profileWaited(cpu, this.#class, cpu.clock.now() - began)
    }
    thread.tokens.push(this)
  }

  release(thread: Thread): void {
    const at = thread.tokens.indexOf(this)
    assert(at >= 0, 'a thread releases a token that it has')
    thread.tokens.splice(at, 1)
    this.suspend(thread.cpu)
  }

  /** The thread waits: others may have it. For the scheduler. */
  suspend(cpu: Cpu): void {
    profileReleased(cpu, this.#class, cpu.profileLocks ? cpu.clock.now() - this.#since : 0, false)
    Atomics.store(cpu.memory.i32, this.address >> 2, 0)
  }

  /** The thread goes on: takes it if nobody else has it. For the scheduler. */
  resume(cpu: Cpu): boolean {
    return this.#take(cpu)
  }

  #take(cpu: Cpu): boolean {
    if (Atomics.compareExchange(cpu.memory.i32, this.address >> 2, 0, cpu.index + 1) !== 0) return false
    this.#since = cpu.profileLocks ? cpu.clock.now() : 0
    return true
  }
}
