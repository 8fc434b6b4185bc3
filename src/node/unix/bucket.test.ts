import assert from 'node:assert/strict'
import { test } from 'node:test'
import { VirtualClock } from '../../base/clock.ts'
import { TokenBucket } from './bucket.ts'

/** How many it gives now. */
function drain(bucket: TokenBucket): number {
  let count = 0
  while (bucket.isFilled) {
    bucket.take()
    count++
  }
  return count
}

test('a burst is given at once, and then as many as time has brought', () => {
  const clock = new VirtualClock()
  const bucket = new TokenBucket(clock, 1000, 5)
  assert.equal(drain(bucket), 5)
  clock.advanceTo(2_500)
  assert.equal(drain(bucket), 2)
  clock.advanceTo(3_000)
  assert.equal(drain(bucket), 1)
})

test('a long rest brings no more than a burst', () => {
  const clock = new VirtualClock()
  const bucket = new TokenBucket(clock, 1000, 5)
  clock.advanceTo(60e6)
  assert.equal(drain(bucket), 5)
  assert.equal(drain(bucket), 0)
})
