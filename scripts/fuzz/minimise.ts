// Makes what fails small: the fewest inputs, and of each the fewest bytes, that still fail.
import type { Bytes } from './mutation.ts'

/** Tries of one minimisation at most. */
const TRIES_MAX = 3000

export type Fails = (inputs: readonly Bytes[]) => Promise<boolean>

/** `inputs` fail together. Returns some that do, and of which little can be left out. */
export async function minimise(inputs: readonly Bytes[], fails: Fails, triesMax = TRIES_MAX): Promise<Bytes[]> {
  let tries = 0
  const test = async (candidate: readonly Bytes[]) => ++tries <= triesMax && (await fails(candidate))
  const fewer = await shorten([...inputs], (some) => test(some))
  const result = [...fewer]
  for (let i = 0; i < result.length; i++) {
    const bytes = await shorten([...result[i]!], (some) => test(result.with(i, Uint8Array.from(some))))
    result[i] = Uint8Array.from(bytes)
  }
  return result
}

/** Takes out halves, quarters and so on, as long as `fails`. */
async function shorten<T>(all: readonly T[], fails: (some: readonly T[]) => Promise<boolean>): Promise<readonly T[]> {
  let rest = all
  for (let size = Math.ceil(rest.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    // From the end: what comes last is needed least by what came before.
    for (let at = rest.length - size; at > -size; at -= size) {
      const from = Math.max(at, 0)
      const some = [...rest.slice(0, from), ...rest.slice(at + size)]
      if (some.length < rest.length && (await fails(some))) rest = some
    }
  }
  return rest
}
