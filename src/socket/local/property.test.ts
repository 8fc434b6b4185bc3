// What is read is what was written, whatever the sizes of writes, reads and buffers, wherever the ends are, wherever they go meanwhile, and in
// whatever order the CPUs have their turns.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { LocalKind } from './kind.ts'
import type { LocalSocket } from './socket.ts'
import { LocalMachine } from './testing/machine.ts'

const CPUS = 3
const RUNS = process.env.DAMSELFLY_LONG === '1' ? 3000 : 25

/** A byte of what an end sends: which one it is can be seen of two that follow each other. */
const byteAt = (position: number): number => (position ^ (position >> 8)) & 0xff

/** An end, wherever it is; undefined: on its way. */
interface End {
  socket: LocalSocket | undefined
  cpu: number
  sent: number
  received: number
  /** Lengths of messages that the other one has sent, and this one has not received. */
  readonly expected: number[]
}

class Wandering {
  readonly m: LocalMachine
  readonly ends: readonly [End, End]
  readonly #kind: LocalKind
  readonly #ways: { client: LocalSocket; server: LocalSocket }[][]
  readonly #arriving: End[][] = Array.from({ length: CPUS }, () => [])

  constructor(kind: LocalKind, receiveBytes: number, receiveMessages: number, seed: number) {
    this.#kind = kind
    const m = new LocalMachine(CPUS, seed)
    this.m = m
    this.#ways = Array.from({ length: CPUS }, (_, from) =>
      Array.from({ length: CPUS }, (_, to) => m.connect(from, to, 'seqpacket')),
    )
    for (const row of this.#ways) {
      row.forEach(({ server }, cpu) => {
        server.onReadable = () => this.#take(server, cpu)
      })
    }
    const pair = m.on(0, (local) => local.pair(kind, { receiveBytes, receiveMessages }))
    this.ends = pair.map((socket): End => ({ socket, cpu: 0, sent: 0, received: 0, expected: [] })) as [End, End]
  }

  /** Something happens where the end is then, if it is somewhere. */
  do(which: 0 | 1, act: (end: End, socket: LocalSocket) => void): void {
    const end = this.ends[which]
    this.m.post(end.cpu, () => {
      if (end.socket?.state === 'open') act(end, end.socket)
    })
  }

  write(which: 0 | 1, bytes: number): void {
    this.do(which, (end, socket) => {
      const code = socket.send(Uint8Array.from({ length: bytes }, (_, i) => byteAt(end.sent + i)))
      if (code < 0) return
      assert(this.#kind === 'stream' ? code <= bytes : code === bytes)
      end.sent += code
      this.ends[1 - which]!.expected.push(code)
    })
  }

  read(which: 0 | 1, bytes: number): void {
    this.do(which, (end, socket) => {
      const target = new Uint8Array(bytes)
      const message = socket.receive(target)
      if (message === undefined) return
      for (let i = 0; i < message.bytes; i++) assert.equal(target[i], byteAt(end.received + i))
      end.received += message.length
      if (this.#kind !== 'stream') assert.equal(message.length, end.expected.shift())
      assert.equal(message.bytes, Math.min(message.length, bytes))
    })
  }

  move(which: 0 | 1, cpu: number): void {
    this.do(which, (end, socket) => {
      const code = this.#ways[end.cpu]![cpu]!.client.send(Uint8Array.of(which), { rights: [socket] })
      if (code !== 1) return
      end.socket = undefined
      this.#arriving[cpu]!.push(end)
    })
  }

  /** Reads all that is left, and compares. */
  finish(): void {
    for (let i = 0; i < 3 || this.ends.some(({ expected }) => this.#kind !== 'stream' && expected.length > 0); i++) {
      assert(i < 10_000, 'all is read at last')
      this.m.run()
      for (const which of [0, 1] as const) this.read(which, 100_000)
      this.m.run()
    }
    for (const which of [0, 1] as const) {
      for (let last = -1; last < this.ends[which].received; this.m.run()) {
        last = this.ends[which].received
        this.read(which, 100_000)
      }
    }
    const [a, b] = this.ends
    assert.deepEqual([a.received, b.received], [b.sent, a.sent])
    this.m.finish()
  }

  #take(server: LocalSocket, cpu: number): void {
    const which = new Uint8Array(1)
    for (let message = server.receive(which); message !== undefined; message = server.receive(which)) {
      const end = this.ends[which[0] as 0 | 1]
      end.socket = message.rights[0] as LocalSocket
      end.cpu = cpu
    }
  }
}

const which = fc.constantFrom<0 | 1>(0, 1)
const size = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 300, max: 600 }),
  fc.integer({ min: 0, max: 5000 }),
)
const step = fc.oneof(
  fc.record({ op: fc.constant('write' as const), which, value: size }),
  fc.record({ op: fc.constant('read' as const), which, value: size }),
  fc.record({ op: fc.constant('move' as const), which, value: fc.integer({ min: 0, max: CPUS - 1 }) }),
  fc.record({ op: fc.constant('pass' as const), which, value: fc.integer({ min: 1, max: 60 }) }),
)

for (const kind of ['stream', 'seqpacket', 'datagram'] as const) {
  test(`what is read of a ${kind} is what was written, though both ends wander from CPU to CPU`, () => {
    const receiveBytes = fc.integer({ min: 1, max: 8000 })
    const receiveMessages = fc.integer({ min: 1, max: 20 })
    const steps = fc.array(step, { maxLength: 80 })
    fc.assert(
      fc.property(receiveBytes, receiveMessages, fc.nat(), steps, (bytes, messages, seed, all) => {
        const w = new Wandering(kind, bytes, messages, seed)
        for (const { op, which, value } of all) {
          if (op === 'pass') w.m.machine.run({ untilUs: w.m.machine.clock.now() + value })
          else w[op](which, value)
        }
        w.finish()
      }),
      { numRuns: RUNS, seed: 1 },
    )
  })
}

test('datagrams of several senders arrive once each, whole, and in each sender’s order', () => {
  const senders = fc.array(fc.array(fc.nat({ max: 1500 }), { maxLength: 30 }), { minLength: 1, maxLength: 5 })
  const property = fc.property(
    senders,
    fc.integer({ min: 1700, max: 5000 }),
    fc.integer({ min: 1, max: 10 }),
    fc.nat(),
    (lengths, receiveBytes, receiveMessages, seed) => {
      const m = new LocalMachine(CPUS, seed)
      const server = m.on(0, (local) => local.datagram({ name: '/server', receiveBytes, receiveMessages }))
      const got: number[][] = lengths.map(() => [])
      const buffer = new Uint8Array(1500)
      let largest = 0
      server.onReadable = () => {
        // One at a time: the others wait for it.
        largest = Math.max(largest, server.length)
        const message = server.receive(buffer)!
        const of = Number(message.from!.slice(1))
        for (let i = 0; i < message.bytes; i++) assert.equal(buffer[i], byteAt(of + got[of]!.length + i))
        got[of]!.push(message.length)
        if (server.length > 0) m.post(0, () => server.onReadable())
      }
      lengths.forEach((mine, of) => {
        const socket = m.on(of % CPUS, (local) => local.datagram({ name: `/${of}`, sendBytes: 4000 }))
        let next = 0
        const send = () => {
          for (; next < mine.length; next++) {
            const bytes = Uint8Array.from({ length: mine[next]! }, (_, i) => byteAt(of + next + i))
            if (socket.send(bytes, '/server') < 0) return
          }
        }
        socket.onWritable = send
        m.post(of % CPUS, send)
      })
      m.run()
      assert.deepEqual(got, lengths)
      assert(largest <= receiveMessages)
      m.finish()
    },
  )
  fc.assert(property, { numRuns: RUNS, seed: 1 })
})
