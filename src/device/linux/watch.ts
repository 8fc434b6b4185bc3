// A descriptor that libuv watches for an event loop, as koffi offers it (`koffi.node.poll`, since 2.15): for reading, writing, or both,
// which may change. For sockets; devices, which are only read, have `watchDescriptor` of sleeper.ts.
import { createRequire } from 'node:module'
import { Errno, KernelError } from '../../base/errno.ts'
import { Ready } from './poll.ts'

interface PollHandle {
  start(options: PollOptions, callback: PollCallback): void
  stop(): void
  close(): void
  ref(): void
  unref(): void
}
type PollOptions = { readonly readable: boolean; readonly writable: boolean }
type PollCallback = (status: number, events: PollOptions) => void

interface KoffiNode {
  readonly node?: { readonly poll?: Poll }
}
type Poll = (descriptor: number, options: PollOptions, callback: PollCallback) => PollHandle

const BOTH = Ready.readable | Ready.writable

export class Watch {
  readonly #handle: PollHandle
  readonly #onReady: (ready: number) => void
  /** Bits of `Ready`; 0: it watches nothing, and does not keep the event loop. */
  #wanted = 0
  #isOpen = true

  /** @throws KernelError EOPNOTSUPP for a koffi that cannot do it; what `libc` throws comes first */
  static check(): void {
    poll()
  }

  /**
   * @param onReady is called from the event loop with bits of `Ready` for as long as the descriptor stays so; with both when it has
   *   failed: reading and writing tell how. It must not throw.
   * @throws KernelError as `check`
   */
  constructor(descriptor: number, onReady: (ready: number) => void) {
    this.#onReady = onReady
    this.#handle = poll()(descriptor, { readable: true, writable: false }, this.#ready)
    this.#handle.stop()
  }

  /** What it is watched for, from now on: bits of `Ready`. */
  want(events: number): void {
    if (!this.#isOpen || events === this.#wanted) return
    this.#wanted = events
    if (events === 0) this.#handle.stop()
    else this.#handle.start(options(events), this.#ready)
  }

  ref(): void {
    if (this.#isOpen) this.#handle.ref()
  }

  unref(): void {
    if (this.#isOpen) this.#handle.unref()
  }

  /** To be called before the descriptor is closed. */
  close(): void {
    // koffi's handle must not be asked anything after its end.
    if (this.#isOpen) this.#handle.close()
    this.#isOpen = false
  }

  readonly #ready: PollCallback = (status, events) => {
    // libuv has stopped at an error.
    if (status < 0) this.#wanted = 0
    const bits = (events.readable ? Ready.readable : 0) | (events.writable ? Ready.writable : 0)
    this.#onReady(status < 0 ? BOTH : bits)
  }
}

function poll(): Poll {
  const { node } = createRequire(import.meta.url)('koffi') as KoffiNode
  if (node?.poll !== undefined) return node.poll
  const sentence = 'sockets need koffi 2.15 or later, which watches descriptors: npm install koffi'
  throw new KernelError(Errno.EOPNOTSUPP, sentence, 'poll')
}

const READABLE: PollOptions = { readable: true, writable: false }
const WRITABLE: PollOptions = { readable: false, writable: true }
const EITHER: PollOptions = { readable: true, writable: true }

function options(events: number): PollOptions {
  return events === BOTH ? EITHER : events === Ready.readable ? READABLE : WRITABLE
}
