import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseOptions } from './options.ts'

const KNOWN = ['pcap', 'udp']

test('without a target all are meant, for five minutes', () => {
  const { targets, minutes } = parseOptions([], KNOWN)
  assert.deepEqual([targets, minutes], [KNOWN, 5])
})

test('what is given is taken', () => {
  const args = ['udp', '--minutes', '0.5', '--seed', '7', '--out', 'there', '--replay', 'a', '--replay', 'b']
  assert.deepEqual(parseOptions(args, KNOWN), {
    targets: ['udp'],
    minutes: 0.5,
    seed: 7,
    out: 'there',
    replay: ['a', 'b'],
    help: false,
  })
})

const WRONG: readonly (readonly [readonly string[], RegExp])[] = [
  [['tpc'], /there is no target "tpc": give some of pcap, udp/],
  [['--minutes', '0'], /--minutes is "0": give a number from/],
  [['--minutes', 'x'], /--minutes is "x"/],
  [['--minutes', '1e3'], /--minutes is "1e3"/],
  [['--seed', '1.5'], /--seed is "1.5": give a whole number/],
  [['--replay', 'a'], /--replay is for one target/],
  [['--what'], /--what/],
]
for (const [args, sentence] of WRONG) {
  test(`${args.join(' ')} is refused with a sentence`, () => {
    assert.throws(() => parseOptions(args, KNOWN), { name: 'UsageError', message: sentence })
  })
}
