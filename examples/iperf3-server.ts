// A server for iperf3, for TCP: both directions (-R), any number of streams (-P), and -O, -t, -n, -k as the client has
// them. It is written against node:net only, so the same file measures the kernel and Damselfly:
//
//   node dist/examples/iperf3-server.js [--port 5201]
//   damselfly run --tun df0 dist/examples/iperf3-server.js
//   iperf3 -c 10.77.0.2 [-R] [-P 4] [-t 10]
//
// The protocol: the client opens a control connection and sends a cookie; from then on each side names the state that the
// test enters by one byte. Streams are connections of their own, which begin with the same cookie.
import { createServer, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/** The states, one signed byte each. */
const State = {
  testStart: 1,
  testRunning: 2,
  testEnd: 4,
  paramExchange: 9,
  createStreams: 10,
  clientTerminate: 12,
  exchangeResults: 13,
  displayResults: 14,
  done: 16,
  accessDenied: -1,
  serverError: -2,
} as const

/** 36 characters and a zero. */
const COOKIE_BYTES = 37
/** Parameters and results are JSON behind their length; iperf3's own are far shorter, but for very many streams. */
const JSON_BYTES_MAX = 256 * 1024
const STREAMS_MAX = 128
const BLOCK_BYTES_MAX = 1024 * 1024
const BLOCK_BYTES = 128 * 1024
const BLOCKS_AT_ONCE = 16
/** iperf3's IENUMSTREAMS and IEUNIMP, as its client prints them. */
const TOO_MANY_STREAMS = 11
const NOT_IMPLEMENTED = 13

/** What the client asks for; the rest of its parameters is its own business. */
interface Parameters {
  readonly streams: number
  /** The server sends. */
  readonly reverse: boolean
  readonly blockBytes: number
  /** Seconds at the beginning that do not count. */
  readonly omit: number
}

interface Stream {
  readonly socket: Socket
  bytes: number
  /** Bytes at the time from which they count. */
  bytesBefore: number
}

/** One test at a time: others are told so. */
class Test {
  readonly cookie: string
  readonly streams: Stream[] = []
  parameters: Parameters | undefined = undefined
  /** Called when the last stream is there. */
  onStreams: () => void = () => {}

  constructor(cookie: string) {
    this.cookie = cookie
  }

  get wantsStreams(): boolean {
    return this.parameters !== undefined && this.streams.length < this.parameters.streams
  }

  join(socket: Socket): void {
    this.streams.push({ socket, bytes: 0, bytesBefore: 0 })
    if (!this.wantsStreams) this.onStreams()
  }
}

export function iperf3Server(): Server {
  let test: Test | undefined
  return createServer({ noDelay: true }, (socket) => {
    // A peer that goes away ends what waits for it; there is nobody to tell.
    socket.on('error', () => {})
    welcome(socket).catch(() => socket.destroy())
  })

  async function welcome(socket: Socket): Promise<void> {
    const cookie = (await take(socket, COOKIE_BYTES)).toString('latin1')
    if (test === undefined) {
      const mine = new Test(cookie)
      test = mine
      try {
        await control(socket, mine)
      } finally {
        for (const stream of mine.streams) stream.socket.destroy()
        test = undefined
      }
    } else if (test.cookie === cookie && test.wantsStreams) test.join(socket)
    else socket.end(state(State.accessDenied))
  }
}

/** The whole of a test, as its control connection sees it. Throws when that ends too early. */
async function control(socket: Socket, test: Test): Promise<void> {
  socket.write(state(State.paramExchange))
  const parameters = parse(await takeJson(socket))
  if (typeof parameters === 'number') {
    // Two numbers behind the state: iperf3's error, and an errno of the system's.
    const numbers = Buffer.alloc(8)
    numbers.writeInt32BE(parameters)
    socket.end(Buffer.concat([state(State.serverError), numbers]))
    return
  }
  test.parameters = parameters
  const streams = new Promise<void>((resolve, reject) => {
    test.onStreams = resolve
    socket.once('close', () => reject(new Error('the client left before its streams came')))
  })
  socket.write(state(State.createStreams))
  await streams

  socket.write(Buffer.concat([state(State.testStart), state(State.testRunning)]))
  let began = performance.now()
  for (const stream of test.streams) {
    if (parameters.reverse) source(stream, parameters.blockBytes)
    else sink(stream)
  }
  const omitted = setTimeout(() => {
    began = performance.now()
    for (const stream of test.streams) stream.bytesBefore = stream.bytes
  }, parameters.omit * 1000)
  try {
    await expect(socket, State.testEnd)
  } finally {
    clearTimeout(omitted)
  }
  const results = report(test, parameters, (performance.now() - began) / 1000)

  socket.write(state(State.exchangeResults))
  await takeJson(socket)
  socket.write(withLength(JSON.stringify(results)))
  socket.write(state(State.displayResults))
  await expect(socket, State.done)
  socket.end()
}

/** What the server knows of the test, in iperf3's words. */
function report(test: Test, { reverse }: Parameters, seconds: number) {
  const { user, system } = process.cpuUsage()
  const uptimeUs = process.uptime() * 1e6
  const percent = (us: number) => (us / uptimeUs) * 100
  return {
    cpu_util_total: percent(user + system),
    cpu_util_user: percent(user),
    cpu_util_system: percent(system),
    // node:net does not tell what was sent again.
    sender_has_retransmits: reverse ? 0 : -1,
    streams: test.streams.map(({ bytes, bytesBefore }, index) => ({
      // iperf3 counts its streams 1, 3, 4, 5, and so on.
      id: index === 0 ? 1 : index + 2,
      bytes: bytes - bytesBefore,
      retransmits: -1,
      jitter: 0,
      errors: 0,
      packets: 0,
      start_time: 0,
      end_time: seconds,
    })),
  }
}

function sink(stream: Stream): void {
  stream.socket.on('data', (chunk) => {
    stream.bytes += chunk.length
  })
  stream.socket.resume()
}

/** Sends until the socket is destroyed. What was handed over counts, as it does at iperf3's own sender. */
function source(stream: Stream, blockBytes: number): void {
  const { socket } = stream
  const block = Buffer.alloc(blockBytes)
  const fill = () => {
    // So many at once: a peer that takes them as fast would else keep the others waiting, the control connection too.
    for (let blocks = 0; blocks < BLOCKS_AT_ONCE; blocks++) {
      if (socket.destroyed) return
      stream.bytes += blockBytes
      if (!socket.write(block)) return
    }
    setImmediate(fill)
  }
  socket.on('drain', fill)
  socket.resume()
  fill()
}

/** The parameters, or the number of the error that the client prints. */
function parse(json: { readonly [name: string]: unknown }): Parameters | number {
  const { tcp, parallel = 1, reverse = false, bidirectional = false, len, omit = 0 } = json
  if (tcp !== true || bidirectional === true) return NOT_IMPLEMENTED
  if (!isWhole(parallel, 1, STREAMS_MAX)) return TOO_MANY_STREAMS
  return {
    streams: parallel,
    reverse: reverse === true,
    blockBytes: isWhole(len, 1, BLOCK_BYTES_MAX) ? len : BLOCK_BYTES,
    omit: isWhole(omit, 0, 600) ? omit : 0,
  }
}

function isWhole(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most
}

function state(value: number): Buffer {
  return Buffer.from([value & 0xff])
}

/** The next state; an error when it is another than expected. */
async function expect(socket: Socket, expected: number): Promise<void> {
  const is = (await take(socket, 1)).readInt8()
  if (is !== expected) throw new Error(`the client enters state ${is} where ${expected} is expected`)
}

async function takeJson(socket: Socket): Promise<{ readonly [name: string]: unknown }> {
  const length = (await take(socket, 4)).readUInt32BE()
  if (length === 0 || length > JSON_BYTES_MAX) throw new Error(`${length} bytes of JSON`)
  const value: unknown = JSON.parse((await take(socket, length)).toString('utf8'))
  if (typeof value !== 'object' || value === null) throw new Error('not an object')
  return value as { readonly [name: string]: unknown }
}

function withLength(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8')
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** Exactly so many bytes, when they are there. Rejects when the connection ends before. */
async function take(socket: Socket, bytes: number): Promise<Buffer> {
  for (;;) {
    const taken: Buffer | null = socket.read(bytes)
    if (taken !== null && taken.length === bytes) return taken
    if (taken !== null || socket.readableEnded || socket.destroyed) throw new Error('the connection ended')
    await new Promise<void>((resolve) => {
      const hear = () => {
        for (const event of EVENTS) socket.off(event, hear)
        resolve()
      }
      for (const event of EVENTS) socket.once(event, hear)
    })
  }
}

const EVENTS = ['readable', 'end', 'close'] as const

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { port: { type: 'string', default: '5201' } } })
  const server = iperf3Server()
  server.listen(Number(values.port), () => console.log(`iperf3 server on port ${values.port}`))
}
