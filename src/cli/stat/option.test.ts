import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { UsageError } from '../usage.ts'
import { parse } from './option.ts'

describe('the words behind damselfly stat', () => {
  test('are none for the tables of the only instance, once', () => {
    assert.deepEqual(parse([]), {
      pid: 0,
      mode: 'once',
      seconds: 1,
      count: 0,
      json: false,
      pairs: false,
      order: undefined,
      listen: { host: '127.0.0.1', port: 9464 },
    })
  })

  test('ask for what changes, every so often, so many times, in an order', () => {
    const words = ['--pid', '7', '--live', '--interval', '0.5', '--count', '3', '--sort', 'wait99', '--pairs']
    const { pid, mode, seconds, count, order, pairs } = parse(words)
    assert.deepEqual(
      { pid, mode, seconds, count, order, pairs },
      { pid: 7, mode: 'live', seconds: 0.5, count: 3, order: { column: 'wait99', ascending: false }, pairs: true },
    )
    assert.deepEqual(parse(['--sort', 'len-']).order, { column: 'len', ascending: true })
    assert.equal(parse(['--live']).seconds, 1)
  })

  test('have --watch N for --live --interval N', () => {
    assert.deepEqual(parse(['--watch', '2']), parse(['--live', '--interval', '2']))
  })

  test('ask for an endpoint, on loopback unless an address is written out', () => {
    assert.equal(parse(['--prometheus']).mode, 'prometheus')
    assert.deepEqual(parse(['--prometheus', '--listen', '9000']).listen, { host: '127.0.0.1', port: 9000 })
    assert.deepEqual(parse(['--prometheus', '--listen', '0.0.0.0:9000']).listen, { host: '0.0.0.0', port: 9000 })
  })

  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [['--pid', '0'], /^--pid is "0": give a whole number from 1 to 4194304$/],
    [['--watch', '0'], /^--watch is "0": give a number from 0.2 to 3600$/],
    [['--live', '--interval', '0.1'], /^--interval is "0.1": give a number from 0.2 to 3600$/],
    [['--live', '--count', '0'], /^--count is "0": give a whole number from 1/],
    [['--live', '--count', '1.5'], /^--count is "1.5": give a whole number/],
    [['--interval', '1'], /^--interval is for --live$/],
    [['--count', '1'], /^--count is for --live$/],
    [['--listen', '9000'], /^--listen is for --prometheus$/],
    [['--watch', '1', '--interval', '1'], /^--watch N is --live --interval N: give one of them$/],
    [['--live', '--prometheus'], /^--prometheus serves counts and shows none: leave out --live$/],
    [['--json', '--prometheus'], /^--json is not for --prometheus/],
    [['--json', '--sort', 'len'], /^--sort is for tables$/],
    [['--prometheus', '--pairs'], /^--pairs is for tables$/],
    [['--sort', 'name'], /^--sort is "name": give one of len, watermark, direct, queued, /],
    [['--prometheus', '--listen', 'example.org:80'], /^--listen is "example.org:80": give an address and a port/],
    [['--prometheus', '--listen', '127.0.0.1:65536'], /^--listen is "127.0.0.1:65536": give an address/],
    [['more'], /Unexpected argument 'more'/],
    [['--frob'], /Unknown option '--frob'/],
  ]
  for (const [words, sentence] of wrong) {
    test(`cannot be ${words.join(' ')}`, () => {
      assert.throws(() => parse(words), { message: sentence })
    })
  }

  test('that are wrong are the user’s mistake', () => {
    assert.throws(() => parse(['--sort', 'x']), UsageError)
  })
})
