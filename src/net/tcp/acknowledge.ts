// What an acknowledgment does (RFC 9293 3.10.7.4, fifth): the send buffer is released, the round trip measured, losses found
// and recovered from, the congestion window moved. Called by input with `t.ack` in [snd.una, snd.nxt].
import { TcpCounters } from '../counters.ts'
import * as prr from './congestion/prr.ts'
import { TcpFlag } from './header.ts'
import { TcpEvent } from './message.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import { DUP_THRESHOLD, delivered, detectLoss, recovered } from './rack.ts'
import { measure } from './rtt.ts'
import { apply } from './sack.ts'
import { dropFirst, enterFlight, leaveLists, markLost, Segment, SegmentFlag, split } from './segment.ts'
import { release } from './sendbuffer.ts'
import { after, atOrBefore, before, distance, type SequenceNumber } from './sequence.ts'
import type { Tcp } from './tcp.ts'
import { armReordering, armRetransmission } from './timer.ts'

const C = TcpCounters.index
const { FIN, SACKED, FLIGHT } = SegmentFlag
const { RECOVERY, LOSS, SACK, TLP, TLP_RETRANSMITTED, CWND_REDUCED, ECN, WANT_ROOM } = PcbFlag

/** The segment of `t` acknowledges. `windowChanged`: it also moves the send window, and so is no duplicate. */
export function acknowledge(t: Tcp, p: Pcb, windowChanged: boolean): void {
  const { ack } = t
  const una = p.sndUna
  const flightBefore = p.flight
  const bytes = distance(una, ack)
  t.rttSampleUs = 0
  t.duplicate = false
  t.marked = 0
  let fresh = 0
  let sacked = 0
  let waitUs = 0
  const wasRecovering = (p.flags & (RECOVERY | LOSS)) !== 0
  // @rfc 7323 4.1, @rfc 6298 3/each-round-trip
  if (bytes > 0) {
    fresh = advance(t, p, ack)
    if (t.rttSampleUs > 0) measure(p, t.rttSampleUs)
    else measureByTimestamp(t, p)
  }
  if ((p.flags & SACK) !== 0 && t.options.sackCount > 0) sacked = apply(t, p, ack)
  // Most acknowledgments find nothing lost and nothing missing.
  if (
    p.sacked === 0 &&
    p.lostFirst === 0 &&
    (p.flags & (RECOVERY | LOSS | TLP)) === 0 &&
    p.dupAcks === 0 &&
    bytes > 0
  ) {
    progress(p)
    congestionNotified(t, p, bytes)
    grow(t, p, bytes, flightBefore)
  } else waitUs = recover(t, p, bytes, fresh, sacked, flightBefore, windowChanged)
  // What is late is looked for first; and where recovery begins, no probe of the tail is wanted any more.
  if (waitUs > 0) armReordering(t, p, waitUs)
  else if (bytes > 0 || (!wasRecovering && (p.flags & RECOVERY) !== 0)) armRetransmission(t, p)
  // Also a FIN that the congestion window has held back, with all data sent.
  if (p.sndNxt !== p.sndEnd || p.lostFirst !== 0 || (p.flags & (PcbFlag.FIN | PcbFlag.FIN_SENT)) === PcbFlag.FIN)
    t.wantOutput(p)
}

/**
 * @rfc 6298 3/timestamps
 * The round trip by the timestamp that came back, as far as milliseconds tell (RFC 7323 4.3): it says which transmission was answered, where
 * all else leaves that open.
 */
export function measureByTimestamp(t: Tcp, p: Pcb): void {
  if ((p.flags & PcbFlag.TIMESTAMPS) === 0 || !t.options.hasTimestamp) return
  const ms = (t.timestamp(p) - t.options.timestampEcho) | 0
  if (ms >= 0 && ms < 60_000) measure(p, Math.max(ms * 1000, 1000))
}

/** Everything before `ack` has arrived. Returns how many bytes were not known to have. */
function advance(t: Tcp, p: Pcb, ack: SequenceNumber): number {
  const { s } = t
  let fresh = 0
  let finAcked = false
  let wasSentAgain = false
  while (p.segFirst !== 0) {
    s.at = p.segFirst
    if (!before(s.start, ack)) break
    if (after(s.end, ack)) {
      // Acknowledged in part: what is left is a segment of its own. Without memory for it the rest is sent again some day.
      if (!split(t, p, ack)) {
        const left = distance(s.start, ack)
        fresh += (s.flags & SACKED) === 0 ? left : 0
        if ((s.flags & FLIGHT) !== 0) p.flight -= left
        if ((s.flags & SACKED) !== 0) p.sacked -= left
        s.start = ack
        break
      }
    }
    if ((s.flags & SACKED) === 0) {
      fresh += distance(s.start, s.end)
      if (s.transmits === 1) t.rttSampleUs = Math.max(1, t.now - s.sentAt)
      else wasSentAgain = true
      delivered(t, p)
    }
    if ((s.flags & FIN) !== 0) finAcked = true
    dropFirst(t, p)
  }
  const dataBytes = distance(p.sndUna, ack) - (finAcked ? 1 : 0)
  if (dataBytes > 0) {
    release(t, p, dataBytes)
    p.acked += dataBytes
    p.bytesSent += dataBytes
    // The program is told when it waits, or when it is worth a message.
    if ((p.flags & WANT_ROOM) !== 0 || p.acked >= p.sndLimit >>> 1) t.tell(p, TcpEvent.ROOM)
  }
  // @rfc 9293 MUST-18, @rfc 6298 3/karn: Karn's algorithm, only what was sent once tells the round trip; and not what has waited at the receiver for what was
  // sent again: that is as late as our timeout, which would grow by it, and the next sample by that.
  if (wasSentAgain) t.rttSampleUs = 0
  p.sndUna = ack
  if (before(p.fack, ack)) p.fack = ack
  p.firstUnansweredAt = t.now
  if (finAcked) t.finAcknowledged = true
  return fresh
}

/**
 * Acknowledged in the open state, or after a timeout: the window grows, if it is what limits us (RFC 9293 3.8.2, @rfc 9438 5.8, RFC 7661 4.1). What is in
 * flight does not tell that alone: of a batch of acknowledgments only the first finds it full, as sending goes on after all of them.
 */
function grow(t: Tcp, p: Pcb, bytes: number, flightBefore: number): void {
  // RFC 3168 6.1.2: not by what tells of congestion.
  if ((p.flags & ECN) !== 0 && (t.bits & TcpFlag.ece) !== 0) return
  const wasLimited = before((p.sndUna - bytes) | 0, p.cwndLimited) && atOrBefore(p.cwndLimited, p.sndNxt)
  if (wasLimited || (p.cwnd < p.ssthresh ? flightBefore * 2 >= p.cwnd : flightBefore + 2 * p.mss >= p.cwnd)) {
    t.control(p).acknowledged(p, bytes, t.now)
  }
}

/**
 * Something new has arrived: whatever was counted against the peer is forgotten. But not the backoff of the timeout, which is the measured
 * round trip's to end (@rfc 9293 MUST-18, @rfc 6298 5.7/backoff): a path that has become slower than the timeout would never be measured.
 */
function progress(p: Pcb): void {
  p.retransmits = 0
  p.probes = 0
  p.mtuProbeFailures = 0
}

/** The long way. Returns in how many µs to look again for what is late, 0: nothing is. */
function recover(
  t: Tcp,
  p: Pcb,
  bytes: number,
  fresh: number,
  sacked: number,
  flightBefore: number,
  windowChanged: boolean,
): number {
  const hasSack = (p.flags & SACK) !== 0
  let arrived = fresh + sacked
  if (bytes > 0) progress(p)
  if (!hasSack) arrived = countDuplicate(t, p, bytes, arrived, windowChanged)
  congestionNotified(t, p, bytes)
  probeAnswered(t, p, bytes)
  // @rfc 6675 5/recovery-point
  if ((p.flags & (RECOVERY | LOSS)) !== 0 && atOrBefore(p.recover, p.sndUna)) leave(p)
  const waitUs = hasSack ? detectLoss(t, p) : 0
  // @rfc 6675 5/enter 5/once 5.1/no-new
  if (p.lostFirst !== 0 && (p.flags & (RECOVERY | LOSS)) === 0) enter(t, p, bytes, fresh, sacked)
  if ((p.flags & RECOVERY) !== 0) {
    prr.acknowledged(p, arrived, bytes > 0 && t.marked === 0)
    // What a partial acknowledgment asks for goes, whatever the window (RFC 6582 3.2 step 3).
    if (!hasSack && t.marked > 0 && p.cwnd < p.flight + p.mss) p.cwnd = p.flight + p.mss
  } else if (bytes > 0) grow(t, p, bytes, flightBefore)
  return waitUs
}

/** A segment that was late is lost, by the clock and not by an acknowledgment (RFC 8985 6.3). */
export function lateIsLost(t: Tcp, p: Pcb): void {
  if (p.lostFirst === 0) return
  if ((p.flags & (RECOVERY | LOSS)) === 0) enter(t, p, 0, 0, 0)
  if ((p.flags & RECOVERY) !== 0 && p.cwnd < p.flight + p.mss) p.cwnd = p.flight + p.mss
  t.wantOutput(p)
}

/**
 * Without SACK: three acknowledgments of the same say that a segment is missing (@rfc 5681 3.2/fast-retransmit 4.3/recovery); a partial one, that the
 * next is (@rfc 6582 3.2).
 * @rfc-not 5681 3.2/inflate RFC 9937 governs the window in recovery
 */
function countDuplicate(t: Tcp, p: Pcb, bytes: number, arrived: number, windowChanged: boolean): number {
  if (bytes > 0) {
    if ((p.flags & RECOVERY) !== 0 && before(p.sndUna, p.recover)) firstIsLost(t, p)
    else if (!(p.flags & RECOVERY)) p.dupAcks = 0
    return arrived
  }
  // @rfc 5681 2
  if (windowChanged || t.bytes > 0 || t.fin || p.segFirst === 0) return arrived
  if (p.dupAcks < 255) p.dupAcks++
  // Each tells of a segment that has arrived: there are no more of them than are outstanding (RFC 5681 3.2, "ACK spoofing").
  if (p.dupAcks * p.mss > distance(p.sndUna, p.sndNxt) + p.mss) return arrived
  // What recovery or a timeout has sent again may be what is doubled now (RFC 6582 3.2 step 1): such an episode ended at `recover`, and
  // means nothing when that is no longer in flight.
  const isOld = atOrBefore(p.sndUna, p.recover) && atOrBefore(p.recover, p.sndNxt)
  if (p.dupAcks === DUP_THRESHOLD && (p.flags & (RECOVERY | LOSS)) === 0 && !isOld) firstIsLost(t, p)
  // Limited transmit (RFC 3042): new data goes for the first two.
  t.wantOutput(p)
  return arrived + Math.min(p.mss, p.flight)
}

/** The first segment in flight is lost: as much of it as goes into a packet. */
function firstIsLost(t: Tcp, p: Pcb): void {
  const { s } = t
  s.at = p.segFirst
  if (s.at === 0 || (s.flags & FLIGHT) === 0) return
  if (distance(s.start, s.end) > p.mss && !split(t, p, (s.start + p.mss) | 0)) return
  markLost(t, p)
}

/**
 * Loss recovery begins (RFC 6675 5, RFC 9937). @rfc 5681 3.2/third-ssthresh 4.3/lost-again, @rfc 8985 9.3
 * @rfc-not 5681 4.3/lost-again a retransmission that is lost within a recovery goes again, and is no second reduction, as on Linux
 */
function enter(t: Tcp, p: Pcb, bytes: number, fresh: number, sacked: number): void {
  t.count[C.recoveries]!++
  t.control(p).congested(p, t.now, bytes)
  p.recover = p.sndNxt
  p.flags = (p.flags | RECOVERY) & ~(CWND_REDUCED | TLP)
  // The next segment says that we have heard of congestion, also where it was a loss (RFC 3168 6.1.2).
  if ((p.flags & ECN) !== 0) p.flags |= PcbFlag.CWR
  prr.enter(p, fresh, sacked)
}

/** All that was in flight when recovery began has arrived. */
function leave(p: Pcb): void {
  if ((p.flags & RECOVERY) !== 0) prr.leave(p)
  p.flags &= ~(RECOVERY | LOSS | CWND_REDUCED)
  p.dupAcks = 0
  recovered(p)
}

/** The peer has seen congestion marked (@rfc 3168 6.1.2, @rfc 9438 5.3): as a loss, once a round trip, but nothing is sent again. */
function congestionNotified(t: Tcp, p: Pcb, bytes: number): void {
  const { flags } = p
  if ((flags & CWND_REDUCED) !== 0 && atOrBefore(p.recover, p.sndUna)) p.flags &= ~CWND_REDUCED
  if ((flags & ECN) === 0 || (t.bits & TcpFlag.ece) === 0) return
  if ((p.flags & (CWND_REDUCED | RECOVERY | LOSS)) !== 0) return
  t.count[C.ecnReductions]!++
  t.control(p).congested(p, t.now, bytes)
  p.cwnd = Math.max(p.ssthresh, p.mss)
  p.recover = p.sndNxt
  p.flags |= CWND_REDUCED | PcbFlag.CWR
}

/** The end of an episode of tail loss probing (@rfc 8985 7.4/spurious 7.4/repaired). */
function probeAnswered(t: Tcp, p: Pcb, bytes: number): void {
  if ((p.flags & TLP) === 0 || before(t.ack, p.tlpEnd)) return
  const beyond = after(t.ack, p.tlpEnd)
  const answeredTwice = t.bytes === 0 && t.options.sackCount === 0 && bytes === 0
  const wasNew = (p.flags & TLP_RETRANSMITTED) === 0
  if (!wasNew && !t.duplicate && !beyond && !answeredTwice) return
  p.flags &= ~(TLP | TLP_RETRANSMITTED)
  if (wasNew || t.duplicate || !beyond) return
  // The probe was needed, and has hidden a loss from congestion control: one reduction.
  if ((p.flags & (RECOVERY | LOSS | CWND_REDUCED)) !== 0) return
  t.control(p).congested(p, t.now, bytes)
  p.cwnd = Math.max(p.ssthresh, p.mss)
  p.recover = p.sndNxt
  p.flags |= CWND_REDUCED
}

/**
 * The retransmission timer has fired: everything in flight is lost, in the order of the stream (RFC 6298 5.4).
 * @rfc-not 8985 6.3 not done: all in flight is marked, and not only what is late; what arrives after all is not sent again
 */
export function loseAll(t: Tcp, p: Pcb): void {
  const { s, words } = t
  for (let segment = p.segFirst; segment !== 0; segment = words[(segment >> 2) + NEXT]!) {
    s.at = segment
    if ((s.flags & SACKED) !== 0) continue
    leaveLists(t, p)
    s.at = segment
    // To its end, and so in order: what was sent again lately comes behind what was not.
    enterFlight(t, p)
    markLost(t, p)
  }
}
const NEXT = Segment.offset.next >> 2
