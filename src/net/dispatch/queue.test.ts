import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { CpuCounters } from '../../kernel/counters.ts'
import { DispatchCounters, NetisrCounters, TcpCounters, UdpCounters } from '../counters.ts'
import { DISCIPLINES } from '../discipline.ts'
import { LAYERS } from '../policy.ts'
import { counting, text, udp } from '../testing/frame.ts'
import { portOwnedBy, type TestHost, withHost } from '../testing/host.ts'
import { Peer } from '../testing/peer.ts'

const datagram = () => udp({ sourcePort: 7000, targetPort: 9 }, text('x'))
/** What one hand-off point of the host has served: in all, and how many at most at a time. */
function servedAt(host: TestHost, point: string): { dequeued: number; most: number } {
  const rows = host.machine.handoffs().filter((row) => row.point === point)
  return {
    dequeued: rows.reduce((n, row) => n + row.dequeued, 0),
    most: Math.max(0, ...rows.map((row) => row.batch.max)),
  }
}

describe('a protocol’s queue', () => {
  test('is not there where the policy is direct', () => {
    withHost({ layers: [] }, (host) => {
      host.inject(datagram())
      assert.deepEqual(new Set(Object.values(host.counts(NetisrCounters))), new Set([0]))
      assert.equal(host.count(DispatchCounters, 'direct'), 1)
      for (const point of ['link', 'transport', 'netisr']) assert.equal(servedAt(host, point).dequeued, 0)
    })
  })

  test('is passed by a call where the policy is hybrid and nothing waits', () => {
    withHost({ layers: [], dispatch: { ether: 'hybrid', ip: 'hybrid', udp: 'hybrid' } }, (host) => {
      for (let i = 0; i < 20; i++) host.postPacket(datagram())
      host.run()
      const { directEther, directUdp, queuedEther, queuedUdp } = host.counts(NetisrCounters)
      assert.deepEqual([directUdp, queuedUdp, queuedEther], [20, 0, 0])
      assert(directEther >= 20)
      assert.equal(host.count(DispatchCounters, 'direct'), 20)
    })
  })

  test('holds a whole batch where the policy is deferred, which is served at once', () => {
    withHost({ layers: [], dispatch: { ip: 'deferred', udp: 'deferred' } }, (host) => {
      for (let i = 0; i < 20; i++) host.postPacket(datagram())
      host.run()
      assert.equal(host.count(DispatchCounters, 'direct'), 0)
      assert.equal(host.count(DispatchCounters, 'handedOff'), 20)
      assert.equal(host.count(NetisrCounters, 'queuedUdp'), 20)
      assert.equal(host.count(UdpCounters, 'received'), 20)
      for (const point of ['netisr', 'transport']) {
        const { dequeued, most } = servedAt(host, point)
        assert.equal(dequeued, 20)
        assert(most > 5, `${most} at a time at ${point}`)
      }
    })
  })

  test('is bounded, and drops under its protocol’s name', () => {
    withHost({ layers: ['tcp'], queueLimit: 4 }, (host) => {
      for (let i = 0; i < 20; i++) host.postPacket(datagram())
      host.run()
      const { droppedUdp, queuedUdp } = host.counts(NetisrCounters)
      assert(droppedUdp > 0)
      assert.equal(droppedUdp + queuedUdp, 20)
      assert.equal(host.count(UdpCounters, 'received'), queuedUdp)
      // `finish` has the counts add up without such drops.
      host.stopNow()
    })
  })

  test('is served by threads where boundaries are layers', () => {
    withHost({ layers: LAYERS }, (host) => {
      const before = host.counts(CpuCounters).contextSwitches
      const socket = host.open({ port: 9 })
      host.inject(datagram())
      assert.equal(host.received(socket).length, 1)
      const { queuedEther, queuedUdp, queuedSocket } = host.counts(NetisrCounters)
      assert(queuedEther >= 1)
      assert.deepEqual([queuedUdp, queuedSocket], [1, 1])
      assert(host.counts(CpuCounters).contextSwitches - before >= LAYERS.length)
    })
  })

  for (const discipline of DISCIPLINES) {
    test(`a batch of segments is answered once, also behind every layer (${discipline})`, () => {
      withHost({ layers: LAYERS, discipline }, (host) => {
        const server = host.listen({ port: 7 }, 0, { reads: true })
        const peer = Peer.connect(host)
        const program = server.accept()
        const before = host.count(TcpCounters, 'sent')
        for (let i = 0; i < 20; i++) peer.post('A', { data: counting(1460, i * 1460) })
        host.run(5000)
        assert.deepEqual(program.received(), counting(20 * 1460))
        const answers = host.count(TcpCounters, 'sent') - before
        assert(answers <= 3, `${answers} answers`)
        peer.take()
      })
    })
  }

  test('hands on a segment whose connection has come to belong to another CPU while it waited', () => {
    withHost({ cpus: 2, discipline: 'connp-t', layers: [], dispatch: { tcp: 'deferred' } }, (host) => {
      const server = host.listen({ port: 7 }, 0, { reads: true })
      const peer = Peer.connect(host, { port: portOwnedBy(host, 1, 7) })
      const program = server.accept()
      const bytes = peer.packet('PA', { data: text('after all') })
      host.on(0, ({ context, dispatch, ip }) => {
        const m = context.mbuf()
        const packet = context.mbufs.copyFrom(bytes)
        m.at = packet
        m.hash = dispatch.hash(m.data, m.length)
        // As if this CPU had been to have it when IP had it.
        assert.equal(dispatch.ownerOfSegment(m.hash), 1)
        ip.input.input(packet)
      })
      assert.deepEqual(program.received(), text('after all'))
      const handedOn = host.machine.handoffs().filter((row) => row.point === 'transport' && row.source !== row.target)
      assert.deepEqual(
        handedOn.map(({ source, target, dequeued }) => [source, target, dequeued]),
        [[0, 1, 1]],
      )
      // Nobody has steered it: the counts tell.
      host.stopNow()
    })
  })
})
