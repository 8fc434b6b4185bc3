// What is in flight, as segments: ranges of the stream that were sent at the same time. A train that was sent as one is one
// segment, of up to 64 KiB; it is split where acknowledgments or losses tell its parts apart.
//
//   by stream   segFirst ⇄ … ⇄ segLast          from snd.una to snd.nxt, without holes
//   by time     flightFirst ⇄ … ⇄ flightLast    those neither selectively acknowledged nor lost: what RACK looks at,
//                                               oldest transmission first (RFC 8985 6.2)
//   by time     lostFirst ⇄ … ⇄ lostLast        those that are to be sent again
//
// A segment is in at most one of the lower two; one that is selectively acknowledged in neither.
import { assert } from '../../base/assert.ts'
import { f64, i32, struct, u32 } from '../../base/struct.ts'
import type { Pcb } from './pcb.ts'
import { distance, type SequenceNumber } from './sequence.ts'
import type { Tcp } from './tcp.ts'

export const Segment = struct({
  next: u32, //       0  by stream
  previous: u32, //   4
  newer: u32, //      8  by time
  older: u32, //     12
  start: i32, //     16
  end: i32, //       20  behind its last byte, or behind the FIN
  flags: u32, //     24  SegmentFlag
  transmits: u32, // 28
  sentAt: f64, //    32  µs, the last time
})
assert(Segment.size === 40, 'a segment is 40 bytes')

export const SegmentFlag = {
  /** Ends with our FIN. */
  FIN: 1 << 0,
  /** In the flight list. */
  FLIGHT: 1 << 1,
  /** In the lost list. */
  LOST: 1 << 2,
  SACKED: 1 << 3,
} as const
const { FIN, FLIGHT, LOST, SACKED } = SegmentFlag
const NEXT = Segment.offset.next >> 2

/** A train grows up to this: what one device packet can carry. */
export const TRAIN_BYTES_MAX = 65536

/**
 * @rfc 8985 6.1 4/times
 * [start, end) was just sent for the first time. It joins the last train if that was sent now as well. False when there is no memory
 * for its record.
 */
export function sent(t: Tcp, p: Pcb, start: SequenceNumber, end: SequenceNumber, fin: boolean): boolean {
  const { s } = t
  const bytes = distance(start, end)
  if (p.segLast !== 0) {
    s.at = p.segLast
    if (
      s.sentAt === t.now &&
      s.transmits === 1 &&
      (s.flags & (FIN | FLIGHT)) === FLIGHT &&
      s.end === start &&
      distance(s.start, end) <= TRAIN_BYTES_MAX
    ) {
      s.end = end
      if (fin) s.flags |= FIN
      p.flight += bytes
      return true
    }
  }
  const segment = t.slab.tryAllocate(Segment.size)
  if (segment === 0) return false
  s.at = segment
  s.next = 0
  s.previous = p.segLast
  s.start = start
  s.end = end
  s.flags = fin ? FIN : 0
  s.transmits = 1
  s.sentAt = t.now
  if (p.segLast === 0) p.segFirst = segment
  else t.words[(p.segLast >> 2) + NEXT] = segment
  p.segLast = segment
  p.segCount++
  s.at = segment
  enterFlight(t, p)
  return true
}

/** The segment at the cursor `t.s` is at the tail of the flight list from now on; and `flight` is what the network has (@rfc 6675 4/set-pipe). */
export function enterFlight(t: Tcp, p: Pcb): void {
  const { s } = t
  const segment = s.at
  s.flags |= FLIGHT
  s.newer = 0
  s.older = p.flightLast
  p.flight += distance(s.start, s.end)
  if (p.flightLast === 0) p.flightFirst = segment
  else {
    s.at = p.flightLast
    s.newer = segment
    s.at = segment
  }
  p.flightLast = segment
}

export function leaveFlight(t: Tcp, p: Pcb): void {
  const { s } = t
  const { at, newer, older } = s
  s.flags &= ~FLIGHT
  p.flight -= distance(s.start, s.end)
  if (older === 0) p.flightFirst = newer
  else {
    s.at = older
    s.newer = newer
  }
  if (newer === 0) p.flightLast = older
  else {
    s.at = newer
    s.older = older
  }
  s.at = at
}

/** The segment at `t.s`, in flight until now, is lost: it will be sent again. */
export function markLost(t: Tcp, p: Pcb): void {
  leaveFlight(t, p)
  const { s } = t
  const segment = s.at
  s.flags |= LOST
  s.newer = 0
  s.older = p.lostLast
  if (p.lostLast === 0) p.lostFirst = segment
  else {
    s.at = p.lostLast
    s.newer = segment
    s.at = segment
  }
  p.lostLast = segment
  t.marked++
}

export function leaveLost(t: Tcp, p: Pcb): void {
  const { s } = t
  const { at, newer, older } = s
  s.flags &= ~LOST
  if (older === 0) p.lostFirst = newer
  else {
    s.at = older
    s.newer = newer
  }
  if (newer === 0) p.lostLast = older
  else {
    s.at = newer
    s.older = older
  }
  s.at = at
}

/** Takes the segment at `t.s` out of flight and lost, whichever it is in. */
export function leaveLists(t: Tcp, p: Pcb): void {
  const { flags } = t.s
  if ((flags & FLIGHT) !== 0) leaveFlight(t, p)
  else if ((flags & LOST) !== 0) leaveLost(t, p)
}

/**
 * Splits the segment at `t.s` at `at`, which lies within it; the cursor stays on the front part. Both parts keep what was known about
 * the whole. False when there is no memory.
 */
export function split(t: Tcp, p: Pcb, at: SequenceNumber): boolean {
  const { s, words } = t
  const front = s.at
  assert(distance(s.start, at) > 0 && distance(at, s.end) > 0, 'a segment is split within')
  const back = t.slab.tryAllocate(Segment.size)
  if (back === 0) return false
  const { next, newer, flags, transmits, sentAt, end } = s
  s.next = back
  s.end = at
  s.flags &= ~FIN
  if ((flags & (FLIGHT | LOST)) !== 0) s.newer = back
  s.at = back
  s.next = next
  s.previous = front
  s.newer = newer
  s.older = front
  s.start = at
  s.end = end
  s.flags = flags
  s.transmits = transmits
  s.sentAt = sentAt
  if (next === 0) p.segLast = back
  else words[(next >> 2) + PREVIOUS] = back
  if ((flags & (FLIGHT | LOST)) !== 0) {
    if (newer !== 0) words[(newer >> 2) + OLDER] = back
    else if ((flags & FLIGHT) !== 0) p.flightLast = back
    else p.lostLast = back
  }
  p.segCount++
  s.at = front
  return true
}
const PREVIOUS = Segment.offset.previous >> 2
const OLDER = Segment.offset.older >> 2

/** Frees the first segment, which is acknowledged; `t.s` is on it. */
export function dropFirst(t: Tcp, p: Pcb): void {
  const { s } = t
  assert(s.at === p.segFirst, 'segments are acknowledged in order')
  const { next } = s
  if ((s.flags & SACKED) !== 0) p.sacked -= distance(s.start, s.end)
  leaveLists(t, p)
  if (p.sackHint === s.at) p.sackHint = 0
  t.slab.free(s.at)
  p.segFirst = next
  p.segCount--
  if (next === 0) p.segLast = 0
  else t.words[(next >> 2) + PREVIOUS] = 0
}

/** Frees all: the connection ends. */
export function dropAll(t: Tcp, p: Pcb): void {
  for (let segment = p.segFirst; segment !== 0; ) {
    const next = t.words[(segment >> 2) + NEXT]!
    t.slab.free(segment)
    segment = next
  }
  p.segFirst = p.segLast = p.flightFirst = p.flightLast = p.lostFirst = p.lostLast = 0
  p.segCount = p.flight = p.sacked = p.sackHint = 0
}
