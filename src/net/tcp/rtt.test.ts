import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ByHand } from '../../machine/testing/sim.ts'
import { type Pcb, TcpPcb } from './pcb.ts'
import { afterSynTimeout, initialize, measure, timeoutUs } from './rtt.ts'

const MS = 1000
const S = 1_000_000
const memory = new ByHand(1).cpus[0]!

function connection(): Pcb {
  const p = TcpPcb.cursor(memory.memory)
  p.at = memory.slab.allocate(TcpPcb.size)
  memory.memory.u8.fill(0, p.at, p.at + TcpPcb.size)
  initialize(p)
  return p
}

describe('round-trip time', () => {
  test('before anything is measured the timeout is one second (@rfc 6298 2.1)', () => {
    const p = connection()
    assert.equal(timeoutUs(p), S)
    assert.equal(p.srtt, 0)
  })

  test('when the SYN was sent twice it is three seconds for the first data (@rfc 6298 5.7)', () => {
    const p = connection()
    p.backoff = 1
    afterSynTimeout(p)
    assert.equal(timeoutUs(p), 3 * S)
  })

  test('a sample of the handshake is better than the three seconds', () => {
    const p = connection()
    measure(p, 80 * MS)
    afterSynTimeout(p)
    assert.equal(timeoutUs(p), 280 * MS)
  })

  test('the first sample is the average, and half of it the deviation (@rfc 6298 2.2)', () => {
    const p = connection()
    measure(p, 400 * MS)
    assert.equal(p.srtt, 400 * MS)
    assert.equal(p.rttvar, 200 * MS)
    assert.equal(timeoutUs(p), 1200 * MS)
  })

  test('the next samples count an eighth, and their deviation from the old average a quarter (@rfc 6298 2.3)', () => {
    const p = connection()
    measure(p, 400 * MS)
    measure(p, 800 * MS)
    assert.equal(p.rttvar, 0.75 * 200 * MS + 0.25 * 400 * MS)
    assert.equal(p.srtt, 0.875 * 400 * MS + 0.125 * 800 * MS)
    assert.equal(timeoutUs(p), 450 * MS + 4 * 250 * MS)
  })

  test('on a fast path the timeout is 200 ms above the average', () => {
    const p = connection()
    for (let i = 0; i < 200; i++) measure(p, 100)
    assert(Math.abs(timeoutUs(p) - (200 * MS + 100)) < 1)
  })

  test('on a steady path of 190 ms it is not below what a delayed acknowledgment takes', () => {
    const p = connection()
    for (let i = 0; i < 200; i++) measure(p, 190 * MS)
    assert(timeoutUs(p) >= 390 * MS)
  })

  test('it doubles each time that it was in vain, to a minute (@rfc 9293 MUST-19) (@rfc 6298 2.5 5.5)', () => {
    const p = connection()
    measure(p, 100 * MS)
    const seen: number[] = []
    for (p.backoff = 0; p.backoff < 10; p.backoff++) seen.push(timeoutUs(p) / MS)
    assert.deepEqual(seen, [300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 60000, 60000])
    p.backoff = 255
    assert.equal(timeoutUs(p), 60 * S)
  })

  test('a sample ends the backoff', () => {
    const p = connection()
    measure(p, 100 * MS)
    p.backoff = 5
    measure(p, 100 * MS)
    assert.equal(p.backoff, 0)
  })

  test('the least of all samples is remembered (@rfc 8985 6.2/min-rtt)', () => {
    const p = connection()
    for (const sample of [50, 20, 70, 30]) measure(p, sample * MS)
    assert.equal(p.rttMin, 20 * MS)
  })

  test('a sample within one tick of the clock is a sample (@rfc 6298 4/granularity)', () => {
    const p = connection()
    measure(p, 0)
    assert(p.srtt > 0)
    assert(p.rttMin > 0)
  })

  test('what only a forged echo can give is no sample', () => {
    const p = connection()
    measure(p, 100 * MS)
    p.backoff = 2
    for (const sample of [-1, -(2 ** 31), Number.NaN]) measure(p, sample)
    assert.equal(p.srtt, 100 * MS)
    assert.equal(p.backoff, 2)
  })

  test('whatever is measured, the timeout lies above the average and at most at a minute', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ min: 0, max: 2 ** 32, noNaN: true }), { minLength: 1 }), (samples) => {
        const p = connection()
        for (const sample of samples) {
          measure(p, sample)
          assert(timeoutUs(p) <= 60 * S)
          assert(timeoutUs(p) >= Math.min(p.srtt + 200 * MS, 60 * S))
          assert(p.rttMin <= p.srtt + 1e-6)
        }
        memory.slab.free(p.at)
      }),
      { seed: 6298, numRuns: 200 },
    )
  })
})
