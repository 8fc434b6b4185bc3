// The program's side of TCP, as seen from the connection (RFC 9293 3.9.1): requests and data come to a port of the CPU that has the
// connections, notices and data go to the program's. Both are messages, also where the program is on the same CPU: there
// they are calls. See message.ts for what they say.
import { Errno } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import { Mbuf } from '../../device/mbuf.ts'
import { lockSite } from '../../kernel/lock.ts'
import { EASYNC, MessageFlag, MessageHeader } from '../../kernel/message.ts'
import { FREE_PORT, type Port, type PortId } from '../../kernel/port.ts'
import { addressBytes, type Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { flowHash } from '../toeplitz.ts'
import {
  abort,
  addShell,
  close,
  create,
  dropReceived,
  end,
  freeDead,
  open,
  removeShell,
  shutdown,
} from './connection.ts'
import { vanish } from './embryo.ts'
import { TcpEvent, TcpInfoMessage, TcpNotice, TcpOp, TcpRequest } from './message.ts'
import { outputAll } from './output.ts'
import { type Pcb, PcbFlag, TcpPcb, TupleKind } from './pcb.ts'
import { append } from './sendbuffer.ts'
import { distance } from './sequence.ts'
import { CAN_SEND, State } from './state.ts'
import type { Tcp } from './tcp.ts'
import { armSlow } from './timer.ts'
import { end as endTimeWait } from './timewait.ts'
import { noteCause } from './trace.ts'
import { consumed } from './window.ts'

const { TRACED } = MessageFlag
const C = TcpCounters.index
const TYPE = MessageHeader.offset.type >> 2
const SOCKET = Mbuf.offset.socket >> 2
const TOTAL = Mbuf.offset.total >> 2
const TELLER = TcpPcb.offset.teller >> 1
/** Where a group is entered. */
const DATA = lockSite('tcp data of a program')
const REQUEST = lockSite('tcp request')
const TELL = lockSite('tcp tell')
const OUTPUT = lockSite('tcp output')
/** Batches that are served where more than one waits. */
const CATCH_UP = 8
/** Flags of the PCB that the program may set. */
const OF_PROGRAM = PcbFlag.NODELAY | PcbFlag.CORK

export class TcpUser {
  readonly port: Port
  readonly #t: Tcp
  readonly #u16: Uint16Array
  readonly #request
  readonly #notice
  readonly #info
  /** The ports of the other CPUs, as far as they were needed. */
  readonly #ports: PortId[] = []

  constructor(t: Tcp) {
    this.#t = t
    const { cpu, context } = t
    this.#u16 = context.memory.u16
    this.#request = TcpRequest.cursor(context.memory)
    this.#notice = TcpNotice.cursor(context.memory)
    this.#info = TcpInfoMessage.cursor(context.memory)
    this.port = cpu.ports.create({
      name: context.portName('tcp', cpu.index),
      point: 'snd',
      // Of what programs ask on this CPU nothing is a call any more once something waits: so more is done in a turn than can come in one.
      batch: CATCH_UP * cpu.batches.port,
      handler: (message) => this.#handle(message),
    })
    const { groups } = t
    cpu.addRollup(1, () => {
      t.now = cpu.now
      groups.forTouched(() => this.#tellAll(), TELL)
    })
    cpu.addRollup(3, () => {
      t.now = cpu.now
      groups.settleTouched(() => this.#sendAll(), OUTPUT)
    })
    // What programs have asked for from outside of a turn waits for the next one, which has to take place.
    const waits = () => (groups.isLocked ? groups.hasTouched : t.hasWork)
    cpu.addPollable({ poll: () => (waits() ? 1 : 0), flush: () => {}, pending: waits, close: () => {} })
    cpu.onStop(() => this.#stop())
  }

  /** Whether nothing is left to do in the group. */
  #sendAll(): boolean {
    const t = this.#t
    t.hasSent = false
    outputAll(t)
    freeDead(t)
    // Packets refer to bytes of the send buffer, which the next one who is inside may free.
    if (t.groups.isLocked && t.hasSent) for (const each of t.cpu.pollables) each.flush()
    return !t.hasWork
  }

  /** A packet of data for a connection, or a request. */
  #handle(message: Address): number {
    const t = this.#t
    t.enter()
    const type = t.words[(message >> 2) + TYPE]
    if (type === Mbuf.type) {
      const pcb = t.words[(message >> 2) + SOCKET]!
      const teller = this.#u16[(pcb >> 1) + TELLER]!
      if (teller !== t.cpu.index) return this.#passOn(message, teller)
      t.groups.enter(t.groupOf(pcb), DATA)
      this.#data(message)
      t.groups.leave()
      return EASYNC
    }
    if (type === TcpInfoMessage.type) {
      const i = this.#info
      i.at = message
      const teller = this.#u16[(i.pcb >> 1) + TELLER]!
      if (teller !== t.cpu.index) return this.#passOn(message, teller)
      t.groups.enter(t.groupOf(i.pcb), REQUEST)
      this.#fillInfo(message)
      t.groups.leave()
      return 0
    }
    const r = this.#request
    r.at = message
    if (r.op === TcpOp.connect) {
      const group = t.groups.of(flowHash(t.u8, r.family as Family, r.local, r.remote, r.localPort, r.remotePort))
      if (!t.groups.isOpen(group)) return this.#passOn(message, this.#homeOf(group))
      t.groups.enter(group, REQUEST)
      const errno = this.#connect()
      t.groups.leave()
      // Not inside: the program may try another port at once, which is another group's.
      return errno === 0 ? 0 : this.#refuse(message, errno)
    }
    const { p } = t
    const teller = this.#u16[(r.pcb >> 1) + TELLER]!
    if (teller !== t.cpu.index) return this.#passOn(message, teller)
    t.groups.enter(t.groupOf(r.pcb), REQUEST)
    p.at = r.pcb
    this.#carryOut(p)
    t.groups.leave()
    // Freed at home, or answered to whoever wants to know.
    return 0
  }

  /**
   * Another CPU's, since the discipline has changed. Sockets go on sending to where they began, and what is for a connection goes on from
   * there to the CPU that tells its program, also where a lock would let this one in: else it would overtake what is on its way.
   */
  #passOn(message: Address, cpu: number): number {
    this.#t.cpu.ports.forward(this.#portOf(cpu), message)
    return EASYNC
  }

  #homeOf(group: Address): number {
    const { context, groups } = this.#t
    return context.config.cpus[groups.set.homeOf(groups.set.indexOf(group))]!
  }

  #portOf(cpu: number): PortId {
    const { context } = this.#t
    this.#ports[cpu] ||= context.cpu.ports.lookup(context.portName('tcp', cpu))
    return this.#ports[cpu]
  }

  #data(packet: Address): void {
    const t = this.#t
    const { p, words } = t
    p.at = words[(packet >> 2) + SOCKET]!
    t.assertInside(p.at)
    if ((p.state & CAN_SEND) === 0 || (p.flags & PcbFlag.FIN) !== 0) {
      // Reset meanwhile: the program is about to hear of it.
      t.count[C.sendDropped]!++
      t.mbufs.free(packet)
      return
    }
    append(t, p, packet)
    t.wantOutput(p)
  }

  #carryOut(p: Pcb): void {
    const t = this.#t
    t.assertInside(p.at)
    const r = this.#request
    switch (r.op) {
      case TcpOp.consumed:
        if (p.state !== State.closed && consumed(t, p, r.value)) {
          p.flags |= PcbFlag.ACK_NOW
          t.wantOutput(p)
        }
        break
      case TcpOp.attach:
        this.#attach(p)
        break
      case TcpOp.shutdown:
        shutdown(t, p)
        break
      case TcpOp.close:
        this.#unlist(p)
        p.rcvHeld -= r.value
        close(t, p)
        break
      case TcpOp.abort:
        this.#unlist(p)
        p.flags |= PcbFlag.DETACHED
        removeShell(t, p)
        if (p.state === State.closed) t.tell(p, TcpEvent.CLOSED)
        else abort(t, p, true)
        break
      case TcpOp.flags:
        p.flags = (p.flags & ~OF_PROGRAM) | (r.flags & OF_PROGRAM)
        t.wantOutput(p)
        break
      case TcpOp.wantRoom:
        p.flags |= PcbFlag.WANT_ROOM
        if (p.acked > 0) t.tell(p, TcpEvent.ROOM)
        break
      case TcpOp.keepAlive:
        p.keepAliveIdleMs = r.keepAliveMs
        if (r.interval > 0) p.keepAliveIntervalMs = r.interval
        if (r.limit > 0) p.keepAliveCount = r.limit
        if (p.state !== State.closed && (p.state & State.synSent) === 0) armSlow(t, p)
        break
      case TcpOp.trafficClass:
        // The two lower bits are ECN's (RFC 3168), and not the program's. @rfc 9293 MUST-48 SHLD-21 SHLD-22
        p.trafficClass = r.value & 0xfc
        break
      case TcpOp.urgent:
        // @rfc 9293 MUST-30 MUST-31
        if ((p.state & CAN_SEND) !== 0) {
          p.sndUp = p.sndEnd
          p.flags |= PcbFlag.URGENT
          t.wantOutput(p)
        }
        break
      case TcpOp.tell:
        // At once: in the list of a group that many CPUs share, another one would find it first, and call again.
        p.events &= ~TcpEvent.CALLED
        this.#tellOne(p, p.at)
        break
      case TcpOp.ttl:
        // @rfc 9293 MUST-49
        p.ttl = r.value
        break
      case TcpOp.userTimeout:
        p.userTimeoutMs = r.value
        break
      default:
        if (r.sendBytes > 0) {
          p.sndLimit = r.sendBytes
          p.sndBufferMax = r.sendBytes
          t.tell(p, TcpEvent.ROOM)
        }
        if (r.receiveBytes > 0) p.rcvBuffer = p.rcvBufferMax = Math.max(r.receiveBytes, p.rcvBuffer)
    }
  }

  /** The program has taken the connection: it gets what has waited for that. */
  #attach(p: Pcb): void {
    const t = this.#t
    const r = this.#request
    this.#unlist(p)
    p.socket = r.socket
    p.port = r.port
    t.tell(p, p.rcvFirst !== 0 ? TcpEvent.DATA : 0)
  }

  /** It does not wait for its program any more. */
  #unlist(p: Pcb): void {
    if (p.listener === 0) return
    const listener = this.#t.listeners.byId(p.listener)
    if (listener !== undefined) listener.addWaiting(-1)
    p.listener = 0
  }

  /** An active open, for a program that has chosen both ends. 0, or why it cannot be. */
  #connect(): number {
    const t = this.#t
    const r = this.#request
    const family = r.family as Family
    const taken = t.table.lookup(family, r.local, r.localPort, r.remote, r.remotePort)
    if (taken !== 0) return Errno.EADDRINUSE
    if (!create(t, r.sendBytes, r.receiveBytes)) return Errno.ENOBUFS
    const { p } = t
    p.family = family
    const bytes = addressBytes(family)
    t.u8.copyWithin(p.local, r.local, r.local + bytes)
    t.u8.copyWithin(p.remote, r.remote, r.remote + bytes)
    p.localPort = r.localPort
    p.remotePort = r.remotePort
    p.port = r.port
    p.teller = t.cpu.index
    p.socket = r.socket
    p.flags |= r.flags & OF_PROGRAM
    p.trafficClass = r.trafficClass & 0xfc
    if (r.ttl > 0) p.ttl = r.ttl
    p.keepAliveIdleMs = r.keepAliveMs
    p.userTimeoutMs = r.value
    const { tracer } = t
    // A program of this CPU has called, which is no cause that runs.
    if (t.traceMarks !== 0 && tracer.current <= 0) noteCause(p, tracer.kept(r.at))
    const pcb = p.at
    open(t, p)
    p.at = pcb
    this.#send(p.port, p, TcpEvent.ROOM)
    return 0
  }

  /**
   * A connection that could not be: the notice names no PCB, and is the last for this socket. It is the request itself, made into one: there may
   * be no memory for another message, and nobody else would ever tell the program.
   */
  #refuse(message: Address, errno: number): number {
    const t = this.#t
    const r = this.#request
    const n = this.#notice
    r.at = message
    const { port, socket } = r
    t.words[(message >> 2) + TYPE] = TcpNotice.type
    t.u8.fill(0, message + TcpNotice.offset.events, message + TcpNotice.size)
    n.at = message
    n.events = TcpEvent.ERROR | TcpEvent.CLOSED
    n.errno = errno
    n.socket = socket
    t.cpu.ports.forward(port, message)
    return EASYNC
  }

  /** The roll-up: each program is told once of all that its connection has for it. */
  #tellAll(): void {
    const t = this.#t
    const { p } = t
    const { tracer } = t
    // Programs answer at once, and put connections on a new list.
    let pcb = t.eventFirst
    t.eventFirst = 0
    while (pcb !== 0) {
      p.at = pcb
      const next = p.eventNext
      const { flags } = p
      p.flags = flags & ~PcbFlag.IN_EVENTS
      if (t.traceMarks !== 0 && (t.traceMarks === TRACED || (flags & PcbFlag.TRACED) !== 0)) tracer.current = p.trace
      this.#tellOne(p, pcb)
      pcb = next
    }
    tracer.current = 0
  }

  #tellOne(p: Pcb, pcb: Address): void {
    const t = this.#t
    const { events, flags, port } = p
    if (t.groups.isLocked && port !== 0 && p.teller !== t.cpu.index) {
      // One CPU tells the program, or what two have told it might change places.
      if ((events & TcpEvent.CALLED) === 0 && events !== 0) this.#call(p)
      if (p.state === State.closed && (flags & PcbFlag.DETACHED) !== 0) addShell(t, p)
      return
    }
    if (p.socket === 0) {
      // Nobody's yet: announced once, and what else there is waits until it is attached.
      if (port !== 0 && (events & TcpEvent.INCOMING) !== 0 && (flags & PcbFlag.ANNOUNCED) === 0) {
        p.flags |= PcbFlag.ANNOUNCED
        p.events &= ~TcpEvent.INCOMING
        this.#send(port, p, TcpEvent.INCOMING)
        p.at = pcb
      }
    } else if (port !== 0) {
      p.events = events & TcpEvent.CALLED
      if (p.rcvFirst !== 0 && (p.flags & PcbFlag.DETACHED) === 0) this.#deliver(p, pcb)
      const notices = events & ~(TcpEvent.DATA | TcpEvent.CALLED)
      if (notices !== 0) {
        if ((notices & TcpEvent.CLOSED) !== 0) p.port = 0
        this.#send(port, p, notices)
      }
      p.at = pcb
    }
    const isOver = p.state === State.closed && (p.flags & PcbFlag.DETACHED) !== 0
    if (isOver && (p.flags & PcbFlag.IN_EVENTS) === 0) {
      if ((p.events & TcpEvent.CALLED) === 0) {
        removeShell(t, p)
        p.flags |= PcbFlag.IN_EVENTS
        p.eventNext = t.deadFirst
        t.deadFirst = pcb
      } else addShell(t, p)
    }
  }

  /** Calls the CPU that tells its program to the connection, which has something to tell. */
  #call(p: Pcb): void {
    const t = this.#t
    const r = this.#request
    const { ports } = t.cpu
    const message = ports.tryAllocate(TcpRequest, FREE_PORT)
    if (message === 0) {
      t.count[C.noticesDelayed]!++
      t.tell(p, p.events)
      return
    }
    r.at = message
    r.op = TcpOp.tell
    r.pcb = p.at
    p.events |= TcpEvent.CALLED
    ports.send(this.#portOf(p.teller), message)
  }

  /** Passes on what came in order: the packet itself. */
  #deliver(p: Pcb, pcb: Address): void {
    const t = this.#t
    const { words, mbufs } = t
    const packet = p.rcvFirst
    p.rcvFirst = 0
    p.rcvLast = 0
    words[(packet >> 2) + SOCKET] = p.socket
    t.tally.delivered++
    t.tally.deliveredBytes += words[(packet >> 2) + TOTAL]!
    mbufs.handOff(p.port, packet)
    p.at = pcb
  }

  #send(port: PortId, p: Pcb, events: number): void {
    const t = this.#t
    const n = this.#notice
    const notice = t.cpu.ports.tryAllocate(TcpNotice, FREE_PORT)
    if (notice === 0) {
      // Tried again with the next batch.
      t.count[C.noticesDelayed]!++
      if ((events & TcpEvent.CLOSED) !== 0) p.port = port
      if ((events & TcpEvent.INCOMING) !== 0) p.flags &= ~PcbFlag.ANNOUNCED
      t.tell(p, events)
      return
    }
    n.at = notice
    n.events = events
    n.pcb = p.at
    n.socket = p.socket
    n.errno = p.error
    if ((events & TcpEvent.ROOM) !== 0) {
      // The buffer holds twice the congestion window: what is in flight, and as much again.
      p.sndLimit = Math.min(Math.max(p.sndLimit, 2 * p.cwnd), p.sndBufferMax)
    }
    n.acked = p.acked
    n.limit = p.sndLimit
    p.acked = 0
    p.flags &= ~PcbFlag.WANT_ROOM
    n.localPort = p.localPort
    n.remotePort = p.remotePort
    n.family = p.family
    n.cpu = t.cpu.index
    n.requests = this.port.id
    // @rfc 9293 MUST-33
    n.urgent = (events & TcpEvent.URGENT) === 0 ? 0 : distance(p.rcvNxt, p.rcvUp)
    n.listener = 0
    if ((events & TcpEvent.INCOMING) !== 0) {
      n.listener = t.listeners.byId(p.listener)?.options.socket ?? 0
      t.u8.copyWithin(n.local, p.local, p.local + 16)
      t.u8.copyWithin(n.remote, p.remote, p.remote + 16)
    }
    t.cpu.ports.send(port, notice)
  }

  #fillInfo(message: Address): void {
    const t = this.#t
    const { p } = t
    const i = this.#info
    i.at = message
    p.at = i.pcb
    i.family = p.family
    i.congestionControl = p.congestionControl
    i.tcpState = p.state
    i.flags = p.flags
    i.cwnd = p.cwnd
    i.ssthresh = p.ssthresh
    i.sndWnd = p.sndWnd
    i.rcvWnd = Math.max(distance(p.rcvNxt, p.rcvAdvertised), 0)
    i.mss = p.mss
    i.mtu = p.mtu
    i.flight = p.flight
    i.unsent = Math.max(distance(p.sndNxt, p.sndEnd), 0)
    i.segmentsSent = p.segmentsSent
    i.segmentsReceived = p.segmentsReceived
    i.retransmitted = p.retransmitted
    i.early = p.earlyBytes
    i.sndScale = p.sndScale
    i.rcvScale = p.rcvScale
    i.backoff = p.backoff
    i.rcvBuffer = p.rcvBuffer
    i.sndLimit = p.sndLimit
    i.srttUs = p.srtt
    i.rttvarUs = p.rttvar
    i.rtoUs = p.rto
    i.rttMinUs = p.rttMin
    i.bytesSent = p.bytesSent
    i.bytesReceived = p.bytesReceived
  }

  /** The machine stops: what the connections have goes back. */
  #stop(): void {
    const t = this.#t
    t.enter()
    t.groups.closeHome(() => this.#stopGroup())
  }

  #stopGroup(): void {
    const t = this.#t
    const { p } = t
    t.table.forEach((record) => {
      t.tuple.at = record
      const { kind } = t.tuple
      if (kind === TupleKind.embryo) vanish(t, record)
      else if (kind === TupleKind.timeWait) endTimeWait(t, record)
      else {
        p.at = record
        // Nothing comes any more that it would have to be remembered for.
        p.ofCookie = 0
        end(t, p)
      }
    })
    // The lists' own: connections that were let go in the last turn.
    for (let pcb = t.eventFirst; pcb !== 0; ) {
      p.at = pcb
      const next = p.eventNext
      if (p.state === State.closed && (p.flags & PcbFlag.DETACHED) !== 0) {
        removeShell(t, p)
        p.eventNext = t.deadFirst
        t.deadFirst = pcb
      }
      pcb = next
    }
    t.eventFirst = 0
    while (t.shellFirst !== 0) {
      p.at = t.shellFirst
      removeShell(t, p)
      dropReceived(t, p)
      t.slab.free(p.at)
    }
    freeDead(t)
  }
}
