import assert from 'node:assert/strict'
import { test } from 'node:test'
import { disciplines } from './disciplines.ts'
import { duel, duelText } from './duel.ts'
import { made } from './testing/made.ts'

const WHERE = { connections: 64, cpus: 2 }
const rates = (of: { readonly [discipline: string]: readonly number[] }) =>
  made(disciplines, ({ discipline }) => ({ exchanges: of[String(discipline)]!.map((rate) => rate * 1000) }))

test('the rival is the best of those with locks', () => {
  const result = duel(rates({ giant: [1], msgp: [5], 'connp-l': [4], 'connp-t': [10] }), 'exchanges', WHERE)!
  assert.equal(result.rivalName, 'msgp')
  assert.equal(result.verdict, 'wins')
  assert.equal(result.ratio, 2)
  assert.equal(duelText(result, 'apples'), 'connp-t wins with 10 against 5 apples of msgp (2 times)')
})

test('where the spreads overlap nobody has won', () => {
  const of = { giant: [1, 1], msgp: [1, 1], 'connp-l': [4, 6], 'connp-t': [5, 8] }
  const result = duel(rates(of), 'exchanges', WHERE)!
  assert.equal(result.verdict, 'even')
  assert.match(duelText(result, 'apples'), /alike within their spread \(6\.50 against 5 apples of connp-l\)/)
})

test('of a metric that is better when it is less, less wins', () => {
  const times: { readonly [discipline: string]: number } = { giant: 9, msgp: 7, 'connp-l': 5, 'connp-t': 6 }
  const results = made(disciplines, ({ discipline }) => ({ p99: [times[String(discipline)]!] }))
  const result = duel(results, 'p99', WHERE)!
  assert.equal(result.rivalName, 'connp-l')
  assert.equal(result.verdict, 'loses')
})

test('there is no duel where one side was not measured, or the rival did nothing', () => {
  const without = (missing: string) =>
    made(disciplines, ({ discipline }) => (String(discipline).startsWith(missing) ? undefined : { exchanges: [1000] }))
  assert.equal(duel(without('connp-t'), 'exchanges', WHERE), undefined)
  assert.equal(duel(without(''), 'exchanges', WHERE), undefined)
  const zero = rates({ giant: [0], msgp: [0], 'connp-l': [0], 'connp-t': [1] })
  assert.equal(duel(zero, 'exchanges', WHERE), undefined)
})
