// Hosts on an Ethernet segment, a hub, in virtual time; the test is plugged in as well, hears what is sent to everybody and to
// groups, and may say anything. Each host has CPUs of its own; the last CPU of the machine is the test's.
//
//     withSegment({ hosts: 2, cpus: 2 }, (segment) => {
//       const socket = segment.open(0, { port: 9 })
//       segment.join(0, socket, { group: '224.1.2.3' })
//       segment.expectIgmp({ type: 0x16, group: '224.1.2.3' })
//     })
//
// When the test ends everything that was counted has to add up, with what groups and IGMP add to it, and all memory has to be free.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KernelError } from '../../../base/errno.ts'
import { HubQueue } from '../../../device/hub.ts'
import { Mbufs } from '../../../device/mbuf.ts'
import { linkAddressOf } from '../../../device/wire.ts'
import type { CounterSet } from '../../../kernel/counters.ts'
import type { Cpu } from '../../../kernel/cpu.ts'
import { type SimMachine, simulate } from '../../../machine/sim.ts'
import { nudge } from '../../../machine/testing/sim.ts'
import { type HostConfig, Stack, type UdpMembership, type UdpSocket, type UdpSocketOptions } from '../../../stack.ts'
import {
  DispatchCounters,
  EtherCounters,
  GroupCounters,
  IcmpCounters,
  IpCounters,
  SocketCounters,
  TcpCounters,
  UdpCounters,
} from '../../counters.ts'
import {
  address,
  arp,
  type Bytes,
  checksumOf,
  ether,
  type IpFields,
  ip,
  join,
  put16,
  type Read,
  read,
  Type,
} from '../../testing/frame.ts'
import { assertAllFree, PEER, PEER_LINK } from '../../testing/host.ts'

const IGMP = 2
const TESTER_PORT = 1000
const ROUTER_ALERT = [148, 4, 0, 0]

export interface SegmentOptions {
  /** Default 1: 10.0.0.1/24, and so on. */
  readonly hosts?: number
  /** Of each host. Default 1. */
  readonly cpus?: number
  /** Segments, with an interface of each host: `e0` with 10.0.0.1/24, `e1` with 10.0.1.1/24. Default 1. */
  readonly links?: number
  readonly seed?: number
  readonly mtu?: number
  readonly routes?: HostConfig['routes']
}

export interface IgmpFields {
  readonly type: number
  /** The second byte. */
  readonly code?: number
  readonly group?: string
  readonly checksum?: number
  /** Behind the header. */
  readonly extra?: readonly number[]
}

export interface ReadIgmp {
  readonly source: string
  readonly target: string
  readonly type: number
  readonly group: string
  /** Of version 3. */
  readonly records: readonly { readonly type: number; readonly group: string }[]
}

/** What the test has heard. */
export interface Heard {
  readonly link: number
  readonly atUs: number
  readonly bytes: Bytes
  readonly igmp?: ReadIgmp
  readonly read?: Read
}

/** An IGMP message as it should be: time to live 1, router alert, general queries to all systems and others to their group. */
export function igmp(fields: IgmpFields & IpFields): Bytes {
  const { type, code = 0, group = '0.0.0.0', extra = [] } = fields
  const { target = group === '0.0.0.0' ? '224.0.0.1' : group, ttl = 1, options = ROUTER_ALERT, source = PEER } = fields
  const message = join([type, code, 0, 0], address(group), extra)
  put16(message, 2, fields.checksum ?? checksumOf(message))
  const { checksum: _, ...rest } = fields
  return ip({ ...rest, source, target, ttl, options, protocol: IGMP }, message)
}

/** A query of version 3: `code` as it stands in the message. */
export function query3(group: string, code: number, sources: readonly string[] = []): Bytes {
  const extra = join([2, 125], [sources.length >> 8, sources.length & 255], ...sources.map(address))
  return igmp({ type: 0x11, code, group, extra: [...extra] })
}

export class Segment {
  readonly machine: SimMachine
  /** By host and CPU. */
  readonly stacks: Stack[][] = []
  readonly hostCount: number
  readonly cpuCount: number
  /** Frames that the test has heard and nobody has taken. */
  heard: Heard[] = []
  readonly #sockets: UdpSocket[] = []
  readonly #tester: number
  readonly #links: HubQueue[] = []
  readonly #outbox: { readonly link: number; readonly frame: Bytes }[] = []
  readonly #jobs: (() => void)[][]

  constructor(options: SegmentOptions = {}) {
    const { hosts = 1, cpus = 1, links = 1, seed = 1, mtu = 1500 } = options
    this.hostCount = hosts
    this.cpuCount = cpus
    this.#tester = hosts * cpus
    this.#jobs = Array.from({ length: this.#tester + 1 }, () => [])
    const hubs = Array.from({ length: links }, (_, i) => ({ name: `hub${i}`, mtu }))
    this.machine = simulate({ cpus: this.#tester + 1, seed, memoryBytes: 32 * 1024 * 1024, checkOrder: true })
    for (let host = 0; host < hosts; host++) {
      const own = Array.from({ length: cpus }, (_, i) => host * cpus + i)
      // Not the control CPU, where there are others: what it says goes by another CPU's queue.
      const cpu = own[own.length - 1]!
      const config: HostConfig = {
        name: `host${host}`,
        index: host,
        cpus: own,
        interfaces: hubs.map((hub, i) => ({
          name: `e${i}`,
          device: { kind: 'hub', hub, port: host, cpu },
          addresses: [`10.0.${i}.${host + 1}/24`],
        })),
        routes: options.routes ?? [],
      }
      this.stacks.push(own.map((each) => this.#start(this.machine.cpus[each]!, config)))
    }
    const tester = this.machine.cpus[this.#tester]!
    hubs.forEach((hub, i) => {
      const queue = new HubQueue(tester, { hub, port: TESTER_PORT, cpu: tester.index })
      this.#links.push(queue)
      tester.addPollable({
        poll: () => this.#sendPosted(tester, i) + queue.receive(64, (packet) => this.#collect(tester, packet, i)),
        flush: () => queue.flush(),
        pending: () => this.#outbox[0]?.link === i || queue.pending(),
        close: () => queue.close(),
      })
    })
    for (const cpu of this.machine.cpus) this.#takeJobs(cpu)
    this.run()
  }

  get nowUs(): number {
    return this.machine.clock.now()
  }

  /** Lets time pass, after all that was posted has left. */
  run(us = 1000): void {
    const endUs = this.nowUs + us
    for (const cpu of this.machine.cpus) nudge(this.machine, cpu.index)
    this.machine.run({ until: () => this.#outbox.length === 0 && this.#jobs.every((jobs) => jobs.length === 0) })
    this.machine.run({ untilUs: Math.max(endUs, this.nowUs + 500) })
  }

  /** Calls `job` as a part of a turn of one of a host's CPUs, and runs. */
  on<T>(host: number, cpu: number, job: (stack: Stack) => T): T {
    let result: { value: T } | undefined
    let failure: { error: unknown } | undefined
    this.#jobs[host * this.cpuCount + cpu]!.push(() => {
      try {
        result = { value: job(this.stacks[host]![cpu]!) }
      } catch (error) {
        failure = { error }
      }
    })
    this.run()
    if (failure !== undefined) throw failure.error
    return result!.value
  }

  /** A bound socket. @throws what `ready` got */
  open(host: number, options: UdpSocketOptions, cpu = 0): UdpSocket {
    const answers: (KernelError | undefined)[] = []
    const socket = this.on(host, cpu, ({ udp }) => udp.open(options, (error) => answers.push(error)))
    this.run()
    assert.equal(answers.length, 1, 'ready is called once')
    if (answers[0] !== undefined) throw answers[0]
    this.#sockets.push(socket)
    return socket
  }

  close(host: number, socket: UdpSocket, cpu = 0): void {
    let done = 0
    this.on(host, cpu, () => assert(socket.close(() => done++)))
    this.run()
    assert.equal(done, 1)
  }

  /** @throws what `join` throws, or `done` got */
  join(host: number, socket: UdpSocket, membership: UdpMembership, cpu = 0): void {
    this.#change('join', host, socket, membership, cpu)
  }

  /** @throws what `leave` throws, or `done` got */
  leave(host: number, socket: UdpSocket, membership: UdpMembership, cpu = 0): void {
    this.#change('leave', host, socket, membership, cpu)
  }

  /** Sends, and returns the errno. */
  send(host: number, socket: UdpSocket, bytes: Bytes, target: string, port: number, cpu = 0): number {
    return this.on(host, cpu, (stack) => {
      const to = stack.endpoint(target, port)
      const errno = socket.sendBytes(bytes, to)
      to.free()
      return errno
    })
  }

  /** What a socket has received: payloads as text, with where they came from. */
  received(host: number, socket: UdpSocket, cpu = 0): string[] {
    return this.on(host, cpu, ({ context }) => {
      const m = context.mbuf()
      const all: string[] = []
      for (let packet = socket.receive(); packet !== 0; packet = socket.receive()) {
        m.at = packet
        const source = context.u8.slice(m.source, m.source + 4).join('.')
        all.push(`${new TextDecoder().decode(context.mbufs.bytes(packet))} from ${source}`)
        context.mbufs.free(packet)
      }
      return all
    })
  }

  /** The test says an IP packet to whom it is addressed: a group, everybody, or the first host. */
  inject(packet: Bytes, on = 0): void {
    this.post(packet, on)
    this.run()
  }

  /** As `inject`, but the packet leaves only with the next `run`. */
  post(packet: Bytes, on = 0): void {
    this.#outbox.push({ link: on, frame: ether({ source: PEER_LINK, target: this.#linkOf(packet, on) }, packet) })
  }

  /** The IGMP messages that the test has heard since the last call. */
  igmp(): (ReadIgmp & { readonly atUs: number; readonly link: number })[] {
    const all = this.heard.filter((each) => each.igmp !== undefined)
    this.heard = this.heard.filter((each) => each.igmp === undefined)
    return all.map(({ igmp, atUs, link }) => ({ ...igmp!, atUs, link }))
  }

  /** They are these, each by its type and group: `16 224.1.2.3`; of version 3 `22: 4 224.1.2.3`. */
  expectIgmp(...messages: readonly string[]): void {
    assert.deepEqual(this.igmp().map(igmpText), messages)
  }

  /** Everything else that the test has heard since the last call. */
  others(): Read[] {
    const all = this.heard.filter((each) => each.read !== undefined)
    this.heard = this.heard.filter((each) => each.read === undefined)
    return all.map((each) => each.read!)
  }

  /** The hosts' sum of one counter. */
  count<N extends string>(set: CounterSet<N>, counter: N): number {
    return this.counts(set)[counter]
  }

  counts<N extends string>(set: CounterSet<N>): Record<N, number> {
    const sums = Object.fromEntries(set.counters.map((name) => [name, 0])) as Record<N, number>
    for (const { cpu, values } of this.machine.counters(set)) {
      if (cpu !== this.#tester) for (const each of set.counters) sums[each] += values[each]!
    }
    return sums
  }

  /** Of all counters whose names begin with `dropped`, those that are not 0. */
  drops<N extends string>(set: CounterSet<N>): { readonly [counter: string]: number } {
    const counts = Object.entries<number>(this.counts(set))
    return Object.fromEntries(counts.filter(([name, n]) => name.startsWith('dropped') && n !== 0))
  }

  /** Ends the machine and checks that everything adds up and nothing was left behind. */
  finish(): void {
    this.run()
    this.run()
    this.#balance()
    this.machine.stop().catch(() => {})
    assertAllFree(this.machine)
  }

  /** After a failure: ends the machine without looking at it. */
  abandon(): void {
    this.machine.stop().catch(() => {})
  }

  #balance(): void {
    const ethernet = this.counts(EtherCounters)
    const internet = this.counts(IpCounters)
    const udp = this.counts(UdpCounters)
    const group = this.counts(GroupCounters)
    const socket = this.counts(SocketCounters)
    const dispatch = this.counts(DispatchCounters)
    const same = (left: number, right: number, identity: string) => assert.equal(left, right, identity)
    same(ethernet.received, ethernet.ip + ethernet.arp + dropped(ethernet), 'ether: received = ip + arp + dropped')
    same(
      dispatch.steered + dispatch.redirected,
      dispatch.direct + dispatch.handedOff,
      'dispatch: steered + redirected = direct + handed off',
    )
    same(dispatch.steered, internet.received + dispatch.rehashed, 'ip: received what was steered')
    const { received, reassembled, delivered, fragments } = internet
    same(received + reassembled, delivered + fragments + dropped(internet), 'ip: all is delivered, held or dropped')
    const others = this.counts(TcpCounters).received + this.counts(IcmpCounters).received
    same(delivered, others + udp.received + group.received, 'ip: delivered to tcp, udp, icmp and igmp')
    const { queries, reports, ignored } = group
    same(group.received, queries + reports + ignored + dropped(group), 'igmp: received = queries + reports + …')
    same(udp.received, udp.delivered + udp.noPort + dropped(udp), 'udp: received = delivered + no port + dropped')
    const { queued, droppedFull, droppedGone, droppedClosed } = socket
    same(
      udp.delivered + group.copies,
      queued + droppedFull + droppedGone + group.filtered,
      'sockets: got all that udp delivered, and the copies',
    )
    const waiting = this.#sockets.reduce((sum, each) => sum + each.length, 0)
    same(queued, socket.received + droppedClosed + waiting, 'sockets: what was queued was received, dropped, or waits')
    const sums = new Map<string, number>()
    for (const { point, source, target, enqueued, dequeued, dropped: lost } of this.machine.handoffs()) {
      const key = point === 'free' ? `free → ${target}` : `${point} ${source} → ${target}`
      sums.set(key, (sums.get(key) ?? 0) + enqueued - dequeued - (point === 'rx' ? 0 : lost))
    }
    for (const [key, left] of sums) same(left, 0, `hand-off ${key}: enqueued = dequeued + dropped`)
    // The counts of members are the same on all CPUs.
    for (const stacks of this.stacks)
      for (const { groups } of stacks) same(groups.size, stacks[0]!.groups.size, 'groups')
  }

  #change(change: 'join' | 'leave', host: number, socket: UdpSocket, membership: UdpMembership, cpu: number): void {
    const answers: (KernelError | undefined)[] = []
    this.on(host, cpu, () => socket[change](membership, (error) => answers.push(error)))
    this.run()
    assert.equal(answers.length, 1, 'done is called once')
    if (answers[0] !== undefined) throw answers[0]
  }

  #start(cpu: Cpu, config: HostConfig): Stack {
    const stack = new Stack(cpu, config)
    cpu.threads.start('host starts', function* (this: void, thread) {
      yield* stack.start(thread)
    })
    return stack
  }

  #linkOf(packet: Bytes, on: number): string {
    const [a, b, c, d] = packet.subarray(16, 20) as unknown as [number, number, number, number]
    if (d === 255) return 'ff:ff:ff:ff:ff:ff'
    if (a >= 224 && a < 240) return [1, 0, 0x5e, b & 0x7f, c, d].map(hex).join(':')
    return linkAddressOf(`hub${on}.0`).map(hex).join(':')
  }

  #sendPosted(cpu: Cpu, on: number): number {
    let sent = 0
    while (this.#outbox[0]?.link === on) {
      const packet = Mbufs.of(cpu).copyFrom(this.#outbox.shift()!.frame)
      assert.notEqual(packet, 0, 'the test has memory')
      assert(this.#links[on]!.transmit(packet), 'the hub takes what the test says')
      sent++
    }
    return sent
  }

  #collect(cpu: Cpu, packet: number, on: number): void {
    const bytes = Mbufs.of(cpu).bytes(packet)
    Mbufs.of(cpu).free(packet)
    if (bytes[12] === 8 && bytes[13] === 0 && bytes[23] === IGMP) {
      this.heard.push({ link: on, atUs: cpu.now, bytes, igmp: readIgmp(bytes) })
      return
    }
    const frame = read(bytes)
    if (frame.arp?.operation === 'request' && frame.arp.target === PEER) {
      const { sender: target, senderLink: targetLink } = frame.arp
      const reply = arp({ operation: 'reply', sender: PEER, senderLink: PEER_LINK, target, targetLink })
      this.#outbox.push({ link: on, frame: ether({ source: PEER_LINK, target: targetLink, type: Type.arp }, reply) })
    } else if (frame.arp === undefined) this.heard.push({ link: on, atUs: cpu.now, bytes, read: frame })
  }

  #takeJobs(cpu: Cpu): void {
    const jobs = this.#jobs[cpu.index]!
    cpu.addPollable({
      poll: () => {
        const count = jobs.length
        for (let i = 0; i < count; i++) jobs.shift()!()
        return count
      },
      flush: () => {},
      pending: () => jobs.length > 0,
      close: () => {},
    })
  }
}

/** Reads an IGMP message that a host has sent, and holds it against the RFCs. */
function readIgmp(frame: Bytes): ReadIgmp {
  const packet = frame.subarray(14)
  const dotted = (at: number) => packet.subarray(at, at + 4).join('.')
  assert.equal(packet[0], 0x46, 'IGMP is sent with one option')
  assert.equal(checksumOf(packet.subarray(0, 24)), 0, 'the IP header has its checksum')
  assert.equal((packet[2]! << 8) | packet[3]!, packet.length, 'the total length is that of the packet')
  assert.equal(packet[8], 1, 'IGMP is sent with a time to live of 1')
  assert.deepEqual([...packet.subarray(20, 24)], ROUTER_ALERT, 'IGMP is sent with the router alert')
  const message = packet.subarray(24)
  assert.equal(checksumOf(message), 0, 'the message has its checksum')
  const target = dotted(16)
  const mapped = [1, 0, 0x5e, packet[17]! & 0x7f, packet[18]!, packet[19]!]
  assert.deepEqual([...frame.subarray(0, 6)], mapped, 'a group goes to the link address that it is mapped to')
  const type = message[0]!
  const records: { type: number; group: string }[] = []
  if (type === 0x22) {
    assert.equal(message.length, 8 + 8 * message[7]!, 'a report of version 3 has the records that it says')
    for (let at = 8; at < message.length; at += 8) {
      assert.deepEqual([...message.subarray(at + 1, at + 4)], [0, 0, 0], 'a record names no sources')
      records.push({ type: message[at]!, group: message.subarray(at + 4, at + 8).join('.') })
    }
  } else assert.equal(message.length, 8, 'a message of versions 1 and 2 has 8 bytes')
  return { source: dotted(12), target, type, group: type === 0x22 ? '' : message.subarray(4, 8).join('.'), records }
}

function igmpText({ type, group, records }: ReadIgmp): string {
  if (type !== 0x22) return `${type.toString(16)} ${group}`
  return `22: ${records.map((record) => `${record.type} ${record.group}`).join(', ')}`
}

function dropped(counts: { readonly [counter: string]: number }): number {
  return Object.entries(counts).reduce((sum, [name, n]) => (name.startsWith('dropped') ? sum + n : sum), 0)
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}

/** Runs a test on a segment of its own, and checks it afterwards. */
export function withSegment(options: SegmentOptions, run: (segment: Segment) => void): void {
  const segment = new Segment(options)
  try {
    run(segment)
    segment.finish()
  } finally {
    segment.abandon()
  }
}

/** One test, with hosts of 1, 2 and 4 CPUs, each in a simulation of its own seed. */
export function onSegments(name: string, options: Omit<SegmentOptions, 'cpus'>, run: (segment: Segment) => void): void {
  test(name, () => {
    for (const cpus of [1, 2, 4]) {
      const seed = (options.seed ?? 1) * 100 + cpus
      try {
        withSegment({ ...options, cpus, seed }, run)
      } catch (error) {
        if (error instanceof Error) error.message = `with ${cpus} CPUs, seed ${seed}: ${error.message}`
        throw error
      }
    }
  })
}
