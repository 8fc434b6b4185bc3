// Listeners: who gets which connection, what stands in another's way, and what becomes of those who wait.
import assert from 'node:assert/strict'
import type { TcpListenOptions } from '../../src/stack.ts'
import { type Case, SERVER } from './case.ts'
import { serve } from './opening.ts'
import { type Program, pattern, text } from './program.ts'
import { Server } from './server.ts'
import type { Stream } from './stream.ts'

/** So many ports from here on. */
const FIRST_PORT = 100
const PORTS = 60
const MANY = 60

/** Answers all that come by what they have sent, until told to end. */
export function* echoAll(p: Program, server: Server, over: string): Generator<void, void, void> {
  for (;;) {
    yield* p.until('a connection, or the end', () => server.waiting.length > 0 || p.told(over) !== undefined)
    const stream = server.waiting.shift()
    if (stream === undefined) break
    const bytes = yield* stream.rest()
    yield* stream.write(bytes)
    yield* stream.close()
  }
  yield* server.close()
}

/** Says something on a connection, and gets it back. */
export function* ask(stream: Stream, from: number, count: number): Generator<void, void, void> {
  yield* stream.connected()
  yield* stream.write(pattern(from, count))
  stream.shutdown()
  yield* stream.readPattern(from, count)
  yield* stream.ended()
  yield* stream.close()
}

/** The same on many at once, in whatever order they are served. */
export function* askAll(streams: readonly Stream[], count: number): Generator<void, void, void> {
  for (const [i, stream] of streams.entries()) {
    yield* stream.connected()
    yield* stream.write(pattern(i * 77, count))
    stream.shutdown()
  }
  for (const [i, stream] of streams.entries()) {
    yield* stream.readPattern(i * 77, count)
    yield* stream.ended()
    yield* stream.close()
  }
}

export const LISTENING: readonly Case[] = [
  {
    name: 'what cannot be listened at is said',
    *server(p) {
      const refused = (options: TcpListenOptions) => p.codeOf(() => p.stack.tcp.listen(options, () => {}))
      assert.equal(refused({ port: 65_536 }), 'EINVAL listen')
      assert.equal(refused({ port: 7, backlog: -1 }), 'EINVAL listen')
      assert.equal(refused({ port: 7, backlog: Number.NaN }), 'EINVAL listen')
      assert.equal(refused({ port: 7, address: '::' }), 'EAFNOSUPPORT listen')
      assert.equal(yield* p.refusedListen({ port: 7, address: '10.0.0.99' }), 'EADDRNOTAVAIL')
      const server = yield* p.listen({ port: 7 })
      for (const address of ['0.0.0.0', SERVER, '127.0.0.1']) {
        assert.equal(yield* p.refusedListen({ port: 7, address }), 'EADDRINUSE')
      }
      const particular = yield* p.listen({ port: 8, address: SERVER })
      const local = yield* p.listen({ port: 8, address: '127.0.0.1' })
      assert.equal(yield* p.refusedListen({ port: 8 }), 'EADDRINUSE')
      for (const each of [server, particular, local]) yield* each.close()
      assert.equal(yield* p.refusedListen({ port: 7 }), 'listens')
    },
  },
  {
    name: 'of those on all CPUs that want one port at the same time one gets it',
    *servers(p) {
      p.count('here')
      yield* p.hearAll('here', p.cpu.cpus)
      const server = new Server(p, { port: 7 })
      yield* p.until('an answer to listen', () => server.answer !== undefined)
      if (server.answer === 0) p.count('got it')
      p.count('answered')
      yield* p.hearAll('answered', p.cpu.cpus)
      assert.equal(p.told('got it'), 1)
      if (server.answer === 0) yield* server.close()
    },
  },
  {
    name: 'at no port in particular one is found, each time another',
    *server(p) {
      const servers: Server[] = []
      for (let i = 0; i < 20; i++) servers.push(yield* p.listen({}))
      const ports = new Set(servers.map(({ listener }) => listener.port))
      assert.equal(ports.size, 20)
      for (const port of ports) assert(port >= 49_152)
      for (const server of servers) yield* server.close()
    },
  },
  {
    name: 'many listeners, and each gets what is for it',
    *server(p) {
      const servers: Server[] = []
      for (let i = 0; i < PORTS; i++) servers.push(yield* p.listen({ port: FIRST_PORT + i }))
      p.tell('listening')
      for (const [i, server] of servers.entries()) {
        const stream = yield* server.accept()
        assert.equal(stream.socket.localPort, FIRST_PORT + i)
        assert.deepEqual(yield* stream.rest(), pattern(i, 100))
        yield* stream.close()
      }
      for (const server of servers) {
        assert.equal(server.all.length, 1)
        yield* server.close()
      }
    },
    *client(p) {
      yield* p.hear('listening')
      const streams: Stream[] = []
      for (let i = PORTS - 1; i >= 0; i--) streams.unshift(p.connect({ port: FIRST_PORT + i }))
      for (const [i, stream] of streams.entries()) {
        yield* stream.connected()
        yield* stream.write(pattern(i, 100))
        stream.shutdown()
      }
      for (const stream of streams) {
        yield* stream.ended()
        yield* stream.close()
      }
    },
  },
  {
    name: 'a listener that is closed refuses, its port is free, and its connections stay',
    *server(p) {
      const server = yield* serve(p, 7)
      const stream = yield* server.accept()
      yield* server.close()
      p.tell('closed')
      yield* p.hear('refused')
      const next = yield* p.listen({ port: 7 })
      p.tell('again')
      const second = yield* next.accept()
      yield* second.ended()
      yield* second.close()
      yield* next.close()
      assert.deepEqual(yield* stream.read(5), text('stays'))
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const stream = yield* p.connect({ port }).connected()
      yield* p.hear('closed')
      const late = p.connect({ port })
      assert.equal(yield* late.failed(), 'ECONNREFUSED')
      yield* late.close()
      p.tell('refused')
      yield* p.hear('again')
      yield* (yield* p.connect({ port }).connected()).close()
      yield* stream.write(text('stays'))
      yield* stream.close()
    },
  },
  {
    name: 'a listener that is closed while connections wait: each is told what became of it',
    *server(p) {
      const server = yield* serve(p, 7, { backlog: 8 })
      const { onConnection } = server.listener
      server.listener.onConnection = (socket) => {
        onConnection(socket)
        server.listener.close(() => {
          p.tell('closed')
        })
      }
      yield* p.hear('closed')
      yield* p.hear('over')
      for (const stream of server.all) yield* stream.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const streams = Array.from({ length: 40 }, () => p.connect({ port }))
      const errors: string[] = []
      yield* p.hear('closed')
      for (const stream of streams) {
        yield* stream.settled()
        // Who is connected hears from the one who has not taken it when he says something.
        stream.socket.send(text('hello?'))
      }
      p.tell('over')
      for (const stream of streams) {
        yield* p.until('the end of it', () => stream.socket.ended || stream.errno !== 0)
        if (stream.errno !== 0) errors.push(yield* stream.failed())
        yield* stream.close()
      }
      for (const error of errors) assert(['ECONNREFUSED', 'ECONNRESET'].includes(error), error)
    },
  },
  {
    name: 'a backlog that is full is answered with cookies, and everybody is served',
    *server(p) {
      const server = yield* serve(p, 7, { backlog: 8 })
      for (let i = 0; i < 14; i++) {
        const stream = yield* server.accept()
        const bytes = yield* stream.read(700)
        yield* stream.write(bytes)
        yield* stream.ended()
        yield* stream.close()
      }
      yield* server.close()
      assert(p.counted('cookiesAccepted') <= p.counted('cookiesSent'))
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const streams = Array.from({ length: 14 }, () => p.connect({ port }))
      // An acknowledgment that came to a full backlog is forgotten; what follows it is sent again until there is room.
      for (const [i, stream] of streams.entries()) {
        yield* stream.connected()
        yield* stream.write(pattern(i, 700))
      }
      const left = new Set(streams.entries())
      while (left.size > 0) {
        yield* p.until('an answer', () =>
          [...left].some(([, { socket, errno }]) => socket.readableBytes > 0 || errno !== 0),
        )
        for (const each of left) {
          const [i, stream] = each
          if (stream.socket.readableBytes === 0 && stream.errno === 0) continue
          yield* stream.readPattern(i, 700)
          yield* stream.close()
          left.delete(each)
        }
      }
    },
  },
  {
    name: 'a backlog of 0 takes one at a time, as listen(2) does',
    *server(p) {
      yield* echoAll(p, yield* serve(p, 7, { backlog: 0 }), 'over')
    },
    *client(p) {
      const port = yield* p.hear('listening')
      for (let i = 0; i < 10; i++) yield* ask(p.connect({ port }), i, 100)
      p.tell('over')
    },
  },
  {
    name: 'listeners that share a port get each some, and the others go on when one closes',
    *server(p) {
      const servers: Server[] = []
      for (let i = 0; i < 3; i++) servers.push(yield* p.listen({ port: 7, shared: true }))
      assert.equal(yield* p.refusedListen({ port: 7 }), 'EADDRINUSE')
      p.tell('listening', 7)
      const serveAll = function* (those: readonly Server[], count: number) {
        for (let i = 0; i < count; i++) {
          yield* p.until('a connection', () => those.some(({ waiting }) => waiting.length > 0))
          const stream = yield* those.find(({ waiting }) => waiting.length > 0)!.accept()
          yield* stream.ended()
          yield* stream.close()
        }
      }
      yield* serveAll(servers, MANY)
      for (const { all } of servers) assert(all.length > 0)
      const [first, ...others] = servers
      yield* first!.close()
      p.tell('one is closed')
      yield* serveAll(others, MANY)
      for (const server of others) yield* server.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      for (let i = 0; i < 2 * MANY; i++) {
        if (i === MANY) yield* p.hear('one is closed')
        yield* (yield* p.connect({ port }).connected()).close()
      }
    },
  },
  {
    name: 'a listener of one CPU gets what that CPU’s queue brings, and none can be where there is no queue',
    *servers(p) {
      if (p.cpu.index === p.setting.owners) {
        assert.equal(
          p.codeOf(() => p.stack.tcp.listen({ port: 7, perCpu: true }, () => {})),
          'EINVAL listen',
        )
        return
      }
      const server = yield* p.listen({ port: 7, perCpu: true })
      assert.equal(yield* p.refusedListen({ port: 7, perCpu: true }), 'EADDRINUSE')
      p.count('listening')
      yield* echoAll(p, server, 'over')
      // The wire's queues are chosen by the hash of the flow.
      assert(server.all.length > 0)
      p.count('served', server.all.length)
      yield* p.hearAll('served', MANY)
    },
    *client(p) {
      yield* p.hearAll('listening', p.setting.owners)
      yield* askAll(
        Array.from({ length: MANY }, (_, i) => p.connect({ port: 7, localPort: 30_000 + i + portsOf(p) })),
        50,
      )
      p.tell('over')
    },
  },
  {
    name: 'a program that does not look at what comes resets it',
    *server(p) {
      let isReady = false
      const listener = p.stack.tcp.listen({ port: 7 }, () => {
        isReady = true
        p.happened()
      })
      yield* p.until('every CPU to listen', () => isReady)
      p.tell('listening', 7)
      yield* p.hear('reset')
      listener.close(() => p.tell('closed'))
      yield* p.hear('closed')
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const stream = p.connect({ port })
      assert.equal(yield* stream.failed(), 'ECONNRESET')
      yield* stream.close()
      p.tell('reset')
    },
  },
  {
    name: 'a listener that is closed at once, well or not, leaves nothing',
    *server(p) {
      const other = yield* p.listen({ port: 8 })
      const answers: string[] = []
      for (const port of [7, 8]) {
        const listener = p.stack.tcp.listen({ port }, (error) => {
          answers.push(`${port} ${error?.code ?? 'listens'}`)
          p.happened()
        })
        listener.close(() => {
          answers.push(`${port} closed`)
          p.happened()
        })
        assert.equal(listener.close(), true)
      }
      yield* p.until('both to be closed', () => answers.filter((answer) => answer.endsWith('closed')).length === 2)
      assert.equal(yield* p.refusedListen({ port: 7 }), 'listens')
      assert.equal(yield* p.refusedListen({ port: 8 }), 'EADDRINUSE')
      yield* other.close()
    },
  },
]

/** Ports that the case has not had elsewhere. */
function portsOf({ place, setting }: Program): number {
  return MANY * (place.server * (setting.owners + 1) + place.client)
}
