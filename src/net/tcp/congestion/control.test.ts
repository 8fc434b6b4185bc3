import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ByHand } from '../../../machine/testing/sim.ts'
import { type Pcb, PcbFlag, TcpPcb } from '../pcb.ts'
import { type CongestionControl, congestionControl, congestionControlId, congestionControlNames } from './control.ts'
import { cubic } from './cubic.ts'
import { newReno } from './newreno.ts'

const MSS = 1000
const MS = 1000
const S = 1_000_000
const cpu = new ByHand(1).cpus[0]!

/** A connection with nothing in flight and a round trip of 100 ms. */
function connection(control: CongestionControl, mss = MSS): Pcb {
  const p = TcpPcb.cursor(cpu.memory)
  p.at = cpu.slab.allocate(TcpPcb.size)
  cpu.memory.u8.fill(0, p.at, p.at + TcpPcb.size)
  p.mss = mss
  p.srtt = 100 * MS
  p.rto = 300 * MS
  control.initialize(p)
  return p
}

/** `bytes` are in flight, across the end of the sequence space. */
function fly(p: Pcb, bytes: number): void {
  p.sndUna = -3
  p.sndNxt = (p.sndUna + bytes) | 0
}

/** A round trip: all of cwnd is acknowledged, two segments at a time. */
function round(control: CongestionControl, p: Pcb, now: number): void {
  const { cwnd } = p
  for (let acked = 0; acked < cwnd; acked += 2 * p.mss) control.acknowledged(p, Math.min(2 * p.mss, cwnd - acked), now)
}

/** As if recovery was over. */
function lose(control: CongestionControl, p: Pcb, now: number): void {
  fly(p, p.cwnd)
  control.congested(p, now)
  p.cwnd = p.ssthresh
}

describe('congestion control', () => {
  test('a new PCB has CUBIC, and each algorithm is found by its name and its id (@rfc 9293 MAY-18)', () => {
    assert.equal(congestionControl(0), cubic)
    assert.deepEqual(congestionControlNames(), ['cubic', 'newreno'])
    for (const name of congestionControlNames()) {
      const id = congestionControlId(name)
      assert.equal(congestionControl(id).name, name)
      assert.equal(congestionControl(id).id, id)
    }
    assert.equal(congestionControlId('vegas'), -1)
    assert.throws(() => congestionControl(99), /congestion control/)
  })

  for (const control of [newReno, cubic]) {
    describe(`${control.name}, as every algorithm`, () => {
      test('begins with ten segments, or what RFC 6928 gives large ones (@rfc 6928 2) (@rfc 5681 3.1/first-ssthresh)', () => {
        assert.equal(connection(control, 1000).cwnd, 10_000)
        assert(connection(control, 1000).ssthresh >= 2 ** 31, 'nothing bounds the first slow start')
        assert.equal(connection(control, 1460).cwnd, 14_600)
        assert.equal(connection(control, 536).cwnd, 5360)
        assert.equal(connection(control, 8960).cwnd, 17_920)
        assert.equal(connection(control, 4000).cwnd, 14_600)
      })

      test('begins with one segment when the SYN was lost twice, and with ten when it was lost once (@rfc 6928 2)', () => {
        const p = connection(control)
        p.retransmits = 1
        control.initialize(p)
        assert.equal(p.cwnd, 10 * MSS)
        p.retransmits = 2
        control.initialize(p)
        assert.equal(p.cwnd, MSS)
      })

      test('doubles its window each round trip of slow start (@rfc 9293 MUST-19) (@rfc 5681 3.1/algorithms) (@rfc 9438 4.10)', () => {
        const p = connection(control)
        for (const segments of [20, 40, 80]) {
          round(control, p, 0)
          assert.equal(p.cwnd, segments * MSS)
        }
      })

      test('counts bytes in slow start, not acknowledgments, so that splitting them gains nothing (@rfc 3465 2.2)', () => {
        const p = connection(control)
        for (let i = 0; i < 1000; i++) control.acknowledged(p, 1, 0)
        assert.equal(p.cwnd, 11 * MSS)
      })

      test('adds no more than a train for one acknowledgment in slow start, and a segment after a timeout (@rfc 3465 2.3) (@rfc 5681 3.1/slow-start-increase)', () => {
        const p = connection(control)
        control.acknowledged(p, 1_000_000, 0)
        assert.equal(p.cwnd, 10 * MSS + 65536)
        p.cwnd = 10 * MSS
        p.flags = PcbFlag.LOSS
        control.acknowledged(p, 1_000_000, 0)
        assert.equal(p.cwnd, 11 * MSS)
      })

      test('leaves slow start at ssthresh (@rfc 5681 3.1/slow-start) (@rfc 9438 4.10)', () => {
        const p = connection(control)
        p.ssthresh = 15 * MSS
        for (let i = 0; i < 5; i++) control.acknowledged(p, 2 * MSS, 10 * MS)
        assert(p.cwnd >= 15 * MSS && p.cwnd <= 16 * MSS, `${p.cwnd}`)
      })

      test('has no window above 2^30 bytes', () => {
        const p = connection(control)
        p.cwnd = 2 ** 30 - 10
        control.acknowledged(p, 20 * MSS, S)
        assert.equal(p.cwnd, 2 ** 30)
        p.ssthresh = MSS
        for (let i = 0; i < 20; i++) control.acknowledged(p, 2 ** 29, S + i * S)
        assert.equal(p.cwnd, 2 ** 30)
      })

      test('says at a loss where to go, and leaves cwnd alone (@rfc 5681 3.1/loss-ssthresh 3.1/flight-size) (@rfc 6675 5/reduce) (@rfc 9438 4.6)', () => {
        const p = connection(control)
        p.cwnd = 100 * MSS
        fly(p, 80 * MSS)
        control.congested(p, S)
        assert.equal(p.ssthresh, (control === cubic ? 0.7 : 0.5) * 80 * MSS)
        assert.equal(p.cwnd, 100 * MSS)
      })

      test('never goes below two segments at a loss (@rfc 5681 3.1/loss-ssthresh) (@rfc 9438 4.6)', () => {
        const p = connection(control)
        fly(p, 1)
        control.congested(p, S)
        assert.equal(p.ssthresh, 2 * MSS)
        control.timeout(p, S)
        assert.equal(p.ssthresh, 2 * MSS)
      })

      test('begins again with one segment after a timeout (@rfc 9293 MUST-19) (@rfc 5681 3.1/loss-window) (@rfc 9438 4.8)', () => {
        const p = connection(control)
        p.cwnd = 100 * MSS
        fly(p, 100 * MSS)
        control.timeout(p, S)
        assert.equal(p.cwnd, MSS)
        assert.equal(p.ssthresh, (control === cubic ? 70 : 50) * MSS)
      })

      test('keeps ssthresh when the same is lost once more (@rfc 5681 3.1/lost-again)', () => {
        const p = connection(control)
        p.cwnd = 100 * MSS
        fly(p, 100 * MSS)
        control.timeout(p, S)
        const { ssthresh } = p
        p.backoff = 1
        fly(p, MSS)
        control.timeout(p, 2 * S)
        assert.equal(p.ssthresh, ssthresh)
        assert.equal(p.cwnd, MSS)
      })

      test('begins again as at first after a pause longer than the timeout, and not after a shorter one (@rfc 5681 4.1)', () => {
        const p = connection(control)
        p.cwnd = 100 * MSS
        control.idle(p, 300 * MS)
        assert.equal(p.cwnd, 100 * MSS)
        control.idle(p, 301 * MS)
        assert.equal(p.cwnd, 10 * MSS)
        p.cwnd = 3 * MSS
        control.idle(p, 10 * S)
        assert.equal(p.cwnd, 3 * MSS)
      })

      test('keeps its window within what a window can be, whatever happens', () => {
        const event = fc.record({
          kind: fc.constantFrom('acknowledged', 'round', 'congested', 'timeout', 'idle'),
          bytes: fc.integer({ min: 1, max: 2 ** 30 }),
          us: fc.integer({ min: 0, max: 2 ** 40 }),
        })
        const sizes = fc.constantFrom(1, 88, 536, 1448, 8948, 65_000)
        fc.assert(
          fc.property(sizes, fc.array(event, { maxLength: 60 }), (mss, events) => {
            const p = connection(control, mss)
            let now = 0
            for (const { kind, bytes, us } of events) {
              now += us
              fly(p, Math.min(p.cwnd, bytes))
              if (kind === 'acknowledged') control.acknowledged(p, bytes, now)
              else if (kind === 'round') for (let i = 0; i < 8; i++) control.acknowledged(p, p.cwnd >>> 3, now)
              else if (kind === 'congested') {
                control.congested(p, now)
                p.cwnd = p.ssthresh
              } else if (kind === 'timeout') control.timeout(p, now)
              else control.idle(p, us)
              assert(p.cwnd >= mss && p.cwnd <= 2 ** 30, `cwnd ${p.cwnd}`)
              assert(p.ssthresh >= 2 * mss)
              for (const value of [p.cubicK, p.cubicMax, p.cubicEstimate, p.cubicEpoch]) assert(Number.isFinite(value))
            }
            cpu.slab.free(p.at)
          }),
          { seed: 5681, numRuns: 300 },
        )
      })
    })
  }
})

describe('newreno', () => {
  test('adds a segment each round trip in congestion avoidance (@rfc 9293 MUST-19) (@rfc 5681 3.1/avoidance-increase 3.1/algorithms)', () => {
    const p = connection(newReno)
    p.cwnd = p.ssthresh = 50 * MSS
    for (let i = 1; i <= 20; i++) {
      round(newReno, p, 0)
      assert(Math.abs(p.cwnd - (50 + i) * MSS) <= MSS, `${p.cwnd} after ${i} round trips`)
    }
  })

  test('what slow start did not need counts for congestion avoidance', () => {
    const p = connection(newReno)
    p.ssthresh = 11 * MSS
    newReno.acknowledged(p, 5 * MSS, 0)
    assert.equal(p.cwnd, 11 * MSS)
    newReno.acknowledged(p, 7 * MSS, 0)
    assert.equal(p.cwnd, 12 * MSS)
  })

  test('counts bytes in congestion avoidance, too', () => {
    const p = connection(newReno)
    p.cwnd = p.ssthresh = 10 * MSS
    for (let i = 0; i < 9999; i++) newReno.acknowledged(p, 1, 0)
    assert.equal(p.cwnd, 10 * MSS)
    newReno.acknowledged(p, 1, 0)
    assert.equal(p.cwnd, 11 * MSS)
  })

  test('what was counted against a large window is no burst in a small one', () => {
    const p = connection(newReno)
    p.cwnd = p.ssthresh = 100 * MSS
    newReno.acknowledged(p, 99 * MSS, 0)
    p.cwnd = p.ssthresh = 10 * MSS
    newReno.acknowledged(p, MSS, 0)
    assert.equal(p.cwnd, 11 * MSS)
  })
})

describe('cubic', () => {
  /** C (t - K)³ + W_max in segments, as RFC 9438 4.2 has it. */
  const curve = (seconds: number, k: number, max: number) => 0.4 * (seconds - k) ** 3 + max

  /** Round trips of `rttMs` from `from` on; returns the window in segments at the end of each. */
  function rounds(p: Pcb, from: number, count: number, rttMs = 100): number[] {
    p.srtt = rttMs * MS
    return Array.from({ length: count }, (_, i) => {
      round(cubic, p, from + i * rttMs * MS)
      return p.cwnd / MSS
    })
  }

  test('follows the cubic curve back to where the loss was, and on (@rfc 9438 4.2 4.2/target) (@rfc 9438 4.4) (@rfc 9438 4.5)', () => {
    const p = connection(cubic)
    // So large that Reno is slower throughout.
    p.cwnd = 1000 * MSS
    lose(cubic, p, S)
    assert.equal(p.cwnd, 700 * MSS)
    const k = Math.cbrt(300 / 0.4)
    const windows = rounds(p, S, 160)
    for (const [i, window] of windows.entries()) {
      if (i < 5) continue
      // An acknowledgment aims at where the curve is a round trip later.
      const low = curve((i - 1) * 0.1, k, 1000)
      const high = curve((i + 2) * 0.1, k, 1000)
      assert(window >= low - 3 && window <= high + 3, `round trip ${i}: ${window} is not in ${low}..${high}`)
    }
    assert(Math.abs(p.cubicK - k) < 1e-6)
    const atK = windows[Math.round(k * 10)]!
    assert(Math.abs(atK - 1000) < 5, 'flat where the loss was')
    assert(windows[159]! > 1100, 'and then it looks for more')
  })

  test('does not depend on the round-trip time where Reno is slower', () => {
    const windows = [50, 100, 200].map((rttMs) => {
      const p = connection(cubic)
      p.cwnd = 1000 * MSS
      lose(cubic, p, S)
      return rounds(p, S, 12_000 / rttMs, rttMs).at(-1)!
    })
    for (const window of windows) assert(Math.abs(window - windows[0]!) < 0.05 * windows[0]!, `${windows}`)
  })

  test('is as fast as Reno where that is faster (@rfc 9438 4.3 4.3/alpha)', () => {
    const p = connection(cubic)
    p.cwnd = 20 * MSS
    lose(cubic, p, S)
    assert.equal(p.cwnd, 14 * MSS)
    // On a path of 1 ms the curve stands still: 0.53 segments each round trip, until the window is what it was, then 1.
    const windows = rounds(p, S, 40, 1)
    const alpha = (3 * 0.3) / 1.7
    const expected = (i: number) => {
      const before = 14 + alpha * (i + 1)
      return before < 20 ? before : 20 + (i + 1 - 6 / alpha)
    }
    for (const [i, window] of windows.entries())
      assert(Math.abs(window - expected(i)) < 1.2, `round trip ${i}: ${window}, and Reno would have ${expected(i)}`)
  })

  test('leaves room for a newcomer: lost before it was back, it remembers less than it had (@rfc 9438 4.7)', () => {
    const p = connection(cubic)
    p.cwnd = 1000 * MSS
    lose(cubic, p, S)
    p.cwnd = 900 * MSS
    lose(cubic, p, 2 * S)
    assert.equal(p.cubicMax, 900 * MSS * 0.85)
    assert.equal(p.cubicOrigin, 900 * MSS)
    // It had less than that again, and no loss before it was back at the new place.
    p.cwnd = 800 * MSS
    lose(cubic, p, 3 * S)
    assert.equal(p.cubicMax, 800 * MSS)
  })

  test('after a timeout the curve begins at its flat place (@rfc 9438 4.8)', () => {
    const p = connection(cubic)
    p.cwnd = 5000 * MSS
    lose(cubic, p, 0)
    p.cwnd = 1000 * MSS
    fly(p, 1000 * MSS)
    cubic.timeout(p, S)
    assert.equal(p.ssthresh, 700 * MSS)
    p.cwnd = p.ssthresh
    cubic.acknowledged(p, 2 * MSS, 2 * S)
    assert.equal(p.cubicK, 0)
    assert.equal(p.cubicMax, 700 * MSS)
    const windows = rounds(p, 2 * S, 60)
    assert(Math.abs(windows[59]! - Math.max(curve(6, 0, 700), 700)) < 20, `${windows[59]}`)
  })

  test('so it does when slow start ended without a loss', () => {
    const p = connection(cubic)
    p.ssthresh = p.cwnd = 100 * MSS
    cubic.acknowledged(p, 2 * MSS, S)
    assert.equal(p.cubicK, 0)
    assert.equal(p.cubicMax, 100 * MSS)
  })

  test('grows by half a window each round trip at most, however much time has gone by (@rfc 9438 4.2/target)', () => {
    const p = connection(cubic)
    p.cwnd = 100 * MSS
    lose(cubic, p, S)
    cubic.acknowledged(p, 2 * MSS, S)
    const { cwnd } = p
    round(cubic, p, 100 * S)
    assert(p.cwnd > 1.3 * cwnd && p.cwnd <= 1.55 * cwnd, `${cwnd} became ${p.cwnd}`)
  })

  test('stands still, and does not shrink, where the curve is behind the window', () => {
    const p = connection(cubic)
    p.cwnd = 1000 * MSS
    lose(cubic, p, S)
    cubic.acknowledged(p, 2 * MSS, S)
    // Between what Reno would have and the window: 860 segments, 7 s before the flat place, at a round trip of 1 ms.
    const now = p.cubicEpoch + (p.cubicK - Math.cbrt(140 / 0.4)) * S
    p.srtt = MS
    p.cwnd = 900 * MSS
    for (let i = 0; i < 100; i++) cubic.acknowledged(p, 2 * MSS, now + i)
    assert.equal(p.cwnd, 900 * MSS)
    assert.equal(p.cwndAcked, 200 * MSS)
    assert(p.cubicEstimate < 860 * MSS)
  })

  test('a pause does not count as time of the curve (@rfc 9438 4.2)', () => {
    const windows = [0, 250 * MS].map((pause) => {
      const p = connection(cubic)
      p.cwnd = 1000 * MSS
      lose(cubic, p, S)
      rounds(p, S, 100)
      cubic.idle(p, pause)
      return rounds(p, 11 * S + pause, 30).at(-1)!
    })
    assert(Math.abs(windows[0]! - windows[1]!) < 2, `${windows}`)
  })

  test('on the path of RFC 9438 5.1 it keeps the average window that the RFC gives for it (@rfc 9438 5.1)', () => {
    // Deterministic loss of one in 100000 segments, 100 ms: 1054 · 0.1^(3/4) / p^(3/4)... in segments, from table 1.
    const loss = 1e-5
    const p = connection(cubic, MSS)
    p.cwnd = p.ssthresh = 1000 * MSS
    let sent = 0
    let sum = 0
    let count = 0
    let now = S
    let losses = 0
    for (let i = 0; i < 20_000; i++) {
      const { cwnd } = p
      sent += cwnd / MSS
      if (sent >= 1 / loss) {
        sent -= 1 / loss
        lose(cubic, p, now)
        losses++
      } else round(cubic, p, now)
      now += 100 * MS
      if (losses > 5) {
        sum += p.cwnd / MSS
        count++
      }
    }
    // (C · (3 + β) / (4 · (1 − β)))^(1/4) · RTT^(3/4) / p^(3/4), RFC 9438 5.1 (6).
    const average = ((0.4 * 3.7) / (4 * 0.3)) ** 0.25 * 0.1 ** 0.75 * loss ** -0.75
    assert(losses > 100)
    assert(Math.abs(sum / count / average - 1) < 0.1, `${sum / count} segments, and the RFC has ${average}`)
  })
})
