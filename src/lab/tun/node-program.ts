// The services of src/lab/tun/c/server.c, and a hello over HTTP, as anybody would write them for Node: the same file runs on
// the kernel (by node) and on the stack (by damselfly run). Prints "ready" when all of them listen.
//
//   node dist/src/lab/tun/node-program.js [--cluster 2]
//
// --cluster: Node's own way to use several cores, so many processes with the same ports.
import cluster from 'node:cluster'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server } from 'node:net'
import { parseArgs } from 'node:util'

const HTTP_PORT = 8080
const MESSAGE_BYTES = 64
const BLOCKS_AT_ONCE = 16
const block = Buffer.alloc(256 * 1024)

const { values } = parseArgs({ options: { cluster: { type: 'string', default: '1' } } })
const processes = Number(values.cluster)

if (processes > 1 && cluster.isPrimary) {
  const expected = processes * servers().length
  let listening = 0
  cluster.on('listening', () => {
    listening++
    if (listening === expected) console.log('ready')
  })
  for (let i = 0; i < processes; i++) cluster.fork()
} else {
  let listening = 0
  const all = servers()
  for (const [port, server] of all) {
    server.listen(port, () => {
      listening++
      if (listening === all.length && !cluster.isWorker) console.log('ready')
    })
  }
}

function servers(): (readonly [number, Server])[] {
  return [
    [7, echo()],
    [9, sink()],
    [19, source()],
    [80, short()],
    [HTTP_PORT, createHttpServer((_request, response) => response.end('hello, world\n'))],
  ]
}

function echo(): Server {
  return createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => {})
    socket.pipe(socket)
  })
}

function sink(): Server {
  return createServer((socket) => {
    socket.on('error', () => {})
    socket.resume()
  })
}

function source(): Server {
  return createServer((socket) => {
    const fill = () => {
      // So many at once: a peer that takes them as fast would else keep everybody waiting.
      for (let blocks = 0; blocks < BLOCKS_AT_ONCE; blocks++) {
        if (socket.destroyed || !socket.write(block)) return
      }
      setImmediate(fill)
    }
    socket.on('error', () => {})
    socket.on('drain', fill)
    socket.resume()
    fill()
  })
}

/** Reads a question, answers, and closes first. */
function short(): Server {
  return createServer((socket) => {
    let received = 0
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received += chunk.length
      if (received >= MESSAGE_BYTES) socket.end(block.subarray(0, MESSAGE_BYTES))
    })
  })
}
