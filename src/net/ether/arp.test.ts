import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ArpCounters, DispatchCounters, IpCounters, UdpCounters } from '../counters.ts'
import { arp, BROADCAST, type Bytes, echoRest, ether, icmp, put16, Type, text } from '../testing/frame.ts'
import { HOST, onHosts, ownerOf, PEER, PEER_LINK, type TestHost, withHost } from '../testing/host.ts'
import { ArpLimits } from './arp.ts'

const SECOND = 1_000_000
const OTHER_LINK = '02:00:00:00:00:66'

type Fields = Parameters<typeof arp>[0]

/** An ARP packet in a broadcast frame, from the link address that it names. */
function frame(fields: Fields, target = BROADCAST): Bytes {
  return ether({ source: fields.senderLink ?? PEER_LINK, target, type: Type.arp }, arp(fields))
}

/** The reply to what the host asked. */
function reply(sender = PEER, senderLink = PEER_LINK): Bytes {
  return frame({ operation: 'reply', sender, senderLink, target: HOST })
}

/** Sends a datagram of this host, from a CPU, without opening a socket. */
function ping(host: TestHost, target: string, sequence: number, cpu = 0): number {
  return host.on(cpu, (stack) => {
    const endpoint = stack.endpoint(target, 0)
    const errno = stack.icmp.echo.send(endpoint, 1, sequence, 8)
    endpoint.free()
    return errno
  })
}

describe('arp', () => {
  onHosts(
    'a request for our address is answered by unicast (@rfc 826 reception/reply reception/reply-fields)',
    {},
    (host) => {
      host.injectFrame(frame({ sender: PEER, target: HOST }))
      const { ether, arp } = host.expect({ ether: { target: PEER_LINK, source: host.linkAddress() } })
      assert.deepEqual(arp, {
        operation: 'reply',
        senderLink: host.linkAddress(),
        sender: HOST,
        targetLink: PEER_LINK,
        target: PEER,
      })
      assert.equal(ether.type, Type.arp)
      host.expectNothing()
      assert.equal(host.count(ArpCounters, 'requestsAnswered'), 1)
    },
  )

  onHosts(
    'who asks for us need not be asked (@rfc 826 generation/known reception/learn)',
    { answerArp: false },
    (host) => {
      host.introduce()
      host.inject(icmp({ type: 8, rest: echoRest(1, 1) }, text('hello')))
      host.expect({ ether: { target: PEER_LINK }, icmp: { type: 0 } })
      host.expectNothing()
    },
  )

  onHosts(
    'a request for somebody else is ignored, and its sender is not remembered (@rfc 826 reception/others)',
    { answerArp: false },
    (host) => {
      host.injectFrame(frame({ sender: PEER, target: '10.0.0.77' }))
      host.expectNothing()
      assert.equal(host.count(ArpCounters, 'ignored'), 1)
      assert.deepEqual(
        host.stacks.map(({ arp }) => arp.size),
        host.stacks.map(() => 0),
      )
    },
  )

  onHosts('a probe for our address is answered, and nobody is remembered by it', {}, (host) => {
    host.injectFrame(frame({ sender: '0.0.0.0', target: HOST }))
    host.expect({ arp: { operation: 'reply', sender: HOST, target: '0.0.0.0' } })
    assert.equal(host.stacks[0]!.arp.size, 0)
  })

  onHosts('who uses our own address is not believed', {}, (host) => {
    host.injectFrame(frame({ sender: HOST, target: HOST, senderLink: OTHER_LINK }))
    host.expectNothing()
    assert.deepEqual(host.drops(ArpCounters), { droppedSender: 1 })
  })

  onHosts(
    'packets wait for the address, and leave in their order (@rfc 826 generation/ask generation/fields) (@rfc 1122 2.3.2.2 2.3.3/arp 2.4/unreachable)',
    { answerArp: false },
    (host) => {
      const cpu = host.cpuCount - 1
      for (let sequence = 1; sequence <= 5; sequence++) assert.equal(ping(host, PEER, sequence, cpu), 0)
      host.expect({ ether: { target: BROADCAST }, arp: { operation: 'request', sender: HOST, target: PEER } })
      host.expectNothing()
      host.injectFrame(reply())
      for (let sequence = 1; sequence <= 5; sequence++) {
        host.expect({ ether: { target: PEER_LINK }, icmp: { type: 8, rest: echoRest(1, sequence) } })
      }
      host.expectNothing()
      assert.equal(host.count(ArpCounters, 'packetsReleased'), 5)
    },
  )

  onHosts('so many packets wait and no more: the oldest go first (@rfc 1122 2.3.2.2)', { answerArp: false }, (host) => {
    const cpu = host.cpuCount - 1
    const over = 4
    for (let sequence = 1; sequence <= ArpLimits.held + over; sequence++) ping(host, PEER, sequence, cpu)
    host.take()
    host.injectFrame(reply())
    const sent = host.take().map(({ icmp }) => icmp!.rest & 0xffff)
    assert.deepEqual(
      sent,
      Array.from({ length: ArpLimits.held }, (_, i) => i + over + 1),
    )
    assert.equal(host.count(ArpCounters, 'packetsDropped'), over)
  })

  onHosts(
    'a silent neighbour is asked three times, a second apart, and then given up with all that waits (@rfc 1122 2.3.2.1/flood)',
    {
      answerArp: false,
    },
    (host) => {
      const cpu = host.cpuCount - 1
      ping(host, PEER, 1, cpu)
      ping(host, PEER, 2, cpu)
      host.run(10 * SECOND)
      const requests = host.take()
      assert.equal(requests.length, 3)
      for (const { arp } of requests) assert.equal(arp?.operation, 'request')
      const gaps = [requests[1]!.atUs - requests[0]!.atUs, requests[2]!.atUs - requests[1]!.atUs]
      for (const gap of gaps) assert(Math.abs(gap - ArpLimits.retransmitUs) < 2000, `asked again after ${gap} µs`)
      const counts = host.counts(ArpCounters)
      assert.equal(counts.requestsSent, 3)
      assert.equal(counts.failed, 1)
      assert.equal(counts.packetsDropped, 2)
      for (const { arp } of host.stacks) assert.equal(arp.size, 0)
      ping(host, PEER, 3, cpu)
      host.expect({ arp: { operation: 'request', target: PEER } })
    },
  )

  onHosts('a late answer still helps', { answerArp: false }, (host) => {
    ping(host, PEER, 1)
    host.run(2.5 * SECOND)
    assert.equal(host.take().length, 3)
    host.injectFrame(reply())
    host.expect({ icmp: { type: 8 } })
    host.expectNothing()
  })

  onHosts(
    'a used neighbour is confirmed after a while, by unicast, and used meanwhile (@rfc 826 related/timeout) (@rfc 1122 3.3.1.4/forever 3.3.1.4/traffic 3.3.1.4/no-sign)',
    { answerArp: false },
    (host) => {
      const cpu = host.cpuCount - 1
      ping(host, PEER, 1, cpu)
      host.take()
      host.injectFrame(reply())
      host.take()
      host.run(ArpLimits.reachableUs + SECOND)
      host.expectNothing()
      ping(host, PEER, 2, cpu)
      const frames = host.take()
      assert.equal(frames.filter(({ icmp }) => icmp !== undefined).length, 1)
      const probe = frames.find(({ arp }) => arp !== undefined)!
      assert.equal(probe.ether.target, PEER_LINK)
      assert.equal(probe.arp!.operation, 'request')
      host.injectFrame(reply())
      ping(host, PEER, 3, cpu)
      host.run(5 * SECOND)
      host.expect({ icmp: { rest: echoRest(1, 3) } })
      host.expectNothing()
      assert.equal(host.count(ArpCounters, 'probesSent'), 1)
      assert.equal(host.count(ArpCounters, 'failed'), 0)
    },
  )

  onHosts(
    'a neighbour that does not confirm is gone after three probes, on every CPU (@rfc 1122 2.3.2.1/flush 3.3.1.4/failure)',
    { answerArp: false },
    (host) => {
      for (let cpu = 0; cpu < host.cpuCount; cpu++) ping(host, PEER, cpu, cpu)
      host.injectFrame(reply())
      host.run(ArpLimits.reachableUs + SECOND)
      host.take()
      ping(host, PEER, 9, host.cpuCount - 1)
      host.run(10 * SECOND)
      assert.equal(host.count(ArpCounters, 'probesSent'), 3)
      assert.equal(host.count(ArpCounters, 'failed'), 1)
      for (const { arp } of host.stacks) assert.equal(arp.size, 0)
    },
  )

  onHosts(
    'a neighbour that nobody uses is forgotten without a question (@rfc 826 related/timeout) (@rfc 1122 2.3.2.1/flush 3.3.1.4/continuously 3.3.1.4/traffic)',
    { answerArp: false },
    (host) => {
      host.introduce()
      host.run(ArpLimits.reachableUs + ArpLimits.staleUs + SECOND)
      host.expectNothing()
      assert.equal(host.stacks[0]!.arp.size, 0)
      assert.equal(host.count(ArpCounters, 'failed'), 0)
    },
  )

  test('a neighbour that one CPU has found, the others get by message, without another question', () => {
    withHost({ cpus: 4, answerArp: false }, (host) => {
      ping(host, PEER, 0, 3)
      host.expect({ arp: { operation: 'request' } })
      host.injectFrame(reply())
      host.expect({ icmp: { type: 8 } })
      for (let cpu = 0; cpu < 4; cpu++) {
        ping(host, PEER, cpu, cpu)
        host.expect({ icmp: { rest: echoRest(1, cpu) } })
      }
      host.expectNothing()
      assert.equal(host.count(ArpCounters, 'requestsSent'), 1)
    })
  })

  test('two CPUs that miss the same neighbour ask once, and both send', () => {
    withHost({ cpus: 4, seed: 3, answerArp: false }, (host) => {
      for (let cpu = 0; cpu < 4; cpu++) ping(host, PEER, cpu, cpu)
      host.expect({ arp: { operation: 'request' } })
      host.expectNothing()
      host.injectFrame(reply())
      const sent = host.take().map(({ icmp }) => icmp!.rest & 0xffff)
      assert.deepEqual(sent.sort(), [0, 1, 2, 3])
    })
  })

  test('a CPU that learns of a neighbour when it is stale has it confirmed as well', () => {
    withHost({ cpus: 2, answerArp: false }, (host) => {
      host.introduce()
      host.run(ArpLimits.reachableUs + SECOND)
      // The control CPU's entry is stale now; CPU 1 has none.
      ping(host, PEER, 1, 1)
      ping(host, PEER, 2, 1)
      host.run(5 * SECOND)
      const frames = host.take()
      assert.equal(frames.filter(({ icmp }) => icmp !== undefined).length, 2)
      assert.equal(frames.filter(({ arp, ether }) => arp !== undefined && ether.target === PEER_LINK).length, 3)
      assert.equal(host.count(ArpCounters, 'failed'), 1)
    })
  })

  onHosts('a reply that nobody asked for makes no entry', {}, (host) => {
    host.injectFrame(reply())
    for (const { arp } of host.stacks) assert.equal(arp.size, 0)
    assert.deepEqual(host.drops(ArpCounters), { droppedUnsolicited: 1 })
  })

  onHosts('a reply that nobody asked for does not change an entry', { answerArp: false }, (host) => {
    host.introduce()
    host.injectFrame(reply(PEER, OTHER_LINK))
    for (let cpu = 0; cpu < host.cpuCount; cpu++) ping(host, PEER, cpu, cpu)
    for (const { ether } of host.take()) assert.equal(ether.target, PEER_LINK)
    assert.deepEqual(host.drops(ArpCounters), { droppedUnsolicited: 1 })
  })

  onHosts('a request in the name of a neighbour does not change its entry either', { answerArp: false }, (host) => {
    host.introduce()
    host.injectFrame(frame({ sender: PEER, target: HOST, senderLink: OTHER_LINK }))
    host.take()
    ping(host, PEER, 1)
    host.expect({ ether: { target: PEER_LINK } })
  })

  onHosts('a flood of gratuitous ARP makes no entry', {}, (host) => {
    for (let i = 0; i < 1000; i++) {
      const sender = `10.0.0.${2 + (i % 250)}`
      const operation = i % 2 === 0 ? 'request' : 'reply'
      host.post(frame({ operation, sender, target: sender }))
    }
    host.run(10_000)
    host.expectNothing()
    for (const { arp } of host.stacks) assert.equal(arp.size, 0)
    assert.equal(host.count(ArpCounters, 'received'), 1000)
  })

  test('of 10 000 senders that ask for us the first are known and stay, and every replica has no other', () => {
    withHost({ cpus: 2, wires: [{ address: '10.0.0.1/16' }], answerArp: false }, (host) => {
      const senders = Array.from({ length: 10_000 }, (_, i) => `10.0.${1 + Math.floor(i / 250)}.${i % 250}`)
      senders.forEach((sender, i) => {
        // CPU 1 sends to some of them, so that its replica has entries that are evicted.
        host.post(frame({ sender, target: HOST }))
        if (i % 500 === 499) {
          host.run()
          const errno = ping(host, sender, i, 1)
          assert.equal(errno, 0)
        }
      })
      host.run(10_000)
      const counts = host.counts(ArpCounters)
      assert.equal(counts.requestsAnswered, 10_000)
      const [control, replica] = host.stacks.map(({ arp }) => arp.size)
      assert.equal(control, ArpLimits.entries)
      // A stranger's request puts nobody out. What CPU 1 sent to, unanswered, took the place of one once, and then each of
      // the one before: it knows number 499, and still asks for 9999.
      assert.equal(counts.evicted, 19)
      assert.equal(replica, 2)
    })
  })

  test('more targets than there is room for are bounded on every CPU, with what waits for them', () => {
    withHost({ cpus: 2, wires: [{ address: '10.0.0.1/16' }], answerArp: false, queueLimit: 4096 }, (host) => {
      host.on(1, (stack) => {
        for (let i = 0; i < 2000; i++) {
          const target = stack.endpoint(`10.0.${1 + Math.floor(i / 250)}.${i % 250}`, 0)
          stack.icmp.echo.send(target, 1, i, 8)
          target.free()
        }
      })
      host.run(100_000)
      for (const { arp } of host.stacks) assert(arp.size <= ArpLimits.entries)
      host.run(10 * SECOND)
      for (const { arp } of host.stacks) assert.equal(arp.size, 0)
      const { packetsHeld, packetsDropped } = host.counts(ArpCounters)
      assert.equal(packetsHeld, 2000)
      assert.equal(packetsDropped, 2000)
    })
  })

  onHosts(
    'what is no ARP packet for IPv4 over Ethernet is dropped, and changes nothing (@rfc 826 reception/hardware-type reception/lengths)',
    {},
    (host) => {
      const wrong: Fields[] = [
        { hardwareType: 6 },
        { protocolType: 0x86dd },
        { hardwareLength: 8 },
        { hardwareLength: 0 },
        { protocolLength: 16 },
        { operation: 0 },
        { operation: 3 },
        { operation: 4 },
        { operation: 0xffff },
        { senderLink: '03:00:00:00:00:09' },
        { senderLink: BROADCAST },
      ]
      for (const fields of wrong) {
        host.injectFrame(ether({ source: PEER_LINK, type: Type.arp }, arp({ ...fields, target: HOST })))
      }
      const whole = arp({ target: HOST })
      for (let length = 0; length < whole.length; length++) {
        host.injectFrame(ether({ source: PEER_LINK, type: Type.arp }, whole.subarray(0, length)))
      }
      host.expectNothing()
      assert.deepEqual(host.drops(ArpCounters), { droppedMalformed: wrong.length + whole.length })
      for (const { arp } of host.stacks) assert.equal(arp.size, 0)
    },
  )

  onHosts('a request may be padded: the answer is not', {}, (host) => {
    const padded = new Uint8Array(60).fill(0xee)
    padded.set(frame({ target: HOST }))
    host.injectFrame(padded)
    const { bytes } = host.expect({ arp: { operation: 'reply' } })
    assert.equal(bytes.length, 14 + 28)
  })

  test('ARP that comes in on any CPU is looked at by the control CPU', () => {
    // Frames of a wire of CPU 1 alone: the reply leaves by the control CPU, which has a wire of its own.
    withHost({ cpus: 2, wires: [{ cpus: [0, 1] }, { cpus: [0, 1] }] }, (host) => {
      const request = frame({ sender: '10.0.1.9', target: '10.0.1.1' })
      put16(request, 12, Type.arp)
      host.injectFrame(request, 1)
      host.expect({ wire: 1, arp: { operation: 'reply', sender: '10.0.1.1', senderLink: host.linkAddress(1) } })
    })
  })

  onHosts('an answer to a question leaves on the CPU that owns its flow', { answerArp: false }, (host) => {
    // A stranger's echo request: the reply has to wait for the address, on whichever CPU has answered.
    const request = icmp({ type: 8, rest: echoRest(1, 1), source: '10.0.0.50' }, text('x'))
    host.inject(request)
    host.expect({ arp: { operation: 'request', target: '10.0.0.50' } })
    host.injectFrame(reply('10.0.0.50'))
    host.expect({ icmp: { type: 0 }, ip: { target: '10.0.0.50' } })
    const owner = ownerOf(host, request)
    assert(owner < host.cpuCount)
    assert.equal(host.count(IpCounters, 'delivered'), 1)
    assert.equal(host.count(DispatchCounters, 'steered'), 1)
    assert.equal(host.count(UdpCounters, 'received'), 0)
  })
})

test('a control CPU without a queue of the device has its answers sent by a CPU that has one', () => {
  withHost({ cpus: 2, wires: [{ cpus: [1] }], answerArp: false }, (host) => {
    host.injectFrame(frame({ sender: PEER, target: HOST }))
    const { arp } = host.expect({ ether: { target: PEER_LINK, source: host.linkAddress() } })
    assert.equal(arp?.operation, 'reply')
  })
})

onHosts('a packet that waits owns its bytes', { answerArp: false }, (host) => {
  host.on(host.cpuCount - 1, ({ context, ip }) => {
    const { mbufs, u8, cpu } = context
    const kept = cpu.slab.allocate(512)
    u8.fill(7, kept + 64, kept + 164)
    u8.set([...HOST.split('.'), ...PEER.split('.')].map(Number), kept + 16)
    const m = context.mbuf()
    m.at = mbufs.allocateHeader()
    mbufs.append(m.at, mbufs.reference(kept + 64, 100))
    m.source = kept + 16
    m.target = kept + 20
    m.protocol = 253
    m.ttl = 64
    m.trafficClass = 0
    assert.equal(ip.output.output(m.at), 0)
    u8.fill(9, kept + 64, kept + 164)
    cpu.slab.free(kept)
  })
  host.expect({ ether: { target: BROADCAST }, arp: { operation: 'request' } })
  host.injectFrame(reply())
  assert.deepEqual(host.expect({ ether: { target: PEER_LINK } }).payload, new Uint8Array(100).fill(7))
})
