// What a program has written and the send buffer had no room for, in order, and the requests that are over when it has all
// been taken. The common write never comes here: it fits, and is over at once. One for each TCP handle.
import { AsyncResource } from 'node:async_hooks'
import type { TcpSocket } from '../socket/tcpsocket.ts'
import type { JsStream, Request } from './binding.ts'
import type { NodeLoop } from './loop.ts'

interface Write {
  readonly request: Request
  /** The program's scope when it wrote; undefined: the request is C++'s. */
  readonly scope: AsyncResource | undefined
  readonly chunks: readonly Uint8Array[]
  /** The chunk that is next, and how much of it was taken. */
  chunk: number
  offset: number
}

export class WriteQueue {
  readonly #loop: NodeLoop
  readonly #handle: JsStream
  readonly #writes: Write[] = []
  #bytes = 0

  constructor(loop: NodeLoop, handle: JsStream) {
    this.#loop = loop
    this.#handle = handle
  }

  /** Bytes that wait for room. */
  get bytes(): number {
    return this.#bytes
  }

  /** Requests that are not over. */
  get length(): number {
    return this.#writes.length
  }

  /**
   * Sends what there is room for, unless others wait. Returns the index of the first chunk that was not wholly taken, or -1
   * when all were; `taken` of it were.
   */
  trySend(socket: TcpSocket, chunks: readonly Uint8Array[]): number {
    this.taken = 0
    if (this.#writes.length > 0) return chunks.length === 0 ? -1 : 0
    for (let i = 0; i < chunks.length; i++) {
      const chunk = chunks[i]!
      if (chunk.byteLength === 0) continue
      this.taken = socket.send(chunk)
      if (this.taken < chunk.byteLength) return i
    }
    return -1
  }

  /** Second result of `trySend`. */
  taken = 0

  /** Queues what `trySend` has left: the program's chunks themselves, which it leaves as they are until it is told. */
  push(request: Request, chunks: readonly Uint8Array[], chunk: number, offset: number, isNative: boolean): void {
    const scope = isNative ? undefined : new AsyncResource('WRITEWRAP')
    this.#writes.push({ request, scope, chunks, chunk, offset })
    this.#bytes -= offset
    for (let i = chunk; i < chunks.length; i++) this.#bytes += chunks[i]!.byteLength
  }

  /** There is room again: sends on, and tells of each request that is over. */
  flush(socket: TcpSocket): void {
    while (this.#writes.length > 0) {
      const write = this.#writes[0]!
      if (!this.#sendOn(socket, write)) return
      this.#writes.shift()
      this.#finish(write, 0)
    }
  }

  /** Nothing of this will be sent: all requests end with `status`. */
  cancel(status: number): void {
    this.#bytes = 0
    for (const write of this.#writes.splice(0)) this.#finish(write, status)
  }

  #sendOn(socket: TcpSocket, write: Write): boolean {
    while (write.chunk < write.chunks.length) {
      const chunk = write.chunks[write.chunk]!
      const taken = socket.send(write.offset === 0 ? chunk : chunk.subarray(write.offset))
      write.offset += taken
      this.#bytes -= taken
      if (write.offset < chunk.byteLength) return false
      write.chunk++
      write.offset = 0
    }
    return true
  }

  #finish({ request, scope }: Write, status: number): void {
    if (scope === undefined) {
      this.#handle.finishWrite(request, status)
      this.#loop.tick()
      return
    }
    const oncomplete = request.oncomplete as ((this: Request, ...results: unknown[]) => void) | undefined
    if (oncomplete !== undefined) this.#loop.call(scope, oncomplete, request, status, this.#handle, undefined)
  }
}
