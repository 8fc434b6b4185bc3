// Randomness. Everything that needs it asks a Random, so that a seed reproduces a run.
import { randomBytes, randomFillSync } from 'node:crypto'

/** xoshiro128** (Blackman and Vigna, 2018): 32 bits a call, seeded by splitmix32. Not for secrets. */
export class Random {
  readonly seed: number
  readonly #state = new Uint32Array(4)

  constructor(seed: number) {
    this.seed = seed >>> 0
    let z = this.seed
    for (let i = 0; i < 4; i++) {
      z = (z + 0x9e3779b9) >>> 0
      let x = z
      x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
      x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
      this.#state[i] = x ^ (x >>> 15)
    }
  }

  /** A whole number from 0 to 2^32 - 1. */
  next(): number {
    const s = this.#state
    const s1 = s[1]!
    const scrambled = Math.imul(s1, 5)
    const result = Math.imul((scrambled << 7) | (scrambled >>> 25), 9) >>> 0
    s[2]! ^= s[0]!
    s[3]! ^= s1
    s[1]! ^= s[2]!
    s[0]! ^= s[3]!
    s[2]! ^= s1 << 9
    const s3 = s[3]!
    s[3] = (s3 << 11) | (s3 >>> 21)
    return result
  }

  /** A whole number from 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor((this.next() / 0x100000000) * count)
  }

  /** A number from 0 up to but not including 1. */
  real(): number {
    return this.next() / 0x100000000
  }

  /** Whether something of this probability happens now. Draws nothing when it is 0, so that a switched-off fault leaves the sequence as it is. */
  chance(probability: number): boolean {
    return probability > 0 && this.real() < probability
  }

  /** A generator of its own for part `index` of a run: adding a draw in one part does not shift the others. */
  fork(index: number): Random {
    return new Random(Math.imul(this.seed ^ 0x5bd1e995, 0x01000193) + Math.imul(index + 1, 0x9e3779b1))
  }
}

/** Words that are fetched at once: a call to the operating system for each would cost more than all else. */
const POOL = 256

/**
 * The operating system's randomness: what was drawn tells nobody what will be. Machines that face strangers have it, whose sequence
 * numbers, ports and cookies must not be guessed (RFC 6528, RFC 6056); they cannot be repeated.
 */
export class SystemRandom extends Random {
  readonly #pool = new Uint32Array(POOL)
  #left = 0

  constructor() {
    super(0)
  }

  override next(): number {
    if (this.#left === 0) {
      randomFillSync(this.#pool)
      this.#left = POOL
    }
    const word = this.#pool[--this.#left]!
    // Not to be found in memory afterwards.
    this.#pool[this.#left] = 0
    return word
  }

  override fork(_index: number): Random {
    return new SystemRandom()
  }
}

/** What a machine draws from: a seeded generator where the run is to be repeated, else the operating system. */
export function randomOf(seed: number | undefined): Random {
  return seed === undefined ? new SystemRandom() : new Random(seed)
}

/** A seed from the operating system, for runs that are repeated only when they fail. */
export function systemSeed(): number {
  return randomBytes(4).readUInt32LE()
}
