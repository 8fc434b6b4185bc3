// Texts of traces, call sites and labels, in the machine's memory: each CPU writes its own table and nobody else does, any thread reads it.
// A text that is there already is not written again. When the table is full it begins anew: what named its
// texts is told by their generation that they are gone.
//
//   | generation | texts | bytes | | {generation, address, length} x 1024 | bytes ...
import { assert } from '../../base/assert.ts'
import { readText, writeText } from '../../base/bytes.ts'
import type { Address } from '../../base/struct.ts'
import type { Memory } from '../memory.ts'

/** Of one CPU: generation in the upper bits, slot in the lower ten. 0: none. */
export type TextId = number

const SLOT_BITS = 10
const SLOTS = 1 << SLOT_BITS
const SLOT_BYTES = 12
const HEADER_BYTES = 16
const FIRST_BYTE = HEADER_BYTES + SLOTS * SLOT_BYTES
/** So that the numbers of texts stay below what else a word says (site.ts). */
const GENERATIONS = (1 << 20) - 1
/** A text that is longer is cut. */
export const TEXT_BYTES_MAX = 4096

export class TextTable {
  readonly #memory: Memory
  readonly #base: Address
  readonly #end: Address
  #generation = 1
  #slots = 0
  #next: Address
  readonly #known = new Map<string, TextId>()

  constructor(memory: Memory, cpu: number) {
    const { traceTexts, traceTextBytes } = memory.layout
    this.#memory = memory
    this.#base = traceTexts + cpu * traceTextBytes
    this.#end = this.#base + traceTextBytes
    this.#next = this.#base + FIRST_BYTE
    assert(FIRST_BYTE + 2 * TEXT_BYTES_MAX <= traceTextBytes, 'a table of texts has room for two at least')
  }

  /** Grows by one each time that all texts were given up. */
  get generation(): number {
    return this.#generation
  }

  /** The number of a text. */
  intern(text: string): TextId {
    return this.#known.get(text) ?? this.#add(text)
  }

  #add(text: string): TextId {
    if (this.#slots === SLOTS || this.#end - this.#next < TEXT_BYTES_MAX) this.#beginAnew()
    const { u8, i32 } = this.#memory
    const slot = this.#slots++
    const length = writeText(u8, this.#next, text, TEXT_BYTES_MAX)
    const word = (this.#base + HEADER_BYTES + slot * SLOT_BYTES) >> 2
    i32[word + 1] = this.#next
    i32[word + 2] = length
    Atomics.store(i32, word, this.#generation)
    this.#next += length
    const id = (this.#generation << SLOT_BITS) | slot
    this.#known.set(text, id)
    return id
  }

  #beginAnew(): void {
    this.#generation = this.#generation === GENERATIONS ? 1 : this.#generation + 1
    this.#slots = 0
    this.#next = this.#base + FIRST_BYTE
    this.#known.clear()
  }
}

/** A text of a CPU, from any thread; undefined where it is no longer kept. */
export function textOf(memory: Memory, cpu: number, id: TextId): string | undefined {
  const { traceTexts, traceTextBytes } = memory.layout
  const base = traceTexts + cpu * traceTextBytes
  const word = (base + HEADER_BYTES + (id & (SLOTS - 1)) * SLOT_BYTES) >> 2
  const generation = id >>> SLOT_BITS
  if (generation === 0 || Atomics.load(memory.i32, word) !== generation) return undefined
  const address = memory.i32[word + 1]!
  const length = memory.i32[word + 2]!
  const isWithin =
    address >= base && length >= 0 && length <= TEXT_BYTES_MAX && address + length <= base + traceTextBytes
  if (!isWithin) return undefined
  const text = readText(memory.u8, address, length)
  // Written over while it was read?
  return Atomics.load(memory.i32, word) === generation ? text : undefined
}
