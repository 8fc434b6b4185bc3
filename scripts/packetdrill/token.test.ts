import assert from 'node:assert/strict'
import { test } from 'node:test'
import { replaceDefined, tokenize } from './token.ts'

const kinds = (text: string) => tokenize(text).map(({ kind, text: word }) => `${kind} ${word}`)

test('times, ranges of time and blocking times are told apart', () => {
  assert.deepEqual(kinds('+.1 0...0.2 0.100...0.200 +1~+2.5 *').slice(0, -1), [
    ...['symbol +', 'float .1', 'integer 0', 'ellipsis ...', 'float 0.2', 'float 0.100', 'ellipsis ...', 'float 0.200'],
    ...['symbol +', 'integer 1', 'symbol ~', 'symbol +', 'float 2.5', 'symbol *'],
  ])
})

test('flags with a dot, negative numbers, addresses and words that begin with a digit are one token each', () => {
  assert.deepEqual(kinds('P. 1:2(1) -1 192.0.2.1 0x1f 3abc').slice(0, -1), [
    ...['word P', 'symbol .', 'integer 1', 'symbol :', 'integer 2', 'symbol (', 'integer 1', 'symbol )'],
    ...['integer -1', 'ipv4 192.0.2.1', 'hex 0x1f', 'word 3abc'],
  ])
})

test('comments of three kinds are between tokens, and lines are counted through all of them', () => {
  const tokens = tokenize('a // b "\n/* c\n`d */ e # f\ng')
  assert.deepEqual(
    tokens.map(({ text, line }) => [text, line]),
    [
      ['a', 1],
      ['e', 3],
      ['g', 4],
      ['the end of the script', 4],
    ],
  )
})

test('strings, commands and code may have anything within, also lines', () => {
  assert.deepEqual(kinds('"a \\" // b" `c\n\\`d` %{ e }f\n}%').slice(0, -1), [
    'string a \\" // b',
    'command c\n\\`d',
    'code  e }f\n',
  ])
})

test('an option is one token with its value', () => {
  assert.deepEqual(kinds('--mtu=1500 --a="b c" --flag\n').slice(0, -1), [
    'option --mtu=1500',
    'option --a="b c"',
    'option --flag',
  ])
})

test('what does not end is an error at the line where it begins', () => {
  const fails = (text: string, message: RegExp) =>
    assert.throws(() => tokenize(text), { name: 'ScriptFailure', line: 2, message })
  fails('\n"abc', /a string that begins here does not end/)
  fails('\n`abc', /a command that begins here does not end/)
  fails('\n/* abc', /a comment that begins here does not end/)
  fails('\n%{ abc }', /code that begins here does not end/)
})

test('a word that was defined is its value from there on, but not within strings', () => {
  const tokens = replaceDefined(tokenize('N --define=N=12 N "N" --define=S="x y"\nS'))
  assert.deepEqual(
    tokens.map(({ kind, text, line }) => [kind, text, line]),
    [
      ['word', 'N', 1],
      ['integer', '12', 1],
      ['string', 'N', 1],
      ['string', 'x y', 2],
      ['end', 'the end of the script', 2],
    ],
  )
})
