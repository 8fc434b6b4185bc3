import assert from 'node:assert/strict'
import { test } from 'node:test'
import { collect, projectFolder } from './project.ts'

const collected = collect(projectFolder())

test('every tag in the sources and tests is well-formed, and names something that there is', () => {
  assert.deepEqual(collected.mistakes, [])
})

test('every row of the table of requirements is in the report', () => {
  const rows = collected.text.split('\n').filter((line) => /^\| (MUST|SHLD|MAY|REC)-\d+ /.test(line))
  assert.equal(rows.length, 126)
})
