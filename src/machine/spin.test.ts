import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AdaptiveSpin } from './spin.ts'

function idleTurns(spin: AdaptiveSpin): number {
  let turns = 1
  while (!spin.afterTurn(0)) turns++
  return turns
}

test('a CPU sleeps after as many turns without work as it may look, counted from the last work', () => {
  const spin = new AdaptiveSpin(10)
  for (let i = 0; i < 9; i++) assert.equal(spin.afterTurn(0), false)
  assert.equal(spin.afterTurn(1), false)
  assert.equal(idleTurns(spin), 11)
})

test('long sleeps make it look less, down to a little; short ones more, up to the most', () => {
  const spin = new AdaptiveSpin(2000)
  const limits: number[] = []
  for (const us of [5000, 5000, 5000, 5000, 5000, 5000, 50, 50, 50, 50, 50, 50]) {
    spin.slept(us)
    limits.push(spin.limit)
  }
  assert.deepEqual(limits, [1000, 500, 250, 125, 100, 100, 200, 400, 800, 1600, 2000, 2000])
})

test('sleeps in between change nothing, nor does a sleep that did not happen', () => {
  const spin = new AdaptiveSpin(2000)
  for (const us of [0, 150, 500, 2000]) spin.slept(us)
  assert.equal(spin.limit, 2000)
})

test('0 never looks, and Infinity never sleeps', () => {
  const never = new AdaptiveSpin(0)
  for (let i = 0; i < 3; i++) {
    assert.equal(never.afterTurn(0), true)
    never.slept(50)
  }
  const always = new AdaptiveSpin(Number.POSITIVE_INFINITY)
  for (let i = 0; i < 10_000; i++) assert.equal(always.afterTurn(0), false)
})
