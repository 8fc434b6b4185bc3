import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Errno, KernelError } from '../base/errno.ts'
import { MBUF_BYTES } from '../device/mbuf.ts'
import { RoundKind } from '../net/control/round.ts'
import { SocketCounters, UdpCounters } from '../net/counters.ts'
import {
  BROADCAST,
  checksumOf,
  counting,
  ether,
  fragments,
  icmp,
  put16,
  text,
  udp,
  udpSegment,
} from '../net/testing/frame.ts'
import { HOST, onHosts, PEER, PEER_LINK, portOwnedBy, type TestHost, withHost } from '../net/testing/host.ts'
import type { UdpSocket } from './udp.ts'

/** Connects a socket to a port of the peer. */
function connect(host: TestHost, socket: UdpSocket, port: number, cpu = 0, address = PEER): void {
  let done = false
  host.on(cpu, (stack) => {
    const target = stack.endpoint(address, port)
    stack.context.cpu.onStop(() => target.free())
    socket.connect(target, () => {
      done = true
    })
  })
  host.run()
  assert(done, 'every CPU knows the remote end')
}

function close(host: TestHost, socket: UdpSocket, cpu = 0): void {
  let done = 0
  host.on(cpu, () => socket.close(() => done++))
  host.run()
  assert.equal(done, 1)
}

function codeOf(error: Error | undefined): string | undefined {
  return error === undefined ? undefined : (error as KernelError).code
}

describe('udp sockets', () => {
  onHosts(
    'a datagram goes out with the address of its way and the port of its socket (@rfc 768 user-interface/send) (@rfc 1122 4.1.3.5/wild 4.1.3.6/own-source)',
    {},
    (host) => {
      const cpu = host.cpuCount - 1
      const socket = host.open({ port: 7000, ttl: 5 }, cpu)
      connect(host, socket, 9, cpu)
      assert.equal(
        host.on(cpu, () => socket.sendBytes(text('hello'))),
        0,
      )
      host.expect({
        ip: { source: HOST, target: PEER, ttl: 5 },
        udp: { sourcePort: 7000, targetPort: 9 },
        payload: text('hello'),
      })
    },
  )

  onHosts(
    'time to live and traffic class are the program’s to say (@rfc 1122 3.2.1.6/set 3.2.1.7/set 3.2.1.7/configurable 3.4/all 4.1.4/all 4.1.4/ttl-tos) (@rfc 791 3.2/type-of-service 3.2/time-to-live 3.3/send)',
    {},
    (host) => {
      const cpu = host.cpuCount - 1
      // The lower two bits are ECN's.
      const socket = host.open({ ttl: 255, trafficClass: 0xba, broadcast: true }, cpu)
      for (const target of [PEER, '255.255.255.255', '239.1.2.3']) {
        host.on(cpu, (stack) => {
          const endpoint = stack.endpoint(target, 9)
          assert.equal(socket.sendBytes(text('x'), endpoint), 0)
          endpoint.free()
        })
        host.expect({ ip: { target, service: 0xb8, ttl: target === '239.1.2.3' ? 1 : 255 } })
      }
    },
  )

  onHosts(
    'a sum that comes out as 0 is sent as all ones (@rfc 768 checksum/as-ones) (@rfc 1122 4.1.3.4/able 4.1.3.4/default)',
    {},
    (host) => {
      // With these two bytes of data the sum of all words is ffff, whose complement is 0.
      const segment = udpSegment({ sourcePort: 7000, targetPort: 9, checksum: 0 }, new Uint8Array(2))
      const data = Uint8Array.of(0, 0)
      put16(data, 0, checksumOf(Uint8Array.of(10, 0, 0, 1, 10, 0, 0, 9, 0, 17, 0, 10), segment))
      const socket = host.open({ port: 7000 })
      connect(host, socket, 9)
      host.on(0, () => socket.sendBytes(data))
      const { bytes } = host.expect({ udp: { sourcePort: 7000, targetPort: 9 }, payload: data })
      assert.deepEqual(bytes.subarray(14 + 20 + 6, 14 + 20 + 8), Uint8Array.of(0xff, 0xff))
    },
  )

  onHosts(
    'who receives knows whom it was sent to, by which interface, and what the IP header said, options and all (@rfc 791 3.3/receive) (@rfc 1122 3.2.1.6/pass-up 3.2.1.8/pass-up 3.4/interface 3.4/options 4.1.3.2/receive 4.1.3.5/destination 4.1.4/received-tos)',
    { wires: [{}, {}] },
    (host) => {
      const cpu = host.cpuCount - 1
      const socket = host.open({ port: 9 }, cpu)
      const options = [7, 7, 4, 0, 0, 0, 0, 0]
      host.inject(udp({ target: '10.0.1.1', targetPort: 9, service: 0xb8, ttl: 3, options }, text('x')), 1)
      host.on(cpu, ({ context }) => {
        const m = context.mbuf()
        m.at = socket.receive()
        const { u8, interfaces } = context
        assert.equal(u8.slice(m.target, m.target + 4).join('.'), '10.0.1.1')
        assert.equal(interfaces[m.interfaceIndex]!.name, 'w1')
        assert.deepEqual([m.trafficClass, m.ttl, m.protocol], [0xb8, 3, 17])
        assert.deepEqual(u8.slice(m.network + 20, m.network + 28), Uint8Array.from(options))
        context.mbufs.free(m.at)
      })
    },
  )

  onHosts('without a target, and not connected, there is nowhere to send to', {}, (host) => {
    const socket = host.open({})
    assert.equal(
      host.on(0, () => socket.sendBytes(text('x'))),
      Errno.EINVAL,
    )
    assert.equal(host.count(SocketCounters, 'sendErrors'), 1)
  })

  onHosts(
    'a bound address is the source of what is sent, and takes only what is sent to it (@rfc 1122 4.1.3.5/choose 3.3.4.2/choose)',
    { wires: [{}, {}] },
    (host) => {
      const bound = host.open({ port: 9, address: HOST })
      const other = host.open({ port: 9, address: '10.0.1.1' })
      host.inject(udp({ targetPort: 9, target: HOST }, text('one')))
      host.inject(udp({ targetPort: 9, target: '10.0.1.1' }, text('two')))
      assert.deepEqual(host.received(bound)[0]!.payload, text('one'))
      assert.deepEqual(host.received(other)[0]!.payload, text('two'))
      connect(host, other, 9)
      host.on(0, () => other.sendBytes(text('x')))
      host.expect({ ip: { source: '10.0.1.1', target: PEER } })
    },
  )

  onHosts('a port that is in use is EADDRINUSE, whichever CPU has it', {}, (host) => {
    const first = host.open({ port: 9 }, host.cpuCount - 1)
    for (let cpu = 0; cpu < host.cpuCount; cpu++) {
      assert.equal(codeOf(host.tryOpen({ port: 9 }, cpu).error), 'EADDRINUSE')
      assert.equal(codeOf(host.tryOpen({ port: 9, address: HOST }, cpu).error), 'EADDRINUSE')
      assert.equal(codeOf(host.tryOpen({ port: 9, perCpu: true }, cpu).error), 'EADDRINUSE')
    }
    // What could not be bound has left no trace.
    host.inject(udp({ targetPort: 9 }, text('x')))
    assert.equal(host.received(first, host.cpuCount - 1).length, 1)
    close(host, first, host.cpuCount - 1)
    host.open({ port: 9 }, 0)
  })

  test('a bind that fails on one CPU is undone on the others', () => {
    for (const seed of [1, 2]) {
      withHost({ cpus: 4, seed }, (host) => {
        const own = host.open({ port: 9, perCpu: true }, 2)
        const { error } = host.tryOpen({ port: 9 }, 3)
        assert.equal(codeOf(error), 'EADDRINUSE')
        // Nobody listens on CPUs 0 and 1, where it had been bound already.
        for (const cpu of [0, 1, 3]) {
          host.inject(udp({ sourcePort: portOwnedBy(host, cpu, 9), targetPort: 9 }, text('x')))
          host.expect({ icmp: { type: 3, code: 3 } })
        }
        close(host, own, 2)
        const socket = host.open({ port: 9 }, 3)
        for (const cpu of [0, 1, 2, 3]) {
          host.inject(udp({ sourcePort: portOwnedBy(host, cpu, 9), targetPort: 9 }, text('x')))
        }
        assert.equal(host.received(socket, 3).length, 4)
      })
    }
  })

  test('a bind for which one CPU has no memory is undone, and says so', () => {
    withHost({ cpus: 2 }, (host) => {
      host.stacks[1]!.rounds.handle(RoundKind.bindUdp, { apply: () => Errno.ENOBUFS, undo: () => assert.fail() })
      const { error } = host.tryOpen({ port: 9 }, 1)
      assert.equal(codeOf(error), 'ENOBUFS')
      host.inject(udp({ sourcePort: portOwnedBy(host, 0, 9), targetPort: 9 }, text('x')))
      host.expect({ icmp: { type: 3, code: 3 } })
    })
  })

  onHosts('two CPUs that want one port at the same time: one gets it', {}, (host) => {
    const cpus = host.stacks.map((_, cpu) => cpu)
    const results: (string | undefined)[] = []
    for (const cpu of cpus) {
      host.machine.cpus[cpu]!.timers.after(300, () => {
        host.stacks[cpu]!.udp.open({ port: 9 }, (error) => results.push(codeOf(error)))
      })
    }
    host.run(5000)
    assert.equal(results.length, cpus.length)
    assert.equal(results.filter((code) => code === undefined).length, 1)
    assert.equal(results.filter((code) => code === 'EADDRINUSE').length, cpus.length - 1)
  })

  onHosts(
    'an address that is not ours cannot be bound (@rfc 1122 3.2.1.3/own-source 4.1.3.6/own-source)',
    {},
    (host) => {
      for (const address of ['10.0.0.2', '10.0.1.255', '192.0.2.1', '240.0.0.1']) {
        const { error } = host.tryOpen({ port: 9, address })
        assert.equal(codeOf(error), 'EADDRNOTAVAIL')
        assert.match(error!.message, /none of the host's addresses/)
      }
      assert.equal(host.tryOpen({ port: 9, address: '127.0.0.1' }).error, undefined)
    },
  )

  onHosts(
    'a socket that is bound to a broadcast address gets what is sent there, and sends from its own (@rfc 1122 3.2.1.3/broadcast-source)',
    {},
    (host) => {
      const socket = host.open({ port: 9, address: '10.0.0.255' })
      host.injectFrame(
        ether({ source: PEER_LINK, target: BROADCAST }, udp({ target: '10.0.0.255', targetPort: 9 }, text('all'))),
      )
      host.inject(udp({ targetPort: 9 }, text('one')))
      host.expect({ icmp: { type: 3, code: 3 } })
      assert.deepEqual(
        host.received(socket).map(({ payload }) => payload),
        [text('all')],
      )
      connect(host, socket, 7)
      host.on(0, () => socket.sendBytes(text('x')))
      host.expect({ ip: { source: HOST, target: PEER } })
    },
  )

  test('what cannot be is said at once', () => {
    withHost({}, (host) => {
      const { udp } = host.stacks[0]!
      const refused = (options: Parameters<typeof udp.open>[0], code: string) =>
        assert.throws(
          () => udp.open(options, () => assert.fail()),
          (error) => error instanceof KernelError && error.code === code,
        )
      for (const port of [-1, 65536, 1.5, Number.NaN]) refused({ port }, 'EINVAL')
      refused({ address: 'fe80::1' }, 'EAFNOSUPPORT')
      refused({ address: 'here' }, 'EINVAL')
      refused({ multicastInterface: 'w9' }, 'EADDRNOTAVAIL')
      refused({ multicastInterface: '10.0.0.9' }, 'EADDRNOTAVAIL')
    })
  })

  test('a time to live that cannot be is refused (@rfc 1122 3.2.1.7/zero)', () => {
    withHost({}, (host) => {
      const { udp } = host.stacks[0]!
      const refused = (options: Parameters<typeof udp.open>[0]) =>
        assert.throws(
          () => udp.open(options, () => assert.fail()),
          (error) => error instanceof KernelError && error.code === 'EINVAL',
        )
      for (const ttl of [0, -1, 256, 1.5, Number.NaN]) refused({ ttl })
      for (const multicastTtl of [-1, 256, 0.5]) refused({ multicastTtl })
    })
  })

  onHosts(
    'a socket without a port gets one of the dynamic ports, each its own (@rfc 768 user-interface/ports)',
    {},
    (host) => {
      const ports = new Set<number>()
      for (let i = 0; i < 100; i++) ports.add(host.open({}, i % host.cpuCount).port)
      assert.equal(ports.size, 100)
      for (const port of ports) assert(port >= 49152 && port <= 65535)
      assert(
        [...ports].some((port, i, all) => i > 0 && Math.abs(port - all[i - 1]!) > 100),
        'they do not count up',
      )
    },
  )

  onHosts('what the receive buffer has no room for is dropped and counted', {}, (host) => {
    const socket = host.open({ port: 9, receiveBytes: 4 * MBUF_BYTES })
    for (let i = 0; i < 10; i++) host.inject(udp({ targetPort: 9 }, counting(1, i)))
    assert.equal(host.count(SocketCounters, 'droppedFull'), 6)
    // A packet costs the memory that it keeps: the oldest are there.
    assert.deepEqual(
      host.received(socket).map(({ payload }) => payload[0]),
      [0, 1, 2, 3],
    )
    host.inject(udp({ targetPort: 9 }, text('again')))
    assert.equal(host.received(socket).length, 1)
  })

  onHosts('a long datagram costs the memory of its parts, however small they are', {}, (host) => {
    for (const [bytes, each, parts] of [
      [6000, 1480, 5],
      [1000, 16, 63],
    ] as const) {
      const socket = host.open({ port: 9, receiveBytes: parts * MBUF_BYTES })
      const before = host.count(SocketCounters, 'droppedFull')
      for (const id of [1, 2]) {
        for (const fragment of fragments(udp({ targetPort: 9 }, counting(bytes)), each, id)) host.inject(fragment)
      }
      assert.equal(host.count(SocketCounters, 'droppedFull'), before + 1)
      assert.equal(host.received(socket).length, 1)
      close(host, socket, 0)
    }
  })

  onHosts('a socket that is closed while its port turns out to be taken gives its number back once', {}, (host) => {
    host.open({ port: 9 })
    host.on(0, (stack) => stack.udp.open({ port: 9 }, () => {}).close())
    host.run()
    const [first, second] = [host.open({}), host.open({})]
    assert.notEqual(first.number, second.number)
  })

  onHosts('what is for an IPv6 endpoint is refused', {}, (host) => {
    const socket = host.open({})
    const errno = host.on(0, (stack) => {
      const target = stack.endpoint('a00:2::1', 7)
      const result = socket.sendBytes(counting(4), target)
      target.free()
      return result
    })
    assert.equal(errno, Errno.EAFNOSUPPORT)
    host.expectNothing()
  })

  onHosts('a close drops what was not received, and frees the port on every CPU', {}, (host) => {
    const cpu = host.cpuCount - 1
    const socket = host.open({ port: 9 }, cpu)
    for (let i = 0; i < 5; i++) host.inject(udp({ targetPort: 9, sourcePort: 5000 + i }, text('x')))
    assert.equal(socket.length, 5)
    close(host, socket, cpu)
    assert.equal(host.count(SocketCounters, 'droppedClosed'), 5)
    host.inject(udp({ targetPort: 9 }, text('x')))
    host.expect({ icmp: { type: 3, code: 3 } })
    host.open({ port: 9 }, 0)
  })

  test('what is under way to a socket that closes is dropped', () => {
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      withHost({ cpus: 4, seed }, (host) => {
        const socket = host.open({ port: 9 }, 3)
        for (let i = 0; i < 200; i++) host.postPacket(udp({ targetPort: 9, sourcePort: 5000 + i }, text('x')))
        host.machine.cpus[3]!.timers.after(128, () => socket.close())
        host.run(5000)
        const { queued, droppedGone, droppedClosed } = host.counts(SocketCounters)
        const { delivered, noPort } = host.counts(UdpCounters)
        assert.equal(delivered + noPort, 200)
        assert.equal(queued + droppedGone, delivered)
        assert.equal(droppedClosed, queued)
        assert.equal(socket.length, 0)
        host.take()
      })
    }
  })

  onHosts('a closed socket sends nothing, and a second close does nothing', {}, (host) => {
    const socket = host.open({ port: 9 })
    connect(host, socket, 9)
    close(host, socket)
    assert.equal(
      host.on(0, () => socket.sendBytes(text('x'))),
      Errno.EINVAL,
    )
    host.on(0, () => socket.close(() => assert.fail()))
    host.expectNothing()
  })

  onHosts('a socket that is closed before it is bound is closed', {}, (host) => {
    let bound = 0
    host.on(0, (stack) => {
      const socket = stack.udp.open({ port: 9 }, () => bound++)
      socket.close()
    })
    host.run()
    assert.equal(bound, 1)
    host.inject(udp({ targetPort: 9 }, text('x')))
    host.expect({ icmp: { type: 3, code: 3 } })
    host.open({ port: 9 })
  })

  onHosts('a socket is told once a batch, and again only when it has taken all', {}, (host) => {
    let told = 0
    const cpu = host.cpuCount - 1
    const socket = host.open({ port: 9, onReadable: () => told++ }, cpu)
    const source = portOwnedBy(host, 0, 9)
    for (let i = 0; i < 30; i++) host.postPacket(udp({ sourcePort: source, targetPort: 9 }, counting(1, i)))
    host.run()
    assert.equal(told, 1)
    assert.equal(host.received(socket, cpu).length, 30)
    host.inject(udp({ sourcePort: source, targetPort: 9 }, text('x')))
    assert.equal(told, 2)
    assert.equal(host.count(SocketCounters, 'notifications'), 2)
    host.received(socket, cpu)
  })

  test('a socket of each CPU gets what belongs to that CPU, and may be alone', () => {
    withHost({ cpus: 4, seed: 4 }, (host) => {
      const sockets = [0, 1, 2].map((cpu) => host.open({ port: 9, perCpu: true }, cpu))
      for (const cpu of [0, 1, 2, 3]) {
        host.inject(udp({ sourcePort: portOwnedBy(host, cpu, 9), targetPort: 9 }, counting(1, cpu)))
      }
      sockets.forEach((socket, cpu) => {
        assert.deepEqual(
          host.received(socket, cpu).map(({ payload }) => payload[0]),
          [cpu],
        )
      })
      host.expect({ icmp: { type: 3, code: 3 } })
      close(host, sockets[1]!, 1)
      host.inject(udp({ sourcePort: portOwnedBy(host, 1, 9), targetPort: 9 }, text('x')))
      host.expect({ icmp: { type: 3, code: 3 } })
    })
  })

  onHosts('a connected socket takes only what its remote end sends, whichever CPU it comes in on', {}, (host) => {
    const socket = host.open({ port: 9 })
    connect(host, socket, 4000)
    for (let sourcePort = 4000; sourcePort < 4016; sourcePort++)
      host.inject(udp({ sourcePort, targetPort: 9 }, text('x')))
    host.inject(udp({ source: '10.0.0.8', sourcePort: 4000, targetPort: 9 }, text('x')))
    assert.deepEqual(
      host.received(socket).map(({ sourcePort, source }) => `${source}:${sourcePort}`),
      [`${PEER}:4000`],
    )
    assert.equal(host.count(UdpCounters, 'noPort'), 16)
    host.take()
  })

  onHosts('a connected socket may be connected elsewhere', {}, (host) => {
    const socket = host.open({ port: 9 })
    connect(host, socket, 4000)
    connect(host, socket, 4001)
    host.inject(udp({ sourcePort: 4000, targetPort: 9 }, text('old')))
    host.inject(udp({ sourcePort: 4001, targetPort: 9 }, text('new')))
    assert.deepEqual(host.received(socket)[0]!.payload, text('new'))
    host.expect({ icmp: { type: 3, code: 3 } })
  })

  onHosts('a connected socket of one CPU gets ECONNREFUSED from another port of the network', {}, (host) => {
    const errors: number[] = []
    const cpu = host.cpuCount - 1
    const socket = host.open({ onError: (_, errno) => errors.push(errno) }, cpu)
    connect(host, socket, 9, cpu)
    host.on(cpu, () => socket.sendBytes(text('anybody?')))
    const { bytes } = host.expect({ udp: { targetPort: 9 } })
    host.inject(icmp({ type: 3, code: 3 }, bytes.subarray(14, 14 + 28)))
    assert.deepEqual(errors, [Errno.ECONNREFUSED])
  })

  for (const address of ['127.0.0.1', '127.9.9.9', HOST]) {
    onHosts(`the host sends to itself by ${address}`, {}, (host) => {
      const server = host.open({ port: 9 })
      const cpu = host.cpuCount - 1
      const client = host.open({ port: 7000 }, cpu)
      connect(host, client, 9, cpu, address)
      for (const length of [0, 5, 3000, 65507]) {
        assert.equal(
          host.on(cpu, () => client.sendBytes(counting(length))),
          0,
        )
        const [got] = host.received(server)
        assert.deepEqual(got!.payload, counting(length))
        assert.equal(got!.sourcePort, 7000)
        assert.equal(got!.source, address === HOST ? HOST : '127.0.0.1')
      }
      host.expectNothing()
    })
  }

  onHosts('a port of our own where nobody listens refuses, too', {}, (host) => {
    const errors: number[] = []
    const cpu = host.cpuCount - 1
    const client = host.open({ onError: (_, errno) => errors.push(errno) }, cpu)
    connect(host, client, 9, cpu, '127.0.0.1')
    host.on(cpu, () => client.sendBytes(text('x')))
    assert.deepEqual(errors, [Errno.ECONNREFUSED])
    host.expectNothing()
  })

  onHosts('a packet goes back without the options that it came with', {}, (host) => {
    const socket = host.open({ port: 9 })
    for (const options of [[], [1, 1, 1, 0], new Array<number>(40).fill(1)]) {
      host.inject(udp({ targetPort: 9, options }, text('and back')))
      host.on(0, () => socket.sendBack(socket.receive()))
      host.expect({
        ip: { source: HOST, target: PEER },
        udp: { sourcePort: 9, targetPort: 5000 },
        payload: text('and back'),
      })
    }
  })

  onHosts('a packet that came in fragments goes back, in fragments of its own', {}, (host) => {
    const socket = host.open({ port: 9 })
    for (const [length, each] of [
      [3000, 1480],
      [3000, 504],
      [100, 64],
      [1472, 16],
    ] as const) {
      for (const fragment of fragments(udp({ targetPort: 9 }, counting(length)), each, length + each))
        host.inject(fragment)
      host.on(0, () => socket.sendBack(socket.receive()))
      const frames = host.take()
      assert.equal(frames.length, length > 1472 ? 3 : 1)
      const sum = frames.reduce((bytes, { ip }) => bytes + ip!.totalLength - 20, 0)
      assert.equal(sum, length + 8)
    }
  })

  onHosts('what was sent to all goes back from one (@rfc 1122 3.2.1.3/broadcast-source)', {}, (host) => {
    const socket = host.open({ port: 9 })
    for (const target of ['10.0.0.255', '255.255.255.255', '224.0.0.1']) {
      for (const link of [BROADCAST, host.linkAddress()]) {
        host.injectFrame(ether({ source: PEER_LINK, target: link }, udp({ target, targetPort: 9 }, text('who?'))))
        host.on(0, () => socket.sendBack(socket.receive()))
        host.expect({ ip: { source: HOST, target: PEER }, payload: text('who?') })
      }
    }
  })

  onHosts('a machine that stops with datagrams in its sockets frees them', {}, (host) => {
    for (let cpu = 0; cpu < host.cpuCount; cpu++) {
      host.open({ port: 100 + cpu }, cpu)
      for (let i = 0; i < 8; i++) host.inject(udp({ sourcePort: 5000 + i, targetPort: 100 + cpu }, counting(500)))
    }
    assert.equal(host.count(SocketCounters, 'queued'), 8 * host.cpuCount)
  })
})
