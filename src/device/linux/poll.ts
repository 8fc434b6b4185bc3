// poll(2): where a CPU that has devices sleeps, until one of their descriptors or its eventfd is ready. One for each
// thread that sleeps, used by that thread only. Nothing is allocated by waiting.
//
//   pollfd, 8 bytes:   i32 descriptor   i16 events (what to wait for)   i16 revents (what is ready)
import { assert } from '../../base/assert.ts'
import { Errno } from '../../base/errno.ts'
import { type Libc, libc, type Pointer } from './library.ts'

/** What a descriptor can be waited for, and what it can be: bits (poll(2)). The last three come unasked. */
export const Ready = {
  readable: 0x01,
  writable: 0x04,
  error: 0x08,
  hangup: 0x10,
  /** The descriptor is closed. */
  invalid: 0x20,
} as const

/** A descriptor that poll(2) passes over. */
const NONE = -1

export class Poller {
  /** Bytes of machine memory that `limit` descriptors need. */
  static bytes(limit: number): number {
    return limit * 8
  }

  readonly limit: number
  readonly #system: Libc
  readonly #words: Int32Array
  readonly #halves: Int16Array
  readonly #pointer: Pointer
  /** Slots that were ever used: as many as poll(2) looks at. */
  #count = 0

  /**
   * @param limit how many descriptors it holds at most
   * @param place memory for them, at a multiple of 4, of `Poller.bytes(limit)`: without it, its own
   * @throws KernelError those of `libc`
   */
  constructor(
    limit: number,
    place: Uint8Array = new Uint8Array(new ArrayBuffer(Poller.bytes(limit))),
    system: Libc = libc(),
  ) {
    assert(Number.isInteger(limit) && limit > 0, 'a poller holds at least one descriptor')
    assert(place.byteOffset % 4 === 0, 'the place of a poller lies at a multiple of 4')
    assert(place.byteLength >= Poller.bytes(limit), 'the place of a poller has 8 bytes for each descriptor')
    this.limit = limit
    this.#system = system
    this.#words = new Int32Array(place.buffer, place.byteOffset, limit * 2)
    this.#halves = new Int16Array(place.buffer, place.byteOffset, limit * 4)
    this.#pointer = system.pointer(place)
    for (let slot = 0; slot < limit; slot++) this.#clear(slot)
  }

  /** Waits for this descriptor too, from the next `wait` on. The answer is its slot, by which it is asked for. */
  add(descriptor: number, events: number = Ready.readable): number {
    assert(Number.isInteger(descriptor) && descriptor >= 0, 'a descriptor is 0 or more')
    for (let slot = 0; slot < this.limit; slot++) {
      if (this.#words[slot * 2] !== NONE) continue
      this.#words[slot * 2] = descriptor
      this.#halves[slot * 4 + 2] = events
      this.#halves[slot * 4 + 3] = 0
      if (slot >= this.#count) this.#count = slot + 1
      return slot
    }
    assert(false, 'a poller is given no more descriptors than its limit')
    return NONE
  }

  /** Forgets a slot. Do this before its descriptor is closed. */
  remove(slot: number): void {
    this.#check(slot)
    this.#clear(slot)
  }

  /** Changes what a slot is waited for: bits of `Ready`. */
  want(slot: number, events: number): void {
    this.#check(slot)
    this.#halves[slot * 4 + 2] = events
  }

  /**
   * Blocks the calling thread until a descriptor is ready, for `timeoutMs` at most: 0 only looks, -1 waits for good.
   * A signal does not end it. While it blocks, the thread runs no JavaScript and `Worker.terminate` has to wait: have an
   * eventfd among the descriptors.
   * @returns how many slots are ready, 0 when the time is over, or `-errno`
   */
  wait(timeoutMs: number): number {
    // The clock costs 50 ns, a wait that blocks thousands: only one that just looks goes without.
    const startMs = timeoutMs > 0 ? performance.now() : 0
    let restMs = timeoutMs
    for (;;) {
      const result = this.#system.poll(this.#pointer, this.#count, restMs)
      if (result !== -Errno.EINTR) return result
      if (timeoutMs > 0) restMs = Math.max(0, Math.ceil(startMs + timeoutMs - performance.now()))
    }
  }

  /** What the slot was at the last `wait`: bits of `Ready`, 0 for nothing. */
  ready(slot: number): number {
    return this.#halves[slot * 4 + 3]!
  }

  readable(slot: number): boolean {
    return (this.ready(slot) & Ready.readable) !== 0
  }

  writable(slot: number): boolean {
    return (this.ready(slot) & Ready.writable) !== 0
  }

  /** The device is gone, or the descriptor closed: `remove` it, or every `wait` ends at once. */
  failed(slot: number): boolean {
    return (this.ready(slot) & (Ready.error | Ready.hangup | Ready.invalid)) !== 0
  }

  #clear(slot: number): void {
    this.#words[slot * 2] = NONE
    this.#words[slot * 2 + 1] = 0
  }

  #check(slot: number): void {
    assert(slot >= 0 && slot < this.#count && this.#words[slot * 2] !== NONE, 'the slot of a poller is in use')
  }
}
