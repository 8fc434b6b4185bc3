// Reno's congestion control (RFC 5681), with the recovery of RFC 6582 and after, which is not its own: halve at a loss, add a
// segment each round trip.
import type { Pcb } from '../pcb.ts'
import type { CongestionControl } from './control.ts'
import {
  collapse,
  flightAtLoss,
  flightSize,
  growLinearly,
  initializeWindow,
  restart,
  setThreshold,
  slowStart,
} from './window.ts'

export const newReno: CongestionControl = {
  name: 'newreno',
  id: 1,

  initialize: initializeWindow,

  acknowledged(p: Pcb, bytes: number): void {
    const rest = slowStart(p, bytes)
    // @rfc 5681 3.1/avoidance-increase 3.1/algorithms a segment more for each window that is acknowledged, counted in bytes
    if (rest > 0) growLinearly(p, rest, p.cwnd)
  },

  congested(p: Pcb, _nowUs: number, ackedBytes = 0): void {
    // @rfc 5681 3.1/loss-ssthresh, @rfc 6675 5/reduce
    setThreshold(p, flightAtLoss(p, ackedBytes) / 2)
  },

  timeout(p: Pcb): void {
    // @rfc 5681 3.1/lost-again the same data lost once more says nothing new: ssthresh stays.
    if (p.backoff === 0) setThreshold(p, flightSize(p) / 2)
    collapse(p)
  },

  idle(p: Pcb, idleUs: number): void {
    restart(p, idleUs)
  },
}
