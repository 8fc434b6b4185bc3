// Extensions on the wire: timestamps and PAWS (RFC 7323), ECN (RFC 3168), the path's MTU (RFC 1191, RFC 8899), challenge
// acknowledgments (RFC 5961), cookies (RFC 4987), the host cache.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TcpCounters } from '../counters.ts'
import { type Bytes, counting, icmp, text } from '../testing/frame.ts'
import { onHosts, PEER, type TestHost, withHost } from '../testing/host.ts'
import { type HostSegment, Peer, type PeerOptions } from '../testing/peer.ts'
import type { TestSocket } from '../testing/program.ts'

const SECOND = 1_000_000

function opened(host: TestHost, options: PeerOptions = {}): { peer: Peer; program: TestSocket } {
  const program = host.connect({ address: PEER, port: 80, noDelay: true }, host.cpuCount - 1)
  const peer = Peer.accept(host, options)
  program.expect('connect')
  return { peer, program }
}

/** The next acknowledgment, however long it is delayed. */
function acked(host: TestHost, peer: Peer): HostSegment {
  host.run(100_000)
  const last = peer.take().at(-1)
  assert(last !== undefined, 'there is an acknowledgment')
  return last
}

describe('timestamps', () => {
  onHosts('are in every segment once agreed, and echo the latest (@rfc 7323 3.2/every)', {}, (host) => {
    const { peer, program } = opened(host, { timestamps: true })
    for (let i = 0; i < 5; i++) {
      const value = peer.timestamp
      peer.send('PA', { data: text('x') })
      const { timestamps } = acked(host, peer)
      assert.equal(timestamps!.echo, value)
    }
    program.send(text('y'))
    assert(peer.expect('PA').timestamps !== undefined)
    program.shutdown()
    assert(peer.expect('FA').timestamps !== undefined)
  })

  onHosts('are in no segment where the peer does not have them', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(text('y'))
    program.shutdown()
    for (const { timestamps } of peer.take()) assert.equal(timestamps, undefined)
  })

  onHosts('go on by a tick in each millisecond (@rfc 7323 5.4)', {}, (host) => {
    const { peer, program } = opened(host, { timestamps: true })
    program.send(text('a'))
    const first = peer.expect('PA').timestamps!.value
    peer.send('A')
    host.run(SECOND)
    program.send(text('b'))
    const ticks = (peer.expect('PA').timestamps!.value - first) | 0
    assert(ticks >= 995 && ticks <= 1010, `${ticks}`)
  })

  onHosts('echo what came last in order, of delayed and lost segments (@rfc 7323 4.3)', {}, (host) => {
    const { peer } = opened(host, { timestamps: true })
    const t = peer.timestamp
    // Two segments, one ACK: the echo is of the first.
    peer.post('A', { data: counting(1000), timestamps: [t + 1, 0] })
    peer.post('A', { data: counting(1000), timestamps: [t + 2, 0] })
    host.run()
    assert.equal(acked(host, peer).timestamps!.echo, t + 1)
    // One behind a hole does not count; the one that fills it does.
    peer.send('A', { seq: 3001, data: counting(1000), timestamps: [t + 4, 0] })
    assert.equal(peer.expect('A', { ack: 2001 }).timestamps!.echo, t + 1)
    peer.send('A', { seq: 2001, data: counting(1000), timestamps: [t + 3, 0] })
    assert.equal(peer.expect('A', { ack: 4001 }).timestamps!.echo, t + 3)
  })

  onHosts('that go back are an old duplicate: an acknowledgment, and nothing else (@rfc 7323 5.3 5.6)', {}, (host) => {
    const { peer, program } = opened(host, { timestamps: true })
    const t = peer.timestamp
    peer.send('PA', { data: text('new'), timestamps: [t + 10, 0] })
    acked(host, peer)
    program.received()
    peer.send('PA', { data: text('old'), seq: peer.seq, timestamps: [t + 9, 0] })
    peer.seq -= 3
    peer.expect('A', { ack: 4 })
    assert.deepEqual(program.received(), text(''))
    assert.equal(host.count(TcpCounters, 'rejectedPaws'), 1)
    peer.send('PA', { data: text('now'), timestamps: [t + 10, 0] })
    assert.deepEqual(program.received(), text('now'))
  })

  onHosts('that go round are not old (@rfc 7323 5.2)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host, { timestamps: true })
    let t = 0xfffffff0
    peer.sendSyn('SA', { options: [2, 4, 5, 180, 8, 10, 255, 255, 255, 240, 0, 0, 0, 0] })
    peer.expect('A')
    for (let i = 0; i < 10; i++) {
      t = (t + 4) >>> 0
      peer.send('PA', { data: text('x'), timestamps: [t, 0] })
      assert.deepEqual(program.received(), text('x'))
    }
  })

  onHosts('do not matter to a reset (@rfc 7323 3.2/missing-reset 5.2/reset)', {}, (host) => {
    for (const timestamps of [false, [1, 0]] as const) {
      const { peer, program } = opened(host, { timestamps: true })
      peer.send('R', { timestamps })
      program.expect('error ECONNRESET')
    }
  })

  onHosts('are in our reset as well (@rfc 7323 3.2/reset)', {}, (host) => {
    const { peer, program } = opened(host, { timestamps: true })
    program.abort()
    assert(peer.expect('RA').timestamps !== undefined)
  })

  onHosts('tell no round trip where nothing new is acknowledged (@rfc 7323 4.1)', {}, (host) => {
    const { peer, program } = opened(host, { timestamps: true })
    program.send(text('x'))
    const { value } = peer.expect('PA').timestamps!
    peer.send('A')
    const { srttUs } = program.info()
    host.run(2 * SECOND)
    program.send(text('z'))
    peer.take()
    for (let i = 0; i < 5; i++) peer.send('PA', { data: text('y'), timestamps: [peer.timestamp, value] })
    peer.take()
    assert.equal(program.info().srttUs, srttUs)
  })

  onHosts('that are missing drop a segment without a word (@rfc 7323 3.2/missing)', {}, (host) => {
    const { peer, program } = opened(host, { timestamps: true })
    peer.send('PA', { data: text('x'), timestamps: false })
    host.run(100_000)
    peer.expectNothing()
    assert.deepEqual(program.received(), text(''))
    assert.equal(host.count(TcpCounters, 'rejectedTimestamp'), 1)
  })

  onHosts('that were not agreed on are no reason to drop anything (@rfc 7323 3.2/unagreed)', {}, (host) => {
    const { peer, program } = opened(host)
    peer.send('PA', { data: text('x'), timestamps: [500, 0] })
    peer.send('PA', { data: text('y'), timestamps: [400, 0] })
    assert.deepEqual(program.received(), text('xy'))
    assert.equal(acked(host, peer).timestamps, undefined)
  })

  test('of 24 days ago say nothing any more (@rfc 7323 5.5)', () => {
    withHost({ cpus: 1 }, (host) => {
      const { peer, program } = opened(host, { timestamps: true })
      const t = peer.timestamp
      peer.send('PA', { data: text('a'), timestamps: [t, 0] })
      program.received()
      host.run(25 * 86_400 * SECOND)
      peer.send('PA', { data: text('b'), timestamps: [(t - 1000) >>> 0, 0] })
      assert.deepEqual(program.received(), text('b'))
      peer.take()
    })
  })

  onHosts('of different peers begin at different places (@rfc 7323 7.1)', {}, (host) => {
    const values = new Set<number>()
    for (let port = 80; port < 96; port++) {
      host.connect({ address: PEER, port })
      values.add(Peer.awaiting(host).syn!.timestamps!.value >>> 20)
    }
    assert(values.size > 12)
  })
})

describe('window scale', () => {
  onHosts('above 14 is taken for 14 (@rfc 7323 2.3)', {}, (host) => {
    const { peer, program } = opened(host, { windowScale: 15 })
    peer.send('A', { window: 1 })
    assert.equal(program.info().sndWnd, 1 << 14)
    assert.equal(program.info().sndScale, 14)
  })

  onHosts(
    'of a listener’s peer counts from the first segment behind the handshake (@rfc 7323 2.2/syn-unscaled)',
    {},
    (host) => {
      const server = host.listen({ port: 7 })
      const peer = new Peer(host, { windowScale: 4, window: 1000 })
      peer.sendSyn()
      peer.expectSyn('SA')
      peer.send('A')
      assert.equal(server.accept().info().sndWnd, 16_000)
    },
  )

  onHosts('in a segment that is no SYN is nothing (@rfc 7323 2.2/syn-only)', {}, (host) => {
    const { peer, program } = opened(host)
    peer.send('PA', { data: text('x'), options: [3, 3, 9], window: 1000 })
    assert.equal(program.info().sndWnd, 1000)
    peer.take()
  })
})

describe('ECN', () => {
  onHosts(
    'is asked for where the host is told to, and used when granted (@rfc 9293 SHLD-8) (@rfc 3168 6.1.1)',
    { ecn: true },
    (host) => {
      const { peer, program } = opened(host, { ecn: true })
      assert.equal(peer.syn!.sent.ip!.service & 3, 0, 'a SYN is not capable')
      assert.equal(program.info().options.ecn, true)
      program.send(text('x'))
      assert.equal(peer.expect('PA').sent.ip!.service & 3, 2)
      peer.send('A')
      peer.send('PA', { data: text('y') })
      assert.equal(acked(host, peer).sent.ip!.service & 3, 0, 'an acknowledgment is not capable')
    },
  )

  onHosts('is not used when not granted, or granted in a wrong way (@rfc 3168 6.1.1)', { ecn: true }, (host) => {
    for (const flags of ['SA', 'SAEC']) {
      const program = host.connect({ address: PEER, port: 80 })
      const peer = Peer.awaiting(host)
      peer.sendSyn(flags)
      peer.expect('A')
      assert.equal(program.info().options.ecn, false)
      program.send(text('x'))
      assert.equal(peer.expect('PA').sent.ip!.service & 3, 0)
    }
  })

  onHosts('is not asked for again in a SYN that may have been lost for it (@rfc 3168 6.1.1)', { ecn: true }, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    host.run(1.2 * SECOND)
    peer.expect('S')
    // And is not used then, whoever grants it.
    peer.sendSyn('SAE')
    peer.expect('A')
    assert.equal(program.info().options.ecn, false)
  })

  onHosts('is granted to who asks, and to no one else (@rfc 3168 6.1.1)', {}, (host) => {
    const server = host.listen({ port: 7 })
    for (const [flags, answer, port] of [
      ['SEC', 'SAE', 5001],
      ['SE', 'SA', 5002],
      ['SC', 'SA', 5003],
      ['S', 'SA', 5004],
    ] as const) {
      const peer = new Peer(host, { port })
      peer.sendSyn(flags)
      peer.expectSyn(answer)
      peer.send('A')
      assert.equal(server.accept().info().options.ecn, answer === 'SAE')
    }
  })

  onHosts('is given up where our answer may have been lost for it, by both ends (@rfc 3168 6.1.1)', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = new Peer(host, { ecn: true })
    peer.sendSyn()
    peer.expectSyn('SAE')
    host.run(1.2 * SECOND)
    const again = peer.take().at(-1)!
    peer.send('A', { seq: 1, ack: 1 })
    assert.equal(server.accept().info().options.ecn, again.flags.includes('E'), 'as the last answer said')
  })

  onHosts('tells the peer of a mark until it has heard (@rfc 3168 6.1.3)', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = Peer.connect(host, { ecn: true })
    const program = server.accept()
    peer.send('A', { data: counting(1000), service: 3 })
    peer.expect('AE', { ack: 1001 })
    peer.send('A', { data: counting(1000), service: 2 })
    assert.equal(acked(host, peer).flags, 'AE')
    peer.send('AC', { data: counting(1000), service: 2 })
    assert.equal(acked(host, peer).flags, 'A')
    // A mark on the very segment that says that the last was heard is a new one.
    peer.send('A', { data: counting(1000), service: 3 })
    assert.equal(acked(host, peer).flags, 'AE')
    peer.send('AC', { data: counting(1000), service: 3 })
    assert.equal(acked(host, peer).flags, 'AE')
    assert.equal(program.received().length, 5000)
  })

  onHosts('reduces the window once a round trip, and says so (@rfc 3168 6.1.2) (@rfc 9438 5.3)', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = Peer.connect(host, { ecn: true })
    const program = server.accept()
    const before = program.info().cwnd
    program.send(counting(40_000))
    const flight = peer.take()
    assert.equal(flight.length, 10)
    for (let i = 1; i <= 4; i++) peer.send('AE', { ack: 1 + 1460 * i })
    const { cwnd, ssthresh } = program.info()
    assert(cwnd < before && cwnd >= before / 2, `${before} → ${cwnd}`)
    assert.equal(host.count(TcpCounters, 'ecnReductions'), 1)
    assert.equal(cwnd, ssthresh)
    peer.send('A', { ack: 14_601 })
    const next = peer.take().filter(({ data }) => data.length > 0)
    assert(next[0]!.flags.includes('C'), 'the first new data says that the window is reduced')
    assert(next.slice(1).every(({ flags }) => !flags.includes('C')))
    assert(next.every(({ sent }) => (sent.ip!.service & 3) === 2))
    assert.equal(host.count(TcpCounters, 'retransmitted'), 0)
  })

  onHosts('does not send what is sent again as capable (@rfc 3168 6.1.5)', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = Peer.connect(host, { ecn: true })
    server.accept().send(text('x'))
    assert.equal(peer.expect('PA').sent.ip!.service & 3, 2)
    host.run(2 * SECOND)
    for (const { sent } of peer.take()) assert.equal(sent.ip!.service & 3, 0)
  })

  onHosts('without an agreement marks and ECE are nothing', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = Peer.connect(host)
    const program = server.accept()
    const { cwnd } = program.info()
    program.send(counting(1000))
    peer.expect('PA')
    peer.send('AE')
    assert(program.info().cwnd >= cwnd)
    peer.send('PA', { data: text('x'), service: 3 })
    assert.equal(acked(host, peer).flags, 'A')
  })
})

describe('the path’s MTU', () => {
  const tooBig = (host: TestHost, segment: HostSegment, mtu: number, change: (bytes: Bytes) => void = () => {}) => {
    const quote = Uint8Array.from(segment.sent.bytes.subarray(14, 14 + 28))
    change(quote)
    host.inject(icmp({ type: 3, code: 4, rest: mtu }, quote))
  }

  onHosts('is what a router says: smaller segments go at once (@rfc 9293 SHLD-6) (@rfc 1191 3)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(counting(2920))
    const [first] = peer.take()
    assert.equal(first!.sent.ip!.dontFragment, true)
    tooBig(host, first!, 1000)
    const again = peer.take()
    let end = 1
    for (const { seq, data } of again) {
      assert.equal(seq, end)
      assert(data.length <= 960)
      end += data.length
    }
    assert.equal(end, 2921, 'all of it goes again')
    assert.equal(again[0]!.data.length, 960)
    assert.equal(program.info().mtu, 1000)
    peer.send('A', { ack: 2921 })
    program.send(counting(2000))
    assert.equal(peer.take()[0]!.data.length, 960)
  })

  onHosts('is remembered for the next connection there', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(counting(1460))
    tooBig(host, peer.expect('PA'), 1200)
    peer.take()
    program.abort()
    peer.take()
    const cpu = host.cpuCount - 1
    // The cache is the CPU's: the same CPU makes the next one.
    const next = host.connect({ address: PEER, port: 81 }, cpu)
    Peer.accept(host)
    assert.equal(next.info().mtu, 1200)
  })

  onHosts('of a router that does not say is the next plateau (@rfc 1191 7)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(counting(1460))
    tooBig(host, peer.expect('PA'), 0)
    assert.equal(program.info().mtu, 1492)
    peer.take()
  })

  onHosts('below 552 is not believed: packets may be cut then (@rfc 1191 3)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(counting(1460))
    tooBig(host, peer.expect('PA'), 68)
    assert.equal(program.info().mtu, 552)
    const again = peer.take()
    assert(again.length > 0 && again.every(({ sent, data }) => !sent.ip!.dontFragment && data.length <= 512))
  })

  onHosts('does not grow by an error, and not by one about what is not in flight (@rfc 5927 7)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(counting(1460))
    const sent = peer.expect('PA')
    tooBig(host, sent, 9000)
    tooBig(host, sent, 1500)
    for (const at of [20, 22, 24, 26]) tooBig(host, sent, 600, (bytes) => (bytes[at] = bytes[at]! ^ 0x40))
    assert.equal(program.info().mtu, 1500)
    peer.send('A')
    tooBig(host, sent, 600)
    assert.equal(program.info().mtu, 1500)
    peer.expectNothing()
  })

  onHosts('that loses what is large without a word is found by timeouts (@rfc 8899 4.3)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(counting(1460))
    host.run(20 * SECOND)
    assert(host.count(TcpCounters, 'blackHoles') >= 1)
    const sizes = peer.take().map(({ data }) => data.length)
    assert.equal(sizes[0], 1460)
    assert(sizes.at(-1)! <= 1240, `${sizes}`)
  })
})

describe('challenge acknowledgments', () => {
  onHosts('are limited in each second, by a number that nobody can know (@rfc 5961 7/throttle)', {}, (host) => {
    const { peer } = opened(host)
    const counts: number[] = []
    for (let second = 0; second < 8; second++) {
      for (let i = 0; i < 100; i++) peer.post('R', { seq: 100 })
      host.run(10_000)
      counts.push(peer.take().length)
      host.run(SECOND)
    }
    for (const count of counts) assert(count >= 1 && count <= 20, `${counts}`)
    assert(new Set(counts).size > 1, 'it is not the same each time')
    assert(host.count(TcpCounters, 'challengesLimited') > 500)
  })

  onHosts('of one connection do not take from another’s (@rfc 5961 7/throttle)', {}, (host) => {
    const one = opened(host)
    const two = opened(host)
    for (let i = 0; i < 100; i++) one.peer.post('R', { seq: 100 })
    host.run(10_000)
    one.peer.take()
    two.peer.send('R', { seq: 100 })
    two.peer.expect('A')
  })

  onHosts(
    'answer an acknowledgment that is older than any window, and what comes with it is dropped (@rfc 9293 MAY-12) (@rfc 5961 5.2/range 5.2/largest-window)',
    {},
    (host) => {
      const { peer, program } = opened(host, { window: 1000 })
      peer.send('PA', { data: text('x'), ack: -2000 })
      peer.seq--
      peer.expect('A', { seq: 1, ack: 1 })
      peer.send('PA', { data: text('x'), ack: 1_000_000 })
      peer.seq--
      peer.expect('A', { seq: 1, ack: 1 })
      assert.deepEqual(program.received(), text(''))
      assert.equal(host.count(TcpCounters, 'rejectedAck'), 2)
      // An older one that could be is taken.
      program.send(counting(500))
      peer.expect('PA')
      peer.send('A')
      peer.send('PA', { data: text('x'), ack: 1 })
      assert.deepEqual(program.received(), text('x'))
    },
  )
})

describe('a flood of SYNs', () => {
  test('takes a bounded part of memory, and who is meant gets through by a cookie (@rfc 4987 3.6)', () => {
    withHost({ cpus: 1 }, (host) => {
      const server = host.listen({ port: 7, backlog: 64 })
      for (let i = 0; i < 500; i++) {
        new Peer(host, { port: 10_000 + i, iss: i * 7919 }).sendSyn()
        host.take()
      }
      const { embryos, cookiesSent } = host.counts(TcpCounters)
      assert.equal(embryos, 64)
      assert.equal(cookiesSent, 500 - 64)
      const peer = Peer.connect(host, { port: 5000, mss: 1452, sack: true, windowScale: 5, timestamps: true })
      const program = server.accept()
      assert.equal(host.count(TcpCounters, 'cookiesAccepted'), 1)
      const info = program.info()
      assert.deepEqual(info.options, { timestamps: true, sack: true, ecn: false, scale: true })
      assert.equal(info.sndScale, 5)
      assert.equal(info.mss, 1440)
      assert.equal(info.sndWnd, 65535 << 5)
      peer.send('PA', { data: text('through') })
      assert.deepEqual(program.received(), text('through'))
      program.send(text('back'))
      peer.take()
    })
  })

  for (const ending of ['closes', 'is reset', 'aborts']) {
    test(`opens a connection by its cookie once only, also for an old duplicate that comes when it is over: it ${ending}`, () => {
      withHost({ cpus: 1 }, (host) => {
        const server = host.listen({ port: 7, backlog: 1 })
        new Peer(host, { port: 9999 }).sendSyn()
        host.take()
        const peer = Peer.connect(host, { port: 5000, timestamps: true })
        assert.equal(host.count(TcpCounters, 'cookiesAccepted'), 1)
        const program = server.accept()
        peer.send('PA', { data: text('once') })
        assert.deepEqual(program.received(), text('once'))
        peer.take()
        if (ending === 'is reset') peer.send('R')
        else if (ending === 'aborts') program.abort()
        else {
          peer.send('FA')
          program.close()
          peer.take()
          peer.send('A', { ack: 2 })
        }
        host.take()
        host.run(1000)
        peer.send('PA', { seq: 1, ack: 1, data: text('once') })
        host.run(1000)
        assert.equal(host.count(TcpCounters, 'cookiesAccepted'), 1)
        assert.deepEqual(server.sockets, [])
        // A peer that has not heard of the end is told, as by any connection that is not there.
        assert.deepEqual(
          peer.take().map(({ flags }) => flags),
          ['R'],
        )
        // Nor is a new connection kept out.
        host.run(2 * 60_000_000)
        host.take()
        const next = Peer.connect(host, { port: 5000, timestamps: true })
        next.send('PA', { data: text('anew') })
        assert.deepEqual(server.accept().received(), text('anew'))
      })
    })
  }

  test('leaves a cookie that is made up, or old, nothing (@rfc 4987 3.6)', () => {
    withHost({ cpus: 1 }, (host) => {
      const server = host.listen({ port: 7, backlog: 1 })
      new Peer(host, { port: 9999 }).sendSyn()
      host.take()
      const peer = new Peer(host)
      peer.sendSyn()
      peer.expectSyn('SA')
      for (const wrong of [0, 2, 100, 0x10000000]) {
        peer.send('A', { ack: wrong })
        peer.expect('R', { seq: wrong })
      }
      peer.send('A', { seq: 2, ack: 1 })
      peer.expect('R')
      host.run(200 * SECOND)
      host.take()
      peer.send('A', { seq: 1, ack: 1 })
      peer.expect('R')
      assert.equal(server.sockets.length, 0)
    })
  })

  test('ends when its embryos do: then there is room again', () => {
    withHost({ cpus: 1 }, (host) => {
      const server = host.listen({ port: 7, backlog: 8 })
      for (let i = 0; i < 20; i++) new Peer(host, { port: 10_000 + i }).sendSyn()
      host.run(600 * SECOND)
      host.take()
      assert.equal(host.count(TcpCounters, 'embryosTimedOut'), 8)
      Peer.connect(host, { sack: true })
      assert.equal(server.accept().info().options.sack, true, 'no cookie was needed')
    })
  })
})

describe('the host cache', () => {
  onHosts('gives the next connection the round trip and the threshold of the last', {}, (host) => {
    const cpu = host.cpuCount - 1
    const { peer, program } = opened(host)
    for (let i = 0; i < 40; i++) {
      program.send(text('x'))
      host.run(120_000)
      peer.ack = 2 + i
      peer.take()
      peer.send('A')
    }
    const before = program.info()
    assert(before.srttUs > 100_000)
    program.close()
    peer.take()
    peer.ack++
    peer.send('FA')
    peer.take()
    const next = host.connect({ address: PEER, port: 81 }, cpu)
    const second = Peer.awaiting(host)
    // Its own SYN is lost once, so that nothing is measured.
    host.run(1.1 * SECOND)
    second.take()
    second.sendSyn('SA')
    second.expect('A')
    assert(next.info().rtoUs >= before.srttUs, 'it does not begin below what the path needs')
  })
})
