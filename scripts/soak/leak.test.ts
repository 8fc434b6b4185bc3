// A soak can fail: each kind of leak shows in a reading, and what grows in readings makes the verdict (verdict.test.ts).
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { ByHand } from '../../src/machine/testing/sim.ts'
import { LEAKS, type Leak, leak } from './leak.ts'
import { type CpuReading, type ProcessReading, readCpu, readProcess } from './measure.ts'

setFlagsFromString('--expose-gc')
globalThis.gc = runInNewContext('gc') as NodeJS.GCFunction

const ROUNDS = 100
/** Where each shows, and by how much at least. */
const SHOWS: { readonly [L in Leak]: readonly (readonly [keyof CpuReading | keyof ProcessReading, number])[] } = {
  heap: [['heap', 2e6]],
  slab: [['slab', ROUNDS]],
  timer: [
    ['timers', ROUNDS],
    ['slab', ROUNDS],
  ],
  port: [['ports', ROUNDS]],
  descriptor: [['descriptors', ROUNDS]],
}

for (const kind of LEAKS) {
  test(`a leak on purpose shows in what is read, and without it nothing does: ${kind}`, () => {
    const { cpus, memory } = new ByHand(1)
    const cpu = cpus[0]!
    const read = () => {
      const mine = readCpu(cpu, [])
      return { ...mine, ...readProcess(memory, [mine]) }
    }
    read()
    const before = read()
    const between = read()
    for (let i = 0; i < ROUNDS; i++) leak(cpu, kind)
    const after = read()
    for (const [quantity, least] of SHOWS[kind]) {
      assert(between[quantity] - before[quantity] < least / 10, quantity)
      assert(after[quantity] - between[quantity] >= least, `${quantity}: ${between[quantity]}, then ${after[quantity]}`)
    }
    cpu.shutdown()
  })
}
