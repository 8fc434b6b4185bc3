import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { lex, lineOf, withoutComments } from './lexer.ts'

const only = (kind: string, text: string) =>
  lex(text)
    .filter((piece) => piece.kind === kind)
    .map(({ start, end }) => text.slice(start, end))

test('comments are found, of both kinds', () => {
  assert.deepEqual(only('comment', 'a // one\nb /* two\n three */ c'), ['// one', '/* two\n three */'])
})

test('what looks like a comment in a string, a template or a regular expression is none', () => {
  assert.deepEqual(only('comment', `a('// no', "/* no */", \`// no \${b('/* no */')}\`, /[/] \\/\\/ no/) // yes`), [
    '// yes',
  ])
})

test('what looks like a string in a comment or a regular expression is none', () => {
  assert.deepEqual(only('string', `// it's\nif (/'/.test(a)) return /"/\nb('yes')`), ["'yes'"])
})

test('a slash after a value is a division', () => {
  assert.deepEqual(only('string', "a / 2 + b[0] / f('x') / 3"), ["'x'"])
})

test('a string with an escaped quote is one string', () => {
  assert.deepEqual(only('string', String.raw`a('it\'s', "\\")`), [String.raw`'it\'s'`, String.raw`"\\"`])
})

test('a template in a substitution of a template belongs to it', () => {
  const text = 'a(`x $' + '{b(`y $' + '{1 + 1} }`)} z`)'
  assert.deepEqual(only('string', text), [text.slice(2, -1)])
})

test('a string that is not closed ends with its line', () => {
  assert.deepEqual(only('comment', "a('\n// yes"), ['// yes'])
})

test('the pieces of any text are the text, without gap or overlap', () => {
  const characters = fc.string({ unit: fc.constantFrom(...'ab/*\'"`{$}\\\n()[] ', '$' + '{') })
  fc.assert(
    fc.property(characters, (text) => {
      assert.equal(
        lex(text)
          .map(({ start, end }) => text.slice(start, end))
          .join(''),
        text,
      )
    }),
    { seed: 9293, numRuns: 2000 },
  )
})

test('a text without its comments keeps its lines and columns', () => {
  assert.equal(withoutComments("#!x\na /* b\nc */ d // e\n'// f'"), "   \na     \n     d     \n'// f'")
})

test('lines are counted from one', () => {
  assert.deepEqual(
    [0, 1, 2, 3].map((index) => lineOf('a\nb\n', index)),
    [1, 1, 2, 2],
  )
})
