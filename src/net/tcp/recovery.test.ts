// Losses, on the wire: how they are told to the peer (RFC 2018, RFC 2883), and how those that the peer tells of are found and
// repaired, with SACK (RFC 6675, RFC 8985) and without (RFC 5681, RFC 6582, RFC 3042).
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { TcpCounters } from '../counters.ts'
import { counting, text } from '../testing/frame.ts'
import { onHosts, PEER, type TestHost } from '../testing/host.ts'
import { type HostSegment, Peer, type PeerOptions } from '../testing/peer.ts'
import type { TestSocket } from '../testing/program.ts'

const SECOND = 1_000_000
const MSS = 1460

function opened(host: TestHost, options: PeerOptions = {}): { peer: Peer; program: TestSocket } {
  const program = host.connect({ address: PEER, port: 80, noDelay: true }, host.cpuCount - 1)
  const peer = Peer.accept(host, { windowScale: 7, window: 20_000, ...options })
  program.expect('connect')
  // The window of a SYN is not scaled: this one is.
  peer.send('A')
  return { peer, program }
}

/** The number of a segment's first byte, as that of the segment: 0, 1, 2 … */
const numbers = (segments: readonly HostSegment[]) => segments.map(({ seq }) => (seq - 1) / MSS)
/** The sequence numbers of segments `from` to `to`, exclusively. */
const range = (from: number, to: number): [number, number] => [1 + from * MSS, 1 + to * MSS]

/** Ten full segments are in flight, and as many more wait. */
function flying(host: TestHost, options: PeerOptions = {}): { peer: Peer; program: TestSocket } {
  const { peer, program } = opened(host, options)
  program.send(counting(20 * MSS))
  assert.deepEqual(numbers(peer.take()), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  return { peer, program }
}

describe('what is missing is told', () => {
  onHosts('the block of the segment that came is the first, then those before (@rfc 2018 4)', {}, (host) => {
    const { peer } = opened(host, { sack: true })
    const early = (from: number) => {
      peer.send('A', { seq: 1 + from, data: counting(100) })
      return peer.expect('A', { ack: 1 }).sack
    }
    assert.deepEqual(early(100), [[101, 201]])
    assert.deepEqual(early(300), [
      [301, 401],
      [101, 201],
    ])
    assert.deepEqual(early(500), [
      [501, 601],
      [301, 401],
      [101, 201],
    ])
    assert.deepEqual(early(700), [
      [701, 801],
      [501, 601],
      [301, 401],
      [101, 201],
    ])
    assert.deepEqual(early(900), [
      [901, 1001],
      [701, 801],
      [501, 601],
      [301, 401],
    ])
    assert.deepEqual(early(200), [
      [101, 401],
      [901, 1001],
      [701, 801],
      [501, 601],
    ])
  })

  onHosts('with timestamps there is room for three blocks (@rfc 2018 3)', {}, (host) => {
    const { peer } = opened(host, { sack: true, timestamps: true })
    for (let i = 0; i < 5; i++) peer.send('A', { seq: 101 + 200 * i, data: counting(100) })
    const last = peer.take().at(-1)!
    assert.deepEqual(last.sack, [
      [901, 1001],
      [701, 801],
      [501, 601],
    ])
    assert.equal(last.options.length, 40)
  })

  onHosts('not to a peer that does not understand it (@rfc 2018 2)', {}, (host) => {
    const { peer } = opened(host)
    peer.send('A', { seq: 101, data: counting(100) })
    peer.expect('A', { ack: 1, sack: [] })
  })

  onHosts('no more when the hole is filled', {}, (host) => {
    const { peer, program } = opened(host, { sack: true })
    peer.send('A', { seq: 101, data: counting(100, 100) })
    peer.expect('A', { sack: [[101, 201]] })
    peer.send('A', { seq: 1, data: counting(100) })
    peer.expect('A', { ack: 201, sack: [] })
    assert.deepEqual(program.received(), counting(200))
  })

  onHosts('what came twice is told once, in the first block (@rfc 2883 4)', {}, (host) => {
    const { peer } = opened(host, { sack: true })
    peer.send('A', { seq: 1, data: counting(100) })
    host.run(100_000)
    peer.take()
    // All of it before the acknowledgment.
    peer.send('A', { seq: 1, data: counting(100) })
    peer.expect('A', { ack: 101, sack: [[1, 101]] })
    // Within what waits.
    peer.send('A', { seq: 201, data: counting(100) })
    peer.expect('A', { ack: 101, sack: [[201, 301]] })
    peer.send('A', { seq: 201, data: counting(100) })
    peer.expect('A', {
      ack: 101,
      sack: [
        [201, 301],
        [201, 301],
      ],
    })
    peer.send('A', { seq: 301, data: counting(50) })
    peer.expect('A', { ack: 101, sack: [[201, 351]] })
    // In part.
    peer.send('A', { seq: 51, data: counting(100) })
    peer.expect('A', {
      ack: 151,
      sack: [
        [51, 101],
        [201, 351],
      ],
    })
  })

  onHosts('a FIN that came twice is no block of nothing (@rfc 2883 4)', {}, (host) => {
    const { peer } = opened(host, { sack: true })
    peer.send('FPA', { seq: 1, data: counting(100) })
    peer.expect('A', { ack: 102, sack: [] })
    peer.send('FA', { seq: 101 })
    const { sack } = peer.expect('A', { ack: 102 })
    for (const [start, end] of sack) assert(start < end, `${start}:${end}`)
    // With its data it is one of these.
    peer.send('FPA', { seq: 1, data: counting(100) })
    assert.equal(peer.expect('A', { ack: 102 }).sack[0]![0], 1)
  })

  onHosts('goes with an acknowledgment of its own where data has no room for it', {}, (host) => {
    const { peer, program } = opened(host, { sack: true })
    peer.send('A', { seq: 101, data: counting(100) })
    peer.take()
    peer.send('A', { seq: 301, data: counting(100) })
    program.send(counting(MSS))
    const blocks = peer.take().filter(({ sack }) => sack.length > 0)
    assert(blocks.length >= 1)
  })
})

describe('with SACK', () => {
  onHosts(
    'three segments behind one that is missing prove it lost: it goes at once (@rfc 6675 3/dup-thresh 4/is-lost 5/enter 5/first) (@rfc 8985 6.2/no-window 6.2/state)',
    {},
    (host) => {
      const { peer } = flying(host, { sack: true })
      // At once: after a quarter of a round trip the clock would tell as much of fewer.
      for (let i = 2; i <= 4; i++) peer.post('A', { ack: 1, sack: [range(1, i)] })
      host.run(100)
      assert(numbers(peer.take()).includes(0))
      assert.equal(host.count(TcpCounters, 'recoveries'), 1)
      assert.equal(host.count(TcpCounters, 'timeouts'), 0)
    },
  )

  onHosts(
    'several losses of one window are repaired in one round trip, and nothing else is sent again (@rfc 6675 4/update 4/next-lost 4/next-new) (@rfc 5681 4.3/recovery)',
    {},
    (host) => {
      const { peer, program } = flying(host, { sack: true })
      for (const sack of [
        [range(1, 2)],
        [range(1, 2), range(3, 4)],
        [range(1, 2), range(3, 5)],
        [range(1, 2), range(3, 5), range(6, 10)],
      ]) {
        peer.post('A', { ack: 1, sack })
      }
      host.run(3000)
      const again = numbers(peer.take()).filter((n) => n < 10)
      assert.deepEqual(again, [0, 2, 5])
      peer.send('A', { ack: 1 + 10 * MSS })
      const rest = peer.take()
      assert(rest.length > 0 && rest.every(({ seq }) => seq > 10 * MSS))
      assert.equal(program.info().retransmitted, 3)
    },
  )

  onHosts(
    'the window is reduced once for them (@rfc 9438 4.6) (@rfc 6675 5/recovery-point 5/once) (@rfc 5681 4.3/lost-again) (@rfc 8985 9.3)',
    {},
    (host) => {
      const { peer, program } = flying(host, { sack: true })
      const { cwnd } = program.info()
      for (let i = 2; i <= 6; i++) peer.send('A', { ack: 1, sack: [range(1, i)] })
      peer.take()
      const { ssthresh } = program.info()
      assert(ssthresh < cwnd && ssthresh >= cwnd / 2, `${cwnd} → ${ssthresh}`)
      peer.send('A', { ack: 1 + 10 * MSS })
      peer.take()
      assert.equal(host.count(TcpCounters, 'recoveries'), 1)
      assert(program.info().cwnd <= cwnd)
    },
  )

  onHosts(
    'a retransmission that is lost is found by the clock, without waiting for a timeout (@rfc 8985 4/times 6.1 6.2/detect 6.2/timer)',
    {},
    (host) => {
      const { peer } = flying(host, { sack: true })
      for (let i = 2; i <= 4; i++) peer.send('A', { ack: 1, sack: [range(1, i)] })
      const first = peer.take()
      assert(numbers(first).includes(0))
      // What was sent after it arrives.
      let end = 10
      for (let i = 0; i < 5; i++) {
        peer.send('A', { ack: 1, sack: [range(1, end)] })
        for (const n of numbers(peer.take())) end = Math.max(end, n + 1)
      }
      peer.send('A', { ack: 1, sack: [range(1, end)] })
      host.run(30_000)
      const again = numbers(peer.take()).filter((n) => n === 0)
      assert(host.count(TcpCounters, 'timeouts') === 0)
      assert(again.length > 0 || host.count(TcpCounters, 'retransmitted') >= 2, 'it went again')
    },
  )

  onHosts('the tail is probed, when nothing behind it can tell (@rfc 8985 7.2/schedule 7.3/last)', {}, (host) => {
    const { peer, program } = opened(host, { sack: true })
    program.send(counting(3 * MSS))
    assert.equal(peer.take().length, 3)
    peer.send('A', { ack: 1 + MSS })
    host.run(60_000)
    // The last segment again, long before the timeout.
    const probe = peer.expect('PA', { seq: 1 + 2 * MSS })
    assert.equal(probe.data.length, MSS)
    assert.equal(host.count(TcpCounters, 'tailProbes'), 1)
    // It tells that the one before is missing.
    peer.send('A', { ack: 1 + MSS, sack: [range(2, 3)] })
    host.run(20_000)
    assert.deepEqual(numbers(peer.take()), [1])
    assert.equal(host.count(TcpCounters, 'timeouts'), 0)
  })

  onHosts(
    'a probe that is not answered is the only one: the timeout comes next (@rfc 8985 7.3/one 7.3/rto)',
    {},
    (host) => {
      const { peer, program } = opened(host, { sack: true })
      program.send(counting(3 * MSS))
      assert.equal(peer.take().length, 3)
      host.run(2 * SECOND)
      const again = numbers(peer.take())
      assert.deepEqual(again.slice(0, 2), [2, 0], 'the last as a probe, then the first by the timeout')
      assert.equal(host.count(TcpCounters, 'tailProbes'), 1)
      assert(host.count(TcpCounters, 'timeouts') >= 1)
    },
  )

  onHosts(
    'a probe comes after two round trips, of an only segment later, and never later than the timeout (@rfc 8985 7.2/two-rtt 7.2/before-rto)',
    {},
    (host) => {
      const afterUs = (segments: number) => {
        const { peer, program } = opened(host, { sack: true })
        // So that the round trip is well measured, and the deviation small.
        for (let i = 0; i < 20; i++) {
          program.send(text('x'))
          host.run(100_000)
          peer.take()
          peer.ack = 2 + i
          peer.send('A')
        }
        const { srttUs, rtoUs } = program.info()
        const probes = host.count(TcpCounters, 'tailProbes')
        program.send(counting(segments * MSS))
        const sentAt = peer.take().at(-1)!.atUs
        host.run(SECOND)
        const [probe] = peer.take()
        assert.equal(host.count(TcpCounters, 'tailProbes'), probes + 1)
        program.abort()
        peer.take()
        return { us: probe!.atUs - sentAt, srttUs, rtoUs }
      }
      const many = afterUs(2)
      assert(many.us >= 2 * many.srttUs && many.us < 2.1 * many.srttUs, JSON.stringify(many))
      // Two round trips and 200 ms would be later than the timeout is.
      const alone = afterUs(1)
      assert(2 * alone.srttUs + 200_000 > alone.rtoUs, JSON.stringify(alone))
      assert(Math.abs(alone.us - alone.rtoUs) < 5000, JSON.stringify(alone))
    },
  )

  onHosts('a recovery ends an episode of probing: the next tail is probed as well (@rfc 8985 7.1)', {}, (host) => {
    const { peer, program } = opened(host, { sack: true })
    program.send(counting(3 * MSS))
    assert.equal(peer.take().length, 3)
    host.run(60_000)
    assert.equal(host.count(TcpCounters, 'tailProbes'), 1)
    peer.send('A', { ack: 1, sack: [range(2, 3)] })
    host.run(20_000)
    assert.equal(host.count(TcpCounters, 'recoveries'), 1)
    peer.take()
    peer.send('A', { ack: 1 + 3 * MSS })
    program.send(counting(2 * MSS))
    assert.equal(peer.take().length, 2)
    host.run(60_000)
    assert.equal(host.count(TcpCounters, 'tailProbes'), 2)
    peer.take()
  })

  onHosts('there is no probe in recovery (@rfc 8985 7.2/not-in-recovery)', {}, (host) => {
    const { peer } = flying(host, { sack: true })
    for (let i = 2; i <= 4; i++) peer.post('A', { ack: 1, sack: [range(1, i)] })
    host.run(3 * SECOND)
    peer.take()
    assert.equal(host.count(TcpCounters, 'recoveries'), 1)
    assert.equal(host.count(TcpCounters, 'tailProbes'), 0)
    assert(host.count(TcpCounters, 'timeouts') >= 1)
  })

  onHosts(
    'what comes too early to answer a retransmission makes nothing late (@rfc 8985 6.2/ambiguous)',
    {},
    (host) => {
      const { peer } = flying(host, { sack: true })
      host.run(5000)
      for (let i = 2; i <= 4; i++) peer.post('A', { ack: 1, sack: [range(1, i)] })
      host.run(100)
      assert(numbers(peer.take()).includes(0))
      // The original: nothing that was sent with it is older than it, though all are older than the retransmission.
      peer.post('A', { ack: 1 + 4 * MSS })
      host.run(100)
      peer.take()
      assert.equal(host.count(TcpCounters, 'retransmitted'), 1)
      peer.send('A', { ack: 1 + 10 * MSS })
      peer.take()
      assert.equal(host.count(TcpCounters, 'retransmitted'), 1)
    },
  )

  onHosts(
    'a timeout ends a recovery, and no other begins before what was in flight then is there (@rfc 6675 5.1/terminate 5.1/no-new)',
    {},
    (host) => {
      const { peer, program } = flying(host, { sack: true })
      for (let i = 2; i <= 4; i++) peer.post('A', { ack: 1, sack: [range(1, i)] })
      host.run(0.35 * SECOND)
      const end = Math.max(9, ...numbers(peer.take())) + 1
      assert.equal(host.count(TcpCounters, 'recoveries'), 1)
      assert.equal(host.count(TcpCounters, 'timeouts'), 1)
      // Of what was in flight then one after the other arrives, and the first is still missing.
      for (let i = 2; i < end; i++) peer.send('A', { ack: 1, sack: [range(1, i + 1)] })
      assert.equal(host.count(TcpCounters, 'recoveries'), 1)
      // All of it is there: what is lost from now on is another matter.
      peer.take()
      program.send(counting(20 * MSS))
      peer.send('A', { ack: 1 + end * MSS })
      for (let i = end + 1; i < end + 4; i++) peer.send('A', { ack: 1 + end * MSS, sack: [range(end + 1, i + 1)] })
      peer.take()
      assert.equal(host.count(TcpCounters, 'recoveries'), 2)
    },
  )

  onHosts('a probe is new data where there is some (@rfc 8985 7.3/new-data)', {}, (host) => {
    const { peer } = flying(host, { sack: true })
    host.run(60_000)
    assert.deepEqual(numbers(peer.take()).slice(0, 1), [10])
  })

  onHosts('a probe that was for nothing costs nothing (@rfc 8985 7.4/spurious)', {}, (host) => {
    const { peer, program } = opened(host, { sack: true })
    program.send(counting(3 * MSS))
    peer.take()
    const { cwnd } = program.info()
    host.run(60_000)
    peer.take()
    peer.send('A', { ack: 1 + 3 * MSS })
    peer.send('A', { ack: 1 + 3 * MSS, sack: [range(2, 3)] })
    assert(program.info().cwnd >= cwnd)
  })

  onHosts('a probe that has repaired a loss is a loss to the window (@rfc 8985 7.4/repaired 9.3)', {}, (host) => {
    const { peer, program } = opened(host, { sack: true })
    program.send(counting(3 * MSS))
    peer.take()
    peer.send('A', { ack: 1 + 2 * MSS })
    const { cwnd } = program.info()
    host.run(250_000)
    peer.expect('PA', { seq: 1 + 2 * MSS })
    peer.send('A', { ack: 1 + 3 * MSS })
    program.send(counting(10))
    peer.take()
    peer.ack = 1 + 3 * MSS + 10
    peer.send('A')
    assert(program.info().cwnd < cwnd, 'one reduction')
  })

  onHosts(
    'what was only out of order is not sent again, once that is known (@rfc 8985 6.2/reordering 6.2/window)',
    {},
    (host) => {
      const { peer } = flying(host, { sack: true })
      // Segment 0 comes after 1 and 2.
      peer.post('A', { ack: 1, sack: [range(1, 2)] })
      peer.post('A', { ack: 1, sack: [range(1, 3)] })
      peer.post('A', { ack: 1 + 3 * MSS })
      host.run(20_000)
      assert(numbers(peer.take()).every((n) => n >= 10))
      assert.equal(host.count(TcpCounters, 'retransmitted'), 0)
    },
  )

  onHosts('blocks of nothing that is in flight are not believed', {}, (host) => {
    const { peer, program } = flying(host, { sack: true })
    const bad: [number, number][] = [
      [range(10, 12)[0], range(10, 12)[1]],
      [500_000, 600_000],
      [range(3, 4)[1], range(3, 4)[0]],
      [range(3, 3)[0], range(3, 3)[1]],
      [-5000, -100],
      [-1000, 1 + 5 * MSS],
    ]
    for (const block of bad) for (let i = 0; i < 4; i++) peer.send('A', { ack: 1, sack: [block] })
    assert(numbers(peer.take()).every((n) => n >= 10))
    assert.equal(program.info().retransmitted, 0)
    peer.send('A', { ack: 1 + 10 * MSS })
    peer.take()
  })

  onHosts(
    'what was selectively acknowledged and is not there after all comes by the timeout (@rfc 2018 8) (@rfc 6675 5.1/renege)',
    {},
    (host) => {
      const { peer, program } = opened(host, { sack: true })
      program.send(counting(4 * MSS))
      peer.take()
      peer.send('A', { ack: 1, sack: [range(1, 4)] })
      host.run(10_000)
      peer.take()
      // The peer has thrown away what it had.
      peer.send('A', { ack: 1 + MSS })
      host.run(10 * SECOND)
      assert(numbers(peer.take()).includes(1))
      let end = 1 + 2 * MSS
      for (let i = 0; i < 10; i++) {
        peer.send('A', { ack: end })
        host.run(5 * SECOND)
        for (const { seq, data } of peer.take()) if (seq === end) end += data.length
      }
      assert.equal(end, 1 + 4 * MSS)
    },
  )
})

describe('without SACK', () => {
  onHosts(
    'three duplicates send the missing segment again (@rfc 6582 3.2) (@rfc 3042 2) (@rfc 5681 3.2/fast-retransmit 3.2/limited-transmit 3.2/limited-window 3.2/third-ssthresh) (@rfc 8985 4/sack)',
    {},
    (host) => {
      const { peer, program } = flying(host)
      const { cwnd } = program.info()
      peer.send('A', { ack: 1 })
      peer.send('A', { ack: 1 })
      // Limited transmit (RFC 3042 2): one new segment for each.
      assert.deepEqual(numbers(peer.take()), [10, 11])
      assert.equal(program.info().cwnd, cwnd)
      peer.send('A', { ack: 1 })
      assert.equal(numbers(peer.take())[0], 0)
      assert(program.info().ssthresh < cwnd)
      assert.equal(host.count(TcpCounters, 'recoveries'), 1)
    },
  )

  onHosts('an acknowledgment of a part sends the next (@rfc 6582 3.2) (@rfc 5681 4.3/recovery)', {}, (host) => {
    const { peer, program } = flying(host)
    for (let i = 0; i < 3; i++) peer.send('A', { ack: 1 })
    assert(numbers(peer.take()).includes(0))
    peer.send('A', { ack: 1 + 4 * MSS })
    assert.equal(numbers(peer.take())[0], 4)
    peer.send('A', { ack: 1 + 7 * MSS })
    assert.equal(numbers(peer.take())[0], 7)
    assert.equal(program.info().retransmitted, 3)
    assert.equal(host.count(TcpCounters, 'timeouts'), 0)
    assert.equal(host.count(TcpCounters, 'recoveries'), 1)
  })

  onHosts('what moves the window or brings data is no duplicate (@rfc 5681 2)', {}, (host) => {
    const { peer } = flying(host)
    for (let i = 0; i < 5; i++) peer.send('A', { ack: 1, window: 20_001 + i })
    for (let i = 0; i < 5; i++) peer.send('PA', { ack: 1, data: text('x'), window: 20_005 })
    host.run(1000)
    assert.equal(host.count(TcpCounters, 'recoveries'), 0)
    peer.take()
  })

  onHosts(
    'duplicates beyond what is in flight do not make the window grow without end (@rfc 9293 MAY-12)',
    {},
    (host) => {
      const { peer, program } = flying(host)
      for (let i = 0; i < 200; i++) peer.post('A', { ack: 1 })
      host.run(20_000)
      const { cwnd, flight } = program.info()
      assert(cwnd <= 22 * MSS && flight <= 22 * MSS, `${cwnd} ${flight}`)
      peer.take()
    },
  )
})

describe('acknowledgments that are split or too early', () => {
  onHosts('many acknowledgments of little count as little (@rfc 3465 2.2)', {}, (host) => {
    const { peer, program } = opened(host)
    const { cwnd } = program.info()
    program.send(counting(MSS))
    peer.take()
    for (let i = 1; i <= MSS; i += 20) peer.post('A', { ack: 1 + i })
    host.run(20_000)
    assert(program.info().cwnd <= cwnd + MSS)
    peer.take()
  })

  onHosts('an acknowledgment of what was not sent is answered, and changes nothing (@rfc 9293 MAY-12)', {}, (host) => {
    const { peer, program } = flying(host)
    const before = program.info()
    for (let i = 0; i < 5; i++) {
      peer.send('A', { ack: 1 + 40 * MSS })
      peer.expect('A')
    }
    const after = program.info()
    assert.equal(after.cwnd, before.cwnd)
    assert.equal(after.flight, before.flight)
    assert.equal(after.bytesAcked, before.bytesAcked)
  })
})
