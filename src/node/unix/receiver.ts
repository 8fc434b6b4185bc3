// The receiving side of a socket: bytes, and what came beside them. Nothing here trusts the sender: of the descriptors of one message the
// kernel lets in one at most; it is read only where it is a sealed file in memory of bounded size, and it is closed in every case.
import { NONE } from '../../device/linux/unix.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import { decodeChain } from '../../kernel/trace/wire.ts'
import type { UnixLoop } from './loop.ts'
import type { Traces } from './traces.ts'

/** Files that were read a moment ago: a sender sends its few again and again. The oldest is forgotten. */
const KNOWN_MAX = 16
/** The memory of a file that may be freed here, within a call: a large one takes a second. With room for a huge page. */
const FREED_BYTES_MAX = 4 * 1024 * 1024

export class Receiver {
  /** Whether there may be more at once: the room was filled, or a descriptor has ended the call. */
  hasMore = false
  readonly #loop: UnixLoop
  readonly #traces: Traces
  /**
   * By the number of the file, whose bytes cannot change. A number that comes back after 2^32 others is the peer's own, which says of
   * itself what it likes in any case.
   */
  readonly #known = new Map<number, Chain>()

  constructor(loop: UnixLoop, traces: Traces) {
    this.#loop = loop
    this.#traces = traces
  }

  /** Receives into the loop's room. How many bytes, 0 at the end, or `-errno`. `traces.latest` is then that of the last byte. */
  receive(descriptor: number): number {
    const { system, room, disposal } = this.#loop
    const traces = this.#traces
    const isOpen = traces.receives && !disposal.isFull && traces.bucket.isFilled
    const bytes = system.receive(descriptor, room.pointer, room.bytes.length, isOpen)
    if (bytes < 0) return bytes
    const { received, isTruncated } = system
    const came = received !== NONE || isTruncated
    this.hasMore = came || bytes === room.bytes.length
    if (bytes > 0) traces.given++
    const chain = came && traces.receives ? this.#judge(received, isTruncated, isOpen) : undefined
    if (bytes > 0) traces.latest = chain
    return bytes
  }

  /** What came beside the bytes, as a trace, or why not. */
  #judge(received: number, isTruncated: boolean, isOpen: boolean): Chain | undefined {
    if (!isOpen) return this.#traces.refuse('rate')
    if (received === NONE) {
      this.#traces.bucket.take()
      return this.#traces.refuse('descriptors')
    }
    const { system, disposal } = this.#loop
    // First of all: anything else that is asked of a file may block in the file system of whoever has sent it.
    const status = system.isSealed(received) ? system.status(received) : undefined
    if (status === undefined || status.allocatedBytes > FREED_BYTES_MAX) {
      this.#traces.bucket.take()
      disposal.close(received)
      return this.#traces.refuse(isTruncated ? 'count' : status === undefined ? 'seals' : 'size')
    }
    const { isRegular, bytes, inode } = status
    const known = isTruncated ? undefined : this.#known.get(inode)
    const isFit = isRegular && bytes > 0 && bytes <= this.#traces.bytesMax
    const chain = known ?? this.#read(received, isTruncated, isFit ? bytes : 0)
    system.close(received)
    if (chain === undefined) return undefined
    if (known === undefined) this.#remember(inode, chain)
    this.#traces.statistics.received++
    return chain
  }

  /** @param bytes 0 where it is not fit to be read */
  #read(received: number, isTruncated: boolean, bytes: number): Chain | undefined {
    this.#traces.bucket.take()
    if (isTruncated) return this.#traces.refuse('count')
    if (bytes === 0) return this.#traces.refuse('size')
    const { system, traceRoom } = this.#loop
    if (system.read(received, traceRoom.pointer, bytes) !== bytes) return this.#traces.refuse('unreadable')
    return decodeChain(traceRoom.bytes.subarray(0, bytes)) ?? this.#traces.refuse('content')
  }

  #remember(inode: number, chain: Chain): void {
    this.#known.set(inode, chain)
    if (this.#known.size > KNOWN_MAX) this.#known.delete(this.#known.keys().next().value!)
  }
}
