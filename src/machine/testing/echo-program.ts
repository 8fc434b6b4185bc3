// What the CPUs of the tests' machines run. Says nothing by itself: each test asks by messages, or by `data`.
import { assert } from '../../base/assert.ts'
import { f64, u32 } from '../../base/struct.ts'
import type { Cpu } from '../../kernel/cpu.ts'
import { define } from '../../kernel/function.ts'
import { message } from '../../kernel/message.ts'
import { FREE_PORT } from '../../kernel/port.ts'

/** Adds two numbers on another CPU. */
export const Add = message('test.add', { a: f64, b: f64, sum: f64, cpu: u32 })

/** How a CPU of a test is to fail. */
export interface Failing {
  readonly cpu: number
  readonly where: 'start' | 'handler' | 'thread' | 'timer' | 'exit' | 'loop'
}

/** Checked on arrival: (number, mix of it, mix of that). What does not fit was seen before it was there. */
export const CHECKED = define('test.echo.checked', (cpu, a, b, c, source) => {
  const { received } = counts(cpu)
  assert(b === mix(a) && c === mix(b), 'an entry is seen whole')
  assert(a === received[source], 'entries arrive in order')
  received[source]!++
})

const COUNTS = Symbol('counts')
export const counts = (cpu: Cpu) =>
  cpu.slot(COUNTS, () => ({ sent: new Array<number>(cpu.cpus).fill(0), received: new Array<number>(cpu.cpus).fill(0) }))

export function sendChecked(cpu: Cpu, target: number): void {
  const { sent } = counts(cpu)
  const a = sent[target]!++
  cpu.ipi.send(target, CHECKED, a, mix(a), mix(mix(a)))
}

function mix(n: number): number {
  return Math.imul(n ^ 0x5bd1e995, 0x01000193) | 0
}

/** Serves `add <cpu>`, and `flood <cpu>`: asked there, it sends as many checked IPIs to all others as it is told, at once. */
export default function echo(cpu: Cpu, data: unknown): void {
  const failing = data as Failing | undefined
  const add = Add.cursor(cpu.memory)
  cpu.ports.create({
    name: `add ${cpu.index}`,
    handler: (request) => {
      add.at = request
      if (failing?.cpu === cpu.index && failing.where === 'handler') throw new Error('cannot add')
      add.sum = add.a + add.b
      add.cpu = cpu.index
      return 0
    },
  })
  cpu.ports.create({
    name: `flood ${cpu.index}`,
    handler: (request) => {
      add.at = request
      const { a } = add
      for (let i = 0; i < a; i++)
        for (let target = 0; target < cpu.cpus; target++) if (target !== cpu.index) sendChecked(cpu, target)
      return 0
    },
  })
  cpu.ports.create({
    name: `count ${cpu.index}`,
    handler: (request) => {
      add.at = request
      add.sum = counts(cpu).received.reduce((sum, n) => sum + n, 0)
      return 0
    },
  })
  if (failing?.cpu === cpu.index) fail(cpu, failing.where)
}

function fail(cpu: Cpu, where: Failing['where']): void {
  if (where === 'start') throw new Error('cannot start')
  if (where === 'timer') {
    cpu.timers.after(1000, () => {
      throw new Error('too late')
    })
  }
  if (where === 'exit') setImmediate(() => process.exit(3))
  if (where === 'loop') {
    setImmediate(() => {
      throw new Error('outside')
    })
  }
  if (where === 'thread') {
    cpu.threads.start('unlucky', function* (thread) {
      yield* thread.pause()
      throw new Error('cannot go on')
    })
  }
  if (where === 'handler') {
    cpu.timers.after(100, () =>
      cpu.ports.send(cpu.ports.lookup(`add ${cpu.index}`), cpu.ports.allocate(Add, FREE_PORT)),
    )
  }
}
