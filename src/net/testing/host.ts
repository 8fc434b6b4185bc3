// A host under test, on a simulated machine. Its wires end at the test: what the test injects arrives by the real wire
// device, and what the host sends is collected. The last CPU of the machine is the test's; the others are the host's.
//
//     withHost({ cpus: 2, seed: 7 }, (host) => {
//       host.inject(icmp({ type: 8, rest: echoRest(1, 1) }, text('hello')))
//       host.expect({ ip: { target: '10.0.0.9' }, icmp: { type: 0 } })
//       host.expectNothing()
//     })
//
// When the test ends, everything that was ever counted has to add up (`balance`), and all memory has to be free again.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Address } from '../../base/struct.ts'
import { DeviceCounters } from '../../device/device.ts'
import { MbufCounters, Mbufs } from '../../device/mbuf.ts'
import { linkAddressOf, type WireOptions, WireQueue, wireRegions } from '../../device/wire.ts'
import type { CounterSet } from '../../kernel/counters.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { type SimMachine, simulate } from '../../machine/sim.ts'
import { nudge } from '../../machine/testing/sim.ts'
import type { UdpSocket, UdpSocketOptions } from '../../socket/udp.ts'
import { type HostConfig, Stack, type TcpConnectOptions, type TcpListenOptions } from '../../stack.ts'
import {
  ArpCounters,
  DispatchCounters,
  EtherCounters,
  GroupCounters,
  IcmpCounters,
  IpCounters,
  ReassemblyCounters,
  SocketCounters,
  TcpCounters,
  TcpSocketCounters,
  UdpCounters,
} from '../counters.ts'
import { DisciplineChanger, disciplineUnderTest, layersUnderTest } from './discipline.ts'
import { arp, type Bytes, ether, type Read, read, Type } from './frame.ts'
import { type ProgramOptions, TestServer, TestSocket } from './program.ts'

export const HOST = '10.0.0.1'
export const PEER = '10.0.0.9'
export const PEER_LINK = '02:00:00:00:00:09'

export interface WireUnderTest {
  readonly address?: string
  /** CPUs with a queue. Default: all of the host's. */
  readonly cpus?: readonly number[]
  readonly mtu?: number
}

export interface TestHostOptions {
  /** The host's CPUs. Default 1. */
  readonly cpus?: number
  /** CPUs behind them that only have programs of the host. Default 0. */
  readonly programs?: number
  /** Ask for ECN. */
  readonly ecn?: boolean
  readonly seed?: number
  /** Default: one, with 10.0.0.1/24. */
  readonly wires?: readonly WireUnderTest[]
  readonly routes?: HostConfig['routes']
  readonly checksums?: boolean
  /** Places of each ring. Default 4096. */
  readonly entries?: number
  /** Answers the host's ARP requests for any address but its own, with PEER_LINK; the requests are not collected. Default true. */
  readonly answerArp?: boolean
  /** Which of the host's queues a frame goes to: as the flow hash says (default), or always the first, unhashed. */
  readonly steer?: 'flow' | 'first'
  readonly memoryBytes?: number
  /** Default: the one under test. */
  readonly discipline?: HostConfig['discipline']
  /** Default: those under test. */
  readonly layers?: HostConfig['layers']
  readonly dispatch?: HostConfig['dispatch']
  readonly queueLimit?: number
}

/** A frame that the host has sent. */
export interface Sent extends Read {
  readonly bytes: Bytes
  readonly atUs: number
  readonly wire: number
  /** TraceId of its leaving, where that was traced. */
  readonly trace: number
}

interface Injection {
  readonly wire: number
  readonly bytes: Bytes
}

type Partially<T> = T extends Bytes | string | number | boolean ? T : { readonly [K in keyof T]?: Partially<T[K]> }

const MEMORY = 32 * 1024 * 1024

export class TestHost {
  readonly machine: SimMachine
  readonly cpuCount: number
  /** The host's stack on each of its CPUs. */
  readonly stacks: Stack[] = []
  readonly config: HostConfig
  /** Whether the test's end answers ARP requests now. */
  answerArp: boolean
  readonly sockets: UdpSocket[] = []
  /** Frames that the wire did not take, by its counters. */
  refused = 0
  readonly #tester: number
  readonly #queues: WireQueue[] = []
  readonly #outbox: Injection[] = []
  readonly #inbox: Sent[] = []
  readonly #jobs: (() => void)[][]
  readonly #changer = new DisciplineChanger()
  /** All of its CPUs have started. */
  #isUp = false
  #finished = false

  constructor(options: TestHostOptions = {}) {
    const { cpus = 1, programs = 0, seed = 1, wires = [{}], entries = 4096, memoryBytes = MEMORY } = options
    this.cpuCount = cpus
    this.#tester = cpus + programs
    this.answerArp = options.answerArp ?? true
    const own = Array.from({ length: cpus }, (_, i) => i)
    const specs = wires.map((wire, i): WireOptions & { address: string } => ({
      name: `w${i}`,
      a: wire.cpus ?? own,
      b: [this.#tester],
      mtu: wire.mtu ?? 1500,
      entries,
      address: wire.address ?? `10.0.${i}.1/24`,
    }))
    this.config = {
      name: 'host',
      index: 0,
      cpus: own,
      interfaces: specs.map((wire) => ({
        name: wire.name,
        device: { kind: 'wire', wire, side: 'a' },
        addresses: [wire.address],
      })),
      routes: options.routes ?? [],
      checksums: options.checksums ?? true,
      programs: Array.from({ length: programs }, (_, i) => cpus + i),
      ...(options.discipline === undefined
        ? disciplineUnderTest()
        : { ...layersUnderTest(), discipline: options.discipline }),
      ...(options.layers === undefined ? {} : { layers: options.layers }),
      ...(options.dispatch === undefined ? {} : { dispatch: options.dispatch }),
      ...(options.queueLimit === undefined ? {} : { queueLimit: options.queueLimit }),
      ecn: options.ecn ?? false,
    }
    this.#jobs = Array.from({ length: this.#tester + 1 }, () => [])
    const regions = wireRegions(...specs)
    this.machine = simulate({ cpus: this.#tester + 1, seed, memoryBytes, regions, checkOrder: true, checkLocks: true })
    for (const cpu of this.machine.cpus) {
      this.#takeJobs(cpu)
      if (cpu.index !== this.#tester) this.#start(cpu)
      else for (const [i, wire] of specs.entries()) this.#end(cpu, wire, i, options.steer ?? 'flow')
    }
    this.run()
    assert.equal(this.stacks.length, this.#tester)
    this.#isUp = true
  }

  /** The last CPU that has programs. */
  get programCpu(): number {
    return this.#tester - 1
  }

  get nowUs(): number {
    return this.machine.clock.now()
  }

  get tester(): Cpu {
    return this.machine.cpus[this.#tester]!
  }

  /** The host's link address on a wire. */
  linkAddress(wire = 0): string {
    return linkAddressOf(`w${wire}.a`)
      .map((byte) => byte.toString(16).padStart(2, '0'))
      .join(':')
  }

  /** The next frame that the host has sent, if there is one; it stays. */
  get next(): Sent | undefined {
    return this.#inbox[0]
  }

  /** Sends an IP packet to the host, in a frame from PEER_LINK, and runs. */
  inject(packet: Bytes, wire = 0): void {
    this.injectFrame(ether({ source: PEER_LINK, target: this.linkAddress(wire) }, packet), wire)
  }

  /** Sends a frame to the host as it is, and runs. */
  injectFrame(frame: Bytes, wire = 0): void {
    this.post(frame, wire)
    this.run()
  }

  /** As `injectFrame`, but the frame leaves only with the next `run`. */
  post(frame: Bytes, wire = 0): void {
    this.#outbox.push({ wire, bytes: frame })
  }

  /** As `inject`, but the packet leaves only with the next `run`. */
  postPacket(packet: Bytes, wire = 0): void {
    this.post(ether({ source: PEER_LINK, target: this.linkAddress(wire) }, packet), wire)
  }

  /** The peer makes itself known, so that the host need not ask. */
  introduce(sender = PEER, senderLink = PEER_LINK): void {
    const target = this.linkAddress()
    this.injectFrame(ether({ source: senderLink, target, type: Type.arp }, arp({ sender, senderLink, target: HOST })))
    this.expect({ arp: { operation: 'reply', target: sender } })
  }

  /** The peer makes itself known to every CPU: each sends it something. */
  acquaint(): void {
    this.introduce()
    for (let cpu = 0; cpu < this.cpuCount; cpu++) {
      const errno = this.on(cpu, (stack) => {
        const peer = stack.endpoint(PEER, 0)
        const code = stack.icmp.echo.send(peer, 0, cpu, 0)
        peer.free()
        return code
      })
      assert.equal(errno, 0)
      this.expect({ icmp: { type: 8 } })
    }
  }

  /** Lets time pass, after all that was posted has left. */
  run(us = 1000): void {
    const end = this.nowUs + us
    if (this.#changer.isActive && this.#isUp) {
      this.#changer.begin(this.stacks, (cpu, change) => this.#jobs[cpu]!.push(() => change(this.stacks[cpu]!)))
    }
    for (const cpu of this.machine.cpus) nudge(this.machine, cpu.index)
    this.machine.run({ until: () => this.#outbox.length === 0 && this.#jobs.every((jobs) => jobs.length === 0) })
    this.machine.run({ untilUs: Math.max(end, this.nowUs + 500) })
  }

  /** Calls `job` as a part of a turn of one of the host's CPUs, and runs. */
  on<T>(cpu: number, job: (stack: Stack) => T): T {
    let result: { value: T } | undefined
    this.#jobs[cpu]!.push(() => {
      result = { value: job(this.stacks[cpu]!) }
    })
    this.run()
    return result!.value
  }

  /** A bound socket on a CPU. @throws what `ready` got */
  open(options: UdpSocketOptions, cpu = 0): UdpSocket {
    const { error, socket } = this.tryOpen(options, cpu)
    if (error !== undefined) throw error
    return socket
  }

  tryOpen(options: UdpSocketOptions, cpu = 0): { error: Error | undefined; socket: UdpSocket } {
    const answers: (Error | undefined)[] = []
    const socket = this.on(cpu, (stack) => stack.udp.open(options, (error) => answers.push(error)))
    this.run()
    assert.equal(answers.length, 1, 'ready is called once')
    if (answers[0] === undefined) this.sockets.push(socket)
    return { error: answers[0], socket }
  }

  /** A TCP server: listens on all CPUs of the host, for a program on `cpu`. @throws what `ready` got */
  listen(options: TcpListenOptions, cpu = 0, program: ProgramOptions = {}): TestServer {
    const { error, server } = this.tryListen(options, cpu, program)
    if (error !== undefined) throw error
    return server
  }

  tryListen(
    options: TcpListenOptions,
    cpu = 0,
    program: ProgramOptions = {},
  ): { error: Error | undefined; server: TestServer } {
    const answers: (Error | undefined)[] = []
    const server = this.on(cpu, (stack) => new TestServer(this, cpu, stack, options, program, (e) => answers.push(e)))
    this.run()
    assert.equal(answers.length, 1, 'ready is called once')
    return { error: answers[0], server }
  }

  /** A TCP client's socket. How the attempt ends is in its log. @throws what `connect` throws */
  connect(options: TcpConnectOptions, cpu = 0, program: ProgramOptions = {}): TestSocket {
    // What a job throws would be the CPU's failure.
    const result = this.on(cpu, (stack): TestSocket | Error => {
      try {
        return new TestSocket(this, cpu, stack.tcp.connect(options), program)
      } catch (error) {
        return error as Error
      }
    })
    if (result instanceof Error) throw result
    return result
  }

  /** All that a socket has received, as its program would take it. */
  received(
    socket: UdpSocket,
    cpu = 0,
  ): { readonly payload: Bytes; readonly source: string; readonly sourcePort: number }[] {
    return this.on(cpu, ({ context }) => {
      const m = context.mbuf()
      const all: { payload: Bytes; source: string; sourcePort: number }[] = []
      for (let packet: Address = socket.receive(); packet !== 0; packet = socket.receive()) {
        m.at = packet
        const source = context.u8.slice(m.source, m.source + 4).join('.')
        all.push({ payload: context.mbufs.bytes(packet), source, sourcePort: m.sourcePort })
        context.mbufs.free(packet)
      }
      return all
    })
  }

  /** What the host has sent and no `expect` has taken. */
  take(): Sent[] {
    return this.#inbox.splice(0)
  }

  /** The next of them. */
  takeNext(): Sent {
    const next = this.#inbox.shift()
    assert(next !== undefined, 'the host has sent nothing')
    return next
  }

  /** The next frame that the host has sent has these fields. */
  expect(fields: Partially<Omit<Sent, 'bytes'>>): Sent {
    const next = this.takeNext()
    assertMatches(next, fields, 'frame')
    return next
  }

  expectNothing(): void {
    assert.deepEqual(
      this.#inbox.map(({ ether, arp, ip, udp, icmp, tcp }) => ({ ether, arp, ip, udp, icmp, tcp })),
      [],
      'the host sends nothing more',
    )
  }

  /** The host's sum over its CPUs of one counter. */
  count<N extends string>(set: CounterSet<N>, counter: N): number {
    return this.counts(set)[counter]
  }

  counts<N extends string>(set: CounterSet<N>, ofHost = true): Record<N, number> {
    const sums = Object.fromEntries(set.counters.map((name) => [name, 0])) as Record<N, number>
    for (const { cpu, values } of this.machine.counters(set)) {
      if (ofHost && cpu === this.#tester) continue
      for (const name of set.counters) sums[name] += values[name]!
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
    if (this.#finished) return
    this.#finished = true
    this.run()
    // Passive IPIs wait for the next turn: everybody takes one more, and those who were answered another.
    this.run()
    balance(this.machine, this.#tester)
    assert.equal(this.count(SocketCounters, 'queued') - socketsTaken(this), this.#waiting(), 'what was queued still is')
    this.machine.stop().catch(() => {})
    assertAllFree(this.machine)
  }

  /** Ends the machine in the middle of whatever it does, and checks that nothing was left behind. */
  stopNow(): void {
    if (this.#finished) return
    this.#finished = true
    this.machine.stop().catch(() => {})
    assertAllFree(this.machine)
  }

  /** After a failure: ends the machine without looking at it. */
  abandon(): void {
    this.#finished = true
    this.machine.stop().catch(() => {})
  }

  /** Each connection belongs to one CPU: so under connp-t. */
  get isThreaded(): boolean {
    return !this.#changer.isActive && (this.config.discipline ?? 'connp-t') === 'connp-t'
  }

  #waiting(): number {
    return this.sockets.reduce((sum, socket) => sum + socket.length, 0)
  }

  #start(cpu: Cpu): void {
    const stack = new Stack(cpu, this.config)
    cpu.threads.start('host starts', function* (this: void, thread) {
      yield* stack.start(thread)
    })
    this.stacks[cpu.index] = stack
  }

  /** The test's end of a wire. */
  #end(cpu: Cpu, wire: WireOptions, index: number, steer: 'flow' | 'first'): void {
    const queue = new WireQueue(cpu, wire, 'b', steer === 'first' ? () => 0 : (_, packet) => this.#hash(packet))
    this.#queues.push(queue)
    cpu.addPollable({
      poll: () => this.#sendPosted(cpu, index) + queue.receive(64, (packet) => this.#collect(cpu, packet, index)),
      flush: () => queue.flush(),
      pending: () => this.#outbox[0]?.wire === index || queue.pending(),
      close: () => queue.close(),
    })
  }

  #sendPosted(cpu: Cpu, wire: number): number {
    let sent = 0
    while (sent < 64 && this.#outbox[0]?.wire === wire) {
      const { bytes } = this.#outbox.shift()!
      const packet = Mbufs.of(cpu).copyFrom(bytes)
      assert.notEqual(packet, 0, 'the test has memory')
      if (!this.#queues[wire]!.transmit(packet)) this.refused++
      sent++
    }
    return sent
  }

  #collect(cpu: Cpu, packet: Address, wire: number): void {
    const bytes = Mbufs.of(cpu).bytes(packet)
    const trace = cpu.tracer.isSet ? cpu.tracer.of(packet) : 0
    Mbufs.of(cpu).free(packet)
    const frame = read(bytes)
    if (this.answerArp && frame.arp?.operation === 'request' && frame.arp.target !== frame.arp.sender) {
      const { sender: target, senderLink: targetLink, target: sender } = frame.arp
      const reply = arp({ operation: 'reply', sender, senderLink: PEER_LINK, target, targetLink })
      this.post(ether({ source: PEER_LINK, target: targetLink, type: Type.arp }, reply), wire)
      return
    }
    this.#inbox.push({ ...frame, bytes, atUs: cpu.now, wire, trace })
  }

  /** What a card would compute; the host's own code, as the wire has it. */
  #hash(packet: Address): number {
    const m = this.stacks[0]!.context.mbuf()
    m.at = packet
    const type = m.length < 14 ? 0 : (this.machine.memory.u8[m.data + 12]! << 8) | this.machine.memory.u8[m.data + 13]!
    return type === Type.ipv4 ? this.stacks[0]!.dispatch.hash(m.data + 14, m.length - 14) : 0
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

function socketsTaken(host: TestHost): number {
  const { received, droppedClosed } = host.counts(SocketCounters)
  return received + droppedClosed
}

/** Runs a test on a host of its own, and checks the host afterwards. */
export function withHost(options: TestHostOptions, run: (host: TestHost) => void): void {
  const host = new TestHost(options)
  try {
    run(host)
    host.finish()
  } finally {
    host.abandon()
  }
}

/** One test, on hosts of 1, 2 and 4 CPUs, each in a simulation of its own seed. */
export function onHosts(name: string, options: Omit<TestHostOptions, 'cpus'>, run: (host: TestHost) => void): void {
  test(name, () => {
    for (const cpus of [1, 2, 4]) {
      const seed = (options.seed ?? 1) * 100 + cpus
      try {
        withHost({ ...options, cpus, seed }, run)
      } catch (error) {
        if (error instanceof Error) error.message = `with ${cpus} CPUs, seed ${seed}: ${error.message}`
        throw error
      }
    }
  })
}

/** A source port whose flow to `targetPort` of the host is owned by `cpu` of its CPUs. */
export function portOwnedBy(
  host: TestHost,
  cpu: number,
  targetPort: number,
  first = 20000,
  packet = flowPacket,
): number {
  for (let port = first; port < 65536; port++) {
    if (ownerOf(host, packet(port, targetPort)) === cpu) return port
  }
  throw new Error(`no source port leads to cpu ${cpu}`)
}

/** The CPU that owns the flow of an IP packet. */
export function ownerOf(host: TestHost, packet: Bytes): number {
  const { context, dispatch } = host.stacks[0]!
  context.u8.set(packet.subarray(0, 64), context.scratch)
  return context.owner(dispatch.hash(context.scratch, packet.length))
}

function flowPacket(sourcePort: number, targetPort: number): Bytes {
  const packet = new Uint8Array(28)
  packet.set([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 9, 10, 0, 0, 1])
  new DataView(packet.buffer).setUint16(20, sourcePort)
  new DataView(packet.buffer).setUint16(22, targetPort)
  return packet
}

/**
 * The identities that are written beside the sets in counters.ts, over all CPUs of a machine at rest. `tester` is a CPU
 * that is no host's.
 */
export function balance(machine: SimMachine, tester = -1): void {
  const sums = <N extends string>(set: CounterSet<N>): Record<N, number> => {
    const all = Object.fromEntries(set.counters.map((name) => [name, 0])) as Record<N, number>
    for (const { values } of machine.counters(set)) {
      for (const counter of set.counters) all[counter] += values[counter]!
    }
    return all
  }
  const dropped = (counts: { readonly [counter: string]: number }) =>
    Object.entries(counts).reduce((sum, [name, n]) => (name.startsWith('dropped') ? sum + n : sum), 0)
  const same = (left: number, right: number, identity: string) => assert.equal(left, right, identity)

  const ether = sums(EtherCounters)
  const arp = sums(ArpCounters)
  const ip = sums(IpCounters)
  const reassembly = sums(ReassemblyCounters)
  const icmp = sums(IcmpCounters)
  const udp = sums(UdpCounters)
  const socket = sums(SocketCounters)
  const dispatch = sums(DispatchCounters)

  const wire = { ofHosts: 0, transmitted: 0, received: 0 }
  for (const { cpu, values } of machine.counters(DeviceCounters)) {
    wire.transmitted += values.transmitted!
    wire.received += values.received!
    if (cpu !== tester) wire.ofHosts += values.received!
  }
  same(wire.transmitted, wire.received, 'wire: transmitted = received, at rest')
  same(ether.received, wire.ofHosts, 'ether: received what the devices received')
  same(ether.received, ether.ip + ether.arp + dropped(ether), 'ether: received = ip + arp + dropped')
  same(arp.received, ether.arp, 'arp: received what ether passed up')
  same(
    arp.received,
    arp.requestsAnswered +
      arp.repliesUsed +
      arp.ignored +
      arp.droppedMalformed +
      arp.droppedSender +
      arp.droppedUnsolicited,
    'arp: received = requests answered + replies used + ignored + dropped',
  )
  assert(arp.packetsHeld >= arp.packetsReleased + arp.packetsDropped, 'arp: no packet is released twice')
  same(
    dispatch.steered + dispatch.redirected,
    dispatch.direct + dispatch.handedOff,
    'dispatch: steered + redirected = direct + handed off',
  )
  same(dispatch.rehashed, reassembly.reassembled, 'dispatch: rehashed what was reassembled')
  same(dispatch.steered, ip.received + dispatch.rehashed, 'ip: received what was steered')
  same(
    ip.received + ip.reassembled,
    ip.delivered + ip.fragments + dropped(ip),
    'ip: received + reassembled = delivered + fragments + dropped',
  )
  same(ip.reassembled, reassembly.reassembled, 'ip: reassembled all that came out of the reassembly')
  same(reassembly.fragments, ip.fragments, 'reassembly: got all fragments')
  same(
    reassembly.fragments,
    reassembly.reassembledFragments + dropped(reassembly) + reassembly.held,
    'reassembly: fragments = reassembled + dropped + held',
  )
  const tcp = sums(TcpCounters)
  const tcpSocket = sums(TcpSocketCounters)
  const group = sums(GroupCounters)
  same(
    ip.delivered,
    tcp.received + udp.received + icmp.received + group.received,
    'ip: delivered to tcp, udp, icmp and igmp',
  )
  same(
    group.received,
    group.queries + group.reports + group.ignored + dropped(group),
    'igmp: received = queries + reports + ignored + dropped',
  )
  same(
    tcp.received,
    tcp.toConnection + tcp.toEmbryo + tcp.toTimeWait + tcp.toListener + tcp.noPort + dropped(tcp),
    'tcp: received = to connections, embryos, TIME-WAITs, listeners and nobody + dropped',
  )
  same(tcp.delivered, tcpSocket.received + tcpSocket.receiveDropped, 'tcp sockets: got all that tcp delivered')
  const { echoRequests, echoReplies, errors, errorsUnmatched, ignored } = icmp
  same(
    icmp.received,
    echoRequests + echoReplies + errors + errorsUnmatched + ignored + dropped(icmp) - icmp.droppedNoMbuf,
    'icmp: received = echo requests + replies + errors + ignored + dropped',
  )
  same(udp.received, udp.delivered + udp.noPort + dropped(udp), 'udp: received = delivered + no port + dropped')
  same(
    udp.delivered + group.copies,
    socket.queued + socket.droppedFull + socket.droppedGone + group.filtered,
    'socket: got all that udp delivered, and the copies of it',
  )
  assert(socket.queued >= socket.received + socket.droppedClosed, 'socket: nothing is received twice')
  balanceHandoffs(machine)
}

/** At every hand-off point: enqueued = dequeued + dropped. Who freed what for whom is known to nobody, and of `tx` only the sum. */
function balanceHandoffs(machine: SimMachine): void {
  const sums = new Map<string, { enqueued: number; dequeued: number; dropped: number }>()
  for (const { point, source, target, enqueued, dequeued, dropped } of machine.handoffs()) {
    const key = point === 'free' ? `free → ${target}` : `${point} ${source} → ${target}`
    const sum = sums.get(key) ?? { enqueued: 0, dequeued: 0, dropped: 0 }
    sum.enqueued += enqueued
    sum.dequeued += dequeued
    // A device's drop was never enqueued.
    if (point !== 'rx') sum.dropped += dropped
    sums.set(key, sum)
  }
  for (const [key, { enqueued, dequeued, dropped }] of sums) {
    assert.equal(enqueued, dequeued + dropped, `hand-off ${key}: enqueued = dequeued + dropped`)
  }
}

/** All pools are full again: after `stop`. */
export function assertAllFree(machine: SimMachine): void {
  for (const cpu of machine.cpus) cpu.slab.flush()
  for (const cpu of machine.cpus) cpu.slab.collect()
  let allocated = 0
  let freed = 0
  for (const { values } of machine.counters(MbufCounters)) {
    allocated += values.allocated!
    freed += values.freed!
  }
  for (const cpu of machine.cpus) {
    const left = cpu.slab.read().filter(({ live }) => live !== 0)
    assert.deepEqual(left, [], `the slab of cpu ${cpu.index} is whole again`)
    assert.equal(cpu.slab.live, 0)
  }
  assert(freed <= allocated, 'no mbuf is freed twice')
}

function assertMatches(actual: unknown, expected: unknown, where: string): void {
  if (expected instanceof Uint8Array) {
    assert.deepEqual([...(actual as Uint8Array)], [...expected], `${where} has these bytes`)
  } else if (typeof expected === 'object' && expected !== null) {
    assert(typeof actual === 'object' && actual !== null, `there is no ${where}`)
    for (const [name, value] of Object.entries(expected)) {
      assertMatches((actual as { [name: string]: unknown })[name], value, `${where}.${name}`)
    }
  } else assert.equal(actual, expected, where)
}
