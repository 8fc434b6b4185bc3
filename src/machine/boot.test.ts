import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { describe, test } from 'node:test'
import { KernelError } from '../base/errno.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { Plain } from '../kernel/message.ts'
import { boot } from './boot.ts'
import { CpuFailure } from './failure.ts'
import { InlineMachine } from './inline.ts'
import type { Machine } from './machine.ts'
import type { BootOptions } from './options.ts'
import { SimMachine } from './sim.ts'
import { Add, counts, type Failing, sendChecked } from './testing/echo-program.ts'
import { ThreadsMachine } from './threads.ts'

const SUFFIX = import.meta.url.slice(import.meta.url.lastIndexOf('.'))
const module = (name: string) => new URL(`./testing/${name}${SUFFIX}`, import.meta.url)
const program = module('echo-program')
const small: BootOptions = { cpus: 2, program, memoryBytes: 16 * 1024 * 1024, signals: false }
const HOSTS = ['threads', 'inline', 'sim'] as const

/** Generous, and never waited for when all is well. */
const DEADLINE_MS = 20_000

/** Looks again and again, until it holds. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!condition()) {
    if (performance.now() > deadline) assert.fail(`not in time: ${what}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Lets a machine run until it has ended, whatever host it is on. */
async function finish(machine: Machine): Promise<void> {
  if (machine instanceof SimMachine) machine.run()
  await machine.done
}

interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly output: string
  readonly errors: string
}

/** Runs testing/child.ts; `onUp` when it has booted. Ended by force when it does not end by itself. */
function child(args: readonly string[], onUp: (pid: number) => void = () => {}): Promise<Ended> {
  const process_ = spawn(process.execPath, [module('child').pathname, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  process_.stdout.on('data', (chunk) => {
    const before = output
    output += chunk
    if (!before.includes('up') && output.includes('up')) onUp(process_.pid!)
  })
  process_.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const force = setTimeout(() => process_.kill('SIGKILL'), DEADLINE_MS)
  return new Promise((resolve) => {
    process_.on('close', (code, signal) => {
      clearTimeout(force)
      resolve({ code, signal, output, errors })
    })
  })
}

const refuses = (code: string, pattern: RegExp) => (error: unknown) =>
  error instanceof KernelError && error.code === code && pattern.test(error.message)

describe('boot', () => {
  test('a machine that was stopped leaves no descriptor, no handle and no listener behind', {
    skip: process.platform !== 'linux',
  }, async () => {
    const descriptors = () => readdirSync('/proc/self/fd').length
    const handles = () =>
      process
        .getActiveResourcesInfo()
        .filter((kind) => kind !== 'Immediate')
        .toSorted()
    const run = async (host: (typeof HOSTS)[number]) => {
      for (const join of host === 'threads' ? [false, true] : [false]) {
        const machine = await boot({ ...small, host, join, signals: true })
        if (machine instanceof SimMachine) machine.run()
        await machine.stop()
        await machine.stop()
      }
    }
    for (const host of HOSTS) {
      // The first time loads what stays loaded.
      await run(host)
      await until(() => handles().every((kind) => kind !== 'MessagePort' && kind !== 'Worker'), 'workers have ended')
      const [descriptorsBefore, handlesBefore] = [descriptors(), handles()]
      await run(host)
      await until(() => descriptors() <= descriptorsBefore, `${host}: descriptors are closed`)
      await until(() => handles().length <= handlesBefore.length, `${host}: handles are gone: ${handles()}`)
      assert.deepEqual([process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')], [0, 0])
    }
  })

  for (const host of HOSTS) {
    test(`a process whose machine (${host}) was stopped ends by itself`, async () => {
      const { code, signal, output, errors } = await child([host, 'stop'])
      assert.deepEqual([code, signal, output, errors], [0, null, 'up\n', ''])
    })

    for (const [where, sentence] of [
      ['start', /^cpu 1 threw while it started: cannot start$/],
      ['handler', /^cpu 1 threw in the handler of port "add 1": cannot add$/],
      ['thread', /^cpu 1 threw in thread \d+ "unlucky": cannot go on$/],
      ['timer', /^cpu 1 threw in its run loop: too late$/],
    ] as const) {
      test(`a program that throws (${where}) stops all CPUs of the machine (${host}), which says which and why`, async () => {
        const data: Failing = { cpu: 1, where }
        let machine: Machine | undefined
        const failing = async () => {
          machine = await boot({ ...small, host, data })
          await finish(machine)
        }
        await assert.rejects(
          failing,
          (error) =>
            error instanceof CpuFailure &&
            error.cpu === 1 &&
            sentence.test(error.message) &&
            error.cause instanceof Error,
        )
        if (where === 'start') assert.equal(machine, undefined, 'what throws at once is thrown by boot')
        // On threads one CPU may throw before another has started: that, too, is boot's.
        else assert.ok(machine !== undefined || host === 'threads')
        if (machine === undefined) return
        await machine.settled
        await assert.rejects(machine.stop(), CpuFailure)
        const states = [0, 1].map((cpu) => machine!.memory.i32[machine!.layout.cpuBlock(cpu) >> 2])
        assert.deepEqual(states, [2, 2], 'all CPUs have left their run loops')
      })
    }
  }

  for (const host of ['threads', 'inline']) {
    test(`a failure that nobody looks at ends the process with it (${host})`, async () => {
      const { code, errors } = await child([host, 'forgotten failure'])
      assert.equal(code, 1)
      assert.match(errors, /CpuFailure: cpu 1 threw in thread \d+ "unlucky": cannot go on/)
    })
  }

  for (const [where, sentence] of [
    ['exit', /cpu 1 threw outside of its run loop: its worker thread has ended by itself/],
    ['loop', /cpu 1 threw outside of its run loop: outside/],
  ] as const) {
    test(`a worker thread that ends (${where}) other than by its run loop is a failure`, async () => {
      const data: Failing = { cpu: 1, where }
      await assert.rejects(
        async () => finish(await boot({ ...small, data })),
        (error) => error instanceof CpuFailure && sentence.test(error.message),
      )
    })
  }

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    for (const [host, what] of [
      ['threads', 'run'],
      ['inline', 'run'],
      ['threads', 'two machines'],
    ] as const) {
      test(`${signal} stops the machine in order and then ends the process (${host}, ${what})`, async () => {
        const ended = await child([host, what], (pid) => process.kill(pid, signal))
        assert.deepEqual([ended.code, ended.signal, ended.errors], [null, signal, ''])
      })
    }
  }

  test('a program that listens for the signal itself decides what becomes of the process', async () => {
    const ended = await child(['threads', 'own handler'], (pid) => process.kill(pid, 'SIGTERM'))
    assert.deepEqual([ended.code, ended.signal, ended.output], [0, null, 'up\nhandled\n'])
  })

  test('a machine that is stopped from within one of its own turns stops', async () => {
    for (const host of ['inline', 'sim'] as const) {
      let machine: Machine | undefined
      let stopped = false
      machine = await boot({
        ...small,
        host,
        program: (cpu: Cpu) => {
          cpu.timers.after(1e9, () => {})
          if (cpu.index !== 0) return
          cpu.threads.start('stops', function* (thread) {
            yield* thread.delay(1000)
            stopped = true
            void machine!.stop()
            yield* thread.pause()
            assert.fail('nothing runs after the stop')
          })
        },
      })
      await finish(machine)
      assert.equal(stopped, true)
    }
  })

  describe('errors in plain English', () => {
    for (const cpus of [0, 1.5, Number.NaN, 1000]) {
      test(`${cpus} CPUs`, async () => {
        for (const host of HOSTS)
          await assert.rejects(
            boot({ ...small, host, cpus }),
            refuses('EINVAL', /cpus is .*whole number from 1 to 256/),
          )
      })
    }

    test('impossible options are refused on every host, with what is possible', async () => {
      for (const host of HOSTS) {
        const with_ = (options: Partial<BootOptions>) => boot({ ...small, host, ...options })
        await assert.rejects(with_({ ringEntries: 100 }), refuses('EINVAL', /not a power of two from 16 to 4096/))
        await assert.rejects(with_({ cpus: 32, memoryBytes: 8e6 }), refuses('ENOMEM', /give at least \d+/))
        await assert.rejects(with_({ spinTurns: -1 }), refuses('EINVAL', /spinTurns is -1/))
        await assert.rejects(with_({ seed: 0.5 }), refuses('EINVAL', /seed is 0.5/))
        await assert.rejects(with_({ batches: { ipi: 0 } }), refuses('EINVAL', /batches.ipi is 0/))
        await assert.rejects(with_({ stopTimeoutMs: Number.NaN }), refuses('EINVAL', /stopTimeoutMs is NaN/))
      }
      const host = 'moon' as 'sim'
      await assert.rejects(
        boot({ ...small, host }),
        refuses('EINVAL', /host is "moon": give "threads", "inline" or "sim"/),
      )
      await assert.rejects(
        boot({ ...small, host: 'inline', join: true }),
        refuses('EINVAL', /join is for host "threads"/),
      )
    })

    test('a module that is no program, one that is not there, and a function where a module is needed', async () => {
      for (const host of ['inline', 'sim'] as const) {
        await assert.rejects(
          boot({ ...small, host, program: module('empty-program') }),
          refuses('EINVAL', /no function as its default export/),
        )
      }
      await assert.rejects(boot({ ...small, program: module('empty-program') }), (error) => {
        assert.ok(error instanceof CpuFailure)
        return /while it started: the program .*empty-program.* has no function as its default export/.test(
          error.message,
        )
      })
      await assert.rejects(
        boot({ ...small, program: module('no-such-program') }),
        /while it started: .*no-such-program/,
      )
      await assert.rejects(boot({ ...small, program: () => {} }), refuses('EINVAL', /the program is a module.*new URL/))
    })
  })
})

describe('inline', () => {
  test("the caller's program works with the first CPU, and its event loop goes on meanwhile", async () => {
    const machine = await boot({ ...small, host: 'inline' })
    assert.ok(machine instanceof InlineMachine)
    const { ports } = machine.cpu
    const answers: number[] = []
    const replies = ports.create({
      onReply: (letter) => {
        add.at = letter
        answers.push(add.sum, add.cpu)
        machine.cpu.slab.free(letter)
      },
    })
    const add = Add.cursor(machine.memory)
    for (const cpu of [0, 1]) {
      add.at = ports.allocate(Add, replies.id)
      add.a = 40
      add.b = 2 + cpu
      ports.send(ports.lookup(`add ${cpu}`), add.at)
      machine.kick()
    }
    await until(() => answers.length === 4, 'both answers')
    assert.deepEqual(answers, [42, 0, 43, 1])
    await machine.stop()
  })
})

describe('threads', () => {
  /** Asks a CPU of a machine that the caller has joined. */
  function asker(machine: ThreadsMachine) {
    const cpu = machine.cpu!
    const waiting = new Map<number, (sum: number) => void>()
    const add = Add.cursor(machine.memory)
    const replies = cpu.ports.create({
      onReply: (letter) => {
        add.at = letter
        const { sum } = add
        waiting.get(letter)!(cpu.ports.error(letter) === 0 ? sum : Number.NaN)
        waiting.delete(letter)
        cpu.slab.free(letter)
      },
    })
    return (port: string, a: number, b = 0) => {
      const letter = cpu.ports.allocate(Add, replies.id)
      add.at = letter
      add.a = a
      add.b = b
      const answer = new Promise<number>((resolve) => waiting.set(letter, resolve))
      cpu.ports.send(cpu.ports.lookup(port), letter)
      machine.kick()
      return answer
    }
  }

  test("with `join` the caller's thread is the last CPU: messages go both ways, and each side is woken out of its sleep", async () => {
    const machine = await boot({ ...small, cpus: 3, join: true, spinTurns: 0 })
    assert.ok(machine instanceof ThreadsMachine)
    assert.equal(machine.cpu!.index, 2)
    const ask = asker(machine)
    // One at a time: both sides sleep between.
    for (let i = 0; i < 100; i++) assert.equal(await ask(`add ${i % 2}`, i, 1), i + 1)
    // Many at once.
    const answers = await Promise.all(Array.from({ length: 2000 }, (_, i) => ask(`add ${i % 2}`, i, i)))
    assert.deepEqual(
      answers,
      Array.from({ length: 2000 }, (_, i) => 2 * i),
    )
    const sum = (counter: string) =>
      machine
        .counters()
        .filter(({ set }) => set === 'cpu')
        .map(({ values }) => values[counter]!)
    assert.ok(
      sum('doorbellsReceived').every((count) => count > 0),
      'every CPU was woken by a doorbell',
    )
    await machine.stop()
  })

  test('two full rings face to face, and no index read after its arguments: floods in all directions arrive whole and in order', async () => {
    const machine = await boot({ ...small, cpus: 3, join: true, ringEntries: 16 })
    assert.ok(machine instanceof ThreadsMachine)
    const cpu = machine.cpu!
    const ask = asker(machine)
    const count = 10_000
    const floods = [ask('flood 0', count), ask('flood 1', count)]
    // The caller's own thread as well, without giving its event loop a turn in between.
    for (let i = 0; i < count; i++) for (const target of [0, 1]) sendChecked(cpu, target)
    machine.kick()
    await Promise.all(floods)
    const received = async () => [await ask('count 0', 0), await ask('count 1', 0)]
    let last: number[] = []
    const deadline = performance.now() + DEADLINE_MS
    while (last.some((n) => n < 2 * count) || last.length === 0) {
      assert.ok(performance.now() < deadline, `${last}`)
      last = await received()
    }
    await until(() => counts(cpu).received.reduce((a, b) => a + b, 0) === 2 * count, 'the own CPU has all')
    assert.deepEqual(last, [2 * count, 2 * count])
    await machine.stop()
  })

  test("a CPU that fails while the caller's CPU waits for room in its ring does not hold the caller for ever", async () => {
    const data: Failing = { cpu: 0, where: 'handler' }
    const machine = await boot({ ...small, join: true, ringEntries: 16, data })
    assert.ok(machine instanceof ThreadsMachine)
    const { cpu } = machine
    assert.throws(
      () => {
        // CPU 0 dies of the message that it sends to itself; from then on nobody takes these.
        for (;;) cpu!.ports.send(cpu!.ports.lookup('count 0'), cpu!.ports.allocate(Plain))
      },
      (error) => error instanceof Error && (error.name === 'MachineStopping' || error instanceof KernelError),
    )
    await assert.rejects(machine.done, (error) => error instanceof CpuFailure && error.cpu === 0)
  })

  test('a CPU that does not leave its run loop is ended by force', async () => {
    const machine = await boot({ ...small, program: module('stuck-program'), stopTimeoutMs: 50 })
    await machine.stop()
  })
})
