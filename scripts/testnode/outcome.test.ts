import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Ended } from './child.ts'
import { outcomeOf } from './outcome.ts'

const outcome = (ended: Partial<Ended>) =>
  outcomeOf({ code: 0, signal: null, stopped: undefined, stdout: '', stderr: '', ms: 1, ...ended })
const reason = (stderr: string, stdout = '') => outcome({ code: 1, stderr, stdout }).reason

test('exit code 0 is a pass, whatever was said', () => {
  assert.deepEqual(outcome({ stderr: 'Error: expected', stdout: 'Skipped nothing' }), { kind: 'pass', reason: '' })
})

test('a test may say that it skips itself, and why', () => {
  assert.deepEqual(outcome({ stdout: 'note\n1..0 # Skipped: missing crypto\n' }), {
    kind: 'skip',
    reason: 'the test itself: missing crypto',
  })
})

test('what it said of skipping does not excuse a failure', () => {
  assert.equal(outcome({ code: 1, stdout: '1..0 # Skipped: one part\n' }).kind, 'fail')
})

test("the reason is the error's first line, not the source line above it", () => {
  assert.equal(
    reason(
      'node:events:502\n      throw er; // Unhandled\n      ^\n\nError: connect ECONNREFUSED 127.0.0.1:1\n    at f (a.js:1:2)\n',
    ),
    'Error: connect ECONNREFUSED 127.0.0.1:1',
  )
  assert.equal(reason('a.js:1\n^\nTypeError [ERR_X]: no\n    at f'), 'TypeError [ERR_X]: no')
  assert.equal(reason('FATAL ERROR: heap\n'), 'FATAL ERROR: heap')
})

test('a line that announces something comes with what it announces', () => {
  assert.equal(
    reason('AssertionError [ERR_ASSERTION]: Expected values to be strictly equal:\n\n1 !== 2\n\n    at f'),
    'AssertionError [ERR_ASSERTION]: Expected values to be strictly equal: 1 !== 2',
  )
  assert.equal(
    reason("AssertionError: not equal:\n+ actual - expected ... Lines skipped\n\n  {\n+   a: 'x',\n-   a: 'y',\n"),
    "AssertionError: not equal: + a: 'x', - a: 'y',",
  )
})

test('a function that was not called is named, with the place in the test', () => {
  const stdout = [
    'connected',
    'Mismatched <anonymous> function calls. Expected exactly 1, actual 0.',
    '    at Proxy.mustCall (/x/test/common/index.js:426:10)',
    '    at Server.<anonymous> (/x/test/parallel/test-net-a.js:12:34)',
    '    at Object.<anonymous> (/x/test/parallel/test-net-a.js:99:1)',
  ]
  assert.equal(
    reason('(node:1) Warning', `${stdout.join('\n')}\n`),
    'Mismatched <anonymous> function calls. Expected exactly 1, actual 0. (test-net-a.js:12)',
  )
})

test('without an error the last line has to do, or the exit code', () => {
  assert.equal(reason('one\ntwo\n\n'), 'two')
  assert.equal(reason(''), 'exit code 1')
  assert.equal(outcome({ code: null, signal: 'SIGABRT' }).reason, 'ended by SIGABRT')
  assert.equal(outcome({ code: null, signal: 'SIGSEGV', stderr: 'oh\n' }).reason, 'ended by SIGSEGV: oh')
})

test('a very long reason is cut', () => {
  assert.equal(reason(`Error: ${'x'.repeat(1000)}`).length, 301)
})

test('a test that was ended from here did not fail by itself', () => {
  assert.deepEqual(outcome({ code: null, signal: 'SIGKILL', stopped: 'interrupt' }).kind, 'interrupted')
  assert.deepEqual(outcome({ code: null, signal: 'SIGKILL', stopped: 'timeout', stdout: 'at one\n' }), {
    kind: 'timeout',
    reason: 'no end in time; it said: at one',
  })
})
