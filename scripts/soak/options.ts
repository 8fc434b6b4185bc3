// The options of `npm run soak`. For ../soak.ts.
import { parseArgs } from 'node:util'
import { systemSeed } from '../../src/base/random.ts'

export interface Options {
  /** Of each part. */
  readonly minutes: number
  readonly seed: number
  readonly parts: readonly Part[]
  readonly help: boolean
}

export const PARTS = ['network', 'tun'] as const
export type Part = (typeof PARTS)[number]

const MINUTES_MAX = 7 * 24 * 60
/** What is less is hardly more than the beginning, which does not count. */
const MINUTES_MIN = 2

export const USAGE = `usage: npm run soak -- [options]

Connections come and go, programs end and begin again, and the discipline changes, for as long as it is told to. Memory, file
descriptors, the machine's slabs and V8's heap must not grow meanwhile: else the exit code is 1.

  --minutes N    of each part, ${MINUTES_MIN} to ${MINUTES_MAX}  (5)
  --part NAME    network: hosts of one process, over bad links; tun: the kernel at the other end, which takes root  (both)
  --seed N       what is by chance  (by chance)
`

/** Something is wrong with the options; the message says what to give. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws UsageError */
export function parseOptions(args: readonly string[]): Options {
  const { minutes, seed, part, help } = values(args)
  if (part !== undefined && !isPart(part)) {
    throw new UsageError(`--part is "${part}": give ${PARTS.join(' or ')}, or leave it out for both`)
  }
  return {
    minutes: number('minutes', minutes ?? '5', MINUTES_MIN, MINUTES_MAX),
    seed: seed === undefined ? systemSeed() : whole('seed', seed, 0xffffffff),
    parts: part === undefined ? PARTS : [part],
    help,
  }
}

function isPart(text: string): text is Part {
  return (PARTS as readonly string[]).includes(text)
}

function values(args: readonly string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', short: 'h', default: false } as const
  try {
    return parseArgs({ args: [...args], options: { minutes: text, seed: text, part: text, help: flag } }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function number(name: string, text: string, low: number, high: number): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (value >= low && value <= high) return value
  throw new UsageError(`--${name} is "${text}": give a number from ${low} to ${high}`)
}

function whole(name: string, text: string, high: number): number {
  const value = number(name, text, 0, high)
  if (Number.isInteger(value)) return value
  throw new UsageError(`--${name} is "${text}": give a whole number from 0 to ${high}`)
}
