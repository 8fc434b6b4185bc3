// All verbs of the kernel at once, on 64 simulated CPUs and on real threads; at the end all accounts must balance.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Cpu } from '../src/kernel/cpu.ts'
import { readHandoffs } from '../src/kernel/handoff.ts'
import { Plain } from '../src/kernel/message.ts'
import { boot } from '../src/machine/boot.ts'
import type { Machine } from '../src/machine/machine.ts'
import type { CpuProgram } from '../src/machine/options.ts'
import { type SimMachine, simulate } from '../src/machine/sim.ts'
import { simulated, sum, sumOf } from '../src/machine/testing/sim.ts'
import stress, { STRESS_BYTES, type StressData, WORD } from '../src/machine/testing/stress-program.ts'

const SUFFIX = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
const DEADLINE_MS = 30_000

const wordOf = (machine: Machine, word: number): number => (machine.layout.region('stress').address >> 2) + word
const read = (machine: Machine, word: number): number => Atomics.load(machine.memory.i32, wordOf(machine, word))

/** What must hold of any machine that has come to rest. */
function assertBalanced(machine: Machine): void {
  assert.equal(sum(machine, 'messagesSent'), sum(machine, 'messagesReplied') + sum(machine, 'messagesDropped'))
  assert.equal(sum(machine, 'ipisSent'), sum(machine, 'ipisReceived'))
  assert.equal(sum(machine, 'timersArmed'), sum(machine, 'timersFired') + sum(machine, 'timersCancelled'))
  assert.equal(sum(machine, 'threadsStarted'), sum(machine, 'threadsExited'))
  assert.equal(sum(machine, 'orderViolations'), 0)
  for (const counts of [
    ['allocated', 'freed'],
    ['freedRemote', 'freedElsewhere'],
  ] as const) {
    assert.equal(sumOf(machine, 'slab', counts[0]), sumOf(machine, 'slab', counts[1]), counts.join(' = '))
  }
  assert.equal(read(machine, WORD.live), 0)
  let freeEnqueued = 0
  let freeDequeued = 0
  for (const { point, source, target, enqueued, dequeued, dropped } of readHandoffs(machine.memory)) {
    // Who frees does not say so to the owner: that point balances over all CPUs.
    if (point === 'free') {
      freeEnqueued += enqueued
      freeDequeued += dequeued
    } else assert.equal(enqueued, dequeued + dropped, `${point} from cpu ${source} to cpu ${target}`)
  }
  assert.equal(freeEnqueued, freeDequeued)
  for (const word of [WORD.mutex, WORD.spin, WORD.rwlock, WORD.token, WORD.inside]) assert.equal(read(machine, word), 0)
}

/** All verbs were in use. */
function assertBusy(machine: Machine): void {
  const counters = [
    'messagesForwarded',
    'messagesDropped',
    'messagesAborted',
    'threadsMigrated',
    'threadSleeps',
  ] as const
  for (const counter of [...counters, 'wakeups', 'signals', 'cpusyncs', 'ipisPassive', 'timersCancelled'] as const) {
    assert.ok(sum(machine, counter) > 0, counter)
  }
  assert.ok(read(machine, WORD.receipts) > 0)
}

function simulatedStress(cpus: number, seed: number, data: StressData): SimMachine {
  const machine = simulated(cpus, seed, {
    program: stress as CpuProgram,
    data,
    regions: { stress: STRESS_BYTES },
    memoryBytes: 200 * 1024 * 1024,
    ringEntries: 64,
  })
  const quiet = () => sum(machine, 'messagesSent') === sum(machine, 'messagesReplied') + sum(machine, 'messagesDropped')
  machine.run({ until: () => read(machine, WORD.finished) === cpus })
  // The travellers arrive, what is kept is answered, what is parked is swept.
  do machine.run({ untilUs: machine.clock.now() + 5000 })
  while (!quiet() || machine.cpus.some((cpu) => cpu.threads.size !== 1))
  Atomics.store(machine.memory.i32, wordOf(machine, WORD.phase), 1)
  assert.equal(machine.run(), 'idle')
  return machine
}

describe('stress', () => {
  for (const seed of [1, 2, 3]) {
    test(`all verbs on 64 simulated CPUs: at the end all accounts balance (seed ${seed})`, () => {
      const machine = simulatedStress(64, seed, { rounds: 60, rare: 20 })
      assertBusy(machine)
      // Passive IPIs may lie in a ring whose target sleeps.
      for (const cpu of machine.cpus) for (const other of machine.cpus) if (cpu !== other) cpu.ipi.flushTo(other.index)
      machine.run()
      for (const cpu of machine.cpus) {
        cpu.slab.collect()
        assert.deepEqual([cpu.slab.live, cpu.timers.armed, cpu.sleepQueue.size, cpu.threads.size], [0, 0, 0, 0])
        for (const { live } of cpu.slab.read()) assert.equal(live, 0)
      }
      assertBalanced(machine)
      void machine.stop()
    })
  }

  test('the same seed gives the same run, and another seed another', () => {
    const hashes = [7, 7, 8].map((seed) => {
      const machine = simulatedStress(5, seed, { rounds: 100, rare: 10 })
      const { traceHash } = machine
      void machine.stop()
      return traceHash
    })
    assert.equal(hashes[0], hashes[1])
    assert.notEqual(hashes[0], hashes[2])
  })

  test('256 CPUs boot and exchange messages, each with its neighbours', () => {
    const seen = new Array<number>(256).fill(0)
    const machine = simulate({
      cpus: 256,
      seed: 1,
      ringEntries: 16,
      memoryBytes: 1600 * 1024 * 1024,
      checkOrder: true,
      program: (cpu: Cpu) => {
        cpu.ports.create({
          name: `neighbour ${cpu.index}`,
          handler: () => {
            seen[cpu.index]!++
            return cpu.index
          },
        })
        cpu.threads.start('asks', function* (thread) {
          for (const step of [1, 255, 128]) {
            const target = (cpu.index + step) % 256
            yield* thread.until(() => cpu.ports.find(`neighbour ${target}`) !== undefined)
            const request = cpu.ports.allocate(Plain, thread.port.id)
            assert.equal(yield* thread.call(cpu.ports.lookup(`neighbour ${target}`), request), target)
            cpu.slab.free(request)
          }
        })
      },
    })
    assert.equal(machine.run(), 'idle')
    assert.deepEqual(new Set(seen), new Set([3]))
    void machine.stop()
  })

  test('all verbs on two real threads: at the end all accounts balance', async () => {
    const machine = await boot({
      cpus: 2,
      program: new URL(`../src/machine/testing/stress-program${SUFFIX}`, import.meta.url),
      data: { rounds: 6000, rare: 20 } satisfies StressData,
      regions: { stress: STRESS_BYTES },
      memoryBytes: 64 * 1024 * 1024,
      ringEntries: 64,
      checkOrder: true,
      signals: false,
    })
    const deadline = performance.now() + DEADLINE_MS
    let failure: unknown
    machine.done.catch((error) => {
      failure = error
    })
    const until = async (condition: () => boolean, what: string) => {
      while (!condition()) {
        if (failure !== undefined) throw failure
        if (performance.now() > deadline) assert.fail(`not in time: ${what}`)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    }
    const rest = () =>
      sum(machine, 'messagesSent') === sum(machine, 'messagesReplied') + sum(machine, 'messagesDropped') &&
      sum(machine, 'threadsStarted') === sum(machine, 'threadsExited') + 2
    await until(() => read(machine, WORD.finished) === 2, 'all rounds are done')
    await until(rest, 'all is answered, and the travellers have arrived')
    Atomics.store(machine.memory.i32, wordOf(machine, WORD.phase), 1)
    await until(() => sum(machine, 'threadsStarted') === sum(machine, 'threadsExited'), 'the threads have ended')
    await until(() => sum(machine, 'ipisSent') === sum(machine, 'ipisReceived'), 'no IPI is on its way')
    await machine.stop()
    assertBusy(machine)
    assertBalanced(machine)
  })
})
