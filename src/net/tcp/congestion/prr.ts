// Proportional rate reduction (RFC 9937, which replaces RFC 6937): how fast cwnd comes down to ssthresh in recovery. For each ACK it
// says how much may be sent, in proportion to what it says was delivered, so that sending goes on evenly through the
// round trip in which the window shrinks, and never stops or bursts.
//
// Runs inside the connection's group. recoverFlight is RecoverFS, flight is inflight (RFC 6675's pipe).
import { type Pcb, PcbFlag } from '../pcb.ts'
import { distance } from '../sequence.ts'

/**
 * Recovery begins: `congested` has set ssthresh, and snd.una, `sacked` and `flight` say what the ACK that began it has told;
 * `newlyAcked` and `newlySacked` are the bytes of it that it was the first to acknowledge. Recovery's first `acknowledged` follows.
 */
export function enter(p: Pcb, newlyAcked: number, newlySacked: number): void {
  p.prrDelivered = 0
  p.prrOut = 0
  // What was selectively acknowledged before cannot be delivered in recovery any more; what this ACK tells, will be.
  const recoverable = distance(p.sndUna, p.sndNxt) + newlyAcked - (p.sacked - newlySacked)
  p.recoverFlight = Math.max(recoverable, 1)
}

/**
 * @rfc 9937 6, @rfc 6675 5/conserve
 * @rfc-not 6675 4/rescue not done: a tail loss probe does the same (RFC 8985 7)
 *
 * An ACK came in recovery that tells of `deliveredBytes` (cumulatively and selectively, each byte once), after losses
 * were marked and `flight` is right. Sets cwnd, and returns how much of it is free: what may be sent now. `safe`: snd.una
 * has advanced, and the ACK has not made anything be lost.
 */
export function acknowledged(p: Pcb, deliveredBytes: number, safe: boolean): number {
  if (deliveredBytes <= 0) return Math.max(p.cwnd - p.flight, 0)
  p.prrDelivered += deliveredBytes
  const { ssthresh, flight, prrDelivered, prrOut, mss } = p
  let count: number
  if (flight > ssthresh) {
    // In proportion: at the end of the round trip ssthresh of RecoverFS will have been sent.
    count = Math.ceil((prrDelivered * ssthresh) / p.recoverFlight) - prrOut
  } else {
    // Losses have taken more than was to be given up. Conservation of packets, and slow start while all goes well.
    count = Math.max(prrDelivered - prrOut, deliveredBytes)
    if (safe) count += mss
    count = Math.min(ssthresh - flight, count)
  }
  // The first retransmission must not wait. The RFC has this for a count of 0; in bytes, less than a segment lets none go either.
  if (prrOut === 0 && count < mss) count = mss
  count = Math.max(count, 0)
  p.cwnd = flight + count
  return count
}

/** `bytes` were sent, for the first time or again. Outside of recovery this does nothing. @rfc 9937 6 */
export function sent(p: Pcb, bytes: number): void {
  if ((p.flags & PcbFlag.RECOVERY) !== 0) p.prrOut += bytes
}

/** Recovery is complete: there is no burst left in the window. */
export function leave(p: Pcb): void {
  p.cwnd = p.ssthresh
}
