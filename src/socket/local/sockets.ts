// The stack's own UNIX-domain sockets (unix(7)): between programs on any CPUs of one machine, without any network. This is one CPU's part of
// them: what its programs have, the names that it keeps for all (name.ts), and the port where other CPUs send what is for it.
//
//     const local = new LocalSockets(cpu)                      // on each CPU
//     yield* local.start(thread)                               // all are there
//     const listener = local.listen({ name: '/run/echo', kind: 'stream' })
//     listener.onConnection = () => serve(listener.accept())
//     const socket = local.connect({ name: '/run/echo', kind: 'stream' })    // on any CPU
//
// Each socket is owned by one CPU, which alone touches it, and nothing is locked. What goes to another CPU are messages (message.ts); between
// two on one CPU the same are calls. Programs are told at the end of a turn, never within a call of theirs. Whoever calls from outside of a
// turn of the run loop, from an event loop, has the machine `kick`ed afterwards.
import { assert } from '../../base/assert.ts'
import { Errno, errnoName, KernelError } from '../../base/errno.ts'
import { Limits } from '../../base/limits.ts'
import type { Address } from '../../base/struct.ts'
import { Mbuf } from '../../device/mbuf.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { define } from '../../kernel/function.ts'
import { EASYNC, MessageHeader } from '../../kernel/message.ts'
import { FREE_PORT, type Port, type PortId } from '../../kernel/port.ts'
import type { Thread } from '../../kernel/thread.ts'
import { Timer } from '../../kernel/timer.ts'
import type { Chain } from '../../kernel/trace/chain.ts'
import { LocalCounters } from './counters.ts'
import { LocalDatagram, type LocalDatagramOptions } from './datagram.ts'
import {
  buffersOf,
  checkKind,
  checkName,
  type LocalAddress,
  type LocalKind,
  type LocalOptions,
  wantsOf,
  whole,
} from './kind.ts'
import { LocalListener, type LocalListenOptions } from './listener.ts'
import { type EndInfo, type Letter, LongNotice, type NameUse, Notice, Op } from './message.ts'
import { keeperOf, NameTable } from './name.ts'
import { PacketFlag, Packets } from './packet.ts'
import { Parcels } from './parcel.ts'
import type { LocalPort } from './right.ts'
import { LocalSocket, Phase } from './socket.ts'

const C = LocalCounters.index
const TYPE = MessageHeader.offset.type >> 2
const BACKLOG = 128
/** How soon what could not be done for want of memory is tried again, µs. */
const RETRY_US = 10_000

export interface LocalSocketsOptions {
  /** What programs of this CPU are called in credentials where no thread runs. Default `cpu 0` and so on. */
  readonly program?: string
  /** What goes along as the stack of the program that runs now (SCM_STACKTRACE). Default: its own, and how it came to be there, where that is traced. */
  readonly chainOf?: () => Chain
}

export interface LocalConnectOptions extends LocalOptions {
  /** The listener's. */
  readonly name: string
  readonly kind: Exclude<LocalKind, 'datagram'>
  /** A name of its own, which the listener's program sees. Default: none. */
  readonly from?: string
}

type Owned = LocalSocket | LocalListener | LocalDatagram

/** All local sockets of one CPU. */
export class LocalSockets {
  readonly cpu: Cpu
  /** Where other CPUs send what is for sockets of this one. */
  readonly port: Port
  /** @internal */
  readonly cpuIndex: number
  /** @internal */
  readonly packets: Packets
  /** @internal */
  readonly count: Float64Array
  /** @internal */
  readonly parcels: Parcels
  /** @internal Sockets of this CPU that are in messages. */
  inFlight = 0
  readonly #names = new NameTable()
  readonly #sockets = new Map<number, Owned>()
  #nextId = 0
  readonly #ports: PortId[] = []
  #isUp = false
  #isStopping = false
  /** Who waits for a name, by the socket's id. */
  readonly #binding = new Map<number, (errno: number) => void>()
  #told: (LocalSocket | LocalDatagram)[] = []
  #telling: (LocalSocket | LocalDatagram)[] = []
  readonly #listeners: LocalListener[] = []
  readonly #reports: LocalSocket[] = []
  readonly #calls: { readonly run: () => void; readonly trace: number }[] = []
  /** What could not be sent for want of memory, in order: nothing overtakes it. */
  readonly #unsent: { readonly packet: Address; readonly send: () => boolean }[] = []
  /** Sockets that want to send, and had no memory. */
  readonly #short = new Set<LocalSocket | LocalDatagram>()
  readonly #retryTimer: Address
  readonly #words: Uint32Array

  constructor(cpu: Cpu, options: LocalSocketsOptions = {}) {
    this.cpu = cpu
    this.cpuIndex = cpu.index
    this.#words = cpu.memory.u32
    this.count = cpu.counterPage.open(LocalCounters)
    this.packets = new Packets(cpu)
    this.parcels = new Parcels(cpu, this, options.program ?? `cpu ${cpu.index}`, options.chainOf)
    this.port = cpu.ports.create({
      name: portName(cpu.index),
      point: 'rcv',
      handler: (message) => this.#handle(message),
    })
    // The slab owns an object's first words while it is free: the record stands behind them.
    const room = cpu.slab.allocate(64)
    this.#retryTimer = room + 8
    cpu.memory.u8.fill(0, this.#retryTimer, this.#retryTimer + Timer.size)
    cpu.slot(SLOT, () => this)
    cpu.onStop(() => {
      cpu.timers.cancel(this.#retryTimer)
      cpu.slab.free(room)
    })
    cpu.addRollup(2, () => this.#tellAll())
    const waits = () => this.#told.length + this.#listeners.length + this.#reports.length + this.#calls.length > 0
    cpu.addPollable({ poll: () => (waits() ? 1 : 0), flush: () => {}, pending: waits, close: () => {} })
    cpu.onStop(() => this.#stop())
  }

  /** Waits until every CPU of the machine has its part. */
  *start(thread: Thread): Generator<void, void, void> {
    yield* thread.until(() => this.#areAllThere())
  }

  /**
   * Listens at a name. `ready` is called with an error, EADDRINUSE where it is in use or ENOSPC where its keeper has 1024, or when connections
   * can come.
   * @throws KernelError EINVAL, ENAMETOOLONG, ENFILE (4096 sockets on this CPU) for what can be seen at once; ENETDOWN before `start` has ended
   */
  listen(
    options: LocalListenOptions,
    ready: (error: KernelError | undefined, listener: LocalListener) => void = () => {},
  ): LocalListener {
    const { name, kind, backlog = BACKLOG, shared = false } = options
    this.#check(name, 'listen')
    checkKind(kind, 'listen', true)
    buffersOf(options, 'listen')
    whole('backlog', backlog, Limits.localBacklog, 'listen')
    const listener = this.#add(new LocalListener(this, this.#newId('listen'), options, backlog))
    this.#bind(name, 'listener', kind, shared, listener.id, (errno) => {
      if (errno !== 0) {
        listener.closed = true
        this.forget(listener.id)
      }
      this.call(() => ready(bindError(errno, name, 'listen'), listener))
    })
    return listener
  }

  /**
   * Connects to who listens at a name. How that ends `onConnect` tells: 0, or ENOENT: nothing has the name; ECONNREFUSED: nobody listens there;
   * EPROTOTYPE: for another kind; EAGAIN: its backlog is full; ENFILE: its CPU has no room; EADDRINUSE, ENOSPC: for `from`.
   * @throws KernelError as `listen`
   */
  connect(options: LocalConnectOptions): LocalSocket {
    const { name, kind, from } = options
    this.#check(name, 'connect')
    checkKind(kind, 'connect', true)
    if (from !== undefined) checkName(from, 'bind')
    const buffers = buffersOf(options, 'connect')
    const id = this.#newId('connect')
    const socket = this.#add(new LocalSocket(this, id, kind, buffers, wantsOf(options), Phase.opening))
    // Who connects is who calls, also where that has to wait for a name.
    const credentials = this.parcels.credentials()
    const go = () => {
      const info: EndInfo = { ...socket.info, ...socket.address, credentials }
      this.toKeeper(name, { op: 'connect', name, kind, info, listener: 0 })
    }
    if (from === undefined) go()
    else {
      this.#bind(from, 'name', kind, false, id, (errno) => {
        if (errno !== 0) return socket.refused(errno)
        if (socket.phase === Phase.closed) {
          this.unbind(from, id)
          return this.forget(id)
        }
        socket.bound(from)
        go()
      })
    }
    return socket
  }

  /**
   * Two sockets that are connected to each other, without names (socketpair(2)). To have the other end on another CPU, send it there.
   * @throws KernelError EINVAL, ENFILE
   */
  pair(kind: LocalKind, options: LocalOptions = {}): [LocalSocket, LocalSocket] {
    checkKind(kind, 'socketpair', false)
    const buffers = buffersOf(options, 'socketpair')
    const make = () => {
      const id = this.#newId('socketpair')
      return this.#add(new LocalSocket(this, id, kind, buffers, wantsOf(options), Phase.open))
    }
    if (this.#sockets.size + 2 > Limits.localSockets) throw fullError(this.cpuIndex, 'socketpair')
    const [a, b] = [make(), make()]
    const credentials = this.parcels.credentials()
    const infoOf = (socket: LocalSocket): EndInfo => ({ ...socket.info, ...socket.address, credentials })
    const [infoA, infoB] = [infoOf(a), infoOf(b)]
    a.connected(infoB)
    b.connected(infoA)
    return [a, b]
  }

  /**
   * A datagram socket. With a name, `ready` is called with an error, EADDRINUSE or ENOSPC, or when it can be sent to; it can send at once.
   * @throws KernelError as `listen`
   */
  datagram(
    options: LocalDatagramOptions = {},
    ready: (error: KernelError | undefined, socket: LocalDatagram) => void = () => {},
  ): LocalDatagram {
    const { name } = options
    this.#check(name ?? '?', 'bind')
    const socket = this.#add(new LocalDatagram(this, this.#newId('bind'), options, buffersOf(options, 'bind')))
    const done = (errno: number) => this.call(() => ready(bindError(errno, name ?? '', 'bind'), socket))
    if (name === undefined) done(0)
    else {
      this.#bind(name, 'datagram', 'datagram', false, socket.id, (errno) => {
        if (errno !== 0) socket.close()
        else if (socket.closed) this.unbind(name, socket.id)
        else socket.bound(name)
        done(errno)
      })
    }
    return socket
  }

  /**
   * The right to send to a port of the kernel, to be sent along with a message. It is moved, never copied; `onReleased` is called, on this CPU and
   * once, when nobody has it any more: it was closed, by whoever had it last, or lost with its message. Then the port can be closed.
   * @throws KernelError ENFILE where 1024 that were made here are not over
   */
  portRight(port: PortId, onReleased: () => void = () => {}): LocalPort {
    return this.parcels.make(port, onReleased)
  }

  /** The end of this CPU's program (exit(2)): closes all that it has. What is in messages is not its own. */
  closeAll(): void {
    for (const socket of [...this.#sockets.values()]) socket.close()
    for (const right of [...this.parcels.ports]) right.close()
  }

  /** Sockets and listeners of this CPU, with those that are in messages, and those that are closed and wait for their peer to know. */
  get size(): number {
    return this.#sockets.size
  }

  /** Names that this CPU keeps for all. */
  get names(): number {
    return this.#names.size
  }

  // What follows is for the sockets.

  /** @internal The end of this address, if it is here. */
  endOf({ cpu, id }: LocalAddress): LocalSocket | undefined {
    const socket = cpu === this.cpuIndex ? this.#sockets.get(id) : undefined
    return socket instanceof LocalSocket ? socket : undefined
  }

  /** @internal A socket that is to come here; undefined: there is no room. */
  arriving(kind: LocalKind): LocalSocket | undefined {
    if (this.#sockets.size >= Limits.localSockets) return undefined
    return this.#add(new LocalSocket(this, this.#freeId(), kind, buffersOf({}, 'recvmsg'), 0, Phase.arriving))
  }

  /** @internal Its id is free again. */
  forget(id: number): void {
    if (this.#sockets.delete(id)) this.count[C.closed]!++
  }

  /** @internal The name is free again. */
  unbind(name: string, id: number): void {
    if (name !== '') this.toKeeper(name, { op: 'unbind', name, cpu: this.cpuIndex, id })
  }

  /** @internal The program is to be told at the end of the turn. */
  tell(socket: LocalSocket | LocalDatagram, events: number): void {
    if (events === 0) return
    if (socket.pending === 0) {
      this.#told.push(socket)
      socket.trace = this.cpu.tracer.current
    }
    socket.pending |= events
  }

  /** @internal */
  tellListener(listener: LocalListener): void {
    if (listener.isTold) return
    listener.isTold = true
    listener.trace = this.cpu.tracer.current
    this.#listeners.push(listener)
  }

  /** @internal Calls the program at the end of the turn. */
  call(run: () => void): void {
    this.#calls.push({ run, trace: this.cpu.tracer.current })
  }

  /** @internal */
  report(socket: LocalSocket): void {
    this.#reports.push(socket)
  }

  /** @internal There is no memory now for what the socket wants to send. */
  later(socket: LocalSocket | LocalDatagram): void {
    this.#short.add(socket)
    this.#armRetry()
  }

  /** @internal Something waits for memory, which nothing must overtake. */
  get isShort(): boolean {
    return this.#unsent.length > 0
  }

  /** @internal A packet that its socket does not take: freed, with its rights. */
  drop(packet: Address, counter: number): void {
    this.count[counter]!++
    this.parcels.strip(packet)
    this.packets.free(packet)
  }

  /** @internal A packet goes to the socket that it says, on a CPU. */
  ship(cpu: number, packet: Address): void {
    if (!this.packets.has(packet, PacketFlag.LETTER | PacketFlag.MOVED)) this.count[C.sent]!++
    if (cpu === this.cpuIndex) return this.#receive(packet)
    if (this.#isEnding()) return this.packets.free(packet)
    if (this.isShort) this.#unsent.push({ packet, send: () => this.#handOff(cpu, packet) })
    else this.#handOff(cpu, packet)
  }

  /** @internal A notice for a socket on a CPU (message.ts). */
  post(cpu: number, op: number, id: number, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0): void {
    if (cpu === this.cpuIndex) return this.#notice(op, id, a, b, c, d, e, f)
    if (this.#isEnding()) return
    const send = () => this.#trySend(cpu, op, id, a, b, c, d, e, f)
    if (this.isShort || !send()) this.#sendLater(send)
  }

  /** @internal A letter to a CPU. */
  write(cpu: number, letter: Letter): void {
    if (cpu === this.cpuIndex) return this.#letter(letter)
    if (this.#isEnding()) return
    const send = () => this.#tryWrite(cpu, letter)
    if (this.isShort || !send()) this.#sendLater(send)
  }

  /** @internal A letter to the CPU that keeps a name. */
  toKeeper(name: string, letter: Letter): void {
    this.write(keeperOf(name, this.cpu.cpus), letter)
  }

  /** @internal The time for another try has come. */
  retry(): void {
    while (this.#unsent.length > 0 && this.#unsent[0]!.send()) this.#unsent.shift()
    if (this.isShort) return this.#armRetry()
    const short = [...this.#short]
    this.#short.clear()
    for (const socket of short) socket.retry()
  }

  /** The machine stops: nobody reads what is sent any more. */
  #isEnding(): boolean {
    return this.#isStopping || this.cpu.stopping()
  }

  #areAllThere(): boolean {
    for (let i = 0; i < this.cpu.cpus && !this.#isUp; i++)
      if (this.cpu.ports.find(portName(i)) === undefined) return false
    this.#isUp = true
    return true
  }

  #check(name: string, syscall: string): void {
    checkName(name, syscall)
    if (this.#areAllThere()) return
    const sentence = `${syscall} ${name}: not all CPUs have their LocalSockets yet: wait for start(thread)`
    throw new KernelError(Errno.ENETDOWN, sentence, syscall)
  }

  #newId(syscall: string): number {
    if (this.#sockets.size >= Limits.localSockets) throw fullError(this.cpuIndex, syscall)
    return this.#freeId()
  }

  /** A number is used again as late as can be. */
  #freeId(): number {
    do this.#nextId = (this.#nextId + 1) >>> 0 || 1
    while (this.#sockets.has(this.#nextId))
    return this.#nextId
  }

  #add<T extends Owned>(socket: T): T {
    this.#sockets.set(socket.id, socket)
    this.count[C.opened]!++
    return socket
  }

  #bind(name: string, use: NameUse, kind: LocalKind, shared: boolean, id: number, done: (errno: number) => void): void {
    this.#binding.set(id, done)
    this.toKeeper(name, { op: 'bind', name, use, kind, shared, cpu: this.cpuIndex, id })
  }

  /** A message of another CPU. */
  #handle(message: Address): number {
    const words = this.#words
    const type = words[(message >> 2) + TYPE]
    if (type === Mbuf.type) {
      this.#receive(message)
      return EASYNC
    }
    const op = this.cpu.memory.u16[(message + AT.op) >> 1]!
    const w = (message + AT.id) >> 2
    const isLong = type === LongNotice.type
    const [c, d, e, f] = isLong ? [words[w + 3]!, words[w + 4]!, words[w + 5]!, words[w + 6]!] : NO_MORE
    this.#notice(op, words[w]!, words[w + 1]!, words[w + 2]!, c, d, e, f)
    return 0
  }

  #receive(packet: Address): void {
    if (this.packets.has(packet, PacketFlag.LETTER)) {
      const letter = JSON.parse(Buffer.from(this.packets.mbufs.bytes(packet)).toString()) as Letter
      this.packets.free(packet)
      return this.#letter(letter)
    }
    const socket = this.#sockets.get(this.packets.target(packet))
    assert(socket !== undefined && !(socket instanceof LocalListener), 'a socket stays until nothing can come for it')
    if (
      socket instanceof LocalSocket &&
      socket.phase === Phase.arriving &&
      !this.packets.has(packet, PacketFlag.MOVED)
    ) {
      socket.held.push({ isPacket: true, run: () => socket.deliver(packet) })
    } else socket.deliver(packet)
  }

  #notice(op: number, id: number, a: number, b: number, c: number, d: number, e: number, f: number): void {
    if (op === Op.release) return this.parcels.released(id)
    const socket = this.#sockets.get(id)
    if (socket instanceof LocalDatagram) socket.notice(op, a, b, c, d, e, f)
    else if (socket instanceof LocalSocket) {
      if (socket.phase === Phase.arriving)
        socket.held.push({ isPacket: false, run: () => socket.notice(op, a, b, c, d) })
      else socket.notice(op, a, b, c, d)
    } else if (op === Op.ask) this.post(a, Op.refuse, b, c, Errno.ECONNREFUSED, 1)
    // That something came too late may be told to one who has gone meanwhile.
    else assert(op === Op.reset, 'a socket stays until nothing can come for it')
  }

  #letter(letter: Letter): void {
    switch (letter.op) {
      case 'bind': {
        const { name, use, kind, shared, cpu, id } = letter
        const errno = this.#names.bind(name, { use, kind, shared }, { cpu, id })
        return this.write(cpu, { op: 'bound', id, errno })
      }
      case 'bound': {
        const done = this.#binding.get(letter.id)
        assert(done !== undefined, 'who is bound has asked for it')
        this.#binding.delete(letter.id)
        return done(letter.errno)
      }
      case 'unbind':
        return this.#names.unbind(letter.name, letter)
      case 'resolve': {
        const { name, cpu, id, lane } = letter
        const found = this.#names.find(name, 'datagram', 'datagram')
        const [errno, target] = typeof found === 'number' ? [found, { cpu, id }] : [0, found]
        return this.write(cpu, { op: 'resolved', id, lane, errno, target })
      }
      case 'resolved': {
        const socket = this.#sockets.get(letter.id)
        if (socket instanceof LocalDatagram) socket.resolved(letter.lane, letter.errno, letter.target)
        return
      }
      case 'connect':
        return letter.listener === 0 ? this.#route(letter) : this.#accept(letter)
      case 'connected':
        return this.#end(letter.id).connected(letter.info)
      case 'refused':
        return this.#end(letter.id).refused(letter.errno)
      case 'state':
        return this.#end(letter.id).arrive(letter.state)
    }
  }

  #end(id: number): LocalSocket {
    const socket = this.#sockets.get(id)
    assert(socket instanceof LocalSocket, 'an end stays until it has its answer')
    return socket
  }

  /** Passes an attempt to connect on to who listens at a name that is kept here. */
  #route(letter: Letter & { readonly op: 'connect' }): void {
    const { name, kind, info } = letter
    const found = this.#names.find(name, 'listener', kind)
    if (typeof found === 'number') this.write(info.cpu, { op: 'refused', id: info.id, errno: found })
    else this.write(found.cpu, { ...letter, listener: found.id })
  }

  #accept({ info, listener: id }: Letter & { readonly op: 'connect' }): void {
    const listener = this.#sockets.get(id)
    const refuse = (errno: number) => this.write(info.cpu, { op: 'refused', id: info.id, errno })
    if (!(listener instanceof LocalListener)) return refuse(Errno.ECONNREFUSED)
    if (listener.refusal !== 0) return refuse(listener.refusal)
    if (this.#sockets.size >= Limits.localSockets) return refuse(Errno.ENFILE)
    const { options, credentials } = listener
    const buffers = buffersOf(options, 'accept')
    const socket = this.#add(new LocalSocket(this, this.#freeId(), options.kind, buffers, wantsOf(options), Phase.open))
    socket.bound(options.name)
    const own: EndInfo = { ...socket.info, ...socket.address, credentials }
    // It knows its peer before the peer knows it, and can close it at once.
    socket.connected(info)
    this.write(info.cpu, { op: 'connected', id: info.id, info: own })
    listener.enqueue(socket)
  }

  #handOff(cpu: number, packet: Address): boolean {
    this.packets.mbufs.handOff(this.#portOf(cpu), packet)
    return true
  }

  /** False: no memory. */
  #trySend(
    cpu: number,
    op: number,
    id: number,
    a: number,
    b: number,
    c: number,
    d: number,
    e: number,
    f: number,
  ): boolean {
    const { ports, memory } = this.cpu
    const isLong = c !== 0 || d !== 0 || e !== 0 || f !== 0
    const message = isLong ? ports.tryAllocate(LongNotice, FREE_PORT) : ports.tryAllocate(Notice, FREE_PORT)
    if (message === 0) return false
    memory.u16[(message + AT.op) >> 1] = op
    const w = (message + AT.id) >> 2
    const words = this.#words
    words[w] = id
    words[w + 1] = a
    words[w + 2] = b
    if (isLong) {
      words[w + 3] = c
      words[w + 4] = d
      words[w + 5] = e
      words[w + 6] = f
    }
    ports.send(this.#portOf(cpu), message)
    return true
  }

  /** False: no memory. */
  #tryWrite(cpu: number, letter: Letter): boolean {
    const bytes = Buffer.from(JSON.stringify(letter))
    const packet = this.packets.pack(bytes, 0, bytes.length)
    if (packet === 0) return false
    this.packets.mark(packet, PacketFlag.LETTER)
    return this.#handOff(cpu, packet)
  }

  #sendLater(send: () => boolean): void {
    this.count[C.noMemory]!++
    this.#unsent.push({ packet: 0, send })
    this.#armRetry()
  }

  #armRetry(): void {
    const { timers } = this.cpu
    if (!timers.isArmed(this.#retryTimer)) timers.arm(this.#retryTimer, RETRY_US, RETRY)
  }

  #portOf(cpu: number): PortId {
    this.#ports[cpu] ??= this.cpu.ports.lookup(portName(cpu))
    return this.#ports[cpu]
  }

  /** The end of the turn: programs are told what is new, each socket once; then peers how much was read. */
  #tellAll(): void {
    const { tracer } = this.cpu
    for (let call = this.#calls.shift(); call !== undefined; call = this.#calls.shift()) {
      tracer.current = call.trace
      call.run()
    }
    for (const listener of this.#listeners.splice(0)) {
      listener.isTold = false
      tracer.current = listener.trace
      if (!listener.closed && listener.length > 0) listener.onConnection()
    }
    if (this.#told.length > 0) {
      const told = this.#told
      this.#told = this.#telling
      this.#telling = told
      for (let i = 0; i < told.length; i++) {
        tracer.current = told[i]!.trace
        told[i]!.run()
      }
      told.length = 0
    }
    tracer.current = 0
    for (let i = 0; i < this.#reports.length; i++) this.#reports[i]!.report()
    this.#reports.length = 0
  }

  #stop(): void {
    this.#isStopping = true
    for (const socket of this.#sockets.values()) {
      if (!(socket instanceof LocalListener)) socket.discard()
    }
    for (const { packet } of this.#unsent.splice(0)) if (packet !== 0) this.packets.free(packet)
    // Of what came and was not looked at, what goes along is an mbuf of its own.
    const { ports, slab } = this.cpu
    for (let message = ports.get(this.port); message !== 0; message = ports.get(this.port)) {
      if (this.#words[(message >> 2) + TYPE] === Mbuf.type) this.packets.free(message)
      else slab.free(message)
    }
  }
}

const AT = LongNotice.offset
assert(AT.id === Notice.offset.id && AT.b === Notice.offset.b, 'notices begin alike')
const NO_MORE = [0, 0, 0, 0] as const
const SLOT = Symbol('local sockets')
const RETRY = define('local.sockets.retry', (cpu) => {
  cpu.slot<LocalSockets | undefined>(SLOT, () => undefined)?.retry()
})

function portName(cpu: number): string {
  return `local sockets ${cpu}`
}

function fullError(cpu: number, syscall: string): KernelError {
  const sentence = `cpu ${cpu} has ${Limits.localSockets} local sockets, which is the limit: close some`
  return new KernelError(Errno.ENFILE, sentence, syscall)
}

function bindError(errno: number, name: string, syscall: string): KernelError | undefined {
  if (errno === 0) return undefined
  const why =
    errno === Errno.EADDRINUSE
      ? 'the name is in use: close the other socket, or choose another name'
      : `${errnoName(errno)}: its keeper has ${Limits.localNames} names already: close some sockets`
  return new KernelError(errno, `${syscall} ${name}: ${why}`, syscall)
}
