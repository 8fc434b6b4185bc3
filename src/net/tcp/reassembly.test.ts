import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Random } from '../../base/random.ts'
import { ByHand, sumOf } from '../../machine/testing/sim.ts'
import { NetContext } from '../context.ts'
import { PcbFlag, TcpPcb } from './pcb.ts'
import * as early from './reassembly.ts'
import { Early, EarlyLimits, noteDuplicate } from './reassembly.ts'
import { add } from './sequence.ts'

const seed = 2018

/** The byte of the stream at an offset from where the test begins; `copy` tells transmissions of it apart. */
const byteAt = (offset: number, copy = 0) => (offset * 31 + copy * 101 + 7) & 0xff

/** A connection with nothing but a queue. Offsets are from `base`. */
class Bench {
  readonly machine = new ByHand(1)
  readonly cpu = this.machine.cpus[0]!
  readonly context = new NetContext(this.cpu, { name: 'a', index: 0, cpus: [0], interfaces: [] })
  readonly p = TcpPcb.cursor(this.cpu.memory)
  readonly m = this.context.mbuf()
  readonly base: number
  readonly #live: number
  readonly #out = new Int32Array(8)

  constructor(base = 0, rcvBuffer = 256 * 1024) {
    this.base = base | 0
    this.p.at = this.cpu.slab.allocate(TcpPcb.size)
    this.context.u8.fill(0, this.p.at, this.p.at + TcpPcb.size)
    this.p.rcvNxt = this.base
    this.p.rcvBuffer = rcvBuffer
    this.p.flags = PcbFlag.SACK
    this.#live = this.mbufs
  }

  get mbufs(): number {
    return sumOf(this.machine, 'mbuf', 'allocated') - sumOf(this.machine, 'mbuf', 'freed')
  }

  /** A packet whose parts have these lengths; without any, it is as short a chain as it can be. */
  packet(offset: number, bytes: number, copy = 0, parts: readonly number[] = []): number {
    const data = Uint8Array.from({ length: bytes }, (_, i) => byteAt(offset + i, copy))
    const { mbufs } = this.context
    if (parts.length === 0) return mbufs.copyFrom(data)
    let first = 0
    let at = 0
    for (const length of [...parts, bytes]) {
      const part = mbufs.copyFrom(data.subarray(at, Math.min(at + length, bytes)))
      at += length
      if (first === 0) first = part
      else mbufs.append(first, part)
      if (at >= bytes) break
    }
    return first
  }

  insert(offset: number, bytes: number, copy = 0, parts: readonly number[] = []): Early {
    return early.insert(this.context, this.p, this.packet(offset, bytes, copy, parts), add(this.base, offset))
  }

  /** The bytes of the next packet, and rcv.nxt moves on; undefined if there is none. */
  take(): Uint8Array | undefined {
    const packet = early.take(this.context, this.p)
    if (packet === 0) return undefined
    const bytes = this.context.mbufs.bytes(packet)
    this.p.rcvNxt = add(this.p.rcvNxt, bytes.length)
    this.m.at = packet
    assert.equal(this.m.total, bytes.length)
    assert.equal(this.m.link, 0)
    assert.notEqual(this.m.length, 0, 'the first part of a packet is not empty')
    this.context.mbufs.free(packet)
    return bytes
  }

  /** All that can be taken, as offsets. */
  takeAll(copy = 0): number {
    let offset = add(this.p.rcvNxt, -this.base)
    for (let bytes = this.take(); bytes !== undefined; bytes = this.take())
      for (const byte of bytes) assert.equal(byte, byteAt(offset++, copy))
    return offset
  }

  /** What an ACK would tell now, as offsets. */
  sack(room = 8): [number, number][] {
    const out = room === 8 ? this.#out : new Int32Array(room)
    const count = early.sackBlocks(this.context, this.p, out)
    return Array.from({ length: count }, (_, i) => [add(out[2 * i]!, -this.base), add(out[2 * i + 1]!, -this.base)])
  }

  /** The pieces as offsets, by a walk along the links; checks all that is counted and noted. */
  pieces(): { start: number; bytes: Uint8Array }[] {
    const pieces: { start: number; bytes: Uint8Array }[] = []
    let memory = 0
    let total = 0
    for (let piece = this.p.earlyFirst; piece !== 0; ) {
      this.m.at = piece
      const bytes = this.context.mbufs.bytes(piece)
      assert.equal(bytes.length, this.m.total)
      assert.notEqual(bytes.length, 0)
      pieces.push({ start: add(this.m.network, -this.base), bytes })
      memory += this.context.mbufs.memoryBytes(piece)
      total += bytes.length
      piece = this.m.link
    }
    assert.equal(this.p.earlyBytes, total)
    assert.equal(this.p.earlyMemory, memory)
    assert.equal(early.pieces(this.context, this.p), pieces.length)
    assert.equal(early.blocks(this.context, this.p), this.blocks(pieces).length)
    return pieces
  }

  blocks(pieces = this.pieces()): [number, number][] {
    const blocks: [number, number][] = []
    for (const { start, bytes } of pieces) {
      const last = blocks[blocks.length - 1]
      if (last !== undefined) assert(last[1] <= start, 'pieces are in order and do not overlap')
      if (last !== undefined && last[1] === start) last[1] += bytes.length
      else blocks.push([start, start + bytes.length])
    }
    return blocks
  }

  /** Frees all and checks that it was all. */
  end(): void {
    early.free(this.context, this.p)
    assert.equal(this.p.earlyBytes, 0)
    assert.equal(this.p.earlyMemory, 0)
    assert.deepEqual(this.pieces(), [])
    assert.equal(this.mbufs, this.#live, 'no mbuf is lost')
  }
}

describe('tcp reassembly', () => {
  test('what came too early is given when the bytes before it have come (@rfc 9293 SHLD-31)', () => {
    const bench = new Bench(1000)
    assert.equal(bench.insert(100, 50), Early.queued)
    assert.equal(bench.take(), undefined)
    bench.p.rcvNxt = add(bench.base, 100)
    assert.equal(bench.takeAll(), 150)
    assert.deepEqual(bench.pieces(), [])
    bench.end()
  })

  test('packets that come backwards are given in order', () => {
    const bench = new Bench(-3000)
    for (let i = 4; i >= 0; i--) assert.equal(bench.insert(i * 1448, 1448), Early.queued)
    assert.equal(bench.takeAll(), 5 * 1448)
    bench.end()
  })

  test('what came first stays, and what comes again is cut off at both sides', () => {
    const bench = new Bench()
    bench.insert(100, 100, 1)
    bench.insert(300, 100, 1)
    // Covers the end of the first, the hole, and the beginning of the second.
    assert.equal(bench.insert(150, 200, 2), Early.queued)
    assert.deepEqual(bench.blocks(), [[100, 400]])
    bench.p.rcvNxt = 100
    let offset = 100
    for (let bytes = bench.take(); bytes !== undefined; bytes = bench.take())
      for (const byte of bytes) {
        assert.equal(byte, byteAt(offset, offset < 200 || offset >= 300 ? 1 : 2), `offset ${offset}`)
        offset++
      }
    assert.equal(offset, 400)
    bench.end()
  })

  test('a packet that covers several holes fills them all', () => {
    const bench = new Bench(-500)
    for (const start of [100, 300, 500]) bench.insert(start, 100)
    assert.equal(bench.insert(50, 700), Early.queued)
    assert.deepEqual(bench.blocks(), [[50, 750]])
    bench.p.rcvNxt = add(bench.base, 50)
    assert.equal(bench.takeAll(), 750)
    bench.end()
  })

  test('a packet in parts is cut through its parts', () => {
    const bench = new Bench()
    bench.insert(1000, 2500)
    // Its first 1200 bytes are old: one part and a bit of the next.
    bench.p.rcvNxt = 1200
    assert.equal(bench.insert(200, 5000, 0, [1000, 300, 2000]), Early.queued)
    assert.equal(bench.takeAll(), 5200)
    bench.end()
  })

  test('a packet that is cut at the end of a part does not begin with an empty part', () => {
    const bench = new Bench()
    bench.insert(100, 100)
    bench.insert(100, 1500, 0, [100, 700])
    bench.p.rcvNxt = 100
    assert.equal(bench.takeAll(), 1600)
    bench.end()
  })

  test('what rcv.nxt has passed in the meantime is cut off when it is taken', () => {
    const bench = new Bench()
    bench.insert(100, 2000)
    bench.insert(3000, 2000)
    bench.p.rcvNxt = 4500
    assert.equal(bench.takeAll(), 5000)
    bench.end()
  })

  test('a packet of nothing new is a duplicate', () => {
    const bench = new Bench()
    bench.insert(1000, 2000)
    assert.equal(bench.insert(1000, 2000), Early.duplicate)
    assert.equal(bench.insert(1500, 100), Early.duplicate)
    bench.p.rcvNxt = 500
    assert.equal(bench.insert(0, 500), Early.duplicate)
    assert.equal(bench.insert(0, 1), Early.duplicate)
    assert.deepEqual(bench.blocks(), [[1000, 3000]])
    bench.end()
  })

  test('a packet that refers to the bytes of somebody else is copied, since it is kept', () => {
    const bench = new Bench()
    const { mbufs, u8 } = bench.context
    const source = bench.cpu.slab.allocate(512)
    u8.fill(0x55, source, source + 512)
    const packet = mbufs.reference(source + 64, 400)
    assert.equal(early.insert(bench.context, bench.p, packet, 10), Early.queued)
    u8.fill(0xaa, source + 64, source + 512)
    assert(bench.pieces()[0]!.bytes.every((byte) => byte === 0x55))
    bench.cpu.slab.free(source)
    bench.end()
  })

  test('what is known of a block goes on with its next piece when the first is taken', () => {
    for (const behind of [false, true]) {
      const bench = new Bench(-2000)
      if (behind) bench.insert(5000, 10)
      for (const start of [0, 1448, 2896]) bench.insert(start, 1448)
      bench.take()
      // In front of the block behind, or behind all.
      bench.insert(4344, 600)
      bench.insert(6000, 10)
      bench.take()
      assert.deepEqual(
        bench.blocks(),
        behind
          ? [
              [2896, 4944],
              [5000, 5010],
              [6000, 6010],
            ]
          : [
              [2896, 4944],
              [6000, 6010],
            ],
      )
      bench.insert(4944, 1056)
      assert.deepEqual(bench.blocks(), [[2896, 6010]])
      assert.equal(bench.takeAll(), 6010)
      bench.end()
    }
  })

  test('after all was freed it begins anew', () => {
    const bench = new Bench()
    for (const start of [100, 300, 500]) bench.insert(start, 50)
    bench.insert(100, 50)
    early.free(bench.context, bench.p)
    assert.deepEqual(bench.sack(), [])
    bench.insert(700, 50)
    assert.deepEqual(bench.sack(), [[700, 750]])
    assert.deepEqual(bench.blocks(), [[700, 750]])
    bench.end()
  })

  test('sequence numbers may be given as unsigned ones', () => {
    const bench = new Bench(-10)
    assert.equal(early.insert(bench.context, bench.p, bench.packet(0, 5), 2 ** 32 - 10), Early.queued)
    assert.equal(bench.takeAll(), 5)
    bench.end()
  })
})

describe('what is told of it', () => {
  test('the first block is the one of the latest arrival, then the others by how recently they changed (@rfc 2018 4)', () => {
    const bench = new Bench(2 ** 31 - 150)
    bench.insert(100, 10)
    bench.insert(200, 10)
    bench.insert(300, 10)
    assert.deepEqual(bench.sack(), [
      [300, 310],
      [200, 210],
      [100, 110],
    ])
    bench.insert(110, 10)
    assert.deepEqual(bench.sack(), [
      [100, 120],
      [300, 310],
      [200, 210],
    ])
    bench.insert(190, 10)
    assert.deepEqual(bench.sack(), [
      [190, 210],
      [100, 120],
      [300, 310],
    ])
    bench.end()
  })

  test('of five blocks the least recent is left out', () => {
    const bench = new Bench()
    for (const start of [500, 400, 300, 200, 100]) bench.insert(start, 10)
    assert.deepEqual(
      bench.sack().map(([start]) => start),
      [100, 200, 300, 400],
    )
    assert.deepEqual(
      bench.sack(6).map(([start]) => start),
      [100, 200, 300],
    )
    bench.end()
  })

  test('when recent blocks have become one, the room is for those that come first in the stream', () => {
    const bench = new Bench()
    for (const start of [600, 500, 400, 300, 200, 100]) bench.insert(start, 10)
    // 100 to 310 is one block now; 400 was the fourth of the recent ones.
    bench.insert(110, 90)
    bench.insert(210, 90)
    assert.deepEqual(bench.sack(), [
      [100, 310],
      [400, 410],
      [500, 510],
      [600, 610],
    ])
    bench.end()
  })

  test('nothing is told of what has been taken', () => {
    const bench = new Bench()
    bench.insert(100, 2000)
    bench.insert(2100, 2000)
    bench.insert(5000, 10)
    bench.insert(0, 100)
    assert.equal(bench.takeAll(), 4100)
    assert.deepEqual(bench.sack(), [[5000, 5010]])
    bench.end()
  })

  test('a block stays where it is among the recent ones while it is taken piece by piece', () => {
    const bench = new Bench()
    bench.insert(5000, 10)
    bench.insert(0, 1448)
    bench.insert(1448, 1448)
    bench.take()
    assert.deepEqual(bench.sack(), [
      [1448, 2896],
      [5000, 5010],
    ])
    bench.end()
  })

  test('a duplicate below rcv.nxt is told first, and once (@rfc 2883 4)', () => {
    const bench = new Bench()
    bench.p.rcvNxt = 1000
    bench.insert(2000, 500)
    noteDuplicate(bench.p, 500, 600)
    assert.deepEqual(bench.sack(), [
      [500, 600],
      [2000, 2500],
    ])
    assert.deepEqual(bench.sack(), [[2000, 2500]])
    bench.end()
  })

  test('a duplicate of what waits is told, and then the block that it belongs to (@rfc 2883 4)', () => {
    const bench = new Bench()
    bench.insert(2000, 500)
    bench.insert(4000, 500)
    bench.sack()
    bench.insert(2100, 100)
    assert.deepEqual(bench.sack(), [
      [2100, 2200],
      [2000, 2500],
      [4000, 4500],
    ])
    bench.end()
  })

  test('of a packet that is partly new the rest is told as a duplicate (@rfc 2883 4)', () => {
    const bench = new Bench(-700)
    bench.p.rcvNxt = add(bench.base, 600)
    bench.insert(500, 400)
    assert.deepEqual(bench.sack(), [
      [500, 600],
      [600, 900],
    ])
    bench.insert(800, 200)
    assert.deepEqual(bench.sack(), [
      [800, 900],
      [600, 1000],
    ])
    bench.end()
  })

  test('of several duplicates in one packet the first is told', () => {
    const bench = new Bench()
    bench.insert(100, 100)
    bench.insert(300, 100)
    bench.insert(50, 500)
    assert.deepEqual(bench.sack(), [
      [100, 200],
      [50, 550],
    ])
    bench.end()
  })

  test('of what is old and what waits, in one packet, the first is told', () => {
    const bench = new Bench()
    bench.p.rcvNxt = 100
    bench.insert(200, 100)
    bench.sack()
    bench.insert(50, 200)
    assert.deepEqual(bench.sack(), [
      [50, 100],
      [100, 300],
    ])
    bench.end()
  })

  test('duplicates that follow each other before an ACK goes are one', () => {
    const bench = new Bench()
    bench.p.rcvNxt = 5000
    bench.insert(1000, 500)
    bench.insert(1500, 500)
    bench.insert(900, 100)
    assert.deepEqual(bench.sack(), [[900, 2000]])
    bench.insert(1000, 100)
    bench.insert(3000, 100)
    assert.deepEqual(bench.sack(), [[3000, 3100]], 'otherwise the latest counts')
    bench.end()
  })

  test('a peer that knows no SACK is told of no duplicate', () => {
    const bench = new Bench()
    bench.p.flags = 0
    bench.p.rcvNxt = 5000
    bench.insert(1000, 500)
    assert.deepEqual(bench.sack(), [])
    assert.equal(bench.p.flags, 0)
    bench.end()
  })
})

describe('bounds of what waits', () => {
  test('no more bytes than the receive buffer', () => {
    const bench = new Bench(0, 10_000)
    for (let i = 0; i < 5; i++) assert.equal(bench.insert(100 + i * 2000, 2000), Early.queued)
    assert.equal(bench.insert(10_100, 1), Early.droppedBytes)
    assert.equal(bench.p.earlyBytes, 10_000)
    bench.end()
  })

  test('the packet that everything waits for is taken whatever the bounds say', () => {
    const bench = new Bench(0, 10_000)
    for (let i = 0; i < 5; i++) bench.insert(1000 + i * 2000, 2000)
    assert.equal(bench.insert(0, 1000), Early.queued)
    assert.equal(bench.takeAll(), 11_000)
    bench.end()
  })

  test('a byte here and a byte there: memory, blocks and pieces stay bounded (CVE-2018-5390)', () => {
    const bench = new Bench(-1000, 1 << 20)
    const reasons = new Map<Early, number>()
    for (let i = 0; i < 20_000; i++) {
      const result = bench.insert(2 + i * 2, 1)
      reasons.set(result, (reasons.get(result) ?? 0) + 1)
    }
    assert.equal(reasons.get(Early.queued), EarlyLimits.blocks)
    assert.equal(reasons.get(Early.droppedBlocks), 20_000 - EarlyLimits.blocks)
    assert.equal(early.blocks(bench.context, bench.p), EarlyLimits.blocks)
    assert(bench.p.earlyMemory <= EarlyLimits.blocks * 2048)
    // A packet over all of it makes it one block, and few pieces.
    assert.equal(bench.insert(1, 2000), Early.queued)
    assert.deepEqual(bench.blocks(), [[1, 2001]])
    assert(early.pieces(bench.context, bench.p) <= 4)
    bench.end()
  })

  test('a small receive buffer bounds memory at half a mebibyte', () => {
    const bench = new Bench(0, 64 * 1024)
    let queued = 0
    for (let i = 0; i < 400; i++) if (bench.insert(2 + i * 2, 1) === Early.queued) queued++
    assert.equal(queued, 256)
    assert.equal(bench.p.earlyMemory, 2 * EarlyLimits.bufferMin)
    assert.equal(bench.insert(5000, 1), Early.droppedMemory)
    // One that has room in a neighbour needs no memory.
    assert.equal(bench.insert(3, 1), Early.queued)
    bench.end()
  })

  test('no more pieces than 4096', () => {
    const bench = new Bench(0, 1 << 30)
    // Too large to be put behind a neighbour.
    for (let i = 0; i < EarlyLimits.pieces; i++) assert.equal(bench.insert(10 + i * 1100, 1100), Early.queued)
    assert.equal(bench.insert(10 + EarlyLimits.pieces * 1100, 1100), Early.droppedPieces)
    assert.equal(early.pieces(bench.context, bench.p), EarlyLimits.pieces)
    bench.end()
  })

  test('when the machine has no memory left the packet is dropped', () => {
    const bench = new Bench()
    const { mbufs, u8 } = bench.context
    const source = bench.cpu.slab.allocate(2048)
    u8.fill(1, source + 64, source + 2048)
    bench.insert(100, 1200)
    const packet = mbufs.reference(source + 64, 1900)
    const spanning = bench.packet(50, 1400)
    const taken: number[] = []
    for (let m = mbufs.allocate(); m !== 0; m = mbufs.allocate()) taken.push(m)
    assert.equal(
      early.insert(bench.context, bench.p, packet, 5000),
      Early.droppedMemory,
      'no copy of what it refers to',
    )
    assert.equal(
      early.insert(bench.context, bench.p, spanning, 50),
      Early.droppedMemory,
      'no piece for the hole in front',
    )
    for (const m of taken) mbufs.free(m)
    assert.deepEqual(bench.blocks(), [[100, 1300]])
    bench.cpu.slab.free(source)
    bench.end()
  })

  test('what is not small is not copied behind its neighbour, though that has room', () => {
    const bench = new Bench()
    const { mbufs } = bench.context
    const cluster = mbufs.allocateCluster(8000)
    bench.m.at = cluster
    bench.m.length = bench.m.total = 1000
    early.insert(bench.context, bench.p, cluster, 1000)
    bench.insert(2000, EarlyLimits.mergeBytes + 1)
    assert.equal(early.pieces(bench.context, bench.p), 2)
    bench.insert(2000 + EarlyLimits.mergeBytes + 1, 1)
    bench.insert(1500, 10)
    assert.equal(early.pieces(bench.context, bench.p), 2)
    bench.end()
  })

  test('small neighbours share an mbuf, from whichever side they come', () => {
    for (const order of ['up', 'down', 'even first'] as const) {
      const bench = new Bench()
      const offsets = Array.from({ length: 200 }, (_, i) => 10 + i * 10)
      if (order === 'down') offsets.reverse()
      if (order === 'even first') offsets.sort((a, b) => (a % 20) - (b % 20) || a - b)
      for (const offset of offsets) assert.equal(bench.insert(offset, 10), Early.queued)
      assert.deepEqual(bench.blocks(), [[10, 2010]], order)
      assert(early.pieces(bench.context, bench.p) <= 3, `${order}: ${early.pieces(bench.context, bench.p)} pieces`)
      bench.p.rcvNxt = 10
      assert.equal(bench.takeAll(), 2010)
      bench.end()
    }
  })
})

describe('tcp reassembly against a model', () => {
  /** Which transmission of each byte is there, and what an ACK must tell. */
  class Model {
    readonly copies = new Map<number, number>()
    next = 0
    /** Starts of blocks, the latest arrival first; those that were known when they last changed. */
    recent: number[] = []
    duplicate: [number, number] | undefined

    insert(offset: number, bytes: number, copy: number): boolean {
      let first = -1
      let last = -1
      let isNew = false
      const touched: number[] = []
      for (let at = offset; at < offset + bytes; at++) {
        if (at < this.next || this.copies.has(at)) {
          // The first run of duplicates.
          if (first < 0) first = at
          if (last < 0 || last === at - 1) last = at
          else if (at > last + 1) continue
        } else {
          this.copies.set(at, copy)
          isNew = true
        }
      }
      for (let at = offset; at < offset + bytes; at++) if (at >= this.next) touched.push(at)
      if (first >= 0) this.duplicate = [first, last + 1]
      if (touched.length > 0) {
        const start = this.blockOf(touched[touched.length - 1]!)[0]
        this.recent = [start, ...this.recent]
      }
      return isNew
    }

    blockOf(at: number): [number, number] {
      let start = at
      let end = at
      while (this.copies.has(start - 1)) start--
      while (this.copies.has(end)) end++
      return [start, end]
    }

    blocks(): [number, number][] {
      const blocks: [number, number][] = []
      for (const at of [...this.copies.keys()].sort((a, b) => a - b)) {
        const last = blocks[blocks.length - 1]
        if (last !== undefined && last[1] === at) last[1]++
        else blocks.push([at, at + 1])
      }
      return blocks
    }
  }

  const SPAN = 6000
  const step = fc.record({
    offset: fc.nat({ max: SPAN }),
    bytes: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2500 })),
    parts: fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 3 }),
    take: fc.constantFrom(0, 0, 1, 2, 99),
    near: fc.boolean(),
  })
  const bases = fc.constantFrom(0, 2 ** 31 - 3000, -3000, 2 ** 31 - 1, -1)

  test('any segments in any order, at any place of the sequence space, give what a map of bytes gives', () => {
    fc.assert(
      fc.property(bases, fc.array(step, { minLength: 1, maxLength: 60 }), (base, steps) => {
        const bench = new Bench(base)
        const model = new Model()
        for (const [copy, { offset, bytes, parts, take, near }] of steps.entries()) {
          const at = near ? Math.max(model.next - 30, 0) + (offset % 200) : offset
          const fresh = model.insert(at, bytes, copy)
          assert.equal(bench.insert(at, bytes, copy, parts), fresh ? Early.queued : Early.duplicate)
          const pieces = bench.pieces()
          assert.deepEqual(bench.blocks(pieces), model.blocks())
          for (const { start, bytes: data } of pieces)
            for (const [i, byte] of data.entries()) {
              assert.equal(byte, byteAt(start + i, model.copies.get(start + i)), `the byte at ${start + i}`)
            }
          for (let i = 0; i < take; i++) {
            const data = bench.take()
            assert.equal(data !== undefined, model.copies.has(model.next), 'a packet is given if its bytes are there')
            if (data === undefined) break
            for (const byte of data) {
              assert.equal(byte, byteAt(model.next, model.copies.get(model.next)))
              model.copies.delete(model.next++)
            }
            assert.equal(add(bench.p.rcvNxt, -bench.base), model.next)
            assert.deepEqual(bench.blocks(), model.blocks())
          }
        }
        bench.end()
      }),
      { seed, numRuns: 150 },
    )
  })

  test('what is told are blocks that are there, each once, the latest first, and as many as there is room for', () => {
    fc.assert(
      fc.property(bases, fc.array(step, { minLength: 1, maxLength: 40 }), (base, steps) => {
        const bench = new Bench(base)
        const model = new Model()
        for (const [copy, { offset, bytes }] of steps.entries()) {
          // Nothing at rcv.nxt, so that nothing is ever taken.
          const at = offset + 1
          model.duplicate = undefined
          model.insert(at, bytes, copy)
          bench.insert(at, bytes, copy)
          const told = bench.sack()
          if (model.duplicate !== undefined) assert.deepEqual(told.shift(), model.duplicate)
          const known = model.blocks()
          assert.equal(told.length, Math.min(known.length, model.duplicate === undefined ? 4 : 3))
          assert.deepEqual(told[0], model.blockOf(at + bytes - 1))
          for (const block of told) {
            const index = known.findIndex(([start, end]) => start === block[0] && end === block[1])
            assert(index >= 0, `there is a block ${block.join('-')}, and it was not told before`)
            known.splice(index, 1)
          }
          // The second is the one that changed before, unless it has become a part of the first, or left the list of four.
          const before_ = model.recent[1]
          if (before_ !== undefined && told.length > 1) {
            const block = model.blockOf(before_)
            if (block[0] !== told[0]![0]) assert.deepEqual(told[1], block)
          }
        }
        bench.end()
      }),
      { seed, numRuns: 120 },
    )
  })

  test('the order of what is told is that of the latest arrivals', () => {
    const random = new Random(seed)
    const bench = new Bench(-20_000)
    const order: number[] = []
    for (let i = 0; i < 3000; i++) {
      // Twelve blocks that never meet, each growing at its end.
      const block = random.below(12)
      const start = 1 + block * 4000
      const index = order.indexOf(start)
      if (index >= 0) order.splice(index, 1)
      order.unshift(start)
      const grown = bench.blocks().find(([from]) => from === start)
      const at = grown === undefined ? start : grown[1]
      if (at - start > 3000) continue
      bench.insert(at, 1 + random.below(20))
      assert.deepEqual(
        bench.sack().map(([from]) => from),
        order.slice(0, 4),
      )
    }
    bench.end()
  })

  test('under bounds nothing is lost without being counted, and what is given is the stream', () => {
    fc.assert(
      fc.property(bases, fc.nat(), (base, from) => {
        const random = new Random(from)
        const bench = new Bench(base, 20_000)
        const live = bench.mbufs
        let reached = 0
        for (let i = 0; i < 300; i++) {
          const offset = Math.max(0, reached - 100) + random.below(random.chance(0.3) ? 120 : 20_000)
          const bytes = 1 + random.below(random.chance(0.5) ? 3 : 1500)
          bench.insert(offset, Math.min(bytes, reached + 20_000 - offset + 1))
          assert(bench.p.earlyBytes <= 20_000 + 1500)
          assert(bench.p.earlyMemory <= 2 * EarlyLimits.bufferMin + 4096)
          bench.pieces()
          reached = bench.takeAll()
        }
        early.free(bench.context, bench.p)
        assert.equal(bench.mbufs, live)
      }),
      { seed, numRuns: 30 },
    )
  })
})
