// A net.Server on a path whose connections are UnixSockets.
import { type ListenOptions, Server, type ServerOpts, type Socket } from 'node:net'
import { Errno, KernelError } from '../../base/errno.ts'
import { setListenOnPath } from '../inside.ts'
import { UnixHandle } from './handle.ts'
import { UnixListener } from './listener.ts'
import { UnixLoop } from './loop.ts'
import { UnixSocket } from './socket.ts'
import { type TraceOptions, Traces } from './traces.ts'

export interface UnixServerOptions extends TraceOptions {
  /** As of net.Server, for each connection. */
  readonly allowHalfOpen?: boolean
  readonly pauseOnConnect?: boolean
}

export class UnixServer extends Server {
  /**
   * To be told where by `listen(path)`.
   * @throws KernelError EINVAL for limits that cannot be, EOPNOTSUPP, ENODEV where the operating system or koffi is not there
   */
  constructor(options: UnixServerOptions = {}, onConnection?: (socket: UnixSocket) => void) {
    const loop = UnixLoop.ofThread()
    const makeTraces = () => new Traces(loop.clock, (below) => loop.stacks.take(below), options)
    makeTraces()
    super(options as ServerOpts, onConnection as ((socket: Socket) => void) | undefined)
    setListenOnPath(this, (path) => new UnixListener(loop, path, makeTraces))
  }

  /** As of net.Server, on a path: `listen(path, backlog, listener)` or `listen({ path }, listener)`. */
  override listen(target?: unknown, ...rest: unknown[]): this {
    const options = typeof target === 'string' ? { path: target } : ((target ?? {}) as ListenOptions)
    if (typeof options.path !== 'string' || options.path === '' || isNumber(options.path)) {
      const sentence = 'a UnixServer listens on a path: give one that is no number, such as /tmp/socket'
      throw new KernelError(Errno.EINVAL, sentence, 'listen')
    }
    const backlog = typeof rest[0] === 'number' ? { backlog: rest.shift() } : {}
    const listen = super.listen as (...args: unknown[]) => this
    // Of a cluster's workers each is a server of its own: what its primary hands on has no traces.
    return listen.call(this, { ...backlog, ...options, exclusive: true }, ...rest)
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'connection') this.#adopt(args[0] as Socket & { readonly _handle?: unknown })
    return (super.emit as (event: string | symbol, ...args: unknown[]) => boolean).call(this, event, ...args)
  }

  #adopt(socket: Socket & { readonly _handle?: unknown }): void {
    if (socket._handle instanceof UnixHandle && !(socket instanceof UnixSocket))
      UnixSocket.adopt(socket, socket._handle.traces)
  }
}

/** What net.js takes for a port. */
function isNumber(path: string): boolean {
  return Number(path) >= 0
}
