// What net.js takes for the handle of a connection (`process.binding('pipe_wrap').Pipe`), over a UNIX-domain socket that can send and
// receive descriptors. Results are libuv's error numbers, which are Linux's, negative; callbacks come when libuv's would.
//
// Read first: ../tcp-handle.ts, which does the same over a socket of the stack and says why it extends the class that it does.
import { AsyncResource } from 'node:async_hooks'
import { Errno } from '../../base/errno.ts'
import { Ready } from '../../device/linux/poll.ts'
import { NONE } from '../../device/linux/unix.ts'
import { Watch } from '../../device/linux/watch.ts'
import { binding, type Request, Uv, uvName } from '../binding.ts'
import type { Deliverable, Open, UnixLoop } from './loop.ts'
import { Receiver } from './receiver.ts'
import { Sender } from './sender.ts'
import type { Traces } from './traces.ts'

const { JSStream } = binding('js_stream')
const { streamBaseState, kReadBytesOrError, kArrayBufferOffset, kBytesWritten, kLastWriteWasAsync, kLastWriteErr } =
  binding('stream_wrap')

/** Reads of one handle before the others have their turn, as libuv counts them. */
const READS_MAX = 32

/** What waits to be told. */
const Mark = { connected: 1 << 0, readable: 1 << 1, writable: 1 << 2 } as const

interface Connecting {
  readonly request: Request
  /** The program's when it called. */
  readonly scope: AsyncResource
  readonly status: number
}

interface Shutdown {
  readonly request: Request
  /** The program's when it called; undefined: the request is C++'s. */
  readonly scope: AsyncResource | undefined
}

type OnRead = (this: unknown, buffer: ArrayBuffer | undefined) => unknown
type OnComplete = (this: Request, ...results: unknown[]) => void

export class UnixHandle extends JSStream implements Deliverable, Open {
  queued = false
  /** Set by http, whose parser then reads from the handle. */
  _consumed = false
  readonly traces: Traces
  readonly #loop: UnixLoop
  #scope = new AsyncResource('PIPEWRAP', { requireManualDestroy: true })
  #descriptor = NONE
  #watch: Watch | undefined = undefined
  readonly #receiver: Receiver
  readonly #sender: Sender
  #connecting: Connecting | undefined = undefined
  #isConnected = false
  #shutdown: Shutdown | undefined = undefined
  #isShutDown = false
  /** The program has ended the sending direction, and the peer has still to read: see lingering.ts. */
  #owesShutdown = false
  #marks = 0
  #isReading = false
  #onread: OnRead | undefined = undefined
  /** Reads go through C++, where somebody else than net.js listens. */
  #isNative = false
  /** Callbacks of C++ are to be told apart: see NativeCallbacks. Known when the first bytes come. */
  #isSeparate: boolean | undefined = undefined
  #userBuffer: Uint8Array | undefined = undefined
  /** What came and was more than the program's buffer takes. */
  #left: Uint8Array | undefined = undefined
  #isClosing = false
  #isClosed = false
  #onclose: (() => void) | undefined = undefined
  #isReferenced = true
  #bytesRead = 0
  #bytesWritten = 0

  /** @param descriptor of a connection that was accepted, the handle's to close from now on */
  constructor(loop: UnixLoop, traces: Traces, descriptor: number = NONE) {
    super()
    this.#loop = loop
    this.traces = traces
    this.#receiver = new Receiver(loop, traces)
    this.#sender = new Sender(loop, this, traces)
    if (descriptor === NONE) return
    this.#open(descriptor)
    this.#isConnected = true
  }

  // What Node looks at.

  get onread(): OnRead | undefined {
    return this.#onread
  }

  set onread(onread: OnRead | undefined) {
    this.#onread = onread
    // For C++ as well, which calls it when its own listeners have let go of the stream.
    Reflect.set(JSStream.prototype, 'onread', onread, this)
  }

  /** Asked by http, http2 and tls right before they have C++ read from the handle, and by nobody else. */
  get isStreamBase(): boolean {
    this.#isNative = true
    return true
  }

  get fd(): number {
    return this.#descriptor
  }

  get bytesRead(): number {
    return this.#bytesRead
  }

  get bytesWritten(): number {
    return this.#bytesWritten
  }

  /** Bytes that are not in the kernel's buffer yet. */
  get writeQueueSize(): number {
    return this.#sender.bytes
  }

  override getAsyncId(): number {
    return this.#scope.asyncId()
  }

  /** An http.Agent gives the connection to another request: its callbacks belong to that one's scope from now on. */
  asyncReset(_resource: object): void {
    this.#scope.emitDestroy()
    this.#scope = new AsyncResource('PIPEWRAP', { requireManualDestroy: true })
  }

  /** A path that cannot be one is refused at once, as by Node; everything else is told by the request. */
  connect(request: Request, path: string): number {
    if (this.#isClosing) return Uv.EBADF
    if (this.#descriptor !== NONE) return this.#connecting === undefined ? Uv.EISCONN : Uv.EALREADY
    const { system } = this.#loop
    const descriptor = system.socket()
    if (descriptor < 0) return descriptor
    // It does not wait for anybody: whoever listens has a place for it, or not.
    const status = system.connect(descriptor, path)
    if (status === -Errno.EINVAL) {
      system.close(descriptor)
      return status
    }
    this.#open(descriptor)
    this.#connecting = { request, scope: new AsyncResource('PIPECONNECTWRAP'), status }
    this.#mark(Mark.connected)
    return 0
  }

  #open(descriptor: number): void {
    this.#descriptor = descriptor
    this.#watch = new Watch(descriptor, (ready) => {
      this.#mark(
        ((ready & Ready.readable) !== 0 ? Mark.readable : 0) | ((ready & Ready.writable) !== 0 ? Mark.writable : 0),
      )
    })
    this.#loop.opened(this)
  }

  #mark(marks: number): void {
    this.#marks |= marks
    this.#loop.queue(this)
  }

  #connected({ request, scope, status }: Connecting): void {
    this.#connecting = undefined
    this.#isConnected = status === 0
    const isOpen = status === 0
    const oncomplete = request.oncomplete as OnComplete | undefined
    if (oncomplete !== undefined) this.#loop.call(scope, oncomplete, request, status, this, request, isOpen, isOpen)
  }

  // Reading.

  readStart(): number {
    if (this.#isClosing) return Uv.EBADF
    if (!this.#isConnected) return Uv.ENOTCONN
    this.#isReading = true
    this.#update()
    if (this.#left !== undefined) this.#mark(Mark.readable)
    return 0
  }

  readStop(): number {
    this.#isReading = false
    this.#update()
    return 0
  }

  /** From now on what comes is put into `buffer`; whoever is told may answer with another one. */
  useUserBuffer(buffer: Uint8Array): void {
    this.#userBuffer = buffer
  }

  #read(): void {
    for (let reads = 0; this.#canRead() && reads < READS_MAX; reads++) {
      if (this.#left !== undefined) {
        this.#tellOwn(this.#left)
        continue
      }
      const bytes = this.#receiver.receive(this.#descriptor)
      if (bytes === -Errno.EAGAIN) return
      if (bytes < 0) return this.#tellError(bytes)
      if (bytes === 0) return this.#tellEnd()
      this.#bytesRead += bytes
      this.#tellBytes(bytes)
      if (!this.#receiver.hasMore) return
    }
    // Of the operating system libuv tells again.
    if (this.#left !== undefined && this.#canRead()) this.#mark(Mark.readable)
  }

  #canRead(): boolean {
    return this.#isReading && !this.#isClosing
  }

  /** What is in the loop's room. */
  #tellBytes(bytes: number): void {
    const { room } = this.#loop
    if (this.#userBuffer !== undefined) return this.#tellOwn(Uint8Array.from(room.bytes.subarray(0, bytes)))
    if (this.#isNative) return this.#tellNative(room.bytes.subarray(0, bytes))
    const taken = this.#loop.takeRoom(bytes)
    this.#tellRead(bytes, taken.buffer, taken.byteOffset)
  }

  /** Into the program's own buffer, as much as it takes. */
  #tellOwn(bytes: Uint8Array): void {
    const own = this.#userBuffer!
    const taken = Math.min(bytes.length, own.byteLength)
    own.set(bytes.subarray(0, taken))
    this.#left = taken < bytes.length ? bytes.subarray(taken) : undefined
    const next = this.#tellRead(taken, undefined, 0)
    if (next instanceof Uint8Array) this.#userBuffer = next
  }

  #tellNative(bytes: Uint8Array): void {
    const { callbacks } = this.#loop
    // The parser of HTTP, which says that it has the handle, makes one callback of all.
    this.#isSeparate ??= !this._consumed && callbacks.needed
    if (!this.#isSeparate) this.readBuffer(bytes)
    else callbacks.separate(super.getAsyncId(), () => this.readBuffer(bytes))
    this.#loop.tick()
  }

  #tellEnd(): void {
    this.readStop()
    if (!this.#isNative) {
      this.#tellRead(Uv.EOF, undefined, 0)
      return
    }
    this.emitEOF()
    this.#loop.tick()
  }

  /** By way of net.js in every case: C++ cannot be told of an error, only of an end. */
  #tellError(error: number): void {
    this.readStop()
    if (this.#onread !== undefined) this.#tellRead(error, undefined, 0)
    else this.#loop.call(this.#scope, destroyOwner, this, error)
  }

  /** @param bytes how many, or libuv's number of an error or the end */
  #tellRead(bytes: number, buffer: ArrayBufferLike | undefined, offset: number): unknown {
    if (this.#onread === undefined) return undefined
    streamBaseState[kReadBytesOrError] = bytes
    streamBaseState[kArrayBufferOffset] = offset
    return this.#loop.call(this.#scope, this.#onread, this, buffer as ArrayBuffer | undefined)
  }

  // Writing.

  writeBuffer(request: Request | null, bytes: Uint8Array): number | Request {
    return this.#write(request, [bytes])
  }

  writeUtf8String(request: Request | null, text: string): number | Request {
    return this.#write(request, [this.#encode(text, 'utf8', 0)])
  }

  writeAsciiString(request: Request | null, text: string): number | Request {
    return this.#write(request, [this.#encode(text, 'latin1', 0)])
  }

  writeLatin1String(request: Request | null, text: string): number | Request {
    return this.#write(request, [this.#encode(text, 'latin1', 0)])
  }

  writeUcs2String(request: Request | null, text: string): number | Request {
    return this.#write(request, [this.#encode(text, 'utf16le', 0)])
  }

  /** @param chunks buffers where `allBuffers`; else each is followed by its encoding, and may be a string */
  writev(request: Request | null, chunks: readonly unknown[], allBuffers: boolean): number | Request {
    if (allBuffers) return this.#write(request, chunks as Uint8Array[])
    const buffers: Uint8Array[] = []
    let used = 0
    for (let i = 0; i < chunks.length; i += 2) {
      const chunk = chunks[i] as Uint8Array | string
      const bytes = typeof chunk === 'string' ? this.#encode(chunk, chunks[i + 1] as BufferEncoding, used) : chunk
      if (bytes.buffer === this.#loop.textRoom.bytes.buffer) used += bytes.length
      buffers.push(bytes)
    }
    return this.#write(request, buffers)
  }

  /** A text's bytes: in the loop's room behind the first `used` bytes, where they are good for the call, or their own. */
  #encode(text: string, encoding: BufferEncoding, used: number): Uint8Array {
    const { bytes } = this.#loop.textRoom
    // No encoding makes more of a character.
    if (used + text.length * 3 > bytes.length) return Buffer.from(text, encoding)
    return bytes.subarray(used, used + bytes.write(text, used, encoding))
  }

  /** @param request null, from Node 26 on: the result is the request, when the write is not over at once */
  #write(request: Request | null, chunks: readonly Uint8Array[]): number | Request {
    if (kLastWriteErr !== undefined) streamBaseState[kLastWriteErr] = 0
    streamBaseState[kLastWriteWasAsync] = 0
    streamBaseState[kBytesWritten] = 0
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    streamBaseState[kBytesWritten] = this.#count(chunks)
    const sender = this.#sender
    const write = sender.begin(this.#descriptor, chunks, this.traces.take(chunks.length, this.#write))
    if (sender.error !== 0) return sender.error
    if (sender.isOver(write)) return 0
    streamBaseState[kLastWriteWasAsync] = 1
    const waiting = request ?? { writeStatus: null, error: undefined }
    sender.push(waiting, write, false)
    this.#update()
    return request === null ? waiting : 0
  }

  #count(chunks: readonly Uint8Array[]): number {
    let bytes = 0
    for (let i = 0; i < chunks.length; i++) bytes += chunks[i]!.byteLength
    this.#bytesWritten += bytes
    return bytes
  }

  /** 0, or why nothing can be written. */
  #refusal(): number {
    if (this.#isClosing || !this.#isConnected) return Uv.EBADF
    return this.#sender.error !== 0 ? this.#sender.error : this.#isShutDown ? Uv.EPIPE : 0
  }

  /** Ends the sending direction, behind what is still to be written. */
  shutdown(request: Request): number {
    return this.#shutDown(request, new AsyncResource('SHUTDOWNWRAP'))
  }

  #shutDown(request: Request, scope: AsyncResource | undefined): number {
    if (this.#isClosing) return Uv.EBADF
    if (!this.#isConnected || this.#isShutDown) return Uv.ENOTCONN
    this.#isShutDown = true
    this.#shutdown = { request, scope }
    this.#update()
    // In no case within this call.
    if (this.#sender.length === 0) this.#mark(Mark.writable)
    return 0
  }

  #flush(): void {
    if (this.#owesShutdown && this.#isRead()) {
      this.#owesShutdown = false
      this.#loop.system.shutdown(this.#descriptor)
    }
    const sender = this.#sender
    sender.flush(this.#descriptor)
    if (sender.error !== 0) sender.cancel(sender.error)
    this.#update()
    if (sender.length > 0 || this.#isClosing || this.#shutdown === undefined) return
    this.#endShutdown(this.#shutNow())
  }

  canEnd(): boolean {
    return this.#isRead() || this.#loop.system.isPeerHere(this.#descriptor)
  }

  /** Whether the peer would lose nothing if the connection were over now. */
  #isRead(): boolean {
    return this.traces.statistics.sent === 0 || this.#descriptor === NONE || this.#loop.system.isRead(this.#descriptor)
  }

  #shutNow(): number {
    const { system } = this.#loop
    if (this.#isRead()) return system.shutdown(this.#descriptor)
    system.awaitRead(this.#descriptor)
    this.#owesShutdown = true
    return 0
  }

  #endShutdown(status: number): void {
    if (this.#shutdown === undefined) return
    const { request, scope } = this.#shutdown
    this.#shutdown = undefined
    this.#update()
    if (scope === undefined) {
      this.finishShutdown(request, status)
      this.#loop.tick()
      return
    }
    const oncomplete = request.oncomplete as OnComplete | undefined
    if (oncomplete !== undefined) this.#loop.call(scope, oncomplete, request, status, this, undefined)
  }

  // What C++ asks for, where TLS, HTTP/2 or the HTTP parser sit on the handle.

  onreadstart(): number {
    this.#isNative = true
    return this.readStart()
  }

  onreadstop(): number {
    return this.readStop()
  }

  onwrite(request: Request, chunks: readonly Uint8Array[]): number {
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    this.#count(chunks)
    const sender = this.#sender
    const write = sender.begin(this.#descriptor, chunks, this.traces.take(chunks.length, this.onwrite))
    if (sender.error !== 0) return sender.error
    // A request of C++ must not end within the call that makes it; but no later than when that call is over, for HTTP/2 reads nothing
    // meanwhile.
    sender.push(request, write, true)
    if (sender.isOver(write)) process.nextTick(this.#finishWrites)
    this.#update()
    return 0
  }

  readonly #finishWrites = (): void => {
    if (!this.#isClosing) this.#flush()
  }

  onshutdown(request: Request): number {
    return this.#shutDown(request, undefined)
  }

  isClosing(): boolean {
    return this.#isClosing
  }

  // The process, and the end.

  ref(): void {
    this.#isReferenced = true
    this.#update()
  }

  unref(): void {
    this.#isReferenced = false
    this.#update()
  }

  hasRef(): boolean {
    return this.#isReferenced && !this.#isClosed
  }

  /** What libuv watches for; and what keeps the process: writes, and reading where the handle is referenced. */
  #update(): void {
    const watch = this.#watch
    if (watch === undefined) return
    const isWriting = this.#sender.length > 0
    const isAwaiting = isWriting || this.#owesShutdown
    watch.want((this.#isReading ? Ready.readable : 0) | (isAwaiting ? Ready.writable : 0))
    if (isWriting || (this.#isReferenced && this.#isReading)) watch.ref()
    else watch.unref()
  }

  close(onclose?: () => void): void {
    if (this.#isClosing) return
    this.#isClosing = true
    this.#onclose = onclose
    this.#closeDescriptor()
    this.#loop.queue(this)
  }

  abandon(): void {
    this.#isClosing = true
    const descriptor = this.#descriptor
    this.#descriptor = NONE
    if (descriptor !== NONE) this.#loop.system.close(descriptor)
  }

  /** What came and was not read, with its descriptors, is the kernel's to close. */
  #closeDescriptor(): void {
    const descriptor = this.#descriptor
    if (descriptor === NONE) return
    this.#watch?.close()
    this.#watch = undefined
    // First forgotten: the number can belong to another file at once.
    this.#descriptor = NONE
    if (this.traces.statistics.sent > 0) this.#loop.lingering.close(descriptor)
    else this.#loop.system.close(descriptor)
  }

  deliver(): void {
    if (this.#isClosed) return
    const marks = this.#marks
    this.#marks = 0
    let isTold = false
    try {
      if (this.#isClosing) this.#tellClosed()
      else this.#tell(marks)
      isTold = true
    } finally {
      // The program has thrown: whatever is left, it is told the next time.
      if (!isTold && !this.#isClosed) this.#mark(marks & ~Mark.connected)
    }
  }

  #tell(marks: number): void {
    const connecting = this.#connecting
    if ((marks & Mark.connected) !== 0 && connecting !== undefined) this.#connected(connecting)
    // In libuv's order. Each may close the handle.
    if ((marks & Mark.readable) !== 0 && !this.#isClosing) this.#read()
    if ((marks & Mark.writable) !== 0 && !this.#isClosing) this.#flush()
    // libuv has stopped watching a descriptor that has failed.
    this.#update()
  }

  /** What was under way is cancelled, and then the handle is closed. */
  #tellClosed(): void {
    if (this.#connecting !== undefined) this.#connected({ ...this.#connecting, status: Uv.ECANCELED })
    this.#sender.cancel(Uv.ECANCELED)
    this.#endShutdown(Uv.ECANCELED)
    this.#isClosed = true
    this.#left = undefined
    this.#loop.closed(this)
    const onclose = this.#onclose
    this.#onclose = undefined
    if (typeof onclose === 'function') this.#loop.call(this.#scope, onclose, this)
    this.#scope.emitDestroy()
  }
}

/** What C++ cannot be told of an error, the one that net.js keeps for the handle is told. */
function destroyOwner(this: UnixHandle, number: number): void {
  const code = uvName(number)
  const error = Object.assign(new Error(`read ${code}`), { errno: number, code, syscall: 'read' })
  // An accessor that net.js puts on the prototype.
  const { owner } = this as { owner?: { destroy(error: Error): void } | null }
  owner?.destroy(error)
}
