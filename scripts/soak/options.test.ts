import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseOptions } from './options.ts'

test('both parts are meant, for five minutes each, unless it is said', () => {
  const { minutes, parts } = parseOptions([])
  assert.deepEqual([minutes, parts], [5, ['network', 'tun']])
  assert.deepEqual(parseOptions(['--minutes', '2.5', '--seed', '3', '--part', 'tun']), {
    minutes: 2.5,
    seed: 3,
    parts: ['tun'],
    help: false,
  })
})

const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
  [['--minutes', '0'], /--minutes is "0": give a number from 2 to/],
  [['--minutes', '-1'], /--minutes/],
  [['--part', 'all'], /--part is "all": give network or tun/],
  [['--seed', '0.5'], /--seed is "0.5": give a whole number/],
  [['--fast'], /--fast/],
  [['more'], /more/],
]
for (const [args, sentence] of WRONG) {
  test(`${args.join(' ')} is refused with a sentence`, () => {
    assert.throws(() => parseOptions(args), { name: 'UsageError', message: sentence })
  })
}
