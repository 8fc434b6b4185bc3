import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EDGES, instrument } from './instrument.ts'

/** Runs an instrumented function body with `x`; its result, and the edges that were taken. */
function run(body: string, x: unknown): { result: unknown; taken: string } {
  const { text, edges } = instrument(`function f(x) { ${body} }`, 3)
  const counts = new Uint8Array(3 + edges)
  Object.assign(globalThis, { [EDGES]: counts })
  const result: unknown = new Function('x', `${text}\nreturn f(x)`)(x)
  assert.deepEqual([...counts.subarray(0, 3)], [0, 0, 0], 'edges are numbered from the first')
  return { result, taken: counts.subarray(3).join('') }
}

const CASES: readonly (readonly [string, string, unknown, unknown, unknown])[] = [
  ['an if without an else', 'if (x > 1) return 1; return 2', 2, 0, undefined],
  [
    'an if within an if, and an else that belongs to the inner one',
    'if (x) if (x > 1) return 1; else return 2; return 3',
    2,
    1,
    0,
  ],
  ['a chain of else', 'if (x === 1) return 1; else if (x === 2) return 2; else return 3', 1, 2, 3],
  ['a choice within a choice', 'return x ? x > 1 ? 1 : 2 : 3', 2, 1, 0],
  ['what && and ?? go on to', 'return (x && x.y) ?? "none"', { y: 1 }, {}, 0],
  ['a loop without a block', 'let n = 0; for (let i = 0; i < x; i++) n += i; return n', 5, 0, 1],
  [
    'a switch that falls through',
    'let n = 0; switch (x) { case 1: n++; case 2: n += 2; break; default: n = 9 } return n',
    1,
    2,
    3,
  ],
  ['arrow functions that give objects', 'return [x].map((y) => ({ y })).map(({ y }) => y || 7)[0]', 1, 0, 2],
  ['a catch', 'try { if (x) throw new Error("a"); return 1 } catch { return 2 }', 1, 0, undefined],
  ['a loop that does nothing behind a choice', 'x ||= 5; while (x-- > 0); return x', 3, 0, -1],
]

for (const [name, body, ...inputs] of CASES) {
  test(`${name} does what it did, and tells inputs apart`, () => {
    const runs = inputs.map((x) => run(body, x))
    const plain = inputs.map((x) => new Function('x', body)(x) as unknown)
    assert.deepEqual(
      runs.map(({ result }) => result),
      plain,
    )
    assert(new Set(runs.map(({ taken }) => taken)).size >= 2)
  })
}

test('an edge that is taken again is counted again', () => {
  const { taken } = run('let n = 0; for (let i = 0; i < x; i++) n += i; return n', 5)
  assert.deepEqual([...taken].sort(), ['1', '5'])
})
