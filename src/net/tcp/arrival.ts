// A segment arrives for a connection (RFC 9293 3.10.7.3 and 3.10.7.4), in the order of these sections; most take the short way.
import { Errno } from '../../base/errno.ts'
import { TcpCounters } from '../counters.ts'
import { challenge, isAcceptable } from './acceptable.ts'
import { acknowledge } from './acknowledge.ts'
import { end, enterTimeWait, establish, fail, sendSyn } from './connection.ts'
import { TcpFlag } from './header.ts'
import { TcpEvent } from './message.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import { reset } from './respond.ts'
import { measure } from './rtt.ts'
import { after, atOrBefore, before, distance } from './sequence.ts'
import { CAN_RECEIVE, State } from './state.ts'
import type { Tcp } from './tcp.ts'
import { accept, finReceived, text } from './text.ts'
import { armSlow } from './timer.ts'

const C = TcpCounters.index
const { fin: FIN, syn: SYN, rst: RST, ack: ACK, urg: URG } = TcpFlag
const { established, finWait1, finWait2, closing, lastAck, synSent, synReceived } = State
const { TIMESTAMPS, ACK_NOW } = PcbFlag

export function segment(t: Tcp, p: Pcb): void {
  t.assertInside(p.at)
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
  // @rfc 7323 5.6
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
  // @rfc 2018 2
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
  // The window of a SYN is never scaled (@rfc 7323 2.2/syn-unscaled).
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
  // Second, the RST (@rfc 5961 3.2/exact): only one that is exact is believed.
  if ((bits & RST) !== 0) return resetReceived(t, p)
  // Fourth, the SYN (@rfc 5961 4.2/challenge 4.2/drop, @rfc 9293 MAY-12).
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
  // Neither of the past, by more than a window, nor of the future (@rfc 5961 5.2/range).
  if (after(t.ack, p.sndNxt)) {
    t.count[C.rejectedAck]!++
    return challenge(t, p)
  }
  if (distance(t.ack, p.sndUna) > p.sndWndMax) {
    t.count[C.rejectedAck]!++
    return challenge(t, p)
  }
  // @rfc 7323 4.3
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
    // @rfc 3168 6.1.3: until the peer says that it has heard.
    p.flags |= PcbFlag.ECE | ACK_NOW
    t.wantOutput(p)
  }
  // Sixth, the URG. @rfc 9293 MUST-31 MUST-32 MUST-33 MUST-66: of any length; the program is told; and the bytes stay where they are.
  if ((bits & URG) !== 0 && t.urgent > 0 && (p.state & CAN_RECEIVE) !== 0) {
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

/** @rfc 9293 SHLD-2: whatever data it has. */
function resetReceived(t: Tcp, p: Pcb): void {
  // @rfc 5961 3.2/challenge
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
  // @rfc 7323 2.3/left
  const window = t.window << p.sndScale
  p.sndWl1 = t.seq
  p.sndWl2 = t.ack
  // Whatever was asked, it is answered.
  p.probes = 0
  if (window === p.sndWnd) return false
  p.sndWnd = window
  // @rfc 5961 5.2/largest-window
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
