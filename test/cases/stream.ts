// A TCP socket of a case's program, with waiting in place of callbacks.
import assert from 'node:assert/strict'
import { errnoName } from '../../src/kernel.ts'
import type { TcpInfo, TcpSocket } from '../../src/stack.ts'
import { byteAt, type Program } from './program.ts'

export class Stream {
  readonly socket: TcpSocket
  /** What the program was told, in order: `connect`, `end`, `error ECONNRESET`, `closed`, … */
  readonly log: string[] = []
  isConnected = false
  errno = 0
  isClosed = false
  urgentBytes = -1
  #hasRoom = true
  #wasEnded = false
  readonly #program: Program

  constructor(program: Program, socket: TcpSocket) {
    this.#program = program
    this.socket = socket
    const told = (what: string, change: () => void = () => {}) => {
      this.log.push(what)
      change()
      program.happened()
    }
    socket.onConnect = (errno) =>
      told(errno === 0 ? 'connect' : `connect ${errnoName(errno)}`, () => {
        this.isConnected = errno === 0
        this.errno = errno
      })
    socket.onReadable = () => {
      if (socket.ended && !this.#wasEnded) {
        this.#wasEnded = true
        this.log.push('end')
      }
      program.happened()
    }
    socket.onWritable = () => {
      this.#hasRoom = true
      program.happened()
    }
    socket.onUrgent = (bytes) =>
      told('urgent', () => {
        this.urgentBytes = bytes
      })
    socket.onError = (errno) =>
      told(`error ${errnoName(errno)}`, () => {
        this.errno = errno
      })
    socket.onClosed = () =>
      told('closed', () => {
        this.isClosed = true
      })
    this.isConnected = socket.state === 'open'
  }

  get what(): string {
    return `the connection ${this.socket.localPort} → ${this.socket.remoteAddress}:${this.socket.remotePort}`
  }

  get isOpen(): boolean {
    return !this.isClosed
  }

  *connected(): Generator<void, this, void> {
    yield* this.settled()
    assert(this.isConnected, `connect: ${errnoName(this.errno)}`)
    return this
  }

  /** The attempt has ended, well or not: what ends a connection at once may be all that is heard of it. */
  *settled(): Generator<void, this, void> {
    yield* this.#program.until('the connection to open', () => this.isConnected || this.errno !== 0)
    return this
  }

  /** Waits for an error, and returns its name. */
  *failed(): Generator<void, string, void> {
    yield* this.#program.until('an error', () => this.errno !== 0)
    return errnoName(this.errno)
  }

  /** Sends all of it, as there is room; ends early when the connection fails. Returns how many bytes were taken. */
  *write(bytes: Uint8Array): Generator<void, number, void> {
    let sent = 0
    while (sent < bytes.length && this.errno === 0) {
      this.#hasRoom = false
      sent += this.socket.send(bytes.subarray(sent))
      if (sent < bytes.length) {
        yield* this.#program.until('room to send', () => this.#hasRoom || this.errno !== 0)
      }
    }
    return sent
  }

  /** Exactly so many bytes, or fewer and then the end. */
  *read(count: number): Generator<void, Uint8Array, void> {
    const bytes = new Uint8Array(count)
    let got = 0
    while (got < count) {
      got += this.socket.receive(bytes.subarray(got))
      if (got === count || this.errno !== 0) break
      const { socket } = this
      yield* this.#program.until(
        `bytes: has ${got} of ${count}`,
        () => socket.readableBytes > 0 || socket.ended || this.errno !== 0,
      )
      if (socket.readableBytes === 0) break
    }
    return bytes.subarray(0, got)
  }

  /** Reads `count` bytes of the pattern, each looked at. */
  *readPattern(from: number, count: number, chunk = 16_384): Generator<void, void, void> {
    for (let got = 0; got < count; ) {
      const bytes = yield* this.read(Math.min(chunk, count - got))
      for (let i = 0; i < bytes.length; i++) {
        if (bytes[i] !== byteAt(from + got + i)) assert.fail(`byte ${from + got + i} is ${bytes[i]}`)
      }
      assert.notEqual(bytes.length, 0, `the stream ends after ${got} of ${count} bytes`)
      got += bytes.length
    }
  }

  /** Reads until the end, which has to come without an error. */
  *rest(): Generator<void, Uint8Array, void> {
    const parts: Uint8Array[] = []
    for (;;) {
      const bytes = yield* this.read(65_536)
      parts.push(bytes)
      if (bytes.length === 65_536) continue
      assert.equal(this.errno, 0, `the end: ${errnoName(this.errno)}`)
      return Uint8Array.from(Buffer.concat(parts))
    }
  }

  /** The stream ends here. */
  *ended(): Generator<void, void, void> {
    assert.equal((yield* this.rest()).length, 0, 'nothing comes before the end')
  }

  shutdown(): void {
    this.socket.shutdown()
  }

  *close(): Generator<void, void, void> {
    this.socket.close()
    yield* this.closed()
  }

  *abort(): Generator<void, void, void> {
    this.socket.abort()
    yield* this.closed()
  }

  *closed(): Generator<void, void, void> {
    yield* this.#program.until('the socket to close', () => this.isClosed)
  }

  *info(): Generator<void, TcpInfo, void> {
    const answers: (TcpInfo | undefined)[] = []
    this.socket.info((info) => {
      answers.push(info)
      this.#program.happened()
    })
    yield* this.#program.until('what the connection knows', () => answers.length > 0)
    assert(answers[0] !== undefined, 'there is a connection to ask')
    return answers[0]
  }

  /** Asks until what it knows is so. */
  *infoUntil(what: string, wanted: (info: TcpInfo) => boolean): Generator<void, TcpInfo, void> {
    const { info } = this
    return yield* this.#program.untilFound(what, () => filtered(info.call(this), wanted))
  }
}

function* filtered(
  asked: Generator<void, TcpInfo, void>,
  wanted: (info: TcpInfo) => boolean,
): Generator<void, TcpInfo | undefined, void> {
  const info = yield* asked
  return wanted(info) ? info : undefined
}
