import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Outcome } from './outcome.ts'
import { type Plan, type Step, steps } from './plan.ts'
import type { Run } from './results.ts'
import { type Progress, runPlan } from './run.ts'
import { fakeExperiment, fakePlan } from './testing/fake.ts'

const sizes = fakeExperiment('sizes', { size: [1, 2, 3, 4] })
const plan = fakePlan([sizes])
const name = ({ cell, repetition }: Step) => `${cell.key} ${repetition}`
const ORDER = steps(plan).map(name)

/** Runs the plan with a clock that each run moves by `tookMs`, and keeps all that was told and saved. */
async function run(options: {
  runs?: readonly Run[]
  measure?: (step: Step, index: number) => Outcome | undefined
  tookMs?: (step: Step) => number
  plan?: Plan
}) {
  const measured: string[] = []
  const saved: (readonly Run[])[] = []
  const progress: Progress[] = []
  let now = 0
  const runs = await runPlan({
    plan: options.plan ?? plan,
    runs: options.runs ?? [],
    measure: async (step) => {
      now += options.tookMs?.(step) ?? 100
      measured.push(name(step))
      return options.measure === undefined ? { metrics: {} } : options.measure(step, measured.length - 1)
    },
    save: async (all) => {
      saved.push([...all])
    },
    onProgress: (each) => progress.push(each),
    now: () => now,
  })
  return { runs, measured, saved, progress }
}

test('all steps run in the order of the plan, and each is saved before the next begins', async () => {
  const { runs, measured, saved } = await run({})
  assert.deepEqual(measured, ORDER)
  assert.deepEqual(
    saved.map((all) => all.length),
    ORDER.map((_, i) => i + 1),
  )
  assert.deepEqual(saved.at(-1), runs)
  assert.deepEqual(
    runs.map(({ ms }) => ms),
    ORDER.map(() => 100),
  )
})

test('a cell that fails is recorded, and the others run', async () => {
  const { runs, measured } = await run({ measure: (_, i) => (i === 2 ? { error: 'no' } : { metrics: {} }) })
  assert.deepEqual(measured, ORDER)
  assert.deepEqual(runs[2]!.outcome, { error: 'no' })
})

test('what is broken off keeps what was finished, and goes on behind it', async () => {
  const first = await run({ measure: (_, i) => (i === 5 ? undefined : { metrics: { i } }) })
  assert.deepEqual(first.measured, ORDER.slice(0, 6))
  assert.equal(first.saved.length, 5)
  const second = await run({ runs: first.runs })
  assert.deepEqual(second.measured, ORDER.slice(5))
  assert.deepEqual(second.runs.slice(0, 5), first.runs)
  assert.equal(second.runs.length, ORDER.length)
})

test('what failed is tried again, and what was impossible is not', async () => {
  const first = await run({
    measure: (_, i) => (i === 1 ? { error: 'no' } : i === 2 ? { impossible: 'here' } : { metrics: {} }),
  })
  const second = await run({ runs: first.runs })
  assert.deepEqual(second.measured, [ORDER[1]])
  assert.equal(second.runs.length, ORDER.length)
})

test('nothing runs where all is done', async () => {
  const { runs } = await run({})
  const again = await run({ runs })
  assert.deepEqual([again.measured, again.saved, again.runs], [[], [], runs])
  assert.deepEqual(again.progress, [{ done: 12, total: 12, leftMs: 0, next: undefined, last: undefined }])
})

test('the time left is what the cells took before, and what most took where they did not run', async () => {
  // Size 4 takes ten times as long: once seen, it is reckoned with.
  const tookMs = ({ cell }: Step) => (cell.parameters.size === 4 ? 1000 : 100)
  const { progress } = await run({ tookMs })
  // Nothing ran: the measuring time of 10 ms, and a second to start and warm up each.
  assert.equal(progress[0]!.leftMs, 12 * 1010)
  assert.equal(progress[4]!.leftMs, 2 * (3 * 100 + 1000))
  assert.equal(progress.at(-1)!.leftMs, 0)
  assert.deepEqual(
    progress.map(({ done }) => done),
    Array.from({ length: 13 }, (_, i) => i),
  )
  assert.equal(progress[1]!.last!.cell, steps(plan)[0]!.cell.key)
})

test('the time left is reckoned by experiment, as far as any of its cells ran', async () => {
  const slow = fakePlan([sizes, fakeExperiment('slow', { way: ['a', 'b'] })], 1)
  const tookMs = ({ experiment }: Step) => (experiment === 'slow' ? 1000 : 100)
  const { progress } = await run({ plan: slow, tookMs })
  const order = steps(slow).map(({ experiment }) => experiment)
  const seen = order.indexOf('slow') + 1
  const left = (from: number) => order.slice(from).reduce((sum, name) => sum + (name === 'slow' ? 1000 : 100), 0)
  for (let i = Math.max(seen, order.indexOf('sizes') + 1); i < order.length; i++) {
    assert.equal(progress[i]!.leftMs, left(i))
  }
})

test('a plan with a budget begins no run that would not end in it, but for the first', async () => {
  const bounded = { ...plan, budgetSeconds: 0.65 }
  const { runs, progress } = await run({ plan: bounded })
  // 100 ms each.
  assert.equal(runs.length, 6)
  assert.deepEqual(progress.map(({ leftMs }) => leftMs).slice(1), [550, 450, 350, 250, 150, 0])
  assert.deepEqual([progress.at(-1)!.next, progress.at(-1)!.done, progress.at(-1)!.total], [undefined, 6, 12])
  const short = await run({ plan: { ...plan, budgetSeconds: 0.05 } })
  assert.deepEqual(short.measured, ORDER.slice(0, 1))
  // The same once more goes on, with a new budget.
  const more = await run({ plan: bounded, runs })
  assert.equal(more.runs.length, 12)
})

test('what two experiments measure is measured once for both, in each round', async () => {
  const both = fakePlan([sizes, fakeExperiment('others', { size: [3, 4, 5] })])
  const { runs, measured, saved } = await run({ plan: both, measure: (_, i) => ({ metrics: { i } }) })
  assert.equal(runs.length, steps(both).length)
  assert.equal(measured.length, 3 * 5)
  assert.equal(saved.length, measured.length)
  const names = (list: readonly Run[]) =>
    list.map(({ experiment, cell, repetition }) => `${experiment} ${cell} ${repetition}`)
  assert.deepEqual(
    names(runs).sort(),
    steps(both)
      .map((step) => `${step.experiment} ${name(step)}`)
      .sort(),
  )
  const shared = runs.filter(({ measuredFor }) => measuredFor !== undefined)
  assert.equal(shared.length, 3 * 2)
  for (const run of shared) {
    const source = runs.find(
      ({ experiment, cell, repetition }) =>
        experiment === run.measuredFor && cell === run.cell && repetition === run.repetition,
    )!
    assert.deepEqual([run.outcome, run.ms, source.ms], [source.outcome, 0, 100])
  }
})
