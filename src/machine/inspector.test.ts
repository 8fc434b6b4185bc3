// What a debugger is shown, by a session with this thread's own: asynchronous stacks through the queues.
import assert from 'node:assert/strict'
import { console as inspected, type Runtime, Session } from 'node:inspector'
import { after, test } from 'node:test'
import type { Cpu } from '../kernel/cpu.ts'
import { define } from '../kernel/function.ts'
import { EASYNC, Plain } from '../kernel/message.ts'
import { setTraceMode } from '../kernel/trace/mode.ts'
import { boot } from './boot.ts'
import type { InlineMachine } from './inline.ts'
import { InspectorTasks, TASKS_MAX, tasksOf } from './inspector.ts'
import { simulate } from './sim.ts'

const COMMON = { memoryBytes: 8 * 1024 * 1024, trace: 'all', inspect: true } as const

interface Shown {
  readonly title: string
  readonly functions: readonly string[]
}

/** Of the whole file: V8 shows no asynchronous stacks to the second one of a thread. */
const session = new Session()
session.connect()
session.post('Runtime.enable')
session.post('Debugger.enable')
session.post('Debugger.setAsyncCallStackDepth', { maxDepth: 32 })
after(() => session.disconnect())

/** The asynchronous stacks behind the stack of `probe`, the nearest first, while `run` runs. */
async function watched(run: (probe: () => void) => Promise<void> | void): Promise<Shown[][]> {
  const probes: Shown[][] = []
  const onCall = ({ params }: { params: Runtime.ConsoleAPICalledEventDataType }) => {
    if (params.args[0]?.value !== 'probe') return
    const shown: Shown[] = []
    for (let stack = params.stackTrace?.parent; stack !== undefined; stack = stack.parent) shown.push(level(stack))
    probes.push(shown)
  }
  session.on('Runtime.consoleAPICalled', onCall)
  try {
    await run(() => inspected.trace('probe'))
  } finally {
    session.off('Runtime.consoleAPICalled', onCall)
  }
  return probes
}

function level({ description, callFrames }: Runtime.StackTrace): Shown {
  return { title: description ?? '', functions: callFrames.map(({ functionName }) => functionName) }
}

const titles = (shown: readonly Shown[] | undefined) => shown?.map(({ title }) => title)

function relaying(cpu: Cpu, probe: () => void): void {
  if (cpu.index === 2) {
    cpu.ports.create({
      name: 'last',
      dispatch: 'deferred',
      handler: () => {
        probe()
        return 0
      },
    })
  }
  if (cpu.index === 1) {
    cpu.ports.create({
      name: 'first',
      handler: function relay(m) {
        cpu.ports.forward(cpu.ports.lookup('last'), m)
        return EASYNC
      },
    })
  }
  if (cpu.index === 0) {
    cpu.threads.start('asker', function* asking(thread) {
      yield* thread.until(() => cpu.ports.find('first') !== undefined && cpu.ports.find('last') !== undefined)
      asks(cpu)
    })
  }
}

function asks(cpu: Cpu): void {
  cpu.ports.send(cpu.ports.lookup('first'), cpu.ports.allocate(Plain))
}

const RELAYED = ['forwarded by cpu 1 on port last', 'sent by cpu 0 on port first', 'thread started by cpu 0 as asker']

function assertRelayed(shown: readonly Shown[] | undefined): void {
  assert.deepEqual(titles(shown)?.slice(0, 3), RELAYED)
  // From where it was really done.
  assert.ok(shown![0]!.functions.includes('relay'))
  assert.ok(shown![1]!.functions.includes('asks') && shown![1]!.functions.includes('asking'))
}

test('in a simulated machine a handler is shown behind its sender, and that one behind its own', async () => {
  const [shown] = await watched((probe) => {
    const machine = simulate({ ...COMMON, cpus: 3, seed: 1, program: ((cpu: Cpu) => relaying(cpu, probe)) as never })
    machine.run({ untilUs: 100_000 })
    return machine.stop()
  })
  assertRelayed(shown)
})

test('where a handler is stopped by a debugger its sender is shown as well', async () => {
  let paused: Runtime.StackTrace | undefined
  session.once('Debugger.paused', ({ params }) => {
    paused = params.asyncStackTrace
  })
  const program = relayingTo(() => session.post('Debugger.pause'))
  const machine = simulate({ ...COMMON, cpus: 3, seed: 1, program })
  machine.run({ untilUs: 100_000 })
  await machine.stop()
  const shown: Shown[] = []
  for (let stack = paused; stack !== undefined; stack = stack.parent) shown.push(level(stack))
  assertRelayed(shown)
})

test('so it is on an event loop', async () => {
  const [shown] = await watched(async (probe) => {
    let machine: InlineMachine | undefined
    await new Promise<void>((resolve) => {
      const told = () => {
        probe()
        resolve()
      }
      const program = ((cpu: Cpu) => relaying(cpu, told)) as never
      void boot({ ...COMMON, host: 'inline', cpus: 3, signals: false, program }).then((booted) => {
        machine = booted as InlineMachine
      })
    })
    await machine?.stop()
  })
  assertRelayed(shown)
})

test('an answer, a timer, a wakeup and an IPI are shown behind what they came of', async () => {
  const shown = await watched((probe) => {
    const machine = simulate({
      ...COMMON,
      cpus: 2,
      seed: 1,
      program: ((cpu: Cpu) => {
        if (cpu.index === 1) {
          probes.set(cpu, probe)
          cpu.ports.create({ name: 'asked', handler: () => 0 })
          return
        }
        cpu.threads.start('sleeper', function* (thread) {
          yield* thread.sleep(77)
          probe()
        })
        cpu.threads.start('caller', function* calling(thread) {
          yield* thread.until(() => cpu.ports.find('asked') !== undefined)
          const m = cpu.ports.allocate(Plain)
          yield* thread.call(cpu.ports.lookup('asked'), m)
          probe()
          cpu.slab.free(m)
          cpu.timers.after(1000, function late() {
            probe()
            cpu.sleepQueue.wakeup(77)
            cpu.ipi.send(1, PROBE)
          })
        })
      }) as never,
    })
    machine.run({ untilUs: 100_000 })
    return machine.stop()
  })
  assert.deepEqual(
    shown.map((each) => each[0]!.title),
    [
      'answered by cpu 1 on port 17',
      'timer armed by cpu 0 for timer.closure',
      'sent as an IPI by cpu 0 for inspector.probe',
      'woken by cpu 0 on 0x4d',
    ],
  )
  assert.ok(shown[1]![0]!.functions.includes('calling'))
  assert.ok(shown[3]![0]!.functions.includes('late'))
})

const probes = new WeakMap<Cpu, () => void>()
const PROBE = define('inspector.probe', (cpu) => probes.get(cpu)!())

test('what another thread has sent is shown by its name, hop by hop, and so is what is no longer kept', async () => {
  const [shown] = await watched(async (probe) => {
    const machine = simulate({ ...COMMON, cpus: 3, seed: 1, program: relayingTo(probe) })
    // As on a thread that has none of the senders' tasks.
    const own = new InspectorTasks(machine.memory, (console as never as { createTask: never }).createTask)
    machine.cpus[2]!.tracer.tasks = own
    machine.run({ untilUs: 100_000 })
    assert.ok(own.size >= 3)
    await machine.stop()
  })
  assert.match(
    titles(shown)!.join('\n'),
    /^forwarded by cpu 1 on port last: [^\n]*relay[^\n]* \(inspector\.test\.ts:\d+\)\nsent by cpu 0 on port first: asks \(inspector\.test\.ts:\d+\)\nthread started by cpu 0 as asker: relaying \(inspector\.test\.ts:\d+\)/,
  )
})

const relayingTo = (probe: () => void) => ((cpu: Cpu) => relaying(cpu, probe)) as never

test('tasks are kept in a number that does not grow', async () => {
  const machine = simulate({
    ...COMMON,
    cpus: 1,
    seed: 1,
    program: ((cpu: Cpu) => {
      cpu.ports.create({ name: 'busy', dispatch: 'deferred', handler: () => 0 })
      cpu.threads.start('sender', function* (thread) {
        for (let i = 0; i < 2 * TASKS_MAX; i++) {
          cpu.ports.send(cpu.ports.lookup('busy'), cpu.ports.allocate(Plain))
          if (i % 16 === 0) yield* thread.pause()
        }
      })
    }) as never,
  })
  machine.run({ untilUs: 100_000 })
  assert.equal(tasksOf(machine.memory)?.size, TASKS_MAX)
  await machine.stop()
})

test('where there is no inspector, and where nothing is traced, there are no tasks', async () => {
  const plain = simulate({ memoryBytes: COMMON.memoryBytes, cpus: 1, trace: 'all', seed: 1 })
  assert.equal(plain.cpus[0]!.tracer.tasks, undefined)
  await plain.stop()
  const machine = simulate({ ...COMMON, cpus: 1, trace: 'off', seed: 1 })
  const { tracer } = machine.cpus[0]!
  assert.equal(tracer.tasks, undefined)
  setTraceMode(machine.memory, 'all')
  machine.cpus[0]!.turn()
  assert.notEqual(tracer.tasks, undefined)
  setTraceMode(machine.memory, 'off')
  machine.cpus[0]!.turn()
  assert.equal(tracer.tasks, undefined)
  await machine.stop()
})
