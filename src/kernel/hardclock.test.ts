import assert from 'node:assert/strict'
import { test } from 'node:test'
import { simulate } from '../machine/sim.ts'
import { K } from './counters.ts'
import { TICK_US } from './hardclock.ts'

test('every CPU that asked gets the ticks of CPU 0, and nobody else does', async () => {
  const machine = simulate({ cpus: 4, seed: 1 })
  const ticks = [0, 0, 0, 0]
  for (const cpu of machine.cpus.slice(1, 3)) cpu.hardclock.subscribe(() => ticks[cpu.index]!++)
  // Passive IPIs wake nobody: a CPU that is to see every tick stays awake.
  for (const cpu of machine.cpus) cpu.threads.start('awake', (thread) => thread.until(() => false))
  machine.run({ untilUs: 10.5 * TICK_US })
  assert.deepEqual(ticks, [0, 10, 10, 0])
  await machine.stop()
})

test('the clock stands still when nobody asks', async () => {
  const machine = simulate({ cpus: 2, seed: 1 })
  assert.equal(machine.run(), 'idle')
  assert.equal(machine.cpus[0]!.count[K.clockTicks], 0)
  await machine.stop()
})

test('a CPU that sleeps gets its ticks when it wakes', async () => {
  const machine = simulate({ cpus: 2, seed: 1 })
  const cpu = machine.cpus[1]!
  let ticks = 0
  cpu.hardclock.subscribe(() => ticks++)
  machine.run({ untilUs: 5.5 * TICK_US })
  assert.equal(ticks, 0)
  cpu.timers.after(1, () => {})
  machine.cpus[0]!.ipi.flushTo(1)
  machine.run({ untilUs: 5.6 * TICK_US })
  assert.equal(ticks, 5)
  await machine.stop()
})

test('the load of a CPU is the share of its time that it was busy', async () => {
  const machine = simulate({ cpus: 2, seed: 1, stall: 0 })
  const cpu = machine.cpus[1]!
  cpu.hardclock.measureLoad()
  cpu.threads.start('busy', function* (thread) {
    for (;;) yield* thread.pause()
  })
  machine.run({ untilUs: 3.5 * TICK_US })
  assert.equal(cpu.count[K.loadPercent], 100)
  await machine.stop()
})
