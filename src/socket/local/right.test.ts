import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Errno } from '../../base/errno.ts'
import { Limits } from '../../base/limits.ts'
import { Plain } from '../../kernel/message.ts'
import { EMPTY_CHAIN } from '../../kernel/trace/chain.ts'
import { LocalPort, type LocalRight } from './right.ts'
import { LocalSocket } from './socket.ts'
import { LocalMachine, receive, text } from './testing/machine.ts'

/** Reads a message with one socket. */
function takeSocket(m: LocalMachine, cpu: number, from: LocalSocket): LocalSocket {
  const message = m.on(cpu, () => from.receive(new Uint8Array(10)))
  assert(message?.rights[0] instanceof LocalSocket)
  assert.equal(message.controlTruncated, false)
  return message.rights[0]
}

function give(m: LocalMachine, cpu: number, by: LocalSocket, ...rights: LocalRight[]): number {
  return m.on(cpu, () => by.send(text('.'), { rights }))
}

for (const to of [0, 1]) {
  describe(`a socket that is given to cpu ${to}`, () => {
    test('comes with all that it has received, and goes on in order', () => {
      const m = new LocalMachine(3)
      const way = m.connect(0, to)
      const { client, server } = m.connect(2, 0)
      m.on(2, () => client.send(text('before, ')))
      assert.equal(give(m, 0, way.client, server), 1)
      assert.equal(server.state, 'given')
      m.on(2, () => client.send(text('meanwhile, ')))
      const got = takeSocket(m, to, way.server)
      assert.equal(m.locals[0]!.inFlight, 0)
      m.on(2, () => client.send(text('after')))
      assert.equal(
        m.on(to, () => receive(got)),
        'before, meanwhile, after',
      )
      m.on(to, () => got.send(text('answer')))
      assert.equal(
        m.on(2, () => receive(client)),
        'answer',
      )
      assert.deepEqual([got.name, got.peerName, got.peerCredentials?.cpu], [server.name, '', 2])
      m.on(2, () => client.close())
      assert.equal(got.ended, true)
      m.finish()
    })

    test('carries what its new program has set and shut before it has come', () => {
      const m = new LocalMachine(3, 1, { chainOf: () => EMPTY_CHAIN })
      const way = m.connect(0, to)
      const { client, server } = m.connect(2, 0)
      give(m, 0, way.client, server)
      const got = m.on(to, () => {
        const socket = way.server.receive(new Uint8Array(10))!.rights[0] as LocalSocket
        socket.set({ stackTrace: true })
        socket.shutdown('write')
        return socket
      })
      assert.equal(client.ended, true)
      m.on(2, () => client.send(text('x')))
      assert.deepEqual(m.on(to, () => got.receive(new Uint8Array(10)))?.stackTrace, EMPTY_CHAIN)
      m.finish()
    })

    test('is no more its giver’s', () => {
      const m = new LocalMachine(3)
      const way = m.connect(0, to)
      const { client, server } = m.connect(2, 0)
      give(m, 0, way.client, server)
      assert.equal(
        m.on(0, () => server.send(text('x'))),
        -Errno.EBADF,
      )
      assert.equal(give(m, 0, way.client, server), -Errno.EBADF)
      m.on(2, () => client.send(text('hello')))
      assert.equal(
        m.on(0, () => receive(server)),
        undefined,
      )
      m.on(0, () => {
        server.close()
        server.shutdown('both')
      })
      const got = takeSocket(m, to, way.server)
      assert.equal(
        m.on(to, () => receive(got)),
        'hello',
      )
      m.finish()
    })

    test('can be used, and closed, before it has come', () => {
      const m = new LocalMachine(3)
      const way = m.connect(0, to)
      const first = m.connect(2, 0)
      const second = m.connect(2, 0)
      m.on(2, () => first.client.send(text('hello')))
      give(m, 0, way.client, first.server, second.server)
      const told: string[] = []
      m.on(to, () => {
        const [a, b] = way.server.receive(new Uint8Array(10))!.rights as LocalSocket[]
        a!.onReadable = () => told.push(receive(a!) ?? 'nothing')
        const code = a!.send(text('x'))
        assert(code === 1 || code === -Errno.EAGAIN)
        a!.onWritable = () => a!.send(text('x'))
        b!.close()
      })
      assert.deepEqual(told, ['hello'])
      assert.equal(
        m.on(2, () => receive(first.client)),
        'x',
      )
      assert.equal(second.client.ended, true)
      m.finish()
    })

    test('is closed when its message is lost: read without a look at it, or unread when the receiver is closed', () => {
      const m = new LocalMachine(3)
      const way = m.connect(0, to)
      const one = m.connect(2, 0)
      const two = m.connect(2, 0)
      give(m, 0, way.client, one.server)
      assert.equal(
        m.on(to, () => way.server.read(new Uint8Array(10))),
        1,
      )
      assert.equal(one.client.ended, true)
      give(m, 0, way.client, two.server)
      m.post(to, () => way.server.close())
      m.run()
      assert.equal(two.client.ended, true)
      assert.deepEqual([m.count('rightsDropped'), m.locals[0]!.inFlight], [2, 0])
      m.finish()
    })
  })
}

test('both ends of a connection can move at once, and to where the other was', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const m = new LocalMachine(4, seed)
    const toThird = m.connect(0, 2)
    const toFourth = m.connect(1, 3)
    const { client, server } = m.connect(0, 1)
    m.on(0, () => client.send(text('a')))
    m.on(1, () => server.send(text('b')))
    m.post(0, () => toThird.client.send(text('.'), { rights: [client] }))
    m.post(1, () => toFourth.client.send(text('.'), { rights: [server] }))
    m.run()
    // Neither has moved before the other is asked to.
    const takes = [
      m.post(2, () => toThird.server.receive(new Uint8Array(1))),
      m.post(3, () => toFourth.server.receive(new Uint8Array(1))),
    ]
    m.run()
    const [a, b] = takes.map((take) => take()!.rights[0] as LocalSocket) as [LocalSocket, LocalSocket]
    m.post(2, () => a.send(text('c')))
    m.post(3, () => b.send(text('d')))
    m.run()
    assert.equal(
      m.on(2, () => receive(a)),
      'bd',
    )
    assert.equal(
      m.on(3, () => receive(b)),
      'ac',
    )
    m.finish()
  }
})

test('a socket whose peer was closed while it was given away is read to its end', () => {
  const m = new LocalMachine(3)
  const way = m.connect(0, 1)
  const { client, server } = m.connect(2, 0)
  give(m, 0, way.client, server)
  m.on(2, () => {
    client.send(text('last'))
    client.close()
  })
  const got = takeSocket(m, 1, way.server)
  assert.equal(
    m.on(1, () => receive(got)),
    'last',
  )
  assert.equal(got.ended, true)
  m.finish()
})

describe('sockets in messages of sockets in messages', () => {
  test('are no more than four deep', () => {
    const m = new LocalMachine(1)
    m.on(0, (local) => {
      let [sender, receiver] = local.pair('stream')
      for (let depth = 1; depth <= Limits.localNesting; depth++) {
        const [nextSender, nextReceiver] = local.pair('stream')
        assert.equal(nextSender.send(text('.'), { rights: [receiver] }), 1)
        sender.close()
        sender = nextSender
        receiver = nextReceiver
      }
      const [last] = local.pair('stream')
      assert.equal(last.send(text('.'), { rights: [receiver] }), -Errno.ETOOMANYREFS)
      // The outermost takes all with it.
      sender.close()
      receiver.close()
      last.close()
    })
    assert.equal(m.locals[0]!.inFlight, 0)
    m.finish()
  })

  test('come out again, one after the other, on another CPU', () => {
    const m = new LocalMachine(2)
    const way = m.connect(0, 1)
    const { client, server } = m.connect(0, 0)
    const inner = m.connect(0, 0)
    m.on(0, () => inner.client.send(text('hello')))
    give(m, 0, client, inner.server)
    give(m, 0, way.client, server)
    const outer = takeSocket(m, 1, way.server)
    const got = takeSocket(m, 1, outer)
    assert.equal(
      m.on(1, () => receive(got)),
      'hello',
    )
    m.finish()
  })

  test('are never inside themselves: on one CPU that is said at once', () => {
    const m = new LocalMachine(1)
    const one = m.connect(0, 0)
    const two = m.connect(0, 0)
    assert.equal(give(m, 0, one.client, one.server), -Errno.ETOOMANYREFS)
    assert.equal(give(m, 0, two.client, one.server), 1)
    // It would be inside of one that is inside of it.
    assert.equal(give(m, 0, one.client, two.server), -Errno.ETOOMANYREFS)
    assert.equal(two.server.state, 'open')
    m.finish()
  })

  test('are never inside themselves: where two CPUs do it at once, all are closed, and nothing is left', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const m = new LocalMachine(2, seed)
      const one = m.connect(0, 1)
      const two = m.connect(1, 0)
      // The end that each gives away is the one that the other one's message goes to.
      const codes = [
        m.post(0, () => one.client.send(text('.'), { rights: [two.server] })),
        m.post(1, () => two.client.send(text('.'), { rights: [one.server] })),
      ]
      m.run()
      assert.deepEqual(
        codes.map((code) => code()),
        [1, 1],
      )
      // Nobody has them any more, unless the one was there before the other was given.
      assert(m.count('rightsDropped') > 0, `seed ${seed}`)
      m.on(0, () => one.client.close())
      m.on(1, () => two.client.close())
      m.rest()
      assert.deepEqual([m.locals[0]!.size, m.locals[1]!.size, m.count('rightsQueued')], [0, 0, 0], `seed ${seed}`)
      m.finish()
    }
  })

  test('are given up where they would be too deep, and the message says so', () => {
    const m = new LocalMachine(2)
    const way = m.connect(1, 1)
    const { client, server } = m.connect(0, 1)
    const other = m.connect(0, 0)
    give(m, 1, way.client, server)
    // Its peer does not know that it is in a message, of the lowest rank.
    assert.equal(give(m, 0, client, other.server), 1)
    assert.equal(other.client.ended, true)
    const got = takeSocket(m, 1, way.server)
    const message = m.on(1, () => got.receive(new Uint8Array(10)))
    assert.deepEqual([message?.bytes, message?.controlTruncated, message?.rights.length], [1, true, 0])
    m.finish()
  })
})

test('rights that cannot be sent are refused, and nothing is given away', () => {
  const m = new LocalMachine(2)
  const { client } = m.connect(0, 1)
  const [a, b] = m.on(0, (local) => local.pair('stream'))
  const [far] = m.on(1, (local) => local.pair('stream'))
  assert.equal(give(m, 0, client, a, a), -Errno.EINVAL)
  assert.equal(give(m, 0, client, a, far), -Errno.EINVAL)
  assert.equal(
    m.on(0, () => client.send(text(''), { rights: [a] })),
    -Errno.EINVAL,
  )
  m.on(0, () => b.close())
  assert.equal(give(m, 0, client, a, b), -Errno.EBADF)
  const listener = m.on(0, (local) => local.listen({ name: '/listener', kind: 'stream' }))
  assert.equal(give(m, 0, client, a, listener as unknown as LocalSocket), -Errno.EINVAL)
  m.on(0, (local) => {
    const many = Array.from({ length: 254 }, () => local.pair('stream')[0])
    assert.equal(client.send(text('.'), { rights: many }), -Errno.EINVAL)
    assert.equal(client.send(text('.'), { rights: many.slice(1) }), 1)
  })
  assert.equal(a.state, 'open')
  m.finish()
})

test('no more than so many sockets of a CPU are in messages', () => {
  const m = new LocalMachine(2)
  const { client } = m.connect(0, 1, 'stream', { receiveBytes: 1e6, receiveMessages: 4096 })
  m.on(0, (local) => {
    for (let i = 0; i < Limits.localInFlight; i++) {
      const [a, b] = local.pair('datagram')
      assert.equal(client.send(text('.'), { rights: [a] }), 1)
      b.close()
    }
    assert.equal(client.send(text('.'), { rights: [local.pair('stream')[0]] }), -Errno.ETOOMANYREFS)
  })
  m.finish()
})

test('where the receiver’s CPU has no room for another socket the right is lost, and it is told', () => {
  const m = new LocalMachine(2)
  const way = m.connect(0, 1)
  const other = m.connect(0, 0)
  give(m, 0, way.client, other.server)
  m.on(1, (local) => {
    while (local.size + 2 <= Limits.localSockets) local.pair('stream')
    if (local.size < Limits.localSockets) local.datagram()
  })
  const message = m.on(1, () => way.server.receive(new Uint8Array(1)))
  assert.deepEqual([message?.controlTruncated, message?.rights.length], [true, 0])
  assert.equal(other.client.ended, true)
  m.finish()
})

describe('the right of a port', () => {
  test('lets its receiver send to the port, and its maker know when nobody can any more', () => {
    const m = new LocalMachine(3)
    const { client, server } = m.connect(0, 1)
    const onward = m.connect(1, 2)
    let released = 0
    let served = 0
    const right = m.on(0, (local) => {
      const port = local.cpu.ports.create({
        handler: () => {
          served++
          return 0
        },
      })
      return local.portRight(port.id, () => {
        released++
        local.cpu.ports.close(port)
      })
    })
    assert.equal(give(m, 0, client, right), 1)
    assert.equal(right.isOpen, false)
    const [got] = m.on(1, () => server.receive(new Uint8Array(1)))!.rights
    assert(got instanceof LocalPort)
    assert.equal(give(m, 1, onward.client, got), 1)
    const [last] = m.on(2, () => onward.server.receive(new Uint8Array(1)))!.rights
    assert(last instanceof LocalPort)
    m.on(2, ({ cpu }) => cpu.ports.send(last.port, cpu.ports.allocate(Plain)))
    assert.deepEqual([served, released], [1, 0])
    m.on(2, () => {
      last.close()
      last.close()
    })
    assert.equal(released, 1)
    m.finish()
  })

  test('is over when its message is lost', () => {
    const m = new LocalMachine(2)
    const { client, server } = m.connect(0, 1)
    let released = 0
    m.on(0, (local) => {
      client.send(text('.'), { rights: [local.portRight(99, () => released++)] })
      local.datagram().send(text('.'), '/nobody', { rights: [local.portRight(99, () => released++)] })
    })
    assert.equal(released, 1)
    m.on(1, () => server.close())
    assert.equal(released, 2)
    m.finish()
  })

  test('is given out so many times', () => {
    const m = new LocalMachine(1)
    m.on(0, (local) => {
      for (let i = 0; i < Limits.localPortRights; i++) local.portRight(99)
      assert.throws(() => local.portRight(99), { code: 'ENFILE' })
    })
    m.finish()
  })
})

test('rights go with datagrams too, also with those that wait', () => {
  const m = new LocalMachine(2)
  const server = m.on(1, (local) => local.datagram({ name: '/server', receiveMessages: 1 }))
  const client = m.on(0, (local) => local.datagram())
  const pairs = m.on(0, (local) => {
    const all = [local.pair('stream'), local.pair('stream')]
    for (const [a] of all) assert.equal(client.send(text('.'), '/server', { rights: [a] }), 1)
    return all
  })
  assert.deepEqual([m.count('rightsQueued'), m.count('rightsWaiting')], [1, 1])
  m.rest(false)
  for (const [, b] of pairs) {
    const [got] = m.on(1, () => server.receive(new Uint8Array(1)))!.rights as LocalSocket[]
    m.on(1, () => got!.send(text('hello')))
    assert.equal(
      m.on(0, () => receive(b)),
      'hello',
    )
  }
  m.finish()
})

test('what goes along with a stream is a barrier: one read has it with its first byte, and nothing of what is before or behind', () => {
  for (const to of [0, 1]) {
    const m = new LocalMachine(2)
    const { client, server } = m.connect(0, to)
    m.on(0, () => {
      client.send(text('before'))
      client.send(text('with'), { stackTrace: EMPTY_CHAIN })
      client.send(text('behind'))
      client.send(text('!'))
    })
    const read = (bytes: number) => {
      const buffer = new Uint8Array(bytes)
      const message = m.on(to, () => server.receive(buffer))!
      return [Buffer.from(buffer.subarray(0, message.bytes)).toString(), message.stackTrace !== undefined]
    }
    assert.deepEqual(read(100), ['before', false])
    assert.deepEqual(read(2), ['wi', true])
    // What is left of it is a stream like all else.
    assert.deepEqual(read(100), ['thbehind!', false])
    m.finish()
  }
})
