// A reader-writer lock: one word. Readers on many CPUs at once, or one writer; a writer that waits holds off new
// readers, so that it gets its turn.
//
//   word: readers in the low 16 bits, writers that wait in the next 8, WRITER when one has it
import { assert } from '../base/assert.ts'
import type { Address } from '../base/struct.ts'
import type { Cpu } from './cpu.ts'
import { spin } from './lock.ts'

const WRITER = 1 << 30
const WAITING = 1 << 16
const WAITING_MASK = 0xff << 16
const READERS = 0xffff

/** A handle to the lock whose word lies at `address`, zero when free. What is done under it must not wait. */
export class Rwlock {
  readonly address: Address
  readonly #class: number
  /** Where it was taken last by this handle. Handles are per CPU, so that is the holder's. */
  #site = 0

  constructor(address: Address, lockClass: number) {
    assert(address % 4 === 0, 'a reader-writer lock is a word')
    this.address = address
    this.#class = lockClass
  }

  /** `site` says where in the code it is taken (`lockSite`), for the profile. */
  enterRead(cpu: Cpu, site = 0): void {
    if (cpu.witness !== undefined) cpu.witness.wants(this.#class, site, this.enterRead)
    const words = cpu.memory.i32
    const word = this.address >> 2
    const seen = Atomics.load(words, word)
    const isFree = (seen & (WRITER | WAITING_MASK)) === 0
    if (isFree && Atomics.compareExchange(words, word, seen, seen + 1) === seen) {
      cpu.locks.taken(this.address, this.#class, site, true)
    } else this.#spinRead(cpu, site)
    this.#site = site
    if (cpu.witness !== undefined) cpu.witness.acquired(this.address, this.#class, site, this.enterRead)
  }

  leaveRead(cpu: Cpu): void {
    const before = Atomics.sub(cpu.memory.i32, this.address >> 2, 1)
    assert((before & READERS) > 0, 'a reader leaves what it entered')
    if (cpu.witness !== undefined) cpu.witness.released(this.address)
    cpu.locks.released(this.address, this.#class, this.#site, (before & WAITING_MASK) !== 0, true)
  }

  enterWrite(cpu: Cpu, site = 0): void {
    if (cpu.witness !== undefined) cpu.witness.wants(this.#class, site, this.enterWrite)
    if (Atomics.compareExchange(cpu.memory.i32, this.address >> 2, 0, WRITER) === 0) {
      cpu.locks.taken(this.address, this.#class, site)
    } else this.#spinWrite(cpu, site)
    this.#site = site
    if (cpu.witness !== undefined) cpu.witness.acquired(this.address, this.#class, site, this.enterWrite)
  }

  leaveWrite(cpu: Cpu): void {
    const before = Atomics.and(cpu.memory.i32, this.address >> 2, ~WRITER)
    assert((before & WRITER) !== 0, 'a writer leaves what it entered')
    if (cpu.witness !== undefined) cpu.witness.released(this.address)
    cpu.locks.released(this.address, this.#class, this.#site, (before & WAITING_MASK) !== 0)
  }

  /** How many read now; -1 when one writes. */
  readers(cpu: Cpu): number {
    const word = Atomics.load(cpu.memory.i32, this.address >> 2)
    return (word & WRITER) !== 0 ? -1 : word & READERS
  }

  #spinRead(cpu: Cpu, site: number): void {
    const words = cpu.memory.i32
    const word = this.address >> 2
    let began = -1
    for (;;) {
      const seen = Atomics.load(words, word)
      const isFree = (seen & (WRITER | WAITING_MASK)) === 0
      if (isFree && Atomics.compareExchange(words, word, seen, seen + 1) === seen) break
      if (isFree) continue
      if (began < 0) began = cpu.locks.contested()
      spin(cpu)
    }
    // It was not free, or other readers were quicker.
    if (began < 0) cpu.locks.taken(this.address, this.#class, site, true)
    else cpu.locks.waited(this.address, this.#class, site, began, true)
  }

  #spinWrite(cpu: Cpu, site: number): void {
    const words = cpu.memory.i32
    const word = this.address >> 2
    const began = cpu.locks.contested()
    Atomics.add(words, word, WAITING)
    for (;;) {
      const seen = Atomics.load(words, word)
      const isFree = (seen & (WRITER | READERS)) === 0
      if (isFree && Atomics.compareExchange(words, word, seen, (seen - WAITING) | WRITER) === seen) break
      if (!isFree) spin(cpu)
    }
    cpu.locks.waited(this.address, this.#class, site, began)
  }
}
