// Segments that are sent to be answered: of the tail of what is in flight, of a closed window, and of a peer that is silent.
import type { Address } from '../../base/struct.ts'
import { TcpCounters } from '../counters.ts'
import { TcpFlag } from './header.ts'
import { retransmit, transmit } from './output.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import { Segment, SegmentFlag, sent, split } from './segment.ts'
import { distance } from './sequence.ts'
import type { Tcp } from './tcp.ts'

const C = TcpCounters.index
const PREVIOUS = Segment.offset.previous >> 2

/**
 * A tail loss probe (@rfc 8985 7.1, RFC 8985 7.3): what is in flight may have lost its end, and nothing behind it will tell. One segment more, new if
 * there is one, brings an acknowledgment that does.
 */
export function probeTail(t: Tcp, p: Pcb): void {
  if (p.segFirst === 0) return
  t.count[C.tailProbes]!++
  const usable = distance(p.sndNxt, (p.sndUna + p.sndWnd) | 0)
  const bytes = Math.min(distance(p.sndNxt, p.sndEnd), usable, p.mss)
  if (bytes > 0 && (bytes === p.mss || bytes === distance(p.sndNxt, p.sndEnd))) {
    // @rfc 8985 7.3/new-data
    const end = (p.sndNxt + bytes) | 0
    if (transmit(t, p, p.sndNxt, bytes, TcpFlag.ack | TcpFlag.psh, false) && sent(t, p, p.sndNxt, end, false))
      p.sndNxt = end
    p.flags = (p.flags | PcbFlag.TLP) & ~PcbFlag.TLP_RETRANSMITTED
  } else {
    const { s } = t
    // @rfc 8985 7.3/last
    const last = lastMissing(t, p)
    if (last === 0) return
    s.at = last
    const fin = (s.flags & SegmentFlag.FIN) !== 0 ? 1 : 0
    const dataBytes = distance(s.start, s.end) - fin
    if (dataBytes > p.mss) {
      // A train's last segment: the rest of a whole number of them, and the FIN.
      const back = (dataBytes % p.mss || p.mss) + fin
      if (!split(t, p, (s.end - back) | 0)) return
      s.at = s.next
    }
    retransmit(t, p)
    p.flags |= PcbFlag.TLP | PcbFlag.TLP_RETRANSMITTED
  }
  p.tlpEnd = p.sndNxt
}

/** The last segment that is not there, and has data if one has: a FIN by itself is not kept where something before it is missing, and tells nothing. */
function lastMissing(t: Tcp, p: Pcb): Address {
  const { s, words } = t
  let last = 0
  for (let segment = p.segLast; segment !== 0; segment = words[(segment >> 2) + PREVIOUS]!) {
    s.at = segment
    if ((s.flags & SegmentFlag.SACKED) !== 0) continue
    last = segment
    if ((s.flags & SegmentFlag.FIN) === 0 || distance(s.start, s.end) > 1) break
  }
  return last
}

/**
 * Asks the peer for its window, or whether it is there (RFC 9293 3.8.6.1, 3.8.4): what fits into a window that is small; else a segment
 * without data from before the window, which every receiver answers. A byte of new data beyond the window, the other way, would be
 * in flight though nobody has taken it.
 */
export function probeWindow(t: Tcp, p: Pcb): void {
  const usable = Math.min(distance(p.sndNxt, (p.sndUna + p.sndWnd) | 0), p.mss)
  const bytes = Math.min(distance(p.sndNxt, p.sndEnd), usable)
  if (bytes > 0) {
    const end = (p.sndNxt + bytes) | 0
    if (transmit(t, p, p.sndNxt, bytes, TcpFlag.ack | TcpFlag.psh, false) && sent(t, p, p.sndNxt, end, false))
      p.sndNxt = end
    return
  }
  transmit(t, p, (p.sndUna - 1) | 0, 0, TcpFlag.ack)
}
