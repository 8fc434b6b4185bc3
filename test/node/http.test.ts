// http, https and http2 on the kernel and on our stack: exchanges in which much of what they do takes part.
import assert from 'node:assert/strict'
import { Agent, type IncomingMessage, type RequestOptions } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type Case, event, inAllWorlds, Log, received, type World, withResolvers } from './world.ts'

async function body(message: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

type Handler = (request: IncomingMessage, response: import('node:http').ServerResponse) => void

async function serving(world: World, handler: Handler) {
  const server = world.server.http.createServer(handler)
  server.listen(0, world.address)
  await event(server, 'listening')
  const { port } = server.address() as AddressInfo
  const ask = (options: RequestOptions, sent?: string | Buffer): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const request = world.client.http.request({ host: world.address, port, ...options }, resolve)
      request.on('error', reject)
      request.end(sent)
    })
  const end = async () => {
    const closed = event(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  return { server, port, ask, end }
}

const cases: readonly Case[] = [
  [
    'a request and its answer',
    async (world) => {
      const { ask, end } = await serving(world, async (request, response) => {
        response.setHeader('x-method', request.method!)
        response.statusCode = 201
        response.end(`${request.url} ${await body(request)}`)
      })
      const response = await ask({ path: '/a?b', method: 'POST' }, 'sent')
      assert.deepEqual([response.statusCode, response.headers['x-method']], [201, 'POST'])
      assert.equal(String(await body(response)), '/a?b sent')
      await end()
    },
  ],
  [
    'a connection that is kept serves the next request',
    async (world) => {
      const ports = new Set<number>()
      const { ask, end } = await serving(world, (request, response) => {
        ports.add(request.socket.remotePort!)
        request.resume()
        response.end('ok')
      })
      const agent = world.client.httpAgent()
      for (let i = 0; i < 5; i++) await body(await ask({ agent }))
      assert.equal(ports.size, 1)
      agent.destroy()
      await end()
    },
  ],
  [
    'large bodies both ways, chunked, at the same time',
    async (world) => {
      const { ask, end } = await serving(world, (request, response) => request.pipe(response))
      const sent = Array.from({ length: 4 }, (_, i) => Buffer.alloc(1_000_000 + i, i + 1))
      const got = await Promise.all(
        sent.map(async (bytes) => body(await ask({ method: 'PUT', agent: new Agent(), ...agentOf(world) }, bytes))),
      )
      assert.ok(got.every((bytes, i) => bytes.equals(sent[i]!)))
      await end()
    },
  ],
  [
    'pipelined requests are answered in their order',
    async (world) => {
      const { port, end } = await serving(world, (request, response) => {
        // The first takes longer.
        if (request.url === '/1') setImmediate(() => setImmediate(() => response.end(request.url)))
        else response.end(request.url)
      })
      const client = world.client.net.connect(port, world.address)
      client.write(
        ['1', '2', '3']
          .map((path) => `GET /${path} HTTP/1.1\r\nHost: x\r\n${path === '3' ? 'Connection: close\r\n' : ''}\r\n`)
          .join(''),
      )
      const text = String(await received(client))
      assert.deepEqual(text.match(/\/[123](?!\.)/g), ['/1', '/2', '/3'])
      await end()
    },
  ],
  [
    'a header that comes byte by byte is read all the same',
    async (world) => {
      const { port, end } = await serving(world, (request, response) => response.end(request.headers['x-slow']))
      const client = world.client.net.connect({ port, host: world.address, noDelay: true })
      const got = received(client)
      for (const byte of 'GET / HTTP/1.1\r\nHost: x\r\nX-Slow: yes\r\nConnection: close\r\n\r\n') {
        await new Promise<void>((resolve) => client.write(byte, () => resolve()))
      }
      assert.match(String(await got), /\r\n\r\nyes$|yes\r\n/)
      await end()
    },
  ],
  [
    'an upgrade hands the connection over, with what has come already',
    async (world) => {
      const { server, port, end } = await serving(world, () => {})
      server.on('upgrade', (_request, socket, head) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n')
        socket.write(head)
        socket.pipe(socket)
      })
      const client = world.client.net.connect(port, world.address)
      client.write('GET / HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nearly ')
      let text = ''
      client.on('data', (chunk: Buffer) => {
        text += chunk
      })
      while (!text.endsWith('early ')) await event(client, 'data')
      client.write('late')
      while (!text.endsWith('late')) await event(client, 'data')
      client.end()
      await event(client, 'close')
      await end()
    },
  ],
  [
    'a client that waits for 100-continue gets it',
    async (world) => {
      const { port, end } = await serving(world, async (request, response) => response.end(await body(request)))
      const request = world.client.http.request({
        host: world.address,
        port,
        method: 'POST',
        headers: { expect: '100-continue' },
      })
      request.flushHeaders()
      await event(request, 'continue')
      request.end('now')
      assert.equal(String(await body(await event<IncomingMessage>(request, 'response'))), 'now')
      await end()
    },
  ],
  [
    'the server is told when a client goes away in the middle',
    async (world) => {
      const { promise: asked, resolve } = withResolvers<IncomingMessage>()
      const { port, end } = await serving(world, (request) => resolve(request))
      const client = world.client.net.connect(port, world.address)
      client.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly this')
      const request = await asked
      const log = new Log()
      log.on(request, 'request', ['error', 'close', 'end'])
      request.resume()
      const closed = event(request, 'close')
      client.destroy()
      await closed
      assert.deepEqual(log.entries, ['request error', 'request close'])
      await end()
    },
  ],
  [
    'a client is told when a server goes away in the middle',
    async (world) => {
      const { ask, end } = await serving(world, (_request, response) => {
        response.writeHead(200, { 'content-length': '1000' })
        response.write('only this')
        setImmediate(() => (response.socket as Socket).resetAndDestroy())
      })
      const response = await ask({ agent: false, ...agentOf(world) })
      await assert.rejects(body(response), { code: 'ECONNRESET' })
      assert.equal(response.complete, false)
      await end()
    },
  ],
]

/** Each its own connection: of the host's agent, where the world has one. */
function agentOf(world: World): RequestOptions {
  return world.address === '127.0.0.1' ? { agent: new Agent() } : { agent: world.client.httpAgent() }
}

inAllWorlds('http', import.meta.url, cases)
