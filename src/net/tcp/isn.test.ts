import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Random } from '../../base/random.ts'
import { Family } from '../address.ts'
import { InitialSequence } from './isn.ts'
import { distance } from './sequence.ts'

const HOUR = 3_600_000_000
const view = new DataView(new ArrayBuffer(64))
for (let i = 0; i < 64; i++) view.setUint8(i, i * 7)
const LOCAL = 1
const REMOTE = 33

/** The ISN for a remote port, with a local port of its own. */
const isn = (
  generator: InitialSequence,
  nowUs: number,
  remotePort: number,
  localPort = 80,
  family: Family = Family.inet,
) => generator.next(nowUs, view, family, LOCAL, localPort, REMOTE, remotePort)

describe('initial sequence numbers', () => {
  test('for the same ends they go up with a clock of 4 µs (@rfc 9293 MUST-8)', () => {
    const generator = new InitialSequence(new Random(1))
    for (const start of [0, 12_345, 3 * HOUR, 1000 * HOUR]) {
      const first = isn(generator, start, 5000)
      assert.equal(isn(generator, start + 3, 5000) - first <= 1, true)
      assert.equal(distance(first, isn(generator, start + 4, 5000)), 1)
      assert.equal(distance(first, isn(generator, start + 1_000_000, 5000)), 250_000)
      // Round once: 2^32 ticks.
      assert.equal(distance(first, isn(generator, start + 2 ** 34, 5000)), 0)
    }
  })

  test('they are signed 32-bit numbers, as all sequence numbers', () => {
    const generator = new InitialSequence(new Random(2))
    let negative = 0
    for (let port = 0; port < 1000; port++) {
      const number = isn(generator, 77 * HOUR, port)
      assert.equal(number, number | 0)
      if (number < 0) negative++
    }
    assert(negative > 400 && negative < 600)
  })

  test('for other ends they say nothing: of 100000, no difference between neighbours comes twice (@rfc 9293 SHLD-1)', () => {
    const generator = new InitialSequence(new Random(3))
    const differences = new Set<number>()
    let previous = 0
    const counts = new Array<number>(16).fill(0)
    for (let i = 0; i < 100_000; i++) {
      // What a port scan would see: all at the same time.
      const number = isn(generator, HOUR, i & 0xffff, 1000 + (i >>> 16))
      differences.add(distance(previous, number))
      counts[number >>> 28]!++
      previous = number
    }
    // 100000 of 2^32 meet by chance in about one pair.
    assert(differences.size >= 100_000 - 8, `${differences.size}`)
    for (const count of counts) assert(Math.abs(count - 6250) < 400, `${counts}`)
  })

  test('each of the four parts of a tuple matters, and its family', () => {
    const generator = new InitialSequence(new Random(4))
    const numbers = new Set<number>()
    for (const family of [Family.inet, Family.inet6])
      for (const [local, localPort, remote, remotePort] of [
        [1, 80, 33, 5000],
        [2, 80, 33, 5000],
        [1, 81, 33, 5000],
        [1, 80, 34, 5000],
        [1, 80, 33, 5001],
        [33, 5000, 1, 80],
      ] as const) {
        numbers.add(generator.next(0, view, family, local, localPort, remote, remotePort))
      }
    assert.equal(numbers.size, 12)
  })

  test('every CPU has a key of its own, and a seed gives the same one again (@rfc 9293 MUST-9)', () => {
    const numbers = [5, 6, 5].map((seed) => isn(new InitialSequence(new Random(seed)), HOUR, 5000))
    assert.notEqual(numbers[0], numbers[1])
    assert.equal(numbers[0], numbers[2])
  })

  test('the timestamps of the same ends begin at the same place, those of others elsewhere (@rfc 7323 7.1)', () => {
    const generator = new InitialSequence(new Random(7))
    const offset = (port: number) => generator.timestampOffset(view, Family.inet, LOCAL, 80, REMOTE, port)
    const offsets = new Set<number>()
    for (let port = 0; port < 1000; port++) {
      assert.equal(offset(port), offset(port))
      assert.equal(offset(port), offset(port) | 0)
      offsets.add(offset(port))
      // What the timestamp says tells nothing about the sequence number.
      assert.notEqual(offset(port), isn(generator, 0, port))
    }
    assert.equal(offsets.size, 1000)
  })

  test('of a simulation begin where they are told to, and go up with the clock past 2^32', () => {
    const generator = new InitialSequence(new Random(8), -100)
    assert.equal(isn(generator, 0, 5000), -100)
    assert.equal(isn(generator, 0, 5001), -100)
    assert.equal(isn(generator, 400, 5000), 0)
    assert.equal(isn(generator, 440, 5000), 10)
  })
})
