// What a program can set on a connection, and what a connection says of itself.
import assert from 'node:assert/strict'
import type { Case } from './case.ts'
import { acceptOne, connectOne, NOBODY, serve } from './opening.ts'
import { pattern, text } from './program.ts'

export const OPTION: readonly Case[] = [
  {
    name: 'a connection says of itself what is so',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.readPattern(0, 50_000)
      const info = yield* stream.info()
      assert.equal(info.state, 'ESTABLISHED')
      assert.equal(info.bytesReceived, 50_000)
      assert.equal(info.early, 0)
      p.tell('read')
      yield* stream.ended()
      assert.equal((yield* stream.info()).state, 'CLOSE-WAIT')
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.write(pattern(0, 50_000))
      yield* p.hear('read')
      const info = yield* stream.infoUntil('all to be acknowledged', ({ bytesAcked }) => bytesAcked === 50_000)
      assert.equal(info.state, 'ESTABLISHED')
      assert.deepEqual(info.options, { timestamps: true, sack: true, ecn: false, scale: true })
      assert.equal(info.mtu, 1500)
      assert(info.mss > 1400 && info.mss <= 1460, `mss ${info.mss}`)
      assert.equal(info.flight, 0)
      assert.equal(info.unsent, 0)
      assert(info.srttUs > 0 && info.rttMinUs <= info.srttUs * 8, `srtt ${info.srttUs}, least ${info.rttMinUs}`)
      assert(info.rtoUs >= 200_000, `rto ${info.rtoUs}`)
      assert(info.cwnd >= info.mss)
      assert(info.segmentsSent >= 50_000 / 1460 && info.segmentsReceived > 0)
      stream.shutdown()
      yield* stream.infoUntil('the server to know', ({ state }) => state === 'FIN-WAIT-2' || state === 'CLOSED')
      yield* stream.ended()
      yield* stream.close()
    },
  },
  {
    name: 'a silent peer is asked whether it is there, and is',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      const before = p.counted('keepAlives')
      stream.socket.setKeepAlive(20, 20, 3)
      yield* p.untilSeen('six keep-alives', () => p.counted('keepAlives') > before + 5)
      assert.equal(stream.errno, 0)
      assert.equal((yield* stream.info()).state, 'ESTABLISHED')
      yield* stream.close()
    },
  },
  {
    name: 'who does not answer within the user timeout is given up',
    isSlow: true,
    *client(p) {
      const stream = p.connect({ address: NOBODY, port: 80, userTimeoutMs: 50 })
      const error = yield* stream.failed()
      // Whichever comes first: that nobody has the address is found after seconds.
      assert(['ETIMEDOUT', 'EHOSTUNREACH'].includes(error), error)
      yield* stream.close()
    },
  },
  {
    name: 'all options change while bytes are under way',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      for (let at = 0; at < 200_000; at += 5000) {
        yield* stream.readPattern(at, 5000)
        stream.socket.setBuffers(0, 30_000 + at)
        stream.socket.setTtl(1 + (at % 200))
      }
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      const { socket } = stream
      for (let at = 0; at < 200_000; at += 4000) {
        yield* stream.write(pattern(at, 4000))
        const turn = at / 4000
        socket.setNoDelay(turn % 2 === 0)
        socket.setCork(turn % 3 === 0)
        socket.setTtl(10 + turn)
        socket.setTrafficClass((turn % 64) << 2)
        socket.setKeepAlive(turn % 5 === 0 ? 0 : 10_000 + turn)
        socket.setUserTimeout(turn % 4 === 0 ? 0 : 60_000)
        socket.setBuffers(20_000 + turn * 100, 20_000)
      }
      socket.setCork(false)
      yield* stream.close()
      assert.equal(stream.errno, 0)
    },
  },
  {
    name: 'what a listener was given, its connections have',
    *server(p) {
      const server = yield* p.listen({
        port: 7,
        noDelay: true,
        keepAliveMs: 60_000,
        sendBytes: 12_000,
        receiveBytes: 16_000,
        trafficClass: 0x20,
        ttl: 33,
      })
      p.tell('listening', 7)
      const stream = yield* server.accept()
      assert.equal(stream.socket.sendRoom, 12_000)
      const { rcvBuffer, sndLimit } = yield* stream.info()
      assert.deepEqual([rcvBuffer, sndLimit], [16_000, 12_000])
      yield* stream.write(text('x'))
      yield* stream.ended()
      yield* stream.close()
      yield* server.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      assert.deepEqual(yield* stream.read(1), text('x'))
      yield* stream.close()
    },
  },
  {
    name: 'a program may ask what a connection knows at any time, also when it ends',
    *server(p) {
      const server = yield* serve(p, 7)
      for (let i = 0; i < 20; i++) {
        const stream = yield* server.accept()
        yield* stream.write(pattern(0, 2000))
        if (i % 2 === 0) stream.socket.abort()
        yield* stream.close()
      }
      yield* server.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      for (let i = 0; i < 20; i++) {
        const stream = yield* p.connect({ port }).settled()
        while (!stream.socket.ended && stream.errno === 0) {
          const { state } = yield* stream.info()
          assert(['ESTABLISHED', 'CLOSE-WAIT', 'CLOSED'].includes(state), state)
          yield* stream.read(Math.min(500, stream.socket.readableBytes))
        }
        yield* stream.close()
      }
    },
  },
]
