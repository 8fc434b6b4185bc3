import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Errno } from '../../base/errno.ts'
import type { LocalSocket } from './socket.ts'
import { LocalMachine, receive, text } from './testing/machine.ts'

/** Both ends on one CPU, and on two, the name being kept by one or the other. */
const PLACES = [
  [0, 0],
  [0, 1],
  [1, 0],
  [2, 1],
] as const

for (const [from, to] of PLACES) {
  describe(`a connection from cpu ${from} to cpu ${to}`, () => {
    test('carries a stream both ways, in pieces as large as the reader likes', () => {
      const m = new LocalMachine(3)
      const { client, server } = m.connect(from, to)
      assert.equal(
        m.on(from, () => client.send(text('hello '))),
        6,
      )
      m.on(from, () => client.send(text('world')))
      assert.equal(
        m.on(to, () => receive(server, 8)),
        'hello wo',
      )
      assert.equal(
        m.on(to, () => receive(server, 8)),
        'rld',
      )
      assert.equal(
        m.on(to, () => receive(server, 8)),
        undefined,
      )
      m.on(to, () => server.send(text('back')))
      assert.equal(
        m.on(from, () => receive(client)),
        'back',
      )
      m.finish()
    })

    test('keeps the boundaries of messages, tells of what was cut, and knows empty ones', () => {
      const m = new LocalMachine(3)
      const { client, server } = m.connect(from, to, 'seqpacket')
      m.on(from, () => {
        for (const each of ['one', '', 'three']) assert.equal(client.send(text(each)), each.length)
      })
      const first = m.on(to, () => server.receive(new Uint8Array(2)))
      assert.deepEqual([first?.bytes, first?.length, first?.truncated], [2, 3, true])
      const second = m.on(to, () => server.receive(new Uint8Array(2)))
      assert.deepEqual([second?.bytes, second?.length, second?.truncated], [0, 0, false])
      assert.equal(
        m.on(to, () => receive(server)),
        'three',
      )
      m.finish()
    })

    test('is read to its end after the peer has closed it, and then sending says EPIPE', () => {
      const m = new LocalMachine(3)
      const { client, server } = m.connect(from, to)
      let told = 0
      server.onReadable = () => told++
      m.on(from, () => {
        client.send(text('last'))
        client.close()
      })
      assert(told > 0)
      assert.equal(server.ended, false)
      assert.equal(
        m.on(to, () => receive(server)),
        'last',
      )
      assert.equal(server.ended, true)
      assert.equal(
        m.on(to, () => server.send(text('x'))),
        -Errno.EPIPE,
      )
      assert.equal(
        m.on(from, () => client.send(text('x'))),
        -Errno.EBADF,
      )
      m.finish()
    })

    test('is reset by a close with something unread, also where that was still on its way', () => {
      const m = new LocalMachine(3)
      for (const isEarly of [false, true]) {
        const { client, server } = m.connect(from, to)
        const errors: number[] = []
        client.onError = (errno) => errors.push(errno)
        const sent = m.post(from, () => client.send(text('unread')))
        if (!isEarly) m.run()
        m.post(to, () => server.close())
        m.run()
        // Where the close was known before, nothing was sent.
        assert(sent() > 0 || isEarly)
        assert.deepEqual(errors, sent() > 0 ? [Errno.ECONNRESET] : [])
        assert.equal(client.ended, true)
      }
      assert(m.count('droppedClosed') > 0)
      m.finish()
    })

    test('is shut in one direction, and open in the other', () => {
      const m = new LocalMachine(3)
      const { client, server } = m.connect(from, to)
      m.on(from, () => client.shutdown('write'))
      assert.equal(server.ended, true)
      assert.equal(
        m.on(from, () => client.send(text('x'))),
        -Errno.EPIPE,
      )
      m.on(to, () => server.send(text('still')))
      assert.equal(
        m.on(from, () => receive(client)),
        'still',
      )
      m.on(from, () => client.shutdown('read'))
      assert.equal(
        m.on(to, () => server.send(text('x'))),
        -Errno.EPIPE,
      )
      m.finish()
    })

    test('accepts no more than its peer has room for, and tells when there is some again', () => {
      const m = new LocalMachine(3)
      const { client, server } = m.connect(from, to, 'stream', { receiveBytes: 1000 })
      let writable = 0
      client.onWritable = () => writable++
      assert.equal(
        m.on(from, () => client.send(new Uint8Array(1500))),
        1000,
      )
      assert.equal(
        m.on(from, () => client.send(text('x'))),
        -Errno.EAGAIN,
      )
      assert.equal(server.readableBytes, 1000)
      assert.equal(writable, 0)
      assert.equal(
        m.on(to, () => server.read(new Uint8Array(600))),
        600,
      )
      assert.equal(writable, 1)
      assert.equal(
        m.on(from, () => client.send(new Uint8Array(1500))),
        600,
      )
      m.finish()
    })

    test('accepts no more messages than its peer has room for, though they are small', () => {
      const m = new LocalMachine(3)
      const { client, server } = m.connect(from, to, 'seqpacket', { receiveMessages: 4 })
      let writable = 0
      client.onWritable = () => writable++
      const sent = m.on(from, () => Array.from({ length: 6 }, () => client.send(text('x'))))
      assert.deepEqual(sent, [1, 1, 1, 1, -Errno.EAGAIN, -Errno.EAGAIN])
      m.on(to, () => receive(server))
      assert.equal(writable, 1)
      assert.equal(
        m.on(from, () => client.send(new Uint8Array(300_000))),
        -Errno.EMSGSIZE,
      )
      m.finish()
    })

    test('keeps a writer of single bytes from filling the reader’s queue with packets', () => {
      const m = new LocalMachine(3)
      const { client, server } = m.connect(from, to, 'stream', { receiveMessages: 8 })
      for (let i = 0; i < 100; i++)
        assert.equal(
          m.on(from, () => client.send(text('x'))),
          1,
        )
      assert.equal(server.length, 1)
      assert.equal(
        m.on(to, () => receive(server)),
        'x'.repeat(100),
      )
      m.finish()
    })

    test('knows both names, and who is at the other end', () => {
      const m = new LocalMachine(3)
      const listener = m.on(to, (local) => local.listen({ name: '/run/service', kind: 'stream' }))
      const client = m.on(from, (local) => local.connect({ name: '/run/service', kind: 'stream', from: '/run/client' }))
      const server = m.on(to, () => listener.accept())!
      assert.deepEqual([client.name, client.peerName], ['/run/client', '/run/service'])
      assert.deepEqual([server.name, server.peerName], ['/run/service', '/run/client'])
      assert.deepEqual([client.peerCredentials?.cpu, client.peerCredentials?.name], [to, `job ${to}`])
      assert.deepEqual([server.peerCredentials?.cpu, server.peerCredentials?.name], [from, `job ${from}`])
      m.finish()
    })
  })
}

describe('connecting', () => {
  /** How an attempt ends. */
  function attempt(
    m: LocalMachine,
    cpu: number,
    name: string,
    kind: 'stream' | 'seqpacket' = 'stream',
    from?: string,
  ): number {
    const ends: number[] = []
    m.on(cpu, (local) => {
      const socket = local.connect({ name, kind, ...(from === undefined ? {} : { from }) })
      socket.onConnect = (errno) => ends.push(errno)
    })
    assert.equal(ends.length, 1)
    return ends[0]!
  }

  test('says what is wrong: nobody, another kind, nobody who listens, a full backlog, a name in use', () => {
    const m = new LocalMachine(3)
    const listener = m.on(1, (local) => local.listen({ name: '/a', kind: 'stream', backlog: 2 }))
    m.on(1, (local) => local.datagram({ name: '/d' }))
    assert.equal(attempt(m, 0, '/nobody'), Errno.ENOENT)
    assert.equal(attempt(m, 0, '/a', 'seqpacket'), Errno.EPROTOTYPE)
    assert.equal(attempt(m, 0, '/d'), Errno.EPROTOTYPE)
    assert.equal(attempt(m, 0, '/a', 'stream', '/d'), Errno.EADDRINUSE)
    assert.equal(attempt(m, 0, '/a', 'stream', '/mine'), 0)
    assert.equal(attempt(m, 2, '/mine'), Errno.ECONNREFUSED)
    assert.equal(attempt(m, 2, '/a'), 0)
    assert.equal(attempt(m, 0, '/a'), Errno.EAGAIN)
    m.on(1, () => listener.accept())
    assert.equal(attempt(m, 0, '/a'), 0)
    m.on(1, () => listener.close())
    assert.equal(attempt(m, 0, '/a'), Errno.ENOENT)
    assert.equal(m.count('droppedBacklog'), 2)
    m.finish()
  })

  test('a name is free again at once when its socket is closed, and not before', () => {
    const m = new LocalMachine(3)
    const errors: (string | undefined)[] = []
    m.on(1, (local) => {
      const first = local.listen({ name: '/a', kind: 'stream' }, (error) => errors.push(error?.code))
      local.listen({ name: '/a', kind: 'stream' }, (error) => errors.push(error?.code))
      first.close()
      local.datagram({ name: '/a' }, (error) => errors.push(error?.code))
    })
    assert.deepEqual(errors, [undefined, 'EADDRINUSE', undefined])
    m.finish()
  })

  test('connections to a shared name go to its listeners on several CPUs, one after the other', () => {
    const m = new LocalMachine(3)
    const listeners = [0, 1, 2].map((cpu) =>
      m.on(cpu, (local) => local.listen({ name: '/shared', kind: 'stream', shared: true })),
    )
    for (let i = 0; i < 6; i++) assert.equal(attempt(m, i % 3, '/shared'), 0)
    assert.deepEqual(
      listeners.map((listener) => listener.length),
      [2, 2, 2],
    )
    m.on(1, () => listeners[1]!.close())
    for (let i = 0; i < 2; i++) assert.equal(attempt(m, 0, '/shared'), 0)
    assert.deepEqual([listeners[0]!.length, listeners[2]!.length], [3, 3])
    m.finish()
  })

  test('what is sent before it is accepted is there', () => {
    const m = new LocalMachine(2)
    const listener = m.on(1, (local) => local.listen({ name: '/a', kind: 'stream' }))
    let told = 0
    listener.onConnection = () => told++
    m.on(0, (local) => {
      const socket = local.connect({ name: '/a', kind: 'stream' })
      assert.equal(socket.send(text('early')), -Errno.EAGAIN)
      socket.onWritable = () => {
        socket.send(text('early'))
        socket.close()
      }
    })
    assert.equal(told, 1)
    const server = m.on(1, () => listener.accept())!
    assert.equal(
      m.on(1, () => receive(server)),
      'early',
    )
    assert.equal(server.ended, true)
    m.finish()
  })

  test('a client that is closed before it is connected leaves nothing behind', () => {
    for (let seed = 1; seed <= 10; seed++) {
      const m = new LocalMachine(3, seed)
      const listener = m.on(1, (local) => local.listen({ name: '/a', kind: 'stream' }))
      m.on(0, (local) => {
        local.connect({ name: '/a', kind: 'stream' }).close()
        local.connect({ name: '/a', kind: 'stream', from: '/b' }).close()
        local.connect({ name: '/nobody', kind: 'stream' }).close()
      })
      // Also where its name is kept on another CPU, and its peer is on its own.
      m.on(1, (local) => local.connect({ name: '/a', kind: 'stream' }).close())
      const server = m.on(1, () => listener.accept())
      assert.equal(server?.ended, true)
      assert.equal(m.locals[0]!.size, 0)
      m.finish()
    }
  })

  test('what cannot be is said at once', () => {
    const m = new LocalMachine(1)
    m.on(0, (local) => {
      assert.throws(() => local.listen({ name: '', kind: 'stream' }), { code: 'EINVAL' })
      assert.throws(() => local.listen({ name: 'é'.repeat(55), kind: 'stream' }), { code: 'ENAMETOOLONG' })
      assert.throws(() => local.listen({ name: '/a', kind: 'datagram' as 'stream' }), { code: 'EINVAL' })
      assert.throws(() => local.listen({ name: '/a', kind: 'stream', backlog: 0 }), { code: 'EINVAL' })
      assert.throws(() => local.connect({ name: '/a', kind: 'stream', receiveBytes: 1e9 }), { code: 'EINVAL' })
      assert.throws(() => local.pair('raw' as 'stream'), { code: 'EINVAL' })
    })
    m.finish()
  })

  test('a CPU has room for so many sockets, and a keeper for so many names', () => {
    const m = new LocalMachine(1)
    m.on(0, (local) => {
      const codes: (string | undefined)[] = []
      for (let i = 0; i < 1025; i++) local.datagram({ name: `/${i}` }, (error) => codes.push(error?.code))
      for (let i = 0; i < 1536; i++) local.pair('stream')
      assert.throws(() => local.pair('stream'), { code: 'ENFILE' })
      local.call(() => assert.deepEqual(codes.slice(-2), [undefined, 'ENOSPC']))
    })
    m.finish()
  })
})

test('a pair for datagrams keeps boundaries, has no end, and says ECONNREFUSED when the peer is closed', () => {
  const m = new LocalMachine(1)
  const [a, b] = m.on(0, (local) => local.pair('datagram'))
  m.on(0, () => {
    a.send(text('one'))
    a.send(text('two'))
    a.close()
  })
  assert.equal(
    m.on(0, () => receive(b)),
    'one',
  )
  assert.equal(
    m.on(0, () => receive(b)),
    'two',
  )
  assert.equal(b.ended, false)
  assert.equal(
    m.on(0, () => b.send(text('x'))),
    -Errno.ECONNREFUSED,
  )
  m.finish()
})

test('a program that ends closes all that it has, in the middle of what others send; what it has given away lives on', () => {
  for (let seed = 1; seed <= 10; seed++) {
    const m = new LocalMachine(3, seed)
    const busy = m.connect(0, 1)
    const idle = m.connect(0, 1)
    const way = m.connect(1, 2)
    const given = m.connect(0, 1)
    const errors: number[] = []
    busy.client.onError = (errno) => errors.push(errno)
    busy.client.onWritable = () => {
      while (busy.client.send(new Uint8Array(5000)) > 0);
    }
    m.post(0, () => busy.client.onWritable())
    m.on(1, (local) => {
      local.datagram({ name: '/datagram' })
      local.listen({ name: '/listener', kind: 'stream' })
      way.client.send(text('.'), { rights: [given.server] })
    })
    m.on(1, (local) => local.closeAll())
    assert.deepEqual([...errors], [Errno.ECONNRESET])
    assert.deepEqual(
      m.on(0, () => [busy.client, idle.client].map((socket) => socket.send(text('x')))),
      [-Errno.EPIPE, -Errno.EPIPE],
    )
    assert.deepEqual([busy.client.ended, idle.client.ended], [true, true])
    assert.equal(
      m.on(1, (local) => local.size),
      1,
    )
    const [socket] = m.on(2, () => way.server.receive(new Uint8Array(1)))!.rights as LocalSocket[]
    m.on(2, () => socket!.send(text('alive')))
    assert.equal(
      m.on(0, () => receive(given.client)),
      'alive',
    )
    assert.equal(m.locals[1]!.size, 0)
    m.finish()
  }
})

test('without memory a sender is told to wait, and hears when there is some; nothing is lost', () => {
  const m = new LocalMachine(2, 1, { memoryBytes: 8 * 1024 * 1024 })
  const { client, server } = m.connect(0, 1, 'stream')
  const { slab } = m.machine.cpus[0]!
  // The other CPU needs none for what it has to say.
  const hoard = m.on(0, () => {
    const all: number[] = []
    for (const size of [81920, 65536, 32768, 16384, 8192, 4096, 2048, 1024, 512, 256, 128, 64]) {
      for (let one = slab.tryAllocate(size); one !== 0; one = slab.tryAllocate(size)) all.push(one)
    }
    return all
  })
  let writable = 0
  m.post(0, () => {
    client.onWritable = () => writable++
    assert.equal(client.send(text('hello')), -Errno.EAGAIN)
    client.set({ stackTrace: true })
    for (const one of hoard) slab.free(one)
  })
  m.run()
  assert.equal(writable, 1)
  assert(m.count('noMemory') > 0)
  m.on(0, () => client.send(text('hello')))
  assert.equal(
    m.on(1, () => receive(server)),
    'hello',
  )
  m.finish()
})

test('a machine that stops in the middle frees all', () => {
  for (let seed = 1; seed <= 5; seed++) {
    const m = new LocalMachine(3, seed)
    const { client, server } = m.connect(0, 1)
    m.on(0, () => client.send(new Uint8Array(100_000)))
    m.on(1, () => server.read(new Uint8Array(50)))
    m.on(2, (local) => {
      const socket = local.datagram({ name: '/d', receiveMessages: 1 })
      for (let i = 0; i < 3; i++) socket.send(text('x'), '/d')
    })
    m.machine.stop().catch(() => {})
    for (const cpu of m.machine.cpus) {
      cpu.slab.flush()
      cpu.slab.collect()
    }
    for (const cpu of m.machine.cpus) {
      cpu.slab.collect()
      assert.equal(cpu.slab.live, 0)
    }
  }
})
