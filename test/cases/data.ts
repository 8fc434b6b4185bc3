// Bytes on their way: as much as there is, at any pace, in pieces of any size.
import assert from 'node:assert/strict'
import type { Case } from './case.ts'
import { acceptOne, connectOne } from './opening.ts'
import { type Program, pattern, text } from './program.ts'
import type { Stream } from './stream.ts'

const SIZES = [1, 100, 1460, 5000, 65_536, 200_000] as const
/** More than all buffers on the way take at first. */
const LARGE = 1_500_000

/** Writes so much of the pattern, in pieces. */
function* pour(stream: Stream, from: number, count: number, piece = 50_000): Generator<void, void, void> {
  for (let sent = 0; sent < count; ) {
    const bytes = pattern(from + sent, Math.min(piece, count - sent))
    assert.equal(yield* stream.write(bytes), bytes.length)
    sent += bytes.length
  }
}

/** Writes and reads at the same time. */
function* exchange(p: Program, stream: Stream, from: number, target: number, count: number, chunk: number) {
  let sent = 0
  let got = 0
  let hasRoom = true
  const { socket } = stream
  const { onWritable } = socket
  socket.onWritable = () => {
    hasRoom = true
    onWritable()
  }
  while (sent < count || got < count) {
    if (sent < count && hasRoom) {
      const bytes = pattern(from + sent, Math.min(count - sent, 30_000))
      const taken = socket.send(bytes)
      sent += taken
      hasRoom = taken === bytes.length
    }
    if (socket.readableBytes > 0) {
      const bytes = yield* stream.read(Math.min(chunk, socket.readableBytes))
      assert.deepEqual(Buffer.compare(bytes, pattern(target + got, bytes.length)), 0, `bytes from ${got}`)
      got += bytes.length
    } else if (sent < count ? !hasRoom : got < count) {
      yield* p.until('bytes or room', () => (sent < count && hasRoom) || socket.readableBytes > 0 || stream.errno !== 0)
      assert.equal(stream.errno, 0)
    }
  }
}

export const DATA: readonly Case[] = [
  {
    name: 'bytes of all sizes arrive as they were sent, both ways',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      for (const size of SIZES) {
        yield* stream.readPattern(size, size)
        yield* stream.write(pattern(size * 3, size))
      }
      yield* stream.ended()
      const total = SIZES.reduce((sum, size) => sum + size, 0)
      assert.equal(stream.socket.bytesReceived, total)
      assert.equal(stream.socket.bytesSent, total)
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      for (const size of SIZES) {
        yield* stream.write(pattern(size, size))
        yield* stream.readPattern(size * 3, size)
      }
      yield* stream.close()
    },
  },
  {
    name: 'much in both directions at once, to one reader who takes little at a time',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* exchange(p, stream, 11, 22, LARGE, 3000)
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* exchange(p, stream, 22, 11, LARGE, 65_536)
      yield* stream.ended()
      yield* stream.close()
    },
  },
  {
    name: 'a reader who does not read closes the window, and nothing is lost when he does',
    *server(p) {
      const server = yield* p.listen({ port: 7, receiveBytes: 20_000 })
      p.tell('listening', 7)
      const stream = yield* server.accept()
      yield* server.close()
      // The sender has found the window closed.
      yield* p.hear('held back')
      assert(stream.socket.readableBytes <= 20_000, `${stream.socket.readableBytes}`)
      yield* stream.readPattern(0, 150_000, 5000)
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const stream = yield* p.connect({ port, sendBytes: 60_000 }).connected()
      let sent = 0
      const bytes = pattern(0, 150_000)
      yield* p.untilFound('to be held back', function* () {
        sent += stream.socket.send(bytes.subarray(sent))
        const { sndWnd, unsent, flight } = yield* stream.info()
        return sndWnd < 3000 && unsent > 0 && flight === 0 ? true : undefined
      })
      assert(sent <= 80_000, `${sent}`)
      p.tell('held back')
      yield* stream.write(bytes.subarray(sent))
      yield* stream.close()
    },
  },
  {
    name: 'a window that stays closed is probed, and the connection lives',
    isSlow: true,
    *server(p) {
      const server = yield* p.listen({ port: 7, receiveBytes: 10_000 })
      p.tell('listening', 7)
      const stream = yield* server.accept()
      yield* server.close()
      yield* p.hear('probed')
      yield* stream.readPattern(0, 40_000)
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      const before = p.counted('windowProbes')
      assert.equal(yield* stream.write(pattern(0, 40_000)), 40_000)
      yield* p.untilSeen('two window probes', () => p.counted('windowProbes') > before + 1)
      p.tell('probed')
      yield* stream.close()
    },
  },
  {
    name: 'one byte at a time, each at once',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      for (let i = 0; i < 200; i++) {
        yield* stream.readPattern(i, 1)
        yield* stream.write(pattern(i + 1, 1))
      }
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const stream = yield* p.connect({ port, noDelay: true }).connected()
      for (let i = 0; i < 200; i++) {
        yield* stream.write(pattern(i, 1))
        yield* stream.readPattern(i + 1, 1)
      }
      yield* stream.close()
    },
  },
  {
    name: 'many tiny writes, with and without Nagle, are one stream',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* stream.readPattern(0, 4 * 300 * 3)
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      for (let i = 0; i < 4 * 300; i++) {
        if (i % 300 === 0) stream.socket.setNoDelay(i % 600 === 0)
        yield* stream.write(pattern(i * 3, 3))
        if (i % 7 === 0) yield* stream.info()
      }
      yield* stream.close()
    },
  },
  {
    name: 'what is written under a cork goes when it is taken out, in few segments',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* p.hear('corked')
      assert.equal(stream.socket.readableBytes, 0)
      p.tell('looked')
      yield* stream.readPattern(0, 1000)
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const stream = yield* p.connect({ port, noDelay: true }).connected()
      stream.socket.setCork(true)
      const before = yield* stream.info()
      for (let i = 0; i < 50; i++) {
        yield* stream.write(pattern(i * 20, 20))
        yield* stream.infoUntil('it to be held back', ({ unsent }) => unsent === (i + 1) * 20)
      }
      p.tell('corked')
      yield* p.hear('looked')
      stream.socket.setCork(false)
      const after = yield* stream.infoUntil('it to arrive', ({ bytesAcked }) => bytesAcked >= 1000)
      assert(after.segmentsSent - before.segmentsSent <= 2 + after.retransmitted, `${after.segmentsSent} segments`)
      yield* stream.close()
    },
  },
  {
    name: 'urgent data is told of, and read in its place',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* p.until('to be told', () => stream.urgentBytes >= 0)
      assert.equal(stream.urgentBytes, 12)
      assert.deepEqual(yield* stream.read(12), text('plain urgent'))
      p.tell('read')
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      yield* stream.write(text('plain '))
      assert.equal(stream.socket.sendUrgent(text('urgent')), 6)
      yield* p.hear('read')
      yield* stream.close()
    },
  },
  {
    name: 'packets are sent and received without a copy',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      const { mbufs } = p.stack.context
      const parts: Uint8Array[] = []
      for (let got = 0; got < 5000; ) {
        yield* p.until('a packet', () => stream.socket.readableBytes > 0)
        const packet = stream.socket.receivePacket()
        assert.notEqual(packet, 0)
        const bytes = mbufs.bytes(packet)
        parts.push(bytes)
        got += bytes.length
        mbufs.free(packet)
      }
      assert.deepEqual(Uint8Array.from(Buffer.concat(parts)), pattern(0, 5000))
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      const { mbufs } = p.stack.context
      for (let at = 0; at < 5000; at += 1000) {
        const packet = mbufs.copyFrom(pattern(at, 1000))
        assert.equal(stream.socket.sendPacket(packet), true)
      }
      yield* stream.close()
    },
  },
  {
    name: 'what has come is taken by parts of any size',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* p.until('all of it', () => stream.socket.readableBytes === 10_000)
      let at = 0
      for (const size of [1, 2, 3, 500, 999, 1001, 3000, 1, 4493]) {
        yield* stream.readPattern(at, size)
        at += size
      }
      assert.equal(at, 10_000)
      assert.equal(stream.socket.readableBytes, 0)
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const stream = yield* connectOne(p)
      for (let i = 0; i < 10; i++) yield* stream.write(pattern(1000 * i, 1000))
      yield* stream.close()
    },
  },
  {
    name: 'a send buffer takes as much as was asked for, and tells when there is room',
    *server(p) {
      const stream = yield* acceptOne(p, 7)
      yield* p.hear('full')
      yield* stream.readPattern(0, 30_000)
      yield* stream.ended()
      yield* stream.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const stream = yield* p.connect({ port, sendBytes: 5000 }).connected()
      assert.equal(stream.socket.sendRoom, 5000)
      assert.equal(stream.socket.send(pattern(0, 8000)), 5000)
      assert.equal(stream.socket.unsentBytes, 5000)
      p.tell('full')
      yield* pour(stream, 5000, 25_000, 8000)
      yield* stream.close()
    },
  },
]
