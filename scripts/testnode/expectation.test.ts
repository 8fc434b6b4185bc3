import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseExpectations } from './expectation.ts'

const TEXT = `prefix parallel

[true] # everywhere
# test-comment: SKIP
test-everywhere: SKIP

[$system==linux || $system==win32]
test-linux: PASS, FLAKY

[$system==linux && $arch==arm64]
test-arm: SKIP

[$system==macos]
test-mac: SKIP

[$asan==on]
test-asan: SKIP
`

test('the sections that are true here are taken', () => {
  assert.deepEqual(
    [...parseExpectations(TEXT, 'linux', 'x64')],
    [
      ['test-everywhere', 'skip'],
      ['test-linux', 'flaky'],
    ],
  )
  assert.deepEqual([...parseExpectations(TEXT, 'linux', 'arm64').keys()], ['test-everywhere', 'test-linux', 'test-arm'])
  assert.deepEqual([...parseExpectations(TEXT, 'macos', 'x64').keys()], ['test-everywhere', 'test-mac'])
})
