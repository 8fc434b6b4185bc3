import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure } from '../base/assert.ts'
import { f64, u16, u32 } from '../base/struct.ts'
import { ByHand } from '../machine/testing/sim.ts'
import { MessageFlag, MessageHeader, message } from './message.ts'
import { FREE_PORT } from './port.ts'

const Sum = message('test.sum', { a: f64, b: f64, carry: u32 })

describe('message', () => {
  test('the fields of a type follow the header, and do not touch it', () => {
    const { memory, cpus } = new ByHand(1)
    const address = cpus[0]!.ports.allocate(Sum)
    assert.equal(Sum.size, MessageHeader.size + 20)
    const header = [...memory.u8.subarray(address, address + MessageHeader.size)]
    const sum = Sum.cursor(memory)
    sum.at = address
    sum.a = 1.5
    sum.b = -1e300
    sum.carry = 0xffffffff
    assert.deepEqual([sum.a, sum.b, sum.carry], [1.5, -1e300, 0xffffffff])
    assert.deepEqual([...memory.u8.subarray(address, address + MessageHeader.size)], header)
  })

  test('a new message is done, is of its type, and goes home when it is answered', () => {
    const { memory, cpus } = new ByHand(1)
    const stale = cpus[0]!.slab.allocate(Sum.size)
    memory.u8.fill(0xff, stale + 8, stale + Sum.size)
    cpus[0]!.slab.free(stale)
    const address = cpus[0]!.ports.allocate(Sum)
    assert.equal(address, stale, 'in memory that was used before')
    const cursor = Sum.cursor(memory)
    cursor.at = address
    const { state: flags, type, replyPort, error, onAbort, onReceipt } = cursor
    assert.deepEqual([flags, type, replyPort, error], [MessageFlag.DONE, Sum.type, FREE_PORT, 0])
    assert.deepEqual([onAbort, onReceipt], [0, 0])
  })

  test('types of different names have different numbers', () => {
    assert.notEqual(message('test.one', {}).type, message('test.two', {}).type)
    assert.equal(message('test.one', { a: u32 }).type, message('test.one', {}).type)
  })

  test('a field of a name that the header has is a bug', () => {
    // It would lie on top of the header's own.
    assert.throws(() => message('test.connect', { address: u32, next: u32 }), AssertionFailure)
    assert.throws(() => message('test.connect', { error: u16 }), AssertionFailure)
  })
})
