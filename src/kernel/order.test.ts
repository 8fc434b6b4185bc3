import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { ByHand } from '../machine/testing/sim.ts'
import { K } from './counters.ts'
import { MessageFlag, Plain } from './message.ts'
import { setTraceMode } from './trace/mode.ts'

const NEXT = 1

describe('order', () => {
  test('two messages of one CPU that are taken in the wrong order are found and counted', () => {
    const machine = new ByHand(2)
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    const port = b.ports.create()
    const [first, second] = [a.ports.allocate(Plain), a.ports.allocate(Plain)]
    a.ports.send(port.id, first)
    a.ports.send(port.id, second)
    machine.settle()
    // Somebody breaks the queue: its two messages change places.
    const words = machine.memory.i32
    words[port.record >> 2] = second
    words[(second >> 2) + NEXT] = first
    words[(first >> 2) + NEXT] = 0
    assert.equal(b.ports.get(port), second)
    assert.throws(() => b.ports.get(port), AssertionFailure)
    assert.equal(b.count[K.orderViolations], 1)
  })

  test('a violation tells how both messages came here, where that is traced', () => {
    const machine = new ByHand(2)
    setTraceMode(machine.memory, 'all')
    const [a, b] = [machine.cpus[0]!, machine.cpus[1]!]
    machine.settle()
    const port = b.ports.create()
    const [first, second] = [a.ports.allocate(Plain), a.ports.allocate(Plain)]
    const sendEarly = () => a.ports.send(port.id, first)
    const sendLate = () => a.ports.send(port.id, second)
    sendEarly()
    sendLate()
    machine.settle()
    const words = machine.memory.i32
    words[port.record >> 2] = second
    words[(second >> 2) + NEXT] = first
    words[(first >> 2) + NEXT] = 0
    assert.equal(b.ports.get(port), second)
    assert.throws(
      () => b.ports.get(port),
      /wrong order\nthe one that is late, sent by cpu 0 .*\n {4}at sendEarly [\s\S]*\nthe one that came before it, sent by cpu 0 .*\n {4}at sendLate /,
    )
  })

  test('priority messages overtake others, and messages of different CPUs each other, without being called a violation', () => {
    const machine = new ByHand(3)
    const port = machine.cpus[2]!.ports.create()
    const sent: number[] = []
    for (const [cpu, flags] of [
      [0, 0],
      [1, 0],
      [0, MessageFlag.PRIORITY],
      [1, MessageFlag.PRIORITY],
      [0, 0],
    ] as const) {
      const { ports } = machine.cpus[cpu]!
      const letter = ports.allocate(Plain)
      ports.setFlags(letter, flags)
      ports.send(port.id, letter)
      sent.push(letter)
      if (sent.length % 2 === 0) machine.settle()
    }
    machine.settle()
    const taken = sent.map(() => machine.cpus[2]!.ports.get(port))
    assert.deepEqual(
      taken,
      [2, 3, 0, 1, 4].map((i) => sent[i]),
    )
    assert.equal(machine.cpus[2]!.count[K.orderViolations], 0)
  })
})
