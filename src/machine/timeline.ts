// When a resource that one CPU at a time can have was in use: stretches of virtual time, in order. Whoever comes to it later in the
// order of the simulation, but at a time that another one has had its turn over already, finds the first gap.
//
// Gaps are filled: a use that is longer than the gap in which it begins goes on behind what is there. So what is in use adds up to
// the sum of all uses, and never to more than the time there is, in whatever order they were put in.
const NOBODY = -1
/** From so many stretches on those that nobody can come before any more are forgotten. */
const PRUNE_AT = 64

export class Timeline {
  /** Stretches that touch are one: [starts, ends), with who had it first and last. */
  readonly #starts: number[] = []
  readonly #ends: number[] = []
  readonly #firsts: number[] = []
  readonly #lasts: number[] = []
  /** Who had it last in what was forgotten. */
  #before = NOBODY

  /** The first moment from `time` on at which nobody has it. */
  free(time: number): number {
    const i = this.#after(time)
    return i < this.#starts.length && this.#starts[i]! <= time ? this.#ends[i]! : time
  }

  /**
   * How often the resource goes from one CPU to another when `cpu` has it from `time` on, where it is free: 0 when it had it before, 1 when
   * another one had or nobody, and 2 when it comes between two uses of another one, which did not know of this.
   */
  passes(time: number, cpu: number): number {
    const i = this.#after(time)
    const before = i > 0 ? this.#lasts[i - 1]! : this.#before
    if (before === cpu) return 0
    return i < this.#starts.length && this.#firsts[i] === before ? 2 : 1
  }

  /** `cpu` uses it for `length`, beginning at `from` or as soon as it is free. Returns when it is done. */
  use(from: number, length: number, cpu: number): number {
    const time = this.free(from)
    return length > 0 ? this.#fill(time, length, cpu) : time
  }

  /** Begins in a gap. */
  #fill(time: number, length: number, cpu: number): number {
    let i = this.#after(time)
    const from = i
    let end = time
    let left = length
    for (;;) {
      const room = i < this.#starts.length ? this.#starts[i]! - end : Number.POSITIVE_INFINITY
      if (left < room) break
      left -= room
      end = this.#ends[i]!
      i++
      if (left === 0) break
    }
    const last = left > 0 || i === from ? cpu : this.#lasts[i - 1]!
    end += left
    // What ends where this begins is the same stretch.
    const joins = from > 0 && this.#ends[from - 1] === time
    const at = joins ? from - 1 : from
    const start = joins ? this.#starts[at]! : time
    const first = joins ? this.#firsts[at]! : cpu
    this.#replace(at, i - at, start, end, first, last)
    return end
  }

  /** Somebody has it from `start` to `end`, whoever else has as well: readers. */
  cover(start: number, end: number, cpu: number): void {
    if (end <= start) return
    let from = this.#after(start)
    if (from > 0 && this.#ends[from - 1]! >= start) from--
    let to = from
    let first = cpu
    let begin = start
    let stop = end
    while (to < this.#starts.length && this.#starts[to]! <= end) {
      if (this.#starts[to]! < begin) {
        begin = this.#starts[to]!
        first = this.#firsts[to]!
      }
      stop = Math.max(stop, this.#ends[to]!)
      to++
    }
    this.#replace(from, to - from, begin, stop, first, cpu)
  }

  /** Nobody comes before `floor` any more. */
  forget(floor: number): void {
    if (this.#starts.length < PRUNE_AT) return
    const count = this.#after(floor)
    if (count === 0) return
    this.#before = this.#lasts[count - 1]!
    for (const list of [this.#starts, this.#ends, this.#firsts, this.#lasts]) list.splice(0, count)
  }

  /** The first stretch that ends after `time`. Most look near the end. */
  #after(time: number): number {
    let i = this.#ends.length
    while (i > 0 && this.#ends[i - 1]! > time) i--
    return i
  }

  #replace(at: number, count: number, start: number, end: number, first: number, last: number): void {
    this.#starts.splice(at, count, start)
    this.#ends.splice(at, count, end)
    this.#firsts.splice(at, count, first)
    this.#lasts.splice(at, count, last)
  }
}
