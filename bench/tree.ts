// The compiled stack once more, changed on the way: what benchmarks hold the real one against (uncounted.ts, untraced.ts).
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** A compiled file that was changed, and in how many places. */
export interface Changed {
  readonly text: string
  readonly places: number
}

/**
 * Copies the compiled sources of `from` (`dist`) to `to`, each file of the stack as `change` makes it, which is given its text and its path below
 * `src`. Those that `isOther` names by that path are copied as they are. Returns the places that were changed, of all files together.
 */
export function changeTree(
  from: string,
  to: string,
  isOther: (name: string) => boolean,
  change: (text: string, name: string) => Changed,
): number {
  rmSync(to, { recursive: true, force: true })
  let places = 0
  for (const entry of readdirSync(from, { recursive: true, encoding: 'utf8' })) {
    if (!/^(src|bench)\/.*\.(js|wasm)$/.test(entry) || entry.endsWith('.test.js')) continue
    mkdirSync(dirname(join(to, entry)), { recursive: true })
    const name = entry.replace(/^src\//, '')
    if (name === entry || !name.endsWith('.js') || isOther(name)) {
      cpSync(join(from, entry), join(to, entry))
      continue
    }
    const changed = change(readFileSync(join(from, entry), 'utf8'), name)
    places += changed.places
    writeFileSync(join(to, entry), changed.text)
  }
  return places
}
