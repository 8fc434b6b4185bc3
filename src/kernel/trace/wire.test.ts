import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Chain, chainText, HOP_KINDS, type Hop } from './chain.ts'
import { decodeChain, encodeChain, TRACE_BYTES_MAX } from './wire.ts'

const frame = { function: 'ask', file: 'program.ts', line: 12, column: 8 }
const hop: Hop = { kind: 'send', cpu: 0, to: 'tcp', atUs: 100, id: 7, frames: [frame] }

test('a chain is itself again after the wire', () => {
  const chain: Chain = {
    hops: [hop, { ...hop, process: { pid: 12, title: 'node' }, isInferred: true, frames: [] }],
    end: 'evicted',
  }
  assert.deepEqual(decodeChain(encodeChain(chain)), chain)
})

test('a chain that is too long loses hops at its far end, and says so', () => {
  const chain: Chain = { hops: Array.from({ length: 40 }, (_, id) => ({ ...hop, id })), end: 'origin' }
  const bytes = encodeChain(chain, 1000)
  assert.ok(bytes.length <= 1000)
  const read = decodeChain(bytes)
  assert.equal(read?.end, 'limit')
  assert.ok(read !== undefined && read.hops.length > 2 && read.hops.length < 10)
  assert.equal(read?.hops[0]?.id, 0)
})

test('bytes that are no chain are refused, and nothing throws', () => {
  const good = JSON.parse(new TextDecoder().decode(encodeChain({ hops: [hop], end: 'origin' })))
  const wrong: unknown[] = [
    null,
    [],
    { ...good, format: 'damselfly-trace-2' },
    { ...good, end: 'never' },
    { ...good, hops: {} },
    { ...good, hops: Array.from({ length: 65 }, () => hop) },
    { ...good, hops: [{ ...hop, kind: 'constructor' }] },
    { ...good, hops: [{ ...hop, cpu: -1 }] },
    { ...good, hops: [{ ...hop, cpu: 1.5 }] },
    { ...good, hops: [{ ...hop, atUs: null }] },
    { ...good, hops: [{ ...hop, to: '\u001b[2J' }] },
    { ...good, hops: [{ ...hop, process: { pid: 'x', title: '' } }] },
    { ...good, hops: [{ ...hop, frames: [{ ...frame, file: 'x'.repeat(1025) }] }] },
    { ...good, hops: [{ ...hop, frames: [{ ...frame, line: 2 ** 60 }] }] },
  ]
  for (const value of wrong) {
    assert.equal(decodeChain(new TextEncoder().encode(JSON.stringify(value))), undefined, JSON.stringify(value))
  }
  assert.equal(decodeChain(new Uint8Array([0xff, 0xfe])), undefined)
  assert.equal(decodeChain(new Uint8Array(TRACE_BYTES_MAX + 1).fill(0x20)), undefined)
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => decodeChain(bytes) === undefined))
})

test('every kind of hop has its words', () => {
  for (const kind of HOP_KINDS) {
    const text = chainText({ hops: [{ ...hop, kind }], end: 'origin' }, 112)
    assert.match(
      text,
      /^[a-zA-Z ]+ by cpu 0 (on port|on|as|to|from trace|from|for) tcp, 12\.0 µs earlier:\n {4}at ask \(program\.ts:12:8\)$/,
    )
  }
})
