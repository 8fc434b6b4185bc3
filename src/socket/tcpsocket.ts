// One end of a TCP connection, as its program has it. Made by TcpSockets (tcp.ts), which also moves its messages. Lives on the program's
// CPU: nobody else touches it.
import type { Address } from '../base/struct.ts'
import { CLUSTER_BYTES_MAX, MBUF_BYTES, Mbuf, type Mbufs } from '../device/mbuf.ts'
import type { PortId } from '../kernel/port.ts'
import type { Entry } from '../kernel/trace/tracer.ts'
import { TcpSocketCounters } from '../net/counters.ts'
import type { Endpoint } from '../net/endpoint.ts'
import { type RequestFields, TcpEvent, TcpOp } from '../net/tcp/message.ts'
import { PcbFlag } from '../net/tcp/pcb.ts'
import type { TcpSockets } from './tcp.ts'
import type { TcpInfo } from './tcpinfo.ts'
import { checkTtl } from './ttl.ts'

const C = TcpSocketCounters.index
const DATA = Mbuf.offset.data >> 2
const LENGTH = Mbuf.offset.length >> 2
const TOTAL = Mbuf.offset.total >> 2
const PART = Mbuf.offset.part >> 2
const LINK = Mbuf.offset.link >> 2
const SOCKET = Mbuf.offset.socket >> 2
const { CONNECTED, ROOM, END, ERROR, CLOSED, URGENT, SILENCE } = TcpEvent

/** What is received in pieces smaller than this is copied together: a peer that sends byte by byte does not keep an mbuf for each. */
const MERGE_BYTES_MAX = 256
/** Consumed bytes are reported in steps of this, and when nothing is left: each report is a message. */
const REPORT_BYTES = 16 * 1024
/** The largest piece of the send buffer: what an object of 64 KiB of the slab holds. */
const CLUSTER_BYTES = Math.min(65536 - Mbuf.size, CLUSTER_BYTES_MAX)
const SMALL_BYTES = MBUF_BYTES - Mbuf.size

/** What can be set before a connection is. */
export interface TcpSocketOptions {
  /** Send small segments at once: Nagle's algorithm off. Default false. */
  readonly noDelay?: boolean
  /** Ask a silent peer whether it is there, after so many ms. 0, the default: never. */
  readonly keepAliveMs?: number
  /** The send buffer, in bytes. Default: 256 KiB, and up to 4 MiB as the connection needs it. */
  readonly sendBytes?: number
  /** The receive buffer, likewise. */
  readonly receiveBytes?: number
  /** Give up after so many ms without an answer (RFC 5482). Default 0: after 15 retransmissions. */
  readonly userTimeoutMs?: number
  /** DSCP in the upper 6 bits (RFC 2474). Default 0. */
  readonly trafficClass?: number
  /** IP's time to live, 1 to 255. Default 64. */
  readonly ttl?: number
}

export interface TcpConnectOptions extends TcpSocketOptions {
  readonly address: string
  readonly port: number
  /** Default: the address of the interface on the way. */
  readonly localAddress?: string
  /** Default 0: chosen (RFC 6056), so that the connection is this CPU's where that can be. */
  readonly localPort?: number
}

export const Phase = { opening: 0, open: 1, failed: 2, closing: 3, closed: 4 } as const

/** What an attempt to connect is made of, for as long as it goes on. */
export interface Attempt {
  readonly options: TcpConnectOptions
  readonly local: Endpoint
  readonly remote: Endpoint
  tries: number
}

/** One end of a connection. Made by `TcpSockets.connect` and by listeners. */
export class TcpSocket {
  /** An attempt to connect has ended: 0, or an errno. */
  onConnect: (errno: number) => void = () => {}
  /** There is something to `receive`, or the end was reached (`ended`). Once a batch. */
  onReadable: () => void = () => {}
  /** There is room to `send` again, after it had taken less than it was given. */
  onWritable: () => void = () => {}
  /** The connection is gone: ECONNRESET, ETIMEDOUT, … What was received before can still be taken. @rfc 9293 MUST-47 SHLD-20 */
  onError: (errno: number) => void = () => {}
  /** After `close` or `abort`: nothing will be called any more. */
  onClosed: () => void = () => {}
  /** The peer has sent urgent data: the next so many bytes. They are received like all others (RFC 9293 3.8.5). */
  onUrgent: (bytes: number) => void = () => {}
  /** Three retransmissions were not answered. More follow; `onError` comes when they are given up. */
  onSilence: () => void = () => {}
  /** @internal */
  readonly number: number
  /** @internal The connection, in the eyes of its CPU; 0 until it is known. */
  pcb: Address = 0
  /** @internal The port of the connection's CPU. */
  requests: PortId = 0
  /** @internal Phase */
  phase: number = Phase.opening
  /** @internal TcpEvent bits that the program is to be told in this batch. */
  pending = 0
  /** @internal TraceId of what the first of them came of. */
  trace = 0
  /** @internal Its program has not been told yet that it is there, and hears of nothing else before. */
  isEarly = false
  errno = 0
  localAddress = ''
  localPort = 0
  remoteAddress = ''
  remotePort = 0
  readonly #sockets: TcpSockets
  readonly #words: Uint32Array
  readonly #mbufs: Mbufs
  /** @internal What an attempt to connect was made of, for another port. */
  attempt: Attempt | undefined
  #flags = 0
  #first: Address = 0
  #last: Address = 0
  #readable = 0
  #ended = false
  /** Consumed, and not yet reported. */
  #consumed = 0
  #outstanding = 0
  #limit = 0
  #wantsRoom = false
  #shut = false
  /** What was asked for before the connection was known. */
  #deferred: number = 0
  #settings: Map<number, (request: RequestFields) => void> | undefined
  #bytesSent = 0
  #bytesReceived = 0
  /** Bytes received until the end of the urgent data. */
  #urgentEnd = 0
  readonly #reportBytes: number

  /** @internal */
  constructor(sockets: TcpSockets, number: number, options: TcpSocketOptions) {
    this.#sockets = sockets
    this.#words = sockets.words
    this.#mbufs = sockets.mbufs
    this.number = number
    this.#flags = options.noDelay === true ? PcbFlag.NODELAY : 0
    // A small buffer is told of sooner: it would be closed for want of less.
    this.#reportBytes = Math.min(REPORT_BYTES, (options.receiveBytes || REPORT_BYTES * 4) >>> 2)
  }

  get state(): 'connecting' | 'open' | 'closed' {
    if (this.phase === Phase.opening) return 'connecting'
    return this.phase === Phase.open ? 'open' : 'closed'
  }

  /** Received, and not yet taken. */
  get readableBytes(): number {
    return this.#readable
  }

  /** The peer's stream has ended, and all of it was taken. */
  get ended(): boolean {
    return this.#ended && this.#readable === 0
  }

  /** What `send` would take now, in bytes. */
  get sendRoom(): number {
    return this.phase === Phase.open && this.pcb !== 0 ? Math.max(this.#limit - this.#outstanding, 0) : 0
  }

  /** Taken by `send`, and not known to have arrived: the connection tells in steps. */
  get unsentBytes(): number {
    return this.#outstanding
  }

  get bytesSent(): number {
    return this.#bytesSent
  }

  get bytesReceived(): number {
    return this.#bytesReceived
  }

  /** Copies as much of `bytes` as there is room for into the send buffer, and returns how many. `onWritable` follows if not all. */
  send(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.#shut ? 0 : this.sendRoom)
    let sent = 0
    while (sent < count) {
      const chunk = Math.min(count - sent, CLUSTER_BYTES)
      const packet = this.#pack(bytes, sent, chunk)
      if (packet === 0) {
        // There is room, but no memory: nobody else will tell that there is some again.
        this.#sockets.later(this)
        break
      }
      this.#hand(packet, chunk, this.send)
      sent += chunk
    }
    if (sent < bytes.length) this.#wantRoom()
    return sent
  }

  /**
   * Sends a packet as it is, without a copy: its data are the bytes. It owns the packet if it takes it; false where there is no room for
   * all of it.
   */
  sendPacket(packet: Address): boolean {
    const bytes = this.#words[(packet >> 2) + TOTAL]!
    if (this.#shut || this.sendRoom < bytes) {
      this.#wantRoom()
      return false
    }
    this.#hand(packet, bytes, this.sendPacket)
    return true
  }

  /** Copies what was received into `target`, and returns how many bytes. That opens the window again. */
  receive(target: Uint8Array): number {
    const words = this.#words
    const { transfer } = this.#sockets
    let copied = 0
    while (copied < target.length && this.#first !== 0) {
      const packet = this.#first
      const w = packet >> 2
      const length = words[w + LENGTH]!
      const count = Math.min(length, target.length - copied)
      if (count > 0) {
        const data = words[w + DATA]!
        transfer.toProgram(data, count, target, copied)
        copied += count
      }
      if (count < length) {
        this.#mbufs.trimFront(packet, count)
        break
      }
      this.#dropPart(packet)
    }
    this.#took(copied, this.receive)
    return copied
  }

  /** The next packet that was received, without a copy, or 0. The caller frees it. */
  receivePacket(): Address {
    const packet = this.#first
    if (packet === 0) return 0
    this.#first = this.#words[(packet >> 2) + LINK]!
    if (this.#first === 0) this.#last = 0
    this.#took(this.#words[(packet >> 2) + TOTAL]!, this.receivePacket)
    return packet
  }

  /** Ends the sending direction: FIN after all that was sent. */
  shutdown(): void {
    if (this.#shut || this.phase >= Phase.failed) return
    this.#shut = true
    this.#ask(TcpOp.shutdown)
  }

  /** Ends the socket: FIN after all that was sent; a reset if what was received has not been taken (RFC 9293 3.6.1). */
  close(): void {
    this.#end(this.#readable > 0 ? TcpOp.abort : TcpOp.close)
  }

  /** Ends it at once, by a reset. */
  abort(): void {
    this.#end(TcpOp.abort)
  }

  setNoDelay(on: boolean): void {
    this.#setFlag(PcbFlag.NODELAY, on)
  }

  /** Holds back segments that are not full, until it is taken back. */
  setCork(on: boolean): void {
    this.#setFlag(PcbFlag.CORK, on)
  }

  /** After `delayMs` of silence, then each `intervalMs` (default 75 s) up to `count` times (default 9). 0: off. */
  setKeepAlive(delayMs: number, intervalMs = 0, count = 0): void {
    this.#sockets.request(this, TcpOp.keepAlive, (r) => {
      r.keepAliveMs = delayMs
      r.interval = intervalMs
      r.limit = count
    })
  }

  /** As `send`, and all that was sent until now is urgent (RFC 9293 3.8.5): the receiver is told so, and reads it like all else. */
  sendUrgent(bytes: Uint8Array): number {
    const sent = this.send(bytes)
    if (sent > 0) this.#sockets.request(this, TcpOp.urgent, () => {})
    return sent
  }

  /**
   * IP's time to live of what is sent from now on.
   * @throws KernelError EINVAL for what is not 1 to 255
   */
  setTtl(ttl: number): void {
    checkTtl(ttl, 'setsockopt')
    this.#sockets.request(this, TcpOp.ttl, (r) => {
      r.value = ttl
    })
  }

  setTrafficClass(value: number): void {
    this.#sockets.request(this, TcpOp.trafficClass, (r) => {
      r.value = value
    })
  }

  /** How long what was sent may go without an answer, in ms; 0: the default. @rfc 9293 MUST-21 */
  setUserTimeout(ms: number): void {
    this.#sockets.request(this, TcpOp.userTimeout, (r) => {
      r.value = ms
    })
  }

  /** Fixed sizes of the buffers, in bytes; 0 leaves one as it is. */
  setBuffers(sendBytes: number, receiveBytes: number): void {
    this.#sockets.request(this, TcpOp.buffers, (r) => {
      r.sendBytes = sendBytes
      r.receiveBytes = receiveBytes
    })
  }

  /** What the connection knows of itself, as TCP_INFO; undefined where there is none, or no memory to ask. */
  info(done: (info: TcpInfo | undefined) => void): void {
    this.#sockets.askInfo(this, done)
  }

  /** @internal A packet of data has come. */
  deliver(packet: Address): void {
    const words = this.#words
    const w = packet >> 2
    const bytes = words[w + TOTAL]!
    this.#bytesReceived += bytes
    if (this.phase >= Phase.closing) {
      this.#sockets.count[C.receiveDropped]!++
      this.#mbufs.free(packet)
      return
    }
    this.#sockets.tally.received++
    this.#readable += bytes
    const last = this.#last
    if (
      last !== 0 &&
      bytes <= MERGE_BYTES_MAX &&
      words[(last >> 2) + PART] === 0 &&
      this.#mbufs.tailroom(last) >= bytes
    ) {
      const l = last >> 2
      this.#mbufs.copyOut(packet, 0, bytes, words[l + DATA]! + words[l + LENGTH]!)
      words[l + LENGTH]! += bytes
      words[l + TOTAL]! += bytes
      this.#mbufs.free(packet)
    } else {
      words[w + LINK] = 0
      if (last === 0) this.#first = packet
      else words[(last >> 2) + LINK] = packet
      this.#last = packet
    }
    this.#sockets.tell(this, TcpEvent.DATA)
  }

  /** @internal A notice has come. */
  notice(events: number, errno: number, acked: number, limit: number, urgent = 0): void {
    if ((events & URGENT) !== 0) this.#urgentEnd = this.#bytesReceived + urgent
    if (limit > 0) this.#limit = limit
    this.#outstanding -= acked
    if ((events & CONNECTED) !== 0 && this.phase === Phase.opening) this.phase = Phase.open
    if ((events & END) !== 0) this.#ended = true
    if ((events & ERROR) !== 0) {
      this.errno = errno
      if (this.phase < Phase.failed) {
        if (this.phase === Phase.open) this.pending &= ~CONNECTED
        this.phase = Phase.failed
      }
    }
    if ((events & CLOSED) !== 0) {
      this.phase = Phase.closed
      this.#discard()
    }
    let told = events & (CONNECTED | END | ERROR | CLOSED | URGENT | SILENCE)
    if ((events & (ROOM | CONNECTED)) !== 0 && this.#wantsRoom && this.sendRoom > 0) told |= ROOM
    if (told !== 0) this.#sockets.tell(this, told)
    if (this.#deferred !== 0 && this.pcb !== 0) this.#catchUp()
  }

  /** @internal The connection is known now, or is not to be. */
  known(pcb: Address, requests: PortId): void {
    this.pcb = pcb
    this.requests = requests
    for (const [op, fill] of this.#settings ?? []) this.#sockets.request(this, op, fill)
    this.#settings = undefined
  }

  /** @internal What was set before the connection was known: the last of each kind counts. */
  keep(op: number, fill: (request: RequestFields) => void): void {
    this.#settings ??= new Map()
    this.#settings.set(op, fill)
  }

  /** @internal The end of the batch: the program is told what is new. */
  run(): void {
    const events = this.pending
    this.pending = 0
    if ((events & CLOSED) !== 0) {
      this.onClosed()
      return
    }
    // After `close` the program hears nothing but that.
    if (this.phase >= Phase.closing) return
    const failed = (events & ERROR) !== 0
    if ((events & CONNECTED) !== 0) this.onConnect(0)
    if ((events & URGENT) !== 0 && this.phase < Phase.closing) {
      this.onUrgent(Math.max(this.#urgentEnd - this.#bytesReceived + this.#readable, 0))
    }
    if ((events & SILENCE) !== 0 && this.phase < Phase.closing) this.onSilence()
    if ((events & (TcpEvent.DATA | END)) !== 0 && this.phase < Phase.closing) this.onReadable()
    if ((events & ROOM) !== 0 && this.phase < Phase.closing && this.#wantsRoom) {
      this.#wantsRoom = false
      this.onWritable()
    }
    if (failed && this.phase < Phase.closing) {
      if (this.attempt !== undefined && (events & CONNECTED) === 0 && !this.wasConnected) this.onConnect(this.errno)
      else this.onError(this.errno)
    }
  }

  /** @internal Whether `onConnect(0)` is past. */
  wasConnected = false

  /** @internal For a connection that could not be, of which no CPU knows. */
  failAlone(errno: number): void {
    this.errno = errno
    this.phase = Phase.failed
    this.#sockets.tell(this, ERROR)
  }

  /** @internal */
  discardAtStop(): void {
    this.phase = Phase.closed
    this.#discard()
  }

  #hand(packet: Address, bytes: number, entry: Entry): void {
    this.#outstanding += bytes
    this.#bytesSent += bytes
    this.#words[(packet >> 2) + SOCKET] = this.pcb
    this.#sockets.tally.sent++
    this.#mbufs.handOff(this.requests, packet, entry)
  }

  /** One copy of the program's bytes, into one mbuf. */
  #pack(bytes: Uint8Array, from: number, count: number): Address {
    const packet = count <= SMALL_BYTES ? this.#mbufs.allocate(0) : this.#mbufs.allocateCluster(count)
    if (packet === 0) return 0
    const w = packet >> 2
    this.#sockets.transfer.toMachine(bytes, from, count, this.#words[w + DATA]!)
    this.#words[w + LENGTH] = count
    this.#words[w + TOTAL] = count
    this.#sockets.tally.copiedIn += count
    return packet
  }

  /** The first part of the first packet was taken. */
  #dropPart(packet: Address): void {
    const words = this.#words
    const w = packet >> 2
    const part = words[w + PART]!
    const link = words[w + LINK]!
    if (part !== 0) {
      words[(part >> 2) + TOTAL] = words[w + TOTAL]! - words[w + LENGTH]!
      words[(part >> 2) + LINK] = link
      words[w + PART] = 0
      this.#first = part
      if (this.#last === packet) this.#last = part
    } else {
      this.#first = link
      if (link === 0) this.#last = 0
    }
    this.#mbufs.free(packet)
  }

  #took(bytes: number, entry: Entry): void {
    if (bytes === 0) return
    this.#sockets.taken(this, bytes, entry)
    this.#readable -= bytes
    this.#consumed += bytes
    this.#sockets.tally.copiedOut += bytes
    if ((this.#consumed >= this.#reportBytes || this.#readable === 0) && this.phase === Phase.open)
      this.#sockets.report(this)
  }

  /** @internal At the end of the batch: tells the connection how much was consumed. */
  reportConsumed(): void {
    const bytes = this.#consumed
    if (bytes === 0 || this.phase !== Phase.open) return
    if (this.#sockets.requestValue(this, TcpOp.consumed, bytes)) this.#consumed = 0
  }

  #wantRoom(): void {
    if (this.#wantsRoom || this.phase > Phase.open || this.#shut) return
    this.#wantsRoom = true
    // Before it is open, that it opens is room.
    if (this.phase === Phase.open && this.pcb !== 0) this.#sockets.requestValue(this, TcpOp.wantRoom, 0)
  }

  #setFlag(flag: number, on: boolean): void {
    this.#flags = on ? this.#flags | flag : this.#flags & ~flag
    this.#sockets.request(this, TcpOp.flags, (r) => {
      r.flags = this.#flags
    })
  }

  #ask(op: number): void {
    if (this.pcb === 0) this.#deferred = op
    else if (!this.#sockets.requestValue(this, op, this.#consumed)) this.#deferred = op
  }

  #end(op: number): void {
    if (this.phase >= Phase.closing) return
    const alone = this.pcb === 0 && this.phase === Phase.failed
    this.phase = Phase.closing
    this.#dropAll()
    if (alone) {
      this.phase = Phase.closed
      this.#sockets.forget(this)
      this.#sockets.tell(this, CLOSED)
    } else this.#ask(op)
  }

  #catchUp(): void {
    const op = this.#deferred
    this.#deferred = 0
    this.#ask(op)
  }

  /** @internal What could not be done for want of memory is tried again. Whether all of it is done. */
  retry(): boolean {
    if (this.phase === Phase.closed || this.pcb === 0) return true
    if (this.#deferred !== 0) this.#catchUp()
    if (this.phase !== Phase.open) return this.#deferred === 0
    if (this.#readable === 0 || this.#consumed >= this.#reportBytes) this.reportConsumed()
    let done = this.#deferred === 0 && (this.#consumed === 0 || this.#readable > 0)
    if (this.#wantsRoom) {
      if (this.sendRoom > 0) this.#sockets.tell(this, ROOM)
      else if (!this.#sockets.requestValue(this, TcpOp.wantRoom, 0)) done = false
    }
    return done
  }

  #discard(): void {
    this.#dropAll()
    this.#sockets.forget(this)
  }

  #dropAll(): void {
    for (let packet = this.#first; packet !== 0; ) {
      const next = this.#words[(packet >> 2) + LINK]!
      this.#mbufs.free(packet)
      packet = next
    }
    this.#first = 0
    this.#last = 0
    this.#readable = 0
  }
}
