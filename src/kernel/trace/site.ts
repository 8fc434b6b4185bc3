// What is known of call sites without looking: a stack costs as much as all else that is done for a message, several times over, and a
// thing of one kind, sent to one port by one function from within one handler, nearly always comes from the same place. So after SURE
// looks that all saw the same, one of some is looked at, the more seldom the more have agreed, and the others are taken to have come from there, which
// their records say. As soon as one is seen that came from elsewhere, each is looked at, for good. Mode `exact` looks always.
import type { Random } from '../../base/random.ts'
import type { TextId } from './text.ts'

/** Looks that have to agree first. */
const SURE = 16
/** On average one of as many as have agreed is looked at then, and one of so many at least; the distance is up to twice that. */
const LOOK_EVERY_MAX = 256
const KNOWN_MAX = 4096
/** Of a record's stack: nobody has looked. Above all numbers of texts. */
export const INFERRED = 1 << 30

interface Site {
  stack: TextId
  looks: number
  /** Until the next look. */
  left: number
  isMixed: boolean
}

export class SiteMemory {
  readonly #known = new Map<number, Site>()
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  /** The stack that something of this kind comes from, marked as not looked at; undefined: it has to be looked at. */
  guess(key: number): TextId | undefined {
    const site = this.#known.get(key)
    if (site === undefined || site.isMixed || site.looks < SURE || --site.left <= 0) return undefined
    return site.stack === 0 ? 0 : site.stack | INFERRED
  }

  /** It was looked at. */
  saw(key: number, stack: TextId): void {
    const site = this.#known.get(key)
    if (site === undefined) {
      if (this.#known.size >= KNOWN_MAX) this.#known.clear()
      this.#known.set(key, { stack, looks: 1, left: 0, isMixed: false })
      return
    }
    if (site.stack !== stack) site.isMixed = true
    site.looks++
    site.left = 1 + this.#random.below(2 * Math.min(site.looks, LOOK_EVERY_MAX))
  }

  clear(): void {
    this.#known.clear()
  }
}
