// Programs of a host under test: TCP sockets that write down what they are told, and do what the test says. Every method
// runs on the program's CPU, as a part of one of its turns, and lets a millisecond pass. Made by `TestHost.listen` and `connect`.
import assert from 'node:assert/strict'
import { errnoName, type KernelError } from '../../base/errno.ts'
import type { TcpInfo } from '../../socket/tcpinfo.ts'
import type { Stack, TcpListener, TcpListenOptions, TcpSocket } from '../../stack.ts'
import { type Bytes, join } from './frame.ts'
import type { TestHost } from './host.ts'

export interface ProgramOptions {
  /** Takes what is received as soon as it is told of it. Default true. */
  readonly reads?: boolean
  /** Is called for each connection that comes, within the turn in which it comes. */
  readonly onConnection?: (socket: TcpSocket) => void
}

/** A socket and its program. */
export class TestSocket {
  readonly socket: TcpSocket
  readonly cpu: number
  /**
   * What the program was told: `connect`, `connect ECONNREFUSED`, `end`, `writable`, `urgent 4`, `error ECONNRESET`, `closed`. Of data
   * only `readable`, and only where the program does not read by itself.
   */
  readonly log: string[] = []
  /** All that the program has read. */
  readonly parts: Bytes[] = []
  /** Reads by itself. */
  reads: boolean
  readonly #host: TestHost

  constructor(host: TestHost, cpu: number, socket: TcpSocket, options: ProgramOptions = {}) {
    this.#host = host
    this.cpu = cpu
    this.socket = socket
    this.reads = options.reads ?? true
    socket.onConnect = (errno) => this.log.push(errno === 0 ? 'connect' : `connect ${errnoName(errno)}`)
    socket.onReadable = () => {
      if (this.reads) this.#read(Number.POSITIVE_INFINITY)
      else if (socket.readableBytes > 0) this.log.push('readable')
      if (socket.ended) this.log.push('end')
    }
    socket.onWritable = () => this.log.push('writable')
    socket.onUrgent = (bytes) => this.log.push(`urgent ${bytes}`)
    socket.onError = (errno) => this.log.push(`error ${errnoName(errno)}`)
    socket.onClosed = () => this.log.push('closed')
  }

  /** What was read since the last call. */
  received(): Bytes {
    return join(...this.parts.splice(0))
  }

  /** What the program was told since the last call is this. */
  expect(...events: readonly string[]): void {
    assert.deepEqual(this.log.splice(0), events, 'what the program was told')
  }

  /** Runs `job` on the program's CPU. */
  do<T>(job: (socket: TcpSocket) => T): T {
    return this.#host.on(this.cpu, () => job(this.socket))
  }

  /** Returns how many bytes were taken. */
  send(bytes: Bytes): number {
    return this.do((socket) => socket.send(bytes))
  }

  /** Reads so many bytes, or what there is. */
  read(bytes = Number.POSITIVE_INFINITY): Bytes {
    this.do(() => this.#read(bytes))
    return this.received()
  }

  shutdown(): void {
    this.do((socket) => socket.shutdown())
  }

  close(): void {
    this.do((socket) => socket.close())
  }

  abort(): void {
    this.do((socket) => socket.abort())
  }

  info(): TcpInfo {
    const answers: (TcpInfo | undefined)[] = []
    this.do((socket) => socket.info((info) => answers.push(info)))
    assert.equal(answers.length, 1, 'the connection answers')
    assert(answers[0] !== undefined, 'there is a connection to ask')
    return answers[0]
  }

  /** RFC 9293's name of the connection's state. */
  get state(): string {
    return this.info().state
  }

  #read(most: number): void {
    let left = most
    while (left > 0 && this.socket.readableBytes > 0) {
      const target = new Uint8Array(Math.min(left, this.socket.readableBytes))
      const count = this.socket.receive(target)
      assert.equal(count, target.length, 'a socket gives as much as it says it has')
      this.parts.push(target)
      left -= count
    }
  }
}

/** A listening socket and its program. */
export class TestServer {
  readonly listener: TcpListener
  readonly cpu: number
  /** The connections that came, in their order. */
  readonly sockets: TestSocket[] = []
  readonly #host: TestHost

  constructor(
    host: TestHost,
    cpu: number,
    stack: Stack,
    options: TcpListenOptions,
    program: ProgramOptions,
    ready: (error: KernelError | undefined) => void,
  ) {
    this.#host = host
    this.cpu = cpu
    this.listener = stack.tcp.listen(options, (error) => ready(error))
    this.listener.onConnection = (socket) => {
      this.sockets.push(new TestSocket(host, cpu, socket, program))
      program.onConnection?.(socket)
    }
  }

  /** The next connection that came and that nobody has taken. */
  accept(): TestSocket {
    const socket = this.sockets.shift()
    assert(socket !== undefined, 'a connection has come')
    return socket
  }

  close(): void {
    let done = 0
    this.#host.on(this.cpu, () => assert(this.listener.close(() => done++)))
    this.#host.run()
    assert.equal(done, 1, 'every CPU knows that nobody listens any more')
  }
}
