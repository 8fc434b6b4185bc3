// What the thread that fuzzes and the one that watches it share: the input that is being run, so that one which never ends is known, how
// many there were, and whether it is time to end.
import { type Bytes, INPUT_BYTES_MAX } from './mutation.ts'

const INPUTS = 0
const LENGTH = 1
const STOP = 2
const WORDS = 4
/** Targets may have longer ones than the general mutations make. */
const BYTES_MAX = 16 * INPUT_BYTES_MAX

export class Board {
  readonly buffer: SharedArrayBuffer
  readonly #words: Int32Array
  readonly #bytes: Uint8Array

  constructor(buffer = new SharedArrayBuffer(WORDS * 4 + BYTES_MAX)) {
    this.buffer = buffer
    this.#words = new Int32Array(buffer, 0, WORDS)
    this.#bytes = new Uint8Array(buffer, WORDS * 4)
  }

  /** An input begins. */
  begin(input: Bytes): void {
    this.#bytes.set(input.subarray(0, BYTES_MAX))
    Atomics.store(this.#words, LENGTH, Math.min(input.length, BYTES_MAX))
    Atomics.add(this.#words, INPUTS, 1)
  }

  /** How many have begun. */
  get inputs(): number {
    return Atomics.load(this.#words, INPUTS)
  }

  /** The one that began last. */
  get input(): Bytes {
    return this.#bytes.slice(0, Atomics.load(this.#words, LENGTH))
  }

  stop(): void {
    Atomics.store(this.#words, STOP, 1)
  }

  get isStopped(): boolean {
    return Atomics.load(this.#words, STOP) !== 0
  }
}
