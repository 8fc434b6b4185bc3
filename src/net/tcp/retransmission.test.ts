// What is sent again and when, and what ends a connection that gets no answer (RFC 9293 3.8.1 to 3.8.4, RFC 6298).
import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { Errno, KernelError } from '../../base/errno.ts'
import { sum } from '../../machine/testing/sim.ts'
import { TcpCounters } from '../counters.ts'
import { type Bytes, counting, icmp, text } from '../testing/frame.ts'
import { onHosts, PEER, type TestHost } from '../testing/host.ts'
import { type HostSegment, Peer, type PeerOptions } from '../testing/peer.ts'
import type { TestSocket } from '../testing/program.ts'

const SECOND = 1_000_000

/** The host has opened a connection to the peer, from its last CPU. */
function opened(
  host: TestHost,
  options: PeerOptions & { keepAliveMs?: number; userTimeoutMs?: number } = {},
): { peer: Peer; program: TestSocket } {
  const { keepAliveMs = 0, userTimeoutMs = 0 } = options
  const program = host.connect(
    { address: PEER, port: 80, keepAliveMs, userTimeoutMs, noDelay: true },
    host.cpuCount - 1,
  )
  const peer = Peer.accept(host, options)
  program.expect('connect')
  return { peer, program }
}

const gaps = (segments: readonly HostSegment[]) => segments.slice(1).map(({ atUs }, i) => atUs - segments[i]!.atUs)

describe('a retransmission', () => {
  onHosts(
    'comes after a timeout, and then each time after twice as long (@rfc 9293 MUST-19) (@rfc 6298 5/never-early 5.1 5.4 5.5 5.6)',
    {},
    (host) => {
      const { peer, program } = opened(host)
      program.send(text('hello?'))
      host.run(60 * SECOND)
      const all = peer.take()
      for (const { flags, seq, data } of all) {
        assert.equal(`${flags} ${seq}`, 'PA 1')
        assert.deepEqual(data, text('hello?'))
      }
      const times = gaps(all)
      assert(times[0]! >= 200_000 && times[0]! <= 3 * SECOND)
      for (let i = 1; i < 5; i++) {
        assert(times[i]! / times[i - 1]! > 1.9 && times[i]! / times[i - 1]! < 2.1, `${times}`)
      }
      peer.send('A', { ack: 7 })
      host.run(60 * SECOND)
      peer.expectNothing()
      program.expect()
    },
  )

  onHosts(
    'begins with one segment, and what follows depends on what is acknowledged (@rfc 9293 MUST-19)',
    {},
    (host) => {
      const { peer, program } = opened(host)
      program.send(counting(14_600))
      assert.equal(peer.take().length, 10)
      host.run(0.3 * SECOND)
      const first = peer.take()
      assert.equal(first[0]!.seq, 1)
      assert.equal(first.length, 1, 'the window is one segment')
      peer.send('A', { ack: 1461 })
      assert.equal(peer.take().length, 2, 'slow start')
      peer.send('A', { ack: 1 + 3 * 1460 })
      // One segment more for each acknowledgment, however much it is of (RFC 5681 3.1).
      assert.equal(peer.take().length, 3)
    },
  )

  onHosts('the first window is ten segments, and doubles each round trip (@rfc 9293 MUST-19)', {}, (host) => {
    const { peer, program } = opened(host, { windowScale: 7 })
    peer.send('A', { window: 20_000 })
    program.send(counting(200_000))
    for (const count of [10, 20, 40]) {
      const flight = peer.take()
      assert.equal(flight.length, count)
      for (let i = 0; i < flight.length; i += 2) {
        const { seq, data } = flight[i + 1]!
        peer.post('A', { ack: seq + data.length, window: 20_000 })
      }
      host.run()
    }
  })

  onHosts('a window that the program does not fill does not grow (@rfc 9438 5.8)', {}, (host) => {
    const { peer, program } = opened(host)
    const { cwnd } = program.info()
    for (let i = 0; i < 50; i++) {
      program.send(counting(1460))
      peer.take()
      peer.ack += 1460
      peer.send('A')
    }
    assert.equal(program.info().cwnd, cwnd)
  })

  onHosts(
    'the round trip of what was sent twice is not measured (@rfc 9293 MUST-18) (@rfc 6298 3/karn 5.7/backoff)',
    {},
    (host) => {
      const { peer, program } = opened(host)
      const { srttUs } = program.info()
      assert(srttUs > 0)
      program.send(text('slow'))
      host.run(30 * SECOND)
      peer.take()
      peer.send('A', { ack: 5 })
      assert.equal(program.info().srttUs, srttUs)
      assert(
        program.info().backoff > 0,
        'the next wait is as long as the last: this path may be slower than was thought',
      )
    },
  )

  onHosts('with timestamps, too, a peer that answers late does not mislead us (@rfc 6298 3/timestamps)', {}, (host) => {
    const { peer, program } = opened(host, { timestamps: true })
    const { srttUs } = program.info()
    program.send(text('slow'))
    host.run(30 * SECOND)
    peer.take()
    peer.send('A', { ack: 5 })
    const after = program.info().srttUs
    assert(after < srttUs + 2 * SECOND, `${srttUs} → ${after}`)
  })

  onHosts('the timeout follows the round trips that are measured (@rfc 6298 3/each-round-trip)', {}, (host) => {
    const { peer, program } = opened(host)
    for (let i = 0; i < 30; i++) {
      program.send(text('x'))
      host.run(300_000)
      peer.take()
      peer.ack = 2 + i
      peer.send('A')
    }
    const { srttUs, rtoUs } = program.info()
    assert(srttUs > 250_000 && srttUs < 400_000, `${srttUs}`)
    assert(rtoUs > srttUs + 100_000)
  })

  onHosts(
    'something new that is acknowledged starts the timer anew, and once all is there it is off (@rfc 6298 5.2 5.3)',
    {},
    (host) => {
      const { peer, program } = opened(host)
      program.send(counting(2920))
      assert.equal(peer.take().length, 2)
      const { rtoUs } = program.info()
      const most = rtoUs * 0.8
      host.run(most)
      peer.expectNothing()
      peer.send('A', { ack: 1461 })
      const ackedAt = host.nowUs
      host.run(most)
      peer.expectNothing()
      host.run(rtoUs)
      const [again] = peer.take()
      assert.equal(again!.seq, 1461)
      assert(again!.atUs - ackedAt > most)
      peer.send('A', { ack: 2921 })
      host.run(60 * SECOND)
      peer.expectNothing()
    },
  )

  onHosts('what was acknowledged in part is sent again from there', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(counting(1000))
    peer.expect('PA', { length: 1000 })
    peer.send('A', { ack: 301 })
    host.run(3 * SECOND)
    const [again] = peer.take()
    assert.equal(again!.seq, 301)
    assert.deepEqual(again!.data, counting(700, 300 & 255))
  })

  onHosts(
    'three times in vain, IP is told that the way may be bad, and so is the program (@rfc 9293 MUST-20 SHLD-9 SHLD-10) (@rfc 1122 3.3.1.4/failure 3.3.1.4/advice)',
    {},
    (host) => {
      const { peer, program } = opened(host)
      let silences = 0
      program.socket.onSilence = () => silences++
      program.send(text('hello?'))
      host.run(2.2 * SECOND)
      assert(peer.take().length <= 4)
      assert.equal(host.count(TcpCounters, 'negativeAdvice'), 0)
      assert.equal(silences, 0)
      host.run(20 * SECOND)
      assert.equal(host.count(TcpCounters, 'negativeAdvice'), 1)
      assert.equal(silences, 1)
      program.expect()
      peer.take()
    },
  )

  onHosts('goes on for at least 100 s, then the program is told (@rfc 9293 MUST-20 MUST-12 SHLD-11)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(text('hello?'))
    host.run(100 * SECOND)
    program.expect()
    host.run(1500 * SECOND)
    program.expect('error ETIMEDOUT')
    const all = peer.take()
    assert(all.at(-1)!.atUs - all[0]!.atUs > 100 * SECOND)
    host.run(200 * SECOND)
    peer.expectNothing()
  })

  onHosts('the program says how long (@rfc 9293 MUST-21)', {}, (host) => {
    const { peer, program } = opened(host, { userTimeoutMs: 5000 })
    program.send(text('hello?'))
    host.run(4 * SECOND)
    program.expect()
    host.run(10 * SECOND)
    program.expect('error ETIMEDOUT')
    peer.take()
  })

  onHosts('longer, too, and on a connection that is open (@rfc 9293 MUST-21)', {}, (host) => {
    const { peer, program } = opened(host)
    program.do((socket) => socket.setUserTimeout(3_000_000))
    program.send(text('hello?'))
    host.run(2900 * SECOND)
    program.expect()
    host.run(300 * SECOND)
    program.expect('error ETIMEDOUT')
    peer.take()
  })
})

describe('keep-alive', () => {
  onHosts(
    'leaves it to the retransmissions to ask while something is on its way, and does not look all the time',
    {},
    (host) => {
      const { peer, program } = opened(host, { keepAliveMs: 5000 })
      host.run(SECOND)
      program.send(text('hello?'))
      const before = sum(host.machine, 'timersFired')
      host.run(300 * SECOND)
      const fired = sum(host.machine, 'timersFired') - before
      assert(fired < 300, `${fired} timers have fired`)
      assert(peer.take().every(({ data }) => data.length > 0))
      assert.equal(host.count(TcpCounters, 'keepAlives'), 0)
      program.expect()
    },
  )

  onHosts('is off where nobody asks for it (@rfc 9293 MUST-24 MUST-25)', {}, (host) => {
    const { peer, program } = opened(host)
    host.run(30 * 3600 * SECOND)
    peer.expectNothing()
    program.expect()
    assert.equal(program.state, 'ESTABLISHED')
  })

  onHosts(
    'asks after silence only, without data, and an answer is enough (@rfc 9293 MUST-24 MUST-26 MUST-27 SHLD-12 MAY-5)',
    {},
    (host) => {
      const { peer, program } = opened(host, { keepAliveMs: 60_000 })
      for (let i = 0; i < 5; i++) {
        host.run(50 * SECOND)
        peer.send('PA', { data: text('x') })
        host.run(SECOND)
        peer.expect('A', { ack: peer.seq })
      }
      peer.expectNothing()
      for (let i = 0; i < 20; i++) {
        host.run(62 * SECOND)
        const probes = peer.take()
        assert(probes.length <= 1)
        for (const { flags, seq, data } of probes) {
          assert.equal(`${flags} ${seq} ${data.length}`, 'A 0 0')
          peer.send('A')
        }
      }
      assert(host.count(TcpCounters, 'keepAlives') >= 10)
      program.expect()
    },
  )

  onHosts('of a program asks after two hours, by its default (@rfc 9293 MUST-28)', {}, (host) => {
    const { peer, program } = opened(host)
    program.do((socket) => socket.setKeepAlive(7_200_000))
    host.run(7199 * SECOND)
    peer.expectNothing()
    host.run(2 * SECOND)
    peer.expect('A', { seq: 0, length: 0 })
    peer.send('A')
  })

  onHosts('does not give up for one probe without an answer (@rfc 9293 MUST-29)', {}, (host) => {
    const { peer, program } = opened(host)
    program.do((socket) => socket.setKeepAlive(60_000, 10_000, 5))
    host.run(61 * SECOND)
    peer.expect('A', { seq: 0 })
    host.run(35 * SECOND)
    assert.equal(peer.take().length, 3)
    peer.send('A')
    program.expect()
    host.run(55 * SECOND)
    peer.expectNothing()
    host.run(120 * SECOND)
    program.expect('error ETIMEDOUT')
    assert.equal(peer.take().length, 5)
    assert.equal(host.count(TcpCounters, 'keepAliveTimedOut'), 1)
  })

  onHosts('is switched off again', {}, (host) => {
    const { peer, program } = opened(host, { keepAliveMs: 60_000 })
    program.do((socket) => socket.setKeepAlive(0))
    host.run(1000 * SECOND)
    peer.expectNothing()
  })

  onHosts('of the peer is answered (@rfc 9293 MUST-29)', {}, (host) => {
    const { peer, program } = opened(host)
    for (let i = 0; i < 5; i++) {
      peer.send('A', { seq: 0 })
      peer.expect('A', { seq: 1, ack: 1, length: 0 })
      // Some send an octet.
      peer.send('A', { seq: 0, data: Uint8Array.of(0) })
      peer.expect('A', { seq: 1, ack: 1, length: 0 })
      host.run(60 * SECOND)
    }
    assert.deepEqual(program.received(), text(''))
  })
})

describe('errors of ICMP', () => {
  /** The IP header of what the host has sent, and 8 bytes behind it. */
  const quote = ({ sent }: HostSegment): Bytes => sent.bytes.subarray(14, 14 + 28)

  onHosts(
    'that may pass end nothing (@rfc 9293 MUST-54 MUST-56 SHLD-25) (@rfc 1122 3.2.2.1/pass-up 3.2.2.1/hint 3.2.2.4 3.2.2.5/pass-up 3.4/pass-icmp)',
    {},
    (host) => {
      const { peer, program } = opened(host)
      program.send(text('x'))
      const sent = peer.expect('PA')
      for (const code of [0, 1, 5, 6, 7, 8, 11, 12]) host.inject(icmp({ type: 3, code }, quote(sent)))
      for (const code of [0, 1]) host.inject(icmp({ type: 11, code }, quote(sent)))
      for (const code of [0, 1, 2]) host.inject(icmp({ type: 12, code }, quote(sent)))
      program.expect()
      peer.send('A')
      assert.equal(program.state, 'ESTABLISHED')
    },
  )

  onHosts('that may pass are what the program is told if nothing comes of it (@rfc 9293 SHLD-25)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(text('x'))
    const sent = peer.expect('PA')
    host.inject(icmp({ type: 3, code: 1 }, quote(sent)))
    host.run(2000 * SECOND)
    program.expect('error EHOSTUNREACH')
    assert.equal(program.socket.errno, Errno.EHOSTUNREACH)
    peer.take()
  })

  onHosts('that will stay end an attempt to connect (@rfc 9293 SHLD-26) (@rfc 1122 3.2.2.1/act)', {}, (host) => {
    for (const [code, name] of [
      [2, 'EPROTONOSUPPORT'],
      [3, 'ECONNREFUSED'],
    ] as const) {
      const program = host.connect({ address: PEER, port: 80 })
      const peer = Peer.awaiting(host)
      host.inject(icmp({ type: 3, code }, quote(peer.syn!)))
      program.expect(`connect ${name}`)
    }
  })

  onHosts('that will stay do not end what works (@rfc 5927 5.2)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(text('x'))
    const sent = peer.expect('PA')
    for (const code of [2, 3]) host.inject(icmp({ type: 3, code }, quote(sent)))
    program.expect()
    peer.send('A')
    assert.equal(program.state, 'ESTABLISHED')
  })

  onHosts('that may pass do not end an attempt to connect (@rfc 9293 MUST-56) (@rfc 1122 3.2.2.1/hint)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    for (const code of [0, 1, 5]) host.inject(icmp({ type: 3, code }, quote(peer.syn!)))
    host.inject(icmp({ type: 11, code: 0 }, quote(peer.syn!)))
    program.expect()
    peer.sendSyn('SA')
    peer.expect('A')
    program.expect('connect')
  })

  onHosts('that quench are discarded (@rfc 9293 MUST-55)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(text('x'))
    const sent = peer.expect('PA')
    const { cwnd } = program.info()
    host.inject(icmp({ type: 4, code: 0 }, quote(sent)))
    peer.expectNothing()
    assert.equal(program.info().cwnd, cwnd)
    program.expect()
  })

  onHosts('are about what is in flight, or about nothing (@rfc 5927 4.1) (@rfc 1122 3.4/quote)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    const real = quote(peer.syn!)
    const forge = (change: (bytes: Bytes) => void) => {
      const bytes = Uint8Array.from(real)
      change(bytes)
      host.inject(icmp({ type: 3, code: 3 }, bytes))
    }
    // Sequence number, ports, addresses.
    forge((bytes) => bytes[24]!++)
    forge((bytes) => bytes[27]!++)
    forge((bytes) => bytes[27]!--)
    forge((bytes) => bytes[21]!++)
    forge((bytes) => bytes[23]!++)
    forge((bytes) => bytes[19]!++)
    for (let length = 0; length < 28; length++) host.inject(icmp({ type: 3, code: 3 }, real.subarray(0, length)))
    program.expect()
    host.inject(icmp({ type: 3, code: 3 }, real))
    program.expect('connect ECONNREFUSED')
  })

  onHosts('do not begin a storm: none is answered (@rfc 9293 MUST-54)', {}, (host) => {
    const { peer, program } = opened(host)
    program.send(text('x'))
    const sent = peer.expect('PA')
    for (let type = 0; type < 256; type++) {
      if (type !== 8) host.postPacket(icmp({ type, code: 3 }, quote(sent)))
    }
    host.run()
    peer.expectNothing()
    program.expect()
  })
})

describe('what the program says of its packets', () => {
  onHosts('the traffic class is in all of them, and may change (@rfc 9293 MUST-48 SHLD-21 SHLD-22)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80, trafficClass: 0xb8 })
    const peer = Peer.accept(host)
    assert.equal(peer.syn!.sent.ip!.service, 0xb8)
    program.send(text('x'))
    assert.equal(peer.expect('PA').sent.ip!.service, 0xb8)
    peer.send('A')
    program.do((socket) => socket.setTrafficClass(0x2b))
    program.send(text('y'))
    // The lower two bits are ECN's.
    assert.equal(peer.expect('PA').sent.ip!.service, 0x28)
  })

  onHosts('the time to live is in all of them, and may change (@rfc 9293 MUST-49)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80, ttl: 7 })
    const peer = Peer.accept(host)
    assert.equal(peer.syn!.sent.ip!.ttl, 7)
    program.do((socket) => socket.setTtl(200))
    program.send(text('x'))
    assert.equal(peer.expect('PA').sent.ip!.ttl, 200)
  })

  onHosts('a time to live that cannot be is refused (@rfc 1122 3.2.1.7/zero)', {}, (host) => {
    const isRefused = (error: unknown) => error instanceof KernelError && error.code === 'EINVAL'
    for (const ttl of [0, -1, 256, 1.5]) {
      assert.throws(() => host.connect({ address: PEER, port: 80, ttl }), isRefused)
      assert.throws(() => host.stacks[0]!.tcp.listen({ port: 7, ttl }, () => assert.fail()), isRefused)
    }
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.accept(host)
    for (const ttl of [0, 256]) program.do((socket) => assert.throws(() => socket.setTtl(ttl), isRefused))
    program.send(text('x'))
    assert.equal(peer.expect('PA').sent.ip!.ttl, 64)
  })

  onHosts('of a listener is in its answers as well (@rfc 9293 MUST-48)', {}, (host) => {
    const server = host.listen({ port: 7, trafficClass: 0x20 })
    const peer = new Peer(host)
    peer.sendSyn()
    assert.equal(peer.expectSyn('SA').sent.ip!.service, 0x20)
    peer.send('A')
    server.accept().send(text('x'))
    assert.equal(peer.expect('PA').sent.ip!.service, 0x20)
  })

  onHosts('IP options of what comes are passed over (@rfc 9293 MUST-50)', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = Peer.connect(host)
    const packet = peer.packet('PA', { data: text('x') })
    // A "no operation" and a timestamp option of the peer's, which nobody here knows.
    const options = [1, 68, 8, 5, 0, 0, 0, 0, 0, 0, 0, 0].slice(0, 12)
    const longer = new Uint8Array(packet.length + 12)
    longer.set(packet.subarray(0, 20))
    longer.set(options, 20)
    longer.set(packet.subarray(20), 32)
    longer[0] = 0x48
    longer[3] = longer.length
    longer[10] = longer[11] = 0
    let sum = 0
    for (let i = 0; i < 32; i += 2) sum += (longer[i]! << 8) | longer[i + 1]!
    sum = (sum & 0xffff) + (sum >>> 16)
    longer[10] = (~sum >>> 8) & 0xff
    longer[11] = ~sum & 0xff
    host.inject(longer)
    assert.deepEqual(server.accept().received(), text('x'))
  })
})
