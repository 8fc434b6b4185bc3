import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeChain, encodeChain } from '../../kernel/trace/wire.ts'
import { type Below, ProcessTraces } from './process-trace.ts'

const traces = new ProcessTraces()

function entered(below: Below) {
  return traces.take(below)
}
function outer() {
  return entered(entered)
}

test('it begins below the function that was called, with who has called it', () => {
  const [hop] = outer().hops
  assert.equal(hop!.frames[0]!.function, 'outer')
  assert.match(hop!.frames[0]!.file, /process-trace\.test/)
  assert(hop!.frames[0]!.line > 0 && hop!.frames[0]!.column > 0)
  assert.equal(hop!.process!.pid, process.pid)
})

test('the same stack gives the same chain, another one another', () => {
  const chains = Array.from({ length: 3 }, () => outer())
  assert.equal(chains[0], chains[2])
  assert.notEqual(chains[0], outer())
})

test("the program's own way to prepare stacks stays, and is not called", () => {
  const { prepareStackTrace } = Error
  const own = () => assert.fail('it was called')
  Error.prepareStackTrace = own
  try {
    assert(outer().hops[0]!.frames.length > 0)
    assert.equal(Error.prepareStackTrace, own)
  } finally {
    if (prepareStackTrace === undefined) Reflect.deleteProperty(Error, 'prepareStackTrace')
    else Error.prepareStackTrace = prepareStackTrace
  }
})

test('a name that no reader would take is sent as one that it takes', () => {
  const named = { 'evil\u001b[2J\n': () => entered(entered) }
  const { title } = process
  process.title = 'evil\u0007'
  try {
    const chain = named['evil\u001b[2J\n']!()
    assert.deepEqual(decodeChain(encodeChain(chain)), chain)
  } finally {
    process.title = title
  }
})
