import nodeAssert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { AssertionFailure, assert } from './assert.ts'

describe('assert', () => {
  test('what holds passes', () => {
    assert(true, 'never seen')
  })

  test('what does not hold throws an AssertionFailure with the sentence', () => {
    nodeAssert.throws(
      () => assert(false, 'a port is closed on its own CPU'),
      (error) =>
        error instanceof AssertionFailure &&
        error instanceof Error &&
        error.name === 'AssertionFailure' &&
        error.message === 'a port is closed on its own CPU',
    )
  })
})
