import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { Errno, errnoName, KernelError } from '../base/errno.ts'
import { RoundKind } from '../net/control/round.ts'
import { GroupCounters, IpCounters, SocketCounters, UdpCounters } from '../net/counters.ts'
import { GROUPS_MAX } from '../net/group.ts'
import { onSegments, type Segment, withSegment } from '../net/igmp/testing/segment.ts'
import { counting, fragments, text, udp } from '../net/testing/frame.ts'
import { PEER } from '../net/testing/host.ts'
import type { UdpSocket, UdpSocketOptions } from './udp.ts'
import { MEMBERSHIPS_MAX, SOURCES_MAX } from './udp-group.ts'

const GROUP = '224.1.2.3'
const OTHER = '239.255.0.9'
const SHARED: UdpSocketOptions = { port: 9, shared: true }

/** The name of the errno that `run` throws, or `ok`. */
function outcome(run: () => void): string {
  try {
    run()
    return 'ok'
  } catch (error) {
    assert(error instanceof KernelError)
    return error.code
  }
}

/** What comes from the test's end, to a group. */
function datagram(payload: string, target = GROUP, source = PEER, sourcePort = 5000): Uint8Array {
  return udp({ target, source, sourcePort, targetPort: 9, ttl: 1 }, text(payload))
}

/** `count` sockets at port 9, spread over the CPUs of a host. */
function sharers(segment: Segment, count: number, host = 0, options: UdpSocketOptions = SHARED) {
  return Array.from({ length: count }, (_, i) => {
    const cpu = i % segment.cpuCount
    const socket = segment.open(host, options, cpu)
    return {
      cpu,
      socket,
      received: () => segment.received(host, socket, cpu),
      join: (group = GROUP) => segment.join(host, socket, { group }, cpu),
      leave: (group = GROUP) => segment.leave(host, socket, { group }, cpu),
      close: () => segment.close(host, socket, cpu),
    }
  })
}

describe('groups of udp sockets', () => {
  onSegments('what is sent to a group is received from the join to the leave, and by no other port', {}, (segment) => {
    const cpu = segment.cpuCount - 1
    const socket = segment.open(0, { port: 9 }, cpu)
    segment.inject(datagram('before'))
    segment.join(0, socket, { group: GROUP }, cpu)
    // Whichever CPU owns the flow.
    for (let port = 5000; port < 5008; port++) segment.inject(datagram(`from ${port}`, GROUP, PEER, port))
    segment.inject(udp({ target: GROUP, targetPort: 10, ttl: 1 }, text('another port')))
    segment.inject(datagram('another group', OTHER))
    assert.equal(segment.received(0, socket, cpu).length, 8)
    segment.leave(0, socket, { group: GROUP }, cpu)
    segment.inject(datagram('after'))
    assert.deepEqual(segment.received(0, socket, cpu), [])
    assert.deepEqual(segment.drops(IpCounters), { droppedNotOurs: 3 })
    assert.equal(segment.count(UdpCounters, 'noPort'), 1)
    // Nobody tells a group that a port is not there.
    assert.deepEqual(segment.others(), [])
  })

  onSegments('every socket at the port gets a copy, whichever CPU it is on, its bytes its own', {}, (segment) => {
    const all = sharers(segment, 6)
    all[0]!.join()
    segment.inject(datagram('hello'))
    for (const { received } of all) assert.deepEqual(received(), [`hello from ${PEER}`])
    assert.equal(segment.count(UdpCounters, 'delivered'), 1)
    assert.equal(segment.count(GroupCounters, 'copies'), 5)
  })

  onSegments('a copy of a datagram that came in fragments is whole', {}, (segment) => {
    const all = sharers(segment, 3)
    all[0]!.join()
    const whole = udp({ target: GROUP, targetPort: 9, ttl: 1 }, counting(5000))
    for (const fragment of fragments(whole, 1480)) segment.inject(fragment)
    for (const { cpu, socket } of all) {
      segment.on(0, cpu, ({ context }) => {
        const packet = socket.receive()
        assert.deepEqual(context.mbufs.bytes(packet), counting(5000))
        context.mbufs.free(packet)
      })
    }
  })

  onSegments('a copy goes back to where the datagram came from, from an address of the host', {}, (segment) => {
    const all = sharers(segment, 3)
    all[0]!.join()
    // With options, of which copies know nothing.
    segment.inject(udp({ target: GROUP, targetPort: 9, ttl: 1, options: [1, 1, 1, 0] }, text('who?')))
    for (const { cpu, socket } of all) segment.on(0, cpu, () => assert.equal(socket.sendBack(socket.receive()), 0))
    segment.run()
    const answers = segment.others().map(({ ip, udp: ports, payload }) => {
      return [ip!.source, ip!.target, ports!.sourcePort, ports!.targetPort, new TextDecoder().decode(payload)]
    })
    assert.deepEqual(answers, new Array(3).fill(['10.0.0.1', PEER, 9, 5000, 'who?']))
  })

  onSegments('a broadcast goes to all sockets of its port that are bound to no host', {}, (segment) => {
    const all = sharers(segment, 3)
    const bound = segment.open(0, { ...SHARED, address: '10.0.0.1' })
    const toAll = segment.open(0, { ...SHARED, address: '255.255.255.255' })
    const connected = segment.open(0, SHARED)
    segment.on(0, 0, (stack) => {
      const elsewhere = stack.endpoint('10.0.0.7', 7)
      stack.context.cpu.onStop(() => elsewhere.free())
      connected.connect(elsewhere)
    })
    segment.run()
    for (const target of ['255.255.255.255', '10.0.0.255']) segment.inject(datagram('all', target))
    for (const { received } of all) assert.equal(received().length, 2)
    assert.equal(segment.received(0, toAll).length, 1)
    assert.deepEqual(segment.received(0, bound), [])
    assert.deepEqual(segment.received(0, connected), [])
  })

  onSegments('a socket that is bound to a group gets only what is sent to that', {}, (segment) => {
    const bound = segment.open(0, { ...SHARED, address: GROUP })
    const any = segment.open(0, SHARED)
    for (const group of [GROUP, OTHER]) segment.join(0, any, { group })
    segment.inject(datagram('one'))
    segment.inject(datagram('two', OTHER))
    assert.deepEqual(segment.received(0, bound), [`one from ${PEER}`])
    assert.deepEqual(segment.received(0, any), [`one from ${PEER}`, `two from ${PEER}`])
    // A group is nobody's source.
    assert.equal(segment.send(0, bound, text('x'), PEER, 7), 0)
    assert.equal(segment.others()[0]!.ip!.source, '10.0.0.1')
  })

  onSegments('what others have joined is heard as well, unless a socket wants its own groups alone', {}, (segment) => {
    const all = sharers(segment, 2)
    const picky = segment.open(0, { ...SHARED, multicastAll: false })
    const pickyMember = segment.open(0, { ...SHARED, multicastAll: false })
    all[0]!.join()
    segment.join(0, pickyMember, { group: OTHER })
    segment.inject(datagram('one'))
    segment.inject(datagram('two', OTHER))
    segment.inject(udp({ target: '10.0.0.255', targetPort: 9 }, text('all')))
    for (const { received } of all) assert.equal(received().length, 3)
    assert.deepEqual(segment.received(0, pickyMember), [`two from ${PEER}`, `all from ${PEER}`])
    assert.deepEqual(segment.received(0, picky), [`all from ${PEER}`])
    assert.equal(segment.count(GroupCounters, 'filtered'), 3)
  })

  onSegments('a group is heard only on the interface on which it was joined', { links: 2 }, (segment) => {
    const socket = segment.open(0, { port: 9 })
    segment.join(0, socket, { group: GROUP, interface: '10.0.1.1' })
    segment.inject(datagram('by e0'), 0)
    segment.inject(datagram('by e1', GROUP, '10.0.1.9'), 1)
    assert.deepEqual(segment.received(0, socket), ['by e1 from 10.0.1.9'])
  })

  onSegments('a socket of a CPU gets the groups of the flows of that CPU', {}, (segment) => {
    const all = sharers(segment, segment.cpuCount, 0, { port: 9, perCpu: true })
    all[0]!.join()
    for (let port = 5000; port < 5032; port++) segment.inject(datagram('x', GROUP, PEER, port))
    const counts = all.map(({ received }) => received().length)
    assert.equal(
      counts.reduce((sum, count) => sum + count),
      32,
    )
    assert(counts.every((count) => count > 0))
    assert.equal(segment.count(GroupCounters, 'copies'), 0)
  })

  onSegments('a close leaves the groups, and drops what was not received', {}, (segment) => {
    const [first, second] = sharers(segment, 2)
    for (const group of [GROUP, OTHER]) first!.join(group)
    second!.join(GROUP)
    segment.inject(datagram('x'))
    first!.close()
    segment.run()
    segment.inject(datagram('y', OTHER))
    segment.inject(datagram('z'))
    assert.deepEqual(second!.received(), [`x from ${PEER}`, `z from ${PEER}`])
    assert.equal(segment.count(SocketCounters, 'droppedClosed'), 1)
    assert.equal(
      outcome(() => first!.join()),
      'EINVAL',
    )
  })

  onSegments('a socket that is closed while it joins has left', {}, (segment) => {
    for (let cpu = 0; cpu < segment.cpuCount; cpu++) {
      const socket = segment.open(0, { port: 9 }, cpu)
      let told = 0
      segment.on(0, cpu, () => {
        socket.join({ group: GROUP }, () => told++)
        socket.leave({ group: GROUP }, () => told++)
        socket.join({ group: GROUP }, () => told++)
        socket.close()
      })
      segment.run(5000)
      assert.equal(told, 3)
      segment.inject(datagram('x'))
    }
    assert.equal(segment.count(IpCounters, 'droppedNotOurs'), segment.cpuCount)
    for (const stack of segment.stacks[0]!) assert.equal(stack.groups.size, 0)
  })

  onSegments('a socket that cannot be bound leaves what it has joined meanwhile', {}, (segment) => {
    segment.open(0, { port: 9 })
    segment.on(0, 0, ({ udp: sockets }) => sockets.open({ port: 9 }, () => {}).join({ group: GROUP }))
    segment.run(5000)
    for (const stack of segment.stacks[0]!) assert.equal(stack.groups.size, 0)
  })

  test('what is joined and left on all CPUs is counted alike on all of them', () => {
    const step = fc.record({ cpu: fc.nat(3), group: fc.nat(2), link: fc.nat(1) })
    withSegment({ cpus: 4, links: 2, seed: 9 }, (segment) => {
      const sockets = [0, 1, 2, 3].map((cpu) => segment.open(0, { port: 100 + cpu }, cpu))
      const joined = new Set<string>()
      fc.assert(
        fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
          for (const { cpu, group, link } of steps) {
            const key = `${cpu} ${group} ${link}`
            const membership = { group: `239.0.0.${group}`, interface: `e${link}` }
            // Together, so that they cross each other on their way.
            segment.on(0, cpu, () => sockets[cpu]![joined.has(key) ? 'leave' : 'join'](membership))
            if (!joined.delete(key)) joined.add(key)
          }
          segment.run(5000)
          const groups = new Set([...joined].map((key) => key.slice(2)))
          for (const stack of segment.stacks[0]!) assert.equal(stack.groups.size, groups.size)
          for (const stack of segment.stacks[0]!) {
            const { scratch, u8, interfaces } = stack.context
            for (const link of [0, 1]) {
              for (const group of [0, 1, 2]) {
                u8.set([239, 0, 0, group], scratch)
                const { index } = interfaces.find(({ name }) => name === `e${link}`)!
                assert.equal(stack.groups.accepts(index, 4, scratch), groups.has(`${group} ${link}`))
              }
            }
          }
        }),
        { seed: 5, numRuns: 40 },
      )
      segment.heard = []
    })
  })
})

describe('what joining says', () => {
  onSegments('the errnos are those of Linux', {}, (segment) => {
    const socket = segment.open(0, { port: 9 })
    const join = (group: string, iface?: string) =>
      outcome(() => segment.join(0, socket, iface === undefined ? { group } : { group, interface: iface }))
    const leave = (group: string, iface?: string) =>
      outcome(() => segment.leave(0, socket, iface === undefined ? { group } : { group, interface: iface }))
    for (const group of ['10.0.0.1', '0.0.0.0', '255.255.255.255', '240.0.0.1', 'ff02::1', 'here', '']) {
      assert.equal(join(group), 'EINVAL', group)
    }
    assert.equal(join(GROUP, '10.0.0.2'), 'ENODEV')
    assert.equal(join(GROUP, 'eth7'), 'ENODEV')
    assert.equal(leave(GROUP), 'EADDRNOTAVAIL')
    assert.equal(join(GROUP), 'ok')
    assert.equal(join(GROUP), 'EADDRINUSE')
    assert.equal(join(GROUP, '10.0.0.1'), 'EADDRINUSE')
    assert.equal(join(GROUP, 'e0'), 'EADDRINUSE')
    assert.equal(join(GROUP, '127.0.0.1'), 'ok')
    assert.equal(leave(GROUP, '10.0.0.2'), 'EADDRNOTAVAIL')
    assert.equal(leave(OTHER), 'EADDRNOTAVAIL')
    assert.equal(leave(GROUP, 'e0'), 'ok')
    assert.equal(leave(GROUP, 'e0'), 'EADDRNOTAVAIL')
    // On any interface.
    assert.equal(leave(GROUP), 'ok')
    assert.equal(leave(GROUP), 'EADDRNOTAVAIL')
    assert.equal(join(GROUP), 'ok')
  })

  test('the sentence says what there is', () => {
    withSegment({}, (segment) => {
      const socket = segment.open(0, { port: 9 })
      const join = (group: string, iface: string) => () => segment.join(0, socket, { group, interface: iface })
      assert.throws(join(GROUP, 'eth7'), /group 224\.1\.2\.3 on eth7: the host has no interface .* there are lo, e0/)
      assert.throws(join('10.0.0.1', 'e0'), /this is no IPv4 group: give one from 224\.0\.0\.0 to 239\.255\.255\.255/)
    })
  })

  test('a socket joins so many groups and no more', () => {
    withSegment({}, (segment) => {
      const socket = segment.open(0, { port: 9 })
      const group = (i: number) => `239.1.${i >> 8}.${i & 255}`
      segment.on(0, 0, () => {
        for (let i = 0; i < MEMBERSHIPS_MAX; i++) socket.join({ group: group(i) })
      })
      assert.equal(
        outcome(() => segment.join(0, socket, { group: group(MEMBERSHIPS_MAX) })),
        'ENOBUFS',
      )
      segment.leave(0, socket, { group: group(7) })
      assert.equal(
        outcome(() => segment.join(0, socket, { group: group(MEMBERSHIPS_MAX) })),
        'ok',
      )
      segment.run(10_000)
      segment.heard = []
    })
  })

  test('a host joins so many groups and no more: whoever wants one more is told so', () => {
    withSegment({ cpus: 2 }, (segment) => {
      const group = (i: number) => `239.${i >> 16}.${(i >> 8) & 255}.${i & 255}`
      const per = 128
      const sockets = Array.from({ length: GROUPS_MAX / per }, (_, i) => segment.open(0, { port: 1000 + i }, i & 1))
      sockets.forEach((socket, k) => {
        segment.on(0, k & 1, () => {
          for (let i = 0; i < per; i++) socket.join({ group: group(k * per + i), interface: 'lo' })
        })
        segment.run(20_000)
      })
      for (const stack of segment.stacks[0]!) assert.equal(stack.groups.size, GROUPS_MAX)
      const one = segment.open(0, { port: 9 }, 1)
      assert.equal(
        outcome(() => segment.join(0, one, { group: GROUP }, 1)),
        'ENOBUFS',
      )
      // It has not joined, and may try again.
      segment.leave(0, sockets[0]!, { group: group(0) })
      assert.equal(
        outcome(() => segment.join(0, one, { group: GROUP }, 1)),
        'ok',
      )
    })
  })

  test('a join for which one CPU has no memory is undone on the others, and says so', () => {
    withSegment({ cpus: 4 }, (segment) => {
      const refuse = { apply: () => Errno.ENOBUFS, undo: () => assert.fail() }
      segment.stacks[0]![2]!.rounds.handle(RoundKind.joinGroup, refuse)
      const socket = segment.open(0, { port: 9 }, 3)
      assert.equal(
        outcome(() => segment.join(0, socket, { group: GROUP }, 3)),
        'ENOBUFS',
      )
      for (const stack of segment.stacks[0]!) assert.equal(stack.groups.size, 0)
      // Reported before it failed, it is left.
      segment.run()
      segment.expectIgmp(`16 ${GROUP}`, `17 ${GROUP}`)
      assert.equal(
        outcome(() => segment.leave(0, socket, { group: GROUP }, 3)),
        'EADDRNOTAVAIL',
      )
    })
  })
})

describe('sources of groups', () => {
  const ONE = '10.0.0.21'
  const TWO = '10.0.0.22'
  const THREE = '10.0.0.23'

  function heard(segment: Segment, socket: UdpSocket, cpu: number): string[] {
    for (const source of [ONE, TWO, THREE]) segment.inject(datagram('x', GROUP, source))
    return segment.received(0, socket, cpu).map((each) => each.slice(-2))
  }

  onSegments('a socket that has joined for sources hears these and no others', {}, (segment) => {
    const cpu = segment.cpuCount - 1
    const socket = segment.open(0, SHARED, cpu)
    const neighbour = segment.open(0, SHARED)
    segment.join(0, socket, { group: GROUP, source: ONE }, cpu)
    assert.deepEqual(heard(segment, socket, cpu), ['21'])
    segment.join(0, socket, { group: GROUP, source: THREE }, cpu)
    assert.deepEqual(heard(segment, socket, cpu), ['21', '23'])
    segment.leave(0, socket, { group: GROUP, source: ONE }, cpu)
    assert.deepEqual(heard(segment, socket, cpu), ['23'])
    // What one socket does not want others get all the same.
    assert.equal(segment.received(0, neighbour).length, 9)
    segment.expectIgmp(`16 ${GROUP}`)
    // Without its last source it has left the group.
    segment.leave(0, socket, { group: GROUP, source: THREE }, cpu)
    segment.expectIgmp(`17 ${GROUP}`)
    assert.deepEqual(heard(segment, socket, cpu), [])
    assert.equal(segment.count(GroupCounters, 'filtered'), 5)
  })

  onSegments('a group that was joined for all may be narrowed, and is left as a whole', {}, (segment) => {
    const socket = segment.open(0, { port: 9 })
    segment.join(0, socket, { group: GROUP })
    assert.equal(heard(segment, socket, 0).length, 3)
    segment.join(0, socket, { group: GROUP, source: TWO })
    assert.deepEqual(heard(segment, socket, 0), ['22'])
    segment.leave(0, socket, { group: GROUP })
    assert.deepEqual(heard(segment, socket, 0), [])
  })

  onSegments('what cannot be is said', {}, (segment) => {
    const socket = segment.open(0, { port: 9 })
    const join = (source: string) => outcome(() => segment.join(0, socket, { group: GROUP, source }))
    const leave = (source: string) => outcome(() => segment.leave(0, socket, { group: GROUP, source }))
    for (const source of ['224.1.1.1', '0.0.0.0', 'fe80::1', 'here']) assert.equal(join(source), 'EINVAL')
    assert.equal(leave(ONE), 'EINVAL')
    assert.equal(join(ONE), 'ok')
    assert.equal(join(ONE), 'EADDRNOTAVAIL')
    assert.equal(leave(TWO), 'EADDRNOTAVAIL')
    assert.equal(
      outcome(() => segment.join(0, socket, { group: GROUP })),
      'EADDRINUSE',
    )
    for (let i = 1; i < SOURCES_MAX; i++) assert.equal(join(`10.9.9.${i}`), 'ok')
    assert.equal(join('10.9.9.200'), 'ENOBUFS')
  })
})

describe('sending to many', () => {
  onSegments('a group is sent to on the link, with a time to live of 1, and routed to nobody', {}, (segment) => {
    const cpu = segment.cpuCount - 1
    const socket = segment.open(0, { port: 7000 }, cpu)
    assert.equal(segment.send(0, socket, text('hello'), '239.129.2.3', 9, cpu), 0)
    const [sent, ...rest] = segment.others()
    assert.deepEqual(rest, [])
    assert.equal(sent!.ether.target, '01:00:5e:01:02:03')
    const { source, target, ttl } = sent!.ip!
    assert.deepEqual({ source, target, ttl }, { source: '10.0.0.1', target: '239.129.2.3', ttl: 1 })
    assert.deepEqual(sent!.payload, text('hello'))
  })

  onSegments('the time to live of groups is their own, and 0 does not leave the host', {}, (segment) => {
    for (const multicastTtl of [0, 1, 32, 255]) {
      const socket = segment.open(0, { ttl: 5, multicastTtl })
      segment.send(0, socket, text('x'), GROUP, 9)
      assert.deepEqual(
        segment.others().map(({ ip }) => ip!.ttl),
        multicastTtl === 0 ? [] : [multicastTtl],
      )
      segment.send(0, socket, text('x'), PEER, 9)
      assert.equal(segment.others()[0]!.ip!.ttl, 5)
    }
  })

  onSegments('members on the sending host get it as well, unless the sender does not want that', {}, (segment) => {
    const all = sharers(segment, 4)
    all[1]!.join()
    for (const multicastTtl of [0, 1]) {
      const loud = segment.open(0, { multicastTtl })
      const quiet = segment.open(0, { multicastTtl, multicastLoop: false })
      segment.send(0, loud, text('to us'), GROUP, 9)
      segment.send(0, quiet, text('not to us'), GROUP, 9)
      for (const { received } of all) assert.deepEqual(received(), ['to us from 10.0.0.1'])
      assert.equal(segment.others().length, multicastTtl === 0 ? 0 : 2)
    }
    // Of groups without members here there is no copy.
    const looped = segment.count(GroupCounters, 'looped')
    segment.send(0, segment.open(0, {}), text('x'), OTHER, 9)
    assert.equal(segment.count(GroupCounters, 'looped'), looped)
  })

  onSegments('a sender that is a member hears itself', {}, (segment) => {
    const cpu = segment.cpuCount - 1
    const socket = segment.open(0, { port: 9 }, cpu)
    segment.join(0, socket, { group: GROUP }, cpu)
    segment.send(0, socket, counting(20_000), GROUP, 9, cpu)
    const [own] = segment.received(0, socket, cpu)
    assert(own!.endsWith('from 10.0.0.1'))
    // On the link, in fragments; here, whole.
    const parts = segment.others()
    assert.equal(parts.length, 14)
    assert.equal(
      parts.reduce((bytes, { ip }) => bytes + ip!.totalLength - 20, 0),
      20_008,
    )
    assert.equal(new Set(parts.map(({ ip }) => ip!.id)).size, 1)
  })

  onSegments('a datagram longer than IP can say is EMSGSIZE', {}, (segment) => {
    const socket = segment.open(0, { multicastTtl: 0 })
    assert.equal(segment.send(0, socket, new Uint8Array(65508), GROUP, 9), Errno.EMSGSIZE)
    assert.equal(segment.send(0, socket, new Uint8Array(65507), GROUP, 9), 0)
  })

  onSegments(
    'the interface is the one that was set, of the bound address, of the route, or the first',
    { links: 3, routes: [{ prefix: '239.0.0.0/8', interface: 'e2' }] },
    (segment) => {
      const links = (options: UdpSocketOptions, target: string, set?: string) => {
        const socket = segment.open(0, options)
        if (set !== undefined) segment.on(0, 0, () => socket.setMulticastInterface(set))
        assert.equal(segment.send(0, socket, text('x'), target, 9), 0)
        const all = segment.heard.map(({ link, read }) => `${link} ${read!.ip!.source}`)
        segment.heard = []
        return all.join()
      }
      assert.equal(links({}, GROUP), '0 10.0.0.1')
      assert.equal(links({}, OTHER), '2 10.0.2.1')
      assert.equal(links({ address: '10.0.1.1' }, OTHER), '1 10.0.1.1')
      assert.equal(links({ multicastInterface: 'e1' }, OTHER), '1 10.0.1.1')
      assert.equal(links({ multicastInterface: '10.0.0.1' }, OTHER), '0 10.0.0.1')
      assert.equal(links({ multicastInterface: 'e1' }, OTHER, '0.0.0.0'), '2 10.0.2.1')
      assert.equal(links({}, OTHER, 'e1'), '1 10.0.1.1')
      // The source stays the one that it is bound to.
      assert.equal(links({ address: '10.0.2.1', multicastInterface: 'e1' }, GROUP), '1 10.0.2.1')
      const socket = segment.open(0, {})
      assert.equal(
        outcome(() => segment.on(0, 0, () => socket.setMulticastInterface('10.0.0.2'))),
        'EADDRNOTAVAIL',
      )
    },
  )

  onSegments('what is sent to a group on the loopback is heard there and nowhere else', {}, (segment) => {
    const socket = segment.open(0, { port: 9 })
    segment.join(0, socket, { group: GROUP, interface: '127.0.0.1' })
    segment.expectIgmp()
    const sender = segment.open(0, { multicastInterface: '127.0.0.1' }, segment.cpuCount - 1)
    segment.send(0, sender, text('here'), GROUP, 9, segment.cpuCount - 1)
    segment.send(0, segment.open(0, {}), text('there'), GROUP, 9)
    assert.deepEqual(segment.received(0, socket), ['here from 127.0.0.1'])
    assert.equal(segment.others().length, 1)
    // An address of the loopback network leaves by no other.
    const bound = segment.open(0, { address: '127.0.0.1', multicastInterface: 'e0' })
    assert.equal(errnoName(segment.send(0, bound, text('x'), GROUP, 9)), 'EADDRNOTAVAIL')
    assert.deepEqual(segment.others(), [])
  })

  onSegments('a broadcast reaches the link and the host itself, for whoever may send one', {}, (segment) => {
    const all = sharers(segment, 2)
    const sender = segment.open(0, { broadcast: true })
    const other = segment.open(0, {})
    for (const target of ['255.255.255.255', '10.0.0.255']) {
      assert.equal(segment.send(0, sender, text('all'), target, 9), 0)
      const [sent] = segment.others()
      assert.deepEqual([sent!.ether.target, sent!.ip!.target, sent!.ip!.ttl], ['ff:ff:ff:ff:ff:ff', target, 64])
      for (const { received } of all) assert.deepEqual(received(), ['all from 10.0.0.1'])
      assert.notEqual(segment.send(0, other, text('all'), target, 9), 0)
    }
    assert.deepEqual(segment.others(), [])
  })
})

describe('sharing a port', () => {
  onSegments('a flow has one of those who share its port, and all together have all flows', {}, (segment) => {
    const all = sharers(segment, 4)
    for (let round = 0; round < 3; round++) {
      for (let port = 5000; port < 5064; port++) {
        segment.post(udp({ sourcePort: port, targetPort: 9 }, text(`${port}`)))
      }
    }
    segment.run(5000)
    const got = all.map(({ received }) => received())
    assert.equal(got.flat().length, 3 * 64)
    for (const each of got) {
      assert(each.length > 20, 'nobody is left out')
      // All of a flow, or nothing of it.
      assert.equal(each.length, 3 * new Set(each).size)
    }
  })

  onSegments(
    'who does not want to share does not, and a port that was chosen at random is shared with nobody',
    {},
    (segment) => {
      const [first] = sharers(segment, 2)
      assert.equal(
        outcome(() => segment.open(0, { port: 9 }, segment.cpuCount - 1)),
        'EADDRINUSE',
      )
      assert.equal(
        outcome(() => segment.open(0, { port: 9, shared: true, address: '10.0.0.1' })),
        'ok',
      )
      first!.close()
      assert.equal(
        outcome(() => segment.open(0, { port: 9 })),
        'EADDRINUSE',
      )
      const ports = Array.from({ length: 50 }, () => segment.open(0, { shared: true }).port)
      assert.equal(new Set(ports).size, 50)
      assert.equal(
        outcome(() => segment.open(0, { port: ports[0]!, shared: true })),
        'ok',
      )
    },
  )

  test('the flows of one that is closed go to the others', () => {
    withSegment({ cpus: 2 }, (segment) => {
      const all = sharers(segment, 3)
      all[1]!.close()
      for (let port = 5000; port < 5050; port++) segment.inject(udp({ sourcePort: port, targetPort: 9 }, text('x')))
      assert.equal(all[0]!.received().length + all[2]!.received().length, 50)
    })
  })
})

test('two hosts on a hub talk in a group (@rfc 1122 3.3.7/multicast)', () => {
  for (const cpus of [1, 2, 4]) {
    withSegment({ hosts: 2, cpus, seed: 40 + cpus }, (segment) => {
      const members = [0, 1].map((host) => sharers(segment, 3, host))
      for (const each of members.flat()) each.join()
      segment.run(11_000_000)
      for (const host of [0, 1]) {
        const { socket, cpu } = members[host]![2]!
        for (let i = 0; i < 20; i++) assert.equal(segment.send(host, socket, text(`${i}`), GROUP, 9, cpu), 0)
        const expected = Array.from({ length: 20 }, (_, i) => `${i} from 10.0.0.${host + 1}`)
        for (const each of members.flat()) assert.deepEqual(each.received(), expected)
      }
      assert.equal(segment.others().length, 40)
      // The second host leaves, and hears no more.
      for (const each of members[1]!) each.leave()
      const { socket, cpu } = members[0]![0]!
      segment.send(0, socket, text('x'), GROUP, 9, cpu)
      for (const each of members[1]!) assert.deepEqual(each.received(), [])
      for (const each of members[0]!) assert.equal(each.received().length, 1)
    })
  }
})
