// What every experiment of the laboratory must hold to, whoever wrote it.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Entry } from './experiment.ts'
import { EXPERIMENTS } from './experiments.ts'
import { type CellOutcome, Measurements } from './measurements.ts'
import { makePlan, type Plan, plannedSeconds } from './plan.ts'
import { reportText } from './report/report.ts'
import { fakeResults } from './testing/fake.ts'
import { loadWorkload, workloadModule } from './workload.ts'

const planOf = (full: boolean, processors: number, experiments = EXPERIMENTS): Plan =>
  makePlan(experiments, { seed: 1, repetitions: undefined, seconds: undefined, full, processors, restrictions: [] })

test('in the quick form every cell of all experiments that need not be named has the time to run once within a minute', () => {
  const short = EXPERIMENTS.filter(({ isLong = false }) => !isLong)
  for (const processors of [1, 2, 8, 64]) {
    const { budgetSeconds, ...plan } = planOf(false, processors, short)
    assert.ok(budgetSeconds! < 60)
    const seconds = plannedSeconds({ ...plan, repetitions: 1 })
    assert.ok(seconds <= budgetSeconds!, `${seconds} s on ${processors} processors: give a quick form fewer cells`)
  }
})

test('experiments have names of their own that the command line can take', () => {
  const names = EXPERIMENTS.map(({ name }) => name)
  assert.equal(new Set(names).size, names.length)
  for (const name of names) assert.match(name, /^[a-z][a-z0-9-]*$/)
})

for (const experiment of EXPERIMENTS) {
  describe(`the experiment "${experiment.name}"`, () => {
    const plans = [1, 2, 16].flatMap((processors) =>
      [false, true].map((full) => planOf(full, processors, [experiment])),
    )

    test('has a sweep in each form, of workloads that there are', async () => {
      const names = new Set(plans.flatMap(({ experiments }) => experiments[0]!.cells.map(({ workload }) => workload)))
      for (const name of names) assert.equal((await loadWorkload(workloadModule(name))).name, name)
    })

    test('has a whole table, a plot and a conclusion whichever of its cells were measured', () => {
      for (const plan of plans.slice(2, 4)) {
        const planned = plan.experiments[0]!
        const outcome = fc.oneof(
          fc.constant({ error: 'failed' }),
          fc.record({
            metrics: fc.record(
              Object.fromEntries(
                experiment.metrics.map(({ name, scale = 1 }) => [
                  name,
                  fc.double({ min: 0, max: 1000 * scale, noNaN: true }),
                ]),
              ),
            ),
          }),
        )
        const outcomes = fc.array(outcome, { minLength: planned.cells.length, maxLength: planned.cells.length })
        fc.assert(
          fc.property(outcomes, (list) => {
            const runs = list.map(
              (outcome, i): CellOutcome => ({ cell: planned.cells[i]!.key, repetition: 0, outcome }),
            )
            const results = Measurements.of(experiment, planned, runs)
            if (results.isEmpty) return
            const table = experiment.table(results)
            for (const row of table.rows) assert.equal(row.length, table.columns.length)
            for (const entry of table.rows.flat()) assert.ok(isShowable(entry), `${entry}`)
            for (const { points } of experiment.plot(results).series) {
              for (const { y, low, high } of points) assert.ok(low <= y && y <= high)
            }
            const text = experiment.conclude(results)
            assert.doesNotMatch(text, /NaN|undefined|Infinity|\[object/)
          }),
          { seed: 1, numRuns: 50 },
        )
      }
    })

    test('is drawn with all of its cells', () => {
      for (const plan of plans.slice(2, 4)) {
        const metrics = Object.fromEntries(experiment.metrics.map(({ name, scale = 1 }, i) => [name, (i + 1) * scale]))
        const runs = plan.experiments[0]!.cells.map(({ key }) => ({
          experiment: experiment.name,
          cell: key,
          repetition: 0,
          at: '2026-01-02T03:04:05.000Z',
          ms: 1,
          outcome: { metrics },
        }))
        const text = reportText([experiment], fakeResults(plan, runs))
        assert.match(text, /<svg/)
        assert.doesNotMatch(text, /NaN|undefined|\[object/)
      }
    })
  })
}

function isShowable(entry: Entry): boolean {
  if (typeof entry === 'number') return Number.isFinite(entry)
  return typeof entry === 'object' ? Number.isFinite(entry.median) : true
}
