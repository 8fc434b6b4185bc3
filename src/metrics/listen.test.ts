import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { formatListen, isLoopback, parseListen } from './listen.ts'

describe('where an endpoint listens', () => {
  test('is loopback, where only a port is given', () => {
    for (const text of ['9464', ':9464', 'localhost:9464', '127.0.0.1:9464']) {
      assert.deepEqual(parseListen(text), { host: '127.0.0.1', port: 9464 }, text)
    }
  })

  test('is any address that is written out', () => {
    assert.deepEqual(parseListen('0.0.0.0:1'), { host: '0.0.0.0', port: 1 })
    assert.deepEqual(parseListen('[::]:65535'), { host: '::', port: 65535 })
    assert.deepEqual(parseListen('[::1]:0'), { host: '::1', port: 0 })
  })

  test('is nothing else', () => {
    const wrong = ['', ':', 'x', '127.0.0.1', '127.0.0.1:', '127.0.0.1:65536', '127.0.0.1:-1', '127.0.0:1', '::1:9464']
    wrong.push('[127.0.0.1]:1', '[::1:1', 'example.org:1', '1:2:3', ' 9464', '9464 ', '999999', '[]:1', '*:1')
    assert.deepEqual(
      wrong.filter((text) => parseListen(text) !== undefined),
      [],
    )
  })

  test('reads as it is written', () => {
    for (const text of ['127.0.0.1:9464', '[::1]:1', '0.0.0.0:0']) assert.equal(formatListen(parseListen(text)!), text)
  })

  test('is known for loopback, or not', () => {
    assert.deepEqual(
      ['127.0.0.1', '127.9.8.7', '::1', '::ffff:127.0.0.1'].filter((host) => !isLoopback(host)),
      [],
    )
    const others = ['0.0.0.0', '::', '10.0.0.1', '128.0.0.1', '127.0.0.1.example.org', 'localhost', '']
    assert.deepEqual(others.filter(isLoopback), [])
  })
})
