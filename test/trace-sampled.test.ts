// Where one of N chains is taken: what is taken is whole, also when it waits for something that is not, and what is not leaves no trace.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Chain } from '../src/kernel/trace/chain.ts'
import { setTraceMode, type TraceMode } from '../src/kernel/trace/mode.ts'
import { ChainReader } from '../src/kernel/trace/reader.ts'
import { arp, counting, ether, fragments, Type, text, udp } from '../src/net/testing/frame.ts'
import { HOST, onHosts, PEER, PEER_LINK, portOwnedBy, type TestHost, withHost } from '../src/net/testing/host.ts'
import { Peer } from '../src/net/testing/peer.ts'

/** One of so many that it is none. */
const HARDLY_ANY = 1_000_000_000

const kinds = ({ hops }: Chain) => hops.map(({ kind }) => kind)
const names = ({ hops }: Chain) => hops.flatMap(({ frames }) => frames.map((frame) => frame.function))
const chainOf = (host: TestHost, trace: number) => new ChainReader(host.machine.memory).chain(trace)

/** From the next turn on. */
function traced(host: TestHost, mode: TraceMode): void {
  setTraceMode(host.machine.memory, mode)
  host.run(1000)
}

onHosts('with 1/N each chain that is taken is as whole as if all were, and the others are empty', {}, (host) => {
  const ROUNDS = 120
  const questions = new Map<string, number>()
  const answers = new Map<string, number>()
  const count = (ways: Map<string, number>, { hops }: Chain) => {
    const way = hops.map(({ kind, cpu }) => `${kind} ${cpu}`).join(', ')
    ways.set(way, (ways.get(way) ?? 0) + 1)
  }
  const cpu = host.programCpu
  host.listen({ port: 7, noDelay: true }, cpu, {
    onConnection: (socket) => {
      socket.onReadable = function answers() {
        count(questions, host.stacks[cpu]!.context.cpu.tracer.where())
        const bytes = new Uint8Array(socket.readableBytes)
        socket.receive(bytes)
        socket.send(bytes)
      }
    },
  })
  const peer = Peer.connect(host, { port: portOwnedBy(host, 0, 7) })
  const exchanges = (mode: TraceMode, rounds: number): [questions: [string, number][], answers: [string, number][]] => {
    traced(host, mode)
    questions.clear()
    answers.clear()
    for (let i = 0; i < rounds; i++) {
      peer.send('PA', { data: text('what') })
      count(answers, chainOf(host, peer.expect('PA', { data: text('what') }).sent.trace))
      peer.send('A', {})
    }
    return [[...questions], [...answers]]
  }
  const [[question], [answer]] = exchanges('all', 1)
  const [asked, answered] = exchanges(5, ROUNDS)
  for (const [ways, whole] of [
    [asked, question],
    [answered, answer],
  ] as const) {
    const taken = ways.filter(([way]) => way !== '')
    assert.deepEqual(
      taken.map(([way]) => way),
      [whole![0]],
    )
    // Of two packets a round one of five, by chance, and half of those are acknowledgments.
    const [[, times]] = taken as [[string, number]]
    assert.ok(times > ROUNDS / 20 && times < ROUNDS / 2, `${times} of ${ROUNDS}`)
  }
  assert.deepEqual(asked.find(([way]) => way !== '')?.[1], answered.find(([way]) => way !== '')?.[1])
})

onHosts('with 1/N the end of a connection is told with the whole chain or with none', {}, (host) => {
  const ways = new Map<string, number>()
  const cpu = host.programCpu
  host.listen({ port: 7 }, cpu, {
    onConnection: (socket) => {
      socket.onReadable = function ends() {
        const { hops } = host.stacks[cpu]!.context.cpu.tracer.where()
        const way = hops.map(({ kind, cpu }) => `${kind} ${cpu}`).join(', ')
        ways.set(way, (ways.get(way) ?? 0) + 1)
      }
    },
  })
  const end = (first: number) => {
    const peer = Peer.connect(host, { port: portOwnedBy(host, 0, 7, first) })
    peer.send('FA', {})
    peer.take()
  }
  traced(host, 'all')
  end(20_000)
  const [[whole]] = [...ways] as [[string, number]]
  assert.notEqual(whole, '')
  ways.clear()
  traced(host, 3)
  for (let i = 1; i <= 30; i++) end(20_000 + 100 * i)
  assert.deepEqual([...ways.keys()].sort(), ['', whole])
})

onHosts('the end of a connection is not in the chain of data that came before it', {}, (host) => {
  const told: string[][] = []
  const cpu = host.programCpu
  host.listen({ port: 7 }, cpu, {
    onConnection: (socket) => {
      socket.onReadable = function reads() {
        told.push(kinds(host.stacks[cpu]!.context.cpu.tracer.where()))
        socket.receive(new Uint8Array(socket.readableBytes))
      }
    },
  })
  const peer = Peer.connect(host, {})
  traced(host, 'all')
  peer.send('PA', { data: text('data') })
  traced(host, HARDLY_ANY)
  peer.send('FA', {})
  assert.equal(told.length, 2)
  assert.equal(told[0]?.at(-1), 'packet')
  assert.deepEqual(told[1], [])
})

onHosts('what waits for the peer’s window is still of its write when what opens it is not traced', {}, (host) => {
  const program = host.connect({ address: PEER, port: 80, noDelay: true }, host.programCpu)
  const peer = Peer.accept(host, { window: 0 })
  program.expect('connect')
  traced(host, 'all')
  program.do(function writes(socket) {
    socket.send(text('wait'))
  })
  traced(host, HARDLY_ANY)
  peer.send('A', { window: 1000 })
  const chain = chainOf(host, peer.expect('PA', { data: text('wait') }).sent.trace)
  assert.deepEqual(kinds(chain).slice(0, 2), ['transmit', 'segment'])
  assert.ok(names(chain).includes('writes'), `${names(chain)}`)
})

test('a packet that waits for a link address goes on in its own chain, and not in that of the answer', () => {
  for (const [ofPacket, ofAnswer] of [
    ['all', HARDLY_ANY],
    [HARDLY_ANY, 'all'],
  ] as const) {
    withHost({ cpus: 1, seed: 4, answerArp: false }, (host) => {
      const socket = host.open({ port: 9 }, 0)
      traced(host, ofPacket)
      host.on(0, function asks() {
        const target = host.stacks[0]!.endpoint(PEER, 9)
        socket.sendBytes(text('who'), target)
        target.free()
      })
      host.expect({ arp: { operation: 'request', target: PEER } })
      traced(host, ofAnswer)
      host.injectFrame(
        ether(
          { source: PEER_LINK, target: host.linkAddress(), type: Type.arp },
          arp({
            operation: 'reply',
            sender: PEER,
            senderLink: PEER_LINK,
            target: HOST,
            targetLink: host.linkAddress(),
          }),
        ),
      )
      const chain = chainOf(host, host.expect({ udp: { targetPort: 9 } }).trace)
      assert.deepEqual(kinds(chain).slice(0, 2), ofPacket === 'all' ? ['transmit', 'datagram'] : ['transmit'])
    })
  }
})

test('a datagram goes on in the chain of its first fragment, when the one that completes it is in none', () => {
  withHost({ cpus: 2, seed: 4 }, (host) => {
    let chain: Chain | undefined
    host.open(
      {
        port: 9,
        onReadable: (self) => {
          const packet = self.receive()
          chain = host.stacks[0]!.context.cpu.tracer.where()
          host.stacks[0]!.context.mbufs.free(packet)
        },
      },
      0,
    )
    const [first, ...rest] = fragments(udp({ targetPort: 9 }, counting(1500)), 512)
    traced(host, 'all')
    host.inject(first!)
    traced(host, HARDLY_ANY)
    for (const each of rest) host.inject(each)
    assert.ok(chain !== undefined)
    assert.equal(kinds(chain).at(-1), 'packet', `${kinds(chain)}`)
  })
})

test('a SYN goes back to the program on the same CPU that has asked for the connection', () => {
  for (const mode of ['all', 2] as const) {
    withHost({ cpus: 1, seed: 4 }, (host) => {
      let asked = 0
      host.on(0, ({ tcp, context: { cpu } }) => {
        // By a timer of its own, that nothing has caused.
        const connects = () => {
          const socket = tcp.connect({ address: PEER, port: 80 + asked++ })
          cpu.timers.after(2000, () => socket.abort())
        }
        for (let i = 0; i < 40; i++) cpu.timers.after(10_000 + 5000 * i, connects)
      })
      host.acquaint()
      traced(host, mode)
      host.run(400_000)
      assert.equal(asked, 40)
      const chains = host
        .take()
        .filter(({ tcp }) => tcp?.flags === 'S')
        .map(({ trace }) => chainOf(host, trace))
        .filter(({ hops }) => hops.length > 0)
      if (mode === 'all') assert.equal(chains.length, 40)
      else assert.ok(chains.length >= 8 && chains.length <= 32, `${chains.length} of 40`)
      for (const chain of chains) {
        assert.deepEqual(kinds(chain).slice(0, 3), ['transmit', 'segment', 'send'])
        assert.ok(names(chain).includes('connects'), `${names(chain)}`)
      }
    })
  }
})

test('data of a packet that is not taken are in no chain of another packet that came for the connection in the same turn', () => {
  withHost({ cpus: 1, seed: 4, discipline: 'connp-t', layers: [] }, (host) => {
    let read = 0
    const chains: number[][] = []
    host.listen({ port: 7 }, 0, {
      onConnection: (socket) => {
        socket.onReadable = () => {
          const { tracer } = host.stacks[0]!.context.cpu
          read += socket.readableBytes
          socket.receive(new Uint8Array(socket.readableBytes))
          chains.push(tracer.where().hops.map(({ id }) => id))
        }
      },
    })
    const peer = Peer.connect(host, {})
    traced(host, 2)
    const packets = { data: 0, ack: 0 }
    for (let i = 0; i < 60; i++) {
      const data = text('x'.repeat(100))
      host.postPacket(peer.packet('PA', { data }))
      host.postPacket(peer.packet('A', {}))
      host.run(5000)
      host.take()
      const ids = chains.pop() ?? []
      const origin = ids.at(-1)
      if (origin !== undefined) {
        const bytes = bytesOf(host, origin)
        packets[bytes > 100 ? 'data' : 'ack']++
      }
    }
    assert.equal(read, 6000)
    assert.ok(packets.data > 0)
    assert.equal(
      packets.ack,
      0,
      `${packets.ack} of 60 reads are said to come of a packet without data, ${packets.data} of their own`,
    )
  })
})

test('a datagram that was taken and is sent back later, by what is in no chain, is followed to the device, as with all', () => {
  for (const mode of ['all', HARDLY_ANY] as const) {
    withHost({ cpus: 1, seed: 4 }, (host) => {
      const socket = host.open({ port: 9 }, 0)
      host.acquaint()
      traced(host, 'all')
      host.inject(udp({ targetPort: 9 }, text('ping')))
      traced(host, mode)
      host.on(0, () => socket.sendBack(socket.receive()))
      const plain = chainOf(host, host.expect({ udp: { sourcePort: 9 } }).trace)
      assert.deepEqual([mode, kinds(plain)[0], kinds(plain).at(-1)], [mode, 'transmit', 'packet'])
      // The same, but the program keeps it for a while.
      traced(host, 'all')
      host.inject(udp({ targetPort: 9 }, text('ping')))
      const packet = host.on(0, () => socket.receive())
      traced(host, mode)
      host.on(0, () => socket.sendBack(packet))
      const chain = chainOf(host, host.expect({ udp: { sourcePort: 9 } }).trace)
      assert.deepEqual([mode, kinds(chain)[0], kinds(chain).at(-1)], [mode, 'transmit', 'packet'])
    })
  }
})

test('bytes of a write that is not taken are in no chain of the write before them', () => {
  withHost({ cpus: 1, seed: 4 }, (host) => {
    const program = host.connect({ address: PEER, port: 80, noDelay: true }, host.programCpu)
    const peer = Peer.accept(host, { window: 0 })
    program.expect('connect')
    traced(host, 'all')
    program.do(function writesFirst(socket) {
      socket.send(text('a'))
    })
    traced(host, HARDLY_ANY)
    program.do(function writesSecond(socket) {
      socket.send(text('b'))
    })
    peer.send('A', { window: 1 })
    peer.expect('A', { data: text('a') })
    traced(host, 'all')
    peer.send('A', { window: 1000 })
    const chain = chainOf(host, peer.expect('PA', { data: text('b') }).sent.trace)
    assert.ok(!names(chain).includes('writesFirst'), `${kinds(chain)} of ${names(chain)}`)
  })
})

test('what was noted of a connection before tracing was off is the cause of nothing after', () => {
  withHost({ cpus: 1, seed: 4 }, (host) => {
    const program = host.connect({ address: PEER, port: 80, noDelay: true }, host.programCpu)
    traced(host, 'all')
    const peer = Peer.accept(host, {})
    program.expect('connect')
    traced(host, 'off')
    traced(host, HARDLY_ANY)
    program.do((socket) => {
      socket.shutdown()
    })
    const { sent } = peer.expect('FA', {})
    assert.deepEqual(kinds(chainOf(host, sent.trace)), [])
  })
})

/** Of a record of a packet. */
function bytesOf(host: TestHost, id: number): number {
  const chain = new ChainReader(host.machine.memory).chain(id)
  const [hop] = chain.hops
  return (hop as { bytes?: number }).bytes ?? Number.NaN
}
