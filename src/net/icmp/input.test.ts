import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Errno } from '../../base/errno.ts'
import { IcmpCounters } from '../counters.ts'
import {
  type Bytes,
  counting,
  echoRest,
  fragments,
  icmp,
  ip,
  join,
  reassemble,
  text,
  udp,
  udpSegment,
} from '../testing/frame.ts'
import { HOST, onHosts, PEER, type TestHost, withHost } from '../testing/host.ts'

/** A connected socket of the host, and what errors it was told. */
function connected(host: TestHost, cpu = 0): { errors: number[]; port: number } {
  const errors: number[] = []
  const socket = host.open({ onError: (_, errno) => errors.push(errno) }, cpu)
  host.on(cpu, (stack) => {
    const target = stack.endpoint(PEER, 9)
    stack.context.cpu.onStop(() => target.free())
    socket.connect(target)
  })
  return { errors, port: socket.port }
}

/** What the host's datagram to the peer looks like, quoted in an error. */
function quote(port: number, fields: { source?: string; target?: string; targetPort?: number } = {}): Bytes {
  const { source = HOST, target = PEER, targetPort = 9 } = fields
  return udp({ source, target, sourcePort: port, targetPort }, text('lost')).subarray(0, 28)
}

describe('icmp in', () => {
  test('an echo request of any size up to 20 000 bytes comes back as it went (@rfc 792 echo/reply echo/same-data echo/identifier echo/addresses) (@rfc 1122 3.1/ip-and-icmp 3.2.2.6/server 3.2.2.6/same-data)', () => {
    withHost({ cpus: 2, seed: 4 }, (host) => {
      host.acquaint()
      let id = 0
      fc.assert(
        fc.property(
          fc.integer({ min: 0, max: 20_000 }),
          fc.nat(255),
          fc.nat(0xffff),
          fc.nat(0xffff),
          (length, first, a, b) => {
            const data = counting(length, first)
            const request = icmp({ type: 8, rest: echoRest(a, b) }, data)
            for (const fragment of fragments(request, 1480, ++id)) host.postPacket(fragment)
            host.run()
            const reply = reassemble(host.take().map(({ bytes }) => bytes))
            assert.deepEqual(reply.icmp, { type: 0, code: 0, rest: echoRest(a, b) })
            assert.deepEqual(reply.payload, data)
            assert.deepEqual([reply.ip!.source, reply.ip!.target, reply.ip!.ttl], [HOST, PEER, 64])
          },
        ),
        {
          seed: 4,
          numRuns: 60,
          examples: [
            [0, 0, 0, 0],
            [1, 0, 0, 0],
            [1472, 0, 1, 1],
            [1473, 0, 1, 1],
            [20_000, 0, 1, 1],
          ],
        },
      )
    })
  })

  onHosts(
    'an echo of zeros, the one whose checksum cannot be updated, has the right one (@rfc 792 message/checksum)',
    {},
    (host) => {
      for (const length of [0, 1, 2, 64, 1472]) {
        host.inject(icmp({ type: 8, rest: 0 }, new Uint8Array(length)))
        const { payload } = host.expect({ icmp: { type: 0, rest: 0 } })
        assert.deepEqual(payload, new Uint8Array(length))
      }
    },
  )

  onHosts('an echo whose sum is the other zero has the right checksum as well', {}, (host) => {
    for (const rest of [0xf7ff_0000, 0xffff_0000, 0x0000_ffff, 0xffff_ffff, 0xf7fe_0001]) {
      host.inject(icmp({ type: 8, rest }, new Uint8Array(0)))
      host.expect({ icmp: { type: 0, rest } })
    }
  })

  onHosts('an echo request with a code is answered with it', {}, (host) => {
    host.inject(icmp({ type: 8, code: 5, rest: 1 }, text('x')))
    host.expect({ icmp: { type: 0, code: 5, rest: 1 } })
  })

  onHosts('an echo reply keeps the DSCP, and says nothing about congestion', {}, (host) => {
    host.inject(icmp({ type: 8, service: 0xb9 + 2 }, text('x')))
    host.expect({ icmp: { type: 0 }, ip: { service: 0xb8 } })
  })

  onHosts('options of a request are not those of the reply', {}, (host) => {
    host.inject(icmp({ type: 8, rest: 7, options: new Array<number>(40).fill(1) }, text('optional')))
    host.expect({ icmp: { type: 0, rest: 7 }, payload: text('optional') })
  })

  onHosts(
    'a wrong checksum, a message that is cut, and every odd type are dropped without an answer (@rfc 792 message/checksum) (@rfc 1122 3.2.2/unknown 3.2.2.2/illegal 3.2.2.7 3.2.2.9/unauthorized)',
    {},
    (host) => {
      host.inject(icmp({ type: 8, checksum: 0x1234 }, text('x')))
      for (let length = 0; length < 8; length++) host.inject(ip({ protocol: 1 }, counting(length)))
      const ignored = [1, 2, 4, 5, 6, 7, 9, 10, 13, 14, 15, 16, 17, 18, 19, 30, 37, 40, 42, 255]
      const quoted = udp({}, text('x'))
      for (const type of ignored) host.inject(icmp({ type }, quoted))
      host.expectNothing()
      assert.deepEqual(host.drops(IcmpCounters), { droppedChecksum: 1, droppedShort: 8 })
      assert.equal(host.count(IcmpCounters, 'ignored'), ignored.length)
    },
  )

  onHosts('an error that quotes too little to say whom it is about is dropped', {}, (host) => {
    const whole = udp({ source: HOST, target: PEER }, text('x'))
    for (const type of [3, 11, 12])
      for (let length = 0; length < 28; length++) host.inject(icmp({ type }, whole.subarray(0, length)))
    const options = udp({ source: HOST, target: PEER, options: [1, 1, 1, 1] }, text(''))
    host.inject(icmp({ type: 3 }, options.subarray(0, 28)))
    host.inject(icmp({ type: 3 }, join([0x65], whole.subarray(1))))
    host.inject(icmp({ type: 3 }, join([0x44], whole.subarray(1))))
    host.expectNothing()
    assert.deepEqual(host.drops(IcmpCounters), { droppedQuote: 3 * 28 + 3 })
  })

  onHosts(
    'a connected socket is told ECONNREFUSED, on whatever CPU it is (@rfc 792 unreachable/receive) (@rfc 1122 3.2.2/demultiplex 3.4/pass-icmp 4.1.3.3)',
    {},
    (host) => {
      for (let cpu = 0; cpu < host.cpuCount; cpu++) {
        const { errors, port } = connected(host, cpu)
        host.inject(icmp({ type: 3, code: 3 }, quote(port)))
        assert.deepEqual(errors, [Errno.ECONNREFUSED])
      }
      assert.equal(host.count(IcmpCounters, 'errors'), host.cpuCount)
    },
  )

  const meanings: readonly [number, number][] = [
    [0, Errno.ENETUNREACH],
    [1, Errno.EHOSTUNREACH],
    [2, Errno.EPROTONOSUPPORT],
    [4, Errno.EMSGSIZE],
    [6, Errno.ENETUNREACH],
    [13, Errno.EHOSTUNREACH],
  ]
  onHosts('each code of "unreachable" has its errno', {}, (host) => {
    const { errors, port } = connected(host)
    for (const [code] of meanings) host.inject(icmp({ type: 3, code }, quote(port)))
    assert.deepEqual(
      errors,
      meanings.map(([, errno]) => errno),
    )
  })

  onHosts(
    'a connected socket is told of a time that was exceeded, and of a bad parameter (@rfc 1122 3.2.2.4 3.2.2.5/pass-up 3.2.2.5/report 4.1.3.3) (@rfc 792 time-exceeded/receive parameter-problem/receive)',
    {},
    (host) => {
      const { errors, port } = connected(host)
      host.inject(icmp({ type: 11, code: 0 }, quote(port)))
      host.inject(icmp({ type: 11, code: 1 }, quote(port)))
      host.inject(icmp({ type: 12, code: 0 }, quote(port)))
      assert.deepEqual(errors, [Errno.EHOSTUNREACH, Errno.EHOSTUNREACH, Errno.EPROTO])
    },
  )

  onHosts('an error about what the socket has not sent is not its error (@rfc 1122 3.4/quote)', {}, (host) => {
    const { errors, port } = connected(host)
    host.inject(icmp({ type: 3, code: 3 }, quote(port, { targetPort: 10 })))
    host.inject(icmp({ type: 3, code: 3 }, quote(port, { target: '10.0.0.8' })))
    host.inject(icmp({ type: 3, code: 3 }, quote(port ^ 1)))
    // Not the first fragment: what stands where the ports are is data.
    const later = ip(
      { source: HOST, target: PEER, protocol: 17, offset: 8 },
      udpSegment({ sourcePort: port, targetPort: 9 }, text('')),
    )
    host.inject(icmp({ type: 3, code: 3 }, later))
    host.inject(icmp({ type: 3, code: 3 }, ip({ source: HOST, target: PEER, protocol: 6 }, quote(port).subarray(20))))
    assert.deepEqual(errors, [])
    assert.equal(host.count(IcmpCounters, 'errorsUnmatched'), 5)
    host.expectNothing()
  })

  onHosts('a socket that is not connected is told nothing', {}, (host) => {
    const errors: number[] = []
    const socket = host.open({ onError: (_, errno) => errors.push(errno) })
    host.inject(icmp({ type: 3, code: 3 }, quote(socket.port)))
    assert.deepEqual(errors, [])
  })

  onHosts(
    'a reply to our own request is handed to who asked (@rfc 792 echo/send) (@rfc 1122 3.2.2.6/client 3.2.2.6/pass-up)',
    {},
    (host) => {
      const got: number[] = []
      for (const { icmp, context } of host.stacks) {
        const m = context.mbuf()
        icmp.input.onEchoReply = (packet) => {
          m.at = packet
          got.push(m.total)
        }
      }
      host.on(0, (stack) => {
        const target = stack.endpoint(PEER, 0)
        stack.icmp.echo.send(target, 5, 6, 100)
        target.free()
      })
      const { payload } = host.expect({ icmp: { type: 8, rest: echoRest(5, 6) } })
      assert.deepEqual(payload, counting(100))
      host.inject(icmp({ type: 0, rest: echoRest(5, 6) }, payload))
      assert.deepEqual(got, [108])
      host.expectNothing()
    },
  )
})
