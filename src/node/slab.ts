// Where what is received becomes Buffers of the program: cut from larger pieces of memory, as Node does it itself.
// One for each loop; used by its handles alone.

/** Node's own handles allocate as much for each read, and give back what they did not fill. */
const SLAB_BYTES = 65536
/** Buffers begin at whole doubles, as in Node's pool: some programs lay typed arrays over them. */
const ALIGNMENT = 8

export class ReadSlab {
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
  #used = 0

  /**
   * Room for `bytes` bytes, good until the next call; `keep` says how much of it is the program's now. What is longer than
   * half a slab has memory of its own: it would waste the rest.
   */
  room(bytes: number): Buffer {
    if (bytes > SLAB_BYTES / 2) return Buffer.allocUnsafeSlow(bytes)
    if (this.#used + bytes > SLAB_BYTES) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#used = 0
    }
    return this.#slab.subarray(this.#used, this.#used + bytes)
  }

  /** `bytes` at the beginning of `room` belong to the program. */
  keep(room: Buffer, bytes: number): void {
    if (room.buffer === this.#slab.buffer) this.#used += (bytes + ALIGNMENT - 1) & -ALIGNMENT
  }
}
