// The server that a load is put on in tests: a host's stack on each CPU with the services that the workloads need, over
// the load device itself. Counts what it serves, so that both sides can be held against each other.
import { counterSet } from '../../../kernel/counters.ts'
import type { Cpu } from '../../../kernel/cpu.ts'
import { echo } from '../../../service/echo.ts'
import { type HostConfig, Stack, type TcpSocket } from '../../../stack.ts'
import type { LoadOptions } from '../options.ts'

export const SERVER = '10.0.0.1'
export const Port = { echo: 7, sink: 9, source: 19 } as const

export const ServerCounters = counterSet('load test', [
  'listening',
  'accepted',
  'closed',
  'errors',
  /** Bytes that were read and sent. */
  'received',
  'sent',
] as const)
const C = ServerCounters.index

export function hostOf(load: LoadOptions): HostConfig {
  const { name, cpus } = load
  return {
    name: 'server',
    index: 0,
    cpus,
    interfaces: [{ name, device: { kind: 'load', ...load }, addresses: [`${SERVER}/24`] }],
    routes: [{ prefix: '0.0.0.0/0', interface: name }],
  }
}

export interface TestServer {
  /** Opens the services, on the server's CPU. */
  serve(): void
  /** `dries` true: the source sends no more. */
  readonly source: { dries: boolean }
}

/** A CPU program: each CPU serves the connections that it owns. `listens` false: nobody does until `serve` is called. */
export function startServer(cpu: Cpu, load: LoadOptions, listens = true): TestServer {
  const stack = new Stack(cpu, hostOf(load))
  const source = { dries: false }
  const serve = () => serveAll(stack, source)
  cpu.threads.start('server', function* (this: void, thread) {
    yield* stack.start(thread)
    if (listens) serve()
  })
  return { source, serve }
}

function serveAll(stack: Stack, source: { readonly dries: boolean }): void {
  const count = stack.context.cpu.counterPage.open(ServerCounters)
  const ready = (error: Error | undefined) => {
    if (error !== undefined) throw error
    count[C.listening]!++
  }
  const buffer = new Uint8Array(64 * 1024)
  const listen = (port: number, serve: (socket: TcpSocket) => void) =>
    stack.tcp.listen({ port, perCpu: true, noDelay: true }, (error, listener) => {
      ready(error)
      listener.onConnection = (socket) => {
        count[C.accepted]!++
        socket.onError = () => {
          count[C.errors]!++
          socket.close()
        }
        socket.onClosed = () => count[C.closed]!++
        serve(socket)
      }
    })
  echo(stack, Port.echo, ready)
  listen(Port.echo, (socket) => {
    socket.onReadable = () => {
      for (let length = socket.receive(buffer); length > 0; length = socket.receive(buffer)) {
        count[C.received]! += length
        count[C.sent]! += socket.send(buffer.subarray(0, length))
      }
      if (socket.ended) socket.close()
    }
  })
  listen(Port.sink, (socket) => {
    socket.onReadable = () => {
      for (let length = socket.receive(buffer); length > 0; length = socket.receive(buffer))
        count[C.received]! += length
    }
  })
  listen(Port.source, (socket) => {
    socket.onWritable = () => {
      for (let sent = 1; sent > 0 && !source.dries; count[C.sent]! += sent) sent = socket.send(buffer)
    }
    socket.onWritable()
  })
}
