import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Errno } from '../../base/errno.ts'
import { closeEventfd, drain, openEventfd, signal } from './eventfd.ts'
import { type Libc, libcUnavailable } from './library.ts'

const skip = libcUnavailable()

test('rings are taken all at once', { skip }, () => {
  const bell = openEventfd()
  assert.equal(drain(bell), 0)
  assert.equal(signal(bell), 0)
  assert.equal(signal(bell), 0)
  assert.equal(drain(bell), 1)
  assert.equal(drain(bell), 0)
  closeEventfd(bell)
})

test('a bell that is closed says so', { skip }, () => {
  const bell = openEventfd()
  closeEventfd(bell)
  assert.equal(signal(bell), -9)
  assert.equal(drain(bell), -9)
})

test('a bell that cannot count further has been rung', () => {
  const system = { eventfdWrite: () => -Errno.EAGAIN } as Partial<Libc> as Libc
  assert.equal(signal(3, system), 0)
})

test('the error says what to do when there are too many open files', () => {
  const system = { eventfd: () => -24 } as Partial<Libc> as Libc
  assert.throws(() => openEventfd(system), { errno: -24, syscall: 'eventfd', message: /ulimit -n/ })
})
