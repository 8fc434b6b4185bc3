// Selective acknowledgments in (RFC 2018, RFC 2883): which segments in flight have arrived though something before them has
// not. What a peer says is believed only within [snd.una, snd.nxt), and costs no more than a walk over what is in flight.
//
// A block that cuts a segment splits it only where the segments on the wire were cut, at multiples of the MSS: so a peer that
// reports byte by byte makes no more records than there were packets (CVE-2019-11477 to 11479).
import { type Pcb, PcbFlag } from './pcb.ts'
import { delivered, duplicateReported } from './rack.ts'
import { leaveLists, Segment, SegmentFlag, split } from './segment.ts'
import { after, atOrBefore, before, distance, type SequenceNumber } from './sequence.ts'
import type { Tcp } from './tcp.ts'

const NEXT = Segment.offset.next >> 2
const { FIN, SACKED } = SegmentFlag

/** @rfc 6675 4/update. Applies the blocks of the options of the segment that came, whose acknowledgment is `ack`. Returns the bytes newly acknowledged. */
export function apply(t: Tcp, p: Pcb, ack: SequenceNumber): number {
  const { options } = t
  const { sack, sackCount } = options
  let bytes = 0
  let first = 0
  if (isDuplicate(sack, sackCount, ack)) {
    t.duplicate = true
    duplicateReported(p)
    first = 1
  }
  // In the order of the stream: what is new below what is new is not out of order, only told late.
  sort(sack, first, sackCount)
  for (let i = first; i < sackCount; i++) {
    const start = sack[i * 2]!
    const end = sack[i * 2 + 1]!
    if (!before(start, end) || before(start, ack) || after(end, p.sndNxt)) continue
    bytes += applyBlock(t, p, start, end)
  }
  return bytes
}

/** Puts the blocks from `first` on in order. They are four at most. */
function sort(sack: Int32Array, first: number, count: number): void {
  for (let i = first + 1; i < count; i++) {
    const start = sack[i * 2]!
    const end = sack[i * 2 + 1]!
    let at = i
    for (; at > first && before(start, sack[at * 2 - 2]!); at--) {
      sack[at * 2] = sack[at * 2 - 2]!
      sack[at * 2 + 1] = sack[at * 2 - 1]!
    }
    sack[at * 2] = start
    sack[at * 2 + 1] = end
  }
}

/** Whether the first block reports a duplicate: below the acknowledgment, or within the second (@rfc 2883 4). */
function isDuplicate(sack: Int32Array, count: number, ack: SequenceNumber): boolean {
  if (count === 0) return false
  const start = sack[0]!
  const end = sack[1]!
  if (atOrBefore(end, ack) && before(start, end)) return true
  return count > 1 && atOrBefore(sack[2]!, start) && atOrBefore(end, sack[3]!) && before(start, end)
}

function applyBlock(t: Tcp, p: Pcb, start: SequenceNumber, end: SequenceNumber): number {
  const { s, words } = t
  let bytes = 0
  let segment = p.segFirst
  // Blocks grow at their right end: the search goes on where the last one ended.
  if (p.sackHint !== 0) {
    s.at = p.sackHint
    if (atOrBefore(s.start, start)) segment = p.sackHint
  }
  for (; segment !== 0; segment = words[(segment >> 2) + NEXT]!) {
    s.at = segment
    if (!before(s.start, end)) break
    if ((s.flags & SACKED) !== 0 || atOrBefore(s.end, start)) continue
    if (before(s.start, start)) {
      const front = Math.ceil(distance(s.start, start) / p.mss) * p.mss
      if (front < distance(s.start, s.end)) split(t, p, (s.start + front) | 0)
      // The back part, if there is one, comes next.
      continue
    }
    if (after(s.end, end)) {
      // A receiver may keep the data of a segment and not its FIN.
      const all = (s.flags & FIN) !== 0 && distance(end, s.end) === 1
      const front = all ? distance(s.start, end) : Math.floor(distance(s.start, end) / p.mss) * p.mss
      if (front === 0 || !split(t, p, (s.start + front) | 0)) break
    }
    bytes += distance(s.start, s.end)
    leaveLists(t, p)
    s.flags |= SACKED
    p.sackHint = segment
    delivered(t, p)
  }
  p.sacked += bytes
  return bytes
}

/** The receiver has dropped what it had acknowledged selectively (@rfc 2018 8, @rfc 6675 5.1/renege): nothing is believed any more. After a timeout. */
export function forget(t: Tcp, p: Pcb): void {
  const { s, words } = t
  for (let segment = p.segFirst; segment !== 0; segment = words[(segment >> 2) + NEXT]!) {
    s.at = segment
    s.flags &= ~SACKED
  }
  p.sacked = 0
  p.sackHint = 0
  p.flags &= ~PcbFlag.REORDERING
}
