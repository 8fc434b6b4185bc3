// What TCP must survive: one test for each class of hostile input, with the numbers of the list that hostile.test.ts begins. Common to all,
// and checked after each: nothing throws, every segment is accounted for, and at rest there is as much free memory as before.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Limits } from '../src/base/limits.ts'
import { Random } from '../src/base/random.ts'
import { ArpCounters, TcpCounters } from '../src/net/counters.ts'
import { DISCIPLINES } from '../src/net/discipline.ts'
import { EarlyLimits } from '../src/net/tcp/reassembly.ts'
import {
  type Bytes,
  checksumOf,
  counting,
  ether,
  icmp,
  join,
  put16,
  tcp,
  tcpOption,
  text,
} from '../src/net/testing/frame.ts'
import { HOST, onHosts, PEER, PEER_LINK, type TestHost, withHost } from '../src/net/testing/host.ts'
import { Peer, type PeerOptions } from '../src/net/testing/peer.ts'
import type { TestServer, TestSocket } from '../src/net/testing/program.ts'

const SECOND = 1_000_000
const EVERY_FLAG = [...'FSRPAUEC']
const FLAGS = Array.from({ length: 256 }, (_, bits) => EVERY_FLAG.filter((_, bit) => (bits >> bit) & 1).join(''))

const IS_LONG = process.env.DAMSELFLY_LONG !== undefined
/** Of strangers who are not there. A million take about a minute under each discipline. */
const SYNS = IS_LONG ? 1_000_000 : 30_000
const FLOOD_ROUNDS = 20
const FLOOD_BURST = 100
const FLOOD_LIMIT_MS = 15 * 60_000

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Of this thread, behind a collection. */
function heapBytes(): number {
  collect()
  return process.memoryUsage().heapUsed
}

/** That the slabs of all CPUs have taken. */
function zones(host: TestHost): number {
  return host.machine.cpus.reduce((all, { slab }) => slab.read().reduce((sum, each) => sum + each.zones, all), 0)
}

function strangersSyn(random: Random): Bytes {
  return tcp({
    source: `10.0.0.${20 + random.below(200)}`,
    sourcePort: 1 + random.below(65535),
    targetPort: 7,
    flags: 'S',
    seq: random.next() >>> 0,
    tcpOptions: tcpOption.mss(1460),
  })
}

/** Objects of all slabs that are in use; but for what is known of neighbours and destinations, which has bounds of its own. */
function live(host: TestHost): number {
  let count = -host.stacks.reduce((sum, { arp, hostCache }) => sum + arp.size + hostCache.size, 0)
  for (const { set, values } of host.machine.counters()) {
    if (set === 'slab') count += values.allocated! - values.freed!
  }
  return count
}

interface Victim {
  readonly host: TestHost
  readonly server: TestServer
  /** A connection, and what has become of it. */
  readonly connect: (options?: PeerOptions) => { peer: Peer; program: TestSocket }
  /** All connections so far end: they send nothing again. */
  readonly forsake: () => void
  /** Memory in use, over what there was before. */
  readonly used: () => number
}

/**
 * A host with a server, to which `attack` does what it wants. Afterwards all connections are closed, time passes, and the host has to be
 * as it was before, and still do its work.
 */
function attacked(
  host: TestHost,
  attack: (victim: Victim) => void,
  { backlog = 511 }: { backlog?: number } = {},
): void {
  const cpu = host.cpuCount - 1
  const server = host.listen({ port: 7, backlog }, cpu)
  const programs: TestSocket[] = []
  const forsake = () => {
    for (const program of [...programs.splice(0), ...server.sockets.splice(0)]) {
      if (!program.log.includes('closed')) program.abort()
    }
    host.take()
  }
  const rest = () => {
    host.run(100_000)
    forsake()
    // TIME-WAIT, FIN-WAIT-2, embryos, whatever is still to be asked.
    host.run(1500 * SECOND)
    host.take()
  }
  // What is made once and stays: neighbours, places of tables, the host cache.
  const work = () => {
    const ports = Array.from({ length: 8 }, (_, i) => 61_000 + i)
    for (const port of ports) {
      const peer = Peer.connect(host, { port })
      const program = server.accept()
      peer.send('PA', { data: text('are you there?') })
      assert.deepEqual(program.received(), text('are you there?'))
      program.send(text('yes'))
      assert(peer.take().some(({ data }) => data.length === 3))
      peer.ack = 4
      program.close()
      peer.take()
      peer.ack = 5
      peer.send('FA')
      peer.take()
    }
    rest()
  }
  work()
  const before = live(host)
  let port = 20_000
  attack({
    host,
    server,
    connect: (peerOptions = {}) => {
      // Where an attack has got ahead with the same ports there is an embryo in the way: three times in a row it is not.
      for (let tries = 0; tries < 3; tries++) {
        const peer = Peer.connect(host, { port: port++, ...peerOptions })
        const index = server.sockets.findIndex(({ socket }) => socket.remotePort === port - 1)
        const [program] = index < 0 ? [] : server.sockets.splice(index, 1)
        if (program === undefined) {
          host.take()
          continue
        }
        programs.push(program)
        return { peer, program }
      }
      return assert.fail('a connection comes')
    },
    forsake,
    used: () => live(host) - before,
  })
  rest()
  assert.equal(live(host) - before, 0, 'all memory is back')
  work()
  const { opened, closed } = host.counts(TcpCounters)
  assert.equal(opened, closed, 'no connection is left')
}

/** A packet whose TCP header is as `change` leaves it, with its checksum. */
function changed(packet: Bytes, change: (segment: Bytes) => void): Bytes {
  const bytes = Uint8Array.from(packet)
  const segment = bytes.subarray(20)
  change(segment)
  put16(segment, 16, 0)
  const pseudo = join(bytes.subarray(12, 20), [0, 6, segment.length >>> 8, segment.length & 0xff])
  put16(segment, 16, checksumOf(pseudo, segment))
  return bytes
}

/** How a connection is brought into each state, and its peer's next number. */
const STATES: readonly [name: string, enter: (victim: Victim) => Peer][] = [
  [
    'SYN-RECEIVED',
    ({ host }) => {
      const peer = new Peer(host, { port: 30_000 + host.count(TcpCounters, 'embryos') })
      peer.sendSyn()
      peer.expectSyn('SA')
      return peer
    },
  ],
  ['ESTABLISHED', ({ connect }) => connect().peer],
  [
    'CLOSE-WAIT',
    ({ connect }) => {
      const { peer } = connect()
      peer.send('FA')
      peer.expect('A')
      return peer
    },
  ],
  [
    'FIN-WAIT-1',
    ({ connect }) => {
      const { peer, program } = connect()
      program.shutdown()
      peer.expect('FA')
      peer.ack = 1
      return peer
    },
  ],
  [
    'FIN-WAIT-2',
    ({ connect }) => {
      const { peer, program } = connect()
      program.shutdown()
      peer.expect('FA')
      peer.send('A')
      return peer
    },
  ],
  [
    'CLOSING',
    ({ connect }) => {
      const { peer, program } = connect()
      program.shutdown()
      peer.expect('FA')
      peer.send('FA', { ack: 1 })
      peer.expect('A')
      peer.ack = 1
      return peer
    },
  ],
  [
    'LAST-ACK',
    ({ connect }) => {
      const { peer, program } = connect()
      peer.send('FA')
      peer.expect('A')
      program.shutdown()
      peer.expect('FA')
      peer.ack = 1
      return peer
    },
  ],
  [
    'TIME-WAIT',
    ({ connect }) => {
      const { peer, program } = connect()
      program.close()
      peer.expect('FA')
      peer.send('FA')
      peer.expect('A')
      return peer
    },
  ],
]

describe('hostile input to TCP', () => {
  onHosts('24: a data offset below the header or beyond the segment is dropped', {}, (host) => {
    attacked(host, ({ connect }) => {
      const { peer, program } = connect()
      const before = host.count(TcpCounters, 'droppedOffset')
      for (const length of [0, 1, 3, 4, 19, 20, 39]) {
        for (let words = 0; words < 16; words++) {
          if (words * 4 >= 20 && words * 4 <= 20 + length) continue
          const packet = peer.packet('PA', { data: counting(length), seq: 1 })
          host.postPacket(changed(packet, (segment) => (segment[12] = words << 4)))
          peer.seq = 1
        }
        host.run()
      }
      for (let length = 0; length < 20; length++) {
        host.inject(changed(tcp({ flags: 'S' }), () => {}).subarray(0, 20 + length))
      }
      peer.expectNothing()
      assert.deepEqual(program.received(), text(''))
      assert(host.count(TcpCounters, 'droppedOffset') - before > 80)
    })
  })

  test('25: options of every kind and length end, in a SYN and in data', () => {
    withHost({ cpus: 2 }, (host) => {
      attacked(host, ({ connect }) => {
        const { peer, program } = connect({ timestamps: false })
        for (let kind = 0; kind < 256; kind++) {
          for (let length = 0; length < 256; length++) {
            const fill = kind ^ length
            peer.post('PA', { seq: 1, data: text('x'), options: [1, kind, length, ...new Array<number>(9).fill(fill)] })
          }
          peer.seq = 1
          host.run(200)
          host.take()
          if (kind % 16 === 0) {
            for (const length of [0, 1, 2, 3, 4, 5, 10, 39, 40, 41, 255]) {
              host.postPacket(
                tcp({
                  sourcePort: 12_000 + kind,
                  targetPort: 7,
                  flags: 'S',
                  tcpOptions: [kind + 2, length, 1, 1, 1, 1, 1, 1],
                }),
              )
            }
            host.run()
          }
        }
        peer.seq = 2
        assert.deepEqual(program.received(), text('x'), 'the one byte of all of them')
        program.send(text('still here'))
        host.run(SECOND)
        assert(peer.take().some(({ data }) => data.length === 10))
      })
    })
  })

  for (const [state, enter] of STATES) {
    test(`26: every combination of flags in ${state}, at every place of the window`, () => {
      withHost({ cpus: 1, seed: 26 }, (host) => {
        attacked(host, (victim) => {
          let peer = enter(victim)
          const random = new Random(26)
          for (const flags of FLAGS) {
            const next = peer.seq
            for (const seq of [
              next,
              next - 1,
              next + 1,
              next + 30_000,
              next + 70_000,
              next - 70_000,
              next + 0x7fffffff,
            ]) {
              const ack = [peer.ack, peer.ack - 1, peer.ack + 1, peer.ack + 100_000, 0][random.below(5)]!
              const data = counting([0, 0, 1, 100][random.below(4)]!)
              const packet = peer.packet(flags, { seq, ack, data, urgent: random.below(3) * 50 })
              peer.seq = next
              host.postPacket(packet)
            }
            host.run(100)
            host.take()
            // What has ended the connection is followed by another.
            if (random.below(4) === 0) {
              victim.forsake()
              peer = enter(victim)
            }
            host.take()
          }
        })
      })
    })
  }

  test('26: every combination of flags to a listener, to nobody, and in SYN-SENT', () => {
    withHost({ cpus: 2, seed: 27 }, (host) => {
      attacked(host, () => {
        for (const flags of FLAGS) {
          for (const targetPort of [7, 8]) {
            const sourcePort = 14_000 + FLAGS.indexOf(flags)
            host.inject(tcp({ sourcePort, targetPort, flags, seq: 5, ack: 9 }, text('x')))
            const answers = host.take().filter(({ tcp }) => tcp?.targetPort === sourcePort)
            assert(answers.length <= 1)
            if (flags.includes('R')) assert.equal(answers.length, 0, 'a reset is never answered')
          }
          const program = host.connect({ address: PEER, port: 80 })
          const peer = Peer.awaiting(host)
          for (const ack of [0, 1, 2]) peer.send(flags, { seq: 0, ack, data: text('y') })
          program.abort()
          host.run()
          host.take()
        }
      })
    })
  })

  onHosts('27: a wrong checksum and a pseudo header of another length are dropped', {}, (host) => {
    attacked(host, ({ connect }) => {
      const { peer, program } = connect()
      const before = host.count(TcpCounters, 'droppedChecksum')
      for (let length = 0; length < 20; length++) {
        const good = peer.packet('PA', { data: counting(length), seq: 1 })
        peer.seq = 1
        const bad = Uint8Array.from(good)
        put16(bad, 36, (((bad[36]! << 8) | bad[37]!) + 1) & 0xffff)
        host.inject(bad)
        // As if the segment had a byte more.
        const trick = Uint8Array.from(good)
        put16(trick, 36, 0)
        const pseudo = join(trick.subarray(12, 20), [0, 6, 0, 21 + length])
        put16(trick, 36, checksumOf(pseudo, trick.subarray(20)))
        host.inject(trick)
      }
      assert.equal(host.count(TcpCounters, 'droppedChecksum') - before, 40)
      peer.expectNothing()
      assert.deepEqual(program.received(), text(''))
    })
  })

  onHosts('28: urgent pointers of every kind leave the data where it is', {}, (host) => {
    attacked(host, ({ connect }) => {
      const { peer, program } = connect()
      let sent = 0
      for (const urgent of [0, 1, 2, 9, 10, 11, 1000, 32767, 32768, 65535]) {
        for (const length of [0, 10]) {
          for (let again = 0; again < 3; again++) {
            peer.send('PUA', { data: counting(length, sent), urgent })
            sent += length
          }
        }
      }
      const all = program.received()
      assert.equal(all.length, sent)
      for (let i = 0; i < sent; i++) assert.equal(all[i], i & 0xff)
      // Without URG the pointer is nothing.
      program.log.length = 0
      peer.send('PA', { data: text('x'), urgent: 5 })
      program.expect()
      // And with a window of nothing, a reset, or a FIN behind it.
      peer.send('FPUA', { data: text('end'), urgent: 60_000 })
      host.run(100_000)
      assert.equal(program.received().length, 4)
      peer.take()
    })
  })

  onHosts('29: an MSS of nothing, of little and of too much', {}, (host) => {
    attacked(host, ({ connect }) => {
      for (const mss of [1, 2, 8, 12, 47, 48, 87, 88, 100, 1461, 9000, 65535]) {
        for (const timestamps of [false, true]) {
          const { peer, program } = connect({ mss, timestamps })
          program.do((socket) => socket.setNoDelay(true))
          program.send(counting(600))
          const [first] = peer.take()
          assert(first!.data.length >= Math.min(mss, 76) && first!.data.length <= 1460, `${mss}: ${first!.data.length}`)
          assert(first!.data.length <= Math.max(mss, 88))
        }
      }
      const zero = connect({ mss: 0 })
      zero.peer.take()
      const peer = new Peer(host, { port: 19_000 })
      peer.sendSyn('S', { options: tcpOption.mss(0) })
      peer.expectSyn('SA')
      peer.send('A')
    })
  })

  test('30: SACK blocks of every kind cost no memory, and the connection goes on', () => {
    withHost({ cpus: 1, seed: 30 }, (host) => {
      attacked(host, ({ connect, used }) => {
        const { peer, program } = connect({ sack: true, windowScale: 7, window: 10_000 })
        const bytes = counting(250_000)
        program.send(bytes)
        const random = new Random(30)
        let most = 0
        let una = 1
        let next = 1
        const place = () => una + random.below(Math.max(next - una, 1) + 20) - 10
        for (let i = 0; i < 12_000; i++) {
          const blocks = Array.from({ length: 1 + random.below(4) }, (): [number, number] => {
            const start = place()
            const kind = random.below(6)
            if (kind === 0) return [start, start]
            if (kind === 1) return [start, start - random.below(1000)]
            if (kind === 2) return [start, start + 1]
            if (kind === 3) return [random.next(), random.next()]
            if (kind === 4) return [una - 100 - random.below(100), una - random.below(100)]
            return [start, place()]
          })
          peer.post('A', { ack: una, sack: blocks })
          if (i % 40 === 39) {
            host.run(random.below(2000))
            for (const { seq, data } of peer.take()) next = Math.max(next, seq + data.length)
            most = Math.max(most, used())
            if (random.chance(0.02)) una += random.below(next - una)
          }
        }
        // The 250 000 bytes are a few objects, a record of a segment for each packet, and no more.
        assert(most < 1500, `${most} objects`)
        // An honest peer from now on.
        for (let i = 0; i < 300 && una < bytes.length + 1; i++) {
          peer.send('A', { ack: una })
          host.run(100_000)
          const segments = peer.take().sort((a, b) => a.seq - b.seq)
          for (const { seq, data } of segments) if (seq <= una) una = Math.max(una, seq + data.length)
          if (segments.length === 0) host.run(10 * SECOND)
        }
        assert.equal(una, bytes.length + 1, 'all of it was sent')
      })
    })
  })

  test('31: tiny segments out of order are bounded in bytes, in pieces and in blocks', () => {
    withHost({ cpus: 1, seed: 31, memoryBytes: 64 * 1024 * 1024 }, (host) => {
      attacked(host, ({ connect, used }) => {
        const { peer, program } = connect({ windowScale: 7 })
        let most = 0
        // Every other byte, from the end to the beginning and from the beginning to the end.
        for (let i = 0; i < 6000; i++) {
          const at = i % 2 === 0 ? 2 + i * 2 : 60_000 - i * 2
          peer.post('A', { seq: 1 + at, data: counting(1, at) })
          if (i % 60 === 59) {
            host.run(0)
            host.take()
            most = Math.max(most, used())
          }
        }
        const { early } = program.info()
        assert(early <= 6000)
        assert(most <= EarlyLimits.pieces + 100, `${most} objects`)
        const { early: queued, earlyDropped } = host.counts(TcpCounters)
        assert.equal(queued + earlyDropped, 6000)
        assert(queued <= 2 * EarlyLimits.blocks + 10, `${queued} of 6000 blocks`)
        // What was missing makes a stream of it.
        for (let at = 0; at < 60_000; at += 1000) {
          peer.post('A', { seq: 1 + at, data: counting(1000, at) })
          if (at % 10_000 === 0) host.run()
        }
        host.run(SECOND)
        host.take()
        const all = program.received()
        assert.equal(all.length, 60_000)
        for (let i = 0; i < all.length; i++) assert.equal(all[i], i & 0xff)
      })
    })
  })

  onHosts('32: overlapping and out-of-window data, across the end of the sequence space', { seed: 32 }, (host) => {
    attacked(host, ({ connect }) => {
      for (const iss of [0xffffffff, 0xfffffff0, 0x7ffffff0, 0x80000000, 0]) {
        const { peer, program } = connect({ iss, sack: true })
        const random = new Random(iss & 0xffff)
        const length = 8000
        const got: Bytes[] = []
        for (let i = 0; i < 400; i++) {
          const at = random.below(length + 2000) - 1000
          const from = Math.max(at, 0)
          const count = Math.min(random.below(1400) + 1, length - from)
          if (count > 0) peer.post('A', { seq: 1 + from, data: counting(count, from) })
          // Beyond the window, and far behind.
          if (i % 7 === 0) peer.post('A', { seq: 1 + 10_000_000 + at, data: counting(100) })
          if (i % 11 === 0) peer.post('A', { seq: 1 - 100_000 - at, data: counting(100) })
          if (i % 20 === 19) {
            host.run(300)
            host.take()
            got.push(program.received())
          }
        }
        for (let at = 0; at < length; at += 1000) peer.post('A', { seq: 1 + at, data: counting(1000, at) })
        host.run(100_000)
        host.take()
        got.push(program.received())
        assert.deepEqual(join(...got), counting(length))
      }
    })
  })

  onHosts('33: blind resets, SYNs and data do nothing but be challenged, at most so often', { seed: 33 }, (host) => {
    attacked(host, ({ connect }) => {
      const { peer, program } = connect()
      const random = new Random(33)
      for (let i = 0; i < 1000; i++) {
        const seq = 2 + random.below(60_000)
        const kind = random.below(4)
        if (kind === 0) peer.post('R', { seq })
        else if (kind === 1) peer.post('S', { seq })
        else if (kind === 2) peer.post('PA', { seq, ack: random.next(), data: text('blind') })
        else peer.post('RA', { seq, ack: random.next() })
        peer.seq = 1
      }
      host.run(10_000)
      program.log.length = 0
      // Whatever was in the window of acknowledgments by chance waits out of order; nothing has come in order.
      assert.equal(program.received().length, 0)
      assert(peer.take().length <= 40)
      assert(host.count(TcpCounters, 'challengesLimited') > 300)
      host.run(2 * SECOND)
      peer.take()
      peer.send('R')
      program.expect('error ECONNRESET')
    })
  })

  onHosts('34: connections that acknowledge each other’s nonsense go quiet', {}, (host) => {
    attacked(host, ({ connect }) => {
      const { peer, program } = connect()
      // The other end believes in other numbers, and answers each acknowledgment by one of its own.
      let exchanged = 0
      const began = host.nowUs
      peer.send('A', { seq: 40_000_000 })
      for (; host.nowUs - began < SECOND; exchanged++) {
        const answers = peer.take()
        if (answers.length === 0) break
        for (const _ of answers) peer.send('A', { seq: 40_000_000 })
      }
      assert(host.nowUs - began < SECOND, 'within a second')
      assert(exchanged <= 25, `${exchanged} turns`)
      host.run(10 * SECOND)
      peer.expectNothing()
      program.expect()
    })
  })

  onHosts('34: nor do a TIME-WAIT and its peer answer each other for ever', {}, (host) => {
    attacked(host, ({ connect }) => {
      const { peer, program } = connect()
      program.close()
      peer.expect('FA')
      peer.send('FA')
      peer.expect('A')
      let exchanged = 0
      do {
        peer.send('A', { seq: 40_000_000 })
        exchanged++
      } while (peer.take().length > 0 && exchanged < 1000)
      assert(exchanged <= 20, `${exchanged} turns`)
    })
  })

  for (const discipline of IS_LONG ? DISCIPLINES : (['connp-t'] as const)) {
    const title = `35: ${SYNS} SYNs under ${discipline} take a part of memory that is soon as large as ever, and who is meant gets through at once`
    test(title, { timeout: FLOOD_LIMIT_MS }, () => {
      withHost({ cpus: 2, seed: 35, discipline }, (host) => {
        attacked(host, ({ used, connect, server }) => {
          const random = new Random(35)
          const old = connect({ timestamps: true })
          const before = host.counts(TcpCounters)
          const rounds: { readonly objects: number; readonly zones: number; readonly heap: number }[] = []
          for (let round = 0; round < FLOOD_ROUNDS; round++) {
            let most = 0
            for (let i = 0; i < SYNS / FLOOD_ROUNDS; i += FLOOD_BURST) {
              for (let k = 0; k < FLOOD_BURST; k++) host.postPacket(strangersSyn(random))
              host.run(0)
              host.take()
              most = Math.max(most, used())
            }
            // The first attempt, while every backlog is full: by a cookie.
            const peer = Peer.connect(host, { port: 40_000 + round, sack: true, timestamps: true })
            const program = server.accept()
            for (const each of [{ peer, program }, old]) {
              each.peer.send('PA', { data: text('me') })
              assert.deepEqual(each.program.received(), text('me'), `round ${round}`)
            }
            program.abort()
            rounds.push({ objects: most, zones: zones(host), heap: heapBytes() })
            // Some of the embryos come to their end, and others take their places.
            host.run(60 * SECOND)
            host.take()
          }
          const { embryos, cookiesSent, toEmbryo, cookiesAccepted, embryosTimedOut } = host.counts(TcpCounters)
          // Each SYN was let in, answered by a cookie, or the second of a stranger's; and those of a connection for each round.
          const answered = embryos + cookiesSent + toEmbryo - before.embryos - before.cookiesSent - before.toEmbryo
          assert.equal(answered, SYNS + FLOOD_ROUNDS)
          assert(cookiesSent > 0.8 * SYNS, `${cookiesSent} cookies`)
          assert.equal(cookiesAccepted, FLOOD_ROUNDS)
          assert(embryosTimedOut > 511, `${embryosTimedOut} embryos timed out`)
          // The backlog of each CPU, and a few neighbours.
          for (const { objects } of rounds) assert(objects <= 2 * 511 + 500, `${objects} objects`)
          // All that is ever taken is taken in the first tenth.
          const [early, late] = [rounds[FLOOD_ROUNDS / 10 - 1]!, rounds.at(-1)!]
          assert.equal(late.zones, early.zones, 'no zone was taken later')
          assert(late.heap - early.heap < 4e6, `${late.heap - early.heap} bytes of V8's heap`)
        })
      })
    })
  }

  for (const discipline of DISCIPLINES) {
    test(`35: answers to strangers who are not there put out each other, and nothing else, under ${discipline}`, () => {
      // Neighbours by the hundred, to whom our resets wait for ARP: the oldest is given up while the next one is answered.
      const wires = [{ address: '10.0.0.1/16' }]
      withHost({ cpus: 2, seed: 37, discipline, wires, answerArp: false }, (host) => {
        for (let i = 0; i < 1500; i++) {
          const source = `10.0.${1 + (i >> 8)}.${1 + (i % 250)}`
          host.postPacket(tcp({ source, sourcePort: 1024 + i, targetPort: 9, flags: 'S', seq: i }))
          if (i % 100 === 99) host.run(0)
        }
        host.run(5_000_000)
        host.take()
        assert(host.count(ArpCounters, 'evicted') > 0)
        assert(host.count(TcpCounters, 'resetsSent') > 1000)
      })
    })
  }

  test('35: embryos of all listeners together have a bound', () => {
    withHost({ cpus: 1, seed: 36, memoryBytes: 64 * 1024 * 1024 }, (host) => {
      attacked(
        host,
        () => {
          for (let i = 0; i < Limits.tcpEmbryos + 2000; i++) {
            host.postPacket(tcp({ sourcePort: 1024 + i, targetPort: 7, flags: 'S', seq: i }))
            if (i % 100 === 99) {
              host.run(0)
              host.take()
            }
          }
          host.run()
          assert.equal(host.count(TcpCounters, 'cookiesSent'), 2000)
        },
        { backlog: 1_000_000 },
      )
    })
  })

  test('36: windows of nothing and of a byte hold a bounded part of memory, and not for ever', () => {
    withHost({ cpus: 1, seed: 37 }, (host) => {
      attacked(host, ({ connect, used }) => {
        const all = Array.from({ length: 20 }, (_, i) => connect({ window: i % 2 === 0 ? 0 : 1 }))
        for (const { program } of all) program.send(counting(20_000))
        const most = used()
        for (const { program } of all) program.close()
        // Each of them answers whatever it is asked.
        for (let i = 0; i < 150; i++) {
          host.run(10 * SECOND)
          for (const { tcp: segment } of host.take()) {
            const victim = all.find(({ peer }) => peer.options.port === segment!.targetPort)!
            const { peer } = victim
            if (segment!.flags.includes('R')) continue
            peer.post('A', { window: peer.options.window! })
          }
        }
        assert(used() < most)
        assert.equal(host.count(TcpCounters, 'timedOut'), 20)
      })
    })
  })

  test('37: initial numbers of many ends tell nothing of each other', () => {
    withHost({ cpus: 1, seed: 38 }, (host) => {
      attacked(
        host,
        () => {
          const numbers: number[] = []
          for (let i = 0; i < 4000; i++) {
            host.postPacket(
              tcp({ source: `10.0.0.${2 + (i % 200)}`, sourcePort: 1024 + i, targetPort: 7, flags: 'S', seq: 1 }),
            )
            if (i % 50 === 49) {
              host.run(0)
              for (const { tcp: segment } of host.take()) if (segment !== undefined) numbers.push(segment.seq)
            }
          }
          const differences = new Set(numbers.slice(1).map((n, i) => (n - numbers[i]!) >>> 0))
          assert(numbers.length >= 3900)
          assert(differences.size >= numbers.length - 10, 'no difference comes twice')
          const high = new Set(numbers.map((n) => n >>> 24))
          assert.equal(high.size, 256)
        },
        { backlog: 1_000_000 },
      )
    })
  })

  test('38: ephemeral ports jump, do not come again soon, and are none that are in TIME-WAIT', () => {
    withHost({ cpus: 2, seed: 39 }, (host) => {
      attacked(host, () => {
        const ports: number[] = []
        for (let i = 0; i < 200; i++) {
          const program = host.connect({ address: PEER, port: 80 })
          const peer = Peer.accept(host)
          ports.push(peer.hostPort)
          program.close()
          peer.expect('FA')
          peer.send('FA')
          peer.expect('A')
          // An assassin.
          peer.send('R')
        }
        assert.equal(new Set(ports).size, 200)
        const steps = new Set(ports.slice(1).map((port, i) => port - ports[i]!))
        assert(steps.size > 4, 'the next one is not known')
        assert.equal(host.count(TcpCounters, 'rejectedAssassin'), 200)
      })
    })
  })

  onHosts('39: acknowledgments of what was not sent, of parts, and again and again', { seed: 40 }, (host) => {
    attacked(host, ({ connect }) => {
      for (const sack of [false, true]) {
        const { peer, program } = connect({ sack, windowScale: 7 })
        program.send(counting(200_000))
        const first = peer.take()
        assert.equal(first.length, 10)
        const { cwnd } = program.info()
        const random = new Random(41)
        for (let i = 0; i < 400; i++) {
          peer.post('A', { ack: 200_002 + random.below(1_000_000) })
          peer.post('A', { ack: 1 })
          if (i % 50 === 49) host.run(200)
        }
        peer.take()
        const after = program.info()
        assert.equal(after.bytesAcked, 0)
        assert(after.flight <= 4 * cwnd, `${after.flight} of ${cwnd}`)
        // Byte by byte.
        for (let i = 1; i < 1460; i++) {
          peer.post('A', { ack: 1 + i })
          if (i % 100 === 99) host.run(200)
        }
        host.run(200)
        assert(program.info().cwnd <= 3 * cwnd)
        peer.take()
        program.abort()
        peer.take()
      }
    })
  })

  onHosts('40: timestamps that lie', { seed: 42 }, (host) => {
    attacked(host, ({ connect, host: { nowUs } }) => {
      const { peer, program } = connect({ timestamps: true })
      const random = new Random(nowUs & 0xffff)
      const { srttUs } = program.info()
      let sent = 0
      for (let i = 0; i < 100; i++) {
        program.send(text('q'))
        sent++
        peer.take()
        peer.ack = 1 + sent
        // An echo of nothing, of the future and of the past; a value that stands still.
        const echo = [0, random.next(), peer.hostTimestamp + 1000, peer.hostTimestamp - 100_000][i % 4]!
        peer.send('A', { timestamps: [peer.timestamp, echo >>> 0] })
      }
      const after = program.info()
      assert(after.srttUs < srttUs + SECOND, `${srttUs} → ${after.srttUs}`)
      assert(after.rtoUs <= 3 * SECOND)
      // Old values: acknowledged and dropped, at most so many times a second.
      for (let i = 0; i < 200; i++) peer.post('PA', { data: text('x'), seq: 1, timestamps: [1, 0] })
      peer.seq = 1
      host.run(10_000)
      assert(peer.take().length <= 21)
      assert.equal(program.received().length, 0)
      // A value from far ahead locks nobody out but its sender: and a reset needs none.
      peer.send('R', { timestamps: false })
      program.expect('error ECONNRESET')
    })
  })

  onHosts('41: window scales of all kinds, and windows that shrink', { seed: 43 }, (host) => {
    attacked(host, ({ connect }) => {
      for (const windowScale of [0, 1, 13, 14, 15, 16, 31, 32, 255]) {
        const { peer, program } = connect({ windowScale })
        peer.send('A', { window: 65535 })
        assert.equal(program.info().sndWnd, 65535 * 2 ** Math.min(windowScale, 14))
        program.send(counting(100_000))
        for (const window of [65535, 1, 0, 5, 65535, 0]) {
          peer.send('A', { ack: 1, window })
          host.run(100_000)
        }
        const sent = Math.max(...peer.take().map(({ seq, data }) => seq + data.length))
        peer.send('A', { ack: sent, window: 65535 })
        assert(peer.take().length > 0)
      }
    })
  })

  onHosts('42: data on SYNs, FINs out of order, data behind them, resets with data', { seed: 44 }, (host) => {
    attacked(host, ({ connect, server }) => {
      const peer = new Peer(host, { port: 19_999 })
      peer.send('S', { seq: 0, data: counting(1000) })
      peer.expectSyn('SA')
      peer.seq = 1
      peer.send('A')
      const program = server.accept()
      host.run(100_000)
      assert(program.received().length === 0 || program.received().length === 1000)
      program.abort()
      host.take()
      for (let order = 0; order < 6; order++) {
        const { peer, program } = connect({ sack: true })
        const steps = [
          () => peer.post('A', { seq: 1, data: counting(100) }),
          () => peer.post('FA', { seq: 101, data: counting(100, 100) }),
          () => peer.post('A', { seq: 201, data: counting(100) }),
        ]
        const [a, b, c] = [
          [0, 1, 2],
          [0, 2, 1],
          [1, 0, 2],
          [1, 2, 0],
          [2, 0, 1],
          [2, 1, 0],
        ][order]!
        for (const step of [a, b, c, a, b, c]) {
          steps[step!]!()
          host.run(1000)
        }
        host.run(100_000)
        peer.take()
        const received = program.received()
        // What lies behind the FIN may have been in the stream before the FIN was known; the FIN's own place is never passed twice.
        assert.deepEqual(received.subarray(0, 200), counting(200))
        assert(received.length === 200 || received.length === 300)
        peer.send('RA', { seq: peer.seq, data: text('gone') })
        program.abort()
        host.take()
      }
    })
  })

  test('43: peers that never close, and never read, keep nothing for ever', () => {
    withHost({ cpus: 1, seed: 45 }, (host) => {
      attacked(host, ({ connect, used }) => {
        const all = Array.from({ length: 30 }, () => connect())
        for (const [i, { peer, program }] of all.entries()) {
          if (i % 3 === 0) program.send(counting(10_000))
          program.close()
          host.take()
          // FIN-WAIT-2; or nothing is acknowledged at all; or the window is closed.
          if (i % 3 === 1) peer.send('A', { ack: 2 })
          if (i % 3 === 2) peer.send('A', { ack: 1, window: 0 })
        }
        assert(used() > 0)
        for (let i = 0; i < 120; i++) {
          host.run(10 * SECOND)
          host.take()
        }
        assert(host.count(TcpCounters, 'finWait2TimedOut') >= 10)
        assert(host.count(TcpCounters, 'timedOut') >= 20)
      })
    })
  })
})

describe('segments made by chance', () => {
  for (const [cpus, steer] of [
    [1, 'flow'],
    [2, 'flow'],
    [4, 'first'],
  ] as const) {
    test(`${cpus} CPUs survive 6000 of them, and all is accounted for`, () => {
      withHost({ cpus, steer, seed: 80 + cpus }, (host) => {
        attacked(host, ({ connect, server }) => {
          const random = new Random(2000 + cpus)
          const make = () =>
            connect({ sack: random.chance(0.5), timestamps: random.chance(0.5), windowScale: random.below(15) })
          const pairs = Array.from({ length: 8 }, make)
          const pick = () => pairs[random.below(pairs.length)]!
          for (let i = 0; i < 6000; i++) {
            const { peer } = pick()
            const { seq } = peer
            const flags = random.chance(0.7) ? 'PA' : FLAGS[random.below(256)]!
            const near = random.chance(0.5) ? 0 : random.below(4000) - 500
            const packet = peer.packet(flags, {
              seq: random.chance(0.9) ? seq + near : random.next(),
              ack: random.chance(0.8) ? peer.ack : peer.ack + random.below(5000) - 2500,
              data: counting(random.below(4) === 0 ? 0 : random.below(1400)),
              window: random.below(65536),
              urgent: random.below(100),
              service: random.below(256),
              sack: random.chance(0.3) ? [[random.below(5000), random.below(5000)]] : [],
            })
            // No FIN or reset that is right ends it too soon.
            if (!/[FSR]/.test(flags) || random.chance(0.9)) peer.seq = random.chance(0.5) ? peer.seq : seq
            const bytes = Uint8Array.from(packet)
            for (let n = random.below(3); n > 0; n--)
              bytes[20 + random.below(Math.min(bytes.length - 20, 60))] = random.below(256)
            host.post(
              ether(
                { source: PEER_LINK, target: host.linkAddress() },
                random.chance(0.8) ? changed(bytes, () => {}) : bytes,
              ),
            )
            if (random.chance(0.02))
              host.post(
                ether(
                  { source: PEER_LINK, target: host.linkAddress() },
                  icmp({ type: 3, code: random.below(6), rest: random.below(2000) }, swapped(packet)),
                ),
              )
            if (i % 30 === 29) {
              host.run(random.chance(0.1) ? random.below(5 * SECOND) : 300)
              host.take()
            }
            if (i % 100 === 99) {
              const index = random.below(pairs.length)
              const { program } = pairs[index]!
              const what = random.below(5)
              if (what === 0) program.send(counting(random.below(50_000)))
              else if (what === 1) program.shutdown()
              else if (what === 2) program.close()
              else if (what === 3) program.received()
              else program.abort()
              host.run()
              host.take()
              if (program.log.includes('closed')) pairs[index] = make()
              host.take()
            }
          }
          assert(server.sockets.length < 10)
          // Enough of them got through to matter.
          const { toConnection, early, challenges, rejectedWindow, duplicates } = host.counts(TcpCounters)
          assert(toConnection > 2000, `${toConnection}`)
          assert(
            early > 50 && challenges > 50 && rejectedWindow > 0 && duplicates > 50,
            `${early} ${challenges} ${rejectedWindow} ${duplicates}`,
          )
        })
      })
    })
  }
})

/** A packet that came, as if it had gone: what an ICMP error about it would quote. */
function swapped(packet: Bytes): Bytes {
  const bytes = Uint8Array.from(packet.subarray(0, 28))
  bytes.set(packet.subarray(12, 16), 16)
  bytes.set(packet.subarray(16, 20), 12)
  bytes.set(packet.subarray(20, 22), 22)
  bytes.set(packet.subarray(22, 24), 20)
  assert.equal(bytes.subarray(12, 16).join('.'), HOST)
  return bytes
}
