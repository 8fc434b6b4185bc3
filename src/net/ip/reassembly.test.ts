import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Random } from '../../base/random.ts'
import { IcmpCounters, IpCounters, ReassemblyCounters } from '../counters.ts'
import { type Bytes, counting, echoRest, fragments, icmp, ip, Protocol, reassemble, udp } from '../testing/frame.ts'
import { HOST, onHosts, PEER, type TestHost, withHost } from '../testing/host.ts'
import { ReassemblyLimits } from './reassembly.ts'

const PING = icmp({ type: 8, rest: echoRest(3, 4) }, counting(2000))

/** The host answers the echo request that the fragments make. */
function expectReply(host: TestHost, data: Bytes): void {
  const whole = reassemble(host.take().map(({ bytes }) => bytes))
  assert.deepEqual(whole.icmp, { type: 0, code: 0, rest: echoRest(3, 4) })
  assert.deepEqual(whole.payload, data)
}

/** A piece of an ICMP datagram: only its place matters. */
function piece(offset: number, length: number, more: boolean, id = 77, source = PEER): Bytes {
  return ip({ protocol: Protocol.icmp, source, offset, more, id }, counting(length))
}

function expectHeld(host: TestHost, datagrams: number, fragmentCount: number): void {
  assert.equal(
    host.stacks.reduce((sum, { reassembly }) => sum + reassembly.datagrams, 0),
    datagrams,
  )
  assert.equal(host.count(ReassemblyCounters, 'held'), fragmentCount)
}

describe('reassembly', () => {
  onHosts(
    'fragments in order become the datagram (@rfc 791 3.1/accept-576) (@rfc 1122 3.2.1.4 3.3.2/able 3.3.2/576)',
    {},
    (host) => {
      for (const fragment of fragments(PING, 512)) host.inject(fragment)
      expectReply(host, counting(2000))
      const { fragments: came, reassembled, reassembledFragments } = host.counts(ReassemblyCounters)
      assert.deepEqual([came, reassembled, reassembledFragments], [4, 1, 4])
    },
  )

  onHosts('fragments in reverse order become the datagram', {}, (host) => {
    for (const fragment of fragments(PING, 256).reverse()) host.inject(fragment)
    expectReply(host, counting(2000))
  })

  test('fragments in any order, of any size, become the datagram (@rfc 791 3.2/reassemble) (@rfc 1122 3.2.1.4 3.3.2/able)', () => {
    withHost({ cpus: 2, seed: 5 }, (host) => {
      let id = 0
      const size = fc.integer({ min: 9, max: 4000 })
      const each = fc.integer({ min: 2, max: 100 })
      fc.assert(
        fc.property(size, each, fc.infiniteStream(fc.nat()), (bytes, words, order) => {
          fc.pre(bytes / (words * 8) < ReassemblyLimits.fragments)
          const data = counting(bytes)
          const cut = fragments(icmp({ type: 8, rest: echoRest(3, 4) }, data), words * 8, ++id)
          for (let i = cut.length - 1; i > 0; i--) {
            const other = order.next().value! % (i + 1)
            ;[cut[i], cut[other]] = [cut[other]!, cut[i]!]
          }
          for (const fragment of cut) host.postPacket(fragment)
          host.run()
          expectReply(host, data)
        }),
        { seed: 20, numRuns: 150 },
      )
      assert.deepEqual(host.drops(ReassemblyCounters), {})
    })
  })

  onHosts(
    'datagrams that are interleaved are kept apart by identification, source and protocol (@rfc 791 3.2/reassemble)',
    {},
    (host) => {
      const a = fragments(PING, 1000, 1)
      const b = fragments(PING, 1000, 2)
      const c = fragments(icmp({ type: 8, rest: echoRest(3, 4), source: '10.0.0.10' }, counting(2000)), 1000, 1)
      const d = fragments(udp({ targetPort: 9 }, counting(2000)), 1000, 1)
      for (let i = 0; i < a.length; i++) for (const list of [a, b, c, d]) host.inject(list[i]!)
      assert.equal(host.count(ReassemblyCounters, 'reassembled'), 4)
      const errors = host.take().filter(({ icmp }) => icmp?.type === 3)
      assert.equal(errors.length, 1)
      assert.equal(host.count(IcmpCounters, 'echoRequests'), 3)
    },
  )

  onHosts('a fragment that comes twice is dropped once', {}, (host) => {
    const cut = fragments(PING, 512)
    for (const fragment of cut.slice(0, -1)) for (let i = 0; i < 2; i++) host.inject(fragment)
    host.inject(cut[cut.length - 1]!)
    expectReply(host, counting(2000))
    assert.deepEqual(host.drops(ReassemblyCounters), { droppedDuplicate: 3 })
  })

  const overlaps: readonly [string, readonly [number, number, boolean][]][] = [
    [
      'teardrop',
      [
        [0, 48, true],
        [24, 8, false],
      ],
    ],
    [
      'a fragment within another',
      [
        [0, 64, true],
        [8, 16, true],
      ],
    ],
    [
      'a fragment over the beginning of another',
      [
        [16, 16, true],
        [0, 24, true],
      ],
    ],
    [
      'a fragment over all of another',
      [
        [16, 16, true],
        [8, 64, true],
      ],
    ],
    [
      'a fragment of the same offset that is longer',
      [
        [0, 16, true],
        [0, 24, true],
      ],
    ],
    [
      'a fragment of the same offset that is shorter',
      [
        [16, 24, true],
        [16, 16, true],
      ],
    ],
    [
      'an end before data that is there',
      [
        [32, 16, true],
        [16, 8, false],
      ],
    ],
    [
      'a second end behind the first',
      [
        [16, 8, false],
        [32, 8, false],
      ],
    ],
    [
      'data behind the end',
      [
        [16, 8, false],
        [24, 8, true],
      ],
    ],
  ]
  for (const [name, pieces] of overlaps) {
    onHosts(`${name} costs the whole datagram`, {}, (host) => {
      for (const [offset, length, more] of pieces) host.inject(piece(offset, length, more))
      expectHeld(host, 0, 0)
      assert.deepEqual(host.drops(ReassemblyCounters), { droppedOverlap: pieces.length })
      host.expectNothing()
    })
  }

  onHosts('no fragment ends beyond what a datagram can be (ping of death)', {}, (host) => {
    host.inject(piece(65528, 8, false))
    host.inject(piece(65528, 1400, false))
    host.inject(piece(64800, 1000, true))
    host.inject(piece(65512, 4, false))
    expectHeld(host, 0, 0)
    assert.deepEqual(host.drops(ReassemblyCounters), { droppedLayout: 4 })
    host.inject(piece(65512, 3, false))
    expectHeld(host, 1, 1)
  })

  onHosts('a datagram that is too long only with the options of its first fragment is dropped whole', {}, (host) => {
    // 65 515 bytes of data fit behind a header of 20 bytes, but not behind one of 24.
    const options = [1, 1, 1, 0]
    const data = counting(65515)
    const each = 1024
    for (let offset = each; offset < data.length; offset += each) {
      const more = offset + each < data.length
      host.postPacket(ip({ protocol: Protocol.icmp, offset, more, id: 9 }, data.subarray(offset, offset + each)))
    }
    host.postPacket(ip({ protocol: Protocol.icmp, offset: 0, more: true, id: 9, options }, data.subarray(0, each)))
    host.run()
    expectHeld(host, 0, 0)
    assert.deepEqual(host.drops(ReassemblyCounters), { droppedLayout: 64 })
    assert.deepEqual(host.drops(IpCounters), {})
  })

  onHosts('the longest datagram there can be is put together (@rfc 1122 3.3.2/576 3.3.2/indefinite)', {}, (host) => {
    host.acquaint()
    const data = counting(65507)
    for (const fragment of fragments(icmp({ type: 8, rest: echoRest(3, 4) }, data), 1024)) host.postPacket(fragment)
    host.run()
    expectReply(host, data)
  })

  onHosts('an empty fragment, and one in the middle that is no multiple of 8, are dropped', {}, (host) => {
    host.inject(piece(0, 0, true))
    host.inject(piece(8, 0, false))
    host.inject(piece(0, 20, true))
    host.inject(piece(8, 1, true))
    expectHeld(host, 0, 0)
    assert.deepEqual(host.drops(ReassemblyCounters), { droppedLayout: 4 })
  })

  onHosts('a first fragment that carries less than the ports and their flags is dropped', {}, (host) => {
    host.inject(piece(0, 8, true))
    assert.deepEqual(host.drops(ReassemblyCounters), { droppedTiny: 1 })
    host.inject(piece(0, 16, true))
    expectHeld(host, 1, 1)
  })

  onHosts('a lone last fragment of offset 0 is no fragment', {}, (host) => {
    host.inject(icmp({ type: 8, offset: 0, more: false, rest: echoRest(3, 4) }, counting(10)))
    expectReply(host, counting(10))
    assert.equal(host.count(IpCounters, 'fragments'), 0)
  })

  onHosts(
    'a datagram that is not whole in time is dropped, and its sender told if its beginning was there (@rfc 791 3.2/reassembly-timer) (@rfc 792 time-exceeded/reassembly) (@rfc 1122 3.3.2/time-exceeded)',
    {},
    (host) => {
      const cut = fragments(PING, 512)
      host.inject(cut[0]!)
      host.inject(cut[2]!)
      host.run(ReassemblyLimits.timeoutUs - 10_000)
      host.expectNothing()
      expectHeld(host, 1, 2)
      host.run(20_000)
      const { payload } = host.expect({ ip: { target: PEER, source: HOST }, icmp: { type: 11, code: 1 } })
      assert.deepEqual(payload, cut[0]!.subarray(0, 548))
      host.expectNothing()
      expectHeld(host, 0, 0)
      assert.deepEqual(host.drops(ReassemblyCounters), { droppedTimeout: 2 })
    },
  )

  onHosts(
    'without its beginning, a datagram that is not whole in time is dropped silently (@rfc 792 message/first-fragment time-exceeded/without-first) (@rfc 1122 3.2.2/about-fragment)',
    {},
    (host) => {
      for (const fragment of fragments(PING, 512).slice(1)) host.inject(fragment)
      host.run(ReassemblyLimits.timeoutUs + 10_000)
      host.expectNothing()
      expectHeld(host, 0, 0)
      assert.deepEqual(host.drops(ReassemblyCounters), { droppedTimeout: 3 })
    },
  )

  onHosts('what comes after the time is over begins anew', {}, (host) => {
    const cut = fragments(PING, 1024)
    host.inject(cut[1]!)
    host.run(ReassemblyLimits.timeoutUs + 10_000)
    host.inject(cut[0]!)
    host.expectNothing()
    expectHeld(host, 1, 1)
    host.inject(cut[1]!)
    expectReply(host, counting(2000))
  })

  onHosts('so many fragments of one datagram and no more', {}, (host) => {
    for (let i = 0; i < ReassemblyLimits.fragments; i++) host.postPacket(piece(i * 16, 16, true))
    host.run()
    expectHeld(host, 1, ReassemblyLimits.fragments)
    host.inject(piece(ReassemblyLimits.fragments * 16, 16, true))
    expectHeld(host, 0, 0)
    assert.deepEqual(host.drops(ReassemblyCounters), { droppedLimit: ReassemblyLimits.fragments + 1 })
  })

  onHosts("so many datagrams of one source and no more: its oldest goes first, and nobody else's", {}, (host) => {
    const over = 10
    const other = '10.0.0.77'
    host.inject(piece(0, 16, true, 1, other))
    for (let id = 0; id < ReassemblyLimits.datagramsPerSource + over; id++) host.postPacket(piece(0, 16, true, id))
    host.run()
    expectHeld(host, ReassemblyLimits.datagramsPerSource + 1, ReassemblyLimits.datagramsPerSource + 1)
    assert.deepEqual(host.drops(ReassemblyCounters), { droppedLimit: over })
    // The first that is still there ends, and the other source's; one of the dropped does not.
    const end = (id: number, source = PEER) => ip({ protocol: Protocol.icmp, source, offset: 16, id }, counting(8))
    host.inject(end(over))
    host.inject(end(1, other))
    assert.equal(host.count(ReassemblyCounters, 'reassembled'), 2)
    host.inject(end(over - 1))
    assert.equal(host.count(ReassemblyCounters, 'reassembled'), 2)
  })

  test('so many datagrams under way on a CPU and no more: the oldest goes first', () => {
    withHost({ cpus: 1 }, (host) => {
      const over = 10
      const { datagrams } = ReassemblyLimits
      for (let id = 0; id < datagrams + over; id++) host.postPacket(piece(0, 16, true, id, `10.0.0.${100 + (id % 10)}`))
      host.run()
      expectHeld(host, datagrams, datagrams)
      assert.deepEqual(host.drops(ReassemblyCounters), { droppedLimit: over })
      const end = (id: number) => {
        host.inject(ip({ protocol: Protocol.icmp, source: `10.0.0.${100 + (id % 10)}`, offset: 16, id }, counting(8)))
      }
      end(over)
      assert.equal(host.count(ReassemblyCounters, 'reassembled'), 1)
      end(over - 1)
      assert.equal(host.count(ReassemblyCounters, 'reassembled'), 1)
    })
  })

  test('100 000 fragments that never become datagrams are bounded in memory, and so is the work for each', () => {
    withHost({ cpus: 2, seed: 9, entries: 4096, memoryBytes: 96 * 1024 * 1024 }, (host) => {
      const random = new Random(13)
      const perCpu = [0, 0]
      const busy: number[] = []
      const count = 100_000
      const payload = counting(16)
      for (let i = 0; i < count; i++) {
        const source = `10.0.0.${2 + random.below(200)}`
        // Never the first, so that none is ever whole.
        const offset = 8 * (1 + random.below(8000))
        host.postPacket(ip({ protocol: Protocol.udp, source, offset, more: true, id: random.below(16) }, payload))
        if (i % 1000 !== 999) continue
        const before = host.machine.steps
        host.run(0)
        busy.push(host.machine.steps - before)
        host.stacks.forEach(({ reassembly }, cpu) => {
          perCpu[cpu] = Math.max(perCpu[cpu]!, reassembly.datagrams)
        })
        assert(host.count(ReassemblyCounters, 'held') <= 2 * ReassemblyLimits.held + 2)
      }
      for (const datagrams of perCpu) assert(datagrams > 0 && datagrams <= ReassemblyLimits.datagrams)
      assert.equal(host.count(ReassemblyCounters, 'fragments'), count)
      // Turns of the machine, and not time: as many for the last thousand as for the first.
      const sum = (list: number[]) => list.reduce((a, b) => a + b, 0)
      assert(sum(busy.slice(-10)) < 2 * sum(busy.slice(0, 10)) + 100, 'the work for a fragment stays the same')
      host.run(ReassemblyLimits.timeoutUs + 10_000)
      expectHeld(host, 0, 0)
      host.expectNothing()
    })
  })

  test('fragments of one datagram that come in on the queues of different CPUs meet at one', () => {
    for (const seed of [1, 2, 3]) {
      withHost({ cpus: 2, seed, wires: [{ cpus: [0] }, { cpus: [1] }] }, (host) => {
        const cut = fragments(PING, 256)
        cut.forEach((fragment, i) => {
          host.postPacket(fragment, i % 2)
        })
        host.run()
        expectReply(host, counting(2000))
        assert.equal(host.count(ReassemblyCounters, 'reassembled'), 1)
      })
    }
  })

  test('a datagram made of fragments goes to the CPU that owns its ports', () => {
    withHost({ cpus: 4, seed: 2 }, (host) => {
      const sockets = [0, 1, 2, 3].map((cpu) => host.open({ port: 9, perCpu: true }, cpu))
      for (let port = 6000; port < 6016; port++) {
        for (const fragment of fragments(udp({ sourcePort: port, targetPort: 9 }, counting(3000)), 1000, port)) {
          host.inject(fragment)
        }
      }
      const got = sockets.map((socket, cpu) => host.received(socket, cpu))
      for (const list of got) {
        assert(list.length > 0, 'every CPU owns some of the flows')
        for (const { payload } of list) assert.deepEqual(payload, counting(3000))
      }
      assert.equal(got.flat().length, 16)
    })
  })

  onHosts('a machine that stops in the middle of a reassembly frees the fragments', {}, (host) => {
    for (let id = 0; id < 20; id++) host.inject(piece(0, 64, true, id))
    expectHeld(host, 20, 20)
  })
})
