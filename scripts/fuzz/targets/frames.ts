// Frames on the wire of a host that lives, in the simulator: what each protocol's input has to survive. An input is a byte of what else
// happens, and then frames, each behind its length. Whatever the host sends is read, and has to be right; at the end of a session every
// packet has to be accounted for, and all memory to be free again.
import type { Random } from '../../../src/base/random.ts'
import {
  arp,
  BROADCAST,
  type Bytes,
  be32,
  counting,
  echoRest,
  ether,
  fragments,
  get16,
  get32,
  icmp,
  ip,
  join,
  Protocol,
  put16,
  Type,
  tcp,
  tcpOption,
  text,
  udp,
} from '../../../src/net/testing/frame.ts'
import { HOST, PEER, PEER_LINK, TestHost } from '../../../src/net/testing/host.ts'
import { Peer } from '../../../src/net/testing/peer.ts'
import type { TestServer, TestSocket } from '../../../src/net/testing/program.ts'
import { ALL_REPAIRS, repair } from '../../../src/net/testing/repair.ts'
import { echo } from '../../../src/service/echo.ts'
import { INPUT_BYTES_MAX, mutate } from '../mutation.ts'
import type { Session, Target } from '../target.ts'
import { assertBlind } from './blind.ts'

/** What happens besides: bits of an input's first byte. */
const Also = { sends: 1, shuts: 2, second: 4, minute: 8, closes: 16, pauses: 32 } as const
const FRAMES_MAX = 16
const SECOND = 1_000_000
const HOST_LINK = '02:00:00:00:00:01'
/** TCP from these ports is of a connection that is established; its numbers are relative, 0 the SYN of either side. */
const CONNECTED = [5000, 5001]
const FIRST_PORT = 10_000

interface Kind {
  readonly name: string
  /** Where changes are made most of the time: behind the link's header, or behind IP's. */
  readonly from: number
  readonly to: number
  readonly frames: readonly (readonly Bytes[])[]
  /** Whether there are connections. */
  readonly connects: boolean
}

export function frameTargets(): Target[] {
  return KINDS.map((kind) => ({
    name: kind.name,
    inputs: 600,
    seeds: () => kind.frames.flatMap((frames, i) => [encode(0, frames), encode(1 << (i % 6), frames)]),
    open: () => new HostSession(kind.connects),
    mutate: (random, input, other) => change(random, kind, input, other),
  }))
}

class HostSession implements Session {
  readonly #host = new TestHost({
    cpus: 1,
    seed: 7,
    entries: 512,
    memoryBytes: 32 * 1024 * 1024,
    routes: [{ prefix: '0.0.0.0/0', gateway: PEER, interface: 'w0' }],
  })
  readonly #server: TestServer | undefined
  readonly #connections: { peer: Peer; program: TestSocket }[] = []
  #port = FIRST_PORT

  constructor(connects: boolean) {
    const host = this.#host
    host.introduce()
    host.on(0, (stack) => echo(stack, 7, () => {}))
    host.open({ port: 9 })
    const client = host.open({ port: 7000, onError: () => {} })
    host.on(0, (stack) => {
      const target = stack.endpoint(PEER, 9)
      stack.context.cpu.onStop(() => target.free())
      client.connect(target)
    })
    if (!connects) return
    this.#server = host.listen({ port: 7 })
    for (let i = 0; i < CONNECTED.length; i++) this.#connect(i)
  }

  run(input: Bytes): void {
    const host = this.#host
    const { also, frames } = decode(input)
    const isSet = (bit: number) => (also & bit) !== 0
    for (const [i, { program }] of this.#connections.entries()) {
      if (program.log.some((event) => /^(closed|error|end)/.test(event))) this.#connect(i)
    }
    for (const { program } of this.#connections) if (isSet(Also.sends)) program.send(counting(20_000))
    if (isSet(Also.shuts)) this.#connections[0]?.program.shutdown()
    for (const frame of frames) {
      assertBlind(frame)
      host.post(this.#rebased(frame))
      if (isSet(Also.pauses)) host.run()
    }
    host.run()
    if (isSet(Also.closes)) this.#connections[1]?.program.close()
    if (isSet(Also.second)) host.run(SECOND)
    if (isSet(Also.minute)) host.run(60 * SECOND)
    this.#clean()
  }

  close(): void {
    const host = this.#host
    try {
      for (const { program } of this.#connections) if (!program.log.includes('closed')) program.abort()
      host.run(10 * SECOND)
      this.#clean()
      host.run(1500 * SECOND)
      this.#clean()
      host.finish()
    } finally {
      host.abandon()
    }
  }

  /** What has come is taken; connections that strangers have made are ended. */
  #clean(): void {
    const host = this.#host
    for (const socket of host.sockets) host.received(socket)
    for (const { program } of this.#connections) program.received()
    for (const program of this.#server?.sockets.splice(0) ?? []) if (!program.log.includes('closed')) program.abort()
    host.take()
  }

  #connect(index: number): void {
    const before = this.#connections[index]?.program
    if (before !== undefined && !before.log.includes('closed')) before.abort()
    this.#clean()
    const port = this.#port++
    const isNew = index === 0
    const peer = new Peer(this.#host, { port, timestamps: isNew, sack: true, windowScale: isNew ? 7 : 0 })
    peer.sendSyn()
    peer.expectSyn('SA')
    peer.send('A')
    this.#connections[index] = { peer, program: this.#server!.accept() }
    this.#host.take()
  }

  /** The frame, where it is one of a connection's, with that one's port and numbers. */
  #rebased(frame: Bytes): Bytes {
    const bytes = Uint8Array.from(frame)
    // The host's own address in frames that were made before there was a host.
    if (bytes.length >= 6 && linkOf(bytes, 0) === HOST_LINK) bytes.set(bytesOf(this.#host.linkAddress()), 0)
    const isTcp = bytes.length >= 54 && bytes[23] === Protocol.tcp && get16(bytes, 12) === Type.ipv4
    const at = 14 + (bytes[14]! & 15) * 4
    if (!isTcp || at < 34 || bytes.length < at + 20) return bytes
    const connection = this.#connections[CONNECTED.indexOf(get16(bytes, at))]
    if (connection === undefined) return bytes
    const { peer } = connection
    const wasRight = isRepaired(bytes)
    put16(bytes, at, peer.options.port!)
    bytes.set(be32((get32(bytes, at + 4) + peer.iss) >>> 0), at + 4)
    bytes.set(be32((get32(bytes, at + 8) + peer.hostIss) >>> 0), at + 8)
    if (wasRight) repair(bytes, { ...ALL_REPAIRS, totalLength: false, ipChecksum: false })
    return bytes
  }
}

function isRepaired(frame: Bytes): boolean {
  const copy = Uint8Array.from(frame)
  repair(copy, { ...ALL_REPAIRS, totalLength: false, ipChecksum: false })
  return Buffer.compare(copy, frame) === 0
}

function change(random: Random, kind: Kind, input: Bytes, other: Bytes): Bytes {
  const { also, frames } = decode(input)
  const lent = decode(other).frames
  const mine = [...frames]
  if (mine.length === 0) mine.push(kind.frames[random.below(kind.frames.length)]![0]!)
  const at = random.below(mine.length)
  const from = lent[random.below(lent.length)] ?? mine[at]!
  const what = random.below(12)
  if (what === 0) mine.splice(at, 1)
  else if (what === 1) mine.splice(random.below(mine.length + 1), 0, mine[at]!)
  else if (what === 2) mine.splice(at, 0, from)
  else if (what === 3) mine.reverse()
  else if (what === 4) mine.splice(at, 1, ...cut(random, mine[at]!))
  else {
    const frame = mine[at]!
    const isInside = random.chance(0.85)
    const changed = mutate(
      random,
      frame,
      from,
      isInside ? Math.min(kind.from, frame.length) : 0,
      isInside ? Math.min(kind.to, frame.length) : frame.length,
    )
    repair(changed, {
      totalLength: random.chance(0.6),
      transportLength: random.chance(0.7),
      ipChecksum: random.chance(0.95),
      transportChecksum: random.chance(0.95),
    })
    mine[at] = changed
  }
  const happens = random.chance(0.8) ? also : random.below(64)
  return encode(happens, mine.slice(0, FRAMES_MAX))
}

/** A frame's packet in fragments, if it can be cut. */
function cut(random: Random, frame: Bytes): Bytes[] {
  if (frame.length < 50 || frame[14] !== 0x45 || get16(frame, 12) !== Type.ipv4) return [frame]
  const pieces = fragments(frame.subarray(14), 8 * (1 + random.below(16)), random.below(4))
  return pieces.slice(0, FRAMES_MAX).map((piece) => join(frame.subarray(0, 14), piece))
}

export function encode(also: number, frames: readonly Bytes[]): Bytes {
  const whole = join([also], ...frames.map((frame) => join([frame.length >> 8, frame.length & 255], frame)))
  return whole.subarray(0, INPUT_BYTES_MAX)
}

/** Any bytes are an input. */
export function decode(input: Bytes): { readonly also: number; readonly frames: readonly Bytes[] } {
  const frames: Bytes[] = []
  for (let at = 1; at + 2 <= input.length && frames.length < FRAMES_MAX; ) {
    const length = get16(input, at)
    frames.push(input.subarray(at + 2, at + 2 + length))
    at += 2 + length
  }
  return { also: input[0] ?? 0, frames }
}

function linkOf(bytes: Bytes, at: number): string {
  return Array.from(bytes.subarray(at, at + 6), (byte) => byte.toString(16).padStart(2, '0')).join(':')
}

function bytesOf(link: string): number[] {
  return link.split(':').map((byte) => Number.parseInt(byte, 16))
}

const toHost = (packet: Bytes) => ether({ source: PEER_LINK, target: HOST_LINK }, packet)
const toAll = (payload: Bytes, type: number = Type.ipv4) =>
  ether({ source: PEER_LINK, target: BROADCAST, type }, payload)
const PING = icmp({ type: 8, rest: echoRest(1, 1) }, text('ping'))
const SENT = udp({ source: HOST, target: PEER, sourcePort: 7000, targetPort: 9 }, text('sent'))
const segment = (fields: Parameters<typeof tcp>[0], data: Bytes = new Uint8Array()) =>
  toHost(tcp({ sourcePort: CONNECTED[0]!, targetPort: 7, seq: 1, ack: 1, flags: 'A', ...fields }, data))
const stamps = tcpOption.timestamps(5_000_000, 1)
const old = { sourcePort: CONNECTED[1]! }

const KINDS: readonly Kind[] = [
  {
    name: 'ethernet',
    from: 0,
    to: 16,
    connects: false,
    frames: [
      [toHost(PING)],
      [toAll(udp({ target: '10.0.0.255', targetPort: 9 }, text('x')))],
      [toAll(arp({ target: HOST }), Type.arp)],
      [
        ether(
          { source: PEER_LINK, target: '01:00:5e:00:00:01' },
          udp({ target: '224.0.0.1', targetPort: 9 }, text('x')),
        ),
      ],
      [ether({ source: PEER_LINK, target: HOST_LINK, type: Type.ipv6 }, counting(40))],
      [ether({ source: PEER_LINK, target: HOST_LINK, type: 46 }, counting(46))],
    ],
  },
  {
    name: 'arp',
    from: 14,
    to: 42,
    connects: false,
    frames: [
      [toAll(arp({ target: HOST }), Type.arp)],
      [toAll(arp({ operation: 'reply', target: HOST }), Type.arp)],
      [
        toAll(arp({ sender: '10.0.0.77', target: HOST }), Type.arp),
        toHost(icmp({ type: 8, source: '10.0.0.77' }, text('x'))),
      ],
      [
        toHost(icmp({ type: 8, source: '10.0.0.78' }, text('x'))),
        toAll(arp({ operation: 'reply', sender: '10.0.0.78' }), Type.arp),
      ],
      [toAll(arp({ sender: HOST, target: HOST }), Type.arp)],
    ],
  },
  {
    name: 'ipv4',
    from: 14,
    to: 74,
    connects: false,
    frames: [
      [toHost(icmp({ type: 8, options: [7, 7, 4, 0, 0, 0, 0, 0] }, counting(40)))],
      [toHost(icmp({ type: 8, options: [68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0] }, counting(40)))],
      [toHost(icmp({ type: 8, options: [131, 7, 4, 1, 2, 3, 4, 0] }, counting(40)))],
      [toHost(udp({ targetPort: 9, ttl: 1, dontFragment: true }, counting(20)))],
      [toHost(ip({ protocol: 4 }, PING))],
      [toHost(ip({ protocol: 2, ttl: 1, target: '224.0.0.1', options: [148, 4, 0, 0] }, counting(8)))],
      fragments(udp({ targetPort: 7, sourcePort: 6000 }, counting(200)), 64, 1).map(toHost),
      fragments(icmp({ type: 8 }, counting(100)), 24, 2)
        .map(toHost)
        .reverse(),
    ],
  },
  {
    name: 'icmp',
    from: 34,
    to: 100,
    connects: true,
    frames: [
      [toHost(PING)],
      ...[3, 4, 5, 11, 12].map((type) => [toHost(icmp({ type, code: type === 3 ? 3 : 0, rest: 600 }, SENT))]),
      [
        toHost(
          icmp({ type: 3, code: 4, rest: 576 }, tcp({ source: HOST, target: PEER, sourcePort: 7, targetPort: 5000 })),
        ),
      ],
      [toHost(icmp({ type: 13 }, counting(12)))],
      [toHost(icmp({ type: 17 }, counting(4)))],
      [toHost(icmp({ type: 0, rest: 1 }, counting(4)))],
    ],
  },
  {
    name: 'udp',
    from: 34,
    to: 60,
    connects: false,
    frames: [
      [toHost(udp({ targetPort: 9 }, counting(64)))],
      [toHost(udp({ targetPort: 7, sourcePort: 6000 }, counting(1000)))],
      [toHost(udp({ targetPort: 10 }, counting(20)))],
      [toHost(udp({ sourcePort: 9, targetPort: 7000 }, counting(20)))],
      [toHost(udp({ targetPort: 9, checksum: 0 }, counting(3)))],
      [toAll(udp({ target: '10.0.0.255', targetPort: 9 }, counting(10)))],
    ],
  },
  {
    name: 'tcp',
    from: 34,
    to: 94,
    connects: true,
    frames: [
      [segment({ flags: 'PA', tcpOptions: stamps }, text('hello'))],
      [segment({ flags: 'FA', tcpOptions: stamps })],
      [segment({ flags: 'R' })],
      [segment({ ...old, flags: 'PA' }, counting(100)), segment({ ...old, flags: 'FA', seq: 101 })],
      [
        segment({ ...old, seq: 301, flags: 'PA' }, counting(100)),
        segment({ ...old, seq: 101, flags: 'PA' }, counting(200)),
      ],
      [segment({ ...old, seq: 1, flags: 'PAU', urgent: 3 }, counting(10))],
      [segment({ ...old, ack: 1461, tcpOptions: tcpOption.sack([2921, 4381], [5841, 7301]) })],
      [
        segment({ ...old, ack: 1, tcpOptions: tcpOption.sack([1461, 2921]) }),
        segment({ ...old, ack: 1 }),
        segment({ ...old, ack: 1 }),
      ],
      [segment({ ...old, window: 0 }), segment({ ...old, window: 10 })],
      [segment({ ...old, flags: 'S', seq: 0, ack: 0 })],
      [
        segment({
          sourcePort: 6001,
          flags: 'S',
          seq: 9,
          ack: 0,
          tcpOptions: join(tcpOption.mss(1460), tcpOption.sackPermitted, stamps, tcpOption.windowScale(7)),
        }),
      ],
      [
        toHost(
          icmp({ type: 3, code: 4, rest: 576 }, tcp({ source: HOST, target: PEER, sourcePort: 7, targetPort: 5000 })),
        ),
      ],
    ],
  },
]
