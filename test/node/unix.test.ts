// What Node's documentation of net says of sockets on a path: on Node's own, on ours that carry traces, and between the two.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, existsSync, linkSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setImmediate as immediate } from 'node:timers/promises'
import * as tls from 'node:tls'
import { libcUnavailable } from '../../src/device/linux/library.ts'
import { unix } from '../../src/node/unix/main.ts'
import { CERTIFICATE, KEY } from './certificate.ts'
import { event, Log, received, withResolvers } from './world.ts'

interface Side {
  connect(options: net.IpcNetConnectOpts & { allowHalfOpen?: boolean }): net.Socket
  createServer(options: net.ServerOpts, onConnection?: (socket: net.Socket) => void): net.Server
}

interface World {
  readonly client: Side
  readonly server: Side
}

type Failure = NodeJS.ErrnoException & { address?: string; port?: number }

const own: Side = { connect: (options) => unix.connect(options as never), createServer: unix.createServer as never }
const WORLDS: readonly (World & { readonly name: string })[] = [
  { name: "both Node's", client: net, server: net },
  { name: 'both with traces', client: own, server: own },
  { name: "a client with traces, a server of Node's", client: own, server: net },
  { name: "a client of Node's, a server with traces", client: net, server: own },
]
/** More than all buffers on the way take. */
const LARGE = 4 * 1024 * 1024

let folder = ''
let paths = 0
const newPath = () => join(folder, `${++paths}.sock`)

async function listening(world: World, options: net.ServerOpts = {}, onConnection?: (socket: net.Socket) => void) {
  const path = newPath()
  const server = world.server.createServer(options, onConnection)
  server.listen(path)
  await event(server, 'listening')
  return { server, path }
}

async function connected(world: World, options: { allowHalfOpen?: boolean; pauseOnConnect?: boolean } = {}) {
  const { promise: accepted, resolve } = withResolvers<net.Socket>()
  const { server, path } = await listening(world, options, resolve)
  const client = world.client.connect({ ...options, path })
  const [other] = await Promise.all([accepted, event(client, 'connect')])
  server.close()
  return { client, other, server }
}

/** As `received`, which destroys the socket at the end of one direction. */
async function untilEnd(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await event(socket, 'end')
  return Buffer.concat(chunks)
}

async function refusal(emitter: NodeJS.EventEmitter) {
  const { code, syscall, address, port, message } = await event<Failure>(emitter, 'error')
  return { code, syscall, address, port, message }
}

/** Bytes that differ from place to place. */
function pattern(bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes)
  for (let i = 0; i < bytes; i++) buffer[i] = (i * 31 + (i >> 8)) & 0xff
  return buffer
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

const cases: readonly (readonly [name: string, run: (world: World) => Promise<void>])[] = [
  [
    'connect comes before ready, and what the socket says of itself is right',
    async (world) => {
      const { server, path } = await listening(world, {}, (socket) => socket.resume())
      assert.equal(server.address(), path)
      const log = new Log()
      const client = world.client.connect({ path })
      assert(client instanceof net.Socket)
      log.on(client, 'client', ['lookup', 'connect', 'ready', 'close', 'error'])
      assert.deepEqual([client.connecting, client.pending, client.readyState], [true, true, 'opening'])
      await event(client, 'ready')
      assert.deepEqual([client.connecting, client.pending, client.readyState], [false, false, 'open'])
      assert.deepEqual([client.remoteAddress, client.remotePort, client.address()], [undefined, undefined, {}])
      assert.deepEqual(log.of('client'), ['connect', 'ready'])
      client.destroy()
      assert.equal(await event(client, 'close'), false)
      server.close()
      await event(server, 'close')
    },
  ],
  [
    'texts of all encodings, buffers and what was corked arrive in order',
    async (world) => {
      const { client, other } = await connected(world)
      client.cork()
      client.write('ä€', 'utf8')
      client.write('é', 'latin1')
      client.write(Buffer.from([1, 2]))
      client.write('x', 'utf16le')
      client.write('')
      client.write('6869', 'hex')
      client.uncork()
      client.write('€', 'utf8')
      client.end('end')
      const expected = 'c3a4e282ac' + 'e9' + '0102' + '7800' + '6869' + 'e282ac' + '656e64'
      assert.equal((await received(other)).toString('hex'), expected)
      assert.equal(client.bytesWritten, expected.length / 2)
      assert.equal(other.bytesRead, expected.length / 2)
    },
  ],
  [
    'what is written before the connection is there is sent when it is',
    async (world) => {
      const { promise: accepted, resolve } = withResolvers<net.Socket>()
      const { server, path } = await listening(world, {}, resolve)
      const client = world.client.connect({ path })
      client.write('a')
      client.write('b')
      client.end('c')
      assert.equal((await received(await accepted)).toString(), 'abc')
      server.close()
    },
  ],
  [
    'much goes both ways at once, whole, and a reader that does not read holds the writer back',
    async (world) => {
      const { client, other } = await connected(world)
      const bytes = pattern(LARGE)
      assert.equal(client.write(bytes), false)
      for (let at = 0; at < LARGE; at += 10_007) other.write(bytes.subarray(at, at + 10_007))
      await immediate()
      assert(client.writableLength > 0, 'nothing is read yet: it waits')
      const drained = event(client, 'drain')
      const all = Promise.all([untilEnd(client), untilEnd(other)])
      await drained
      client.end()
      other.end()
      const [back, forth] = await all
      assert.deepEqual([back.length, forth.length], [LARGE, LARGE])
      assert.deepEqual([digest(back), digest(forth)], [digest(bytes), digest(bytes)])
      assert.deepEqual([client.bytesWritten, client.bytesRead], [LARGE, LARGE])
    },
  ],
  [
    'a paused reader is given nothing until it resumes',
    async (world) => {
      const { client, other } = await connected(world)
      let bytes = 0
      other.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        other.pause()
      })
      client.write(pattern(LARGE))
      await event(other, 'pause')
      for (let i = 0; i < 20; i++) await immediate()
      assert(bytes > 0 && bytes <= 65_536, `${bytes} in one event`)
      other.removeAllListeners('data').on('data', (chunk: Buffer) => {
        bytes += chunk.length
      })
      other.resume()
      client.end()
      await event(other, 'end')
      assert.equal(bytes, LARGE)
    },
  ],
  [
    'whoever ends first hears finish, end, close; the other hears end, finish, close',
    async (world) => {
      const { client, other } = await connected(world)
      const log = new Log()
      for (const [socket, who] of [
        [client, 'client'],
        [other, 'server'],
      ] as const) {
        log.on(socket, who, ['finish', 'end', 'close', 'error'])
        socket.resume()
      }
      client.end('bye')
      await Promise.all([event(client, 'close'), event(other, 'close')])
      assert.deepEqual(log.of('client'), ['finish', 'end', 'close'])
      assert.deepEqual(log.of('server'), ['end', 'finish', 'close'])
    },
  ],
  [
    'a half that is open goes on when the other has ended',
    async (world) => {
      const { client, other } = await connected(world, { allowHalfOpen: true })
      client.end('question')
      assert.equal((await untilEnd(other)).toString(), 'question')
      assert.equal(other.readyState, 'writeOnly')
      other.write('answer ')
      await immediate()
      other.end('late')
      assert.equal((await received(client)).toString(), 'answer late')
    },
  ],
  [
    'a socket that is idle tells so, and goes on',
    async (world) => {
      const { client, other } = await connected(world)
      client.setTimeout(5)
      await event(client, 'timeout')
      client.setTimeout(0)
      client.end('still there')
      assert.equal((await received(other)).toString(), 'still there')
    },
  ],
  [
    'writing to whoever is gone is EPIPE',
    async (world) => {
      const { client, other } = await connected(world, { allowHalfOpen: true })
      other.destroy()
      await event(other, 'close')
      client.write('x')
      const { code, syscall } = await event<Failure>(client, 'error')
      assert.deepEqual([code, syscall], ['EPIPE', 'write'])
      assert.equal(client.destroyed, true)
    },
  ],
  [
    'a peer that goes with something unread resets the connection',
    async (world) => {
      const { client, other } = await connected(world, { pauseOnConnect: true })
      client.write('unread')
      client.resume()
      other.destroy()
      const { code, syscall } = await event<Failure>(client, 'error')
      assert.deepEqual([code, syscall], ['ECONNRESET', 'read'])
    },
  ],
  [
    'destroying with an error tells it, and close says that there was one',
    async (world) => {
      const { client, other } = await connected(world)
      const failed = event(client, 'error')
      other.resume()
      const closed = event(client, 'close')
      client.write(pattern(LARGE))
      const reason = new Error('enough')
      client.destroy(reason)
      assert.equal(await failed, reason)
      assert.equal(await closed, true)
      await event(other, 'close')
    },
  ],
  [
    'a path that nobody has made is ENOENT',
    async (world) => {
      const path = newPath()
      assert.deepEqual(await refusal(world.client.connect({ path })), {
        code: 'ENOENT',
        syscall: 'connect',
        address: path,
        port: undefined,
        message: `connect ENOENT ${path}`,
      })
    },
  ],
  [
    'a path that this user may not write to is EACCES',
    async (world) => {
      const { server, path } = await listening(world)
      chmodSync(path, 0o444)
      const isRoot = process.geteuid!() === 0
      // Nobody, as long as the system call takes.
      if (isRoot) process.seteuid!(65_534)
      let client: net.Socket
      try {
        client = world.client.connect({ path })
      } finally {
        if (isRoot) process.seteuid!(0)
      }
      const refused = await refusal(client)
      assert.deepEqual([refused.code, refused.syscall, refused.address], ['EACCES', 'connect', path])
      server.close()
    },
  ],
  [
    'a file that a server has left is ECONNREFUSED, and EADDRINUSE for the next server',
    async (world) => {
      const { server, path } = await listening(world)
      // Its file stays under another name.
      const stale = newPath()
      linkSync(path, stale)
      server.close()
      await event(server, 'close')
      const refused = await refusal(world.client.connect({ path: stale }))
      assert.deepEqual([refused.code, refused.syscall, refused.address], ['ECONNREFUSED', 'connect', stale])
      const inUse = await refusal(world.server.createServer({}).listen(stale))
      assert.deepEqual([inUse.code, inUse.syscall, inUse.address, inUse.port], ['EADDRINUSE', 'listen', stale, -1])
      assert.equal(inUse.message, `listen EADDRINUSE: address already in use ${stale}`)
      assert(existsSync(stale), 'a server that could not listen removes nothing')
    },
  ],
  [
    'the longest path there can be is one',
    async (world) => {
      const path = join(folder, '').padEnd(106, 'y')
      const server = world.server.createServer({}, (socket) => socket.end('here')).listen(path)
      await event(server, 'listening')
      assert.equal((await received(world.client.connect({ path }))).toString(), 'here')
      server.close()
      await event(server, 'close')
      assert(!existsSync(path))
    },
  ],
  [
    'a server in a folder that is not there is EACCES',
    async (world) => {
      const refused = await refusal(world.server.createServer({}).listen(join(folder, 'no', 'socket')))
      assert.deepEqual([refused.code, refused.syscall], ['EACCES', 'listen'])
    },
  ],
  [
    'a server that closes removes its path, and ends when its last connection has',
    async (world) => {
      const { promise: accepted, resolve } = withResolvers<net.Socket>()
      const { server, path } = await listening(world, {}, resolve)
      const client = world.client.connect({ path })
      const other = await accepted
      const count = await new Promise((resolve) => server.getConnections((_error, connections) => resolve(connections)))
      assert.equal(count, 1)
      let isClosed = false
      server.close(() => {
        isClosed = true
      })
      assert(!existsSync(path))
      await immediate()
      assert.equal(isClosed, false)
      other.resume()
      client.end()
      await event(server, 'close')
    },
  ],
  [
    'readableAll and writableAll open the path for all',
    async (world) => {
      const path = newPath()
      const server = world.server.createServer({}).listen({ path, readableAll: true, writableAll: true })
      await event(server, 'listening')
      assert.equal(statSync(path).mode & 0o666, 0o666)
      server.close()
    },
  ],
  [
    'a server takes no more connections than it is told',
    async (world) => {
      const { server, path } = await listening(world, {}, (socket) => socket.resume())
      server.maxConnections = 1
      const first = world.client.connect({ path })
      await event(first, 'connect')
      const dropped = event(server, 'drop')
      const second = world.client.connect({ path })
      second.on('error', () => {})
      await Promise.all([dropped, event(second, 'close')])
      first.destroy()
      server.close()
      await event(server, 'close')
    },
  ],
  [
    "bytes can be put into one buffer of the program's",
    async (world) => {
      const { server, path } = await listening(world, {}, (socket) => socket.end(pattern(100_000)))
      const chunks: Buffer[] = []
      const onread = {
        buffer: Buffer.alloc(1000),
        callback: (bytes: number, buffer: Uint8Array) => {
          chunks.push(Buffer.from(buffer.subarray(0, bytes)))
          return true
        },
      }
      const client = world.client.connect({ path, onread })
      await event(client, 'close')
      assert.equal(digest(Buffer.concat(chunks)), digest(pattern(100_000)))
      assert(chunks.every(({ length }) => length <= 1000))
      server.close()
    },
  ],
  [
    'http goes over it',
    async (world) => {
      const web = http.createServer((request, response) => request.pipe(response))
      const { server, path } = await listening(world, {}, (socket) => void web.emit('connection', socket))
      const agent = new http.Agent({ keepAlive: true })
      Object.assign(agent, { createConnection: () => world.client.connect({ path }) })
      for (const text of ['one', 'x'.repeat(300_000), 'three']) {
        const request = http.request({ agent, method: 'POST' }).end(text)
        const [response] = (await once(request, 'response')) as [http.IncomingMessage]
        let body = ''
        for await (const chunk of response.setEncoding('utf8')) body += chunk
        assert.equal(body, text)
      }
      agent.destroy()
      web.close()
      server.close()
    },
  ],
  [
    'tls and http2 go over it',
    async (world) => {
      const secure = http2.createSecureServer({ key: KEY, cert: CERTIFICATE })
      secure.on('stream', (stream) => {
        stream.respond({ ':status': 200 })
        stream.pipe(stream)
      })
      const { server, path } = await listening(world, {}, (socket) => void secure.emit('connection', socket))
      const plain = world.client.connect({ path })
      const createConnection = () =>
        tls.connect({ socket: plain, ca: CERTIFICATE, servername: 'localhost', ALPNProtocols: ['h2'] })
      const session = http2.connect('https://localhost', { createConnection })
      const stream = session.request({ ':method': 'POST' })
      const bytes = pattern(200_000)
      stream.end(bytes)
      const chunks: Buffer[] = []
      for await (const chunk of stream) chunks.push(chunk as Buffer)
      assert.equal(digest(Buffer.concat(chunks)), digest(bytes))
      session.destroy()
      await event(plain, 'close')
      server.close()
    },
  ],
]

const skip = libcUnavailable()

describe('sockets on a path', { skip }, () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'damselfly-unix-'))
    chmodSync(folder, 0o755)
  })
  after(() => rmSync(folder, { recursive: true }))
  for (const world of WORLDS) {
    describe(world.name, () => {
      for (const [name, run] of cases) test(name, { timeout: 20_000 }, () => run(world))
    })
  }
  test('a path that is too long is EINVAL, for a client and a server, and none that is shorter is made', async () => {
    const path = join(folder, 'x'.repeat(120))
    const refused = await refusal(unix.connect(path))
    assert.deepEqual([refused.code, refused.syscall], ['EINVAL', 'connect'])
    const unheard = await refusal(unix.createServer().listen(path))
    assert.deepEqual([unheard.code, unheard.syscall, unheard.address], ['EINVAL', 'listen', path])
    assert(!existsSync(path.slice(0, 108)))
  })

  test('what is no path is refused with what to give', () => {
    const sentence = { code: 'EINVAL', message: /give one/ }
    assert.throws(() => unix.createServer().listen(80), sentence)
    assert.throws(() => unix.createServer().listen('80'), sentence)
    assert.throws(() => unix.connect({ port: 80 } as never), sentence)
    assert.throws(() => unix.connect('/tmp/x', { receiveTraces: { burst: 0 } }), {
      code: 'EINVAL',
      message: /burst of 1/,
    })
  })
})
