// The round-trip time, and how long to wait for an acknowledgment (RFC 6298). Runs inside the connection's group.
//
// Whom a sample may be taken from is the caller's to know: never from what was sent more than once, unless timestamps tell the
// transmissions apart (Karn's algorithm, RFC 9293 MUST-18, RFC 7323 4).
import { assert } from '../../base/assert.ts'
import type { Pcb } from './pcb.ts'

export const Timeout = {
  /** @rfc 6298 2.1 4/granularity before anything was measured; µs, as all times here */
  initialUs: 1_000_000,
  /** @rfc 6298 5.7 the same, when the SYN had to be sent again */
  afterSynUs: 3_000_000,
  /**
   * The least that is added to the smoothed time. @rfc-not 6298 2.4 not done: no stack waits for a second any more (Linux has 200 ms, FreeBSD 30 ms)
   *
   * RFC 6298 2.4 asks for a timeout of at least 1 s: the second was for clocks of 500 ms, and on the paths of today it is 10 to 10000 round trips.
   * What it guards against is a delayed acknowledgment that is taken for a loss, and those are late by 40 to 200 ms. So the floor
   * stands where the RFC has the clock's granularity, above the smoothed time, not under the sum: at 190 ms a floor of the
   * sum would be no room at all.
   */
  varianceMinUs: 200_000,
  /** @rfc 6298 2.5 at least 60 s */
  maxUs: 60_000_000,
} as const

/** Nothing is known of the path yet. */
export function initialize(p: Pcb): void {
  p.srtt = 0
  p.rttvar = 0
  p.rttMin = 0
  p.rto = Timeout.initialUs
  p.backoff = 0
}

/**
 * The handshake is over, and its SYN had to be sent again: a path that is slower than the first guess must not have its first data
 * sent twice. Where timestamps have given a sample in spite of that, it is better than any guess.
 * @rfc 6298 5.7
 */
export function afterSynTimeout(p: Pcb): void {
  p.backoff = 0
  if (p.srtt === 0) p.rto = Timeout.afterSynUs
}

/**
 * @rfc-not 7323 4.2 not done: each acknowledgment is a sample with RFC 6298's gains, as on Linux, whose averages have as short a memory
 *
 * A round trip took `sampleUs`. Ends the backoff: what was measured has been answered. A sample below 0 is none, because only an
 * echo of a timestamp that was never sent can give one.
 */
export function measure(p: Pcb, sampleUs: number): void {
  if (!(sampleUs >= 0)) return
  // 0 means that nothing was measured.
  const sample = Math.min(Math.max(sampleUs, 1), Timeout.maxUs)
  if (p.srtt === 0) {
    // @rfc 6298 2.2
    p.srtt = sample
    p.rttvar = sample / 2
    p.rttMin = sample
  } else {
    // @rfc 6298 2.3 the deviation from the old average comes first
    p.rttvar += (Math.abs(p.srtt - sample) - p.rttvar) / 4
    p.srtt += (sample - p.srtt) / 8
    // The least of the connection (@rfc 8985 6.2/min-rtt). That the path may have become longer does no harm: RACK waits a little less (RFC 8985 6.2).
    if (sample < p.rttMin) p.rttMin = sample
  }
  p.rto = Math.min(p.srtt + Math.max(4 * p.rttvar, Timeout.varianceMinUs), Timeout.maxUs)
  p.backoff = 0
}

/** How long to wait now: doubled for each time that it was in vain (@rfc 6298 5.5). @rfc 9293 MUST-19 */
export function timeoutUs(p: Pcb): number {
  assert(p.rto > 0, 'a connection has a timeout from its beginning on')
  return Math.min(p.rto * 2 ** p.backoff, Timeout.maxUs)
}
