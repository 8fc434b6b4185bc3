// A listening TCP socket, as its program has it. Made by TcpSockets (tcp.ts).

import type { Address } from '../base/struct.ts'
import type { Endpoint } from '../net/endpoint.ts'
import type { TcpSockets } from './tcp.ts'
import type { TcpSocket, TcpSocketOptions } from './tcpsocket.ts'

export interface TcpListenOptions extends TcpSocketOptions {
  /** One of the host's addresses, or `0.0.0.0`, the default. */
  readonly address?: string
  /** Default 0: chosen. */
  readonly port?: number
  /** Connections that may wait, for their handshake or for the program, on each CPU. Default 511. */
  readonly backlog?: number
  /**
   * Each CPU's program listens by itself: only connections whose flow is this CPU's, under locks those whose segments this CPU's device queue
   * brings.
   */
  readonly perCpu?: boolean
  /** Others that say so too may listen at the same place; each connection goes to one of them. */
  readonly shared?: boolean
}

/** A listening socket. */
export class TcpListener {
  /** A connection came; the socket is open. */
  onConnection: (socket: TcpSocket) => void = (socket) => socket.abort()
  readonly options: TcpListenOptions
  /** @internal */
  readonly number: number
  /** @internal A ListenerRecord: freed with the listener. */
  readonly record: Address
  /** @internal */
  local: Endpoint
  closed = false
  /** @internal `listen` has said so: every CPU knows of it. */
  isReady = false
  readonly #sockets: TcpSockets

  /** @internal */
  constructor(sockets: TcpSockets, number: number, record: Address, local: Endpoint, options: TcpListenOptions) {
    this.#sockets = sockets
    this.number = number
    this.record = record
    this.local = local
    this.options = options
  }

  get address(): string {
    return this.options.address ?? '0.0.0.0'
  }

  get port(): number {
    return this.local.port
  }

  /** No more connections; those that there are stay. `done` is called when every CPU of the host knows. False: no memory, try again. */
  close(done: () => void = () => {}): boolean {
    if (this.closed) return true
    this.closed = this.#sockets.unlisten(this, done)
    return this.closed
  }
}
