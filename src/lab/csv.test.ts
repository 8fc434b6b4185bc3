import assert from 'node:assert/strict'
import { test } from 'node:test'
import { resultsCsv } from './csv.ts'
import { fakeExperiment, fakePlan, fakeResults, fakeRun } from './testing/fake.ts'

test('CSV has a row for each number, with the parameters, and one for each failure', () => {
  const plan = fakePlan([fakeExperiment('sizes', { size: [1, 2] }), fakeExperiment('ways', { way: ['a,"b"'] })])
  const text = resultsCsv(
    fakeResults(plan, [
      fakeRun('size=2', 0, { metrics: { rate: 0.5, drops: 0 } }),
      fakeRun('size=1', 0, { error: 'two\nlines' }),
      fakeRun('way=a,"b"', 1, { impossible: 'not here' }, 'ways'),
    ]),
  )
  const at = '2026-01-02T03:04:05.000Z'
  assert.equal(
    text,
    [
      'experiment,cell,repetition,at,ms,metric,value,failure,parameter size,parameter way',
      `sizes,size=2,0,${at},12,rate,0.5,,2,`,
      `sizes,size=2,0,${at},12,drops,0,,2,`,
      `sizes,size=1,0,${at},12,,,"two\nlines",1,`,
      `ways,"way=a,""b""",1,${at},12,,,not here,,"a,""b"""`,
      '',
    ].join('\r\n'),
  )
})
