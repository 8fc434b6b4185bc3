// How long a change takes until all CPUs see it: CPU 0 makes one now and then, every CPU looks for it once in each turn, and when
// all have seen it, the time of the last is a sample. A look is as good as the turns are short.
//
//   region "probe"  | sequence, samples 64 | of each CPU: what it has seen, and when 64 | samples, µs |
import { Limits } from '../../base/limits.ts'
import type { Address, Cpu, Machine } from '../../kernel.ts'

/** A change that every CPU can look for. */
export interface Visible {
  /** Between two of them, µs. */
  readonly everyUs: number
  /** Makes change number `sequence`; by CPU 0, which looks at nothing else meanwhile. */
  change(sequence: number): void
  /** Whether this CPU sees change number `sequence`. */
  sees(sequence: number): boolean
}

const SAMPLES_MAX = 8192
const FIRST_CPU = 64
const LINE = 64
const FIRST_SAMPLE = FIRST_CPU + Limits.cpus * LINE
/** Of a CPU's line. */
const SEEN_AT = 8

export const PROBE_BYTES = FIRST_SAMPLE + SAMPLES_MAX * 8

export class Probe {
  readonly #cpu: Cpu
  readonly #visible: Visible
  readonly #i32: Int32Array
  readonly #f64: Float64Array
  readonly #region: Address
  readonly #line: Address
  #seen = 0
  #isOpen = false
  #changedAt = 0

  constructor(cpu: Cpu, visible: Visible) {
    this.#cpu = cpu
    this.#visible = visible
    this.#i32 = cpu.memory.i32
    this.#f64 = cpu.memory.f64
    this.#region = cpu.memory.layout.region('probe').address
    this.#line = this.#region + FIRST_CPU + cpu.index * LINE
  }

  /** Once in each turn. */
  look(): void {
    if (this.#cpu.index === 0) this.#lead()
    const sequence = Atomics.load(this.#i32, this.#region >> 2)
    if (sequence === this.#seen || !this.#visible.sees(sequence)) return
    this.#seen = sequence
    this.#f64[(this.#line + SEEN_AT) >> 3] = this.#cpu.clock.now()
    Atomics.store(this.#i32, this.#line >> 2, sequence)
  }

  #lead(): void {
    const { clock, now, cpus } = this.#cpu
    const sequence = this.#i32[this.#region >> 2]!
    if (this.#isOpen) {
      let last = 0
      for (let cpu = 0; cpu < cpus; cpu++) {
        const line = this.#region + FIRST_CPU + cpu * LINE
        if (Atomics.load(this.#i32, line >> 2) !== sequence) return
        last = Math.max(last, this.#f64[(line + SEEN_AT) >> 3]!)
      }
      this.#isOpen = false
      this.#add(last - this.#changedAt)
    }
    if (now - this.#changedAt < this.#visible.everyUs) return
    this.#isOpen = true
    this.#changedAt = clock.now()
    this.#visible.change(sequence + 1)
    Atomics.store(this.#i32, this.#region >> 2, sequence + 1)
  }

  #add(us: number): void {
    const count = this.#i32[(this.#region >> 2) + 1]!
    if (count === SAMPLES_MAX) return
    this.#f64[((this.#region + FIRST_SAMPLE) >> 3) + count] = us
    Atomics.store(this.#i32, (this.#region >> 2) + 1, count + 1)
  }
}

/** All samples so far, in order. */
export function samples(memory: Machine['memory']): number[] {
  const region = memory.layout.region('probe').address
  const count = Atomics.load(memory.i32, (region >> 2) + 1)
  const first = (region + FIRST_SAMPLE) >> 3
  return [...memory.f64.subarray(first, first + count)]
}
