import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ByHand } from '../../../machine/testing/sim.ts'
import { type Pcb, PcbFlag, TcpPcb } from '../pcb.ts'
import { acknowledged, enter, leave, sent } from './prr.ts'

const MSS = 1000
const cpu = new ByHand(1).cpus[0]!

function connection(): Pcb {
  const p = TcpPcb.cursor(cpu.memory)
  p.at = cpu.slab.allocate(TcpPcb.size)
  cpu.memory.u8.fill(0, p.at, p.at + TcpPcb.size)
  p.mss = MSS
  p.flags = PcbFlag.RECOVERY
  return p
}

/**
 * A round trip of recovery: `segments` were in flight, the first `lost` of them are lost, and each other one is selectively
 * acknowledged by an ACK of its own. Gives what each ACK let go, in segments.
 */
function recovery(segments: number, lost: number, ssthresh: number): { p: Pcb; let: number[] } {
  const p = connection()
  p.sndUna = -5000
  p.sndNxt = p.sndUna + segments * MSS
  p.cwnd = segments * MSS
  p.ssthresh = ssthresh * MSS
  // The three acknowledgments that told of the loss.
  p.sacked = 3 * MSS
  p.flight = (segments - lost - 3) * MSS
  enter(p, 0, MSS)
  const let_: number[] = []
  for (let i = 0; i < segments - lost - 2; i++) {
    if (i > 0) {
      p.sacked += MSS
      p.flight -= MSS
    }
    const free = Math.floor(acknowledged(p, MSS, false) / MSS)
    sent(p, free * MSS)
    p.flight += free * MSS
    let_.push(free)
  }
  return { p, let: let_ }
}

describe('proportional rate reduction', () => {
  test('the first ACK lets the first retransmission go (@rfc 9937 6)', () => {
    assert.equal(recovery(100, 1, 50).let[0], 1)
    assert.equal(recovery(100, 60, 50).let[0]! >= 1, true)
  })

  test('sends for every other ACK where the window is halved, evenly, and ends at ssthresh (@rfc 9937 6)', () => {
    const { p, let: sends } = recovery(100, 1, 50)
    for (let i = 2; i < sends.length; i++) assert(sends[i]! + sends[i - 1]! <= 2, 'no burst')
    for (let i = 4; i < sends.length; i += 4) {
      const total = sends.slice(0, i).reduce((sum, n) => sum + n)
      assert(Math.abs(total - i / 2) <= 1.5, `${total} of ${i}`)
    }
    assert(Math.abs(p.flight - 50 * MSS) <= MSS, `${p.flight} in flight at the end of the round trip`)
    leave(p)
    assert.equal(p.cwnd, 50 * MSS)
  })

  test('sends for seven of ten ACKs where that is what is kept', () => {
    const { let: sends } = recovery(103, 1, 70)
    const total = sends.reduce((sum, n) => sum + n)
    assert(Math.abs(total / sends.length - 0.7) < 0.03, `${total} of ${sends.length}`)
  })

  test('sends for each ACK where losses have taken more than was to be given up (@rfc 9937 6)', () => {
    const { let: sends } = recovery(100, 60, 50)
    for (const count of sends.slice(1)) assert.equal(count, 1)
  })

  test('and one more for each ACK that shows that all goes well (@rfc 9937 6)', () => {
    const p = connection()
    p.sndNxt = 100 * MSS
    p.ssthresh = 50 * MSS
    p.flight = 20 * MSS
    enter(p, 0, 0)
    sent(p, MSS)
    assert.equal(acknowledged(p, MSS, true), 2 * MSS)
    assert.equal(acknowledged(p, MSS, false), MSS)
    assert.equal(p.cwnd, 21 * MSS)
  })

  test('makes up there for what was delivered and not yet followed by as much', () => {
    const p = connection()
    p.sndNxt = 100 * MSS
    p.ssthresh = 50 * MSS
    p.flight = 20 * MSS
    enter(p, 0, 0)
    sent(p, MSS)
    assert.equal(acknowledged(p, 5 * MSS, false), 5 * MSS)
    sent(p, MSS)
    assert.equal(acknowledged(p, MSS, false), 4 * MSS)
  })

  test('never lets more be in flight than ssthresh there (@rfc 6675 4/set-pipe 5/conserve)', () => {
    const p = connection()
    p.sndNxt = 100 * MSS
    p.ssthresh = 50 * MSS
    p.flight = 49.5 * MSS
    enter(p, 0, 0)
    sent(p, MSS)
    assert.equal(acknowledged(p, 10 * MSS, true), 0.5 * MSS)
    assert.equal(p.cwnd, 50 * MSS)
  })

  test('an ACK that tells of nothing changes nothing', () => {
    const p = connection()
    p.sndNxt = 100 * MSS
    p.ssthresh = 50 * MSS
    p.flight = 80 * MSS
    enter(p, 0, 0)
    acknowledged(p, MSS, false)
    p.flight = 20 * MSS
    const { cwnd, prrDelivered } = p
    assert.equal(acknowledged(p, 0, true), cwnd - p.flight)
    assert.equal(p.cwnd, cwnd)
    assert.equal(p.prrDelivered, prrDelivered)
  })

  test('what was selectively acknowledged before recovery is not delivered in it (@rfc 9937 6)', () => {
    const p = connection()
    p.sndUna = 2 ** 31 - 1000
    p.sndNxt = (p.sndUna + 50 * MSS) | 0
    p.sacked = 10 * MSS
    enter(p, 2 * MSS, 3 * MSS)
    assert.equal(p.recoverFlight, 50 * MSS + 2 * MSS - 7 * MSS)
    assert.equal(p.prrDelivered, 0)
    assert.equal(p.prrOut, 0)
  })

  test('what is sent outside of recovery does not count', () => {
    const p = connection()
    p.flags = 0
    sent(p, 5000)
    assert.equal(p.prrOut, 0)
  })

  test('whatever is acknowledged, what may go is bounded by what was delivered (packets are conserved) (@rfc 6675 5/conserve)', () => {
    const ack = fc.record({ delivered: fc.nat({ max: 20 * MSS }), lost: fc.nat({ max: 20 * MSS }), safe: fc.boolean() })
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 500 }),
        fc.integer({ min: 2, max: 250 }),
        fc.array(ack, { maxLength: 80 }),
        (flight, threshold, acks) => {
          const p = connection()
          p.sndNxt = flight * MSS
          p.cwnd = p.flight = flight * MSS
          p.ssthresh = threshold * MSS
          enter(p, 0, 0)
          let delivered = 0
          for (const { delivered: some, lost, safe } of acks) {
            const now = Math.min(some, p.flight)
            p.flight -= now
            p.flight -= Math.min(lost, p.flight)
            delivered += now
            const wasOut = p.prrOut
            const flightBefore = p.flight
            const count = acknowledged(p, now, safe)
            assert(count >= 0)
            assert.equal(p.cwnd >= p.flight, true)
            if (now > 0) {
              const first = wasOut === 0 ? MSS : 0
              if (flightBefore > p.ssthresh) {
                const share = Math.ceil((delivered * p.ssthresh) / (flight * MSS))
                assert(count <= Math.max(share - wasOut, first))
              } else assert(flightBefore + count <= Math.max(p.ssthresh, flightBefore + first))
            }
            const send = now > 0 ? count : 0
            sent(p, send)
            p.flight += send
          }
          cpu.slab.free(p.at)
        },
      ),
      { seed: 9937, numRuns: 300 },
    )
  })
})
