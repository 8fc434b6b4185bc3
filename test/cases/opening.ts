// How connections come to be, and how they do not.
import assert from 'node:assert/strict'
import type { TcpConnectOptions } from '../../src/stack.ts'
import { type Case, CLIENT, SERVER } from './case.ts'
import { type Program, pattern, text } from './program.ts'
import type { Stream } from './stream.ts'

/** Between attempts, at most: about what one takes. */
const CROSSING_US = 50

/** Nobody has it. */
export const NOBODY = '10.0.0.77'

/** Listens at `port`, and says so. */
export function* serve(p: Program, port: number, options: { readonly backlog?: number } = {}) {
  const server = yield* p.listen({ port, ...options })
  p.tell('listening', server.listener.port)
  return server
}

/** One connection, as the server has it. */
export function* acceptOne(p: Program, port: number): Generator<void, Stream, void> {
  const server = yield* serve(p, port)
  const stream = yield* server.accept()
  yield* server.close()
  return stream
}

/** The same, as the client has it. */
export function* connectOne(p: Program): Generator<void, Stream, void> {
  const port = yield* p.hear('listening')
  return yield* p.connect({ port }).connected()
}

export const OPENING: readonly Case[] = [
  {
    name: 'a connection opens, says something each way, and closes',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      assert.deepEqual(yield* stream.read(5), text('hello'))
      assert.equal(stream.socket.remoteAddress, CLIENT)
      assert.equal(stream.socket.localAddress, SERVER)
      assert.equal(stream.socket.localPort, 7)
      yield* stream.write(text('and you'))
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      assert.equal(stream.socket.remotePort, 7)
      assert.equal(stream.socket.localAddress, CLIENT)
      yield* stream.write(text('hello'))
      assert.deepEqual(yield* stream.read(7), text('and you'))
      yield* stream.close()
      assert.deepEqual(stream.log, ['connect', 'closed'])
    },
  },
  {
    name: 'a connect to where nobody listens is refused',
    *client(p) {
      for (const address of [SERVER, CLIENT, '127.0.0.1', '0.0.0.0']) {
        const stream = p.connect({ address, port: 9 })
        assert.equal(yield* stream.failed(), 'ECONNREFUSED')
        assert.equal(stream.socket.state, 'closed')
        yield* stream.close()
        assert.deepEqual(stream.log, ['connect ECONNREFUSED', 'closed'])
      }
    },
  },
  {
    name: 'what no connection can be is said at once',
    *client(p) {
      const refused = (options: Partial<TcpConnectOptions>) => p.codeOf(() => p.connect({ port: 80, ...options }))
      assert.equal(refused({ port: 0 }), 'EINVAL connect')
      assert.equal(refused({ port: 65_536 }), 'EINVAL connect')
      assert.equal(refused({ port: 1.5 }), 'EINVAL connect')
      assert.equal(refused({ localPort: -1 }), 'EINVAL connect')
      assert.equal(refused({ address: '::1' }), 'EAFNOSUPPORT connect')
      assert.equal(refused({ address: '192.0.2.1' }), 'ENETUNREACH connect')
      assert.equal(refused({ address: '224.0.0.1' }), 'ENETUNREACH connect')
      assert.equal(refused({ address: '255.255.255.255' }), 'ENETUNREACH connect')
      assert.equal(refused({ localAddress: SERVER }), 'EADDRNOTAVAIL bind')
      assert.equal(refused({ localAddress: '::1' }), 'EAFNOSUPPORT bind')
      yield* p.until('nothing', () => true)
    },
  },
  {
    name: 'a connect to an address that nobody has fails',
    isSlow: true,
    *client(p) {
      const stream = p.connect({ address: NOBODY, port: 80 })
      assert.equal(yield* stream.failed(), 'EHOSTUNREACH')
      yield* stream.close()
      assert.deepEqual(stream.log, ['connect EHOSTUNREACH', 'closed'])
    },
  },
  {
    name: 'an attempt that is closed or aborted before it has ended leaves nothing',
    *server(p) {
      const server = yield* serve(p, 7)
      yield* p.hear('done')
      // One that was quick enough is there, and ends like any other.
      yield* server.close()
      for (const stream of server.waiting) yield* stream.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      for (const target of [port, 9]) {
        const streams = Array.from({ length: 10 }, () => p.connect({ port: target }))
        for (const [i, { socket }] of streams.entries()) {
          if (i % 3 === 0) socket.abort()
          else if (i % 3 === 1) socket.close()
          else {
            socket.abort()
            socket.close()
            socket.abort()
          }
        }
        for (const stream of streams) {
          yield* stream.closed()
          assert.deepEqual(stream.log, ['closed'])
        }
      }
      p.tell('done')
    },
  },
  {
    name: 'a tuple that is taken is EADDRINUSE, and the same port to another place is free',
    *server(p) {
      const servers = [yield* p.listen({ port: 7 }), yield* serve(p, 8)]
      for (const server of servers) {
        const stream = yield* server.accept()
        yield* stream.ended()
        yield* stream.close()
        yield* server.close()
      }
    },
    *client(p) {
      yield* p.hear('listening')
      const localPort = ownPort(p, 40_000)
      const first = yield* p.connect({ port: 7, localPort }).connected()
      assert.equal(first.socket.localPort, localPort)
      const second = p.connect({ port: 7, localPort })
      assert.equal(yield* second.failed(), 'EADDRINUSE')
      yield* second.close()
      const third = yield* p.connect({ port: 8, localPort }).connected()
      yield* first.close()
      yield* third.close()
    },
  },
  {
    name: 'what is asked of a socket before it is connected counts when it is',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      assert.deepEqual(yield* stream.rest(), text('early'))
      yield* stream.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const stream = p.connect({ port })
      const { socket } = stream
      socket.setNoDelay(true)
      socket.setTrafficClass(0x40)
      socket.setKeepAlive(30_000)
      socket.setBuffers(9000, 0)
      assert.equal(socket.state, 'connecting')
      assert.equal(socket.send(text('x')), 0, 'there is no room yet')
      yield* stream.connected()
      yield* stream.infoUntil('the send buffer to be as large', ({ sndLimit }) => sndLimit === 9000)
      yield* stream.write(text('early'))
      yield* stream.close()
    },
  },
  {
    name: 'a socket that is shut down before it is connected connects, and ends',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.ended()
      yield* stream.write(text('all the same'))
      yield* stream.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const stream = p.connect({ port })
      stream.shutdown()
      yield* stream.connected()
      assert.deepEqual(yield* stream.rest(), text('all the same'))
      yield* stream.close()
    },
  },
  {
    name: 'a host connects to itself, by any of its addresses',
    *client(p) {
      for (const address of ['127.0.0.1', '127.9.9.9', CLIENT, '0.0.0.0']) {
        const server = yield* p.listen({ port: 7 })
        const stream = p.connect({ address, port: 7 })
        const other = yield* server.accept()
        yield* stream.connected()
        yield* stream.write(pattern(0, 3000))
        yield* other.readPattern(0, 3000)
        yield* other.close()
        yield* stream.ended()
        yield* stream.close()
        yield* server.close()
      }
    },
  },
  {
    name: 'a socket connects to its own port, as both ends of one connection',
    *client(p) {
      const port = ownPort(p, 41_000)
      const options = { address: CLIENT, port, localAddress: CLIENT, localPort: port }
      const stream = yield* p.connect(options).connected()
      yield* stream.write(text('echo'))
      assert.deepEqual(yield* stream.read(4), text('echo'))
      stream.shutdown()
      yield* stream.ended()
      yield* stream.close()
    },
  },
  {
    name: 'two that open to each other at once have one connection',
    *server(p) {
      yield* crossing(p, ownPort(p, 42_000), ownPort(p, 43_000))
    },
    *client(p) {
      yield* crossing(p, ownPort(p, 43_000), ownPort(p, 42_000))
    },
  },
]

/** A port that the case has not had elsewhere: the tuple may still be in TIME-WAIT. */
function ownPort({ place, setting }: Program, first: number): number {
  return first + place.server * (setting.owners + 1) + place.client
}

/** Opens to the peer's port from an own one until it opens as well, and talks. */
function* crossing(p: Program, localPort: number, port: number): Generator<void, void, void> {
  const name = `ready ${localPort}`
  p.tell(name)
  yield* p.hear(`ready ${port}`)
  const stream = yield* p.untilFound(
    'the other to open at the same time',
    function* () {
      const attempt = p.connect({ port, localPort })
      yield* p.until('an answer', () => attempt.isConnected || attempt.errno !== 0)
      if (attempt.isConnected) return attempt
      assert.equal(yield* attempt.failed(), 'ECONNREFUSED')
      yield* attempt.close()
      return undefined
    },
    CROSSING_US,
  )
  yield* stream.write(pattern(localPort, 2000))
  stream.shutdown()
  yield* stream.readPattern(port, 2000)
  yield* stream.ended()
  yield* stream.close()
}
