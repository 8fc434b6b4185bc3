import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseRequirements } from './requirement.ts'

const HEAD = 'id\tlevel\tsection\tgroup\tfeature\n'

test('a table is read in its order, and an id may stand in it twice', () => {
  assert.deepEqual(
    parseRequirements(`${HEAD}SHLD-5\tSHOULD\t3.7.1\tOptions\tIPv4\nSHLD-5\tSHOULD\t3.7.1\tOptions\tIPv6\n`).map(
      ({ id, feature }) => `${id} ${feature}`,
    ),
    ['SHLD-5 IPv4', 'SHLD-5 IPv6'],
  )
})

test('a line that does not fit the columns is refused, with its number', () => {
  assert.throws(() => parseRequirements('id\tlevel\n'), /first line is "id\tlevel"/)
  assert.throws(() => parseRequirements(`${HEAD}MUST-1\tMUST\t3.1\tWindow\n`), /line 2 of the table has not five/)
  assert.throws(() => parseRequirements(`${HEAD}MUST-1\tMUST\t3.1\tWindow\ta\tb\n`), /line 2 of the table has not five/)
  assert.throws(() => parseRequirements(`${HEAD}1\tMUST\t3.1\tWindow\ta\n`), /line 2 of the table: "1" is no id/)
  assert.throws(
    () => parseRequirements(`${HEAD}MUST-1\tmust\t3.1\tWindow\ta\n`),
    /line 2 of the table: "must" is no level/,
  )
})
