// One end of a connection between local sockets (unix(7)): of a stream, of a sequence of packets, or of a pair for datagrams. It lives on its
// program's CPU, with what it has received; only that CPU touches it. Made by LocalSockets (sockets.ts).
//
// Flow control is a window, in bytes and in messages: a sender knows how large its peer's buffer is, and the peer tells how much of it has
// been read. What does not fit is not accepted, so nothing is ever dropped for want of room.
//
// An end that is sent along with a message is nobody's until the message is read: it stays where it is, and goes on receiving. If it is read
// on another CPU it goes there (`take`, `moving`, `parted` in message.ts): its peer sends to the new place from then on, and what comes there
// before the end itself is held until it has come.
import { assert } from '../../base/assert.ts'
import { Errno } from '../../base/errno.ts'
import { Limits } from '../../base/limits.ts'
import { type Ancillary, traceOf } from './ancillary.ts'
import { LocalCounters } from './counters.ts'
import {
  type Buffers,
  type LocalAddress,
  type LocalCredentials,
  type LocalKind,
  type LocalOptions,
  Want,
} from './kind.ts'
import { type EndInfo, type EndState, Op } from './message.ts'
import { PART_BYTES_MAX, PacketFlag } from './packet.ts'
import { PacketQueue } from './queue.ts'
import type { LocalMessage, LocalSendOptions, Prepared } from './right.ts'
import type { LocalSockets } from './sockets.ts'

const C = LocalCounters.index

export const Phase = { opening: 0, arriving: 1, open: 2, departing: 3, closed: 4 } as const
export type Phase = (typeof Phase)[keyof typeof Phase]

/** What a program is to be told. */
export const Event = { CONNECT: 1, READABLE: 2, WRITABLE: 4, ERROR: 8 } as const

/** Of an end, as it takes them along to another CPU. */
const Flag = { ENDED: 1, PEER_DEAF: 2, PEER_GONE: 4, SHUT_WRITE: 8, SHUT_READ: 16 } as const

const PLAIN: LocalSendOptions = {}
/** The share of the buffer of which it is told when that much has been read. */
const REPORT_SHIFT = 2

export class LocalSocket {
  /** An attempt to connect has ended: 0, or an errno. */
  onConnect: (errno: number) => void = () => {}
  /** There is something to `receive`, or the end was reached (`ended`). Once a turn. */
  onReadable: () => void = () => {}
  /** There is room to `send` again, after EAGAIN or less than all was accepted; or `send` would now say why not. */
  onWritable: () => void = () => {}
  /** ECONNRESET: the peer was closed, and had not read all that was sent to it. What was received can still be taken. */
  onError: (errno: number) => void = () => {}
  readonly kind: LocalKind
  /** @internal */
  readonly id: number
  /** @internal Events that the program is to be told of in this turn. */
  pending = 0
  /** @internal What has caused the first of them (kernel/trace). */
  trace = 0
  /** @internal */
  phase: Phase
  /** @internal It is in a message, and no program's. */
  isParcel = false
  /**
   * @internal While it is in a message: more than that of any socket in a message in its queue. A socket in a message takes in none of its own
   * rank or a higher one. So ranks fall from each to those inside it, at most from `Limits.localNesting` down: there is no ring of sockets
   * that are inside each other, which nobody could ever reach again, and nothing has to look for one.
   */
  rank = 0
  /** @internal What came before it did. */
  readonly held: { readonly isPacket: boolean; readonly run: () => void }[] = []
  #peer: LocalAddress | undefined
  #name = ''
  #peerName = ''
  #peerCredentials: LocalCredentials | undefined
  #errno = 0
  #flags = 0
  #buffers: Buffers
  #wants: number
  /** What the peer has been told in the handshake. */
  #toldWants = 0
  #peerWants = 0
  #limitBytes = 0
  #limitMessages = 0
  #outstandingBytes = 0
  #outstandingMessages = 0
  /** Read, and not yet told. */
  #consumedBytes = 0
  #consumedMessages = 0
  #wantsRoom = false
  /** Bytes that `send` had no room for. */
  #wantedBytes = 0
  #isReporting = false
  #isResetTold = false
  #closeWanted = false
  #target: LocalAddress | undefined
  readonly #queue: PacketQueue
  readonly #sockets: LocalSockets

  /** @internal */
  constructor(sockets: LocalSockets, id: number, kind: LocalKind, buffers: Buffers, wants: number, phase: Phase) {
    this.#sockets = sockets
    this.id = id
    this.kind = kind
    this.#buffers = buffers
    this.#wants = wants
    this.phase = phase
    this.#queue = new PacketQueue(sockets.packets, sockets.count)
  }

  get state(): 'connecting' | 'open' | 'given' | 'closed' {
    if (this.phase === Phase.closed || this.#closeWanted) return 'closed'
    if (this.isParcel || this.phase === Phase.departing) return 'given'
    return this.phase === Phase.opening ? 'connecting' : 'open'
  }

  /** The name that it is bound to; empty: none. */
  get name(): string {
    return this.#name
  }

  /** The name that the peer is bound to, which for a client is that of the listener; empty: none. */
  get peerName(): string {
    return this.#peerName
  }

  /** Who connected, listened or made the pair, as it was then (SO_PEERCRED). Undefined until it is connected. */
  get peerCredentials(): LocalCredentials | undefined {
    return this.#peerCredentials
  }

  /** 0, or what the connection has failed of. */
  get errno(): number {
    return this.#errno
  }

  /** The peer sends no more, and all of it was taken. Never of datagrams. */
  get ended(): boolean {
    return (this.#flags & Flag.ENDED) !== 0 && this.#queue.messages === 0
  }

  /** Messages, or pieces of a stream, that wait to be received. */
  get length(): number {
    return this.#queue.messages
  }

  /** Bytes of them, and of what was sent along. */
  get readableBytes(): number {
    return this.#queue.bytes
  }

  /** Bytes that `send` would accept now. */
  get sendRoom(): number {
    if (this.#refusal() !== 0 || this.#outstandingMessages >= this.#limitMessages) return 0
    return Math.max(this.#limitBytes - this.#outstandingBytes, 0)
  }

  /**
   * Sends, and returns how many bytes were accepted: of a stream as many as there is room for, of a message all. What was accepted is never lost
   * while the peer reads. What is sent along with a stream belongs to its first byte here: one `receive` gives both, and nothing of what comes
   * before or behind this piece (send(2), cmsg(3)).
   *
   * Else it returns a negative errno, and nothing was sent or given away:
   * EAGAIN: no room, or not connected yet: `onWritable` follows. EPIPE: the peer is closed or reads no more, or `shutdown` was called; of
   * datagrams ECONNREFUSED. EMSGSIZE: more than ever fits. EBADF: closed, or given away. EINVAL: a right that is none of this CPU's, twice
   * the same, too many, or nothing for it to be sent with. ETOOMANYREFS: sockets in messages in the queues of sockets in messages, more than
   * 4 deep or in a ring, or 1024 of this CPU in messages.
   */
  send(bytes: Uint8Array, options: LocalSendOptions = PLAIN): number {
    const refusal = this.#refusal()
    if (refusal === Errno.EAGAIN) return this.#full(0)
    if (refusal !== 0) return -refusal
    const isStream = this.kind === 'stream'
    const prepared = this.#prepare(options)
    if (typeof prepared === 'number') return -prepared
    if (isStream && bytes.length === 0) return options === PLAIN ? 0 : -Errno.EINVAL
    const along = prepared?.bytes.length ?? 0
    const least = along + (isStream ? 1 : bytes.length)
    if (least > this.#limitBytes) return -Errno.EMSGSIZE
    const room = this.#limitBytes - this.#outstandingBytes
    if (least > room || this.#outstandingMessages >= this.#limitMessages) return this.#full(least)
    if (!isStream) return this.#sendPiece(bytes, 0, bytes.length, prepared) ? bytes.length : this.#noMemory()
    return this.#sendStream(bytes, Math.min(bytes.length, room - along), prepared)
  }

  /**
   * Takes what was received: the next message, or as much of the stream as fits into `target` up to what something was sent along with.
   * Undefined where there is nothing; see `ended`. Its rights are the caller's then.
   */
  receive(target: Uint8Array): LocalMessage | undefined {
    const { packets } = this.#sockets
    const packet = this.#isMine() ? this.#queue.first : 0
    const isStream = this.kind === 'stream'
    if (packet === 0 || (isStream && target.length === 0)) return undefined
    const total = packets.total(packet)
    const wereLost = packets.has(packet, PacketFlag.LOST_RIGHTS)
    const ancillary = this.#detach()
    const bytes = isStream ? this.#copyStream(target, ancillary !== undefined) : this.#copyMessage(target)
    const { rights, areLost } = this.#sockets.parcels.takeRights(ancillary)
    this.#consumed()
    return {
      bytes,
      length: isStream ? bytes : total,
      truncated: !isStream && bytes < total,
      controlTruncated: wereLost || areLost,
      from: ancillary?.from,
      credentials: ancillary?.credentials,
      rights,
      stackTrace: traceOf(ancillary),
    }
  }

  /** As `receive`, for the bytes alone: returns how many, 0 where there are none. What was sent along is given up (read(2)). */
  read(target: Uint8Array): number {
    if (!this.#isMine() || this.#queue.messages === 0 || target.length === 0) return 0
    const ancillary = this.#detach()
    const bytes = this.kind === 'stream' ? this.#copyStream(target, ancillary !== undefined) : this.#copyMessage(target)
    if (ancillary !== undefined) this.#sockets.parcels.loseRights(ancillary)
    this.#consumed()
    return bytes
  }

  /**
   * Ends one direction, or both (shutdown(2)). `write`: the peer reads to the end, and `send` says EPIPE. `read`: the peer's `send` says EPIPE;
   * what was received can be taken.
   */
  shutdown(how: 'read' | 'write' | 'both'): void {
    if (!this.#isMine()) return
    if (how !== 'read' && (this.#flags & Flag.SHUT_WRITE) === 0) {
      this.#flags |= Flag.SHUT_WRITE
      this.#post(Op.end)
    }
    if (how !== 'write' && (this.#flags & Flag.SHUT_READ) === 0) {
      this.#flags |= Flag.SHUT_READ
      if (this.kind !== 'datagram') this.#flags |= Flag.ENDED
      this.#post(Op.deaf)
    }
  }

  /** Whether each message is to carry who sent it, and the stack: of those that the peer sends once it knows. */
  set(options: Pick<LocalOptions, 'passCredentials' | 'stackTrace'>): void {
    if (!this.#isMine()) return
    // It comes with what was set where it was.
    if (this.phase === Phase.arriving) {
      this.held.push({ isPacket: false, run: () => this.set(options) })
      return
    }
    const { passCredentials, stackTrace } = options
    const set = (bit: number, on: boolean | undefined) => {
      if (on !== undefined) this.#wants = on ? this.#wants | bit : this.#wants & ~bit
    }
    set(Want.CREDENTIALS, passCredentials)
    set(Want.TRACE, stackTrace)
    this.#post(Op.wants, this.#wants)
  }

  /**
   * Ends it. What was sent arrives; the peer then reads the end of it, or ECONNRESET where something that it has sent was not read here.
   * What was not read is lost, with its rights. Nothing is called any more.
   */
  close(): void {
    if (this.isParcel || this.phase >= Phase.departing) return
    if (this.phase === Phase.arriving) this.#closeWanted = true
    else this.#end(this.#queue.messages > 0)
  }

  // What follows is for LocalSockets.

  /** @internal What the peer is told in the handshake. */
  get info(): Pick<EndInfo, 'wants' | 'name' | keyof Buffers> {
    this.#toldWants = this.#wants
    return { ...this.#buffers, wants: this.#wants, name: this.#name }
  }

  /** @internal */
  bound(name: string): void {
    this.#name = name
  }

  /** @internal The peer is known. */
  connected(peer: EndInfo): void {
    this.#peer = { cpu: peer.cpu, id: peer.id }
    this.#peerName = peer.name
    this.#peerCredentials = peer.credentials
    this.#peerWants = peer.wants
    this.#limitBytes = Math.min(peer.receiveBytes, this.#buffers.sendBytes)
    this.#limitMessages = peer.receiveMessages
    if (this.phase === Phase.closed) {
      this.#post(Op.closed, 0)
      return
    }
    if (this.phase === Phase.opening) this.#sockets.tell(this, Event.CONNECT | (this.#wantsRoom ? Event.WRITABLE : 0))
    this.phase = Phase.open
    // What was asked for before the peer was known.
    if ((this.#flags & Flag.SHUT_WRITE) !== 0) this.#post(Op.end)
    if ((this.#flags & Flag.SHUT_READ) !== 0) this.#post(Op.deaf)
    if (this.#wants !== this.#toldWants) this.#post(Op.wants, this.#wants)
  }

  /** @internal There is no connection. */
  refused(errno: number): void {
    this.#sockets.count[C.refused]!++
    this.#errno = errno
    this.#flags |= Flag.ENDED | Flag.PEER_GONE
    if (this.phase === Phase.closed) this.#sockets.forget(this.id)
    else {
      this.phase = Phase.open
      this.#sockets.tell(this, Event.CONNECT)
    }
  }

  /** @internal A packet came. */
  deliver(packet: number): void {
    const { packets, count } = this.#sockets
    if (packets.has(packet, PacketFlag.MOVED)) {
      packets.mark(packet, PacketFlag.MOVED, false)
      count[C.movedIn]!++
      this.#queue.push(packet)
      return
    }
    count[C.arrived]!++
    if (this.phase === Phase.closed) {
      this.#sockets.drop(packet, C.droppedClosed)
      if (!this.#isResetTold) this.#post(Op.reset)
      this.#isResetTold = true
      return
    }
    if (this.isParcel && packets.rank(packet) >= this.rank) {
      const bytes = packets.ancillaryBytes(packet)
      this.#sockets.parcels.strip(packet)
      packets.mark(packet, PacketFlag.LOST_RIGHTS)
      this.#consumedBytes += bytes
    }
    if (this.kind === 'stream' && !packets.has(packet, PacketFlag.LOST_RIGHTS) && this.#queue.merge(packet)) {
      count[C.merged]!++
      this.#consumedMessages++
      this.#consumed()
    } else this.#queue.push(packet)
    this.#sockets.tell(this, Event.READABLE)
  }

  /** @internal A notice came. */
  notice(op: number, a: number, b: number, c: number, d: number): void {
    switch (op) {
      case Op.consumed:
        this.#outstandingBytes -= a
        this.#outstandingMessages -= b
        assert(this.#outstandingBytes >= 0 && this.#outstandingMessages >= 0, 'no more is read than was sent')
        this.#roomAgain()
        break
      case Op.end:
        if (this.kind === 'datagram') break
        this.#flags |= Flag.ENDED
        this.#sockets.tell(this, Event.READABLE)
        break
      case Op.deaf:
        this.#flags |= Flag.PEER_DEAF
        this.#tellWritable()
        break
      case Op.closed:
        this.#peerClosed(a !== 0)
        break
      case Op.gone:
        this.#flags |= Flag.PEER_GONE
        assert(this.phase === Phase.closed, 'only a closed end waits for the last of its peer')
        this.#sockets.forget(this.id)
        break
      case Op.reset:
        if (this.phase !== Phase.closed) this.#fail(Errno.ECONNRESET)
        break
      case Op.wants:
        this.#peerWants = a
        break
      case Op.take:
        this.#depart({ cpu: a, id: b })
        break
      case Op.moving:
        this.#peer = { cpu: a, id: b }
        this.#sockets.post(c, Op.parted, d)
        break
      case Op.parted:
        this.#leave()
        break
      case Op.lose:
        this.unwrap()
        this.close()
        break
      default:
        assert(false, 'an end knows each notice for it')
    }
  }

  /** @internal Whether it can be sent along with a message: 0, or why not. */
  whyNotGiven(): number {
    if (this.phase === Phase.arriving || this.phase === Phase.opening)
      return this.#closeWanted ? Errno.EBADF : Errno.EAGAIN
    if (this.isParcel || this.phase !== Phase.open) return Errno.EBADF
    return this.#queue.rank() >= Limits.localNesting ? Errno.ETOOMANYREFS : 0
  }

  /** @internal The rank that it has in a message. */
  get nextRank(): number {
    return this.#queue.rank() + 1
  }

  /** @internal It is in a message from now on. */
  wrap(): void {
    this.rank = this.nextRank
    this.isParcel = true
    this.onConnect = () => {}
    this.onReadable = () => {}
    this.onWritable = () => {}
    this.onError = () => {}
    this.#wantsRoom = false
    this.#sockets.inFlight++
  }

  /** @internal It is in a message no more. */
  unwrap(): void {
    assert(this.isParcel, 'what is taken out of a message is in one')
    this.isParcel = false
    this.rank = 0
    this.#sockets.inFlight--
    if (this.phase === Phase.open) this.#tellAll()
  }

  /** @internal It has come here, with all that it is. */
  arrive(state: EndState): void {
    this.#peer = state.peer
    this.#name = state.name
    this.#peerName = state.peerName
    this.#peerCredentials = state.peerCredentials
    this.#buffers = state.buffers
    this.#wants = state.wants
    this.#peerWants = state.peerWants
    this.#limitBytes = state.limitBytes
    this.#limitMessages = state.limitMessages
    this.#outstandingBytes = state.outstandingBytes
    this.#outstandingMessages = state.outstandingMessages
    this.#consumedBytes += state.consumedBytes
    this.#consumedMessages += state.consumedMessages
    // What its new program has shut already.
    const shut = this.#flags
    this.#flags |= state.flags
    this.#errno = state.errno
    this.phase = Phase.open
    for (const { run } of this.held.splice(0)) run()
    if ((shut & Flag.SHUT_WRITE) !== 0) this.#post(Op.end)
    if ((shut & Flag.SHUT_READ) !== 0) this.#post(Op.deaf)
    this.#tellAll()
    this.#consumed()
    if (this.#closeWanted) this.close()
  }

  /** @internal The end of the turn: its program is told what is new. */
  run(): void {
    const events = this.pending
    this.pending = 0
    const { count } = this.#sockets
    const tells = (event: number) => (events & event) !== 0 && this.#isMine()
    if (this.#isMine()) count[C.notifications]!++
    if (tells(Event.CONNECT)) this.onConnect(this.#errno)
    if (tells(Event.READABLE) && (this.#queue.messages > 0 || (this.#flags & Flag.ENDED) !== 0)) this.onReadable()
    if (tells(Event.WRITABLE) && this.#wantsRoom) {
      this.#wantsRoom = false
      this.onWritable()
    }
    if (tells(Event.ERROR)) this.onError(this.#errno)
  }

  /** @internal There is memory again, perhaps. */
  retry(): void {
    this.#tellWritable()
  }

  /** @internal The end of the turn: the peer is told how much was read. */
  report(): void {
    this.#isReporting = false
    // One that departs takes it along.
    if (this.phase !== Phase.open || (this.#consumedBytes === 0 && this.#consumedMessages === 0)) return
    this.#post(Op.consumed, this.#consumedBytes, this.#consumedMessages)
    this.#consumedBytes = 0
    this.#consumedMessages = 0
  }

  /** @internal The machine stops. */
  discard(): void {
    this.phase = Phase.closed
    for (const { isPacket, run } of this.held.splice(0)) if (isPacket) run()
    this.#dropAll()
  }

  /** @internal As `close`, by whoever has it; a connection that nobody has accepted is reset. */
  abort(): void {
    this.#end(true)
  }

  /** @internal For the other end of a pair. */
  get address(): LocalAddress {
    return { cpu: this.#sockets.cpuIndex, id: this.id }
  }

  /** It is here, and its program's. */
  #isMine(): boolean {
    return !this.isParcel && this.phase < Phase.departing && !this.#closeWanted
  }

  /** Why nothing can be sent; 0: it can. */
  #refusal(): number {
    if (!this.#isMine()) return Errno.EBADF
    if ((this.#flags & Flag.SHUT_WRITE) !== 0) return Errno.EPIPE
    if (this.phase !== Phase.open) return Errno.EAGAIN
    if ((this.#flags & Flag.PEER_GONE) !== 0) return this.kind === 'datagram' ? Errno.ECONNREFUSED : Errno.EPIPE
    return (this.#flags & Flag.PEER_DEAF) !== 0 ? Errno.EPIPE : 0
  }

  #prepare(options: LocalSendOptions): Prepared | number | undefined {
    if (options === PLAIN && this.#peerWants === 0) return undefined
    const prepared = this.#sockets.parcels.prepare(options, this.#peerWants, undefined, this.#limitBytes >> 1)
    if (typeof prepared === 'number' || prepared === undefined || prepared.rights.length === 0) return prepared
    // Where the peer is here it can be said at once; else it is seen over there, and the rights are lost.
    const peer = this.#sockets.endOf(this.#peer!)
    if (peer === undefined) return prepared
    const isRing = prepared.rights.includes(peer) || (peer.isParcel && prepared.rank >= peer.rank)
    return isRing ? Errno.ETOOMANYREFS : prepared
  }

  #full(wanted: number): number {
    this.#sockets.count[C.full]!++
    this.#wantsRoom = true
    this.#wantedBytes = wanted
    return -Errno.EAGAIN
  }

  #noMemory(): number {
    this.#sockets.later(this)
    return this.#full(0)
  }

  #sendStream(bytes: Uint8Array, count: number, prepared: Prepared | undefined): number {
    let sent = 0
    while (sent < count && this.#outstandingMessages < this.#limitMessages) {
      const piece = Math.min(count - sent, PART_BYTES_MAX)
      if (!this.#sendPiece(bytes, sent, piece, sent === 0 ? prepared : undefined)) {
        if (sent === 0) return this.#noMemory()
        this.#sockets.later(this)
        break
      }
      sent += piece
    }
    if (sent < bytes.length) {
      this.#wantsRoom = true
      this.#wantedBytes = 1
    }
    return sent
  }

  /** False: no memory. */
  #sendPiece(bytes: Uint8Array, from: number, count: number, prepared: Prepared | undefined): boolean {
    const { packets, count: counts } = this.#sockets
    if (this.#sockets.isShort) return false
    const packet = packets.pack(bytes, from, count)
    if (packet === 0) return false
    if (prepared !== undefined && !this.#sockets.parcels.attach(packet, prepared)) {
      packets.free(packet)
      return false
    }
    const { cpu, id } = this.#peer!
    packets.direct(packet, id, this.id)
    this.#outstandingBytes += packets.charge(packet)
    this.#outstandingMessages++
    counts[C.submitted]!++
    counts[C.bytesSent]! += count
    if (prepared !== undefined) this.#sockets.parcels.give(prepared)
    this.#sockets.ship(cpu, packet)
    return true
  }

  /** Takes what was sent along with the first message. */
  #detach(): Ancillary | undefined {
    const packet = this.#queue.first
    const { packets } = this.#sockets
    const address = packets.ancillary(packet)
    packets.mark(packet, PacketFlag.LOST_RIGHTS, false)
    if (address === 0) return undefined
    const ancillary = this.#sockets.parcels.read(address)
    this.#consumedBytes += this.#queue.detach()
    packets.mbufs.free(address)
    return ancillary
  }

  /** `alone`: something was sent along with the first piece: nothing is read behind it. */
  #copyStream(target: Uint8Array, alone: boolean): number {
    const { packets } = this.#sockets
    let copied = 0
    for (let packet = this.#queue.first; packet !== 0 && copied < target.length; packet = this.#queue.first) {
      const isBarrier = packets.ancillary(packet) !== 0 || packets.has(packet, PacketFlag.LOST_RIGHTS)
      if (copied > 0 && (alone || isBarrier)) break
      const count = packets.take(packet, target, copied)
      this.#queue.took(count)
      copied += count
      if (packets.total(packet) > 0) break
      this.#dropFirst()
    }
    this.#consumedBytes += copied
    this.#sockets.count[C.bytesReceived]! += copied
    return copied
  }

  #copyMessage(target: Uint8Array): number {
    const { packets } = this.#sockets
    const packet = this.#queue.first
    const total = packets.total(packet)
    this.#queue.took(packets.take(packet, target, 0))
    const copied = total - packets.total(packet)
    this.#consumedBytes += total
    this.#sockets.count[C.bytesReceived]! += copied
    this.#dropFirst()
    return copied
  }

  #dropFirst(): void {
    this.#sockets.packets.free(this.#queue.shift())
    this.#sockets.count[C.delivered]!++
    this.#consumedMessages++
  }

  /** Something was read: the peer is told in steps, and when nothing is left. */
  #consumed(): void {
    if (this.#isReporting || (this.#flags & Flag.PEER_GONE) !== 0) return
    const { receiveBytes, receiveMessages } = this.#buffers
    const isMuch =
      this.#consumedBytes >= receiveBytes >> REPORT_SHIFT || this.#consumedMessages >= receiveMessages >> REPORT_SHIFT
    if (!isMuch && this.#queue.messages > 0) return
    this.#isReporting = true
    this.#sockets.report(this)
  }

  #roomAgain(): void {
    const room = this.#limitBytes - this.#outstandingBytes
    if (room >= this.#wantedBytes && this.#outstandingMessages < this.#limitMessages) this.#tellWritable()
  }

  #tellWritable(): void {
    if (this.#wantsRoom) this.#sockets.tell(this, Event.WRITABLE)
  }

  /** Its program, or the new one, hears of all that there is. */
  #tellAll(): void {
    const isReadable = this.#queue.messages > 0 || (this.#flags & Flag.ENDED) !== 0
    const events = (isReadable ? Event.READABLE : 0) | (this.#wantsRoom ? Event.WRITABLE : 0)
    this.#sockets.tell(this, events | (this.#errno === 0 ? 0 : Event.ERROR))
  }

  #peerClosed(isReset: boolean): void {
    this.#flags |= Flag.PEER_GONE
    if (this.kind !== 'datagram') this.#flags |= Flag.ENDED
    const { cpu, id } = this.#peer!
    this.#sockets.post(cpu, Op.gone, id)
    if (this.phase === Phase.closed) return
    if (isReset && this.kind !== 'datagram') this.#fail(Errno.ECONNRESET)
    if (this.kind !== 'datagram') this.#sockets.tell(this, Event.READABLE)
    this.#tellWritable()
  }

  #fail(errno: number): void {
    this.#errno = errno
    this.#sockets.tell(this, Event.ERROR)
  }

  #end(isReset: boolean): void {
    const wasOpening = this.phase === Phase.opening
    this.phase = Phase.closed
    this.#dropAll()
    this.#sockets.unbind(this.#name, this.id)
    // One that is not connected yet ends when it is.
    if (wasOpening) return
    if ((this.#flags & Flag.PEER_GONE) !== 0) this.#sockets.forget(this.id)
    else this.#post(Op.closed, isReset ? 1 : 0)
  }

  #dropAll(): void {
    for (let packet = this.#queue.shift(); packet !== 0; packet = this.#queue.shift()) {
      this.#sockets.drop(packet, C.droppedClosed)
    }
  }

  /** To the peer, as long as it is there. */
  #post(op: number, a = 0, b = 0): void {
    if (this.#peer !== undefined && (this.#flags & Flag.PEER_GONE) === 0)
      this.#sockets.post(this.#peer.cpu, op, this.#peer.id, a, b)
  }

  /** It was taken out of its message on another CPU, and goes there. */
  #depart(target: LocalAddress): void {
    this.unwrap()
    this.phase = Phase.departing
    this.#target = target
    const { cpu, id } = this.address
    if (this.#peer === undefined || (this.#flags & Flag.PEER_GONE) !== 0) this.#leave()
    else this.#sockets.post(this.#peer.cpu, Op.moving, this.#peer.id, target.cpu, target.id, cpu, id)
  }

  /** All that was sent to it here has come: it goes. */
  #leave(): void {
    const { cpu, id } = this.#target!
    const { packets, count } = this.#sockets
    for (let packet = this.#queue.shift(); packet !== 0; packet = this.#queue.shift()) {
      count[C.movedOut]!++
      packets.mark(packet, PacketFlag.MOVED)
      packets.direct(packet, id, this.id)
      this.#sockets.ship(cpu, packet)
    }
    this.#sockets.write(cpu, {
      op: 'state',
      id,
      state: {
        peer: this.#peer,
        name: this.#name,
        peerName: this.#peerName,
        peerCredentials: this.#peerCredentials,
        buffers: this.#buffers,
        wants: this.#wants,
        peerWants: this.#peerWants,
        limitBytes: this.#limitBytes,
        limitMessages: this.#limitMessages,
        outstandingBytes: this.#outstandingBytes,
        outstandingMessages: this.#outstandingMessages,
        consumedBytes: this.#consumedBytes,
        consumedMessages: this.#consumedMessages,
        flags: this.#flags,
        errno: this.#errno,
      },
    })
    this.phase = Phase.closed
    this.#sockets.forget(this.id)
  }
}
