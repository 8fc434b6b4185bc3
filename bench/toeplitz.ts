// What the flow hash costs, against the least it could cost (reading its bytes and XORing them) and against Toeplitz
// bit by bit.
//
//     node dist/bench/toeplitz.js
import { Random } from '../src/base/random.ts'
import { addressBytes, Family } from '../src/net/address.ts'
import { flowHash } from '../src/net/toeplitz.ts'

/** Flows in memory as a packet buffer has them: source and target next to each other, at addresses that are only even. */
interface Flows {
  u8: Uint8Array
  family: Family
  bytes: number
  ports: Uint16Array
}

const flowCount = 4096
const stride = 34

function randomFlows(family: Family): Flows {
  const random = new Random(20040611)
  const u8 = Uint8Array.from({ length: flowCount * stride }, () => random.below(256))
  const ports = Uint16Array.from({ length: flowCount * 2 }, () => random.below(65536))
  return { u8, family, bytes: addressBytes(family), ports }
}

// A loop for each, since one that is given the function would call it by a pointer and measure that.

function hashAll({ u8, family, bytes, ports }: Flows): number {
  let sum = 0
  for (let flow = 0; flow < flowCount; flow++) {
    const source = flow * stride
    sum = (sum + flowHash(u8, family, source, source + bytes, ports[flow * 2]!, ports[flow * 2 + 1]!)) | 0
  }
  return sum
}

function readAll({ u8, bytes, ports }: Flows): number {
  let sum = 0
  for (let flow = 0; flow < flowCount; flow++) {
    const source = flow * stride
    let word = ports[flow * 2]! ^ ports[flow * 2 + 1]!
    for (let at = source; at < source + bytes * 2; at += 4) word ^= u8[at]! ^ u8[at + 1]! ^ u8[at + 2]! ^ u8[at + 3]!
    sum = (sum + word) | 0
  }
  return sum
}

function bitByBitAll({ u8, bytes, ports }: Flows): number {
  let sum = 0
  let window = 0
  let hash = 0
  const add = (value: number, bits: number) => {
    for (let bit = bits - 1; bit >= 0; bit--) {
      if (((value >>> bit) & 1) !== 0) hash ^= window
      window = ((window << 1) | (window >>> 15)) & 0xffff
    }
  }
  for (let flow = 0; flow < flowCount; flow++) {
    window = 0x6d5a
    hash = 0
    for (let index = 0; index < bytes * 2; index++) add(u8[flow * stride + index]!, 8)
    add(ports[flow * 2]!, 16)
    add(ports[flow * 2 + 1]!, 16)
    sum = (sum + hash) | 0
  }
  return sum
}

/** ns for each flow: the median of nine rounds, after one that is not counted. */
function measure(all: (flows: Flows) => number, flows: Flows, rounds: number): number {
  const times: number[] = []
  for (let repeat = 0; repeat < 10; repeat++) {
    const start = process.hrtime.bigint()
    for (let round = 0; round < rounds; round++) all(flows)
    times.push(Number(process.hrtime.bigint() - start) / (rounds * flowCount))
  }
  return times.slice(1).sort((a, b) => a - b)[4]!
}

for (const [name, family] of Object.entries(Family)) {
  const flows = randomFlows(family)
  if (hashAll(flows) !== bitByBitAll(flows)) throw new Error('the table and the definition disagree')
  const limit = measure(readAll, flows, 200)
  const table = measure(hashAll, flows, 200)
  const bits = measure(bitByBitAll, flows, 5)
  console.log(
    `${name.padEnd(6)} flow hash ${table.toFixed(1)} ns   read and XOR only ${limit.toFixed(1)} ns (${(table / limit).toFixed(2)} of it)   bit by bit ${bits.toFixed(0)} ns (${(bits / table).toFixed(0)} times)`,
  )
}
