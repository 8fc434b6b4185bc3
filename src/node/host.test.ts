// Hosts and networks by the API: what createHost and createNetwork take and refuse, what a bad link does, and the end.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { AddressInfo, Server, Socket } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { createHost, createNetwork, type Host } from './host.ts'
import { connectArguments } from './inside.ts'
import type { Network } from './network.ts'

async function all(readable: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of readable) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function listen(server: Server, port = 0): Promise<number> {
  server.listen(port)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const refuses = (what: Promise<unknown> | (() => unknown), code: string, sentence: RegExp) =>
  typeof what === 'function'
    ? assert.throws(what, { code, message: sentence })
    : assert.rejects(what, { code, message: sentence })

describe('hosts of one network', () => {
  let network: Network
  let a: Host
  let b: Host
  before(async () => {
    network = createNetwork({ seed: 1, hosts: 3 })
    a = await createHost({ name: 'a', address: '10.0.0.1/24', network })
    b = await createHost({ name: 'b', address: ['10.0.0.2/24', '10.0.1.2/24'], network })
  })
  after(() => network.close())

  test('have their own ports, at their own addresses', async () => {
    const servers = [a, b].map((host) => host.net.createServer((socket) => socket.end(host.name)))
    await Promise.all(servers.map((server) => listen(server, 80)))
    assert.equal(String(await all(a.net.connect(80, '10.0.0.2'))), 'b')
    assert.equal(String(await all(b.net.connect(80, '10.0.0.1'))), 'a')
    assert.equal(String(await all(a.net.connect(80))), 'a')
    for (const server of servers) server.close()
  })

  test('change how they come to work on connections, and no program notices', async () => {
    const server = a.net.createServer((socket) => socket.pipe(socket))
    const port = await listen(server)
    const socket = b.net.connect(port, '10.0.0.1')
    let echoed = ''
    socket.on('data', (chunk) => {
      echoed += String(chunk)
    })
    for (const [discipline, groups] of [['giant'], ['connp-l', 3], ['msgp'], ['connp-t']] as const) {
      await Promise.all([a.setDiscipline(discipline, groups), b.setDiscipline(discipline, groups)])
      socket.write(`${discipline} `)
    }
    socket.end()
    await once(socket, 'close')
    assert.equal(echoed, 'giant connp-l msgp connp-t ')
    server.close()
    await refuses(() => a.setDiscipline('connp-t', 3), 'EINVAL', /groups is 3, which is for connp-l/)
    await refuses(() => a.setDiscipline('mine' as 'giant'), 'EINVAL', /discipline is "mine": give one of giant, msgp/)
  })

  test('reach each other by routes', async () => {
    const network = createNetwork({ seed: 1 })
    const near = await createHost({
      name: 'near',
      address: '10.0.0.1/24',
      network,
      routes: [{ prefix: '10.0.1.0/24', gateway: '10.0.0.2' }],
    })
    const far = await createHost({ name: 'far', address: ['10.0.0.2/24', '10.0.1.2/24'], network })
    const server = far.net.createServer((socket) => socket.end(String(socket.localAddress)))
    const port = await listen(server)
    assert.equal(String(await all(near.net.connect(port, '10.0.1.2'))), '10.0.1.2')
    await near.close()
    await far.close()
    await network.close()
  })

  test('give web streams', async () => {
    const server = b.net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket))
    const port = await listen(server)
    const { readable, writable } = await a.connectWebStreams({ hostname: '10.0.0.2', port })
    const writer = writable.getWriter()
    await writer.write(Buffer.from('by streams'))
    await writer.close()
    assert.equal(String(await all(readable)), 'by streams')
    await assert.rejects(a.connectWebStreams({ hostname: '10.0.0.2', port: 1 }), { code: 'ECONNREFUSED' })
    server.close()
  })

  test('take servers that others have made', async () => {
    const { createServer } = await import('node:net')
    const server = a.adopt(createServer((socket) => socket.end('adopted')))
    const port = await listen(server)
    assert.equal(String(await all(b.net.connect({ port, host: '10.0.0.1' }))), 'adopted')
    server.close()
  })

  test('make sockets that are sockets of net', async () => {
    const { Socket } = await import('node:net')
    const socket = new a.net.Socket()
    assert.ok(socket instanceof Socket)
    assert.throws(() => socket.connect('/a/path'), { code: 'EINVAL' })
    assert.throws(() => a.dgram.createSocket({ type: 'udp6' } as never), { code: 'EAFNOSUPPORT' })
  })

  test('are refused where they cannot be', async () => {
    await refuses(createHost({ address: '10.0.0.9/24' }), 'EINVAL', /give network, or tun/)
    await refuses(createHost({ address: '10.0.0.9/24', network, tun: {} }), 'EINVAL', /give network, or tun/)
    await refuses(createHost({ address: [], network }), 'EINVAL', /a host has an address/)
    await refuses(createHost({ address: '10.0.0.9', network }), 'EINVAL', /10.0.0.9/)
    await refuses(createHost({ name: 'a', address: '10.0.0.9/24', network }), 'EEXIST', /give each a name/)
    const third = await createHost({ address: '10.0.0.3/24', network })
    assert.equal(third.name, '10.0.0.3/24')
    await refuses(createHost({ address: '10.0.0.4/24', network }), 'ENOSPC', /createNetwork\(\{ hosts: … \}\)/)
    await refuses(
      createHost({ address: ['10.0.0.4/24', '10.0.1.4/24'], tun: {} }),
      'EINVAL',
      /one address, and no other route/,
    )
  })
})

describe('a network', () => {
  test('is refused where it cannot be', () => {
    refuses(() => createNetwork({ loss: 2 }), 'EINVAL', /loss is 2: give a share, from 0 to 1/)
    refuses(() => createNetwork({ reorder: -1 }), 'EINVAL', /reorder is -1/)
    refuses(() => createNetwork({ delayMs: -1 }), 'EINVAL', /delayMs is -1/)
    refuses(() => createNetwork({ rateBytesPerSecond: Number.NaN }), 'EINVAL', /rateBytesPerSecond is NaN/)
    refuses(() => createNetwork({ hosts: 0 }), 'EINVAL', /hosts is 0: give a whole number from 1 to 256/)
  })

  test('that nobody was plugged into has nothing to close, and takes nobody after', async () => {
    const network = createNetwork()
    await network.close()
    await refuses(createHost({ address: '10.0.0.1/24', network }), 'ENETDOWN', /is closed/)
  })

  test('carries a stream whole over loss, delay, jitter and reordering', { timeout: 60_000 }, async () => {
    const network = createNetwork({ loss: 0.05, delayMs: 1, jitterMs: 1, reorder: 0.05, seed: 4 })
    const a = await createHost({ name: 'a', address: '10.0.0.1/24', network })
    const b = await createHost({ name: 'b', address: '10.0.0.2/24', network })
    const sent = Buffer.from(Array.from({ length: 200_000 }, (_, i) => (i * 7) & 255))
    const server = b.net.createServer((socket) => socket.end(sent))
    const port = await listen(server)
    assert.ok((await all(a.net.connect(port, '10.0.0.2'))).equals(sent))
    await a.close()
    await b.close()
    await network.close()
  })

  test('of many hosts is one network', { timeout: 60_000 }, async () => {
    const count = 24
    const network = createNetwork({ hosts: count, seed: 5 })
    const hosts: Host[] = []
    for (let i = 1; i <= count; i++) hosts.push(await createHost({ address: `10.0.0.${i}/24`, network }))
    const servers = hosts.map((host) => host.net.createServer((socket) => socket.end(host.name)))
    await Promise.all(servers.map((server) => listen(server, 80)))
    const answers = await Promise.all(
      hosts.map(async (host, i) => String(await all(host.net.connect(80, `10.0.0.${((i + 1) % count) + 1}`)))),
    )
    assert.deepEqual(
      answers,
      hosts.map((_, i) => `10.0.0.${((i + 1) % count) + 1}/24`),
    )
    await Promise.all(hosts.map((host) => host.close()))
    await network.close()
  })

  test('that is closed leaves nothing that keeps the process', async () => {
    const kinds = () => process.getActiveResourcesInfo().toSorted()
    const before = kinds()
    const network = createNetwork()
    const host = await createHost({ address: '10.0.0.1/24', network })
    const server = host.net.createServer(() => {})
    const port = await listen(server)
    const socket: Socket = host.net.connect(port)
    await once(socket, 'connect')
    const closed = Promise.all([once(server, 'close'), once(socket, 'close')])
    await host.close()
    await closed
    await network.close()
    await new Promise((resolve) => setImmediate(resolve))
    assert.deepEqual(kinds(), before)
  })
})

test('arguments of connect are taken in all their forms', () => {
  const listener = () => {}
  assert.deepEqual([...connectArguments([80, 'host', listener])], [{ port: 80, host: 'host' }, listener])
  assert.deepEqual([...connectArguments([{ port: 80 }])], [{ port: 80 }, null])
  assert.deepEqual([...connectArguments(['/path', listener])], [{ path: '/path' }, listener])
})
