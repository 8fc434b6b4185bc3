import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import * as http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setImmediate as immediate } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { libcUnavailable } from '../../device/linux/library.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import { UnixLoop } from './loop.ts'
import { type UnixServerOptions, type UnixSocket, type UnixSocketOptions, unix } from './main.ts'

const skip = libcUnavailable()
const LARGE = 2 * 1024 * 1024

let folder = ''
let paths = 0

/** A chain that can be told from others. */
const named = (name: string): Chain => ({
  hops: [{ kind: 'process', cpu: 0, to: name, atUs: 0, id: 0, frames: [] }],
  end: 'origin',
})
const nameOf = (chain: Chain | undefined) => chain?.hops[0]?.to

/** Two ends: what the writer writes has the trace that `next` names. */
interface Pair {
  readonly writer: UnixSocket
  readonly reader: UnixSocket
  next: string | undefined
}

async function pair(options: UnixSocketOptions = {}, serverOptions: UnixServerOptions = {}): Promise<Pair> {
  const path = join(folder, `${++paths}.sock`)
  const made = { next: undefined } as { -readonly [name in keyof Pair]: Pair[name] }
  const trace = () => (made.next === undefined ? undefined : named(made.next))
  const server = unix.createServer({ pauseOnConnect: true, ...serverOptions }).listen(path)
  made.writer = unix.connect(path, { trace, ...options })
  const accepted = once(server, 'connection') as Promise<[UnixSocket]>
  await once(made.writer, 'connect')
  made.reader = (await accepted)[0]
  server.close()
  return made
}

function write(made: Pair, name: string | undefined, text: string | Buffer): void {
  made.next = name
  made.writer.write(text)
}

async function end({ writer, reader }: Pair): Promise<void> {
  writer.end()
  reader.resume().end()
  writer.resume()
  await Promise.all([once(writer, 'close'), once(reader, 'close')])
}

/** What comes, with the name of its trace. */
function log(reader: UnixSocket): string[] {
  const entries: string[] = []
  reader.on('data', (chunk) => entries.push(`${chunk}:${nameOf(reader.lastTrace()) ?? 'none'}`))
  return entries
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await immediate()
}

/** What the process has of ours. A worker's loop opens other things. */
function socketsAndFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const name = readlinkSync(`/proc/self/fd/${descriptor}`)
      return /^socket:|memfd:trace/.test(name) ? [name] : []
    } catch {
      return []
    }
  })
}

describe('the trace of what is read', { skip }, () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'damselfly-unix-'))
  })
  after(() => rmSync(folder, { recursive: true }))

  test('in a data event it is that of the event, and none where the bytes came without', async () => {
    const made = await pair()
    const entries = log(made.reader.resume() as UnixSocket)
    assert.equal(made.reader.lastTrace(), undefined)
    for (const [i, name] of ['a', 'b', undefined, 'a'].entries()) {
      write(made, name, `${i}`)
      await until(() => entries.length > i)
    }
    assert.deepEqual(entries, ['0:a', '1:b', '2:none', '3:a'])
    assert.equal(nameOf(made.reader.lastTrace()), 'a')
    await end(made)
  })

  test('writes that wait unread are told apart by their traces, and those without go together', async () => {
    const made = await pair()
    for (const name of ['a', 'b', undefined, undefined, 'c']) write(made, name, `${name ?? '-'}`)
    const entries = log(made.reader.resume() as UnixSocket)
    await until(() => entries.join('').includes('c'))
    assert.deepEqual(entries, ['a:a', 'b:b', '--c:c'])
    await end(made)
  })

  test('of what is read piece by piece it is that of the piece', async () => {
    const made = await pair()
    const { reader } = made
    write(made, 'a', 'aaaa')
    write(made, 'b', 'bbbb')
    reader.on('readable', () => {})
    await until(() => reader.readableLength === 8)
    assert.equal(reader.lastTrace(), undefined, 'nothing was read yet')
    const seen: unknown[] = []
    for (const count of [2, 2, 1, 3]) seen.push(String(reader.read(count)), nameOf(reader.lastTrace()))
    assert.deepEqual(seen, ['aa', 'a', 'aa', 'a', 'b', 'b', 'bbb', 'b'])
    await end(made)
  })

  test('an iterator is told that of each chunk, though more has come', async () => {
    const made = await pair()
    for (const name of ['a', 'b', 'c']) write(made, name, name)
    made.writer.end()
    const seen: unknown[] = []
    for await (const chunk of made.reader) {
      for (let i = 0; i < 5; i++) await immediate()
      // Node gives together what has come meanwhile.
      assert.equal(nameOf(made.reader.lastTrace()), String(chunk).at(-1))
      seen.push(String(chunk))
    }
    assert.equal(seen[0], 'a')
    assert.equal(seen.join(''), 'abc')
  })

  test('characters of several bytes do not shift it', async () => {
    const made = await pair()
    made.reader.setEncoding('utf8')
    for (const name of ['a', 'b', 'c']) write(made, name, `€ü${name}`)
    made.reader.on('readable', () => {})
    await until(() => made.reader.readableLength === 9)
    const seen: unknown[] = []
    for (let i = 0; i < 3; i++) seen.push(made.reader.read(3), nameOf(made.reader.lastTrace()))
    assert.deepEqual(seen, ['€üa', 'a', '€üb', 'b', '€üc', 'c'])
    await end(made)
  })

  test('a long write has it to its last byte, whatever size it is read in', async () => {
    const made = await pair()
    const entries: unknown[] = []
    let bytes = 0
    made.reader.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      entries.push(nameOf(made.reader.lastTrace()))
    })
    made.reader.resume()
    write(made, 'long', Buffer.alloc(LARGE))
    await until(() => bytes === LARGE)
    assert.deepEqual([...new Set(entries)], ['long'])
    await end(made)
  })

  test('a write that waits has the trace of when it was written, also with others and corked', async () => {
    const made = await pair()
    write(made, 'first', Buffer.alloc(LARGE))
    made.writer.cork()
    for (const name of ['second', 'third', undefined, 'fourth']) write(made, name, name ?? '-')
    made.writer.uncork()
    made.next = 'last'
    made.writer.end('end')
    const tail: string[] = []
    made.reader.on('data', (chunk: Buffer) => {
      if (chunk[0] !== 0) tail.push(`${chunk}:${nameOf(made.reader.lastTrace()) ?? 'none'}`)
    })
    made.reader.resume()
    await once(made.reader, 'end')
    assert.deepEqual(tail, ['second:second', 'third:third', '-fourth:fourth', 'end:last'])
  })

  test('small writes of one trace that were corked go as one', async () => {
    const made = await pair()
    const same = named('same')
    const { reader, writer } = await pair({ trace: () => same })
    writer.cork()
    for (let i = 0; i < 50; i++) writer.write(`${i},`)
    writer.uncork()
    const entries = log(reader.resume() as UnixSocket)
    await until(() => entries.length > 0)
    assert.equal(entries.length, 1)
    assert.equal(writer.traces.sent, 1)
    await Promise.all([end(made), end({ writer, reader, next: undefined })])
  })

  test('what cannot be written does not shift those of the others', async () => {
    const made = await pair()
    made.next = 'wrong'
    assert.throws(() => made.writer.write(null as never), { code: 'ERR_STREAM_NULL_VALUES' })
    assert.throws(() => made.writer.write(5 as never), { code: 'ERR_INVALID_ARG_TYPE' })
    const entries = log(made.reader.resume() as UnixSocket)
    write(made, 'right', 'x')
    await until(() => entries.length > 0)
    assert.deepEqual(entries, ['x:right'])
    await end(made)
  })

  test('what the function of the trace throws, write throws, and writes nothing', async () => {
    let isBroken = true
    const made = await pair({
      trace: () => {
        if (isBroken) throw new Error('no trace today')
        return named('later')
      },
    })
    assert.throws(() => made.writer.write('x'), { message: 'no trace today' })
    isBroken = false
    const entries = log(made.reader.resume() as UnixSocket)
    made.writer.write('y')
    await until(() => entries.length > 0)
    assert.deepEqual(entries, ['y:later'])
    await end(made)
  })

  test('without a function it is the stack of the call, of this process', async () => {
    const { writer, reader } = await pair({ trace: undefined })
    function aWriterByName() {
      writer.write('x')
    }
    const traces: (Chain | undefined)[] = []
    reader.on('data', () => traces.push(reader.lastTrace())).resume()
    aWriterByName()
    await until(() => traces.length > 0)
    const [hop] = traces[0]!.hops
    assert.deepEqual([hop!.process!.pid, hop!.frames[0]!.function], [process.pid, 'aWriterByName'])
    await end({ writer, reader, next: undefined })
  })

  test('whoever wants none sends none, and whoever wants none is told none', async () => {
    const silent = await pair({ trace: false })
    const deaf = await pair({}, { receiveTraces: false })
    for (const made of [silent, deaf]) {
      const entries = log(made.reader.resume() as UnixSocket)
      write(made, 'x', 'x')
      await until(() => entries.length > 0)
      assert.deepEqual(entries, ['x:none'])
      assert.equal(made.reader.traces.received, 0)
      assert.equal(
        Object.values(made.reader.traces.refused).reduce((sum, count) => sum + count),
        0,
      )
      await end(made)
    }
    assert.deepEqual([silent.writer.traces.sent, deaf.writer.traces.sent], [0, 1])
  })

  test("a limit of the receiver's own is kept", async () => {
    const made = await pair({}, { receiveTraces: { burst: 2, perSecond: 0, bytesMax: 200 } })
    const entries = log(made.reader.resume() as UnixSocket)
    for (const [i, name] of ['a', 'l'.repeat(200), 'b', 'c'].entries()) {
      write(made, name, `${i}`)
      await until(() => entries.length > i)
    }
    assert.deepEqual(entries, ['0:a', '1:none', '2:none', '3:none'])
    const { size, rate } = made.reader.traces.refused
    assert.deepEqual([size, rate], [1, 2])
    await end(made)
  })

  test('traces of the same content are one file, and no file stays when the last socket is closed', async () => {
    const loop = UnixLoop.ofThread()
    const descriptors = readdirSync('/proc/self/fd').length
    const made = await pair()
    let bytes = 0
    made.reader.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    made.reader.resume()
    for (let i = 0; i < 300; i++) write(made, `trace ${i % 3}`, 'x')
    await until(() => bytes === 300)
    assert.equal(loop.files.size, 3)
    for (let i = 0; i < 300; i++) write(made, `other ${i}`, 'x')
    await until(() => bytes === 600)
    assert.equal(loop.files.size, 64)
    await end(made)
    await until(() => loop.lingering.size === 0)
    assert.equal(loop.files.size, 0)
    assert.equal(readdirSync('/proc/self/fd').length, descriptors)
  })

  test("an HTTP server's request tells it by its socket", async () => {
    const path = join(folder, `${++paths}.sock`)
    const web = http.createServer((request, response) =>
      response.end(nameOf((request.socket as UnixSocket).lastTrace())),
    )
    const server = unix.createServer((socket) => void web.emit('connection', socket)).listen(path)
    const agent = new http.Agent()
    Object.assign(agent, { createConnection: () => unix.connect(path, { trace: () => named('asker') }) })
    const [response] = (await once(http.get({ agent }), 'response')) as [http.IncomingMessage]
    let body = ''
    for await (const chunk of response.setEncoding('utf8')) body += chunk
    assert.equal(body, 'asker')
    server.close()
    web.close()
  })

  test('whoever reads into a buffer of its own is told it in its callback', async () => {
    const path = join(folder, `${++paths}.sock`)
    const server = unix
      .createServer({ trace: () => named('teller') }, (socket) => socket.end('0123456789'))
      .listen(path)
    const seen: string[] = []
    const socket: UnixSocket = unix.connect(path, {
      onread: {
        buffer: Buffer.alloc(4),
        callback: (bytes: number, buffer: Uint8Array) => {
          seen.push(`${Buffer.from(buffer.subarray(0, bytes))}:${nameOf(socket.lastTrace())}`)
          return true
        },
      },
    })
    await once(socket, 'close')
    assert.deepEqual(seen, ['0123:teller', '4567:teller', '89:teller'])
    server.close()
  })

  test('a worker that ends leaves no descriptor in the process', { timeout: 20_000 }, async () => {
    const main = new URL('./main.js', import.meta.url).href
    const path = join(folder, `${++paths}.sock`)
    const program = `import(${JSON.stringify(main)}).then(({ unix }) => {
      unix.createServer((socket) => socket.on('data', () => process.exit())).listen(${JSON.stringify(path)}, () => {
        unix.connect(${JSON.stringify(path)}).write('x')
      })
    })`
    const before = new Set(socketsAndFiles())
    const worker = new Worker(program, { eval: true })
    await once(worker, 'exit')
    assert.deepEqual(
      socketsAndFiles().filter((name) => !before.has(name)),
      [],
    )
  })

  test('what is printed of a socket does not show what it knows of traces', async () => {
    const made = await pair()
    assert.deepEqual(
      Object.keys(made.reader).filter((key) => /trace/i.test(key)),
      [],
    )
    assert(made.reader instanceof Object.getPrototypeOf(made.writer).constructor)
    await end(made)
  })
})
