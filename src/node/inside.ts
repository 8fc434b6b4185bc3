// What is asked of the insides of Node's net and dgram, where a socket of theirs is to have a handle of ours: names that
// begin with an underline, and properties that are symbols, found by their descriptions. All of it is there in Node 20 to 26.
// For host.ts and patch-loaded.ts only: it loads net.

import type { Socket as DatagramSocket } from 'node:dgram'
import { createRequire } from 'node:module'
import { type Server, Socket } from 'node:net'

interface InnerServer {
  _handle: object | null
  _listen2(
    address: string | null,
    port: number,
    addressType: number,
    backlog: number,
    descriptor: number | undefined,
    flags: number | undefined,
  ): void
}

interface InnerHandle {
  lookup: unknown
  close(): void
  [owner: symbol]: unknown
}

/** Arguments of `connect`, in whatever form, as options and a listener. */
export function connectArguments(args: readonly unknown[]): [{ [option: string]: unknown }, (() => void) | null] {
  // The module itself: what begins with an underline is not among its names for `import`.
  const { _normalizeArgs } = createRequire(import.meta.url)('node:net') as {
    _normalizeArgs(args: readonly unknown[]): [{ [option: string]: unknown }, (() => void) | null]
  }
  // net hands on what it has brought into this form before.
  const given = args[0]
  const isNormal = Array.isArray(given) && Object.getOwnPropertySymbols(given).length > 0
  return isNormal ? (given as never) : _normalizeArgs([...args])
}

/** Gives a socket a handle, as net does it itself for another attempt to connect. */
export function setHandle(socket: Socket, handle: object): void {
  const method = symbolOf(Socket.prototype, 'kReinitializeHandle')
  ;(socket as unknown as { [method: symbol]: (handle: object) => void })[method]!(handle)
}

/**
 * A `connect` that gives its socket a handle of `make`'s and goes on as net's own does; a path, which is no address of a host, is
 * for `onPath`.
 */
export function connectWith(
  make: () => object,
  onPath: (connect: () => Socket) => Socket,
): (this: Socket, ...args: unknown[]) => Socket {
  const { connect } = Socket.prototype as { connect(...args: unknown[]): Socket }
  return function (...args) {
    const [options, listener] = connectArguments(args)
    if (options.path != null) return onPath(() => connect.apply(this, args))
    setHandle(this, make())
    // One address, and of the family that the stack has: of several net would try the second over the kernel.
    const inet = { ...options, family: 4, autoSelectFamily: false }
    return connect.call(this, inet, ...(listener === null ? [] : [listener]))
  }
}

/**
 * Has a server's handle made by `make`, which is given what it is to be bound to, where it listens on an address. A server on a
 * path, or on a handle that it was given, stays as it is.
 */
export function setListen(server: Server, make: (address: string, port: number) => object): void {
  const inner = server as unknown as InnerServer
  const listen = inner._listen2
  inner._listen2 = function (address, port, addressType, backlog, descriptor, flags) {
    const isPath = addressType === -1 || typeof descriptor === 'number'
    if (isPath || this._handle !== null)
      return listen.call(this, address, port, addressType, backlog, descriptor, flags)
    const inet = inetOf(address)
    this._handle = make(inet, port)
    listen.call(this, inet, port, 4, backlog, descriptor, flags)
  }
}

/** Has a server's handle made by `make`, which is given the path that it listens on. One with a handle that it was given keeps it. */
export function setListenOnPath(server: Server, make: (path: string) => object): void {
  const inner = server as unknown as InnerServer
  const listen = inner._listen2
  inner._listen2 = function (path, port, addressType, ...rest) {
    if (addressType === -1 && path !== null && this._handle === null) this._handle = make(path)
    listen.call(this, path, port, addressType, ...rest)
  }
}

/** Gives a datagram socket that was just made another handle. */
export function setDatagramHandle(socket: DatagramSocket, handle: object): void {
  const state = (socket as unknown as { [state: symbol]: { handle: InnerHandle } })[symbolOf(socket, 'state symbol')]!
  const old = state.handle
  const owner = symbolOf(old, 'owner_symbol')
  const own = handle as InnerHandle
  own.lookup = old.lookup
  own[owner] = socket
  old.close()
  state.handle = own
}

/** Where Node would listen on all addresses of IPv6, or on its loopback: their namesakes. */
function inetOf(address: string | null): string {
  if (address === null || address === '::') return '0.0.0.0'
  return address === '::1' ? '127.0.0.1' : address
}

function symbolOf(object: object, description: string): symbol {
  const found = Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description)
  if (found === undefined) throw new Error(`this Node's sockets have no ${description}: it is not one of 20 to 26`)
  return found
}
