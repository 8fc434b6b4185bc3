// The seeds of the fuzzing tests: some that are always the same, and fresh ones, which find what the others did not. DAMSELFLY_SEED=N runs
// that one alone; DAMSELFLY_LONG=1 runs forty times as many.
import { systemSeed } from '../../src/base/random.ts'

const FIXED = 3
const FRESH = 1
const LONG = 40

/** Runs `body` for each seed; what it throws says which one that was. */
export function forSeeds(body: (seed: number) => void): void {
  const { DAMSELFLY_SEED: given, DAMSELFLY_LONG: long } = process.env
  const times = long === undefined ? 1 : LONG
  const seeds =
    given !== undefined
      ? [Number(given)]
      : [
          ...Array.from({ length: FIXED * times }, (_, i) => i + 1),
          ...Array.from({ length: FRESH * times }, systemSeed),
        ]
  for (const seed of seeds) {
    try {
      body(seed)
    } catch (error) {
      if (error instanceof Error) error.message = `DAMSELFLY_SEED=${seed} shows it again: ${error.message}`
      throw error
    }
  }
}
