// A listening local socket, as its program has it (listen(2), accept(2)). Made by LocalSockets (sockets.ts). Connections come from any CPU; each
// has its end on the listener's CPU, and can be sent to before it is accepted.
import { Errno } from '../../base/errno.ts'
import { POINT } from '../../kernel/handoff.ts'
import { LocalCounters } from './counters.ts'
import type { LocalCredentials, LocalKind, LocalOptions } from './kind.ts'
import type { LocalSocket } from './socket.ts'
import type { LocalSockets } from './sockets.ts'

const C = LocalCounters.index

export interface LocalListenOptions extends LocalOptions {
  /** 1 to 108 bytes; any text. Paths are usual, and name nothing but this. */
  readonly name: string
  readonly kind: Exclude<LocalKind, 'datagram'>
  /** Connections that may wait to be accepted; one more is refused with EAGAIN. Default 128, at most 4096. */
  readonly backlog?: number
  /** Others that say so too may listen at the name, on this CPU and others: connections go to one after the other. Default false. */
  readonly shared?: boolean
}

export class LocalListener {
  /** There is something to `accept`. Once a turn. */
  onConnection: () => void = () => {}
  readonly options: LocalListenOptions
  /** @internal */
  readonly id: number
  closed = false
  /** @internal Who listens. */
  readonly credentials: LocalCredentials
  /** @internal The program is to be told in this turn. */
  isTold = false
  /** @internal What has caused that (kernel/trace). */
  trace = 0
  readonly #backlog: number
  readonly #sockets: LocalSockets
  readonly #waiting: { readonly socket: LocalSocket; readonly at: number }[] = []

  /** @internal */
  constructor(sockets: LocalSockets, id: number, options: LocalListenOptions, backlog: number) {
    this.#sockets = sockets
    this.id = id
    this.options = options
    this.#backlog = backlog
    this.credentials = sockets.parcels.credentials()
  }

  get name(): string {
    return this.options.name
  }

  /** Connections that wait to be accepted. */
  get length(): number {
    return this.#waiting.length
  }

  /** The connection that waits longest; undefined: none does. */
  accept(): LocalSocket | undefined {
    const first = this.#waiting.shift()
    if (first === undefined) return undefined
    const { handoffs, now } = this.#sockets.cpu
    handoffs.waited(this.#record, now - first.at)
    handoffs.served(this.#record, 1, false)
    return first.socket
  }

  /** No more connections; those that were not accepted are reset. The name is free again. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.#sockets.unbind(this.name, this.id)
    this.#sockets.forget(this.id)
    for (const { socket } of this.#waiting.splice(0)) {
      this.#sockets.cpu.handoffs.dropped(this.#record)
      this.#sockets.count[C.droppedBacklog]!++
      socket.abort()
    }
  }

  /** @internal Whether it takes one more: 0, or why not. */
  get refusal(): number {
    return this.#waiting.length < this.#backlog ? 0 : Errno.EAGAIN
  }

  /** @internal A connection came. */
  enqueue(socket: LocalSocket): void {
    const { handoffs, now } = this.#sockets.cpu
    this.#waiting.push({ socket, at: now })
    handoffs.enqueued(this.#record, 1)
    handoffs.depth(this.#record, this.#waiting.length)
    this.#sockets.count[C.accepted]!++
    this.#sockets.tellListener(this)
  }

  /** The accept queue's record of hand-offs: from this CPU to itself, as TCP's. */
  get #record(): number {
    const { handoffs, index } = this.#sockets.cpu
    return handoffs.record(POINT.accept, index)
  }
}
