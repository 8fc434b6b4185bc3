// TCP sockets: the program's side of connections (RFC 9293 3.9.1). A socket lives on its program's CPU, its connection on the CPU that
// owns the flow; what goes between them are messages (net/tcp/message.ts), and where both are the same CPU these are calls.
//
// Whoever calls a socket from outside of a turn of the run loop, from an event loop, has the machine `kick`ed afterwards.
import { assert } from '../base/assert.ts'
import { Errno, errnoName, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import type { Transfer } from '../base/transfer.ts'
import { Mbuf, type Mbufs } from '../device/mbuf.ts'
import type { TallyOf } from '../kernel/counters.ts'
import { define } from '../kernel/function.ts'
import { POINT } from '../kernel/handoff.ts'
import { EASYNC, MessageFlag, MessageHeader } from '../kernel/message.ts'
import { FREE_PORT, type Port, type PortId } from '../kernel/port.ts'
import { Timer } from '../kernel/timer.ts'
import type { TraceId } from '../kernel/trace/record.ts'
import { type Entry, HOP, type Marks, type Tracer } from '../kernel/trace/tracer.ts'
import {
  addressBytes,
  Family,
  formatAddress,
  isBroadcast,
  isMulticast,
  isUnspecified,
  parseAddress,
} from '../net/address.ts'
import type { NetContext } from '../net/context.ts'
import { type RoundFields, RoundKind, type Rounds } from '../net/control/round.ts'
import { TcpSocketCounters, TcpSocketTally } from '../net/counters.ts'
import { type Endpoint, endpoint } from '../net/endpoint.ts'
import type { IpOutput } from '../net/ip/output.ts'
import { vanishAll } from '../net/tcp/embryo.ts'
import { type ListenerOptions, ListenerRecord } from '../net/tcp/listener.ts'
import { type RequestFields, TcpEvent, TcpInfoMessage, TcpNotice, TcpOp, TcpRequest } from '../net/tcp/message.ts'
import { PcbFlag } from '../net/tcp/pcb.ts'
import { EphemeralPorts } from '../net/tcp/port.ts'
import type { Tcp } from '../net/tcp/tcp.ts'
import { flowHash } from '../net/toeplitz.ts'
import { readInfo, type TcpInfo } from './tcpinfo.ts'
import { TcpListener, type TcpListenOptions } from './tcplistener.ts'
import { Phase, type TcpConnectOptions, TcpSocket, type TcpSocketOptions } from './tcpsocket.ts'
import { checkTtl } from './ttl.ts'

const C = TcpSocketCounters.index
const { TRACED } = MessageFlag
const TYPE = MessageHeader.offset.type >> 2
const SOCKET = Mbuf.offset.socket >> 2
const { CONNECTED, INCOMING, ERROR, CLOSED } = TcpEvent

/** Ports that are tried when nobody has asked for one and the first is taken. */
const PORT_TRIES = 16
const BACKLOG = 511

/** A connection that came, and its program has not been told of. */
interface Arrival {
  readonly listener: TcpListener
  readonly socket: TcpSocket
  /** Since when it waits to be accepted, µs. */
  readonly at: number
}

/** All TCP sockets of one host on one CPU. */
export class TcpSockets {
  /** @internal */
  readonly words: Uint32Array
  /** @internal */
  readonly u8: Uint8Array
  /** @internal */
  readonly transfer: Transfer
  /** @internal */
  readonly mbufs: Mbufs
  /** @internal */
  readonly count: Float64Array
  /** @internal */
  readonly tally: TallyOf<typeof TcpSocketTally>
  readonly #context: NetContext
  readonly #tracer: Tracer
  /** See `Tracer.watch`. */
  #traceMarks: Marks = 0
  readonly #tcp: Tcp
  readonly #ip: IpOutput
  readonly #rounds: Rounds
  readonly #request: RequestFields
  readonly #notice
  /** Where connections send data and notices. */
  readonly port: Port
  readonly #ephemeral: EphemeralPorts
  readonly #sockets: (TcpSocket | undefined)[] = [undefined]
  readonly #freeNumbers: number[] = []
  readonly #listeners = new Map<number, TcpListener>()
  readonly #ownerPorts: PortId[] = []
  readonly #infos = new Map<Address, (info: TcpInfo | undefined) => void>()
  #nextListener = 1
  #told: TcpSocket[] = []
  #telling: TcpSocket[] = []
  #reports: TcpSocket[] = []
  /** Sockets that want something for which there was no memory, and the timer that tries again: a record of its own from the beginning. */
  readonly #retries = new Set<TcpSocket>()
  readonly #retryTimer: Address
  readonly #unclaimed: { readonly pcb: Address; readonly requests: PortId }[] = []
  #arrivals: Arrival[] = []
  /** The accept queue's record of hand-offs: from this CPU to itself, the notice having crossed already (`rcv`). */
  readonly #accept: number
  /** Those that some CPU has let in before all knew of the listener, and so before its program was told that it is there. */
  readonly #early: Arrival[] = []

  constructor(context: NetContext, tcp: Tcp, ip: IpOutput, rounds: Rounds) {
    const { cpu, memory } = context
    this.#context = context
    this.#tracer = cpu.tracer
    this.#tracer.watch((marks) => {
      this.#traceMarks = marks
    })
    this.#tcp = tcp
    this.#ip = ip
    this.#rounds = rounds
    this.words = memory.u32
    this.u8 = memory.u8
    this.transfer = memory.transfer
    this.mbufs = context.mbufs
    this.count = context.count(TcpSocketCounters)
    this.tally = context.tally(TcpSocketTally)
    this.#accept = cpu.handoffs.record(POINT.accept, cpu.index)
    this.#request = TcpRequest.cursor(memory)
    this.#notice = TcpNotice.cursor(memory)
    this.#ephemeral = new EphemeralPorts(cpu.random, context.config.ephemeralPorts)
    this.port = cpu.ports.create({
      name: context.portName('tcp sockets', cpu.index),
      point: 'rcv',
      handler: (message) => this.#handle(message),
      onReply: (message) => this.#answered(message),
    })
    // The slab owns an object's first words while it is free: the record stands behind them.
    const room = cpu.slab.allocate(64)
    this.#retryTimer = room + 8
    this.u8.fill(0, this.#retryTimer, this.#retryTimer + Timer.size)
    cpu.slot(ALL, () => [] as TcpSockets[])[context.config.index] = this
    cpu.onStop(() => {
      cpu.timers.cancel(this.#retryTimer)
      cpu.slab.free(room)
    })
    cpu.addRollup(2, () => this.#tellAll())
    const waits = () => this.#told.length > 0 || this.#reports.length > 0
    cpu.addPollable({ poll: () => (waits() ? 1 : 0), flush: () => {}, pending: waits, close: () => {} })
    cpu.onStop(() => this.#stop())
    rounds.handle(RoundKind.listenTcp, {
      apply: (round) => ((round.flags & PER_CPU) === 0 ? this.#addListener(round) : this.#knowListener(round)),
      undo: (round) => this.#removeListener(round),
    })
    rounds.handle(RoundKind.unlistenTcp, {
      apply: (round) => {
        this.#removeListener(round)
        return 0
      },
      undo: () => {},
    })
  }

  /**
   * Opens a connection. How that ends, `onConnect` tells.
   * @throws KernelError EINVAL, EAFNOSUPPORT, EADDRNOTAVAIL, ENETUNREACH for what can be seen at once; ENETDOWN, under locks, before the host's
   * `start` has come to its end here
   */
  connect(options: TcpConnectOptions): TcpSocket {
    checkPort(options.port, 'connect', 1)
    checkPort(options.localPort ?? 0, 'connect', 0)
    checkFamily(options.address, 'connect')
    checkTtl(options.ttl, 'connect')
    if (this.#tcp.groups.isLocked && !this.#tcp.isAttached) {
      const sentence = `connect ${options.address}:${options.port}: not all CPUs of the host are there: connect when its start has ended`
      throw new KernelError(Errno.ENETDOWN, sentence, 'connect')
    }
    const { cpu, view } = this.#context
    const remote = endpoint(cpu, options.address, options.port)
    // @rfc 9293 MUST-46: TCP is between two.
    if (isMulticast(this.u8, remote.family, remote.address) || isBroadcast(this.u8, remote.family, remote.address)) {
      remote.free()
      const sentence = `connect ${options.address}:${options.port}: a connection has one peer: give the address of a single host`
      throw new KernelError(Errno.ENETUNREACH, sentence, 'connect')
    }
    // To "any" is to this host itself, as on Linux.
    if (isUnspecified(this.u8, remote.family, remote.address)) view.setInt32(remote.address, 0x7f000001)
    let local: Endpoint
    try {
      local = this.#localEnd(options, remote)
    } catch (error) {
      remote.free()
      throw error
    }
    const socket = this.#create(options)
    socket.attempt = { options, local, remote, tries: 0 }
    socket.localAddress = formatAddress(local.family, this.u8, local.address)
    socket.remoteAddress = formatAddress(remote.family, this.u8, remote.address)
    socket.remotePort = options.port
    this.#attempt(socket)
    return socket
  }

  /**
   * Listens on every CPU of the host, or on this one only (`perCpu`). `ready` is called with an error, or when all know.
   * @throws KernelError EINVAL, EAFNOSUPPORT, ENOMEM for what can be seen at once
   */
  listen(
    options: TcpListenOptions,
    ready: (error: KernelError | undefined, listener: TcpListener) => void,
  ): TcpListener {
    const text = options.address ?? '0.0.0.0'
    checkFamily(text, 'listen')
    const port = options.port ?? 0
    checkPort(port, 'listen', 0)
    checkTtl(options.ttl, 'listen')
    if (options.backlog !== undefined && !(options.backlog >= 0)) {
      throw new KernelError(Errno.EINVAL, `backlog is ${options.backlog}: give a number from 0`, 'listen')
    }
    const { cpu, config } = this.#context
    if (options.perCpu === true && !config.cpus.includes(cpu.index)) {
      const sentence = `listen ${text}: no connection belongs to CPU ${cpu.index}, which has only programs: leave perCpu out`
      throw new KernelError(Errno.EINVAL, sentence, 'listen')
    }
    const local = endpoint(cpu, text, port === 0 ? this.#anyPort() : port)
    const recordBytes = ListenerRecord.bytes(cpu.cpus)
    const record = cpu.slab.allocate(recordBytes)
    this.u8.fill(0, record, record + recordBytes)
    const listener = new TcpListener(this, this.#nextListener++, record, local, options)
    this.#listeners.set(listener.number, listener)
    this.#listen(listener, port === 0 ? PORT_TRIES : 1, (errno) => {
      for (const early of this.#early.splice(0)) {
        this.#arrivals.push(early)
        if (early.socket.pending !== 0) this.#told.push(early.socket)
      }
      if (errno === 0) {
        listener.isReady = true
        return ready(undefined, listener)
      }
      // One that was closed meanwhile is cleared away by its close.
      if (!listener.closed) {
        listener.closed = true
        this.#forgetListener(listener)
      }
      ready(new KernelError(errno, listenSentence(errno, `${text}:${listener.port}`), 'listen'), listener)
    })
    return listener
  }

  /** Sockets that are not closed. */
  get size(): number {
    return this.#sockets.length - 1 - this.#freeNumbers.length
  }

  /** @internal */
  unlisten(listener: TcpListener, done: () => void): boolean {
    const finish = () => {
      this.#forgetListener(listener)
      done()
    }
    const fill = (round: RoundFields) => {
      this.#fillRound(round, listener)
      if (listener.options.perCpu === true) this.#removeListener(round)
    }
    return this.#rounds.start(RoundKind.unlistenTcp, fill, finish)
  }

  /** @internal The program is to be told of `events` at the end of the batch. */
  tell(socket: TcpSocket, events: number): void {
    if (socket.pending === 0) {
      this.#told.push(socket)
      socket.trace = this.#tracer.current
    }
    socket.pending |= events
  }

  /** @internal */
  report(socket: TcpSocket): void {
    this.#reports.push(socket)
  }

  /** @internal A request with fields of its own. Kept until there is a connection; not sent where there is no memory: then nothing changes. */
  request(socket: TcpSocket, op: number, fill: (request: RequestFields) => void): void {
    if (socket.phase >= Phase.closing) return
    if (socket.pcb === 0) return socket.keep(op, fill)
    const message = this.#allocate(socket, op)
    if (message === 0) return
    fill(this.#request)
    this.#context.cpu.ports.send(socket.requests, message)
  }

  /** @internal False: no memory. */
  requestValue(socket: TcpSocket, op: number, value: number): boolean {
    const message = this.#allocate(socket, op)
    if (message === 0) {
      this.later(socket)
      return false
    }
    this.#request.value = value
    this.#context.cpu.ports.send(socket.requests, message)
    return true
  }

  /** @internal */
  askInfo(socket: TcpSocket, done: (info: TcpInfo | undefined) => void): void {
    const { ports } = this.#context.cpu
    const message =
      socket.pcb === 0 || socket.phase >= Phase.closing ? 0 : ports.tryAllocate(TcpInfoMessage, this.port.id)
    if (message === 0) return done(undefined)
    this.words[(message + TcpInfoMessage.offset.pcb) >> 2] = socket.pcb
    this.#infos.set(message, done)
    ports.send(socket.requests, message)
  }

  /** @internal Its number is free again. */
  forget(socket: TcpSocket): void {
    if (this.#sockets[socket.number] !== socket) return
    this.#sockets[socket.number] = undefined
    this.#freeNumbers.push(socket.number)
    this.#retries.delete(socket)
    this.#freeAttempt(socket)
  }

  #forgetListener(listener: TcpListener): void {
    this.#listeners.delete(listener.number)
    this.#context.cpu.slab.free(listener.record)
    listener.local.free()
  }

  #allocate(socket: TcpSocket, op: number): Address {
    const message = this.#context.cpu.ports.tryAllocate(TcpRequest, FREE_PORT)
    if (message === 0) return 0
    const r = this.#request
    r.at = message
    r.op = op
    r.pcb = socket.pcb
    r.socket = socket.number
    r.port = this.port.id
    r.sendBytes = 0
    r.receiveBytes = 0
    return message
  }

  #create(options: TcpSocketOptions): TcpSocket {
    const number = this.#freeNumbers.pop() ?? this.#sockets.length
    const socket = new TcpSocket(this, number, options)
    this.#sockets[number] = socket
    return socket
  }

  /** @throws KernelError ENETUNREACH, EADDRNOTAVAIL */
  #localEnd(options: TcpConnectOptions, remote: Endpoint): Endpoint {
    const { cpu, interfaces } = this.#context
    if (options.localAddress !== undefined && options.localAddress !== '0.0.0.0') {
      checkFamily(options.localAddress, 'bind')
      const local = endpoint(cpu, options.localAddress, options.localPort ?? 0)
      // @rfc 9293 MUST-43
      if (
        interfaces.some(
          (iface) =>
            iface.has(this.u8, local.family, local.address) || (iface.loopback && this.u8[local.address] === 127),
        )
      )
        return local
      local.free()
      throw new KernelError(Errno.EADDRNOTAVAIL, listenSentence(Errno.EADDRNOTAVAIL, options.localAddress), 'bind')
    }
    // @rfc 9293 MUST-44 MUST-45: IP knows the address of the way there; all segments have the same.
    const source = this.#ip.sourceTo(remote.address)
    if (source === 0) {
      const sentence = `connect ${options.address}:${options.port}: there is no route to this address: add one to the host`
      throw new KernelError(Errno.ENETUNREACH, sentence, 'connect')
    }
    return endpoint(cpu, formatAddress(remote.family, this.u8, source), options.localPort ?? 0)
  }

  #attempt(socket: TcpSocket): void {
    const { cpu, view, config } = this.#context
    const { options, local, remote } = socket.attempt!
    socket.attempt!.tries++
    const hash = (port: number) => flowHash(this.u8, local.family, local.address, remote.address, port, remote.port)
    const isMember = config.cpus.includes(cpu.index)
    let port = options.localPort ?? 0
    if (port === 0) {
      port = this.#ephemeral.choose(view, local.family, local.address, remote.address, remote.port, (candidate) => {
        if (!this.#tcp.groups.isLocked) {
          if (!isMember) return true
          if (this.#context.owner(hash(candidate)) !== cpu.index) return false
        }
        return !isTaken(this.#tcp, hash(candidate), local, candidate, remote)
      })
      if (port === 0) return socket.failAlone(Errno.EADDRNOTAVAIL)
    }
    socket.localPort = port
    // Where any CPU may be inside a connection's group, its program's CPU does it all.
    const owner = this.#tcp.groups.isLocked ? cpu.index : this.#context.owner(hash(port))
    const message = cpu.ports.tryAllocate(TcpRequest, FREE_PORT)
    if (message === 0) return socket.failAlone(Errno.ENOBUFS)
    const r = this.#request
    this.u8.fill(0, message + TcpRequest.offset.op, message + TcpRequest.size)
    r.at = message
    r.op = TcpOp.connect
    r.family = local.family
    r.socket = socket.number
    r.port = this.port.id
    const bytes = addressBytes(local.family)
    this.u8.copyWithin(r.local, local.address, local.address + bytes)
    this.u8.copyWithin(r.remote, remote.address, remote.address + bytes)
    r.localPort = port
    r.remotePort = remote.port
    r.flags = options.noDelay === true ? PcbFlag.NODELAY : 0
    r.sendBytes = options.sendBytes ?? 0
    r.receiveBytes = options.receiveBytes ?? 0
    r.keepAliveMs = options.keepAliveMs ?? 0
    r.value = options.userTimeoutMs ?? 0
    r.trafficClass = options.trafficClass ?? 0
    r.ttl = options.ttl ?? 0
    this.#ownerPorts[owner] ||= cpu.ports.lookup(this.#context.portName('tcp', owner))
    cpu.ports.send(this.#ownerPorts[owner], message)
  }

  #handle(message: Address): number {
    const words = this.words
    const type = words[(message >> 2) + TYPE]
    if (type === Mbuf.type) {
      const socket = this.#sockets[words[(message >> 2) + SOCKET]!]
      if (socket === undefined) {
        this.count[C.receiveDropped]!++
        this.mbufs.free(message)
      } else socket.deliver(message)
      return EASYNC
    }
    const n = this.#notice
    n.at = message
    if ((n.events & INCOMING) !== 0) this.#incoming()
    else this.#notify()
    return 0
  }

  #notify(): void {
    const n = this.#notice
    const socket = this.#sockets[n.socket]
    assert(socket !== undefined, 'a notice is for a socket that is there: CLOSED is the last')
    const { events, errno: error, acked, limit, pcb, requests, urgent } = n
    if (pcb === 0) return this.#refused(socket, error)
    if (socket.pcb === 0) socket.known(pcb, requests)
    if ((events & (CONNECTED | ERROR)) !== 0 && (error === 0 || socket.phase >= Phase.closing))
      this.#freeAttempt(socket)
    socket.notice(events, error, acked, limit, urgent)
  }

  /** No connection was made of the request: no CPU knows of this socket. */
  #refused(socket: TcpSocket, errno: number): void {
    const { attempt } = socket
    if (socket.phase >= Phase.closing) {
      socket.phase = Phase.closed
      this.forget(socket)
      this.tell(socket, CLOSED)
      return
    }
    const chosen = attempt !== undefined && (attempt.options.localPort ?? 0) === 0
    if (errno !== Errno.EADDRINUSE || !chosen) return socket.failAlone(errno)
    if (attempt.tries < PORT_TRIES) this.#attempt(socket)
    // Nobody has asked for the port: what there is none of is a free one (connect(2)).
    else socket.failAlone(Errno.EADDRNOTAVAIL)
  }

  #freeAttempt(socket: TcpSocket): void {
    const { attempt } = socket
    if (attempt === undefined || attempt.tries < 0) return
    attempt.tries = -1
    attempt.local.free()
    attempt.remote.free()
  }

  /** A connection came for a listener of ours. */
  #incoming(): void {
    const n = this.#notice
    const { pcb, requests, listener: number, family } = n
    const listener = this.#listeners.get(number)
    const socket = listener === undefined ? undefined : this.#create(listener.options)
    const message = this.#context.cpu.ports.tryAllocate(TcpRequest, FREE_PORT)
    if (socket === undefined || listener === undefined || message === 0) {
      if (socket !== undefined) this.forget(socket)
      // Nobody listens any more, or there is no memory to take it.
      if (message === 0) {
        this.#unclaimed.push({ pcb, requests })
        this.#armRetry()
      } else this.#turnAway(message, pcb, requests)
      return
    }
    socket.known(pcb, requests)
    socket.phase = Phase.open
    socket.wasConnected = true
    socket.localAddress = formatAddress(family as Family, this.u8, n.local)
    socket.remoteAddress = formatAddress(family as Family, this.u8, n.remote)
    socket.localPort = n.localPort
    socket.remotePort = n.remotePort
    socket.notice(0, 0, 0, n.limit)
    const { cpu } = this.#context
    socket.trace = this.#tracer.current
    this.#arrivals.push({ listener, socket, at: cpu.now })
    cpu.handoffs.enqueued(this.#accept, 1)
    cpu.handoffs.depth(this.#accept, this.#arrivals.length + this.#early.length)
    // Before the program is told, so that what it does comes behind it.
    const r = this.#request
    r.at = message
    r.op = TcpOp.attach
    r.pcb = pcb
    r.socket = socket.number
    r.port = this.port.id
    this.count[C.accepted]!++
    this.#context.cpu.ports.send(requests, message)
    if (listener.options.ttl !== undefined) socket.setTtl(listener.options.ttl)
  }

  /** A connection that came is not wanted. */
  #turnAway(message: Address, pcb: Address, requests: PortId): void {
    const r = this.#request
    r.at = message
    r.op = TcpOp.abort
    r.pcb = pcb
    this.#context.cpu.ports.send(requests, message)
  }

  /** As soon as there is memory to say so. */
  #turnAwayUnclaimed(): void {
    while (this.#unclaimed.length > 0) {
      const message = this.#context.cpu.ports.tryAllocate(TcpRequest, FREE_PORT)
      if (message === 0) return
      const { pcb, requests } = this.#unclaimed.pop()!
      this.#turnAway(message, pcb, requests)
    }
  }

  /** The end of the batch: the programs are told what is new, each socket once. */
  #tellAll(): void {
    const { handoffs, now } = this.#context.cpu
    const tracer = this.#tracer
    while (this.#arrivals.length > 0) {
      const arrivals = this.#arrivals
      this.#arrivals = []
      let accepted = 0
      for (const arrival of arrivals) {
        const { listener, socket, at } = arrival
        socket.isEarly = !listener.closed && !listener.isReady
        if (listener.closed) {
          handoffs.dropped(this.#accept)
          socket.abort()
        } else if (socket.isEarly) this.#early.push(arrival)
        else {
          handoffs.waited(this.#accept, now - at)
          accepted++
          tracer.current = this.#traceMarks !== 0 ? this.#accepted(socket) : 0
          listener.onConnection(socket)
        }
      }
      if (accepted > 0) handoffs.served(this.#accept, accepted, false)
    }
    if (this.#told.length > 0) {
      const told = this.#told
      this.#told = this.#telling
      this.#telling = told
      for (let i = 0; i < told.length; i++) {
        const socket = told[i]!
        // What there is stays pending.
        if (socket.isEarly) continue
        this.tally.notifications++
        const connected = (socket.pending & CONNECTED) !== 0
        if (this.#traceMarks !== 0 && (this.#traceMarks === TRACED || socket.trace > 0)) tracer.current = socket.trace
        socket.run()
        if (connected) socket.wasConnected = true
      }
      told.length = 0
    }
    tracer.current = 0
    for (let i = 0; i < this.#reports.length; i++) this.#reports[i]!.reportConsumed()
    if (this.#reports.length > 0) this.#reports.length = 0
  }

  #accepted(socket: TcpSocket): TraceId {
    const ports = (socket.localPort << 16) | socket.remotePort
    return this.#tracer.noteOn(HOP.accept, 'tcp', 0, socket.trace, ports) || socket.trace
  }

  /** @internal What the program does from here on it does because of what it has taken. `entry` is the function that it has called. */
  taken(socket: TcpSocket, bytes: number, entry: Entry): void {
    const tracer = this.#tracer
    if (this.#traceMarks === 0 || (this.#traceMarks !== TRACED && socket.trace <= 0)) return
    const ports = (socket.localPort << 16) | socket.remotePort
    const id = tracer.noteOn(HOP.read, 'tcp', bytes, socket.trace, ports)
    tracer.stackOfProgram(id, entry)
    tracer.current = id || socket.trace
  }

  /** @internal There is no memory now for something that the socket wants: it is tried again soon. */
  later(socket: TcpSocket): void {
    this.#retries.add(socket)
    this.#armRetry()
  }

  /** The time for another try has come. */
  retryAll(): void {
    this.#turnAwayUnclaimed()
    for (const socket of [...this.#retries]) if (socket.retry()) this.#retries.delete(socket)
    if (this.#retries.size > 0 || this.#unclaimed.length > 0) this.#armRetry()
  }

  #armRetry(): void {
    const { timers } = this.#context.cpu
    if (!timers.isArmed(this.#retryTimer)) timers.arm(this.#retryTimer, RETRY_US, RETRY, this.#context.config.index)
  }

  /** An answer to `askInfo`. */
  #answered(message: Address): void {
    const done = this.#infos.get(message)
    this.#infos.delete(message)
    const info = readInfo(this.#context.memory, message)
    this.#context.cpu.slab.free(message)
    done?.(info)
  }

  #listen(listener: TcpListener, tries: number, done: (errno: number) => void): void {
    const finish = (errno: number) => {
      if (errno !== Errno.EADDRINUSE || tries <= 1 || listener.closed) return done(errno)
      listener.local = { ...listener.local, port: this.#anyPort() }
      this.#listen(listener, tries - 1, done)
    }
    if (!this.#isOwnAddress(listener.local)) return finish(Errno.EADDRNOTAVAIL)
    if (listener.options.perCpu === true) return finish(this.#listenHere(listener))
    if (!this.#rounds.start(RoundKind.listenTcp, (round) => this.#fillRound(round, listener), finish)) {
      finish(Errno.ENOBUFS)
    }
  }

  /** On this CPU only, and at once; the others come to know of it. Returns 0 or an errno. */
  #listenHere(listener: TcpListener): number {
    const { family, address, port } = listener.local
    const shared = listener.options.shared === true
    if (this.#tcp.listeners.conflicts({ family, address, localPort: port, shared })) return Errno.EADDRINUSE
    const fill = (round: RoundFields) => {
      this.#fillRound(round, listener)
      this.#addListener(round)
    }
    return this.#rounds.start(RoundKind.listenTcp, fill, () => {}) ? 0 : Errno.ENOBUFS
  }

  #fillRound(round: RoundFields, listener: TcpListener): void {
    const { options, local } = listener
    this.u8.copyWithin(round.first, local.address, local.address + addressBytes(local.family))
    round.family = local.family
    round.localPort = local.port
    round.port = this.port.id
    round.id = listener.number
    round.record = listener.record
    round.cpu = this.#context.cpu.index
    round.flags = options.noDelay === true ? NO_DELAY : 0
    if (options.shared === true) round.flags |= SHARED
    if (options.perCpu === true) round.flags |= PER_CPU
    round.length = options.trafficClass ?? 0
    const second = round.second >> 2
    this.words[second] = options.backlog ?? BACKLOG
    this.words[second + 1] = options.sendBytes ?? 0
    this.words[second + 2] = options.receiveBytes ?? 0
    this.words[second + 3] = options.keepAliveMs ?? 0
  }

  #addListener(round: RoundFields): number {
    return this.#tcp.listeners.add(this.#listenerOptions(round)) === undefined ? Errno.EADDRINUSE : 0
  }

  /** One that stands on another CPU only. */
  #knowListener(round: RoundFields): number {
    if (round.cpu !== this.#context.cpu.index) this.#tcp.listeners.know(this.#listenerOptions(round))
    return 0
  }

  #listenerOptions(round: RoundFields): ListenerOptions {
    const second = round.second >> 2
    return {
      id: listenerId(round),
      record: round.record,
      family: round.family as Family,
      address: round.first,
      localPort: round.localPort,
      backlog: this.words[second]!,
      port: round.port,
      socket: round.id,
      flags: (round.flags & NO_DELAY) !== 0 ? PcbFlag.NODELAY : 0,
      sendBytes: this.words[second + 1]!,
      receiveBytes: this.words[second + 2]!,
      keepAliveMs: this.words[second + 3]!,
      trafficClass: round.length,
      shared: (round.flags & SHARED) !== 0,
    }
  }

  #removeListener(round: RoundFields): void {
    const found = this.#tcp.listeners.byId(listenerId(round))
    if (found === undefined) return
    vanishAll(this.#tcp, found)
    this.#tcp.listeners.remove(found)
  }

  #isOwnAddress(local: Endpoint): boolean {
    const { interfaces } = this.#context
    if (isUnspecified(this.u8, local.family, local.address)) return true
    if (this.u8[local.address] === 127) return true
    return interfaces.some((iface) => iface.has(this.u8, local.family, local.address))
  }

  #anyPort(): number {
    return EPHEMERAL_FIRST + this.#context.cpu.random.below(65536 - EPHEMERAL_FIRST)
  }

  #stop(): void {
    for (const socket of this.#sockets) socket?.discardAtStop()
    for (const listener of this.#listeners.values()) this.#forgetListener(listener)
  }
}

/** How soon what could not be done for want of memory is tried again, µs. */
const RETRY_US = 10_000
const ALL = Symbol('tcp sockets')
const RETRY = define('tcp.sockets.retry', (cpu, host) => {
  cpu.slot(ALL, () => [] as TcpSockets[])[host]?.retryAll()
})

const EPHEMERAL_FIRST = 49152
const NO_DELAY = 1
const SHARED = 2
/** It stands on the CPU of its program only. */
const PER_CPU = 4
/** Of one CPU, from the first to the last. */
const LISTENERS_MAX = 2 ** 24

/** What all CPUs of the host know a listener by. */
function listenerId({ cpu, id }: RoundFields): number {
  return cpu * LISTENERS_MAX + id
}

/** Whether there is a connection of these ends. */
function isTaken(tcp: Tcp, hash: number, local: Endpoint, port: number, remote: Endpoint): boolean {
  tcp.groups.enter(tcp.groups.of(hash))
  const record = tcp.table.lookup(local.family, local.address, port, remote.address, remote.port)
  tcp.groups.leave()
  return record !== 0
}

function checkPort(port: number, syscall: string, least: number): void {
  if (Number.isInteger(port) && port >= least && port <= 65535) return
  throw new KernelError(Errno.EINVAL, `port is ${port}: give a whole number from ${least} to 65535`, syscall)
}

function checkFamily(text: string, syscall: string): void {
  if (parseAddress(text).family === Family.inet) return
  throw new KernelError(Errno.EAFNOSUPPORT, `${text} is an IPv6 address: give an IPv4 address`, syscall)
}

function listenSentence(errno: number, place: string): string {
  if (errno === Errno.EADDRINUSE)
    return `listen ${place}: the port is in use on this host: close the other listener, or choose another port`
  if (errno === Errno.EADDRNOTAVAIL)
    return `bind ${place}: this is none of the host's addresses: use one of them, or 0.0.0.0`
  return `listen ${place}: ${errnoName(errno)}`
}
