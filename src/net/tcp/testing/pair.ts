// Hosts in virtual time, joined by links with faults, and conversations between them whose content is checked: what a
// stream delivers is a prefix of what was sent, nothing foreign and nothing twice. For the tests of TCP under bad networks.
//
//     const world = new World({ seed: 7, forward: { loss: 0.01, delayUs: 5000 }, backward: { delayUs: 5000 } })
//     const { client, server } = world.converse({ client: { sends: 1e6 } })
//     world.settle({ limitUs: 60e6, stallUs: 5e6 })
//     assert.equal(server.received, 1e6)
//     world.finish()
//
// Host 0 serves; every other host has a link of its own to it. `forward` is towards host 0. Faults begin when the links
// have been introduced to each other, so that ARP, which has no retransmission worth the name, is no part of the question.

import assert from 'node:assert/strict'
import { errnoName } from '../../../base/errno.ts'
import { Random } from '../../../base/random.ts'
import type { Address } from '../../../base/struct.ts'
import { FaultCounters, type FaultOptions } from '../../../device/fault.ts'
import { Mbufs } from '../../../device/mbuf.ts'
import type { DeviceSpec } from '../../../device/spec.ts'
import { type WireOptions, WireQueue, wireRegions } from '../../../device/wire.ts'
import type { CounterSet } from '../../../kernel/counters.ts'
import type { Cpu } from '../../../kernel/cpu.ts'
import { type SimMachine, simulate } from '../../../machine/sim.ts'
import { nudge } from '../../../machine/testing/sim.ts'
import type { TcpListenOptions } from '../../../socket/tcplistener.ts'
import type { TcpSocket, TcpSocketOptions } from '../../../socket/tcpsocket.ts'
import { type HostConfig, Stack } from '../../../stack.ts'
import { TcpCounters } from '../../counters.ts'
import { DisciplineChanger, disciplineUnderTest } from '../../testing/discipline.ts'
import type { Bytes } from '../../testing/frame.ts'
import { assertAllFree, balance } from '../../testing/host.ts'
import { congestionControlId } from '../congestion/control.ts'
import { type Pcb, PcbFlag, TcpPcb, TcpTuple } from '../pcb.ts'
import { stateName } from '../state.ts'
import { type Tcp, tcpOf } from '../tcp.ts'

type Changeable<T> = { -readonly [K in keyof T]: T[K] }

export interface WorldOptions {
  /** Host 0, and those that have a link to it. Default 2. */
  readonly hosts?: number
  /** CPUs of each host. Default 1. */
  readonly cpus?: number
  readonly seed?: number
  /** What happens to packets to host 0, and to those from it. */
  readonly forward?: FaultOptions
  readonly backward?: FaultOptions
  readonly mtu?: number
  /** Links without faults that carry super-segments. Default false. */
  readonly offload?: boolean
  readonly memoryBytes?: number
  /** Where each connection's sequence numbers begin. Default: as they are. */
  readonly initialSequence?: number
  /** Somebody in the middle of each link, on a CPU of their own: gets each frame, and says what goes on in its place. */
  readonly tap?: Tap
}

/** @param toServer it goes to host 0 */
export type Tap = (frame: Bytes, toServer: boolean) => readonly Bytes[]

/** What one end of a conversation does. */
export interface Plan {
  /** Bytes that it sends. Default 0. */
  readonly sends?: number
  /** It writes so many bytes every so often; default: as much as goes, at once. */
  readonly writer?: Pace
  /** It reads so many bytes every so often; default: all, at once. */
  readonly reader?: Pace
  /** When its stream ends: when all is sent (default), or when the other's has ended as well. */
  readonly ends?: 'first' | 'last'
  /** It aborts when it has sent, or received, so much. */
  readonly abortsAfterSent?: number
  readonly abortsAfterReceived?: number
  readonly options?: TcpSocketOptions
  /** What its peer sends is changed on its way: nothing is expected of what it receives. */
  readonly isForged?: boolean
  /** `cubic`, the default, or `newreno`. */
  readonly congestionControl?: string
}

export interface Pace {
  readonly bytes: number
  readonly everyUs: number
}

export interface ConversationOptions {
  readonly client?: Plan
  readonly server?: Plan
  /** Which host connects to host 0, and from which of its CPUs. Default 1, 0. */
  readonly host?: number
  readonly cpu?: number
  /** Default: what the stack chooses. One of the test's own may be owned by any CPU. */
  readonly localPort?: number
  readonly atUs?: number
  /** False: neither end uses selective acknowledgments. */
  readonly sack?: boolean
  /** One program of host 0 takes the connections of all its CPUs (default), or one on each CPU takes its own. */
  readonly listens?: 'once' | 'everywhere'
}

const PORT = 80
const MEMORY = 64 * 1024 * 1024
const ENTRIES = 4096
const BUFFER = 64 * 1024
/** How often the world is looked at from outside. */
const SLICE_US = 200_000
const STEPS_MAX = 100_000_000
/** Two TIME-WAITs, of which one is begun anew by a late FIN. */
const LINGER_US = 200e6
/** A prime, so that a piece that is out of place by any number of segments or clusters does not fit. */
const PERIOD = 65521

/** A stream's content: each byte by its place and a seed. */
export class Pattern {
  readonly #bytes = new Uint8Array(PERIOD)

  constructor(seed: number) {
    const random = new Random(seed)
    for (let i = 0; i < PERIOD; i++) this.#bytes[i] = random.next()
  }

  /** What comes at `at`, `most` bytes or fewer, one at least. */
  from(at: number, most: number): Uint8Array {
    const place = at % PERIOD
    return this.#bytes.subarray(place, Math.min(place + most, PERIOD))
  }

  /** Whether these bytes are what comes at `at`. */
  matches(bytes: Uint8Array, at: number): boolean {
    for (let done = 0; done < bytes.length; ) {
      const expected = this.from(at + done, bytes.length - done)
      if (Buffer.compare(expected, bytes.subarray(done, done + expected.length)) !== 0) return false
      done += expected.length
    }
    return true
  }
}

/** One end of a conversation. */
export class Party {
  readonly name: string
  readonly plan: Plan
  cpu: Cpu
  socket: TcpSocket | undefined
  sack = true
  sent = 0
  received = 0
  /** The peer's stream has ended, and all of it was taken. */
  ended = false
  aborted = false
  /** The socket is closed, or there never was one. */
  over = false
  /** How the connection failed; 0: it did not. */
  errno = 0
  connectedAtUs = 0
  /** When the last byte was received, and when anything was. */
  endedAtUs = 0
  progressAtUs = 0
  peer: Party | undefined
  readonly #world: World
  readonly #pattern: Pattern
  readonly #buffer: Uint8Array
  #shut = false
  #timers = new Set<() => void>()
  #writing = false
  #reading = false

  constructor(world: World, name: string, cpu: Cpu, plan: Plan, pattern: Pattern) {
    this.#world = world
    this.name = name
    this.cpu = cpu
    this.plan = plan
    this.#pattern = pattern
    this.#buffer = new Uint8Array(Math.min(plan.reader?.bytes ?? BUFFER, BUFFER))
  }

  /** The socket is there. Called in a turn of its CPU. */
  take(socket: TcpSocket): void {
    this.socket = socket
    socket.onConnect = (errno) => {
      if (errno === 0) this.begin()
      else this.#fail(errno)
    }
    socket.onWritable = () => this.#write()
    socket.onReadable = () => this.#read()
    socket.onError = (errno) => this.#fail(errno)
    socket.onClosed = () => this.#close()
  }

  /** The connection is established. */
  begin(): void {
    this.connectedAtUs = this.#world.nowUs
    this.progressAtUs = this.#world.nowUs
    const { congestionControl } = this.plan
    if (congestionControl !== undefined) {
      const id = congestionControlId(congestionControl)
      assert(id >= 0, congestionControl)
      this.pcb.congestionControl = id
    }
    if (!this.sack) this.pcb.flags &= ~PcbFlag.SACK
    this.#write()
  }

  /** What the stack knows of the connection. Only while it is not over. */
  get pcb(): Pcb {
    const p = TcpPcb.cursor(this.#world.machine.memory)
    p.at = this.socket!.pcb
    return p
  }

  /** Its stream has ended. */
  get isShut(): boolean {
    return this.#shut
  }

  /** Nothing of it is due any more. */
  cancel(): void {
    for (const cancel of this.#timers) cancel()
    this.#timers.clear()
  }

  describe(): string {
    const { sent, received, ended, aborted, over, errno } = this
    const parts = [
      `${this.name} sent ${sent}/${this.plan.sends ?? 0} received ${received}/${this.peer?.plan.sends ?? 0}`,
    ]
    parts.push(`ended ${ended} shut ${this.#shut} aborted ${aborted} over ${over}`)
    if (errno !== 0) parts.push(errnoName(errno))
    if (!over && this.socket !== undefined && this.socket.pcb !== 0) parts.push(describe(this.pcb))
    return parts.join(', ')
  }

  #write(): void {
    const { writer, sends = 0, abortsAfterSent = Number.POSITIVE_INFINITY } = this.plan
    if (writer !== undefined && !this.#writing) {
      this.#writing = true
      this.#paced(writer.everyUs, () => {
        this.#put(Math.min(this.sent + writer.bytes, sends))
        return !this.over && !this.aborted && this.sent < sends
      })
    } else if (writer === undefined) this.#put(sends)
    if (this.sent >= abortsAfterSent) this.#abort()
    else if (this.sent >= sends && (this.plan.ends !== 'last' || this.ended)) this.#finishSending()
  }

  #put(until: number): void {
    while (this.sent < until && !this.over && !this.aborted && this.errno === 0) {
      const bytes = this.#pattern.from(this.sent, until - this.sent)
      const count = this.socket!.send(bytes)
      this.sent += count
      if (count < bytes.length) break
    }
    const { sends = 0, abortsAfterSent = Number.POSITIVE_INFINITY, ends } = this.plan
    if (this.sent >= abortsAfterSent) this.#abort()
    else if (this.sent >= sends && (ends !== 'last' || this.ended)) this.#finishSending()
  }

  #finishSending(): void {
    if (this.#shut || this.over || this.aborted) return
    this.#shut = true
    this.socket!.shutdown()
    this.#perhapsClose()
  }

  #read(): void {
    const { reader } = this.plan
    if (reader === undefined) {
      while (this.#get());
      return
    }
    if (this.#reading) return
    this.#reading = true
    this.#paced(reader.everyUs, () => {
      this.#reading = this.#get() || (this.socket!.readableBytes > 0 && !this.over)
      return this.#reading
    })
  }

  /** Takes a buffer's worth. False when there is no more. */
  #get(): boolean {
    if (this.over || this.aborted) return false
    const socket = this.socket!
    const count = socket.receive(this.#buffer)
    if (count > 0) {
      if (this.plan.isForged !== true) this.#check(this.#buffer.subarray(0, count))
      this.received += count
      this.progressAtUs = this.#world.nowUs
      if (this.received >= (this.plan.abortsAfterReceived ?? Number.POSITIVE_INFINITY)) {
        this.#abort()
        return false
      }
    }
    if (socket.ended && !this.ended) {
      this.ended = true
      this.endedAtUs = this.#world.nowUs
      if (this.plan.isForged !== true) {
        const { peer } = this
        assert(peer?.isShut === true, `${this.name}: a stream ends when its sender has said so`)
        assert.equal(this.received, peer.plan.sends ?? 0, `${this.name}: a stream that ends well is whole`)
      }
      if (this.sent >= (this.plan.sends ?? 0)) this.#finishSending()
      this.#perhapsClose()
    }
    return count > 0
  }

  /** These bytes came next. */
  #check(bytes: Uint8Array): void {
    const { peer } = this
    assert(peer !== undefined, `${this.name} receives from somebody`)
    const isRight = peer.#pattern.matches(bytes, this.received)
    assert(isRight, `${this.name}: the bytes at ${this.received} are those that were sent`)
    assert(this.received + bytes.length <= peer.sent, `${this.name}: no more is received than was sent`)
  }

  #perhapsClose(): void {
    if (this.#shut && this.ended) this.socket!.close()
  }

  /** Ends it, whatever it does. In a turn of its CPU. */
  abort(): void {
    if (this.socket !== undefined) this.#abort()
  }

  /** It never got a connection, and does not wait for one any more. */
  abandon(): void {
    assert.equal(this.socket, undefined, `${this.name} has no socket`)
    this.over = true
  }

  #abort(): void {
    if (this.aborted || this.over) return
    this.aborted = true
    this.socket!.abort()
  }

  #fail(errno: number): void {
    this.errno = errno
    // What came before can still be taken.
    while (this.#get());
    if (!this.aborted) this.socket!.close()
  }

  #close(): void {
    assert(!this.over, `${this.name} is closed once`)
    this.over = true
    this.cancel()
    this.#world.open--
  }

  #paced(everyUs: number, step: () => boolean): void {
    const cancel = this.cpu.timers.after(everyUs, () => {
      this.#timers.delete(cancel)
      if (!this.over && !this.aborted && this.errno === 0 && step()) this.#paced(everyUs, step)
    })
    this.#timers.add(cancel)
  }
}

export interface Conversation {
  readonly client: Party
  readonly server: Party
}

export class World {
  readonly machine: SimMachine
  readonly options: WorldOptions
  /** By host and CPU. */
  readonly stacks: Stack[][] = []
  readonly conversations: Conversation[] = []
  /** Parties that have a socket, or are to get one, and are not over. */
  open = 0
  readonly #cpus: number
  /** What the devices were opened with: changed when faults begin. */
  readonly #lanes: { readonly spec: Changeable<FaultOptions>; readonly faults: FaultOptions }[] = []
  /** Ports of host 0 that somebody listens at, by what the listener was asked for. */
  readonly #listeners = new Map<string, number>()
  readonly #changer = new DisciplineChanger()
  /** The CPU of who is in the middle, or -1. */
  readonly #tapper: number
  #tapping = false
  #finished = false

  constructor(options: WorldOptions = {}) {
    const { hosts = 2, cpus = 1, seed = 1, mtu = 1500, offload = false, memoryBytes = MEMORY } = options
    this.options = options
    this.#cpus = cpus
    const own = (host: number) => Array.from({ length: cpus }, (_, i) => host * cpus + i)
    const wires = Array.from({ length: hosts - 1 }, (_, i): WireOptions => {
      return { name: `w${i + 1}`, a: own(i + 1), b: own(0), entries: ENTRIES, mtu, offload }
    })
    const { tap } = options
    this.#tapper = tap === undefined ? -1 : hosts * cpus
    // Host 0's parts of the links: the same wires, or those behind whoever is in the middle.
    const near = wires.map((wire) => (tap === undefined ? wire : { ...wire, name: `${wire.name}x`, a: [this.#tapper] }))
    const far = wires.map((wire) => (tap === undefined ? wire : { ...wire, b: [this.#tapper] }))
    const regions = wireRegions(...far, ...near)
    const count = hosts * cpus + (tap === undefined ? 0 : 1)
    this.machine = simulate({ cpus: count, seed, memoryBytes, regions, checkOrder: true, checkLocks: true })
    for (let host = 0; host < hosts; host++) {
      const interfaces = wires
        .map((wire, i) => ({ wire, number: i + 1 }))
        .filter(({ number }) => host === 0 || number === host)
        .map(({ wire, number }) => {
          const end: DeviceSpec =
            host === 0
              ? { kind: 'wire', wire: near[number - 1]!, side: 'b' }
              : { kind: 'wire', wire: far[number - 1]!, side: 'a' }
          const device = this.#lane(end, (host === 0 ? options.backward : options.forward) ?? {})
          return { name: wire.name, device, addresses: [`10.0.${number}.${host === 0 ? 1 : 2}/24`] }
        })
      const config = { name: `h${host}`, index: host, cpus: own(host), interfaces, ...disciplineUnderTest() }
      this.stacks.push(own(host).map((index) => this.#start(this.machine.cpus[index]!, config)))
    }
    if (tap !== undefined) for (const [i, wire] of far.entries()) this.#tap(wire, near[i]!, tap)
    this.machine.run({ untilUs: 1000 })
    this.#introduce()
    for (const { spec, faults } of this.#lanes) Object.assign(spec, faults)
    this.#tapping = true
    if (this.#changer.isActive) this.#changeLater()
  }

  get nowUs(): number {
    return this.machine.clock.now()
  }

  cpu(host: number, cpu: number): Cpu {
    return this.machine.cpus[host * this.#cpus + cpu]!
  }

  /** A connection from another host to host 0, and what both ends do. It begins when the world runs. */
  converse(options: ConversationOptions = {}): Conversation {
    const { host = 1, cpu = 0, client = {}, server = {}, localPort = 0, atUs = 0, listens = 'once' } = options
    const number = this.conversations.length
    const seed = (this.options.seed ?? 1) * 65536 + 2 * number
    const caller = this.cpu(host, cpu)
    const a = new Party(this, `client ${number}`, caller, client, new Pattern(seed))
    const b = new Party(this, `server ${number}`, this.cpu(0, 0), server, new Pattern(seed + 1))
    a.peer = b
    b.peer = a
    if (options.sack === false) a.sack = b.sack = false
    this.conversations.push({ client: a, server: b })
    this.open++
    const port = this.#listen(listens, server.options ?? {})
    this.#soon(caller, atUs, () => {
      const stack = this.stacks[host]![cpu]!
      a.take(stack.tcp.connect({ ...client.options, address: `10.0.${host}.1`, port, localPort }))
    })
    return { client: a, server: b }
  }

  /**
   * Runs until all conversations are over. A conversation in which nothing is received for `stallUs`, and for six of its
   * timeouts, stands still: that fails, as does what is not over after `limitUs`.
   */
  settle(limits: { readonly limitUs: number; readonly stallUs?: number }): void {
    const end = this.nowUs + limits.limitUs
    const { stallUs = Number.POSITIVE_INFINITY } = limits
    while (this.open > 0) {
      this.machine.run({ until: () => this.open === 0, untilUs: this.nowUs + SLICE_US, maxSteps: STEPS_MAX })
      if (this.nowUs >= end) assert.fail(`not over after ${limits.limitUs} µs:\n${this.describe()}`)
      if (stallUs < Number.POSITIVE_INFINITY) for (const each of this.conversations) this.#assertMoves(each, stallUs)
    }
  }

  /** Runs for a time. */
  run(us: number): void {
    this.machine.run({ untilUs: this.nowUs + us, maxSteps: STEPS_MAX })
  }

  /** What is not over, or all. */
  describe(all = false): string {
    const lines = this.conversations.flatMap(({ client, server }) => [client, server])
    return lines
      .filter((party) => all || !party.over)
      .map((party) => party.describe())
      .join('\n')
  }

  /** The sum over a host's CPUs, or over all, of each counter of a set. */
  counts<N extends string>(set: CounterSet<N>, host = -1): Record<N, number> {
    const sums = Object.fromEntries(set.counters.map((name) => [name, 0])) as Record<N, number>
    for (const { cpu, values } of this.machine.counters(set)) {
      if (host >= 0 && Math.floor(cpu / this.#cpus) !== host) continue
      for (const counter of set.counters) sums[counter] += values[counter]!
    }
    return sums
  }

  /** The next packets of a host's are numbered from here, for `FaultOptions.lose`. Of one CPU, and one link. */
  offered(host: number): number {
    return this.counts(FaultCounters, host).offered
  }

  /** Changes the faults of all links from here on, but no rate. */
  change(direction: 'forward' | 'backward', faults: FaultOptions): void {
    for (const lane of this.#lanes) {
      if (lane.faults === this.options[direction]) Object.assign(lane.spec, faults)
    }
  }

  /** Lets what lingers pass, ends the machine, and checks that everything adds up and nothing was left behind. */
  finish(): void {
    assert.equal(this.open, 0, 'all conversations are over')
    for (const { client, server } of this.conversations) for (const party of [client, server]) party.cancel()
    this.run(LINGER_US)
    // Passive IPIs wait for the next turn: everybody takes one more, and those who were answered another.
    for (let turns = 0; turns < 2; turns++) {
      for (const cpu of this.machine.cpus) nudge(this.machine, cpu.index)
      this.run(1000)
    }
    for (const stack of this.stacks.flat()) assert.equal(stack.tcp.size, 0, 'no socket is left')
    const tcp = this.counts(TcpCounters)
    assert.equal(tcp.opened, tcp.closed, 'all connections that were opened are closed')
    balance(this.machine, this.#tapper)
    this.#finished = true
    this.machine.stop().catch(() => {})
    assertAllFree(this.machine)
  }

  /** After a failure. */
  abandon(): void {
    if (!this.#finished) this.machine.stop().catch(() => {})
    this.#finished = true
  }

  #start(cpu: Cpu, config: HostConfig): Stack {
    const stack = new Stack(cpu, config)
    cpu.threads.start('host', function* (this: void, thread) {
      yield* stack.start(thread)
    })
    const { initialSequence } = this.options
    if (initialSequence !== undefined) tcpOfHost(cpu, config.index).sequences.next = () => initialSequence | 0
    return stack
  }

  /** A link's end, whose faults begin later. What cannot change then is there at once. */
  #lane(of: DeviceSpec, faults: FaultOptions): DeviceSpec {
    if (Object.keys(faults).length === 0) return of
    const { rateBitsPerSecond, queuePackets = 2 * ENTRIES } = faults
    const rate = rateBitsPerSecond === undefined ? {} : { rateBitsPerSecond }
    const spec = { kind: 'fault', of, direction: 'out', queuePackets, ...rate } as const
    this.#lanes.push({ spec, faults })
    return spec
  }

  /** Passes on what comes by one wire to the other, once the hosts know each other by way of `tap`. */
  #tap(far: WireOptions, near: WireOptions, tap: Tap): void {
    const cpu = this.machine.cpus[this.#tapper]!
    const mbufs = Mbufs.of(cpu)
    const steer = (_: unknown, packet: Address) => this.#hash(packet)
    const queues = [new WireQueue(cpu, far, 'b', steer), new WireQueue(cpu, near, 'a', steer)] as const
    for (const [side, queue] of queues.entries()) {
      const other = queues[1 - side]!
      const pass = (packet: Address) => {
        const bytes = mbufs.bytes(packet)
        mbufs.free(packet)
        for (const each of this.#tapping ? tap(bytes, side === 0) : [bytes]) {
          const copy = mbufs.copyFrom(each)
          assert.notEqual(copy, 0, 'who is in the middle has memory')
          other.transmit(copy)
        }
      }
      cpu.addPollable({
        poll: () => queue.receive(64, pass),
        flush: () => other.flush(),
        pending: () => queue.pending(),
        close: () => queue.close(),
      })
    }
  }

  /** As a card would compute it. */
  #hash(packet: Address): number {
    const { context, dispatch } = this.stacks[0]![0]!
    const m = context.mbuf()
    m.at = packet
    const { u8 } = this.machine.memory
    const isIp = m.length >= 14 && u8[m.data + 12] === 8 && u8[m.data + 13] === 0
    return isIp ? dispatch.hash(m.data + 14, m.length - 14) : 0
  }

  /** Every CPU gets to know its neighbours' link addresses. */
  #introduce(): void {
    const { stacks } = this
    const meet = (stack: Stack, address: string) => {
      const peer = stack.endpoint(address, 0)
      stack.icmp.echo.send(peer, 0, 1, 0)
      peer.free()
    }
    for (let round = 0; round < 2; round++) {
      for (const [host, each] of stacks.entries()) {
        for (const stack of each) {
          this.#soon(stack.context.cpu, 0, () => {
            if (host > 0) meet(stack, `10.0.${host}.1`)
            else for (let other = 1; other < stacks.length; other++) meet(stack, `10.0.${other}.2`)
          })
        }
      }
      this.run(5000)
    }
  }

  /** The port of host 0 at which there is such a listener. */
  #listen(listens: 'once' | 'everywhere', options: TcpListenOptions): number {
    const key = JSON.stringify([listens, options])
    const known = this.#listeners.get(key)
    if (known !== undefined) return known
    const port = PORT + this.#listeners.size
    this.#listeners.set(key, port)
    const stacks = listens === 'once' ? [this.stacks[0]![port % this.#cpus]!] : this.stacks[0]!
    let missing = stacks.length
    for (const stack of stacks) {
      this.#soon(stack.context.cpu, 0, () => {
        stack.tcp.listen({ ...options, port, perCpu: listens === 'everywhere' }, (error, listener) => {
          assert.equal(error, undefined)
          missing--
          listener.onConnection = (socket) => this.#accept(socket, stack.context.cpu)
        })
      })
    }
    this.machine.run({ until: () => missing === 0, untilUs: this.nowUs + SLICE_US })
    assert.equal(missing, 0, 'the listener stands')
    return port
  }

  #accept(socket: TcpSocket, cpu: Cpu): void {
    const found = this.conversations.find(
      ({ client: { socket: other } }) =>
        other?.localPort === socket.remotePort &&
        other.remotePort === socket.localPort &&
        other.localAddress === socket.remoteAddress,
    )
    if (this.#tapper >= 0 && (found === undefined || found.server.socket !== undefined)) {
      // Made by who is in the middle.
      socket.abort()
      return
    }
    assert(found !== undefined, 'who connects is one of ours')
    const { server } = found
    assert.equal(server.socket, undefined, 'a connection is accepted once')
    this.open++
    server.cpu = cpu
    server.take(socket)
    server.begin()
  }

  /** Some host changes its discipline, now and then. */
  #changeLater(): void {
    const first = this.cpu(0, 0)
    this.#soon(first, this.#changer.pause(), () => {
      if (this.#finished) return
      for (const [host, stacks] of this.stacks.entries()) {
        this.#changer.begin(stacks, (cpu, change) => this.#soon(this.cpu(host, cpu), 0, () => change(stacks[cpu]!)))
      }
      this.#changeLater()
    })
  }

  #soon(cpu: Cpu, us: number, run: () => void): void {
    cpu.timers.after(us, run)
    nudge(this.machine, cpu.index)
  }

  #assertMoves(conversation: Conversation, stallUs: number): void {
    const { client, server } = conversation
    if (client.over || server.over || client.connectedAtUs === 0 || server.connectedAtUs === 0) return
    const last = Math.max(client.progressAtUs, server.progressAtUs)
    const patienceUs = Math.max(stallUs, 6 * Math.max(client.pcb.rto, server.pcb.rto))
    if (this.nowUs - last <= patienceUs) return
    assert.fail(`nothing moves since ${Math.round(this.nowUs - last)} µs:\n${client.describe()}\n${server.describe()}`)
  }
}

/** A host's TCP on a CPU: found as a timer would, by a record of the table. */
function tcpOfHost(cpu: Cpu, host: number): Tcp {
  const record: Address = cpu.slab.allocate(TcpTuple.size)
  cpu.memory.u32[(record + TcpTuple.offset.host) >> 2] = host
  const tcp = tcpOf(cpu, record)
  cpu.slab.free(record)
  return tcp
}

/** A connection's state, for people. */
function describe(p: Pcb): string {
  const { sndUna, iss, irs } = p
  const relative = (sequence: number, from: number) => (sequence - from) | 0
  return [
    `${stateName(p.state)} una ${relative(sndUna, iss)} nxt ${relative(p.sndNxt, iss)} end ${relative(p.sndEnd, iss)}`,
    `wnd ${p.sndWnd} cwnd ${p.cwnd} ssthresh ${p.ssthresh} flight ${p.flight} sacked ${p.sacked} segs ${p.segCount}`,
    `rcv.nxt ${relative(p.rcvNxt, irs)} advertised ${relative(p.rcvAdvertised, irs)} held ${p.rcvHeld} early ${p.earlyBytes}`,
    `srtt ${Math.round(p.srtt)} rto ${Math.round(p.rto)} backoff ${p.backoff} timer ${p.timerKind} flags ${p.flags.toString(16)}`,
  ].join(', ')
}
