// Copying and checksumming in the machine's memory: in WebAssembly (assembly/routines.ts), and the same four in
// JavaScript for an engine that has no WebAssembly with SIMD. One object per memory and thread, made when a CPU boots;
// any layer may call it, in any context: nothing here allocates, blocks, or keeps anything between calls.
import { readFileSync } from 'node:fs'
import { assert } from './assert.ts'
import { exchangeBytes, fold } from './checksum.ts'
import { Errno, KernelError } from './errno.ts'
import type { Address, Views } from './struct.ts'

/**
 * Addresses and lengths are bytes, at any alignment. A range that leaves the memory is a bug of the caller: it throws
 * (a trap or an AssertionFailure), and what was written before that is unspecified.
 *
 * **The sum** is that of the Internet checksum (RFC 1071): the ones' complement sum of the range's big-endian 16-bit
 * words, an odd last byte being the high half of a word whose low half is 0; folded to 16 bits, and not complemented
 * (`finish` in checksum.ts does that). `initial`, any unsigned 32-bit number, is added, so that parts can be chained.
 * All parts but the last must then have an even length; `joinSum` in checksum.ts is for those that have not.
 *
 * Ones' complement has two zeros. The sum is 0 only if all the bytes and `initial` are 0; any other multiple of 0xffff
 * is 0xffff. That is what adding end-around carries gives by itself, in any order and width, so that all
 * implementations agree and a sum may be split anywhere.
 */
export interface Routines {
  readonly kind: 'wasm' | 'javascript'
  /** As memmove(3): the ranges may overlap. */
  copy(target: Address, source: Address, length: number): void
  /** As memset(3): the low byte of `value`. */
  fill(target: Address, value: number, length: number): void
  /** The folded sum, 0 to 0xffff. */
  sum(address: Address, length: number, initial: number): number
  /** Copies as `copy` does and gives the sum of what the source held. */
  copySum(target: Address, source: Address, length: number, initial: number): number
}

/** Code, not state: compiled once in each thread, for all CPUs that live in it. */
const compiled = new Map<string, WebAssembly.Module>()

/**
 * The routines in WebAssembly, for one memory. `shared` must say what the memory is.
 * @throws KernelError ENOENT where the module was not built, EOPNOTSUPP where the engine cannot compile it
 */
export function wasmRoutines(memory: WebAssembly.Memory, shared: boolean): Routines {
  const module = compile(shared ? './routines.shared.wasm' : './routines.wasm')
  // Their type is what assembly/routines.ts exports; the tests hold both implementations against each other.
  const exports = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Omit<Routines, 'kind'>
  // The engine's own functions, unwrapped: a call costs 3 ns.
  return { kind: 'wasm', copy: exports.copy, fill: exports.fill, sum: exports.sum, copySum: exports.copySum }
}

function compile(name: string): WebAssembly.Module {
  const known = compiled.get(name)
  if (known !== undefined) return known
  if (typeof WebAssembly === 'undefined') {
    throw new KernelError(Errno.EOPNOTSUPP, 'This engine has no WebAssembly: use javascriptRoutines.', 'compile')
  }
  let module: WebAssembly.Module
  try {
    module = new WebAssembly.Module(read(name))
  } catch (error) {
    if (!(error instanceof WebAssembly.CompileError)) throw error
    const sentence = 'This engine cannot compile WebAssembly with SIMD: use javascriptRoutines.'
    throw new KernelError(Errno.EOPNOTSUPP, sentence, 'compile', { cause: error })
  }
  compiled.set(name, module)
  return module
}

function read(name: string): Uint8Array {
  try {
    return readFileSync(new URL(name, import.meta.url))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const sentence = `${name} is not beside the compiled routines.js: run \`npm run build:wasm\`.`
    throw new KernelError(Errno.ENOENT, sentence, 'open', { cause: error })
  }
}

/** 32-bit words that can be summed before a number, exact to 53 bits, might round. */
const chunkWords = 2 ** 21

/** The routines in JavaScript, over the views of one memory. For a little-endian host. */
export function javascriptRoutines(views: Views): Routines {
  const { u8, u16, u32 } = views
  assert(new Uint8Array(Uint16Array.of(1).buffer)[0] === 1, 'the JavaScript routines need a little-endian host')

  function copy(target: Address, source: Address, length: number): void {
    assert(isWithin(target, length) && isWithin(source, length), 'copy stays within the memory')
    u8.copyWithin(target, source, source + length)
  }

  function fill(target: Address, value: number, length: number): void {
    assert(isWithin(target, length), 'fill stays within the memory')
    u8.fill(value, target, target + length)
  }

  // Sums the little-endian words that lie at multiples of their size. Where `address` is even these are the range's
  // words with their bytes exchanged, and so is the sum (RFC 1071, 2 B). Where it is odd, each holds the low half of
  // one of the range's words and the high half of the next, each at its own place in network order: nothing to exchange.
  function sum(address: Address, length: number, initial: number): number {
    assert(isWithin(address, length), 'sum stays within the memory')
    const end = address + length
    let at = address
    let total = 0
    if (at % 2 === 1 && at < end) {
      total = u8[at]! << 8
      at += 1
    }
    if (at % 4 === 2 && end - at >= 2) {
      total += u16[at >>> 1]!
      at += 2
    }
    const words = (end - at) >>> 2
    for (let done = 0; done < words; done += chunkWords) {
      total += sumWords((at >>> 2) + done, Math.min(words - done, chunkWords))
    }
    at += words * 4
    if (end - at >= 2) {
      total += u16[at >>> 1]!
      at += 2
    }
    if (at < end) total += u8[at]!
    const folded = fold(total)
    return fold((address % 2 === 1 ? folded : exchangeBytes(folded)) + (initial & 0xffff) + (initial >>> 16))
  }

  // In a number, exactly: 130 ns for 1460 B. To stay with 32-bit integers, words must be taken apart: 180 ns.
  function sumWords(index: number, count: number): number {
    const end = index + count
    const blocks = end - 3
    let total = 0
    let i = index
    for (; i < blocks; i += 4) total += u32[i]! + u32[i + 1]! + u32[i + 2]! + u32[i + 3]!
    for (; i < end; i++) total += u32[i]!
    return fold(total >>> 0) + fold(Math.floor(total / 0x100000000))
  }

  function copySum(target: Address, source: Address, length: number, initial: number): number {
    const result = sum(source, length, initial)
    copy(target, source, length)
    return result
  }

  function isWithin(address: Address, length: number): boolean {
    return address >= 0 && length >= 0 && address + length <= u8.length
  }

  return { kind: 'javascript', copy, fill, sum, copySum }
}

/**
 * The best that this engine can do for this memory: WebAssembly, or JavaScript where there is no WebAssembly memory, no
 * SIMD, or the modules were not built. `kind` says which it is; any other failure is a bug and is thrown.
 */
export function routines(memory: WebAssembly.Memory | undefined, views: Views, shared: boolean): Routines {
  if (memory === undefined) return javascriptRoutines(views)
  try {
    return wasmRoutines(memory, shared)
  } catch (error) {
    if (!(error instanceof KernelError)) throw error
    return javascriptRoutines(views)
  }
}
