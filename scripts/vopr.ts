// The world simulator: whole networks of hosts in virtual time, in which everything that can go wrong does, by a seed (test/world/).
// `npm run vopr -- SEED` runs one again, byte for byte.
//
// Exit code: 0 all worlds hold, 1 some do not, 2 the arguments are not understood, 130 interrupted.
import { readFileSync } from 'node:fs'
import { draw } from '../test/world/draw.ts'
import { complaintOf, type WorldPlan } from '../test/world/plan.ts'
import { parseArguments, USAGE, type VoprOptions } from './vopr/argument.ts'
import { runAll, type Trial } from './vopr/campaign.ts'

const INTERRUPTED = 130

function* trialsOf(options: VoprOptions): Generator<Trial> {
  if (options.plan !== undefined) {
    yield { name: options.plan, again: `--plan ${options.plan}`, plan: readPlan(options.plan) }
    return
  }
  const until = options.minutes === undefined ? Number.POSITIVE_INFINITY : performance.now() + options.minutes * 60_000
  const count = options.seeds ?? Number.POSITIVE_INFINITY
  for (let i = 0; i < count && performance.now() < until; i++) {
    const seed = (options.from + i) >>> 0
    yield { name: `seed ${seed}`, again: `${seed}`, plan: draw(seed) }
  }
}

/** @throws Error with a sentence where it is none */
function readPlan(path: string): WorldPlan {
  const plan = JSON.parse(readFileSync(path, 'utf8')) as WorldPlan
  const complaint = complaintOf(plan)
  if (complaint !== undefined) throw new Error(complaint)
  return plan
}

async function main(argv: readonly string[]): Promise<number> {
  const options = parseArguments(argv)
  if (typeof options === 'string') {
    console.error(`${options}\n${USAGE}`)
    return 2
  }
  if (options.plan !== undefined) {
    try {
      readPlan(options.plan)
    } catch (error) {
      console.error(`${options.plan} is no plan: ${error instanceof Error ? error.message : error}`)
      return 2
    }
  }
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  if (options.plan === undefined && options.seeds !== 1) console.log(`seeds from ${options.from}`)
  const { failed, isInterrupted } = await runAll(trialsOf(options), {
    shrink: options.shrink,
    isVerbose: options.plan !== undefined || options.seeds === 1,
    isInterrupted: () => stop.signal.aborted,
    print: (line) => console.log(line),
    ...(options.seeds === undefined ? {} : { count: options.seeds }),
  })
  if (isInterrupted) return INTERRUPTED
  return failed.length > 0 ? 1 : 0
}

process.exitCode = await main(process.argv.slice(2))
