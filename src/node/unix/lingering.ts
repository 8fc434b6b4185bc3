// Sockets that their program has closed, and whose peer has not read all that was sent with traces: they stay open until it has.
//
// A read ends behind each message that has a descriptor, and libuv takes a read that could have been longer for the last one when
// the connection is over (uv__stream_io, POLLHUP): a peer on Node's own net would lose what comes behind. So as long as such messages are
// unread the connection is not over, which the peer cannot tell from one that is: it has not come to its end yet.
// One object for each thread.
import { Ready } from '../../device/linux/poll.ts'
import type { UnixCalls } from '../../device/linux/unix.ts'
import { Watch } from '../../device/linux/watch.ts'

/** How long a peer may take, and how many may. After that it has what the kernel gives it. */
const LINGER_MS = 5000
const SOCKETS_MAX = 64

interface Linger {
  readonly watch: Watch
  readonly timer: NodeJS.Timeout
}

export class Lingering {
  readonly #system: UnixCalls
  /** By their descriptors, the oldest first. */
  readonly #sockets = new Map<number, Linger>()

  constructor(system: UnixCalls) {
    this.#system = system
  }

  get size(): number {
    return this.#sockets.size
  }

  /** Closes the descriptor when its peer has read, or time is over. Nobody may watch it any more. Keeps no process. */
  close(descriptor: number): void {
    if (this.#system.isRead(descriptor)) return void this.#system.close(descriptor)
    // What close would have told the peer at once: nobody reads.
    this.#system.shutdownReading(descriptor)
    this.#system.awaitRead(descriptor)
    const end = () => this.#end(descriptor)
    const watch = new Watch(descriptor, end)
    watch.unref()
    watch.want(Ready.writable)
    this.#sockets.set(descriptor, { watch, timer: setTimeout(end, LINGER_MS).unref() })
    if (this.#sockets.size > SOCKETS_MAX) this.#end(this.#sockets.keys().next().value!)
  }

  /** Whether the process can end: who has still to read cannot do it here any more. */
  canEnd(): boolean {
    const system = this.#system
    for (const descriptor of this.#sockets.keys()) {
      if (!system.isRead(descriptor) && !system.isPeerHere(descriptor)) return false
    }
    return true
  }

  /** Closes all at once. */
  clear(): void {
    for (const descriptor of this.#sockets.keys()) this.#end(descriptor)
  }

  #end(descriptor: number): void {
    const socket = this.#sockets.get(descriptor)
    if (socket === undefined) return
    this.#sockets.delete(descriptor)
    clearTimeout(socket.timer)
    socket.watch.close()
    this.#system.close(descriptor)
  }
}
