// Boots a machine and runs cases of the table on it. For test/cases.test.ts.
import assert from 'node:assert/strict'
import { wireRegions } from '../../src/device/wire.ts'
import type { Cpu } from '../../src/kernel/cpu.ts'
import { boot, type Machine, type SimMachine, SlabCounters, simulate, total } from '../../src/kernel.ts'
import { TcpCounters } from '../../src/net/counters.ts'
import { BOARD, BOARD_BYTES, Board } from './board.ts'
import type { Setting } from './case.ts'
import play, { type PlayData, wireOf } from './player.ts'
import { TABLE } from './table.ts'

/** What became of a case; undefined: it has passed. */
export interface Result {
  readonly name: string
  readonly failure: string | undefined
}

/** What the slab gives for a connection's record (net/tcp/pcb.ts). */
const RECORD_BYTES = 1024
/** Cases whose programs have much under way, all the time. */
const BUSY = [
  'programs on every CPU share a port, and those of every CPU connect to it',
  '200 connections, each ended when and how it happens to be',
  '150 connections at once, each with bytes of its own',
  '500 short connections, one after the other',
] as const
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

/** Stops a machine when its programs have opened so many connections: whatever is under way then is under way. */
export async function stopInside(setting: Setting, seed: number, opened: number): Promise<void> {
  const machine = await start({ setting, names: BUSY }, seed)
  const board = new Board(machine.memory)
  const since = Date.now()
  machine.done.catch(() => {})
  const isBusy = () => total(machine.memory, TcpCounters, 'opened') >= opened
  if ('steps' in machine) (machine as SimMachine).run({ until: () => isBusy() || board.isOver })
  while (!isBusy() && !board.isOver) {
    assert(Date.now() - since < STUCK_MS, 'connections are opened')
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  assert(!board.isOver, `the programs are at work: ${board.failure}`)
  await machine.stop()
  if ('cpus' in machine) assertNoConnections((machine as SimMachine).cpus)
}

/** No connection's record is left. Messages and packets that were on their way to a CPU that has ended go with the machine. */
function assertNoConnections(cpus: readonly Cpu[]): void {
  for (const { slab } of cpus) slab.flush()
  for (const { slab } of cpus) slab.collect()
  const records = cpus.flatMap(({ slab }) => slab.read()).filter(({ objectBytes }) => objectBytes === RECORD_BYTES)
  assert.deepEqual(
    records.filter(({ live }) => live > 0),
    [],
  )
}

async function start(data: PlayData, seed: number): Promise<Machine> {
  const { setting } = data
  const cpus = setting.owners + 1
  const regions = { ...wireRegions(wireOf(setting)), [BOARD]: BOARD_BYTES }
  const options = { cpus, regions, memoryBytes: MEMORY, seed, data }
  if (setting.host === 'sim')
    return simulate({ ...options, program: play as never, checkOrder: true, checkLocks: true })
  const program = new URL('./player.js', import.meta.url)
  return await boot({ ...options, host: setting.host, program, signals: false, stopTimeoutMs: 10_000 })
}

/** All memory is free again. */
function assertFree(machine: Machine): void {
  const sum = (counter: keyof typeof SlabCounters.index) => total(machine.memory, SlabCounters, counter)
  assert.equal(sum('allocated') - sum('freed'), 0, 'objects of memory that the machine leaves behind')
}
