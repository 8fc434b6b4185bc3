import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { planText, type Results, readPlan, readResults, resultsText, writeWhole } from './results.ts'
import { fakeExperiment, fakePlan, fakeResults, fakeRun } from './testing/fake.ts'

let root: string
let path: string
before(() => {
  root = mkdtempSync(join(tmpdir(), 'df-'))
  path = join(root, 'results.json')
})
after(() => rmSync(root, { recursive: true, force: true }))

const plan = fakePlan([fakeExperiment('sizes', { size: [1, 2] })], 2)
const results: Results = fakeResults(plan, [
  fakeRun('size=2', 0, { metrics: { rate: 2000 }, tables: { waits: { columns: ['a'], rows: [['b'], [1]] } } }),
  fakeRun('size=1', 0, { error: 'it "failed"\nat once' }),
  fakeRun('size=1', 1, { impossible: 'not here' }),
])

async function refused(text: string, message: RegExp, read: (path: string) => Promise<unknown> = readResults) {
  writeFileSync(path, text)
  await assert.rejects(read(path), { name: 'KernelError', code: 'EPROTO', message })
  assert.equal(readFileSync(path, 'utf8'), text)
}

test('results come back as they were written', async () => {
  await writeWhole(path, resultsText(results))
  assert.deepEqual({ ...(await readResults(path)) }, { format: 'damselfly-lab-results', version: 1, ...results })
})

test('a file that is not there is no results, and no error', async () => {
  assert.equal(await readResults(join(root, 'nothing.json')), undefined)
})

test('a file that is cut off anywhere is refused, and left as it is', async () => {
  const text = resultsText(results).trimEnd()
  await fc.assert(
    fc.asyncProperty(fc.nat(text.length - 1), (length) =>
      refused(text.slice(0, length), /results\.json is cut off, or is no JSON\. It was left as it is/),
    ),
    { seed: 1, numRuns: 60 },
  )
})

test('a file of another version or another program is refused', async () => {
  const text = resultsText(results)
  await refused(text.replace('"version":1', '"version":2'), /is of version 2; this damselfly reads version 1/)
  await refused(text.replace('damselfly-lab-results', 'other'), /is no file of "damselfly lab"/)
  // What cannot be made a text of.
  await refused('{"format":{"toString":1}}', /is no file of "damselfly lab"/)
  await refused(text.replace('"version":1', '"version":{"toString":1}'), /is of another version; this damselfly reads/)
  await refused('[]', /is no file of "damselfly lab"/)
  await refused('null', /is no file of "damselfly lab"/)
  await refused(planText(plan), /is no file of "damselfly lab"/)
})

describe('a file whose content cannot be is refused:', () => {
  const cases: [string, (value: Mutable) => void, RegExp][] = [
    ['without a time', (value) => delete value.began, /is damaged: began is no time/],
    ['without a machine', (value) => delete value.computer, /there is no computer/],
    ['with half a machine', (value) => delete value.computer.kernel, /computer\.kernel is no string/],
    ['without a plan', (value) => delete value.plan, /there is no plan/],
    ['with a seed of no kind', (value) => (value.plan.seed = -1), /seed is no whole number/],
    ['with no repetitions', (value) => (value.plan.repetitions = 0), /repetitions is none of 1 to 1000/],
    ['with no time to measure', (value) => (value.plan.seconds = 0), /seconds is none of 0 to 3600/],
    ['without a form', (value) => (value.plan.full = 'yes'), /full is no boolean/],
    ['with a budget of no kind', (value) => (value.plan.budgetSeconds = 'all'), /budgetSeconds is no time/],
    ['without experiments', (value) => (value.plan.experiments = []), /there are no experiments/],
    ['with an experiment twice', (value) => value.plan.experiments.push(value.plan.experiments[0]), /is there twice/],
    ['with a nameless experiment', (value) => delete value.plan.experiments[0].name, /an experiment has no name/],
    [
      'with a strange cell',
      (value) => (value.plan.experiments[0].cells[0].parameters = { a: [] }),
      /has a cell without/,
    ],
    ['without cells', (value) => (value.plan.experiments[0].cells = []), /has no cell/],
    ['without runs', (value) => delete value.runs, /there are no runs/],
    ['with a run that is none', (value) => (value.runs[1] = 5), /runs\[1\]: it is no object/],
    ['with a run of no cell', (value) => (value.runs[1].cell = 'size=3'), /runs\[1\]: the plan has no such run/],
    [
      'with a run twice',
      (value) => value.runs.push(value.runs[0]),
      /runs\[3\]: the plan has no such run, or it was before/,
    ],
    [
      'with a run beyond the last round',
      (value) => (value.runs[2].repetition = 2),
      /runs\[2\]: the plan has no such run/,
    ],
    ['with a run without a time', (value) => (value.runs[0].at = 'noon'), /runs\[0\]: at is no time/],
    ['with a run that took none', (value) => (value.runs[0].ms = -1), /runs\[0\]: ms is no time/],
    ['with a run for no experiment', (value) => (value.runs[0].measuredFor = 1), /runs\[0\]: measuredFor is no name/],
    ['without an outcome', (value) => delete value.runs[0].outcome, /runs\[0\]: the outcome is no object/],
    ['with no metrics', (value) => (value.runs[0].outcome = {}), /runs\[0\]: there are no metrics/],
    ['with a metric of text', (value) => (value.runs[0].outcome.metrics.rate = '5'), /"rate" is no finite number/],
    ['with an uneven table', (value) => value.runs[0].outcome.tables.waits.rows.push([1, 2]), /the table "waits" has/],
  ]
  for (const [name, damage, message] of cases) {
    test(name, async () => {
      const value = JSON.parse(resultsText(results)) as Mutable
      damage(value)
      await refused(JSON.stringify(value), message)
    })
  }
})

/** What JSON.parse gives, to be damaged. */
type Mutable = ReturnType<typeof JSON.parse>

describe('a plan', () => {
  test('comes back from a file of its own and out of results', async () => {
    for (const text of [planText(plan), resultsText(results)]) {
      writeFileSync(path, text)
      assert.deepEqual(await readPlan(path), plan)
    }
    writeFileSync(path, planText({ ...plan, budgetSeconds: 5 }))
    assert.deepEqual(await readPlan(path), { ...plan, budgetSeconds: 5 })
  })

  test('that cannot be run is refused', async () => {
    await refused(planText({ ...plan, repetitions: 0 }), /has no plan that can be run: repetitions/, readPlan)
    await refused(planText(plan).slice(0, 80), /is cut off, or is no JSON/, readPlan)
    await assert.rejects(readPlan(join(root, 'nothing.json')), {
      code: 'ENOENT',
      message: /^there is no plan .*nothing\.json$/,
    })
  })
})

test('a file that cannot be written is an error with its path, and leaves nothing beside it', async () => {
  await assert.rejects(writeWhole(join(root, 'no', 'file'), 'x'), { code: 'EIO', message: /file cannot be written: / })
  await writeWhole(join(root, 'whole'), 'one')
  await writeWhole(join(root, 'whole'), 'two')
  assert.equal(readFileSync(join(root, 'whole'), 'utf8'), 'two')
  assert.deepEqual(
    readdirSync(root).filter((name) => name.endsWith('.tmp')),
    [],
  )
})
