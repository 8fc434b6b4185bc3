// Runs worlds one after the other, and says how they went.
import { setImmediate } from 'node:timers/promises'
import { WorldFailure } from '../../test/world/failure.ts'
import type { WorldPlan } from '../../test/world/plan.ts'
import { type Shrunk, shrink } from '../../test/world/shrink.ts'
import { World, type WorldReport } from '../../test/world/world.ts'
import { commit } from './commit.ts'

const PROGRESS_MS = 5000
const SHRINK_MS = 600_000

/** A world to be run, and how the same one is had again. */
export interface Trial {
  readonly name: string
  readonly again: string
  readonly plan: WorldPlan
}

export interface Summary {
  readonly worlds: number
  readonly failed: readonly string[]
  readonly isInterrupted: boolean
}

export interface CampaignOptions {
  readonly shrink: boolean
  /** Each world is told of by itself. */
  readonly isVerbose: boolean
  readonly isInterrupted: () => boolean
  readonly print: (line: string) => void
  /** How many there will be, where that is known. */
  readonly count?: number
}

export async function runAll(trials: Iterable<Trial>, options: CampaignOptions): Promise<Summary> {
  const { print, isInterrupted, count } = options
  const began = performance.now()
  let told = began
  const failed: string[] = []
  const sums = { worlds: 0, virtualUs: 0, bytes: 0, turns: 0, whole: 0, cut: 0 }
  for (const trial of trials) {
    const outcome = await runOne(trial.plan, isInterrupted)
    if (isInterrupted()) break
    sums.worlds++
    if (outcome instanceof WorldFailure) {
      failed.push(trial.name)
      await tell(trial, outcome, options)
    } else {
      sums.virtualUs += outcome.virtualUs
      sums.bytes += outcome.bytes
      sums.turns += outcome.turns
      sums.whole += outcome.whole
      sums.cut += outcome.failed
      if (options.isVerbose) print(`${trial.name} holds: ${describe(outcome)}`)
    }
    if (performance.now() - told > PROGRESS_MS) {
      told = performance.now()
      const seconds = (told - began) / 1000
      const of = count === undefined ? '' : ` of ${count}`
      print(`${sums.worlds}${of} worlds, ${failed.length} failed, ${(sums.worlds / seconds).toFixed(1)} a second`)
    }
    await setImmediate()
  }
  const seconds = (performance.now() - began) / 1000
  const hours = (sums.virtualUs / 3.6e9).toFixed(1)
  print(
    `${sums.worlds} worlds in ${seconds.toFixed(1)} s, ${failed.length} failed: ${hours} hours of virtual time, ${sums.turns} turns, ` +
      `${sums.bytes} bytes; ${sums.whole} ends of streams went well, ${sums.cut} were cut or failed as they should`,
  )
  if (failed.length > 0) print(`failed: ${failed.join(', ')}`)
  return { worlds: sums.worlds, failed, isInterrupted: isInterrupted() }
}

async function runOne(plan: WorldPlan, isInterrupted: () => boolean): Promise<WorldReport | WorldFailure> {
  try {
    return await new World(plan, {}, isInterrupted).run()
  } catch (error) {
    return WorldFailure.of(error)
  }
}

async function tell(trial: Trial, failure: WorldFailure, options: CampaignOptions): Promise<void> {
  const { print, isInterrupted } = options
  print(`${trial.name} fails at commit ${commit()}: ${failure.kind}`)
  print(`  ${failure.message.replaceAll('\n', '\n  ')}`)
  print(`again: npm run vopr -- ${trial.again}`)
  if (!options.shrink) {
    print(`smaller: npm run vopr -- ${trial.again} --shrink`)
    return
  }
  const until = performance.now() + SHRINK_MS
  const shrunk = await shrink(trial.plan, failure, {
    fails: async (plan) => {
      const outcome = await runOne(plan, isInterrupted)
      return outcome instanceof WorldFailure ? outcome : undefined
    },
    goesOn: () => performance.now() < until && !isInterrupted(),
  })
  tellShrunk(shrunk, print)
}

function tellShrunk({ plan, failure, runs, isLeast }: Shrunk, print: (line: string) => void): void {
  print(`${isLeast ? 'the least plan' : 'the smallest plan so far'} that fails like this, of ${runs} that were tried:`)
  print(JSON.stringify(plan))
  print(`  ${failure.message.replaceAll('\n', '\n  ')}`)
  print('again: save that line to a file, and npm run vopr -- --plan FILE')
}

function describe({ hash, virtualUs, turns, whole, failed, bytes, echoed, changes }: WorldReport): string {
  const parts = [
    `hash ${hash}`,
    `${(virtualUs / 1e6).toFixed(1)} s`,
    `${turns} turns`,
    `${bytes} bytes`,
    `${whole} ends well, ${failed} cut or failed`,
    `${echoed} datagrams back`,
    `${changes} changes of discipline`,
  ]
  return parts.join(', ')
}
