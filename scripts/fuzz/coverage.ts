// What a fuzz run has seen: of each edge the classes of how often inputs took it. An input is interesting when it brings a class that
// none before it has brought.

/** Counts are told apart as 1, 2, 3, 4 to 7, 8 to 15, 16 to 31, 32 to 127, and more: a bit for each. */
const CLASS = Uint8Array.from({ length: 256 }, (_, count) => {
  if (count === 0) return 0
  const limits = [1, 2, 3, 7, 15, 31, 127, 255]
  return 1 << limits.findIndex((limit) => count <= limit)
})

export class Coverage {
  readonly #edges: Uint8Array
  readonly #words: Int32Array
  readonly #seen: Uint8Array
  /** Edges that were taken at all. */
  edges = 0
  /** Classes of all edges. */
  classes = 0

  /** @param edges the counters, as many as are a multiple of 4 */
  constructor(edges: Uint8Array) {
    this.#edges = edges
    this.#words = new Int32Array(edges.buffer, edges.byteOffset, edges.length >> 2)
    this.#seen = new Uint8Array(edges.length)
  }

  /** Before an input. */
  begin(): void {
    this.#edges.fill(0)
  }

  /** Behind it: how many classes it has brought. */
  take(): number {
    const words = this.#words
    let found = 0
    for (let word = 0; word < words.length; word++) {
      if (words[word] === 0) continue
      for (let at = word * 4; at < word * 4 + 4; at++) {
        const bit = CLASS[this.#edges[at]!]!
        const seen = this.#seen[at]!
        if ((seen | bit) === seen) continue
        if (seen === 0) this.edges++
        this.#seen[at] = seen | bit
        found++
      }
    }
    this.classes += found
    return found
  }
}
