// What CPUs have published to each other in a simulation with costs (costed.ts), and when the others see it: not before the time at
// which it was sent. A published index that nobody may see yet is taken back in memory and put there again in time; its writer never
// reads it.
import { RingHeader } from '../kernel/layout.ts'
import type { Memory } from '../kernel/memory.ts'

interface Publication {
  readonly source: number
  /** The word of the ring's index, and what it says. */
  readonly word: number
  readonly index: number
  /** From when on it is seen, µs. */
  readonly at: number
}

export class Publications {
  readonly #memory: Memory
  readonly #cpus: number
  /** By target, in the order of sending; of one source also in that of time. */
  readonly #held: Publication[][]
  /** What each ring's index says as its target sees it, by source and target. */
  readonly #shown: Int32Array
  /** A CPU's count of publications when it was looked at last. */
  readonly #counts: Float64Array

  constructor(memory: Memory) {
    const { cpus } = memory.layout
    this.#memory = memory
    this.#cpus = cpus
    this.#held = Array.from({ length: cpus }, () => [])
    this.#shown = new Int32Array(cpus * cpus)
    this.#counts = new Float64Array(cpus)
  }

  /** `source` has had its turn: what it has published in it is seen from `at` on. `published` is its count. */
  hold(source: number, published: number, at: number): void {
    if (this.#counts[source] === published) return
    this.#counts[source] = published
    for (let target = 0; target < this.#cpus; target++) {
      const word = this.#word(source, target)
      const index = this.#memory.i32[word]!
      const shown = this.#shown[source * this.#cpus + target]!
      if (index === shown) continue
      this.#memory.i32[word] = shown
      this.#held[target]!.push({ source, word, index, at })
    }
  }

  /** What `target` may see at `now` is there. */
  show(target: number, now: number): void {
    const held = this.#held[target]!
    if (held.length === 0) return
    let kept = 0
    for (const each of held) {
      if (each.at > now) held[kept++] = each
      else {
        const ring = each.source * this.#cpus + target
        // Else there is something newer, of the part that runs: it is held when that is over.
        if (this.#memory.i32[each.word] === this.#shown[ring]) this.#memory.i32[each.word] = each.index
        this.#shown[ring] = each.index
      }
    }
    held.length = kept
  }

  /** All that was published to `target` is there, also what its source has published in the turn that it is in. */
  showAll(target: number): void {
    for (const { source, word, index } of this.#held[target]!) {
      const ring = source * this.#cpus + target
      // Else there is something newer.
      if (this.#memory.i32[word] !== this.#shown[ring]) continue
      this.#memory.i32[word] = index
      this.#shown[ring] = index
    }
    this.#held[target]!.length = 0
    for (let source = 0; source < this.#cpus; source++) {
      this.#shown[source * this.#cpus + target] = this.#memory.i32[this.#word(source, target)]!
    }
  }

  /** When `target` sees something new, or Infinity. */
  next(target: number): number {
    let next = Number.POSITIVE_INFINITY
    for (const { at } of this.#held[target]!) next = Math.min(next, at)
    return next
  }

  #word(source: number, target: number): number {
    return (this.#memory.layout.ring(source, target) + RingHeader.offset.windex) >> 2
  }
}
