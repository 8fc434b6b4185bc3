// What a packet costs in locks, doorbells, queue operations and switches under connp-t: at saturation, where the queues are
// never empty, and at low load, where each hand-off pays for its own wake-up. The figures are those of the tables that
// `damselfly stat` and the laboratory print, made of runs in virtual time and on threads. Half of the connections arrive
// at the CPU that does not own them, so that packets are handed on at all.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { delivered, difference, type Snapshot, snapshot } from '../src/cli/snapshot.ts'
import { amortized } from '../src/cli/stat/amortized.ts'
import type { LoadOptions } from '../src/device/load/options.ts'
import { loadErrors, readLoad, tellLoad } from '../src/device/load/reading.ts'
import { loadRegions } from '../src/device/load/region.ts'
import { boot, total } from '../src/kernel.ts'
import { measured } from '../src/lab/workloads/server-figures.ts'
import serve, { Port, SERVICES, ServerCounters } from '../src/lab/workloads/server-program.ts'
import { type SimMachine, simulate } from '../src/machine/sim.ts'
import { nudge } from '../src/machine/testing/sim.ts'
import { takeCounts } from '../src/metrics/take.ts'
import type { Discipline } from '../src/net/discipline.ts'
import type { HostConfig } from '../src/stack.ts'

const SERVER = '10.0.0.1'
/** What the design promises of connp-t at saturation, for each delivered packet. */
const DOORBELLS_MAX = 0.05
const CPUS = [0, 1]

function loadOf(load: Partial<LoadOptions>): LoadOptions {
  const { workload = 'exchange' } = load
  const port = { 'bulk-in': Port.sink, 'bulk-out': Port.source }[workload as string] ?? Port.echo
  return {
    name: 'load0',
    cpus: CPUS,
    workload,
    connections: 256,
    server: SERVER,
    port,
    wrong: 0.5,
    begins: false,
    ...load,
  }
}

function hostOf(load: LoadOptions, discipline: Discipline): HostConfig {
  return {
    name: 'server',
    index: 0,
    cpus: CPUS,
    discipline,
    interfaces: [{ name: 'load0', device: { kind: 'load', ...load }, addresses: [`${SERVER}/24`] }],
    routes: [{ prefix: '0.0.0.0/0', interface: 'load0' }],
  }
}

/** What `damselfly stat` says in its line of all CPUs, by the column's title. */
function lineOf(counts: Snapshot): { readonly [column: string]: number } {
  const [head, all] = amortized(counts)
    .split('\n')
    .map((line) => line.trim().split(/ {2,}/))
  assert.equal(all![0], 'all CPUs')
  return Object.fromEntries(head!.slice(1).map((title, i) => [title, Number(all![i + 1])]))
}

/** Runs a load in virtual time, and tells what the tables say of its second half. */
function simulated(options: Partial<LoadOptions>, us: number, discipline: Discipline = 'connp-t') {
  const load = loadOf(options)
  const machine: SimMachine = simulate({
    cpus: 2,
    seed: 11,
    turnUs: 5,
    memoryBytes: 128 * 1024 * 1024,
    regions: loadRegions(load),
  })
  try {
    for (const cpu of machine.cpus) serve(cpu, hostOf(load, discipline))
    const run = (time: number) => void machine.run({ untilUs: machine.clock.now() + time, maxSteps: 100_000_000 })
    run(5000)
    assert.equal(total(machine.memory, ServerCounters, 'listening'), CPUS.length * SERVICES)
    tellLoad(machine.memory, load, 'run')
    for (const cpu of CPUS) nudge(machine, cpu)
    run(us)
    const read = () => ({
      ms: machine.clock.now() / 1000,
      load: readLoad(machine.memory, load),
      broken: 0,
      counts: takeCounts(machine),
    })
    const [early, before] = [snapshot(machine, '', machine.clock.now()), read()]
    run(us)
    const figures = measured(load, before, read())
    assert('metrics' in figures)
    const change = difference(snapshot(machine, '', machine.clock.now()), early)
    const questions = readLoad(machine.memory, load).counts.exchanges - before.load.counts.exchanges
    return { line: lineOf(change), lab: figures.metrics, questions, packets: delivered(change) }
  } finally {
    machine.stop().catch(() => {})
  }
}

describe('for each delivered packet, in virtual time', () => {
  for (const workload of ['exchange', 'short', 'bulk-in', 'bulk-out', 'udp'] as const) {
    test(`connp-t takes no lock and rings 0.05 doorbells at most at saturation: ${workload}`, () => {
      const { line, lab } = simulated({ workload }, workload === 'bulk-out' ? 500 : 4000)
      assert.deepEqual([line.locks, lab.locks], [0, 0])
      assert(line['doorbells rung']! <= DOORBELLS_MAX, `${line['doorbells rung']} doorbells`)
      // The lab tells the same of the same run, to the digits of the table.
      assertSame(line, lab)
      // Each hand-off of a packet is put into a queue and taken out of one.
      assert(line['queue operations']! > 1)
    })
  }

  test('at low load each question that comes to the wrong CPU rings a doorbell, and sleeps are as many as packets', () => {
    const { line, lab, questions, packets } = simulated({ offered: 500, wrong: 1 }, 100_000)
    assertSame(line, lab)
    assert.equal(line.locks, 0)
    const rung = line['doorbells rung']! * (packets / questions)
    assert(rung > 0.8 && rung < 2.2, `${rung} doorbells a question`)
    assert(line.sleeps! > 0.5, `${line.sleeps} sleeps a packet`)
    assert(line['queue operations']! > 2, `${line['queue operations']} queue operations a packet`)
  })

  test('the rivals take their locks for each packet, and the table shows it', () => {
    for (const discipline of ['giant', 'msgp', 'connp-l'] as const) {
      const { line, lab } = simulated({}, 1500, discipline)
      assert(line.locks! > 1, `${discipline}: ${line.locks} locks a packet`)
      assertSame(line, lab)
    }
  })
})

/** What the line of `damselfly stat` and the laboratory's figures have in common. */
function assertSame(line: { readonly [column: string]: number }, lab: { readonly [metric: string]: number }): void {
  const pairs = {
    'doorbells rung': 'doorbells',
    locks: 'locks',
    'queue operations': 'queued',
    sleeps: 'sleeps',
    switches: 'switches',
  }
  for (const [column, metric] of Object.entries(pairs)) {
    assert(Math.abs(line[column]! - lab[metric]!) < 1e-4, `${column}: ${line[column]} and ${lab[metric]}`)
  }
}

test('on threads connp-t takes no lock and rings 0.05 doorbells at most for each delivered packet at saturation', async () => {
  // Of so many closed loops some have always asked, on either CPU.
  const load = loadOf({ connections: 1024 })
  const machine = await boot({
    cpus: CPUS.length,
    program: new URL('../src/lab/workloads/server-program.js', import.meta.url),
    data: hostOf(load, 'connp-t'),
    memoryBytes: 256 * 1024 * 1024,
    regions: loadRegions(load),
  })
  const until = async (holds: () => boolean) => {
    const failed = machine.done.then(() => assert.fail('the machine has ended'))
    failed.catch(() => {})
    while (!holds()) await Promise.race([failed, new Promise((resolve) => setTimeout(resolve, 5))])
  }
  try {
    await until(() => total(machine.memory, ServerCounters, 'listening') === CPUS.length * SERVICES)
    tellLoad(machine.memory, load, 'run')
    await until(() => readLoad(machine.memory, load).ready)
    const begin = readLoad(machine.memory, load).counts.exchanges
    await until(() => readLoad(machine.memory, load).counts.exchanges > begin + 5000)
    const before = snapshot(machine, '', 0)
    await until(() => readLoad(machine.memory, load).counts.exchanges > begin + 50_000)
    const after = snapshot(machine, '', 1)
    assert.deepEqual(loadErrors(readLoad(machine.memory, load)), {})
    const line = lineOf(difference(after, before))
    assert.deepEqual(after.locks, [])
    assert.equal(line.locks, 0)
    assert(line['doorbells rung']! <= DOORBELLS_MAX, `${line['doorbells rung']} doorbells`)
    assert(line['queue operations']! > 1)
  } finally {
    await machine.stop()
  }
})
