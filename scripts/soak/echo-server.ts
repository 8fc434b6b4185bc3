// A program of a CPU, on the stack's own sockets: it sends back all that comes. It ends as a program does that is killed: whatever it has is
// gone, in the middle of what its clients say.
import type { KernelError } from '../../src/base/errno.ts'
import type { Stack, TcpListener, TcpSocket } from '../../src/stack.ts'

const BACKLOG = 1024
const BUFFER_BYTES = 16_384
/** Of both ends. */
export const KEEP_ALIVE = { delayMs: 2000, intervalMs: 1000, count: 8 } as const
/** Between two attempts to close, where there is no memory for the message. */
const RETRY_US = 10_000

export class EchoServer {
  readonly #stack: Stack
  readonly #listener: TcpListener
  readonly #sockets = new Set<TcpSocket>()
  readonly #buffer = new Uint8Array(BUFFER_BYTES)
  #isOver = false

  constructor(stack: Stack, port: number, ready: (error: KernelError | undefined) => void) {
    this.#stack = stack
    this.#listener = stack.tcp.listen({ port, backlog: BACKLOG }, (error, listener) => {
      if (error === undefined) listener.onConnection = (socket) => this.#take(socket)
      ready(error)
    })
  }

  /** `done` is called when every CPU of the host knows. */
  end(done: () => void): void {
    this.#isOver = true
    for (const socket of this.#sockets) socket.abort()
    if (!this.#listener.close(done)) this.#stack.context.cpu.timers.after(RETRY_US, () => this.end(done))
  }

  #take(socket: TcpSocket): void {
    // What had come before the end, and was not told.
    if (this.#isOver) return socket.abort()
    this.#sockets.add(socket)
    // A reset may be lost: who has nothing to send would never hear of its client's end.
    socket.setKeepAlive(KEEP_ALIVE.delayMs, KEEP_ALIVE.intervalMs, KEEP_ALIVE.count)
    let isClosed = false
    const close = () => {
      if (isClosed) return
      isClosed = true
      socket.close()
    }
    const turn = () => {
      const buffer = this.#buffer
      while (socket.readableBytes > 0 && socket.sendRoom > 0) {
        const bytes = socket.receive(buffer.subarray(0, Math.min(buffer.length, socket.sendRoom)))
        if (socket.send(buffer.subarray(0, bytes)) < bytes) return socket.abort()
      }
      // Asks to be told of room.
      if (socket.readableBytes > 0) socket.send(buffer)
      else if (socket.ended) close()
    }
    socket.onReadable = turn
    socket.onWritable = turn
    socket.onError = close
    socket.onClosed = () => this.#sockets.delete(socket)
    turn()
  }
}
