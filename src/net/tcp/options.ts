// TCP's options (RFC 9293 3.2, RFC 7323, RFC 2018): what a segment's header says behind its 20 bytes, and how ours are
// written. Read header.ts first: the header was checked to lie within the segment.
//
//   kind 0               the list ends here
//   kind 1               no operation: fills up, so that what follows is aligned
//   kind n, length, ...  all others; the length counts kind and length
//
// One TcpOptions for each CPU, filled again by each segment. Nothing here allocates or throws, whatever a stranger sends.
import { assert } from '../../base/assert.ts'
import type { Address } from '../../base/struct.ts'
import { TcpHeader } from './header.ts'

const Kind = { end: 0, noOperation: 1, mss: 2, windowScale: 3, sackPermitted: 4, sack: 5, timestamps: 8 } as const

/** NOP, NOP, timestamps of 10 bytes: how everybody sends them (RFC 7323 appendix A). */
const NOP_NOP_TIMESTAMPS = 0x0101080a
/** NOP, NOP, SACK; its length is the byte behind. */
const NOP_NOP_SACK = 0x010105
const MSS_BYTES = 4
const SCALE_BYTES = 3
const TIMESTAMPS_BYTES = 10
/** What a header has room for. */
const OPTION_BYTES_MAX = 40
/** Timestamps and the two bytes that align them. */
const TIMESTAMPS_ROOM = 12
/** RFC 7323 2.3: a larger shift would let a window be larger than half of the sequence space allows. */
const SCALE_MAX = 14
export const SACK_BLOCKS_MAX = 4

export class TcpOptions {
  /** What the peer can receive in one segment; 0: it did not say. */
  mss = 0
  /** The shift of the windows that the peer announces, 0..14; -1: it did not say, and neither may we. */
  windowScale = -1
  sackPermitted = false
  hasTimestamp = false
  /** Signed 32 bits, as sequence numbers. */
  timestampValue = 0
  timestampEcho = 0
  /** Blocks in `sack`: pairs of start and end. Nobody has looked yet whether they make sense. */
  sackCount = 0
  readonly sack = new Int32Array(2 * SACK_BLOCKS_MAX)

  /**
   * Reads the options of the header at `header`, `headerBytes` long, and nothing behind it; what was there before is forgotten.
   * False when the list was broken: what stood before the break counts, what is behind it does not.
   */
  parse(view: DataView, u8: Uint8Array, header: Address, headerBytes: number): boolean {
    this.mss = 0
    this.windowScale = -1
    this.sackPermitted = false
    this.hasTimestamp = false
    this.timestampValue = 0
    this.timestampEcho = 0
    this.sackCount = 0
    const at = header + TcpHeader.size
    if (headerBytes === TcpHeader.size) return true
    // Nearly every segment of a connection with timestamps: one comparison instead of a loop.
    if (headerBytes === TcpHeader.size + TIMESTAMPS_ROOM && view.getInt32(at) === NOP_NOP_TIMESTAMPS) {
      this.#timestamps(view, at + 4)
      return true
    }
    return this.#list(view, u8, at, header + headerBytes)
  }

  /** @rfc 9293 MUST-5 any segment may have any option: nothing here asks for its flags. */
  #list(view: DataView, u8: Uint8Array, from: Address, end: Address): boolean {
    let at = from
    // Each turn goes at least one byte on: at most 40 turns.
    while (at < end) {
      const kind = u8[at]!
      if (kind === Kind.end) return true
      if (kind === Kind.noOperation) {
        at++
        continue
      }
      if (at + 1 >= end) return false
      // @rfc 9293 MUST-68 all but those two have a length: so that what is not known can be skipped.
      const length = u8[at + 1]!
      // @rfc 9293 MUST-7 a length that goes nowhere, or beyond the header: the rest cannot be told apart, and is ignored.
      if (length < 2 || at + length > end) return false
      this.#option(view, u8, kind, at, length)
      at += length
    }
    return true
  }

  /**
   * One option, which lies within the header. A length that is not the kind's makes it an unknown option.
   * @rfc 9293 MUST-64 an option may begin at any byte: no read here needs alignment.
   */
  #option(view: DataView, u8: Uint8Array, kind: number, at: Address, length: number): void {
    switch (kind) {
      // @rfc 9293 MUST-4 the mandatory options: end, no operation, MSS
      case Kind.mss:
        if (length === MSS_BYTES) this.mss = view.getUint16(at + 2)
        break
      case Kind.windowScale:
        // @rfc 7323 2.2/syn-only only those that look at a SYN ask for it.
        // @rfc 7323 2.3 a shift above 14 is taken for 14.
        if (length === SCALE_BYTES) this.windowScale = Math.min(u8[at + 2]!, SCALE_MAX)
        break
      case Kind.sackPermitted:
        if (length === 2) this.sackPermitted = true
        break
      case Kind.sack:
        if (length >= 10 && length % 8 === 2) this.#blocks(view, at + 2, (length - 2) >>> 3)
        break
      case Kind.timestamps:
        if (length === TIMESTAMPS_BYTES) this.#timestamps(view, at + 2)
        break
      // @rfc 9293 MUST-6 all others are skipped.
    }
  }

  /** The header's 40 bytes have room for four of them at most. */
  #blocks(view: DataView, at: Address, count: number): void {
    assert(count <= SACK_BLOCKS_MAX, 'a header has no room for a fifth SACK block')
    const { sack } = this
    for (let i = 0; i < 2 * count; i++) sack[i] = view.getInt32(at + 4 * i)
    this.sackCount = count
  }

  #timestamps(view: DataView, at: Address): void {
    this.hasTimestamp = true
    this.timestampValue = view.getInt32(at)
    this.timestampEcho = view.getInt32(at + 4)
  }
}

/**
 * Writes the options of a SYN, 20 bytes at most, and returns how many, a multiple of 4. `windowScale` -1: none.
 *
 *     MSS                                4
 *     SACK permitted, timestamps        12   or either, with two NOPs in front
 *     NOP, window scale                  4
 *
 * @rfc 9293 MUST-14 the MSS is in every SYN. @rfc 9293 MUST-69 all room is used, so that there is nothing to pad.
 */
export function writeSyn(
  view: DataView,
  at: Address,
  mss: number,
  windowScale: number,
  sackPermitted: boolean,
  hasTimestamp: boolean,
  timestampValue: number,
  timestampEcho: number,
): number {
  assert(windowScale >= -1 && windowScale <= SCALE_MAX, 'a window scale is -1 (none) or a shift of 0 to 14')
  view.setUint32(at, ((Kind.mss << 24) | (MSS_BYTES << 16) | mss) >>> 0)
  let bytes = MSS_BYTES
  if (hasTimestamp) {
    // SACK permitted takes the place of the two NOPs.
    view.setInt32(at + bytes, sackPermitted ? 0x0402080a : NOP_NOP_TIMESTAMPS)
    view.setInt32(at + bytes + 4, timestampValue)
    view.setInt32(at + bytes + 8, timestampEcho)
    bytes += TIMESTAMPS_ROOM
  } else if (sackPermitted) {
    view.setUint32(at + bytes, 0x01010402)
    bytes += 4
  }
  if (windowScale >= 0) {
    view.setUint32(at + bytes, 0x01030300 | windowScale)
    bytes += 4
  }
  return bytes
}

/** SACK blocks that fit: with timestamps three (@rfc 2018 3). */
function blocksThatFit(hasTimestamp: boolean, blockCount: number): number {
  const room = OPTION_BYTES_MAX - (hasTimestamp ? TIMESTAMPS_ROOM : 0) - 4
  return Math.min(blockCount, room >>> 3)
}

/** What `writeSegment` will write, in bytes: the segment's payload has that much less room. */
export function segmentOptionBytes(hasTimestamp: boolean, blockCount: number): number {
  const blocks = blocksThatFit(hasTimestamp, blockCount)
  return (hasTimestamp ? TIMESTAMPS_ROOM : 0) + (blocks > 0 ? 4 + 8 * blocks : 0)
}

/**
 * Writes the options of a segment that is no SYN (@rfc 9293 MUST-65: no MSS), and returns how many bytes they are, a multiple of 4: timestamps, and as many
 * of the SACK blocks (pairs of start and end) as fit, the first of them.
 */
export function writeSegment(
  view: DataView,
  at: Address,
  hasTimestamp: boolean,
  timestampValue: number,
  timestampEcho: number,
  blocks: Int32Array,
  blockCount: number,
): number {
  let bytes = 0
  if (hasTimestamp) {
    view.setInt32(at, NOP_NOP_TIMESTAMPS)
    view.setInt32(at + 4, timestampValue)
    view.setInt32(at + 8, timestampEcho)
    bytes = TIMESTAMPS_ROOM
  }
  const count = blocksThatFit(hasTimestamp, blockCount)
  if (count === 0) return bytes
  view.setUint32(at + bytes, (NOP_NOP_SACK << 8) | (2 + 8 * count))
  bytes += 4
  for (let i = 0; i < 2 * count; i++) view.setInt32(at + bytes + 4 * i, blocks[i]!)
  return bytes + 8 * count
}
