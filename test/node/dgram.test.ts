// What Node's documentation of dgram says of the order of events, of errors and of defaults: on the kernel, and on our stack.
import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import type { RemoteInfo, Socket } from 'node:dgram'
import { once } from 'node:events'
import { type Case, event, inAllWorlds, Log, type Side, type World } from './world.ts'

type Failure = NodeJS.ErrnoException & { address?: string; port?: number }

async function bound(side: Side, address: string, port = 0): Promise<Socket> {
  const socket = side.dgram.createSocket('udp4')
  socket.bind(port, address)
  await event(socket, 'listening')
  return socket
}

const serverOf = (world: World) => bound(world.server, world.address)
const clientOf = (world: World) => bound(world.client, world.clientAddress)

async function message(socket: Socket): Promise<{ text: string; from: RemoteInfo }> {
  const [bytes, from] = (await once(socket, 'message')) as [Buffer, RemoteInfo]
  return { text: bytes.toString(), from }
}

/** What `send` calls back with. */
function sent(socket: Socket, ...parameters: unknown[]): Promise<{ error: Failure | null; bytes: number }> {
  return new Promise((resolve) => {
    const send = socket.send as unknown as (...parameters: unknown[]) => void
    send.call(socket, ...parameters, (error: Failure | null, bytes: number) => resolve({ error, bytes }))
  })
}

const cases: readonly Case[] = [
  [
    'a message comes with its sender and its size',
    async (world) => {
      const [server, client] = [await serverOf(world), await clientOf(world)]
      const { port } = server.address()
      const { error, bytes } = await sent(client, 'hello', port, world.address)
      assert.deepEqual([error, bytes], [null, 5])
      const { text, from } = await message(server)
      assert.equal(text, 'hello')
      assert.deepEqual(from, { address: world.clientAddress, family: 'IPv4', port: client.address().port, size: 5 })
      client.close()
      server.close()
    },
  ],
  [
    'a socket that sends without an address of its own is given one, and hears listening',
    async (world) => {
      const server = await serverOf(world)
      const client = world.client.dgram.createSocket('udp4')
      const log = new Log()
      log.on(client, 'client', ['listening'])
      client.send('first', server.address().port, world.address)
      const { from } = await message(server)
      assert.deepEqual(log.entries, ['client listening'])
      assert.equal(from.port, client.address().port)
      assert.equal(client.address().address, '0.0.0.0')
      client.close()
      server.close()
    },
  ],
  [
    'messages of one socket keep their borders and their order',
    async (world) => {
      const [server, client] = [await serverOf(world), await clientOf(world)]
      const texts = Array.from({ length: 100 }, (_, i) => `message ${i}`)
      const got: string[] = []
      server.on('message', (bytes) => got.push(bytes.toString()))
      for (const text of texts) client.send(text, server.address().port, world.address)
      while (got.length < texts.length) await event(server, 'message')
      assert.deepEqual(got, texts)
      client.close()
      server.close()
    },
  ],
  [
    'a list of buffers, a part of one, and nothing at all are a message each',
    async (world) => {
      const [server, client] = [await serverOf(world), await clientOf(world)]
      const { port } = server.address()
      assert.equal(
        (await sent(client, ['one ', Buffer.from('and '), new Uint8Array([50])], port, world.address)).bytes,
        9,
      )
      assert.equal((await message(server)).text, 'one and 2')
      client.send(Buffer.from('0123456789'), 2, 3, port, world.address)
      assert.equal((await message(server)).text, '234')
      client.send('', port, world.address)
      const { text, from } = await message(server)
      assert.deepEqual([text, from.size], ['', 0])
      client.close()
      server.close()
    },
  ],
  [
    'the longest message arrives, and a longer one is EMSGSIZE',
    async (world) => {
      const [server, client] = [await serverOf(world), await clientOf(world)]
      const { port } = server.address()
      const longest = Buffer.alloc(65_507, 'x')
      client.send(longest, port, world.address)
      assert.equal((await message(server)).text, longest.toString())
      const { error } = await sent(client, Buffer.alloc(65_508), port, world.address)
      assert.deepEqual(
        [error?.code, error?.syscall, error?.address, error?.port],
        ['EMSGSIZE', 'send', world.address, port],
      )
      client.close()
      server.close()
    },
  ],
  [
    'an answer goes back to where the message came from',
    async (world) => {
      const [server, client] = [await serverOf(world), await clientOf(world)]
      server.on('message', (bytes, from) => server.send(['re: ', bytes], from.port, from.address))
      client.send('ping', server.address().port, world.address)
      const { text, from } = await message(client)
      assert.deepEqual([text, from.address, from.port], ['re: ping', world.address, server.address().port])
      client.close()
      server.close()
    },
  ],
  [
    'a connected socket sends without a target, and hears that one only',
    async (world) => {
      const [server, stranger] = [await serverOf(world), await serverOf(world)]
      const client = world.client.dgram.createSocket('udp4')
      client.connect(server.address().port, world.address)
      await event(client, 'connect')
      assert.deepEqual(client.remoteAddress(), { address: world.address, family: 'IPv4', port: server.address().port })
      assert.equal(client.address().address, world.clientAddress)
      assert.throws(() => client.send('x', 0, 1, 9, world.address), { code: 'ERR_SOCKET_DGRAM_IS_CONNECTED' })
      client.send('to you')
      const { text, from } = await message(server)
      assert.deepEqual([text, from.port], ['to you', client.address().port])
      stranger.send('not from you', from.port, from.address)
      await sent(stranger, 'nor this', from.port, from.address)
      server.send('from you', from.port, from.address)
      assert.equal((await message(client)).text, 'from you')
      for (const socket of [client, server, stranger]) socket.close()
    },
  ],
  [
    'disconnect makes a connected socket a free one',
    async (world) => {
      const server = await serverOf(world)
      const client = await clientOf(world)
      assert.throws(() => client.disconnect(), { code: 'ERR_SOCKET_DGRAM_NOT_CONNECTED' })
      client.connect(server.address().port, world.address)
      await event(client, 'connect')
      client.disconnect()
      assert.throws(() => client.remoteAddress(), { code: 'ERR_SOCKET_DGRAM_NOT_CONNECTED' })
      client.send('free', server.address().port, world.address)
      assert.equal((await message(server)).text, 'free')
      client.close()
      server.close()
    },
  ],
  [
    'a connected socket is told that nobody is there',
    async (world) => {
      const gone = await serverOf(world)
      const { port } = gone.address()
      gone.close()
      await event(gone, 'close')
      const client = world.client.dgram.createSocket('udp4')
      client.connect(port, world.address)
      await event(client, 'connect')
      client.send('anybody?')
      const { code, syscall } = await event<Failure>(client, 'error')
      assert.deepEqual([code, syscall], ['ECONNREFUSED', 'recvmsg'])
      client.close()
    },
  ],
  [
    'a port that is taken is EADDRINUSE, with address and port; it is free after close',
    async (world) => {
      const first = await serverOf(world)
      const { port } = first.address()
      const second = world.server.dgram.createSocket('udp4')
      second.bind(port, world.address)
      const error = await event<Failure>(second, 'error')
      assert.deepEqual(
        [error.code, error.errno, error.syscall, error.address, error.port, error.message],
        ['EADDRINUSE', -98, 'bind', world.address, port, `bind EADDRINUSE ${world.address}:${port}`],
      )
      first.close()
      await event(first, 'close')
      second.bind(port, world.address)
      await event(second, 'listening')
      assert.equal(second.address().port, port)
      second.close()
    },
  ],
  [
    "somebody else's address is EADDRNOTAVAIL",
    async (world) => {
      const socket = world.server.dgram.createSocket('udp4')
      socket.bind(5353, world.foreignAddress)
      const { code, syscall, address, port } = await event<Failure>(socket, 'error')
      assert.deepEqual([code, syscall, address, port], ['EADDRNOTAVAIL', 'bind', world.foreignAddress, 5353])
      socket.close()
    },
  ],
  [
    'options need a socket that is bound: EBADF, and values that can be: EINVAL',
    async (world) => {
      const unbound = world.client.dgram.createSocket('udp4')
      assert.throws(() => unbound.setTTL(10), { code: 'EBADF', syscall: 'setTTL' })
      assert.throws(() => unbound.setBroadcast(true), { code: 'EBADF', syscall: 'setBroadcast' })
      assert.throws(() => unbound.setMulticastTTL(10), { code: 'EBADF', syscall: 'setMulticastTTL' })
      assert.throws(() => unbound.address(), { code: 'EBADF', syscall: 'getsockname' })
      assert.throws(() => unbound.getRecvBufferSize(), { code: 'ERR_SOCKET_BUFFER_SIZE' })
      unbound.close()
      const socket = await clientOf(world)
      assert.equal(socket.setTTL(10), 10)
      assert.throws(() => socket.setTTL(0), { code: 'EINVAL', syscall: 'setTTL' })
      assert.throws(() => socket.setTTL(256), { code: 'EINVAL', syscall: 'setTTL' })
      assert.equal(socket.setMulticastTTL(0), 0)
      assert.throws(() => socket.setMulticastTTL(256), { code: 'EINVAL', syscall: 'setMulticastTTL' })
      socket.setBroadcast(true)
      socket.setMulticastLoopback(true)
      socket.setRecvBufferSize(10_000)
      socket.setSendBufferSize(10_000)
      assert.deepEqual([socket.getRecvBufferSize(), socket.getSendBufferSize()], [20_000, 20_000])
      assert.deepEqual([socket.getSendQueueSize(), socket.getSendQueueCount()], [0, 0])
      socket.close()
    },
  ],
  [
    'a broadcast needs leave: EACCES',
    async (world) => {
      const socket = await clientOf(world)
      const { error } = await sent(socket, 'to all', 9, '255.255.255.255')
      assert.ok(error?.code === 'EACCES' || error?.code === 'ENETUNREACH', error?.code)
      socket.close()
    },
  ],
  [
    'groups are joined and left; what is none is EINVAL, and what was not joined EADDRNOTAVAIL',
    async (world) => {
      const socket = await bound(world.client, '0.0.0.0')
      assert.throws(() => socket.addMembership('10.1.2.3', world.clientAddress), {
        code: 'EINVAL',
        syscall: 'addMembership',
      })
      socket.addMembership('224.0.0.114', world.clientAddress)
      assert.throws(() => socket.addMembership('224.0.0.114', world.clientAddress), { code: 'EADDRINUSE' })
      socket.dropMembership('224.0.0.114', world.clientAddress)
      assert.throws(() => socket.dropMembership('224.0.0.114', world.clientAddress), {
        code: 'EADDRNOTAVAIL',
        syscall: 'dropMembership',
      })
      socket.close()
    },
  ],
  [
    'close is told once, after it nothing comes, and what is asked is an error',
    async (world) => {
      const [server, client] = [await serverOf(world), await clientOf(world)]
      const log = new Log()
      log.on(server, 'server', ['message', 'close', 'error'])
      client.send('too late', server.address().port, world.address)
      server.close(() => log.add('callback'))
      await event(server, 'close')
      assert.deepEqual(log.entries, ['server close', 'callback'])
      assert.throws(() => server.close(), { code: 'ERR_SOCKET_DGRAM_NOT_RUNNING' })
      assert.throws(() => server.address(), { code: 'ERR_SOCKET_DGRAM_NOT_RUNNING' })
      client.close()
    },
  ],
  [
    'an abort closes a socket',
    async (world) => {
      const abort = new AbortController()
      const socket = world.client.dgram.createSocket({ type: 'udp4', signal: abort.signal })
      socket.bind(0, world.clientAddress)
      await event(socket, 'listening')
      const closed = event(socket, 'close')
      abort.abort()
      await closed
    },
  ],
  [
    'names are looked up, and where there is none it is an error',
    async (world) => {
      const server = await bound(world.client, '127.0.0.1')
      const client = world.client.dgram.createSocket('udp4')
      client.send('by name', server.address().port, 'localhost')
      assert.equal((await message(server)).text, 'by name')
      const lookup = (_name: string, _options: unknown, callback: (error: Error) => void) =>
        callback(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }))
      const lost = world.client.dgram.createSocket({ type: 'udp4', lookup: lookup as never })
      const failed = event<Failure>(lost, 'error')
      lost.bind(0, world.clientAddress)
      assert.equal((await failed).code, 'ENOTFOUND')
      for (const socket of [client, server, lost]) socket.close()
    },
  ],
  [
    'callbacks run in the async context of their socket, one after the other with what they put off',
    async (world) => {
      const storage = new AsyncLocalStorage<string>()
      const log: (string | undefined)[] = []
      const server = await storage.run('server', () => serverOf(world))
      server.on('message', () => {
        log.push(storage.getStore())
        process.nextTick(() => log.push('tick'))
      })
      const client = await clientOf(world)
      await storage.run('client', async () => {
        for (const text of ['a', 'b', 'c']) client.send(text, server.address().port, world.address)
        while (log.length < 6) await event(server, 'message')
      })
      assert.deepEqual(log.slice(0, 6), ['server', 'tick', 'server', 'tick', 'server', 'tick'])
      client.close()
      server.close()
    },
  ],
]

inAllWorlds('dgram', import.meta.url, cases)
