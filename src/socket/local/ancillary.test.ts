import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Chain } from '../../kernel/trace/chain.ts'
import { ChainReader } from '../../kernel/trace/reader.ts'
import { LocalMachine, text } from './testing/machine.ts'

const CHAIN: Chain = {
  hops: [
    {
      kind: 'send',
      cpu: 0,
      to: 'client',
      atUs: 12,
      id: 3,
      frames: [{ function: 'ask', file: 'program.ts', line: 12, column: 8 }],
    },
  ],
  end: 'origin',
}
/** Far more than one message carries. */
const LONG: Chain = {
  hops: Array.from({ length: 60 }, () => ({ ...CHAIN.hops[0]!, to: 'x'.repeat(1000) })),
  end: 'origin',
}

for (const to of [0, 1]) {
  describe(`what goes along to cpu ${to}`, () => {
    test('is the sender’s stack with each message, where the receiver has asked for it; and nothing where nobody has', () => {
      let taken = 0
      const chainOf = () => {
        taken++
        return CHAIN
      }
      const m = new LocalMachine(2, 1, { chainOf })
      const plain = m.connect(0, to, 'seqpacket')
      m.on(0, () => plain.client.send(text('x')))
      const message = m.on(to, () => plain.server.receive(new Uint8Array(10)))
      assert.deepEqual([message?.stackTrace, message?.credentials, taken], [undefined, undefined, 0])
      const traced = m.connect(0, to, 'seqpacket', { stackTrace: true })
      m.on(0, () => {
        traced.client.send(text('one'))
        traced.client.send(text('two'))
      })
      for (let i = 0; i < 2; i++) {
        assert.deepEqual(m.on(to, () => traced.server.receive(new Uint8Array(10)))?.stackTrace, CHAIN)
      }
      assert.equal(taken, 2)
      m.on(to, () => traced.server.set({ stackTrace: false }))
      m.on(0, () => traced.client.send(text('three')))
      assert.equal(m.on(to, () => traced.server.receive(new Uint8Array(10)))?.stackTrace, undefined)
      m.finish()
    })

    test('is a stack that the sender chooses, though nobody has asked', () => {
      const m = new LocalMachine(2)
      const { client, server } = m.connect(0, to)
      m.on(0, () => client.send(text('x'), { stackTrace: CHAIN }))
      assert.deepEqual(m.on(to, () => server.receive(new Uint8Array(10)))?.stackTrace, CHAIN)
      // Unchosen, it is that of whoever sends.
      m.on(0, function sender() {
        client.send(text('x'), { stackTrace: true })
      })
      const [own, ...rest] = m.on(to, () => server.receive(new Uint8Array(10)))!.stackTrace!.hops
      assert.deepEqual([own?.kind, own?.cpu, own?.frames[0]?.function, rest], ['process', 0, 'sender', []])
      m.finish()
    })

    test('is cut at its far end to what the receiver’s buffer has room for', () => {
      const m = new LocalMachine(2)
      const { client, server } = m.connect(0, to, 'stream', { receiveBytes: 4000, sendBytes: 4000 })
      m.on(0, () => client.send(text('x'), { stackTrace: LONG }))
      assert(server.readableBytes <= 2001)
      const chain = m.on(to, () => server.receive(new Uint8Array(10)))?.stackTrace
      assert.equal(chain?.end, 'limit')
      assert.equal(chain?.hops.length, 1)
      // All of the buffer is free again.
      assert.equal(
        m.on(0, () => client.send(new Uint8Array(5000))),
        4000,
      )
      m.finish()
    })

    test('is who sent it: of each message where the receiver has asked for it, or of one', () => {
      const m = new LocalMachine(2)
      const asked = m.connect(0, to, 'seqpacket', { passCredentials: true })
      m.on(0, () => asked.client.send(text('x')))
      const credentials = m.on(to, () => asked.server.receive(new Uint8Array(10)))?.credentials
      assert.deepEqual([credentials?.cpu, credentials?.name], [0, 'job 0'])
      assert((credentials?.thread ?? -1) >= 0)
      const other = m.connect(0, to)
      m.on(0, () => other.client.send(text('x'), { credentials: true }))
      m.on(0, () => other.client.send(text('y')))
      assert.equal(m.on(to, () => other.server.receive(new Uint8Array(10)))?.credentials?.name, 'job 0')
      assert.equal(m.on(to, () => other.server.receive(new Uint8Array(10)))?.credentials, undefined)
      m.finish()
    })

    test('of datagrams is what their receiver wants when they go, of when they were sent', () => {
      const stacks: Chain[] = [CHAIN, { hops: [], end: 'evicted' }]
      const m = new LocalMachine(2, 1, { chainOf: () => stacks.shift()! })
      const server = m.on(to, (local) => local.datagram({ name: '/server', stackTrace: true, passCredentials: true }))
      const client = m.on(0, (local) => local.datagram({ name: '/client' }))
      m.on(0, () => client.send(text('x'), '/server'))
      const first = m.on(to, () => server.receive(new Uint8Array(10)))
      assert.deepEqual([first?.stackTrace, first?.credentials?.name, first?.from], [CHAIN, 'job 0', '/client'])
      m.on(to, () => server.set({ stackTrace: false, passCredentials: false }))
      m.on(0, () => client.send(text('x'), '/server'))
      const second = m.on(to, () => server.receive(new Uint8Array(10)))
      assert.deepEqual([second?.stackTrace, second?.credentials, second?.from], [undefined, undefined, '/client'])
      m.finish()
    })

    test('does not come with a read, and does not stay in the buffer', () => {
      const m = new LocalMachine(2, 1, { chainOf: () => CHAIN })
      const { client, server } = m.connect(0, to, 'stream', { stackTrace: true, receiveBytes: 3000 })
      for (let i = 0; i < 20; i++) {
        assert.equal(
          m.on(0, () => client.send(text('hello'))),
          5,
        )
        assert.equal(
          m.on(to, () => server.read(new Uint8Array(100))),
          5,
        )
      }
      m.finish()
    })
  })
}

test('a program outside of threads is called by the CPU’s name for it', () => {
  const m = new LocalMachine(1, 1, { program: 'the program' })
  const [a, b] = m.on(0, (local) => local.pair('stream'))
  m.on(0, (local) => local.call(() => a.send(text('x'), { credentials: true })))
  const { credentials } = m.on(0, () => b.receive(new Uint8Array(1)))!
  assert.deepEqual(credentials, { cpu: 0, thread: -1, name: 'the program' })
  m.finish()
})

test('what a program is told goes back to who sent it, where messages are traced; and that can be the stack that goes along', () => {
  const chains = new Map<number, () => Chain>()
  const m = new LocalMachine(2, 1, { trace: 'all', chainOf: () => chains.get(1)!() })
  const reader = new ChainReader(m.machine.memory)
  chains.set(1, () => reader.chain(m.machine.cpus[1]!.tracer.current))
  const there = m.connect(0, 1)
  const back = m.connect(1, 0, 'stream', { stackTrace: true })
  there.server.onReadable = () => back.client.send(text('answer'))
  m.on(0, () => there.client.send(text('question')))
  const chain = m.on(0, () => back.server.receive(new Uint8Array(10)))?.stackTrace
  assert.deepEqual([chain?.hops[0]?.kind, chain?.hops[0]?.cpu, chain?.hops[0]?.to], ['send', 0, 'local sockets 1'])
  m.finish()
})
