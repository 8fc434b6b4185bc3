import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SteeringTrial, work } from './steering-trial.ts'

const STEP_US = 1000
const SECOND_US = 1_000_000

/** Traffic of `rate(isSteered)` units a µs, from `from` on for `us`: the share of the time that was steered. */
class Traffic {
  now = 0
  done = 0
  isSteered = false
  readonly #trial = new SteeringTrial()

  run(us: number, rate: (isSteered: boolean, now: number) => number): number {
    let steered = 0
    const end = this.now + us
    while (this.now < end) {
      this.now += STEP_US
      this.done += rate(this.isSteered, this.now) * STEP_US
      this.isSteered = this.#trial.look(this.now, this.done)
      if (this.isSteered) steered += STEP_US
    }
    return steered / us
  }
}

test('packets count as much as a thousand bytes', () => {
  assert.equal(work(3, 500), 3500)
})

test('where steering moves more it is found within a third of a second, and kept', () => {
  const traffic = new Traffic()
  traffic.run(300_000, (isSteered) => (isSteered ? 150 : 100))
  assert.equal(traffic.isSteered, true)
  const share = traffic.run(20 * SECOND_US, (isSteered) => (isSteered ? 150 : 100))
  assert.ok(share > 0.97, `steered for ${share} of the time`)
})

test('where it moves less it is tried for less than a hundredth of the time', () => {
  const traffic = new Traffic()
  traffic.run(5 * SECOND_US, (isSteered) => (isSteered ? 50 : 100))
  const share = traffic.run(60 * SECOND_US, (isSteered) => (isSteered ? 50 : 100))
  assert.ok(share > 0 && share < 0.01, `steered for ${share} of the time`)
})

test('traffic that grows by itself, as while code is compiled, is not taken for the better way', () => {
  const traffic = new Traffic()
  traffic.run(2 * SECOND_US, (isSteered, now) => (100 + now / 20_000) * (isSteered ? 0.97 : 1))
  assert.equal(traffic.isSteered, false)
})

test('a little more is no reason to change', () => {
  const traffic = new Traffic()
  const share = traffic.run(30 * SECOND_US, (isSteered) => (isSteered ? 103 : 100))
  assert.ok(share < 0.05, `steered for ${share} of the time`)
})

test('other traffic has its trial at once, however long the last one has lasted', () => {
  const traffic = new Traffic()
  traffic.run(30 * SECOND_US, (isSteered) => (isSteered ? 50 : 100))
  assert.equal(traffic.isSteered, false)
  traffic.run(600_000, (isSteered) => (isSteered ? 600 : 400))
  assert.equal(traffic.isSteered, true)
  traffic.run(600_000, (isSteered) => (isSteered ? 50 : 100))
  assert.equal(traffic.isSteered, false)
})

test('traffic that is hardly any is not steered', () => {
  const traffic = new Traffic()
  traffic.run(SECOND_US, (isSteered) => (isSteered ? 150 : 100))
  assert.equal(traffic.isSteered, true)
  const share = traffic.run(30 * SECOND_US, () => 0.5)
  assert.equal(traffic.isSteered, false)
  assert.ok(share < 0.25, `steered for ${share} of the time`)
})
