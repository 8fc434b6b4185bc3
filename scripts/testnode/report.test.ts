import assert from 'node:assert/strict'
import { test } from 'node:test'
import { describe, type Result, summarize, verdictOf } from './report.ts'
import { RULES } from './rule.ts'

const result = (kind: Result['kind'], more: Partial<Result> = {}): Result => ({
  module: 'net',
  file: `test-net-${kind}.js`,
  kind,
  reason: kind === 'pass' ? '' : `why ${kind}`,
  ms: 1,
  ...more,
})
const FAILED = { kind: 'fail', reason: 'why there' } as const
const PASSED = { kind: 'pass', reason: '' } as const

test('a failure counts as ours unless plain node fails too', () => {
  assert.equal(verdictOf(result('fail')), 'fail')
  assert.equal(verdictOf(result('timeout', { baseline: PASSED })), 'fail')
  assert.equal(verdictOf(result('fail', { baseline: { kind: 'timeout', reason: '' } })), 'kernel')
  assert.equal(verdictOf(result('pass', { baseline: FAILED })), 'pass')
  assert.equal(verdictOf(result('interrupted')), 'skip')
})

test('a line tells what came of a file', () => {
  assert.equal(describe(result('pass')), 'pass  test-net-pass.js')
  assert.equal(describe(result('fail', { flaky: true })), 'FAIL (flaky, says Node)  test-net-fail.js: why fail')
  assert.equal(describe(result('skip', { rule: 'pipe' })), 'skip  test-net-skip.js: pipe')
})

test('the table counts by module and in all', () => {
  const results = [
    result('pass'),
    result('pass'),
    result('fail'),
    result('skip'),
    result('fail', { module: 'dgram', baseline: FAILED }),
  ]
  const rows = summarize(results, RULES, true)
    .split('\n')
    .slice(0, 4)
    .map((line) => line.split(/ {2,}/))
  assert.deepEqual(rows, [
    ['module', 'files', 'pass', 'fail', 'fails on the kernel too', 'skip', 'pass of pass and fail'],
    ['net', '4', '2', '1', '0', '1', '66.7 %'],
    ['dgram', '1', '0', '0', '1', '0'],
    ['all', '5', '2', '1', '1', '1', '66.7 %'],
  ])
})

test('what failed is listed with its reason, apart from what fails on the kernel too', () => {
  const text = summarize([result('timeout', { baseline: PASSED }), result('fail', { baseline: FAILED })], RULES, true)
  assert.match(text, /\nfails, and passes on plain Node \(1\)\n {2}test-net-timeout\.js: timeout: why timeout\n/)
  assert.match(text, /\nfails on the kernel too \(1\)\n {2}test-net-fail\.js: why fail \| on the kernel: why there\n/)
})

test('what is left out is listed by rule, with the reason of the rule', () => {
  const text = summarize([result('skip', { rule: 'pipe' }), result('skip', { file: 'test-net-own.js' })], RULES, false)
  assert.match(text, /\nleft out by the rule "pipe": uses UNIX domain sockets only \(1\)\n {2}test-net-skip\.js\n/)
  assert.match(text, /\nskipped \(1\)\n {2}test-net-own\.js: why skip\n/)
})

test('what passes although the kernel fails is told as well', () => {
  const text = summarize([result('pass', { baseline: FAILED })], RULES, true)
  assert.match(text, /\npasses, and fails on plain Node \(1\)\n {2}test-net-pass\.js: on the kernel: why there\n/)
})
