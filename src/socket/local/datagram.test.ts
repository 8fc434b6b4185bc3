import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Errno } from '../../base/errno.ts'
import type { LocalDatagram } from './datagram.ts'
import { LocalMachine, receive, text } from './testing/machine.ts'

function bound(m: LocalMachine, cpu: number, name: string, options: object = {}): LocalDatagram {
  return m.on(cpu, (local) => local.datagram({ name, ...options }))
}

/** All that waits. */
function drain(m: LocalMachine, cpu: number, socket: LocalDatagram): string[] {
  return m.on(cpu, () => {
    const all: string[] = []
    for (let next = receive(socket); next !== undefined; next = receive(socket)) all.push(next)
    return all
  })
}

for (const [from, to] of [
  [0, 0],
  [0, 1],
  [1, 2],
] as const) {
  describe(`datagrams from cpu ${from} to cpu ${to}`, () => {
    test('arrive whole, in order, with the name of who sent them, and are answered', () => {
      const m = new LocalMachine(3)
      const server = bound(m, to, '/server')
      const client = bound(m, from, '/client')
      let told = 0
      server.onReadable = () => told++
      m.on(from, () => {
        for (const each of ['one', '', 'three']) assert.equal(client.send(text(each), '/server'), each.length)
      })
      assert(told > 0)
      const buffer = new Uint8Array(2)
      const first = m.on(to, () => server.receive(buffer))
      assert.deepEqual([first?.bytes, first?.length, first?.truncated, first?.from], [2, 3, true, '/client'])
      assert.deepEqual(drain(m, to, server), ['', 'three'])
      m.on(to, () => server.send(text('answer'), first!.from))
      assert.deepEqual(drain(m, from, client), ['answer'])
      m.finish()
    })

    test('wait for their receiver’s room, are bounded at their sender, and none is lost', () => {
      const m = new LocalMachine(3)
      const server = bound(m, to, '/server', { receiveMessages: 3 })
      const client = m.on(from, (local) => local.datagram({ sendBytes: 2000 }))
      let writable = 0
      client.onWritable = () => writable++
      const results = m.on(from, () =>
        Array.from({ length: 30 }, (_, i) => client.send(text(`${i}`.padEnd(100)), '/server')),
      )
      const accepted = results.filter((each) => each === 100).length
      assert(accepted > 10 && accepted < 30)
      assert(results.slice(accepted).every((each) => each === -Errno.EAGAIN))
      assert.equal(server.length, 3)
      assert.equal(client.waiting, accepted - 3)
      const got = [...drain(m, to, server)]
      for (let next = drain(m, to, server); next.length > 0; next = drain(m, to, server)) {
        assert(next.length <= 3)
        got.push(...next)
      }
      assert.deepEqual(
        got.map(Number),
        Array.from({ length: accepted }, (_, i) => i),
      )
      // Told once, as it has been refused: by now, or when the first went.
      assert.equal(writable, 1)
      m.finish()
    })

    test('that nobody can get are told to their sender', () => {
      const m = new LocalMachine(3)
      const errors: [number, string][] = []
      m.on(to, (local) => local.listen({ name: '/stream', kind: 'stream' }))
      bound(m, to, '/small', { receiveBytes: 50 })
      m.on(from, (local) => {
        const client = local.datagram({ sendBytes: 1000 })
        client.onError = (errno, name) => errors.push([errno, name])
        client.send(text('x'), '/nobody')
        client.send(text('x'), '/nobody')
        client.send(text('x'), '/stream')
        client.send(new Uint8Array(100), '/small')
        assert.equal(client.send(new Uint8Array(1001), '/small'), -Errno.EMSGSIZE)
        assert.equal(client.send(text('x')), -Errno.EDESTADDRREQ)
      })
      assert.deepEqual(
        errors.sort(([, a], [, b]) => (a < b ? -1 : 1)),
        [
          [Errno.ENOENT, '/nobody'],
          [Errno.EMSGSIZE, '/small'],
          [Errno.EPROTOTYPE, '/stream'],
        ],
      )
      assert.equal(m.count('droppedRefused'), 4)
      m.finish()
    })

    test('of a connected socket go to its target only, which hears nobody else when it is connected back', () => {
      const m = new LocalMachine(3)
      const server = bound(m, to, '/server')
      const client = bound(m, from, '/client')
      const other = bound(m, from, '/other')
      const done: (string | undefined)[] = []
      const errors: number[] = []
      other.onError = (errno) => errors.push(errno)
      m.on(from, () => client.connect('/server', (error) => done.push(error?.code)))
      m.on(to, () => server.connect('/client', (error) => done.push(error?.code)))
      m.on(from, () => client.send(text('hello')))
      m.on(from, () => other.send(text('intruder'), '/server'))
      assert.deepEqual(drain(m, to, server), ['hello'])
      assert.deepEqual([...errors], [Errno.EPERM])
      m.on(to, () => server.close())
      // Another one has the name now, and is another one.
      const next = bound(m, to, '/server')
      client.onError = (errno) => errors.push(errno)
      m.on(from, () => client.send(text('anybody there?')))
      m.on(from, () => other.send(text('new'), '/server'))
      assert.deepEqual(errors, [Errno.EPERM, Errno.ECONNREFUSED])
      assert.deepEqual(drain(m, to, next), ['new'])
      m.on(from, () => client.connect('/nobody', (error) => done.push(error?.code)))
      assert.deepEqual(done, [undefined, undefined, 'ENOENT'])
      m.finish()
    })

    test('that were accepted still arrive when their sender is closed', () => {
      const m = new LocalMachine(3)
      const server = bound(m, to, '/server', { receiveMessages: 1 })
      m.on(from, (local) => {
        const client = local.datagram()
        for (let i = 0; i < 4; i++) client.send(text(`${i}`), '/server')
        client.close()
        assert.equal(client.send(text('x'), '/server'), -Errno.EBADF)
      })
      const got: string[] = []
      for (let next = drain(m, to, server); next.length > 0; next = drain(m, to, server)) got.push(...next)
      assert.deepEqual(got, ['0', '1', '2', '3'])
      m.finish()
    })
  })
}

test('a receiver without room makes nobody wait but those who send to it', () => {
  const m = new LocalMachine(2)
  bound(m, 1, '/slow', { receiveMessages: 1 })
  const quick = bound(m, 1, '/quick')
  const client = m.on(0, (local) => local.datagram())
  m.on(0, () => {
    for (let i = 0; i < 5; i++) client.send(text('x'), '/slow')
    client.send(text('y'), '/quick')
  })
  assert.deepEqual(drain(m, 1, quick), ['y'])
  assert.equal(client.waiting, 4)
  m.finish()
})

test('senders get room in the order in which they ask, also the one with the large datagram', () => {
  const m = new LocalMachine(3)
  const server = bound(m, 0, '/server', { receiveBytes: 1000 })
  const large = m.on(1, (local) => local.datagram())
  const small = m.on(2, (local) => local.datagram())
  m.on(2, () => small.send(new Uint8Array(600), '/server'))
  m.on(1, () => large.send(new Uint8Array(900), '/server'))
  m.on(2, () => small.send(new Uint8Array(10), '/server'))
  const lengths: number[] = []
  for (let i = 0; i < 3; i++) lengths.push(m.on(0, () => server.receive(new Uint8Array(1000)))!.length)
  assert.deepEqual(lengths, [600, 900, 10])
  m.finish()
})

test('a socket sends to so many names at a time, and forgets those for which nothing waits', () => {
  const m = new LocalMachine(2)
  const servers = Array.from({ length: 70 }, (_, i) => bound(m, 1, `/${i}`, { receiveMessages: 1 }))
  const client = m.on(0, (local) => local.datagram())
  const send = (count: number) => m.on(0, () => servers.slice(0, count).map((_, i) => client.send(text('x'), `/${i}`)))
  assert.equal(send(70).filter((each) => each === 1).length, 64)
  // Their receivers are full.
  assert.equal(send(64).filter((each) => each === 1).length, 64)
  assert.equal(
    m.on(0, () => client.send(text('x'), '/69')),
    -Errno.EAGAIN,
  )
  assert.deepEqual(drain(m, 1, servers[0]!), ['x'])
  assert.equal(
    m.on(0, () => client.send(text('x'), '/69')),
    1,
  )
  m.finish()
})
