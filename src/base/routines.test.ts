import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import fc from 'fast-check'
import { AssertionFailure } from './assert.ts'
import { javascriptRoutines, type Routines, routines, wasmRoutines } from './routines.ts'
import type { Views } from './struct.ts'

const seed = 1071
const pages = 4
const memoryBytes = pages * 65536

function viewsOf(buffer: ArrayBufferLike): Views {
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    i32: new Int32Array(buffer),
    u32: new Uint32Array(buffer),
    f64: new Float64Array(buffer),
    view: new DataView(buffer),
  }
}

interface Subject {
  readonly name: string
  readonly views: Views
  readonly routines: Routines
}

/** All implementations, each with a memory of its own. */
function subjects(pageCount = pages): Subject[] {
  const all: Subject[] = []
  for (const shared of [true, false]) {
    for (const kind of ['wasm', 'javascript'] as const) {
      const memory = new WebAssembly.Memory({ initial: pageCount, maximum: pageCount, shared })
      const views = viewsOf(memory.buffer)
      all.push({
        name: `${kind}, ${shared ? 'shared' : 'unshared'} memory`,
        views,
        routines: kind === 'wasm' ? wasmRoutines(memory, shared) : javascriptRoutines(views),
      })
    }
  }
  return all
}

/** RFC 1071 word by word, in integers that cannot overflow: what all implementations must give. */
function model(data: Uint8Array, initial: number): number {
  let total = initial
  for (let i = 0; i < data.length; i += 2) total += data[i]! * 256 + (data[i + 1] ?? 0)
  while (total > 0xffff) total = (total % 65536) + Math.floor(total / 65536)
  return total
}

/** The same noise in the memory of each subject. */
function noise(): Uint8Array {
  const bytes = new Uint8Array(memoryBytes)
  let state = 1
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

const content = noise()
const initials = fc.oneof(
  fc.constantFrom(0, 1, 0xfffe, 0xffff, 0x10000, 0x1fffe, 0x7fffffff, 0x80000000, 0xffff0000, 0xffffffff),
  fc.integer({ min: 0, max: 0xffff }),
  fc.integer({ min: 0, max: 0xffffffff }),
)
// Small ones often: that is where the tails of the loops are.
const lengths = fc.oneof(
  fc.integer({ min: 0, max: 200 }),
  fc.integer({ min: 0, max: 2000 }),
  fc.integer({ min: 0, max: 70000 }),
)
// So that a target up to 300 bytes above it still fits.
const addresses = fc.integer({ min: 0, max: memoryBytes - 70300 })

describe('routines', () => {
  test('sum gives what RFC 1071 says, at any alignment, length and initial sum', () => {
    const all = subjects()
    for (const { views } of all) views.u8.set(content)
    fc.assert(
      fc.property(addresses, lengths, initials, (address, length, initial) => {
        const expected = model(content.subarray(address, address + length), initial)
        for (const { name, routines } of all) assert.equal(routines.sum(address, length, initial), expected, name)
      }),
      { seed, numRuns: 500 },
    )
  })

  test('sum agrees at every alignment of a vector with every length of up to three blocks', () => {
    const all = subjects()
    for (const { views } of all) views.u8.set(content)
    for (let address = 0; address < 16; address++) {
      for (let length = 0; length <= 200; length++) {
        const expected = model(content.subarray(address, address + length), 0)
        for (const { name, routines } of all) {
          assert.equal(routines.sum(address, length, 0), expected, `${name}: ${length} bytes at ${address}`)
        }
      }
    }
  })

  test('a sum is 0 only where all is 0, and 0xffff for any other multiple of 0xffff', () => {
    for (const { name, views, routines } of subjects()) {
      for (const address of [64, 65, 66, 67]) {
        for (const length of [0, 1, 2, 3, 64, 1459, 1460, 70000]) {
          views.u8.fill(0)
          assert.equal(routines.sum(address, length, 0), 0, name)
          for (const initial of [0xffff, 0x1fffe, 0xffff0000, 0xffffffff]) {
            assert.equal(routines.sum(address, length, initial), 0xffff, name)
          }
          assert.equal(routines.sum(address, length, 0x10000), 1, name)
          views.u8.fill(0xff)
          const even = length - (length % 2)
          assert.equal(routines.sum(address, even, 0), even === 0 ? 0 : 0xffff, name)
          assert.equal(routines.copySum(address + 100000, address, even, 0), even === 0 ? 0 : 0xffff, name)
        }
      }
    }
  })

  test('sum brings the carry of a carry round too', () => {
    const all = subjects(1)
    const edge = fc.constantFrom(0, 1, 2, 0xfffd, 0xfffe, 0xffff)
    const parts = fc.tuple(fc.array(edge, { maxLength: 12 }), edge, edge)
    fc.assert(
      fc.property(parts, fc.integer({ min: 64, max: 67 }), ([words, upper, lower], address) => {
        const initial = upper * 65536 + lower
        const data = Uint8Array.from(words.flatMap((word) => [word >>> 8, word & 0xff]))
        for (const { name, views, routines } of all) {
          views.u8.set(data, address)
          assert.equal(routines.sum(address, data.length, initial), model(data, initial), name)
          assert.equal(routines.copySum(1024, address, data.length, initial), model(data, initial), name)
        }
      }),
      // The sum of the words, 0xffff, and the halves of this initial sum make 0x1ffff: twice a carry.
      { seed, numRuns: 2000, examples: [[[[0xffff], 1, 0xffff], 64]] },
    )
  })

  test('a range sums to what its parts do, each given the sum so far, where all but the last are even', () => {
    const all = subjects()
    for (const { views } of all) views.u8.set(content)
    const parts = fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 6 })
    fc.assert(
      fc.property(addresses, parts, fc.integer({ min: 0, max: 1000 }), initials, (address, evens, last, initial) => {
        for (const { name, routines } of all) {
          let at = address
          let sum = routines.sum(at, 0, initial)
          for (const half of evens) {
            sum = routines.sum(at, half * 2, sum)
            at += half * 2
          }
          sum = routines.sum(at, last, sum)
          assert.equal(sum, routines.sum(address, at + last - address, initial), name)
        }
      }),
      { seed, numRuns: 200 },
    )
  })

  test('sum does not overflow on megabytes of the largest words', () => {
    const bytes = 9 * 1024 * 1024
    for (const { name, views, routines } of subjects(bytes / 65536 + 1)) {
      views.u8.fill(0xff)
      for (const address of [0, 1, 2, 3]) {
        assert.equal(routines.sum(address, bytes, 0xffffffff), 0xffff, name)
        assert.equal(routines.sum(address, bytes - 1, 0), 0xff00, name)
        assert.equal(routines.sum(address, bytes - 2, 0xffff), 0xffff, name)
      }
      for (let at = 0; at < bytes; at += memoryBytes) views.u8.set(content, at)
      assert.equal(routines.sum(3, bytes - 4, 0), model(views.u8.subarray(3, bytes - 1), 0), name)
    }
  })

  test('copy is memmove, for ranges that overlap or not', () => {
    const all = subjects()
    fc.assert(
      fc.property(
        addresses,
        fc.integer({ min: -300, max: 300 }),
        addresses,
        fc.boolean(),
        lengths,
        (a, by, b, near, length) => {
          const target = near ? Math.max(0, a + by) : b
          const expected = content.slice()
          expected.set(content.subarray(a, a + length), target)
          for (const { name, views, routines } of all) {
            views.u8.set(content)
            routines.copy(target, a, length)
            assert.ok(Buffer.compare(views.u8, expected) === 0, name)
          }
        },
      ),
      { seed, numRuns: 200 },
    )
  })

  test('copy is right where the target lies just above the source in its page, which takes a path of its own', () => {
    for (const { name, views, routines } of subjects()) {
      for (let above = 0; above <= 33; above++) {
        for (const length of [129, 2048, 4096, 5001, 65536]) {
          views.u8.set(content)
          const target = 16 * 4096 + 100 + above
          routines.copy(target, 100, length)
          const expected = content.slice()
          expected.set(content.subarray(100, 100 + length), target)
          assert.ok(Buffer.compare(views.u8, expected) === 0, `${name}: ${length} bytes, ${above} above`)
        }
      }
    }
  })

  test('copySum copies as copy does and sums what the source held, for ranges that overlap or not', () => {
    const all = subjects()
    fc.assert(
      fc.property(
        addresses,
        fc.integer({ min: -300, max: 300 }),
        addresses,
        fc.boolean(),
        lengths,
        initials,
        (a, by, b, near, length, initial) => {
          const target = near ? Math.max(0, a + by) : b
          const source = content.subarray(a, a + length)
          const expected = content.slice()
          expected.set(source, target)
          const sum = model(source, initial)
          for (const { name, views, routines } of all) {
            views.u8.set(content)
            assert.equal(routines.copySum(target, a, length, initial), sum, name)
            assert.ok(Buffer.compare(views.u8, expected) === 0, name)
          }
        },
      ),
      { seed, numRuns: 300 },
    )
  })

  test('copy and copySum write no byte beside their target, at every alignment and every length of up to three blocks', () => {
    const all = subjects(1)
    for (const { name, views, routines } of all) {
      for (let shift = 0; shift < 16; shift++) {
        for (let length = 0; length <= 200; length++) {
          for (const operation of ['copy', 'copySum'] as const) {
            views.u8.fill(0x5a)
            views.u8.set(content.subarray(0, length), 1024)
            routines[operation](4096 + shift, 1024, length, 0)
            const written = views.u8.subarray(4096 - 16, 4096 + 256)
            const expected = new Uint8Array(written.length).fill(0x5a)
            expected.set(content.subarray(0, length), 16 + shift)
            assert.ok(Buffer.compare(written, expected) === 0, `${name}: ${operation} of ${length} bytes at ${shift}`)
          }
        }
      }
    }
  })

  test('fill writes the low byte of the value to exactly the range', () => {
    const all = subjects()
    fc.assert(
      fc.property(addresses, lengths, fc.integer({ min: 0, max: 0xffffffff }), (address, length, value) => {
        const expected = content.slice().fill(value, address, address + length)
        for (const { name, views, routines } of all) {
          views.u8.set(content)
          routines.fill(address, value, length)
          assert.ok(Buffer.compare(views.u8, expected) === 0, name)
        }
      }),
      { seed, numRuns: 100 },
    )
  })

  test('all work in the last bytes of a memory of 2 GiB', () => {
    // Reserved, not committed: only the pages that are touched take memory.
    const end = 2 ** 31
    const data = content.subarray(0, 1461)
    for (const { name, views, routines } of subjects(end / 65536)) {
      for (const length of [1, 2, 3, 4, 63, 64, 1460, 1461]) {
        const source = end - length
        views.u8.set(data.subarray(0, length), source)
        assert.equal(routines.sum(source, length, 0), model(data.subarray(0, length), 0), name)
        assert.equal(routines.copySum(end - 5000, source, length, 0), model(data.subarray(0, length), 0), name)
        routines.fill(source, 7, length)
        assert.equal(views.u8[end - 1], 7, name)
        routines.copy(source, end - 5000, length)
        assert.equal(routines.sum(source, length, 0), model(data.subarray(0, length), 0), name)
      }
    }
  })

  test('a range that leaves the memory throws', () => {
    for (const { name, routines } of subjects(1)) {
      const failure = name.startsWith('wasm') ? WebAssembly.RuntimeError : AssertionFailure
      assert.throws(() => routines.sum(65536 - 10, 11, 0), failure, name)
      assert.throws(() => routines.copy(65536 - 10, 0, 11), failure, name)
      assert.throws(() => routines.copy(0, 65536 - 10, 11), failure, name)
      assert.throws(() => routines.fill(65536 - 10, 0, 11), failure, name)
      assert.throws(() => routines.copySum(65536 - 10, 0, 11, 0), failure, name)
      assert.throws(() => routines.copySum(0, 65536 - 10, 11, 0), failure, name)
    }
  })
})

describe('the choice of routines', () => {
  test('WebAssembly is taken where there is a memory for it', () => {
    for (const shared of [true, false]) {
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared })
      assert.equal(routines(memory, viewsOf(memory.buffer), shared).kind, 'wasm')
    }
  })

  test('JavaScript is taken where there is no WebAssembly memory', () => {
    const views = viewsOf(new SharedArrayBuffer(65536))
    assert.equal(routines(undefined, views, true).kind, 'javascript')
  })

  test('JavaScript is taken where the modules were not built, which wasmRoutines reports as ENOENT', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'routines-'))
    try {
      writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
      for (const name of ['routines.js', 'checksum.js', 'assert.js', 'errno.js']) {
        copyFileSync(fileURLToPath(new URL(name, import.meta.url)), join(folder, name))
      }
      const alone = (await import(pathToFileURL(join(folder, 'routines.js')).href)) as typeof import('./routines.ts')
      const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 })
      assert.throws(() => alone.wasmRoutines(memory, false), { name: 'KernelError', code: 'ENOENT' })
      assert.equal(alone.routines(memory, viewsOf(memory.buffer), false).kind, 'javascript')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  test('a memory that is not what was said of it is a bug, and no reason to fall back', () => {
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: false })
    assert.throws(() => routines(memory, viewsOf(memory.buffer), true), WebAssembly.LinkError)
  })

  test('a module imports nothing but the memory, and has neither data nor a start function', () => {
    for (const name of ['routines.wasm', 'routines.shared.wasm']) {
      const binary = readFileSync(new URL(name, import.meta.url))
      const module = new WebAssembly.Module(binary)
      assert.deepEqual(WebAssembly.Module.imports(module), [{ module: 'env', name: 'memory', kind: 'memory' }])
      assert.deepEqual(
        WebAssembly.Module.exports(module).map(({ name, kind }) => `${kind} ${name}`),
        ['function copy', 'function fill', 'function sum', 'function copySum'],
      )
      const sections = sectionsOf(binary)
      assert.ok(!sections.includes(8), `${name} has no start section`)
      assert.ok(!sections.includes(11), `${name} has no data section`)
      assert.ok(!sections.includes(6), `${name} has no globals`)
    }
  })
})

/** The ids of a module's sections, in order: after 8 bytes of header, each is an id, a LEB128 length, and content. */
function sectionsOf(binary: Uint8Array): number[] {
  const ids: number[] = []
  let at = 8
  while (at < binary.length) {
    ids.push(binary[at++]!)
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = binary[at++]!
      length |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    at += length
  }
  return ids
}
