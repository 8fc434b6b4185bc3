// Text and comparison in the machine's memory, through a view of all its bytes. For names, paths and tests; not for
// the packet path: text allocates.
import { assert } from './assert.ts'
import type { Address } from './struct.ts'

const encoder = new TextEncoder()
// A byte order mark is a character like any other, so that what was written is what is read.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** The UTF-8 text in `length` bytes. What is not UTF-8 reads as U+FFFD. */
export function readText(u8: Uint8Array, address: Address, length: number): string {
  assert(isWithin(u8, address, length), 'text is read within the memory')
  // A copy, which `slice` takes into memory of this thread's own: not every decoder takes a view of shared memory, and
  // none should while another CPU may write to it.
  return decoder.decode(u8.slice(address, address + length))
}

/**
 * Writes `text` as UTF-8 into at most `capacity` bytes, and gives the number of bytes written. What does not fit is cut
 * off, between two characters. A lone surrogate is written as U+FFFD.
 */
export function writeText(u8: Uint8Array, address: Address, text: string, capacity: number): number {
  assert(isWithin(u8, address, capacity), 'text is written within the memory')
  return encoder.encodeInto(text, u8.subarray(address, address + capacity)).written
}

/** Whether the two ranges of `length` bytes hold the same. */
export function equal(u8: Uint8Array, a: Address, b: Address, length: number): boolean {
  assert(isWithin(u8, a, length) && isWithin(u8, b, length), 'ranges are compared within the memory')
  for (let i = 0; i < length; i++) {
    if (u8[a + i] !== u8[b + i]) return false
  }
  return true
}

function isWithin(u8: Uint8Array, address: Address, length: number): boolean {
  return address >= 0 && length >= 0 && address + length <= u8.length
}
