// What the CPUs of the workload "server" run: one host over a load device, with a service for each of its loads. Every CPU
// has listeners and an echo socket of its own, so that a connection is served where it arrives.
import { type Cpu, counterSet } from '../../kernel.ts'
import { echo } from '../../service/echo.ts'
import { type HostConfig, Stack, type TcpSocket } from '../../stack.ts'

/** The well-known ports of these services (RFC 862, 863 and 864), and of HTTP. */
export const Port = { echo: 7, sink: 9, source: 19, http: 80 } as const

export const ServerCounters = counterSet('lab server', [
  /** Services of this CPU that are open. */
  'listening',
  /** Connections that ended with an error. */
  'errors',
] as const)
const C = ServerCounters.index

/** What each CPU opens: an echo of datagrams, and three listeners. */
export const SERVICES = 4

/** Taken from a connection, or offered to it, at once. */
const BUFFER_BYTES = 64 * 1024

export default function program(cpu: Cpu, config: HostConfig): void {
  const stack = new Stack(cpu, config)
  cpu.threads.start('server', function* (this: void, thread) {
    yield* stack.start(thread)
    serve(stack)
  })
}

function serve(stack: Stack): void {
  const count = stack.context.cpu.counterPage.open(ServerCounters)
  const buffer = new Uint8Array(BUFFER_BYTES)
  const ready = (error: Error | undefined) => {
    if (error !== undefined) throw error
    count[C.listening]!++
  }
  const listen = (port: number, handle: (socket: TcpSocket) => void) =>
    stack.tcp.listen({ port, perCpu: true, noDelay: true }, (error, listener) => {
      ready(error)
      listener.onConnection = (socket) => {
        socket.onError = () => {
          count[C.errors]!++
          socket.close()
        }
        handle(socket)
      }
    })
  echo(stack, Port.echo, ready)
  listen(Port.echo, (socket) => {
    socket.onReadable = () => {
      for (let length = socket.receive(buffer); length > 0; length = socket.receive(buffer)) {
        socket.send(buffer.subarray(0, length))
      }
      if (socket.ended) socket.close()
    }
  })
  listen(Port.sink, (socket) => {
    socket.onReadable = () => {
      let length = socket.receive(buffer)
      while (length > 0) length = socket.receive(buffer)
    }
  })
  listen(Port.source, (socket) => {
    socket.onWritable = () => {
      let sent = socket.send(buffer)
      while (sent > 0) sent = socket.send(buffer)
    }
    socket.onWritable()
  })
}
