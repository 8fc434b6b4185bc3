import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { IcmpCounters, IpCounters, UdpCounters } from '../counters.ts'
import {
  BROADCAST,
  type Bytes,
  counting,
  echoRest,
  ether,
  icmp,
  ip,
  join,
  Protocol,
  text,
  udp,
  udpSegment,
} from '../testing/frame.ts'
import { HOST, onHosts, PEER, PEER_LINK, withHost } from '../testing/host.ts'

const PING = icmp({ type: 8, rest: echoRest(1, 1) }, text('ping'))

/** A datagram whose IP header is changed, its UDP left right. */
function datagram(fields: Parameters<typeof ip>[0], payload = text('hello')): Bytes {
  return ip({ protocol: Protocol.udp, ...fields }, udpSegment({ targetPort: 9 }, payload))
}

describe('ipv4 in', () => {
  const lengths: readonly [string, Parameters<typeof ip>[0], string][] = [
    ['a version that is not 4', { version: 6 }, 'droppedVersion'],
    ['version 0', { version: 0 }, 'droppedVersion'],
    ['a header of no words', { headerLength: 0 }, 'droppedHeaderLength'],
    ['a header of four words', { headerLength: 4 }, 'droppedHeaderLength'],
    ['a header longer than the packet', { headerLength: 15, totalLength: 33 }, 'droppedTotalLength'],
    ['a total length of 0', { totalLength: 0 }, 'droppedTotalLength'],
    ['a total length shorter than the header', { totalLength: 19 }, 'droppedTotalLength'],
    ['a total length beyond the frame', { totalLength: 34 }, 'droppedTruncated'],
    ['the greatest total length', { totalLength: 65535 }, 'droppedTruncated'],
    ['a checksum of 0', { checksum: 0 }, 'droppedChecksum'],
    ['time to live 0', { ttl: 0 }, 'droppedTtl'],
  ]
  for (const [name, fields, reason] of lengths) {
    onHosts(
      `${name} is dropped as ${reason}, and not answered (@rfc 791 3.1/version 3.1/header-length 3.1/total-length 3.1/ttl-zero 3.1/checksum) (@rfc 1122 3.2.1.1 3.2.1.2 3.1/count)`,
      {},
      (host) => {
        host.inject(datagram(fields))
        host.expectNothing()
        assert.deepEqual(host.drops(IpCounters), { [reason]: 1 })
      },
    )
  }

  test('every single wrong bit of the header is found', () => {
    withHost({ cpus: 2 }, (host) => {
      const good = datagram({})
      for (let bit = 0; bit < 160; bit++) {
        const bad = Uint8Array.from(good)
        bad[bit >> 3]! ^= 0x80 >> (bit & 7)
        host.inject(bad)
      }
      host.expectNothing()
      assert.equal(host.count(IpCounters, 'received'), 160)
      assert.equal(host.count(IpCounters, 'delivered'), 0)
      // Bits of version and lengths have reasons of their own.
      assert.ok(host.count(IpCounters, 'droppedChecksum') >= 160 - 24)
    })
  })

  onHosts('padding behind the packet is cut off (@rfc 791 3.1/total-length)', {}, (host) => {
    const socket = host.open({ port: 9 })
    const padded = join(udp({ targetPort: 9 }, text('hi')), new Uint8Array(30).fill(0xee))
    host.inject(padded)
    assert.deepEqual(host.received(socket), [{ payload: text('hi'), source: PEER, sourcePort: 5000 }])
    host.inject(join(PING, new Uint8Array(100).fill(0xee)))
    host.expect({ icmp: { type: 0 }, payload: text('ping') })
  })

  onHosts(
    'options that are harmless are walked over (@rfc 791 3.1/options) (@rfc 1122 3.2.1.8/unknown)',
    {},
    (host) => {
      const harmless = [
        [1, 1, 1, 0],
        [0, 0xff, 0xff, 0xff],
        [7, 7, 4, 0, 0, 0, 0, 0],
        [68, 4, 5, 0],
        [148, 4, 0, 0],
        [255, 2, 1, 1],
        new Array<number>(40).fill(1),
      ]
      for (const options of harmless) {
        host.inject(icmp({ type: 8, options }, text('ping')))
        host.expect({ icmp: { type: 0 }, payload: text('ping') })
      }
      assert.deepEqual(host.drops(IpCounters), {})
    },
  )

  onHosts('options whose length cannot be are dropped (@rfc 791 3.1/options)', {}, (host) => {
    const bad = [
      [7, 0, 0, 0],
      [7, 1, 0, 0],
      [7, 5, 0, 0],
      [7, 255, 0, 0],
      [1, 1, 1, 7],
      [148, 4, 0, 0, 7, 0, 0, 0],
    ]
    for (const options of bad) host.inject(icmp({ type: 8, options }, text('ping')))
    host.expectNothing()
    assert.deepEqual(host.drops(IpCounters), { droppedOption: bad.length })
  })

  onHosts('source-routed packets are dropped', {}, (host) => {
    for (const type of [131, 137]) {
      host.inject(icmp({ type: 8, options: [type, 7, 4, 10, 0, 0, 1, 0] }, text('ping')))
      host.inject(icmp({ type: 8, options: [1, type, 3, 4] }, text('ping')))
      host.inject(icmp({ type: 8, options: [1, 1, 1, type] }, text('ping')))
    }
    host.expectNothing()
    assert.deepEqual(host.drops(IpCounters), { droppedSourceRoute: 6 })
  })

  onHosts(
    'nobody sends from nowhere, a group, a broadcast address, the loopback or ourselves (@rfc 1122 3.2.1.3/bad-source 3.2.2/about-source 4.1.3.6/bad-source)',
    {},
    (host) => {
      const sources = [
        '0.0.0.0',
        '0.1.2.3',
        '127.0.0.1',
        '127.255.255.255',
        '224.0.0.1',
        '239.255.255.255',
        '240.0.0.1',
        '255.255.255.255',
        HOST,
        '10.0.0.255',
        '10.0.0.0',
      ]
      for (const source of sources) {
        host.inject(icmp({ type: 8, source }, text('ping')))
        host.inject(udp({ source, targetPort: 9 }, text('x')))
      }
      host.expectNothing()
      assert.deepEqual(host.drops(IpCounters), { droppedSource: 2 * sources.length })
    },
  )

  onHosts(
    'what is not for us is dropped: we are no router (@rfc 1122 3.1/gateway-automatic 3.2.1.3/bad-target)',
    {},
    (host) => {
      const targets = ['10.0.0.2', '192.0.2.1', '127.0.0.1', '0.0.0.0', '224.0.0.2', '239.1.1.1', '240.0.0.1']
      for (const target of targets) {
        host.inject(icmp({ type: 8, target }, text('ping')))
        host.inject(udp({ target, targetPort: 9 }, text('x')))
      }
      host.expectNothing()
      assert.deepEqual(host.drops(IpCounters), { droppedNotOurs: 2 * targets.length })
    },
  )

  onHosts(
    'a broadcast reaches sockets, and is never answered by an error (@rfc 1122 3.2.2.6/to-many 3.3.6/receive 3.3.6/all-forms 3.3.7/all-hosts)',
    {},
    (host) => {
      const socket = host.open({ port: 9 })
      for (const target of ['255.255.255.255', '10.0.0.255', '10.0.0.0', '224.0.0.1']) {
        host.injectFrame(ether({ source: PEER_LINK, target: BROADCAST }, udp({ target, targetPort: 9 }, text('all'))))
        host.injectFrame(ether({ source: PEER_LINK, target: BROADCAST }, udp({ target, targetPort: 10 }, text('all'))))
        host.injectFrame(ether({ source: PEER_LINK, target: BROADCAST }, icmp({ target, type: 8 }, text('all'))))
        host.injectFrame(ether({ source: PEER_LINK, target: BROADCAST }, ip({ target, protocol: 5 }, counting(20))))
        // The same in a unicast frame.
        host.inject(udp({ target, targetPort: 10 }, text('all')))
        host.inject(ip({ target, protocol: 5 }, counting(20)))
      }
      host.expectNothing()
      assert.equal(host.received(socket).length, 4)
      assert.equal(host.count(UdpCounters, 'noPort'), 8)
      assert.deepEqual(host.drops(IcmpCounters), { droppedBroadcast: 4 })
    },
  )

  onHosts(
    'a protocol that nobody speaks is answered by an error that quotes it (@rfc 791 3.1/protocol) (@rfc 792 unreachable/send) (@rfc 1122 3.2.2.1/send 3.3.8)',
    {},
    (host) => {
      for (const protocol of [0, 4, 5, 41, 132, 255]) {
        const packet = ip({ protocol }, counting(100))
        host.inject(packet)
        host.expect({ ip: { target: PEER, source: HOST }, icmp: { type: 3, code: 2, rest: 0 }, payload: packet })
      }
      assert.deepEqual(host.drops(IpCounters), { droppedProtocol: 6 })
    },
  )

  onHosts(
    'a packet for any of the addresses is taken on any interface (@rfc 791 3.2/addressing) (@rfc 1122 3.1/local-multihoming 3.2.2.6/source)',
    { wires: [{}, {}] },
    (host) => {
      host.inject(icmp({ type: 8, target: '10.0.1.1' }, text('ping')), 0)
      host.expect({ ip: { source: '10.0.1.1' }, icmp: { type: 0 }, wire: 0 })
      host.inject(icmp({ type: 8, target: '10.0.1.255' }, text('ping')), 0)
      assert.deepEqual(host.drops(IpCounters), { droppedNotOurs: 1 })
    },
  )

  onHosts('a packet that says a time to live of 1 is for us all the same (@rfc 1122 3.2.1.7/below-two)', {}, (host) => {
    host.inject(icmp({ type: 8, ttl: 1 }, text('ping')))
    host.expect({ icmp: { type: 0 }, ip: { ttl: 64 } })
  })
})
