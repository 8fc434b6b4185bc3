// How much work hostile packets are, counted and not timed: the edges of the code that were taken (instrument.ts), a thousand packets after the
// other. What is quadratic, or fills a table that is walked, grows; what is bounded stays. To be imported from an instrumented tree.
import { Random } from '../../src/base/random.ts'
import { arp, type Bytes, counting, ether, icmp, ip, Type, tcp, tcpOption, udp } from '../../src/net/testing/frame.ts'
import { HOST, PEER, PEER_LINK, TestHost } from '../../src/net/testing/host.ts'
import { Peer } from '../../src/net/testing/peer.ts'

/** Gives the frames of an attack, one after the other. */
type Attack = (host: TestHost, random: Random) => () => Bytes

const BURST = 50
const LINK = '02:00:00:00:00:66'

const toHost = (host: TestHost, packet: Bytes) => ether({ source: PEER_LINK, target: host.linkAddress() }, packet)

export const ATTACKS: { readonly [name: string]: Attack } = {
  'fragments that are never whole': (host, random) => () => {
    const fields = { source: `10.0.0.${2 + random.below(250)}`, id: random.below(65536) }
    return toHost(host, ip({ ...fields, offset: 8 * random.below(4000), more: true }, counting(24)))
  },
  'fragments of one datagram, every other eight bytes': (host) => {
    let at = 0
    return () =>
      toHost(host, ip({ id: 1 + Math.floor(at / 4000), offset: 16 * (at++ % 4000), more: true }, counting(8)))
  },
  'selective acknowledgments of places by chance': (host, random) => {
    const { peer, program } = connect(host, 20_000)
    program.send(counting(250_000))
    host.run()
    host.take()
    return () => {
      const blocks = Array.from({ length: 4 }, (): [number, number] => {
        const start = 1 + random.below(60_000)
        return [start, start + 1 + random.below(3)]
      })
      return toHost(host, peer.packet('A', { ack: 1, sack: blocks }))
    }
  },
  'tiny segments out of order, every other byte': (host) => {
    const { peer } = connect(host, 20_001)
    let at = 0
    return () => {
      const seq = 3 + 2 * (at++ % 30_000)
      return toHost(host, peer.packet('A', { seq, data: counting(1, seq) }))
    }
  },
  // Those that come again are dearer, up to the longest way through the blocks that there may be. They come early enough to be compared with.
  'tiny segments out of order, from the end': (host) => {
    const { peer } = connect(host, 20_002)
    let at = 0
    return () => {
      const seq = 60_000 - 2 * (at++ % 1000)
      return toHost(host, peer.packet('A', { seq, data: counting(1, seq) }))
    }
  },
  'SYNs from everywhere': (host, random) => () =>
    toHost(
      host,
      tcp({
        source: `10.0.0.${2 + random.below(200)}`,
        sourcePort: 1 + random.below(65535),
        targetPort: 7,
        flags: 'S',
        seq: random.next() >>> 0,
        tcpOptions: tcpOption.mss(1460),
      }),
    ),
  'ARP from everywhere': (_, random) => () => {
    const sender = `10.${random.below(2)}.${random.below(250)}.${1 + random.below(250)}`
    return ether({ source: LINK, type: Type.arp }, arp({ sender, senderLink: LINK, target: HOST }))
  },
  'UDP to ports where nobody is': (host, random) => () =>
    toHost(host, udp({ sourcePort: 1 + random.below(65535), targetPort: 1000 + random.below(60_000) }, counting(30))),
  'errors about what was never sent': (host, random) => () => {
    const quote = udp(
      { source: HOST, target: PEER, sourcePort: random.below(65536), targetPort: 1 + random.below(65535) },
      counting(8),
    )
    return toHost(host, icmp({ type: 3, code: random.below(16), rest: random.below(2000) }, quote))
  },
  'IP and TCP options of single bytes': (host) => () =>
    toHost(
      host,
      tcp({
        targetPort: 7,
        flags: 'R',
        options: new Array<number>(40).fill(1),
        tcpOptions: new Uint8Array(40).fill(1),
      }),
    ),
}

/** The edges taken by each of `rounds` times `packets` packets. */
export function workOf(attack: string, rounds: number, packets: number, edges: Uint32Array): number[] {
  const host = new TestHost({ cpus: 1, seed: 9, entries: 1024, memoryBytes: 64 * 1024 * 1024, answerArp: true })
  try {
    host.introduce()
    host.listen({ port: 7 })
    const next = ATTACKS[attack]!(host, new Random(9))
    return Array.from({ length: rounds }, () => {
      edges.fill(0)
      for (let sent = 0; sent < packets; sent += BURST) {
        for (let i = 0; i < BURST; i++) host.post(next())
        host.run(0)
        host.take()
      }
      return edges.reduce((sum, count) => sum + count, 0)
    })
  } finally {
    host.abandon()
  }
}

function connect(host: TestHost, port: number) {
  const server = host.listen({ port: 8 })
  const peer = Peer.connect(host, { port, targetPort: 8, sack: true, windowScale: 7 })
  return { peer, program: server.accept() }
}
