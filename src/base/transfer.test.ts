import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Transfer } from './transfer.ts'

const pattern = (count: number) => Uint8Array.from({ length: count }, (_, i) => (i * 31 + 7) & 0xff)

for (const shared of [false, true]) {
  describe(`transfer, ${shared ? 'shared' : 'private'} memory`, () => {
    const memory = new WebAssembly.Memory({ initial: 4, maximum: 4, shared })
    const u8 = new Uint8Array(memory.buffer)
    const transfer = new Transfer(u8, shared)

    test('copies exactly what was asked for, at every alignment and on both sides of the threshold', () => {
      for (const count of [0, 1, 7, 64, 255, 256, 257, 1448, 65536]) {
        for (const [from, to] of [
          [0, 0],
          [1, 8],
          [3, 5],
        ] as const) {
          const source = pattern(count + 16)
          u8.fill(0xee)
          transfer.toMachine(source, from, count, 1000 + to)
          assert.deepEqual(u8.slice(1000 + to, 1000 + to + count), source.slice(from, from + count))
          assert.equal(u8[999 + to], 0xee)
          assert.equal(u8[1000 + to + count], 0xee)
          const target = new Uint8Array(count + 16).fill(0xdd)
          transfer.toProgram(1000 + to, count, target, from)
          assert.deepEqual(target.slice(from, from + count), source.slice(from, from + count))
          assert.equal(target[from + count], 0xdd)
          if (from > 0) assert.equal(target[from - 1], 0xdd)
        }
      }
    })

    test('takes a whole source, and views of buffers that begin anywhere', () => {
      const source = pattern(3000)
      transfer.toMachine(source, 0, source.length, 501)
      assert.deepEqual(u8.slice(501, 3501), source)
      const target = Buffer.alloc(4000).subarray(13, 3013)
      transfer.toProgram(501, 3000, target, 0)
      assert.deepEqual(new Uint8Array(target), source)
    })
  })
}
