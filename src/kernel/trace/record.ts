// One hop as a record in the machine's memory. Each CPU has a ring of them and writes it alone, but for the word by which whoever takes
// what was sent says how long it had waited; any thread that has the memory reads them, also when the CPU that wrote them is gone. A record
// that was written over is told by its sequence number, and what was said of the one before it by that number's upper bits.
import { assert } from '../../base/assert.ts'
import { type Address, bytes, f64, struct, u16, u32 } from '../../base/struct.ts'
import { TRACE_BYTES } from '../layout.ts'
import type { Memory } from '../memory.ts'

/** A record's number: its CPU in the upper bits, a sequence in the lower ones, 31 bits together. 0: none. */
export type TraceId = number
/** No record's number: of one of N chains this is none, and nothing that follows from it is. Those of records are above 0. */
export const UNTRACED: TraceId = -1

export const TraceRecord = struct({
  sequence: u32, //  0  0: empty, or being written
  parent: u32, //    4  TraceId of what it was caused by
  stack: u32, //     8  TextId of the call sites; 0: none was taken
  target: u32, //   12  of messages the port, of a wakeup the channel; else the TextId of a label
  kind: u16, //     16  index into HOP_KINDS
  depth: u16, //    18  hops before it, as far as they are known
  subject: u32, //  20  of messages the TextId of their type; of segments and datagrams both ports
  time: f64, //     24  µs
  extra: u32, //    32  packets: their length
  taken: u32, //    36  8 bits of the sequence's, and how it was taken (`takenWord`); 0: not yet
  padding: bytes(8), // 40
})
assert(TraceRecord.size === TRACE_BYTES, 'a trace record is 48 bytes')

/** The same record of a hop of kind `remote`: whose trace it belongs to, in the place of what that kind has not, which sends nothing that is taken. */
export const RemoteRecord = struct({
  sequence: u32, //  0
  parent: u32, //    4
  trace0: u32, //    8  128 bits, the first the uppermost
  trace1: u32, //   12
  kind: u16, //     16
  depth: u16, //    18
  trace2: u32, //   20
  time: f64, //     24
  trace3: u32, //   32
  span0: u32, //    36  64 bits
  span1: u32, //    40
  isSampled: u32, // 44
})
assert(RemoteRecord.size === TRACE_BYTES, 'both forms of a trace record are alike long')
assert(
  (['sequence', 'parent', 'kind', 'depth', 'time'] as const).every(
    (field) => RemoteRecord.offset[field] === TraceRecord.offset[field],
  ),
  'both forms of a trace record begin a chain alike',
)

/** Of a record's `taken`: a call, for which nobody waited; else 2 + tenths of µs. */
const CALLED = 1
const WAITED_MAX = 2 ** 24 - 1
const LAP_SHIFT = 24

/** How what a hop sent came to be taken: by a call, or out of a queue after so many µs. */
export type Taken = 'called' | number

/** Where the CPUs' records lie, and how their numbers are made. */
export class TraceRings {
  readonly #memory: Memory
  /** Bits of a number that are its sequence. */
  readonly sequenceBits: number
  readonly sequenceMask: number

  constructor(memory: Memory) {
    this.#memory = memory
    this.sequenceBits = 31 - Math.ceil(Math.log2(memory.layout.cpus))
    this.sequenceMask = 2 ** this.sequenceBits - 1
  }

  id(cpu: number, sequence: number): TraceId {
    return cpu * (this.sequenceMask + 1) + sequence
  }

  cpuOf(id: TraceId): number {
    return id >>> this.sequenceBits
  }

  /** Where a record lies, or lay. */
  place(id: TraceId): Address {
    const { layout } = this.#memory
    const slot = id & this.sequenceMask & (layout.traceRecords - 1)
    return layout.traces + (this.cpuOf(id) * layout.traceRecords + slot) * TRACE_BYTES
  }

  /** What `taken` of this record says. */
  takenWord(id: TraceId, taken: Taken): number {
    const value = taken === 'called' ? CALLED : Math.min(WAITED_MAX, 2 + Math.round(Math.max(0, taken) * 10))
    return (this.#lap(id) << LAP_SHIFT) | value
  }

  /** The other way; undefined where nobody has taken it, or the word was meant for the record before. */
  takenOf(id: TraceId, word: number): Taken | undefined {
    const value = word & WAITED_MAX
    if (value === 0 || word >>> LAP_SHIFT !== this.#lap(id)) return undefined
    return value === CALLED ? 'called' : (value - 2) / 10
  }

  /** How often the ring had gone round when the record was written, as far as 8 bits tell. */
  #lap(id: TraceId): number {
    return ((id & this.sequenceMask) / this.#memory.layout.traceRecords) & 0xff
  }

  /** Whether the record is still this one's. */
  isKept(id: TraceId): boolean {
    return id > 0 && this.cpuOf(id) < this.#memory.layout.cpus && this.#sequenceAt(id) === (id & this.sequenceMask)
  }

  #sequenceAt(id: TraceId): number {
    return this.#memory.i32[this.place(id) >> 2]!
  }
}
