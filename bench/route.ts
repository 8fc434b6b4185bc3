// What a route lookup costs with 10, 1 000 and 100 000 routes, against a search through all of them and against the
// exact match of a Map, which cannot find prefixes at all.
//
//     node --expose-gc dist/bench/route.js     (with --expose-gc it also says what a lookup allocates)
import { Random } from '../src/base/random.ts'
import { randomRoutes, randomTargets } from '../src/lab/rival/prefix.ts'
import { addressBytes, Family } from '../src/net/address.ts'
import { type Route, RouteTable } from '../src/net/route/table.ts'

const targetCount = 8192

function linearLookup(routes: readonly Route[], u8: Uint8Array, address: number): Route | undefined {
  let longest: Route | undefined
  for (const route of routes) {
    if (longest !== undefined && route.length <= longest.length) continue
    let index = 0
    while ((index + 1) * 8 <= route.length && u8[address + index] === route.bytes[index]) index++
    const rest = route.length - index * 8
    if (rest < 8 && (rest === 0 || (u8[address + index]! ^ route.bytes[index]!) >>> (8 - rest) === 0)) longest = route
  }
  return longest
}

/** ns for each lookup: the median of nine rounds, after one that is not counted. */
function measure(lookup: (address: number) => Route | undefined, bytes: number, lookups: number): number {
  const times: number[] = []
  let sum = 0
  for (let repeat = 0; repeat < 10; repeat++) {
    const start = process.hrtime.bigint()
    for (let turn = 0; turn < lookups; turn++) sum += lookup((turn % targetCount) * bytes)?.interfaceIndex ?? 0
    times.push(Number(process.hrtime.bigint() - start) / lookups)
  }
  if (sum === 0) throw new Error('nothing was found')
  return times.slice(1).sort((a, b) => a - b)[4]!
}

function mapLookup(routes: readonly Route[], u8: Uint8Array): (address: number) => Route | undefined {
  const view = new DataView(u8.buffer)
  const exact = new Map<number, Route>()
  for (let target = 0; target < targetCount; target++)
    exact.set(view.getUint32(target * 4), routes[target % routes.length]!)
  return (address) => exact.get(view.getUint32(address))
}

for (const [name, family] of Object.entries(Family))
  for (const count of [10, 1000, 100_000]) {
    const random = new Random(20040611)
    const bytes = addressBytes(family)
    const routes = randomRoutes(random, family, count)
    const u8 = randomTargets(random, family, routes, targetCount)
    const table = new RouteTable()
    const start = process.hrtime.bigint()
    for (const route of routes) table.insert(route)
    const insertNs = Number(process.hrtime.bigint() - start) / count
    for (let target = 0; target < targetCount; target += 97)
      if (
        count <= 1000 &&
        table.lookup(u8, family, target * bytes)?.length !== linearLookup(routes, u8, target * bytes)?.length
      )
        throw new Error('the table and the search through all routes disagree')

    const trie = measure((address) => table.lookup(u8, family, address), bytes, 200_000)
    const linear = measure((address) => linearLookup(routes, u8, address), bytes, Math.max(20, 2_000_000 / count))
    const exact = family === Family.inet ? measure(mapLookup(routes, u8), bytes, 200_000) : undefined
    const before = process.memoryUsage().heapUsed
    for (let turn = 0; turn < 200_000; turn++) table.lookup(u8, family, (turn % targetCount) * bytes)
    const allocated = (process.memoryUsage().heapUsed - before) / 200_000
    console.log(
      `${name.padEnd(6)} ${String(count).padStart(6)} routes   lookup ${trie.toFixed(0).padStart(4)} ns   all of them ${linear.toFixed(0).padStart(7)} ns (${(linear / trie).toFixed(1)} times)   ` +
        (exact === undefined ? '' : `Map, exact ${exact.toFixed(0)} ns (${(trie / exact).toFixed(1)} of it)   `) +
        `insert ${(insertNs / 1000).toFixed(1)} µs   allocated ${allocated.toFixed(2)} bytes a lookup`,
    )
  }
