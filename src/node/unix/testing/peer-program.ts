// A process that listens on paths and connects to them, by traced sockets or by Node's own, as its parent orders by messages: for tests of
// what two processes do.
//   node peer-program.js unix|net
import { createHash } from 'node:crypto'
import { closeSync, openSync, readdirSync } from 'node:fs'
import * as net from 'node:net'
import { libc } from '../../../device/linux/library.ts'
import type { Chain } from '../../../kernel/trace/chain.ts'
import { type TraceStatistics, UnixSocket, unix } from '../main.ts'

export type Order =
  /** Closes all, and begins anew. */
  | { readonly do: 'reset' }
  /** Paused: it reads nothing until `resume`. */
  | { readonly do: 'listen'; readonly path: string; readonly paused?: boolean }
  | { readonly do: 'connect'; readonly path: string; readonly paused?: boolean }
  | { readonly do: 'state' }
  | { readonly do: 'write'; readonly texts: readonly string[] }
  | { readonly do: 'writeBytes'; readonly bytes: number }
  | { readonly do: 'resume' }
  /** From now on it has no descriptor left; with `false`, as many as before. */
  | { readonly do: 'limit'; readonly on: boolean }
  | { readonly do: 'end' }
  | { readonly do: 'destroy' }
  | { readonly do: 'exit' }

export interface State {
  readonly descriptors: number
  /** Connections that are open. */
  readonly open: number
  readonly bytes: number
  readonly digest: string
  readonly events: readonly string[]
  /** Of each `data` event. */
  readonly traces: readonly (Chain | null)[]
  readonly statistics: TraceStatistics | undefined
}

const kind = process.argv[2] as 'unix' | 'net'
const { connect, createServer } = (kind === 'unix' ? unix : net) as typeof net

const sockets = new Set<net.Socket>()
const traces: (Chain | null)[] = []
let hash = createHash('sha256')
let events: string[] = []
let server: net.Server | undefined
/** The last one of all. */
let latest: net.Socket | undefined
let bytes = 0

function reset(): void {
  server?.close()
  for (const socket of sockets) socket.removeAllListeners().destroy()
  sockets.clear()
  traces.length = 0
  hash = createHash('sha256')
  events = []
  server = undefined
  latest = undefined
  bytes = 0
}

function take(socket: net.Socket, isPaused: boolean): void {
  latest = socket
  sockets.add(socket)
  socket.on('close', () => sockets.delete(socket))
  for (const event of ['end', 'close'] as const) socket.on(event, () => events.push(event))
  socket.on('error', (error: NodeJS.ErrnoException) => events.push(`error ${error.code}`))
  if (!isPaused) read(socket)
}

function read(socket: net.Socket): void {
  socket.resume()
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    hash.update(chunk)
    if (socket instanceof UnixSocket && traces.length < 1000) traces.push(socket.lastTrace() ?? null)
  })
}

/** From a function with a name, which a trace must tell. */
function writeForTheTest(socket: net.Socket, text: string | Buffer): boolean {
  return socket.write(text)
}

/** The number that is given out next. */
function nextDescriptor(): number {
  const descriptor = openSync('/dev/null', 'r')
  closeSync(descriptor)
  return descriptor
}

/** RLIMIT_NOFILE: numbers of descriptors stay below it. */
function setLimit(count: number): void {
  const limits = new BigUint64Array([BigInt(count), 4096n])
  const system = libc()
  system.declare('int setrlimit(int, uintptr_t)')(7, system.pointer(new Uint8Array(limits.buffer)))
}

function state(): State {
  const statistics = latest instanceof UnixSocket ? latest.traces : undefined
  const descriptors = readdirSync('/proc/self/fd').length
  return { descriptors, open: sockets.size, bytes, digest: hash.copy().digest('hex'), events, traces, statistics }
}

// Before there is a socket, whose own listener comes behind this one.
process.on('exit', () => void process.send?.('done'))

process.on('message', (order: Order) => {
  switch (order.do) {
    case 'reset':
      reset()
      break
    case 'listen': {
      const { path, paused = false } = order
      server = createServer({ pauseOnConnect: paused }, (socket) => take(socket, paused))
      server.listen(path, () => process.send!('done'))
      return
    }
    case 'connect': {
      const { path, paused = false } = order
      const socket = connect({ path }, () => {
        take(socket, paused)
        process.send!('done')
      })
      return
    }
    case 'state':
      return void process.send!(state())
    case 'write':
      for (const text of order.texts) writeForTheTest(latest!, text)
      break
    case 'writeBytes':
      writeForTheTest(latest!, Buffer.alloc(order.bytes, 'abcdefg'))
      break
    case 'limit':
      setLimit(order.on ? nextDescriptor() : 1024)
      break
    case 'resume':
      read(latest!)
      break
    case 'end':
      latest!.end()
      break
    case 'destroy':
      latest!.destroy()
      break
    case 'exit':
      process.exit()
  }
  process.send!('done')
})
