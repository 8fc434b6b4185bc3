import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseTags, withoutTags } from './tag.ts'

const tagsOf = (text: string) => {
  const { tags, problems } = parseTags(text)
  assert.deepEqual(problems, [])
  return tags.map(({ index: _, ...tag }) => tag)
}

test('a tag names a requirement, or several', () => {
  assert.deepEqual(tagsOf('as @rfc 9293 MUST-12 asks'), [{ rfc: 9293, references: ['MUST-12'] }])
  assert.deepEqual(tagsOf('@rfc 9293 MUST-12 SHLD-3, MAY-1: three'), [
    { rfc: 9293, references: ['MUST-12', 'SHLD-3', 'MAY-1'] },
  ])
})

test('the ids of a tag may go on in the next line', () => {
  assert.deepEqual(tagsOf('@rfc 9293 MUST-12,\n   MUST-13'), [{ rfc: 9293, references: ['MUST-12', 'MUST-13'] }])
})

test('a tag names a section, and a bare number behind it is none', () => {
  assert.deepEqual(tagsOf('@rfc 7323 2.3.'), [{ rfc: 7323, references: ['2.3'] }])
  assert.deepEqual(tagsOf('@rfc 6298 5, @rfc 7323 2.3 5.2 4 times, @rfc 793 A.1'), [
    { rfc: 6298, references: ['5'] },
    { rfc: 7323, references: ['2.3', '5.2'] },
    { rfc: 793, references: ['A.1'] },
  ])
})

test('a tag names one of the requirements of a section, or of a part without a number', () => {
  assert.deepEqual(tagsOf('@rfc 1122 3.2.1.3/bad-source 3.2.2, 4.1.3.1/port: three'), [
    { rfc: 1122, references: ['3.2.1.3/bad-source', '3.2.2', '4.1.3.1/port'] },
  ])
  assert.deepEqual(tagsOf('@rfc 792 echo/same-data echo/checksum and so on'), [
    { rfc: 792, references: ['echo/same-data', 'echo/checksum'] },
  ])
})

test('what is not met has a reason, which ends at an empty line or at the next tag', () => {
  assert.deepEqual(tagsOf('@rfc-not 9293 MUST-46: a host\n has no broadcast here\n\nAnd so on. @rfc 9293 MUST-1'), [
    { rfc: 9293, references: ['MUST-46'], reason: 'a host has no broadcast here' },
    { rfc: 9293, references: ['MUST-1'] },
  ])
  assert.deepEqual(tagsOf('@rfc-not 9293 MAY-3 one @rfc-not 9293 MAY-4 two'), [
    { rfc: 9293, references: ['MAY-3'], reason: 'one' },
    { rfc: 9293, references: ['MAY-4'], reason: 'two' },
  ])
})

test('what looks like a tag and is none is a problem, at its place', () => {
  for (const text of [
    'a @rfc MUST-12',
    'a @rfc 9293',
    'a @rfc 9293 the whole',
    'a @rfc 9293 MUST-12x',
    'a @rfc 9293 must-1',
    'a @rfc 1122 3.2/',
    'a @rfc 1122 3.2/Bad',
  ]) {
    const { tags, problems } = parseTags(text)
    assert.deepEqual(tags, [], text)
    assert.equal(problems.length, 1, text)
    assert.equal(problems[0]!.index, 2)
    assert.match(problems[0]!.message, /is no tag: write "@rfc 9293 MUST-12"/)
  }
})

test('what is not met, without a reason, is a problem', () => {
  assert.deepEqual(
    parseTags('@rfc-not 9293 MUST-46 .\n\nText').problems.map(({ message }) => message),
    ['@rfc-not 9293 MUST-46 has no reason: say why not'],
  )
})

test('a title is shown without its tags', () => {
  assert.equal(withoutTags('answers a RST (@rfc 9293 MUST-12)'), 'answers a RST')
  assert.equal(withoutTags('answers (@rfc 9293 MUST-12 SHLD-3, @rfc 7323 2.3) quickly'), 'answers quickly')
  assert.equal(withoutTags('@rfc 9293 MUST-12 answers (a RST)'), 'answers (a RST)')
})
