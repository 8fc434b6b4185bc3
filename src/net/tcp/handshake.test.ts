// Opening a connection (RFC 9293 3.5), from both sides and from both at once, as exchanges on the wire.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { TcpCounters } from '../counters.ts'
import { BROADCAST, ether, ip, Protocol, tcp, tcpOption, tcpSegment, text } from '../testing/frame.ts'
import { HOST, onHosts, PEER, PEER_LINK, withHost } from '../testing/host.ts'
import { Peer } from '../testing/peer.ts'

const SECOND = 1_000_000

describe('a passive open', () => {
  onHosts('a SYN is answered, and the ACK of that is a connection', {}, (host) => {
    const server = host.listen({ port: 7 }, host.cpuCount - 1)
    const peer = new Peer(host)
    peer.sendSyn()
    const { ack, window } = peer.expectSyn('SA')
    assert.equal(ack, 1)
    assert(window > 0)
    assert.equal(server.sockets.length, 0, 'half a handshake is no connection')
    peer.send('A')
    const { socket } = server.accept()
    assert.equal(`${socket.remoteAddress}:${socket.remotePort}`, `${PEER}:5000`)
    assert.equal(`${socket.localAddress}:${socket.localPort}`, `${HOST}:7`)
    assert.equal(socket.state, 'open')
    peer.expectNothing()
  })

  onHosts('the ACK of the handshake may bring data, and end the stream at once', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = new Peer(host)
    peer.sendSyn()
    peer.expectSyn('SA')
    peer.send('FPA', { data: text('all there is') })
    peer.expect('A', { ack: 14 })
    const program = server.accept()
    assert.deepEqual(program.received(), text('all there is'))
    program.expect('end')
    assert.equal(program.state, 'CLOSE-WAIT')
  })

  onHosts('data on the SYN is not taken before the handshake, and is taken when it comes again', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = new Peer(host)
    peer.send('S', { seq: 0, data: text('early') })
    peer.expectSyn('SA').ack
    peer.send('A', { seq: 1 })
    peer.send('PA', { seq: 1, data: text('early') })
    assert.deepEqual(server.accept().received(), text('early'))
  })

  onHosts('a SYN that comes again is answered again, with the same number (@rfc 9293 MUST-11)', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = new Peer(host)
    peer.sendSyn()
    const first = peer.expectSyn('SA')
    peer.sendSyn()
    const second = peer.expectSyn('SA')
    assert.equal(second.sent.tcp!.seq, first.sent.tcp!.seq)
    peer.send('A', { seq: 1 })
    assert.equal(server.sockets.length, 1)
    assert.equal(host.count(TcpCounters, 'embryos'), 1)
  })

  onHosts(
    'a reset in SYN-RECEIVED goes back to LISTEN, and the program hears nothing (@rfc 9293 MUST-11)',
    {},
    (host) => {
      const server = host.listen({ port: 7 })
      const peer = new Peer(host)
      peer.sendSyn()
      peer.expectSyn('SA')
      peer.send('R')
      host.run(10 * SECOND)
      peer.expectNothing()
      assert.equal(server.sockets.length, 0)
      Peer.connect(host)
      assert.equal(server.sockets.length, 1)
    },
  )

  onHosts(
    'our SYN with ACK is sent again, less and less often, for three minutes (@rfc 9293 MUST-22 MUST-23)',
    {},
    (host) => {
      host.listen({ port: 7 })
      const peer = new Peer(host)
      peer.sendSyn()
      const times = [peer.expectSyn('SA').atUs]
      host.run(600 * SECOND)
      times.push(
        ...peer.take().map(({ flags, seq, atUs }) => {
          assert.equal(`${flags} ${seq}`, 'SA 0')
          return atUs
        }),
      )
      const gaps = times.slice(1).map((at, i) => Math.round((at - times[i]!) / SECOND))
      assert.deepEqual(gaps.slice(0, 6), [1, 2, 4, 8, 16, 32])
      assert(times.at(-1)! - times[0]! >= 180 * SECOND)
      assert.equal(host.count(TcpCounters, 'embryosTimedOut'), 1)
      peer.send('A', { seq: 1, ack: 1 })
      peer.expect('R', { seq: 1 })
    },
  )

  onHosts(
    'an acknowledgment of what we have not sent is answered by a reset, and the handshake goes on',
    {},
    (host) => {
      const server = host.listen({ port: 7 })
      const peer = new Peer(host)
      peer.sendSyn()
      peer.expectSyn('SA')
      for (const ack of [0, 2, 70000]) {
        peer.send('A', { ack })
        peer.expect('R', { seq: ack })
      }
      peer.send('A')
      assert.equal(server.sockets.length, 1)
    },
  )

  onHosts('a peer that has forgotten its SYN and begins anew gets its connection', {}, (host) => {
    const server = host.listen({ port: 7 })
    const forgotten = new Peer(host, { iss: 1000 })
    forgotten.sendSyn()
    forgotten.expectSyn('SA')
    const peer = new Peer(host, { iss: 99_000_000 })
    peer.sendSyn()
    // The answer acknowledges the old SYN: so the peer, in SYN-SENT, resets, and tries again.
    const answer = host.takeNext().tcp!
    assert(answer.flags.includes('A'))
    assert.equal(answer.ack, 1001)
    host.inject(tcp({ targetPort: 7, seq: answer.ack, flags: 'R' }))
    host.expectNothing()
    peer.sendSyn()
    peer.expectSyn('SA')
    peer.send('A')
    assert.equal(server.sockets.length, 1)
  })

  onHosts('an ACK, a reset and nonsense for a listener open nothing', {}, (host) => {
    const server = host.listen({ port: 7 })
    const send = (flags: string, ack = 0) => host.inject(tcp({ targetPort: 7, seq: 500, ack, flags }, text('x')))
    send('A', 777)
    host.expect({ tcp: { flags: 'R', seq: 777 } })
    send('SA', 778)
    host.expect({ tcp: { flags: 'R', seq: 778 } })
    for (const flags of ['R', 'RA', 'SR', '', 'F', 'P', 'U', 'SF', 'SRF']) {
      send(flags, 779)
      host.expectNothing()
    }
    assert.equal(server.sockets.length, 0)
    assert.equal(host.count(TcpCounters, 'embryos'), 0)
  })

  onHosts('where nobody listens a reset says so, about just that segment', {}, (host) => {
    const send = (flags: string, ack = 0, data = '') =>
      host.inject(tcp({ targetPort: 9, seq: 500, ack, flags }, text(data)))
    send('S')
    host.expect({ tcp: { flags: 'RA', seq: 0, ack: 501 } })
    send('S', 0, 'four')
    host.expect({ tcp: { flags: 'RA', seq: 0, ack: 505 } })
    send('SF', 0, 'four')
    host.expect({ tcp: { flags: 'RA', seq: 0, ack: 506 } })
    send('A', 1234)
    host.expect({ tcp: { flags: 'R', seq: 1234 } })
    send('FA', 1234, 'data')
    host.expect({ tcp: { flags: 'R', seq: 1234 } })
    send('', 0, 'data')
    host.expect({ tcp: { flags: 'RA', seq: 0, ack: 504 } })
    send('R')
    send('RA', 1)
    host.expectNothing()
  })

  onHosts(
    'several listen at the same port for different addresses (@rfc 9293 MUST-41 MUST-42 MUST-43)',
    { wires: [{}, {}] },
    (host) => {
      const one = host.listen({ port: 7, address: HOST })
      const two = host.listen({ port: 7, address: '10.0.1.1' }, host.cpuCount - 1)
      const first = Peer.connect(host, { port: 5001 })
      Peer.connect(host, { port: 5002, target: '10.0.1.1' })
      assert.equal(one.sockets.length, 1)
      assert.equal(two.sockets.length, 1)
      assert.equal(two.accept().socket.localAddress, '10.0.1.1')
      // What is open does not mind who listens, or does not any more.
      one.close()
      first.send('PA', { data: text('still here') })
      assert.deepEqual(one.accept().received(), text('still here'))
      host.run(100_000)
      first.expect('A')
    },
  )

  onHosts('SYNs to and from addresses of many are discarded without a word (@rfc 9293 MUST-57 MUST-63)', {}, (host) => {
    const server = host.listen({ port: 7 })
    for (const target of ['10.0.0.255', '255.255.255.255', '224.0.0.1']) {
      for (const link of [BROADCAST, host.linkAddress()]) {
        const packet = ip(
          { target, protocol: Protocol.tcp },
          tcpSegment({ target, targetPort: 7, flags: 'S' }, text('')),
        )
        host.injectFrame(ether({ source: PEER_LINK, target: link }, packet))
      }
    }
    assert.deepEqual(host.drops(TcpCounters), { droppedBroadcast: 6 })
    for (const source of ['0.0.0.0', '255.255.255.255', '10.0.0.255', '224.0.0.1', '127.0.0.1', HOST]) {
      host.inject(tcp({ source, targetPort: 7, flags: 'S' }))
    }
    // Sent to all on the link, though to our address.
    host.injectFrame(ether({ source: PEER_LINK, target: BROADCAST }, tcp({ targetPort: 7, flags: 'S' })))
    host.expectNothing()
    assert.equal(server.sockets.length, 0)
    assert.equal(host.count(TcpCounters, 'embryos'), 0)
  })
})

describe('an active open', () => {
  onHosts('our SYN has the address of the way there and what we offer (@rfc 9293 MUST-44 MUST-14)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 }, host.cpuCount - 1)
    const peer = Peer.awaiting(host)
    const { syn } = peer
    assert.equal(syn!.sent.ip!.source, HOST)
    assert.equal(syn!.mss, 1460)
    assert.equal(syn!.sackPermitted, true)
    assert(syn!.windowScale! >= 0 && syn!.windowScale! <= 14)
    assert(syn!.timestamps !== undefined)
    program.expect()
    peer.sendSyn('SA')
    peer.expect('A', { seq: 1, ack: 1, length: 0 })
    program.expect('connect')
    assert.equal(program.socket.localPort, peer.hostPort)
    assert.equal(program.state, 'ESTABLISHED')
  })

  onHosts(
    'a bound address is the source (@rfc 9293 MUST-43 MUST-45) (@rfc 1122 3.3.4.2/choose)',
    { wires: [{}, {}] },
    (host) => {
      host.connect({ address: PEER, port: 80, localAddress: '10.0.1.1', localPort: 4321 })
      host.expect({ ip: { source: '10.0.1.1', target: PEER }, tcp: { flags: 'S', sourcePort: 4321, targetPort: 80 } })
    },
  )

  for (const address of ['255.255.255.255', '10.0.0.255', '224.0.0.1']) {
    onHosts(`there is no connection to ${address} (@rfc 9293 MUST-46)`, {}, (host) => {
      let code = ''
      let events: readonly string[] = []
      try {
        const program = host.connect({ address, port: 80 })
        host.run()
        events = program.log.splice(0)
      } catch (error) {
        code = (error as { code: string }).code
      }
      assert(code === 'ENETUNREACH' || events[0] === 'connect EACCES', `${code} ${events}`)
      host.expectNothing()
    })
  }

  onHosts('a reset that acknowledges our SYN refuses (@rfc 9293 MUST-12)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    peer.send('RA', { ack: 1 })
    program.expect('connect ECONNREFUSED')
    program.close()
    program.expect('closed')
    peer.expectNothing()
  })

  onHosts('a reset that does not acknowledge our SYN is nothing', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    peer.send('R')
    for (const ack of [0, 2, 1000]) peer.send('RA', { ack })
    peer.expectNothing()
    peer.sendSyn('SA')
    peer.expect('A')
    program.expect('connect')
  })

  onHosts('an acknowledgment of what we have not sent is answered by a reset', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    for (const ack of [0, 2]) {
      peer.sendSyn('SA', { ack })
      peer.expect('R', { seq: ack })
    }
    peer.send('A', { ack: 2 })
    peer.expect('R', { seq: 2 })
    // The right one without a SYN says nothing.
    peer.send('A', { ack: 1 })
    peer.expectNothing()
    program.expect()
    peer.sendSyn('SA')
    peer.expect('A')
    program.expect('connect')
  })

  onHosts('data and a FIN may come with the SYN and ACK', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    peer.seq = 0
    peer.send('SFA', { ack: 1, data: text('short') })
    peer.expect('A', { seq: 1, ack: 7 })
    assert.deepEqual(program.received(), text('short'))
    program.expect('connect', 'end')
  })

  onHosts(
    'the SYN is sent again with backoff for at least three minutes, then the program is told (@rfc 9293 MUST-20 MUST-22 MUST-23)',
    {},
    (host) => {
      const program = host.connect({ address: PEER, port: 80 })
      const peer = Peer.awaiting(host)
      host.run(400 * SECOND)
      const again = peer.take()
      const times = [peer.syn!.atUs, ...again.map(({ atUs }) => atUs)]
      for (const { flags, seq, sent } of again) {
        assert.equal(`${flags} ${seq}`, 'S 0')
        assert.equal(sent.tcp!.seq, peer.hostIss)
      }
      const gaps = times.slice(1).map((at, i) => Math.round((at - times[i]!) / SECOND))
      assert.deepEqual(gaps.slice(0, 6), [1, 2, 4, 8, 16, 32])
      assert(times.at(-1)! - times[0]! >= 180 * SECOND)
      program.expect('connect ETIMEDOUT')
      assert.equal(host.count(TcpCounters, 'timedOut'), 1)
    },
  )

  onHosts('the program may give up sooner (@rfc 9293 MUST-21)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80, userTimeoutMs: 5000 })
    Peer.awaiting(host)
    host.run(20 * SECOND)
    program.expect('connect ETIMEDOUT')
    host.take()
  })

  onHosts('a SYN and ACK that comes again is acknowledged again', {}, (host) => {
    host.connect({ address: PEER, port: 80 })
    const peer = Peer.accept(host)
    peer.sendSyn('SA')
    peer.expect('A', { seq: 1, ack: 1 })
  })
})

describe('a simultaneous open', () => {
  onHosts('SYN against SYN makes one connection (@rfc 9293 MUST-10)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    peer.sendSyn('S')
    peer.expect('SA', { seq: 0, ack: 1 })
    assert.equal(program.state, 'SYN-RECEIVED')
    peer.seq = 0
    peer.send('SA', { ack: 1 })
    program.expect('connect')
    assert.equal(program.state, 'ESTABLISHED')
    peer.take()
    peer.send('PA', { data: text('hello') })
    host.run(100_000)
    peer.expect('A', { ack: 6 })
    assert.deepEqual(program.received(), text('hello'))
    assert.equal(program.send(text('and back')), 8)
    peer.expect('PA', { data: text('and back') })
  })

  onHosts('an ACK without the SYN again is enough (@rfc 9293 MUST-10)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    peer.sendSyn('S')
    peer.expect('SA', { seq: 0, ack: 1 })
    peer.send('PA', { ack: 1, data: text('x') })
    program.expect('connect')
    assert.deepEqual(program.received(), text('x'))
  })

  onHosts('data behind the second SYN is whole (@rfc 9293 MUST-10)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    peer.sendSyn('S')
    peer.expect('SA')
    peer.send('SPA', { seq: 0, ack: 1, data: text('whole') })
    host.run(100_000)
    peer.take()
    peer.send('PA', { seq: 1, data: text('whole') })
    assert.deepEqual(program.received(), text('whole'))
  })

  onHosts('a reset in SYN-RECEIVED of an active open refuses (@rfc 9293 MUST-11)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    peer.sendSyn('S')
    peer.expect('SA')
    peer.send('R')
    program.expect('connect ECONNREFUSED')
  })

  for (const end of ['shutdown', 'close'] as const) {
    onHosts(`${end} in SYN-RECEIVED ends the stream when the connection is there`, {}, (host) => {
      const program = host.connect({ address: PEER, port: 80 })
      const peer = Peer.awaiting(host)
      peer.sendSyn('S')
      peer.expect('SA')
      program[end]()
      peer.expectNothing()
      // Our SYN is still what has to arrive.
      host.run(1_200_000)
      peer.expect('SA', { seq: 0, ack: 1 })
      peer.send('A', { seq: 1, ack: 1 })
      peer.expect('FA', { seq: 1, ack: 1 })
      program.expect(end === 'close' ? 'closed' : 'connect')
      peer.send('FA')
      peer.expect('A', { seq: 2, ack: 2 })
      assert.equal(host.count(TcpCounters, 'timeWaits'), 1)
    })
  }

  onHosts('our SYN and ACK is sent again', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.awaiting(host)
    peer.sendSyn('S')
    peer.expect('SA')
    host.run(1_200_000)
    peer.expect('SA', { seq: 0, ack: 1 })
    peer.send('A', { ack: 1 })
    program.expect('connect')
  })

  test('a host that connects to itself by one port is both ends (@rfc 9293 MUST-10)', () => {
    withHost({ cpus: 1 }, (host) => {
      const program = host.connect({ address: '127.0.0.1', port: 4000, localAddress: '127.0.0.1', localPort: 4000 })
      host.run()
      program.expect('connect')
      program.send(text('to myself'))
      assert.deepEqual(program.received(), text('to myself'))
    })
  })
})

describe('what the SYNs agree on', () => {
  onHosts('without the option the peer takes 536 bytes (@rfc 9293 MUST-15)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.accept(host, { mss: 0 })
    program.do((socket) => socket.setNoDelay(true))
    program.send(new Uint8Array(2000))
    for (const length of [536, 536, 536]) peer.expect('A', { length })
    peer.expect('PA', { length: 2000 - 3 * 536 })
  })

  onHosts(
    'with it as many as it says, and no more than the link carries (@rfc 9293 MUST-16) (@rfc 1122 3.3.3/mms-s)',
    {},
    (host) => {
      const server = host.listen({ port: 7 })
      for (const [mss, length, port] of [
        [1000, 1000, 5001],
        [1460, 1460, 5002],
        [9000, 1460, 5003],
      ] as const) {
        const peer = Peer.connect(host, { mss, port })
        const program = server.accept()
        program.send(new Uint8Array(length + 1))
        peer.expect('A', { length })
        peer.send('A')
        peer.expect('PA', { length: 1 })
        peer.send('A')
      }
    },
  )

  onHosts('timestamps are subtracted from what a segment carries (@rfc 9293 MUST-16)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.accept(host, { mss: 1460, timestamps: true })
    program.send(new Uint8Array(3000))
    peer.expect('A', { length: 1448 })
  })

  onHosts(
    'we announce what our link carries, without options (@rfc 9293 MUST-67 SHLD-5 MAY-3) (@rfc 1122 3.3.2/mms-r)',
    { wires: [{ mtu: 1400 }] },
    (host) => {
      host.connect({ address: PEER, port: 80 })
      assert.equal(Peer.awaiting(host).syn!.mss, 1360)
      host.listen({ port: 7 })
      const peer = new Peer(host)
      peer.sendSyn()
      assert.equal(peer.expectSyn('SA').mss, 1360)
    },
  )

  onHosts('only a SYN has the MSS option, and options fill whole words (@rfc 9293 MUST-65 MUST-69)', {}, (host) => {
    const program = host.connect({ address: PEER, port: 80 })
    const peer = Peer.accept(host, { timestamps: true, sack: true, windowScale: 3 })
    program.send(text('x'))
    peer.send('PA', { data: text('y'), seq: 5 })
    program.shutdown()
    for (const { mss, windowScale, sackPermitted, options } of peer.take()) {
      assert.deepEqual([mss, windowScale, sackPermitted], [undefined, undefined, undefined])
      assert.equal(options.length % 4, 0)
    }
  })

  onHosts('what the peer did not offer we do not answer with (@rfc 9293 MUST-4) (@rfc 7323 3.2/agree)', {}, (host) => {
    host.listen({ port: 7 })
    for (const [index, offer] of [{}, { sack: true }, { timestamps: true }, { windowScale: 0 }].entries()) {
      const peer = new Peer(host, { port: 5000 + index, ...offer })
      peer.sendSyn()
      const syn = peer.expectSyn('SA')
      assert.equal(syn.mss, 1460)
      assert.equal(syn.sackPermitted, 'sack' in offer ? true : undefined)
      assert.equal(syn.timestamps !== undefined, 'timestamps' in offer)
      assert.equal(syn.windowScale !== undefined, 'windowScale' in offer)
    }
  })

  onHosts('options that nobody knows are skipped, at any place (@rfc 9293 MUST-6 MUST-64 MUST-68)', {}, (host) => {
    const server = host.listen({ port: 7 })
    const unknown = [253, 7, 1, 2, 3, 4, 5]
    for (let pad = 0; pad < 4; pad++) {
      const options = [...new Array<number>(pad).fill(1), ...unknown, ...tcpOption.mss(700), ...unknown]
      const peer = new Peer(host, { port: 6000 + pad })
      peer.sendSyn('S', { options })
      peer.expectSyn('SA')
      peer.send('A', { options: unknown })
      const program = server.accept()
      // An option may stand in any segment.
      peer.send('PA', { data: text('x'), options: [...unknown, ...tcpOption.mss(9)] })
      assert.deepEqual(program.received(), text('x'))
      host.run(100_000)
      peer.take()
      program.send(new Uint8Array(1000))
      peer.expect('A', { length: 700 })
      peer.take()
    }
  })

  onHosts('options may stand in any segment, also where they say nothing (@rfc 9293 MUST-5)', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = Peer.connect(host)
    const options = [...tcpOption.mss(100), ...tcpOption.windowScale(9), ...tcpOption.sackPermitted]
    peer.send('FPA', { data: text('x'), options })
    peer.expect('A', { ack: 3 })
    const program = server.accept()
    assert.deepEqual(program.received(), text('x'))
    assert.deepEqual(program.info().options, { timestamps: false, sack: false, ecn: false, scale: false })
  })

  onHosts('initial numbers go on with the clock, for the same ends (@rfc 9293 MUST-8 SHLD-1)', {}, (host) => {
    const numbers: number[] = []
    for (let i = 0; i < 5; i++) {
      host.connect({ address: PEER, port: 80, localPort: 40000 })
      const peer = Peer.awaiting(host)
      numbers.push(peer.hostIss)
      peer.send('RA', { ack: 1 })
      host.run(SECOND)
    }
    const steps = numbers.slice(1).map((number, i) => (number - numbers[i]!) >>> 0)
    // 4 µs for each.
    for (const step of steps) assert(step >= 250_000 && step < 260_000, `${steps}`)
  })

  onHosts('initial numbers of other ends say nothing about them (@rfc 9293 SHLD-1 MUST-9)', {}, (host) => {
    const numbers = new Set<number>()
    for (let port = 80; port < 100; port++) {
      host.connect({ address: PEER, port })
      const peer = Peer.awaiting(host)
      numbers.add(peer.hostIss >>> 24)
      peer.send('RA', { ack: 1 })
    }
    assert(numbers.size > 10, 'they lie all over the space')
  })
})

describe('the checksum', () => {
  onHosts('of a segment that is wrong anywhere drops it (@rfc 9293 MUST-3)', {}, (host) => {
    const server = host.listen({ port: 7 })
    const peer = Peer.connect(host)
    const program = server.accept()
    const good = peer.packet('PA', { data: text('good!') })
    let wrong = 0
    for (let bit = 20 * 8; bit < good.length * 8; bit++) {
      // The ports lead elsewhere, where the checksum is looked at as well.
      const bad = Uint8Array.from(good)
      bad[bit >> 3]! ^= 0x80 >> (bit & 7)
      host.postPacket(bad)
      wrong++
    }
    host.run()
    peer.expectNothing()
    const { droppedChecksum, droppedOffset } = host.counts(TcpCounters)
    assert.equal(droppedChecksum + droppedOffset, wrong)
    host.inject(good)
    assert.deepEqual(program.received(), text('good!'))
    host.run(100_000)
    peer.expect('A')
  })

  onHosts('is in every segment that we send (@rfc 9293 MUST-2)', {}, (host) => {
    // The harness verifies the checksum of all that it reads: SYN, SYN+ACK, ACK, data, FIN, RST.
    const server = host.listen({ port: 7 })
    const peer = Peer.connect(host)
    const program = server.accept()
    program.send(text('odd'))
    program.send(text('even'))
    program.abort()
    assert.deepEqual(
      peer.take().map(({ flags }) => flags),
      ['PA', 'RA'],
    )
  })
})
