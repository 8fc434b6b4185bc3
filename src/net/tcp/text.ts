// The text of a segment, and its FIN (RFC 9293 3.10.7.4, seventh and eighth): what comes in order goes to the program at the end of the
// batch, what comes early waits (reassembly.ts).
import type { Address } from '../../base/struct.ts'
import { Mbuf, MbufFlag } from '../../device/mbuf.ts'
import { TcpCounters } from '../counters.ts'
import { abort, enterTimeWait } from './connection.ts'
import { TcpEvent } from './message.ts'
import { sendAck } from './output.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import * as reassembly from './reassembly.ts'
import { distance } from './sequence.ts'
import { CAN_RECEIVE, State } from './state.ts'
import type { Tcp } from './tcp.ts'

const C = TcpCounters.index
const { established, closeWait, finWait1, finWait2, closing } = State
const { ACK_NOW, ACK_DELAYED } = PcbFlag
const PART = Mbuf.offset.part >> 2
const TOTAL = Mbuf.offset.total >> 2

/** Data or a FIN that is, in part at least, in the window. */
export function text(t: Tcp, p: Pcb): void {
  if ((p.state & CAN_RECEIVE) === 0) return
  const ahead = distance(p.rcvNxt, t.seq)
  if (ahead < 0) {
    // What was there before is cut off.
    const known = Math.min(-ahead, t.bytes)
    if (known > 0) {
      reassembly.noteDuplicate(p, t.seq, (t.seq + known) | 0)
      t.count[C.duplicateBytes]! += known
      t.packet = reassembly.cut(t.context, t.packet, known)
      t.bytes -= known
    }
    t.seq = p.rcvNxt
    p.flags |= ACK_NOW
    t.wantOutput(p)
  }
  const room = distance(t.seq, p.rcvAdvertised)
  if (t.bytes > room) {
    // What is beyond the window is cut off, and the FIN with it.
    t.count[C.beyondWindow]!++
    if (room <= 0) return
    t.mbufs.trimTo(t.packet, room)
    t.bytes = room
    t.fin = false
  }
  // Nobody is left to read what comes: the peer is told (RFC 9293 3.6.1, RFC 2525 2.17).
  if ((p.flags & PcbFlag.DETACHED) !== 0 && t.bytes > 0) {
    t.count[C.dataAfterClose]!++
    return abort(t, p, true)
  }
  if (t.seq !== p.rcvNxt) return early(t, p)
  if (t.bytes > 0) {
    accept(t, p)
    if (p.earlyFirst !== 0) rejoin(t, p)
  }
  if (t.fin) finReceived(t, p)
}

/** The next bytes in order: passed to the program at the end of the batch, without a copy. */
export function accept(t: Tcp, p: Pcb): void {
  const { m, packet, bytes } = t
  t.packet = 0
  m.at = packet
  const full = (m.flags & MbufFlag.SEGMENTED) !== 0 ? m.segmentBytes : bytes
  if (full > p.rcvMss) p.rcvMss = Math.min(full, 65535)
  enqueue(t, p, packet, bytes)
  // @rfc 9293 SHLD-18: the program may have an answer that carries it.
  p.flags |= ACK_DELAYED
  t.wantOutput(p)
}

function enqueue(t: Tcp, p: Pcb, packet: Address, bytes: number): void {
  const { words } = t
  if (p.rcvFirst === 0) p.rcvFirst = packet
  else {
    // What comes in one batch is one packet to the program (receive coalescing): one message, whatever it came in.
    words[(p.rcvLast >> 2) + PART] = packet
    words[(p.rcvFirst >> 2) + TOTAL]! += bytes
    t.tally.coalesced++
  }
  let last = packet
  while (words[(last >> 2) + PART]! !== 0) last = words[(last >> 2) + PART]!
  p.rcvLast = last
  p.rcvNxt = (p.rcvNxt + bytes) | 0
  p.rcvHeld += bytes
  p.bytesReceived += bytes
  t.tell(p, TcpEvent.DATA)
}

/** It does not follow what is there: kept, and the peer told at once what is missing (@rfc 9293 SHLD-31 MAY-13, @rfc 5681 3.2/duplicate-at-once 4.2/one-each). */
function early(t: Tcp, p: Pcb): void {
  p.flags |= ACK_NOW
  t.wantOutput(p)
  if (t.bytes === 0 && !t.fin) return
  // The FIN is not kept: the peer sends it again when all before it is there.
  if (t.bytes === 0) return
  const { packet } = t
  t.packet = 0
  const result = reassembly.insert(t.context, p, packet, t.seq)
  if (result === reassembly.Early.queued) t.count[C.early]!++
  else t.count[result === reassembly.Early.duplicate ? C.duplicates : C.earlyDropped]!++
}

/** A gap was filled: what waited behind it follows. */
function rejoin(t: Tcp, p: Pcb): void {
  // @rfc 5681 3.2/gap-at-once: at once, so that the sender knows.
  p.flags |= ACK_NOW
  for (;;) {
    const packet = reassembly.take(t.context, p)
    if (packet === 0) return
    t.m.at = packet
    enqueue(t, p, packet, t.m.total)
  }
}

/** All that the peer has sent is there (RFC 9293 3.10.7.4, eighth). */
export function finReceived(t: Tcp, p: Pcb): void {
  // Behind data that waits it is out of order.
  if (p.earlyFirst !== 0 || (p.flags & PcbFlag.FIN_RECEIVED) !== 0) return
  if (distance((t.seq + t.bytes) | 0, p.rcvNxt) !== 0) return
  p.rcvNxt = (p.rcvNxt + 1) | 0
  if (distance(p.rcvAdvertised, p.rcvNxt) > 0) p.rcvAdvertised = p.rcvNxt
  p.flags |= PcbFlag.FIN_RECEIVED | ACK_NOW
  t.tell(p, TcpEvent.END)
  t.wantOutput(p)
  if (p.state === established) p.state = closeWait
  else if (p.state === finWait1) p.state = closing
  else if (p.state === finWait2) {
    // The acknowledgment of the FIN goes now: afterwards there is only the TIME-WAIT.
    sendAck(t, p)
    enterTimeWait(t, p)
  }
}
