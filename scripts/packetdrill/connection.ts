// A connection of the host in the eyes of its program: what poll, SO_ERROR and an end of file are made of.
import { errnoName } from '../../src/base/errno.ts'
import { type Pcb, PcbFlag } from '../../src/net/tcp/pcb.ts'
import type { TcpSocket } from '../../src/stack.ts'
import type { Computer } from './computer.ts'
import type { Flow } from './flow.ts'
import { pattern, Seeds, Written } from './stream.ts'

export class Connection {
  readonly socket: TcpSocket
  readonly written = new Written()
  readonly #computer: Computer
  /** The handshake is over. */
  isConnected = false
  /** The program has been told so by `connect`. */
  isTold = false
  isClosed = false
  /** It has failed. */
  isBroken = false
  /** The program has shut down what it sends, or receives. */
  isSendShut = false
  isReceiveShut = false
  #errno = 0
  #read = 0

  constructor(computer: Computer, socket: TcpSocket, isConnected: boolean) {
    this.#computer = computer
    this.socket = socket
    this.isConnected = isConnected
    socket.onConnect = (errno) => {
      if (errno === 0) this.isConnected = true
      else this.#fail(errno)
    }
    socket.onError = (errno) => this.#fail(errno)
    socket.onClosed = () => {
      this.isClosed = true
    }
  }

  /** It is what a flow is about. */
  attach(flow: Flow): void {
    flow.pcb = () => (this.isClosed ? 0 : this.socket.pcb)
    flow.written = this.written
  }

  get pcb(): Pcb {
    return this.#computer.pcb(this.socket.pcb)
  }

  /** The peer's FIN was reached, also while there is something to read before it. */
  get hasEnded(): boolean {
    if (this.socket.ended) return true
    return this.socket.pcb !== 0 && !this.isClosed && (this.pcb.flags & PcbFlag.FIN_RECEIVED) !== 0
  }

  get hasError(): boolean {
    return this.#errno !== 0
  }

  /** The name of the error that the program has not been told of, which it is now. */
  takeError(): string | undefined {
    const errno = this.#errno
    this.#errno = 0
    return errno === 0 ? undefined : errnoName(errno)
  }

  takeErrno(): number {
    const errno = this.#errno
    this.#errno = 0
    return errno
  }

  /** As much as there is room for. */
  write(bytes: Uint8Array): number {
    const sent = this.socket.send(bytes)
    this.written.add(bytes.subarray(0, sent))
    return sent
  }

  /** Takes up to so many bytes. Whether they are what was sent, or how many there were. */
  read(bytes: number): { readonly count: number; readonly isRight: boolean } {
    const target = new Uint8Array(Math.min(bytes, this.socket.readableBytes))
    const count = this.socket.receive(target)
    const expected = pattern(Seeds.fromPeer, this.#read, count)
    this.#read += count
    return { count, isRight: Buffer.compare(expected, target.subarray(0, count)) === 0 }
  }

  #fail(errno: number): void {
    this.isBroken = true
    this.#errno = errno
  }
}
