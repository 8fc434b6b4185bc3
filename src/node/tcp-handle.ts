// What net.js takes for its TCP class (`process.binding('tcp_wrap').TCP`), over a socket of ours: net, http, https, http2 and
// tls run on it unmodified. Results are libuv's error numbers, and callbacks come when libuv's would.
//
// Read first: loop.ts, which calls `deliver`, and Node's lib/net.js and lib/internal/stream_base_commons.js, which are
// the callers. Runs on the thread of the event loop; the socket's callbacks inside turns, everything else outside.
//
// It extends the class whose bytes are supplied by JavaScript, because TLS, HTTP/2 and the HTTP parser read and write handles
// from C++, where no other class of JavaScript will do. As long as none of them does, bytes do not take that way.
import { AsyncResource } from 'node:async_hooks'
import type { KernelError } from '../base/errno.ts'
import type { TcpListener, TcpListenOptions } from '../socket/tcplistener.ts'
import type { TcpSocket } from '../socket/tcpsocket.ts'
import { binding, type Request, Uv, uvError, uvName } from './binding.ts'
import type { HandleHost } from './handle-host.ts'
import { type Deliverable, type NodeLoop, type Open, READ_BYTES } from './loop.ts'
import { ANY, inetAddress, mappedAddress, numberOf, type SocketAddress, tell } from './sockaddr.ts'
import { WriteQueue } from './write-queue.ts'

const { JSStream } = binding('js_stream')
const { SERVER, SOCKET } = binding('tcp_wrap').constants
const { streamBaseState, kReadBytesOrError, kArrayBufferOffset, kBytesWritten, kLastWriteWasAsync, kLastWriteErr } =
  binding('stream_wrap')

/** Of `bind`'s flags: libuv's UV_TCP_REUSEPORT. */
const REUSE_PORT = 2
/** Reads of one handle before the others have their turn, as libuv counts them. */
const READS_MAX = 32
/** Linux's, before the first probe of a connection that nothing else was said for. */
const KEEP_ALIVE_SECONDS = 7200
/** Ports that are chosen where one must be told before there is a listener (RFC 6335 6). */
const EPHEMERAL_FIRST = 49152
const EPHEMERAL_COUNT = 16384

/** What was marked in turns, and waits to be told. */
const Mark = { connected: 1 << 0, readable: 1 << 1, writable: 1 << 2 } as const

interface Connecting {
  readonly request: Request
  /** The program's when it called. */
  readonly scope: AsyncResource
  status: number
}

interface Shutdown {
  readonly request: Request
  /** The program's when it called; undefined: the request is C++'s. */
  readonly scope: AsyncResource | undefined
}

type OnRead = (this: unknown, buffer: ArrayBuffer | undefined) => unknown
type OnConnection = (this: unknown, status: number, handle: unknown) => void
type OnComplete = (this: Request, ...results: unknown[]) => void

export class TcpHandle extends JSStream implements Deliverable, Open {
  queued = false
  trace = 0
  /** Set by http, whose parser then reads from the handle. */
  _consumed = false
  /** Set by net.js. */
  onconnection: OnConnection | undefined = undefined
  readonly #host: HandleHost
  readonly #loop: NodeLoop
  #scope: AsyncResource
  /** What `bind` has said; and what was wrong with it, where `listen` is to say so. */
  #local: { readonly address: string; port: number } | undefined = undefined
  #bindError = 0
  /** It was connected with what `bind` has said. */
  #hasTried = false
  #isShared = false
  #socket: TcpSocket | undefined = undefined
  #listener: TcpListener | undefined = undefined
  readonly #accepted: TcpSocket[] = []
  #connecting: Connecting | undefined = undefined
  readonly #writes: WriteQueue
  #shutdown: Shutdown | undefined = undefined
  #isShutDown = false
  #marks = 0
  #isReading = false
  #onread: OnRead | undefined = undefined
  /** Reads go through C++, where somebody else than net.js listens. */
  #isNative = false
  /** Callbacks of C++ are to be told apart: see NativeCallbacks. Known when the first bytes come. */
  #isSeparate: boolean | undefined = undefined
  #userBuffer: Uint8Array | undefined = undefined
  /** The connection is gone. Its error is told once; then writing is EPIPE, and reading the end. */
  #isGone = false
  #error = 0
  #isClosing = false
  /** What is still to be done with the socket. */
  #ending: 'abort' | 'close' | undefined = undefined
  #isClosed = false
  #onclose: (() => void) | undefined = undefined
  #isReferenced = true
  #isHolding = false
  #bytesRead = 0
  #bytesWritten = 0
  #noDelay = false
  #keepAliveMs = 0
  #trafficClass = 0

  /** @param socket of a connection that was accepted */
  constructor(host: HandleHost, type: number, socket?: TcpSocket) {
    super()
    this.#host = host
    this.#loop = host.loop
    this.#scope = new AsyncResource(type === SERVER ? 'TCPSERVERWRAP' : 'TCPWRAP', { requireManualDestroy: true })
    this.#writes = new WriteQueue(host.loop, this)
    host.opened(this)
    if (socket !== undefined) this.#attach(socket)
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

  /**
   * Asked by http, http2 and tls right before they have C++ read from the handle, and by nobody else. From now on what comes
   * goes that way, and by it to net.js where nobody there takes it.
   */
  get isStreamBase(): boolean {
    this.#isNative = true
    return true
  }

  /** There is no descriptor. */
  get fd(): number {
    return -1
  }

  get bytesRead(): number {
    return this.#bytesRead
  }

  get bytesWritten(): number {
    return this.#bytesWritten
  }

  /** Bytes that are not in the send buffer yet. */
  get writeQueueSize(): number {
    return this.#writes.bytes
  }

  override getAsyncId(): number {
    return this.#scope.asyncId()
  }

  /** An http.Agent gives the connection to another request: its callbacks belong to that one's scope from now on. */
  asyncReset(_resource: object): void {
    this.#scope.emitDestroy()
    this.#scope = new AsyncResource('TCPWRAP', { requireManualDestroy: true })
  }

  // Addresses.

  bind(address: string, port: number, flags = 0): number {
    if (this.#isClosing) return Uv.EBADF
    if (this.#local !== undefined || this.#socket !== undefined || this.#listener !== undefined) return Uv.EINVAL
    const own = inetAddress(address)
    if (own === undefined) return Uv.EINVAL
    if (!this.#host.isOwn(own)) return Uv.EADDRNOTAVAIL
    this.#isShared = (flags & REUSE_PORT) !== 0
    this.#local = { address: own, port: Number(port) || 0 }
    return 0
  }

  /** As `bind`, but it is `listen` that fails: so libuv does it with some errors, and net.js then knows what to tell. */
  bindLater(address: string, port: number): void {
    this.#bindError = this.bind(address, port)
  }

  /** The stack has no IPv6. net.js tries `::` first where no address is given, and takes 0.0.0.0 when that fails. */
  bind6(address: string, port: number, flags?: number): number {
    const mapped = mappedAddress(address)
    return mapped === undefined ? Uv.EAFNOSUPPORT : this.bind(mapped, port, flags)
  }

  getsockname(out: SocketAddress): number {
    if (this.#socket !== undefined) return tell(out, this.#socket.localAddress, this.#socket.localPort)
    if (this.#listener !== undefined) return tell(out, this.#listener.address, this.#listener.port)
    if (this.#local === undefined) return Uv.EBADF
    // Whether it can be had is known when it is listened or connected with. Who asks before that, as net.js does before it
    // connects from a port, is told what bind(2) would have said; and where any port will do, one that will be tried.
    const error = this.#hasTried ? 0 : this.#probe(this.#local)
    if (error !== 0) return error
    if (!this.#hasTried) this.#local.port ||= EPHEMERAL_FIRST + this.#loop.cpu.random.below(EPHEMERAL_COUNT)
    return tell(out, this.#local.address, this.#local.port)
  }

  getpeername(out: SocketAddress): number {
    if (this.#socket === undefined) return this.#local === undefined ? Uv.EBADF : Uv.ENOTCONN
    if (this.#connecting !== undefined || this.#isGone) return Uv.ENOTCONN
    return tell(out, this.#socket.remoteAddress, this.#socket.remotePort)
  }

  /** Descriptors are the kernel's. */
  open(_descriptor: number): number {
    return Uv.ENOTSUP
  }

  // A server.

  listen(backlog: number): number {
    if (this.#isClosing) return Uv.EBADF
    if (this.#bindError !== 0) return this.#bindError
    if (this.#socket !== undefined || this.#listener !== undefined) return Uv.EINVAL
    const error = this.#listen({ address: ANY, ...this.#local, backlog }, (listener) => this.#listening(listener))
    this.#update()
    return error
  }

  /** A system call would wait for the answer as well: it comes from this CPU, or within microseconds from the others. */
  #listen(options: TcpListenOptions, made: (listener: TcpListener) => void): number {
    const { tcp, perCpu } = this.#host
    let error: KernelError | undefined
    let answered = false
    this.#loop.enter()
    try {
      tcp.listen({ ...options, perCpu, shared: this.#isShared }, (failure, listener) => {
        answered = true
        error = failure
        if (failure === undefined) made(listener)
      })
    } catch (failure) {
      return numberOf(failure)
    }
    if (!this.#loop.wait(() => answered)) return Uv.ETIMEDOUT
    return error === undefined ? 0 : uvError(-error.errno)
  }

  /** Whether another server has the port: by listening there for a moment. 0, or why it cannot be had. */
  #probe(local: { readonly address: string; readonly port: number }): number {
    if (local.port === 0) return 0
    let probe: TcpListener | undefined
    const error = this.#listen({ ...local, backlog: 1 }, (listener) => {
      probe = listener
    })
    if (probe !== undefined) this.#unlisten(probe)
    return error
  }

  #listening(listener: TcpListener): void {
    // Closed before the answer came.
    if (this.#isClosing) return void listener.close()
    this.#listener = listener
    listener.onConnection = (socket) => {
      if (this.#isClosing) return socket.abort()
      this.#accepted.push(socket)
      this.#loop.came(socket)
      this.#loop.queue(this)
    }
  }

  #accept(): void {
    // All that are there: libuv accepts until there are none.
    while (this.#accepted.length > 0 && !this.#isClosing) {
      this.#loop.call(this.#scope, this.#acceptOne, this, this.#accepted.shift()!)
    }
  }

  /** In the server's scope, which the new handle's scope is made in. */
  #acceptOne(socket: TcpSocket): void {
    this.#loop.toldOf(socket)
    this.onconnection?.(0, new TcpHandle(this.#host, SOCKET, socket))
  }

  // A connection.

  connect(request: Request, address: string, port: number): number {
    if (this.#isClosing) return Uv.EBADF
    if (this.#connecting !== undefined) return Uv.EALREADY
    if (this.#socket !== undefined) return Uv.EISCONN
    if (this.#listener !== undefined) return Uv.EINVAL
    const local = this.#local
    this.#local ??= { address: ANY, port: 0 }
    this.#hasTried = true
    this.#loop.enter()
    let socket: TcpSocket
    try {
      socket = this.#host.tcp.connect({
        address,
        port,
        ...(local === undefined || local.address === ANY ? {} : { localAddress: local.address }),
        ...(local === undefined || local.port === 0 ? {} : { localPort: local.port }),
        noDelay: this.#noDelay,
        keepAliveMs: this.#keepAliveMs,
      })
    } catch (failure) {
      return numberOf(failure)
    }
    this.#connecting = { request, scope: new AsyncResource('TCPCONNECTWRAP'), status: 0 }
    this.#attach(socket)
    return 0
  }

  connect6(request: Request, address: string, port: number): number {
    const mapped = mappedAddress(address)
    return mapped === undefined ? Uv.EAFNOSUPPORT : this.connect(request, mapped, port)
  }

  #attach(socket: TcpSocket): void {
    this.#socket = socket
    socket.onConnect = (errno) => {
      if (this.#connecting !== undefined) this.#connecting.status = errno === 0 ? 0 : uvError(errno)
      this.#mark(Mark.connected)
    }
    socket.onReadable = () => this.#mark(Mark.readable)
    socket.onWritable = () => this.#mark(Mark.writable)
    socket.onError = (errno) => {
      this.#isGone = true
      this.#error = uvError(errno)
      this.#mark(Mark.readable | Mark.writable)
    }
    socket.onClosed = () => this.#loop.lingered(socket)
    this.#update()
  }

  #mark(marks: number): void {
    this.#marks |= marks
    this.#loop.queue(this)
  }

  #connected({ request, scope, status }: Connecting): void {
    this.#connecting = undefined
    if (status !== 0) {
      this.#socket?.close()
      this.#socket = undefined
    }
    this.#update()
    const isOpen = status === 0
    const oncomplete = request.oncomplete as OnComplete | undefined
    if (oncomplete !== undefined) this.#loop.call(scope, oncomplete, request, status, this, request, isOpen, isOpen)
  }

  // Reading.

  readStart(): number {
    if (this.#isClosing) return Uv.EBADF
    if (this.#socket === undefined || this.#connecting !== undefined) return Uv.ENOTCONN
    this.#isReading = true
    this.#update()
    this.#loop.enter()
    this.#mark(Mark.readable)
    return 0
  }

  readStop(): number {
    this.#isReading = false
    this.#update()
    return 0
  }

  /** From now on what comes is read into `buffer`; whoever is told may answer with another one. */
  useUserBuffer(buffer: Uint8Array): void {
    this.#userBuffer = buffer
  }

  #read(socket: TcpSocket): void {
    for (let reads = 0; this.#canRead() && socket.readableBytes > 0; reads++) {
      if (reads === READS_MAX) return this.#mark(Mark.readable)
      this.#readOnce(socket)
    }
    if (!this.#canRead()) return
    // As Linux has it: who has reached the peer's end hears nothing of a reset that came behind it.
    if (socket.ended) this.#tellEnd()
    else if (this.#error !== 0) this.#tellError()
    else if (this.#isGone) this.#tellEnd()
  }

  #canRead(): boolean {
    return this.#isReading && !this.#isClosing
  }

  #readOnce(socket: TcpSocket): void {
    this.#loop.enter()
    const own = this.#userBuffer
    if (this.#isNative && own === undefined) return this.#readNative(socket)
    if (own === undefined) {
      const { slab } = this.#loop
      const room = slab.room(Math.min(socket.readableBytes, READ_BYTES))
      const bytes = this.#take(socket, room)
      slab.keep(room, bytes)
      this.#tellRead(bytes, room.buffer, room.byteOffset)
      return
    }
    const next = this.#tellRead(this.#take(socket, own), undefined, 0)
    if (next instanceof Uint8Array) this.#userBuffer = next
  }

  #take(socket: TcpSocket, room: Uint8Array): number {
    const bytes = socket.receive(room)
    this.#bytesRead += bytes
    return bytes
  }

  #readNative(socket: TcpSocket): void {
    const { readScratch, callbacks } = this.#loop
    const bytes = readScratch.subarray(0, this.#take(socket, readScratch))
    // The parser of HTTP, which says that it has the handle, makes one callback of all.
    this.#isSeparate ??= !this._consumed && callbacks.needed
    if (!this.#isSeparate) this.readBuffer(bytes)
    else callbacks.separate(super.getAsyncId(), () => this.readBuffer(bytes))
    this.#loop.tick()
  }

  #tellEnd(): void {
    this.#stopReading()
    if (!this.#isNative) {
      this.#tellRead(Uv.EOF, undefined, 0)
      return
    }
    this.emitEOF()
    this.#loop.tick()
  }

  /** By way of net.js in every case: C++ cannot be told of an error, only of an end. */
  #tellError(): void {
    const error = this.#error
    this.#error = 0
    this.#stopReading()
    if (this.#onread !== undefined) this.#tellRead(error, undefined, 0)
    else this.#loop.call(this.#scope, destroyOwner, this, error)
  }

  #stopReading(): void {
    this.#isReading = false
    this.#update()
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
    return this.#writeText(request, text, 'utf8')
  }

  writeAsciiString(request: Request | null, text: string): number | Request {
    return this.#writeText(request, text, 'latin1')
  }

  writeLatin1String(request: Request | null, text: string): number | Request {
    return this.#writeText(request, text, 'latin1')
  }

  writeUcs2String(request: Request | null, text: string): number | Request {
    return this.#writeText(request, text, 'utf16le')
  }

  /** @param chunks buffers where `allBuffers`; else each is followed by its encoding, and may be a string */
  writev(request: Request | null, chunks: readonly unknown[], allBuffers: boolean): number | Request {
    if (allBuffers) return this.#write(request, chunks as Uint8Array[])
    const buffers: Uint8Array[] = []
    let used = 0
    for (let i = 0; i < chunks.length; i += 2) {
      const chunk = chunks[i] as Uint8Array | string
      const bytes = typeof chunk === 'string' ? this.#encode(chunk, chunks[i + 1] as BufferEncoding, used) : chunk
      if (bytes.buffer === this.#loop.writeScratch.buffer) used += bytes.length
      buffers.push(bytes)
    }
    return this.#write(request, buffers)
  }

  #writeText(request: Request | null, text: string, encoding: BufferEncoding): number | Request {
    return this.#write(request, [this.#encode(text, encoding, 0)])
  }

  /** A text's bytes: in the loop's scratch behind the first `used` bytes, where they are good for the call, or their own. */
  #encode(text: string, encoding: BufferEncoding, used: number): Uint8Array {
    const { writeScratch } = this.#loop
    // No encoding makes more of a character.
    if (used + text.length * 3 > writeScratch.length) return Buffer.from(text, encoding)
    return writeScratch.subarray(used, used + writeScratch.write(text, used, encoding))
  }

  /** @param request null, from Node 26 on: the result is the request, when the write is not over at once */
  #write(request: Request | null, chunks: readonly Uint8Array[]): number | Request {
    if (kLastWriteErr !== undefined) streamBaseState[kLastWriteErr] = 0
    streamBaseState[kLastWriteWasAsync] = 0
    streamBaseState[kBytesWritten] = 0
    const refusal = this.#refusal()
    if (refusal !== 0) return refusal
    streamBaseState[kBytesWritten] = this.#count(chunks)
    const left = this.#writes.trySend(this.#socket!, chunks)
    if (left < 0) return 0
    streamBaseState[kLastWriteWasAsync] = 1
    const waiting = request ?? { writeStatus: null, error: undefined }
    const { buffer: scratch } = this.#loop.writeScratch
    const kept = chunks.map((chunk) => (chunk.buffer === scratch ? Uint8Array.from(chunk) : chunk))
    this.#writes.push(waiting, kept, left, this.#writes.taken, false)
    this.#update()
    return request === null ? waiting : 0
  }

  #count(chunks: readonly Uint8Array[]): number {
    let bytes = 0
    for (let i = 0; i < chunks.length; i++) bytes += chunks[i]!.byteLength
    this.#bytesWritten += bytes
    this.#loop.enter()
    return bytes
  }

  /** 0, or why nothing can be written. */
  #refusal(): number {
    if (this.#isClosing || this.#socket === undefined || this.#connecting !== undefined) return Uv.EBADF
    return this.#isGone ? this.#takeError() : this.#isShutDown ? Uv.EPIPE : 0
  }

  #takeError(): number {
    const error = this.#error
    this.#error = 0
    return error === 0 ? Uv.EPIPE : error
  }

  /** Ends the sending direction, behind what is still to be written. */
  shutdown(request: Request): number {
    return this.#shutDown(request, new AsyncResource('SHUTDOWNWRAP'))
  }

  #shutDown(request: Request, scope: AsyncResource | undefined): number {
    if (this.#isClosing) return Uv.EBADF
    if (this.#socket === undefined || this.#connecting !== undefined || this.#isShutDown) return Uv.ENOTCONN
    this.#isShutDown = true
    this.#shutdown = { request, scope }
    this.#update()
    this.#loop.enter()
    // In no case within this call.
    this.#mark(Mark.writable)
    return 0
  }

  #flush(socket: TcpSocket): void {
    this.#loop.enter()
    if (this.#isGone) {
      if (this.#writes.length > 0) this.#writes.cancel(this.#takeError())
    } else this.#writes.flush(socket)
    this.#update()
    if (this.#writes.length > 0 || this.#isClosing || this.#shutdown === undefined) return
    if (!this.#isGone) socket.shutdown()
    this.#endShutdown(this.#isGone ? Uv.ENOTCONN : 0)
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
    const left = this.#writes.trySend(this.#socket!, chunks)
    // A request of C++ must not end within the call that makes it: also one whose bytes are all taken waits in the queue, but no
    // longer than until that call is over, for HTTP/2 reads nothing meanwhile.
    this.#writes.push(request, chunks, left < 0 ? chunks.length : left, left < 0 ? 0 : this.#writes.taken, true)
    if (left < 0) process.nextTick(this.#finishWrites)
    this.#update()
    return 0
  }

  readonly #finishWrites = (): void => {
    const socket = this.#socket
    if (socket !== undefined && !this.#isClosing && !this.#isGone) this.#writes.flush(socket)
    this.#update()
  }

  onshutdown(request: Request): number {
    return this.#shutDown(request, undefined)
  }

  isClosing(): boolean {
    return this.#isClosing
  }

  // Options. Those that come before the connection are set with it.

  setNoDelay(on: boolean): number {
    this.#noDelay = on
    if (this.#socket === undefined) return Uv.EBADF
    this.#loop.enter()
    this.#socket.setNoDelay(on)
    return 0
  }

  /** @param delaySeconds before the first probe; the number of probes and their distance are the stack's */
  setKeepAlive(on: boolean, delaySeconds: number): number {
    this.#keepAliveMs = on ? (delaySeconds > 0 ? delaySeconds : KEEP_ALIVE_SECONDS) * 1000 : 0
    if (this.#socket === undefined) return Uv.EBADF
    this.#loop.enter()
    this.#socket.setKeepAlive(this.#keepAliveMs)
    return 0
  }

  setTypeOfService(value: number): number {
    if (this.#socket === undefined) return Uv.EBADF
    this.#trafficClass = value
    this.#loop.enter()
    this.#socket.setTrafficClass(value)
    return 0
  }

  getTypeOfService(): number {
    return this.#socket === undefined ? Uv.EBADF : this.#trafficClass
  }

  setBlocking(_on: boolean): number {
    return Uv.ENOTSUP
  }

  setSimultaneousAccepts(_on: boolean): number {
    return 0
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

  /** What keeps the process: what is asked for, as long as it is; and what the handle waits for, where it is referenced. */
  #update(): void {
    const requests = this.#connecting !== undefined || this.#writes.length > 0 || this.#shutdown !== undefined
    const waits = this.#isReading || this.#listener !== undefined
    const holds = !this.#isClosed && (this.#isClosing || requests || (this.#isReferenced && waits))
    if (holds === this.#isHolding) return
    this.#isHolding = holds
    if (holds) this.#loop.hold()
    else this.#loop.release()
  }

  close(onclose?: () => void): void {
    if (!this.#isClosing) this.#close(onclose, false)
  }

  /** Closes the connection by a reset. libuv refuses where it is being shut down. */
  reset(onclose?: () => void): number {
    if (this.#isClosing) return Uv.EBADF
    if (this.#shutdown !== undefined) return Uv.EINVAL
    this.#close(onclose, true)
    return 0
  }

  abandon(): void {
    if (!this.#isClosing) this.#end(false)
    else this.#endSocket()
  }

  #close(onclose: (() => void) | undefined, isReset: boolean): void {
    this.#onclose = onclose
    this.#loop.enter()
    this.#end(isReset)
    this.#loop.queue(this)
    this.#update()
  }

  #end(isReset: boolean): void {
    this.#isClosing = true
    if (this.#listener !== undefined) this.#unlisten(this.#listener)
    // Their program has never seen them.
    for (const socket of this.#accepted.splice(0)) socket.abort()
    const socket = this.#socket
    if (socket === undefined) return
    this.#loop.linger(socket)
    // A reset, which close gives as well where something is unread, takes along what was not sent yet. A kernel sends within the
    // call; here it is sent in the turn that comes before the program is told.
    const resets = isReset || socket.readableBytes > 0
    if (resets && socket.unsentBytes > 0) this.#ending = isReset ? 'abort' : 'close'
    else if (isReset) socket.abort()
    else socket.close()
  }

  /** What `close` and `reset` have put off by a turn. */
  #endSocket(): void {
    const ending = this.#ending
    if (ending === undefined) return
    this.#ending = undefined
    this.#loop.enter()
    this.#socket?.[ending]()
  }

  /** From now on nobody is let in, on all CPUs, as after a system call. False: no memory for the message; to be tried again. */
  #unlisten(listener: TcpListener): boolean {
    let known = false
    const isUnderWay = listener.close(() => {
      known = true
    })
    if (isUnderWay) this.#loop.wait(() => known)
    return isUnderWay
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
    this.#accept()
    // In libuv's order. Each may close the handle.
    const socket = this.#socket
    if (socket === undefined) return
    if ((marks & Mark.readable) !== 0 && !this.#isClosing) this.#read(socket)
    if ((marks & Mark.writable) !== 0 && !this.#isClosing) this.#flush(socket)
  }

  /** What was under way is cancelled, and then the handle is closed. */
  #tellClosed(): void {
    this.#endSocket()
    if (this.#listener?.closed === false && !this.#unlisten(this.#listener)) return this.#loop.queue(this)
    if (this.#connecting !== undefined) this.#connected({ ...this.#connecting, status: Uv.ECANCELED })
    this.#writes.cancel(Uv.ECANCELED)
    this.#endShutdown(Uv.ECANCELED)
    this.#isClosed = true
    this.#host.closed(this)
    this.#update()
    const onclose = this.#onclose
    this.#onclose = undefined
    if (typeof onclose === 'function') this.#loop.call(this.#scope, onclose, this)
    this.#scope.emitDestroy()
  }
}

/** What C++ cannot be told of an error, the one that net.js keeps for the handle is told. */
function destroyOwner(this: TcpHandle, number: number): void {
  const code = uvName(number)
  const error = Object.assign(new Error(`read ${code}`), { errno: number, code, syscall: 'read' })
  // An accessor that net.js puts on the prototype.
  const { owner } = this as { owner?: { destroy(error: Error): void } | null }
  owner?.destroy(error)
}

// For `instanceof`, by which net.js knows what may be listened on and reset, handles are Node's own TCP. Behind that stand
// functions that only take a stream of libuv: what the handle uses of the class that it extends, it must have itself.
for (const name of ['readBuffer', 'emitEOF', 'finishWrite', 'finishShutdown', '_externalStream']) {
  Object.defineProperty(TcpHandle.prototype, name, Object.getOwnPropertyDescriptor(JSStream.prototype, name)!)
}
Object.setPrototypeOf(TcpHandle.prototype, binding('tcp_wrap').TCP.prototype)
