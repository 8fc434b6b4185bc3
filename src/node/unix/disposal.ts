// Where descriptors are closed that came and are not what they should be. close(2) may block for as long as their sender likes (a file of
// its FUSE file system, a TCP socket that lingers): so it is called on a thread of libuv's pool, for one after the other, so that no more
// than one thread is ever held. One object for each thread.
import type { UnixCalls } from '../../device/linux/unix.ts'

/** Descriptors that wait to be closed. */
const WAITING_MAX = 64

export class Disposal {
  readonly #system: UnixCalls
  readonly #waiting: number[] = []
  #isClosing = false

  constructor(system: UnixCalls) {
    this.#system = system
  }

  /** No further descriptor should be let in. */
  get isFull(): boolean {
    return this.#waiting.length >= WAITING_MAX
  }

  close(descriptor: number): void {
    this.#waiting.push(descriptor)
    this.#next()
  }

  #next(): void {
    const descriptor = this.#isClosing ? undefined : this.#waiting.shift()
    if (descriptor === undefined) return
    this.#isClosing = true
    this.#system.closeElsewhere(descriptor, () => {
      this.#isClosing = false
      this.#next()
    })
  }
}
