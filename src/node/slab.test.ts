import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReadSlab } from './slab.ts'

test('what was kept is never given out again', () => {
  const read = fc.record({
    room: fc.integer({ min: 1, max: 70_000 }),
    kept: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  fc.assert(
    fc.property(fc.array(read, { maxLength: 40 }), (reads) => {
      const slab = new ReadSlab()
      const all: Buffer[] = []
      for (const [i, { room, kept }] of reads.entries()) {
        const buffer = slab.room(room)
        assert.equal(buffer.length, room)
        const bytes = Math.floor(room * kept)
        slab.keep(buffer, bytes)
        all.push(buffer.subarray(0, bytes).fill(i + 1))
      }
      for (const [i, buffer] of all.entries()) assert.ok(buffer.every((byte) => byte === i + 1))
    }),
    { seed: 1, numRuns: 100 },
  )
})

test('small reads share a piece of memory, and begin at whole doubles', () => {
  const slab = new ReadSlab()
  const first = slab.room(100)
  slab.keep(first, 100)
  const second = slab.room(100)
  assert.equal(second.buffer, first.buffer)
  assert.deepEqual([first.byteOffset % 8, second.byteOffset % 8, second.byteOffset - first.byteOffset], [0, 0, 104])
})

test('a large read has memory of its own', () => {
  const slab = new ReadSlab()
  assert.equal(slab.room(60_000).buffer.byteLength, 60_000)
})
