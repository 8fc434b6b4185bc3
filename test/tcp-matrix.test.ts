// One bulk transfer over every combination of loss, delay, reordering, and the size of a buffer, in virtual time: how fast it
// is, and what that takes. The results are recorded in tcp-matrix.json, so that nobody makes TCP slower without noticing.
//   DAMSELFLY_RECORD=1 node dist/test/tcp-matrix.test.js        records them anew
//
// Theory is asked as well: a bottleneck that loses nothing is full; loss leaves MSS / RTT · √(3/2) / √p (Mathis, 1997), which is also
// what CUBIC does where that is more than its curve gives (RFC 9438 4.3); a receive buffer gives its size in each round trip.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { FaultOptions } from '../src/device/fault.ts'
import { TcpCounters } from '../src/net/counters.ts'
import { World } from '../src/net/tcp/testing/pair.ts'

interface Cell {
  /** Of data; acknowledgments are not lost. */
  readonly loss: number
  /** One way, ms. */
  readonly delayMs: number
  readonly isReordered: boolean
  /** What bounds the rate: the queue of a bottleneck, or the receive buffer on a link without one. */
  readonly bound: 'queue' | 'receive buffer'
  readonly boundKiB: number
}

interface Result {
  /** Mb/s of what was sent. */
  readonly goodput: number
  readonly retransmissions: number
  readonly timeouts: number
}

const RATE = 20e6
const MSS = 1448
const FRAME = 1514
const LOSSES = [0, 0.001, 0.01, 0.03]
const DELAYS_MS = [0.05, 5, 25, 100]
const BOUNDS_KIB = [64, 1024]
const SEED = 1
/** What a delay is late on either way: a timer's tick and some turns. */
const LATE_US = 130
/** How much slower a cell may be than it was recorded. */
const SLOWER = 0.05
/** How much more it may send again. */
const MORE = 0.2
const MORE_SEGMENTS = 5

const cells: Cell[] = [
  ...product([false, true], LOSSES, 'queue'),
  // The receive buffer by itself: whole windows come and go at once, and with them batches of acknowledgments.
  ...product([false], [0, 0.001], 'receive buffer'),
]

function product(reordered: readonly boolean[], losses: readonly number[], bound: Cell['bound']): Cell[] {
  return DELAYS_MS.flatMap((delayMs) =>
    BOUNDS_KIB.flatMap((boundKiB) =>
      losses.flatMap((loss) => reordered.map((isReordered) => ({ loss, delayMs, isReordered, bound, boundKiB }))),
    ),
  )
}

function nameOf({ loss, delayMs, isReordered, bound, boundKiB }: Cell): string {
  const order = isReordered ? ', reordered' : ''
  return `${bound} ${boundKiB} KiB, delay ${delayMs} ms, loss ${loss * 100} %${order}`
}

/** A round trip, s. */
function roundTrip({ delayMs }: Cell): number {
  return (2 * (delayMs * 1000 + LATE_US)) / 1e6
}

function bytesOf({ bound, boundKiB }: Cell): number {
  return bound === 'queue' ? 5e6 : boundKiB === 64 ? 4e6 : 12e6
}

function measure(cell: Cell): Result {
  const { loss, delayMs, isReordered, bound, boundKiB } = cell
  const delayUs = delayMs * 1000
  const forward: FaultOptions = {
    delayUs,
    loss,
    // By three packets, or a quarter of the round trip if those do not come.
    ...(isReordered ? { reorder: 0.02, reorderUs: Math.max(delayUs / 2, 500) } : {}),
    ...(bound === 'queue' ? { rateBitsPerSecond: RATE, queueBytes: boundKiB * 1024 } : {}),
  }
  const world = new World({ seed: SEED, forward, backward: { delayUs } })
  try {
    const bytes = bytesOf(cell)
    const options = bound === 'queue' ? {} : { receiveBytes: boundKiB * 1024 }
    const { client, server } = world.converse({ client: { sends: bytes }, server: { options } })
    world.settle({ limitUs: 1000e6, stallUs: 5e6 })
    assert.equal(server.received, bytes)
    const { retransmitted, timeouts } = world.counts(TcpCounters)
    world.finish()
    const us = server.endedAtUs - client.connectedAtUs
    return { goodput: Math.round((bytes * 8 * 1000) / us) / 1000, retransmissions: retransmitted, timeouts }
  } finally {
    world.abandon()
  }
}

const path = (() => {
  // The tests run as compiled files, two folders deeper than the sources.
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!readdirSync(folder).includes('package.json')) folder = dirname(folder)
  return join(folder, 'test', 'tcp-matrix.json')
})()

const isRecording = process.env.DAMSELFLY_RECORD !== undefined
const recorded: { readonly [cell: string]: Result } = isRecording ? {} : JSON.parse(readFileSync(path, 'utf8'))
const results = new Map<Cell, Result>()

/** What is wrong with a result, or undefined. */
function complaint(cell: Cell, is: Result): string | undefined {
  const was = recorded[nameOf(cell)]
  if (was === undefined) return 'is not recorded'
  if (is.goodput < was.goodput * (1 - SLOWER)) {
    return `has ${is.goodput} Mb/s, and had ${was.goodput}`
  }
  if (is.timeouts > was.timeouts) return `has ${is.timeouts} timeouts, and had ${was.timeouts}`
  if (is.retransmissions > was.retransmissions * (1 + MORE) + MORE_SEGMENTS) {
    return `sends ${is.retransmissions} segments again, and did ${was.retransmissions}`
  }
  return undefined
}

test('a transfer over each kind of network is as fast as it was recorded, with no more timeouts', () => {
  for (const cell of cells) results.set(cell, measure(cell))
  if (isRecording) return
  const complaints = cells.flatMap((cell) => {
    const text = complaint(cell, results.get(cell)!)
    return text === undefined ? [] : [`${nameOf(cell)}: ${text}`]
  })
  const advice = 'if that is as it should be, record anew with DAMSELFLY_RECORD=1 node dist/test/tcp-matrix.test.js'
  assert.deepEqual(complaints, [], `these cells are worse than in test/tcp-matrix.json; ${advice}`)
})

test('a bottleneck that loses nothing is full', () => {
  for (const [cell, { goodput }] of results) {
    if (cell.bound !== 'queue' || cell.loss > 0 || cell.delayMs > 5) continue
    const full = (RATE / 1e6) * (MSS / FRAME)
    // Packets out of order cost a little where the round trip is shorter than what they are late by.
    const least = (cell.isReordered ? 0.9 : 0.98) * full
    assert(goodput >= least, `${nameOf(cell)}: ${goodput} of ${full} Mb/s`)
  }
})

test('random loss leaves as much as theory says', () => {
  for (const [cell, { goodput }] of results) {
    if (cell.bound !== 'queue' || cell.loss === 0) continue
    const mathis = ((MSS * 8) / roundTrip(cell) / 1e6) * Math.sqrt(1.5 / cell.loss)
    const expected = Math.min(mathis, (RATE / 1e6) * (MSS / FRAME))
    assert(goodput >= 0.8 * expected, `${nameOf(cell)}: ${goodput} of ${expected} Mb/s`)
    // Nor does it take more than its share: 1 % and more is many losses, and no slow start hides what follows them.
    if (cell.loss >= 0.01) assert(goodput <= 2 * mathis, `${nameOf(cell)}: ${goodput} Mb/s`)
  }
})

test('a receive buffer is filled in each round trip', () => {
  for (const [cell, { goodput }] of results) {
    // In a tenth of a millisecond a mebibyte comes in several turns.
    if (cell.bound !== 'receive buffer' || cell.loss > 0 || cell.delayMs < 1) continue
    const expected = (cell.boundKiB * 1024 * 8) / roundTrip(cell) / 1e6
    const least = (cell.boundKiB === 64 ? 0.9 : 0.6) * expected
    assert(goodput >= least, `${nameOf(cell)}: ${goodput} of ${expected} Mb/s`)
  }
})

test('loss is recovered from without timeouts', () => {
  const timeouts = [...results].filter(([, result]) => result.timeouts > 0).map(([cell]) => cell)
  // Where three in a hundred are lost the end of a transfer is sometimes lost twice.
  assert.deepEqual(timeouts.filter(({ loss }) => loss < 0.03).map(nameOf), [])
  assert(timeouts.length <= cells.length / 20, `${timeouts.map(nameOf).join('; ')} have timeouts`)
})

after(() => {
  if (!isRecording) return
  const lines = cells.map((cell) => {
    const { goodput, retransmissions, timeouts } = results.get(cell)!
    const values = `"goodput": ${goodput}, "retransmissions": ${retransmissions}, "timeouts": ${timeouts}`
    return `  ${JSON.stringify(nameOf(cell))}: { ${values} }`
  })
  writeFileSync(path, `{\n${lines.join(',\n')}\n}\n`)
})
