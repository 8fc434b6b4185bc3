// Ports: where messages queue (lwkt_msgport.c). A port belongs to a CPU, and only that CPU touches its queue: what
// others send arrives by IPI. So there is no lock, and the order is that of the sender's ring.
//
//   send     asynchronous; the message comes back to its reply port when it is done
//   begin    the first half of a synchronous call; `Thread.call` is both halves
//   forward  by its current owner, to another port; the originator does not notice
//   reply    the answer; a SYNC message is not queued, its waiter is woken
//   abort    asks for an early end; runs on the originating CPU; the target may ignore it
//   drop     takes a DROPABLE message out of the queue as if it had never been sent; the queue's owner only
//
// Order: messages from one CPU to one port arrive in the order sent. A producer that moves between CPUs first makes
// sure that what it sent has arrived (Thread.migrate does), or asks for a receipt; a port that moves does so while all
// CPUs are held (`move`). DragonFly's streams were corrupted until it did likewise.
import { assert } from '../base/assert.ts'
import { Errno, KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'
import { type Address, bytes, type Fields, struct, u32 } from '../base/struct.ts'
import { K } from './counters.ts'
import type { Cpu } from './cpu.ts'
import { define, type FunctionId, functionOf } from './function.ts'
import { type Handoffs, POINT } from './handoff.ts'
import { CpuBlock, type HandoffPoint, PORT_BYTES, PORT_POINT, PORT_TRACE_EVERY } from './layout.ts'
import {
  EASYNC,
  initialize,
  MessageFlag,
  MessageHeader,
  type MessageType,
  releases,
  STORES_IN_ORDER,
} from './message.ts'
import { NameKind } from './name.ts'
import type { Thread } from './thread.ts'
import { type Entry, HOP, type Marks, nobody, type Tracer } from './trace/tracer.ts'

/** A port's number: the same on every CPU. */
export type PortId = number

/** No reply is wanted: the message becomes DONE where it is, for whoever polls it. */
export const NULL_PORT: PortId = 0
/** As a reply port: the message is freed, wherever it came from. How one-way messages go home. */
export const FREE_PORT: PortId = 1
/** Nothing may ever be sent or replied here. */
export const PANIC_PORT: PortId = 2
const FIRST_PORT = 16

/** What a port does with a message. */
export const PortKind = {
  none: 0,
  /** Queues; a thread or a handler takes them. */
  thread: 1,
  /** Never queues: the handler runs at once, on the sender's CPU. Its code must be registered on every CPU. */
  putOnly: 2,
  /** Takes replies only. */
  replyOnly: 3,
  panic: 4,
} as const
export type PortKind = (typeof PortKind)[keyof typeof PortKind]

const PortRecord = struct({
  head: u32, //           0
  tail: u32, //           4
  priorityHead: u32, //   8
  priorityTail: u32, //  12
  depth: u32, //         16
  thread: u32, //        20  1 + the thread that waits on it or serves it, for who looks from outside; else 0
  handler: u32, //       24  put-only: the registered function
  traceEvery: u32, //    28  0: what the machine says; else 1 + what this port says (trace/mode.ts)
  point: u32, //         32  where its waiting is counted (handoff.ts)
  padding: bytes(28),
})
assert(PortRecord.size === PORT_BYTES, 'a port record is 64 bytes')
const AT = PortRecord.offset
/** The record's layout, for who looks from outside (trace/waits.ts). */
export const PortRecordOffset = AT
assert(AT.traceEvery === PORT_TRACE_EVERY, 'a port says how much of it is traced where tracers look')
assert(AT.point === PORT_POINT, 'and where its waiting is counted')
const M = MessageHeader.offset
// Word and half-word offsets as constants of this module: the compiler folds them, as it does not fold the properties
// of an imported object (52 → 30 ns a message for the sender, 63 → 35 for the receiver; bench/message.ts).
const FLAGS = M.state >> 2
const NEXT = M.next >> 2
const TARGET = M.sentTo >> 2
const REPLY_PORT = M.replyPort >> 2
const ERROR = M.error >> 2
const ORIGIN = M.origin >> 1
const FROM = M.from >> 1
/** Both halves of one word: the CPU that sends is both. */
const ORIGIN_AND_FROM = M.origin >> 2
const QUEUED_AT = M.queuedAt >> 3
const ON_ABORT = M.onAbort >> 1
const ON_RECEIPT = M.onReceipt >> 1
const HEAD = AT.head >> 2
const TAIL = AT.tail >> 2
const PRIORITY_HEAD = AT.priorityHead >> 2
const PRIORITY_TAIL = AT.priorityTail >> 2
const DEPTH = AT.depth >> 2
const { DONE, REPLY, QUEUED, SYNC, DROPABLE, ABORTABLE, PRIORITY, RECEIPT, TRACED, LEFT_OUT } = MessageFlag
/** What a send leaves as it is. */
const OF_ITS_OWN = ~(DONE | REPLY | SYNC | TRACED | LEFT_OUT)
const THREAD = PortKind.thread
const PUT_ONLY = PortKind.putOnly
const RECEIVED = K.messagesReceived
const REPLIES_QUEUED = K.repliesQueued
const TYPE = M.type >> 2
const { send: SEND, call: CALL, forward: FORWARD, reply: ANSWER, abort: ABORT } = HOP
assert(FLAGS === 0, 'the flags are the first word of a message')

/**
 * Serves one message. What it returns is the answer (0 or an errno), and the kernel replies at once;
 * EASYNC says that the handler keeps the message and will `reply`, `forward` or free it.
 */
export type Handler = (message: Address) => number

export interface PortOptions {
  /** Other CPUs find it by this name. */
  readonly name?: string
  /** Serves each message, run to completion. A port without one belongs to a thread that waits on it. */
  readonly handler?: Handler
  /** Serves each reply that comes to this port. Without it replies queue like messages. */
  readonly onReply?: (message: Address) => void
  /** What the waiting here is counted as. Default `port`. */
  readonly point?: HandoffPoint
  /** `direct`: a send from this CPU to an idle handler port is a call; `deferred`: it queues all the same. Default `direct`. */
  readonly dispatch?: 'direct' | 'deferred'
  /** Messages served before others get their turn. Default: the machine's, 32 (batch.ts). */
  readonly batch?: number
  /** Replies only: any other message is a bug. */
  readonly replyOnly?: boolean
}

/** A port on its own CPU. Elsewhere a port is its number. */
export class Port {
  readonly id: PortId
  readonly name: string | undefined
  readonly handler: Handler | undefined
  readonly onReply: ((message: Address) => void) | undefined
  direct: boolean
  batch: number
  /** Address of the record. */
  readonly record: Address
  /** Addresses of the hand-off records that its waiting is counted in, by the sender's CPU. */
  readonly records: readonly number[]
  /** Woken when something comes: it waits here, or it serves the port's handler instead of the run loop. */
  thread: Thread | undefined = undefined
  /** On the list of ports that the run loop serves. */
  ready = false
  /** Its handler is on the stack. */
  running = false
  closed = false

  constructor(cpu: Cpu, id: PortId, record: Address, options: PortOptions) {
    this.id = id
    this.record = record
    this.name = options.name
    this.handler = options.handler
    this.onReply = options.onReply
    this.direct = options.dispatch !== 'deferred'
    this.batch = options.batch ?? cpu.batches.port
    const point = POINT[options.point ?? 'port']
    this.records = Array.from({ length: cpu.memory.layout.cpus }, (_, peer) => cpu.handoffs.record(point, peer))
  }
}

/** One CPU's side of all ports. */
export class Ports {
  readonly #cpu: Cpu
  readonly #index: number
  readonly #count: Float64Array
  readonly #tally: Cpu['tally']
  readonly #handoffs: Handoffs
  readonly #tracer: Tracer
  #traceMarks: Marks = 0
  readonly #i32: Int32Array
  readonly #u16: Uint16Array
  readonly #f64: Float64Array
  readonly #homes: number
  readonly #records: Address
  readonly #local = new Map<PortId, Port>()
  readonly #fast: (Port | undefined)[] = []
  readonly #firstId: number
  #nextSlot: number
  readonly #freeSlots: number[] = []
  /** Messages without a reply port that were finished in the service that is going on. */
  readonly #done = new Int32Array(Limits.portBatch)
  #doneCount = 0
  #serving = false
  /** A word of this CPU's own, written for the fence that comes with it. */
  readonly #fence: number
  /** Handler ports with messages, in the order in which they became ready. */
  readonly #ready: Port[] = []

  constructor(cpu: Cpu) {
    this.#cpu = cpu
    this.#index = cpu.index
    this.#count = cpu.count
    this.#tally = cpu.tally
    this.#handoffs = cpu.handoffs
    this.#tracer = cpu.tracer
    this.#tracer.watch((marks) => {
      this.#traceMarks = marks
    })
    const { layout, i32, u16, f64 } = cpu.memory
    this.#i32 = i32
    this.#u16 = u16
    this.#f64 = f64
    this.#homes = layout.portHomes >> 2
    this.#records = layout.ports
    this.#firstId = cpu.index * Limits.portsPerCpu
    this.#fence = (cpu.block + CpuBlock.offset.fence) >> 2
    this.#nextSlot = cpu.index === 0 ? FIRST_PORT : 0
    if (cpu.index === 0) i32[this.#homes + PANIC_PORT] = PortKind.panic << 16
  }

  /**
   * Makes a port on this CPU.
   * @throws KernelError EEXIST for a name in use, ENFILE when the CPU has 1024 already
   */
  create(options: PortOptions = {}): Port {
    return this.#create(options, options.replyOnly === true ? PortKind.replyOnly : PortKind.thread, 0)
  }

  /** Makes a put-only port: `run(cpu, message)` is executed by each sender, on the sender's CPU. */
  createPutOnly(run: FunctionId, name?: string): Port {
    return this.#create(name === undefined ? {} : { name }, PortKind.putOnly, run)
  }

  #create(options: PortOptions, kind: PortKind, handler: number): Port {
    // A number is used again as late as can be: a message for the port that had it may still be under way.
    const slot =
      this.#nextSlot < Limits.portsPerCpu ? this.#nextSlot++ : (this.#freeSlots.shift() ?? Limits.portsPerCpu)
    if (slot >= Limits.portsPerCpu) {
      const sentence = `cpu ${this.#index} has ${Limits.portsPerCpu} ports, which is the limit: close some`
      throw new KernelError(Errno.ENFILE, sentence, 'port')
    }
    const id = this.#firstId + slot
    const record = this.#records + id * PORT_BYTES
    this.#i32.fill(0, record >> 2, (record + PORT_BYTES) >> 2)
    this.#i32[(record + AT.handler) >> 2] = handler
    this.#i32[(record + AT.point) >> 2] = POINT[options.point ?? 'port']
    const port = new Port(this.#cpu, id, record, options)
    if (options.name !== undefined) {
      try {
        this.#cpu.names.add(options.name, id, NameKind.port)
      } catch (error) {
        this.#freeSlots.push(slot)
        throw error
      }
    }
    this.#adopt(port)
    Atomics.store(this.#i32, this.#homes + id, (kind << 16) | this.#index)
    return port
  }

  /** Ends a port. What is queued is answered with ECANCELED. */
  close(port: Port): void {
    assert(this.owns(port.id), 'a port is closed on its own CPU')
    for (let message = this.get(port); message !== 0; message = this.get(port)) {
      if ((this.#flags(message) & REPLY) === 0) this.reply(message, Errno.ECANCELED)
    }
    port.closed = true
    if (port.name !== undefined) this.#cpu.names.remove(port.name)
    Atomics.store(this.#i32, this.#homes + port.id, 0)
    this.#local.delete(port.id)
    // A port that moved here with its thread has its number from another CPU.
    this.#cpu.ipi.send(Math.floor(port.id / Limits.portsPerCpu), RELEASE, port.id)
  }

  /** A port whose number is of this CPU was closed, wherever it was last. */
  released(id: PortId): void {
    this.#fast[id - this.#firstId] = undefined
    this.#freeSlots.push(id - this.#firstId)
  }

  /** The port of this name, on whatever CPU, or undefined. */
  find(name: string): PortId | undefined {
    return this.#cpu.names.find(name, NameKind.port) || undefined
  }

  /** @throws KernelError ENOENT, with the names that ports have */
  lookup(name: string): PortId {
    const id = this.find(name)
    if (id !== undefined) return id
    const known = this.#cpu.names.list(NameKind.port).map((entry) => `"${entry.name}"`)
    const there = known.length === 0 ? 'no port has a name yet' : `there are ${known.sort().join(', ')}`
    throw new KernelError(Errno.ENOENT, `unknown port "${name}": ${there}`, 'lookup')
  }

  /** The CPU that a port is on. */
  home(id: PortId): number {
    return Atomics.load(this.#i32, this.#homes + id) & 0xffff
  }

  owns(id: PortId): boolean {
    return this.#localPort(id) !== undefined
  }

  /** A new message of a type: unsent, its fields not cleared, its reply to `replyPort`. */
  allocate<T extends Fields>(type: MessageType<T>, replyPort: PortId = FREE_PORT): Address {
    const address = this.#cpu.slab.allocate(type.size)
    initialize(this.#cpu.memory, address, type.type, replyPort)
    return address
  }

  /** As `allocate`, but 0 when there is no memory. */
  tryAllocate<T extends Fields>(type: MessageType<T>, replyPort: PortId = FREE_PORT): Address {
    const address = this.#cpu.slab.tryAllocate(type.size)
    if (address !== 0) initialize(this.#cpu.memory, address, type.type, replyPort)
    return address
  }

  /** Sends. The caller no longer owns the message; it comes back by its reply port, also when the target answers at once. */
  send(id: PortId, message: Address): void {
    const code = this.#start(id, message, 0, this.send)
    if (code !== EASYNC) this.#finish(message, code)
  }

  /** As `send`, for a function that programs call: a trace begins above `entry`. Without one it takes no stack: the sender is the stack itself. */
  sendFor(id: PortId, message: Address, entry: Entry | undefined): void {
    const code = this.#start(id, message, 0, entry ?? nobody)
    if (code !== EASYNC) this.#finish(message, code)
  }

  /**
   * Starts a synchronous call: returns the answer when the target gave it at once, or EASYNC; then the
   * message's reply port is where the caller's thread waits.
   */
  begin(id: PortId, message: Address): number {
    const code = this.#start(id, message, SYNC, this.begin)
    if (code === EASYNC) return EASYNC
    this.#setError(message, code)
    this.#i32[message >> 2] = (this.#flags(message) & ~SYNC) | DONE | REPLY
    return code
  }

  /** Passes a message on, by its current owner: not queued, not done. */
  forward(id: PortId, message: Address): void {
    const flags = this.#flags(message)
    assert((flags & (QUEUED | DONE | REPLY)) === 0, 'forward is for the owner of a message under way')
    this.#i32[message >> 2] = flags | QUEUED
    this.#u16[(message >> 1) + FROM] = this.#index
    this.#count[K.messagesForwarded]!++
    if (this.#concernsTracer(message)) this.#tracer.passedOn(FORWARD, id, message)
    const code = this.#put(id, message, (this.#traceMarks & TRACED) !== 0 ? this.forward : undefined)
    if (code !== EASYNC) this.#finish(message, code)
  }

  /** Answers. The caller no longer owns the message. */
  reply(message: Address, error = 0): void {
    assert((this.#flags(message) & (QUEUED | DONE | REPLY)) === 0, 'a message is answered once, by its owner')
    this.#finish(message, error, this.reply)
  }

  /** Takes the next message out of the queue, priority first, or 0. The port's CPU only. */
  get(port: Port): Address {
    const message = this.#take(port)
    if (message !== 0) {
      this.#count[RECEIVED]!++
      const record = this.#recordOf(port, message)
      this.#handoffs.waited(record, this.#cpu.now - this.#f64[(message >> 3) + QUEUED_AT]!, 1)
      this.#handoffs.served(record, 1, false)
      if (this.#concernsTracer(message)) this.#tracer.taken(message)
    }
    return message
  }

  /** What `get` would give, left in the queue. */
  peek(port: Port): Address {
    return this.#i32[(port.record >> 2) + PRIORITY_HEAD]! || this.#i32[(port.record >> 2) + HEAD]!
  }

  /** Messages in the queue. */
  depth(port: Port): number {
    return this.#i32[(port.record >> 2) + DEPTH]!
  }

  /** Messages in the queue of a port of any CPU, as far as they have arrived there. */
  depthOf(id: PortId): number {
    return this.#i32[((this.#records + id * PORT_BYTES) >> 2) + DEPTH]!
  }

  /** What comes to a port of this CPU wakes `thread` from now on. */
  serveBy(port: Port, thread: Thread): void {
    if (port.thread === thread) return
    port.thread = thread
    this.#i32[(port.record + AT.thread) >> 2] = 1 + thread.id
  }

  /**
   * From now on what comes to a port with a handler waits for `thread`, which serves it by `Thread.serve`, up to `batch` messages
   * at a time; a send from this CPU is no call any more.
   */
  handTo(port: Port, thread: Thread, batch: number): void {
    assert(
      this.owns(port.id) && port.handler !== undefined,
      'a port with a handler is given to a thread of its own CPU',
    )
    this.serveBy(port, thread)
    port.direct = false
    port.batch = batch
  }

  /** Serves a port's handler with what is queued, up to its batch. Returns how many. For the thread that it was given to. */
  serveOne(port: Port): number {
    return this.depth(port) === 0 ? 0 : this.#serve(port)
  }

  /** Frees all that is queued at a port, as if its receiver had. For the machine's stop: nobody is answered any more. */
  discard(port: Port): void {
    for (let message = this.get(port); message !== 0; message = this.get(port)) {
      const release = releases.get(this.#i32[(message >> 2) + TYPE]!)
      if (release === undefined) this.#cpu.slab.free(message)
      else release(this.#cpu, message)
    }
  }

  isDone(message: Address): boolean {
    return (Atomics.load(this.#i32, message >> 2) & DONE) !== 0
  }

  /** The answer of a message that is done. */
  error(message: Address): number {
    return this.#i32[(message >> 2) + ERROR]!
  }

  setFlags(message: Address, flags: number): void {
    this.#i32[message >> 2]! |= flags
  }

  setReplyPort(message: Address, port: PortId): void {
    this.#i32[(message >> 2) + REPLY_PORT] = port
  }

  /** `run(cpu, message)` is called on the target's CPU when the message has been put, before anybody can take it. */
  setReceipt(message: Address, run: FunctionId): void {
    this.#u16[(message >> 1) + ON_RECEIPT] = run
    this.#i32[message >> 2]! |= RECEIPT
  }

  /** Makes a message abortable: `run(cpu, message)` is called on the originating CPU when somebody asks for its end. */
  setAbort(message: Address, run: FunctionId): void {
    this.#u16[(message >> 1) + ON_ABORT] = run
    this.#i32[message >> 2]! |= ABORTABLE
  }

  /** Asks for a message's early end. Only the originating CPU may; nothing happens when it is done, or was asked already. */
  abort(message: Address): boolean {
    const onAbort = (message >> 1) + ON_ABORT
    const run = this.#u16[onAbort]!
    if (run === 0 || (this.#flags(message) & (DONE | ABORTABLE)) !== ABORTABLE) return false
    assert(this.#u16[(message >> 1) + ORIGIN] === this.#index, 'a message is aborted on the CPU that sent it')
    // "Asked" is remembered here and not in the flags: those belong to the target while the message is under way.
    this.#u16[onAbort] = 0
    this.#count[K.messagesAborted]!++
    if (!this.#concernsTracer(message)) functionOf(run)(this.#cpu, message, 0, 0, this.#index)
    else this.#abortTraced(message, run)
    return true
  }

  /**
   * Un-queues a DROPABLE message as if it had never been sent; on the CPU of the port that it was sent to. False, and
   * nothing is done, while it is still on its way there.
   */
  drop(port: Port, message: Address): boolean {
    const flags = this.#flags(message)
    assert((flags & (DROPABLE | QUEUED)) === (DROPABLE | QUEUED), 'only a queued, dropable message is dropped')
    assert(this.owns(port.id), 'a message is dropped on the CPU of its port')
    const [head, tail] = (flags & PRIORITY) !== 0 ? [PRIORITY_HEAD, PRIORITY_TAIL] : [HEAD, TAIL]
    const words = this.#i32
    let previous = 0
    for (let m = words[(port.record >> 2) + head]!; m !== message; m = words[(m >> 2) + NEXT]!) {
      if (m === 0) return false
      previous = m
    }
    const next = words[(message >> 2) + NEXT]!
    if (previous === 0) words[(port.record >> 2) + head] = next
    else words[(previous >> 2) + NEXT] = next
    if (next === 0) words[(port.record >> 2) + tail] = previous
    words[(port.record >> 2) + DEPTH]!--
    words[message >> 2] = (flags & ~QUEUED) | DONE
    this.#count[K.messagesDropped]!++
    this.#handoffs.dropped(this.#recordOf(port, message))
    return true
  }

  /** Up to four messages for one port came by IPI; 0 where there is none. */
  arrived(id: PortId, first: Address, second: Address, third: Address, fourth: Address): void {
    const port = this.#localPort(id)
    if (port === undefined) {
      this.#stray(id, first)
      if (second !== 0) this.#stray(id, second)
      if (third !== 0) this.#stray(id, third)
      if (fourth !== 0) this.#stray(id, fourth)
      return
    }
    // Usually nothing is special about any of them, and they are linked in together.
    const words = this.#i32
    let last = first
    let count = 1
    let flags = words[first >> 2]!
    if (second !== 0) {
      words[(last >> 2) + NEXT] = second
      last = second
      flags |= words[second >> 2]!
      count++
    }
    if (third !== 0) {
      words[(last >> 2) + NEXT] = third
      last = third
      flags |= words[third >> 2]!
      count++
    }
    if (fourth !== 0) {
      words[(last >> 2) + NEXT] = fourth
      last = fourth
      flags |= words[fourth >> 2]!
      count++
    }
    if ((flags & (PRIORITY | RECEIPT)) === 0) {
      this.#append(port, first, last, count)
      return
    }
    this.#enqueue(port, first)
    if (second !== 0) this.#enqueue(port, second)
    if (third !== 0) this.#enqueue(port, third)
    if (fourth !== 0) this.#enqueue(port, fourth)
  }

  /** The answer of a synchronous call came back by IPI: it wakes its waiter. */
  completed(message: Address): void {
    this.#complete(message)
  }

  /** Serves every ready port once, up to its batch. Returns how many messages. */
  serve(): number {
    if (this.#ready.length === 0) return 0
    // Those that become ready meanwhile have their turn in the next one.
    let served = 0
    for (let left = this.#ready.length; left > 0; left--) served += this.#serve(this.#ready.shift()!)
    return served
  }

  /** The port whose handler is on the stack; the innermost of several. */
  running(): Port | undefined {
    let last: Port | undefined
    for (const port of this.#local.values()) if (port.running) last = port
    return last
  }

  get hasReady(): boolean {
    return this.#ready.length > 0
  }

  /** A thread's port comes to this CPU, with what is queued at it. While all CPUs are held: see Thread.migrate. */
  moveIn(id: PortId): Port {
    const port = new Port(this.#cpu, id, this.#records + id * PORT_BYTES, {})
    this.#adopt(port)
    Atomics.store(this.#i32, this.#homes + id, (PortKind.thread << 16) | this.#index)
    return port
  }

  /** The other half of `moveIn`, on the CPU that the port leaves. */
  release(port: Port): void {
    this.#local.delete(port.id)
    if (port.id >= this.#firstId && port.id < this.#firstId + Limits.portsPerCpu)
      this.#fast[port.id - this.#firstId] = undefined
  }

  /** What is queued at a port, live, from any CPU: first the priority queue. For whoever looks from outside. */
  queued(id: PortId, limit = 1000): Address[] {
    const found: Address[] = []
    const record = this.#records + id * PORT_BYTES
    for (const head of [PRIORITY_HEAD, HEAD]) {
      let message = this.#i32[(record >> 2) + head]!
      while (message !== 0 && found.length < limit) {
        found.push(message)
        message = this.#i32[(message >> 2) + NEXT]!
      }
    }
    return found
  }

  #adopt(port: Port): void {
    this.#local.set(port.id, port)
    if (port.id >= this.#firstId && port.id < this.#firstId + Limits.portsPerCpu)
      this.#fast[port.id - this.#firstId] = port
  }

  #localPort(id: PortId): Port | undefined {
    const slot = id - this.#firstId
    return slot >= 0 && slot < Limits.portsPerCpu ? this.#fast[slot] : this.#local.get(id)
  }

  #flags(message: Address): number {
    return this.#i32[message >> 2]!
  }

  #setError(message: Address, error: number): void {
    this.#i32[(message >> 2) + ERROR] = error
  }

  #start(id: PortId, message: Address, sync: number, entry: Entry): number {
    const flags = this.#flags(message)
    assert((flags & (DONE | QUEUED)) === DONE, 'only a message that is done and not queued is sent')
    const marks = this.#traceMarks
    this.#i32[message >> 2] = (flags & OF_ITS_OWN) | QUEUED | marks | sync
    this.#i32[(message >> 2) + ORIGIN_AND_FROM] = this.#index * 0x10001
    this.#tally.messagesSent++
    if ((marks & TRACED) === 0) return this.#put(id, message, undefined)
    this.#tracer.sent(sync === 0 ? SEND : CALL, id, message)
    return this.#put(id, message, entry)
  }

  /** Whether there is anything to note of a message that is passed on or taken: what runs now is recorded, or the message has been. */
  #concernsTracer(message: Address): boolean {
    return this.#traceMarks !== 0 && ((this.#traceMarks | this.#flags(message)) & TRACED) !== 0
  }

  /** What asks for the end was caused by whoever runs now, and by how the message came to be sent. */
  #abortTraced(message: Address, run: FunctionId): void {
    const tracer = this.#tracer
    const { current } = tracer
    const target = this.#i32[(message >> 2) + TARGET]!
    tracer.current = tracer.aborted(ABORT, target, message, this.abort)
    functionOf(run)(this.#cpu, message, 0, 0, this.#index)
    tracer.current = current
  }

  /**
   * Puts a message at a port: a call, a queue, or a ring. Returns the answer if there is one already. `entry` is by which of this class's
   * functions the sender came in, where it is traced.
   */
  #put(id: PortId, message: Address, entry: Entry | undefined): number {
    const words = this.#i32
    const home = words[this.#homes + id]!
    const kind = home >>> 16
    const index = this.#index
    words[(message >> 2) + TARGET] = id
    if (kind !== THREAD) return this.#putSpecial(id, kind, message)
    const target = home & 0xffff
    if (this.#cpu.order !== undefined) this.#cpu.order.sent(id, message)
    const port = target === index ? this.#localPort(id)! : undefined
    if (port?.direct === true && port.handler !== undefined && !port.running) {
      if (words[(port.record >> 2) + DEPTH] === 0) {
        return entry === undefined ? this.#call(port, message) : this.#callTraced(port, message, entry)
      }
    }
    // Only what waits is asked how long.
    this.#f64[(message >> 3) + QUEUED_AT] = this.#cpu.now
    if (entry !== undefined) this.#tracer.stack(message, entry)
    if (port === undefined) this.#cpu.ipi.put(target, id, message)
    else this.#enqueue(port, message)
    return EASYNC
  }

  /** The sender is on the stack, so what the handler does was caused by what the sender was; only a message that is kept needs the stack. */
  #callTraced(port: Port, message: Address, entry: Entry): number {
    const trace = this.#tracer.of(message)
    this.#tracer.took(trace, 'called')
    const isLent = this.#tracer.calls(trace)
    const code = this.#call(port, message)
    if (isLent) this.#tracer.called()
    if (code === EASYNC || this.#tracer.isKept(trace)) this.#tracer.stackOf(trace, entry)
    return code
  }

  /** A direct call: the sender's own CPU, an idle port, nothing queued before it. */
  #call(port: Port, message: Address): number {
    if (this.#cpu.order !== undefined) this.#cpu.order.received(port.id, message)
    if ((this.#flags(message) & RECEIPT) !== 0) this.#receipt(message)
    this.#tally.messagesDirect++
    this.#i32[message >> 2]! &= ~QUEUED
    port.running = true
    const code = port.handler!(message)
    port.running = false
    return code
  }

  #putSpecial(id: PortId, kind: number, message: Address): number {
    this.#i32[message >> 2]! &= ~QUEUED
    this.#count[K.messagesUnqueued]!++
    if (kind === PUT_ONLY) {
      const run = this.#i32[(this.#records + id * PORT_BYTES + AT.handler) >> 2]!
      functionOf(run)(this.#cpu, message, id, 0, this.#index)
      return EASYNC
    }
    if (id === FREE_PORT || id === NULL_PORT) return 0
    assert(kind !== PortKind.panic, 'a message was sent to the panic port')
    assert(kind !== PortKind.replyOnly, 'a message was sent to a port that takes replies only')
    // The port was closed, or never was: the sender learns it as of a target that refuses.
    return Errno.ENXIO
  }

  #finish(message: Address, error: number, entry?: Entry): void {
    const words = this.#i32
    let flags = this.#flags(message)
    this.#tally.messagesReplied++
    const replyPort = words[(message >> 2) + REPLY_PORT]!
    if (replyPort === FREE_PORT && (flags & SYNC) === 0) {
      words[message >> 2] = DONE
      const release = releases.size === 0 ? undefined : releases.get(words[(message >> 2) + TYPE]!)
      if (release === undefined) this.#cpu.slab.free(message)
      else release(this.#cpu, message)
      return
    }
    this.#setError(message, error)
    const home = words[this.#homes + replyPort]!
    if (this.#concernsTracer(message)) {
      this.#tracer.passedOn(ANSWER, replyPort, message)
      flags = this.#flags(message)
      if (entry !== undefined) this.#tracer.stack(message, entry)
    }
    if ((flags & SYNC) !== 0) {
      const target = home & 0xffff
      if (target === this.#index) this.#complete(message)
      else this.#cpu.ipi.sendUntraced(target, COMPLETE, message)
      return
    }
    if (replyPort === NULL_PORT) {
      if (this.#serving) this.#doneLater(message)
      else Atomics.store(words, message >> 2, flags | DONE | REPLY)
      return
    }
    const kind = home >>> 16
    assert(
      kind === PortKind.thread || kind === PortKind.replyOnly,
      'a reply port exists as long as replies are under way',
    )
    words[message >> 2] = flags | REPLY | DONE | QUEUED
    this.#count[REPLIES_QUEUED]!++
    this.#u16[(message >> 1) + FROM] = this.#index
    this.#f64[(message >> 3) + QUEUED_AT] = this.#cpu.now
    const target = home & 0xffff
    if (target !== this.#index) {
      this.#cpu.ipi.put(target, replyPort, message)
      return
    }
    const port = this.#localPort(replyPort)!
    this.#enqueue(port, message)
  }

  /** Whoever polls a message without a reply port sees it done at the end of the service: one fence for all of them. */
  #doneLater(message: Address): void {
    if (this.#doneCount === this.#done.length) this.#publishDone()
    this.#done[this.#doneCount++] = message
  }

  #publishDone(): void {
    if (this.#doneCount === 0) return
    const words = this.#i32
    // What was written to the messages is there before they are done. An atomic store each would cost 20 ns a message.
    Atomics.store(words, this.#fence, 0)
    for (let i = 0; i < this.#doneCount; i++) {
      const message = this.#done[i]!
      const flags = words[message >> 2]! | DONE | REPLY
      // Elsewhere than on x86 a fence before does not keep plain stores in order.
      if (STORES_IN_ORDER) words[message >> 2] = flags
      else Atomics.store(words, message >> 2, flags)
    }
    this.#doneCount = 0
  }

  #complete(message: Address): void {
    const words = this.#i32
    words[message >> 2] = (words[message >> 2]! & ~SYNC) | DONE | REPLY
    const port = this.#localPort(words[(message >> 2) + REPLY_PORT]!)
    if (port?.thread !== undefined) this.#cpu.threads.wake(port.thread)
  }

  #enqueue(port: Port, message: Address): void {
    const words = this.#i32
    const flags = words[message >> 2]!
    if ((flags & PRIORITY) === 0) this.#append(port, message, message, 1)
    else {
      const r = port.record >> 2
      words[(message >> 2) + NEXT] = 0
      if (words[r + PRIORITY_HEAD] === 0) words[r + PRIORITY_HEAD] = message
      else words[(words[r + PRIORITY_TAIL]! >> 2) + NEXT] = message
      words[r + PRIORITY_TAIL] = message
      this.#deeper(port, message, 1)
    }
    if ((flags & RECEIPT) !== 0 && (flags & REPLY) === 0) this.#receipt(message)
  }

  /** Puts `count` messages of one sender, linked from `first` to `last`, at the end of the queue. */
  #append(port: Port, first: Address, last: Address, count: number): void {
    const words = this.#i32
    const r = port.record >> 2
    words[(last >> 2) + NEXT] = 0
    if (words[r + HEAD] === 0) words[r + HEAD] = first
    else words[(words[r + TAIL]! >> 2) + NEXT] = first
    words[r + TAIL] = last
    this.#deeper(port, first, count)
  }

  /** The queue is `count` deeper, by messages of the sender of `message`. */
  #deeper(port: Port, message: Address, count: number): void {
    const word = (port.record >> 2) + DEPTH
    const before = this.#i32[word]!
    this.#i32[word] = before + count
    const record = this.#recordOf(port, message)
    this.#handoffs.enqueued(record, count)
    this.#handoffs.depth(record, before + count, count)
    if (before === 0) this.#notify(port)
  }

  #notify(port: Port): void {
    if (port.thread !== undefined) this.#cpu.threads.wake(port.thread)
    else if ((port.handler !== undefined || port.onReply !== undefined) && !port.ready) {
      port.ready = true
      this.#ready.push(port)
    }
  }

  #receipt(message: Address): void {
    this.#i32[message >> 2]! &= ~RECEIPT
    functionOf(this.#u16[(message >> 1) + ON_RECEIPT]!)(this.#cpu, message, 0, 0, this.#index)
  }

  #take(port: Port): Address {
    const words = this.#i32
    const r = port.record >> 2
    let message = words[r + PRIORITY_HEAD]!
    if (message !== 0) words[r + PRIORITY_HEAD] = words[(message >> 2) + NEXT]!
    else {
      message = words[r + HEAD]!
      if (message === 0) return 0
      words[r + HEAD] = words[(message >> 2) + NEXT]!
    }
    words[r + DEPTH]!--
    words[message >> 2]! &= ~QUEUED
    if (this.#cpu.order !== undefined && (words[message >> 2]! & REPLY) === 0)
      this.#cpu.order.received(port.id, message)
    return message
  }

  #serve(port: Port): number {
    port.ready = false
    // Closed since it became ready: its record may be another port's by now.
    if (port.closed) return 0
    port.running = true
    this.#serving = true
    const { now } = this.#cpu
    let served = 0
    // Consecutive messages of one CPU and one of its turns are counted together.
    let from = -1
    let queuedAt = -1
    let record = 0
    let ofRecord = 0
    let ofTime = 0
    // A handler may close its port, and another may take the record.
    while (served < port.batch && !port.closed) {
      const message = this.#take(port)
      if (message === 0) break
      served++
      const itsFrom = this.#u16[(message >> 1) + FROM]!
      const itsQueuedAt = this.#f64[(message >> 3) + QUEUED_AT]!
      if (itsFrom !== from || itsQueuedAt !== queuedAt) {
        if (ofTime > 0) this.#handoffs.waited(record, now - queuedAt, ofTime)
        queuedAt = itsQueuedAt
        ofTime = 0
        if (itsFrom !== from) {
          if (ofRecord > 0) this.#handoffs.served(record, ofRecord, false)
          from = itsFrom
          record = port.records[itsFrom]!
          ofRecord = 0
        }
      }
      ofRecord++
      ofTime++
      this.#handle(port, message)
    }
    port.running = false
    this.#serving = false
    if (this.#traceMarks !== 0) this.#tracer.current = 0
    this.#publishDone()
    this.#count[RECEIVED]! += served
    if (ofRecord > 0) {
      this.#handoffs.waited(record, now - queuedAt, ofTime)
      this.#handoffs.served(record, ofRecord, served === port.batch)
    }
    if (!port.closed && this.depth(port) > 0) this.#notify(port)
    return served
  }

  #handle(port: Port, message: Address, isShown = false): void {
    if (this.#concernsTracer(message) && !isShown) {
      this.#tracer.taken(message)
      if (this.#tracer.tasks !== undefined) {
        this.#tracer.run(this.#tracer.current, () => this.#handle(port, message, true))
        return
      }
    }
    if ((this.#flags(message) & REPLY) !== 0 && port.onReply !== undefined) {
      port.onReply(message)
      return
    }
    assert(port.handler !== undefined, 'a message that is no reply came to a port with only onReply')
    const code = port.handler(message)
    if (code !== EASYNC) this.#finish(message, code)
  }

  /** The hand-off record for who put this message on this port. */
  #recordOf(port: Port, message: Address): number {
    return port.records[this.#u16[(message >> 1) + FROM]!]!
  }

  /** The port is not here: it was closed while the message was under way. */
  #stray(id: PortId, message: Address): void {
    const home = this.#i32[this.#homes + id]!
    // One that goes after its port is under way anew.
    if (home >>> 16 !== PortKind.none && (home & 0xffff) !== this.#index) {
      // It moved: the message runs after it. Order holds, for `move` waits until nothing is under way.
      this.#cpu.ipi.put(home & 0xffff, id, message)
      return
    }
    assert((this.#flags(message) & REPLY) === 0, 'a reply port exists as long as replies are under way')
    this.#i32[message >> 2]! &= ~QUEUED
    this.#count[K.messagesStray]!++
    this.#finish(message, Errno.ENXIO)
  }
}

const RELEASE = define('port.release', (cpu, id) => cpu.ports.released(id))
const COMPLETE = define('port.complete', (cpu, message) => cpu.ports.completed(message))
