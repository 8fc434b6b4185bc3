import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { f64 } from '../base/struct.ts'
import { ByHand } from '../machine/testing/sim.ts'
import { CounterPage, CpuCounters, counterSet, K, readCounters, tallyOf, total } from './counters.ts'
import { Memory } from './memory.ts'
import { message } from './message.ts'

const Device = counterSet('test.device', ['packets', 'bytes'])
const Letter = message('test.counters', { value: f64 })
const DeviceTally = tallyOf(Device, ['bytes'])
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
    assert.deepEqual(
      readCounters(machine, Device),
      readings.filter(({ set }) => set === 'test.device'),
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

  test('what is tallied is in the page once it is folded, and is counted once', () => {
    const machine = memory()
    const page = new CounterPage(machine, 1)
    const counts = page.open(Device, 3)
    const [tally, another] = [page.tally(DeviceTally, 3), page.tally(DeviceTally, 3)]
    counts[Device.index.bytes]! += 1e15
    tally.bytes += 5
    another.bytes += 7
    assert.equal(counts[Device.index.bytes], 1e15)
    page.fold()
    page.fold()
    assert.deepEqual([...counts], [0, 1e15 + 12])
    assert.deepEqual([tally.bytes, another.bytes], [0, 0])
  })

  test('a reader finds what CPUs of its own thread have tallied, also before they fold it', () => {
    const machine = memory()
    const tallies = [0, 2].map((cpu) => new CounterPage(machine, cpu).tally(DeviceTally))
    for (const tally of tallies) tally.bytes += 5
    assert.equal(total(machine, Device, 'bytes'), 10)
    // Another thread has a view of its own of the same memory.
    const elsewhere = new Memory(machine.wasm, { cpus: 3, memoryBytes: 8 * 1024 * 1024 }, false)
    tallies[0]!.bytes += 5
    assert.equal(total(elsewhere, Device, 'bytes'), 10)
    machine.fold()
    assert.equal(total(elsewhere, Device, 'bytes'), 15)
  })

  test('other threads see what was tallied once the turn is over, the CPU sleeps or stops', () => {
    const options = { cpus: 2, memoryBytes: 8 * 1024 * 1024 }
    const machine = new ByHand(2, options)
    const elsewhere = new Memory(machine.memory.wasm, options, false)
    const cpu = machine.cpus[0]!
    const port = cpu.ports.create({ handler: () => 0 })
    const sent = () => total(elsewhere, CpuCounters, 'messagesSent')
    const ends = [
      () => cpu.turn(),
      () => [...cpu.turnInParts()],
      () => assert.ok(cpu.announceSleep()),
      () => cpu.awake(false, 0) ?? cpu.turn(),
      () => cpu.shutdown(),
    ]
    for (const [i, end] of ends.entries()) {
      cpu.ports.send(port.id, cpu.ports.allocate(Letter))
      assert.equal(sent(), i)
      end()
      assert.equal(sent(), i + 1)
    }
  })

  test('only counters of its set are tallied', () => {
    assert.throws(() => tallyOf(Device, ['packets', 'other' as 'packets']), AssertionFailure)
  })

  test('the directory of a page is bounded, and a name is declared once', () => {
    const page = new CounterPage(memory(), 0)
    assert.throws(() => {
      for (let i = 0; i < 200; i++) page.open(Device, i)
    }, AssertionFailure)
    assert.throws(() => counterSet('test.device', ['other']), AssertionFailure)
  })
})
