import assert from 'node:assert/strict'
import { test } from 'node:test'
import { simulated, start } from '../../machine/testing/sim.ts'
import { message } from '../message.ts'
import type { Thread } from '../thread.ts'
import { setTraceMode } from './mode.ts'
import { readWaits } from './waits.ts'

const Question = message('question of waits', {})

/** Makes the thread's port known, waits for the other's, and calls it. */
function* callAfter(thread: Thread, own: string, other: string | undefined): Generator<void, void, void> {
  const { ports } = thread.cpu
  const port = ports.create({ name: own })
  ports.serveBy(port, thread)
  if (other === undefined) {
    yield* thread.wait({}, port)
    yield* thread.delay(1e9)
    return
  }
  yield* thread.until(() => ports.find(other) !== undefined)
  yield* thread.call(ports.lookup(other), ports.allocate(Question))
}

test('the graph of calls names who waits, for what, at which port, and who should answer', async () => {
  const machine = simulated(2, 1)
  setTraceMode(machine.memory, 'all')
  const client = start(machine, 0, (thread) => callAfter(thread, 'client', 'server'))
  const server = start(machine, 1, (thread) => callAfter(thread, 'server', undefined))
  machine.run({ untilUs: 10_000 })
  const { waits, cycles } = readWaits(machine.memory)
  assert.deepEqual(cycles, [])
  assert.equal(waits.length, 1)
  const [wait] = waits
  assert.deepEqual(
    { ...wait, chain: wait!.chain.hops.map(({ kind }) => kind) },
    {
      thread: client.id,
      name: 'test 0',
      cpu: 0,
      message: 'question of waits',
      port: 'server',
      portCpu: 1,
      isQueued: false,
      server: server.id,
      serverName: 'test 1',
      chain: ['call'],
    },
  )
  await machine.stop()
})

test('a cycle of three threads on three CPUs is found once, and who only waits for one of them is not in it', async () => {
  const machine = simulated(3, 2)
  const ring = ['a', 'b', 'c'].map((own, cpu) =>
    start(machine, cpu, (thread) => callAfter(thread, own, ['b', 'c', 'a'][cpu]!)),
  )
  start(machine, 0, (thread) => callAfter(thread, 'outside', 'b'))
  machine.run({ untilUs: 10_000 })
  const { waits, cycles } = readWaits(machine.memory)
  assert.equal(waits.length, 4)
  assert.ok(waits.every(({ isQueued }) => isQueued))
  assert.equal(cycles.length, 1)
  assert.deepEqual([...cycles[0]!].sort(), ring.map(({ id }) => id).sort())
  await machine.stop()
})

test('a machine in which nobody calls has no waits', async () => {
  const machine = simulated(2, 3)
  machine.run({ untilUs: 1000 })
  assert.deepEqual(readWaits(machine.memory), { waits: [], cycles: [] })
  await machine.stop()
})
