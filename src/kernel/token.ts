// Tokens (DragonFly's serializing tokens): a lock that a thread gives up whenever it waits, and has again, with all
// its others, when it goes on. What a token protects may therefore have changed after every `yield*`; in return tokens
// cannot deadlock.
import { assert } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from './cpu.ts'
import type { Thread } from './thread.ts'

/** A handle to the token whose word lies at `address`: 0, or 1 + the CPU whose running thread has it. */
export class Token {
  readonly address: Address
  readonly #class: number
  /** Where it was taken last by this handle. */
  #site = 0

  constructor(address: Address, lockClass: number) {
    assert(address % 4 === 0, 'a token is a word')
    this.address = address
    this.#class = lockClass
  }

  /** Takes it; the thread lets others run until it has it. `site` says where in the code it is taken (`lockSite`), for the profile. */
  *acquire(thread: Thread, site = 0): Generator<void, void, void> {
    const { cpu } = thread
    assert(!thread.tokens.includes(this), 'a thread takes a token once')
    if (this.#take(cpu)) cpu.locks.taken(this.address, this.#class, site)
    else {
      const began = cpu.locks.contested()
      do yield* thread.pause()
      while (!this.#take(cpu))
      cpu.locks.waited(this.address, this.#class, site, began)
    }
    this.#site = site
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
    cpu.locks.released(this.address, this.#class, this.#site, false)
    Atomics.store(cpu.memory.i32, this.address >> 2, 0)
  }

  /** The thread goes on: takes it if nobody else has it. For the scheduler. */
  resume(cpu: Cpu): boolean {
    if (!this.#take(cpu)) return false
    cpu.locks.resumed(this.address, this.#class, this.#site)
    return true
  }

  #take(cpu: Cpu): boolean {
    return Atomics.compareExchange(cpu.memory.i32, this.address >> 2, 0, cpu.index + 1) === 0
  }
}
