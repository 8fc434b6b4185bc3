import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Errno, KernelError } from '../base/errno.ts'
import { pack, unpack } from './failure.ts'

/** As it arrives at another thread. */
const sent = (error: unknown) => unpack(structuredClone(pack(error)))

test("a KernelError arrives as one, with its code, and its sender's stack", () => {
  const error = new KernelError(Errno.EADDRINUSE, 'the port is in use', 'bind')
  const arrived = sent(error)
  assert.ok(arrived instanceof KernelError)
  assert.deepEqual([arrived.code, arrived.errno, arrived.syscall], ['EADDRINUSE', -98, 'bind'])
  assert.equal(arrived.stack, error.stack)
})

test('any other error keeps its name, its code and its stack', () => {
  const error = Object.assign(new RangeError('too far'), { code: 'ERR_OUT_OF_RANGE' })
  const arrived = sent(error)
  assert.deepEqual([arrived.name, arrived.message], ['RangeError', 'too far'])
  assert.equal((arrived as { code?: unknown }).code, 'ERR_OUT_OF_RANGE')
  assert.equal(arrived.stack, error.stack)
})

test('what is thrown and is no error arrives as its text', () => {
  assert.equal(sent('nothing works').message, 'nothing works')
  assert.equal(sent(undefined).message, 'undefined')
})
