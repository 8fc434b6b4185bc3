import assert from 'node:assert/strict'
import { describe } from 'node:test'
import { IcmpCounters } from '../counters.ts'
import { BROADCAST, type Bytes, counting, ether, fragments, icmp, ip, text, udp } from '../testing/frame.ts'
import { HOST, onHosts, PEER, PEER_LINK } from '../testing/host.ts'
import { IcmpLimits } from './error.ts'

/** A datagram for a port where nobody listens. */
function stray(fields: Parameters<typeof udp>[0] = {}, payload: Bytes = text('anybody?')): Bytes {
  return udp({ targetPort: 9, ...fields }, payload)
}

describe('icmp errors', () => {
  onHosts(
    'a port where nobody listens is answered by an error that quotes the datagram (@rfc 792 message/quote message/service-zero unreachable/send) (@rfc 1122 3.2.2/unchanged 3.2.2/tos 3.2.2.1/send 3.3.8 3.4/send-icmp 4.1.3.1)',
    {},
    (host) => {
      const packet = stray({ service: 0xb8 })
      host.inject(packet)
      host.expect({
        ip: { source: HOST, target: PEER, ttl: 64, service: 0 },
        icmp: { type: 3, code: 3, rest: 0 },
        payload: packet,
      })
      host.expectNothing()
    },
  )

  onHosts('the quote has the IP options, and no padding', {}, (host) => {
    const packet = stray({ options: [7, 7, 4, 0, 0, 0, 0, 0] })
    const padded = new Uint8Array(packet.length + 20).fill(0xee)
    padded.set(packet)
    host.inject(padded)
    host.expect({ icmp: { type: 3, code: 3 }, payload: packet })
  })

  onHosts('the whole error is no longer than 576 bytes (@rfc 1122 3.2.2/more)', {}, (host) => {
    for (const length of [519, 520, 521, 1400]) {
      const packet = stray({}, counting(length))
      host.inject(packet)
      const { ip, payload } = host.expect({ icmp: { type: 3, code: 3 } })
      assert.equal(ip!.totalLength, Math.min(576, packet.length + 28))
      assert.deepEqual(payload, packet.subarray(0, 548))
    }
  })

  onHosts('a datagram that came in fragments is quoted as the whole, from its beginning', {}, (host) => {
    for (const fragment of fragments(stray({}, counting(3000)), 1000)) host.inject(fragment)
    const { payload } = host.expect({ icmp: { type: 3, code: 3 } })
    assert.equal((payload[6]! << 8) | payload[7]!, 0, 'it is no fragment any more')
    assert.deepEqual(payload.subarray(28), counting(payload.length - 28))
  })

  onHosts(
    'there is never an error about an error, nor about any ICMP that is no question (@rfc 792 message/about-errors) (@rfc 1122 3.2.2/about-errors)',
    {},
    (host) => {
      // An error needs a cause: IP protocols that nobody speaks, quoted and not.
      const cause = ip({ protocol: 200 }, counting(40))
      for (let type = 0; type < 256; type++) if (type !== 8) host.inject(icmp({ type }, cause))
      host.expectNothing()
      assert.equal(host.count(IcmpCounters, 'sentErrors'), 0)
    },
  )

  onHosts('a question that is not answered in time may be told so, an error may not', {}, (host) => {
    const first = (type: number, id: number) => fragments(icmp({ type }, counting(64)), 48, id)[0]!
    host.inject(first(8, 1))
    host.inject(first(3, 2))
    host.inject(first(11, 3))
    host.inject(first(13, 4))
    host.inject(first(99, 5))
    host.run(31_000_000)
    host.expect({ icmp: { type: 11, code: 1 } })
    host.expectNothing()
    assert.equal(host.count(IcmpCounters, 'errorsNotAllowed'), 4)
  })

  onHosts(
    'there is no error about what came by broadcast (@rfc 1122 3.2.2/about-broadcast 3.2.2/about-link-broadcast)',
    {},
    (host) => {
      let id = 0
      for (const target of ['255.255.255.255', '10.0.0.255', '224.0.0.1']) {
        for (const link of [BROADCAST, host.linkAddress()]) {
          host.injectFrame(ether({ source: PEER_LINK, target: link }, stray({ target })))
          host.injectFrame(ether({ source: PEER_LINK, target: link }, ip({ target, protocol: 200 }, counting(40))))
          // Fragments of it that are never whole.
          host.injectFrame(
            ether({ source: PEER_LINK, target: link }, fragments(stray({ target }, counting(64)), 32, ++id)[0]!),
          )
        }
      }
      host.run(31_000_000)
      host.expectNothing()
      assert.equal(host.count(IcmpCounters, 'sentErrors'), 0)
    },
  )

  onHosts('errors are limited: a burst, and then so many a second', {}, (host) => {
    const flood = (count: number) => {
      for (let i = 0; i < count; i++) host.postPacket(stray({ sourcePort: 6000 }))
      host.run(2000)
      return host.take().length
    }
    // One flow, so that one CPU sends them all; a few tokens come back meanwhile.
    host.acquaint()
    host.run(100_000)
    const burst = flood(500)
    assert(burst >= IcmpLimits.burst && burst <= IcmpLimits.burst + 10, `${burst} at once`)
    let sent = 0
    const began = host.nowUs
    while (host.nowUs < began + 1_000_000) sent += flood(20)
    assert(sent <= IcmpLimits.errorsPerSecond + IcmpLimits.burst, `${sent} in a second`)
    assert(sent >= IcmpLimits.errorsPerSecond * 0.9, `${sent} in a second`)
    assert(host.count(IcmpCounters, 'errorsRateLimited') > 0)
    // After a rest there is a burst again, and no more than one.
    host.run(10_000_000)
    const again = flood(500)
    assert(again >= IcmpLimits.burst && again <= IcmpLimits.burst + 10, `${again} at once`)
  })
})
