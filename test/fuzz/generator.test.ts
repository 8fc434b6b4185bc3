// A host under frames of which such and such shares are wrong: nothing throws, all of them are accounted for, and it goes on serving.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../src/base/random.ts'
import { CpuCounters } from '../../src/kernel/counters.ts'
import {
  EtherCounters,
  IcmpCounters,
  IpCounters,
  ReassemblyCounters,
  TcpCounters,
  UdpCounters,
} from '../../src/net/counters.ts'
import { echoRest, icmp, read, text } from '../../src/net/testing/frame.ts'
import { type TestHost, withHost } from '../../src/net/testing/host.ts'
import { Peer } from '../../src/net/testing/peer.ts'
import { echo } from '../../src/service/echo.ts'
import { type Fault, Generator, NOTHING_WRONG, type Shares, USUAL } from './generator.ts'
import { forSeeds } from './seed.ts'

const SECOND = 1_000_000
const FRAMES = 3000
/** A frame is handed on once at most, and answered; what a turn does for it is bounded by the turn. */
const TURNS_PER_FRAME = 40

describe('the generator', () => {
  test('makes the same frames of the same seed, and others of another', () => {
    const framesOf = (seed: number) => {
      const generator = new Generator(new Random(seed), USUAL, '02:00:00:00:00:01')
      return Array.from({ length: 200 }, () => generator.next())
    }
    assert.deepEqual(framesOf(1), framesOf(1))
    assert.notDeepEqual(framesOf(1), framesOf(2))
  })

  test('with no shares makes frames that a reader finds nothing wrong with', () => {
    const generator = new Generator(new Random(3), NOTHING_WRONG, '02:00:00:00:00:01')
    for (let i = 0; i < 500; i++) {
      const { frames, faults } = generator.next()
      assert.deepEqual(faults, [])
      // TCP of a peer may have numbers that the stack's own has not.
      if (frames[0]![23] !== 6) for (const frame of frames) read(frame)
    }
  })

  test('makes as many of each fault as it was asked for', () => {
    for (const fault of Object.keys(NOTHING_WRONG) as Fault[]) {
      const shares: Shares = { ...NOTHING_WRONG, [fault]: 0.3 }
      const generator = new Generator(new Random(4), shares, '02:00:00:00:00:01')
      const made = Array.from({ length: 3000 }, () => generator.next().faults)
      const count = made.filter((faults) => faults.includes(fault)).length
      const chances = { transportLength: 2 / 3, tcpOptions: 1 / 3, tcpFlags: 1 / 3, urgent: 1 / 3 } as {
        [name: string]: number
      }
      const expected = 3000 * 0.3 * (chances[fault] ?? 1)
      // Frames in pieces get several chances at what is the link's.
      assert(Math.abs(count - expected) < 0.2 * expected, `${fault}: ${count} of ${expected}`)
      assert(made.flat().every((each) => each === fault))
    }
  })
})

/** What each fault has to be counted as, where nothing else is wrong. */
const COUNTED: readonly (readonly [Fault, (host: TestHost) => number])[] = [
  ['version', (host) => host.count(IpCounters, 'droppedVersion')],
  ['ipChecksum', (host) => host.count(IpCounters, 'droppedChecksum')],
  ['ttl', (host) => host.count(IpCounters, 'droppedTtl')],
  ['protocol', (host) => host.count(IpCounters, 'droppedProtocol')],
  ['headerLength', (host) => host.count(IpCounters, 'droppedHeaderLength')],
  ['totalLength', (host) => host.count(IpCounters, 'droppedTotalLength') + host.count(IpCounters, 'droppedTruncated')],
  ['ipOptions', (host) => host.count(IpCounters, 'droppedOption') + host.count(IpCounters, 'droppedSourceRoute')],
  ['linkAddress', (host) => host.count(EtherCounters, 'droppedNotOurs') + host.count(EtherCounters, 'droppedSource')],
  ['linkType', (host) => host.count(EtherCounters, 'droppedUnknownType') + host.count(EtherCounters, 'droppedType')],
  ['transportLength', (host) => host.count(UdpCounters, 'droppedLength') + host.count(TcpCounters, 'droppedOffset')],
  [
    'transportChecksum',
    (host) =>
      host.count(UdpCounters, 'droppedChecksum') +
      host.count(TcpCounters, 'droppedChecksum') +
      host.count(IcmpCounters, 'droppedChecksum'),
  ],
  ['fragments', (host) => host.count(ReassemblyCounters, 'fragments')],
]

for (const [fault, count] of COUNTED) {
  test(`a share of frames with a wrong ${fault} is counted, and the rest gets through`, () => {
    flood(5, 1, { ...NOTHING_WRONG, [fault]: 0.5 }, 600, (host) => {
      assert(count(host) > 60, `${count(host)} of 600`)
      assert(host.count(UdpCounters, 'delivered') > 40 && host.count(IcmpCounters, 'echoRequests') > 10)
    })
  })
}

for (const cpus of [1, 2, 4]) {
  test(`${cpus} CPUs survive frames with a little of everything wrong, and serve`, () => {
    forSeeds((seed) => {
      flood(seed, cpus, USUAL, FRAMES / cpus, (host) => {
        const counts = [host.count(UdpCounters, 'delivered'), host.count(TcpCounters, 'toListener')]
        assert(
          counts.every((each) => each > 30 / cpus),
          `${counts}`,
        )
      })
    })
  })
}

/** Sends so many frames to a host that serves; afterwards it still does, and everything has to add up. */
function flood(seed: number, cpus: number, shares: Shares, count: number, look: (host: TestHost) => void): void {
  withHost({ cpus, seed, entries: 1024, memoryBytes: 32 * 1024 * 1024 }, (host) => {
    const random = new Random(seed)
    for (const [cpu] of host.stacks.entries()) host.on(cpu, (stack) => echo(stack, 7, () => {}))
    const sockets = [9, 7000].map((port) => host.open({ port, onError: () => {} }))
    const server = host.listen({ port: 7 })
    host.introduce()
    const generator = new Generator(random, shares, host.linkAddress())
    const turns = host.counts(CpuCounters).turns
    let sent = 0
    while (sent < count) {
      for (let burst = 1 + random.below(100); burst > 0; burst--) {
        for (const frame of generator.next().frames) {
          host.post(frame)
          sent++
        }
      }
      host.run(random.chance(0.05) ? random.below(40 * SECOND) : 0)
      for (const socket of sockets) host.received(socket)
      host.take()
    }
    const used = host.counts(CpuCounters).turns - turns
    assert(used < TURNS_PER_FRAME * sent + 2000, `${used} turns for ${sent} frames`)
    look(host)
    host.run(100 * SECOND)
    host.take()
    host.inject(icmp({ type: 8, rest: echoRest(1, 1) }, text('ping')))
    assert(host.take().some(({ icmp: answer }) => answer?.type === 0))
    const peer = Peer.connect(host, { port: 40_000 })
    peer.send('PA', { data: text('still there?') })
    const index = server.sockets.findIndex(({ socket }) => socket.remotePort === 40_000)
    assert.deepEqual(server.sockets[index]!.received(), text('still there?'))
    for (const program of server.sockets) if (!program.log.includes('closed')) program.abort()
    host.run(1500 * SECOND)
    host.take()
    const { opened, closed } = host.counts(TcpCounters)
    assert.equal(opened, closed, 'no connection is left')
  })
}
