// The life of a connection: how its PCB comes to be, is opened, closed, and ends (RFC 9293 3.10.1, 3.10.4, 3.10.5).

import { finish, pseudoHeaderSum } from '../../base/checksum.ts'
import { Errno } from '../../base/errno.ts'
import { Limits } from '../../base/limits.ts'
import type { Address } from '../../base/struct.ts'
import { MessageFlag } from '../../kernel/message.ts'
import { addressBytes, type Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { HostMetrics } from '../hostcache/hostcache.ts'
import { IpProtocol } from '../ip/header.ts'
import { DEFAULT_TTL } from '../ip/output.ts'
import { sumPacket } from '../ip/sum.ts'
import { TcpFlag, TcpHeader } from './header.ts'
import type { Listener } from './listener.ts'
import { TcpEvent } from './message.ts'
import { headerBytes, lookUpPath, MSS_DEFAULT } from './mtu.ts'
import { writeSyn } from './options.ts'
import { transmit } from './output.ts'
import { type Pcb, PcbFlag, TcpPcb, TupleKind } from './pcb.ts'
import { free as freeEarly } from './reassembly.ts'
import { afterSynTimeout, initialize as initializeRtt } from './rtt.ts'
import { dropAll } from './segment.ts'
import { discard } from './sendbuffer.ts'
import { CAN_SEND, State, SYNCHRONIZED } from './state.ts'
import type { Tcp } from './tcp.ts'
import { armSlow, armSyn, cancelAll } from './timer.ts'
import { begin as beginTimeWait } from './timewait.ts'
import { noteCause, noteSyn } from './trace.ts'

const C = TcpCounters.index
const { TRACED } = MessageFlag
const AT = TcpHeader.offset
const HEADER = TcpHeader.size
const SYN_OPTION_BYTES = 20
const M = HostMetrics.offset
const PCB_BYTES = TcpPcb.size
const NEXT = TcpPcb.offset.next
const HASH = TcpPcb.offset.hash
/** The shift of our windows: 65535 of them are 8 MiB, twice what auto-tuning gives. */
export const SCALE_OF_LISTENERS = 7
const NO_FRAGMENTS = { dontFragment: true } as const
/** Keep-alive as Linux has it, once it is asked for: @rfc 9293 MUST-28 the default is two hours. */
export const KEEP_ALIVE = { idleMs: 7_200_000, intervalMs: 75_000, count: 9 } as const

/** The MSS that our SYN to `remote` announces (@rfc 9293 MUST-67 SHLD-5 MAY-3, @rfc 1122 3.3.2/mms-r, RFC 6691: of the MTU, without subtracting options). */
export function announcedMss(t: Tcp, family: Family, remote: Address): number {
  const iface = t.ip.interfaceTo(remote)
  return Math.min(iface?.info.mtu ?? 576, 65535) - headerBytes(family)
}

/** A new PCB at the cursor `t.p`, not in the table yet; false when there is no memory, or there are too many. */
export function create(t: Tcp, sendBytes: number, receiveBytes: number): boolean {
  const { p } = t
  if (t.connections >= t.limits.connections) return false
  const pcb = t.slab.tryAllocate(PCB_BYTES)
  if (pcb === 0) return false
  t.u8.fill(0, pcb, pcb + PCB_BYTES)
  t.connections++
  t.count[C.opened]!++
  p.at = pcb
  p.kind = TupleKind.connection
  p.host = t.host
  p.group = t.groups.current
  noteCause(p, t.tracer.current)
  p.ttl = DEFAULT_TTL
  p.rcvBuffer = receiveBytes || Limits.tcpReceiveBytes
  p.rcvBufferMax = receiveBytes || Limits.tcpReceiveBytesMax
  p.sndLimit = sendBytes || Limits.tcpSendBytes
  p.sndBufferMax = sendBytes || Limits.tcpSendBytesMax
  p.rcvMss = MSS_DEFAULT[4]
  p.rackMultiplier = 1
  p.keepAliveIntervalMs = KEEP_ALIVE.intervalMs
  p.keepAliveCount = KEEP_ALIVE.count
  p.rcvScale = SCALE_OF_LISTENERS
  p.pathGeneration = -1
  p.lastReceivedAt = t.now
  p.roundAt = t.now
  initializeRtt(p)
  return true
}

/** Both ends have agreed: the parameters of the peer's SYN are in the PCB. */
export function establish(t: Tcp, p: Pcb): void {
  const wasSent = p.retransmits > 0
  p.state = State.established
  p.pathGeneration = -1
  lookUpPath(t, p)
  p.rcvMss = Math.min(p.mss, 1460)
  p.rackRound = p.sndUna
  p.fack = p.sndUna
  // No recovery has been: there is nothing of one in flight (RFC 6582 3.2 step 1).
  p.recover = (p.sndUna - 1) | 0
  p.sndWndMax = p.sndWnd
  t.control(p).initialize(p)
  if (wasSent) afterSynTimeout(p)
  const known = t.hostCache.lookup(p.family as Family, p.remote)
  if (known !== 0) {
    const words = t.words
    const ssthresh = words[(known + M.ssthreshBytes) >> 2]!
    // A slow start may end where the last one found that it should; the round trip is measured anew at once.
    if (ssthresh > 0) p.ssthresh = Math.max(ssthresh, 2 * p.mss)
    if (p.srtt === 0 && words[(known + M.rttUs) >> 2]! > 0) {
      p.rto = Math.max(p.rto, words[(known + M.rttUs) >> 2]! + 4 * words[(known + M.rttvarUs) >> 2]!)
    }
  }
  p.retransmits = 0
  p.backoff = 0
  cancelSyn(p)
  t.count[C.established]!++
  if (p.keepAliveIdleMs > 0) armSlow(t, p)
}

function cancelSyn(p: Pcb): void {
  p.timerKind = 0
}

/** The PCB at `t.p`, whose tuple is filled in, opens the connection (RFC 9293 3.10.1, active OPEN). */
export function open(t: Tcp, p: Pcb): void {
  const family = p.family as Family
  p.iss = t.sequences.next(t.now, t.view, family, p.local, p.localPort, p.remote, p.remotePort)
  p.timestampOffset = t.sequences.timestampOffset(t.view, family, p.local, p.localPort, p.remote, p.remotePort)
  p.sndUna = p.iss
  p.sndNxt = (p.iss + 1) | 0
  p.sndEnd = p.sndNxt
  p.tracedEnd = p.sndEnd
  p.peerMss = MSS_DEFAULT[family]
  p.state = State.synSent
  p.firstUnansweredAt = t.now
  t.tuple.at = p.at
  t.table.insert(t.tuple)
  sendSyn(t, p)
}

/** Sends our SYN, or in SYN-RECEIVED our SYN with ACK, for the first time or again. */
export function sendSyn(t: Tcp, p: Pcb): void {
  armSyn(t, p)
  const { m, view, mbufs } = t
  const packet = mbufs.allocateHeader()
  if (packet === 0) return
  let header = mbufs.prepend(packet, HEADER + SYN_OPTION_BYTES)
  const family = p.family as Family
  const answers = p.state === State.synReceived
  const agreed = answers ? p.flags : PcbFlag.SCALE | PcbFlag.SACK | PcbFlag.TIMESTAMPS
  const optionBytes = writeSyn(
    view,
    header + HEADER,
    announcedMss(t, family, p.remote),
    // @rfc 7323 2.2/agree 3.2/agree: offered in a SYN, and in an answer only what was offered.
    (agreed & PcbFlag.SCALE) !== 0 ? p.rcvScale : -1,
    (agreed & PcbFlag.SACK) !== 0,
    (agreed & PcbFlag.TIMESTAMPS) !== 0,
    t.timestamp(p),
    p.tsRecent,
  )
  const unused = SYN_OPTION_BYTES - optionBytes
  if (unused > 0) {
    t.u8.copyWithin(header + HEADER + unused, header + HEADER, header + HEADER + optionBytes)
    mbufs.trimFront(packet, unused)
    header += unused
  }
  const length = HEADER + optionBytes
  let bits: number = answers ? TcpFlag.syn | TcpFlag.ack : TcpFlag.syn
  // @rfc 9293 SHLD-8
  if (!answers && t.context.config.ecn === true && p.retransmits === 0) bits |= TcpFlag.ece | TcpFlag.cwr
  view.setInt32(header, (p.localPort << 16) | p.remotePort)
  view.setInt32(header + AT.sequence, p.iss)
  view.setInt32(header + AT.acknowledgment, answers ? p.rcvNxt : 0)
  view.setUint16(header + AT.dataOffset, (length << 10) | bits)
  // @rfc 7323 2.2/syn-unscaled
  const window = Math.min(p.rcvBuffer, 65535)
  view.setUint16(header + AT.window, window)
  view.setInt32(header + AT.checksum, 0)
  if (answers) p.rcvAdvertised = (p.rcvNxt + window) | 0
  m.at = packet
  if (t.context.checksums) {
    const pseudo = pseudoHeaderSum(t.routines, p.local, p.remote, addressBytes(family), IpProtocol.tcp, length)
    view.setUint16(header + AT.checksum, finish(sumPacket(t.routines, m, packet, pseudo)))
    m.at = packet
  }
  m.family = family
  m.protocol = IpProtocol.tcp
  m.ttl = p.ttl
  m.trafficClass = p.trafficClass
  m.source = p.local
  m.target = p.remote
  t.tally.sent++
  t.hasSent = true
  p.segmentsSent++
  p.lastSentAt = t.now
  if (t.traceMarks !== 0 && (t.traceMarks === TRACED || (p.flags & PcbFlag.TRACED) !== 0)) noteSyn(t, p, packet)
  const errno = t.ip.output(packet, NO_FRAGMENTS)
  if (errno === 0) return
  t.count[C.sendErrors]!++
  p.softError = errno
  // No way there at all is said at once, as connect(2) does; what may pass is tried again.
  if (
    errno === Errno.ENETUNREACH ||
    errno === Errno.EHOSTUNREACH ||
    errno === Errno.EADDRNOTAVAIL ||
    errno === Errno.EACCES
  ) {
    fail(t, p, errno)
  }
}

/** The program has ended its stream (RFC 9293 3.10.4): the FIN follows what was sent. */
export function shutdown(t: Tcp, p: Pcb): void {
  if ((p.flags & PcbFlag.FIN) !== 0 || (p.state & CAN_SEND) === 0) return
  p.flags |= PcbFlag.FIN
  // Before the connection is there input moves on when it is.
  if (p.state === State.established) p.state = State.finWait1
  else if (p.state === State.closeWait) p.state = State.lastAck
  t.wantOutput(p)
}

/** The program lets go. What it has sent still goes, and its FIN. */
export function close(t: Tcp, p: Pcb): void {
  p.flags |= PcbFlag.DETACHED
  removeShell(t, p)
  if (p.state === State.closed) return bury(t, p)
  // @rfc 9293 MAY-1 SHLD-3: data that nobody will read is lost, and the peer is told so by a reset.
  if (p.state === State.synSent || p.rcvFirst !== 0 || p.rcvHeld > 0) return abort(t, p, p.state !== State.synSent)
  shutdown(t, p)
  if (p.state === State.finWait2) armSlow(t, p)
  t.tell(p, TcpEvent.CLOSED)
}

/** Ends the connection at once, with a reset where the peer knows of it (RFC 9293 3.10.5). */
export function abort(t: Tcp, p: Pcb, withReset: boolean): void {
  // @rfc 7323 3.2/reset
  if (withReset && (p.state & (SYNCHRONIZED | State.synReceived)) !== 0) {
    t.count[C.resetsSent]!++
    transmit(t, p, p.sndNxt, 0, TcpFlag.rst | TcpFlag.ack)
  }
  end(t, p)
}

/** The connection has failed: its program is told why. */
export function fail(t: Tcp, p: Pcb, errno: number): void {
  p.error = errno
  t.count[C.failed]!++
  end(t, p)
  if ((p.flags & PcbFlag.DETACHED) === 0) t.tell(p, TcpEvent.ERROR)
}

/** Both streams have ended, and the peer may still need our last acknowledgment. */
export function enterTimeWait(t: Tcp, p: Pcb): void {
  remember(t, p)
  beginTimeWait(t, p)
  empty(t, p)
  p.state = State.closed
  afterlife(t, p)
}

/** The connection is over: nothing of it is in the table any more. Its record stays while a program has it. */
export function end(t: Tcp, p: Pcb): void {
  if (p.state === State.closed) return
  remember(t, p)
  // A cookie stays good for a while, whoever comes with it: an old duplicate of what has opened this connection must not open it once more, and
  // give its program the same data again. What is remembered of a TIME-WAIT keeps it away.
  if (p.ofCookie === 1) beginTimeWait(t, p, true)
  else t.table.remove(p.at)
  empty(t, p)
  p.state = State.closed
  afterlife(t, p)
}

function afterlife(t: Tcp, p: Pcb): void {
  if ((p.flags & PcbFlag.DETACHED) !== 0) bury(t, p)
  else addShell(t, p)
}

/** Somebody still has the record, which is in no table any more: the words of the hash chain are the list's. */
export function addShell(t: Tcp, p: Pcb): void {
  if (p.shell === 1) return
  const first = t.shellFirst
  p.next = first
  p.hash = 0
  if (first !== 0) t.words[(first + HASH) >> 2] = p.at
  t.shellFirst = p.at
  p.shell = 1
}

/** Nobody has it any more, if it is such a record. */
export function removeShell(t: Tcp, p: Pcb): void {
  if (p.shell === 0) return
  p.shell = 0
  const { next, hash: previous } = p
  if (previous === 0) t.shellFirst = next
  else t.words[(previous + NEXT) >> 2] = next
  if (next !== 0) t.words[(next + HASH) >> 2] = previous
}

/** Nobody needs the record any more. It is freed when no list has it: see `freeDead`. */
function bury(t: Tcp, p: Pcb): void {
  if ((p.flags & PcbFlag.IN_EVENTS) === 0) t.tell(p, TcpEvent.CLOSED)
  else p.events |= TcpEvent.CLOSED
}

/** What the connection has found out about the path, for the next one there. */
function remember(t: Tcp, p: Pcb): void {
  if (p.srtt === 0 || p.segmentsReceived < 16) return
  t.metrics.rttUs = Math.round(p.srtt)
  t.metrics.rttvarUs = Math.round(p.rttvar)
  t.metrics.ssthreshBytes = p.ssthresh < 0x7fffffff ? p.ssthresh : 0
  t.metrics.cwndBytes = p.cwnd
  t.hostCache.update(p.family as Family, p.remote, t.metrics)
}

function empty(t: Tcp, p: Pcb): void {
  cancelAll(t, p)
  dropAll(t, p)
  discard(t, p)
  freeEarly(t.context, p)
}

/** What came in order and no program has taken. */
export function dropReceived(t: Tcp, p: Pcb): void {
  if (p.rcvFirst !== 0) t.mbufs.free(p.rcvFirst)
  p.rcvFirst = 0
  p.rcvLast = 0
}

/** Frees the records that are in no list any more. The last thing in a turn. */
export function freeDead(t: Tcp): void {
  const { p } = t
  while (t.deadFirst !== 0) {
    p.at = t.deadFirst
    t.deadFirst = p.eventNext
    dropReceived(t, p)
    t.slab.free(p.at)
    t.connections--
    t.count[C.closed]!++
  }
}

/** A connection came for a listener: from now on it is a PCB. False when there is no memory. `t.embryo` or the cookie's fields say what was agreed. */
export function configure(p: Pcb, listener: Listener): void {
  const { options } = listener
  p.flags |= options.flags | PcbFlag.PASSIVE
  p.port = options.port
  p.listener = listener.id
  p.trafficClass = options.trafficClass
  p.keepAliveIdleMs = options.keepAliveMs
}
