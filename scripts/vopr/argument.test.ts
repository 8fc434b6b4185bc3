import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseArguments } from './argument.ts'

test('a seed, a number of seeds, minutes and a plan are told apart', () => {
  assert.deepEqual(parseArguments(['7']), { from: 7, seeds: 1, shrink: false })
  assert.deepEqual(parseArguments(['--seeds', '5', '--from', '9']), { from: 9, seeds: 5, shrink: false })
  assert.deepEqual(parseArguments(['--minutes', '1.5', '--from', '0']), { from: 0, minutes: 1.5, shrink: false })
  assert.deepEqual(parseArguments(['--plan', 'x.json', '--shrink']), { plan: 'x.json', from: 0, shrink: true })
})

test('without a word some fresh seeds are run, others each time', () => {
  const froms = new Set(Array.from({ length: 5 }, () => (parseArguments([]) as { from: number }).from))
  assert(froms.size > 1)
})

for (const [argv, sentence] of [
  [['--sedes', '5'], /"--sedes" is not understood/],
  [['--seeds'], /--seeds has no value/],
  [['--seeds', '0'], /--seeds is "0": give a whole number from 1/],
  [['--seeds', '1.5'], /give a whole number/],
  [['--minutes', 'x'], /--minutes is "x": give a number from 0.01/],
  [['--from', ''], /--from is ""/],
  [['7', '8'], /two seeds/],
  [['7', '--seeds', '2'], /give one of/],
  [['7', '--from', '2'], /--from goes with/],
  [['4294967296'], /from 0 to 4294967295/],
  [['--plan', 'a', '--plan', 'b'], /twice/],
  [['-1'], /not understood/],
] as const) {
  test(`“${argv.join(' ')}” is refused with a sentence`, () => {
    const result = parseArguments(argv)
    assert(typeof result === 'string')
    assert.match(result, sentence)
  })
}
