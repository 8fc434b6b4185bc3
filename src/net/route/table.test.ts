import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  addressBytes,
  Family,
  formatAddress,
  networkBytes,
  type Prefix,
  parseAddress,
  parsePrefix,
} from '../address.ts'
import { type Route, RouteTable } from './table.ts'

const seed = 20040611

function tableOf(...prefixes: string[]): RouteTable {
  const table = new RouteTable()
  for (const [index, text] of prefixes.entries()) table.insert({ ...parsePrefix(text), interfaceIndex: index + 1 })
  return table
}

function write(prefix: Prefix): string {
  return `${formatAddress(prefix.family, prefix.bytes, 0)}/${prefix.length}`
}

/** The prefix of the route to an address that lies anywhere in a memory. */
function routeTo(table: RouteTable, text: string): string | undefined {
  const { family, bytes } = parseAddress(text)
  const u8 = new Uint8Array(32).fill(0xa5)
  u8.set(bytes, 5)
  const route = table.lookup(u8, family, 5)
  return route && write(route)
}

test('an empty table has no route to anywhere', () => {
  assert.equal(routeTo(new RouteTable(), '10.77.0.1'), undefined)
  assert.equal(routeTo(new RouteTable(), '::1'), undefined)
})

test('the longest prefix wins, whatever the order of insertion', () => {
  const prefixes = ['0.0.0.0/0', '10.0.0.0/8', '10.77.0.0/16', '10.78.0.0/16', '10.77.3.0/24', '10.77.3.9/32']
  for (const table of [tableOf(...prefixes), tableOf(...prefixes.toReversed())]) {
    assert.equal(routeTo(table, '10.77.3.9'), '10.77.3.9/32')
    assert.equal(routeTo(table, '10.77.3.8'), '10.77.3.0/24')
    assert.equal(routeTo(table, '10.77.4.9'), '10.77.0.0/16')
    assert.equal(routeTo(table, '10.78.0.0'), '10.78.0.0/16')
    assert.equal(routeTo(table, '10.79.0.0'), '10.0.0.0/8')
    assert.equal(routeTo(table, '11.0.0.1'), '0.0.0.0/0')
    assert.equal(routeTo(table, '::1'), undefined)
  }
})

test('a node that only parts two others is no route', () => {
  const table = tableOf('10.77.0.0/16', '10.78.0.0/16')
  assert.equal(routeTo(table, '10.76.0.1'), undefined)
  assert.equal(routeTo(table, '10.79.0.1'), undefined)
  assert.equal(routeTo(table, '10.77.0.1'), '10.77.0.0/16')
})

test('the families do not see each other', () => {
  const table = tableOf('0.0.0.0/0', 'fd00::/8')
  assert.equal(routeTo(table, 'fd00::1'), 'fd00::/8')
  assert.equal(routeTo(table, '253.0.0.1'), '0.0.0.0/0')
  assert.equal(routeTo(table, '::1'), undefined)
})

test('a lookup gives the route that insert returned, which shares no bytes with what was given', () => {
  const table = new RouteTable()
  const bytes = Uint8Array.of(10, 77, 0, 0)
  const gateway = Uint8Array.of(10, 1, 0, 1)
  const source = Uint8Array.of(10, 1, 0, 2)
  const route = table.insert({ family: Family.inet, bytes, length: 16, gateway, interfaceIndex: 3, source, metric: 7 })
  bytes.fill(0)
  gateway.fill(0)
  source.fill(0)
  assert.equal(table.lookup(Uint8Array.of(10, 77, 9, 9), Family.inet, 0), route)
  assert.deepEqual(route, {
    family: Family.inet,
    bytes: Uint8Array.of(10, 77, 0, 0),
    length: 16,
    gateway: Uint8Array.of(10, 1, 0, 1),
    interfaceIndex: 3,
    source: Uint8Array.of(10, 1, 0, 2),
    metric: 7,
  })
})

test('a second route for a prefix is refused with EEXIST, and the first stays', () => {
  const table = tableOf('10.77.0.0/16', '0.0.0.0/0')
  const { count } = table
  for (const text of ['10.77.0.0/16', '0.0.0.0/0'])
    assert.throws(() => table.insert({ ...parsePrefix(text), interfaceIndex: 9 }), {
      code: 'EEXIST',
      message: /remove/,
    })
  assert.equal(table.count, count)
  assert.equal(table.lookup(Uint8Array.of(10, 77, 0, 1), Family.inet, 0)?.interfaceIndex, 1)
})

test('a route that is not there is not removed: ENOENT', () => {
  const table = tableOf('10.77.0.0/16', '10.78.0.0/16')
  for (const text of [
    '10.77.0.0/17',
    '10.77.0.0/15'.replace('77', '76'),
    '10.0.0.0/8',
    '10.76.0.0/14',
    '0.0.0.0/0',
    '::/0',
  ])
    assert.throws(() => table.remove(parsePrefix(text)), { code: 'ENOENT' }, text)
  assert.equal(table.count, 2)
})

test('a prefix or gateway that is not of the family, or with bits behind it, is refused with EINVAL', () => {
  const table = new RouteTable()
  const good: Route = { ...parsePrefix('10.77.0.0/16'), interfaceIndex: 1 }
  const bad: Route[] = [
    { ...good, bytes: new Uint8Array(16) },
    { ...good, family: Family.inet6 },
    { ...good, length: 33 },
    { ...good, length: -1 },
    { ...good, length: 16.5 },
    { ...good, gateway: new Uint8Array(16) },
    { ...good, source: new Uint8Array(5) },
  ]
  for (const route of bad) assert.throws(() => table.insert(route), { code: 'EINVAL' })
  assert.throws(() => table.insert({ ...good, length: 15 }), { code: 'EINVAL', message: /say 10\.76\.0\.0\/15/ })
  assert.equal(table.count, 0)
})

test('a full table refuses with ENOSPC and is as it was', () => {
  const table = new RouteTable(2)
  for (const text of ['10.77.0.0/16', '0.0.0.0/0']) table.insert({ ...parsePrefix(text), interfaceIndex: 1 })
  for (const text of ['10.0.0.0/8', '10.76.0.0/16', '10.77.1.0/24', '::/0'])
    assert.throws(() => table.insert({ ...parsePrefix(text), interfaceIndex: 1 }), { code: 'ENOSPC' }, text)
  assert.deepEqual([...table].map(write), ['0.0.0.0/0', '10.77.0.0/16'])
  table.remove(parsePrefix('10.77.0.0/16'))
  table.insert({ ...parsePrefix('::/0'), interfaceIndex: 1 })
  assert.equal(table.count, 2)
})

test('routes are listed by address, the shorter before those inside it', () => {
  const ordered = ['0.0.0.0/0', '9.0.0.0/8', '10.0.0.0/8', '10.0.0.0/16', '10.77.0.0/16', 'fd00::/8', 'fd00::/64']
  assert.deepEqual([...tableOf(...ordered.toReversed())].map(write), ordered)
})

/** What the table should do, by looking at every route. */
class LinearTable {
  readonly routes = new Map<string, Route>()

  lookup(family: Family, address: Uint8Array): Route | undefined {
    let longest: Route | undefined
    for (const route of this.routes.values()) {
      if (route.family !== family || (longest !== undefined && route.length <= longest.length)) continue
      if (networkBytes(address, route.length).every((byte, index) => byte === route.bytes[index])) longest = route
    }
    return longest
  }
}

/** Addresses that share many leading bits: few values of each byte, differing late as often as early. */
function addressOf(family: Family): fc.Arbitrary<Uint8Array> {
  const count = addressBytes(family)
  const byte = fc.constantFrom(0, 0, 0, 1, 2, 0x80, 0xff)
  return fc.array(byte, { minLength: count, maxLength: count }).map((bytes) => Uint8Array.from(bytes))
}

const targets = fc
  .constantFrom<Family>(Family.inet, Family.inet6)
  .chain((family) => addressOf(family).map((bytes) => ({ family, bytes })))

const prefixes = fc
  .constantFrom<Family>(Family.inet, Family.inet6)
  .chain((family) => fc.tuple(addressOf(family), fc.nat(addressBytes(family) * 8), fc.constant(family)))
  .map(([bytes, length, family]): Prefix => ({ family, bytes: networkBytes(bytes, length), length }))

test('whatever is inserted and removed, a lookup finds what a search through all routes finds', () => {
  // Changes choose from a few prefixes, so that they meet again; a target is often inside one.
  const run = fc
    .tuple(fc.array(prefixes, { minLength: 1, maxLength: 40 }), fc.array(targets, { minLength: 1, maxLength: 20 }))
    .chain(([prefixes, targets]) =>
      fc.record({
        prefixes: fc.constant(prefixes),
        targets: fc.constant(targets),
        changes: fc.array(fc.tuple(fc.constantFrom('insert', 'insert', 'remove'), fc.nat(prefixes.length - 1)), {
          maxLength: 120,
        }),
      }),
    )
  let hits = 0
  let misses = 0
  fc.assert(
    fc.property(run, ({ prefixes, targets, changes }) => {
      const table = new RouteTable()
      const model = new LinearTable()
      const everywhere = [...targets, ...prefixes]
      for (const [index, [change, which]] of changes.entries()) {
        const prefix = prefixes[which]!
        const name = write(prefix)
        const known = model.routes.get(name)
        if (change === 'insert') {
          const route = { ...prefix, interfaceIndex: index }
          if (known !== undefined) assert.throws(() => table.insert(route), { code: 'EEXIST' })
          else model.routes.set(name, table.insert(route))
        } else {
          if (known === undefined) assert.throws(() => table.remove(prefix), { code: 'ENOENT' })
          else assert.equal(table.remove(prefix), known)
          model.routes.delete(name)
        }
        const { family, bytes } = everywhere[index % everywhere.length]!
        assert.equal(table.lookup(bytes, family, 0), model.lookup(family, bytes))
      }
      for (const { family, bytes } of everywhere) {
        const expected = model.lookup(family, bytes)
        assert.equal(table.lookup(bytes, family, 0), expected)
        if (expected === undefined) misses++
        else hits++
      }
      assert.equal(table.count, model.routes.size)
      assert.deepEqual(new Set(table), new Set(model.routes.values()))
      for (const route of model.routes.values()) table.remove(route)
      for (const { family, bytes } of everywhere) assert.equal(table.lookup(bytes, family, 0), undefined)
    }),
    { seed, numRuns: 500 },
  )
  assert.ok(hits > 1000 && misses > 1000, `${hits} hits and ${misses} misses: both should be common`)
})
