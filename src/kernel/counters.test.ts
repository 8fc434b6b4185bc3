import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { CounterPage, CpuCounters, counterSet, K, readCounters, total } from './counters.ts'
import { Memory } from './memory.ts'

const Device = counterSet('test.device', ['packets', 'bytes'])
const memory = () => Memory.create({ cpus: 3, memoryBytes: 8 * 1024 * 1024 }, false)

describe('counters', () => {
  test('a reader finds every open set by its name, for each CPU and instance, with the live counts', () => {
    const machine = memory()
    for (const cpu of [0, 2]) {
      const page = new CounterPage(machine, cpu)
      const kernel = page.open(CpuCounters)
      for (const instance of [0, 7, 65535]) {
        const counts = page.open(Device, instance)
        counts[Device.index.packets]! += cpu * 10 + instance
        counts[Device.index.bytes]! += 1e15
      }
      kernel[K.turns]! += 5
    }
    const readings = readCounters(machine)
    assert.deepEqual(
      readings.filter(({ set }) => set === 'test.device').map(({ cpu, instance, values }) => [cpu, instance, values]),
      [0, 2].flatMap((cpu) => [0, 7, 65535].map((i) => [cpu, i, { packets: cpu * 10 + i, bytes: 1e15 }])),
    )
    assert.equal(total(machine, CpuCounters, 'turns'), 10)
    assert.equal(total(machine, Device, 'bytes'), 6e15)
  })

  test('a set that is opened twice is the same array', () => {
    const page = new CounterPage(memory(), 1)
    assert.equal(page.open(Device, 3), page.open(Device, 3))
    assert.notEqual(page.open(Device, 3), page.open(Device, 4))
  })

  test('sets do not overlap', () => {
    const machine = memory()
    const page = new CounterPage(machine, 0)
    const arrays = Array.from({ length: 100 }, (_, i) => page.open(Device, i))
    for (const [i, array] of arrays.entries()) array.fill(i)
    for (const [i, array] of arrays.entries()) assert.deepEqual([...array], [i, i])
    assert.equal(new CounterPage(machine, 1).open(Device)[0], 0)
  })

  test('the directory of a page is bounded, and a name is declared once', () => {
    const page = new CounterPage(memory(), 0)
    assert.throws(() => {
      for (let i = 0; i < 200; i++) page.open(Device, i)
    }, AssertionFailure)
    assert.throws(() => counterSet('test.device', ['other']), AssertionFailure)
  })
})
