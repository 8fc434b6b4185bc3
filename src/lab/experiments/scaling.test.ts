// The conclusion about more CPUs than there are, on results that were made up.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { scaling } from './scaling.ts'
import { made } from './testing/made.ts'

/** `most`: where a discipline's rate ends; `error`: of the model on two CPUs. */
function results(most: number, error: number, more: { [metric: string]: readonly number[] } = {}) {
  return made(
    scaling,
    ({ cpus, discipline, isReal }) => {
      const rate = Math.min(Number(cpus) * 600_000, discipline === 'giant' ? most : 1e9)
      const isStopped = rate === most
      return {
        rate: [rate],
        waiting: [isStopped ? 0.8 : 0],
        moving: [0],
        recorded: [0],
        ...(isReal === true ? { real: [rate], error: [discipline === 'giant' && cpus === 2 ? error : 0.01] } : {}),
        ...more,
      }
    },
    true,
  )
}

test('the conclusion says where each discipline stops and for what, and whether the model is within its bar', () => {
  const text = scaling.conclude(results(1_200_000, 0.15))
  assert.match(text, /giant \(exchanges\) gains nothing more from 2 CPUs on, with at most 1 200 thousand a second/)
  assert.match(text, /at 128 it is 2 times what it does on 1, because its CPUs wait for a lock for 80 % of their time/)
  assert.match(text, /connp-t \(exchanges\) still gains at 128 CPUs: 76 800 thousand a second, 128 times/)
  assert.match(
    text,
    /the model is within 20 % in all 16 cases; the farthest is giant on 2 CPUs \(exchanges\), 15 % too high/,
  )
  assert.match(text, /The costs were measured on this machine\.$/)
})

test('the conclusion says where the model misses its bar, and when its costs are of another time', () => {
  const text = scaling.conclude(results(1_200_000, -0.35, { recorded: [1] }))
  assert.match(
    text,
    /the model misses the bar of 20 % in 2 of 16 cases; the farthest is giant on 2 CPUs .*, 35 % too low/,
  )
  assert.match(text, /The costs were recorded with this version/)
})

test('without real CPUs the conclusion does not say how good the model is', () => {
  const none = made(scaling, ({ cpus }) => ({ rate: [Number(cpus)], recorded: [1] }))
  assert.match(scaling.conclude(none), /No real CPUs were there to compare with/)
})

test('the table has what the model says beside what real CPUs do', () => {
  const { columns, rows } = scaling.table(results(1_200_000, 0.15))
  assert.equal(rows.length, 2 * 8 * 4)
  assert.ok(rows.every((row) => row.length === columns.length))
  const giant = rows.find((row) => row[0] === 'exchanges' && row[1] === 2 && row[2] === 'giant')!
  assert.deepEqual(
    giant.slice(3, 6).map((entry) => (typeof entry === 'object' ? Math.round(entry.median) : entry)),
    [1200, 1200, 15],
  )
})
