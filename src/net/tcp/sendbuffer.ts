// The send buffer: what the program has sent and the peer has not acknowledged yet, in the mbufs in which the program put
// it. Nothing is copied on the way out: a packet is a header whose parts refer to bytes here.
//
// Bytes that are acknowledged are freed in input; packets that refer to bytes here are made in the roll-up, after all
// input of the turn, and leave by the flush that follows it. So nothing is freed that a device still reads.
import { assert } from '../../base/assert.ts'
import type { Address } from '../../base/struct.ts'
import { Mbuf } from '../../device/mbuf.ts'
import { MessageFlag } from '../../kernel/message.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import { add, distance, type SequenceNumber } from './sequence.ts'
import type { Tcp } from './tcp.ts'

const DATA = Mbuf.offset.data >> 2
const LENGTH = Mbuf.offset.length >> 2
const PART = Mbuf.offset.part >> 2
const { TRACED } = MessageFlag

/** Written behind what is there, if that has room: a program that writes byte by byte does not get an mbuf for each. */
const MERGE_BYTES_MAX = 512

/** Takes a packet of the program's, all of whose bytes are the stream's next. It owns it. */
export function append(t: Tcp, p: Pcb, packet: Address): void {
  const words = t.words
  t.m.at = packet
  const { total } = t.m
  // What is traced keeps an mbuf of its own, which knows its write.
  const isTraced = t.traceMarks !== 0 && (words[packet >> 2]! & TRACED) !== 0
  const isShort = p.sndLast !== 0 && total <= MERGE_BYTES_MAX && t.mbufs.tailroom(p.sndLast) >= total
  if (isShort && !isTraced && (words[p.sndLast >> 2]! & TRACED) === 0) {
    const last = p.sndLast >> 2
    t.mbufs.copyOut(packet, 0, total, words[last + DATA]! + words[last + LENGTH]!)
    words[last + LENGTH]! += total
    t.mbufs.free(packet)
  } else {
    if (p.sndLast === 0) {
      p.sndFirst = packet
      p.sndSkip = 0
      p.sndCursor = 0
    } else words[(p.sndLast >> 2) + PART] = packet
    let last = packet
    while (words[(last >> 2) + PART]! !== 0) last = words[(last >> 2) + PART]!
    p.sndLast = last
  }
  p.sndEnd = add(p.sndEnd, total)
  if (isTraced) {
    p.tracedEnd = p.sndEnd
    p.flags |= PcbFlag.TRACED
  }
}

/** The first `count` bytes are acknowledged. */
export function release(t: Tcp, p: Pcb, count: number): void {
  const words = t.words
  let left = count + p.sndSkip
  let m = p.sndFirst
  while (m !== 0 && left >= words[(m >> 2) + LENGTH]!) {
    left -= words[(m >> 2) + LENGTH]!
    const part = words[(m >> 2) + PART]!
    words[(m >> 2) + PART] = 0
    if (m === p.sndCursor) p.sndCursor = 0
    t.mbufs.free(m)
    m = part
  }
  assert(m !== 0 || left === 0, 'no more is acknowledged than was sent')
  p.sndFirst = m
  p.sndSkip = left
  if (m === 0) p.sndLast = 0
}

/**
 * Appends to `packet` the `count` bytes of the stream from `from` on, by reference. False when there is no memory: the packet is
 * then not whole, and the caller frees it. `una` is the sequence number of the first byte that is not acknowledged.
 */
export function refer(t: Tcp, p: Pcb, packet: Address, from: SequenceNumber, count: number): boolean {
  const words = t.words
  let m = p.sndCursor
  let at = p.sndCursorAt
  if (m === 0 || distance(at, from) < 0) {
    m = p.sndFirst
    at = add(p.sndUna, -p.sndSkip)
  }
  let skip = distance(at, from)
  let left = count
  let last = packet
  while (left > 0) {
    assert(m !== 0, 'what is sent lies in the send buffer')
    const length = words[(m >> 2) + LENGTH]!
    if (skip < length) {
      const take = Math.min(left, length - skip)
      const part = t.mbufs.reference(words[(m >> 2) + DATA]! + skip, take)
      if (part === 0) return false
      t.mbufs.append(packet, part, last)
      last = part
      left -= take
      if (left === 0) break
      skip = 0
    } else skip -= length
    at = add(at, length)
    m = words[(m >> 2) + PART]!
  }
  p.sndCursor = m
  p.sndCursorAt = at
  return true
}

/** Copies the `count` bytes of the stream from `from` on to `target`: few bytes, which cost less so than by reference. */
export function copy(t: Tcp, p: Pcb, target: Address, from: SequenceNumber, count: number): void {
  const { words, routines } = t
  let m = p.sndCursor
  let at = p.sndCursorAt
  if (m === 0 || distance(at, from) < 0) {
    m = p.sndFirst
    at = add(p.sndUna, -p.sndSkip)
  }
  let skip = distance(at, from)
  let done = 0
  while (done < count) {
    assert(m !== 0, 'what is sent lies in the send buffer')
    const length = words[(m >> 2) + LENGTH]!
    if (skip < length) {
      const take = Math.min(count - done, length - skip)
      routines.copy(target + done, words[(m >> 2) + DATA]! + skip, take)
      done += take
      if (done === count) break
      skip = 0
    } else skip -= length
    at = add(at, length)
    m = words[(m >> 2) + PART]!
  }
  p.sndCursor = m
  p.sndCursorAt = at
}

/** The mbuf in which byte `from` of the stream lies; 0 where it is in none. For whoever wants to know who wrote it. */
export function mbufOf(t: Tcp, p: Pcb, from: SequenceNumber): Address {
  const words = t.words
  let left = distance(p.sndUna, from) + p.sndSkip
  let m = p.sndFirst
  while (m !== 0 && left >= words[(m >> 2) + LENGTH]!) {
    left -= words[(m >> 2) + LENGTH]!
    m = words[(m >> 2) + PART]!
  }
  return m
}

/** The connection ends. */
export function discard(t: Tcp, p: Pcb): void {
  if (p.sndFirst !== 0) t.mbufs.free(p.sndFirst)
  p.sndFirst = p.sndLast = p.sndCursor = p.sndSkip = 0
}
