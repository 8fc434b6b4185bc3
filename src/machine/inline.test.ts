import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InlineMachine } from './inline.ts'

test('a timer that is armed outside of a turn counts from now, and not from the last turn', async () => {
  const machine = new InlineMachine({ cpus: 1, memoryBytes: 8 * 1024 * 1024 }, undefined)
  const { cpu } = machine
  // The machine has nothing to do: its time stands still.
  while (cpu.clock.now() < 60_000) await new Promise((resolve) => setImmediate(resolve))
  const armed = cpu.clock.now()
  const fired = new Promise<number>((resolve) => cpu.timers.after(50_000, () => resolve(cpu.clock.now())))
  machine.kick()
  assert.ok((await fired) - armed >= 50_000)
  await machine.stop()
})
