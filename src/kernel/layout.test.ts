import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { KernelError } from '../base/errno.ts'
import { Limits } from '../base/limits.ts'
import {
  CpuBlock,
  HANDOFF_POINTS,
  HandoffRecord,
  Layout,
  type LayoutOptions,
  RingHeader,
  ZONE_BYTES,
} from './layout.ts'

const MIB = 1024 * 1024

const refuses = (code: string, pattern: RegExp) => (error: unknown) =>
  error instanceof KernelError && error.code === code && error.syscall === 'boot' && pattern.test(error.message)

describe('layout', () => {
  test('regions never overlap, lie within the memory, and hold all that is addressed in them', () => {
    const options = fc.record({
      cpus: fc.integer({ min: 1, max: 40 }),
      ringEntries: fc.constantFrom(16, 64, 256),
      regions: fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), fc.integer({ min: 1, max: 100_000 }), {
        maxKeys: 4,
      }),
    })
    fc.assert(
      fc.property(options, (options) => {
        const layout = new Layout({ ...options, memoryBytes: 512 * MIB })
        let end = 64
        for (const region of layout.regions) {
          assert.ok(region.address >= end, `${region.name} begins after the one before it`)
          assert.equal(region.address % 64, 0)
          end = region.address + region.bytes
        }
        assert.ok(end <= layout.memoryBytes)
        assert.equal(layout.zones % ZONE_BYTES, 0)
        const last = options.cpus - 1
        const inside = (name: string, address: number, size: number) => {
          const region = layout.regions.find((region) => region.name === name)!
          assert.ok(address >= region.address && address + size <= region.address + region.bytes, name)
        }
        inside('cpu blocks', layout.cpuBlock(last), CpuBlock.size)
        inside('ipi rings', layout.ring(last, last), layout.ringBytes)
        inside('hand-offs', layout.handoff(last, HANDOFF_POINTS.length - 1, last), HandoffRecord.size)
        for (const [name, bytes] of Object.entries(options.regions)) {
          const region = layout.region(name)
          assert.deepEqual([region.name, region.bytes], [name, bytes])
          inside(name, region.address, bytes)
        }
      }),
      { seed: 12 },
    )
  })

  test('each ordered pair of CPUs has a ring of its own', () => {
    const layout = new Layout({ cpus: 5, ringEntries: 32 })
    const rings = new Set<number>()
    for (let source = 0; source < 5; source++)
      for (let target = 0; target < 5; target++) rings.add(layout.ring(source, target))
    assert.equal(rings.size, 25)
    const sorted = [...rings].toSorted((a, b) => a - b)
    for (let i = 1; i < 25; i++) assert.equal(sorted[i]! - sorted[i - 1]!, RingHeader.size + 32 * 32)
  })

  test('words with different writers lie on different cache lines', () => {
    const line = (offset: number) => Math.floor(offset / 64)
    assert.notEqual(line(RingHeader.offset.windex), line(RingHeader.offset.rindex))
    assert.notEqual(line(CpuBlock.offset.state), line(CpuBlock.offset.remoteFree))
    assert.notEqual(line(CpuBlock.offset.turns), line(CpuBlock.offset.remoteFree))
    assert.equal(CpuBlock.size % 64, 0)
    assert.equal(HandoffRecord.size % 64, 0)
  })

  for (const cpus of [0, -1, 1.5, Number.NaN, 1000, Number.POSITIVE_INFINITY]) {
    test(`a machine of ${cpus} CPUs is refused`, () => {
      assert.throws(() => new Layout({ cpus }), refuses('EINVAL', /whole number from 1 to 256/))
    })
  }

  for (const ringEntries of [0, 8, 17, 100, 8192, -16, Number.NaN, 2 ** 33]) {
    test(`rings of ${ringEntries} entries are refused`, () => {
      assert.throws(() => new Layout({ cpus: 2, ringEntries }), refuses('EINVAL', /power of two from 16 to 4096/))
    })
  }

  test('memory that is too small is refused with the size that is enough, and that is enough', () => {
    for (const options of [
      { cpus: 8 },
      { cpus: 64, ringEntries: 16 },
      { cpus: 2, regions: { big: 10 * MIB } },
    ] as LayoutOptions[]) {
      let enough = 0
      assert.throws(
        () => new Layout({ ...options, memoryBytes: 5 * MIB }),
        (error) => {
          assert.ok(error instanceof KernelError && error.code === 'ENOMEM')
          enough = Number(/give at least (\d+)/.exec(error.message)?.[1])
          return enough > 5 * MIB
        },
      )
      assert.throws(() => new Layout({ ...options, memoryBytes: enough - 1 }), refuses('ENOMEM', /give at least/))
      assert.equal(new Layout({ ...options, memoryBytes: enough }).zoneCount, options.cpus * 2)
    }
    assert.throws(() => new Layout({ cpus: 1, memoryBytes: 1000 }), refuses('ENOMEM', /from 4194304 \(4 MiB\)/))
    assert.throws(() => new Layout({ cpus: 1, memoryBytes: 2 ** 31 }), refuses('EINVAL', /2 GiB less a page/))
    assert.throws(() => new Layout({ cpus: 1, memoryBytes: 5e6 + 0.5 }), refuses('EINVAL', /whole number/))
  })

  test('a region of no bytes is refused, and one that was not asked for is not there', () => {
    assert.throws(() => new Layout({ cpus: 1, regions: { table: 0 } }), refuses('EINVAL', /region "table" has 0 bytes/))
    const layout = new Layout({ cpus: 1, regions: { routes: 64, hosts: 64 } })
    assert.throws(
      () => layout.region('route'),
      (error) =>
        error instanceof KernelError && error.code === 'ENOENT' && /"route".*routes, hosts/.test(error.message),
    )
    assert.throws(() => new Layout({ cpus: 1 }).region('x'), /none/)
  })

  test('it prints itself, a line for each region', () => {
    const lines = String(new Layout({ cpus: 2, regions: { routes: 3 * MIB } })).split('\n')
    assert.match(lines[0]!, /^first +last +size {2}region$/)
    assert.match(lines[1]!, /^0x00000040 {2}0x0000007f +64 B {2}machine header$/)
    assert.ok(lines.some((line) => /3\.0 MiB {2}routes$/.test(line)))
    assert.match(lines[lines.length - 1]!, /zones$/)
  })

  test('as many CPUs as there may be fit into the largest memory', () => {
    const layout = new Layout({ cpus: Limits.cpus, ringEntries: 64, memoryBytes: Limits.memoryMax })
    assert.ok(layout.zoneCount > 1000)
  })
})
