import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkAssertions } from './assertion.ts'
import { Expression } from './expression.ts'

const VALUES = new Map([
  ['tcpi_snd_cwnd', 10],
  ['tcpi_unacked', 3],
  ['tcpi_rto', 300_000],
])
const lookup = (name: string) => VALUES.get(name)
const value = (text: string) => new Expression(text, 1, (name) => VALUES.get(name)!).evaluate()
const check = (code: string) => checkAssertions(code, 7, lookup)

test('arithmetic has the precedences of Python', () => {
  assert.equal(value('1 + 2 * 3 - -4'), 11)
  assert.equal(value('(1 + 2) * 3'), 9)
  assert.equal(value('7 // 2 + 7 % 3 + 8 / 4'), 6)
  assert.equal(value('-7 // 2'), -4)
  assert.equal(value('-7 % 3'), 2)
  assert.equal(value('1 | 2 ^ 3 & 6'), 1)
  assert.equal(value('1 << 3 >> 1'), 4)
  assert.equal(value('~5 + 0x10 + 1e3 + .5'), 1010.5)
})

test('comparisons make chains, and are looser than arithmetic and bits', () => {
  assert.equal(value('1 < 2 < 3'), 1)
  assert.equal(value('1 < 3 < 2'), 0)
  assert.equal(value('3 & 1 == 1'), 1)
  assert.equal(value('tcpi_snd_cwnd == 10 and not tcpi_unacked > 3 or False'), 1)
  assert.equal(value('abs(-3) + min(4, 2) + max(1, 5, 2) + int(2.9)'), 12)
})

test('an assertion that holds is silent, one that does not says what the names are', () => {
  assert.equal(check('assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd'), undefined)
  assert.equal(
    check('assert tcpi_snd_cwnd == 11 and tcpi_unacked == 3, "a; b, c"'),
    'assertion failed: tcpi_snd_cwnd == 11 and tcpi_unacked == 3; tcpi_snd_cwnd is 10, tcpi_unacked is 3',
  )
})

test('statements end at lines and semicolons, but not within parentheses, strings or behind a backslash', () => {
  const code =
    'x = tcpi_rto / 1000 # ms\nassert x == 300; print("a;b")\nassert (x ==\n 300), "no; not"\nassert x \\\n == 301'
  assert.match(check(code)!, /^assertion failed: x == 301; x is 300$/)
})

test('nothing but numbers can be reached: other code is refused, and never run', () => {
  const refused = (code: string, message: RegExp) =>
    assert.throws(() => check(code), { name: 'Unsupported', line: 7, message })
  refused('import os', /only assert, print and name = value are supported/)
  refused('if tcpi_rto > 1: x = 2', /only assert, print/)
  refused('assert __import__("os")', /this is not supported in an assertion/)
  refused('assert eval(1)', /the function eval is not supported/)
  refused('assert constructor(1)', /the function constructor is not supported/)
  refused('assert tcpi_rto.real == 1', /not supported in an assertion/)
  refused('assert tcpi_busy_time == 1', /tcpi_busy_time is not known here/)
  refused('assert toString == 1', /toString is not known here/)
  assert.throws(() => check('assert 1 +'), { name: 'ScriptFailure', message: /this is no expression/ })
  assert.throws(() => check(`assert ${'('.repeat(1000)}1`), { name: 'ScriptFailure' })
})
