// The timers of a connection. Three of them, for more purposes:
//
//   sndTimer    retransmission (RFC 6298), tail loss probe and reordering (@rfc 8985 8), window probe (RFC 9293 3.8.6.1), SYN,
//               and another try where memory or the device was full: at most one of these is wanted at a time
//   ackTimer    delayed acknowledgments
//   slowTimer   keep-alive, or the end of FIN-WAIT-2 where no program is left
//
// What moves with each acknowledgment is only a deadline; the timer in the wheel fires at an earlier one, looks, and is armed again.
// At a hundred thousand acknowledgments a second it is armed some five times a second.
import { Errno } from '../../base/errno.ts'
import { Limits } from '../../base/limits.ts'
import { define } from '../../kernel/function.ts'
import { TcpCounters } from '../counters.ts'
import { lateIsLost, loseAll } from './acknowledge.ts'
import { collapse } from './congestion/window.ts'
import { abort, fail, sendSyn } from './connection.ts'
import { TcpEvent } from './message.ts'
import { fallBack } from './mtu.ts'
import { type Pcb, PcbFlag, TcpPcb } from './pcb.ts'
import { detectLoss } from './rack.ts'
import { timeoutUs } from './rtt.ts'
import { forget } from './sack.ts'
import { SegmentFlag } from './segment.ts'
import { distance } from './sequence.ts'
import { State } from './state.ts'
import { type Tcp, tcpOf } from './tcp.ts'

const C = TcpCounters.index
const SND_TIMER = TcpPcb.offset.sndTimer
const ACK_TIMER = TcpPcb.offset.ackTimer
const SLOW_TIMER = TcpPcb.offset.slowTimer
const { SACK, LOSS, RECOVERY, TLP, ACK_NOW, ACK_DELAYED, STALLED } = PcbFlag

export const TimerKind = {
  none: 0,
  retransmit: 1,
  tailProbe: 2,
  reordering: 3,
  persist: 4,
  syn: 5,
  stalled: 6,
} as const

/** @rfc 9293 MUST-40, @rfc 5681 4.2/half-second: below 0.5 s. Linux's smallest, as a program that waits for an answer waits for this. */
const ACK_DELAY_US = 40_000
/** @rfc 8985 7.2/two-rtt: what an only segment in flight waits longer, for an acknowledgment that may be delayed. */
const TAIL_DELAY_US = 200_000
const TAIL_MIN_US = 10_000
const PERSIST_MIN_US = 200_000
const STALL_US = 10_000
/** @rfc 9293 SHLD-10: at least 3 retransmissions, then IP is asked whether the way is still good. */
const R1 = 3
/** @rfc 9293 SHLD-11: at least 100 s. Fifteen doublings from 200 ms are 15 minutes, as on Linux. */
const R2 = 15
/** @rfc 9293 MUST-23: of SYNs: 1, 2, 4 … 60, 60 seconds are more than three minutes. */
const SYN_R2 = 8
/** How long FIN-WAIT-2 lasts when no program is left to read what the peer may still send (Linux: tcp_fin_timeout). */
const FIN_WAIT_2_US = 60_000_000

function arm(t: Tcp, p: Pcb, kind: number, delayUs: number): void {
  p.timerKind = kind
  p.sndDeadline = t.now + delayUs
  const timer = p.at + SND_TIMER
  if (t.timers.isArmed(timer) && t.timers.deadline(timer) <= p.sndDeadline) return
  t.timers.arm(timer, delayUs, SEND, p.at)
}

/** Something was sent or acknowledged: the timer is wanted while anything is in flight (@rfc 6298 5.1 5.2 5.3 5/never-early), and first for a probe of the tail. */
export function armRetransmission(t: Tcp, p: Pcb): void {
  if (p.segFirst === 0) {
    if (p.timerKind !== TimerKind.persist && p.timerKind !== TimerKind.stalled) p.timerKind = TimerKind.none
    return
  }
  const { flags } = p
  // @rfc 8985 7.2/schedule 7.2/not-in-recovery 7.3/one 4/sack
  if ((flags & (SACK | TLP | LOSS | RECOVERY)) === SACK && p.sacked === 0 && p.srtt > 0 && p.retransmits === 0) {
    // Of one segment on the wire: what was sent as one train has more, and the receiver does not delay its answer.
    const alone = distance(p.sndUna, p.sndNxt) <= p.mss
    const probe = Math.max(2 * p.srtt + (alone ? TAIL_DELAY_US : 0), TAIL_MIN_US)
    // Where the timeout would come first the probe takes its turn (@rfc 8985 7.2/before-rto).
    return arm(t, p, TimerKind.tailProbe, Math.min(probe, timeoutUs(p)))
  }
  arm(t, p, TimerKind.retransmit, timeoutUs(p))
}

/** @rfc 6675 6. What everything waits for was sent again: its time begins anew, or a second loss of it would be a timeout however soon it is seen. */
export function restartRetransmission(t: Tcp, p: Pcb): void {
  if (p.timerKind === TimerKind.retransmit) arm(t, p, TimerKind.retransmit, timeoutUs(p))
}

/** A segment is late, and lost if it is not there in `delayUs` (@rfc 8985 6.2/timer). */
export function armReordering(t: Tcp, p: Pcb, delayUs: number): void {
  arm(t, p, TimerKind.reordering, delayUs)
}

/** The peer's window is closed: it is asked from time to time (@rfc 9293 MUST-35 MUST-36 SHLD-29 SHLD-30). */
export function armPersist(t: Tcp, p: Pcb): void {
  if (p.timerKind === TimerKind.persist) return
  // Nothing is in flight: the backoff is this timer's, and 0 at the beginning.
  if (p.backoff === 0) p.firstUnansweredAt = t.now
  arm(t, p, TimerKind.persist, Math.max(timeoutUs(p), PERSIST_MIN_US))
}

/** Nothing could be sent for want of memory, or because the device was full. */
export function armStalled(t: Tcp, p: Pcb): void {
  p.flags |= STALLED
  if (p.segFirst === 0) arm(t, p, TimerKind.stalled, STALL_US)
}

export function armSyn(t: Tcp, p: Pcb): void {
  arm(t, p, TimerKind.syn, Math.min(1_000_000 * 2 ** p.retransmits, 60_000_000))
}

export function armDelayedAck(t: Tcp, p: Pcb): void {
  const timer = p.at + ACK_TIMER
  if (!t.timers.isArmed(timer)) t.timers.arm(timer, ACK_DELAY_US, ACK, p.at)
}

/** Keep-alive, or FIN-WAIT-2's end, whichever is wanted now. */
export function armSlow(t: Tcp, p: Pcb): void {
  const timer = p.at + SLOW_TIMER
  if (p.state === State.finWait2 && (p.flags & PcbFlag.DETACHED) !== 0) t.timers.arm(timer, FIN_WAIT_2_US, SLOW, p.at)
  else if (p.keepAliveIdleMs > 0) t.timers.arm(timer, p.keepAliveIdleMs * 1000, SLOW, p.at)
  else t.timers.cancel(timer)
}

export function cancelAll(t: Tcp, p: Pcb): void {
  t.timers.cancel(p.at + SND_TIMER)
  t.timers.cancel(p.at + ACK_TIMER)
  t.timers.cancel(p.at + SLOW_TIMER)
  p.timerKind = TimerKind.none
}

const SEND = define('tcp.send', (cpu, pcb) => {
  const t = tcpOf(cpu, pcb)
  const { p } = t
  t.enter()
  p.at = pcb
  const kind = p.timerKind
  if (kind === TimerKind.none) return
  if (t.now < p.sndDeadline) {
    t.timers.arm(pcb + SND_TIMER, p.sndDeadline - t.now, SEND, pcb)
    return
  }
  p.timerKind = TimerKind.none
  if (kind === TimerKind.retransmit) retransmissionTimeout(t, p)
  else if (kind === TimerKind.tailProbe) {
    probe(t, p)
    // @rfc 8985 7.3/rto
    arm(t, p, TimerKind.retransmit, timeoutUs(p))
  } else if (kind === TimerKind.reordering) reorderingTimeout(t, p)
  else if (kind === TimerKind.persist) persistTimeout(t, p)
  else if (kind === TimerKind.syn) synTimeout(t, p)
  else t.wantOutput(p)
})

/** A probe goes by the roll-up, as everything does that refers to the send buffer. */
function probe(t: Tcp, p: Pcb): void {
  p.flags |= PcbFlag.PROBE
  t.wantOutput(p)
}

/**
 * @rfc 6298 5.4 5.6, @rfc 5681 3.1/loss-window
 * @rfc-not 6298 5/clear not done: the average is what is known of the path, and timestamps or the next sample correct it
 */
function retransmissionTimeout(t: Tcp, p: Pcb): void {
  if (p.segFirst === 0) return
  const { s } = t
  s.at = p.segFirst
  // @rfc 9293 SHLD-17: what lies beyond a window that has shrunk does not count against a peer that answers.
  const isBeyond = p.sndWnd < ((s.end - s.start) | 0) && p.lastReceivedAt >= p.lastSentAt
  if (isBeyond) p.retransmits = 0
  if (isGivenUp(t, p, R2)) return
  t.count[C.timeouts]!++
  if (p.retransmits === R1) negativeAdvice(t, p)
  // The first one is never selectively acknowledged, unless the receiver has changed its mind (@rfc 2018 8, @rfc 6675 5.1/renege).
  if ((s.flags & SegmentFlag.SACKED) !== 0) forget(t, p)
  if ((p.flags & LOSS) === 0) {
    t.control(p).timeout(p, t.now)
    // @rfc 6675 5.1/no-new
    p.recover = p.sndNxt
  }
  // @rfc 9293 MUST-19, @rfc 6298 5.5: exponential backoff.
  if (p.backoff < 255) p.backoff++
  if (p.retransmits < 65535) p.retransmits++
  s.at = p.segFirst
  const wasFull = p.segFirst !== 0 && ((s.end - s.start) | 0) >= p.mss
  loseAll(t, p)
  collapse(p)
  p.dupAcks = 0
  // @rfc 6675 5.1/terminate
  p.flags = (p.flags | LOSS) & ~(RECOVERY | TLP | PcbFlag.TLP_RETRANSMITTED | PcbFlag.CWND_REDUCED)
  if (wasFull && !isBeyond) fallBack(t, p)
  t.wantOutput(p)
  arm(t, p, TimerKind.retransmit, timeoutUs(p))
}

/** @rfc 9293 MUST-20 MUST-21: R2 by count, or by the time that the program has set. */
function isGivenUp(t: Tcp, p: Pcb, limit: number): boolean {
  const byTime = p.userTimeoutMs > 0 && t.now - p.firstUnansweredAt >= p.userTimeoutMs * 1000
  if (!byTime && (p.userTimeoutMs > 0 || p.retransmits < limit)) return false
  t.count[C.timedOut]!++
  fail(t, p, p.softError !== 0 ? p.softError : Errno.ETIMEDOUT)
  return true
}

/** @rfc 9293 MUST-20: R1 was reached. */
function negativeAdvice(t: Tcp, p: Pcb): void {
  t.count[C.negativeAdvice]!++
  t.ip.suspect(p.remote)
  // @rfc 9293 SHLD-9
  t.tell(p, TcpEvent.SILENCE)
}

function reorderingTimeout(t: Tcp, p: Pcb): void {
  const waitUs = detectLoss(t, p)
  lateIsLost(t, p)
  if (waitUs > 0) armReordering(t, p, waitUs)
  else armRetransmission(t, p)
}

function persistTimeout(t: Tcp, p: Pcb): void {
  if (p.segFirst !== 0 || p.sndNxt === p.sndEnd) return
  // @rfc 9293 MUST-37 MAY-8: it may stay closed as long as the peer answers, which sets `probes` to 0; one that does not is treated as any
  // other. Unless no program is left, or it has said how long.
  const isOrphan = (p.flags & PcbFlag.DETACHED) !== 0
  const byTime = p.userTimeoutMs > 0 && t.now - p.firstUnansweredAt >= p.userTimeoutMs * 1000
  if (p.probes >= R2 || byTime || (isOrphan && p.backoff >= Limits.tcpOrphanProbes)) {
    t.count[C.timedOut]!++
    return fail(t, p, Errno.ETIMEDOUT)
  }
  if (p.probes < 65535) p.probes++
  if (p.backoff < 255) p.backoff++
  t.count[C.windowProbes]!++
  probe(t, p)
  armPersist(t, p)
}

function synTimeout(t: Tcp, p: Pcb): void {
  if ((p.state & (State.synSent | State.synReceived)) === 0) return
  if (isGivenUp(t, p, SYN_R2)) return
  p.retransmits++
  t.count[C.retransmittedSyns]!++
  sendSyn(t, p)
}

const ACK = define('tcp.ack', (cpu, pcb) => {
  const t = tcpOf(cpu, pcb)
  const { p } = t
  t.enter()
  p.at = pcb
  if ((p.flags & ACK_DELAYED) === 0) return
  t.count[C.delayedAcks]!++
  p.flags |= ACK_NOW
  t.wantOutput(p)
})

const SLOW = define('tcp.slow', (cpu, pcb) => {
  const t = tcpOf(cpu, pcb)
  const { p } = t
  t.enter()
  p.at = pcb
  if (p.state === State.finWait2 && (p.flags & PcbFlag.DETACHED) !== 0) {
    t.count[C.finWait2TimedOut]!++
    // Closed without a word, as Linux does: the peer learns of it when it sends again.
    abort(t, p, false)
    return
  }
  keepAlive(t, p)
})

/** RFC 9293 3.8.4. @rfc 9293 MAY-5 MUST-24 MUST-26 MUST-27 */
function keepAlive(t: Tcp, p: Pcb): void {
  if (p.keepAliveIdleMs === 0 || (p.state & (State.established | State.closeWait | State.finWait2)) === 0) return
  const timer = p.at + SLOW_TIMER
  const idleUs = t.now - p.lastReceivedAt
  const dueUs = p.keepAliveIdleMs * 1000
  if (idleUs < dueUs || p.segFirst !== 0) {
    p.probes = p.segFirst === 0 ? 0 : p.probes
    // Where something is in flight the retransmissions ask: there is nothing to see here before as long again.
    t.timers.arm(timer, idleUs < dueUs ? dueUs - idleUs : dueUs, SLOW, p.at)
    return
  }
  // @rfc 9293 MUST-29: not for one probe that was not answered.
  if (p.probes >= p.keepAliveCount) {
    t.count[C.keepAliveTimedOut]!++
    return fail(t, p, p.softError !== 0 ? p.softError : Errno.ETIMEDOUT)
  }
  p.probes++
  t.count[C.keepAlives]!++
  // @rfc 9293 SHLD-12: without data.
  probe(t, p)
  t.timers.arm(timer, p.keepAliveIntervalMs * 1000, SLOW, p.at)
}
