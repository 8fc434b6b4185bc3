// Closing a connection (RFC 9293 3.6), from both sides, by halves and by force; TIME-WAIT; and what resets do in each state.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TcpCounters } from '../counters.ts'
import { counting, tcp, text } from '../testing/frame.ts'
import { onHosts, PEER, type TestHost, withHost } from '../testing/host.ts'
import { Peer, type PeerOptions } from '../testing/peer.ts'
import type { TestSocket } from '../testing/program.ts'

const SECOND = 1_000_000

/** An established connection that the peer has opened, to a program on the host's last CPU. */
function connected(
  host: TestHost,
  options: PeerOptions & { reads?: boolean } = {},
): { peer: Peer; program: TestSocket } {
  const server = host.listen({ port: 7, shared: true }, host.cpuCount - 1, { reads: options.reads ?? true })
  const peer = Peer.connect(host, options)
  return { peer, program: server.accept() }
}

/** How a connection is brought from ESTABLISHED into each synchronized state. */
const STATES: { readonly [state: string]: (peer: Peer, program: TestSocket) => void } = {
  ESTABLISHED: () => {},
  'CLOSE-WAIT': (peer) => {
    peer.send('FA')
    peer.expect('A', { ack: peer.seq })
  },
  'FIN-WAIT-1': (peer, program) => {
    program.shutdown()
    peer.expect('FA')
  },
  'FIN-WAIT-2': (peer, program) => {
    program.shutdown()
    peer.expect('FA')
    peer.send('A')
  },
  CLOSING: (peer, program) => {
    program.shutdown()
    peer.expect('FA')
    peer.send('FA', { ack: peer.ack - 1 })
    peer.expect('A', { ack: peer.seq })
  },
  'LAST-ACK': (peer, program) => {
    peer.send('FA')
    peer.expect('A', { ack: peer.seq })
    program.shutdown()
    peer.expect('FA')
  },
}

/** Both ends have closed, the host first. */
function toTimeWait(host: TestHost, options: PeerOptions = {}): Peer {
  const { peer, program } = connected(host, options)
  program.close()
  peer.expect('FA', { seq: 1 })
  peer.send('FA')
  peer.expect('A', { seq: 2, ack: 2 })
  assert.equal(host.count(TcpCounters, 'timeWaits'), 1)
  return peer
}

describe('a close', () => {
  onHosts('by the program first: FIN, its ACK, the peer’s FIN, its ACK, TIME-WAIT (@rfc 9293 MUST-13)', {}, (host) => {
    const { peer, program } = connected(host)
    program.shutdown()
    peer.expect('FA', { seq: 1, ack: 1 })
    assert.equal(program.state, 'FIN-WAIT-1')
    peer.send('A')
    assert.equal(program.state, 'FIN-WAIT-2')
    program.expect()
    peer.send('FA')
    peer.expect('A', { seq: 2, ack: 2 })
    program.expect('end')
    program.close()
    program.expect('closed')
    assert.equal(host.count(TcpCounters, 'timeWaits'), 1)
    host.run(61 * SECOND)
    peer.expectNothing()
    peer.send('A')
    peer.expect('R')
  })

  onHosts('by the peer first: the program may still send, and then closes', {}, (host) => {
    const { peer, program } = connected(host)
    peer.send('FA')
    peer.expect('A', { seq: 1, ack: 2 })
    program.expect('end')
    assert.equal(program.send(text('last words')), 10)
    peer.expect('PA', { ack: 2, data: text('last words') })
    peer.send('A')
    program.close()
    peer.expect('FA', { seq: 11, ack: 2 })
    program.expect('closed')
    peer.send('A')
    assert.equal(host.count(TcpCounters, 'timeWaits'), 0)
    peer.send('A')
    peer.expect('R')
  })

  onHosts('by both at once: CLOSING, then TIME-WAIT', {}, (host) => {
    const { peer, program } = connected(host)
    program.shutdown()
    peer.expect('FA', { seq: 1 })
    peer.send('FA', { ack: 1 })
    peer.expect('A', { seq: 2, ack: 2 })
    assert.equal(program.state, 'CLOSING')
    program.expect('end')
    peer.send('A', { ack: 2 })
    assert.equal(host.count(TcpCounters, 'timeWaits'), 1)
    program.close()
    program.expect('closed')
    peer.expectNothing()
  })

  onHosts('the FIN and the ACK of ours in one segment lead from FIN-WAIT-1 to TIME-WAIT', {}, (host) => {
    toTimeWait(host)
  })

  onHosts('half closed, the other half goes on for as long as it wants (@rfc 9293 MAY-1)', {}, (host) => {
    const { peer, program } = connected(host)
    program.send(text('request'))
    program.shutdown()
    peer.expect('PA', { data: text('request') })
    peer.expect('FA')
    peer.send('A')
    for (let i = 0; i < 5; i++) {
      host.run(100 * SECOND)
      peer.send('PA', { data: counting(1000, i) })
      assert.deepEqual(program.received(), counting(1000, i))
      host.run(100_000)
      peer.expect('A', { ack: peer.seq })
    }
    peer.send('FA')
    peer.expect('A')
    program.expect('end')
    assert.equal(program.send(text('x')), 0, 'nothing is sent behind a FIN')
    peer.expectNothing()
  })

  onHosts('what was sent before goes first, and the FIN with the last of it', {}, (host) => {
    const { peer, program } = connected(host)
    program.do((socket) => {
      socket.send(counting(3000))
      socket.close()
    })
    peer.expect('A', { seq: 1, length: 1460 })
    peer.expect('A', { seq: 1461, length: 1460 })
    peer.expect('FPA', { seq: 2921, length: 80 })
    program.expect('closed')
  })

  onHosts('what waits for the window of the peer goes before the FIN, too', {}, (host) => {
    const { peer, program } = connected(host, { window: 1000 })
    program.do((socket) => {
      socket.send(counting(1500))
      socket.close()
    })
    peer.expect('A', { seq: 1, length: 1000 })
    peer.send('A')
    peer.expect('FPA', { seq: 1001, length: 500 })
  })

  onHosts('a FIN needs no window', {}, (host) => {
    const { peer, program } = connected(host)
    peer.send('A', { window: 0 })
    program.shutdown()
    peer.expect('FA', { seq: 1 })
  })

  onHosts('a FIN that is lost is sent again, and with what comes back before it nothing is given up', {}, (host) => {
    const { peer, program } = connected(host)
    program.shutdown()
    const first = peer.expect('FA', { seq: 1 })
    host.run(1.5 * SECOND)
    const again = peer.expect('FA', { seq: 1 })
    assert(again.atUs - first.atUs >= 200_000)
    peer.send('PA', { ack: 1, data: text('meanwhile') })
    assert.deepEqual(program.received(), text('meanwhile'))
    host.run(100_000)
    host.take()
    host.run(10 * SECOND)
    assert(peer.take().every(({ flags, seq }) => flags === 'FA' && seq === 1))
    peer.send('A', { ack: 2 })
    assert.equal(program.state, 'FIN-WAIT-2')
  })

  onHosts('the FIN follows when congestion lets it, also where all data is sent', {}, (host) => {
    const { peer, program } = connected(host, { sack: true })
    // Ten segments: the whole first window. The first is lost, the rest is there: recovery, with more in flight than the window.
    program.send(counting(14600))
    assert.equal(peer.take().length, 10)
    for (let i = 2; i <= 4; i++) peer.send('A', { ack: 1, sack: [[1461, 1 + 1460 * i]] })
    program.shutdown()
    peer.send('A', { ack: 14601 })
    host.run(3 * SECOND)
    const fins = peer.take().filter(({ flags }) => flags.includes('F'))
    assert(fins.length > 0, 'the FIN is sent')
    assert.equal(fins[0]!.seq + fins[0]!.data.length, 14601)
  })

  onHosts('the FIN follows also when the window had shrunk below what was in flight', {}, (host) => {
    const { peer, program } = connected(host, { ecn: true })
    program.send(counting(14600))
    assert.equal(peer.take().length, 10)
    // Congestion was marked: the window is smaller than what is in flight.
    peer.send('AE', { ack: 1461 })
    program.shutdown()
    peer.send('A', { ack: 14601 })
    host.run(3 * SECOND)
    const fins = peer.take().filter(({ flags }) => flags.includes('F'))
    assert(fins.length > 0, 'the FIN is sent')
    assert.equal(fins[0]!.seq, 14601)
  })

  onHosts('with data unread is a reset: the peer learns that it was lost (@rfc 9293 SHLD-3)', {}, (host) => {
    const { peer, program } = connected(host, { reads: false })
    peer.send('PA', { data: text('nobody reads this') })
    program.expect('readable')
    program.close()
    peer.expect('RA', { seq: 1 })
    program.expect('closed')
    peer.expectNothing()
  })

  onHosts('data that comes after it is answered by a reset (@rfc 9293 SHLD-3)', {}, (host) => {
    const { peer, program } = connected(host)
    program.close()
    peer.expect('FA')
    peer.send('A')
    peer.send('PA', { data: text('too late') })
    peer.expect('RA', { seq: 2 })
    assert.equal(host.count(TcpCounters, 'dataAfterClose'), 1)
    peer.send('A')
    peer.expect('R')
  })

  onHosts('nobody waits for ever in FIN-WAIT-2 for a peer that does not close', {}, (host) => {
    const { peer, program } = connected(host)
    program.close()
    peer.expect('FA')
    peer.send('A')
    host.run(61 * SECOND)
    peer.expectNothing()
    assert.equal(host.count(TcpCounters, 'finWait2TimedOut'), 1)
    peer.send('A')
    peer.expect('R')
  })

  onHosts('but a program that only shut down waits as long as it wants', {}, (host) => {
    const { peer, program } = connected(host)
    program.shutdown()
    peer.expect('FA')
    peer.send('A')
    host.run(1000 * SECOND)
    assert.equal(program.state, 'FIN-WAIT-2')
    program.close()
    program.expect('closed')
    host.run(61 * SECOND)
    assert.equal(host.count(TcpCounters, 'finWait2TimedOut'), 1)
  })

  onHosts('an abort is a reset, whatever was to be sent', {}, (host) => {
    const { peer, program } = connected(host, { window: 100 })
    program.send(counting(5000))
    peer.expect('A', { length: 100 })
    program.abort()
    peer.expect('RA', { seq: 101, ack: 1 })
    program.expect('closed')
    host.run(100 * SECOND)
    peer.expectNothing()
  })

  onHosts('of a socket whose connection is not there yet ends the attempt', {}, (host) => {
    const cpu = host.cpuCount - 1
    const program = host.connect({ address: PEER, port: 80 }, cpu)
    const peer = Peer.awaiting(host)
    program.close()
    program.expect('closed')
    host.run(100 * SECOND)
    peer.expectNothing()
    peer.sendSyn('SA')
    peer.expect('R', { seq: 1 })
  })

  onHosts('of the sending side before the connection is there follows when it is', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 }, host.cpuCount - 1)
    const peer = Peer.awaiting(host)
    program.shutdown()
    peer.expectNothing()
    peer.sendSyn('SA')
    peer.expect('FA', { seq: 1, ack: 1 })
    program.expect('connect')
    assert.equal(program.state, 'FIN-WAIT-1')
  })
})

describe('a FIN', () => {
  onHosts('out of order waits for what is missing', {}, (host) => {
    const { peer, program } = connected(host, { sack: true })
    peer.send('PA', { seq: 1 + 5, data: text('world') })
    peer.expect('A', { ack: 1, sack: [[6, 11]] })
    peer.send('FA', { seq: 11 })
    peer.expect('A', { ack: 1 })
    program.expect()
    peer.send('PA', { seq: 1, data: text('hello') })
    host.run(100_000)
    assert.deepEqual(program.received(), text('helloworld'))
    const last = peer.take().at(-1)!
    if (last.ack === 11) {
      // It was not kept: the peer sends it again.
      program.expect()
      peer.send('FA', { seq: 11 })
      peer.expect('A', { ack: 12 })
    } else assert.equal(last.ack, 12)
    program.expect('end')
  })

  onHosts('is the end: data behind it is nobody’s', {}, (host) => {
    const { peer, program } = connected(host)
    peer.send('FPA', { data: text('end') })
    peer.expect('A', { ack: 5 })
    assert.deepEqual(program.received(), text('end'))
    peer.send('PA', { seq: 5, data: text('more') })
    peer.send('FPA', { seq: 5, data: text('more') })
    host.run(100_000)
    assert(peer.take().every(({ ack }) => ack === 5))
    assert.deepEqual(program.received(), text(''))
    program.expect('end')
  })

  onHosts('that comes again is acknowledged again', {}, (host) => {
    const { peer, program } = connected(host)
    for (let i = 0; i < 3; i++) {
      peer.send('FA', { seq: 1 })
      peer.expect('A', { ack: 2 })
    }
    program.expect('end')
  })
})

describe('TIME-WAIT', () => {
  onHosts('acknowledges the FIN again, and begins anew then (@rfc 9293 MUST-13)', {}, (host) => {
    const peer = toTimeWait(host)
    host.run(50 * SECOND)
    peer.send('FA', { seq: 1 })
    peer.expect('A', { seq: 2, ack: 2 })
    host.run(50 * SECOND)
    peer.send('FA', { seq: 1 })
    peer.expect('A', { seq: 2, ack: 2 })
    host.run(61 * SECOND)
    peer.send('FA', { seq: 1 })
    peer.expect('R')
  })

  onHosts('begins anew for a FIN also where numbers pass 2^31 (@rfc 9293 MUST-13)', {}, (host) => {
    const peer = toTimeWait(host, { iss: 0x7ffffffe })
    host.run(50 * SECOND)
    peer.send('FA', { seq: 1 })
    peer.expect('A', { seq: 2, ack: 2 })
    host.run(50 * SECOND)
    peer.send('FA', { seq: 1 })
    peer.expect('A', { seq: 2, ack: 2 })
  })

  onHosts('is not ended by a reset (@rfc 1337 3)', {}, (host) => {
    const peer = toTimeWait(host)
    for (const seq of [1, 2, 3, 1000]) {
      peer.send('R', { seq })
      peer.send('RA', { seq })
    }
    peer.expectNothing()
    assert.equal(host.count(TcpCounters, 'rejectedAssassin'), 8)
    peer.send('FA', { seq: 1 })
    peer.expect('A', { seq: 2, ack: 2 })
  })

  onHosts('answers old data by an acknowledgment, and an acknowledgment by nothing', {}, (host) => {
    const peer = toTimeWait(host)
    peer.send('A', { seq: 2 })
    peer.expectNothing()
    peer.send('PA', { seq: 1, data: text('old') })
    peer.expect('A', { seq: 2, ack: 2 })
  })

  onHosts('takes a SYN with a higher number for a new connection (@rfc 9293 MAY-2)', {}, (host) => {
    const old = toTimeWait(host)
    const peer = Peer.connect(host, { iss: old.iss + 100_000 })
    assert.equal(host.count(TcpCounters, 'timeWaitsReused'), 1)
    // The new numbers are beyond the old ones.
    assert(((peer.hostIss - old.hostIss) | 0) > 0)
    peer.send('PA', { data: text('anew') })
    host.run(100_000)
    peer.expect('A', { ack: 5 })
  })

  onHosts('takes a SYN with a later timestamp, whatever its number (@rfc 9293 SHLD-4) (@rfc 6191 2)', {}, (host) => {
    const old = toTimeWait(host, { timestamps: true })
    host.run(10_000)
    Peer.connect(host, { iss: old.iss - 100_000, timestamps: true })
    assert.equal(host.count(TcpCounters, 'timeWaitsReused'), 1)
  })

  onHosts('answers a SYN from the past by an acknowledgment (@rfc 9293 MAY-2) (@rfc 6191 2)', {}, (host) => {
    for (const [port, timestamps] of [
      [5001, false],
      [5002, true],
    ] as const) {
      const old = (() => {
        const server = host.listen({ port: 7, shared: true })
        const peer = Peer.connect(host, { port, timestamps })
        server.accept().close()
        peer.expect('FA')
        peer.send('FA')
        peer.expect('A')
        server.close()
        return peer
      })()
      old.send('S', { seq: -100, ...(timestamps ? { timestamps: [old.timestamp - 5000, 0] as const } : {}) })
      old.expect('A', { seq: 2, ack: 2 })
    }
    assert.equal(host.count(TcpCounters, 'timeWaitsReused'), 0)
  })

  onHosts('a new connection begins beyond the old one, however much that has sent (@rfc 9293 MAY-2)', {}, (host) => {
    const { peer: old, program } = connected(host, { windowScale: 7 })
    // Faster than the clock of initial numbers: 4 µs for each.
    for (let i = 0; i < 60; i++) {
      program.send(counting(14600))
      host.run(100)
      for (const { seq, data } of old.take()) old.ack = Math.max(old.ack, seq + data.length)
      old.send('A')
    }
    program.close()
    host.take()
    old.ack++
    old.send('FA')
    host.take()
    assert.equal(host.count(TcpCounters, 'timeWaits'), 1)
    const peer = Peer.connect(host, { iss: old.iss + 100_000 })
    const last = (old.hostIss + old.ack) | 0
    assert(((peer.hostIss - last) | 0) > 0, `${peer.hostIss} is beyond ${last >>> 0}`)
  })

  test('keeps its ports: nobody is given them (@rfc 6056 3)', () => {
    withHost({ cpus: 2 }, (host) => {
      const program = host.connect({ address: PEER, port: 80, localPort: 40000 })
      const peer = Peer.accept(host)
      program.close()
      peer.expect('FA')
      peer.send('FA')
      peer.expect('A')
      const again = host.connect({ address: PEER, port: 80, localPort: 40000 })
      host.run()
      again.expect('connect EADDRINUSE')
      host.run(61 * SECOND)
      host.connect({ address: PEER, port: 80, localPort: 40000 })
      host.expect({ tcp: { flags: 'S', sourcePort: 40000 } })
    })
  })
})

describe('a reset', () => {
  for (const [state, enter] of Object.entries(STATES)) {
    onHosts(`in ${state} ends the connection (@rfc 9293 MUST-12) (@rfc 5961 3.2/exact)`, {}, (host) => {
      const { peer, program } = connected(host)
      enter(peer, program)
      if (state !== 'CLOSING') assert.equal(program.state, state)
      program.log.length = 0
      peer.send('R')
      peer.expectNothing()
      // RFC 9293 3.10.7.4: in CLOSING and LAST-ACK all that the program wants to know has happened.
      program.expect(...(state === 'CLOSING' || state === 'LAST-ACK' ? [] : ['error ECONNRESET']))
      assert.equal(host.count(TcpCounters, 'resetsReceived'), 1)
      program.close()
      program.expect('closed')
      peer.send('A', { seq: 5 })
      peer.expect('R')
    })

    onHosts(
      `outside of the window is nothing in ${state}, and in it is challenged (@rfc 5961 3.2/outside 3.2/challenge)`,
      {},
      (host) => {
        const { peer, program } = connected(host)
        enter(peer, program)
        program.log.length = 0
        const next = peer.seq
        for (const seq of [next - 1, next + 10_000_000, next - 70_000]) peer.send('R', { seq })
        peer.expectNothing()
        peer.send('R', { seq: next + 1 })
        peer.expect('A', { ack: next })
        program.expect()
        assert.equal(host.count(TcpCounters, 'resetsReceived'), 0)
      },
    )

    onHosts(`in ${state} may have data (@rfc 9293 SHLD-2)`, {}, (host) => {
      const { peer, program } = connected(host)
      enter(peer, program)
      peer.send('RA', { data: text('because') })
      peer.expectNothing()
      assert.equal(host.count(TcpCounters, 'resetsReceived'), 1)
      assert.deepEqual(program.received(), text(''))
    })

    onHosts(`a SYN in ${state} is challenged and changes nothing (@rfc 5961 4.2/challenge 4.2/drop)`, {}, (host) => {
      const { peer, program } = connected(host)
      enter(peer, program)
      const next = peer.seq
      program.log.length = 0
      for (const seq of [next, next + 100, next - 100]) {
        peer.send('S', { seq })
        peer.expect('A', { ack: next })
      }
      program.expect()
    })

    onHosts(`what is not acceptable in ${state} is answered by an acknowledgment`, {}, (host) => {
      const { peer, program } = connected(host)
      enter(peer, program)
      const next = peer.seq
      program.log.length = 0
      for (const seq of [next - 10, next + 1_000_000]) {
        peer.send('A', { seq })
        peer.expect('A', { ack: next })
      }
      // An acknowledgment of what was not sent yet (RFC 5961 5.2).
      peer.send('A', { ack: peer.ack + 100 })
      peer.expect('A', { ack: next })
      // Without ACK.
      peer.send('', { seq: next })
      peer.expectNothing()
      program.expect()
    })
  }

  onHosts(
    'comes from a peer that has forgotten, and then it may connect anew (@rfc 5961 4.2/challenge)',
    {},
    (host) => {
      const { program } = connected(host)
      // RFC 9293 3.5.1: it was switched off and on, and uses the same ports.
      const again = new Peer(host, { iss: 77_000_000 })
      again.sendSyn()
      const challenge = host.takeNext().tcp!
      assert.equal(challenge.flags, 'A')
      host.inject(tcp({ targetPort: 7, seq: challenge.ack, flags: 'R' }))
      program.expect('error ECONNRESET')
      again.sendSyn()
      again.expectSyn('SA')
      again.send('A')
      host.expectNothing()
    },
  )

  onHosts('takes what was received before with it only when the program has read it', {}, (host) => {
    const { peer, program } = connected(host, { reads: false })
    peer.send('PA', { data: text('before') })
    peer.send('R')
    program.expect('readable', 'error ECONNRESET')
    assert.deepEqual(program.read(), text('before'))
  })

  onHosts('a write into a connection that is gone is taken nowhere', {}, (host) => {
    const { peer, program } = connected(host)
    peer.send('R')
    assert.equal(program.send(text('x')), 0)
    program.expect('error ECONNRESET')
    peer.expectNothing()
  })

  onHosts('for one connection does not touch its neighbours', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peers = [5001, 5002, 5003].map((port) => Peer.connect(host, { port }))
    peers[1]!.send('R')
    const programs = [server.accept(), server.accept(), server.accept()]
    const reset = programs.filter(({ log }) => log.length > 0)
    assert.deepEqual(
      reset.map(({ socket }) => socket.remotePort),
      [5002],
    )
    host.inject(tcp({ sourcePort: 5002, targetPort: 7, seq: 1001, ack: 5 }))
    host.expect({ tcp: { flags: 'R', seq: 5 } })
  })
})
