// Boots a machine and runs cases of the table on it. For test/cases.test.ts.
import assert from 'node:assert/strict'
import { wireRegions } from '../../src/device/wire.ts'
import { boot, type Machine, type SimMachine, SlabCounters, simulate, total } from '../../src/kernel.ts'
import { BOARD, BOARD_BYTES, Board } from './board.ts'
import type { Setting } from './case.ts'
import play, { type PlayData, wireOf } from './player.ts'
import { TABLE } from './table.ts'

/** What became of a case; undefined: it has passed. */
export interface Result {
  readonly name: string
  readonly failure: string | undefined
}

/** A machine on which nothing goes on for so long is stuck: its own waiting ends before. */
const STUCK_MS = 60_000
const MEMORY = 96 * 1024 * 1024
const SIM_STEPS = 200_000_000

/** Cases of the table that mean something in a setting; without those that take seconds there, unless `isLong`. */
export function casesFor(setting: Setting, isLong: boolean): readonly string[] {
  return TABLE.filter(
    ({ where, isSlow }) => (where === undefined || where(setting)) && (isLong || isSlow !== true),
  ).map(({ name }) => name)
}

/** Runs the cases one after the other, on one machine until one fails, and then those behind it on another. */
export async function run(setting: Setting, names: readonly string[], seed: number): Promise<readonly Result[]> {
  const results: Result[] = []
  while (results.length < names.length) {
    const left = names.slice(results.length)
    const { passed, failure } = await runOnce({ setting, names: left }, seed)
    results.push(...left.slice(0, passed).map((name) => ({ name, failure: undefined })))
    if (failure !== undefined) results.push({ name: names[results.length]!, failure })
  }
  return results
}

async function runOnce(data: PlayData, seed: number): Promise<{ passed: number; failure: string | undefined }> {
  const machine = await start(data, seed)
  const board = new Board(machine.memory)
  let failure: string | undefined
  let broken: unknown
  machine.done.catch((error) => {
    broken = error
  })
  if ('steps' in machine) (machine as SimMachine).run({ until: () => board.isOver, maxSteps: SIM_STEPS })
  let last = -1
  let since = Date.now()
  while (!board.isOver && broken === undefined) {
    const progress = board.step
    if (progress !== last) [last, since] = [progress, Date.now()]
    if (Date.now() - since > STUCK_MS) {
      failure = 'the machine is stuck: nothing is done, and nobody says what he waits for'
      break
    }
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
  if (board.isFailed) failure = board.failure
  try {
    await machine.stop()
    if (failure === undefined) assertFree(machine)
  } catch (error) {
    failure ??= `the machine stops: ${error instanceof Error ? (error.stack ?? error.message) : error}`
  }
  // What is wrong only when the machine stops is the last case's.
  const passed = failure !== undefined && board.passed === data.names.length ? board.passed - 1 : board.passed
  return { passed, failure }
}

async function start(data: PlayData, seed: number): Promise<Machine> {
  const { setting } = data
  const cpus = setting.owners + 1
  const regions = { ...wireRegions(wireOf(setting)), [BOARD]: BOARD_BYTES }
  const options = { cpus, regions, memoryBytes: MEMORY, seed, data }
  if (setting.host === 'sim') return simulate({ ...options, program: play as never, checkOrder: true })
  const program = new URL('./player.js', import.meta.url)
  return await boot({ ...options, host: setting.host, program, signals: false, stopTimeoutMs: 10_000 })
}

/** All memory is free again. */
export function assertFree(machine: Machine): void {
  const sum = (counter: keyof typeof SlabCounters.index) => total(machine.memory, SlabCounters, counter)
  assert.equal(sum('allocated') - sum('freed'), 0, 'objects of memory that the machine leaves behind')
}
