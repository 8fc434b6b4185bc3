// A first-in-first-out queue of whole numbers with a bound: of connections, or of times. Private to a load queue.
import { assert } from '../../base/assert.ts'

export class Fifo {
  readonly #items: Int32Array
  readonly #mask: number
  #head = 0
  #tail = 0

  /** Room for `count` at least. */
  constructor(count: number) {
    const size = 2 ** Math.ceil(Math.log2(Math.max(count, 2)))
    this.#items = new Int32Array(size)
    this.#mask = size - 1
  }

  get length(): number {
    return (this.#tail - this.#head) | 0
  }

  get isFull(): boolean {
    return this.length > this.#mask
  }

  push(item: number): void {
    assert(((this.#tail - this.#head) | 0) <= this.#mask, 'a queue has room for what is put into it')
    this.#items[this.#tail & this.#mask] = item
    this.#tail = (this.#tail + 1) | 0
  }

  /** Only where there is something. */
  shift(): number {
    const item = this.#items[this.#head & this.#mask]!
    this.#head = (this.#head + 1) | 0
    return item
  }
}
