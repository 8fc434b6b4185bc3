import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByHand } from '../machine/testing/sim.ts'
import { attachQueue, type DeviceQueue } from './device.ts'

test('a queue gives as many packets in a turn as the machine was booted for, 64 of itself', () => {
  for (const [options, budget] of [
    [{}, 64],
    [{ batches: { device: 3 } }, 3],
  ] as const) {
    const hand = new ByHand(1, options)
    const budgets: number[] = []
    const queue: DeviceQueue = {
      info: { name: 'test0', framing: 'ip', mtu: 1500, cpus: [0] },
      receive: (limit) => budgets.push(limit) & 0,
      transmit: () => true,
      flush: () => {},
      pending: () => false,
      close: () => {},
    }
    attachQueue(hand.cpus[0]!, queue, () => {})
    hand.turn(0)
    assert.deepEqual(budgets, [budget])
  }
})
