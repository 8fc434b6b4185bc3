// Many connections: at once, one after the other, from every CPU.
import assert from 'node:assert/strict'
import type { Case } from './case.ts'
import { ask, askAll, echoAll } from './listening.ts'
import { serve } from './opening.ts'
import type { Stream } from './stream.ts'

export const CROWD: readonly Case[] = [
  {
    name: '500 short connections, one after the other',
    *server(p) {
      yield* echoAll(p, yield* serve(p, 7), 'over')
    },
    *client(p) {
      const port = yield* p.hear('listening')
      for (let i = 0; i < 500; i++) yield* ask(p.connect({ port }), i, 64)
      p.tell('over')
    },
  },
  {
    name: '150 connections at once, each with bytes of its own',
    *server(p) {
      yield* echoAll(p, yield* serve(p, 7), 'over')
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const streams = Array.from({ length: 150 }, () => p.connect({ port }))
      assert.equal(new Set(streams.map(({ socket }) => socket.localPort)).size, 150)
      yield* askAll(streams, 5000)
      p.tell('over')
    },
  },
  {
    name: 'connections from every CPU to a listener of one program',
    *server(p) {
      const server = yield* serve(p, 7)
      for (let i = 0; i < 20 * p.cpu.cpus; i++) {
        const stream = yield* server.accept()
        const bytes = yield* stream.rest()
        yield* stream.write(bytes)
        yield* stream.close()
      }
      yield* server.close()
      assert.equal(server.all.length, 20 * p.cpu.cpus)
    },
    *clients(p) {
      const port = yield* p.hear('listening')
      const streams: Stream[] = []
      for (let i = 0; i < 20; i++) streams.push(p.connect({ port }))
      yield* askAll(streams, 2000)
    },
  },
  {
    name: 'programs on every CPU share a port, and those of every CPU connect to it',
    *servers(p) {
      const server = yield* p.listen({ port: 7, shared: true })
      p.count('listening')
      yield* echoAll(p, server, 'all over')
    },
    *clients(p) {
      yield* p.hearAll('listening', p.cpu.cpus)
      for (let i = 0; i < 30; i++) yield* ask(p.connect({ port: 7 }), i, 3000)
      if (p.count('over') === p.cpu.cpus) p.tell('all over')
    },
  },
  {
    name: 'a host talks to itself from every CPU',
    *server(p) {
      yield* echoAll(p, yield* serve(p, 7), 'all over')
    },
    *servers(p) {
      const port = yield* p.hear('listening')
      for (let i = 0; i < 15; i++) yield* ask(p.connect({ address: '127.0.0.1', port }), i, 9000)
      if (p.count('over') === p.cpu.cpus) p.tell('all over')
    },
  },
  {
    name: 'all ports to one destination are used, and then there is none',
    isSlow: true,
    *server(p) {
      const server = yield* serve(p, 7, { backlog: 20_000 })
      // All of them take long where there are more CPUs than processors, but no thousand does.
      const isExhausted = () => p.told('exhausted') !== undefined
      for (let next = 1000; !isExhausted(); next += 1000) {
        yield* p.until('the next thousand or the last', () => isExhausted() || server.all.length >= next)
      }
      yield* p.until('all that are open', () => server.all.length >= (p.told('exhausted') ?? 0))
      for (const stream of server.all) stream.socket.close()
      for (const stream of server.all) yield* stream.closed()
      yield* server.close()
    },
    *client(p) {
      const port = yield* p.hear('listening')
      const streams: Stream[] = []
      for (;;) {
        const stream = p.connect({ port })
        yield* stream.settled()
        if (!stream.isConnected) {
          assert.equal(yield* stream.failed(), 'EADDRNOTAVAIL')
          yield* stream.close()
          break
        }
        streams.push(stream)
      }
      assert(streams.length > 4000 && streams.length <= 16_384, `${streams.length}`)
      p.tell('exhausted', streams.length)
      for (const stream of streams) {
        yield* stream.ended()
        yield* stream.close()
      }
    },
  },
]
