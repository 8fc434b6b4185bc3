import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseOptions } from './options.ts'

test('both parts are meant, on two CPUs for five minutes each, unless it is said', () => {
  const { minutes, parts, cpus, leak } = parseOptions([])
  assert.deepEqual([minutes, parts, cpus, leak], [5, ['network', 'tun'], 2, undefined])
  const given = ['--minutes', '2.5', '--seed', '3', '--part', 'tun', '--cpus', '3', '--leak', 'slab']
  assert.deepEqual(parseOptions(given), {
    minutes: 2.5,
    seed: 3,
    parts: ['tun'],
    cpus: 3,
    leak: 'slab',
    help: false,
  })
})

const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
  [['--minutes', '0'], /--minutes is "0": give a number from 2 to/],
  [['--minutes', '-1'], /--minutes/],
  [['--part', 'all'], /--part is "all": give network or tun/],
  [['--cpus', '0'], /--cpus is "0": give a number from 1 to 16/],
  [['--cpus', '1.5'], /--cpus is "1.5": give a whole number from 1/],
  [['--leak', 'money'], /--leak is "money": give heap, slab/],
  [['--seed', '0.5'], /--seed is "0.5": give a whole number/],
  [['--fast'], /--fast/],
  [['more'], /more/],
]
for (const [args, sentence] of WRONG) {
  test(`${args.join(' ')} is refused with a sentence`, () => {
    assert.throws(() => parseOptions(args), { name: 'UsageError', message: sentence })
  })
}
