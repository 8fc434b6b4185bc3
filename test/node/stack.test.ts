// What a Node program does in its callbacks knows what led to it: the stacks of its errors go on through the stack and the network to
// the other host.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { createHost, createNetwork, type Host } from '../../src/node/host.ts'

const network = createNetwork({ seed: 1 })
let server: Host
let client: Host

before(async () => {
  server = await createHost({ address: '10.0.0.2/24', network })
  client = await createHost({ address: '10.0.0.1/24', network })
  server.setTraceMode('all')
  await new Promise((resolve) => setImmediate(resolve))
})
after(async () => {
  await client.close()
  await server.close()
  await network.close()
})

const stack = () => new Error('here').stack ?? ''
/** From a packet, over the wire, to the port that it came from. */
const fromPort = (kind: string, port: number | undefined) =>
  new RegExp(
    `^Error: here\\n {4}at stack [\\s\\S]*\\npacket received by cpu \\d+ from eth0, [^\\n]*\\ntransmitted by cpu \\d+ to network\\.1, [^\\n]*\\n${kind} port ${port},`,
  )
async function listening(onConnection: (text: string) => void, onData: (text: string) => void) {
  const listener = server.net.createServer((socket) => {
    onConnection(stack())
    socket.on('data', () => {
      onData(stack())
      socket.end()
    })
  })
  listener.listen(0)
  await once(listener, 'listening')
  return { listener, target: { host: '10.0.0.2', port: (listener.address() as AddressInfo).port } }
}

test("a 'connection' and a 'data' callback know of which packet they came, and that of which segment of the peer", async () => {
  let connection = ''
  let data = ''
  const { listener, target } = await listening(
    (text) => {
      connection = text
    },
    (text) => {
      data = text
    },
  )
  const socket = client.net.connect(target)
  await once(socket, 'connect')
  const port = socket.localPort
  socket.write('hello')
  socket.resume()
  await once(socket, 'close')
  assert.match(connection, fromPort('segment sent by cpu 1 from tcp', port))
  assert.match(data, fromPort('segment sent by cpu 1 from tcp', port))
  listener.close()
})

test('what a callback puts off, by nextTick or a promise, knows it too; what it leaves to a timer does not', async () => {
  const stacks: string[] = []
  const { listener, target } = await listening(
    () => {},
    () => {
      process.nextTick(() => stacks.push(stack()))
      void Promise.resolve().then(() => stacks.push(stack()))
      setTimeout(() => stacks.push(stack()), 1)
    },
  )
  const socket = client.net.connect(target, () => socket.write('hello'))
  await once(socket.resume(), 'close')
  while (stacks.length < 3) await new Promise((resolve) => setTimeout(resolve, 1))
  assert.deepEqual(
    stacks.map((text) => text.includes('packet received')),
    [true, true, false],
  )
  listener.close()
})

test('each of two connections that come at once is told with its own cause', async () => {
  const stacks: string[] = []
  const { listener, target } = await listening(
    (text) => stacks.push(text),
    () => {},
  )
  const sockets = [client.net.connect(target), client.net.connect(target)]
  while (stacks.length < 2) await new Promise((resolve) => setTimeout(resolve, 1))
  for (const [i, socket] of sockets.entries()) {
    assert.match(stacks[i]!, fromPort('segment sent by cpu 1 from tcp', socket.localPort))
  }
  for (const socket of sockets) socket.destroy()
  listener.close()
})

test('a request of http and a datagram know who sent them', async () => {
  let request = ''
  const web = server.http.createServer((_request, response) => {
    request = stack()
    response.end('well')
  })
  web.listen(0)
  await once(web, 'listening')
  const { port } = web.address() as AddressInfo
  function asks() {
    return client.http.request({ host: '10.0.0.2', port }).end()
  }
  const [response] = (await once(asks(), 'response')) as [NodeJS.ReadableStream]
  response.resume()
  await once(response, 'end')
  assert.match(request, /\npacket received by cpu/)
  assert.match(request, /\nsegment sent by cpu/)

  let datagram = ''
  const socket = server.dgram.createSocket('udp4', () => {
    datagram = stack()
    socket.close()
  })
  socket.bind(0)
  await once(socket, 'listening')
  const sender = client.dgram.createSocket('udp4').bind(0)
  await once(sender, 'listening')
  const own = sender.address().port
  sender.send('hello', socket.address().port, '10.0.0.2')
  await once(socket, 'close')
  sender.close()
  web.close()
  assert.match(datagram, fromPort('datagram sent by cpu 1 from udp', own))
})

test("outside of callbacks a program's errors tell nothing of queues", async () => {
  await new Promise((resolve) => setImmediate(resolve))
  assert.doesNotMatch(stack(), /earlier:/)
  assert.deepEqual(server.where().hops, [])
})

test('an error that a callback throws ends the program, and tells of which packet it came', () => {
  const main = new URL('../../src/node/main.js', import.meta.url).href
  const program = `
    import { createHost, createNetwork } from ${JSON.stringify(main)}
    const network = createNetwork()
    const server = await createHost({ address: '10.0.0.2/24', network })
    const client = await createHost({ address: '10.0.0.1/24', network })
    server.setTraceMode('all')
    server.net.createServer((socket) => socket.on('data', function reads() { throw new Error('cannot') })).listen(80)
    setImmediate(() => {
      const socket = client.net.connect(80, '10.0.0.2', () => socket.write('x'))
    })`
  const { stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    encoding: 'utf8',
    timeout: 20_000,
  })
  assert.equal(status, 1)
  assert.match(stderr, /Error: cannot\n {4}at [^\n]*reads[\s\S]*\npacket received by cpu[\s\S]*\nsegment sent by cpu/)
  assert.match(stderr, /^[^\n]*\n[^\n]*function reads\(\) \{ throw new Error/, 'with its place in the source')
  const hops = stderr.split('\n').filter((line) => / by cpu \d/.test(line))
  assert.equal(new Set(hops).size, hops.length, 'once')
})
