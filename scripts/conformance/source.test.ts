import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Requirement } from './requirement.ts'
import { scan } from './source.ts'

const requirement = (id: string): Requirement => ({
  id,
  level: 'MUST',
  section: '3.1',
  group: 'Window',
  feature: id,
  as: [],
})
const TABLES = new Map([
  [9293, ['MUST-1', 'MUST-2', 'SHLD-3'].map(requirement)],
  [826, ['3.1/a', '3.1/b'].map(requirement)],
])

const found = (file: string, text: string) => {
  const { mentions, mistakes } = scan(file, text, TABLES)
  assert.deepEqual(mistakes, [])
  return mentions.map(({ kind, reference, name }) => [kind, reference, name])
}
const mistakes = (file: string, text: string) =>
  scan(file, text, TABLES).mistakes.map(({ line, message }) => `${line}: ${message}`)

test('tags in comments count, tags in strings of a source do not', () => {
  const text = "function a(): void {\n  // @rfc 9293 MUST-1 SHLD-3\n  f('@rfc 9293 MUST-2')\n}\n"
  assert.deepEqual(found('src/a.ts', text), [
    ['code', 'MUST-1', 'a'],
    ['code', 'SHLD-3', 'a'],
  ])
})

test('line comments one below the other are one text, also for a list of ids', () => {
  const text = 'function a(): void {\n  // See @rfc 9293 MUST-1,\n  // MUST-2.\n  f()\n}\n'
  assert.deepEqual(found('src/a.ts', text), [
    ['code', 'MUST-1', 'a'],
    ['code', 'MUST-2', 'a'],
  ])
})

test('a block comment is read without its stars', () => {
  const text =
    '/**\n * @rfc 9293 MUST-1\n *  MUST-2\n * @rfc-not 9293 SHLD-3 for\n * a reason\n */\nfunction a(): void {}\n'
  assert.deepEqual(found('src/a.ts', text), [
    ['code', 'MUST-1', 'a'],
    ['code', 'MUST-2', 'a'],
    ['not', 'SHLD-3', 'a'],
  ])
  assert.equal(scan('src/a.ts', text, TABLES).mentions[2]!.reason, 'for a reason')
})

test('comments behind two lines of code are two texts', () => {
  const text = 'function a(): void {\n  f() // @rfc-not 9293 MUST-1 never\n  gg() // here\n}\n'
  assert.deepEqual(
    scan('src/a.ts', text, TABLES).mentions.map(({ reason }) => reason),
    ['never'],
  )
})

test('tags in the titles of tests count, however the test is written', () => {
  const text = [
    "test('one (@rfc 9293 MUST-1)', () => {})",
    "  it.only('it\\'s two (@rfc 9293 MUST-2)', () => {})",
    "await t.test(\n  // about this\n  'three (@rfc 9293 SHLD-3)', () => {})",
    'test(`four $' + '{a} (@rfc 9293 MUST-1)`, () => {})',
    "onHosts('three again (@rfc 9293 SHLD-3)', {}, (host) => {})",
    "const CASES = [{ title: 'five (@rfc 7323 2.3)', a: 1 }]",
  ].join('\n')
  assert.deepEqual(found('src/a.test.ts', text), [
    ['test', 'MUST-1', 'one'],
    ['test', 'MUST-2', "it's two"],
    ['test', 'SHLD-3', 'three'],
    ['test', 'MUST-1', 'four $' + '{a}'],
    ['test', 'SHLD-3', 'three again'],
    ['test', '2.3', 'five'],
  ])
})

test('a test that never runs proves nothing', () => {
  const text = "test.skip('one (@rfc 9293 MUST-1)', () => {})\ntest.todo('two (@rfc 9293 MUST-2)')\n"
  assert.deepEqual(found('src/a.test.ts', text), [])
})

test('an id that the table does not have is a mistake, with its line', () => {
  assert.deepEqual(mistakes('src/a.ts', 'f()\n// one\n// @rfc 9293 MUST-1 MUST-999\n'), [
    '3: RFC 9293 has no requirement MUST-999: see the table of its requirements',
  ])
  assert.deepEqual(mistakes('src/a.test.ts', "\ntest('one (@rfc 9293 MUST-998)', f)\n"), [
    '2: RFC 9293 has no requirement MUST-998: see the table of its requirements',
  ])
})

test('of a table by sections a section has to be known, and a word behind it', () => {
  assert.deepEqual(found('src/a.ts', '// @rfc 826 3.1 3.1/a'), [
    ['code', '3.1', undefined],
    ['code', '3.1/a', undefined],
  ])
  assert.deepEqual(mistakes('src/a.ts', '// @rfc 826 3.1/c\n\n// @rfc 826 3.2'), [
    '1: RFC 826 has no requirement 3.1/c: see the table of its requirements',
    '3: RFC 826 has no requirement 3.2: see the table of its requirements',
  ])
})

test('an id of an RFC without a table is a mistake, its section is none', () => {
  assert.deepEqual(mistakes('src/a.ts', '// @rfc 1122 MUST-1'), [
    '1: there is no table of the requirements of RFC 1122: name a section in place of MUST-1',
  ])
  assert.deepEqual(found('src/a.ts', '// @rfc 1122 4.2.2'), [['code', '4.2.2', undefined]])
})

test('a tag that nobody would count is a mistake: in comments of tests, in other strings of theirs, in code for tests', () => {
  assert.match(mistakes('src/a.test.ts', '\n// @rfc 9293 MUST-1\n')[0]!, /^2: a tag in a test's comment/)
  assert.match(
    mistakes('src/a.test.ts', "f(1, '@rfc 9293 MUST-1')\n")[0]!,
    /^1: a tag in a string that is no test's title/,
  )
  assert.match(mistakes('src/testing/a.ts', '// @rfc 9293 MUST-1\n')[0]!, /^1: a tag in code that only tests run/)
  assert.match(mistakes('src/a.test.ts', "test('a (@rfc-not 9293 MUST-1 b)', f)\n")[0]!, /^1: @rfc-not in the title/)
})
