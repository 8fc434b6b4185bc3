// What sits on a handle from C++: tls, https and http2, secure and plain, on the kernel and on our stack.
import assert from 'node:assert/strict'
import * as http2 from 'node:http2'
import * as https from 'node:https'
import type { AddressInfo, Server, Socket } from 'node:net'
import * as tls from 'node:tls'
import { CERTIFICATE, KEY } from './certificate.ts'
import { type Case, event, inAllWorlds, Log, received, type World, withResolvers } from './world.ts'

const SERVER = { key: KEY, cert: CERTIFICATE }
const CLIENT = { ca: CERTIFICATE, servername: 'localhost' }

async function listening(world: World, server: Server): Promise<number> {
  world.server.adopt(server).listen(0, world.address)
  await event(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function connected(world: World, options: tls.TlsOptions = {}) {
  const { promise: accepted, resolve } = withResolvers<tls.TLSSocket>()
  const server = tls.createServer({ ...SERVER, ...options }, resolve)
  const port = await listening(world, server)
  const plain = world.client.net.connect(port, world.address)
  const client = tls.connect({ ...CLIENT, socket: plain })
  const [other] = await Promise.all([accepted, event(client, 'secureConnect')])
  server.close()
  return { server, plain, client, other }
}

async function body(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const cases: readonly Case[] = [
  [
    'a connection is authorized and encrypted, over a socket that was open or is opened',
    async (world) => {
      const { plain, client, other } = await connected(world)
      assert.equal(client.authorized, true)
      assert.match(client.getProtocol()!, /^TLSv1\.[23]$/)
      assert.deepEqual([client.remoteAddress, client.remotePort], [world.address, other.localPort])
      other.pipe(other)
      client.write('secret')
      assert.equal(String(await event(client, 'data')), 'secret')
      assert.ok(plain.bytesWritten > 6)
      const closes = [event(client, 'close'), event(other, 'close')]
      client.end()
      await Promise.all(closes)
    },
  ],
  [
    'large streams both ways are whole',
    async (world) => {
      const { client, other } = await connected(world, { allowHalfOpen: true })
      const sent = Buffer.from(Array.from({ length: 3_000_000 }, (_, i) => (i * 31) & 255))
      other.pipe(other)
      const got = received(client)
      client.end(sent)
      assert.ok((await got).equals(sent))
    },
  ],
  [
    'whoever ends first hears end and close, and so does the other',
    async (world) => {
      const { client, other } = await connected(world)
      const log = new Log()
      log.on(client, 'client', ['end', 'finish', 'close', 'error'])
      log.on(other, 'server', ['end', 'finish', 'close', 'error'])
      client.resume()
      other.resume()
      const closes = [event(client, 'close'), event(other, 'close')]
      client.end('bye')
      await Promise.all(closes)
      assert.deepEqual(log.of('server'), ['end', 'finish', 'close'])
      assert.deepEqual(log.of('client').at(-1), 'close')
      assert.equal(log.of('client').includes('error'), false)
    },
  ],
  [
    'a reset is ECONNRESET',
    async (world) => {
      const { plain, client, other } = await connected(world)
      // What belongs to the handshake is past when something has been there and back.
      other.pipe(other)
      client.write('?')
      await event(client, 'data')
      const failed = event<NodeJS.ErrnoException>(other, 'error')
      const closed = event(other, 'close')
      plain.resetAndDestroy()
      const { code, syscall } = await failed
      assert.deepEqual([code, syscall], ['ECONNRESET', 'read'])
      await closed
    },
  ],
  [
    'a peer that is gone before the handshake is an error of the client',
    async (world) => {
      const { createServer } = await import('node:net')
      const server = createServer((socket) => socket.once('data', () => socket.destroy()))
      const port = await listening(world, server)
      const client = tls.connect({ ...CLIENT, socket: world.client.net.connect(port, world.address) })
      const { code, message } = await event<NodeJS.ErrnoException>(client, 'error')
      assert.equal(code, 'ECONNRESET')
      assert.match(message, /before secure TLS connection was established/)
      server.close()
    },
  ],
  [
    'a port that nobody listens at is ECONNREFUSED',
    async (world) => {
      const server = tls.createServer(SERVER)
      const port = await listening(world, server)
      server.close()
      await event(server, 'close')
      const plain = world.client.net.connect(port, world.address)
      const client = tls.connect({ ...CLIENT, socket: plain })
      client.on('error', () => {})
      const { code, syscall } = await event<NodeJS.ErrnoException>(plain, 'error')
      assert.deepEqual([code, syscall], ['ECONNREFUSED', 'connect'])
      client.destroy()
    },
  ],
  [
    'a plain connection becomes a secure one on the way',
    async (world) => {
      const { promise: accepted, resolve } = withResolvers<Socket>()
      const { createServer } = await import('node:net')
      const server = createServer(resolve)
      const port = await listening(world, server)
      const client = world.client.net.connect(port, world.address)
      client.write('STARTTLS')
      const other = await accepted
      assert.equal(String(await event(other, 'data')), 'STARTTLS')
      const secureServer = new tls.TLSSocket(other, { ...SERVER, isServer: true })
      other.write('GO')
      assert.equal(String(await event(client, 'data')), 'GO')
      const secureClient = tls.connect({ ...CLIENT, socket: client })
      await event(secureClient, 'secureConnect')
      secureServer.pipe(secureServer)
      secureClient.write('secret now')
      assert.equal(String(await event(secureClient, 'data')), 'secret now')
      secureClient.destroy()
      secureServer.destroy()
      server.close()
    },
  ],
  [
    'https answers, and keeps its connection',
    async (world) => {
      const ports = new Set<number>()
      const server = https.createServer(SERVER, (request, response) => {
        ports.add(request.socket.remotePort!)
        request.pipe(response)
      })
      const port = await listening(world, server)
      const agent = new https.Agent({ keepAlive: true, ...CLIENT })
      if (!world.isOwn) {
        const createConnection = (options: tls.ConnectionOptions) =>
          tls.connect({ ...options, ...CLIENT, socket: world.client.net.connect(port, world.address) })
        Object.assign(agent, { createConnection })
      }
      for (const size of [1, 100_000, 1_000_000]) {
        const request = https.request({ host: world.address, port, agent, method: 'POST' })
        request.end(Buffer.alloc(size, 'x'))
        const response = await event<import('node:http').IncomingMessage>(request, 'response')
        assert.equal((await body(response)).length, size)
      }
      assert.equal(ports.size, 1)
      agent.destroy()
      server.closeAllConnections()
      server.close()
    },
  ],
  ...(['h2', 'h2c'] as const).map(
    (protocol): Case => [
      `http2 (${protocol}) carries many streams at once`,
      async (world) => {
        const isSecure = protocol === 'h2'
        const server = isSecure ? http2.createSecureServer(SERVER) : http2.createServer()
        server.on('stream', (stream: http2.ServerHttp2Stream, headers) => {
          stream.respond({ ':status': 200, 'x-path': headers[':path'] })
          stream.pipe(stream)
        })
        const port = await listening(world, server as unknown as Server)
        const plain = world.client.net.connect(port, world.address)
        const session = http2.connect(`${isSecure ? 'https' : 'http'}://localhost:${port}`, {
          createConnection: () => (isSecure ? tls.connect({ ...CLIENT, socket: plain, ALPNProtocols: ['h2'] }) : plain),
        })
        const sizes = [0, 1, 16_384, 100_000, 1_000_000]
        const sent = sizes.map((size, i) => Buffer.alloc(size, i))
        const got = await Promise.all(
          sent.map(async (bytes, i) => {
            const stream = session.request({ ':method': 'POST', ':path': `/${i}` })
            stream.end(bytes)
            // Both at once: an answer without a body may have ended when its header is known.
            const [headers, got] = await Promise.all([
              event<http2.IncomingHttpHeaders>(stream, 'response'),
              body(stream),
            ])
            return [headers['x-path'], got] as const
          }),
        )
        for (const [i, [path, bytes]] of got.entries()) {
          assert.equal(path, `/${i}`)
          assert.ok(bytes.equals(sent[i]!))
        }
        const closed = event(session, 'close')
        session.close()
        await closed
        server.close()
      },
    ],
  ),
  [
    'a reset ends a session of http2 with ECONNRESET',
    async (world) => {
      const server = http2.createServer()
      const { promise: opened, resolve } = withResolvers<http2.ServerHttp2Session>()
      server.on('session', resolve)
      const port = await listening(world, server as unknown as Server)
      const plain = world.client.net.connect(port, world.address)
      const session = http2.connect(`http://localhost:${port}`, { createConnection: () => plain })
      session.on('error', () => {})
      const settled = event(session, 'localSettings')
      const other = await opened
      const failed = event<NodeJS.ErrnoException>(other, 'error')
      await settled
      plain.resetAndDestroy()
      assert.equal((await failed).code, 'ECONNRESET')
      server.close()
    },
  ],
  [
    'a stream of http2 that is opened and cancelled by the same bytes is there when its program is told',
    async (world) => {
      const server = http2.createServer()
      const { promise: told, resolve } = withResolvers<boolean>()
      server.on('stream', (stream: http2.ServerHttp2Stream) => {
        resolve(stream.destroyed)
        stream.on('error', () => {})
        // Throws where the stream is gone.
        stream.respond({ ':status': 200 })
      })
      const port = await listening(world, server as unknown as Server)
      const client = world.client.net.connect(port, world.address)
      const frame = (type: number, flags: number, stream: number, payload: readonly number[]) =>
        Buffer.from([0, 0, payload.length, type, flags, 0, 0, 0, stream, ...payload])
      const settings = frame(4, 0, 0, [])
      // GET http / of x, by the numbers of HPACK's table (RFC 7541, appendix A).
      const headers = frame(1, 5, 1, [0x82, 0x86, 0x84, 0x41, 0x01, 0x78])
      const cancel = frame(3, 0, 1, [0, 0, 0, 8])
      client.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), settings, headers, cancel]))
      assert.equal(await told, false)
      client.destroy()
      server.close()
    },
  ],
  [
    'modules of Node reach a secure server by themselves',
    async (world) => {
      if (!world.isOwn) return
      const server = https.createServer(SERVER, (_request, response) => response.end('secure'))
      const port = await listening(world, server)
      const client = tls.connect({ ...CLIENT, port, host: world.address })
      await event(client, 'secureConnect')
      client.end('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
      assert.match(String(await received(client)), /secure/)
      const session = await new Promise<string>((resolve) => {
        https.get({ ...CLIENT, port, host: world.address, agent: false }, async (response) => {
          resolve(String(await body(response)))
        })
      })
      assert.equal(session, 'secure')
      const refused = tls.connect({ ...CLIENT, port: 1, host: world.address })
      assert.equal((await event<NodeJS.ErrnoException>(refused, 'error')).code, 'ECONNREFUSED')
      server.closeAllConnections()
      server.close()
    },
  ],
]

inAllWorlds('tls', import.meta.url, cases)
