// UDP: datagrams of all sizes, to one and to many, and what becomes of those that nobody wants.
import assert from 'node:assert/strict'
import { Errno } from '../../src/kernel.ts'
import { type Case, CLIENT, SERVER } from './case.ts'
import type { Datagrams } from './datagrams.ts'
import { type Program, pattern, text } from './program.ts'

const GROUP = '239.1.2.3'
/** The most that a datagram can carry (RFC 768, RFC 791). */
const LARGEST = 65_507

/** Sends back what comes, until something of one byte comes. */
function* echo(socket: Datagrams): Generator<void, void, void> {
  for (;;) {
    const { bytes, source, port } = yield* socket.receive()
    assert.equal(socket.send(bytes, source, port), 0)
    if (bytes.length === 1) return
  }
}

/** A socket that the other side is told of. */
function* serveAt(p: Program, port: number) {
  const socket = yield* p.bind({ port })
  p.tell('bound', port)
  return socket
}

export const DATAGRAM: readonly Case[] = [
  {
    name: 'datagrams of all sizes come back as they were sent, also in fragments',
    *server(p) {
      const socket = yield* serveAt(p, 7)
      yield* echo(socket)
      yield* socket.close()
    },
    *client(p) {
      const port = yield* p.hear('bound')
      const socket = yield* p.bind()
      for (const size of [0, 2, 100, 1472, 1473, 4000, 20_000, LARGEST, 1]) {
        assert.equal(socket.send(pattern(size, size), SERVER, port), 0)
        const got = yield* socket.receive()
        assert.deepEqual(got.bytes, pattern(size, size))
        assert.deepEqual([got.source, got.port], [SERVER, port])
      }
      yield* socket.close()
    },
  },
  {
    name: 'a datagram that is too long, or has nowhere to go, is refused at once',
    *client(p) {
      const socket = yield* p.bind()
      assert.equal(socket.send(pattern(0, 10)), Errno.EINVAL)
      assert.equal(socket.send(new Uint8Array(LARGEST + 1), SERVER, 9), Errno.EMSGSIZE)
      assert.equal(socket.send(text('x'), '192.0.2.1', 9), Errno.ENETUNREACH)
      assert.equal(socket.send(text('x'), '10.0.0.255', 9), Errno.EACCES)
      yield* socket.close()
      assert.equal(socket.socket.sendBytes(text('x')), Errno.EINVAL)
    },
  },
  {
    name: 'a connected socket hears only its peer, and needs no target',
    *server(p) {
      const socket = yield* serveAt(p, 7)
      const other = yield* p.bind({ port: 8 })
      const { source, port } = yield* socket.receive()
      assert.equal(source, CLIENT)
      other.send(text('not for you'), source, port)
      for (let i = 0; i < 10; i++) assert.equal(socket.send(pattern(i, 50), source, port), 0)
      yield* p.hear('done')
      yield* socket.close()
      yield* other.close()
    },
    *client(p) {
      const port = yield* p.hear('bound')
      const socket = yield* p.bind()
      yield* socket.connect(SERVER, port)
      assert.equal(socket.send(text('hello')), 0)
      for (let i = 0; i < 10; i++) {
        const got = yield* socket.receive()
        assert.deepEqual([got.source, got.port, got.bytes.length], [SERVER, port, 50])
      }
      yield* socket.disconnect()
      assert.equal(socket.send(text('x')), Errno.EINVAL)
      p.tell('done')
      yield* socket.close()
    },
  },
  {
    name: 'a connected socket is told that nobody is at its peer’s port',
    *client(p) {
      for (const address of [SERVER, '127.0.0.1', CLIENT]) {
        const socket = yield* p.bind()
        yield* socket.connect(address, 9)
        assert.equal(socket.send(text('anybody?')), 0)
        assert.equal(yield* socket.failed(), 'ECONNREFUSED')
        yield* socket.close()
      }
    },
  },
  {
    name: 'a port that is taken is EADDRINUSE on every CPU, and free when it is closed',
    *server(p) {
      const socket = yield* p.bind({ port: 7 })
      p.tell('bound')
      yield* p.hearAll('tried', p.cpu.cpus)
      yield* socket.close()
      assert.equal(yield* p.refusedBind({ port: 7 }), 'binds')
      assert.equal(yield* p.refusedBind({ port: 7, address: '10.0.0.99' }), 'EADDRNOTAVAIL')
      for (const port of [-1, 65_536, 1.5]) {
        assert.equal(
          p.codeOf(() => p.stack.udp.open({ port }, () => {})),
          'EINVAL bind',
        )
      }
    },
    *servers(p) {
      yield* p.hear('bound')
      assert.equal(yield* p.refusedBind({ port: 7 }), 'EADDRINUSE')
      assert.equal(yield* p.refusedBind({ port: 7, address: SERVER }), 'EADDRINUSE')
      p.count('tried')
    },
  },
  {
    name: 'sockets of every CPU that share a port get each datagram once in all',
    *servers(p) {
      const socket = yield* p.bind({ port: 7, shared: true })
      p.count('bound')
      for (;;) {
        yield* p.until('a datagram, or the end', () => socket.socket.length > 0 || p.told('over') !== undefined)
        const got = socket.take()
        if (got === undefined) break
        socket.send(got.bytes, got.source, got.port)
      }
      yield* socket.close()
    },
    *client(p) {
      yield* p.hearAll('bound', p.cpu.cpus)
      const sockets: Datagrams[] = []
      for (let i = 0; i < 40; i++) sockets.push(yield* p.bind())
      for (const [i, socket] of sockets.entries()) socket.send(pattern(i, 30), SERVER, 7)
      for (const [i, socket] of sockets.entries()) assert.deepEqual((yield* socket.receive()).bytes, pattern(i, 30))
      p.tell('over')
      for (const socket of sockets) {
        assert.equal(socket.take(), undefined)
        yield* socket.close()
      }
    },
  },
  {
    name: 'what is sent to a group comes to its members, and to the sender’s host if it is one',
    *server(p) {
      const sockets = [yield* p.bind({ port: 7, shared: true }), yield* p.bind({ port: 7, shared: true })]
      for (const socket of sockets) yield* socket.join({ group: GROUP, interface: 'wire0' })
      p.tell('joined')
      for (const socket of sockets) {
        const got = yield* socket.receive()
        assert.deepEqual([got.source, got.bytes], [CLIENT, text('to all')])
      }
      p.tell('got')
      for (const socket of sockets) {
        yield* socket.leave({ group: GROUP, interface: 'wire0' })
        yield* socket.close()
      }
    },
    *client(p) {
      yield* p.hear('joined')
      const member = yield* p.bind({ port: 7 })
      yield* member.join({ group: GROUP, interface: 'wire0' })
      const sender = yield* p.bind({ multicastInterface: 'wire0' })
      assert.equal(sender.send(text('to all'), GROUP, 7), 0)
      assert.deepEqual((yield* member.receive()).bytes, text('to all'))
      yield* p.hear('got')
      assert.equal(
        p.codeOf(() => sender.socket.leave({ group: GROUP })),
        'EADDRNOTAVAIL setsockopt',
      )
      // With its socket a membership ends as well.
      yield* member.close()
      yield* sender.close()
    },
  },
  {
    name: 'a broadcast comes to all who have the port',
    *server(p) {
      const socket = yield* serveAt(p, 7)
      const got = yield* socket.receive()
      assert.deepEqual([got.source, got.bytes], [CLIENT, text('who is there?')])
      socket.send(text('I'), got.source, got.port)
      yield* p.hear('answered')
      yield* socket.close()
    },
    *client(p) {
      const port = yield* p.hear('bound')
      const socket = yield* p.bind({ broadcast: true })
      assert.equal(socket.send(text('who is there?'), '10.0.0.255', port), 0)
      assert.equal((yield* socket.receive()).source, SERVER)
      p.tell('answered')
      yield* socket.close()
    },
  },
  {
    name: 'a host sends datagrams to itself',
    *client(p) {
      const socket = yield* p.bind({ port: 7 })
      const sender = yield* p.bind()
      for (const address of ['127.0.0.1', '127.9.9.9', CLIENT]) {
        for (const size of [0, 5, 3000, LARGEST]) {
          assert.equal(sender.send(pattern(size, size), address, 7), 0)
          assert.deepEqual((yield* socket.receive()).bytes, pattern(size, size))
        }
      }
      yield* socket.close()
      yield* sender.close()
    },
  },
  {
    name: 'a socket that is closed with datagrams unread leaves none of them',
    *server(p) {
      const socket = yield* serveAt(p, 7)
      yield* p.until('some', () => socket.socket.length >= 10)
      yield* socket.close()
      p.tell('closed')
    },
    *client(p) {
      const port = yield* p.hear('bound')
      const socket = yield* p.bind()
      for (let i = 0; i < 30; i++) socket.send(pattern(i, 1200), SERVER, port)
      yield* p.hear('closed')
      yield* socket.close()
    },
  },
]
