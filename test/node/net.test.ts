// What Node's documentation of net says of the order of events, of errors and of defaults: on the kernel, and on our stack.
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate as immediate } from 'node:timers/promises'
import {
  type Case,
  connected,
  event,
  inAllWorlds,
  Log,
  listening,
  received,
  type World,
  withResolvers,
} from './world.ts'

type Failure = NodeJS.ErrnoException & { address?: string; port?: number; localAddress?: string; localPort?: number }

const ENDING = ['finish', 'end', 'close', 'error']

/** The end of a connection in the eyes of both, each with whether it was an error. */
async function ending(log: Log, client: Socket, other: Socket): Promise<void> {
  log.on(client, 'client', ENDING)
  log.on(other, 'server', ENDING)
  await Promise.all([event(client, 'close'), event(other, 'close')])
}

/** More than all buffers on the way take. */
const LARGE = 32 * 1024 * 1024

const cases: readonly Case[] = [
  [
    'lookup comes before connect, connect before ready',
    async (world) => {
      const { server, port } = await listeningAnywhere(world)
      const log = new Log()
      const client = world.client.net.connect({ port, host: 'localhost', family: 4 })
      log.on(client, 'client', ['lookup', 'connect', 'ready', 'close', 'error'])
      assert.deepEqual([client.connecting, client.pending, client.readyState], [true, true, 'opening'])
      await event(client, 'ready')
      assert.deepEqual([client.connecting, client.pending, client.readyState], [false, false, 'open'])
      assert.deepEqual(log.entries, ['client lookup', 'client connect', 'client ready'])
      client.destroy()
      server.close()
      await event(server, 'close')
    },
  ],
  [
    'an address is not looked up',
    async (world) => {
      const { client, other } = await connected(world)
      const log = new Log()
      const { server, port } = await listening(world, (socket) => socket.destroy())
      const second = world.client.net.connect(port, world.address)
      log.on(second, 'second', ['lookup', 'connect', 'ready'])
      await event(second, 'ready')
      assert.deepEqual(log.of('second'), ['connect', 'ready'])
      for (const socket of [client, other, second]) socket.destroy()
      server.close()
    },
  ],
  [
    'whoever ends first hears finish, end, close; the other hears end, finish, close',
    async (world) => {
      const { client, other } = await connected(world)
      const log = new Log()
      client.resume()
      other.resume()
      client.end('bye')
      await ending(log, client, other)
      assert.deepEqual(log.of('client'), ['finish', 'end', 'close'])
      assert.deepEqual(log.of('server'), ['end', 'finish', 'close'])
    },
  ],
  [
    'close tells whether there was an error',
    async (world) => {
      const { client, other } = await connected(world)
      other.on('error', () => {})
      const closes = [event(client, 'close'), event(other, 'close')]
      client.destroy(new Error('ours'))
      client.on('error', () => {})
      other.resume()
      assert.deepEqual(await Promise.all(closes), [true, false])
    },
  ],
  [
    'with allowHalfOpen the other end may write after the end',
    async (world) => {
      const { client, other } = await connected(world, { allowHalfOpen: true })
      const got = received(client)
      other.resume()
      client.end('question')
      await event(other, 'end')
      assert.equal(other.readyState, 'writeOnly')
      other.end('answer')
      assert.equal(String(await got), 'answer')
    },
  ],
  [
    'without it a write after the end is EPIPE',
    async (world) => {
      const { client, other } = await connected(world)
      other.resume()
      client.resume()
      client.end()
      await event(other, 'end')
      const failed = event<Failure>(other, 'error')
      other.write('too late')
      const error = await failed
      assert.equal(error.code, 'EPIPE')
      assert.equal(error.message, 'This socket has been ended by the other party')
    },
  ],
  [
    'destroy ends the connection in order where nothing was left unread',
    async (world) => {
      const { client, other } = await connected(world)
      const log = new Log()
      other.resume()
      const ended = ending(log, client, other)
      client.destroy()
      assert.equal(client.destroyed, true)
      await ended
      assert.deepEqual(log.of('client'), ['close'])
      assert.deepEqual(log.of('server'), ['end', 'finish', 'close'])
    },
  ],
  [
    'destroy with something unread resets the connection',
    async (world) => {
      const { client, other } = await connected(world, { pauseOnConnect: false })
      const failed = event<Failure>(other, 'error')
      client.pause()
      other.resume()
      // More than the stream of the client takes: the rest stays in the receive buffer.
      other.write(Buffer.alloc(400_000))
      await event(client, 'readable')
      client.destroy()
      const { code, syscall } = await failed
      assert.ok(code === 'ECONNRESET' || code === 'EPIPE', code)
      assert.ok(syscall === 'read' || syscall === 'write', syscall)
    },
  ],
  [
    'destroySoon waits until all is written',
    async (world) => {
      const { client, other } = await connected(world)
      const got = received(other)
      client.write(Buffer.alloc(1_000_000, 'x'))
      client.destroySoon()
      assert.equal((await got).length, 1_000_000)
    },
  ],
  [
    'resetAndDestroy is ECONNRESET for the other end',
    async (world) => {
      const { client, other } = await connected(world)
      const log = new Log()
      const failed = event<Failure>(other, 'error')
      other.resume()
      const ended = ending(log, client, other)
      client.resetAndDestroy()
      await ended
      const { code, syscall, errno, message } = await failed
      assert.deepEqual([code, syscall, errno, message], ['ECONNRESET', 'read', -104, 'read ECONNRESET'])
      assert.deepEqual(log.of('client'), ['close'])
      assert.deepEqual(log.of('server'), ['error', 'close'])
    },
  ],
  [
    'resetAndDestroy of a socket that connects waits for the connection',
    async (world) => {
      const { promise: accepted, resolve } = withResolvers<Socket>()
      const { server, port } = await listening(world, resolve)
      const client = world.client.net.connect(port, world.address)
      client.resetAndDestroy()
      const other = await accepted
      other.resume()
      const { code } = await event<Failure>(other, 'error')
      assert.equal(code, 'ECONNRESET')
      server.close()
    },
  ],
  [
    'a port that nobody listens at is ECONNREFUSED, with address and port',
    async (world) => {
      const { server, port } = await listening(world, () => {})
      server.close()
      await event(server, 'close')
      const client = world.client.net.connect(port, world.address)
      const log = new Log()
      log.on(client, 'client', ['connect', 'ready', 'error', 'close'])
      const failed = event<Failure>(client, 'error')
      assert.equal(await event(client, 'close'), true)
      const error = await failed
      assert.deepEqual(
        [error.code, error.errno, error.syscall, error.address, error.port, error.message],
        ['ECONNREFUSED', -111, 'connect', world.address, port, `connect ECONNREFUSED ${world.address}:${port}`],
      )
      assert.deepEqual(log.of('client'), ['error', 'close'])
    },
  ],
  [
    'a port that somebody listens at is EADDRINUSE, with address and port',
    async (world) => {
      const { server, port } = await listening(world, () => {})
      const second = world.server.net.createServer()
      second.listen(port, world.address)
      const error = await event<Failure>(second, 'error')
      assert.deepEqual(
        [error.code, error.errno, error.syscall, error.address, error.port, error.message],
        [
          'EADDRINUSE',
          -98,
          'listen',
          world.address,
          port,
          `listen EADDRINUSE: address already in use ${world.address}:${port}`,
        ],
      )
      assert.equal(second.listening, false)
      server.close()
    },
  ],
  [
    'a server may listen again after an error, and after its close',
    async (world) => {
      const { server, port } = await listening(world, () => {})
      const second = world.server.net.createServer()
      second.listen(port, world.address)
      await event(second, 'error')
      server.close()
      await event(server, 'close')
      second.listen(port, world.address)
      await event(second, 'listening')
      second.close()
      await event(second, 'close')
      second.listen(port, world.address)
      await event(second, 'listening')
      assert.equal((second.address() as AddressInfo).port, port)
      second.close()
    },
  ],
  [
    "somebody else's address is EADDRNOTAVAIL, to listen at and to connect from",
    async (world) => {
      const server = world.server.net.createServer()
      server.listen(8080, world.foreignAddress)
      const listen = await event<Failure>(server, 'error')
      assert.deepEqual(
        [listen.code, listen.syscall, listen.address, listen.port],
        ['EADDRNOTAVAIL', 'listen', world.foreignAddress, 8080],
      )
      const client = world.client.net.connect({
        port: 8080,
        host: world.address,
        localAddress: world.foreignAddress,
        localPort: 8081,
      })
      const connect = await event<Failure>(client, 'error')
      assert.deepEqual(
        [connect.code, connect.syscall, connect.address, connect.port],
        ['EADDRNOTAVAIL', 'bind', world.foreignAddress, 8081],
      )
    },
  ],
  [
    'a client may choose its own address and port',
    async (world) => {
      const { promise: accepted, resolve } = withResolvers<Socket>()
      const { server, port } = await listening(world, resolve)
      const localPort = 20_000 + (process.pid % 10_000)
      const client = world.client.net.connect({
        port,
        host: world.address,
        localAddress: world.clientAddress,
        localPort,
      })
      const [other] = await Promise.all([accepted, event(client, 'connect')])
      assert.deepEqual([other.remoteAddress, other.remotePort], [world.clientAddress, localPort])
      assert.deepEqual([client.localAddress, client.localPort], [world.clientAddress, localPort])
      other.resetAndDestroy()
      await event(client, 'error')
      server.close()
    },
  ],
  [
    'a port that a server has is EADDRINUSE to connect from',
    async (world) => {
      const { server, port } = await listening(world, () => {})
      const own = world.client.net.createServer()
      own.listen(0, world.clientAddress)
      await event(own, 'listening')
      const { port: localPort } = own.address() as AddressInfo
      const target = { port, host: world.address, localAddress: world.clientAddress, localPort }
      const { code, syscall, address, port: named } = await event<Failure>(world.client.net.connect(target), 'error')
      assert.deepEqual([code, syscall, address, named], ['EADDRINUSE', 'bind', world.clientAddress, localPort])
      server.close()
      own.close()
    },
  ],
  [
    'a write on a connection that was reset, while nobody reads, fails',
    async (world) => {
      const { client, other } = await connected(world, { pauseOnConnect: true })
      const closed = event(client, 'close')
      client.resetAndDestroy()
      await closed
      // The reset is there when another connection of the same two has been there and back.
      await roundTrip(world)
      const failed = event<Failure>(other, 'error')
      other.write('anybody?')
      const { code, syscall } = await failed
      assert.equal(syscall, 'write')
      assert.ok(code === 'ECONNRESET' || code === 'EPIPE', code)
    },
  ],
  [
    'write gives false beyond the high-water mark, and drain follows when all is out',
    async (world) => {
      const { client, other } = await connected(world, { pauseOnConnect: true })
      assert.equal(client.write('little'), true)
      assert.equal(client.write(Buffer.alloc(LARGE)), false)
      assert.equal(client.writableNeedDrain, true)
      assert.ok(client.writableLength >= LARGE)
      let written = false
      client.write('last', () => {
        written = true
      })
      await immediate()
      // Nobody has read anything: it cannot all be in buffers on the way.
      assert.equal(written, false)
      let bytes = 0
      other.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      other.resume()
      await event(client, 'drain')
      assert.deepEqual([client.writableLength, written], [0, true])
      const ended = event(other, 'end')
      client.end()
      await ended
      assert.equal(bytes, 6 + LARGE + 4)
    },
  ],
  [
    'bytesRead and bytesWritten count, and stay after the end',
    async (world) => {
      const { client, other } = await connected(world)
      other.on('data', (chunk) => other.write(chunk))
      client.write('abc')
      client.write('äöü', 'utf8')
      assert.equal(client.bytesWritten, 9)
      let bytes = 0
      while (bytes < 9) bytes += (await event<Buffer>(client, 'data')).length
      assert.deepEqual([client.bytesRead, other.bytesRead, other.bytesWritten], [9, 9, 9])
      const closes = [event(client, 'close'), event(other, 'close')]
      client.end()
      await Promise.all(closes)
      assert.deepEqual([client.bytesRead, client.bytesWritten], [9, 9])
      assert.deepEqual([other.bytesRead, other.bytesWritten], [9, 9])
    },
  ],
  [
    'both ends agree on their addresses',
    async (world) => {
      const { server, port } = await listening(world, () => {})
      assert.deepEqual(server.address(), { address: world.address, family: 'IPv4', port })
      server.close()
      assert.equal(server.address(), null)
      const { client, other } = await connected(world)
      assert.deepEqual(client.address(), {
        address: world.clientAddress,
        family: 'IPv4',
        port: other.remotePort,
      })
      assert.deepEqual(
        [client.remoteAddress, client.remotePort, client.remoteFamily],
        [other.localAddress, other.localPort, other.localFamily],
      )
      assert.deepEqual([client.localAddress, client.localFamily], [other.remoteAddress, other.remoteFamily])
      client.destroy()
      other.destroy()
      assert.deepEqual(client.address(), {})
    },
  ],
  [
    'remoteAddress is undefined after destroy, unless it was asked for before',
    async (world) => {
      const first = await connected(world)
      const second = await connected(world)
      assert.equal(second.client.remoteAddress, world.address)
      first.client.destroy()
      second.client.destroy()
      assert.equal(first.client.remoteAddress, undefined)
      assert.equal(second.client.remoteAddress, world.address)
      first.other.destroy()
      second.other.destroy()
    },
  ],
  [
    'port 0 is a free port, known at once',
    async (world) => {
      const server = world.server.net.createServer()
      server.listen(0)
      const { port } = server.address() as AddressInfo
      assert.ok(port > 0)
      await event(server, 'listening')
      server.close()
    },
  ],
  [
    'a server that closes refuses, and is closed when its connections are',
    async (world) => {
      const { promise: accepted, resolve } = withResolvers<Socket>()
      const { server, port } = await listening(world, resolve)
      const client = world.client.net.connect(port, world.address)
      const other = await accepted
      const log = new Log()
      log.on(server, 'server', ['close'])
      server.close()
      assert.equal(server.listening, false)
      const late = world.client.net.connect(port, world.address)
      assert.equal((await event<Failure>(late, 'error')).code, 'ECONNREFUSED')
      assert.deepEqual(log.entries, [])
      client.resume()
      other.end('bye')
      await event(server, 'close')
    },
  ],
  [
    'getConnections counts',
    async (world) => {
      const { server, port } = await listening(world, (socket) => socket.resume())
      const clients = [0, 1, 2].map(() => world.client.net.connect(port, world.address))
      for (let i = 0; i < 3; i++) if (connectionsOf(server) < 3) await event(server, 'connection')
      const count = await new Promise((resolve) => server.getConnections((_error, connections) => resolve(connections)))
      assert.equal(count, 3)
      for (const client of clients) client.destroy()
      server.close()
      await event(server, 'close')
    },
  ],
  [
    'connections beyond maxConnections are dropped, and drop tells whose',
    async (world) => {
      const { promise: accepted, resolve } = withResolvers<Socket>()
      const { server, port } = await listening(world, resolve)
      server.maxConnections = 1
      const first = world.client.net.connect(port, world.address)
      const other = await accepted
      const dropped = event<{ localPort: number; remotePort: number; remoteFamily: string }>(server, 'drop')
      const second = world.client.net.connect(port, world.address)
      await event(second, 'connect')
      const { localPort: secondPort } = second
      second.resume()
      await event(second, 'close')
      const { localPort, remotePort, remoteFamily } = await dropped
      assert.deepEqual([localPort, remotePort, remoteFamily], [port, secondPort, 'IPv4'])
      first.destroy()
      other.destroy()
      server.close()
    },
  ],
  [
    'a paused socket gets no data until it is resumed, and then all',
    async (world) => {
      const { client, other } = await connected(world)
      other.pause()
      let bytes = 0
      other.on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      other.pause()
      client.end(Buffer.alloc(200_000, 1))
      await roundTrip(world)
      assert.equal(bytes, 0)
      other.resume()
      await event(other, 'end')
      assert.equal(bytes, 200_000)
    },
  ],
  [
    'with pauseOnConnect nothing is read before the socket is resumed',
    async (world) => {
      const { client, other } = await connected(world, { pauseOnConnect: true })
      client.end('waiting')
      await roundTrip(world)
      assert.deepEqual([other.bytesRead, other.isPaused()], [0, true])
      assert.equal(String(await received(other)), 'waiting')
    },
  ],
  [
    "a server's highWaterMark is its sockets'",
    async (world) => {
      const { client, other } = await connected(world, { highWaterMark: 1234 })
      assert.deepEqual([other.readableHighWaterMark, other.writableHighWaterMark], [1234, 1234])
      client.destroy()
      other.destroy()
    },
  ],
  [
    'noDelay and keepAlive are taken, before and after the connection, by both ends',
    async (world) => {
      const options = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 1000 }
      const { client, other } = await connected(world, options, options)
      for (const socket of [client, other]) {
        assert.equal(socket.setNoDelay(false), socket)
        assert.equal(socket.setKeepAlive(true, 5000), socket)
        assert.equal(socket.setKeepAlive(false), socket)
      }
      const got = received(other)
      client.end('still there')
      assert.equal(String(await got), 'still there')
    },
  ],
  [
    'setTimeout tells of silence and leaves the socket open',
    async (world) => {
      const { client, other } = await connected(world)
      const log = new Log()
      log.on(client, 'client', ['timeout', 'close', 'error'])
      client.setTimeout(5)
      assert.equal(client.timeout, 5)
      await event(client, 'timeout')
      client.setTimeout(0)
      assert.deepEqual(log.entries, ['client timeout'])
      assert.equal(client.readyState, 'open')
      client.destroy()
      other.destroy()
    },
  ],
  [
    'an abort destroys a socket with AbortError, and closes a server',
    async (world) => {
      const abort = new AbortController()
      const server = world.server.net.createServer()
      server.listen({ port: 0, host: world.address, signal: abort.signal })
      await event(server, 'listening')
      const { port } = server.address() as AddressInfo
      const client = world.client.net.connect({ port, host: world.address, signal: abort.signal })
      await event(client, 'connect')
      const failed = event<Error>(client, 'error')
      const closed = event(server, 'close')
      server.on('connection', (socket) => socket.destroy())
      abort.abort()
      assert.equal((await failed).name, 'AbortError')
      server.unref()
      void closed
    },
  ],
  [
    "with onread the bytes come in the program's own buffer",
    async (world) => {
      const buffer = Buffer.alloc(16)
      const chunks: string[] = []
      const { promise: over, resolve } = withResolvers<void>()
      const onread = {
        buffer,
        callback: (bytes: number, given: Uint8Array) => {
          assert.equal(given, buffer)
          chunks.push(buffer.toString('latin1', 0, bytes))
          if (chunks.join('').length === 40) resolve()
          return true
        },
      }
      const { client, other } = await connected(world, {}, { onread })
      other.end('0123456789'.repeat(4))
      await over
      assert.ok(chunks.every((chunk) => chunk.length <= 16))
      assert.equal(chunks.join(''), '0123456789'.repeat(4))
      client.destroy()
    },
  ],
  [
    'onread may give another buffer each time, and stop the reading by false',
    async (world) => {
      const buffers: Buffer[] = []
      let stopped = 0
      let text = ''
      const { promise: over, resolve } = withResolvers<void>()
      const onread = {
        buffer: () => {
          buffers.push(Buffer.alloc(8))
          return buffers.at(-1)!
        },
        callback: (bytes: number, given: Uint8Array) => {
          assert.ok(buffers.includes(given as Buffer))
          text += Buffer.from(given.buffer, given.byteOffset, bytes).toString('latin1')
          if (text.length === 24) resolve()
          stopped++
          return false
        },
      }
      const { client, other } = await connected(world, {}, { onread })
      other.end('abcdefgh'.repeat(3))
      const again = setInterval(() => client.resume(), 1)
      await over
      clearInterval(again)
      assert.equal(text, 'abcdefgh'.repeat(3))
      assert.ok(stopped >= 3 && buffers.length > 3)
      client.destroy()
    },
  ],
  [
    'strings arrive in their encodings, in the order of the writes, corked or not',
    async (world) => {
      const { client, other } = await connected(world)
      const got = received(other)
      client.write('grün', 'utf8')
      client.write('grün', 'latin1')
      client.write('grün', 'utf16le')
      client.cork()
      client.write('00ff', 'hex')
      client.write('AQI=', 'base64')
      client.write(Buffer.from('raw'))
      client.write('text', 'ascii')
      client.uncork()
      client.write('')
      client.end(new Uint8Array([1, 2]))
      const expected = [
        Buffer.from('grün', 'utf8'),
        Buffer.from('grün', 'latin1'),
        Buffer.from('grün', 'utf16le'),
        Buffer.from('00ff', 'hex'),
        Buffer.from('AQI=', 'base64'),
        Buffer.from('rawtext'),
        Buffer.from([1, 2]),
      ]
      assert.deepEqual(await got, Buffer.concat(expected))
    },
  ],
  [
    'a long text is whole, also one that does not fit anywhere at once',
    async (world) => {
      const { client, other } = await connected(world, { pauseOnConnect: true })
      const text = 'grün und blau '.repeat(600_000)
      client.end(text)
      const got = await received(other)
      assert.equal(got.length, Buffer.byteLength(text))
      assert.equal(got.toString() === text, true)
    },
  ],
  [
    'callbacks of writes come in their order, and before finish',
    async (world) => {
      const { client, other } = await connected(world)
      other.resume()
      const log = new Log()
      client.write(Buffer.alloc(300_000), () => log.add('first'))
      client.write('x', () => log.add('second'))
      client.end('y', () => log.add('end'))
      client.on('finish', () => log.add('finish'))
      await event(client, 'close')
      assert.deepEqual(log.entries.slice(0, 2), ['first', 'second'])
      assert.deepEqual(log.entries.slice(2).toSorted(), ['end', 'finish'])
    },
  ],
  [
    'what was written before the connection is sent when it is there',
    async (world) => {
      const { promise: accepted, resolve } = withResolvers<Socket>()
      const { server, port } = await listening(world, resolve)
      const client = world.client.net.connect(port, world.address)
      client.write('early ')
      client.end('bird')
      assert.equal(client.bytesWritten, 10)
      assert.equal(String(await received(await accepted)), 'early bird')
      server.close()
    },
  ],
  [
    'a socket that is destroyed while it connects never connects',
    async (world) => {
      const { server, port } = await listening(world, (socket) => socket.on('error', () => {}).resume())
      const client = world.client.net.connect(port, world.address)
      const log = new Log()
      log.on(client, 'client', ['connect', 'error', 'close'])
      await immediate()
      if (client.connecting) {
        client.destroy()
        await event(client, 'close')
        assert.deepEqual(log.entries, ['client close'])
      } else client.destroy()
      server.close()
    },
  ],
  [
    'a socket connects again after its close',
    async (world) => {
      const { server, port } = await listening(world, (socket) => socket.end('once'))
      const client = world.client.net.connect(port, world.address)
      client.resume()
      await event(client, 'close')
      client.connect(port, world.address)
      await event(client, 'connect')
      assert.equal(client.remoteAddress, world.address)
      client.resume()
      await event(client, 'close')
      server.close()
    },
  ],
  [
    'what a callback puts off runs before the next callback',
    async (world) => {
      const log = new Log()
      const { server, port } = await listening(world, (socket) => {
        socket.on('data', () => {
          log.add('data')
          process.nextTick(() => log.add('tick'))
          void Promise.resolve().then(() => log.add('promise'))
        })
      })
      const clients = [0, 1, 2].map(() => world.client.net.connect(port, world.address))
      await Promise.all(clients.map((client) => event(client, 'connect')))
      for (const client of clients) client.write('x')
      while (log.entries.length < 9) await immediate()
      assert.deepEqual(
        log.entries,
        [0, 1, 2].flatMap(() => ['data', 'tick', 'promise']),
      )
      for (const client of clients) client.destroy()
      server.close()
    },
  ],
  [
    'callbacks run in the async context of their socket',
    async (world) => {
      const storage = new AsyncLocalStorage<string>()
      const seen: (string | undefined)[] = []
      const { server, port } = await listening(world, (socket) => {
        seen.push(storage.getStore())
        socket.resume()
        socket.end('hello')
      })
      const run = (name: string) =>
        storage.run(name, async () => {
          const client = world.client.net.connect(port, world.address)
          client.on('connect', () => seen.push(storage.getStore()))
          client.on('data', () => seen.push(storage.getStore()))
          client.on('close', () => seen.push(storage.getStore()))
          await event(client, 'close')
        })
      await run('one')
      assert.deepEqual(seen.toSorted(), ['one', 'one', 'one', undefined])
      seen.length = 0
      await Promise.all([run('two'), run('three')])
      assert.deepEqual(seen.toSorted(), [...Array(3).fill('three'), ...Array(3).fill('two'), undefined, undefined])
      server.close()
    },
  ],
  [
    'an echo of many connections at once is whole',
    async (world) => {
      const { server, port } = await listening(world, (socket) => socket.pipe(socket), { allowHalfOpen: true })
      const exchange = async (size: number) => {
        const sent = Buffer.alloc(size, size & 255)
        const client = world.client.net.connect({ port, host: world.address, allowHalfOpen: true })
        const got = received(client)
        client.end(sent)
        assert.deepEqual(await got, sent)
      }
      await Promise.all([0, 1, 1460, 1461, 65_535, 65_536, 300_000, 1_000_000].map(exchange))
      server.close()
      await event(server, 'close')
    },
  ],
]

/** A server that is reached as localhost: on the host of the client. */
async function listeningAnywhere(world: World) {
  return listening({ ...world, server: world.client, address: '127.0.0.1' }, (socket) => socket.resume())
}

/** There and back between the same two: what went before has arrived. */
async function roundTrip(world: World): Promise<void> {
  const { client, other } = await connected(world)
  other.pipe(other)
  client.write('?')
  await event(client, 'data')
  client.destroy()
  other.destroy()
}

function connectionsOf(server: object): number {
  return (server as { _connections: number })._connections
}

inAllWorlds('net', import.meta.url, cases)
