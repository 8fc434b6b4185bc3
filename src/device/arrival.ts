// That a packet came from a device, as a hop of its trace (kernel/trace): noted once, by whoever sees it first, which is a capture where
// there is one, which says so by a flag of the packet's, and else the stack. Devices that pass a packet on to another host clear the flag
// with all other notes of the sender's.
import type { Address } from '../base/struct.ts'
import type { Tracer } from '../kernel/trace/tracer.ts'
import { type MbufCursor, MbufFlag } from './mbuf.ts'

const { ARRIVED } = MbufFlag

/**
 * From here on runs what this packet causes. For who has seen that the tracer is set; may move `m` to the packet. One that has crossed a wire
 * of this machine goes on from what sent it.
 */
export function noteArrival(tracer: Tracer, m: MbufCursor, packet: Address, device: string): void {
  if (tracer.skips(packet)) return
  m.at = packet
  if ((m.flags & ARRIVED) !== 0) tracer.enter(packet)
  else tracer.arrived(device, packet, m.total)
}
