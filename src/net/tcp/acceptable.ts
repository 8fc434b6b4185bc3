// Whether a segment may be looked at, for a connection that is synchronized (RFC 9293 3.10.7.4, first; RFC 7323 5, RFC 5961): its sequence
// numbers must touch the window, and its timestamp must not be of the past.
import { TcpCounters } from '../counters.ts'
import { TcpFlag } from './header.ts'
import { sendAck } from './output.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import * as reassembly from './reassembly.ts'
import { after, atOrBefore, before, distance } from './sequence.ts'
import { State } from './state.ts'
import type { Tcp } from './tcp.ts'

const C = TcpCounters.index
const { syn: SYN, rst: RST, ack: ACK } = TcpFlag
const { synReceived } = State
const { TIMESTAMPS, ACK_NOW } = PcbFlag
/** After 24 days without a segment a timestamp says nothing any more (@rfc 7323 5.5). */
const TIMESTAMP_LIFE_US = 24 * 86_400 * 1e6
/** Challenge acknowledgments of a connection in a second, and how much more at random, so that nobody can count them (CVE-2016-5696). */
const CHALLENGES = 10
const CHALLENGE_JITTER = 10
const SECOND_US = 1e6

/**
 * The first check: whether any of the segment is in the window, and its timestamp not of the past. Trims what is not, to the left and to
 * the right. False: it is dropped, and answered where that is due.
 */
export function isAcceptable(t: Tcp, p: Pcb): boolean {
  const { options, bits } = t
  // @rfc 7323 3.2/unagreed: without an agreement nobody looks.
  if ((p.flags & TIMESTAMPS) !== 0) {
    if (options.hasTimestamp) {
      const isOld = before(options.timestampValue, p.tsRecent) && t.now - p.tsRecentAt < TIMESTAMP_LIFE_US
      // Protection against wrapped sequence numbers (@rfc 7323 5.2 5.3); a reset is judged by its sequence number only (@rfc 7323 5.2/reset 3.2/missing-reset).
      if (isOld && (bits & RST) === 0) {
        t.count[C.rejectedPaws]!++
        challenge(t, p)
        return false
      }
    } else if ((bits & RST) === 0) {
      // @rfc 7323 3.2/missing: once agreed, every segment has one.
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
  // @rfc 5961 3.2/outside
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

/**
 * An acknowledgment that says where we are, at most some a second for a connection (@rfc 5961 7/throttle).
 * @rfc-not 5961 7/configurable not done: a limit that everybody may know was the hole (CVE-2016-5696); this one is random, and each connection's own
 */
export function challenge(t: Tcp, p: Pcb): void {
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
