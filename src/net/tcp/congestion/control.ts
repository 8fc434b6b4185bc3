// How congestion is controlled: what an algorithm is, and which there are. Each is one object without any state: its numbers lie in
// the PCB, so that a connection can move between CPUs. Runs inside the connection's group, with the cursor at the PCB.
//
//   slow start               cwnd < ssthresh: grows by what is acknowledged (RFC 5681 3.1)
//   congestion avoidance     the algorithm's own way
//   recovery                 prr.ts governs cwnd; the algorithm says where it shall end: ssthresh
//
// Who calls: ack processing, and output before it sends after a pause.
//
// @rfc 9293 MUST-19 slow start and congestion avoidance. @rfc 9293 MAY-18 and algorithms besides RFC 5681's
import { assert } from '../../../base/assert.ts'
import type { Pcb } from '../pcb.ts'
import { cubic } from './cubic.ts'
import { newReno } from './newreno.ts'

export interface CongestionControl {
  readonly name: string
  /** What the PCB's field `congestionControl` holds. */
  readonly id: number
  /** The handshake is over: the first window. `p.retransmits` still says how often the SYN was sent again. */
  initialize(p: Pcb): void
  /** `bytes` were acknowledged, outside of recovery, while it was cwnd that held the sender back. */
  acknowledged(p: Pcb, bytes: number, nowUs: number): void
  /**
   * A loss was detected, or the network said that one is near (ECN): sets ssthresh, and leaves cwnd to recovery. Once a round trip.
   * `ackedBytes` were acknowledged by the very segment that told so: until then they were in flight.
   */
  congested(p: Pcb, nowUs: number, ackedBytes?: number): void
  /** The retransmission timer fired; `p.backoff` does not count it yet. Sets ssthresh and cwnd. */
  timeout(p: Pcb, nowUs: number): void
  /** Sending begins again after `idleUs` without anything in flight. */
  idle(p: Pcb, idleUs: number): void
}

/** Each at its id. 0, what a new PCB has, is the default. */
const algorithms: readonly CongestionControl[] = [cubic, newReno]
for (const [index, { id }] of algorithms.entries()) assert(id === index, 'an algorithm stands at its id')

/** What the PCB's field `congestionControl` means. */
export function congestionControl(id: number): CongestionControl {
  const algorithm = algorithms[id]
  assert(algorithm !== undefined, 'a congestion control has an id that congestion/control.ts knows')
  return algorithm
}

/** `'cubic'` → 0, and -1 where there is none of that name. */
export function congestionControlId(name: string): number {
  return algorithms.findIndex((algorithm) => algorithm.name === name)
}

/** For the sentence that tells what may be chosen. */
export function congestionControlNames(): readonly string[] {
  return algorithms.map(({ name }) => name)
}
