// One packet's life: every hand-off that it passes is a hop, in the order of its way, with its waiting; and behind it what it led to.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCapture } from '../src/device/pcap/file.ts'
import { type DeviceSpec, deviceRegions } from '../src/device/spec.ts'
import type { WireOptions } from '../src/device/wire.ts'
import type { Memory } from '../src/kernel/memory.ts'
import { type Life, type LifeHop, type LifeQuery, packetLife } from '../src/kernel/trace/life.ts'
import { setTraceMode, type TraceMode } from '../src/kernel/trace/mode.ts'
import { simulate } from '../src/machine/sim.ts'
import { LAYERS } from '../src/net/policy.ts'
import { arp, echoRest, ether, icmp, Type, text, udp } from '../src/net/testing/frame.ts'
import { HOST, ownerOf, PEER, PEER_LINK, portOwnedBy, type TestHost, withHost } from '../src/net/testing/host.ts'
import { Peer } from '../src/net/testing/peer.ts'
import { echo } from '../src/service/echo.ts'
import { Load } from '../src/service/load.ts'
import { type HostConfig, Stack, type TcpSocket } from '../src/stack.ts'

const SECOND = 1_000_000

function traced(host: TestHost, mode: TraceMode = 'all'): void {
  setTraceMode(host.machine.memory, mode)
  host.run(1000)
}

function lifeOf(host: TestHost, query: LifeQuery): Life {
  const life = packetLife(host.machine.memory, query)
  assert.ok(life !== undefined, 'there is such a packet')
  return life
}

/** Where each hop was made: `send netisr 0`, `packet 1`. */
const ways = (hops: readonly LifeHop[]) =>
  hops.map(({ kind, point, cpu }) => `${kind}${point === '' ? '' : ` ${point}`} ${cpu}`)

/** Answers with what it was asked. */
function echoes(socket: TcpSocket): void {
  socket.onReadable = function answers() {
    const bytes = new Uint8Array(socket.readableBytes)
    socket.receive(bytes)
    socket.send(bytes)
  }
}

test('a life goes from the wrong CPU to the flow’s, to the program’s, and back to the device with the answer', () => {
  withHost({ cpus: 2, programs: 1, seed: 3, steer: 'first', discipline: 'connp-t', layers: [] }, (host) => {
    host.listen({ port: 7 }, 2, { onConnection: (socket) => echoes(socket) })
    let port = 20_000
    while (ownerOf(host, new Peer(host, { port }).packet('S', { seq: 0 })) !== 1) port++
    const peer = Peer.connect(host, { port })
    traced(host)
    peer.send('PA', { data: text('far') })
    const answer = peer.expect('PA', { data: text('far') })
    const life = lifeOf(host, { protocol: 'tcp', port: 7 })
    const way = ['packet 0', 'send netisr 0', 'send rcv 1', 'read 2', 'send snd 2', 'segment 1', 'transmit 1']
    assert.deepEqual(
      ways(life.hops).filter((hop) => way.includes(hop)),
      way,
      `${ways(life.hops)}`,
    )
    assert.equal(life.begins, 'origin')
    for (const hop of life.hops) {
      assert.ok(hop.sinceUs >= 0 && hop.afterUs >= 0)
      if (hop.kind === 'send') assert.equal(typeof hop.taken, 'number', 'each was taken out of a queue')
    }
    // What has to wait for another CPU waits longer than nothing.
    const netisr = life.hops.find(({ point }) => point === 'netisr')
    assert.ok(typeof netisr?.taken === 'number' && netisr.taken > 0)
    assert.ok(life.hops.find(({ kind }) => kind === 'read')?.frames.some((frame) => frame.function.includes('answers')))
    // The number that a capture has of the answer leads to the same packet.
    const ofAnswer = lifeOf(host, { id: answer.sent.trace })
    assert.deepEqual(ways(ofAnswer.hops), way)
    assert.equal(ofAnswer.hops[0]?.id, life.id)
    assert.equal(ofAnswer.id, answer.sent.trace)
  })
})

test('each boundary that is a queue is a hop, on the way in and on the way out', () => {
  withHost({ cpus: 1, programs: 1, seed: 5, discipline: 'connp-t', layers: LAYERS }, (host) => {
    host.listen({ port: 7 }, 1, { onConnection: (socket) => echoes(socket) })
    const peer = Peer.connect(host)
    traced(host)
    peer.send('PA', { data: text('deep') })
    const answer = peer.expect('PA', { data: text('deep') })
    const { hops } = lifeOf(host, { id: answer.sent.trace })
    assert.deepEqual(ways(hops), [
      'packet 0',
      'send link 0',
      'send netisr 0',
      'send transport 0',
      'send rcv 0',
      'read 1',
      'send snd 1',
      'segment 0',
      'send tx 0',
      'send tx 0',
      'transmit 0',
    ])
    for (const { point, taken } of hops) if (point !== '') assert.equal(typeof taken, 'number', point)
  })
})

test('a segment that goes again is a branch beside the first one, behind the write that both are of', () => {
  withHost({ cpus: 1, seed: 2, discipline: 'connp-t', layers: [] }, (host) => {
    host.listen({ port: 7 }, 0, { onConnection: (socket) => echoes(socket) })
    const peer = Peer.connect(host)
    traced(host)
    peer.send('PA', { data: text('lost') })
    peer.take()
    host.run(SECOND)
    assert.ok(peer.take().length > 0)
    const { hops } = lifeOf(host, { protocol: 'tcp' })
    const segment = hops.find(({ kind }) => kind === 'segment')!
    const again = hops.find(({ kind }) => kind === 'retransmit')!
    assert.equal(again.parent, segment.parent)
    assert.ok(again.atUs - segment.atUs > 100_000)
    assert.equal(again.branch, segment.branch)
    assert.ok(again.branch > hops[0]!.branch)
    assert.equal(hops[hops.indexOf(again) + 1]?.kind, 'transmit')
  })
})

test('a datagram’s life goes through the program that sends it back, and shows how long its answer waits for an address', () => {
  withHost({ cpus: 1, seed: 4, discipline: 'connp-t', layers: [], answerArp: false }, (host) => {
    const socket = host.open({
      port: 9,
      onReadable: (self) => {
        for (let packet = self.receive(); packet !== 0; packet = self.receive()) self.sendBack(packet)
      },
    })
    traced(host)
    host.inject(udp({ sourcePort: 7000, targetPort: 9 }, text('who')))
    host.expect({ arp: { operation: 'request', target: PEER } })
    host.run(700)
    host.injectFrame(
      ether(
        { source: PEER_LINK, target: host.linkAddress(), type: Type.arp },
        arp({ operation: 'reply', sender: PEER, senderLink: PEER_LINK, target: HOST, targetLink: host.linkAddress() }),
      ),
    )
    const { hops } = lifeOf(host, { id: host.expect({ udp: { targetPort: 7000 } }).trace })
    assert.deepEqual(ways(hops), ['packet 0', 'read 0', 'datagram 0', 'transmit 0'])
    assert.deepEqual([hops[2]?.localPort, hops[2]?.remotePort], [9, 7000])
    assert.ok(hops[3]!.afterUs > 700, `${hops[3]!.afterUs} µs`)
    assert.equal(socket.length, 0)
  })
})

test('what a host sends to itself leaves and arrives as well', () => {
  withHost({ cpus: 1, programs: 1, seed: 8, discipline: 'connp-t', layers: [] }, (host) => {
    host.listen({ port: 7, address: HOST }, 1, { onConnection: (socket) => echoes(socket) })
    const client = host.connect({ address: HOST, port: 7 }, 0)
    host.run()
    client.expect('connect')
    traced(host)
    client.send(text('self'))
    host.run()
    assert.deepEqual(client.received(), text('self'))
    const { hops } = lifeOf(host, { protocol: 'tcp', port: 7 })
    assert.deepEqual(ways(hops).slice(0, 4), ['packet 0', 'send netisr 0', 'send rcv 0', 'read 1'])
    assert.equal(hops[0]?.to, 'lo')
    const answer = hops.findIndex(({ kind, localPort }) => kind === 'segment' && localPort === 7)
    assert.deepEqual(ways(hops.slice(answer, answer + 3)), ['segment 0', 'transmit 0', 'packet 0'])
  })
})

test('a connection that a program accepts is the end of the packet that completed it', () => {
  withHost({ cpus: 1, programs: 1, seed: 6, discipline: 'connp-t', layers: [] }, (host) => {
    traced(host)
    const server = host.listen({ port: 7 }, 1)
    Peer.connect(host)
    server.accept()
    const { hops } = lifeOf(host, { protocol: 'tcp', port: 7 })
    assert.deepEqual(ways(hops).slice(0, 2), ['packet 0', 'send rcv 0'])
    assert.equal(hops.find(({ kind }) => kind === 'accept')?.parent, hops[1]?.id)
  })
})

test('the newest packet that a program has answered is taken, or the first since a time; and none that is not meant', () => {
  withHost({ cpus: 1, seed: 7, discipline: 'connp-t', layers: [] }, (host) => {
    const { memory } = host.machine
    for (const port of [9, 10]) {
      host.open({
        port,
        onReadable: (self) => {
          for (let packet = self.receive(); packet !== 0; packet = self.receive()) self.sendBack(packet)
        },
      })
    }
    traced(host)
    assert.equal(packetLife(memory, {}), undefined)
    const times: number[] = []
    for (const [targetPort, payload] of [
      [9, 'a'],
      [10, 'bb'],
      [9, 'ccc'],
    ] as const) {
      times.push(host.nowUs)
      host.inject(udp({ sourcePort: 7000, targetPort }, text(payload)))
    }
    // What the stack answers by itself is a life as well, but stands behind.
    host.inject(icmp({ type: 8, rest: echoRest(1, 1) }, text('ping')))
    const bytes = (query: LifeQuery) => packetLife(memory, query)?.hops.find(({ kind }) => kind === 'read')?.bytes
    assert.equal(bytes({}), 3)
    assert.equal(bytes({ protocol: 'udp', port: 10 }), 2)
    assert.equal(bytes({ port: 7000 }), 3)
    assert.equal(bytes({ sinceUs: times[0] }), 1)
    assert.equal(bytes({ sinceUs: times[1] }), 2)
    assert.equal(packetLife(memory, { protocol: 'tcp' }), undefined)
    assert.equal(packetLife(memory, { protocol: 'udp', port: 11 }), undefined)
    assert.deepEqual(ways(lifeOf(host, { sinceUs: times[2]! + 900 }).hops), ['packet 0', 'transmit 0'])
    assert.equal(packetLife(memory, { id: 0x7fffffff }), undefined)
    assert.equal(packetLife(memory, { id: 0 }), undefined)
    host.take()
  })
})

test('what leaves without a packet before it is a life from the program on', () => {
  withHost({ cpus: 1, programs: 1, seed: 9, discipline: 'connp-t', layers: [] }, (host) => {
    host.introduce()
    const socket = host.open({ port: 9 }, 1)
    traced(host)
    host.on(1, (stack) => {
      const target = stack.endpoint(PEER, 9)
      socket.sendBytes(text('first'), target)
      target.free()
    })
    const { trace } = host.expect({ udp: { targetPort: 9 } })
    const life = lifeOf(host, { protocol: 'udp' })
    assert.equal(life.id, trace)
    assert.deepEqual(ways(life.hops), ['datagram 1', 'send tx 1', 'transmit 0'])
  })
})

test('what is not taken at its origin is not taken on its way', () => {
  withHost({ cpus: 2, seed: 11, discipline: 'connp-t', layers: [] }, (host) => {
    host.listen({ port: 7 }, 0, { onConnection: (socket) => echoes(socket) })
    const peer = Peer.connect(host, { port: portOwnedBy(host, 1, 7) })
    traced(host, 1_000_000_000)
    peer.send('PA', { data: text('some') })
    peer.expect('PA', { data: text('some') })
    assert.equal(packetLife(host.machine.memory, {}), undefined)
  })
})

/** Two hosts on a wire, each on a CPU of its own, that exchange datagrams; what the server sees is captured. */
function captured(path: string, mode: TraceMode): Memory {
  const wire: WireOptions = { name: 'w', a: [0], b: [1] }
  const devices: DeviceSpec[] = [
    { kind: 'capture', of: { kind: 'wire', wire, side: 'a' }, path },
    { kind: 'wire', wire, side: 'b' },
  ]
  const machine = simulate({ cpus: 2, seed: 1, regions: deviceRegions(devices) })
  setTraceMode(machine.memory, mode)
  let load: Load | undefined
  let isOpen = false
  for (const [index, device] of devices.entries()) {
    const cpu = machine.cpus[index]!
    const addresses = [`10.0.0.${index + 1}/24`]
    const config: HostConfig = {
      name: `host ${index}`,
      index,
      cpus: [index],
      interfaces: [{ name: 'eth0', device, addresses }],
    }
    const stack = new Stack(cpu, config)
    cpu.threads.start('host', function* (thread) {
      yield* stack.start(thread)
      if (index === 0) echo(stack, 7, () => (isOpen = true))
      yield* thread.until(() => isOpen)
      if (index === 1) {
        load = new Load(stack, { target: '10.0.0.1', port: 7, flows: 1, window: 1, payload: 20, pingsPerSecond: 0 })
      }
    })
  }
  machine.run({ until: () => load !== undefined })
  machine.run({ untilUs: machine.clock.now() + 1000 })
  load?.stop()
  machine.run({ untilUs: machine.clock.now() + 1000 })
  machine.stop().catch(() => {})
  return machine.memory
}

function inFolder(run: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'damselfly-'))
  try {
    run(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('a capture’s comments have the numbers by which the lives of its packets are found, each way', () => {
  inFolder((folder) => {
    const path = join(folder, 'w.pcapng')
    const memory = captured(path, 'all')
    const packets = [...openCapture(path).packets()].filter(({ data }) => data[12] === 8 && data[13] === 0)
    assert.ok(packets.length > 10)
    for (const { comment = '', direction } of packets.slice(-6)) {
      const [, digits] = /^damselfly trace (0x[0-9a-f]{8}): /.exec(comment) ?? []
      const { id, hops } = packetLife(memory, { id: Number(digits) })!
      if (direction === 'in') {
        assert.match(comment, /: packet from w\.a; transmitted as 0x[0-9a-f]{8} to w\.b$/)
        // Noted by the capture, and not by the stack once more.
        assert.equal(hops[0]?.id, id)
        assert.deepEqual(ways(hops).slice(0, 4), ['packet 0', 'read 0', 'datagram 0', 'transmit 0'])
        assert.deepEqual(ways(hops).slice(4), ['packet 1'])
        const sent = hops[3]!
        assert.ok(typeof sent.taken === 'number' && sent.taken > 0, 'it was on the wire for some time')
      } else {
        assert.match(
          comment,
          /: datagram from udp port 7, to port \d+; written by cpu 0 at echo\.ts:\d+:\d+; after packet 0x/,
        )
        assert.equal(hops.find((hop) => hop.id === id)?.kind, 'transmit')
        const [, cause] = /after packet (0x[0-9a-f]{8}) from w\.a, [\d.]+ [µm]s before$/.exec(comment) ?? []
        assert.equal(hops[0]?.id, Number(cause))
      }
    }
  })
})

test('a capture of what is not traced has no comments, and classic pcap never has', () => {
  inFolder((folder) => {
    for (const [name, mode] of [
      ['off.pcapng', 'off'],
      ['all.pcap', 'all'],
    ] as const) {
      const path = join(folder, name)
      captured(path, mode)
      const packets = [...openCapture(path).packets()]
      assert.ok(packets.length > 10)
      assert.ok(packets.every(({ comment }) => comment === undefined))
    }
  })
})
