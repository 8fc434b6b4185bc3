// The load device: what puts load on a stack in the laboratory. One device plays all the clients of a server, so that no
// second stack is there to be measured with the first: what `receive` brings are packets made of templates, and what is
// transmitted is looked at for what it says to its connection, and freed.
//
//     receive:   answers that left elsewhere (cell.ts) ─┐
//                questions of an open loop (arrival.ts) ┼─► connections with something due (client.ts) ─► packet (maker.ts)
//     transmit:  header ─► connection at home here: advance;  at home elsewhere: a cell for that queue
//
// Read options.ts first. A queue for each CPU of the host, each with the connections that have their home there (home.ts).
// Nothing nests: what the host answers within `receive` makes its connection due, and the packet is made in the next.
import { Errno, KernelError } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { type Deliver, DeviceCounters, type DeviceInfo, type DeviceQueue, deviceCounts, type Steer } from '../device.ts'
import { Mbuf, Mbufs } from '../mbuf.ts'
import { Arrivals } from './arrival.ts'
import { Answers } from './cell.ts'
import { Clients } from './client.ts'
import { LoadQueueCounters, nextLoadInstance } from './counters.ts'
import {
  IP_BYTES,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  TCP_BYTES,
  Tcp,
  UDP_BYTES,
  WINDOW_SCALE_SHIFT,
  windowScaleOf,
} from './header.ts'
import { Homes } from './home.ts'
import { Latency, tickOf } from './latency.ts'
import { Maker } from './maker.ts'
import { numberOf } from './number.ts'
import { type LoadOptions, type LoadPlan, loadInfo, loadPlan } from './options.ts'
import { LoadRegion, QueueBlock, Told } from './region.ts'
import { makeTemplates } from './template.ts'

/** A load begins when the connections of all queues are open. */
const Phase = { untold: 0, opening: 1, waiting: 2, running: 3 } as const

// Constants of this module, because the compiler folds those (see kernel/port.ts).
const DATA = Mbuf.offset.data >> 2
const LENGTH = Mbuf.offset.length >> 2
const TOTAL = Mbuf.offset.total >> 2
const PART = Mbuf.offset.part >> 2
const C = LoadQueueCounters.index
/** How often a part of the connections is looked after; four times this is how long an acknowledgment is put off at most. */
const SWEEP_US = 10_000
/** A question that comes sooner is waited for awake: a timer has ticks of 128 µs. */
const AWAKE_US = 256
/** Segments that a connection sends one after the other, as a card's segmentation does. */
const BURST = 8

export class LoadQueue implements DeviceQueue {
  readonly info: DeviceInfo
  readonly #cpu: Cpu
  readonly #plan: LoadPlan
  readonly #mbufs: Mbufs
  readonly #i32: Int32Array
  readonly #u8: Uint8Array
  readonly #view: DataView
  readonly #count: Float64Array
  readonly #deviceCount: Float64Array
  readonly #region: LoadRegion
  readonly #queue: number
  readonly #homes: Homes
  readonly #home: Uint16Array
  readonly #clients: Clients
  readonly #answers: Answers
  readonly #latency: Latency
  readonly #arrivals: Arrivals | undefined
  readonly #isUdp: boolean
  readonly #burst: number
  readonly #hasWrong: boolean
  readonly #toldWord: number
  #told: number = Told.nothing
  #phase: number
  #nextToOpen = 0
  /** Taken since the last flush. */
  #received = 0
  #receivedBytes = 0
  #wakesAt = Number.POSITIVE_INFINITY
  #cancelSweep: () => void = () => {}
  #cancelWake: () => void = () => {}
  #closed = false

  /**
   * @param steer the host's flow hash, by which the queue of a connection is chosen; without it they are dealt out in turn
   * @throws KernelError EINVAL where the options cannot be or this CPU has no queue, ENOENT without the region, ENOMEM
   */
  constructor(cpu: Cpu, options: LoadOptions, steer?: Steer) {
    const plan = loadPlan(options)
    const queue = plan.cpus.indexOf(cpu.index)
    if (queue < 0) {
      const sentence = `CPU ${cpu.index} has no queue of load ${plan.name}: name it in its cpus`
      throw new KernelError(Errno.EINVAL, sentence)
    }
    const { memory } = cpu
    this.info = loadInfo(options)
    this.#cpu = cpu
    this.#plan = plan
    this.#mbufs = Mbufs.of(cpu)
    this.#i32 = memory.i32
    this.#u8 = memory.u8
    this.#view = memory.view
    this.#deviceCount = deviceCounts(cpu)
    this.#queue = queue
    this.#region = LoadRegion.find(memory, options)
    this.#toldWord = this.#region.told >> 2
    this.#isUdp = plan.workload === 'udp'
    this.#burst = plan.workload === 'bulk-in' ? BURST : 1
    this.#hasWrong = plan.wrong > 0
    this.#phase = plan.begins ? Phase.opening : Phase.untold
    this.#arrivals = plan.offered > 0 ? new Arrivals(cpu.random, plan.offered) : undefined

    const block = this.#region.queue(queue)
    const instance = nextLoadInstance(cpu)
    this.#count = cpu.counterPage.open(LoadQueueCounters, instance)
    memory.u32[(block + QueueBlock.offset.instance) >> 2] = 1 + instance
    const templates = makeTemplates(memory, block + QueueBlock.offset.templates, plan)
    this.#latency = new Latency(memory.f64, block + QueueBlock.offset.latency)
    this.#homes = new Homes(cpu, plan, templates.data, steer)
    this.#home = this.#homes.home
    const maker = new Maker(cpu, this.#homes, plan.offload)
    const { count, latency } = { count: this.#count, latency: this.#latency }
    this.#clients = new Clients(cpu, plan, this.#region, queue, this.#homes, maker, templates, count, latency)
    this.#answers = new Answers(cpu, plan, this.#region, queue, count)
    this.#sweepLater()
  }

  receive(budget: number, deliver: Deliver): number {
    if (this.#closed) return 0
    const clients = this.#clients
    clients.tick = tickOf(this.#cpu.now)
    const told = Atomics.load(this.#i32, this.#toldWord)
    if (told !== this.#told) this.#hear(told)
    if (this.#phase !== Phase.running) this.#prepare()
    const taken = this.#answers.pending ? this.#takeAnswers() : 0
    let made = this.#arrivals === undefined ? 0 : this.#arrive(this.#arrivals, budget, deliver)
    const before = made
    let bytes = 0
    // What is due because of these waits for the next time.
    for (let left = clients.working; left > 0 && made < budget; left--) {
      const number = clients.next()
      if (number < 0) break
      for (let burst = this.#burst; burst > 0 && made < budget; burst--) {
        const packet = clients.make(number)
        if (packet === 0) break
        made++
        bytes += this.#i32[(packet >> 2) + TOTAL]!
        if (this.#hasWrong) this.#noteWrong(number)
        deliver(packet)
      }
      clients.done(number)
    }
    this.#noteSent(made - before, bytes)
    return made + taken
  }

  transmit(packet: Address): boolean {
    const w = packet >> 2
    this.#received++
    this.#receivedBytes += this.#i32[w + TOTAL]!
    if (this.#closed || !(this.#isUdp ? this.#datagram(w) : this.#segment(w))) this.#count[C.errorUnexpected]!++
    this.#mbufs.free(packet)
    return true
  }

  /** What was answered in this turn is seen now. */
  flush(): void {
    if (this.#received === 0) return
    this.#count[C.received]! += this.#received
    this.#deviceCount[DeviceCounters.index.transmitted]! += this.#received
    this.#deviceCount[DeviceCounters.index.transmittedBytes]! += this.#receivedBytes
    this.#received = 0
    this.#receivedBytes = 0
    const tick = tickOf(this.#cpu.clock.now())
    this.#latency.flush(tick)
    this.#answers.flush(tick)
  }

  pending(): boolean {
    if (this.#closed) return false
    if (Atomics.load(this.#i32, this.#toldWord) !== this.#told) return true
    if (this.#phase !== Phase.untold && this.#clients.hasNext) return true
    return this.#answers.pending || (this.#arrivals !== undefined && this.#comesSoon(this.#arrivals))
  }

  close(): void {
    if (this.#closed) return
    this.flush()
    this.#closed = true
    this.#cancelSweep()
    this.#cancelWake()
  }

  #noteSent(packets: number, bytes: number): void {
    if (packets === 0) return
    this.#count[C.sent]! += packets
    this.#deviceCount[DeviceCounters.index.received]! += packets
    this.#deviceCount[DeviceCounters.index.receivedBytes]! += bytes
  }

  #noteWrong(number: number): void {
    this.#clients.noteShare(number)
    if (this.#homes.owner[number] !== this.#queue) this.#count[C.sentWrong]!++
  }

  /** A segment of the host's. False: of no connection. */
  #segment(w: number): boolean {
    const u8 = this.#u8
    const view = this.#view
    const data = this.#i32[w + DATA]!
    if (this.#i32[w + LENGTH]! < IP_BYTES + TCP_BYTES || u8[data + 9] !== PROTOCOL_TCP) return false
    const tcp = data + ((u8[data]! & 15) << 2)
    const { clients, connections, segmentBytes } = this.#plan
    const port = view.getUint16(tcp + 2)
    const number = numberOf(clients, connections, view.getInt32(data + 16), port)
    if (number < 0) return false
    const headerBytes = (u8[tcp + 12]! >>> 4) << 2
    const flags = u8[tcp + 13]!
    const payload = this.#i32[w + TOTAL]! - (tcp - data) - headerBytes
    const sequences = payload + ((flags & Tcp.SYN) >> 1) + (flags & Tcp.FIN)
    const end = (view.getInt32(tcp + 4) + sequences) | 0
    const acknowledged = view.getInt32(tcp + 8)
    let window = view.getUint16(tcp + 14)
    if ((flags & Tcp.SYN) !== 0) window |= windowScaleOf(u8, tcp, headerBytes) << WINDOW_SCALE_SHIFT
    // A super-segment is of several.
    const segments = payload === 0 ? 0 : payload > segmentBytes ? 2 : 1
    const home = this.#home[number]!
    const word = (flags << 16) | port
    if (home === this.#queue) this.#clients.advance(number, word, acknowledged, end, window, segments, false, 0)
    else {
      this.#count[C.forwarded]!++
      this.#answers.post(number, home, word, acknowledged, end, window, segments, this.#clients.tick)
    }
    return true
  }

  /** A datagram of the host's, which carries when it was asked for. False: it is not one. */
  #datagram(w: number): boolean {
    const words = this.#i32
    const data = words[w + DATA]!
    if (words[w + LENGTH]! < IP_BYTES + UDP_BYTES || this.#u8[data + 9] !== PROTOCOL_UDP) return false
    const udp = data + ((this.#u8[data]! & 15) << 2)
    const { clients, connections, bytes } = this.#plan
    const number = numberOf(clients, connections, this.#view.getInt32(data + 16), this.#view.getUint16(udp + 2))
    if (number < 0 || words[w + TOTAL]! - (udp - data) - UDP_BYTES !== bytes) return false
    const payload = this.#payload(w, udp + UDP_BYTES - data)
    if (payload === 0) return false
    this.#latency.seen(this.#view.getInt32(payload), this.#clients.tick)
    const home = this.#home[number]!
    if (home === this.#queue) this.#clients.answered(number, 1)
    else {
      this.#count[C.forwarded]!++
      this.#answers.post(number, home, 0, 0, 0, 0, 1, 0)
    }
    return true
  }

  /** Where the first four bytes behind the headers lie: in the first part, or in the one behind it; or 0. */
  #payload(w: number, headerBytes: number): Address {
    const words = this.#i32
    if (words[w + LENGTH]! >= headerBytes + 4) return words[w + DATA]! + headerBytes
    const part = words[w + PART]! >> 2
    if (words[w + LENGTH] !== headerBytes || part === 0 || words[part + LENGTH]! < 4) return 0
    return words[part + DATA]!
  }

  #takeAnswers(): number {
    const taken = this.#answers.take(this.#isUdp ? this.#takeDatagrams : this.#takeSegments)
    this.#count[C.taken]! += taken
    return taken
  }

  readonly #takeSegments = (
    number: number,
    flags: number,
    acknowledged: number,
    end: number,
    window: number,
    segments: number,
    seenAt: number,
  ): void => this.#clients.advance(number, flags, acknowledged, end, window, segments, true, seenAt)

  readonly #takeDatagrams = (
    number: number,
    _flags: number,
    _acknowledged: number,
    _end: number,
    _window: number,
    count: number,
  ): void => this.#clients.answered(number, count)

  /** The questions of an open loop that have come. */
  #arrive(arrivals: Arrivals, budget: number, deliver: Deliver): number {
    const { now } = this.#cpu
    const clients = this.#clients
    let made = 0
    while (arrivals.nextUs <= now && made < budget && clients.mine.length > 0) {
      const tick = tickOf(arrivals.nextUs)
      if (this.#isUdp) {
        const number = clients.nextFlow()
        const packet = clients.datagram(number, tick)
        // It is tried again in the next turn.
        if (packet === 0) break
        made++
        arrivals.advance()
        this.#noteSent(1, this.#i32[(packet >> 2) + TOTAL]!)
        this.#noteWrong(number)
        deliver(packet)
      } else {
        arrivals.advance()
        clients.arrive(tick)
      }
    }
    return made
  }

  /** Whether the next question is worth to be waited for awake; if not, a timer wakes the CPU in time. */
  #comesSoon(arrivals: Arrivals): boolean {
    const inUs = arrivals.nextUs - this.#cpu.now
    if (inUs <= AWAKE_US) return this.#clients.mine.length > 0
    if (inUs < Number.POSITIVE_INFINITY && this.#wakesAt > arrivals.nextUs) this.#wakeLater(inUs - AWAKE_US)
    return false
  }

  #wakeLater(us: number): void {
    this.#cancelWake()
    this.#wakesAt = this.#cpu.now + us
    this.#cancelWake = this.#cpu.timers.after(us, () => {
      this.#wakesAt = Number.POSITIVE_INFINITY
    })
  }

  /** Somebody has told the device to run, or to rest. */
  #hear(told: number): void {
    this.#told = told
    const rests = told === Told.rest
    this.#clients.resting = rests
    if (rests) {
      this.#arrivals?.end()
      return
    }
    if (this.#phase === Phase.untold) this.#phase = Phase.opening
    if (this.#phase !== Phase.running) return
    this.#arrivals?.begin(this.#cpu.now)
    this.#clients.resume()
  }

  /** Before the load: opens the connections of the established workloads, a few at a time, and waits for the other queues. */
  #prepare(): void {
    if (this.#phase === Phase.opening) this.#open()
    if (this.#phase === Phase.waiting && this.#areAllReady()) {
      this.#phase = Phase.running
      if (this.#told !== Told.rest) this.#arrivals?.begin(this.#cpu.now)
      this.#clients.begin()
    }
  }

  #open(): void {
    const clients = this.#clients
    const { workload, handshakes } = this.#plan
    const isEstablished = workload !== 'short' && workload !== 'udp'
    if (isEstablished) {
      while (clients.opening < handshakes && this.#nextToOpen < clients.mine.length) {
        clients.open(clients.mine[this.#nextToOpen++]!)
      }
      if (clients.opened < clients.mine.length) return
    }
    Atomics.store(this.#i32, (this.#region.queue(this.#queue) + QueueBlock.offset.isReady) >> 2, 1)
    this.#phase = Phase.waiting
  }

  #areAllReady(): boolean {
    return this.#plan.cpus.every((_, queue) => {
      return Atomics.load(this.#i32, (this.#region.queue(queue) + QueueBlock.offset.isReady) >> 2) === 1
    })
  }

  /** Also has the CPU poll this queue now and then, for what it is told and for the others to be ready. */
  #sweepLater(): void {
    this.#cancelSweep = this.#cpu.timers.after(SWEEP_US, () => {
      if (this.#phase !== Phase.untold) this.#clients.sweep()
      this.#sweepLater()
    })
  }
}
