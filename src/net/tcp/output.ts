// The send side of a connection, at the end of the batch: what is lost goes again, then what is new, as far as the peer's window and
// congestion control allow; and an acknowledgment, if nothing has carried it (RFC 9293 3.7, 3.8.6.2.1, RFC 6675 5).
// Runs in the roll-up, once for each connection that was marked.

import { finish, fold, pseudoHeaderSum } from '../../base/checksum.ts'
import { Errno } from '../../base/errno.ts'
import { MbufFlag } from '../../device/mbuf.ts'
import { MessageFlag } from '../../kernel/message.ts'
import { addressBytes, type Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { IpProtocol } from '../ip/header.ts'
import { sumPacket } from '../ip/sum.ts'
import { sent as prrSent } from './congestion/prr.ts'
import { TcpFlag, TcpHeader } from './header.ts'
import { lookUpPath, packetTooBig } from './mtu.ts'
import { segmentOptionBytes, writeSegment } from './options.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import { probeTail, probeWindow } from './probe.ts'
import { sackBlocks } from './reassembly.ts'
import { enterFlight, leaveLost, SegmentFlag, sent, split } from './segment.ts'
import { copy, refer } from './sendbuffer.ts'
import { distance, type SequenceNumber } from './sequence.ts'
import { State } from './state.ts'
import type { Tcp } from './tcp.ts'
import { armDelayedAck, armPersist, armRetransmission, armStalled, restartRetransmission, TimerKind } from './timer.ts'
import { noteSegment } from './trace.ts'
import { announce } from './window.ts'

const C = TcpCounters.index
const { TRACED } = MessageFlag
const AT = TcpHeader.offset
const HEADER = TcpHeader.size
const TCP = IpProtocol.tcp
const { fin: FIN, psh: PSH, ack: ACK, urg: URG, ece: ECE, cwr: CWR } = TcpFlag
const { ACK_NOW, ACK_DELAYED, NODELAY, CORK, FIN_SENT, TIMESTAMPS, ECN } = PcbFlag
const NO_FRAGMENTS = { dontFragment: true } as const
const FRAGMENTS = {} as const
/** IPv4's longest packet, without the longest headers that ours have. */
const SUPER_SEGMENT_BYTES_MAX = 65535 - 20 - 60
const CHECKSUM_OFFLOAD = 1
const SEGMENTATION_OFFLOAD = 2
const ECT_0 = 2
const COPIED_BYTES_MAX = 256
/** For all headers, as an mbuf of a header alone has it. */
const HEADER_ROOM = 128
/** What SACK blocks take at most, with timestamps beside them. */
const SACK_ROOM = 28
const SENDS = State.established | State.closeWait | State.finWait1 | State.closing | State.lastAck | State.finWait2

/** Sends what the connection at `p` has to send now. */
export function output(t: Tcp, p: Pcb): void {
  t.assertInside(p.at)
  if ((p.state & SENDS) === 0) return
  if (p.pathGeneration !== t.context.routes.generation) lookUpPath(t, p)
  const segments = p.segmentsSent
  const idle = p.segFirst === 0
  if (idle && p.sndNxt !== p.sndEnd && p.lastSentAt > 0) t.control(p).idle(p, t.now - p.lastSentAt)
  if ((p.flags & PcbFlag.PROBE) !== 0) {
    p.flags &= ~PcbFlag.PROBE
    if (p.segFirst !== 0) probeTail(t, p)
    else probeWindow(t, p)
  }
  if (p.lostFirst !== 0) sendLost(t, p)
  if (p.lostFirst === 0 || (p.flags & PcbFlag.LOSS) === 0) sendNew(t, p)
  if (p.segmentsSent !== segments) {
    if (idle && p.segFirst !== 0) p.firstUnansweredAt = t.now
    if (p.timerKind === TimerKind.none || idle) armRetransmission(t, p)
  }
  // @rfc 9293 SHLD-18 SHLD-19 MUST-58 MUST-59, @rfc 5681 4.2/delayed 4.2/second-segment 4.2/one-each: one for all that has come in this batch.
  if ((p.flags & ACK_NOW) !== 0 || distance(p.lastAckSent, p.rcvNxt) >= 2 * p.rcvMss) sendAck(t, p)
  else if ((p.flags & ACK_DELAYED) !== 0) armDelayedAck(t, p)
}

/** An acknowledgment and nothing else. */
export function sendAck(t: Tcp, p: Pcb): void {
  t.tally.acksSent++
  transmit(t, p, p.sndNxt, 0, ACK)
}

/**
 * Sends again what is lost, as far as the congestion window goes. @rfc 9293 SHLD-16 MAY-7: also beyond a window that has shrunk.
 * @rfc 6675 4/next-lost 5/first 5/conserve, @rfc 5681 3.1/algorithms
 */
function sendLost(t: Tcp, p: Pcb): void {
  const { s } = t
  while (p.lostFirst !== 0) {
    s.at = p.lostFirst
    const room = p.cwnd - p.flight
    // Whatever the window: something goes when nothing is in flight.
    if (room < p.mss && p.flight > 0 && room < distance(s.start, s.end)) return
    const most = Math.max(Math.min(segmentLimit(p), room), p.mss)
    if (distance(s.start, s.end) > most && !split(t, p, (s.start + wholeSegments(p, most)) | 0)) return armStalled(t, p)
    if (!retransmit(t, p)) return
  }
}

/** Sends the segment at `t.s` again. False when it could not go. */
export function retransmit(t: Tcp, p: Pcb): boolean {
  const { s } = t
  const { at, start, end, flags } = s
  const fin = (flags & SegmentFlag.FIN) !== 0
  const bytes = distance(start, end) - (fin ? 1 : 0)
  // @rfc 9293 MUST-61: the last byte of the buffer is pushed again, too.
  const psh = bytes > 0 && ((start + bytes) | 0) === p.sndEnd ? PSH : 0
  if (!transmit(t, p, start, bytes, fin ? ACK | FIN | psh : ACK | psh, true)) return false
  s.at = at
  if ((flags & SegmentFlag.LOST) !== 0) {
    leaveLost(t, p)
    enterFlight(t, p)
  }
  // @rfc 8985 6.1 4/times
  s.transmits++
  s.sentAt = t.now
  if (start === p.sndUna) restartRetransmission(t, p)
  prrSent(p, bytes)
  p.retransmitted++
  t.count[C.retransmitted]!++
  return true
}

/** How much goes into one packet: many segments where the device cuts them. */
function segmentLimit(p: Pcb): number {
  return (p.offload & SEGMENTATION_OFFLOAD) === 0 ? p.mss : wholeSegments(p, SUPER_SEGMENT_BYTES_MAX)
}

function wholeSegments(p: Pcb, bytes: number): number {
  return bytes < p.mss ? bytes : bytes - (bytes % p.mss)
}

/** Sends what was never sent. @rfc 9293 SHLD-28 MAY-16: in segments as large as may be, whatever the program's writes were. */
function sendNew(t: Tcp, p: Pcb): void {
  const limit = segmentLimit(p)
  for (;;) {
    const unsent = distance(p.sndNxt, p.sndEnd)
    const finDue = (p.flags & (PcbFlag.FIN | FIN_SENT)) === PcbFlag.FIN
    if (unsent <= 0 && !finDue) {
      // To the byte what the window allows: it is used as a whole, though nothing had to wait.
      if (p.segFirst !== 0 && p.cwnd - p.flight < p.mss) p.cwndLimited = p.sndNxt
      return
    }
    // @rfc 9293 MUST-34 SHLD-15, @rfc 7323 2.4/sender: after the window has shrunk it may be negative, and nothing new is sent.
    const usable = distance(p.sndNxt, (p.sndUna + p.sndWnd) | 0)
    // @rfc 6675 4/next-new 5/limited-transmit, @rfc 5681 3.1/algorithms
    const room = p.cwnd + limitedTransmit(p) - p.flight
    let bytes = Math.min(unsent, limit, usable, room)
    const all = bytes === unsent
    if (bytes < unsent && bytes > p.mss) bytes = wholeSegments(p, bytes)
    if (unsent > 0 && !isWorthSending(p, bytes, unsent, usable, room)) {
      if (room < unsent && room < usable) p.cwndLimited = p.sndNxt
      if (p.segFirst === 0) armPersist(t, p)
      return
    }
    const fin = finDue && all && usable >= 0
    if (bytes <= 0 && !fin) {
      if (p.segFirst === 0) armPersist(t, p)
      return
    }
    let bits = fin ? ACK | FIN : ACK
    // @rfc 9293 MUST-60 MUST-61 SHLD-27: nothing waits in the buffer behind it.
    if (all && bytes > 0) bits |= PSH
    if (!transmit(t, p, p.sndNxt, bytes, bits, false)) return
    const end = (p.sndNxt + bytes + (fin ? 1 : 0)) | 0
    if (!sent(t, p, p.sndNxt, end, fin)) return armStalled(t, p)
    p.sndNxt = end
    prrSent(p, bytes)
    if (fin) p.flags |= FIN_SENT
  }
}

/**
 * @rfc 3042 2, @rfc 5681 3.2/limited-transmit 3.2/limited-window: each of the first two duplicates lets a new segment go, where selective
 * acknowledgments do not say the same by `flight`.
 */
function limitedTransmit(p: Pcb): number {
  return (p.flags & PcbFlag.SACK) === 0 && p.dupAcks > 0 && p.dupAcks < 3 ? p.dupAcks * p.mss : 0
}

/** @rfc 9293 MUST-38: the sender's part against silly windows (3.8.6.2.1), and Nagle's algorithm (@rfc 9293 SHLD-7 MUST-17). */
function isWorthSending(p: Pcb, bytes: number, unsent: number, usable: number, room: number): boolean {
  if (bytes <= 0) return false
  if (bytes >= p.mss) return true
  if (bytes === unsent) {
    if ((p.flags & PcbFlag.FIN) !== 0) return true
    if ((p.flags & CORK) !== 0) return false
    return (p.flags & NODELAY) !== 0 || p.sndUna === p.sndNxt
  }
  // The congestion window opens by itself; a small window of the peer is used when it is half of the largest.
  return usable <= room && bytes >= p.sndWndMax >>> 1
}

/**
 * Sends one packet: `bytes` of the stream from `start` on, by reference, with what there is to acknowledge. False when there is no
 * memory, or the device is full.
 */
export function transmit(
  t: Tcp,
  p: Pcb,
  start: SequenceNumber,
  bytes: number,
  controlBits: number,
  again = true,
): boolean {
  const { m, view, mbufs } = t
  // So few bytes are copied: a reference, and what gathers the two, cost more (bench/tcp-memory.ts).
  const isSmall = bytes > 0 && bytes <= COPIED_BYTES_MAX
  const packet = isSmall ? mbufs.allocateCluster(bytes, HEADER_ROOM) : mbufs.allocateHeader()
  if (packet === 0) {
    armStalled(t, p)
    return false
  }
  if (isSmall) {
    copy(t, p, mbufs.extend(packet, bytes), start, bytes)
    t.tally.copiedSmall += bytes
  }
  const hasTimestamp = (p.flags & TIMESTAMPS) !== 0
  // A full segment has no room for SACK blocks: they go in an acknowledgment of their own, right after it.
  const hasRoom = bytes + SACK_ROOM <= p.mss
  const hasNews = p.earlyFirst !== 0 || (p.flags & PcbFlag.DSACK) !== 0
  const blocks = hasNews && hasRoom && (p.flags & PcbFlag.SACK) !== 0 ? sackBlocks(t.context, p, t.blocks) : 0
  const optionBytes = segmentOptionBytes(hasTimestamp, blocks)
  const headerBytes = HEADER + optionBytes
  const header = mbufs.prepend(packet, headerBytes)
  if (bytes > 0 && !isSmall && !refer(t, p, packet, start, bytes)) {
    mbufs.free(packet)
    armStalled(t, p)
    return false
  }
  // @rfc 7323 3.2/every
  if (optionBytes > 0) writeSegment(view, header + HEADER, hasTimestamp, t.timestamp(p), p.tsRecent, t.blocks, blocks)
  let bits = controlBits
  let trafficClass = p.trafficClass
  if ((p.flags & ECN) !== 0) {
    if ((p.flags & PcbFlag.ECE) !== 0) bits |= ECE
    // Only data that is new is sent as capable (@rfc 3168 6.1.5).
    if (bytes > 0 && !again) {
      trafficClass |= ECT_0
      if ((p.flags & PcbFlag.CWR) !== 0) {
        bits |= CWR
        p.flags &= ~PcbFlag.CWR
      }
    }
  }
  let urgent = 0
  if ((p.flags & PcbFlag.URGENT) !== 0) {
    // @rfc 9293 MUST-30 MUST-62: behind the last urgent byte.
    const ahead = distance(start, p.sndUp)
    if (ahead > 0) {
      bits |= URG
      urgent = Math.min(ahead, 65535)
    } else if (distance(p.sndUp, p.sndUna) >= 0) p.flags &= ~PcbFlag.URGENT
  }
  view.setInt32(header, (p.localPort << 16) | p.remotePort)
  view.setInt32(header + AT.sequence, start)
  view.setInt32(header + AT.acknowledgment, p.rcvNxt)
  view.setUint16(header + AT.dataOffset, (headerBytes << 10) | bits)
  view.setUint16(header + AT.window, announce(p))
  view.setUint16(header + AT.checksum, 0)
  view.setUint16(header + AT.urgentPointer, urgent)
  const family = p.family as Family
  const length = headerBytes + bytes
  m.at = packet
  if (t.context.checksums) {
    const pseudo = pseudoHeaderSum(t.routines, p.local, p.remote, addressBytes(family), TCP, length)
    if ((p.offload & CHECKSUM_OFFLOAD) !== 0) {
      view.setUint16(header + AT.checksum, fold(pseudo))
      m.flags |= MbufFlag.PARTIAL_CHECKSUM
    } else {
      view.setUint16(header + AT.checksum, finish(sumPacket(t.routines, m, packet, pseudo)))
      m.at = packet
    }
  }
  if (bytes > p.mss) {
    m.flags |= MbufFlag.SEGMENTED
    m.segmentBytes = p.mss
  }
  m.family = family
  m.protocol = TCP
  m.ttl = p.ttl
  m.trafficClass = trafficClass
  m.source = p.local
  m.target = p.remote
  t.tally.sent++
  t.hasSent = true
  p.segmentsSent++
  const { flags } = p
  if (t.traceMarks !== 0 && (t.traceMarks === TRACED || (flags & PcbFlag.TRACED) !== 0)) {
    noteSegment(t, p, packet, start, bytes, again)
  }
  const errno = t.ip.output(packet, (flags & PcbFlag.MAY_FRAGMENT) === 0 ? NO_FRAGMENTS : FRAGMENTS)
  if (errno !== 0) return refused(t, p, errno)
  p.lastSentAt = t.now
  if (!hasNews || hasRoom || (p.flags & PcbFlag.SACK) === 0) {
    p.lastAckSent = p.rcvNxt
    p.flags &= ~(ACK_NOW | ACK_DELAYED)
  }
  return true
}

/** IP could not send it. What was to be sent stays to be sent; the timer tries again. */
function refused(t: Tcp, p: Pcb, errno: number): boolean {
  t.count[C.sendErrors]!++
  p.segmentsSent--
  if (errno === Errno.EMSGSIZE) packetTooBig(t, p, 0)
  else if (errno !== Errno.ENOBUFS) p.softError = errno
  armStalled(t, p)
  return false
}

/** The roll-up: each connection that was marked since the last one. */
export function outputAll(t: Tcp): void {
  const { p } = t
  while (t.outputFirst !== 0) {
    p.at = t.outputFirst
    t.outputFirst = p.outputNext
    p.flags &= ~PcbFlag.IN_OUTPUT
    output(t, p)
  }
}
