// Two hosts of two CPUs in the simulator that talk over bad links: what test/balance.test.ts and test/layers.test.ts run. Every byte that
// arrives is checked.
import assert from 'node:assert/strict'
import type { DeviceSpec } from '../src/device/spec.ts'
import { type WireOptions, wireRegions } from '../src/device/wire.ts'
import { type SimMachine, simulate } from '../src/machine/sim.ts'
import type { Counts } from '../src/metrics/counts.ts'
import { takeCounts } from '../src/metrics/take.ts'
import { echo } from '../src/service/echo.ts'
import { type HostConfig, Stack, type TcpListenOptions, type TcpSocket, type UdpSocket } from '../src/stack.ts'

const SERVER = { address: '10.0.0.1', cpus: [0, 1], echoPort: 7, streamPort: 80, sharedPort: 81 }
const CLIENT = { address: '10.0.0.2', cpus: [2, 3] }
/** Faults of all kinds, in both directions. */
const BAD = {
  loss: 0.03,
  duplicate: 0.02,
  corrupt: 0.02,
  truncate: 0.01,
  reorder: 0.05,
  delayUs: 700,
  jitterUs: 300,
}
export const STREAM_BYTES = 150_000
/** Of each CPU of the client. */
const STREAMS = [SERVER.streamPort, SERVER.streamPort, SERVER.sharedPort]
export const ROUNDS = 40
/** Of these ports, those of one CPU are each other's neighbours: their flows are spread over the CPUs of the server. */
const FIRST_PORT = 5000
const PORTS_EACH = 4
const OWN_PORT = 6000
const GROUP = '239.1.2.3'

/** Programs close what they have; fragments, TIME-WAITs and neighbours are forgotten; what others freed comes home. */
const CLOSE_US = 60e6
export const REST_US = 400e6

export interface TalkOptions {
  readonly seed: number
  /** What both hosts have besides what a talk needs. */
  readonly config?: Partial<HostConfig>
  /** Of each of the six streams. */
  readonly streamBytes?: number
  /** Of datagrams, four at a time. */
  readonly rounds?: number
  /** Packets are changed on their way. Of two bits that flip a checksum may tell nothing. Default true. */
  readonly corrupts?: boolean
  /** The CPUs of both hosts that have a queue of the wire. Default: all. */
  readonly queues?: { readonly a: readonly number[]; readonly b: readonly number[] }
}

/** Byte i of all that is sent. */
const byteAt = (i: number) => (i * 31 + (i >>> 8) * 7) & 255
const PATTERN = Uint8Array.from({ length: 256 * 256 + 4096 }, (_, i) => byteAt(i))

/** Two hosts of two CPUs that talk UDP, in datagrams with fragments and without, and TCP, until nothing is left to say. */
export class Talk {
  readonly machine: SimMachine
  echoed = 0
  streamed = 0
  /** Bytes that were not those that were sent. */
  wrong = 0
  readonly #streamBytes: number
  readonly #rounds: number

  constructor(options: TalkOptions) {
    const { seed, config = {}, streamBytes = STREAM_BYTES, rounds = ROUNDS, corrupts = true } = options
    this.#streamBytes = streamBytes
    this.#rounds = rounds
    const wire: WireOptions = { name: 'w', ...(options.queues ?? { a: SERVER.cpus, b: CLIENT.cpus }) }
    this.machine = simulate({
      cpus: 4,
      seed,
      memoryBytes: 48 * 1024 * 1024,
      regions: wireRegions(wire),
      checkOrder: true,
    })
    const host = (name: string, index: number, side: 'a' | 'b', { address, cpus }: typeof CLIENT): HostConfig => {
      const device: DeviceSpec = {
        kind: 'fault',
        of: { kind: 'wire', wire, side },
        ...BAD,
        ...(corrupts ? {} : { corrupt: 0 }),
      }
      return { ...config, name, index, cpus, interfaces: [{ name: 'w', device, addresses: [`${address}/24`] }] }
    }
    const server = host('server', 0, 'a', SERVER)
    const client = host('client', 1, 'b', CLIENT)
    for (const cpu of this.machine.cpus) {
      const isServer = SERVER.cpus.includes(cpu.index)
      const stack = new Stack(cpu, isServer ? server : client)
      cpu.threads.start('program', (thread) => this.#program(stack, isServer, thread))
      // A CPU that sleeps takes in what others freed in its next turn: each has two more when all is over.
      for (const late of [REST_US - 2e6, REST_US - 1e6]) cpu.timers.after(late, () => {})
    }
  }

  /** What was counted when nothing happens any more. */
  rest(): Counts {
    this.machine.run({ untilUs: REST_US })
    return takeCounts(this.machine)
  }

  *#program(stack: Stack, isServer: boolean, thread: Parameters<Stack['start']>[0]): Generator<void, void, void> {
    yield* stack.start(thread)
    if (isServer) this.#serve(stack)
    else {
      for (let i = 0; i < PORTS_EACH; i++) this.#datagrams(stack, FIRST_PORT + stack.context.cpu.index * PORTS_EACH + i)
      for (const port of STREAMS) this.#stream(stack, port)
      this.#inside(stack)
    }
  }

  /** What does not leave the host, or only as a question: to itself, to a group that it has joined, and pings. */
  #inside(stack: Stack): void {
    const { cpu, mbufs } = stack.context
    const own = stack.endpoint(CLIENT.address, OWN_PORT + cpu.index)
    const group = stack.endpoint(GROUP, OWN_PORT + cpu.index)
    const server = stack.endpoint(SERVER.address, 0)
    const onReadable = (socket: UdpSocket) => {
      for (let packet = socket.receive(); packet !== 0; packet = socket.receive()) mbufs.free(packet)
    }
    const send = (socket: UdpSocket, left: number) => {
      socket.sendBytes(new Uint8Array(100), own)
      socket.sendBytes(new Uint8Array(100), group)
      stack.icmp.echo.send(server, cpu.index, left, 64)
      if (left > 0) cpu.timers.after(3000, () => send(socket, left - 1))
    }
    const socket = stack.udp.open({ port: OWN_PORT + cpu.index, onReadable }, (error) => {
      assert.equal(error, undefined)
      socket.join({ group: GROUP }, (failed) => {
        assert.equal(failed, undefined)
        send(socket, this.#rounds)
      })
    })
    cpu.timers.after(CLOSE_US, () => socket.close())
    cpu.onStop(() => {
      for (const each of [own, group, server]) each.free()
    })
  }

  #serve(stack: Stack): void {
    echo(stack, SERVER.echoPort, (error) => assert.equal(error, undefined))
    this.#listen(stack, { port: SERVER.streamPort, perCpu: true })
    // Its program is on one CPU, wherever its connections are.
    if (stack.context.cpu.index === SERVER.cpus[0]) this.#listen(stack, { port: SERVER.sharedPort })
  }

  #listen(stack: Stack, options: TcpListenOptions): void {
    stack.tcp.listen(options, (error, listener) => {
      assert.equal(error, undefined)
      listener.onConnection = (socket) => this.#take(socket)
      stack.context.cpu.timers.after(CLOSE_US, () => listener.close())
    })
  }

  /** Datagrams of two sizes, four at a time, each of which may come back. */
  #datagrams(stack: Stack, port: number): void {
    const { cpu, mbufs } = stack.context
    const target = stack.endpoint(SERVER.address, SERVER.echoPort)
    const onReadable = (socket: UdpSocket) => {
      for (let packet = socket.receive(); packet !== 0; packet = socket.receive()) {
        this.echoed++
        this.#check(mbufs.bytes(packet), 0)
        mbufs.free(packet)
      }
    }
    const send = (socket: UdpSocket, left: number) => {
      for (const size of [4000, 100, 100, 1000]) socket.sendBytes(PATTERN.subarray(0, size), target)
      if (left > 0) cpu.timers.after(2000, () => send(socket, left - 1))
    }
    const socket = stack.udp.open({ port, onReadable }, (error) => {
      assert.equal(error, undefined)
      send(socket, this.#rounds)
    })
    cpu.timers.after(CLOSE_US, () => socket.close())
    cpu.onStop(() => target.free())
  }

  /** Sends a stream, and closes when the other end has. */
  #stream(stack: Stack, port: number): void {
    const socket = stack.tcp.connect({ address: SERVER.address, port })
    let left = this.#streamBytes
    const write = () => {
      while (left > 0) {
        const at = (this.#streamBytes - left) & 0xffff
        const taken = socket.send(PATTERN.subarray(at, at + Math.min(left, 4096)))
        if (taken === 0) return
        left -= taken
      }
      socket.shutdown()
    }
    socket.onConnect = (errno) => {
      assert.equal(errno, 0)
      write()
    }
    socket.onWritable = write
    this.#take(socket)
  }

  /** Reads to the end, and closes. */
  #take(socket: TcpSocket): void {
    const buffer = new Uint8Array(4096)
    let at = 0
    socket.onReadable = () => {
      for (let count = socket.receive(buffer); count > 0; count = socket.receive(buffer)) {
        this.#check(buffer.subarray(0, count), at)
        at = (at + count) & 0xffff
        this.streamed += count
      }
      if (socket.ended) socket.close()
    }
    socket.onError = () => socket.close()
  }

  #check(bytes: Uint8Array, from: number): void {
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== PATTERN[from + i]) this.wrong++
  }
}
