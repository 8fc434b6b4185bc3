// A datagram socket (unix(7), SOCK_DGRAM), as its program has it: sends to names, and receives what is sent to its own. Made by LocalSockets
// (sockets.ts). A receiver gives room to its senders in the order in which they ask (lane.ts), as much as its buffer has: a sender has what it
// was given, sends at once, and says which is the last.
import { assert } from '../../base/assert.ts'
import { Errno, errnoName, KernelError } from '../../base/errno.ts'
import { Limits } from '../../base/limits.ts'
import type { Address } from '../../base/struct.ts'
import { encodeAncillary, traceOf } from './ancillary.ts'
import { LocalCounters } from './counters.ts'
import { type Buffers, checkName, type LocalAddress, type LocalOptions, Want, wantsOf } from './kind.ts'
import { type Lane, LaneState, type Waiting } from './lane.ts'
import { Op } from './message.ts'
import { PacketFlag } from './packet.ts'
import { PacketQueue } from './queue.ts'
import type { LocalMessage, LocalSendOptions, Prepared } from './right.ts'
import { Event } from './socket.ts'
import type { LocalSockets } from './sockets.ts'

const C = LocalCounters.index
/** Datagrams of one socket that may wait. */
const WAITING_MAX = 1024

export interface LocalDatagramOptions extends LocalOptions {
  /** What it is sent to by. Default: none; it then only sends. */
  readonly name?: string
}

/** Who has asked for room, and has none yet. */
interface Asker extends LocalAddress {
  readonly lane: number
  readonly messages: number
  readonly bytes: number
  readonly first: number
}

export class LocalDatagram {
  /** There is something to `receive`. Once a turn. */
  onReadable: () => void = () => {}
  /** There is room to send again, after EAGAIN. */
  onWritable: () => void = () => {}
  /**
   * What was accepted for a name cannot be sent: ENOENT: nothing has the name. ECONNREFUSED: it has been closed; EPROTOTYPE: it is no datagram
   * socket. EPERM: it is connected to another one. EMSGSIZE: more than its buffer. ENOBUFS: no memory.
   */
  onError: (errno: number, name: string) => void = () => {}
  readonly kind = 'datagram'
  /** @internal */
  readonly id: number
  /** @internal */
  pending = 0
  /** @internal What has caused the first of what is pending (kernel/trace). */
  trace = 0
  closed = false
  #name = ''
  readonly #buffers: Buffers
  #wants: number
  readonly #queue: PacketQueue
  /** Room that was given and not used yet. */
  #grantedBytes = 0
  #grantedMessages = 0
  readonly #grants = new Map<string, { bytes: number; messages: number }>()
  readonly #askers: Asker[] = []
  readonly #lanes = new Map<string, Lane>()
  readonly #lanesById = new Map<number, Lane>()
  #nextLane = 1
  #remote: Lane | undefined
  #onConnected: ((error: KernelError | undefined) => void) | undefined
  #waitingBytes = 0
  #waitingMessages = 0
  #wantsRoom = false
  #wantedBytes = 0
  readonly #errors: { readonly errno: number; readonly name: string }[] = []
  readonly #sockets: LocalSockets

  /** @internal */
  constructor(sockets: LocalSockets, id: number, options: LocalDatagramOptions, buffers: Buffers) {
    this.#sockets = sockets
    this.id = id
    this.#buffers = buffers
    this.#wants = wantsOf(options)
    this.#queue = new PacketQueue(sockets.packets, sockets.count)
  }

  /** Empty: none. */
  get name(): string {
    return this.#name
  }

  /** Datagrams that wait to be received. */
  get length(): number {
    return this.#queue.messages
  }

  /** Datagrams that were accepted, and wait for room at their receivers. */
  get waiting(): number {
    return this.#waitingMessages
  }

  /** Whom it is connected to; undefined: nobody. */
  get remote(): string | undefined {
    return this.#remote?.name
  }

  /**
   * Sends to a name, or connected without one, and returns how many bytes were accepted: all. Datagrams to one name arrive in order, whole, and
   * none is lost while its receiver is open; a receiver without room makes them wait here. What is sent connected, and what to a name, are two
   * orders.
   *
   * Else it returns a negative errno, and nothing was sent or given away: EAGAIN: what waits here has reached `sendBytes`, 1024 datagrams, or
   * 64 names: `onWritable` follows. EMSGSIZE: more than `sendBytes`. EDESTADDRREQ: no name, and not connected. EBADF: closed. EINVAL, EBADF
   * and ETOOMANYREFS for rights: see LocalSocket.send. What is found out later `onError` tells.
   * @throws KernelError EINVAL, ENAMETOOLONG for what cannot be a name
   */
  send(bytes: Uint8Array, target: string | undefined = undefined, options: LocalSendOptions = {}): number {
    if (this.closed) return -Errno.EBADF
    const lane = target === undefined ? this.#remote : this.#lane(checkName(target, 'send'))
    if (target === undefined && lane === undefined) return -Errno.EDESTADDRREQ
    if (lane === undefined) return this.#full(0)
    const prepared = this.#sockets.parcels.prepare(
      options,
      this.#sockets.parcels.wantedByAny,
      this.#name || undefined,
      this.#buffers.sendBytes >> 1,
    )
    if (typeof prepared === 'number') return -prepared
    assert(prepared !== undefined, 'who sends is always known')
    const charge = bytes.length + prepared.bytes.length
    if (charge > this.#buffers.sendBytes) return -Errno.EMSGSIZE
    if (this.#waitingBytes + charge > this.#buffers.sendBytes || this.#waitingMessages >= WAITING_MAX)
      return this.#full(charge)
    const packet = this.#sockets.isShort ? 0 : this.#sockets.packets.pack(bytes, 0, bytes.length)
    if (packet === 0) {
      this.#sockets.later(this)
      return this.#full(0)
    }
    this.#submit(lane, packet, prepared, charge, options)
    this.#sockets.count[C.bytesSent]! += bytes.length
    return bytes.length
  }

  /** The next datagram, its bytes copied to `target`; undefined: there is none. Its rights are the caller's then. */
  receive(target: Uint8Array): LocalMessage | undefined {
    const { packets, count, parcels } = this.#sockets
    const packet = this.#queue.shift()
    if (packet === 0) return undefined
    const length = packets.total(packet)
    const bytes = packets.take(packet, target, 0)
    const address = packets.ancillary(packet)
    const ancillary = address === 0 ? undefined : parcels.read(address)
    packets.free(packet)
    count[C.delivered]!++
    count[C.bytesReceived]! += bytes
    const { rights, areLost } = parcels.takeRights(ancillary)
    this.#serve()
    return {
      bytes,
      length,
      truncated: bytes < length,
      controlTruncated: areLost,
      from: ancillary?.from,
      credentials: ancillary?.credentials,
      rights,
      stackTrace: traceOf(ancillary),
    }
  }

  /**
   * From now on `send` needs no name, and only what the socket that has this name now sends is received. `done` is called when it is known, or with
   * ENOENT or EPROTOTYPE. When that socket is closed, `onError` says ECONNREFUSED of what is sent (connect(2)).
   * @throws KernelError EINVAL, ENAMETOOLONG, EBADF
   */
  connect(target: string, done: (error: KernelError | undefined) => void = () => {}): void {
    checkName(target, 'connect')
    if (this.closed) throw new KernelError(Errno.EBADF, `connect ${target}: the socket is closed`, 'connect')
    this.disconnect()
    const lane: Lane = {
      id: this.#newLaneId(),
      name: target,
      isPinned: true,
      target: undefined,
      state: LaneState.idle,
      queue: [],
    }
    this.#lanesById.set(lane.id, lane)
    this.#remote = lane
    this.#onConnected = done
    this.#resolve(lane)
  }

  /** Undoes `connect`. */
  disconnect(): void {
    const lane = this.#remote
    this.#remote = undefined
    this.#onConnected = undefined
    if (lane !== undefined) this.#tidy(lane)
  }

  /** Whether each datagram is to say who sent it, and to carry the stack: of those that have not been given room yet. */
  set({ passCredentials, stackTrace }: Pick<LocalOptions, 'passCredentials' | 'stackTrace'>): void {
    if (passCredentials !== undefined) this.#wants = (this.#wants & ~Want.CREDENTIALS) | wantsOf({ passCredentials })
    if (stackTrace !== undefined) this.#wants = (this.#wants & ~Want.TRACE) | wantsOf({ stackTrace })
  }

  /** Ends it. What it has accepted still goes to its receivers; what it has received and nobody took is lost. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.#sockets.unbind(this.#name, this.id)
    for (let packet = this.#queue.shift(); packet !== 0; packet = this.#queue.shift()) {
      this.#sockets.drop(packet, C.droppedClosed)
    }
    for (const asker of this.#askers.splice(0)) this.#refuse(asker, Errno.ECONNREFUSED, true)
    this.disconnect()
    this.#forgetIfDone()
  }

  // What follows is for LocalSockets.

  /** @internal */
  bound(name: string): void {
    this.#name = name
  }

  /** @internal A datagram came. */
  deliver(packet: Address): void {
    const { packets, count } = this.#sockets
    count[C.arrived]!++
    const key = keyOf(packets.sourceCpu(packet), packets.source(packet), packets.lane(packet))
    const charge = packets.charge(packet)
    const grant = this.#grants.get(key)
    assert(grant !== undefined && grant.bytes >= charge && grant.messages > 0, 'a datagram has been given room')
    grant.bytes -= charge
    grant.messages--
    this.#grantedBytes -= charge
    this.#grantedMessages--
    const isLast = packets.has(packet, PacketFlag.LAST)
    packets.mark(packet, PacketFlag.LAST, false)
    if (this.closed) this.#sockets.drop(packet, C.droppedClosed)
    else {
      this.#queue.push(packet)
      this.#sockets.tell(this, Event.READABLE)
    }
    if (isLast) this.#endGrant(key)
  }

  /** @internal A notice came. */
  notice(op: number, a: number, b: number, c: number, d: number, e: number, f: number): void {
    switch (op) {
      case Op.ask:
        this.#ask({ cpu: a, id: b, lane: c, messages: d, bytes: e, first: f })
        break
      case Op.ungrant:
        this.#endGrant(keyOf(a, b, c))
        break
      case Op.grant:
        this.#granted(this.#lanesById.get(a)!, b, c, d)
        break
      case Op.refuse:
        this.#refused(this.#lanesById.get(a)!, b, c !== 0)
        break
      default:
        assert(false, 'a datagram socket knows each notice for it')
    }
  }

  /** @internal The keeper of a name has said who has it. */
  resolved(laneId: number, errno: number, target: LocalAddress): void {
    const lane = this.#lanesById.get(laneId)
    if (lane === undefined) return
    lane.state = LaneState.idle
    const isRemote = lane === this.#remote
    const done = isRemote ? this.#onConnected : undefined
    if (isRemote) this.#onConnected = undefined
    if (errno === 0) lane.target = target
    else {
      this.#sockets.count[C.refused]!++
      if (isRemote) this.#remote = undefined
      this.#dropLane(lane, errno)
    }
    if (done !== undefined) {
      const sentence = `connect ${lane.name}: ${errnoName(errno)}: no datagram socket has this name: bind one first`
      const error = errno === 0 ? undefined : new KernelError(errno, sentence, 'connect')
      this.#sockets.call(() => done(error))
    }
    this.#pump(lane)
  }

  /** @internal The end of the turn. */
  run(): void {
    const events = this.pending
    this.pending = 0
    if (this.closed) return
    this.#sockets.count[C.notifications]!++
    if ((events & Event.READABLE) !== 0 && this.#queue.messages > 0) this.onReadable()
    if ((events & Event.WRITABLE) !== 0 && this.#wantsRoom && !this.closed) {
      this.#wantsRoom = false
      this.onWritable()
    }
    if ((events & Event.ERROR) === 0) return
    for (const { errno, name } of this.#errors.splice(0)) if (!this.closed) this.onError(errno, name)
  }

  /** @internal There is memory again, perhaps. */
  retry(): void {
    if (this.#wantsRoom) this.#sockets.tell(this, Event.WRITABLE)
    for (const lane of [...this.#lanesById.values()]) this.#pump(lane)
  }

  /** @internal The machine stops. */
  discard(): void {
    this.closed = true
    for (let packet = this.#queue.shift(); packet !== 0; packet = this.#queue.shift()) {
      this.#sockets.drop(packet, C.droppedClosed)
    }
    for (const lane of [...this.#lanesById.values()]) {
      for (let waiting = lane.queue.shift(); waiting !== undefined; waiting = lane.queue.shift())
        this.#dropWaiting(waiting)
    }
  }

  #submit(lane: Lane, packet: Address, prepared: Prepared, charge: number, options: LocalSendOptions): void {
    const { count, parcels } = this.#sockets
    const { ancillary, rank } = prepared
    const hasTrace = options.stackTrace !== undefined && options.stackTrace !== false
    const explicit = (options.credentials === true ? Want.CREDENTIALS : 0) | (hasTrace ? Want.TRACE : 0)
    parcels.give(prepared)
    lane.queue.push({ packet, ancillary, explicit, rank, charge })
    count[C.submitted]!++
    count[C.waiting]!++
    count[C.rightsWaiting]! += ancillary.rights.length
    this.#waitingBytes += charge
    this.#waitingMessages++
    this.#pump(lane)
  }

  #full(wanted: number): number {
    this.#sockets.count[C.full]!++
    this.#wantsRoom = true
    this.#wantedBytes = wanted
    return -Errno.EAGAIN
  }

  /** The lane to a name; undefined: there are too many already. */
  #lane(name: string): Lane | undefined {
    const known = this.#lanes.get(name)
    if (known !== undefined) return known
    if (this.#lanes.size >= Limits.localLanes) {
      const idle = [...this.#lanes.values()].find((each) => each.queue.length === 0 && each.state === LaneState.idle)
      if (idle === undefined) return undefined
      this.#forgetLane(idle)
    }
    const lane: Lane = {
      id: this.#newLaneId(),
      name,
      isPinned: false,
      target: undefined,
      state: LaneState.idle,
      queue: [],
    }
    this.#lanes.set(name, lane)
    this.#lanesById.set(lane.id, lane)
    return lane
  }

  #newLaneId(): number {
    do this.#nextLane = (this.#nextLane + 1) >>> 0 || 1
    while (this.#lanesById.has(this.#nextLane))
    return this.#nextLane
  }

  #forgetLane(lane: Lane): void {
    this.#lanesById.delete(lane.id)
    if (this.#lanes.get(lane.name) === lane) this.#lanes.delete(lane.name)
  }

  /** Asks for room where there is something to send, and nothing under way. */
  #pump(lane: Lane): void {
    if (lane.state !== LaneState.idle) return
    const first = lane.queue[0]
    if (first === undefined) return this.#tidy(lane)
    if (lane.target === undefined) return this.#resolve(lane)
    lane.state = LaneState.asking
    let bytes = 0
    for (const { charge } of lane.queue) bytes += charge
    const { cpu, id } = lane.target
    this.#sockets.post(
      cpu,
      Op.ask,
      id,
      this.#sockets.cpuIndex,
      this.id,
      lane.id,
      lane.queue.length,
      bytes,
      first.charge,
    )
  }

  #resolve(lane: Lane): void {
    lane.state = LaneState.resolving
    this.#sockets.toKeeper(lane.name, {
      op: 'resolve',
      name: lane.name,
      lane: lane.id,
      cpu: this.#sockets.cpuIndex,
      id: this.id,
    })
  }

  /** A lane with nothing in it is kept for its target, unless nobody can use it any more. */
  #tidy(lane: Lane): void {
    if (lane.queue.length > 0 || lane.state === LaneState.asking) return
    if (lane.isPinned ? lane !== this.#remote : this.closed) this.#forgetLane(lane)
    this.#forgetIfDone()
  }

  #granted(lane: Lane, messages: number, bytes: number, wants: number): void {
    lane.state = LaneState.idle
    const { cpu, id } = lane.target!
    let left = bytes
    let sent = 0
    for (let first = lane.queue[0]; first !== undefined; first = lane.queue[0]) {
      if (sent === messages || first.charge > left || !this.#attach(first, wants)) break
      lane.queue.shift()
      sent++
      left -= first.charge
      const next = lane.queue[0]
      const isLast = sent === messages || next === undefined || next.charge > left
      this.#release(first, id, lane, isLast, cpu)
      if (isLast) return this.#sentSome(lane)
    }
    // There was no memory for what goes along.
    this.#sockets.post(cpu, Op.ungrant, id, this.#sockets.cpuIndex, this.id, lane.id)
    this.#sockets.later(this)
  }

  #sentSome(lane: Lane): void {
    if (this.#waitingBytes + this.#wantedBytes <= this.#buffers.sendBytes && this.#wantsRoom) {
      this.#sockets.tell(this, Event.WRITABLE)
    }
    this.#pump(lane)
  }

  /** Puts to a datagram what its receiver wants of what may go along. False: no memory. */
  #attach({ packet, ancillary, explicit, rank }: Waiting, wants: number): boolean {
    const all = wants | explicit
    const chosen = {
      ...ancillary,
      credentials: (all & Want.CREDENTIALS) === 0 ? undefined : ancillary.credentials,
      trace: (all & Want.TRACE) === 0 ? undefined : ancillary.trace,
    }
    const bytes = encodeAncillary(chosen)
    return bytes === undefined || this.#sockets.parcels.attach(packet, { rights: [], ancillary: chosen, bytes, rank })
  }

  #release(waiting: Waiting, target: number, lane: Lane, isLast: boolean, cpu: number): void {
    const { packets } = this.#sockets
    this.#noLongerWaits(waiting)
    packets.direct(waiting.packet, target, this.id, lane.id)
    if (isLast) packets.mark(waiting.packet, PacketFlag.LAST)
    this.#sockets.ship(cpu, waiting.packet)
  }

  #noLongerWaits({ ancillary, charge }: Waiting): void {
    const { count } = this.#sockets
    count[C.waiting]!--
    count[C.rightsWaiting]! -= ancillary.rights.length
    this.#waitingBytes -= charge
    this.#waitingMessages--
  }

  #refused(lane: Lane, errno: number, isGone: boolean): void {
    lane.state = LaneState.idle
    if (isGone && !lane.isPinned) lane.target = undefined
    else if (errno === Errno.EMSGSIZE) {
      this.#dropWaiting(lane.queue.shift()!)
      this.#error(errno, lane.name)
    } else this.#dropLane(lane, errno)
    this.#sentSome(lane)
  }

  /** Nothing of what waits can be sent. */
  #dropLane(lane: Lane, errno: number): void {
    if (lane.queue.length > 0) this.#error(errno, lane.name)
    for (const waiting of lane.queue.splice(0)) this.#dropWaiting(waiting)
    if (this.#wantsRoom) this.#sockets.tell(this, Event.WRITABLE)
  }

  #dropWaiting(waiting: Waiting): void {
    this.#noLongerWaits(waiting)
    this.#sockets.parcels.loseRights(waiting.ancillary)
    this.#sockets.packets.free(waiting.packet)
    this.#sockets.count[C.droppedRefused]!++
  }

  /** Told once for each name and errno of a turn. */
  #error(errno: number, name: string): void {
    if (this.closed || this.#errors.some((each) => each.errno === errno && each.name === name)) return
    this.#errors.push({ errno, name })
    this.#sockets.tell(this, Event.ERROR)
  }

  #ask(asker: Asker): void {
    const remote = this.#remote?.target
    if (this.closed) this.#refuse(asker, Errno.ECONNREFUSED, true)
    else if (remote !== undefined && (remote.cpu !== asker.cpu || remote.id !== asker.id)) {
      this.#refuse(asker, Errno.EPERM, false)
    } else if (asker.first > this.#buffers.receiveBytes) this.#refuse(asker, Errno.EMSGSIZE, false)
    else {
      this.#askers.push(asker)
      this.#serve()
    }
  }

  #refuse({ cpu, id, lane }: Asker, errno: number, isGone: boolean): void {
    this.#sockets.post(cpu, Op.refuse, id, lane, errno, isGone ? 1 : 0)
  }

  /** Gives what room there is to those who have asked, one after the other. */
  #serve(): void {
    const { receiveBytes, receiveMessages } = this.#buffers
    for (let asker = this.#askers[0]; asker !== undefined; asker = this.#askers[0]) {
      const bytes = receiveBytes - this.#queue.bytes - this.#grantedBytes
      const messages = receiveMessages - this.#queue.messages - this.#grantedMessages
      if (messages < 1 || bytes < asker.first) return
      this.#askers.shift()
      const grant = { bytes: Math.min(bytes, asker.bytes), messages: Math.min(messages, asker.messages) }
      this.#grants.set(keyOf(asker.cpu, asker.id, asker.lane), grant)
      this.#grantedBytes += grant.bytes
      this.#grantedMessages += grant.messages
      this.#sockets.post(asker.cpu, Op.grant, asker.id, asker.lane, grant.messages, grant.bytes, this.#wants)
    }
  }

  #endGrant(key: string): void {
    const grant = this.#grants.get(key)!
    this.#grants.delete(key)
    this.#grantedBytes -= grant.bytes
    this.#grantedMessages -= grant.messages
    if (!this.closed) this.#serve()
    else this.#forgetIfDone()
  }

  /** A closed one stays until all that it has accepted is sent, and all that it has given room to has come. */
  #forgetIfDone(): void {
    if (!this.closed || this.#grants.size > 0) return
    for (const lane of this.#lanesById.values()) if (lane.queue.length > 0 || lane.state === LaneState.asking) return
    this.#sockets.forget(this.id)
  }
}

/** Whose room it is. */
function keyOf(cpu: number, id: number, lane: number): string {
  return `${cpu}:${id}:${lane}`
}
