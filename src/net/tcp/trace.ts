// Segments as hops of traces (kernel/trace), for who has seen that there may be something to note.
import type { Address } from '../../base/struct.ts'
import type { TraceId } from '../../kernel/trace/record.ts'
import { HOP } from '../../kernel/trace/tracer.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import { mbufOf } from './sendbuffer.ts'
import { before, type SequenceNumber } from './sequence.ts'
import type { Tcp } from './tcp.ts'

/** What a connection tells and acknowledges from here on was caused by `cause`. */
export function noteCause(p: Pcb, cause: TraceId): void {
  p.trace = cause
  if (cause !== 0) p.flags |= PcbFlag.TRACED
  else forget(p)
}

/** Data was caused by the write that it is of, also when it goes again; what carries none, by what came for the connection last. */
export function noteSegment(
  t: Tcp,
  p: Pcb,
  packet: Address,
  start: SequenceNumber,
  bytes: number,
  again: boolean,
): void {
  const { tracer } = t
  if (!tracer.on && p.trace <= 0 && !isWriteTraced(p, start)) return
  const written = bytes > 0 ? mbufOf(t, p, start) : 0
  const parent = written === 0 ? p.trace : tracer.of(written)
  note(t, p, packet, again && bytes > 0, bytes, parent)
}

/** Our SYN was caused by the program that has asked for the connection, or by the peer's. */
export function noteSyn(t: Tcp, p: Pcb, packet: Address): void {
  note(t, p, packet, p.retransmits > 0, 0, p.trace)
}

/** Whether there may be traced bytes from `start` on. That none wait any more is found here, once. */
function isWriteTraced(p: Pcb, start: SequenceNumber): boolean {
  forget(p)
  return before(start, p.tracedEnd)
}

/** Nothing else is noted of the connection: so there is nothing, if no traced bytes wait in its send buffer. */
function forget(p: Pcb): void {
  if (!before(p.sndUna, p.tracedEnd)) p.flags &= ~PcbFlag.TRACED
}

function note(t: Tcp, p: Pcb, packet: Address, again: boolean, bytes: number, parent: number): void {
  const kind = again ? HOP.retransmit : HOP.segment
  t.tracer.packet(kind, 'tcp', packet, bytes, parent, (p.localPort << 16) | p.remotePort)
}
