import assert from 'node:assert/strict'
import { constants } from 'node:os'
import { describe, test } from 'node:test'
import { Errno, errnoName, KernelError } from './errno.ts'

describe('errno', () => {
  test('the numbers are those of Linux', { skip: process.platform !== 'linux' }, () => {
    const system = constants.errno as Record<string, number>
    for (const [name, number] of Object.entries(Errno)) {
      if (name in system) assert.equal(number, system[name], name)
    }
  })

  test('a number has its name, and one without a name is spelled out', () => {
    for (const [name, number] of Object.entries(Errno)) assert.equal(errnoName(number), name)
    assert.equal(errnoName(4095), 'E4095')
  })

  test("a KernelError has the form of Node's own errors", () => {
    const cause = new Error('why')
    const error = new KernelError(Errno.EADDRINUSE, 'Port 80 is taken: choose another.', 'bind', { cause })
    assert.ok(error instanceof Error)
    assert.equal(error.code, 'EADDRINUSE')
    assert.equal(error.errno, -98)
    assert.equal(error.syscall, 'bind')
    assert.equal(error.cause, cause)
    assert.equal(error.message, 'Port 80 is taken: choose another.')
    assert.equal(error.name, 'KernelError')
  })
})
