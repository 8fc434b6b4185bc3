import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { UdpSocket } from '../../socket/udp.ts'
import { UdpCounters } from '../counters.ts'
import { checksumOf, counting, fragments, ip, join, Protocol, put16, text, udp, udpSegment } from '../testing/frame.ts'
import { HOST, onHosts, PEER, portOwnedBy, withHost } from '../testing/host.ts'

describe('udp in', () => {
  onHosts(
    'a datagram reaches the socket of its port, with where it came from (@rfc 768 fields/destination-port user-interface/receive)',
    {},
    (host) => {
      const socket = host.open({ port: 9 })
      host.inject(udp({ sourcePort: 1234, targetPort: 9 }, text('hello')))
      assert.deepEqual(host.received(socket), [{ payload: text('hello'), source: PEER, sourcePort: 1234 }])
      host.expectNothing()
    },
  )

  onHosts('a datagram without data is a datagram', {}, (host) => {
    const socket = host.open({ port: 9 })
    host.inject(udp({ targetPort: 9 }, text('')))
    assert.deepEqual(host.received(socket), [{ payload: text(''), source: PEER, sourcePort: 5000 }])
  })

  onHosts('a checksum of 0 says that there is none (@rfc 768 checksum/none)', {}, (host) => {
    const socket = host.open({ port: 9 })
    host.inject(udp({ targetPort: 9, checksum: 0 }, text('trust me')))
    assert.equal(host.received(socket).length, 1)
  })

  onHosts('a sum that comes out as 0 is sent as ffff, and is right', {}, (host) => {
    const socket = host.open({ port: 9 })
    // Data that makes the sum ffff, whose complement is 0.
    const segment = udpSegment({ targetPort: 9, checksum: 0 }, new Uint8Array(2))
    const pseudo = join([10, 0, 0, 9, 10, 0, 0, 1, 0, 17, 0, 10])
    put16(segment, 8, checksumOf(pseudo, segment))
    put16(segment, 6, 0xffff)
    host.inject(ip({ protocol: Protocol.udp }, segment))
    assert.equal(host.received(socket).length, 1)
  })

  onHosts(
    'a wrong checksum is dropped, wherever the wrong bit is (@rfc 768 checksum/coverage ip-interface/addresses) (@rfc 1122 4.1.3.4/able 4.1.3.4/bad)',
    {},
    (host) => {
      const socket = host.open({ port: 9 })
      const good = udp({ targetPort: 9 }, text('data!'))
      let wrong = 0
      for (let bit = 26 * 8; bit < good.length * 8; bit++) {
        const bad = Uint8Array.from(good)
        bad[bit >> 3]! ^= 0x80 >> (bit & 7)
        host.inject(bad)
        wrong++
      }
      // An address of the pseudo header: ours, but not the one that was summed.
      host.inject(ip({ protocol: Protocol.udp, source: '10.0.0.8' }, udpSegment({ targetPort: 9 }, text('data!'))))
      assert.deepEqual(host.received(socket), [])
      assert.deepEqual(host.drops(UdpCounters), { droppedChecksum: wrong + 1 })
    },
  )

  onHosts('a host that was told not to look at checksums does not', { checksums: false }, (host) => {
    const socket = host.open({ port: 9 })
    host.inject(udp({ targetPort: 9, checksum: 0x1234 }, text('x')))
    assert.equal(host.received(socket).length, 1)
  })

  onHosts('lengths that cannot be are dropped, each by its name (@rfc 768 fields/length)', {}, (host) => {
    host.open({ port: 9 })
    for (let length = 0; length < 8; length++) host.inject(ip({ protocol: 17 }, counting(length)))
    for (const length of [0, 1, 7]) host.inject(udp({ targetPort: 9, length, checksum: 0 }, text('hello')))
    for (const length of [14, 100, 65535]) host.inject(udp({ targetPort: 9, length, checksum: 0 }, text('hello')))
    host.inject(udp({ targetPort: 0 }, text('hello')))
    host.expectNothing()
    assert.deepEqual(host.drops(UdpCounters), {
      droppedShort: 8,
      droppedLength: 3,
      droppedTruncated: 3,
      droppedPort: 1,
    })
  })

  onHosts('what lies behind the length is not delivered, and not summed', {}, (host) => {
    const socket = host.open({ port: 9 })
    const segment = udpSegment({ targetPort: 9 }, text('hello'))
    host.inject(ip({ protocol: Protocol.udp }, join(segment, new Uint8Array(100).fill(0xee))))
    assert.deepEqual(host.received(socket)[0]!.payload, text('hello'))
  })

  onHosts('a length that cuts into a later fragment frees the rest', {}, (host) => {
    const socket = host.open({ port: 9 })
    const segment = udpSegment({ targetPort: 9 }, counting(100))
    const whole = ip({ protocol: Protocol.udp }, join(segment, new Uint8Array(4000).fill(0xee)))
    for (const fragment of fragments(whole, 64)) host.postPacket(fragment)
    host.run()
    assert.deepEqual(host.received(socket)[0]!.payload, counting(100))
  })

  onHosts('port 0 as a source is taken: no answer is wanted (@rfc 768 fields/source-port)', {}, (host) => {
    const socket = host.open({ port: 9 })
    host.inject(udp({ sourcePort: 0, targetPort: 9 }, text('x')))
    assert.deepEqual(host.received(socket), [{ payload: text('x'), source: PEER, sourcePort: 0 }])
  })

  test('a socket gets what comes in on every CPU, in the order of each flow', () => {
    for (const seed of [1, 2, 3]) {
      withHost({ cpus: 4, seed }, (host) => {
        const socket = host.open({ port: 9 }, 2)
        const ports = [0, 1, 2, 3].map((cpu) => portOwnedBy(host, cpu, 9))
        for (let i = 0; i < 50; i++) {
          for (const sourcePort of ports) host.postPacket(udp({ sourcePort, targetPort: 9 }, counting(1, i)))
        }
        host.run()
        const got = host.received(socket, 2)
        assert.equal(got.length, 200)
        for (const port of ports) {
          const numbers = got.filter(({ sourcePort }) => sourcePort === port).map(({ payload }) => payload[0])
          assert.deepEqual(numbers, [...counting(50)])
        }
      })
    }
  })

  test('datagrams that the card could not hash reach their owners all the same', () => {
    withHost({ cpus: 4, seed: 6, steer: 'first' }, (host) => {
      const sockets = [0, 1, 2, 3].map((cpu) => host.open({ port: 9, perCpu: true }, cpu))
      sockets.forEach((socket, cpu) => {
        host.inject(udp({ sourcePort: portOwnedBy(host, cpu, 9), targetPort: 9 }, text('x')))
        assert.equal(host.received(socket, cpu).length, 1)
      })
      host.expectNothing()
    })
  })

  onHosts('an answer has the address that was asked (@rfc 1122 3.3.4.2/same-address)', { wires: [{}, {}] }, (host) => {
    const onReadable = (socket: UdpSocket) => {
      for (let packet = socket.receive(); packet !== 0; packet = socket.receive()) socket.sendBack(packet)
    }
    const socket = host.open({ port: 9, onReadable })
    for (const target of [HOST, '10.0.1.1']) {
      host.inject(udp({ target, targetPort: 9 }, text('who?')))
      host.expect({
        ip: { source: target, target: PEER },
        udp: { sourcePort: 9, targetPort: 5000 },
        payload: text('who?'),
      })
    }
    assert.equal(socket.length, 0)
  })
})
