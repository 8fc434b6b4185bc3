import assert from 'node:assert/strict'
import { type IncomingHttpHeaders, request, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { after, describe, test } from 'node:test'
import { type Exposition, listensAt, serveMetrics } from './endpoint.ts'

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

function ask(
  server: Server,
  options: { path?: string; method?: string; headers?: { [name: string]: string } } = {},
): Promise<Answer> {
  const { port } = server.address() as AddressInfo
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path: '/metrics', ...options }, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.on('end', () => {
        resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(parts).toString() })
      })
    })
    asked.on('error', reject)
    asked.end()
  })
}

describe('the endpoint of the counts', () => {
  const servers: Server[] = []
  after(() => {
    for (const server of servers) server.close()
  })
  const serve = async (scrape: () => Promise<Exposition>, host = '127.0.0.1') => {
    const server = await serveMetrics({ host, port: 0 }, scrape)
    servers.push(server)
    return server
  }
  const text = async () => ({ type: 'text/plain; version=0.0.4', text: 'a 1\n' })

  test('answers with what there is, and its type', async () => {
    const server = await serve(text)
    assert.match(listensAt(server), /^127\.0\.0\.1:[1-9]\d*$/)
    const { status, headers, text: body } = await ask(server)
    assert.deepEqual([status, headers['content-type'], body], [200, 'text/plain; version=0.0.4', 'a 1\n'])
    assert.equal((await ask(server, { path: '/metrics?x=1' })).status, 200)
  })

  test('tells HEAD the same without the text', async () => {
    const { status, text: body } = await ask(await serve(text), { method: 'HEAD' })
    assert.deepEqual([status, body], [200, ''])
  })

  test('is nowhere else, and can only be read', async () => {
    const server = await serve(text)
    assert.equal((await ask(server, { path: '/' })).status, 404)
    const { status, headers } = await ask(server, { method: 'POST' })
    assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'])
  })

  test('on loopback answers only who names loopback', async () => {
    const server = await serve(text)
    const status = async (host: string) => (await ask(server, { headers: { host } })).status
    assert.deepEqual(
      await Promise.all(['localhost', 'localhost:9464', '127.0.0.1', '[::1]:9464'].map(status)),
      [200, 200, 200, 200],
    )
    assert.deepEqual(
      await Promise.all(['example.org', 'localhost.example.org:80', '10.0.0.1'].map(status)),
      [403, 403, 403],
    )
  })

  test('elsewhere answers whoever asks', async () => {
    const server = await serve(text, '0.0.0.0')
    assert.equal((await ask(server, { headers: { host: 'stats.example.org' } })).status, 200)
  })

  test('says 503 and why where there are no counts, and counts again when there are', async () => {
    let runs = false
    const server = await serve(() => (runs ? text() : Promise.reject(new Error('no damselfly runs'))))
    const { status, text: body } = await ask(server)
    assert.deepEqual([status, body], [503, 'no damselfly runs\n'])
    runs = true
    assert.equal((await ask(server)).status, 200)
  })

  test('reads the counts once for all who ask at a time', async () => {
    let readings = 0
    const waiting: (() => void)[] = []
    const server = await serve(async () => {
      readings++
      await new Promise<void>((resolve) => waiting.push(resolve))
      return text()
    })
    let arrived = 0
    const all = new Promise<void>((resolve) => server.on('request', () => ++arrived === 3 && resolve()))
    const answers = [ask(server), ask(server), ask(server)]
    await all
    assert.equal(waiting.length, 1)
    waiting.shift()!()
    assert.deepEqual(
      (await Promise.all(answers)).map(({ status }) => status),
      [200, 200, 200],
    )
    assert.equal(readings, 1)
  })

  test('survives what is no HTTP', async () => {
    const server = await serve(text)
    const { port } = server.address() as AddressInfo
    await new Promise<void>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => socket.write('\x00\xff\r\n\r\n'))
      socket.on('error', () => {})
      socket.on('close', () => resolve())
    })
    assert.equal((await ask(server)).status, 200)
  })

  test('lets go of those that say little, nothing, or more than there is room for, and goes on', async () => {
    const server = await serveMetrics({ host: '127.0.0.1', port: 0 }, text, 300)
    servers.push(server)
    const { port } = server.address() as AddressInfo
    const gone = (say: (socket: Socket) => NodeJS.Timeout | undefined) =>
      new Promise<void>((resolve) => {
        const socket = connect(port, '127.0.0.1')
        const timer = say(socket)
        socket.on('error', () => {})
        socket.resume()
        socket.on('close', () => {
          clearInterval(timer)
          resolve()
        })
      })
    await Promise.all([
      ...Array.from({ length: 20 }, () => gone(() => undefined)),
      ...Array.from({ length: 20 }, () =>
        gone((socket) => {
          socket.write('GET /metrics HTTP/1.1\r\n')
          return setInterval(() => socket.write('a: b\r\n'), 50)
        }),
      ),
      ...Array.from({ length: 20 }, () =>
        gone((socket) => {
          const more = () => socket.write('x'.repeat(1000), (error) => error ?? setImmediate(more))
          socket.write('GET /metrics?')
          more()
          return undefined
        }),
      ),
    ])
    assert.equal((await ask(server)).status, 200)
  })

  test('takes nothing of what a request brings', async () => {
    const server = await serve(text)
    for (const path of ['/metrics/../../etc/passwd', '/%2e%2e/metrics', '//metrics', '/metrics%00', '/__proto__']) {
      assert.equal((await ask(server, { path })).status, 404, path)
    }
    assert.equal((await ask(server, { path: '/metrics?__proto__[polluted]=1' })).text, 'a 1\n')
    assert.equal(({} as { polluted?: unknown }).polluted, undefined)
  })

  test('that cannot listen is a sentence', async () => {
    const { port } = (await serve(text)).address() as AddressInfo
    await assert.rejects(serveMetrics({ host: '127.0.0.1', port }, text), {
      code: 'EADDRINUSE',
      message: new RegExp(
        `^cannot listen at 127\\.0\\.0\\.1:${port} \\(.*\\): give another address or port by --listen$`,
      ),
    })
    await assert.rejects(serveMetrics({ host: '192.0.2.1', port: 0 }, text), { code: 'EADDRNOTAVAIL' })
  })
})
