// Windows and the sizes of segments (RFC 9293 3.7.4, 3.8.6), on the wire: what is sent when, into which window, and how a window that
// is closed is asked for.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TcpCounters } from '../counters.ts'
import { counting, text } from '../testing/frame.ts'
import { onHosts, PEER, type TestHost, withHost } from '../testing/host.ts'
import { type HostSegment, Peer, type PeerOptions } from '../testing/peer.ts'
import { TestSocket } from '../testing/program.ts'

const SECOND = 1_000_000

/** The host has opened a connection to the peer, from its last CPU. */
function opened(
  host: TestHost,
  options: PeerOptions & { reads?: boolean; receiveBytes?: number; noDelay?: boolean } = {},
): { peer: Peer; program: TestSocket } {
  const { reads = true, receiveBytes = 0, noDelay = false } = options
  const program = host.connect({ address: PEER, port: 80, receiveBytes, noDelay }, host.cpuCount - 1, { reads })
  const peer = Peer.accept(host, options)
  program.expect('connect')
  return { peer, program }
}

const lengths = (segments: readonly HostSegment[]) => segments.map(({ data }) => data.length)
const flags = (segments: readonly HostSegment[]) => segments.map((segment) => segment.flags)

describe('what is sent', () => {
  onHosts(
    'full segments, as many as there are, and the last with PSH (@rfc 9293 SHLD-28 MUST-60 MUST-61 SHLD-27)',
    {},
    (host) => {
      const { peer, program } = opened(host, { noDelay: true })
      program.do((socket) => {
        for (let i = 0; i < 10; i++) socket.send(counting(500))
      })
      const segments = peer.take()
      assert.deepEqual(lengths(segments), [1460, 1460, 1460, 620])
      assert.deepEqual(flags(segments), ['A', 'A', 'A', 'PA'])
    },
  )

  onHosts('small writes of one turn are one segment (@rfc 9293 MAY-16)', {}, (host) => {
    const { peer, program } = opened(host, { noDelay: true })
    program.do((socket) => {
      for (let i = 0; i < 100; i++) socket.send(counting(1, i))
    })
    peer.expect('PA', { data: counting(100) })
    peer.expectNothing()
  })

  onHosts('Nagle: a small segment waits while one is not acknowledged (@rfc 9293 SHLD-7)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(text('first'))
    peer.expect('PA', { data: text('first') })
    program.send(text('second'))
    program.send(text('third'))
    peer.expectNothing()
    peer.send('A')
    peer.expect('PA', { data: text('secondthird') })
    program.send(counting(1460))
    // A full one does not wait.
    peer.expect('PA', { length: 1460 })
  })

  onHosts('without Nagle it goes at once, set before or later (@rfc 9293 MUST-17)', {}, (host) => {
    const { peer, program } = opened(host, { noDelay: true })
    for (const word of ['one', 'two', 'three']) {
      program.send(text(word))
      peer.expect('PA', { data: text(word) })
    }
    program.do((socket) => socket.setNoDelay(false))
    program.send(text('waits'))
    peer.expectNothing()
    program.do((socket) => socket.setNoDelay(true))
    peer.expect('PA', { data: text('waits') })
  })

  onHosts('what is set before the connection is there counts when it is (@rfc 9293 MUST-17)', {}, (host) => {
    const cpu = host.cpuCount - 1
    const program = host.on(cpu, (stack) => {
      const socket = stack.tcp.connect({ address: PEER, port: 80 })
      socket.setNoDelay(true)
      return new TestSocket(host, cpu, socket)
    })
    const peer = Peer.accept(host)
    program.send(text('one'))
    peer.expect('PA')
    program.send(text('two'))
    peer.expect('PA')
  })

  onHosts('corked, a segment that is not full waits until it is uncorked', {}, (host) => {
    const { peer, program } = opened(host)
    program.do((socket) => socket.setCork(true))
    program.send(counting(1000))
    peer.expectNothing()
    program.send(counting(1000))
    peer.expect('A', { length: 1460 })
    peer.send('A')
    peer.expectNothing()
    program.do((socket) => socket.setCork(false))
    peer.expect('PA', { length: 540 })
  })

  onHosts('never more than the peer’s window (@rfc 9293 MUST-1)', {}, (host) => {
    const { peer, program } = opened(host, { window: 4000 })
    program.send(counting(20_000))
    assert.deepEqual(lengths(peer.take()), [1460, 1460])
    peer.send('A', { ack: 2921, window: 8760 })
    assert.deepEqual(lengths(peer.take()), [1460, 1460, 1460, 1460, 1460, 1460])
  })

  onHosts('a window above 32767 is a positive number (@rfc 9293 MUST-1)', {}, (host) => {
    const { peer, program } = opened(host, { window: 0xfffe })
    assert.equal(program.info().sndWnd, 0xfffe)
    program.send(counting(14_600))
    assert.equal(lengths(peer.take()).length, 10)
  })

  onHosts('a scaled window is more than 16 bits (@rfc 9293 REC-1) (@rfc 7323 2.3 2.3/left)', {}, (host) => {
    const { peer, program } = opened(host, { windowScale: 14 })
    // The window of a SYN is not scaled.
    assert.equal(program.info().sndWnd, 65535)
    peer.send('A', { window: 0xffff })
    assert.equal(program.info().sndWnd, 0xffff << 14)
  })

  onHosts('an old segment does not change the window (@rfc 9293 MUST-34)', {}, (host) => {
    const { peer, program } = opened(host)
    peer.send('PA', { data: text('new'), window: 5000 })
    host.run(100_000)
    assert.equal(program.info().sndWnd, 5000)
    peer.send('PA', { seq: 1, data: text('ne'), window: 100 })
    assert.equal(program.info().sndWnd, 5000)
    peer.send('A', { window: 6000 })
    assert.equal(program.info().sndWnd, 6000)
  })
})

describe('a small window', () => {
  onHosts('is not filled in small pieces while more is to come (@rfc 9293 MUST-38)', {}, (host) => {
    const { peer, program } = opened(host, { window: 4000, noDelay: true })
    program.send(counting(10_000))
    assert.deepEqual(lengths(peer.take()), [1460, 1460])
    // The window moves by a little each time, as a receiver would that knows no better.
    for (let i = 1; i <= 5; i++) {
      peer.send('A', { ack: 1, window: 4000 + i * 50 })
      peer.expectNothing()
    }
    peer.send('A', { ack: 1, window: 4380 })
    assert.deepEqual(lengths(peer.take()), [1460])
  })

  onHosts('is used when it is half of the largest that there was (@rfc 9293 MUST-38)', {}, (host) => {
    const { peer, program } = opened(host, { window: 1000, noDelay: true })
    program.send(counting(3000))
    peer.expect('A', { length: 1000 })
    peer.send('A', { window: 499 })
    peer.expectNothing()
    peer.send('A', { window: 500 })
    peer.expect('A', { length: 500 })
  })

  onHosts('is used after a while in any case (@rfc 9293 MUST-38)', {}, (host) => {
    const { peer, program } = opened(host, { window: 4000, noDelay: true })
    program.send(counting(2920))
    peer.take()
    peer.send('A', { ack: 2921, window: 100 })
    program.send(counting(1000))
    peer.expectNothing()
    host.run(2 * SECOND)
    assert.equal(peer.take()[0]!.data.length, 100)
  })
})

describe('a window that shrinks', () => {
  onHosts(
    'lets nothing new go, and what was sent beyond it comes again (@rfc 9293 MUST-34 SHLD-15 SHLD-16 MAY-7) (@rfc 7323 2.4/sender)',
    {},
    (host) => {
      const { peer, program } = opened(host, { window: 10_000 })
      program.send(counting(20_000))
      assert.equal(lengths(peer.take()).length, 6)
      peer.send('A', { ack: 1461, window: 1000 })
      peer.expectNothing()
      host.run(3 * SECOND)
      const again = peer.take()
      assert(again.length > 0)
      for (const { seq, data } of again) assert(seq >= 1461 && seq + data.length <= 1 + 6 * 1460)
      peer.ack = 1 + 6 * 1460
      peer.send('A', { window: 10_000 })
      assert(peer.take().some(({ seq }) => seq === 1 + 6 * 1460))
    },
  )

  onHosts('does not end the connection, as long as the peer answers (@rfc 9293 SHLD-17 MUST-37)', {}, (host) => {
    const { peer, program } = opened(host, { window: 10_000 })
    program.send(counting(8760))
    peer.take()
    peer.send('A', { ack: 1461, window: 0 })
    const end = host.nowUs + 3000 * SECOND
    while (host.nowUs < end) {
      host.run(10 * SECOND)
      if (peer.take().length > 0) peer.send('A', { ack: 1461, window: 0 })
    }
    program.expect()
    peer.take()
    peer.ack = 8761
    peer.send('A', { window: 10_000 })
    assert.equal(program.state, 'ESTABLISHED')
    program.send(text('x'))
    host.run(100 * SECOND)
    assert(peer.take().some(({ seq }) => seq === 8761))
  })
})

describe('a closed window', () => {
  /** The window is full, and there is more. */
  function closed(host: TestHost, options: PeerOptions = {}): { peer: Peer; program: TestSocket } {
    const { peer, program } = opened(host, { window: 1460, ...options })
    program.send(counting(5000))
    peer.expect('A', { length: 1460 })
    peer.send('A', { window: 0 })
    peer.expectNothing()
    return { peer, program }
  }

  onHosts(
    'is asked for after a timeout, and then less and less often (@rfc 9293 MUST-35 MUST-36 SHLD-29 SHLD-30)',
    {},
    (host) => {
      const { peer, program } = closed(host)
      const began = host.nowUs
      const rto = program.info().rtoUs
      const times: number[] = []
      for (let i = 0; i < 200; i++) {
        host.run(SECOND / 2)
        for (const probe of peer.take()) {
          times.push(probe.atUs)
          assert(probe.data.length <= 1)
          peer.send('A', { window: 0 })
        }
      }
      assert(Math.abs(times[0]! - began - Math.max(rto, 200_000)) < 100_000, `${times[0]! - began}`)
      const gaps = times.slice(1).map((at, i) => at - times[i]!)
      for (let i = 1; i < 5; i++) assert(gaps[i]! / gaps[i - 1]! > 1.8 && gaps[i]! / gaps[i - 1]! < 2.2, `${gaps}`)
      program.expect()
    },
  )

  onHosts('may stay closed as long as the peer answers (@rfc 9293 MUST-37 MAY-8)', {}, (host) => {
    const { peer, program } = closed(host)
    let probes = 0
    const end = host.nowUs + 2 * 3600 * SECOND
    while (host.nowUs < end) {
      host.run(30 * SECOND)
      for (const _ of peer.take()) {
        probes++
        peer.send('A', { window: 0 })
      }
    }
    assert(probes > 100)
    program.expect()
    peer.send('A', { window: 10_000 })
    assert.deepEqual(lengths(peer.take()), [1460, 1460])
  })

  onHosts('of a peer that does not answer ends the connection in the end (@rfc 9293 MUST-36)', {}, (host) => {
    const { peer, program } = closed(host)
    host.run(3600 * SECOND)
    program.expect('error ETIMEDOUT')
    assert(peer.take().length >= 10)
  })

  onHosts('of a program that has set a timeout ends the connection by it (@rfc 9293 MUST-21)', {}, (host) => {
    const { peer, program } = closed(host)
    program.do((socket) => socket.setUserTimeout(30_000))
    for (let i = 0; i < 100; i++) {
      host.run(SECOND)
      for (const _ of peer.take()) peer.send('A', { window: 0 })
    }
    program.expect('error ETIMEDOUT')
  })

  onHosts('of a connection whose program is gone is not asked for ever', {}, (host) => {
    const { peer, program } = closed(host)
    program.close()
    program.expect('closed')
    const end = host.nowUs + 3600 * SECOND
    while (host.nowUs < end) {
      host.run(20 * SECOND)
      for (const _ of peer.take()) peer.send('A', { window: 0 })
    }
    assert.equal(host.count(TcpCounters, 'timedOut'), 1)
    peer.take()
    peer.send('A')
    peer.expect('R')
  })

  onHosts('opens by an acknowledgment that says so, at once', {}, (host) => {
    const { peer } = closed(host)
    peer.send('A', { window: 65535 })
    assert.deepEqual(lengths(peer.take()), [1460, 1460])
  })

  onHosts('of ours still takes RST and URG and acknowledgments (@rfc 9293 MUST-66)', {}, (host) => {
    const { peer, program } = opened(host, { reads: false, receiveBytes: 2000 })
    peer.send('A', { data: counting(1000) })
    peer.send('A', { data: counting(1000) })
    host.run(100_000)
    assert.equal(peer.take().at(-1)!.window, 0)
    program.log.length = 0
    program.send(text('sent'))
    peer.expect('PA', { data: text('sent') })
    peer.send('A')
    assert.equal(program.info().flight, 0, 'the acknowledgment counted')
    peer.take()
    // Data beyond the window is not taken, but its urgent pointer is.
    peer.send('UA', { seq: peer.seq, data: text('u'), urgent: 1 })
    peer.seq--
    peer.expect('A', { ack: 2001, window: 0 })
    program.expect('urgent 2001')
    peer.send('R', { seq: 2001 })
    program.expect('error ECONNRESET')
  })
})

describe('our window', () => {
  const edge = ({ ack, window }: HostSegment, scale = 0) => ack + window * 2 ** scale

  onHosts('never moves its right edge back (@rfc 9293 SHLD-14)', {}, (host) => {
    const { peer, program } = opened(host, { reads: false, receiveBytes: 20_000 })
    let right = edge(peer.syn!)
    right = 20_001
    const check = () => {
      host.run(60_000)
      for (const segment of peer.take()) {
        assert(edge(segment) >= right, `${edge(segment)} after ${right}`)
        right = edge(segment)
      }
    }
    for (let i = 0; i < 60; i++) {
      if (peer.seq + 700 <= right) peer.send('A', { data: counting(700, i) })
      check()
      if (i % 3 === 2) program.read()
      check()
    }
    assert(right > 20_001 + 5000)
  })

  onHosts('does not move its edge back by the rounding of a scale (@rfc 7323 2.4/receiver)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 }, 0, { reads: false })
    const peer = Peer.accept(host, { windowScale: 0 })
    const scale = peer.syn!.windowScale!
    assert(scale > 0)
    let right = 0
    for (let i = 0; i < 40; i++) {
      // Not by a multiple of what a unit of the window is.
      peer.send('PA', { data: counting(101 + i) })
      if (i % 4 === 3) program.read(150)
      host.run(60_000)
      for (const segment of peer.take()) {
        assert(edge(segment, scale) >= right, `${edge(segment, scale)} after ${right}`)
        right = edge(segment, scale)
      }
    }
    assert(right > 0)
    program.abort()
    peer.take()
  })

  onHosts('is not opened by a little (@rfc 9293 MUST-39)', {}, (host) => {
    const { peer, program } = opened(host, { reads: false, receiveBytes: 4380 })
    for (let i = 0; i < 3; i++) peer.send('A', { data: counting(1460, i) })
    host.run(100_000)
    assert.equal(peer.take().at(-1)!.window, 0)
    for (let i = 0; i < 14; i++) {
      program.read(100)
      host.run(100_000)
      // Whatever is said, it does not open.
      assert(peer.take().every(({ window }) => window === 0))
    }
    program.read(4380)
    host.run(100_000)
    assert(peer.take().at(-1)!.window >= 2190)
  })

  onHosts('opens by itself when the program reads, without being asked', {}, (host) => {
    const { peer, program } = opened(host, { reads: false, receiveBytes: 2920 })
    peer.send('A', { data: counting(1460) })
    peer.send('A', { data: counting(1460) })
    host.run(100_000)
    assert.equal(peer.take().at(-1)!.window, 0)
    program.read()
    peer.expect('A', { ack: 2921, window: 2920 })
  })

  onHosts('what is beyond it is cut off, and what is before it too', {}, (host) => {
    const { peer, program } = opened(host, { reads: false, receiveBytes: 1000 })
    peer.send('FPA', { data: counting(1460) })
    host.run(100_000)
    assert.equal(peer.take().at(-1)!.ack, 1001)
    assert.deepEqual(program.read(), counting(1000))
    program.log.length = 0
    peer.take()
    peer.send('FPA', { seq: 501, data: counting(1000, 500) })
    host.run(100_000)
    assert.deepEqual(program.read(), counting(500, 1000))
    program.expect('readable')
    assert.equal(program.socket.ended, true)
  })

  onHosts('is scaled as agreed, and not in the SYN (@rfc 7323 2.2/syn-unscaled 2.2/agree 2.3/right)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.accept(host, { windowScale: 0 })
    assert(peer.syn!.window <= 65535)
    const scale = peer.syn!.windowScale!
    host.run(100_000)
    peer.take()
    peer.send('PA', { data: text('x') })
    host.run(100_000)
    const { window } = peer.take().at(-1)!
    const { rcvWnd } = program.info()
    assert.equal(window, Math.ceil(rcvWnd / 2 ** scale))
    assert(window * 2 ** scale > 65535)
  })

  onHosts('without an agreement is not scaled (@rfc 7323 2.2/agree)', {}, (host) => {
    host.connect({ address: PEER, port: 80 })
    const peer = Peer.accept(host)
    peer.send('PA', { data: text('x') })
    host.run(100_000)
    const last = peer.take().at(-1)!
    assert(last.window > 60_000 && last.window <= 65535)
  })

  test('grows with what the program takes in a round trip, up to its limit', () => {
    withHost({ cpus: 1 }, (host) => {
      const { peer, program } = opened(host, { windowScale: 7 })
      const before = program.info().rcvBuffer
      for (let i = 0; i < 3000; i++) {
        peer.post('A', { data: counting(1460) })
        if (i % 100 === 99) {
          host.run(500)
          peer.take()
        }
      }
      const after = program.info().rcvBuffer
      assert(after > before && after <= 4 * 1024 * 1024, `${before} → ${after}`)
    })
  })
})

describe('acknowledgments', () => {
  onHosts(
    'of a single segment wait for less than half a second (@rfc 9293 SHLD-18 MUST-40) (@rfc 5681 4.2/delayed 4.2/half-second)',
    {},
    (host) => {
      const { peer } = opened(host)
      const sentAt = host.nowUs
      peer.send('PA', { data: text('x') })
      peer.expectNothing()
      host.run(SECOND)
      const { atUs } = peer.expect('A', { ack: 2 })
      assert(atUs - sentAt < 500_000 && atUs - sentAt > 10_000)
      peer.expectNothing()
    },
  )

  onHosts(
    'go for every second full segment at once (@rfc 9293 SHLD-19) (@rfc 5681 4.2/second-segment 4.2/one-each)',
    {},
    (host) => {
      const { peer } = opened(host)
      for (let i = 0; i < 5; i++) {
        peer.send('A', { data: counting(1460) })
        peer.expectNothing()
        peer.send('A', { data: counting(1460) })
        peer.expect('A', { ack: peer.seq })
      }
    },
  )

  onHosts('go for as much as two segments at once, in however many small ones (@rfc 9293 SHLD-19)', {}, (host) => {
    const { peer } = opened(host)
    peer.send('A', { data: counting(1460) })
    peer.send('A', { data: counting(1460) })
    peer.take()
    let unanswered = 0
    for (let i = 0; i < 100; i++) {
      peer.send('PA', { data: counting(100) })
      unanswered += 100
      if (peer.take().length > 0) unanswered = 0
      assert(unanswered < 2 * 1460)
    }
  })

  onHosts('of one batch are one (@rfc 9293 MUST-58 MUST-59)', {}, (host) => {
    const { peer } = opened(host)
    for (let i = 0; i < 8; i++) peer.post('A', { data: counting(1460) })
    host.run()
    const acks = peer.take()
    assert(acks.length <= 4, `${acks.length}`)
    assert.equal(acks.at(-1)!.ack, peer.seq)
  })

  onHosts('go with data that is sent anyway', {}, (host) => {
    const { peer, program } = opened(host)
    peer.send('PA', { data: text('question') })
    program.send(text('answer'))
    peer.expect('PA', { ack: 9, data: text('answer') })
    host.run(SECOND)
    assert(
      peer.take().every(({ data }) => data.length > 0),
      'the delayed one is not sent besides',
    )
  })

  onHosts(
    'go at once for what is out of order, and for what fills a gap (@rfc 9293 SHLD-31 MAY-13) (@rfc 5681 3.2/duplicate-at-once 3.2/gap-at-once 4.2/one-each)',
    {},
    (host) => {
      const { peer, program } = opened(host)
      for (let i = 1; i <= 3; i++) {
        peer.send('A', { seq: 1 + 100 * i, data: counting(100, 100 * i) })
        peer.expect('A', { ack: 1 })
      }
      peer.send('A', { seq: 1, data: counting(100) })
      peer.expect('A', { ack: 401 })
      assert.deepEqual(program.received(), counting(400))
    },
  )

  onHosts('go for what came twice', {}, (host) => {
    const { peer, program } = opened(host)
    peer.send('PA', { data: text('once') })
    peer.send('PA', { seq: 1, data: text('once') })
    peer.expect('A', { ack: 5 })
    assert.deepEqual(program.received(), text('once'))
  })

  onHosts('of acknowledgments there are none', {}, (host) => {
    const { peer } = opened(host)
    for (let i = 0; i < 5; i++) peer.send('A')
    host.run(SECOND)
    peer.expectNothing()
  })
})

describe('urgent data', () => {
  onHosts('is told of, and stays in the stream (@rfc 9293 MUST-31 MUST-32 MUST-33)', {}, (host) => {
    const { peer, program } = opened(host)
    peer.send('PUA', { data: text('now!later'), urgent: 4 })
    program.expect('urgent 4')
    assert.deepEqual(program.received(), text('now!later'))
  })

  onHosts('may be of any length, over many segments, and is told of once (@rfc 9293 MUST-31)', {}, (host) => {
    const { peer, program } = opened(host)
    for (let i = 0; i < 20; i++) peer.send('UA', { data: counting(1000, i), urgent: 20_000 - 1000 * i })
    program.expect('urgent 20000')
    assert.equal(program.received().length, 20_000)
    // And again when it goes on.
    peer.send('UA', { data: text('x'), urgent: 1 })
    program.expect('urgent 1')
  })

  onHosts('may be announced before it comes (@rfc 9293 MUST-32)', {}, (host) => {
    const { peer, program } = opened(host)
    peer.send('UA', { urgent: 100 })
    program.expect('urgent 100')
    peer.send('A', { data: counting(100) })
    assert.equal(program.received().length, 100)
  })

  onHosts(
    'is sent where the program says so, and the pointer is behind its last byte (@rfc 9293 MUST-30 MUST-62)',
    {},
    (host) => {
      const { peer, program } = opened(host)
      program.send(text('calm'))
      peer.expect('PA', { data: text('calm'), urgent: 0 })
      peer.send('A', { ack: 5 })
      program.do((socket) => socket.sendUrgent(text('now!')))
      peer.expect('PAU', { seq: 5, data: text('now!'), urgent: 4 })
      peer.send('A', { ack: 9 })
      program.send(text('calm'))
      peer.expect('PA', { seq: 9, data: text('calm'), urgent: 0 })
    },
  )

  onHosts('is told of by every segment before its end, of any length (@rfc 9293 MUST-31)', {}, (host) => {
    const { peer, program } = opened(host)
    program.do((socket) => socket.setNoDelay(true))
    program.do((socket) => socket.sendUrgent(counting(4000)))
    const all = peer.take()
    for (const { seq, flags, urgent } of all) {
      assert(flags.includes('U'), flags)
      assert.equal(seq + urgent, 4001)
    }
    assert.equal(
      all.reduce((sum, { data }) => sum + data.length, 0),
      4000,
    )
  })
})
