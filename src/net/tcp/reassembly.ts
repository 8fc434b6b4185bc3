// What came too early (RFC 9293 3.10.7.4, SHLD-31): packets of payload that wait for the bytes before them; and what we tell the
// peer about them (RFC 2018, RFC 2883). Runs inside the connection's group. Read sequence.ts and pcb.ts first.
//
//   rcv.nxt                block                             block                 earlyLast: the last block
//   ───┼───── hole ─────[piece│piece│piece]───── hole ─────[piece]───── hole ─────[piece│piece]
//                          ▲ earlyFirst: the first block
//
// A piece is a packet; all pieces are linked by `link` in the order of the stream, and none overlaps another: what came first
// stays, what comes again is cut off. Pieces without a hole between them are a block. What is known of a block stands in its
// first piece, so that a walk goes by blocks, and finding out what to tell the peer takes no walk at all.
//
// A stranger decides what comes. Bounded are the bytes, the memory, the pieces and the blocks of a connection, the last because the
// way to a place in the middle is as long as there are blocks (CVE-2018-5390: a byte here and a byte there). Small pieces are
// copied behind their neighbour.
import { assert } from '../../base/assert.ts'
import type { Address } from '../../base/struct.ts'
import { Mbuf } from '../../device/mbuf.ts'
import type { NetContext } from '../context.ts'
import { SACK_BLOCKS_MAX } from './options.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import { add, after, atOrBefore, before, distance, earlier, later, type SequenceNumber } from './sequence.ts'

export const EarlyLimits = {
  /** Packets that a connection may hold. */
  pieces: 4096,
  /** Blocks: the longest way to a place. A window of 4 MiB that lost one segment in ten has no more. */
  blocks: 512,
  /** Memory may be twice the receive buffer, or twice this: an mbuf of 2 KiB seldom holds more than 1448 bytes. */
  bufferMin: 256 * 1024,
  /** A piece of so many bytes or fewer is copied behind its neighbour, if that has room: then no piece stays nearly empty. */
  mergeBytes: 1024,
} as const

/** What became of a packet; `insert` has taken it in each case. All but `queued` are for the caller to count. */
export const Early = {
  /** Some of its bytes are in the queue. */
  queued: 0,
  /** All of them were there before. */
  duplicate: 1,
  /** More than the receive buffer. */
  droppedBytes: 2,
  /** More memory than a connection may hold for this, or the machine has. */
  droppedMemory: 3,
  droppedPieces: 4,
  droppedBlocks: 5,
} as const
export type Early = (typeof Early)[keyof typeof Early]

// Words of an mbuf; those that say where a packet came from are of no use any more, and mean here:
const DATA = Mbuf.offset.data >> 2
const LENGTH = Mbuf.offset.length >> 2
const TOTAL = Mbuf.offset.total >> 2
const PART = Mbuf.offset.part >> 2
/** The next piece. */
const LINK = Mbuf.offset.link >> 2
/** The sequence number of the piece's first byte. */
const START = Mbuf.offset.network >> 2
/** In a block's first piece: its last piece, */
const LAST = Mbuf.offset.source >> 2
/** the sequence number behind it, */
const END = Mbuf.offset.target >> 2
/** and the first piece of the next block. */
const NEXT = Mbuf.offset.socket >> 2
/** In the queue's first piece, halfwords: how many pieces there are in all, and blocks. */
const PIECES = Mbuf.offset.sourcePort >> 1
const BLOCKS = Mbuf.offset.targetPort >> 1

/** Pieces that wait. */
export function pieces(context: NetContext, p: Pcb): number {
  return p.earlyFirst === 0 ? 0 : context.memory.u16[(p.earlyFirst >> 1) + PIECES]!
}

/** Blocks that they are. */
export function blocks(context: NetContext, p: Pcb): number {
  return p.earlyFirst === 0 ? 0 : context.memory.u16[(p.earlyFirst >> 1) + BLOCKS]!
}

/**
 * Takes a packet whose data are payload from `sequence` on, cut to the window at its end. It may begin anywhere, also at rcv.nxt:
 * then it is held whatever the limits say, for without it nothing would ever go on, and is what `take` gives next.
 */
export function insert(context: NetContext, p: Pcb, packet: Address, sequence: SequenceNumber): Early {
  const words = context.memory.i32
  const end = add(sequence, words[(packet >> 2) + TOTAL]!)
  let rest = packet
  let start = add(sequence, 0)
  assert(start !== end, 'a piece has bytes')
  let fresh = true
  let result: Early = Early.duplicate
  if (before(start, p.rcvNxt)) {
    start = earlier(end, p.rcvNxt)
    noteDuplicate(p, add(sequence, 0), start)
    fresh = false
    rest = cut(context, rest, distance(sequence, start))
  }
  let block = rest === 0 ? 0 : blockAtOrBefore(context, p, start)
  // Each turn consumes a block that is within the packet: blocks are bounded, and a turn makes two of them one.
  while (rest !== 0) {
    if (block !== 0 && after(words[(block >> 2) + END]!, start)) {
      const known = earlier(end, words[(block >> 2) + END]!)
      // RFC 2883 4: one report for a segment, of what is first in it.
      if (fresh) noteDuplicate(p, start, known)
      fresh = false
      touch(context, p, block)
      rest = cut(context, rest, distance(start, known))
      start = known
      if (rest === 0) break
    }
    const next = block === 0 ? p.earlyFirst : words[(block >> 2) + NEXT]!
    if (next === 0 || atOrBefore(end, words[(next >> 2) + START]!)) {
      const placed = place(context, p, rest, start, block, next)
      return result === Early.queued ? result : placed
    }
    // The packet goes on behind the next block: its bytes up to there are a piece of their own.
    const hole = distance(start, words[(next >> 2) + START]!)
    if (hole > 0) {
      const piece = context.mbufs.copySlice(rest, 0, hole)
      const placed = piece === 0 ? Early.droppedMemory : place(context, p, piece, start, block, next)
      if (placed !== Early.queued) {
        context.mbufs.free(rest)
        return result === Early.queued ? result : placed
      }
      result = Early.queued
      rest = cut(context, rest, hole)
      start = add(start, hole)
      // It is a part of the block before it now, if they have met, or a block: the next turn finds the bytes that follow in there.
    } else block = next
  }
  return result
}

/**
 * The next packet, if it begins at rcv.nxt; 0 if there is none. Bytes before rcv.nxt are gone from it. The caller owns it, moves
 * rcv.nxt behind it, and asks again.
 */
export function take(context: NetContext, p: Pcb): Address {
  const words = context.memory.i32
  for (;;) {
    const first = p.earlyFirst
    if (first === 0) return 0
    const old = distance(words[(first >> 2) + START]!, p.rcvNxt)
    if (old < 0) return 0
    removeFirst(context, p)
    const packet = cut(context, first, Math.min(old, words[(first >> 2) + TOTAL]!))
    if (packet === 0) continue
    words[(packet >> 2) + LINK] = 0
    return packet
  }
}

/** The connection ends, or its stream: nothing of it is wanted any more. */
export function free(context: NetContext, p: Pcb): void {
  const words = context.memory.i32
  for (let piece = p.earlyFirst; piece !== 0; ) {
    const next = words[(piece >> 2) + LINK]!
    context.mbufs.free(piece)
    piece = next
  }
  p.earlyFirst = p.earlyLast = p.earlyBytes = p.earlyMemory = 0
  words.fill(0, p.sackStart >> 2, (p.sackStart >> 2) + SACK_BLOCKS_MAX)
  p.flags &= ~PcbFlag.DSACK
}

/**
 * Writes what the next ACK shall tell, pairs of start and end, and returns how many: a duplicate, once (RFC 2883), then the block
 * with the latest arrival, then those that changed before (RFC 2018 4), then, if there is room, the first in the stream. Nothing may
 * wait for `take`. As many as `out` has room for, at most four.
 */
export function sackBlocks(context: NetContext, p: Pcb, out: Int32Array): number {
  const words = context.memory.i32
  const room = Math.min(SACK_BLOCKS_MAX, out.length >> 1)
  const recent = p.sackStart >> 2
  let count = 0
  if ((p.flags & PcbFlag.DSACK) !== 0) {
    p.flags &= ~PcbFlag.DSACK
    out[0] = p.dsackStart
    out[1] = p.dsackEnd
    count = 1
  }
  // @rfc 2018 4 the first block is the one that contains the segment which caused this ACK
  for (let i = 0; i < SACK_BLOCKS_MAX && count < room; i++) {
    const block = words[recent + i]!
    if (block === 0) break
    out[2 * count] = words[(block >> 2) + START]!
    out[2 * count + 1] = words[(block >> 2) + END]!
    count++
  }
  // @rfc 2018 4 as many as there is room for; no more than four can be in the list of recent ones, and are passed over.
  for (let block = p.earlyFirst; block !== 0 && count < room; block = words[(block >> 2) + NEXT]!) {
    if (recency(context, p, block) < SACK_BLOCKS_MAX) continue
    out[2 * count] = words[(block >> 2) + START]!
    out[2 * count + 1] = words[(block >> 2) + END]!
    count++
  }
  return count
}

/** Puts a piece that overlaps nothing between two blocks, either of which may be 0. Owns it. */
function place(
  context: NetContext,
  p: Pcb,
  packet: Address,
  start: SequenceNumber,
  previous: Address,
  next: Address,
): Early {
  const words = context.memory.i32
  const total = words[(packet >> 2) + TOTAL]!
  const end = add(start, total)
  const joinsPrevious = previous !== 0 && words[(previous >> 2) + END] === start
  const joinsNext = next !== 0 && words[(next >> 2) + START] === end
  const needed = start === p.rcvNxt
  if (!needed && p.earlyBytes + total > p.rcvBuffer) return refuse(context, packet, Early.droppedBytes)
  let block = previous
  if (joinsPrevious && merge(context, words[(previous >> 2) + LAST]!, packet)) words[(previous >> 2) + END] = end
  else {
    const refused = needed ? Early.queued : refusal(context, p, packet, joinsPrevious || joinsNext)
    if (refused !== Early.queued) return refuse(context, packet, refused)
    // It is kept beyond this turn.
    const piece = context.mbufs.detach(packet)
    if (piece === 0) return Early.droppedMemory
    p.earlyMemory += context.mbufs.memoryBytes(piece)
    words[(piece >> 2) + START] = start
    if (joinsPrevious) extend(context, previous, piece, end)
    else {
      block = piece
      addBlock(context, p, piece, end, previous, next)
    }
    context.memory.u16[(p.earlyFirst >> 1) + PIECES]!++
  }
  p.earlyBytes += total
  if (joinsNext) join(context, p, block, next)
  touch(context, p, block)
  return Early.queued
}

/** Why a connection may not hold one more piece; `queued` if it may. */
function refusal(context: NetContext, p: Pcb, packet: Address, joins: boolean): Early {
  const limit = 2 * Math.max(p.rcvBuffer, EarlyLimits.bufferMin)
  if (p.earlyMemory + context.mbufs.memoryBytes(packet) > limit) return Early.droppedMemory
  if (pieces(context, p) >= EarlyLimits.pieces) return Early.droppedPieces
  return !joins && blocks(context, p) >= EarlyLimits.blocks ? Early.droppedBlocks : Early.queued
}

function refuse(context: NetContext, packet: Address, reason: Early): Early {
  context.mbufs.free(packet)
  return reason
}

/** A piece becomes its block's last. */
function extend(context: NetContext, block: Address, piece: Address, end: SequenceNumber): void {
  const words = context.memory.i32
  const last = words[(block >> 2) + LAST]!
  words[(piece >> 2) + LINK] = words[(last >> 2) + LINK]!
  words[(last >> 2) + LINK] = piece
  words[(block >> 2) + LAST] = piece
  words[(block >> 2) + END] = end
}

/** A piece becomes a block. */
function addBlock(
  context: NetContext,
  p: Pcb,
  piece: Address,
  end: SequenceNumber,
  previous: Address,
  next: Address,
): void {
  const words = context.memory.i32
  const w = piece >> 2
  words[w + LAST] = piece
  words[w + END] = end
  words[w + NEXT] = next
  words[w + LINK] = next
  if (previous === 0) setFirst(context, p, piece)
  else {
    words[(previous >> 2) + NEXT] = piece
    words[(words[(previous >> 2) + LAST]! >> 2) + LINK] = piece
  }
  if (next === 0) p.earlyLast = piece
  context.memory.u16[(p.earlyFirst >> 1) + BLOCKS]!++
}

/** There is no hole between `block` and `next` any more. */
function join(context: NetContext, p: Pcb, block: Address, next: Address): void {
  const words = context.memory.i32
  const b = block >> 2
  const n = next >> 2
  const seam = words[b + LAST]!
  words[b + LAST] = words[n + LAST]!
  words[b + END] = words[n + END]!
  words[b + NEXT] = words[n + NEXT]!
  if (p.earlyLast === next) p.earlyLast = block
  forget(context, p, next)
  context.memory.u16[(p.earlyFirst >> 1) + BLOCKS]!--
  // Bytes that came one here and one there are one piece in the end.
  const link = words[n + LINK]!
  const memory = context.mbufs.memoryBytes(next)
  if (!merge(context, seam, next)) return
  p.earlyMemory -= memory
  context.memory.u16[(p.earlyFirst >> 1) + PIECES]!--
  words[(seam >> 2) + LINK] = link
  if (words[b + LAST] === next) words[b + LAST] = seam
}

/** Copies a small packet behind the data of the piece that it follows, and frees it. False, and all is as before, if it does not fit. */
function merge(context: NetContext, piece: Address, packet: Address): boolean {
  const words = context.memory.i32
  const total = words[(packet >> 2) + TOTAL]!
  if (total > EarlyLimits.mergeBytes) return false
  let last = piece
  while (words[(last >> 2) + PART] !== 0) last = words[(last >> 2) + PART]!
  if (context.mbufs.tailroom(last) < total) return false
  const w = last >> 2
  context.mbufs.copyOut(packet, 0, total, words[w + DATA]! + words[w + LENGTH]!)
  words[w + LENGTH]! += total
  words[(piece >> 2) + TOTAL]! += total
  context.mbufs.free(packet)
  return true
}

/** Takes the first piece out of the queue. */
function removeFirst(context: NetContext, p: Pcb): void {
  const words = context.memory.i32
  const first = p.earlyFirst
  const w = first >> 2
  p.earlyBytes -= words[w + TOTAL]!
  p.earlyMemory -= context.mbufs.memoryBytes(first)
  context.memory.u16[(first >> 1) + PIECES]!--
  const link = words[w + LINK]!
  if (words[w + LAST] === first) {
    forget(context, p, first)
    context.memory.u16[(first >> 1) + BLOCKS]!--
    if (link === 0) p.earlyLast = 0
  } else {
    // What is known of the block goes on to the piece that is its first now.
    words[(link >> 2) + LAST] = words[w + LAST]!
    words[(link >> 2) + END] = words[w + END]!
    words[(link >> 2) + NEXT] = words[w + NEXT]!
    const index = recency(context, p, first)
    if (index < SACK_BLOCKS_MAX) words[(p.sackStart >> 2) + index] = link
    if (p.earlyLast === first) p.earlyLast = link
  }
  setFirst(context, p, link)
}

/** The queue begins with another piece, or is empty: what is known of all of it goes there. */
function setFirst(context: NetContext, p: Pcb, piece: Address): void {
  const halfwords = context.memory.u16
  const old = p.earlyFirst
  p.earlyFirst = piece
  if (piece === 0) return
  halfwords[(piece >> 1) + PIECES] = old === 0 ? 0 : halfwords[(old >> 1) + PIECES]!
  halfwords[(piece >> 1) + BLOCKS] = old === 0 ? 0 : halfwords[(old >> 1) + BLOCKS]!
}

/**
 * The last block that begins at `at` or before; 0 if there is none. Most of what comes goes behind all others, or into the first
 * hole, or where the last one went; only the rest walks.
 */
function blockAtOrBefore(context: NetContext, p: Pcb, at: SequenceNumber): Address {
  const words = context.memory.i32
  if (p.earlyLast === 0 || before(at, words[(p.earlyFirst >> 2) + START]!)) return 0
  if (atOrBefore(words[(p.earlyLast >> 2) + START]!, at)) return p.earlyLast
  const recent = words[p.sackStart >> 2]!
  let block = recent !== 0 && atOrBefore(words[(recent >> 2) + START]!, at) ? recent : p.earlyFirst
  for (;;) {
    const next = words[(block >> 2) + NEXT]!
    if (next === 0 || before(at, words[(next >> 2) + START]!)) return block
    block = next
  }
}

/** Where a block stands among the most recently changed ones; SACK_BLOCKS_MAX if it does not. */
function recency(context: NetContext, p: Pcb, block: Address): number {
  const recent = p.sackStart >> 2
  let i = 0
  while (i < SACK_BLOCKS_MAX && context.memory.i32[recent + i] !== block) i++
  return i
}

/** Something of this block has just come. */
function touch(context: NetContext, p: Pcb, block: Address): void {
  const words = context.memory.i32
  const recent = p.sackStart >> 2
  for (let i = Math.min(recency(context, p, block), SACK_BLOCKS_MAX - 1); i > 0; i--)
    words[recent + i] = words[recent + i - 1]!
  words[recent] = block
}

/** This block is no more. */
function forget(context: NetContext, p: Pcb, block: Address): void {
  const words = context.memory.i32
  const recent = p.sackStart >> 2
  const from = recency(context, p, block)
  if (from === SACK_BLOCKS_MAX) return
  for (let i = from; i < SACK_BLOCKS_MAX - 1; i++) words[recent + i] = words[recent + i + 1]!
  words[recent + SACK_BLOCKS_MAX - 1] = 0
}

/** Takes `count` bytes from the front, through as many parts as it takes, and returns what is left; 0, and it is freed, if nothing is. */
export function cut(context: NetContext, packet: Address, count: number): Address {
  const words = context.memory.i32
  const left = words[(packet >> 2) + TOTAL]! - count
  if (left === 0) {
    context.mbufs.free(packet)
    return 0
  }
  let m = packet
  let skip = count
  while (skip >= words[(m >> 2) + LENGTH]!) {
    skip -= words[(m >> 2) + LENGTH]!
    const part = words[(m >> 2) + PART]!
    words[(m >> 2) + PART] = 0
    context.mbufs.free(m)
    m = part
  }
  words[(m >> 2) + TOTAL] = left + skip
  context.mbufs.trimFront(m, skip)
  return m
}

/**
 * [start, end) came once more than needed: the next ACK says so, if the peer understands it (@rfc 2883 4). Also for a segment that is
 * dropped because all of it lies before rcv.nxt. Duplicates that follow each other become one report; otherwise the latest counts.
 */
export function noteDuplicate(p: Pcb, start: SequenceNumber, end: SequenceNumber): void {
  if ((p.flags & PcbFlag.SACK) === 0) return
  if ((p.flags & PcbFlag.DSACK) !== 0 && atOrBefore(start, p.dsackEnd) && atOrBefore(p.dsackStart, end)) {
    p.dsackStart = earlier(start, p.dsackStart)
    p.dsackEnd = later(end, p.dsackEnd)
    return
  }
  p.dsackStart = start
  p.dsackEnd = end
  p.flags |= PcbFlag.DSACK
}
