// What the clients of clients.test.ts talk to: servers as anybody writes them for Node. The same file runs by node, on the
// kernel, and by `damselfly run`, on the stack. Prints "ready" when all of them listen.
import { createHash } from 'node:crypto'
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { iperf3Server } from '../examples/iperf3-server.ts'

export const Port = { echo: 7, lines: 23, http: 8080, iperf3: 5201 } as const

const CHUNK_BYTES = 64 * 1024

/** So many bytes, always the same ones, and no two chunks alike: what is lost, doubled or out of order shows. */
export function* sample(bytes: number): Generator<Buffer, void, void> {
  let word = 0x9e3779b9
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
    const chunk = new Uint32Array(CHUNK_BYTES / 4)
    for (let i = 0; i < chunk.length; i++) {
      word ^= word << 13
      word ^= word >>> 17
      word ^= word << 5
      chunk[i] = word
    }
    yield Buffer.from(chunk.buffer, 0, Math.min(left, CHUNK_BYTES))
  }
}

/** SHA-256 of a sample, or of anything else that comes in pieces. */
export async function digest(pieces: AsyncIterable<Buffer> | Iterable<Buffer>): Promise<string> {
  const hash = createHash('sha256')
  for await (const piece of pieces) hash.update(piece)
  return hash.digest('hex')
}

function echo(): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  })
}

/** Answers each line with its number and its characters in reverse. */
function lines(): Server {
  return createServer({ noDelay: true }, (socket) => {
    let count = 0
    let rest = ''
    socket.setEncoding('utf8')
    socket.on('error', () => {})
    socket.on('data', (text: string) => {
      const all = (rest + text).split('\n')
      rest = all.pop()!
      for (const line of all) socket.write(`${count++} ${[...line].reverse().join('')}\n`)
    })
  })
}

/** GET /bytes/N gives a sample of N bytes; PUT /sum takes anything and answers its digest; all else is a hello. */
function http(): HttpServer {
  return createHttpServer((request, response) => {
    const [, count] = /^\/bytes\/(\d+)$/.exec(request.url ?? '') ?? []
    // A client that goes away in the middle is its own affair.
    response.on('error', () => {})
    if (count !== undefined) {
      response.setHeader('Content-Length', count)
      Readable.from(sample(Number(count)), { objectMode: false })
        .on('error', () => {})
        .pipe(response)
    } else if (request.method === 'PUT') {
      digest(request).then(
        (sum) => response.end(sum),
        () => response.destroy(),
      )
    } else response.end('hello, world\n')
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const servers = [
    [Port.echo, echo()],
    [Port.lines, lines()],
    [Port.http, http()],
    [Port.iperf3, iperf3Server()],
  ] as const
  let listening = 0
  for (const [port, server] of servers) {
    server.listen(port, () => {
      listening++
      if (listening === servers.length) console.log('ready')
    })
  }
}
