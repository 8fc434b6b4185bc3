// All that local sockets can do, at random and at once, on several CPUs: at the end everything adds up, and nothing is left. See
// testing/stress-program.ts.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { boot } from '../../machine/boot.ts'
import type { Machine } from '../../machine/machine.ts'
import type { CpuProgram } from '../../machine/options.ts'
import { type SimMachine, simulate } from '../../machine/sim.ts'
import { nudge, sumOf } from '../../machine/testing/sim.ts'
import { imbalances } from '../../metrics/balance.ts'
import { takeCounts } from '../../metrics/take.ts'
import { assertAllFree } from '../../net/testing/host.ts'
import stress, { STRESS_BYTES, type StressData, WORD } from './testing/stress-program.ts'

const SUFFIX = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
const DEADLINE_MS = 30_000
const SEEDS = process.env.DAMSELFLY_LONG === '1' ? 300 : 5

const read = (machine: Machine, word: number): number =>
  Atomics.load(machine.memory.i32, (machine.layout.region('local stress').address >> 2) + word)

/** What does not add up; the test wakes CPUs itself, past their queues. */
const wrong = (machine: Machine) =>
  imbalances(takeCounts(machine), true).filter(({ name }) => !name.startsWith('doorbells'))

/** All of it was done: over several machines, for what is rare. */
class Busy {
  readonly #sums = new Map<string, number>()

  add(machine: Machine): void {
    const { checkedBytes, taken, traces } = WORD
    for (const [name, word] of Object.entries({ checkedBytes, taken, traces })) this.#count(name, read(machine, word))
    for (const counter of COUNTERS) this.#count(counter, sumOf(machine, 'local', counter))
  }

  assert(): void {
    for (const [name, sum] of this.#sums) assert(sum > 0, name)
  }

  #count(name: string, count: number): void {
    this.#sums.set(name, (this.#sums.get(name) ?? 0) + count)
  }
}

const COUNTERS = ['movedIn', 'merged', 'droppedClosed', 'rightsDropped', 'full', 'accepted', 'refused'] as const

function run(cpus: number, seed: number, rounds: number): SimMachine {
  const machine = simulate({
    cpus,
    seed,
    program: stress as CpuProgram,
    data: { rounds } satisfies StressData,
    regions: { 'local stress': STRESS_BYTES },
    memoryBytes: 64 * 1024 * 1024,
    ringEntries: 64,
    checkOrder: true,
  })
  machine.run()
  assert.equal(read(machine, WORD.finished), cpus)
  for (let i = 0; i < 2; i++) {
    for (const cpu of machine.cpus) {
      for (const other of machine.cpus) if (cpu !== other) cpu.ipi.flushTo(other.index)
      nudge(machine, cpu.index)
    }
    machine.run()
  }
  return machine
}

describe('local sockets under all that can be done at once', () => {
  for (const cpus of [1, 2, 5]) {
    test(`lose nothing and leave nothing, on ${cpus} simulated CPUs and with every seed`, () => {
      const busy = new Busy()
      for (let seed = 1; seed <= SEEDS; seed++) {
        const machine = run(cpus, seed, 1500)
        busy.add(machine)
        assert.deepEqual(wrong(machine), [], `seed ${seed}`)
        assert.equal(sumOf(machine, 'cpu', 'orderViolations'), 0)
        machine.stop().catch(() => {})
        assertAllFree(machine)
      }
      if (cpus > 1) busy.assert()
    })
  }

  test('do the same with the same seed', () => {
    const hashes = [3, 3, 4].map((seed) => {
      const machine = run(3, seed, 300)
      machine.stop().catch(() => {})
      return machine.traceHash
    })
    assert.equal(hashes[0], hashes[1])
    assert.notEqual(hashes[0], hashes[2])
  })

  test('are freed by a machine that stops in the middle', () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const machine = simulate({
        cpus: 3,
        seed,
        program: stress as CpuProgram,
        data: { rounds: 100_000 } satisfies StressData,
        regions: { 'local stress': STRESS_BYTES },
        memoryBytes: 64 * 1024 * 1024,
      })
      machine.run({ untilUs: 50 + 100 * seed })
      // What is in the rings is nobody's: they are read before.
      for (const cpu of machine.cpus) cpu.ipi.flush()
      for (const cpu of machine.cpus) cpu.ipi.drain()
      for (const cpu of machine.cpus) cpu.ipi.flush()
      for (const cpu of machine.cpus) cpu.ipi.drain()
      machine.stop().catch(() => {})
      assertAllFree(machine)
    }
  })

  for (const host of ['threads', 'inline'] as const) {
    test(`lose nothing and leave nothing, on ${host === 'threads' ? 'real threads' : 'an event loop'}`, async () => {
      const machine = await boot({
        cpus: 2,
        host,
        program: new URL(`./testing/stress-program${SUFFIX}`, import.meta.url),
        data: { rounds: 8000 } satisfies StressData,
        regions: { 'local stress': STRESS_BYTES },
        memoryBytes: 64 * 1024 * 1024,
        ringEntries: 64,
        checkOrder: true,
        signals: false,
      })
      let failure: unknown
      machine.done.catch((error) => {
        failure = error
      })
      const deadline = performance.now() + DEADLINE_MS
      while (read(machine, WORD.finished) < 2 || wrong(machine).length > 0) {
        if (failure !== undefined) throw failure
        if (performance.now() > deadline) assert.fail(`not in time: ${JSON.stringify(wrong(machine))}`)
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      assert(read(machine, WORD.checkedBytes) > 0 && read(machine, WORD.taken) > 0)
      await machine.stop()
      assert.equal(sumOf(machine, 'cpu', 'orderViolations'), 0)
    })
  }
})
