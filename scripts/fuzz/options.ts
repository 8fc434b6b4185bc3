// The options of `npm run fuzz`. For ../fuzz.ts.
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { systemSeed } from '../../src/base/random.ts'

export interface Options {
  readonly targets: readonly string[]
  /** For each target. */
  readonly minutes: number
  readonly seed: number
  /** Where inputs that fail are saved: a folder for each target. */
  readonly out: string
  /** Files to be run, one after the other, instead of a search. */
  readonly replay: readonly string[]
  readonly help: boolean
}

const MINUTES_MAX = 7 * 24 * 60

export const usage = (targets: readonly string[]) => `usage: npm run fuzz -- [TARGET...] [options]

Changes inputs by chance, guided by which edges of the parser's code they reach, until one fails or the time is over. Without a
target all of them, one after the other:
  ${targets.join(', ')}

  --minutes N     for each target, 0.01 to ${MINUTES_MAX}  (5)
  --seed N        the same seed makes the same inputs  (by chance)
  --out DIR       where inputs that fail are saved  (${join(tmpdir(), 'damselfly-fuzz')})
  --replay FILE   run this input, of one target; may be repeated
`

/** Something is wrong with the options; the message says what to give. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws UsageError */
export function parseOptions(args: readonly string[], known: readonly string[]): Options {
  const text = { type: 'string' } as const
  const { values, positionals } = parse(() =>
    parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        minutes: text,
        seed: text,
        out: text,
        replay: { type: 'string', multiple: true },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }),
  )
  for (const name of positionals) {
    if (!known.includes(name)) throw new UsageError(`there is no target "${name}": give some of ${known.join(', ')}`)
  }
  const replay = values.replay ?? []
  if (replay.length > 0 && positionals.length !== 1) {
    throw new UsageError('--replay is for one target: name it, like "fuzz -- pcap --replay FILE"')
  }
  return {
    targets: positionals.length === 0 ? known : positionals,
    minutes: number('minutes', values.minutes, 0.01, MINUTES_MAX, 5),
    seed: values.seed === undefined ? systemSeed() : whole('seed', values.seed, 0, 0xffffffff),
    out: values.out ?? join(tmpdir(), 'damselfly-fuzz'),
    replay,
    help: values.help,
  }
}

function parse<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function number(name: string, text: string | undefined, low: number, high: number, usual: number): number {
  if (text === undefined) return usual
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (value >= low && value <= high) return value
  throw new UsageError(`--${name} is "${text}": give a number from ${low} to ${high}`)
}

function whole(name: string, text: string, low: number, high: number): number {
  const value = number(name, text, low, high, low)
  if (Number.isInteger(value)) return value
  throw new UsageError(`--${name} is "${text}": give a whole number from ${low} to ${high}`)
}
