// A listening socket of a case's program.
import assert from 'node:assert/strict'
import { errnoName } from '../../src/kernel.ts'
import type { TcpListener, TcpListenOptions } from '../../src/stack.ts'
import type { Program } from './program.ts'
import { Stream } from './stream.ts'

export class Server {
  readonly listener: TcpListener
  /** 0 or an errno, once there is an answer. */
  answer: number | undefined = undefined
  /** Connections that have come and that nobody has accepted. */
  readonly waiting: Stream[] = []
  /** All that have come. */
  readonly all: Stream[] = []
  #isClosed = false
  readonly #program: Program

  constructor(program: Program, options: TcpListenOptions) {
    this.#program = program
    this.listener = program.stack.tcp.listen(options, (error) => {
      this.answer = error === undefined ? 0 : -error.errno
      program.happened()
    })
    this.listener.onConnection = (socket) => {
      const stream = program.keep(new Stream(program, socket))
      this.all.push(stream)
      this.waiting.push(stream)
      program.happened()
    }
  }

  get what(): string {
    return `the listener at port ${this.listener.port}`
  }

  get isOpen(): boolean {
    return this.answer === 0 && !this.#isClosed && !this.listener.closed
  }

  *listening(): Generator<void, void, void> {
    yield* this.#program.until('every CPU to listen', () => this.answer !== undefined)
    assert.equal(this.answer, 0, `listen: ${errnoName(this.answer!)}`)
  }

  /** The next connection, waiting for it. */
  *accept(): Generator<void, Stream, void> {
    yield* this.#program.until('a connection', () => this.waiting.length > 0)
    return this.waiting.shift()!
  }

  /** Waits until every CPU knows. */
  *close(): Generator<void, void, void> {
    let isDone = false
    const close = () =>
      this.listener.close(() => {
        isDone = true
        this.#program.happened()
      })
    assert(close(), 'there is memory to say so')
    yield* this.#program.until('every CPU to know that nobody listens', () => isDone)
    this.#isClosed = true
  }
}
