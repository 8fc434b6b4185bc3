// The table and the conclusion about TUN, on results that were made up.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Measurements } from '../measurements.ts'
import { made } from './testing/made.ts'
import { tun } from './tun.ts'

test('it says at which loads the stack is faster than the kernel, slower, or neither', () => {
  const results = made(
    tun,
    ({ load, spins }) => {
      if (load === 'bulk-in') return { ratio: [0.5, 0.6, 0.7], bits: [20e9], kernelBits: [40e9] }
      if (load === 'exchange')
        return { ratio: [2, 2.5], exchanges: [40_000], kernelExchanges: [spins ? 15_000 : 20_000] }
      return load === 'http' ? { ratio: [0.9, 1.2] } : undefined
    },
    true,
  )
  const text = tun.conclude(results)
  assert.match(text, /^Of 5 loads over TUN the stack is faster than the kernel in 3 and slower in 1\./)
  assert.match(text, /Bulk into the server, 1 connection: 0\.600 times the kernel \(20 against 40 Gbit\/s\)\./)
  assert.match(
    text,
    /Exchanges of 64 bytes, 1 connection, servers spinning: 2\.25 times .* \(40 against 15 thousand a second\)/,
  )
  assert.match(text, /2 of 7 loads were not measured\.$/)
})

test('a load that cannot be measured is a row that says why', () => {
  const plan = { name: 'tun', cells: tun.cells({ full: true, processors: 2 }) }
  const outcomes = plan.cells.map(({ key }, i) => ({
    cell: key,
    repetition: 0,
    outcome: i === 0 ? { metrics: { ratio: 2 } } : { impossible: 'making a network namespace needs root' },
  }))
  const { columns, rows } = tun.table(Measurements.of(tun, plan, outcomes))
  assert.equal(columns.at(-1)!.title, 'left out, because')
  assert.equal(rows[0]!.at(-1), undefined)
  assert(rows.slice(1).every((row) => row.at(-1) === 'making a network namespace needs root'))
  for (const row of rows) assert.equal(row.length, columns.length)
})

test('it says so when nothing can be compared', () => {
  assert.match(tun.conclude(made(tun, () => ({ p50: [1] }))), /^Too little was measured/)
})
