// What `npm run vopr` is asked for.
import { systemSeed } from '../../src/base/random.ts'

export interface VoprOptions {
  /** A plan in a file instead of seeds. */
  readonly plan?: string
  readonly from: number
  /** So many seeds, one after the other from `from` on; or as many as so many minutes have room for. */
  readonly seeds?: number
  readonly minutes?: number
  /** Cut what fails down. */
  readonly shrink: boolean
}

export const USAGE = `usage: npm run vopr                          some fresh seeds
       npm run vopr -- SEED                  one seed
       npm run vopr -- --seeds N [--from S]  N seeds, fresh ones or from S on
       npm run vopr -- --minutes M           fresh seeds for so long
       npm run vopr -- --plan FILE           a plan that was printed
       --shrink                              cut what fails down to the least that does`

const SEEDS = 20
const SEED_MAX = 0xffffffff

/** A sentence where the arguments are not understood. */
export function parseArguments(argv: readonly string[]): VoprOptions | string {
  const values = new Map<string, string>()
  let shrink = false
  let seed: number | undefined
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!
    if (word === '--shrink') shrink = true
    else if (['--seeds', '--from', '--minutes', '--plan'].includes(word)) {
      const value = argv[++i]
      if (value === undefined) return `${word} has no value: give one behind it`
      if (values.has(word)) return `${word} is there twice: give it once`
      values.set(word, value)
    } else if (/^\d+$/.test(word)) {
      if (seed !== undefined) return `there are two seeds, ${seed} and ${word}: give one, or --seeds N --from ${seed}`
      seed = Number(word)
      if (seed > SEED_MAX) return `seed is ${word}: give a whole number from 0 to ${SEED_MAX}`
    } else return `"${word}" is not understood`
  }
  return choose(values, seed, shrink)
}

function choose(values: ReadonlyMap<string, string>, seed: number | undefined, shrink: boolean): VoprOptions | string {
  const plan = values.get('--plan')
  const ways = [seed, plan, values.get('--seeds'), values.get('--minutes')].filter((way) => way !== undefined)
  if (ways.length > 1) return 'give one of a seed, --plan, --seeds and --minutes'
  if (values.has('--from') && (seed !== undefined || plan !== undefined)) return '--from goes with --seeds or --minutes'
  const seeds = numberOf(values, '--seeds', 1, SEED_MAX)
  const from = numberOf(values, '--from', 0, SEED_MAX)
  const minutes = numberOf(values, '--minutes', 0.01, 1e6)
  for (const each of [seeds, from, minutes]) if (typeof each === 'string') return each
  if (plan !== undefined) return { plan, from: 0, shrink }
  if (seed !== undefined) return { from: seed, seeds: 1, shrink }
  const first = (from as number | undefined) ?? systemSeed()
  if (minutes !== undefined) return { from: first, minutes: minutes as number, shrink }
  return { from: first, seeds: (seeds as number | undefined) ?? SEEDS, shrink }
}

function numberOf(
  values: ReadonlyMap<string, string>,
  name: string,
  least: number,
  most: number,
): number | string | undefined {
  const text = values.get(name)
  if (text === undefined) return undefined
  const value = Number(text)
  const isWhole = least < 1 && least > 0 ? true : Number.isInteger(value)
  if (text.trim() !== '' && isWhole && value >= least && value <= most) return value
  return `${name} is "${text}": give a ${least > 0 && least < 1 ? '' : 'whole '}number from ${least} to ${most}`
}
