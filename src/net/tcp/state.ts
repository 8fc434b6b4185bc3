// The states of a connection (RFC 9293 3.3.2), as bits, so that a set of states is one test:
//
//     if ((p.state & (State.established | State.closeWait)) !== 0) ...
//
//                    active open: SYN-SENT ─────────────┐
//   passive open: LISTEN ─► SYN-RECEIVED ─► ESTABLISHED ┴─► CLOSE-WAIT ─► LAST-ACK ─► CLOSED     the peer closes first
//                                            └─► FIN-WAIT-1 ─► FIN-WAIT-2 ─► TIME-WAIT ─► CLOSED      we close first
//                                                     └─► CLOSING ──────────────┘                  both at once

export const State = {
  closed: 1 << 0,
  listen: 1 << 1,
  synSent: 1 << 2,
  synReceived: 1 << 3,
  established: 1 << 4,
  closeWait: 1 << 5,
  finWait1: 1 << 6,
  closing: 1 << 7,
  lastAck: 1 << 8,
  finWait2: 1 << 9,
  timeWait: 1 << 10,
} as const

/** Both sides have seen each other's SYN. */
export const SYNCHRONIZED =
  State.established | State.closeWait | State.finWait1 | State.closing | State.lastAck | State.finWait2 | State.timeWait

/** The program may still send. */
export const CAN_SEND = State.synSent | State.synReceived | State.established | State.closeWait

/** The peer has not ended its stream yet. */
export const CAN_RECEIVE = State.established | State.finWait1 | State.finWait2

/** Our FIN is in the stream. */
export const FIN_QUEUED = State.finWait1 | State.closing | State.lastAck

/** RFC 9293's name of a state, for tables. */
export function stateName(state: number): string {
  return NAMES[31 - Math.clz32(state)] ?? 'CLOSED'
}

const NAMES = [
  'CLOSED',
  'LISTEN',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'CLOSE-WAIT',
  'FIN-WAIT-1',
  'CLOSING',
  'LAST-ACK',
  'FIN-WAIT-2',
  'TIME-WAIT',
] as const
