// The content of a stream of bytes where a script says only how many: each byte by its place, and different in both directions.
// So a byte that arrives at a wrong place is seen.

export const Seeds = { toPeer: 17, fromPeer: 91 } as const

/** `length` bytes that stand from `offset` on. */
export function pattern(seed: number, offset: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => byteAt(seed, offset + i))
}

function byteAt(seed: number, offset: number): number {
  return (Math.imul(offset, 31) ^ Math.imul(offset >>> 8, 7) ^ seed) & 0xff
}

/** What a program has written, from the stream's beginning on. */
export class Written {
  #bytes = new Uint8Array(4096)
  #length = 0

  get length(): number {
    return this.#length
  }

  add(bytes: Uint8Array): void {
    const length = this.#length + bytes.length
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(2 * length)
      larger.set(this.#bytes.subarray(0, this.#length))
      this.#bytes = larger
    }
    this.#bytes.set(bytes, this.#length)
    this.#length = length
  }

  /** Whether these are the bytes from `offset` on. */
  has(bytes: Uint8Array, offset: number): boolean {
    if (offset < 0 || offset + bytes.length > this.#length) return false
    return Buffer.compare(bytes, this.#bytes.subarray(offset, offset + bytes.length)) === 0
  }
}
