// CPUs on the event loops of worker threads. The workers load this file too.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { u32 } from '../base/struct.ts'
import { CpuState } from '../kernel/cpustate.ts'
import { CpuBlock } from '../kernel/layout.ts'
import { message } from '../kernel/message.ts'
import { Instance, InstanceMachine, type InstanceStart } from './instance.ts'

const ROUNDS = 50
const OPTIONS = { cpus: 2, memoryBytes: 16 * 1024 * 1024, seed: 1 }

interface Data {
  readonly start: InstanceStart
  readonly what: 'talk' | 'throw'
}

if (isMainThread) {
  const run = (machine: InstanceMachine, what: Data['what']) =>
    machine.starts.map((start) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { start, what } satisfies Data })
      const messages: unknown[] = []
      worker.on('message', (text) => messages.push(text))
      return { messages, ended: new Promise<number>((resolve) => worker.once('exit', resolve)), worker }
    })
  const state = (machine: InstanceMachine, cpu: number) =>
    Atomics.load(machine.memory.i32, (machine.layout.cpuBlock(cpu) + CpuBlock.offset.state) >> 2)
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
  }

  test('CPUs on event loops wake each other, sleep between, and stop when they are asked', {
    timeout: 30_000,
  }, async () => {
    const machine = new InstanceMachine(OPTIONS)
    const workers = run(machine, 'talk')
    await until(() => workers[0]!.messages.length > 0)
    assert.deepEqual(workers[0]!.messages, [ROUNDS])
    await until(() => state(machine, 0) === CpuState.sleeping && state(machine, 1) === CpuState.sleeping)
    machine.stop()
    assert.deepEqual(await Promise.all(workers.map(({ ended }) => ended)), [0, 0])
    assert.deepEqual([state(machine, 0), state(machine, 1)], [CpuState.stopped, CpuState.stopped])
  })

  test('a CPU that throws stops the others, and says what it was', { timeout: 30_000 }, async () => {
    const machine = new InstanceMachine(OPTIONS)
    const workers = run(machine, 'throw')
    await Promise.all(workers.map(({ ended }) => ended))
    assert.deepEqual(workers[1]!.messages, ['cpu 1 threw in its run loop: mine'])
    assert.deepEqual([state(machine, 0), state(machine, 1)], [CpuState.stopped, CpuState.stopped])
  })
} else {
  const { start, what } = workerData as Data
  const instance = new Instance(start, (failure) => parentPort!.postMessage(failure.message))
  const { cpu, driver } = instance
  // What keeps the thread: the CPU's own timers do not.
  const alive = setInterval(() => {
    if (Atomics.load(cpu.memory.i32, cpu.stateWord) === CpuState.stopped) clearInterval(alive)
  }, 5)
  if (what === 'throw') {
    const fail = () => {
      throw new Error('mine')
    }
    if (cpu.index === 1) cpu.timers.after(20_000, fail)
  } else talk(instance)
  driver.schedule()
}

/** CPU 0 asks, and asks again from a timer when the answer has come: both sleep meanwhile. */
function talk({ cpu }: Instance): void {
  const Note = message('instance.test.note', { round: u32 })
  const note = Note.cursor(cpu.memory)
  const send = (to: string, round: number) => {
    note.at = cpu.ports.allocate(Note)
    note.round = round
    cpu.ports.send(cpu.ports.lookup(to), note.at)
  }
  cpu.ports.create({
    name: `talker ${cpu.index}`,
    handler: (m) => {
      note.at = m
      const { round } = note
      if (cpu.index === 1) send('talker 0', round)
      else if (round === ROUNDS) parentPort!.postMessage(round)
      else cpu.timers.after(200, () => send('talker 1', round + 1))
      return 0
    },
  })
  if (cpu.index !== 0) return
  cpu.threads.start('begins', function* (thread) {
    yield* thread.until(() => cpu.ports.find('talker 1') !== undefined)
    send('talker 1', 1)
  })
}
