// Packages that many programs are made of, unmodified, on our stack: by the API on two hosts, and all of them in one process with
// the preload.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createServer, type RequestListener } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { createHost, createNetwork, type Host } from '../../src/node/host.ts'
import { Command, environment } from '../command.ts'
import { event } from './world.ts'

/** What is used of them: their types are packages of their own. */
interface App extends RequestListener {
  get(
    path: string,
    handler: (request: { params: { name: string } }, response: { json(body: object): void }) => void,
  ): void
}
interface Fastify {
  get(path: string, handler: (request: { params: { name: string } }) => object): void
  listen(options: object): Promise<string>
  close(): Promise<void>
}
interface WebSocket extends NodeJS.EventEmitter {
  send(text: string): void
  close(): void
}
interface Undici {
  Agent: new (options: object) => { close(): Promise<void> }
  request(url: string, options: object): Promise<{ statusCode: number; body: { json(): Promise<object> } }>
}
const require = createRequire(import.meta.url)
const express = require('express') as () => App
const fastify = require('fastify') as (options: object) => Fastify
const { WebSocket, WebSocketServer } = require('ws') as {
  WebSocket: new (url: string, options?: object) => WebSocket
  WebSocketServer: new (options: object) => WebSocket
}
const undici = require('undici') as Undici

describe('on two hosts', () => {
  const network = createNetwork({ seed: 2 })
  let server: Host
  let client: Host
  before(async () => {
    server = await createHost({ name: 'server', address: '10.0.0.2/24', network })
    client = await createHost({ name: 'client', address: '10.0.0.1/24', network })
  })
  after(async () => {
    await server.close()
    await client.close()
    await network.close()
  })

  const get = async (url: string) => {
    const dispatcher = new undici.Agent({ connect: client.undiciConnector })
    const { statusCode, body } = await undici.request(url, { dispatcher })
    const json = await body.json()
    await dispatcher.close()
    return [statusCode, json]
  }

  test('express answers undici', { timeout: 30_000 }, async () => {
    const app = express()
    app.get('/hello/:name', (request, response) => response.json({ hello: request.params.name }))
    const listening = server.adopt(createServer(app))
    listening.listen(3000, '10.0.0.2')
    await event(listening, 'listening')
    assert.deepEqual(await get('http://10.0.0.2:3000/hello/express'), [200, { hello: 'express' }])
    listening.close()
  })

  test('fastify answers undici', { timeout: 30_000 }, async () => {
    const app = fastify({ serverFactory: (handler: RequestListener) => server.http.createServer(handler) })
    app.get('/hello/:name', (request) => ({ hello: request.params.name }))
    await app.listen({ port: 3001, host: '10.0.0.2' })
    assert.deepEqual(await get('http://10.0.0.2:3001/hello/fastify'), [200, { hello: 'fastify' }])
    await app.close()
  })

  test('a web socket of ws is open for both ends', { timeout: 30_000 }, async () => {
    const listening = server.http.createServer()
    const sockets = new WebSocketServer({ server: listening })
    sockets.on('connection', (socket: WebSocket) => socket.on('message', (text) => socket.send(`echo ${text}`)))
    listening.listen(0, '10.0.0.2')
    await event(listening, 'listening')
    const { port } = listening.address() as AddressInfo
    const socket = new WebSocket(`ws://10.0.0.2:${port}`, { agent: client.httpAgent })
    await event(socket, 'open')
    socket.send('hello')
    assert.equal(String(await event(socket, 'message')), 'echo hello')
    const long = 'x'.repeat(1_000_000)
    socket.send(long)
    assert.equal(String(await event(socket, 'message')), `echo ${long}`)
    socket.close()
    await event(socket, 'close')
    sockets.close()
    listening.close()
  })
})

test('with the preload all of them run as they are', { timeout: 60_000 }, async () => {
  const program = `
    const { createRequire } = require('node:module')
    const load = createRequire(${JSON.stringify(import.meta.url)})
    const express = load('express'), fastify = load('fastify'), { WebSocket, WebSocketServer } = load('ws'), undici = load('undici')
    const once = require('node:events').once
    const text = async (url) => (await undici.request(url)).body.text()
    ;(async () => {
      const app = express().get('/', (request, response) => response.send('express ' + request.ip))
      const first = app.listen(0)
      await once(first, 'listening')
      console.log(await text('http://localhost:' + first.address().port))
      console.log(await (await fetch('http://127.0.0.1:' + first.address().port)).text())
      first.close()
      const second = fastify()
      second.get('/', () => 'fastify')
      console.log(await text(await second.listen({ port: 0, host: '127.0.0.1' })))
      await second.close()
      const sockets = new WebSocketServer({ port: 0 })
      sockets.on('connection', (socket) => socket.on('message', (text) => socket.send('ws ' + text)))
      await once(sockets, 'listening')
      const socket = new WebSocket('ws://localhost:' + sockets.address().port)
      await once(socket, 'open')
      socket.send('hello')
      console.log(String((await once(socket, 'message'))[0]))
      socket.close()
      sockets.close()
      await undici.getGlobalDispatcher().close()
    })()`
  const preload = new URL('../../src/node/preload.js', import.meta.url).href
  const child = spawn(process.execPath, ['--import', preload, '-e', program], {
    env: environment({ DAMSELFLY_DEVICE: 'none' }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { code, stdout, stderr } = await new Command(child).ended
  assert.deepEqual(
    [stdout.split('\n'), code],
    [['express 127.0.0.1', 'express 127.0.0.1', 'fastify', 'ws hello', ''], 0],
    stderr,
  )
})
