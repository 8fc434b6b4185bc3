import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Requirement } from './requirement.ts'
import type { Mention } from './source.ts'
import { judge, statusOf, unproven } from './status.ts'

const mention = (reference: string, kind: Mention['kind'], reason?: string, rfc = 9293): Mention => ({
  rfc,
  reference,
  kind,
  file: 'src/net/a.ts',
  name: 'f',
  ...(reason === undefined ? {} : { reason }),
})
const requirement = (id: string, level = 'MUST', as: readonly string[] = []): Requirement => ({
  id,
  level,
  section: '3.1',
  group: 'Window',
  feature: 'Size',
  as,
})

test('the status tells code and tests apart', () => {
  const status = (...mentions: Mention[]) => statusOf(mentions).status
  assert.equal(status(), 'missing')
  assert.equal(status(mention('MUST-1', 'code')), 'met, no test')
  assert.equal(status(mention('MUST-1', 'test')), 'tested, no code tag')
  assert.equal(status(mention('MUST-1', 'code'), mention('MUST-1', 'test')), 'met and tested')
})

test('a reason makes it not applicable, not done, or met in part', () => {
  const not = (reason: string) => mention('MUST-1', 'not', reason)
  assert.deepEqual(statusOf([not('no urgent data')]), { status: 'not applicable', reason: 'no urgent data' })
  assert.deepEqual(statusOf([not('not applicable: one')]), { status: 'not applicable', reason: 'one' })
  assert.deepEqual(statusOf([not('not done: later'), not('two')]), { status: 'not done', reason: 'later; two' })
  assert.deepEqual(statusOf([not('IPv6'), mention('MUST-1', 'code')]), { status: 'met in part', reason: 'IPv6' })
})

test('what RFC 9293 says again is as good as the worst of it', () => {
  const both = ['code', 'test'] as const
  const mentions = [...both.map((kind) => mention('MUST-1', kind)), mention('MUST-2', 'code')]
  const status = (...as: string[]) => judge(1122, requirement('4.2', 'MUST', as), mentions).status
  assert.equal(status('MUST-1'), 'met and tested')
  assert.equal(status('MUST-1', 'MUST-2'), 'met, no test')
  assert.equal(status('MUST-1', 'MUST-3', 'MUST-2'), 'missing')
})

test('what is demanded is proven, or there is a reason; of all else it is said at least how it stands', () => {
  const requirements = [requirement('MUST-1'), requirement('MUST-2', 'MUST NOT'), requirement('SHLD-1', 'SHOULD')]
  const table = { rfc: 9293, title: 'TCP', file: 'a.tsv', requirements }
  const wanting = (...mentions: Mention[]) => unproven([table], mentions).map((sentence) => sentence.split(' ')[2])
  assert.deepEqual(wanting(), ['MUST-1', 'MUST-2', 'SHLD-1'])
  assert.deepEqual(wanting(mention('MUST-1', 'code'), mention('MUST-2', 'test'), mention('SHLD-1', 'code')), [
    'MUST-1',
    'MUST-2',
  ])
  const proven = [mention('MUST-1', 'code'), mention('MUST-1', 'test')]
  assert.deepEqual(wanting(...proven, mention('MUST-2', 'not', 'not done: why'), mention('SHLD-1', 'test')), [])
  // Another RFC's is no proof.
  assert.deepEqual(wanting(...proven, mention('MUST-2', 'not', 'why', 791), mention('SHLD-1', 'test')), ['MUST-2'])
})
