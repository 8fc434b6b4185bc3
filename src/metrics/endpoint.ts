// An HTTP endpoint that answers `GET /metrics`, for Prometheus to scrape; on the kernel's network. It keeps no state and no
// connection beyond an answer, and whatever is asked of it costs at most one reading of the counts at a time.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Errno, KernelError } from '../base/errno.ts'
import { formatListen, isLoopback, type ListenAddress } from './listen.ts'

export interface Exposition {
  readonly type: string
  readonly text: string
}

/** Connections at a time. A Prometheus has one. */
const CONNECTIONS_MAX = 32
/** For a request to have come whole. */
const PATIENCE_MS = 5000

/**
 * Serves what `scrape` gives until the server is closed. A `scrape` that rejects is answered 503 with its sentence.
 * @param patienceMs that a request may take to come, and its answer to be taken
 * @throws KernelError EADDRINUSE and others, where it cannot listen
 */
export async function serveMetrics(
  address: ListenAddress,
  scrape: () => Promise<Exposition>,
  patienceMs = PATIENCE_MS,
): Promise<Server> {
  let reading: Promise<Exposition> | undefined
  const scrapeOnce = () => {
    // Who asks while somebody else is answered gets the same answer.
    reading ??= scrape().finally(() => {
      reading = undefined
    })
    return reading
  }
  // Node looks every 30 s only, unless it is told to, and at those alone that have begun to ask.
  const limits = { requestTimeout: patienceMs, headersTimeout: patienceMs, connectionsCheckingInterval: patienceMs }
  const server = createServer(limits, (request, response) => {
    response.setHeader('connection', 'close')
    void answer(request, response, isLoopback(address.host), scrapeOnce)
  })
  server.maxConnections = CONNECTIONS_MAX
  server.maxHeadersCount = 100
  server.setTimeout(patienceMs, (socket) => socket.destroy())
  server.on('clientError', (_error, socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => reject(cannotListen(address, cause)))
    server.listen({ host: address.host, port: address.port }, resolve)
  })
  return server
}

/** Where a server listens: its port may have been chosen by the kernel. */
export function listensAt(server: Server): string {
  const address = server.address()
  if (address === null || typeof address === 'string') return ''
  return formatListen({ host: address.address, port: address.port })
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  loopbackOnly: boolean,
  scrape: () => Promise<Exposition>,
): Promise<void> {
  const end = (status: number, text: string, type = 'text/plain; charset=utf-8') => {
    response.writeHead(status, { 'content-type': type })
    response.end(request.method === 'HEAD' ? undefined : text)
  }
  // A page in a browser of this computer may reach loopback by a name of its own (DNS rebinding): that names it in `Host`.
  if (loopbackOnly && !isLoopbackName(request.headers.host)) return end(403, 'ask by a loopback address\n')
  if (request.url?.split('?')[0] !== '/metrics') return end(404, 'the counts are at /metrics\n')
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    return end(405, 'the counts can only be read: GET them\n')
  }
  try {
    const { type, text } = await scrape()
    end(200, text, type)
  } catch (error) {
    end(503, `${error instanceof Error ? error.message : String(error)}\n`)
  }
}

function isLoopbackName(host: string | undefined): boolean {
  const name = host?.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return name === 'localhost' || (name !== undefined && isLoopback(name))
}

function cannotListen(address: ListenAddress, cause: NodeJS.ErrnoException): KernelError {
  const code =
    cause.code === 'EADDRINUSE' ? Errno.EADDRINUSE : cause.code === 'EACCES' ? Errno.EACCES : Errno.EADDRNOTAVAIL
  const sentence = `cannot listen at ${formatListen(address)} (${cause.message}): give another address or port by --listen`
  return new KernelError(code, sentence, 'listen', { cause })
}
