// What the CPUs of the workload "server" run where the load is HTTP: Node's own http on the host's stack. Every CPU is on
// the event loop of its thread, and has a server of its own, so that a connection is served where it arrives.
import { createServer, type RequestListener } from 'node:http'
import { Duplex } from 'node:stream'
import type { Cpu } from '../../kernel.ts'
import { HandleHost } from '../../node/handle-host.ts'
import { Host } from '../../node/host.ts'
import { type HostConfig, Stack } from '../../stack.ts'
import { Port, ServerCounters } from './server-program.ts'

const C = ServerCounters.index

/** What a client asks, and again as soon as it is answered. */
export const REQUEST = 'GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n'

const answer: RequestListener = (_request, response) => {
  response.end('hello, world\n')
}

export default function program(cpu: Cpu, config: HostConfig): void {
  const stack = new Stack(cpu, config)
  cpu.threads.start('server', function* (this: void, thread) {
    yield* stack.start(thread)
    // What Node is asked for is asked for between turns.
    setImmediate(() => serve(stack))
  })
}

function serve(stack: Stack): void {
  const { cpu, config } = stack.context
  const count = cpu.counterPage.open(ServerCounters)
  const server = new Host(config.name, new HandleHost(stack, true), async () => {}).http.createServer(answer)
  server.on('clientError', (_error, socket) => {
    count[C.errors]!++
    socket.destroy()
  })
  server.listen(Port.http, () => {
    count[C.listening]!++
  })
}

/** Bytes of an answer: the server's own, to a connection that is none. */
export function answerBytes(): Promise<number> {
  const server = createServer(answer)
  return new Promise((resolve) => {
    let length = 0
    const connection = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        length += chunk.length
        done()
      },
    })
    server.once('request', (_request, response) => {
      response.once('finish', () => {
        connection.destroy()
        resolve(length)
      })
    })
    server.emit('connection', connection)
    connection.push(REQUEST)
  })
}
