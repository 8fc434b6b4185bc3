// The receive window: how much the peer may send (RFC 9293 3.8.6), and how the buffer behind it grows with the path.
import { Limits } from '../../base/limits.ts'
import type { Pcb } from './pcb.ts'
import { distance } from './sequence.ts'
import type { Tcp } from './tcp.ts'

/** Where the buffer ends, or what the window field can say. */
function possibleEdge(p: Pcb): number {
  return (p.rcvNxt + Math.min(p.rcvBuffer - p.rcvHeld, 65535 << p.rcvScale)) | 0
}

/** Right edge that could be announced now: what the program has not consumed takes its room, and an edge never moves left (@rfc 9293 SHLD-14). */
function rightEdge(p: Pcb): number {
  const edge = possibleEdge(p)
  const gain = distance(p.rcvAdvertised, edge)
  // @rfc 9293 MUST-39: small steps are not announced (silly window syndrome, 3.8.6.2.2).
  return gain >= Math.min(p.rcvBuffer >>> 1, p.rcvMss) ? edge : p.rcvAdvertised
}

/** The value of the window field, and what it promises is noted. Rounded up, so that the edge does not move left by the rounding (@rfc 7323 2.3/right 2.4/receiver). */
export function announce(p: Pcb): number {
  const edge = rightEdge(p)
  const bytes = Math.max(distance(p.rcvNxt, edge), 0)
  const scaled = Math.min((bytes + (1 << p.rcvScale) - 1) >>> p.rcvScale, 65535)
  const promised = (p.rcvNxt + (scaled << p.rcvScale)) | 0
  if (distance(p.rcvAdvertised, promised) > 0) p.rcvAdvertised = promised
  return scaled
}

/** The program has consumed `bytes`. Whether the peer should be told at once that the window is open. */
export function consumed(t: Tcp, p: Pcb, bytes: number): boolean {
  p.rcvHeld -= bytes
  tune(t, p, bytes)
  const gain = distance(p.rcvAdvertised, possibleEdge(p))
  const most = Math.min(p.rcvBuffer, 65535 << p.rcvScale)
  const left = distance(p.rcvNxt, p.rcvAdvertised)
  // Where the peer still has a good part of the window, the next acknowledgment tells it early enough.
  return gain >= Math.min(2 * p.rcvMss, most >>> 1) && (left <= most >>> 2 || gain >= most >>> 1)
}

/**
 * The buffer is twice what the program consumes in a round trip, so that the window does not limit a sender that the program keeps up with
 * (dynamic right-sizing, Fisk and Feng, 2001).
 */
function tune(t: Tcp, p: Pcb, bytes: number): void {
  p.bytesPerRound += bytes
  if (p.rcvBuffer >= p.rcvBufferMax) return
  // A receiver that never sends measures no round trip: what it could be at least.
  const roundUs = p.srtt > 0 ? p.srtt : Limits.tcpRoundUs
  if (t.now - p.roundAt < roundUs) return
  if (p.bytesPerRound * 2 > p.rcvBuffer) p.rcvBuffer = Math.min(p.rcvBufferMax, p.bytesPerRound * 2)
  p.bytesPerRound = 0
  p.roundAt = t.now
}
