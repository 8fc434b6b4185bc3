// Segments as hops of traces (kernel/trace), for who has seen that there may be something to note.
import type { Address } from '../../base/struct.ts'
import { HOP } from '../../kernel/trace/tracer.ts'
import type { Pcb } from './pcb.ts'
import { mbufOf } from './sendbuffer.ts'
import type { SequenceNumber } from './sequence.ts'
import type { Tcp } from './tcp.ts'

/** Data was caused by the write that it is of, also when it goes again; what carries none, by what came for the connection last. */
export function noteSegment(
  t: Tcp,
  p: Pcb,
  packet: Address,
  start: SequenceNumber,
  bytes: number,
  again: boolean,
): void {
  const { tracer } = t.cpu
  const written = bytes > 0 ? mbufOf(t, p, start) : 0
  const parent = written === 0 ? p.trace : tracer.of(written)
  note(t, p, packet, again && bytes > 0, bytes, parent)
}

/** Our SYN was caused by the program that has asked for the connection, or by the peer's. */
export function noteSyn(t: Tcp, p: Pcb, packet: Address): void {
  note(t, p, packet, p.retransmits > 0, 0, p.trace)
}

function note(t: Tcp, p: Pcb, packet: Address, again: boolean, bytes: number, parent: number): void {
  const kind = again ? HOP.retransmit : HOP.segment
  t.cpu.tracer.packet(kind, 'tcp', packet, bytes, parent, (p.localPort << 16) | p.remotePort)
}
