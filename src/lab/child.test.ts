import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { until } from '../../test/command.ts'
import { runInChild } from './child.ts'
import type { Parameter } from './experiment.ts'
import type { Plan } from './plan.ts'
import { cell } from './sweep.ts'
import { FAKE_WORKLOADS } from './testing/fake.ts'
import { STARTS } from './testing/workloads/fake.ts'

const plan: Plan = { seed: 1, repetitions: 1, seconds: 0.01, full: false, experiments: [] }
const never = new AbortController().signal

let root: string
before(() => {
  root = mkdtempSync(join(tmpdir(), 'df-'))
})
after(() => rmSync(root, { recursive: true, force: true }))

function run(how: Parameter, signal = never, limitSeconds = 60, workload = 'fake') {
  const step = { experiment: 'e', cell: cell(workload, { how, size: 2 }), repetition: 0, seed: 99 }
  return runInChild(step, plan, signal, FAKE_WORKLOADS, limitSeconds)
}

describe('a cell in a process of its own', { concurrency: 2 }, () => {
  test('gets its parameters, its time and its seed, and may print what it likes', async () => {
    assert.deepEqual(await run('well'), {
      metrics: { rate: 2000, seed: 99, milliseconds: 10 },
      tables: { waits: { columns: ['point', 'µs'], rows: [['ring', 2]] } },
    })
  })

  const failures: [string, string, RegExp][] = [
    ['that throws', 'throw', /^the fake was told to throw$/],
    ['that ends its process', 'exit', /^its process ended with code 7 and no outcome: last words$/],
    ['whose process is killed', 'crash', /^its process ended with SIGKILL and no outcome$/],
    ['that says nothing', 'silent', /^its process ended with code 0 and no outcome$/],
    ['that is cut off', 'text', /^its process ended with code 0 and no outcome$/],
    ['that measures no number', 'nan', /^the workload is wrong: the metric "rate" is no finite number$/],
  ]
  for (const [name, how, message] of failures) {
    test(`${name} is a failure with a sentence`, async () => {
      const outcome = await run(how)
      assert.ok(outcome !== undefined && 'error' in outcome)
      assert.match(outcome.error, message)
    })
  }

  test('that this machine cannot measure is no failure', async () => {
    assert.deepEqual(await run('impossible'), { impossible: 'the fake needs another machine' })
  })

  test('that does not end is ended, also when it does not listen', async () => {
    for (const how of ['hang', 'stubborn']) {
      assert.deepEqual(await run(how, never, 0.49), { error: 'it did not end within 0.5 s' })
    }
  })

  test('whose module is no workload is a failure that says so', async () => {
    const outcome = await run('well', never, 60, 'empty')
    assert.ok(outcome !== undefined && 'error' in outcome)
    assert.match(outcome.error, /empty\.js is no workload: export default/)
  })

  test('has no outcome when it is broken off, and leaves no process', async () => {
    const starts = join(root, 'starts')
    process.env[STARTS] = starts
    const controller = new AbortController()
    const outcome = run('hang', controller.signal)
    delete process.env[STARTS]
    const pid = Number(await until('the cell to start', () => textOf(starts).split(' ')[0]))
    controller.abort()
    assert.equal(await outcome, undefined)
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
  })
})

test('a workload of a name that leads elsewhere is refused', async () => {
  for (const name of ['nothing', '../fake', 'workloads/fake', '', 'Fake', 'fake.js', 'file:///x']) {
    await assert.rejects(run('well', never, 60, name), { code: 'ENOENT', message: /^there is no workload / })
  }
})

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
