// Provenance through the stack: what a program is told goes back to the packet that it came of, and what leaves the host to the write
// that it is of; also when it was lost and goes again, was cut into fragments, or crossed CPUs and wires on its way.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Chain } from '../src/kernel/trace/chain.ts'
import { setTraceMode } from '../src/kernel/trace/mode.ts'
import { ChainReader } from '../src/kernel/trace/reader.ts'
import { counting, text } from '../src/net/testing/frame.ts'
import { HOST, onHosts, ownerOf, PEER, type TestHost, withHost } from '../src/net/testing/host.ts'
import { Peer } from '../src/net/testing/peer.ts'
import type { TestSocket } from '../src/net/testing/program.ts'

const SECOND = 1_000_000

const kinds = ({ hops }: Chain) => hops.map(({ kind }) => kind)
/** Without the last step of what was sent, to the device. */
const made = ({ hops, end }: Chain): Chain => {
  assert.deepEqual([hops[0]?.kind, hops[0]?.to], ['transmit', 'w0.a'])
  return { hops: hops.slice(1), end }
}
const names = ({ hops }: Chain) => hops.flatMap(({ frames }) => frames.map((frame) => frame.function))
const chainOf = (host: TestHost, trace: number) => new ChainReader(host.machine.memory).chain(trace)

function traced(host: TestHost): void {
  setTraceMode(host.machine.memory, 'all')
  host.run(1000)
}

function first(program: TestSocket): void {
  program.do(function first(socket) {
    socket.send(text('one'))
  })
}

function second(program: TestSocket): void {
  program.do(function second(socket) {
    socket.send(text('two'))
  })
}

function opened(host: TestHost): { peer: Peer; program: TestSocket } {
  const program = host.connect({ address: PEER, port: 80, noDelay: true }, host.programCpu)
  const peer = Peer.accept(host, {})
  program.expect('connect')
  return { peer, program }
}

onHosts('data that a program reads came of a packet from a device', {}, (host) => {
  traced(host)
  const { peer, program } = opened(host)
  let chain: Chain | undefined
  const { onReadable } = program.socket
  program.socket.onReadable = () => {
    chain ??= host.stacks[program.cpu]!.context.cpu.tracer.where()
    onReadable()
  }
  peer.send('PA', { data: text('hello') })
  assert.ok(chain !== undefined)
  assert.equal(chain.end, 'origin')
  const origin = chain.hops.at(-1)!
  assert.deepEqual([origin.kind, origin.to], ['packet', 'w0'])
  // From another CPU than the flow's, or to another one, it has come by messages.
  assert.ok(
    kinds(chain)
      .slice(0, -1)
      .every((kind) => kind === 'send' || kind === 'forward'),
    `${kinds(chain)}`,
  )
  program.received()
})

onHosts('a segment knows the write that it is of, and an acknowledgment what it acknowledges', {}, (host) => {
  traced(host)
  const { peer, program } = opened(host)
  first(program)
  const chain = made(chainOf(host, peer.expect('PA', { data: text('one') }).sent.trace))
  assert.equal(kinds(chain)[0], 'segment')
  assert.match(chain.hops[0]!.to, /^tcp port \d+, to port 80$/)
  assert.ok(names(chain).includes('first'), `${names(chain)}`)
  peer.send('PA', { data: text('x'), ack: 4 })
  host.run(SECOND)
  const acknowledgment = peer.take().at(-1)!
  assert.deepEqual(
    kinds(made(chainOf(host, acknowledgment.sent.trace)))
      .filter((kind) => kind !== 'send')
      .slice(0, 2),
    ['segment', 'packet'],
  )
  program.received()
})

onHosts('a segment that is sent again knows its write, and each of two writes its own', {}, (host) => {
  traced(host)
  const { peer, program } = opened(host)
  first(program)
  second(program)
  const [one, two] = peer.take()
  assert.ok(names(chainOf(host, one!.sent.trace)).includes('first'))
  assert.ok(names(chainOf(host, two!.sent.trace)).includes('second'))
  host.run(3 * SECOND)
  const again = peer.take()
  assert.ok(again.length > 0)
  const chain = made(chainOf(host, again.find(({ seq }) => seq === 1)!.sent.trace))
  assert.equal(kinds(chain)[0], 'retransmit')
  assert.ok(names(chain).includes('first') && !names(chain).includes('second'), `${names(chain)}`)
})

onHosts('a connection that is accepted came of the packet that completed it', {}, (host) => {
  traced(host)
  let chain: Chain | undefined
  const cpu = host.programCpu
  host.listen({ port: 7 }, cpu, {
    onConnection: () => {
      chain = host.stacks[cpu]!.context.cpu.tracer.where()
    },
  })
  Peer.connect(host, {})
  assert.ok(chain !== undefined)
  assert.equal(chain.hops.at(-1)?.kind, 'packet')
})

test('a datagram of fragments, and one that is cut into fragments, keep their chain', () => {
  withHost({ cpus: 2, seed: 4, wires: [{ mtu: 600 }] }, (host) => {
    traced(host)
    const socket = host.open({ port: 9 }, 0)
    host.on(0, function datagrams() {
      const target = host.stacks[0]!.endpoint(PEER, 9)
      socket.sendBytes(counting(1500), target)
      target.free()
    })
    const fragments = host.take()
    assert.equal(fragments.length, 3)
    for (const { trace } of fragments) {
      const chain = made(chainOf(host, trace))
      assert.equal(kinds(chain)[0], 'datagram')
      assert.ok(names(chain).includes('datagrams'), `${names(chain)}`)
    }
  })
})

test('what one host of a machine sends another is one chain across the wire', () => {
  withHost({ cpus: 2, seed: 8 }, (host) => {
    traced(host)
    const server = host.listen({ port: 9000, address: HOST }, 0)
    const client = host.connect({ address: HOST, port: 9000 }, 1)
    host.run()
    client.expect('connect')
    const accepted = server.accept()
    let chain: Chain | undefined
    accepted.socket.onReadable = () => {
      chain ??= host.stacks[0]!.context.cpu.tracer.where()
    }
    first(client)
    host.run()
    assert.ok(chain !== undefined)
    assert.ok(kinds(chain).includes('segment'), `${kinds(chain)}`)
    assert.ok(names(chain).includes('first'), `${names(chain)}`)
  })
})

test('a chain goes through TCP on the wrong CPU and back to a program on a third', () => {
  withHost({ cpus: 2, programs: 1, seed: 3, steer: 'first', discipline: 'connp-t' }, (host) => {
    traced(host)
    let chain: Chain | undefined
    host.listen({ port: 7 }, 2, {
      onConnection: (socket) => {
        socket.onReadable = () => {
          chain ??= host.stacks[2]!.context.cpu.tracer.where()
        }
      },
    })
    // A flow of CPU 1, whose packets come to CPU 0.
    let port = 20_000
    while (ownerOf(host, new Peer(host, { port }).packet('S', { seq: 0 })) !== 1) port++
    const peer = Peer.connect(host, { port })
    peer.send('PA', { data: text('far') })
    assert.ok(chain !== undefined)
    assert.deepEqual(
      chain.hops.map(({ kind, cpu }) => `${kind} ${cpu}`),
      ['send 1', 'send 0', 'packet 0'],
    )
    assert.match(chain.hops[1]!.to, /netisr/)
  })
})
