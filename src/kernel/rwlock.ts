// A reader-writer lock: one word. Readers on many CPUs at once, or one writer; a writer that waits holds off new
// readers, so that it gets its turn.
//
//   word: readers in the low 16 bits, writers that wait in the next 8, WRITER when one has it
import { assert } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from './cpu.ts'
import { LockProfile, spin } from './lock.ts'

const WRITER = 1 << 30
const WAITING = 1 << 16
const WAITING_MASK = 0xff << 16
const READERS = 0xffff

/** A handle to the lock whose word lies at `address`, zero when free. What is done under it must not wait. */
export class Rwlock {
  readonly address: Address
  /** Handles are per CPU, so this is the holder's own. */
  readonly #profile: LockProfile

  constructor(address: Address, lockClass: number) {
    assert(address % 4 === 0, 'a reader-writer lock is a word')
    this.address = address
    this.#profile = new LockProfile(address, lockClass)
  }

  /** `site` says where in the code it is taken (`lockSite`), for the profile. */
  enterRead(cpu: Cpu, site = 0): void {
    const words = cpu.memory.i32
    const word = this.address >> 2
    let began = -1
    for (;;) {
      const seen = Atomics.load(words, word)
      const free = (seen & (WRITER | WAITING_MASK)) === 0
      if (free && Atomics.compareExchange(words, word, seen, seen + 1) === seen) break
      if (free) continue
      if (began < 0) began = this.#profile.contested(cpu)
      spin(cpu)
    }
    if (began < 0) this.#profile.taken(cpu, site, true)
    else this.#profile.waited(cpu, site, began, true)
  }

  leaveRead(cpu: Cpu): void {
    const before = Atomics.sub(cpu.memory.i32, this.address >> 2, 1)
    assert((before & READERS) > 0, 'a reader leaves what it entered')
    this.#profile.released(cpu, (before & WAITING_MASK) !== 0, true)
  }

  enterWrite(cpu: Cpu, site = 0): void {
    const words = cpu.memory.i32
    const word = this.address >> 2
    if (Atomics.compareExchange(words, word, 0, WRITER) === 0) {
      this.#profile.taken(cpu, site)
      return
    }
    const began = this.#profile.contested(cpu)
    Atomics.add(words, word, WAITING)
    for (;;) {
      const seen = Atomics.load(words, word)
      const free = (seen & (WRITER | READERS)) === 0
      if (free && Atomics.compareExchange(words, word, seen, (seen - WAITING) | WRITER) === seen) break
      if (!free) spin(cpu)
    }
    this.#profile.waited(cpu, site, began)
  }

  leaveWrite(cpu: Cpu): void {
    const before = Atomics.and(cpu.memory.i32, this.address >> 2, ~WRITER)
    assert((before & WRITER) !== 0, 'a writer leaves what it entered')
    this.#profile.released(cpu, (before & WAITING_MASK) !== 0)
  }

  /** How many read now; -1 when one writes. */
  readers(cpu: Cpu): number {
    const word = Atomics.load(cpu.memory.i32, this.address >> 2)
    return (word & WRITER) !== 0 ? -1 : word & READERS
  }
}
