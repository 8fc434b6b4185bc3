import assert from 'node:assert/strict'
import { test } from 'node:test'
import { report, statusOf } from './report.ts'
import type { Requirement } from './requirement.ts'
import type { Mention } from './source.ts'

const requirement = (id: string, group: string, feature: string, level = 'MUST'): Requirement => ({
  id,
  level,
  section: '3.1',
  group,
  feature,
})
const mention = (reference: string, kind: Mention['kind'], name?: string, more: Partial<Mention> = {}): Mention => ({
  rfc: 9293,
  reference,
  kind,
  file: kind === 'test' ? 'src/net/a.test.ts' : 'src/net/a.ts',
  name,
  ...more,
})
const REQUIREMENTS = [
  requirement('MUST-2', 'Window', 'Size | two'),
  requirement('SHLD-5', 'Options', 'IPv4', 'SHOULD'),
  requirement('SHLD-5', 'Options', 'IPv6', 'SHOULD'),
  requirement('MUST-1', 'Window', '- Size one', 'MUST NOT'),
]
const lines = (mentions: readonly Mention[]) =>
  report({ rfc: 9293, file: 'table.tsv', requirements: REQUIREMENTS }, mentions, '../').split('\n')
const row = (mentions: readonly Mention[], start: string) =>
  lines(mentions).filter((line) => line.startsWith(`| ${start} `))

test('the status tells code and tests apart', () => {
  const status = (...mentions: Mention[]) => statusOf(mentions).status
  assert.equal(status(), 'missing')
  assert.equal(status(mention('MUST-1', 'code')), 'met, no test')
  assert.equal(status(mention('MUST-1', 'test')), 'tested, no code tag')
  assert.equal(status(mention('MUST-1', 'code'), mention('MUST-1', 'test')), 'met and tested')
})

test('a reason makes it not applicable, not done, or met in part', () => {
  const not = (reason: string) => mention('MUST-1', 'not', 'f', { reason })
  assert.deepEqual(statusOf([not('no urgent data')]), { status: 'not applicable', reason: 'no urgent data' })
  assert.deepEqual(statusOf([not('not applicable: one')]), { status: 'not applicable', reason: 'one' })
  assert.deepEqual(statusOf([not('not done: later'), not('two')]), { status: 'not done', reason: 'later; two' })
  assert.deepEqual(statusOf([not('IPv6'), mention('MUST-1', 'code')]), { status: 'met in part', reason: 'IPv6' })
})

test('rows stand by group, in the order of the table', () => {
  const shown = lines([]).filter((line) => /^(###|\| (MUST|SHLD)-\d)/.test(line))
  assert.deepEqual(shown, [
    '### Window',
    '| MUST-2 | MUST | 3.1 | Size \\| two | missing |  |  |',
    '| MUST-1 | MUST NOT | 3.1 | - Size one | missing |  |  |',
    '### Options',
    '| SHLD-5 | SHOULD | 3.1 | IPv4 | missing |  |  |',
    '| SHLD-5 | SHOULD | 3.1 | IPv6 | missing |  |  |',
  ])
})

test('rows with the same id share their tags', () => {
  const rows = row([mention('SHLD-5', 'code', 'f')], 'SHLD-5')
  assert.equal(rows.length, 2)
  for (const line of rows) assert.match(line, /met, no test \| \[net\/a\.ts\]\(\.\.\/src\/net\/a\.ts\) `f` \|/)
})

test('a file is linked once, with each name once', () => {
  const mentions = [
    mention('MUST-2', 'code', 'f'),
    mention('MUST-2', 'code', 'f'),
    mention('MUST-2', 'code', 'C.#m'),
    mention('MUST-2', 'code', undefined, { file: 'src/net/b.ts' }),
    mention('MUST-2', 'test', 'a <b> is sent'),
  ]
  assert.deepEqual(row(mentions, 'MUST-2'), [
    '| MUST-2 | MUST | 3.1 | Size \\| two | met and tested | [net/a.ts](../src/net/a.ts) `f`, `C.#m`' +
      '<br>[net/b.ts](../src/net/b.ts) | [net/a.test.ts](../src/net/a.test.ts) “a \\<b\\> is sent” |',
  ])
})

test('the summary counts rows by level and status', () => {
  const mentions = [mention('SHLD-5', 'code', 'f'), mention('MUST-1', 'not', 'f', { reason: 'not done' })]
  assert.deepEqual(row(mentions, 'MUST, MUST NOT'), ['| MUST, MUST NOT | 0 | 0 | 0 | 0 | 1 | 0 | 1 | 2 |'])
  assert.deepEqual(row(mentions, 'SHOULD, SHOULD NOT'), ['| SHOULD, SHOULD NOT | 0 | 2 | 0 | 0 | 0 | 0 | 0 | 2 |'])
  assert.deepEqual(row(mentions, 'MAY'), ['| MAY | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |'])
  assert.deepEqual(row(mentions, 'all'), ['| all | 0 | 2 | 0 | 0 | 1 | 0 | 1 | 4 |'])
})

test('sections stand in a table of their own, by RFC, as the RFC counts', () => {
  const section = (rfc: number, reference: string) => mention(reference, 'code', 'f', { rfc })
  const shown = lines([section(7323, '3.10'), section(7323, '3.9'), section(793, 'A.1'), section(9293, '3.10.7')])
  const start = shown.indexOf('## By section')
  assert.deepEqual(
    shown
      .slice(start)
      .filter((line) => /^(###|\| [\dA])/.test(line))
      .map((line) => line.replace(/ \| met.*/, '')),
    ['### RFC 793', '| A.1', '### RFC 7323', '| 3.9', '| 3.10', '### RFC 9293', '| 3.10.7'],
  )
})

test('without sections there is no table of them', () => {
  assert.ok(!lines([]).includes('## By section'))
})
