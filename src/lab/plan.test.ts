import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Cell, Experiment } from './experiment.ts'
import { makePlan, type Plan, type PlanOptions, planDifference, plannedSeconds, steps } from './plan.ts'
import { fakeExperiment } from './testing/fake.ts'

const OPTIONS: PlanOptions = {
  seed: 1,
  repetitions: 3,
  seconds: undefined,
  full: false,
  processors: 2,
  restrictions: [],
}
const sizes = fakeExperiment('sizes', { size: [1, 2, 3, 4, 5], way: ['a', 'b'] })
const ways = fakeExperiment('ways', { way: ['b', 'c'] })

const names = (plan: Plan) => steps(plan).map(({ experiment, cell }) => `${experiment} ${cell.key}`)
const withCells = (cells: readonly Cell[]): Experiment => ({ ...sizes, cells: () => cells })
const refused = (body: () => unknown, message: string) =>
  assert.throws(body, { name: 'KernelError', code: 'EINVAL', message })

describe('the order of a plan', () => {
  const plan = makePlan([sizes, ways], OPTIONS)

  test('is every cell once, then every cell again', () => {
    const all = names(plan)
    assert.equal(all.length, 36)
    const first = all.slice(0, 12)
    assert.equal(new Set(first).size, 12)
    for (const round of [all.slice(12, 24), all.slice(24)]) assert.deepEqual([...round].sort(), [...first].sort())
    assert.deepEqual(
      steps(plan).map(({ repetition }) => repetition),
      [0, 1, 2].flatMap((round) => Array(12).fill(round)),
    )
  })

  test('is another one in each round, and mixes the experiments', () => {
    const all = names(plan)
    assert.notDeepEqual(all.slice(0, 12), all.slice(12, 24))
    assert.notDeepEqual(all.slice(12, 24), all.slice(24))
    assert.notDeepEqual(
      all.slice(0, 12).map((name) => name.split(' ')[0]),
      [...Array(10).fill('sizes'), 'ways', 'ways'],
    )
  })

  test('is that of the seed: the same for the same, another one for another', () => {
    assert.deepEqual(steps(makePlan([sizes, ways], OPTIONS)), steps(plan))
    assert.deepEqual(steps(JSON.parse(JSON.stringify(plan)) as Plan), steps(plan))
    assert.notDeepEqual(names(makePlan([sizes, ways], { ...OPTIONS, seed: 2 })), names(plan))
  })

  test('stays as it is when repetitions are added', () => {
    assert.deepEqual(steps({ ...plan, repetitions: 5 }).slice(0, 36), steps(plan))
  })

  test('holds every cell once in each round, for any seed and number of cells', () => {
    fc.assert(
      fc.property(
        fc.nat(0xffffffff),
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 5 }),
        (seed, n, rounds) => {
          const experiment = fakeExperiment('sizes', { size: Array.from({ length: n }, (_, i) => i) })
          const all = names(makePlan([experiment], { ...OPTIONS, seed, repetitions: rounds }))
          for (let i = 0; i < rounds; i++) assert.equal(new Set(all.slice(i * n, (i + 1) * n)).size, n)
          assert.equal(all.length, n * rounds)
        },
      ),
      { seed: 1, numRuns: 100 },
    )
  })
})

test('a cell has a seed of its own in each repetition, wherever it stands in the order', () => {
  const plan = makePlan([sizes], OPTIONS)
  assert.equal(new Set(steps(plan).map(({ seed }) => seed)).size, 30)
})

describe('the time of a run', () => {
  const many = (count: number) => fakeExperiment('many', { size: Array.from({ length: count }, (_, i) => i) })

  const quick = { ...OPTIONS, repetitions: undefined }

  test('of the quick form is what lets two rounds end within a minute, and a second at most', () => {
    assert.equal(makePlan([many(1)], quick).seconds, 1)
    for (const count of [5, 10, 15, 20, 40]) {
      const plan = makePlan([many(count)], quick)
      assert.ok(plannedSeconds(plan) < 55, `${count} cells take ${plannedSeconds(plan)} s`)
      assert.ok(plan.seconds >= 0.2)
      assert.equal(plan.repetitions, 3)
      const { budgetSeconds, ...unbounded } = plan
      const rounds = budgetSeconds! / plannedSeconds({ ...unbounded, repetitions: 1 })
      assert.ok(rounds >= (count > 20 ? 1 : 1.99), `${rounds} rounds of ${count} cells`)
    }
  })

  test('is bounded in the quick form only, and where nobody says how long or how often', () => {
    assert.equal(makePlan([many(5)], OPTIONS).budgetSeconds, undefined)
    assert.equal(makePlan([many(5)], { ...quick, seconds: 0.5 }).budgetSeconds, undefined)
    const full = makePlan([many(5)], { ...quick, full: true })
    assert.deepEqual([full.budgetSeconds, full.repetitions], [undefined, 7])
    assert.equal(plannedSeconds({ ...full, repetitions: 100 }), 100 * plannedSeconds({ ...full, repetitions: 1 }))
  })

  test('is what was asked for, and three seconds in the full form', () => {
    assert.equal(makePlan([many(100)], { ...OPTIONS, seconds: 0.7 }).seconds, 0.7)
    assert.equal(makePlan([many(100)], { ...OPTIONS, full: true }).seconds, 3)
  })

  test('counts once what two cells measure, in whatever order their parameters stand', () => {
    const cells = (key: string, parameters: Cell['parameters']) => [{ key, parameters, workload: 'fake' }]
    const one = { ...withCells(cells('a', { x: 1, y: 2 })), name: 'one' }
    const two = { ...withCells(cells('b', { y: 2, x: 1 })), name: 'two' }
    const other = { ...withCells(cells('b', { y: 2, x: '1' })), name: 'other' }
    const seconds = (...experiments: Experiment[]) => plannedSeconds(makePlan(experiments, { ...OPTIONS, seconds: 1 }))
    assert.equal(seconds(one, two), seconds(one))
    assert.equal(seconds(one, other), 2 * seconds(one))
  })
})

describe('a restriction', () => {
  const restricted = (...restrictions: PlanOptions['restrictions']) =>
    makePlan([sizes, ways], { ...OPTIONS, restrictions })

  test('leaves the cells that have one of the values, and no experiment without any', () => {
    const both = restricted({ name: 'way', values: ['b'] })
    assert.deepEqual(
      both.experiments.map(({ name, cells }) => [name, cells.length]),
      [
        ['sizes', 5],
        ['ways', 1],
      ],
    )
    const one = restricted({ name: 'size', values: ['2', '3'] }, { name: 'way', values: ['a'] })
    assert.deepEqual(
      one.experiments.map(({ name, cells }) => [name, cells.map(({ key }) => key)]),
      [['sizes', ['size=2 way=a', 'size=3 way=a']]],
    )
  })

  test('that leaves nothing is refused, with what there is', () => {
    refused(
      () => restricted({ name: 'length', values: ['1'] }),
      'no sweep has a parameter "length": there are size, way',
    )
    refused(() => restricted({ name: 'size', values: ['2', '9'] }), 'no cell has size = 9: there are 1, 2, 3, 4, 5')
    refused(
      () => restricted({ name: 'size', values: ['2'] }, { name: 'way', values: ['c'] }),
      'no cell has way = c: there are a, b',
    )
  })
})

describe('a sweep that cannot be is refused:', () => {
  const cell = (key: string, parameters: Cell['parameters']): Cell => ({ key, parameters, workload: 'fake' })
  const cases: [string, readonly Cell[], string][] = [
    ['one without a cell', [], 'the sweep of "sizes" has no cell'],
    ['one with a cell twice', [cell('a', {}), cell('a', { x: 1 })], 'the sweep of "sizes" has the cell "a" twice'],
    [
      'one with a number that JSON cannot hold',
      [cell('a', { x: Number.POSITIVE_INFINITY })],
      'the sweep of "sizes" has x = Infinity, which no plan can hold',
    ],
    ['one for no CPU', [cell('a', { cpus: 0 })], 'the sweep of "sizes" has cpus = 0: a machine has 1 to 256'],
    ['one for half a CPU', [cell('a', { cpus: 1.5 })], 'the sweep of "sizes" has cpus = 1.5: a machine has 1 to 256'],
    ['one for too many', [cell('a', { cpus: 257 })], 'the sweep of "sizes" has cpus = 257: a machine has 1 to 256'],
    [
      'one with more cells than anybody waits for',
      Array.from({ length: 10_001 }, (_, i) => cell(`${i}`, {})),
      'the sweep of "sizes" has 10001 cells, above 10000',
    ],
  ]
  for (const [name, cells, message] of cases) {
    test(name, () => refused(() => makePlan([withCells(cells)], OPTIONS), message))
  }
})

test('two plans differ in the first thing that somebody would have changed', () => {
  const plan = makePlan([sizes, ways], OPTIONS)
  const other = (options: Partial<PlanOptions>, experiments = [sizes, ways]) =>
    planDifference(plan, makePlan(experiments, { ...OPTIONS, seconds: plan.seconds, ...options }))
  assert.equal(other({}), undefined)
  assert.equal(other({ full: true }), 'has the quick form, not the full form')
  assert.equal(other({}, [ways]), 'has the experiments sizes, ways, not ways')
  assert.equal(other({ repetitions: 4 }), 'has repetitions = 3, not 4')
  assert.equal(other({ seconds: 2 }), `has seconds = ${plan.seconds}, not 2`)
  assert.equal(other({ seed: 9 }), 'has seed = 1, not 9')
  assert.equal(planDifference(plan, { ...plan, budgetSeconds: 5 }), 'has budgetSeconds = none, not 5')
  assert.equal(other({ restrictions: [{ name: 'way', values: ['b'] }] }), 'has other cells')
})
