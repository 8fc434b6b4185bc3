// What both ends of a connection say to each other in the tests with real peers: sizes by chance, either end first or last, halves that are
// closed while the other half goes on, and checksums. The same on the kernel's sockets and on the stack's.
//
//     client: 13 bytes: mode, seed, how much it sends, how much it wants; then so much; then the end of its half, at once or last
//     server: so much as was wanted, by the seed; at the end the SHA-256 of what it has received
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { Random } from '../src/base/random.ts'

export const PORT = 9000

/** In which order the halves are closed. */
export const Mode = {
  /** The client closes its half when it has sent; the server answers behind that. */
  clientFirst: 0,
  /** The server closes its half first; the client goes on sending. */
  serverFirst: 1,
  /** Both send at once, and close when they have sent. */
  both: 2,
} as const

export interface Exchange {
  readonly mode: number
  readonly seed: number
  readonly up: number
  readonly down: number
}

const HEAD_BYTES = 13
const DIGEST_BYTES = 32
const CHUNK_BYTES = 16 * 1024
const SIZES = [0, 1, 100, 1448, 1460, 5000, 20_000]

/** An exchange by chance: most are small, so that many fit into a minute, and of some the windows are full. */
export function someExchange(random: Random, most: number): Exchange {
  const size = () => random.below(1 + (random.chance(0.05) ? most : SIZES[random.below(SIZES.length)]!))
  return { mode: random.below(3), seed: random.next() >>> 0, up: size(), down: size() }
}

/** The client's part, on an open socket with allowHalfOpen, until it is closed. @throws where anything that came is not what was sent */
export async function converse(socket: Socket, { mode, seed, up, down }: Exchange): Promise<void> {
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt8(mode, 0)
  head.writeUInt32BE(seed, 1)
  head.writeUInt32BE(up, 5)
  head.writeUInt32BE(down, 9)
  socket.write(head)
  const sum = createHash('sha256')
  const reading = readAll(socket)
  const closed = once(socket, 'close')
  if (mode === Mode.serverFirst) await reading
  await send(socket, seed, up, (part) => sum.update(part))
  socket.end()
  const received = await reading
  const expected = digestOf(seed ^ 1, down)
  if (received.length !== down + (mode === Mode.serverFirst ? 0 : DIGEST_BYTES)) {
    throw new Error(`${received.length} bytes came of ${down}, mode ${mode}, seed ${seed}`)
  }
  if (digest(received.subarray(0, down)) !== expected) throw new Error(`other bytes came, mode ${mode}, seed ${seed}`)
  if (mode !== Mode.serverFirst && received.subarray(down).toString('hex') !== sum.digest('hex')) {
    throw new Error(`the server has received other bytes, mode ${mode}, seed ${seed}`)
  }
  await closed
}

/** The server's part. Returns whether all that came was what the client was to send. */
export async function serve(socket: Socket): Promise<boolean> {
  let head: Exchange | undefined
  let answering: Promise<void> | undefined
  const answer = async ({ seed, down }: Exchange) => await send(socket, seed ^ 1, down, () => {})
  const whole = await readAll(socket, (first) => {
    head = {
      mode: first.readUInt8(0),
      seed: first.readUInt32BE(1),
      up: first.readUInt32BE(5),
      down: first.readUInt32BE(9),
    }
    if (head.mode !== Mode.clientFirst) answering = answer(head)
    if (head.mode === Mode.serverFirst) answering = answering!.then(() => void socket.end())
  })
  if (head === undefined) throw new Error(`the client has ended after ${whole.length} bytes`)
  const received = whole.subarray(HEAD_BYTES)
  await (answering ?? answer(head))
  if (head.mode !== Mode.serverFirst) socket.end(createHash('sha256').update(received).digest())
  return received.length === head.up && digest(received) === digestOf(head.seed, head.up)
}

/**
 * All until the other end's half is closed; ours stays as it is, which an iterator would not leave it.
 * @param onHead gets the first bytes when so many have come as a head has
 */
function readAll(socket: Socket, onHead?: (bytes: Buffer) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = []
    let length = 0
    socket.on('data', (piece: Buffer) => {
      const hadHead = length >= HEAD_BYTES
      pieces.push(piece)
      length += piece.length
      if (!hadHead && length >= HEAD_BYTES) onHead?.(Buffer.concat(pieces))
    })
    socket.once('end', () => resolve(Buffer.concat(pieces)))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error(`the connection is gone after ${length} bytes`)))
  })
}

async function send(socket: Socket, seed: number, bytes: number, onPart: (part: Buffer) => void): Promise<void> {
  for (const part of pattern(seed, bytes)) {
    onPart(part)
    if (!socket.write(part)) await once(socket, 'drain')
  }
}

/** So many bytes of a seed. */
function* pattern(seed: number, bytes: number): Generator<Buffer, void, void> {
  const random = new Random(seed)
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
    const words = Uint32Array.from({ length: CHUNK_BYTES / 4 }, () => random.next() >>> 0)
    yield Buffer.from(words.buffer, 0, Math.min(left, CHUNK_BYTES))
  }
}

function digestOf(seed: number, bytes: number): string {
  const sum = createHash('sha256')
  for (const part of pattern(seed, bytes)) sum.update(part)
  return sum.digest('hex')
}

function digest(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
