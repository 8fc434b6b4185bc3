import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Errno, KernelError } from '../../base/errno.ts'
import { readLockSites } from '../../kernel/lock.ts'
import { ByHand } from '../../machine/testing/sim.ts'
import { addressBytes, Family, networkBytes } from '../../net/address.ts'
import { type Route, RouteTable } from '../../net/route/table.ts'
import { LockedRoutes } from './route.ts'

/** Few bits and few lengths, so that prefixes meet. */
const address = (family: Family) =>
  fc
    .array(fc.constantFrom(0, 1, 0x80, 0xc0, 0xff), { minLength: 2, maxLength: 2 })
    .map((first) => Uint8Array.from({ length: addressBytes(family) }, (_, i) => first[i] ?? 0))
const family = fc.constantFrom(Family.inet, Family.inet6)
const step = family.chain((family) =>
  fc.record({
    family: fc.constant(family),
    kind: fc.constantFrom('insert', 'insert', 'remove', 'lookup', 'lookup'),
    bytes: address(family),
    length: fc.constantFrom(0, 1, 2, 7, 8, 9, 10, 15, 16, addressBytes(family) * 8),
    gateway: fc.boolean(),
    cpu: fc.nat(1),
  }),
)

/** What the stack's table says to a change: 0 or an errno. */
function errnoOf(change: () => void): number {
  try {
    change()
    return 0
  } catch (error) {
    assert(error instanceof KernelError)
    return -error.errno
  }
}

function withTable(cpus: number, run: (handles: readonly LockedRoutes[], machine: ByHand) => void): void {
  const machine = new ByHand(cpus)
  const first = LockedRoutes.create(machine.cpus[0]!, 'routes')
  const handles = machine.cpus.map((cpu, i) => (i === 0 ? first : LockedRoutes.attach(cpu, 'routes')))
  run(handles, machine)
  for (const handle of handles.slice(1)) handle.detach()
  first.free()
  machine.settle()
  for (const { slab } of machine.cpus) slab.collect()
  assert.equal(
    machine.cpus.reduce((sum, { slab }) => sum + slab.live, 0),
    0,
    'all memory is back',
  )
}

test('after any changes, by any CPU, it finds what the table of the stack finds', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      withTable(2, (handles, { memory, cpus }) => {
        const table = new RouteTable()
        const target = cpus[0]!.slab.allocate(64) + 16
        for (const [index, { family, kind, bytes, length, gateway, cpu }] of steps.entries()) {
          const handle = handles[cpu]!
          const prefix = { family, bytes: networkBytes(bytes, length), length }
          const route: Route = { ...prefix, interfaceIndex: index + 1, ...(gateway ? { gateway: bytes } : {}) }
          if (kind === 'insert') {
            assert.equal(
              handle.insert(route),
              errnoOf(() => table.insert(route)),
            )
          } else if (kind === 'remove') {
            assert.equal(
              handle.remove(prefix),
              errnoOf(() => table.remove(prefix)),
            )
          } else {
            memory.u8.set(bytes, target)
            const found = table.lookup(memory.u8, family, target)
            assert.equal(handle.lookup(family, target), found !== undefined)
            if (found === undefined) continue
            assert.equal(handle.interfaceIndex, found.interfaceIndex)
            const copy =
              handle.gateway === 0 ? undefined : memory.u8.slice(handle.gateway, handle.gateway + bytes.length)
            assert.deepEqual(copy, found.gateway)
          }
          assert.equal(handle.count, table.count)
        }
        cpus[0]!.slab.free(target - 16)
      })
    }),
    { seed: 20040611, numRuns: 200 },
  )
})

test('thousands of routes come and go, and their memory with them', () => {
  withTable(1, ([table]) => {
    const prefix = (i: number) => ({ family: Family.inet, bytes: Uint8Array.of(10, i >> 8, i & 255, 0), length: 24 })
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 3000; i++) assert.equal(table!.insert({ ...prefix(i), interfaceIndex: 1 }), 0)
      assert.equal(table!.count, 3000)
      for (let i = 0; i < 3000; i++) assert.equal(table!.remove(prefix(i)), 0)
      assert.equal(table!.count, 0)
    }
    assert.equal(table!.remove(prefix(7)), Errno.ENOENT)
  })
})

test('a table without memory says so, and stays as it was', () => {
  const machine = new ByHand(1, { memoryBytes: 4 * 1024 * 1024 })
  const cpu = machine.cpus[0]!
  const table = LockedRoutes.create(cpu, 'routes')
  const target = cpu.slab.allocate(64) + 16
  machine.memory.u8.set([10, 0, 0, 1], target)
  const route = { family: Family.inet, bytes: Uint8Array.of(10, 0, 0, 0), length: 8, interfaceIndex: 3 }
  assert.equal(table.insert(route), 0)
  // Each of these parts others: two nodes.
  let refused = 0
  for (let i = 0; refused === 0; i++) {
    const bytes = Uint8Array.of(11, i >> 16, (i >> 8) & 255, i & 255)
    refused = table.insert({ family: Family.inet, bytes, length: 32, interfaceIndex: 1 })
  }
  assert.equal(refused, Errno.ENOBUFS)
  assert.equal(table.lookup(Family.inet, target), true)
  assert.equal(table.interfaceIndex, 3)
})

test('a lookup takes the lock once to read, and a change once to write', () => {
  withTable(2, ([one, other], { memory, cpus }) => {
    const target = cpus[0]!.slab.allocate(64) + 16
    const prefix = { family: Family.inet, bytes: Uint8Array.of(10, 0, 0, 0), length: 8 }
    for (let i = 0; i < 5; i++) one!.lookup(Family.inet, target)
    other!.insert({ ...prefix, interfaceIndex: 1 })
    other!.remove(prefix)
    const counts = readLockSites(memory).map(({ name, site, count, countLock }) => [name, site, count, countLock])
    assert.deepEqual(counts, [
      ['rival routes', 'route lookup', 5, 0],
      ['rival routes', 'route change', 2, 0],
    ])
    cpus[0]!.slab.free(target - 16)
  })
})
