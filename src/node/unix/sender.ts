// The sending side of a socket: what a program has written and the kernel had no room for, in order, and the requests that are over when
// it has all been taken. The common write never waits: it fits, and is over at once.
//
// A write that has a trace goes in pieces of up to 32 KiB, each with the trace's descriptor: the kernel keeps such a piece as one, so
// that whoever reads 64 KiB at once gets it with its descriptor, and can tell bytes with a trace from bytes without.
import { AsyncResource } from 'node:async_hooks'
import { Errno } from '../../base/errno.ts'
import type { Pointer } from '../../device/linux/library.ts'
import { NONE } from '../../device/linux/unix.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import type { JsStream, Request } from '../binding.ts'
import type { UnixLoop } from './loop.ts'
import type { Traces } from './traces.ts'

/** Of one buffer of the kernel (SKB_MAX_ALLOC and UNIX_SKB_FRAGS_SZ), which is 48 KiB, and less than half of the least send buffer's default. */
const PIECE_BYTES = 32768
/** Chunks below this are copied together: a pointer to one costs as much as copying so much. */
const GATHERED_BYTES = 4096

/** One write of the program, and how far it has come. */
interface Write {
  readonly chunks: readonly Uint8Array[]
  /** Of each chunk; undefined: of none. */
  readonly chains: readonly (Chain | undefined)[] | undefined
  /** The chunk that is next, and how much of it was taken. */
  chunk: number
  offset: number
}

interface Waiting {
  readonly write: Write
  readonly request: Request
  /** The program's scope when it wrote; undefined: the request is C++'s. */
  readonly scope: AsyncResource | undefined
}

export class Sender {
  /** What the kernel has last said against sending, negative; 0: nothing. Nothing is sent any more then. */
  error = 0
  readonly #loop: UnixLoop
  readonly #handle: JsStream
  readonly #traces: Traces
  readonly #waiting: Waiting[] = []
  #bytes = 0
  /** The piece that is next. */
  #pointer: Pointer = 0
  #pieceBytes = 0

  constructor(loop: UnixLoop, handle: JsStream, traces: Traces) {
    this.#loop = loop
    this.#handle = handle
    this.#traces = traces
  }

  /** Bytes that wait for room. */
  get bytes(): number {
    return this.#bytes
  }

  /** Requests that are not over. */
  get length(): number {
    return this.#waiting.length
  }

  /** A write of these chunks; sends what there is room for, unless others wait. `isOver` tells whether all was taken. */
  begin(descriptor: number, chunks: readonly Uint8Array[], chains: Write['chains']): Write {
    const write = { chunks, chains, chunk: 0, offset: 0 }
    if (this.#waiting.length === 0) this.#send(descriptor, write)
    return write
  }

  isOver(write: Write): boolean {
    return write.chunk === write.chunks.length
  }

  /** Queues the rest of a write: the program's chunks themselves, which it leaves as they are until it is told. */
  push(request: Request, write: Write, isNative: boolean): void {
    const { buffer } = this.#loop.textRoom.bytes
    const chunks = write.chunks.map((chunk) => (chunk.buffer === buffer ? Uint8Array.from(chunk) : chunk))
    const scope = isNative ? undefined : new AsyncResource('WRITEWRAP')
    this.#waiting.push({ request, scope, write: { ...write, chunks } })
    this.#bytes -= write.offset
    for (let i = write.chunk; i < chunks.length; i++) this.#bytes += chunks[i]!.byteLength
  }

  /** There is room again: sends on, and tells of each request that is over. */
  flush(descriptor: number): void {
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0]!
      const { chunk, offset } = first.write
      this.#send(descriptor, first.write)
      this.#bytes -= bytesBetween(first.write, chunk, offset)
      if (!this.isOver(first.write)) return
      this.#waiting.shift()
      this.#finish(first, 0)
    }
  }

  /** Nothing of this will be sent: all requests end with `status`. */
  cancel(status: number): void {
    this.#bytes = 0
    for (const waiting of this.#waiting.splice(0)) this.#finish(waiting, status)
  }

  #send(descriptor: number, write: Write): void {
    while (this.error === 0 && this.#piece(write)) {
      const chain = write.chains?.[write.chunk]
      const sent = chain === undefined ? this.#sendPlain(descriptor) : this.#sendTraced(descriptor, chain)
      if (sent === -Errno.EAGAIN) return
      if (sent < 0) {
        this.error = sent
        return
      }
      advance(write, sent)
    }
  }

  #sendPlain(descriptor: number): number {
    return this.#loop.system.send(descriptor, this.#pointer, this.#pieceBytes, NONE)
  }

  /** No write fails for want of a trace. */
  #sendTraced(descriptor: number, chain: Chain): number {
    const { statistics } = this.#traces
    const file = this.#loop.files.descriptor(chain)
    const sent = file < 0 ? file : this.#loop.system.send(descriptor, this.#pointer, this.#pieceBytes, file)
    if (sent > 0) {
      statistics.sent++
      return sent
    }
    if (sent === -Errno.EAGAIN && file >= 0) return sent
    // Without a file; or the kernel does not let more descriptors under way (ETOOMANYREFS). What else it says, it says again.
    const plain = this.#sendPlain(descriptor)
    if (plain > 0) statistics.unsent++
    return plain
  }

  /** The next bytes that can go with one call. False when there are none. */
  #piece(write: Write): boolean {
    const { chunks } = write
    while (write.chunk < chunks.length && write.offset === chunks[write.chunk]!.byteLength) {
      write.chunk++
      write.offset = 0
    }
    const chunk = chunks[write.chunk]
    if (chunk === undefined) return false
    const { system, textRoom } = this.#loop
    const limit = write.chains?.[write.chunk] === undefined ? Number.POSITIVE_INFINITY : PIECE_BYTES
    const rest = chunk.byteLength - write.offset
    const isText = chunk.buffer === textRoom.bytes.buffer
    if (rest < GATHERED_BYTES && (!isText || write.chunk + 1 < chunks.length)) {
      this.#gather(write)
      return true
    }
    const start = isText ? textRoom.pointer + chunk.byteOffset : system.pointer(chunk)
    this.#pointer = start + write.offset
    this.#pieceBytes = Math.min(rest, limit)
    return true
  }

  /** Small chunks that follow each other and have the same trace. */
  #gather({ chunks, chains, chunk: first, offset }: Write): void {
    const { bytes, pointer } = this.#loop.gatherRoom
    const chain = chains?.[first]
    let used = 0
    for (let i = first; i < chunks.length && chains?.[i] === chain; i++) {
      const chunk = i === first ? chunks[i]!.subarray(offset) : chunks[i]!
      if (chunk.byteLength >= GATHERED_BYTES || used + chunk.byteLength > PIECE_BYTES) break
      bytes.set(chunk, used)
      used += chunk.byteLength
    }
    this.#pointer = pointer
    this.#pieceBytes = used
  }

  #finish({ request, scope }: Waiting, status: number): void {
    if (scope === undefined) {
      this.#handle.finishWrite(request, status)
      this.#loop.tick()
      return
    }
    const oncomplete = request.oncomplete as ((this: Request, ...results: unknown[]) => void) | undefined
    if (oncomplete !== undefined) this.#loop.call(scope, oncomplete, request, status, this.#handle, undefined)
  }
}

function advance(write: Write, sent: number): void {
  let left = sent
  while (left > 0) {
    const rest = write.chunks[write.chunk]!.byteLength - write.offset
    if (left < rest) {
      write.offset += left
      return
    }
    left -= rest
    write.chunk++
    write.offset = 0
  }
}

/** Bytes from there to where the write is now. */
function bytesBetween(write: Write, chunk: number, offset: number): number {
  let bytes = write.offset - offset
  for (let i = chunk; i < write.chunk; i++) bytes += write.chunks[i]!.byteLength
  return bytes
}
