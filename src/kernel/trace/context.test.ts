import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseTraceparent, traceparentText } from './context.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

test('a header is read, and written as it was', () => {
  const context = parseTraceparent(`00-${TRACE}-${SPAN}-01`)
  assert.deepEqual(context, { traceId: TRACE, spanId: SPAN, isSampled: true })
  assert.equal(traceparentText(context!), `00-${TRACE}-${SPAN}-01`)
  assert.equal(parseTraceparent(`00-${TRACE}-${SPAN}-02`)?.isSampled, false)
})

test('of a later version what is known of it is read', () => {
  assert.equal(parseTraceparent(`01-${TRACE}-${SPAN}-01-more`)?.spanId, SPAN)
})

test('what is no header is refused', () => {
  for (const text of [
    '',
    'x',
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-01-more`,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-${SPAN}-0`,
    `01-${TRACE}-${SPAN}-01-${'x'.repeat(1000)}`,
    `00-${TRACE}-${SPAN}-01\n`,
  ]) {
    assert.equal(parseTraceparent(text), undefined, text)
  }
})
