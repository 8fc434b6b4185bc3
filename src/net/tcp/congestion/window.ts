// The congestion window: what all algorithms have in common (RFC 5681). Bytes throughout. For the algorithms beside this file.
import { type Pcb, PcbFlag } from '../pcb.ts'
import { distance } from '../sequence.ts'

/** A window is at most 2^30 bytes (RFC 7323 2.3). cwnd never needs to be larger, and cannot overflow then. */
const CWND_MAX = 2 ** 30
/** @rfc 5681 3.1/first-ssthresh the first ssthresh is as high as can be. */
const SSTHRESH_MAX = 0xffffffff
/** What one acknowledgment may add in slow start: a train of the largest packet, which is what a device sends at once. */
const SLOW_START_BYTES_MAX = 65536

/**
 * @rfc 6928 2 ten segments, and 14600 bytes where those are larger than Ethernet's
 * @rfc-not 5681 3.1/initial-window RFC 6928 has ten segments in its place
 * @rfc-not 5681 3.1/syn-lost RFC 6928 2 has one segment only after more than one lost SYN
 */
export function initialWindow(mss: number): number {
  return Math.min(10 * mss, Math.max(2 * mss, 14600))
}

/** What all of them begin with. */
export function initializeWindow(p: Pcb): void {
  // @rfc 6928 2 after more than one lost SYN the path is taken for a bad one: one segment. One lost SYN is bad luck.
  p.cwnd = p.retransmits > 1 ? p.mss : initialWindow(p.mss)
  p.ssthresh = SSTHRESH_MAX
  p.cwndAcked = 0
}

/**
 * Slow start by bytes (@rfc 3465 2.2, @rfc 5681 3.1/slow-start, @rfc 9438 4.10), and returns the bytes that are beyond it: for congestion avoidance.
 *
 * @rfc-not 5681 3.1/slow-start-increase not done: a train for each acknowledgment, since receivers acknowledge many segments at once
 * @rfc 5681 3.1/slow-start-increase after a timeout it is one segment
 *
 * RFC 5681 lets each acknowledgment add one segment, RFC 3465 two, to keep what one acknowledgment releases short. Receivers that
 * put segments together acknowledge forty at a time, and would then never let cwnd double; so the bound is a train. After a timeout
 * it is one segment, as @rfc 3465 2.3 has it: there an acknowledgment may cover a hole's end, and much that had arrived long before.
 */
export function slowStart(p: Pcb, bytes: number): number {
  const { cwnd, ssthresh } = p
  if (cwnd >= ssthresh) return bytes
  const limit = (p.flags & PcbFlag.LOSS) !== 0 ? p.mss : Math.max(SLOW_START_BYTES_MAX, 2 * p.mss)
  const add = Math.min(bytes, limit)
  if (cwnd + add <= ssthresh) {
    grow(p, cwnd + add)
    return 0
  }
  grow(p, ssthresh)
  return cwnd + add - ssthresh
}

/** Sets cwnd, within what the field and the protocol can hold. */
export function grow(p: Pcb, bytes: number): void {
  p.cwnd = Math.min(bytes, CWND_MAX)
}

/**
 * Congestion avoidance by bytes (RFC 3465 2.1): one segment more for each `window` bytes that are acknowledged. What was counted
 * against a larger window makes one segment at most, not a burst.
 */
export function growLinearly(p: Pcb, bytes: number, window: number): void {
  let acked = p.cwndAcked
  let segments = 0
  if (acked >= window) {
    acked = 0
    segments = 1
  }
  acked += bytes
  if (acked >= window) {
    const more = Math.floor(acked / window)
    acked -= more * window
    segments += more
  }
  p.cwndAcked = acked
  if (segments > 0) grow(p, p.cwnd + segments * p.mss)
}

/** @rfc 5681 3.1/flight-size: sent and not acknowledged, whatever SACK says of it. Not cwnd, which an idle program never fills. */
export function flightSize(p: Pcb): number {
  return distance(p.sndUna, p.sndNxt)
}

/**
 * What a loss is the measure of: FlightSize, but no more than cwnd. While it is waited whether segments are lost or only late, each that
 * arrives lets a new one go: in a round trip of that FlightSize is two windows, and seven tenths of it would be no reduction. And as it was
 * when the news came: receivers that put segments together acknowledge a whole window by the segment that says ECE, and what that has
 * left in flight is next to nothing.
 */
export function flightAtLoss(p: Pcb, ackedBytes: number): number {
  return Math.min(flightSize(p) + ackedBytes, p.cwnd)
}

/** @rfc 5681 3.1/loss-ssthresh, @rfc 9438 4.6 never less than two segments */
export function setThreshold(p: Pcb, bytes: number): void {
  p.ssthresh = Math.max(Math.floor(bytes), 2 * p.mss)
}

/** @rfc 5681 3.1/loss-window the loss window is one segment, whatever it was before. */
export function collapse(p: Pcb): void {
  p.cwnd = p.mss
  p.cwndAcked = 0
}

/**
 * After a pause longer than the timeout the acknowledgments that would have clocked the window out are gone: begin as at first.
 * Whether it began anew. @rfc 5681 4.1
 */
export function restart(p: Pcb, idleUs: number): boolean {
  if (idleUs <= p.rto) return false
  p.cwnd = Math.min(p.cwnd, initialWindow(p.mss))
  p.cwndAcked = 0
  return true
}
