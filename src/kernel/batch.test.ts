import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { ByHand } from '../machine/testing/sim.ts'
import { type Batches, batchesOf } from './batch.ts'
import { K } from './counters.ts'
import { Plain } from './message.ts'

/** A CPU that sends 20 messages in a turn to a port of another one, which serves them. */
function machine(batches: Partial<Batches>) {
  const hand = new ByHand(2, { batches })
  const [a, b] = [hand.cpus[0]!, hand.cpus[1]!]
  let served = 0
  const { id } = b.ports.create({ dispatch: 'deferred', handler: () => served++ & 0 })
  const send = (count: number) => {
    for (let i = 0; i < count; i++) a.ports.send(id, a.ports.allocate(Plain))
  }
  return { hand, send, served: () => served, publishes: () => a.count[K.ipiPublishes]! }
}

describe('batches of a machine', () => {
  test('of ports are what one serves before others get their turn', () => {
    for (const port of [1, 3, 64]) {
      const { hand, send, served } = machine({ port })
      send(100)
      hand.turn(0)
      for (let turn = 1; turn <= 4; turn++) {
        hand.turn(1)
        assert.equal(served(), Math.min(100, turn * port))
      }
    }
  })

  test('of IPIs are the entries that are published together: by one, each message is', () => {
    // By twos: the first entry takes four messages, and with the second both are published.
    for (const [ipi, publishes] of [
      [1, 20],
      [2, 4],
      [16, 0],
    ] as const) {
      const { hand, send, publishes: count } = machine({ ipi })
      send(20)
      assert.equal(count(), publishes, `by ${ipi}`)
      hand.turn(0)
      hand.turn(1)
      assert.equal(count(), Math.max(publishes, 1))
    }
  })

  test('are those of the limits where nothing else is wanted', () => {
    assert.deepEqual(batchesOf(), { device: 64, port: 32, ipi: 16 })
    assert.deepEqual(batchesOf({ port: 7 }), { device: 64, port: 7, ipi: 16 })
  })

  test('that cannot be are refused', () => {
    const refuses = (wanted: object, message: string) =>
      assert.throws(() => batchesOf(wanted), { name: 'KernelError', code: 'EINVAL', message })
    for (const value of [0, 1025, 1.5, Number.NaN]) {
      refuses({ port: value }, `batches.port is ${value}: give a whole number from 1 to 1024`)
    }
    refuses({ ports: 1 }, 'there are no batches of "ports": give device, port or ipi')
  })
})
