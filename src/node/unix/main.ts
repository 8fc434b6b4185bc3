// What `import … from 'damselfly/unix'` gives: the operating system's UNIX-domain sockets between processes, with stack traces.
//
//     const server = unix.createServer((socket) => socket.on('data', () => console.log(chainText(socket.lastTrace() ?? EMPTY_CHAIN, 0))))
//     server.listen('/tmp/socket', () => unix.connect('/tmp/socket').end('hello'))
import { connectArguments } from '../inside.ts'
import { UnixServer, type UnixServerOptions } from './server.ts'
import { UnixSocket, type UnixSocketOptions } from './socket.ts'

export { type Chain, chainText, EMPTY_CHAIN, type Frame, type Hop } from '../../kernel/trace/chain.ts'
export { UnixServer, type UnixServerOptions } from './server.ts'
export { UnixSocket, type UnixSocketOptions } from './socket.ts'
export type { Refusal, Trace, TraceLimits, TraceOptions, TraceStatistics } from './traces.ts'

export interface UnixConnectOptions extends UnixSocketOptions {
  /** As of net.connect: ms without bytes until `timeout` is emitted. */
  readonly timeout?: number
}

export const unix = { connect, createConnection: connect, createServer } as const

/** As net.connect on a path, with options of traces. What is wrong with the path is told by `error`. */
function connect(path: string, options?: UnixConnectOptions, onConnect?: () => void): UnixSocket
function connect(path: string, onConnect?: () => void): UnixSocket
function connect(options: UnixConnectOptions & { readonly path: string }, onConnect?: () => void): UnixSocket
function connect(...args: unknown[]): UnixSocket {
  const isSplit = typeof args[0] === 'string' && typeof args[1] === 'object'
  const [first, ...rest] = isSplit ? [{ ...(args[1] as object), path: args[0] }, ...args.slice(2)] : args
  const [options, listener] = connectArguments([first, ...rest])
  const socket = new UnixSocket(options as UnixSocketOptions)
  if (typeof options.timeout === 'number') socket.setTimeout(options.timeout)
  return socket.connect(options as never, ...((listener === null ? [] : [listener]) as never[]))
}

/** As net.createServer, to listen on a path, with options of traces for each connection. */
function createServer(options?: UnixServerOptions, onConnection?: (socket: UnixSocket) => void): UnixServer
function createServer(onConnection?: (socket: UnixSocket) => void): UnixServer
function createServer(
  options: UnixServerOptions | ((socket: UnixSocket) => void) = {},
  onConnection?: (socket: UnixSocket) => void,
): UnixServer {
  return typeof options === 'function' ? new UnixServer({}, options) : new UnixServer(options, onConnection)
}
