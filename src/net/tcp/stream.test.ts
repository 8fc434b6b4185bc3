// Streams over a path that loses, doubles and reorders by chance, in both directions and with every set of extensions: whatever
// happens to the packets, all bytes arrive, in order, once, and in a time that says that nothing waits for nothing.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../base/random.ts'
import { type Bytes, counting } from '../testing/frame.ts'
import { PEER, type TestHost, withHost } from '../testing/host.ts'
import { type HostSegment, Peer, type PeerOptions } from '../testing/peer.ts'
import type { TestSocket } from '../testing/program.ts'

const SECOND = 1_000_000

interface Path {
  readonly loss: number
  readonly double: number
  readonly reorder: number
}

/** What arrives of a list of packets, and in which order. */
function through<T>(random: Random, path: Path, list: readonly T[]): T[] {
  const out: T[] = []
  for (const each of list) {
    if (random.chance(path.loss)) continue
    out.push(each)
    if (random.chance(path.double)) out.push(each)
  }
  for (let i = out.length - 1; i > 0; i--) {
    if (!random.chance(path.reorder)) continue
    const j = Math.max(0, i - 1 - random.below(6))
    const moved = out[i]!
    out[i] = out[j]!
    out[j] = moved
  }
  return out
}

/** A receiver by the book (RFC 9293 3.10.7.4, RFC 2018): keeps what is early, and acknowledges each segment. */
class Receiver {
  next = 1
  ended = false
  readonly #peer: Peer
  readonly #bytes: Bytes
  readonly #early = new Map<number, number>()
  #fin = 0

  constructor(peer: Peer, bytes: Bytes) {
    this.#peer = peer
    this.#bytes = bytes
  }

  /** The packet that answers a segment. */
  take({ seq, data, flags }: HostSegment): Bytes {
    const sack: [number, number][] = []
    if (data.length > 0) {
      assert.deepEqual(data, this.#bytes.subarray(seq - 1, seq - 1 + data.length), `bytes from ${seq - 1}`)
      if (seq + data.length <= this.next) sack.push([seq, seq + data.length])
      this.#early.set(seq, Math.max(seq + data.length, this.#early.get(seq) ?? 0))
    }
    if (flags.includes('F')) this.#fin = seq + data.length
    const blocks: [number, number][] = []
    for (const [start, end] of [...this.#early].sort(([a], [b]) => a - b)) {
      if (start <= this.next) {
        this.next = Math.max(this.next, end)
        this.#early.delete(start)
        continue
      }
      const last = blocks.at(-1)
      if (last !== undefined && start <= last[1]) last[1] = Math.max(last[1], end)
      else blocks.push([start, end])
    }
    if (this.#fin > 0 && this.next === this.#fin) {
      this.next++
      this.ended = true
    }
    // The block of the segment that came is the first.
    blocks.sort(([a, b]) => (a <= seq && seq < b ? -1 : 0))
    sack.push(...blocks)
    const options = this.#peer.options.sack === true ? { sack: sack.slice(0, 3) } : {}
    return this.#peer.packet('A', { ack: this.next, ...options })
  }
}

/** The host sends all, and ends. Returns how long that took, in µs. */
function download(host: TestHost, random: Random, path: Path, options: PeerOptions, bytes: Bytes): number {
  const program = host.connect({ address: PEER, port: 80 }, host.cpuCount - 1)
  const peer = Peer.accept(host, { windowScale: 7, window: 8000, ...options })
  peer.send('A')
  const receiver = new Receiver(peer, bytes)
  const began = host.nowUs
  let given = 0
  let shut = false
  // What is on its way to the peer, and back.
  while (!receiver.ended) {
    assert(host.nowUs - began < 600 * SECOND, `${receiver.next} of ${bytes.length} after ten minutes`)
    if (given < bytes.length) given += program.send(bytes.subarray(given))
    else if (!shut) {
      shut = true
      program.shutdown()
    }
    const answers = through(random, path, peer.take()).map((segment) => receiver.take(segment))
    for (const packet of through(random, { ...path, reorder: 0 }, answers)) host.postPacket(packet)
    host.run(10_000)
  }
  const took = host.nowUs - began
  peer.ack = receiver.next
  peer.send('A')
  host.run(10_000)
  peer.take()
  assert.equal(program.state, 'FIN-WAIT-2')
  const { flight, unsent } = program.info()
  assert.deepEqual([flight, unsent], [0, 0])
  program.abort()
  peer.take()
  return took
}

/** The peer sends all, over and over again until it is there, and ends. */
function upload(host: TestHost, random: Random, path: Path, options: PeerOptions, bytes: Bytes): void {
  const server = host.listen({ port: 7, shared: true }, host.cpuCount - 1, { reads: random.chance(0.5) })
  const peer = Peer.connect(host, { windowScale: 7, ...options })
  const program: TestSocket = server.accept()
  const got = new Uint8Array(bytes.length + 1)
  let end = 0
  let una = 1
  for (let turns = 0; una < bytes.length + 2; turns++) {
    assert(turns < 3000, `${una} of ${bytes.length}`)
    const segments: Bytes[] = []
    // From what is missing on, in pieces that are different each time.
    for (let at = una - 1, n = 0; at < bytes.length && n < 24; n++) {
      const count = Math.min(1 + random.below(1448), bytes.length - at)
      const isLast = at + count === bytes.length
      segments.push(peer.packet(isLast ? 'FPA' : 'A', { seq: 1 + at, data: bytes.subarray(at, at + count) }))
      at += count
    }
    if (una === bytes.length + 1) segments.push(peer.packet('FA', { seq: una }))
    for (const packet of through(random, path, segments)) host.postPacket(packet)
    host.run(50_000)
    for (const { ack, sack } of through(random, path, peer.take())) {
      una = Math.max(una, ack)
      for (const [start, stop] of sack)
        assert(start < stop && stop <= bytes.length + 2, `block ${start}:${stop} ack ${ack} of ${bytes.length}`)
    }
    const part = program.reads ? program.received() : program.read(random.below(30_000))
    got.set(part, end)
    end += part.length
  }
  const rest = program.read()
  got.set(rest, end)
  end += rest.length
  assert.equal(end, bytes.length)
  assert.deepEqual(got.subarray(0, end), bytes)
  assert.equal(program.socket.ended, true)
  program.abort()
  server.close()
  peer.take()
}

const EXTENSIONS: readonly PeerOptions[] = [
  {},
  { timestamps: true },
  { sack: true },
  { sack: true, timestamps: true },
  { sack: true, timestamps: true, mss: 536, iss: 0xffff_f000 },
]

const PATHS: readonly [name: string, path: Path, seconds: number][] = [
  ['that is clean', { loss: 0, double: 0, reorder: 0 }, 0.2],
  ['that loses one in fifty', { loss: 0.02, double: 0, reorder: 0 }, 2],
  // Without SACK and timestamps nothing is measured for long: the timeout stays backed off (RFC 9293 MUST-18).
  ['that loses one in five', { loss: 0.2, double: 0, reorder: 0 }, 500],
  ['that reorders', { loss: 0, double: 0, reorder: 0.3 }, 2],
  ['that doubles', { loss: 0, double: 0.3, reorder: 0 }, 2],
  ['that does all of it', { loss: 0.05, double: 0.1, reorder: 0.2 }, 20],
]

describe('streams over a path', () => {
  for (const [index, [name, path, seconds]] of PATHS.entries()) {
    test(`${name} arrive whole`, () => {
      for (const [number, options] of EXTENSIONS.entries()) {
        const seed = 1000 + index * 10 + number
        try {
          withHost({ cpus: 1 + (number % 2), seed }, (host) => {
            const random = new Random(seed)
            const took = download(host, random, path, options, counting(120_000, 3))
            assert(took < seconds * SECOND, `${took / SECOND} s`)
            upload(host, random, path, options, counting(80_000, 5))
          })
        } catch (error) {
          if (error instanceof Error) error.message = `seed ${seed}, ${JSON.stringify(options)}: ${error.message}`
          throw error
        }
      }
    })
  }
})
