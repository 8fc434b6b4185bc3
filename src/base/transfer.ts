// Copies between the machine's memory and a program's own buffers: the one copy that a program's bytes take.
//
// `set` on shared memory copies word by word where both ends are aligned, and else byte by byte: 64 KiB take 19 µs instead of
// 3. Node's own `fill` with a buffer of the same length is a memcpy, whatever the alignment (1.4 µs), but costs 100 ns to
// call. Memory that is not shared has neither trouble.
import type { Address } from './struct.ts'

/** From here on the memcpy is faster than byte by byte. */
const NATIVE_BYTES_MIN = 256

export class Transfer {
  readonly #u8: Uint8Array
  readonly #buffer: Buffer | undefined

  /** @param shared whether `u8` is shared between threads */
  constructor(u8: Uint8Array, shared: boolean) {
    this.#u8 = u8
    this.#buffer = shared ? Buffer.from(u8.buffer, u8.byteOffset, u8.byteLength) : undefined
  }

  /** Copies `count` bytes at `address` to `target`, from its `offset` on. */
  toProgram(address: Address, count: number, target: Uint8Array, offset: number): void {
    if (this.#buffer === undefined || count < NATIVE_BYTES_MIN)
      target.set(this.#u8.subarray(address, address + count), offset)
    else fill.call(target as Buffer, this.#buffer.subarray(address, address + count), offset, offset + count)
  }

  /** Copies `count` bytes of `source`, from its `offset` on, to `address`. */
  toMachine(source: Uint8Array, offset: number, count: number, address: Address): void {
    const part = offset === 0 && count === source.length ? source : source.subarray(offset, offset + count)
    if (this.#buffer === undefined || count < NATIVE_BYTES_MIN) this.#u8.set(part, address)
    else this.#buffer.fill(part, address, address + count)
  }
}

const { fill } = Buffer.prototype
