// Odd probes, as those who scan networks send them: each gets the answer that its RFC says, at a port where nobody listens, at one where
// somebody does, and in a connection.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Bytes, counting, echoRest, icmp, ip, join, tcp, tcpOption, text, udp } from '../src/net/testing/frame.ts'
import { onHosts, type Sent, type TestHost, withHost } from '../src/net/testing/host.ts'
import { Peer, type SegmentFields } from '../src/net/testing/peer.ts'

const CLOSED = 81
const LISTENING = 7
const SEQ = 1000
const ACK = 5000

/** What comes back, in words: `nothing`, or what a segment or a message says. */
function answer(sent: readonly Sent[]): string {
  if (sent.length === 0) return 'nothing'
  return sent
    .map(({ tcp: segment, icmp: message }) => {
      if (message !== undefined) return `icmp ${message.type}/${message.code}`
      assert(segment !== undefined)
      const { flags, seq, ack } = segment
      // The host's own number is by chance.
      return flags === 'SA'
        ? `SA ack ${ack}`
        : flags.includes('A')
          ? `${flags} seq ${seq} ack ${ack}`
          : `${flags} seq ${seq}`
    })
    .join(', ')
}

/** Segments to a port: what is sent, and what comes from a port where nobody listens and from one where somebody does. */
const SEGMENTS: readonly (readonly [
  name: string,
  section: string,
  flags: string,
  closed: string,
  listening: string,
])[] = [
  ['no flags (nmap T2, null scan)', '9293 3.10.7.1, 3.10.7.2', '', `RA seq 0 ack ${SEQ}`, 'nothing'],
  ['FIN (FIN scan)', '9293 3.10.7.1, 3.10.7.2', 'F', `RA seq 0 ack ${SEQ + 1}`, 'nothing'],
  ['FIN, PSH, URG (nmap T7, Xmas scan)', '9293 3.10.7.1, 3.10.7.2', 'FPU', `RA seq 0 ack ${SEQ + 1}`, 'nothing'],
  ['PSH', '9293 3.10.7.1, 3.10.7.2', 'P', `RA seq 0 ack ${SEQ}`, 'nothing'],
  ['SYN (nmap T5, SYN scan)', '9293 3.10.7.1, 3.10.7.2', 'S', `RA seq 0 ack ${SEQ + 1}`, `SA ack ${SEQ + 1}`],
  ['ACK (nmap T4, T6, ACK scan)', '9293 3.10.7.1, 3.10.7.2', 'A', `R seq ${ACK}`, `R seq ${ACK}`],
  ['FIN, ACK (Maimon scan)', '9293 3.10.7.1, 3.10.7.2', 'FA', `R seq ${ACK}`, `R seq ${ACK}`],
  ['SYN, ACK', '9293 3.10.7.1, 3.10.7.2', 'SA', `R seq ${ACK}`, `R seq ${ACK}`],
  ['RST', '9293 3.10.7.1, 3.10.7.2', 'R', 'nothing', 'nothing'],
  ['RST, ACK', '9293 3.10.7.1, 3.10.7.2', 'RA', 'nothing', 'nothing'],
  ['SYN, RST', '9293 3.10.7.1, 3.10.7.2', 'SR', 'nothing', 'nothing'],
  ['all flags', '9293 3.10.7.1, 3.10.7.2', 'FSRPAUEC', 'nothing', 'nothing'],
]

describe('a segment', () => {
  for (const [name, section, flags, closed, listening] of SEGMENTS) {
    onHosts(`${name} gets what RFC ${section} says`, {}, (host) => {
      host.listen({ port: LISTENING })
      host.introduce()
      for (const [i, [targetPort, expected]] of (
        [
          [CLOSED, closed],
          [LISTENING, listening],
        ] as const
      ).entries()) {
        const ack = flags.includes('A') ? ACK : 0
        host.inject(tcp({ sourcePort: 6000 + i, targetPort, seq: SEQ, ack, flags, urgent: 0 }))
        assert.equal(answer(host.take().slice(0, 1)), expected, `port ${targetPort}`)
      }
      host.run(200_000_000)
      host.take()
    })
  }

  onHosts('SYN and FIN (nmap T3) opens nothing that its FIN would close', {}, (host) => {
    const server = host.listen({ port: LISTENING })
    host.introduce()
    host.inject(tcp({ sourcePort: 6000, targetPort: CLOSED, seq: SEQ, flags: 'SF' }))
    assert.equal(answer(host.take()), `RA seq 0 ack ${SEQ + 2}`)
    host.inject(tcp({ sourcePort: 6001, targetPort: LISTENING, seq: SEQ, flags: 'SF' }))
    // RFC 9293 3.10.7.2 has the SYN looked at, and lets what comes with it be sent again; others take it for a scan and say nothing.
    assert(['nothing', `SA ack ${SEQ + 1}`].includes(answer(host.take().slice(0, 1))))
    assert.equal(server.sockets.length, 0)
    host.run(200_000_000)
    host.take()
  })
})

/** In a connection in which the peer has sent nothing yet: `A` is an acknowledgment of all, which is a challenge. */
const IN_CONNECTION: readonly (readonly [
  name: string,
  section: string,
  flags: string,
  fields: SegmentFields,
  expected: string,
])[] = [
  ['no flags', '9293 3.10.7.4', '', { seq: 1 }, 'nothing'],
  ['FIN without ACK', '9293 3.10.7.4', 'F', { seq: 1 }, 'nothing'],
  ['FIN, PSH, URG without ACK', '9293 3.10.7.4', 'FPU', { seq: 1, urgent: 1 }, 'nothing'],
  ['a SYN in the window', '5961 4.2', 'S', { seq: 10 }, 'A'],
  ['a SYN at the next number', '5961 4.2', 'S', { seq: 1 }, 'A'],
  ['a SYN and FIN', '5961 4.2', 'SF', { seq: 1 }, 'A'],
  ['a SYN and ACK', '5961 4.2', 'SA', { seq: 1 }, 'A'],
  ['a reset in the window that is not exact', '5961 3.2', 'R', { seq: 100 }, 'A'],
  ['a reset out of the window', '9293 3.10.7.4', 'R', { seq: 1_000_000 }, 'nothing'],
  ['data out of the window', '9293 3.10.7.4', 'PA', { seq: 1_000_000, data: text('x') }, 'A'],
  ['an acknowledgment of what was not sent', '9293 3.10.7.4', 'A', { ack: 100_000 }, 'A'],
  ['an acknowledgment that is older than any window', '5961 5.2', 'PA', { ack: -100_000, data: text('x') }, 'A'],
  ['a probe of the window, a number before the next', '9293 3.8.6.1', 'A', { seq: 0 }, 'A'],
  ['a probe of the window with a byte that came before', '9293 3.8.6.1', 'A', { seq: 0, data: text('x') }, 'A'],
  ['an acknowledgment that says nothing new', '9293 3.10.7.4', 'A', {}, 'nothing'],
]

describe('in a connection', () => {
  for (const [name, section, flags, fields, expected] of IN_CONNECTION) {
    onHosts(`${name} gets what RFC ${section} says, and the connection goes on`, {}, (host) => {
      const server = host.listen({ port: LISTENING })
      const peer = Peer.connect(host)
      const program = server.accept()
      const before = { seq: peer.seq, ack: peer.ack }
      host.inject(peer.packet(flags, fields))
      const came = peer.take()
      if (expected === 'nothing')
        assert.deepEqual(
          came.map(({ flags }) => flags),
          [],
        )
      else
        assert.deepEqual(
          came.map(({ flags, seq, ack, data }) => [flags, seq, ack, data.length]),
          [['A', 1, 1, 0]],
        )
      Object.assign(peer, before)
      peer.send('PA', { data: text('still here') })
      assert.deepEqual(program.received(), text('still here'))
      peer.send('R')
      program.expect('error ECONNRESET')
      program.close()
      host.take()
    })
  }

  onHosts('a reset at the next number ends it, and is not answered (RFC 5961 3.2)', {}, (host) => {
    const server = host.listen({ port: LISTENING })
    const peer = Peer.connect(host)
    const program = server.accept()
    peer.send('R')
    peer.expectNothing()
    program.expect('error ECONNRESET')
    program.close()
  })
})

/** All but TCP. */
const PACKETS: readonly (readonly [name: string, section: string, packet: Bytes, expected: string])[] = [
  [
    'UDP to a port where nobody is (nmap U1)',
    '1122 4.1.3.1',
    udp({ targetPort: 40_125, id: 0x1042 }, counting(300, 0x43)),
    'icmp 3/3',
  ],
  [
    'UDP without a checksum to such a port',
    '1122 4.1.3.4',
    udp({ targetPort: 40_125, checksum: 0 }, text('x')),
    'icmp 3/3',
  ],
  ['UDP to all, to such a port', '1122 3.2.2', udp({ target: '10.0.0.255', targetPort: 40_125 }, text('x')), 'nothing'],
  ['UDP with a wrong checksum', '1122 4.1.3.4', udp({ targetPort: 40_125, checksum: 0x1234 }, text('x')), 'nothing'],
  [
    'an echo request with a code (nmap IE)',
    '792',
    icmp({ type: 8, code: 9, rest: echoRest(1, 295) }, counting(120)),
    'icmp 0/9',
  ],
  ['an echo request without data', '1122 3.2.2.6', icmp({ type: 8 }, counting(0)), 'icmp 0/0'],
  ['an echo request to all', '1122 3.2.2.6', icmp({ type: 8, target: '10.0.0.255' }, text('x')), 'nothing'],
  ['a timestamp request', '1122 3.2.2.8', icmp({ type: 13, rest: echoRest(1, 1) }, counting(12)), 'nothing'],
  ['an address mask request', '1122 3.2.2.9', icmp({ type: 17, rest: echoRest(1, 1) }, counting(4)), 'nothing'],
  ['an information request', '1122 3.2.2.7', icmp({ type: 15, rest: echoRest(1, 1) }, counting(0)), 'nothing'],
  ['a router solicitation', '1122 3.2.2', icmp({ type: 10 }, counting(0)), 'nothing'],
  ['ICMP of a type that nobody knows', '1122 3.2.2', icmp({ type: 200 }, counting(20)), 'nothing'],
  [
    'an error about what was never sent',
    '1122 3.2.2',
    icmp({ type: 3, code: 3 }, udp({ source: '10.0.0.1', target: '10.0.0.9' }, text('x'))),
    'nothing',
  ],
  ['a protocol that nobody speaks (nmap -sO)', '1122 3.2.2.1', ip({ protocol: 132 }, counting(12)), 'icmp 3/2'],
  [
    'a protocol that nobody speaks, to all',
    '1122 3.2.2',
    ip({ protocol: 132, target: '10.0.0.255' }, counting(12)),
    'nothing',
  ],
  [
    'a record of the route',
    '1122 3.2.1.8',
    icmp({ type: 8, options: [7, 7, 4, 0, 0, 0, 0, 0] }, text('x')),
    'icmp 0/0',
  ],
  ['a timestamp option', '1122 3.2.1.8', icmp({ type: 8, options: [68, 8, 5, 0, 0, 0, 0, 0] }, text('x')), 'icmp 0/0'],
  ['an option that nobody knows', '1122 3.2.1.8', icmp({ type: 8, options: [0x5e, 4, 1, 2] }, text('x')), 'icmp 0/0'],
  ['a loose source route', '7126 4.3', icmp({ type: 8, options: [131, 7, 4, 10, 0, 0, 9, 0] }, text('x')), 'nothing'],
  ['a strict source route', '7126 4.4', icmp({ type: 8, options: [137, 7, 4, 10, 0, 0, 9, 0] }, text('x')), 'nothing'],
  ['another version', '1122 3.2.1.1', ip({ version: 6 }, counting(20)), 'nothing'],
  ['a time to live of 0', '1122 3.2.1.7', icmp({ type: 8, ttl: 0 }, text('x')), 'nothing'],
  ['a time to live of 1', '1122 3.2.1.7', icmp({ type: 8, ttl: 1 }, text('x')), 'icmp 0/0'],
  ['a service and don’t fragment', '791 3.1', icmp({ type: 8, service: 4, dontFragment: true }, text('x')), 'icmp 0/0'],
  ['a segment to all', '9293 MUST-57', tcp({ target: '10.0.0.255', targetPort: LISTENING, flags: 'S' }), 'nothing'],
]

describe('a packet of', () => {
  for (const [name, section, packet, expected] of PACKETS) {
    onHosts(`${name} gets what RFC ${section} says`, {}, (host) => {
      host.introduce()
      host.inject(packet)
      assert.equal(answer(host.take()), expected)
    })
  }
})

test('the options that nmap asks with do not change how a connection is opened', () => {
  // Of its six probes for sequence numbers (SEQ) and its T1: window scales, MSS of 265, timestamps of all ones, SACK, in odd orders.
  const scale = tcpOption.windowScale
  const stamp = tcpOption.timestamps(0xffffffff, 0)
  const probes: readonly Bytes[] = [
    join(scale(10), [1], tcpOption.mss(1460), stamp, tcpOption.sackPermitted),
    join(tcpOption.mss(1400), scale(0), tcpOption.sackPermitted, stamp, [0]),
    join(stamp, [1, 1], scale(5), [1], tcpOption.mss(640)),
    join(tcpOption.sackPermitted, stamp, scale(10), [0]),
    join(tcpOption.mss(536), tcpOption.sackPermitted, stamp, scale(10), [0]),
    join(tcpOption.mss(265), tcpOption.sackPermitted, stamp),
  ]
  withHost({ cpus: 2 }, (host: TestHost) => {
    host.listen({ port: LISTENING })
    host.introduce()
    for (const [i, tcpOptions] of probes.entries()) {
      host.inject(tcp({ sourcePort: 6000 + i, targetPort: LISTENING, seq: SEQ, flags: 'S', tcpOptions }))
      const { tcp: segment } = host.takeNext()
      assert.deepEqual([segment!.flags, segment!.ack], ['SA', SEQ + 1])
      assert.equal(segment!.timestamps?.echo, 0xffffffff)
      assert.equal(segment!.windowScale !== undefined, i < 5, `probe ${i + 1}`)
    }
    host.run(200_000_000)
    host.take()
  })
})
