import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { boot } from './boot.ts'
import type { Machine } from './machine.ts'

const program = new URL('./testing/answer-program.js', import.meta.url)

async function on(host: 'threads' | 'inline', body: (machine: Machine) => Promise<void>): Promise<void> {
  const machine = await boot({ host, cpus: 2, program, signals: false })
  try {
    await body(machine)
  } finally {
    await machine.stop()
  }
}

for (const host of ['threads', 'inline'] as const) {
  describe(`a question to a CPU, ${host}`, () => {
    test('is answered by that CPU, also later', async () => {
      await on(host, async (machine) => {
        const answers = await Promise.all([0, 1, 0].map((cpu, i) => machine.ask(cpu, { add: i })))
        assert.deepEqual(answers, [
          { cpu: 0, sum: 0 },
          { cpu: 1, sum: 1 },
          { cpu: 0, sum: 2 },
        ])
        assert.deepEqual(await machine.ask(1, { later: 3 }), { cpu: 1, turns: 3 })
      })
    })

    test('that it refuses or throws at is an error with its code', async () => {
      await on(host, async (machine) => {
        await assert.rejects(machine.ask(0, 'refuse'), { code: 'EBUSY', message: 'busy: try later' })
        await assert.rejects(machine.ask(0, 'throw'), { message: 'thrown' })
        assert.deepEqual(await machine.ask(0, { add: 1 }), { cpu: 0, sum: 1 })
      })
    })

    test('that is not answered when the machine stops is canceled, and so is one after that', async () => {
      await on(host, async (machine) => {
        const refused = assert.rejects(machine.ask(1, 'never'), { code: 'ECANCELED' })
        await machine.stop()
        await refused
        await assert.rejects(machine.ask(1, { add: 1 }), { code: 'ECANCELED' })
      })
    })

    test('of a program that answers nothing is an error', async () => {
      const empty = new URL('./testing/echo-program.js', import.meta.url)
      const machine = await boot({ host, cpus: 1, program: empty, signals: false })
      await assert.rejects(machine.ask(0, 1), { code: 'EOPNOTSUPP' })
      await machine.stop()
    })
  })
}
