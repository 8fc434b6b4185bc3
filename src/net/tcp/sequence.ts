// Sequence numbers (RFC 9293 3.4): 32 bits that wrap, so that only differences mean anything. Held as signed 32-bit numbers,
// the form in which the machine computes them; a comparison is the sign of a difference.
//
//   before(a, b)      a < b        as long as they are less than 2^31 apart, which windows guarantee (RFC 7323 2.3)
//   distance(a, b)    b - a        bytes from a to b

/** A point in a stream of bytes. Signed 32 bits; compare only by these functions. */
export type SequenceNumber = number

export function add(a: SequenceNumber, bytes: number): SequenceNumber {
  return (a + bytes) | 0
}

/** Bytes from `a` to `b`; negative when `b` lies before `a`. */
export function distance(a: SequenceNumber, b: SequenceNumber): number {
  return (b - a) | 0
}

export function before(a: SequenceNumber, b: SequenceNumber): boolean {
  return ((a - b) | 0) < 0
}

export function atOrBefore(a: SequenceNumber, b: SequenceNumber): boolean {
  return ((a - b) | 0) <= 0
}

export function after(a: SequenceNumber, b: SequenceNumber): boolean {
  return ((a - b) | 0) > 0
}

/** The later of two. */
export function later(a: SequenceNumber, b: SequenceNumber): SequenceNumber {
  return ((a - b) | 0) > 0 ? a : b
}

/** The earlier of two. */
export function earlier(a: SequenceNumber, b: SequenceNumber): SequenceNumber {
  return ((a - b) | 0) < 0 ? a : b
}
