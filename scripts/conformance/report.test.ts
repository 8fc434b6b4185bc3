import assert from 'node:assert/strict'
import { test } from 'node:test'
import { report } from './report.ts'
import type { Requirement } from './requirement.ts'
import type { Mention } from './source.ts'

const requirement = (id: string, group: string, feature: string, level = 'MUST'): Requirement => ({
  id,
  level,
  section: '3.1',
  group,
  feature,
  as: [],
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
  report([{ rfc: 9293, title: 'TCP', file: 'table.tsv', requirements: REQUIREMENTS }], mentions, '../').split('\n')
const row = (mentions: readonly Mention[], start: string) =>
  lines(mentions).filter((line) => line.startsWith(`| ${start} `))

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
  assert.deepEqual(row(mentions, '9293'), [
    '| 9293 | MUST, MUST NOT | 0 | 0 | 0 | 0 | 1 | 0 | 1 | 2 |',
    '| 9293 | SHOULD, SHOULD NOT | 0 | 2 | 0 | 0 | 0 | 0 | 0 | 2 |',
  ])
})

test('a table by sections has them in its ids, and refers to what RFC 9293 says again', () => {
  const at = (id: string, as: readonly string[] = []): Requirement => ({
    ...requirement(id, 'Window', id),
    section: id.split('/')[0]!,
    as,
  })
  const table = {
    rfc: 1122,
    title: 'Hosts',
    file: 'b.tsv',
    requirements: [at('3.2/a'), at('4.2', ['MUST-1', 'MUST-2'])],
  }
  const mentions = [
    mention('3.2/a', 'code', 'f', { rfc: 1122 }),
    mention('MUST-1', 'not', 'f', { reason: 'one' }),
    mention('MUST-2', 'code', 'g'),
  ]
  const shown = report([table], mentions, '../').split('\n')
  assert.deepEqual(
    shown.filter((line) => /^\| (id|[34])/.test(line)),
    [
      '| id | level | feature | status | code | tests |',
      '| 3.2/a | MUST | 3.2/a | met, no test | [net/a.ts](../src/net/a.ts) `f` |  |',
      '| 4.2 | MUST | 4.2 | not applicable: one | RFC 9293 MUST-1, MUST-2 |  |',
    ],
  )
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
