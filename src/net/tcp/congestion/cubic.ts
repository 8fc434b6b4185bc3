// CUBIC (RFC 9438): after a loss the window goes back to where it was along a cubic curve of time, flat near the place of the
// loss, so that how fast it grows does not depend on the round-trip time.
//
//   cwnd                                     ╱ convex: looks for more
//     │  W_max ──────────────── ⎯⎯⎯⎯⎯⎯⎯⎯⎯⎯ ╱
//     │                  ╱                               W(t) = C (t - K)³ + W_max     t since the epoch began
//     │              ╱ concave: back to where the loss was
//     │ ────────╱
//     └─────────┴────────────┴───────────────────► t
//             epoch        epoch + K
//
// Of the PCB: cubicEpoch, µs, when this congestion avoidance began, 0: it has not; cubicMax, W_max; cubicK, s; cubicEstimate, W_est,
// what Reno would have; cubicOrigin, cwnd_prior. Windows in bytes, where the RFC counts segments: C is multiplied by the MSS.
import type { Pcb } from '../pcb.ts'
import type { CongestionControl } from './control.ts'
import {
  collapse,
  flightAtLoss,
  flightSize,
  grow,
  growLinearly,
  initializeWindow,
  restart,
  setThreshold,
  slowStart,
} from './window.ts'

/** Segments per cubic second (@rfc 9438 5.1). */
const C = 0.4
/** What is kept of the window at a loss (RFC 9438 4.6). */
const BETA = 0.7
/** Segments per round trip that make Reno with BETA as aggressive as Reno with a half (RFC 9438 4.3). */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA)
/** Where the curve is below the window: so slowly that it hardly grows, in windows for a segment. */
const STANDSTILL = 100

export const cubic: CongestionControl = {
  name: 'cubic',
  id: 0,

  initialize(p: Pcb): void {
    initializeWindow(p)
    p.cubicEpoch = 0
    p.cubicMax = 0
    p.cubicK = 0
    p.cubicEstimate = 0
    p.cubicOrigin = 0
  },

  acknowledged(p: Pcb, bytes: number, nowUs: number): void {
    const rest = slowStart(p, bytes)
    if (rest > 0) avoid(p, rest, nowUs)
  },

  congested(p: Pcb, _nowUs: number, ackedBytes = 0): void {
    const { cwnd } = p
    p.cubicOrigin = cwnd
    // Fast convergence (@rfc 9438 4.7): lost before the old place was reached, so somebody else has come; leave room.
    p.cubicMax = cwnd < p.cubicMax ? (cwnd * (1 + BETA)) / 2 : cwnd
    // @rfc 9438 4.6 of what is in flight, not of a window that was never filled
    // @rfc-not 5681 3.1/loss-ssthresh CUBIC, the default, keeps seven tenths: RFC 9438 4.6 updates it
    // @rfc-not 6675 5/reduce CUBIC, the default, keeps seven tenths (RFC 9438 4.6)
    setThreshold(p, flightAtLoss(p, ackedBytes) * BETA)
    p.cubicEpoch = 0
  },

  timeout(p: Pcb): void {
    // @rfc 9438 4.8 as Reno, by our own factor
    if (p.backoff === 0) {
      p.cubicOrigin = p.cwnd
      setThreshold(p, flightSize(p) * BETA)
    }
    // The next congestion avoidance begins with K = 0 at the window that it has then.
    p.cubicMax = 0
    p.cubicEpoch = 0
    collapse(p)
  },

  idle(p: Pcb, idleUs: number): void {
    if (restart(p, idleUs)) p.cubicEpoch = 0
    // @rfc 9438 4.2 the curve's time is that in which the window could grow: without this a pause would end in a leap.
    else if (p.cubicEpoch !== 0) p.cubicEpoch += idleUs
  },
}

/**
 * Congestion avoidance: the curve, or Reno where that is faster (@rfc 9438 4.2 4.3 4.5).
 * @rfc-not 5681 3.1/avoidance-increase CUBIC, the default, grows faster where RFC 9438 says so, which updates it
 * @rfc-not 9438 4.9 not done: nothing tells a timeout that was too early from another
 */
function avoid(p: Pcb, bytes: number, nowUs: number): void {
  if (p.cubicEpoch === 0) begin(p, nowUs)
  const { mss, cwnd } = p
  // @rfc 9438 4.3/alpha from where the loss was Reno grows by a whole segment each round trip
  const alpha = p.cubicEstimate >= p.cubicOrigin ? 1 : ALPHA
  p.cubicEstimate += (alpha * bytes * mss) / cwnd
  const seconds = (nowUs - p.cubicEpoch) / 1e6
  if (curve(p, seconds) < p.cubicEstimate) {
    // Reno-friendly. What was counted for the curve is of no use any more.
    p.cwndAcked = 0
    if (p.cubicEstimate > cwnd) grow(p, Math.floor(p.cubicEstimate))
    return
  }
  // @rfc 9438 4.2/target 4.4 where the curve will be in a round trip, and half a window more at most
  const target = Math.min(curve(p, seconds + p.srtt / 1e6), 1.5 * cwnd)
  // (target - cwnd) / cwnd of a segment for each segment that is acknowledged.
  const window = target > cwnd ? (cwnd * mss) / (target - cwnd) : STANDSTILL * cwnd
  growLinearly(p, bytes, Math.ceil(Math.min(window, STANDSTILL * cwnd)))
}

/** A new epoch: the first acknowledgment of congestion avoidance. */
function begin(p: Pcb, nowUs: number): void {
  const { cwnd } = p
  // 0 says that there is none.
  p.cubicEpoch = Math.max(nowUs, 1)
  p.cubicEstimate = cwnd
  p.cwndAcked = 0
  if (cwnd < p.cubicMax) p.cubicK = Math.cbrt((p.cubicMax - cwnd) / (C * p.mss))
  else {
    // After a timeout, and after a slow start that ended without a loss (RFC 9438 4.8, 4.10): the curve begins at its flat place.
    p.cubicK = 0
    p.cubicMax = cwnd
  }
}

/** W_cubic, in bytes. */
function curve(p: Pcb, seconds: number): number {
  const t = seconds - p.cubicK
  return C * p.mss * t * t * t + p.cubicMax
}
