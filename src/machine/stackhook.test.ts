// Stacks that go on through the queues, on every host: of what is caught, printed, asserted and thrown.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import type { Cpu } from '../kernel/cpu.ts'
import { Plain as PlainMessage } from '../kernel/message.ts'
import { setTraceMode } from '../kernel/trace/mode.ts'
import { boot } from './boot.ts'
import type { CpuFailure } from './failure.ts'
import type { Machine } from './machine.ts'
import { type SimMachine, simulate } from './sim.ts'
import { StackHook } from './stackhook.ts'
import program, { type Doing } from './testing/trace-program.ts'

const PROGRAM = new URL('./testing/trace-program.js', import.meta.url)
const COMMON = { memoryBytes: 8 * 1024 * 1024, trace: 'all' } as const
const HOSTS = ['threads', 'inline', 'sim'] as const
type Host = (typeof HOSTS)[number]

/** The way from the handler to its sender. */
const CHAIN =
  /\nsent by cpu 0 on port asked, [\d.]+ [µm]?s earlier:\n {4}at ask \(\/.*\/src\/machine\/testing\/trace-program\.ts:\d+:\d+\)\n[\s\S]*asking[\s\S]*thread started by cpu 0 as asker/
const count = (text: string) => text.split('sent by cpu').length - 1

async function booted(host: Host, doing: Doing): Promise<Machine> {
  const machine = await boot({ ...COMMON, host, cpus: 2, signals: false, program: PROGRAM, data: { doing } })
  if (host === 'sim') (machine as SimMachine).run({ untilUs: 10_000 })
  return machine
}

/** What the handler has kept. */
async function seen(machine: Machine): Promise<string> {
  for (;;) {
    const answer = machine.ask(1, 'seen')
    if (machine.cpu === undefined && 'run' in machine) (machine as SimMachine).run({ untilUs: 100_000 })
    const [text] = (await answer) as string[]
    if (text !== undefined) return text
    await new Promise((resolve) => setImmediate(resolve))
  }
}

for (const host of HOSTS) {
  test(`on ${host}, an error that a handler catches tells who sent, with the positions of the sources`, async () => {
    const machine = await booted(host, 'catch')
    const text = await seen(machine)
    await machine.stop()
    assert.match(
      text,
      /^RangeError: caught\n {4}at stackOf \(\/.*\/src\/machine\/testing\/trace-program\.ts:\d+:\d+\)\n {4}at .*asked/,
    )
    assert.match(text, CHAIN)
    assert.equal(count(text), 1)
  })

  test(`on ${host}, console.trace and a failed assertion tell who sent`, async () => {
    for (const doing of ['print', 'assert'] as const) {
      const machine = await booted(host, doing)
      const text = await seen(machine)
      await machine.stop()
      assert.match(text, doing === 'print' ? /^Trace: here\n {4}at printed/ : /^AssertionError \[ERR_ASSERTION\]: /)
      assert.match(text, CHAIN)
      assert.equal(count(text), 1)
    }
  })

  test(`on ${host}, an error that nobody catches tells who sent, once, and has its cause`, async () => {
    let failure: unknown
    try {
      const machine = await booted(host, 'throw')
      await machine.done
    } catch (error) {
      failure = error
    }
    const { cause } = failure as CpuFailure & { cause: Error }
    assert.match(cause.stack ?? '', /^Error: thrown\n {4}at stackOf/)
    assert.match(cause.stack ?? '', CHAIN)
    assert.equal(count(cause.stack ?? ''), 1)
    // On threads what travels is the text.
    if (host === 'threads') return
    assert.match(inspect(cause), /sent by cpu 0 on port asked[\s\S]*\[cause\]: Error: its cause/)
  })
}

test('on the thread that joins a machine a handler tells who sent', async () => {
  const machine = await boot({ ...COMMON, cpus: 2, join: true, signals: false, program: PROGRAM, data: {} })
  try {
    const text = await new Promise<string>((resolve) => {
      const { cpu } = machine
      program(cpu!, {})
      const look = async () => {
        const [first] = (await machine.ask(1, 'seen')) as string[]
        if (first === undefined) setImmediate(look)
        else resolve(first)
      }
      void look()
    })
    assert.match(text, CHAIN)
  } finally {
    await machine.stop()
  }
})

/** Runs `handler` in a handler of CPU 1 of a simulated machine, to which CPU 0 has sent, and leaves the machine running. */
function inHandler(handler: (cpu: Cpu) => void): SimMachine {
  let isDone = false
  const machine = simulate({
    ...COMMON,
    cpus: 2,
    seed: 1,
    program: ((cpu: Cpu) => {
      program(cpu, {})
      if (cpu.index === 1) return
      cpu.threads.start('starter', function* (thread) {
        yield* thread.until(() => cpu.ports.find('late') !== undefined)
        cpu.ports.send(cpu.ports.lookup('late'), cpu.ports.allocate(PlainMessage))
      })
    }) as never,
  })
  machine.cpus[1]!.ports.create({
    name: 'late',
    handler: () => {
      handler(machine.cpus[1]!)
      isDone = true
      return 0
    },
  })
  machine.run({ untilUs: 10_000, until: () => isDone })
  assert.ok(isDone)
  return machine
}

test('outside of handlers nothing is added, and when nothing is traced any more what was there before is back', async () => {
  const before = Error.prepareStackTrace
  let inside = ''
  const machine = inHandler(() => {
    inside = new Error('in').stack ?? ''
  })
  assert.match(inside, /sent by cpu 0 on port late/)
  const outside = new Error('out').stack ?? ''
  assert.match(outside, /^Error: out\n {4}at .*stackhook\.test\.ts:\d+:\d+/)
  assert.equal(count(outside), 0)
  assert.notEqual(Error.prepareStackTrace, before)
  setTraceMode(machine.memory, 'off')
  machine.run({ untilUs: 200_000 })
  for (const cpu of machine.cpus) cpu.turn()
  assert.equal(Error.prepareStackTrace, before)
  setTraceMode(machine.memory, 'all')
  for (const cpu of machine.cpus) cpu.turn()
  assert.notEqual(Error.prepareStackTrace, before)
  await machine.stop()
  assert.equal(Error.prepareStackTrace, before)
})

test("a program's own Error.prepareStackTrace makes the text, which goes on, and what is no text is left as it is", async () => {
  const before = Error.prepareStackTrace
  let form: 'text' | 'sites' | 'trouble' = 'text'
  const own = (error: Error, sites: unknown[]) => {
    if (form === 'trouble') throw new Error('cannot format')
    return form === 'text' ? `mine: ${error.message}` : sites
  }
  Error.prepareStackTrace = own
  try {
    const stacks: unknown[] = []
    const machine = inHandler(() => {
      for (const each of ['text', 'sites', 'trouble'] as const) {
        form = each
        stacks.push(new Error(each).stack)
      }
    })
    await machine.stop()
    assert.match(stacks[0] as string, /^mine: text\nsent by cpu 0 on port late/)
    assert.ok(Array.isArray(stacks[1]))
    assert.match(stacks[2] as string, /^Error: trouble\n {4}at [\s\S]*\nsent by cpu 0 on port late/)
    assert.equal(Error.prepareStackTrace, own)
  } finally {
    Error.prepareStackTrace = before
  }
})

test('who swaps Error.prepareStackTrace for a moment, or for good and calls what was there, gets no endless calls', async () => {
  const before = Error.prepareStackTrace
  try {
    const stacks: string[] = []
    const machine = inHandler((cpu) => {
      const found = Error.prepareStackTrace!
      Error.prepareStackTrace = (_error, sites) => sites
      assert.ok(Array.isArray(new Error('sites').stack))
      Error.prepareStackTrace = found
      // As the tracer does it with each stack that it takes.
      cpu.ports.send(cpu.ports.lookup('asked'), cpu.ports.allocate(PlainMessage))
      stacks.push(new Error('after').stack!)
      Error.prepareStackTrace = (error, sites) => `wrapped ${found(error, sites)}`
      stacks.push(new Error('wrapped').stack!)
    })
    // The mode goes off and on: the wrapper is then what was there before.
    for (const mode of ['off', 'all'] as const) {
      setTraceMode(machine.memory, mode)
      for (const cpu of machine.cpus) cpu.turn()
    }
    stacks.push(new Error('again').stack!)
    await machine.stop()
    assert.match(stacks[0]!, /^Error: after\n[\s\S]*sent by cpu 0 on port late/)
    assert.match(stacks[1]!, /^wrapped Error: wrapped\n[\s\S]*sent by cpu 0 on port late/)
    assert.match(stacks[2]!, /^wrapped Error: again\n {4}at/)
    assert.deepEqual(stacks.slice(0, 2).map(count), [1, 1])
  } finally {
    Error.prepareStackTrace = before
  }
})

test('an error that is read for the first time when nothing runs tells nothing', async () => {
  let kept: Error | undefined
  const machine = inHandler(() => {
    kept = new Error('kept')
  })
  assert.equal(count(kept!.stack ?? ''), 0)
  await machine.stop()
})

test('what cannot be read or written to is thrown as it is', async () => {
  const machine = inHandler((cpu) => {
    const frozen = Object.freeze(new Error('frozen'))
    const secret = new Error('secret')
    Object.defineProperty(secret, 'stack', {
      get() {
        throw new Error('no')
      },
    })
    for (const error of [frozen, secret, null, 7]) cpu.tracer.explain(error)
  })
  await machine.stop()
})

test('frames keep what V8 says of them, and the first line the code of an error of Node', () => {
  const hook = new StackHook()
  const machine = simulate({ ...COMMON, trace: 'off', cpus: 1 })
  const before = Error.prepareStackTrace
  hook.add(machine.cpus[0]!)
  try {
    class Thing {
      readonly stack = new Error('made').stack!
    }
    assert.match(new Thing().stack, /^Error: made\n[^\n]*\n {4}at new Thing \(\/.*\/stackhook\.test\.ts:\d+:\d+\)/)
    assert.throws(
      () => Buffer.alloc('x' as never),
      ({ stack }: Error) => /^TypeError \[ERR_INVALID_ARG_TYPE\]: The "size"[^\n]*\n {4}at/.test(stack!),
    )
    assert.match([1].map(() => new Error('in map').stack!)[0]!, /\n {4}at Array\.map \(<anonymous>\)\n/)
  } finally {
    hook.remove(machine.cpus[0]!)
    void machine.stop()
  }
  assert.equal(Error.prepareStackTrace, before)
})

test('an asynchronous frame is told as one', async () => {
  const machine = simulate({ ...COMMON, cpus: 1 })
  async function later(): Promise<string> {
    await null
    return new Error('later').stack!
  }
  async function waits(): Promise<string> {
    return await later()
  }
  assert.match(await waits(), /\n {4}at async waits \(\/.*\/stackhook\.test\.ts:\d+:\d+\)/)
  await machine.stop()
})

test('of two machines of one thread the one that runs in a handler of the other tells its own chain', async () => {
  let inner = ''
  let outer = ''
  const machine = inHandler(() => {
    const second = inHandler(() => {
      inner = new Error('inner').stack!
    })
    void second.stop()
    outer = new Error('outer').stack!
  })
  await machine.stop()
  assert.equal(count(inner), 1)
  assert.equal(count(outer), 1)
})
