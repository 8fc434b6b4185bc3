import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Errno } from '../../base/errno.ts'
import { IpCounters, ReassemblyCounters } from '../counters.ts'
import { BROADCAST, counting, echoRest, icmp, reassemble, text } from '../testing/frame.ts'
import { HOST, onHosts, PEER, PEER_LINK, type TestHost, withHost } from '../testing/host.ts'

/** Sends bytes from a socket of the host. Returns the errno. */
function send(host: TestHost, target: string, bytes: Uint8Array, cpu = 0, options = {}): number {
  const socket = host.open({ ...options }, cpu)
  const errno = host.on(cpu, (stack) => {
    const endpoint = stack.endpoint(target, 9)
    const code = socket.sendBytes(bytes, endpoint)
    endpoint.free()
    return code
  })
  host.on(cpu, () => socket.close())
  return errno
}

describe('ipv4 out', () => {
  onHosts(
    'a packet has a header of 20 bytes, time to live 64, and a checksum (@rfc 768 ip-interface/protocol) (@rfc 791 3.1/checksum)',
    {},
    (host) => {
      assert.equal(send(host, PEER, text('hello')), 0)
      const { ip } = host.expect({ udp: { targetPort: 9 }, payload: text('hello') })
      const { id, ...rest } = ip!
      assert.deepEqual(rest, {
        source: HOST,
        target: PEER,
        protocol: 17,
        ttl: 64,
        service: 0,
        totalLength: 33,
        more: false,
        dontFragment: false,
        offset: 0,
      })
      assert(id >= 0)
    },
  )

  onHosts('packets that follow each other have different identifications (@rfc 791 3.1/identification)', {}, (host) => {
    for (let i = 0; i < 20; i++) send(host, PEER, text('x'), i % host.cpuCount)
    const ids = host.take().map(({ ip }) => ip!.id)
    assert.equal(ids.length, 20)
    assert.equal(new Set(ids).size, 20)
  })

  onHosts('without a route it is ENETUNREACH', {}, (host) => {
    assert.equal(send(host, '192.0.2.1', text('x')), Errno.ENETUNREACH)
    host.expectNothing()
  })

  const routes = [
    { prefix: '0.0.0.0/0', gateway: '10.0.0.254', interface: 'w0' },
    { prefix: '192.0.2.0/24', interface: 'w0' },
  ]
  onHosts(
    'what is not on the link goes to the gateway, what a route puts there is asked for itself (@rfc 1122 3.3.1.1/mask 3.3.1.2/default 3.3.1.2/static 3.2.1.3/subnets)',
    {
      routes,
      answerArp: false,
    },
    (host) => {
      assert.equal(send(host, '198.51.100.7', text('x')), 0)
      host.expect({ arp: { target: '10.0.0.254' } })
      assert.equal(send(host, '192.0.2.7', text('x')), 0)
      host.expect({ arp: { target: '192.0.2.7' } })
      host.answerArp = true
      host.run(1_100_000)
      const targets = host.take().map(({ ip }) => ip!.target)
      assert.deepEqual(targets.sort(), ['192.0.2.7', '198.51.100.7'])
    },
  )

  onHosts(
    'each interface sends with its own address (@rfc 1122 3.2.1.3/own-source 3.3.1.1/no-gateway)',
    { wires: [{}, {}] },
    (host) => {
      send(host, '10.0.1.9', text('x'))
      host.expect({ wire: 1, ip: { source: '10.0.1.1', target: '10.0.1.9' } })
      send(host, PEER, text('x'))
      host.expect({ wire: 0, ip: { source: HOST, target: PEER } })
    },
  )

  onHosts(
    'only who may sends to a broadcast address: EACCES (@rfc 1122 3.3.6/link)',
    { routes: routes.slice(0, 1) },
    (host) => {
      for (const target of ['255.255.255.255', '10.0.0.255', '10.0.0.0']) {
        assert.equal(send(host, target, text('all')), Errno.EACCES)
        host.expectNothing()
        assert.equal(send(host, target, text('all'), 0, { broadcast: true }), 0)
        host.expect({ ether: { target: BROADCAST }, ip: { target } })
      }
      assert.equal(host.count(IpCounters, 'sendNotAllowed'), 3)
    },
  )

  onHosts('multicast goes to the group that its address is mapped to', { routes: routes.slice(0, 1) }, (host) => {
    // By the default route, whose gateway has no part in it.
    assert.equal(send(host, '239.129.2.3', text('group')), 0)
    host.expect({ ether: { target: '01:00:5e:01:02:03' }, ip: { target: '239.129.2.3' } })
  })

  onHosts(
    'an address of the loopback network never leaves the host (@rfc 1122 3.2.1.3/loopback)',
    { routes: routes.slice(0, 1) },
    (host) => {
      assert.equal(send(host, PEER, text('x'), 0, { address: '127.0.0.1' }), Errno.EADDRNOTAVAIL)
      assert.equal(send(host, '127.0.0.1', text('x')), 0)
      assert.equal(send(host, '127.1.2.3', text('x')), 0)
      host.expectNothing()
      assert.equal(host.count(IpCounters, 'sendNoAddress'), 1)
    },
  )

  onHosts('a datagram longer than IP can say is EMSGSIZE', {}, (host) => {
    host.acquaint()
    assert.equal(send(host, PEER, new Uint8Array(65508)), Errno.EMSGSIZE)
    assert.equal(send(host, HOST, new Uint8Array(65508)), Errno.EMSGSIZE)
    assert.equal(send(host, PEER, new Uint8Array(65507)), 0)
    assert.equal(reassemble(host.take().map(({ bytes }) => bytes)).payload.length, 65507)
    assert.equal(host.count(IpCounters, 'sendTooLong'), 2)
  })

  onHosts('what may not be fragmented is EMSGSIZE, and is not sent (@rfc 791 3.1/dont-fragment)', {}, (host) => {
    host.acquaint()
    const cpu = host.cpuCount - 1
    const errnos = [1500, 1501].map((length) =>
      host.on(cpu, (stack) => {
        const { context, ip } = stack
        const to = stack.endpoint(PEER, 0)
        const m = context.mbuf()
        m.at = context.mbufs.copyFrom(new Uint8Array(length - 20))
        m.source = ip.output.sourceTo(to.address)
        m.target = to.address
        m.protocol = 200
        m.ttl = 64
        m.trafficClass = 0
        const errno = ip.output.output(m.at, { dontFragment: true })
        to.free()
        return errno
      }),
    )
    assert.deepEqual(errnos, [0, Errno.EMSGSIZE])
    host.expect({ ip: { totalLength: 1500, dontFragment: true, protocol: 200 } })
    host.expectNothing()
  })

  onHosts(
    'the way that is kept for the next packet is its own, whatever was sent in between (@rfc 1122 3.3.1.2/cache)',
    {},
    (host) => {
      host.acquaint()
      const data = counting(8)
      for (const [target, errno] of [
        [PEER, 0],
        ['8.8.8.8', Errno.ENETUNREACH],
        [PEER, 0],
        [HOST, 0],
        [PEER, 0],
        ['10.0.0.255', Errno.EACCES],
        [PEER, 0],
      ] as const) {
        assert.equal(send(host, target, data), errno, target)
      }
      assert.equal(host.take().length, 4)
    },
  )

  for (const mtu of [68, 576, 1006, 1500, 9000]) {
    test(`datagrams of any size are cut for a link of ${mtu} bytes, and whole again behind it (@rfc 791 3.2/fragment 3.2/fragment-68) (@rfc 1122 3.3.3/fragment)`, () => {
      withHost({ cpus: 2, seed: mtu, wires: [{ mtu }], entries: 2048, queueLimit: 2048 }, (host) => {
        host.acquaint()
        const socket = host.open({}, 1)
        const target = host.on(1, (stack) => stack.endpoint(PEER, 9))
        const edge = mtu - 28
        const size = fc.oneof(
          { weight: 3, arbitrary: fc.integer({ min: 0, max: 65507 }) },
          { weight: 1, arbitrary: fc.integer({ min: edge - 9, max: edge + 9 }) },
        )
        fc.assert(
          fc.property(size, fc.nat(255), (length, first) => {
            const data = counting(length, first)
            assert.equal(
              host.on(1, () => socket.sendBytes(data, target)),
              0,
            )
            const frames = host.take()
            for (const { bytes } of frames) assert(bytes.length <= mtu + 14)
            if (length <= edge) assert.equal(frames.length, 1, 'what fits is not cut')
            assert.deepEqual(reassemble(frames.map(({ bytes }) => bytes)).payload, data)
          }),
          {
            seed: mtu,
            numRuns: 25,
            examples: [
              [0, 1],
              [edge, 0],
              [edge + 1, 0],
              [65507, 3],
            ],
          },
        )
        host.on(1, () => target.free())
      })
    })

    test(`what the stack cuts for ${mtu} bytes, it puts together again`, () => {
      // Out of one wire and into the other, as two hosts would; the echo comes back the same way.
      withHost({ cpus: 2, seed: mtu + 1, wires: [{ mtu }], entries: 2048 }, (host) => {
        host.acquaint()
        const most = Math.min(65507, ((mtu - 20) & ~7) * 127)
        fc.assert(
          fc.property(fc.integer({ min: 0, max: most }), (length) => {
            const data = counting(length, length)
            host.on(0, (stack) => {
              const target = stack.endpoint(PEER, 0)
              assert.equal(stack.icmp.echo.send(target, 1, 1, length), 0)
              target.free()
            })
            const request = host.take()
            // The peer sends the same fragments back, as its own request.
            for (const { bytes } of request) host.postPacket(turned(bytes.subarray(14)))
            host.run()
            const reply = reassemble(host.take().map(({ bytes }) => bytes))
            assert.deepEqual(reply.icmp, { type: 0, code: 0, rest: echoRest(1, 1) })
            assert.deepEqual(reply.payload.length, data.length)
            assert.deepEqual(reply.payload, counting(length))
          }),
          { seed: mtu, numRuns: 25, examples: [[most], [0], [mtu - 28], [mtu - 27]] },
        )
        assert.deepEqual(host.drops(ReassemblyCounters), {})
      })
    })
  }

  test('a device that is full drops, counts, and says ENOBUFS', () => {
    // Behind a queue nobody is told.
    withHost({ entries: 16, layers: [] }, (host) => {
      host.acquaint()
      const socket = host.open({})
      const codes = host.on(0, (stack) => {
        const target = stack.endpoint(PEER, 9)
        const all = Array.from({ length: 40 }, () => socket.sendBytes(text('x'), target))
        target.free()
        return all
      })
      const full = codes.filter((code) => code === Errno.ENOBUFS).length
      assert.equal(codes.filter((code) => code === 0).length + full, 40)
      assert(full >= 20)
      assert.equal(host.count(IpCounters, 'sendDeviceFull'), full)
      assert.equal(host.take().length, 40 - full)
    })
  })

  test('a CPU without a queue sends by one that has', () => {
    withHost({ cpus: 3, wires: [{ cpus: [0] }] }, (host) => {
      for (const cpu of [0, 1, 2]) {
        assert.equal(send(host, PEER, counting(3000), cpu), 0)
        assert.deepEqual(reassemble(host.take().map(({ bytes }) => bytes)).payload, counting(3000))
        assert.equal(send(host, '10.0.0.255', text('all'), cpu, { broadcast: true }), 0)
        host.expect({ ether: { target: BROADCAST } })
      }
      host.inject(icmp({ type: 8, rest: echoRest(1, 1) }, text('ping')))
      host.expect({ ether: { target: PEER_LINK }, icmp: { type: 0 } })
    })
  })
})

/** An IP packet sent back: source and target change places, which no checksum notices. */
function turned(packet: Uint8Array): Uint8Array {
  const back = Uint8Array.from(packet)
  back.set(packet.subarray(12, 16), 16)
  back.set(packet.subarray(16, 20), 12)
  return back
}
