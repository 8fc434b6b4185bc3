// UDP sockets, for programs that run on one of the host's CPUs. A socket lives on the CPU that made it. What arrives for it
// in another CPU's group comes by message; its program is told once a batch, and takes packets until there are none.
//
// @rfc-not 1122 4.1.3.2/send not done: see net/ip/output.ts
// @rfc-not 1122 4.1.3.5/told not done: a program that has to know its address binds one
import { assert } from '../base/assert.ts'
import { Errno, errnoName, KernelError } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import { MBUF_BYTES, type MbufCursor, MbufFlag } from '../device/mbuf.ts'
import type { TallyOf } from '../kernel/counters.ts'
import { define } from '../kernel/function.ts'
import { EASYNC } from '../kernel/message.ts'
import type { Port } from '../kernel/port.ts'
import { type Entry, HOP } from '../kernel/trace/tracer.ts'
import { addressBytes, Family, isBroadcast, isMulticast, isUnspecified, parseAddress } from '../net/address.ts'
import type { NetContext } from '../net/context.ts'
import type { GroupRounds } from '../net/control/group.ts'
import { type RoundFields, RoundKind, type Rounds } from '../net/control/round.ts'
import { GroupCounters, SocketCounters, SocketTally } from '../net/counters.ts'
import { type Endpoint, endpoint } from '../net/endpoint.ts'
import { IcmpType, IcmpUnreachable } from '../net/icmp/header.ts'
import type { Interface } from '../net/interface.ts'
import type { MulticastOutput } from '../net/ip/multicast.ts'
import { DEFAULT_TTL, type IpOutput } from '../net/ip/output.ts'
import type { UdpInput } from '../net/udp/input.ts'
import type { UdpOutput } from '../net/udp/output.ts'
import { UdpPcb, type UdpPcbCursor, UdpPcbFlag, type UdpTable } from '../net/udp/pcb.ts'
import { checkTtl } from './ttl.ts'
import { findInterface, UdpGroups, type UdpMembership, type UdpMembershipDone } from './udp-group.ts'

const C = SocketCounters.index
const G = GroupCounters.index

/** RFC 6335 6: the dynamic ports. */
const EPHEMERAL_FIRST = 49152
const EPHEMERAL_COUNT = 16384
const RECEIVE_BYTES = 1024 * 1024
/** RFC 1112 6.1. */
const MULTICAST_TTL = 1
/** In a round's flags, beside UdpPcbFlag: the port was chosen here, and must be nobody's, shared or not. */
const PORT_CHOSEN = 1 << 15

export interface UdpSocketOptions {
  /** Local address. Default: any of the host's. A group's, or a broadcast address, takes only what is sent to that. */
  readonly address?: string
  /** Local port. Default: a free one, chosen at random (RFC 6056). */
  readonly port?: number
  /** A socket of this CPU's own: each CPU of the host may have one at the same port, and gets what its group gets. Default false. */
  readonly perCpu?: boolean
  /**
   * Others that say the same may have the port too (SO_REUSEADDR, SO_REUSEPORT): of what is sent to one host, the flow's hash
   * chooses who gets it; of what is sent to many, each gets a copy. Default false.
   */
  readonly shared?: boolean
  /** Bytes of memory that received packets may take until they are read. Default 1 MiB. */
  readonly receiveBytes?: number
  /** Called when packets are there, once a batch: take them by `receive` until it gives 0. */
  readonly onReadable?: (socket: UdpSocket) => void
  /** Called for an error of what a connected socket sent: ECONNREFUSED and the like. */
  readonly onError?: (socket: UdpSocket, errno: number) => void
  /** May send to broadcast addresses. Default false. */
  readonly broadcast?: boolean
  /** IP's time to live, 1 to 255. Default 64. */
  readonly ttl?: number
  /** DSCP in the upper 6 bits (RFC 2474). Default 0. */
  readonly trafficClass?: number
  /** Of what goes to groups. Default 1: not beyond the link (RFC 1112 6.1). */
  readonly multicastTtl?: number
  /** Members on this host get what it sends to a group. Default true. */
  readonly multicastLoop?: boolean
  /**
   * Also gets what is sent, at its port, to groups that only other sockets of the host have joined (IP_MULTICAST_ALL).
   * Default true, as on Linux.
   */
  readonly multicastAll?: boolean
  /** Name or address of the interface by which it sends to groups: see `setMulticastInterface`. */
  readonly multicastInterface?: string
}

export class UdpSocket {
  readonly number: number
  /** Another port than the first, when that was taken meanwhile: see `UdpSockets.open`. */
  local: Endpoint
  readonly options: UdpSocketOptions
  readonly #sockets: UdpSockets
  /** The mbuf queue, linked through `link`. */
  #first: Address = 0
  #last: Address = 0
  #held = 0
  #packets = 0
  /** Told, and has not read to the end since. */
  #notified = false
  closed = false
  /** Bytes of memory that received packets may take until they are read. */
  receiveBytes: number
  readonly #groups: UdpGroups
  #multicastInterface: Interface | undefined = undefined
  /** Set by `connect`. */
  remote: Endpoint | undefined = undefined

  constructor(sockets: UdpSockets, number: number, local: Endpoint, options: UdpSocketOptions) {
    this.#sockets = sockets
    this.number = number
    this.local = local
    this.options = options
    this.receiveBytes = options.receiveBytes ?? RECEIVE_BYTES
    this.#groups = sockets.groups()
    this.setMulticastInterface(options.multicastInterface)
  }

  /** The local port. */
  get port(): number {
    return this.local.port
  }

  /** Packets that wait to be received. */
  get length(): number {
    return this.#packets
  }

  /**
   * The next packet, or 0: its data is the payload; its mbuf names `source`, `sourcePort` and the rest. The caller frees it, or sends it.
   * @rfc 768 user-interface/receive, @rfc 1122 4.1.3.2/receive 4.1.3.5/destination 4.1.4/received-tos: `network`, `target`, `trafficClass`.
   */
  receive(): Address {
    const packet = this.#take()
    if (packet !== 0) this.#sockets.taken(packet, this.receive)
    return packet
  }

  #take(): Address {
    const packet = this.#first
    if (packet === 0) {
      this.#notified = false
      return 0
    }
    const m = this.#sockets.m
    m.at = packet
    this.#first = m.link
    if (this.#first === 0) this.#last = 0
    this.#held -= this.#sockets.charge(packet)
    this.#packets--
    this.#sockets.tally.received++
    return packet
  }

  /**
   * @rfc 768 user-interface/send
   * Sends a packet whose data is the payload, to `target` or, connected, without one. It owns the packet.
   * Returns 0 or an errno (EDESTADDRREQ is EINVAL here: not connected and no target; so is a socket that is closed).
   */
  send(packet: Address, target: Endpoint | undefined = this.remote): number {
    if (target === undefined || this.closed) return this.#sockets.refuse(packet, Errno.EINVAL)
    if (target.family !== Family.inet) return this.#sockets.refuse(packet, Errno.EAFNOSUPPORT)
    const m = this.#sockets.m
    m.at = packet
    // A received packet still has the hash of the flow that it came in.
    m.flags &= ~MbufFlag.HASHED
    m.target = target.address
    m.targetPort = target.port
    const way = this.#sockets.wayToMany(this, target.address)
    m.source = this.#sockets.sourceFor(this.local, target.address, way)
    if (m.source === 0) return this.#sockets.refuse(packet, Errno.ENETUNREACH)
    m.sourcePort = this.local.port
    this.#sockets.trace(packet, this.send)
    return this.#output(packet, way)
  }

  /** Sends a received packet back to where it came from, with the data that it has now: nothing is copied. Up to
   * 8 bytes may have been put in front of it: beyond lie the addresses that it goes back to. It owns the packet. */
  sendBack(packet: Address): number {
    if (this.closed) return this.#sockets.refuse(packet, Errno.EINVAL)
    const m = this.#sockets.m
    m.at = packet
    const { source, sourcePort } = m
    // Another source may make it another flow.
    m.flags &= ~MbufFlag.HASHED
    // What was sent to all is answered by one (@rfc 1122 3.2.1.3/broadcast-source), and what was sent to one by that (@rfc 1122 3.3.4.2/same-address).
    m.source = (m.flags & MbufFlag.LINK_BROADCAST) === 0 ? m.target : this.#sockets.sourceFor(this.local, source)
    if (m.source === 0) return this.#sockets.refuse(packet, Errno.ENETUNREACH)
    m.sourcePort = this.local.port
    m.target = source
    m.targetPort = sourcePort
    this.#sockets.trace(packet, this.sendBack)
    return this.#output(packet, undefined)
  }

  /** Copies `bytes` into a packet and sends it. Returns 0 or an errno. */
  sendBytes(bytes: Uint8Array, target?: Endpoint): number {
    const packet = this.#sockets.copyFrom(bytes)
    if (packet === 0) return Errno.ENOBUFS
    return this.send(packet, target)
  }

  /**
   * From now on `send` needs no target; and when every CPU of the host knows, which `done` tells, only packets of
   * `target` are received, and its errors are reported. `target` must live as long as the socket.
   */
  connect(target: Endpoint, done: () => void = () => {}): void {
    assert(target.family === Family.inet, 'an IPv4 socket is connected to an IPv4 endpoint')
    if (this.closed) return
    this.remote = target
    this.#sockets.connect(this, target, done)
  }

  /** Undoes `connect`, in the same way. */
  disconnect(done: () => void = () => {}): void {
    const target = this.remote
    if (this.closed || target === undefined) return
    this.remote = undefined
    this.#sockets.connect(this, { ...target, port: 0 }, done)
  }

  /**
   * Joins a group: what is sent to it on the interface is received by this host from now on, and by this socket where its port and
   * address are meant. Called again with other `source`s, it listens to each of these.
   *
   * `done` is called when all CPUs of the host know, or one of them had no memory for it (ENOBUFS).
   * @throws KernelError EINVAL where it is no IPv4 group or source, or the socket is closed; ENODEV where there is no such interface;
   * EADDRINUSE where it has joined already, EADDRNOTAVAIL for the same source; ENOBUFS where it has joined too many
   */
  join(membership: UdpMembership, done: UdpMembershipDone = () => {}): void {
    this.#assertOpen(membership)
    this.#groups.join(membership, done)
  }

  /**
   * Leaves a group, or stops to listen to one source of it. `done` is called when all CPUs know.
   * @throws KernelError EADDRNOTAVAIL where it has not joined it there, or not for this source; EINVAL where it is no IPv4 group or
   * source, where it has not joined the group of the source, or the socket is closed
   */
  leave(membership: UdpMembership, done: UdpMembershipDone = () => {}): void {
    this.#assertOpen(membership)
    this.#groups.leave(membership, done)
  }

  /**
   * By which interface it sends to groups: a name, or an address of it. Undefined, or 0.0.0.0: the interface of its own address, the
   * route's, or the first that is not the loopback.
   * @throws KernelError EADDRNOTAVAIL where there is none
   */
  setMulticastInterface(text: string | undefined): void {
    this.#multicastInterface = this.#sockets.interfaceOf(text)
  }

  /** What was set. */
  get multicastInterface(): Interface | undefined {
    return this.#multicastInterface
  }

  /**
   * Ends the socket: its port is free again on all CPUs, and what was not received is dropped. `done` is called when all
   * know. False, and nothing is done, when there is no memory for the message that tells them: to be tried again.
   */
  close(done: () => void = () => {}): boolean {
    if (this.closed) return true
    this.closed = true
    this.closed = this.#sockets.close(this, done)
    if (this.closed) this.end()
    return this.closed
  }

  /** It is closed, and leaves its groups. For UdpSockets. */
  end(): void {
    this.closed = true
    this.#groups.leaveAll()
  }

  /** A packet came. For UdpSockets. */
  enqueue(packet: Address): void {
    const m = this.#sockets.m
    m.at = packet
    // Most sockets have nothing to do with groups.
    if ((this.#groups.size > 0 || this.options.multicastAll === false) && !this.#isWanted()) {
      this.#sockets.filter(packet)
      return
    }
    const bytes = this.#sockets.charge(packet)
    m.at = packet
    if (this.closed || this.#held + bytes > this.receiveBytes) {
      this.#sockets.drop(packet, this.closed ? C.droppedGone : C.droppedFull)
      return
    }
    m.link = 0
    if (this.#last === 0) this.#first = packet
    else {
      m.at = this.#last
      m.link = packet
    }
    this.#last = packet
    this.#held += bytes
    this.#packets++
    this.#sockets.tally.queued++
    if (!this.#notified) {
      this.#notified = true
      this.#sockets.notify(this)
    }
  }

  /** Drops what was not received. For UdpSockets. */
  discard(): void {
    for (let packet = this.#take(); packet !== 0; packet = this.#take()) {
      this.#sockets.tally.received--
      this.#sockets.drop(packet, C.droppedClosed)
    }
  }

  /** Sends to one host, or to many by way of an interface. */
  #output(packet: Address, way: Interface | undefined): number {
    const m = this.#sockets.m
    // @rfc 1122 4.1.4/ttl-tos 4.1.4/all, but for the lower two bits, which are ECN's (RFC 3168).
    // @rfc-not 1122 4.1.4/ttl-tos 4.1.4/all a program cannot send IP options: see net/ip/output.ts
    m.trafficClass = (this.options.trafficClass ?? 0) & 0xfc
    if (way === undefined) {
      const { ttl = DEFAULT_TTL, broadcast = false } = this.options
      // @rfc 1122 3.2.1.7/configurable
      m.ttl = ttl
      return this.#sockets.output(packet, broadcast)
    }
    const { multicastTtl = MULTICAST_TTL, multicastLoop = true, ttl = DEFAULT_TTL } = this.options
    const isToGroup = this.#sockets.isToGroup(m.target)
    m.ttl = isToGroup ? multicastTtl : ttl
    return this.#sockets.outputToMany(packet, way, !isToGroup, multicastLoop)
  }

  /** Whether the packet that the cursor is at is for this socket, as far as its groups have a say. */
  #isWanted(): boolean {
    const { multicastAll = true } = this.options
    const { interfaceIndex, target, source } = this.#sockets.m
    return !this.#sockets.isToGroup(target) || this.#groups.accepts(interfaceIndex, target, source, multicastAll)
  }

  #assertOpen(membership: UdpMembership): void {
    if (!this.closed) return
    throw new KernelError(Errno.EINVAL, `group ${membership.group}: the socket is closed`, 'setsockopt')
  }
}

const BROADCAST = { broadcast: true } as const
const UNICAST = {} as const

/** All UDP sockets of one host on one CPU, and the part of the host's table that is this CPU's. */
export class UdpSockets {
  readonly m: MbufCursor
  readonly count: Float64Array
  readonly tally: TallyOf<typeof SocketTally>
  /** Set by stack.ts where the boundary to UDP is a queue: takes a datagram for a socket of this CPU, which comes back by `arrived`. */
  defer: ((packet: Address) => void) | undefined = undefined
  /** Where other CPUs send what is for sockets of this one. */
  readonly port: Port
  readonly #context: NetContext
  readonly #table: UdpTable
  readonly #rounds: Rounds
  readonly #udp: UdpOutput
  readonly #ip: IpOutput
  readonly #multicast: MulticastOutput
  readonly #groupRounds: GroupRounds
  readonly #groupCount: Float64Array
  readonly #pcb: UdpPcbCursor
  readonly #sockets: (UdpSocket | undefined)[] = [undefined]
  readonly #freeNumbers: number[] = []
  readonly #readable: UdpSocket[] = []

  constructor(
    context: NetContext,
    udp: { readonly table: UdpTable; readonly input: UdpInput; readonly output: UdpOutput },
    ip: { readonly output: IpOutput; readonly multicast: MulticastOutput },
    rounds: Rounds,
    groupRounds: GroupRounds,
  ) {
    this.#context = context
    this.#table = udp.table
    this.#rounds = rounds
    this.#groupRounds = groupRounds
    this.#udp = udp.output
    this.#ip = ip.output
    this.#multicast = ip.multicast
    this.#groupCount = context.count(GroupCounters)
    this.m = context.mbuf()
    this.#pcb = UdpPcb.cursor(context.memory)
    this.count = context.count(SocketCounters)
    this.tally = context.tally(SocketTally)
    this.port = context.cpu.ports.create({
      name: context.portName('udp', context.cpu.index),
      point: 'rcv',
      handler: (packet) => {
        this.arrived(packet)
        return EASYNC
      },
    })
    udp.input.onDatagram = (pcb, packet) => this.#deliver(pcb, packet)
    udp.input.onSocketError = (pcb, type, code) => this.#error(pcb, type, code)
    context.cpu.addRollup(1, () => this.#tell())
    context.cpu.onStop(() => {
      for (const socket of this.#sockets) {
        if (socket === undefined) continue
        socket.closed = true
        socket.discard()
        socket.local.free()
      }
    })
    const all = context.cpu.slot(ALL, () => [] as UdpSockets[])
    all[context.config.index] = this
    rounds.handle(RoundKind.bindUdp, {
      apply: (round) => this.#insert(round.localPort, round.first, round.port, round.id, round.cpu, round.flags),
      undo: (round) => this.#remove(round.localPort, round.port, round.id),
    })
    rounds.handle(RoundKind.unbindUdp, {
      apply: (round) => {
        this.#remove(round.localPort, round.port, round.id)
        return 0
      },
      undo: () => {},
    })
    rounds.handle(RoundKind.connectUdp, {
      apply: (round) => {
        this.#connect(round.localPort, round.port, round.id, round.second, round.remotePort)
        return 0
      },
      undo: () => {},
    })
  }

  /**
   * Makes a socket. `ready` is called with an errno, or 0 and the socket, when every CPU of the host knows of it.
   * @throws KernelError EINVAL where address, port or time to live cannot be, EAFNOSUPPORT for IPv6, EADDRNOTAVAIL where there is no such
   * interface to send to groups by, ENOMEM
   */
  open(options: UdpSocketOptions, ready: (error: KernelError | undefined, socket: UdpSocket) => void): UdpSocket {
    const text = options.address ?? '0.0.0.0'
    if (parseAddress(text).family !== Family.inet) {
      throw new KernelError(Errno.EAFNOSUPPORT, `${text} is an IPv6 address: give an IPv4 address of the host`, 'bind')
    }
    const port = options.port ?? 0
    if (!Number.isInteger(port) || port < 0 || port > 65535) {
      throw new KernelError(Errno.EINVAL, `port is ${port}: give a whole number from 0 to 65535`, 'bind')
    }
    checkTtl(options.ttl, 'setsockopt')
    checkTtl(options.multicastTtl, 'setsockopt', 0)
    this.interfaceOf(options.multicastInterface)
    const local = endpoint(this.#context.cpu, text, port === 0 ? this.#ephemeral() : port)
    const number = this.#freeNumbers.pop() ?? this.#sockets.length
    const socket = new UdpSocket(this, number, local, options)
    this.#sockets[number] = socket
    this.#bind(socket, port === 0 ? 16 : 1, (errno) => {
      if (errno === 0) return ready(undefined, socket)
      // Closed meanwhile, it gives its number and its memory back itself, when its own round is over.
      if (!socket.closed) {
        this.#forget(number)
        local.free()
      }
      socket.end()
      const sentence = bindSentence(errno, `${text}:${socket.port}`)
      ready(new KernelError(errno, sentence, 'bind'), socket)
    })
    return socket
  }

  connect(socket: UdpSocket, target: Endpoint, done: () => void): void {
    if (socket.options.perCpu === true) {
      this.#connect(socket.port, this.port.id, socket.number, target.address, target.port)
      done()
      return
    }
    const fill = (round: RoundFields) => {
      this.#fill(round, socket)
      this.#context.u8.copyWithin(round.second, target.address, target.address + addressBytes(Family.inet))
      round.remotePort = target.port
    }
    if (!this.#rounds.start(RoundKind.connectUdp, fill, done)) done()
  }

  close(socket: UdpSocket, done: () => void): boolean {
    const finish = () => {
      this.#forget(socket.number)
      socket.discard()
      socket.local.free()
      done()
    }
    if (socket.options.perCpu === true) {
      this.#remove(socket.port, this.port.id, socket.number)
      finish()
      return true
    }
    return this.#rounds.start(RoundKind.unbindUdp, (round) => this.#fill(round, socket), finish)
  }

  /** The groups of a new socket. */
  groups(): UdpGroups {
    return new UdpGroups(this.#context, this.#multicast, this.#groupRounds)
  }

  /**
   * The interface of a name or an address; undefined where none was chosen.
   * @throws KernelError EADDRNOTAVAIL where there is none of it
   */
  interfaceOf(text: string | undefined): Interface | undefined {
    if (text === undefined || text === '0.0.0.0') return undefined
    const found = findInterface(this.#context, text)
    if (found !== undefined) return found
    const sentence = `multicast interface ${text}: the host has none of this name or address: give one of its own`
    throw new KernelError(Errno.EADDRNOTAVAIL, sentence, 'setsockopt')
  }

  isToGroup(target: Address): boolean {
    return isMulticast(this.#context.u8, Family.inet, target)
  }

  /**
   * The interface by which a socket's packet to a group or a broadcast address leaves. Undefined where `target` is one host, where
   * the socket may not send to all, or where there is none: then IP says what is wrong.
   */
  wayToMany(socket: UdpSocket, target: Address): Interface | undefined {
    const { u8, interfaces } = this.#context
    if (isMulticast(u8, Family.inet, target)) {
      return socket.multicastInterface ?? this.#interfaceWith(socket.local) ?? this.#multicast.interfaceTo(target)
    }
    if (socket.options.broadcast !== true) return undefined
    if (isBroadcast(u8, Family.inet, target)) {
      return this.#interfaceWith(socket.local) ?? this.#multicast.interfaceTo(target)
    }
    for (let i = 0; i < interfaces.length; i++) {
      if (interfaces[i]!.isBroadcast(u8, Family.inet, target)) return interfaces[i]
    }
    return undefined
  }

  /** The source address of a socket's packets to a target: its own, or what the way there says, which may be known already (@rfc 1122 4.1.3.5/wild 4.1.3.6/own-source). */
  sourceFor(local: Endpoint, target: Address, way?: Interface): Address {
    if (this.#isOfOneHost(local)) return local.address
    return way === undefined ? this.#ip.sourceTo(target) : way.sourceFor(this.#context.u8, Family.inet, target)
  }

  /** What a packet costs its socket: the memory that it keeps, not the bytes that it has. Its parts may be small and many. */
  charge(packet: Address): number {
    const { m } = this
    let bytes = MBUF_BYTES
    m.at = packet
    for (let part = m.part; part !== 0; part = m.part) {
      bytes += MBUF_BYTES
      m.at = part
    }
    return bytes
  }

  /** What the program does from here on it does because of this packet. `entry` is the function that it has called. */
  taken(packet: Address, entry: Entry): void {
    const { tracer, traceMarks } = this.#context.cpu
    if (traceMarks === 0 || !tracer.concerns(packet)) return
    const { m } = this
    m.at = packet
    const ports = (m.targetPort << 16) | m.sourcePort
    tracer.stackOfProgram(tracer.packetOn(HOP.read, 'udp', packet, m.total, tracer.of(packet), ports), entry)
    tracer.enter(packet)
  }

  /** Notes of a packet who sends it: `entry` is the function that the program has called. */
  trace(packet: Address, entry: Entry): void {
    const { tracer, traceMarks } = this.#context.cpu
    if (traceMarks === 0 || !tracer.concerns(packet)) return
    const { m } = this
    m.at = packet
    const ports = (m.sourcePort << 16) | m.targetPort
    const cause = tracer.of(packet) || tracer.current
    tracer.stackOf(tracer.packet(HOP.datagram, 'udp', packet, m.total, cause, ports), entry)
  }

  copyFrom(bytes: Uint8Array): Address {
    return this.#context.mbufs.copyFrom(bytes)
  }

  output(packet: Address, broadcast: boolean): number {
    const errno = this.#udp.output(packet, broadcast ? BROADCAST : UNICAST)
    this.count[errno === 0 ? C.sent : C.sendErrors]!++
    return errno
  }

  outputToMany(packet: Address, way: Interface, isBroadcast: boolean, isLooped: boolean): number {
    const errno = this.#udp.outputToMany(packet, way, isBroadcast, isLooped)
    this.count[errno === 0 ? C.sent : C.sendErrors]!++
    return errno
  }

  /** A socket does not listen to a packet's source or group. */
  filter(packet: Address): void {
    this.#groupCount[G.filtered]!++
    this.#context.mbufs.free(packet)
  }

  refuse(packet: Address, errno: number): number {
    this.drop(packet, C.sendErrors)
    return errno
  }

  drop(packet: Address, counter: number): void {
    this.count[counter]!++
    this.#context.mbufs.free(packet)
  }

  notify(socket: UdpSocket): void {
    this.#readable.push(socket)
  }

  /** An ICMP error for one of this CPU's sockets. */
  failed(number: number, errno: number): void {
    const socket = this.#sockets[number]
    if (socket !== undefined && !socket.closed && socket.remote !== undefined) socket.options.onError?.(socket, errno)
  }

  #deliver(pcb: Address, packet: Address): void {
    const p = this.#pcb
    p.at = pcb
    const isHere = p.cpu === this.#context.cpu.index
    if (isHere && this.defer === undefined) {
      const socket = this.#sockets[p.socket]
      if (socket === undefined) this.drop(packet, C.droppedGone)
      else socket.enqueue(packet)
      return
    }
    this.m.at = packet
    // On its own CPU the PCB has another address: the packet takes the socket's number along.
    this.m.socket = p.socket
    if (isHere) this.defer!(packet)
    else this.#context.mbufs.handOff(p.port, packet)
  }

  /** A datagram came for a socket of this CPU. */
  arrived(packet: Address): void {
    this.m.at = packet
    const socket = this.#sockets[this.m.socket]
    // Sent on its way before its socket was closed, it may find another one under the number.
    if (socket === undefined || socket.port !== this.m.targetPort) this.drop(packet, C.droppedGone)
    else socket.enqueue(packet)
  }

  #forget(number: number): void {
    this.#sockets[number] = undefined
    this.#freeNumbers.push(number)
  }

  /** The end of a batch: each socket with something new is told once. */
  #tell(): void {
    const readable = this.#readable
    for (let i = 0; i < readable.length; i++) {
      const socket = readable[i]!
      if (socket.closed) continue
      this.tally.notifications++
      socket.options.onReadable?.(socket)
    }
    this.#context.cpu.tracer.current = 0
    if (readable.length > 0) readable.splice(0)
  }

  #error(pcb: Address, type: number, code: number): void {
    const p = this.#pcb
    p.at = pcb
    this.#context.cpu.ipi.send(p.cpu, FAILED, p.socket, errnoOf(type, code), this.#context.config.index)
  }

  #bind(socket: UdpSocket, tries: number, done: (errno: number) => void): void {
    const { local } = socket
    const finish = (errno: number) => {
      if (errno !== Errno.EADDRINUSE || tries <= 1 || socket.closed) return done(errno)
      socket.local = { ...local, port: this.#ephemeral() }
      this.#bind(socket, tries - 1, done)
    }
    if (!this.#isOwnAddress(local)) return finish(Errno.EADDRNOTAVAIL)
    if (socket.options.perCpu === true) {
      const { cpu } = this.#context
      const flags = UdpPcbFlag.PER_CPU | flagsOf(socket)
      finish(this.#insert(local.port, local.address, this.port.id, socket.number, cpu.index, flags))
      return
    }
    const fill = (round: RoundFields) => {
      this.#fill(round, socket)
      round.flags = flagsOf(socket)
    }
    if (!this.#rounds.start(RoundKind.bindUdp, fill, finish)) finish(Errno.ENOBUFS)
  }

  #fill(round: RoundFields, socket: UdpSocket): void {
    const { u8, cpu } = this.#context
    u8.copyWithin(round.first, socket.local.address, socket.local.address + addressBytes(Family.inet))
    round.localPort = socket.port
    round.port = this.port.id
    round.id = socket.number
    round.cpu = cpu.index
  }

  #insert(localPort: number, local: Address, port: number, socket: number, cpu: number, flags: number): number {
    const isShared = (flags & (UdpPcbFlag.SHARED | PORT_CHOSEN)) === UdpPcbFlag.SHARED
    if (this.#table.conflicts(Family.inet, local, localPort, isShared)) return Errno.EADDRINUSE
    const pcb = this.#table.insert(localPort)
    if (pcb === 0) return Errno.ENOBUFS
    const p = this.#pcb
    p.at = pcb
    p.port = port
    p.socket = socket
    p.cpu = cpu
    p.flags = flags & ~PORT_CHOSEN
    p.family = Family.inet
    this.#context.u8.copyWithin(p.local, local, local + addressBytes(Family.inet))
    return 0
  }

  #remove(localPort: number, port: number, socket: number): void {
    const pcb = this.#table.find(localPort, port, socket)
    if (pcb !== 0) this.#table.remove(pcb)
  }

  #connect(localPort: number, port: number, socket: number, remote: Address, remotePort: number): void {
    const pcb = this.#table.find(localPort, port, socket)
    if (pcb !== 0) this.#table.connect(pcb, remote, remotePort)
  }

  /** @rfc 1122 3.2.1.3/own-source 4.1.3.5/choose 3.3.4.2/choose */
  #isOwnAddress(local: Endpoint): boolean {
    const { u8, interfaces } = this.#context
    if (!this.#isOfOneHost(local)) return true
    return interfaces.some((iface) => iface.has(u8, local.family, local.address))
  }

  /** Whether a socket is bound to an address that its packets can have as their source. */
  #isOfOneHost(local: Endpoint): boolean {
    const { u8, interfaces } = this.#context
    const { family, address } = local
    if (isUnspecified(u8, family, address) || isMulticast(u8, family, address) || isBroadcast(u8, family, address)) {
      return false
    }
    for (let i = 0; i < interfaces.length; i++) if (interfaces[i]!.isBroadcast(u8, family, address)) return false
    return true
  }

  /** The interface that has the address that a socket is bound to. */
  #interfaceWith(local: Endpoint): Interface | undefined {
    const { u8, interfaces } = this.#context
    for (let i = 0; i < interfaces.length; i++) {
      if (interfaces[i]!.has(u8, local.family, local.address)) return interfaces[i]
    }
    return undefined
  }

  /** @rfc 768 user-interface/ports */
  #ephemeral(): number {
    return EPHEMERAL_FIRST + this.#context.cpu.random.below(EPHEMERAL_COUNT)
  }
}

function flagsOf({ options }: UdpSocket): number {
  return (options.shared === true ? UdpPcbFlag.SHARED : 0) | ((options.port ?? 0) === 0 ? PORT_CHOSEN : 0)
}

/**
 * What an ICMP error means to the sender. @rfc 1122 4.1.3.3 3.2.2.4 3.2.2.5/pass-up 3.2.2.5/report whichever it is: it is the program's to say what it
 * makes of it. @rfc 792 unreachable/receive time-exceeded/receive parameter-problem/receive
 */
function errnoOf(type: number, code: number): number {
  if (type === IcmpType.timeExceeded) return Errno.EHOSTUNREACH
  if (type === IcmpType.parameterProblem) return Errno.EPROTO
  if (code === IcmpUnreachable.port) return Errno.ECONNREFUSED
  if (code === IcmpUnreachable.protocol) return Errno.EPROTONOSUPPORT
  if (code === IcmpUnreachable.fragmentationNeeded) return Errno.EMSGSIZE
  return code === IcmpUnreachable.network || code === IcmpUnreachable.networkUnknown
    ? Errno.ENETUNREACH
    : Errno.EHOSTUNREACH
}

function bindSentence(errno: number, place: string): string {
  if (errno === Errno.EADDRINUSE)
    return `bind ${place}: the port is in use on this host: close the other socket, or choose another port`
  if (errno === Errno.EADDRNOTAVAIL)
    return `bind ${place}: this is none of the host's addresses: bind to one of them, or to 0.0.0.0`
  return `bind ${place}: ${errnoName(errno)}`
}

const ALL = Symbol('udp sockets')
const FAILED = define('udp.failed', (cpu, socket, errno, host) => {
  cpu.slot(ALL, () => [] as UdpSockets[])[host]?.failed(socket, errno)
})
