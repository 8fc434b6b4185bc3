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

const OURS = 'id\tlevel\tgroup\tfeature\tas\n'

test('a table of ours names sections, and says what RFC 9293 says again', () => {
  const rows = parseRequirements(
    `${OURS}3.2.1.3/bad-source\tMUST\tAddresses\tdropped\t\necho/same-data\tMUST\tEcho\tsame\t\n4.2\tMUST\tTCP\tall\tMUST-1 SHLD-2\n`,
  )
  assert.deepEqual(
    rows.map(({ id, section, as }) => [id, section, as]),
    [
      ['3.2.1.3/bad-source', '3.2.1.3', []],
      ['echo/same-data', 'echo', []],
      ['4.2', '4.2', ['MUST-1', 'SHLD-2']],
    ],
  )
})

test('a line that does not fit the columns of ours is refused, with its number', () => {
  const refused = (line: string) => assert.throws.bind(undefined, () => parseRequirements(`${OURS}${line}\n`))
  refused('3.1\tMUST\tWindow\ta')(/line 2 of the table has not four filled columns and a fifth/)
  refused('MUST-1\tMUST\tWindow\ta\t')(/line 2 of the table: "MUST-1" is no id/)
  refused('3.1/Bad\tMUST\tWindow\ta\t')(/line 2 of the table: "3.1\/Bad" is no id/)
  refused('3.1\tMUST\tWindow\ta\tMUST-1 3.2')(/line 2 of the table: "3.2" is no id of RFC 9293/)
  refused('3.1\tmust\tWindow\ta\t')(/line 2 of the table: "must" is no level/)
})
