// The options of `npm run soak`. For ../soak.ts.
import { parseArgs } from 'node:util'
import { systemSeed } from '../../src/base/random.ts'
import { LEAKS, type Leak } from './leak.ts'

export interface Options {
  /** Of each part. */
  readonly minutes: number
  readonly seed: number
  readonly parts: readonly Part[]
  /** CPUs that own connections. */
  readonly cpus: number
  readonly leak: Leak | undefined
  readonly help: boolean
}

export const PARTS = ['network', 'tun'] as const
export type Part = (typeof PARTS)[number]

const MINUTES_MAX = 7 * 24 * 60
/** What is less is hardly more than the beginning, which does not count. */
const MINUTES_MIN = 2
/** TUN has a queue for each, and the machine one more for Node's programs. */
const CPUS_MAX = 16

export const USAGE = `usage: npm run soak -- [options]

Connections come and go, programs end and begin again, and the discipline changes, for as long as it is told to. Memory, file
descriptors, and each CPU's slabs, ports, timers, threads, sockets and V8 heap must not grow meanwhile, and whenever all is quiet every
count must add up: else the exit code is 1.

  --minutes N    of each part, ${MINUTES_MIN} to ${MINUTES_MAX}  (5)
  --part NAME    network: hosts of one process, over bad links; tun: the kernel at the other end, which takes root  (both)
  --cpus N       1: the stack on the programs' own thread; 2 to ${CPUS_MAX}: so many worker threads, and the programs' besides  (2)
  --seed N       what is by chance  (by chance)
  --leak WHAT    a CPU leaks that on purpose, and the soak must find it: ${LEAKS.join(', ')}
`

/** Something is wrong with the options; the message says what to give. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws UsageError */
export function parseOptions(args: readonly string[]): Options {
  const { minutes, seed, part, cpus, leak, help } = values(args)
  if (part !== undefined && !isPart(part)) {
    throw new UsageError(`--part is "${part}": give ${PARTS.join(' or ')}, or leave it out for both`)
  }
  if (leak !== undefined && !isLeak(leak)) throw new UsageError(`--leak is "${leak}": give ${LEAKS.join(', ')}`)
  return {
    minutes: number('minutes', minutes ?? '5', MINUTES_MIN, MINUTES_MAX),
    seed: seed === undefined ? systemSeed() : whole('seed', seed, 0, 0xffffffff),
    parts: part === undefined ? PARTS : [part],
    cpus: whole('cpus', cpus ?? '2', 1, CPUS_MAX),
    leak,
    help,
  }
}

function isPart(text: string): text is Part {
  return (PARTS as readonly string[]).includes(text)
}

function isLeak(text: string): text is Leak {
  return (LEAKS as readonly string[]).includes(text)
}

function values(args: readonly string[]) {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', short: 'h', default: false } as const
  try {
    return parseArgs({
      args: [...args],
      options: { minutes: text, seed: text, part: text, cpus: text, leak: text, help: flag },
    }).values
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function number(name: string, text: string, low: number, high: number): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN
  if (value >= low && value <= high) return value
  throw new UsageError(`--${name} is "${text}": give a number from ${low} to ${high}`)
}

function whole(name: string, text: string, low: number, high: number): number {
  const value = number(name, text, low, high)
  if (Number.isInteger(value)) return value
  throw new UsageError(`--${name} is "${text}": give a whole number from ${low} to ${high}`)
}
