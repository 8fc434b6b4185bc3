// Provenance on real threads: a chain over three CPUs that are worker threads, in the failure that the machine's owner sees; and of a CPU
// that is gone.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ChainReader, readPorts, readQueue } from '../src/kernel.ts'
import { boot } from '../src/machine/boot.ts'
import type { CpuFailure } from '../src/machine/failure.ts'

const program = new URL('./trace-program.js', import.meta.url)
const options = { cpus: 3, program, memoryBytes: 16 * 1024 * 1024, signals: false, trace: 'all' } as const

test('what a CPU throws, its owner is told with the chain over three threads', async () => {
  const machine = await boot({ ...options, data: 'throw' })
  const failure = await machine.done.then(
    () => assert.fail('it throws'),
    (error: CpuFailure) => error,
  )
  assert.equal(failure.cpu, 2)
  const { stack = '' } = failure.cause as Error
  assert.match(
    stack,
    /^Error: the third refuses\n[\s\S]*\nforwarded by cpu 1 on port third, .*\n[\s\S]*second[\s\S]*\nsent by cpu 0 on port second, .*\n {4}at first \(.*trace-program\.ts:\d+:\d+\)/,
  )
})

test('a machine whose sender has died still tells what it has sent, to whoever has its memory', async () => {
  const machine = await boot({ ...options, data: 'die' })
  await assert.rejects(machine.done, /the first dies/)
  const third = readPorts(machine.memory).find(({ name }) => name === 'box')!
  const [waiting] = readQueue(machine.memory, third.id, 10)
  assert.deepEqual(
    waiting?.chain.hops.map(({ kind, cpu }) => `${kind} ${cpu}`),
    ['send 0', 'thread 0'],
  )
  assert.equal(waiting?.chain.hops[0]?.frames[0]?.function, 'first')
  const [hop] = waiting!.chain.hops
  assert.deepEqual(new ChainReader(machine.memory).hop(hop!.id), hop)
})
