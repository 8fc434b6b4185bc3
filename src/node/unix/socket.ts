// A net.Socket on a path, over the operating system's own UNIX-domain sockets, whose writes carry the sender's stack trace beside the
// bytes and whose reads tell it: `socket.lastTrace()`. A peer that knows nothing of it reads its bytes as ever.
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { Errno, KernelError } from '../../base/errno.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import { connectArguments, setHandle } from '../inside.ts'
import { UnixHandle } from './handle.ts'
import { UnixLoop } from './loop.ts'
import { type TraceOptions, type TraceStatistics, Traces } from './traces.ts'

export interface UnixSocketOptions extends TraceOptions {
  /** As of net.Socket: the other direction stays open when one ends. Default false. */
  readonly allowHalfOpen?: boolean
  /** As of net.Socket: what comes is put into one buffer of the program's. */
  readonly onread?: OnReadOpts
  readonly readableHighWaterMark?: number
  readonly writableHighWaterMark?: number
  readonly signal?: AbortSignal
}

/** Bytes or characters that wait to be read, as the stream counts them, from where on; and whose they are. */
interface Reading {
  readonly start: number
  readonly chain: Chain | undefined
}

type WriteCallback = (error?: Error | null) => void

/** What a socket knows besides net.Socket. In one property, for those that net.js has made. */
class State {
  readonly traces: Traces
  /** As `traces.given`, when the stream was last given something. */
  given = 0
  /** The stream is being given something. */
  isGiven = false
  /** Of what the program has not read yet. */
  readonly #unread: Reading[] = []
  /** Of what it has read last. */
  #newest: Chain | undefined = undefined
  /** All that has ever waited to be read. */
  #buffered = 0

  constructor(traces: Traces) {
    this.traces = traces
  }

  /** @param waiting what the program has not read yet */
  settle(waiting: number): Chain | undefined {
    const read = this.#buffered - waiting
    while (this.#unread.length > 0 && this.#unread[0]!.start < read) this.#newest = this.#unread.shift()!.chain
    return this.#newest
  }

  /** The stream has been given something: so much more waits to be read; 0 where it was read at once. */
  put(waiting: number, chain: Chain | undefined): void {
    if (waiting <= 0) {
      this.#unread.length = 0
      this.#newest = chain
      return
    }
    if (this.#unread.length === 0 || this.#unread.at(-1)!.chain !== chain) {
      this.#unread.push({ start: this.#buffered, chain })
    }
    this.#buffered += waiting
  }
}

const STATE = Symbol('traces')

export class UnixSocket extends Socket {
  declare readonly [STATE]: State

  /**
   * A socket to be connected by `connect(path)`.
   * @throws KernelError EINVAL for limits that cannot be, EOPNOTSUPP, ENODEV where the operating system or koffi is not there
   */
  constructor(options: UnixSocketOptions = {}) {
    const loop = UnixLoop.ofThread()
    const traces = new Traces(loop.clock, (below) => loop.stacks.take(below), options)
    super(options as SocketConstructorOpts)
    UnixSocket.#setState(this, traces)
  }

  /** Makes a socket that net.js has made of a handle one of this class. */
  static adopt(socket: Socket, traces: Traces): void {
    Object.setPrototypeOf(socket, UnixSocket.prototype)
    UnixSocket.#setState(socket, traces)
  }

  static #setState(socket: Socket, traces: Traces): void {
    // Not among what a program sees when it prints a socket.
    Object.defineProperty(socket, STATE, { value: new State(traces) })
  }

  /**
   * The sender's trace of the newest bytes that the program was given: within a `data` event those of that event, after `read()`
   * those that it has returned, and what came before `read()` was called is not meant. Undefined where those bytes came without one,
   * or with one that was refused (`traces.refused` tells why), and before any have come.
   *
   * Where bytes without and with a trace were given together, it is that of the last of them. A trace is what the sender says of itself.
   */
  lastTrace(): Chain | undefined {
    const state = this[STATE]
    // Past the stream: an HTTP parser or TLS, or the program's own buffer.
    if (state.given !== state.traces.given) return state.traces.latest
    // Given and read at once.
    if (state.isGiven && this.readableLength === 0) return state.traces.latest
    return state.settle(this.readableLength)
  }

  /** What was counted of traces, both ways. */
  get traces(): TraceStatistics {
    const { received, refused, sent, unsent } = this[STATE].traces.statistics
    return { received, refused: { ...refused }, sent, unsent }
  }

  /** As of net.Socket, on a path: `connect(path, listener)` or `connect({ path }, listener)`. */
  override connect(...args: never[]): this {
    const [options, listener] = connectArguments(args)
    if (typeof options.path !== 'string' || options.path === '') {
      throw new KernelError(Errno.EINVAL, 'a UnixSocket connects to a path: give one, such as /tmp/socket', 'connect')
    }
    if ((this as { _handle?: object | null })._handle == null || this.destroyed) {
      setHandle(this, new UnixHandle(UnixLoop.ofThread(), this[STATE].traces))
    }
    const connect = super.connect as (...args: unknown[]) => this
    connect.call(this, options, ...(listener === null ? [] : [listener]))
    // net.js puts its own there.
    Reflect.deleteProperty(this, 'write')
    return this
  }

  override write(
    chunk: Uint8Array | string,
    encoding?: BufferEncoding | WriteCallback,
    callback?: WriteCallback,
  ): boolean {
    const { traces } = this[STATE]
    const count = traces.put(UnixSocket.prototype.write)
    try {
      return super.write(chunk, encoding as BufferEncoding, callback)
    } catch (error) {
      traces.takeBack(count)
      throw error
    }
  }

  override end(chunk?: unknown, encoding?: unknown, callback?: unknown): this {
    const { traces } = this[STATE]
    const hasChunk = chunk !== undefined && chunk !== null && typeof chunk !== 'function'
    const count = hasChunk ? traces.put(UnixSocket.prototype.end) : 0
    try {
      return super.end(chunk as Uint8Array, encoding as BufferEncoding, callback as () => void)
    } catch (error) {
      traces.takeBack(count)
      throw error
    }
  }

  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    const state = this[STATE]
    const { latest, given } = state.traces
    const before = this.readableLength
    state.settle(before)
    state.given = given
    state.isGiven = true
    try {
      return super.push(chunk, encoding)
    } finally {
      state.isGiven = false
      if (chunk !== null) state.put(this.readableLength - before, latest)
    }
  }
}
