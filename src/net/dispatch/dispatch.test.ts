import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { DispatchCounters } from '../counters.ts'
import { type Bytes, counting, echoRest, fragments, icmp, ip, join, text, udp } from '../testing/frame.ts'
import { HOST, onHosts, ownerOf, PEER, portOwnedBy, withHost } from '../testing/host.ts'

/** The packet that the other direction of the same flow has. */
function otherWay(packet: Bytes): Bytes {
  const header = (packet[0]! & 15) * 4
  const ports =
    packet[9] === 17 ? [...packet.subarray(header + 2, header + 4), ...packet.subarray(header, header + 2)] : []
  const back = Uint8Array.from(packet)
  back.set(packet.subarray(12, 16), 16)
  back.set(packet.subarray(16, 20), 12)
  back.set(ports, header)
  return back
}

describe('dispatch', () => {
  test('both directions of a flow have one owner', () => {
    withHost({ cpus: 4 }, (host) => {
      const port = fc.integer({ min: 1, max: 65535 })
      const last = fc.integer({ min: 2, max: 254 })
      fc.assert(
        fc.property(port, port, last, fc.constantFrom(0, 4, 40), (sourcePort, targetPort, host4, optionBytes) => {
          const options = new Array<number>(optionBytes).fill(1)
          const packet = udp({ sourcePort, targetPort, source: `10.0.0.${host4}`, options }, text('x'))
          assert.equal(ownerOf(host, packet), ownerOf(host, otherWay(packet)))
        }),
        { seed: 1 },
      )
    })
  })

  test('all fragments of a datagram have one owner, and so has the echo between the same two', () => {
    withHost({ cpus: 4 }, (host) => {
      for (let last = 2; last < 100; last++) {
        const source = `10.0.0.${last}`
        const owners = fragments(udp({ source, sourcePort: last, targetPort: 9 }, counting(200)), 24).map((fragment) =>
          ownerOf(host, fragment),
        )
        owners.push(ownerOf(host, icmp({ source, type: 8 }, text('x'))))
        assert.equal(new Set(owners).size, 1)
      }
    })
  })

  test('an ICMP error goes to the owner of the flow that it quotes', () => {
    withHost({ cpus: 4 }, (host) => {
      for (let sourcePort = 5000; sourcePort < 5050; sourcePort++) {
        const sent = udp({ source: HOST, target: PEER, sourcePort, targetPort: 9 }, text('x'))
        for (const type of [3, 11, 12]) {
          const error = icmp({ type, source: '192.0.2.1' }, sent)
          assert.equal(ownerOf(host, error), ownerOf(host, sent))
        }
      }
    })
  })

  test('flows are spread over all CPUs', () => {
    withHost({ cpus: 4 }, (host) => {
      const counts = [0, 0, 0, 0]
      for (let port = 1024; port < 5120; port++)
        counts[ownerOf(host, udp({ sourcePort: port, targetPort: 9 }, text('')))]!++
      for (const count of counts) assert(count > 900 && count < 1150, `${count} of 4096`)
    })
  })

  test('the hash believes no length: anything of any length has an owner', () => {
    withHost({ cpus: 4 }, (host) => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, versioned) => {
          if (versioned && bytes.length > 0) bytes[0] = 0x40 | (bytes[0]! & 15)
          const owner = ownerOf(host, bytes)
          assert(owner >= 0 && owner < 4)
        }),
        { seed: 3, numRuns: 1000 },
      )
      // Errors that quote errors that quote errors.
      let nested = udp({ source: HOST, target: PEER }, text('x'))
      for (let i = 0; i < 40; i++) nested = icmp({ type: 3 }, nested)
      host.inject(nested)
      host.expectNothing()
    })
  })

  onHosts(
    'what comes in at its owner is a call; elsewhere it is one message',
    { steer: 'first', layers: [] },
    (host) => {
      const count = 20
      for (let i = 0; i < count; i++) host.inject(udp({ sourcePort: 7000 + i, targetPort: 9, checksum: 0 }, text('x')))
      const here = Array.from({ length: count }, (_, i) =>
        ownerOf(host, udp({ sourcePort: 7000 + i, targetPort: 9 }, text('x'))),
      )
      const { steered, direct, handedOff } = host.counts(DispatchCounters)
      assert.equal(steered, count)
      assert.equal(direct, here.filter((owner) => owner === 0).length)
      assert.equal(handedOff, count - direct)
    },
  )

  onHosts('what the card hashed goes to its owner at once', { layers: [] }, (host) => {
    for (let i = 0; i < 20; i++) host.inject(udp({ sourcePort: 7000 + i, targetPort: 9 }, text('x')))
    assert.equal(host.count(DispatchCounters, 'handedOff'), 0)
  })

  test('a received packet that is sent to somebody else belongs to the new flow', () => {
    // Out by one wire and, by the other end's card, into the same host again: only the flow hash says where to.
    withHost({ cpus: 4, seed: 3 }, (host) => {
      host.acquaint()
      const targets = [0, 1, 2, 3].map((cpu) => portOwnedBy(host, cpu, 9))
      for (const port of targets) {
        const socket = host.open({ port: 9 })
        host.inject(udp({ sourcePort: 6001, targetPort: 9 }, text('pass it on')))
        const flags = host.on(0, (stack) => {
          const packet = socket.receive()
          const m = stack.context.mbuf()
          const target = stack.endpoint(PEER, port)
          const errno = socket.send(packet, target)
          m.at = packet
          target.free()
          return { errno, hash: m.hash, hashed: (m.flags & 1) !== 0 }
        })
        assert.equal(flags.errno, 0)
        const sent = host.expect({ udp: { sourcePort: 9, targetPort: port } })
        const expected = host.stacks[0]!.context.owner(flags.hash)
        if (flags.hashed) assert.equal(expected, ownerOf(host, sent.bytes.subarray(14)))
        host.on(0, () => socket.close())
      }
    })
  })

  onHosts('a whole that was fragments is counted as hashed again', {}, (host) => {
    for (const fragment of fragments(icmp({ type: 8, rest: echoRest(1, 1) }, counting(100)), 48)) host.inject(fragment)
    assert.equal(host.count(DispatchCounters, 'rehashed'), 1)
    assert.equal(host.count(DispatchCounters, 'steered'), 4)
    host.expect({ icmp: { type: 0 } })
  })

  onHosts('rubbish with the version of IPv4 is steered and dropped', {}, (host) => {
    for (let ihl = 0; ihl < 16; ihl++) host.inject(join([0x40 | ihl], new Uint8Array(19)))
    host.inject(ip({ protocol: 17 }, text('')))
    host.expectNothing()
    assert.equal(host.count(DispatchCounters, 'steered'), 17)
  })
})
