// The checksum over a packet's parts.
import { joinSum } from '../../base/checksum.ts'
import type { Routines } from '../../base/routines.ts'
import type { Address } from '../../base/struct.ts'
import type { MbufCursor } from '../../device/mbuf.ts'

/** The folded sum of a packet's data, all parts, begun with `initial`. Leaves `m` somewhere in the packet. */
export function sumPacket(routines: Routines, m: MbufCursor, packet: Address, initial: number): number {
  m.at = packet
  let sum = routines.sum(m.data, m.length, initial)
  let offset = m.length
  for (let part = m.part; part !== 0; part = m.part) {
    m.at = part
    sum = joinSum(sum, routines.sum(m.data, m.length, 0), offset)
    offset += m.length
  }
  return sum
}
