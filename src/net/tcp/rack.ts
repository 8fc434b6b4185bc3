// RACK: what was sent before something that has arrived, and has not arrived itself, is lost after a while (RFC 8985).
// `now`, the times of segments and the round trip are µs.
import { Limits } from '../../base/limits.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import { markLost, Segment } from './segment.ts'
import { after, distance } from './sequence.ts'
import type { Tcp } from './tcp.ts'

const NEWER = Segment.offset.newer >> 2
/** A reordering window that was widened stays so for that many recoveries (RFC 8985 6.2 step 4). */
const PERSIST_RECOVERIES = 16
const MULTIPLIER_MAX = 255
/** Segments out of order that prove a loss without any time passing (@rfc 8985 6.2/no-window, @rfc 6675 3/dup-thresh, @rfc 5681 3.2/fast-retransmit). */
export const DUP_THRESHOLD = 3

/** The segment at `t.s` has arrived (@rfc 8985 6.2/state 6.2/reordering, steps 1 to 3). */
export function delivered(t: Tcp, p: Pcb): void {
  const { s } = t
  const { sentAt, end, transmits } = s
  const rtt = t.now - sentAt
  // Whether this answers the retransmission or the original is not known: too fast for the former (@rfc 8985 6.2/ambiguous).
  if (transmits > 1 && rtt < p.rttMin) return
  if (after(end, p.fack)) p.fack = end
  else if (transmits === 1 && after(p.fack, end)) p.flags |= PcbFlag.REORDERING
  if (sentAt > p.rackSentAt || (sentAt === p.rackSentAt && after(end, p.rackEnd))) {
    p.rackSentAt = sentAt
    p.rackEnd = end
    p.rackRtt = rtt
  }
}

/** A duplicate was reported: reordering was taken for a loss (@rfc 8985 6.2/dsack, step 4). Once a round trip. */
export function duplicateReported(p: Pcb): void {
  // What was sent again in vain, but for a probe, was out of order: its arrival cannot tell any more (RFC 8985 6.2 step 3 has only those
  // that were sent once). What the network has doubled is none of ours.
  if (p.retransmitted === 0 || (p.flags & PcbFlag.TLP_RETRANSMITTED) !== 0) return
  p.flags |= PcbFlag.REORDERING
  if (distance(p.rackRound, p.sndUna) < 0) return
  p.rackRound = p.sndNxt
  if (p.rackMultiplier < MULTIPLIER_MAX) p.rackMultiplier++
  p.rackPersist = PERSIST_RECOVERIES
}

/** A recovery is over: the window narrows again after some of them. */
export function recovered(p: Pcb): void {
  if (p.rackPersist > 0 && --p.rackPersist === 0) p.rackMultiplier = 1
}

/** How long a segment may be late and still only be out of order, µs (@rfc 8985 6.2/window 6.2/no-window). */
function reorderingWindow(p: Pcb): number {
  if ((p.flags & PcbFlag.REORDERING) === 0) {
    if ((p.flags & (PcbFlag.RECOVERY | PcbFlag.LOSS)) !== 0 || p.sacked >= DUP_THRESHOLD * p.mss) return 0
  }
  // What was selectively acknowledged has measured the round trip too, where nothing else has yet (RFC 8985 6.2 step 1).
  if (p.rttMin === 0) return Math.min((p.rackMultiplier * p.rackRtt) / 4, p.rackRtt)
  return Math.min((p.rackMultiplier * p.rttMin) / 4, p.srtt)
}

/**
 * Marks what is lost (@rfc 8985 6.2/detect, @rfc 6675 4/is-lost, step 5). Returns in how many µs to look again, 0 when nothing else is late. The list is in the order of
 * sending: the first segment that was sent after the one that arrived ends the search.
 */
export function detectLoss(t: Tcp, p: Pcb): number {
  if (p.rackSentAt === 0) return 0
  const { s } = t
  const windowUs = reorderingWindow(p)
  const { rackSentAt, rackEnd, rackRtt } = p
  let waitUs = 0
  let looked = 0
  for (let segment = p.flightFirst; segment !== 0 && looked < Limits.tcpSegmentsLooked; looked++) {
    s.at = segment
    const newer = t.words[(segment >> 2) + NEWER]!
    if (s.sentAt > rackSentAt || (s.sentAt === rackSentAt && !after(rackEnd, s.end))) break
    const lateUs = s.sentAt + rackRtt + windowUs - t.now
    if (lateUs <= 0) markLost(t, p)
    else if (lateUs > waitUs) waitUs = lateUs
    segment = newer
  }
  return waitUs
}
