// What the streams and datagrams of a world carry: bytes that nobody else's are at the same place, so that what is foreign, doubled or out of
// its place does not fit. What a client sends begins with its stream's number: by it the server knows whom it is talking to.
import { Random } from '../../src/base/random.ts'

/** A prime, so that a piece that is out of place by any number of segments or clusters does not fit. */
const PERIOD = 65_521
/** Each content begins elsewhere in the table. */
const STEP = 7919
const MAGIC = 0xda5e1f17
export const HEAD_BYTES = 8

export type Way = 'client' | 'server'

export class Content {
  readonly #table = new Uint8Array(PERIOD)

  constructor(seed: number) {
    const random = new Random(seed)
    for (let i = 0; i < PERIOD; i++) this.#table[i] = random.next()
  }

  /** What `way` of a stream sends at `at`: `most` bytes or fewer, one at least. */
  piece(id: number, way: Way, at: number, most: number): Uint8Array {
    if (way === 'client' && at < HEAD_BYTES) return head(id).subarray(at, Math.min(HEAD_BYTES, at + most))
    const place = (at + (2 * id + (way === 'client' ? 0 : 1)) * STEP) % PERIOD
    return this.#table.subarray(place, Math.min(place + most, PERIOD))
  }

  /** Where these bytes are first not what `way` sends at `at`, or -1. */
  mismatch(id: number, way: Way, at: number, bytes: Uint8Array): number {
    for (let done = 0; done < bytes.length; ) {
      const expected = this.piece(id, way, at + done, bytes.length - done)
      const given = bytes.subarray(done, done + expected.length)
      if (Buffer.compare(expected, given) !== 0) return at + done + expected.findIndex((byte, i) => byte !== given[i])
      done += expected.length
    }
    return -1
  }

  /** A datagram: the number of its flow, its own, and what nobody else sends. */
  datagram(id: number, number: number, bytes: number): Uint8Array {
    const datagram = new Uint8Array(bytes)
    for (let at = 0; at < bytes; ) {
      const piece = this.piece(id, 'server', number * 977 + at, bytes - at)
      datagram.set(piece, at)
      at += piece.length
    }
    const view = new DataView(datagram.buffer)
    view.setUint32(0, id)
    view.setUint32(4, number)
    return datagram
  }
}

/** The number of the stream that begins so, or -1. */
export function idOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return view.getUint32(0) === MAGIC ? view.getUint32(4) : -1
}

/** Whether a stream may begin so. */
export function isBeginning(bytes: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(0, 4), head(0).subarray(0, Math.min(4, bytes.length))) === 0
}

function head(id: number): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, MAGIC)
  view.setUint32(4, id)
  return bytes
}
