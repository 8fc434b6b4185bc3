// When a CPU of the workload "hard-part" changes something: after as many lookups as the share says, in a place that no change is
// under way for. Where all places wait for their changes, lookups wait too, so that the share holds.

/** Makes a change, and calls `done` when it is made everywhere: at once, or later. */
export type MakeChange = (place: number, isThere: boolean, done: () => void) => void

export class Changes {
  readonly #share: number
  readonly #make: MakeChange
  readonly #isThere: boolean[]
  readonly #isUnderWay: boolean[]
  readonly #done: readonly (() => void)[]
  #place = 0
  /** Changes that the lookups so far have earned. */
  #owed = 0

  /**
   * @param share changes by lookups
   * @param places that change in turn: there, and not there
   */
  constructor(share: number, places: number, make: MakeChange) {
    this.#share = share
    this.#make = make
    this.#isThere = new Array<boolean>(places).fill(false)
    this.#isUnderWay = new Array<boolean>(places).fill(false)
    this.#done = Array.from({ length: places }, (_, place) => () => {
      this.#isUnderWay[place] = false
    })
  }

  /** Makes the changes that are due. How many lookups come before the next, `most` at most; 0: first a change must be done. */
  before(most: number): number {
    while (this.#owed >= 1) {
      const place = this.#place
      if (this.#isUnderWay[place]) return 0
      this.#owed--
      this.#place = (place + 1) % this.#isThere.length
      this.#isThere[place] = !this.#isThere[place]
      this.#isUnderWay[place] = true
      this.#make(place, this.#isThere[place]!, this.#done[place]!)
    }
    if (this.#share === 0) return most
    const run = Math.min(most, Math.ceil((1 - this.#owed) / this.#share))
    this.#owed += run * this.#share
    return run
  }
}
