// How connections end: whoever begins, in order or by a reset, with data under way or without.
import assert from 'node:assert/strict'
import type { Case } from './case.ts'
import { acceptOne, connectOne, serve } from './opening.ts'
import { pattern, text } from './program.ts'

export const CLOSING: readonly Case[] = [
  {
    name: 'the client closes first, and the server hears the end',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.ended()
      yield* stream.close()
      assert.equal(stream.errno, 0)
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.close()
    },
  },
  {
    name: 'the server closes first, and the client hears the end behind all data',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.write(pattern(0, 100_000))
      yield* stream.close()
      assert.deepEqual(
        stream.log.filter((event) => event !== 'writable'),
        ['closed'],
      )
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.readPattern(0, 100_000)
      yield* stream.ended()
      yield* stream.close()
      assert.equal(stream.errno, 0)
    },
  },
  {
    name: 'both close at once, 30 times, and nobody hears an error',
    *server(p) {
      const server = yield* serve(p, 7)
      for (let i = 0; i < 30; i++) {
        const stream = yield* server.accept()
        p.tell(`server ${i % 8}`, i)
        yield* p.until('the client', () => p.told(`client ${i % 8}`) === i)
        yield* stream.close()
        assert.equal(stream.errno, 0)
      }
      yield* server.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      for (let i = 0; i < 30; i++) {
        const stream = yield* p.connect({ port }).connected()
        p.tell(`client ${i % 8}`, i)
        yield* p.until('the server', () => p.told(`server ${i % 8}`) === i)
        yield* stream.close()
        assert.equal(stream.errno, 0)
      }
    },
  },
  {
    name: 'both end their streams at once, with data under way',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.write(pattern(5, 50_000))
      stream.shutdown()
      yield* stream.readPattern(9, 50_000)
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.write(pattern(9, 50_000))
      stream.shutdown()
      yield* stream.readPattern(5, 50_000)
      yield* stream.ended()
      yield* stream.close()
    },
  },
  {
    name: 'the client ends its half, and the server goes on for long',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.readPattern(0, 10_000)
      yield* stream.ended()
      yield* stream.write(pattern(1, 300_000))
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.write(pattern(0, 10_000))
      stream.shutdown()
      assert.equal(stream.socket.send(text('x')), 0)
      stream.shutdown()
      yield* stream.readPattern(1, 300_000)
      yield* stream.ended()
      yield* stream.close()
    },
  },
  {
    name: 'the server ends its half, and the client goes on for long',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      stream.shutdown()
      yield* stream.readPattern(1, 300_000)
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.ended()
      yield* stream.write(pattern(1, 300_000))
      yield* stream.close()
    },
  },
  {
    name: 'an abort is a reset for the other end',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      p.tell('accepted')
      assert.equal(yield* stream.failed(), 'ECONNRESET')
      assert.equal(stream.socket.state, 'closed')
      assert.equal(stream.socket.send(text('x')), 0)
      yield* stream.close()
      assert.deepEqual(stream.log, ['error ECONNRESET', 'closed'])
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* p.hear('accepted')
      yield* stream.abort()
      assert.deepEqual(stream.log, ['connect', 'closed'])
    },
  },
  {
    name: 'both abort at once',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      p.tell('accepted')
      yield* stream.abort()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* p.hear('accepted')
      yield* stream.abort()
    },
  },
  {
    name: 'an abort while data is under way, in both directions',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      const bytes = pattern(0, 100_000)
      while (stream.errno === 0) yield* stream.write(bytes)
      assert.equal(yield* stream.failed(), 'ECONNRESET')
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.write(pattern(0, 50_000))
      yield* stream.readPattern(0, 60_000)
      yield* stream.abort()
    },
  },
  {
    name: 'a close with something unread is a reset',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.read(10)
      yield* p.until('more to read', () => stream.socket.readableBytes > 0)
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.write(pattern(0, 3000))
      assert.equal(yield* stream.failed(), 'ECONNRESET')
      yield* stream.close()
    },
  },
  {
    name: 'what is written to one who has closed comes back as a reset',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.ended()
      const bytes = pattern(0, 1000)
      yield* p.untilFound('the reset', function* () {
        yield* stream.write(bytes)
        return stream.errno === 0 ? undefined : true
      })
      assert.equal(yield* stream.failed(), 'ECONNRESET')
      yield* stream.close()
    },
  },
  {
    name: 'what came before a reset can still be read',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* p.until('all of it', () => stream.socket.readableBytes === 5000)
      p.tell('arrived')
      assert.equal(yield* stream.failed(), 'ECONNRESET')
      yield* stream.readPattern(0, 5000)
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.write(pattern(0, 5000))
      yield* p.hear('arrived')
      yield* stream.abort()
    },
  },
  {
    name: 'after a close nothing is told but that, and nothing can be asked',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      stream.socket.close()
      p.tell('closed')
      stream.socket.close()
      stream.socket.abort()
      stream.socket.shutdown()
      stream.socket.setNoDelay(true)
      stream.socket.setKeepAlive(5)
      assert.equal(stream.socket.send(text('x')), 0)
      assert.equal(stream.socket.receive(new Uint8Array(5)), 0)
      assert.equal(stream.socket.receivePacket(), 0)
      stream.socket.info((info) => assert.equal(info, undefined))
      yield* stream.closed()
      assert.deepEqual(stream.log, ['closed'])
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* p.hear('closed')
      yield* stream.write(text('too late'))
      // By the end or by the reset, as they come.
      yield* p.until('the end of it', () => stream.socket.ended || stream.errno !== 0)
      yield* stream.close()
    },
  },
  {
    name: '200 connections, each ended when and how it happens to be',
    *server(p) {
      const server = yield* serve(p, 7)
      const { random } = p.cpu
      // One that is reset before its handshake has ended does not come.
      for (;;) {
        yield* p.until('a connection', () => server.waiting.length > 0 || p.told('over') !== undefined)
        const stream = server.waiting.shift()
        if (stream === undefined) break
        const how = random.below(5)
        if (how === 1) stream.socket.abort()
        if (how === 2) yield* stream.write(pattern(0, 3000))
        if (how === 3) stream.shutdown()
        if (how === 4)
          yield* p.until(
            'something',
            () => stream.socket.readableBytes > 0 || stream.socket.ended || stream.errno !== 0,
          )
        stream.socket.close()
      }
      yield* server.close()
      yield* p.until('all to close', () => server.all.every(({ isClosed }) => isClosed))
      for (const { log } of server.all) assert.equal(log.filter((event) => event === 'closed').length, 1)
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const { random } = p.cpu
      for (let i = 0; i < 200; i++) {
        const stream = yield* p.connect({ port }).settled()
        const how = random.below(4)
        if (how === 0) yield* stream.write(pattern(0, random.below(20_000)))
        if (how === 1) stream.shutdown()
        if (how === 2) stream.socket.abort()
        yield* stream.close()
        assert.equal(stream.log.at(-1), 'closed')
        assert.equal(stream.log.filter((event) => event.startsWith('connect')).length, 1)
      }
      p.tell('over')
    },
  },
]
