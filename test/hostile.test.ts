// What the network's first part must survive: one test for each class of hostile input, and frames made by chance. Common to all, and
// checked by the harness after each: nothing throws, everything is counted, and all memory is free again.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Errno } from '../src/base/errno.ts'
import { Random } from '../src/base/random.ts'
import { DeviceCounters } from '../src/device/device.ts'
import {
  ArpCounters,
  DispatchCounters,
  EtherCounters,
  IcmpCounters,
  IpCounters,
  ReassemblyCounters,
  TcpCounters,
  UdpCounters,
} from '../src/net/counters.ts'
import { ArpLimits } from '../src/net/ether/arp.ts'
import { IcmpLimits } from '../src/net/icmp/error.ts'
import { ReassemblyLimits } from '../src/net/ip/reassembly.ts'
import {
  arp,
  BROADCAST,
  type Bytes,
  be32,
  checksumOf,
  counting,
  echoRest,
  ether,
  fragments,
  get32,
  icmp,
  ip,
  join,
  Protocol,
  put16,
  Type,
  text,
  udp,
  udpSegment,
} from '../src/net/testing/frame.ts'
import { HOST, onHosts, PEER, PEER_LINK, type TestHost, withHost } from '../src/net/testing/host.ts'
import { Peer } from '../src/net/testing/peer.ts'
import { EchoCounters, echo } from '../src/service/echo.ts'

const SECOND = 1_000_000
const PING = icmp({ type: 8, rest: echoRest(1, 1) }, text('ping'))

function toHost(host: TestHost, packet: Bytes): Bytes {
  return ether({ source: PEER_LINK, target: host.linkAddress() }, packet)
}

function sum(drops: { readonly [counter: string]: number }): number {
  return Object.values(drops).reduce((a, b) => a + b, 0)
}

/** The host still does its work. */
function expectAlive(host: TestHost): void {
  host.take()
  host.inject(PING)
  host.expect({ icmp: { type: 0 }, payload: text('ping') })
  host.expectNothing()
}

describe('hostile input', () => {
  onHosts('1: runt frames of every length are counted drops', {}, (host) => {
    host.open({ port: 9 })
    const whole = toHost(host, udp({ targetPort: 9 }, counting(18)))
    assert.equal(whole.length, 60)
    for (let length = 0; length <= 60; length++) host.injectFrame(whole.subarray(0, length))
    const dropped = sum(host.drops(EtherCounters)) + sum(host.drops(IpCounters)) + sum(host.drops(UdpCounters))
    assert.equal(dropped + host.count(UdpCounters, 'delivered'), 61)
    assert.equal(host.count(UdpCounters, 'delivered'), 1)
    expectAlive(host)
  })

  onHosts('2: frames longer than the link carries never come in, and their memory is free again', {}, (host) => {
    for (const length of [1515, 1516, 2000, 9014, 65550]) {
      host.injectFrame(join(toHost(host, PING), new Uint8Array(length)).subarray(0, length))
    }
    assert.equal(host.counts(DeviceCounters, false).transmitTooLong, 5)
    assert.equal(host.count(EtherCounters, 'received'), 0)
    expectAlive(host)
  })

  onHosts('3: a frame from ourselves or from a group is dropped', {}, (host) => {
    for (const source of [host.linkAddress(), BROADCAST, '01:00:5e:00:00:01']) {
      host.injectFrame(ether({ source, target: host.linkAddress() }, PING))
    }
    host.expectNothing()
    assert.deepEqual(host.drops(EtherCounters), { droppedSource: 3 })
    expectAlive(host)
  })

  onHosts('4: unknown types and lengths in place of a type are dropped', {}, (host) => {
    for (let type = 0; type < 0x10000; type += 97) {
      if (type !== Type.ipv4 && type !== Type.arp) host.post(ether({ target: host.linkAddress(), type }, PING))
    }
    host.run()
    host.expectNothing()
    const { droppedType, droppedUnknownType, received } = host.counts(EtherCounters)
    assert.equal(droppedType + droppedUnknownType, received)
    expectAlive(host)
  })

  onHosts('5: a malformed ARP packet changes nothing', {}, (host) => {
    const good = arp({ target: HOST })
    for (let at = 0; at < 8; at++) {
      for (const value of [0, 1, 2, 3, 7, 0x7f, 0xff]) {
        const bad = Uint8Array.from(good)
        if (bad[at] === value) continue
        bad[at] = value
        // A reply instead of a request is well formed.
        if (bad[6] === 0 && bad[7] === 2) continue
        host.injectFrame(ether({ source: PEER_LINK, type: Type.arp }, bad))
      }
    }
    for (let length = 0; length < 28; length++) host.injectFrame(ether({ type: Type.arp }, good.subarray(0, length)))
    host.expectNothing()
    assert.equal(host.count(ArpCounters, 'droppedMalformed'), host.count(ArpCounters, 'received'))
    for (const { arp } of host.stacks) assert.equal(arp.size, 0)
    expectAlive(host)
  })

  onHosts('6: unsolicited replies do not overwrite, and gratuitous ARP does not fill the cache', {}, (host) => {
    host.introduce()
    const senderLink = '02:00:00:00:00:66'
    for (let i = 0; i < 2000; i++) {
      const sender = i % 10 === 0 ? PEER : `10.0.0.${10 + (i % 200)}`
      const operation = i % 3 === 0 ? 'request' : 'reply'
      const target = i % 2 === 0 ? sender : HOST
      if (operation === 'request' && target === HOST) continue
      host.post(ether({ source: senderLink, type: Type.arp }, arp({ operation, sender, senderLink, target })))
    }
    // Reverse ARP.
    host.post(ether({ source: senderLink, type: Type.arp }, arp({ operation: 4, sender: PEER, senderLink })))
    host.run()
    host.inject(PING)
    host.expect({ ether: { target: PEER_LINK }, icmp: { type: 0 } })
    assert(host.stacks[0]!.arp.size <= 1)
  })

  test('7: of 10 000 senders so many are remembered, and so many packets wait', () => {
    withHost({ cpus: 2, wires: [{ address: '10.0.0.1/16' }], answerArp: false }, (host) => {
      for (let i = 0; i < 10_000; i++) {
        const sender = `10.0.${1 + Math.floor(i / 250)}.${i % 250}`
        host.post(ether({ source: PEER_LINK, type: Type.arp }, arp({ sender, target: HOST })))
        // And echo requests from as many who do not answer ARP.
        host.postPacket(icmp({ type: 8, source: `10.0.${100 + Math.floor(i / 250)}.${i % 250}` }, text('x')))
        if (i % 500 === 499) host.run(0)
      }
      host.run()
      for (const { arp } of host.stacks) assert(arp.size <= ArpLimits.entries)
      const { packetsHeld, packetsReleased, packetsDropped } = host.counts(ArpCounters)
      assert(packetsHeld - packetsReleased - packetsDropped <= 2 * ArpLimits.entries * ArpLimits.held)
      host.run(10 * SECOND)
      const after = host.counts(ArpCounters)
      assert.equal(after.packetsHeld, after.packetsReleased + after.packetsDropped)
    })
  })

  onHosts('8: lengths that contradict each other are dropped, each by its name', {}, (host) => {
    const table: readonly [Parameters<typeof ip>[0], string][] = [
      [{ version: 5 }, 'droppedVersion'],
      [{ headerLength: 4 }, 'droppedHeaderLength'],
      [{ headerLength: 15, totalLength: 40 }, 'droppedTotalLength'],
      [{ totalLength: 19 }, 'droppedTotalLength'],
      [{ totalLength: 1000 }, 'droppedTruncated'],
      [{ headerLength: 15 }, 'droppedTotalLength'],
    ]
    const expected: { [reason: string]: number } = {}
    for (const [fields, reason] of table) {
      host.inject(ip(fields, udpSegment({ targetPort: 9 }, text('x'))))
      expected[reason] = (expected[reason] ?? 0) + 1
    }
    host.expectNothing()
    assert.deepEqual(host.drops(IpCounters), expected)
    expectAlive(host)
  })

  onHosts('9: bytes behind the total length reach nobody', {}, (host) => {
    const socket = host.open({ port: 9 })
    for (let padding = 0; padding < 60; padding++) {
      host.inject(join(udp({ targetPort: 9 }, text('x')), new Uint8Array(padding).fill(0xee)))
      host.inject(join(PING, new Uint8Array(padding).fill(0xee)))
      host.expect({ icmp: { type: 0 }, payload: text('ping') })
    }
    for (const { payload } of host.received(socket)) assert.deepEqual(payload, text('x'))
  })

  onHosts('10: a header with any single wrong bit is dropped', {}, (host) => {
    for (let bit = 0; bit < 160; bit++) {
      const bad = Uint8Array.from(PING)
      bad[bit >> 3]! ^= 0x80 >> (bit & 7)
      host.inject(bad)
    }
    host.expectNothing()
    assert.equal(sum(host.drops(IpCounters)), 160)
    expectAlive(host)
  })

  test('11: options of every type and length end, and source routes are refused', () => {
    withHost({ cpus: 2 }, (host) => {
      host.acquaint()
      let sent = 0
      for (let type = 0; type < 256; type++) {
        for (const length of [0, 1, 2, 3, 4, 8, 9, 12, 255]) {
          const options = [1, type, length, 1, 1, 1, 1, 1]
          host.postPacket(icmp({ type: 8, options }, text('x')))
          sent++
        }
      }
      host.run()
      const { droppedOption, droppedSourceRoute } = host.counts(IpCounters)
      assert.equal(droppedSourceRoute, 2 * 9)
      // Six of the lengths cannot be. Type 0 ends the list; behind type 1, which has no length, seven of them are
      // types whose own length is 1.
      assert.equal(droppedOption, 252 * 6 + 7)
      assert.equal(host.take().length, sent - droppedOption - droppedSourceRoute)
    })
  })

  onHosts('12: fragments that overlap, are empty, too far, crooked or tiny cost their datagram', {}, (host) => {
    const piece = (id: number, offset: number, length: number, more: boolean) =>
      host.inject(ip({ protocol: Protocol.tcp, id, offset, more }, counting(length)))
    piece(1, 0, 48, true)
    piece(1, 24, 48, false)
    piece(2, 0, 0, true)
    piece(3, 65528, 100, false)
    piece(4, 0, 21, true)
    piece(5, 0, 8, true)
    host.expectNothing()
    assert.deepEqual(host.drops(ReassemblyCounters), { droppedOverlap: 2, droppedLayout: 3, droppedTiny: 1 })
    assert.equal(host.count(ReassemblyCounters, 'held'), 0)
    expectAlive(host)
  })

  onHosts(
    '12: a fragment that comes twice costs its datagram or nothing, and what is whole is what was sent',
    {},
    (host) => {
      const socket = host.open({ port: 9 })
      const pieces = fragments(udp({ targetPort: 9 }, counting(200)), 64)
      for (const twice of pieces.keys()) {
        for (const piece of pieces.toSpliced(twice, 0, pieces[twice]!)) host.inject(piece)
        for (const { payload } of host.received(socket)) assert.deepEqual(payload, counting(200))
        host.run(31 * SECOND)
        host.take()
      }
      assert.equal(host.count(ReassemblyCounters, 'held'), 0)
      expectAlive(host)
    },
  )

  onHosts('19: an error about a connection is believed only where its numbers are in flight', { seed: 19 }, (host) => {
    const server = host.listen({ port: 7 })
    const peer = Peer.connect(host, { timestamps: true })
    const program = server.accept()
    program.send(counting(5000))
    const sent = peer.take().map(({ sent: { bytes } }) => bytes.subarray(14))
    assert(sent.length > 0)
    const { mss } = program.info()
    const about = (change: number, quoted: number) => {
      const quote = Uint8Array.from(sent[0]!)
      const seq = get32(quote, 24)
      quote.set(be32((seq + change) >>> 0), 24)
      return quote.subarray(0, quoted)
    }
    // Of numbers that are not in flight, and of too little to say so.
    for (const change of [-1, -100_000, 100_000, 0x7fffffff]) {
      for (const code of [0, 1, 2, 3, 4, 13]) host.inject(icmp({ type: 3, code, rest: 576 }, about(change, 28)))
    }
    for (let quoted = 0; quoted < 28; quoted++) host.inject(icmp({ type: 3, code: 4, rest: 576 }, about(0, quoted)))
    assert.equal(program.info().mss, mss)
    // In flight, and of a size that no link has (CVE-2020-11910): not below the floor, and nobody divides by it.
    for (const mtu of [0, 1, 20, 40, 67, 68, 296, 551, 552]) {
      host.inject(icmp({ type: 3, code: 4, rest: mtu }, about(0, 28)))
      host.run(10_000)
    }
    assert(program.info().mss >= 500, `${program.info().mss}`)
    program.expect()
    for (const again of peer.take()) assert(again.data.length <= mss)
    peer.send('A', { ack: 5001 })
    peer.send('R')
    program.expect('error ECONNRESET')
    program.close()
    expectAlive(host)
  })

  test('13: fragments that are never whole are bounded, and gone after 30 s', () => {
    withHost({ cpus: 2, entries: 4096, memoryBytes: 64 * 1024 * 1024 }, (host) => {
      const random = new Random(5)
      for (let i = 0; i < 20_000; i++) {
        const offset = 8 * random.below(4000)
        const source = `10.0.0.${2 + random.below(250)}`
        host.postPacket(ip({ source, id: random.below(65536), offset, more: true }, counting(24)))
        if (i % 1000 === 999) {
          host.run(0)
          for (const { reassembly } of host.stacks) assert(reassembly.datagrams <= ReassemblyLimits.datagrams)
        }
      }
      assert(host.count(ReassemblyCounters, 'held') <= 2 * ReassemblyLimits.held)
      host.run(31 * SECOND)
      assert.equal(host.count(ReassemblyCounters, 'held'), 0)
      expectAlive(host)
    })
  })

  onHosts('14: a packet within a packet is a protocol that nobody speaks', {}, (host) => {
    const inner = udp({ targetPort: 9 }, text('inner'))
    let packet = inner
    for (let i = 0; i < 20; i++) {
      packet = ip({ protocol: 4 }, packet)
      host.inject(packet)
      host.expect({ icmp: { type: 3, code: 2 } })
    }
    assert.deepEqual(host.drops(IpCounters), { droppedProtocol: 20 })
    assert.equal(host.count(UdpCounters, 'received'), 0)
  })

  onHosts('15: what comes from an address that nobody has is dropped, and never answered', {}, (host) => {
    host.open({ port: 9 })
    const sources = ['0.0.0.0', '255.255.255.255', '10.0.0.255', '224.0.0.1', '127.0.0.1', HOST, '240.0.0.1']
    for (const source of sources) {
      host.inject(icmp({ type: 8, source }, text('x')))
      host.inject(udp({ source, sourcePort: 9, targetPort: 9 }, text('x')))
      host.inject(udp({ source, targetPort: 10 }, text('x')))
      host.inject(ip({ source, protocol: 6 }, counting(20)))
    }
    host.expectNothing()
    assert.deepEqual(host.drops(IpCounters), { droppedSource: 4 * sources.length })
    expectAlive(host)
  })

  onHosts('16: TCP to a broadcast address is discarded silently, and a broadcast ping is not answered', {}, (host) => {
    for (const target of ['10.0.0.255', '255.255.255.255', '10.0.0.0', '224.0.0.1']) {
      for (const link of [BROADCAST, host.linkAddress()]) {
        host.injectFrame(ether({ source: PEER_LINK, target: link }, ip({ target, protocol: 6 }, counting(20))))
        host.injectFrame(ether({ source: PEER_LINK, target: link }, icmp({ target, type: 8 }, text('smurf'))))
      }
    }
    host.expectNothing()
    assert.deepEqual(host.drops(IcmpCounters), { droppedBroadcast: 8 })
    // Nothing that follows the addresses is looked at: 20 bytes of nonsense are short of a header's checks.
    assert.deepEqual(host.drops(TcpCounters), { droppedOffset: 8 })
  })

  onHosts('17: time to live 0 and the protocols 0 and 255 are dropped', {}, (host) => {
    host.inject(icmp({ type: 8, ttl: 0 }, text('x')))
    host.expectNothing()
    for (const protocol of [0, 255]) host.inject(ip({ protocol }, counting(20)))
    assert.deepEqual(host.drops(IpCounters), { droppedTtl: 1, droppedProtocol: 2 })
    expectAlive(host)
  })

  onHosts('18: an error is never answered by an error, nor is a later fragment or a broadcast', {}, (host) => {
    const cause = udp({ source: HOST, target: PEER }, text('x'))
    for (const type of [3, 4, 5, 11, 12, 99])
      for (let code = 0; code < 16; code++) host.inject(icmp({ type, code }, cause))
    for (const fragment of fragments(udp({ targetPort: 9 }, counting(100)), 32).slice(1)) host.inject(fragment)
    host.inject(udp({ target: '10.0.0.255', targetPort: 9 }, text('x')))
    host.run(31 * SECOND)
    host.expectNothing()
    assert.equal(host.count(IcmpCounters, 'sentErrors'), 0)
  })

  onHosts('19: an error that quotes too little, or what we have not sent, does nothing', {}, (host) => {
    const errors: number[] = []
    const socket = host.open({ port: 7000, onError: (_, errno) => errors.push(errno) })
    host.on(0, (stack) => {
      const target = stack.endpoint(PEER, 9)
      stack.context.cpu.onStop(() => target.free())
      socket.connect(target)
    })
    const sent = udp({ source: HOST, target: PEER, sourcePort: 7000, targetPort: 9 }, text('x'))
    for (let length = 0; length < 28; length++) host.inject(icmp({ type: 3, code: 3 }, sent.subarray(0, length)))
    for (const fields of [{ sourcePort: 7001 }, { targetPort: 10 }, { target: '10.0.0.8' }]) {
      const other = udp({ source: HOST, target: PEER, sourcePort: 7000, targetPort: 9, ...fields }, text('x'))
      host.inject(icmp({ type: 3, code: 3 }, other))
    }
    assert.deepEqual(errors, [])
    // "Fragmentation needed" of any size is no more than news.
    for (const mtu of [0, 1, 67, 68, 551, 552, 65535]) host.inject(icmp({ type: 3, code: 4, rest: mtu }, sent))
    assert.equal(errors.length, 7)
    host.expectNothing()
    expectAlive(host)
  })

  onHosts('20: mask, timestamp and redirect are ignored, and an echo is what came and no more', {}, (host) => {
    for (const type of [5, 9, 10, 13, 14, 15, 16, 17, 18]) {
      host.inject(icmp({ type, rest: 0x0a00_0042 }, udp({ source: HOST, target: PEER }, text('x'))))
    }
    host.expectNothing()
    assert.equal(host.count(IcmpCounters, 'ignored'), 9)
    // The frame is longer than the message.
    for (let length = 0; length < 40; length++) {
      host.inject(join(icmp({ type: 8 }, counting(length)), new Uint8Array(64).fill(0xee)))
      host.expect({ icmp: { type: 0 }, payload: counting(length) })
    }
    host.inject(ip({ protocol: 1, totalLength: 1500 }, counting(8)))
    host.expectNothing()
    assert.deepEqual(host.drops(IpCounters), { droppedTruncated: 1 })
  })

  onHosts('21: errors that we send are limited', { entries: 4096 }, (host) => {
    host.acquaint()
    for (let i = 0; i < 2000; i++) host.postPacket(udp({ sourcePort: 6000, targetPort: 9 }, text('x')))
    const began = host.nowUs
    host.run(0)
    const most = IcmpLimits.burst + ((host.nowUs - began) * IcmpLimits.errorsPerSecond) / 1e6 + 1
    const sent = host.take().length
    assert(sent >= IcmpLimits.burst && sent <= most, `${sent} errors`)
    assert.equal(host.count(IcmpCounters, 'errorsRateLimited'), 2000 - sent)
  })

  onHosts(
    '22: UDP lengths and checksums that are wrong are dropped; checksum 0 and source port 0 are not',
    {},
    (host) => {
      const socket = host.open({ port: 9 })
      for (const length of [0, 7]) host.inject(udp({ targetPort: 9, length }, text('x')))
      host.inject(udp({ targetPort: 9, length: 10 }, text('x')))
      host.inject(ip({ protocol: 17 }, counting(7)))
      host.inject(udp({ targetPort: 9, checksum: 1 }, text('x')))
      host.inject(udp({ targetPort: 0 }, text('x')))
      assert.deepEqual(host.received(socket), [])
      assert.deepEqual(host.drops(UdpCounters), {
        droppedLength: 2,
        droppedTruncated: 1,
        droppedShort: 1,
        droppedChecksum: 1,
        droppedPort: 1,
      })
      host.inject(udp({ targetPort: 9, checksum: 0 }, text('x')))
      host.inject(udp({ targetPort: 9, sourcePort: 0 }, text('x')))
      assert.equal(host.received(socket).length, 2)
      host.expectNothing()
    },
  )

  onHosts('23: our echo service does not answer other services', {}, (host) => {
    host.stacks.forEach((stack, cpu) => {
      host.on(cpu, () => echo(stack, 7, (error) => assert.equal(error, undefined)))
    })
    for (let sourcePort = 0; sourcePort < 1024; sourcePort++)
      host.postPacket(udp({ sourcePort, targetPort: 7 }, text('x')))
    host.run()
    host.expectNothing()
    assert.equal(host.count(EchoCounters, 'refused'), 1024)
    expectAlive(host)
  })
})

describe('memory that is used up', () => {
  onHosts('is a counted drop wherever a packet would be made, and everything goes on when it is back', {}, (host) => {
    host.acquaint()
    const socket = host.open({ port: 9 })
    const peer = host.on(0, (stack) => stack.endpoint(PEER, 9))
    // So many that the test's end has some to send by while the host has none.
    for (let i = 0; i < 40; i++) host.postPacket(PING)
    host.run()
    assert.equal(host.take().length, 40)
    const taken = host.stacks.map((_, cpu) =>
      host.on(cpu, ({ context: { mbufs } }) => {
        const all: number[] = []
        for (let m = mbufs.allocate(); m !== 0; m = mbufs.allocate()) all.push(m)
        return all
      }),
    )
    // What is answered in the packet that asked is answered.
    host.inject(PING)
    host.expect({ icmp: { type: 0 } })
    host.injectFrame(ether({ source: PEER_LINK, type: Type.arp }, arp({ target: HOST })))
    host.expect({ arp: { operation: 'reply' } })
    host.inject(udp({ targetPort: 10 }, text('x')))
    for (const fragment of fragments(icmp({ type: 8 }, counting(3000)), 1480)) host.inject(fragment)
    host.inject(udp({ targetPort: 9 }, text('queued')))
    assert.equal(
      host.on(0, () => socket.sendBytes(text('x'), peer)),
      Errno.ENOBUFS,
    )
    host.expectNothing()
    assert.equal(host.count(IcmpCounters, 'droppedNoMbuf'), 1)
    assert.equal(host.count(IpCounters, 'sendNoMbuf'), 1)
    taken.forEach((all, cpu) => {
      host.on(cpu, ({ context: { mbufs } }) => {
        for (const m of all) mbufs.free(m)
      })
    })
    assert.equal(host.received(socket).length, 1)
    host.inject(udp({ targetPort: 10 }, text('x')))
    host.expect({ icmp: { type: 3, code: 3 } })
    host.on(0, () => peer.free())
    expectAlive(host)
  })
})

/** Valid frames of every kind that the host looks at. */
function seeds(host: TestHost): Bytes[] {
  const sent = udp({ source: HOST, target: PEER, sourcePort: 7000, targetPort: 9 }, text('sent'))
  return [
    toHost(host, PING),
    toHost(host, icmp({ type: 8, options: [7, 7, 4, 0, 0, 0, 0, 0] }, counting(100))),
    toHost(host, udp({ targetPort: 9 }, counting(64))),
    toHost(host, udp({ targetPort: 7 }, counting(1000))),
    toHost(host, udp({ targetPort: 10 }, counting(20))),
    toHost(host, udp({ sourcePort: 9, targetPort: 7000 }, counting(20))),
    toHost(host, icmp({ type: 3, code: 3 }, sent)),
    toHost(host, icmp({ type: 11, code: 0 }, sent)),
    toHost(host, icmp({ type: 0, rest: 1 }, counting(10))),
    toHost(host, ip({ protocol: 6 }, counting(20))),
    ether({ source: PEER_LINK }, udp({ target: '10.0.0.255', targetPort: 9 }, counting(10))),
    ether({ source: PEER_LINK, type: Type.arp }, arp({ target: HOST })),
    ether({ source: PEER_LINK, type: Type.arp }, arp({ operation: 'reply', target: HOST })),
    ...fragments(udp({ targetPort: 9 }, counting(200)), 64, 1).map((packet) => toHost(host, packet)),
    ...fragments(icmp({ type: 8 }, counting(200)), 64, 2).map((packet) => toHost(host, packet)),
  ]
}

/** Changes a frame by chance, and then makes its checksums right again most of the time, so that it gets further. */
function mutate(random: Random, frame: Bytes, other: Bytes): Bytes {
  let bytes: Bytes = Uint8Array.from(frame)
  for (let changes = random.below(4); changes > 0; changes--) {
    const at = random.below(Math.min(bytes.length, 80))
    const kind = random.below(6)
    if (kind === 0) bytes[at]! ^= 1 << random.below(8)
    else if (kind === 1) bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)]!
    else if (kind === 2) bytes[at] = random.below(256)
    else if (kind === 3) bytes = bytes.subarray(0, random.below(bytes.length + 1))
    else if (kind === 4) bytes = join(bytes, counting(random.below(200)))
    else bytes = join(bytes.subarray(0, at), other.subarray(Math.min(at, other.length)))
    if (bytes.length === 0) return bytes
  }
  const header = bytes.length > 14 ? (bytes[14]! & 15) * 4 : 0
  if (bytes.length < 34 || header < 20 || bytes.length < 14 + header || random.chance(0.2)) return bytes
  const packet = bytes.subarray(14)
  if (random.chance(0.5)) put16(packet, 2, packet.length)
  put16(packet, 10, 0)
  put16(packet, 10, checksumOf(packet.subarray(0, header)))
  const body = packet.subarray(header)
  if (packet[9] === Protocol.icmp && body.length >= 4) {
    put16(body, 2, 0)
    put16(body, 2, checksumOf(body))
  }
  if (packet[9] === Protocol.udp && body.length >= 8 && random.chance(0.7)) put16(body, 6, 0)
  return bytes
}

describe('frames made by chance', () => {
  for (const [cpus, steer] of [
    [1, 'flow'],
    [2, 'flow'],
    [4, 'first'],
  ] as const) {
    test(`${cpus} CPUs survive 7000 of them, and all is accounted for`, () => {
      withHost(
        { cpus, steer, seed: 40 + cpus, routes: [{ prefix: '0.0.0.0/0', gateway: PEER, interface: 'w0' }] },
        (host) => {
          host.stacks.forEach((stack, cpu) => {
            host.on(cpu, () => echo(stack, 7, (error) => assert.equal(error, undefined)))
          })
          const socket = host.open({ port: 9 }, cpus - 1)
          const client = host.open({ port: 7000, onError: () => {} }, 0)
          host.on(0, (stack) => {
            const target = stack.endpoint(PEER, 9)
            stack.context.cpu.onStop(() => target.free())
            client.connect(target)
          })
          const random = new Random(1000 + cpus)
          const frames = seeds(host)
          const pick = () => frames[random.below(frames.length)]!
          for (let i = 0; i < 7000; i++) {
            host.post(mutate(random, pick(), pick()))
            if (i % 50 === 49) host.run(random.chance(0.1) ? random.below(40 * SECOND) : 0)
            if (i % 500 === 499) host.received(socket, cpus - 1)
          }
          host.run(40 * SECOND)
          // Enough of them got through to matter.
          assert(host.count(UdpCounters, 'delivered') > 300)
          assert(host.count(IcmpCounters, 'echoRequests') > 200)
          assert(host.count(ReassemblyCounters, 'fragments') > 500)
          assert(host.count(ArpCounters, 'received') > 200)
          if (cpus > 1 && steer === 'first') assert(host.count(DispatchCounters, 'handedOff') > 1000)
          expectAlive(host)
        },
      )
    })
  }
})
