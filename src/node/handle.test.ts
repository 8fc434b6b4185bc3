// The surface of the handles, held against the classes of the Node that runs the test.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { binding, isLoaded, Uv, uvError, uvName } from './binding.ts'
import { TcpHandle } from './tcp-handle.ts'
import { UdpHandle } from './udp-handle.ts'

/** Names on a class's prototypes, up to what all asynchronous resources have. */
function surface(prototype: object): string[] {
  const names = new Set<string>()
  for (let at = prototype; at.constructor.name !== 'AsyncWrap'; at = Object.getPrototypeOf(at) as object) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name)
  }
  return [...names]
}

describe('a handle', () => {
  for (const [name, theirs, ours] of [
    ['TCP', binding('tcp_wrap').TCP.prototype, TcpHandle.prototype],
    ['UDP', binding('udp_wrap').UDP.prototype, UdpHandle.prototype],
  ] as const) {
    test(`of ${name} has all that Node's own has, itself`, () => {
      // What it would inherit takes only handles of libuv.
      const missing = surface(theirs).filter((each) => !Object.hasOwn(ours, each) && each !== 'owner')
      assert.deepEqual(missing, [])
    })

    test(`of ${name} is an instance of Node's own class`, () => {
      assert.equal(Object.getPrototypeOf(ours), theirs)
    })
  }

  test('knows errors by the numbers of libuv', () => {
    assert.equal(uvError(104), binding('uv').UV_ECONNRESET)
    assert.equal(uvName(uvError(98)), 'EADDRINUSE')
    assert.equal(uvName(Uv.EOF), 'EOF')
  })

  test('knows what is loaded', () => {
    assert.equal(isLoaded('async_hooks'), true)
    assert.equal(isLoaded('no such module'), false)
  })
})
