import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collect, projectFolder } from './project.ts'

const collected = collect(projectFolder())

test('every tag in the sources and tests is well-formed, and names something that there is', () => {
  assert.deepEqual(collected.mistakes, [])
})

test('what an RFC demands is met and tested, or there is a reason', () => {
  assert.deepEqual(collected.unproven, [])
})

test('every row of the tables of requirements is in the report, and RFC 9293 has 126', () => {
  const tables = collected.text.slice(collected.text.indexOf('\n## RFC'))
  const rows = tables.split('\n').filter((line) => /^\| \S+ \| (MUST|SHOULD|MAY)( NOT)? \|/.test(line))
  const all = collected.tables.reduce((sum, { requirements }) => sum + requirements.length, 0)
  assert.equal(rows.length, all)
  assert.equal(collected.tables[0]!.requirements.length, 126)
})

test('no table names a requirement of a section twice', () => {
  for (const { rfc, requirements } of collected.tables.filter(({ rfc }) => rfc !== 9293)) {
    const ids = requirements.map(({ id }) => id)
    assert.deepEqual(
      ids.filter((id, index) => ids.indexOf(id) !== index),
      [],
      `RFC ${rfc}`,
    )
  }
})

test('what a table refers to in RFC 9293 is there', () => {
  const known = new Set(collected.tables[0]!.requirements.map(({ id }) => id))
  const referred = collected.tables.flatMap(({ requirements }) => requirements.flatMap(({ as }) => as))
  assert.deepEqual(
    referred.filter((id) => !known.has(id)),
    [],
  )
})
