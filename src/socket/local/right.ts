// Rights that are sent along with messages, as programs have them (SCM_RIGHTS). A right is moved, never copied: who sends it has it no more, and
// it is given up when the message is lost, when its receiver is closed with the message unread, and when the one who has it closes it.
import type { PortId } from '../../kernel/port.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import type { Ancillary } from './ancillary.ts'
import type { LocalAddress, LocalCredentials } from './kind.ts'
import type { LocalSocket } from './socket.ts'
import type { LocalSockets } from './sockets.ts'

/** The right to send to a port of the kernel. Made by `LocalSockets.portRight`; whoever made it is told when it is over. */
export class LocalPort {
  readonly port: PortId
  /** @internal Where it was made, and its number there. */
  readonly address: LocalAddress
  readonly #sockets: LocalSockets
  #isHere = true

  /** @internal */
  constructor(sockets: LocalSockets, port: PortId, address: LocalAddress) {
    this.#sockets = sockets
    this.port = port
    this.address = address
  }

  /** Whether it is still this program's: not closed, and not sent on. */
  get isOpen(): boolean {
    return this.#isHere
  }

  /** Gives it up. */
  close(): void {
    if (!this.#isHere) return
    this.leave()
    this.#sockets.parcels.loseRight({ type: 'port', port: this.port, ...this.address })
  }

  /** @internal It goes with a message, or its program ends. */
  leave(): void {
    this.#isHere = false
    this.#sockets.parcels.ports.delete(this)
  }
}

export type LocalRight = LocalSocket | LocalPort

/** What a message may be sent with. */
export interface LocalSendOptions {
  /**
   * Sockets and rights of ports that go to the receiver: at most 253 (SCM_MAX_FD). Once the message is accepted they are the receiver's.
   * Sockets are ends of connections: not listeners, and no datagram sockets but those of a pair.
   */
  readonly rights?: readonly LocalRight[]
  /** Says who sends, though the receiver has not asked (SCM_CREDENTIALS). Default false. */
  readonly credentials?: boolean
  /** Sends the stack along, though the receiver has not asked (SCM_STACKTRACE): this one, or that of where it is sent. Default false. */
  readonly stackTrace?: boolean | Chain
}

/** What `receive` gives: the bytes are in the buffer that it was given. */
export interface LocalMessage {
  /** Bytes that were copied. */
  readonly bytes: number
  /** Bytes of the whole message; of a stream, as `bytes`. */
  readonly length: number
  /** The buffer was too small for the message, whose rest is lost (MSG_TRUNC). */
  readonly truncated: boolean
  /** Rights that came with it are lost (MSG_CTRUNC): this CPU has no room for more sockets, or they were nested too deeply. */
  readonly controlTruncated: boolean
  /** The name of the socket that sent a datagram, where it has one. */
  readonly from: string | undefined
  readonly credentials: LocalCredentials | undefined
  /** This program's now: to be closed by it. */
  readonly rights: readonly LocalRight[]
  /** How the sender came to send it. */
  readonly stackTrace: Chain | undefined
}

/** What goes along with a message, looked at and not yet given away. */
export interface Prepared {
  readonly rights: readonly LocalRight[]
  readonly ancillary: Ancillary
  readonly bytes: Uint8Array
  /** Of its sockets: see LocalSocket.rank. */
  readonly rank: number
}
