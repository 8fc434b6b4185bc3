// A program on the kernel that connects to the stack so many times, tells how that went, and ends. See tun-program.ts.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Random } from '../../src/base/random.ts'
import { converse, someExchange } from '../../test/peer-stream.ts'

export interface ClientOptions {
  readonly address: string
  readonly port: number
  readonly seed: number
  readonly connections: number
  readonly largest: number
  /** Of members' servers, which send back what comes, and may end in the middle. */
  readonly echoes: number
  readonly echoPorts: readonly number[]
}

export interface ClientReport {
  /** Echoes that were cut off, which the end of a server does. */
  readonly cut: number
}

const PARALLEL = 8
const CUT = new Set(['ECONNRESET', 'ECONNREFUSED', 'EPIPE'])

const { address, port, seed, connections, largest, echoes, echoPorts } = JSON.parse(process.argv[2]!) as ClientOptions
const random = new Random(seed)
process.on('SIGINT', () => {})
const orphaned = () => process.exit(1)
process.on('disconnect', orphaned)
let cut = 0
await Promise.all([
  inParallel(connections, async () => {
    const socket = connect({ host: address, port, allowHalfOpen: true })
    await once(socket, 'connect')
    await converse(socket, someExchange(random, largest))
  }),
  inParallel(echoes, async (number) => {
    const socket = connect({ host: address, port: echoPorts[number % echoPorts.length]!, allowHalfOpen: true })
    try {
      await once(socket, 'connect')
      if (!(await sendAndCompare(socket, random.below(largest)))) cut++
    } catch (error) {
      if (!CUT.has((error as NodeJS.ErrnoException).code ?? '')) throw error
      cut++
    }
  }),
])
process.off('disconnect', orphaned)
process.send!({ cut } satisfies ClientReport)
process.disconnect()

/** So many, some at a time. */
async function inParallel(count: number, one: (number: number) => Promise<void>): Promise<void> {
  let begun = 0
  const next = async () => {
    while (begun < count) await one(begun++)
  }
  await Promise.all(Array.from({ length: PARALLEL }, next))
}

/**
 * Whether all came back. Where a reset comes while bytes wait to be read libuv tells of an end behind them, and of no error: a part that is right
 * may be either.
 * @throws the socket's error, and where anything else comes back than was sent
 */
async function sendAndCompare(socket: Socket, bytes: number): Promise<boolean> {
  const sent = Buffer.from(Uint32Array.from({ length: (bytes >> 2) + 1 }, () => random.next() >>> 0).buffer)
  const pieces: Buffer[] = []
  socket.on('data', (piece: Buffer) => pieces.push(piece))
  const ended = once(socket, 'end')
  const closed = once(socket, 'close')
  // Both reject with the socket's error: who waits for the second has heard of it by the first.
  closed.catch(() => {})
  socket.end(sent)
  await ended
  await closed
  const received = Buffer.concat(pieces)
  if (!received.equals(sent.subarray(0, received.length))) throw new Error(`other bytes came back of ${sent.length}`)
  return received.length === sent.length
}
