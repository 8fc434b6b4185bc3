import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { DeviceCounters } from '../../device/device.ts'
import { ArpCounters, EtherCounters, IpCounters, UdpCounters } from '../counters.ts'
import { BROADCAST, counting, echoRest, ether, icmp, text, udp } from '../testing/frame.ts'
import { onHosts, PEER_LINK, withHost } from '../testing/host.ts'

const PING = icmp({ type: 8, rest: echoRest(1, 1) }, text('ping'))

describe('ethernet in', () => {
  onHosts('a frame for us goes up, one for another does not (@rfc 1122 2.3.3/rfc894)', {}, (host) => {
    host.injectFrame(ether({ source: PEER_LINK, target: host.linkAddress() }, PING))
    host.expect({ icmp: { type: 0 } })
    host.injectFrame(ether({ source: PEER_LINK, target: '02:00:00:00:00:77' }, PING))
    host.expectNothing()
    assert.deepEqual(host.drops(EtherCounters), { droppedNotOurs: 1 })
  })

  onHosts('a frame with our own source, or a group as its source, is dropped', {}, (host) => {
    for (const source of [host.linkAddress(), BROADCAST, '01:00:5e:00:00:01', '33:33:00:00:00:01']) {
      host.injectFrame(ether({ source, target: host.linkAddress() }, PING))
    }
    host.expectNothing()
    assert.deepEqual(host.drops(EtherCounters), { droppedSource: 4 })
  })

  onHosts('a type that nobody speaks is dropped, and a type that is a length as well', {}, (host) => {
    const types = [0, 1, 0x2e, 0x5dc, 0x5ff, 0x600, 0x0801, 0x0805, 0x8035, 0x8100, 0x86dd, 0x88a8, 0xffff]
    for (const type of types) host.injectFrame(ether({ source: PEER_LINK, target: host.linkAddress(), type }, PING))
    host.expectNothing()
    const lengths = types.filter((type) => type < 0x600).length
    assert.deepEqual(host.drops(EtherCounters), { droppedType: lengths, droppedUnknownType: types.length - lengths })
  })

  onHosts('of groups, only those that IP uses are ours', {}, (host) => {
    for (const target of ['01:80:c2:00:00:00', '33:33:00:00:00:01', '01:00:5e:80:00:01', '03:00:5e:00:00:01']) {
      host.injectFrame(ether({ source: PEER_LINK, target }, PING))
    }
    assert.deepEqual(host.drops(EtherCounters), { droppedNotOurs: 4 })
    host.injectFrame(ether({ source: PEER_LINK, target: '01:00:5e:00:00:01' }, udp({ target: '224.0.0.1' }, text('x'))))
    assert.equal(host.count(UdpCounters, 'noPort'), 1)
    host.expectNothing()
  })

  onHosts(
    'a unicast packet in a broadcast frame is refused, and not answered (@rfc 1122 2.4/broadcast 3.3.6/unicast)',
    {},
    (host) => {
      for (const target of [BROADCAST, '01:00:5e:00:00:01']) {
        host.injectFrame(ether({ source: PEER_LINK, target }, PING))
        host.injectFrame(ether({ source: PEER_LINK, target }, udp({ targetPort: 9 }, text('x'))))
      }
      host.expectNothing()
      assert.deepEqual(host.drops(IpCounters), { droppedNotOurs: 4 })
    },
  )

  onHosts('every cut of a frame is counted once, and none is answered', {}, (host) => {
    const whole = ether({ source: PEER_LINK, target: host.linkAddress() }, icmp({ type: 8 }, counting(18)))
    for (let length = 1; length < whole.length; length++) host.injectFrame(whole.subarray(0, length))
    host.expectNothing()
    assert.deepEqual(host.drops(EtherCounters), { droppedRunt: 13 })
    assert.deepEqual(host.drops(IpCounters), { droppedShort: 20, droppedTruncated: whole.length - 34 })
    assert.deepEqual(host.drops(ArpCounters), {})
  })

  test('a frame longer than the link carries is dropped by the device, and its memory is free again', () => {
    withHost({ wires: [{ mtu: 1500 }] }, (host) => {
      const packet = icmp({ type: 8 }, counting(1500 - 28 + 1))
      host.inject(packet)
      host.expectNothing()
      assert.equal(host.refused, 1)
      assert.equal(host.counts(DeviceCounters, false).transmitTooLong, 1)
      assert.equal(host.tester.slab.live, 0)
    })
  })
})
