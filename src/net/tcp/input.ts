// A segment arrives (RFC 9293 3.10.7), in the order of that section. Runs inside the group of the flow: on its CPU.
// Nothing is sent from here but resets and challenges; what there is to acknowledge or to send is marked for the roll-up.
import { finish, pseudoHeaderSum } from '../../base/checksum.ts'
import { Errno } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import { Mbuf, MbufFlag } from '../../device/mbuf.ts'
import { addressBytes, type Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { IpProtocol } from '../ip/header.ts'
import { sumPacket } from '../ip/sum.ts'
import { acknowledge, measureByTimestamp } from './acknowledge.ts'
import { abort, configure, create, end, enterTimeWait, establish, fail, sendSyn } from './connection.ts'
import { again, arise, vanish } from './embryo.ts'
import { checkTcpHeader, TcpDrop, TcpFlag, tcpHeaderBytes } from './header.ts'
import type { Listener } from './listener.ts'
import { TcpEvent } from './message.ts'
import { MSS_DEFAULT } from './mtu.ts'
import { sendAck } from './output.ts'
import { type Pcb, PcbFlag, TupleKind } from './pcb.ts'
import * as reassembly from './reassembly.ts'
import { reset } from './respond.ts'
import { measure } from './rtt.ts'
import { after, atOrBefore, before, distance } from './sequence.ts'
import { State } from './state.ts'
import type { Tcp } from './tcp.ts'
import { armSlow } from './timer.ts'
import { input as timeWaitInput } from './timewait.ts'

const C = TcpCounters.index
const RECEIVED = C.received
const { fin: FIN, syn: SYN, rst: RST, ack: ACK, urg: URG } = TcpFlag
const { established, closeWait, finWait1, finWait2, closing, lastAck, synSent, synReceived } = State
const { TIMESTAMPS, ACK_NOW, ACK_DELAYED } = PcbFlag
const PART = Mbuf.offset.part >> 2
const TOTAL = Mbuf.offset.total >> 2
const CONGESTION_EXPERIENCED = 3
/** What may still bring data. */
const RECEIVING = established | finWait1 | finWait2
/** After 24 days without a segment a timestamp says nothing any more (RFC 7323 5.5). */
const TIMESTAMP_LIFE_US = 24 * 86_400 * 1e6
/** Challenge acknowledgments of a connection in a second, and how much more at random, so that nobody can count them (CVE-2016-5696). */
const CHALLENGES = 10
const CHALLENGE_JITTER = 10
const SECOND_US = 1e6

/** A packet came; its data begins with the TCP header, and its mbuf names the addresses. It owns the packet. */
export function input(t: Tcp, packet: Address, isBroadcast: boolean): void {
  const { m, u8, view } = t
  t.count[RECEIVED]!++
  m.at = packet
  const header = m.data
  const length = m.total
  const drop = m.length < 20 ? TcpDrop.short : checkTcpHeader(u8, header, length)
  if (drop !== TcpDrop.none) return discard(t, packet, drop === TcpDrop.short ? C.droppedShort : C.droppedOffset)
  const headerBytes = tcpHeaderBytes(u8, header)
  // Headers lie in one piece: a packet that splits its own has come from nobody's device.
  if (m.length < headerBytes) return discard(t, packet, C.droppedOffset)
  const family = m.family as Family
  if (t.context.checksums && (m.flags & MbufFlag.CHECKED) === 0) {
    // @rfc 9293 MUST-3
    const pseudo = pseudoHeaderSum(t.routines, m.source, m.target, addressBytes(family), IpProtocol.tcp, length)
    if (finish(sumPacket(t.routines, m, packet, pseudo)) !== 0) return discard(t, packet, C.droppedChecksum)
    m.at = packet
  }
  // @rfc 9293 MUST-57 MUST-63: TCP is between two. Source addresses that are nobody's were refused by IP, which has also passed over its
  // options (@rfc 9293 MUST-50).
  if (isBroadcast) return discard(t, packet, C.droppedBroadcast)
  const ports = view.getInt32(header)
  const remotePort = ports >>> 16
  const localPort = ports & 0xffff
  m.sourcePort = remotePort
  m.targetPort = localPort
  if (remotePort === 0 || localPort === 0) return discard(t, packet, C.droppedPort)
  t.packet = packet
  t.seq = view.getInt32(header + 4)
  t.ack = view.getInt32(header + 8)
  const bits = u8[header + 13]!
  t.bits = bits
  t.window = view.getUint16(header + 14)
  t.urgent = view.getUint16(header + 18)
  t.bytes = length - headerBytes
  t.fin = (bits & FIN) !== 0
  t.congestion = (m.trafficClass & 3) === CONGESTION_EXPERIENCED
  t.options.parse(view, u8, header, headerBytes)
  t.mbufs.trimFront(packet, headerBytes)
  const { source, target } = m
  const record = t.table.lookup(family, target, localPort, source, remotePort)
  if (record !== 0) {
    t.tuple.at = record
    const kind = t.tuple.kind
    if (kind === TupleKind.connection) {
      const { p } = t
      p.at = record
      t.count[C.toConnection]!++
      segment(t, p)
      if (t.packet !== 0) t.mbufs.free(t.packet)
      return
    }
    if (kind === TupleKind.embryo) {
      t.count[C.toEmbryo]!++
      embryoInput(t, record)
      if (t.packet !== 0) t.mbufs.free(t.packet)
      return
    }
    if (!timeWaitInput(t, record)) {
      t.count[C.toTimeWait]!++
      t.mbufs.free(packet)
      return
    }
  }
  const listener = t.listeners.lookup(family, target, localPort, m.hash)
  if (listener === undefined) {
    t.count[C.noPort]!++
    reset(t)
  } else {
    t.count[C.toListener]!++
    listen(t, listener)
  }
  t.reopens = false
  if (t.packet !== 0) t.mbufs.free(t.packet)
}

function discard(t: Tcp, packet: Address, counter: number): void {
  t.count[counter]!++
  t.mbufs.free(packet)
}

/** RFC 9293 3.10.7.2: LISTEN. */
function listen(t: Tcp, listener: Listener): void {
  const { bits } = t
  // An old duplicate, or nobody's.
  if ((bits & RST) !== 0) return
  if ((bits & ACK) !== 0) {
    if ((bits & SYN) === 0 && acceptCookie(t, listener)) return
    return reset(t)
  }
  if ((bits & SYN) === 0) return
  // SYN and FIN together are nobody's way to open (hostile; RFC 9293 3.10.7.2 leaves it open).
  if ((bits & FIN) !== 0) {
    t.count[C.badFlags]!++
    return
  }
  arise(t, listener)
}

/** An acknowledgment for a listener may be the answer to a cookie: then the connection is established by it. */
function acceptCookie(t: Tcp, listener: Listener): boolean {
  const { m, cookies, options } = t
  m.at = t.packet
  const family = m.family as Family
  const peerIss = (t.seq - 1) | 0
  const iss = (t.ack - 1) | 0
  if (!cookies.check(t.now, t.view, family, m.target, m.targetPort, m.source, m.sourcePort, peerIss, iss)) return false
  if (listener.waiting >= listener.backlog) {
    t.count[C.backlogFull]!++
    return true
  }
  if (!create(t, listener.options.sendBytes, listener.options.receiveBytes)) return true
  const { p } = t
  m.at = t.packet
  p.family = family
  const bytes = addressBytes(family)
  t.u8.copyWithin(p.local, m.target, m.target + bytes)
  t.u8.copyWithin(p.remote, m.source, m.source + bytes)
  p.localPort = m.targetPort
  p.remotePort = m.sourcePort
  p.iss = iss
  p.irs = peerIss
  p.peerMss = cookies.mss
  if (options.hasTimestamp) {
    const offset = t.sequences.timestampOffset(t.view, family, p.local, p.localPort, p.remote, p.remotePort)
    p.timestampOffset = offset
    p.flags |= TIMESTAMPS
    cookies.decodeTimestamp(options.timestampEcho)
    if (cookies.sackPermitted) p.flags |= PcbFlag.SACK
    if (cookies.windowScale >= 0) {
      p.flags |= PcbFlag.SCALE
      p.sndScale = cookies.windowScale
    } else p.rcvScale = 0
    p.tsRecent = options.timestampValue
    p.tsRecentAt = t.now
  } else p.rcvScale = 0
  t.count[C.cookiesAccepted]!++
  begin(t, p, listener)
  return true
}

/** RFC 9293 3.10.7.4 for SYN-RECEIVED of a passive open, which is an embryo. */
function embryoInput(t: Tcp, record: Address): void {
  const e = t.embryo
  e.at = record
  const { bits, options } = t
  const expected = (e.irs + 1) | 0
  // Timestamps that have gone back are an old duplicate (RFC 7323 5.3).
  if ((e.flags & TIMESTAMPS) !== 0 && options.hasTimestamp && before(options.timestampValue, e.tsRecent)) return
  if ((bits & RST) !== 0) {
    // In the window and exact: the peer does not want it (RFC 5961 3.2).
    if (t.seq === expected) {
      t.count[C.embryosReset]!++
      vanish(t, record)
    }
    return
  }
  if ((bits & SYN) !== 0) {
    // @rfc 9293 MUST-11: it was a passive open, and stays one: our answer was lost. To another SYN the same answer: a peer that has begun
    // anew resets it then, and may come again (RFC 9293 3.5.1, figure 9, for a connection that is half open).
    if ((bits & ACK) === 0) again(t)
    return
  }
  if ((bits & ACK) === 0) return
  if (t.ack !== ((e.iss + 1) | 0)) return reset(t)
  // Before or far beyond the window of 65535: not its data.
  if (before((t.seq + t.bytes) | 0, expected) || distance(expected, t.seq) >= 65535) {
    again(t)
    return
  }
  const listener = t.listeners.byId(e.listener)
  if (listener === undefined) return vanish(t, record)
  if (listener.waiting >= listener.backlog) {
    // The program does not take them as fast as they come: the peer sends its ACK again, by its data.
    t.count[C.backlogFull]!++
    return
  }
  if (!create(t, listener.options.sendBytes, listener.options.receiveBytes)) return
  const { p } = t
  p.family = e.family
  t.u8.copyWithin(p.local, e.local, e.local + 16)
  t.u8.copyWithin(p.remote, e.remote, e.remote + 16)
  p.localPort = e.localPort
  p.remotePort = e.remotePort
  p.iss = e.iss
  p.irs = e.irs
  p.peerMss = e.peerMss === 0 ? MSS_DEFAULT[e.family as Family] : e.peerMss
  p.sndScale = e.sndScale
  p.rcvScale = (e.flags & PcbFlag.SCALE) !== 0 ? e.rcvScale : 0
  p.flags |= e.flags
  p.tsRecent = e.tsRecent
  p.tsRecentAt = t.now
  p.timestampOffset = e.timestampOffset
  p.retransmits = e.transmits - 1
  vanish(t, record)
  begin(t, p, listener)
}

/** The PCB at `t.p` is established by the segment that came: which is then processed as any other. */
function begin(t: Tcp, p: Pcb, listener: Listener): void {
  configure(p, listener)
  p.sndUna = (p.iss + 1) | 0
  p.sndNxt = p.sndUna
  p.sndEnd = p.sndUna
  p.rcvNxt = (p.irs + 1) | 0
  p.lastAckSent = p.rcvNxt
  p.rcvAdvertised = (p.rcvNxt + Math.min(p.rcvBuffer, 65535)) | 0
  p.sndWl1 = t.seq
  p.sndWl2 = t.ack
  p.sndWnd = t.window << p.sndScale
  if (p.retransmits === 0) measureByTimestamp(t, p)
  t.tuple.at = p.at
  t.table.insert(t.tuple)
  establish(t, p)
  listener.waiting++
  t.tell(p, TcpEvent.INCOMING)
  segment(t, p)
}

function segment(t: Tcp, p: Pcb): void {
  p.segmentsReceived++
  p.lastReceivedAt = t.now
  if (p.state === established && isExpected(t, p)) expected(t, p)
  else if (p.state === synSent) synSentInput(t, p)
  else if (p.state !== State.closed) otherInput(t, p)
}

/**
 * Header prediction (Van Jacobson, 1990): the next segment in order of an established connection, or an acknowledgment and nothing else, with
 * nothing special about it. All else takes the long way.
 */
function isExpected(t: Tcp, p: Pcb): boolean {
  if ((t.bits & (FIN | SYN | RST | URG | ACK | TcpFlag.ece | TcpFlag.cwr)) !== ACK) return false
  if (t.seq !== p.rcvNxt || t.congestion || p.earlyFirst !== 0) return false
  if (distance(p.sndUna, t.ack) < 0 || after(t.ack, p.sndNxt)) return false
  const { options } = t
  if ((p.flags & TIMESTAMPS) !== 0) {
    if (!options.hasTimestamp || before(options.timestampValue, p.tsRecent)) return false
  }
  return t.bytes <= distance(p.rcvNxt, p.rcvAdvertised)
}

function expected(t: Tcp, p: Pcb): void {
  if ((p.flags & TIMESTAMPS) !== 0 && atOrBefore(t.seq, p.lastAckSent)) {
    p.tsRecent = t.options.timestampValue
    p.tsRecentAt = t.now
  }
  const changed = updateWindow(t, p)
  if (t.ack !== p.sndUna || p.segFirst !== 0 || changed) acknowledge(t, p, changed)
  if (t.bytes > 0) accept(t, p)
}

/** Our SYN is out (RFC 9293 3.10.7.3). */
function synSentInput(t: Tcp, p: Pcb): void {
  const { bits, options } = t
  const hasAck = (bits & ACK) !== 0
  // First, the ACK: it must be of our SYN.
  if (hasAck && t.ack !== p.sndNxt) return reset(t)
  // Second, the RST: without an ACK it is about nothing that we sent.
  if ((bits & RST) !== 0) {
    if (hasAck) fail(t, p, Errno.ECONNREFUSED)
    return
  }
  // Fourth, the SYN.
  if ((bits & SYN) === 0) return
  p.irs = t.seq
  p.rcvNxt = (t.seq + 1) | 0
  p.lastAckSent = p.rcvNxt
  p.rcvAdvertised = (p.rcvNxt + Math.min(p.rcvBuffer, 65535)) | 0
  if (options.mss !== 0) p.peerMss = options.mss
  if (options.sackPermitted) p.flags |= PcbFlag.SACK
  if (options.windowScale >= 0) {
    p.flags |= PcbFlag.SCALE
    p.sndScale = options.windowScale
  } else p.rcvScale = 0
  if (options.hasTimestamp) {
    p.flags |= TIMESTAMPS
    p.tsRecent = options.timestampValue
    p.tsRecentAt = t.now
  }
  if (!hasAck) {
    // @rfc 9293 MUST-10: both ends have opened at once.
    p.state = synReceived
    p.retransmits = 0
    p.sndWnd = t.window
    p.sndWl1 = t.seq
    return sendSyn(t, p)
  }
  // RFC 3168 6.1.1: an answer with ECE alone, where all our SYNs have asked for it.
  const isGranted = (bits & (TcpFlag.ece | TcpFlag.cwr)) === TcpFlag.ece
  if (isGranted && t.context.config.ecn === true && p.retransmits === 0) p.flags |= PcbFlag.ECN
  if (p.retransmits === 0) measure(p, Math.max(t.now - p.lastSentAt, 1))
  p.sndUna = t.ack
  // The window of a SYN is never scaled (RFC 7323 2.2).
  p.sndWnd = t.window
  p.sndWl1 = t.seq
  p.sndWl2 = t.ack
  establish(t, p)
  p.flags |= ACK_NOW
  t.tell(p, TcpEvent.CONNECTED)
  t.wantOutput(p)
  if ((p.flags & PcbFlag.FIN) !== 0) p.state = finWait1
  // What came with the SYN, data or FIN, is what follows it.
  t.seq = p.rcvNxt
  if (t.bytes > 0) accept(t, p)
  if (t.fin) finReceived(t, p)
}

/** RFC 9293 3.10.7.4, all other states. */
function otherInput(t: Tcp, p: Pcb): void {
  const { bits } = t
  // First, the sequence number.
  if (!isAcceptable(t, p)) return
  // Second, the RST (RFC 5961 3.2): only one that is exact is believed.
  if ((bits & RST) !== 0) return resetReceived(t, p)
  // Fourth, the SYN (RFC 5961 4.2, @rfc 9293 MAY-12).
  if ((bits & SYN) !== 0) {
    // The second SYN of a simultaneous open acknowledges ours, and is no news itself.
    if (p.state === synReceived && t.seq === p.irs) {
      t.bits &= ~SYN
      t.seq = p.rcvNxt
    } else return challenge(t, p)
  }
  // Fifth, the ACK.
  if ((bits & ACK) === 0) return
  if (p.state === synReceived) {
    if (t.ack !== p.sndNxt) return reset(t)
    if (p.retransmits === 0) measure(p, Math.max(t.now - p.lastSentAt, 1))
    p.sndUna = t.ack
    p.sndWnd = t.window << p.sndScale
    p.sndWl1 = t.seq
    p.sndWl2 = t.ack
    establish(t, p)
    t.tell(p, TcpEvent.CONNECTED)
    t.wantOutput(p)
    if ((p.flags & PcbFlag.FIN) !== 0) p.state = finWait1
  }
  // Neither of the past, by more than a window, nor of the future (RFC 5961 5.2).
  if (after(t.ack, p.sndNxt)) {
    t.count[C.rejectedAck]!++
    return challenge(t, p)
  }
  if (distance(t.ack, p.sndUna) > p.sndWndMax) {
    t.count[C.rejectedAck]!++
    return challenge(t, p)
  }
  if ((p.flags & TIMESTAMPS) !== 0 && t.options.hasTimestamp && atOrBefore(t.seq, p.lastAckSent)) {
    if (!before(t.options.timestampValue, p.tsRecent)) {
      p.tsRecent = t.options.timestampValue
      p.tsRecentAt = t.now
    }
  }
  if (!before(t.ack, p.sndUna)) {
    const changed = updateWindow(t, p)
    t.finAcknowledged = false
    acknowledge(t, p, changed)
    if (t.finAcknowledged && !finAcknowledged(t, p)) return
  }
  if ((bits & TcpFlag.cwr) !== 0) p.flags &= ~PcbFlag.ECE
  if (t.congestion && (p.flags & PcbFlag.ECN) !== 0 && t.bytes > 0) {
    // RFC 3168 6.1.3: until the peer says that it has heard.
    p.flags |= PcbFlag.ECE | ACK_NOW
    t.wantOutput(p)
  }
  // Sixth, the URG. @rfc 9293 MUST-31 MUST-32 MUST-33 MUST-66: of any length; the program is told; and the bytes stay where they are.
  if ((bits & URG) !== 0 && t.urgent > 0 && (p.state & RECEIVING) !== 0) {
    const up = (t.seq + t.urgent) | 0
    if ((p.flags & PcbFlag.RCV_URGENT) === 0 || after(up, p.rcvUp)) {
      p.rcvUp = up
      p.flags |= PcbFlag.RCV_URGENT
      t.tell(p, TcpEvent.URGENT)
    }
  }
  // Seventh, the text, and eighth, the FIN.
  if (t.bytes > 0 || t.fin) text(t, p)
}

/**
 * The first check: whether any of the segment is in the window, and its timestamp not of the past. Trims what is not, to the left and to
 * the right. False: it is dropped, and answered where that is due.
 */
function isAcceptable(t: Tcp, p: Pcb): boolean {
  const { options, bits } = t
  if ((p.flags & TIMESTAMPS) !== 0) {
    if (options.hasTimestamp) {
      const isOld = before(options.timestampValue, p.tsRecent) && t.now - p.tsRecentAt < TIMESTAMP_LIFE_US
      // Protection against wrapped sequence numbers (RFC 7323 5.3); a reset is judged by its sequence number only.
      if (isOld && (bits & RST) === 0) {
        t.count[C.rejectedPaws]!++
        challenge(t, p)
        return false
      }
    } else if ((bits & RST) === 0) {
      // RFC 7323 3.2: once agreed, every segment has one.
      t.count[C.rejectedTimestamp]!++
      return false
    }
  }
  const windowBytes = Math.max(distance(p.rcvNxt, p.rcvAdvertised), 0)
  const length = t.bytes + (t.fin ? 1 : 0) + ((bits & SYN) !== 0 ? 1 : 0)
  const ahead = distance(p.rcvNxt, t.seq)
  // Without a length it may also lie at the window's end: a peer that has filled the window acknowledges from there while something before
  // it is missing.
  const isIn =
    length === 0
      ? ahead >= 0 && ahead <= windowBytes
      : windowBytes > 0 && ((ahead >= 0 && ahead < windowBytes) || (ahead < 0 && ahead + length > 0))
  if (!isIn) return outside(t, p, ahead, length, windowBytes)
  return true
}

/** Not in the window. @rfc 9293 MUST-66: with a window of zero RST, URG and acknowledgments are taken all the same. */
function outside(t: Tcp, p: Pcb, ahead: number, length: number, windowBytes: number): boolean {
  const { bits } = t
  if (windowBytes === 0 && ahead === 0) {
    t.count[C.rejectedWindow]!++
    t.bytes = 0
    t.fin = false
    p.flags |= ACK_NOW
    t.wantOutput(p)
    return true
  }
  if ((bits & RST) !== 0) {
    t.count[C.rejectedReset]!++
    return false
  }
  // The second SYN of a simultaneous open lies just before the window.
  if (p.state === synReceived && (bits & (SYN | ACK)) === (SYN | ACK) && t.seq === p.irs) return true
  t.count[ahead < 0 ? C.duplicates : C.rejectedWindow]!++
  if (t.bytes > 0 && ahead < 0 && ahead + length <= 0) reassembly.noteDuplicate(p, t.seq, (t.seq + t.bytes) | 0)
  // An old acknowledgment that brings nothing is answered once in a while only: two ends that answer each other come to rest (RFC 9293
  // 3.10.7.4). A segment with data or a FIN tells that ours was lost.
  if (length > 0) {
    if (ahead < 0) noteTimestamp(t, p, ahead)
    p.flags |= ACK_NOW
    t.wantOutput(p)
    return false
  }
  challenge(t, p)
  return false
}

/**
 * What was there before was sent again, because our acknowledgment was lost: the answer echoes the timestamp of this transmission, or the
 * sender would take the time that it has waited for a round trip (RFC 7323 4.3 (2), which asks only that it is not beyond what we have
 * acknowledged). Not from anywhere in the past, and only with an acknowledgment that can be: nobody outside shall move the clock.
 */
function noteTimestamp(t: Tcp, p: Pcb, ahead: number): void {
  if ((p.flags & TIMESTAMPS) === 0 || !t.options.hasTimestamp || (t.bits & ACK) === 0) return
  if (ahead < -Math.max(p.rcvBuffer, 65535) || !atOrBefore(t.seq, p.lastAckSent)) return
  if (after(t.ack, p.sndNxt) || distance(t.ack, p.sndUna) > p.sndWndMax) return
  if (before(t.options.timestampValue, p.tsRecent)) return
  p.tsRecent = t.options.timestampValue
  p.tsRecentAt = t.now
}

/** An acknowledgment that says where we are, at most some a second for a connection (RFC 5961 7). */
function challenge(t: Tcp, p: Pcb): void {
  if (t.now - p.challengeAt >= SECOND_US) {
    p.challengeAt = t.now
    p.challenges = t.cpu.random.below(CHALLENGE_JITTER)
  }
  if (p.challenges >= CHALLENGES + CHALLENGE_JITTER) {
    t.count[C.challengesLimited]!++
    return
  }
  p.challenges++
  t.count[C.challenges]!++
  sendAck(t, p)
}

/** @rfc 9293 SHLD-2: whatever data it has. */
function resetReceived(t: Tcp, p: Pcb): void {
  if (t.seq !== p.rcvNxt) return challenge(t, p)
  t.count[C.resetsReceived]!++
  if (p.state === synReceived) return fail(t, p, Errno.ECONNREFUSED)
  // @rfc 9293 MUST-12: the program is told.
  if (p.state === closing || p.state === lastAck) return end(t, p)
  fail(t, p, Errno.ECONNRESET)
}

/**
 * RFC 9293 3.10.7.4: the window of a segment that is newer than the last. Returns whether it has changed. @rfc 9293 MUST-1 REC-1: unsigned,
 * and with its scale up to 30 bits.
 */
function updateWindow(t: Tcp, p: Pcb): boolean {
  if (!(before(p.sndWl1, t.seq) || (p.sndWl1 === t.seq && atOrBefore(p.sndWl2, t.ack)))) return false
  const window = t.window << p.sndScale
  p.sndWl1 = t.seq
  p.sndWl2 = t.ack
  // Whatever was asked, it is answered.
  p.probes = 0
  if (window === p.sndWnd) return false
  p.sndWnd = window
  if (window > p.sndWndMax) p.sndWndMax = window
  // Open again: there may be something to send. With nothing in flight the backoff was that of window probes.
  if (p.segFirst === 0) p.backoff = 0
  t.wantOutput(p)
  return true
}

/** Our FIN has arrived. False: the connection is over. */
function finAcknowledged(t: Tcp, p: Pcb): boolean {
  if (p.state === finWait1) {
    p.state = finWait2
    armSlow(t, p)
    return true
  }
  if (p.state === closing) {
    enterTimeWait(t, p)
    return false
  }
  if (p.state === lastAck) {
    end(t, p)
    return false
  }
  return true
}

/** Data or a FIN that is, in part at least, in the window. */
function text(t: Tcp, p: Pcb): void {
  if ((p.state & RECEIVING) === 0) return
  const ahead = distance(p.rcvNxt, t.seq)
  if (ahead < 0) {
    // What was there before is cut off.
    const known = Math.min(-ahead, t.bytes)
    if (known > 0) {
      reassembly.noteDuplicate(p, t.seq, (t.seq + known) | 0)
      t.count[C.duplicateBytes]! += known
      t.packet = reassembly.cut(t.context, t.packet, known)
      t.bytes -= known
    }
    t.seq = p.rcvNxt
    p.flags |= ACK_NOW
    t.wantOutput(p)
  }
  const room = distance(t.seq, p.rcvAdvertised)
  if (t.bytes > room) {
    // What is beyond the window is cut off, and the FIN with it.
    t.count[C.beyondWindow]!++
    if (room <= 0) return
    t.mbufs.trimTo(t.packet, room)
    t.bytes = room
    t.fin = false
  }
  // Nobody is left to read what comes: the peer is told (RFC 9293 3.6.1, RFC 2525 2.17).
  if ((p.flags & PcbFlag.DETACHED) !== 0 && t.bytes > 0) {
    t.count[C.dataAfterClose]!++
    return abort(t, p, true)
  }
  if (t.seq !== p.rcvNxt) return early(t, p)
  if (t.bytes > 0) {
    accept(t, p)
    if (p.earlyFirst !== 0) rejoin(t, p)
  }
  if (t.fin) finReceived(t, p)
}

/** The next bytes in order: passed to the program at the end of the batch, without a copy. */
function accept(t: Tcp, p: Pcb): void {
  const { m, packet, bytes } = t
  t.packet = 0
  m.at = packet
  const full = (m.flags & MbufFlag.SEGMENTED) !== 0 ? m.segmentBytes : bytes
  if (full > p.rcvMss) p.rcvMss = Math.min(full, 65535)
  enqueue(t, p, packet, bytes)
  // @rfc 9293 SHLD-18: the program may have an answer that carries it.
  p.flags |= ACK_DELAYED
  t.wantOutput(p)
}

function enqueue(t: Tcp, p: Pcb, packet: Address, bytes: number): void {
  const { words } = t
  if (p.rcvFirst === 0) p.rcvFirst = packet
  else {
    // What comes in one batch is one packet to the program (receive coalescing): one message, whatever it came in.
    words[(p.rcvLast >> 2) + PART] = packet
    words[(p.rcvFirst >> 2) + TOTAL]! += bytes
    t.count[C.coalesced]!++
  }
  let last = packet
  while (words[(last >> 2) + PART]! !== 0) last = words[(last >> 2) + PART]!
  p.rcvLast = last
  p.rcvNxt = (p.rcvNxt + bytes) | 0
  p.rcvHeld += bytes
  p.bytesReceived += bytes
  t.tell(p, TcpEvent.DATA)
}

/** It does not follow what is there: kept, and the peer told at once what is missing (@rfc 9293 SHLD-31 MAY-13, RFC 5681 4.2). */
function early(t: Tcp, p: Pcb): void {
  p.flags |= ACK_NOW
  t.wantOutput(p)
  if (t.bytes === 0 && !t.fin) return
  // The FIN is not kept: the peer sends it again when all before it is there.
  if (t.bytes === 0) return
  const { packet } = t
  t.packet = 0
  const result = reassembly.insert(t.context, p, packet, t.seq)
  if (result === reassembly.Early.queued) t.count[C.early]!++
  else t.count[result === reassembly.Early.duplicate ? C.duplicates : C.earlyDropped]!++
}

/** A gap was filled: what waited behind it follows. */
function rejoin(t: Tcp, p: Pcb): void {
  // RFC 5681 4.2: at once, so that the sender knows.
  p.flags |= ACK_NOW
  for (;;) {
    const packet = reassembly.take(t.context, p)
    if (packet === 0) return
    t.m.at = packet
    enqueue(t, p, packet, t.m.total)
  }
}

/** All that the peer has sent is there (RFC 9293 3.10.7.4, eighth). */
function finReceived(t: Tcp, p: Pcb): void {
  // Behind data that waits it is out of order.
  if (p.earlyFirst !== 0 || (p.flags & PcbFlag.FIN_RECEIVED) !== 0) return
  if (distance((t.seq + t.bytes) | 0, p.rcvNxt) !== 0) return
  p.rcvNxt = (p.rcvNxt + 1) | 0
  if (distance(p.rcvAdvertised, p.rcvNxt) > 0) p.rcvAdvertised = p.rcvNxt
  p.flags |= PcbFlag.FIN_RECEIVED | ACK_NOW
  t.tell(p, TcpEvent.END)
  t.wantOutput(p)
  if (p.state === established) p.state = closeWait
  else if (p.state === finWait1) p.state = closing
  else if (p.state === finWait2) {
    // The acknowledgment of the FIN goes now: afterwards there is only the TIME-WAIT.
    sendAck(t, p)
    enterTimeWait(t, p)
  }
}
