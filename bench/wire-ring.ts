// The limit of bench/wire.ts: a ring of addresses between two CPUs, published by sixteens, and nothing else.
import type { Address } from '../src/base/struct.ts'

const HEADER_BYTES = 128

export class SpscRing {
  static bytes(entries: number): number {
    return HEADER_BYTES + entries * 4
  }

  readonly #words: Int32Array
  readonly #windex: number
  readonly #rindex: number
  readonly #entries: number
  readonly #mask: number
  #staged = 0
  #published = 0
  #read = 0

  constructor(words: Int32Array, address: Address, entries: number) {
    this.#words = words
    this.#windex = address >> 2
    this.#rindex = (address + 64) >> 2
    this.#entries = (address + HEADER_BYTES) >> 2
    this.#mask = entries - 1
  }

  /** There is room: the window of the benchmark is smaller than the ring. */
  push(address: Address): void {
    this.#words[this.#entries + (this.#staged & this.#mask)] = address
    this.#staged = (this.#staged + 1) | 0
    if (((this.#staged - this.#published) | 0) >= 16) this.publish()
  }

  publish(): void {
    if (this.#published === this.#staged) return
    this.#published = this.#staged
    Atomics.store(this.#words, this.#windex, this.#staged)
  }

  take(budget: number, deliver: (packet: Address) => void): number {
    const count = Math.min(budget, (Atomics.load(this.#words, this.#windex) - this.#read) | 0)
    for (let i = 0; i < count; i++) {
      const packet = this.#words[this.#entries + (this.#read & this.#mask)]!
      this.#read = (this.#read + 1) | 0
      deliver(packet)
    }
    if (count > 0) Atomics.store(this.#words, this.#rindex, this.#read)
    return count
  }
}
