// What a load device reads of the headers that the host sends, and the numbers it needs to make its own. Offsets only: what
// the packets of the host under test look like is known, and what looks otherwise is counted as unexpected.
import type { Address } from '../../base/struct.ts'

/** Flags of a TCP header (RFC 9293 3.1). */
export const Tcp = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16 } as const

export const PROTOCOL_TCP = 6
export const PROTOCOL_UDP = 17
export const IP_BYTES = 20
export const TCP_BYTES = 20
export const UDP_BYTES = 8

/**
 * A window as it goes from queue to queue: the field of the header, and, of a SYN with the option, 1 more than its scale
 * above it.
 */
export const WINDOW_SCALE_SHIFT = 16

const OPTION_END = 0
const OPTION_NOTHING = 1
const OPTION_WINDOW_SCALE = 3

/** 1 more than the window scale that a SYN offers (RFC 7323 2.2), or 0. `tcp` is where its header begins. */
export function windowScaleOf(u8: Uint8Array, tcp: Address, headerBytes: number): number {
  for (let at = TCP_BYTES; at < headerBytes; ) {
    const kind = u8[tcp + at]!
    if (kind === OPTION_END) return 0
    if (kind === OPTION_NOTHING) {
      at++
      continue
    }
    const length = u8[tcp + at + 1]!
    if (length < 2) return 0
    // A larger scale counts as 14 (RFC 7323 2.3).
    if (kind === OPTION_WINDOW_SCALE && length === 3) return 1 + Math.min(u8[tcp + at + 2]!, 14)
    at += length
  }
  return 0
}
