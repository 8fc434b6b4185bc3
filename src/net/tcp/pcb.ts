// TCP's protocol control block: all that is known about a connection, as a record in the machine's memory, so that any CPU
// that is inside the connection's group can run it, and a group can move. Read state.ts and sequence.ts first.
//
// The send side. What the program has sent lies in mbufs, from snd.una on; what is in flight is described by segments
// (segment.ts), in the order of the stream:
//
//          snd.una              snd.nxt                 sndEnd
//   ─────────┬────────────────────┬───────────────────────┬─────►
//   freed    │ in flight          │ not sent yet          │ room for the program
//            │◄──────── cwnd, snd.wnd ────────►
//
// The receive side. `held` bytes were passed to the program and not yet consumed by it: they close the window.
//
//          consumed         rcv.nxt                rcvAdvertised
//   ─────────┬─────────────────┬───────────────────────┬────────►
//   gone     │ held            │ window; pieces that came early are in reassembly
//            │◄───────────── rcvBuffer ───────────────►
//
// Three records share the first 64 bytes and one table: a connection; an embryonic one, that has answered a SYN
// (embryo.ts); one in TIME-WAIT (timewait.ts). The last two are small, for there may be very many.
import { assert } from '../../base/assert.ts'
import { bytes, f64, i32, struct, u8, u16, u32 } from '../../base/struct.ts'
import { Timer } from '../../kernel/timer.ts'

/** Which of the three records it is. */
export const TupleKind = { connection: 1, embryo: 2, timeWait: 3 } as const

const tuple = {
  next: u32, //          0  in the hash chain
  hash: u32, //          4  TcpTable.hash of the tuple
  local: bytes(16), //   8  4 or 16 bytes
  remote: bytes(16), // 24
  localPort: u16, //    40
  remotePort: u16, //   42
  family: u8, //        44
  kind: u8, //          45  TupleKind
  sndScale: u8, //      46  shift of the windows that the peer announces
  rcvScale: u8, //      47  of those that we announce
  state: u32, //        48  State, one bit
  flags: i32, //        52  PcbFlag
  host: u32, //         56  the host's index: which Tcp a timer belongs to
  group: u32, //        60  the group's record
}

/** The part that all records of the table have. */
export const TcpTuple = struct(tuple)
assert(TcpTuple.size === 64, 'what a connection, an embryo and a TIME-WAIT have in common is a cache line')

export const TcpPcb = struct({
  ...tuple,
  // Send sequence space (RFC 9293 3.3.1).
  sndUna: i32, //  oldest unacknowledged
  sndNxt: i32, //  next to be sent for the first time
  sndEnd: i32, //  behind the last byte that the program has given; its FIN, if it has closed, is the byte after
  sndWl1: i32, //  sequence number of the last window update
  sndWl2: i32, //  acknowledgment number of the last window update
  sndUp: i32, //   behind the last urgent byte, with URGENT
  iss: i32,
  sndWnd: u32, //  bytes that the peer lets us have in flight
  sndWndMax: u32, // the largest that it ever was: half of it is worth sending (RFC 9293 3.8.6.2.1)
  // Receive sequence space.
  rcvNxt: i32, //  next expected
  rcvAdvertised: i32, // right edge of the window that the peer knows: it never moves left
  rcvUp: i32, //   receive urgent pointer
  irs: i32,
  lastAckSent: i32,
  rcvBuffer: u32, // bytes: what may be held and come
  rcvBufferMax: u32, // how far auto-tuning may raise rcvBuffer
  rcvHeld: u32, // bytes passed to the program and not consumed yet
  // Sizes of segments.
  mss: u16, //     payload bytes of a segment now: options, path MTU and the peer's MSS considered
  peerMss: u16, // what the peer's option said
  mtu: u16, //     of the path, as far as it is known
  rcvMss: u16, //  the largest segment seen lately: what "full-sized" means to delayed acknowledgments
  pathGeneration: i32, // of the routes when mtu and offload were looked up
  offload: u8, //  1 checksum, 2 segmentation: what the device of the path does
  timerKind: u8, //  what sndTimer is armed for
  backoff: u8, //    times that the timeout was doubled
  dupAcks: u8,
  // Congestion control (RFC 5681), in bytes.
  cwnd: u32,
  ssthresh: u32,
  cwndAcked: u32, // acknowledged bytes that have not yet made the window grow
  flight: u32, //  bytes in flight: not acknowledged, not selectively, not lost (RFC 6675 pipe)
  recover: i32, // recovery ends when this is acknowledged
  prrDelivered: u32, // proportional rate reduction (RFC 6937)
  prrOut: u32,
  recoverFlight: u32, // RecoverFS
  // Lists: what is in flight, in the order of the stream; the same by the time of sending; what is lost.
  segFirst: u32,
  segLast: u32,
  flightFirst: u32,
  flightLast: u32,
  lostFirst: u32,
  lostLast: u32,
  segCount: u32,
  sacked: u32, // bytes that are selectively acknowledged
  sackHint: u32, // the segment at which the last SACK block ended
  // The send buffer: mbufs by `part`.
  sndFirst: u32,
  sndLast: u32,
  sndSkip: u32, // bytes of sndFirst that are acknowledged already
  sndCursor: u32, // the mbuf that holds sndCursorAt's byte: where the next transmission probably begins
  sndCursorAt: i32, // the sequence number of sndCursor's first byte
  // What came in order and is to be passed to the program at the end of the batch: a packet, and the last of its parts.
  rcvFirst: u32,
  rcvLast: u32,
  // What came too early: packets by `link`, in order, without overlap (reassembly.ts).
  earlyFirst: u32,
  earlyLast: u32,
  earlyBytes: u32,
  earlyMemory: u32,
  // The latest changes of the above, for SACK blocks (RFC 2018 4); D-SACK (RFC 2883).
  sackStart: bytes(16), // 4 sequence numbers: starts of the most recently changed blocks
  dsackStart: i32,
  dsackEnd: i32,
  // The program.
  port: u32, //    message port of its sockets
  socket: u32, //  number of the socket there; 0: none yet
  acked: u32, //   acknowledged bytes that the program has not been told of
  sndLimit: u32, // bytes that the send buffer may hold
  sndBufferMax: u32,
  events: u32, //  TcpEvent bits that the program has to be told
  error: i32, //   errno that ended the connection
  softError: i32, // errno of an ICMP error that may explain a later timeout
  listener: u32, // the listener that the connection came through, until it is attached
  outputNext: u32, // in the roll-up's list of connections with something to send
  eventNext: u32, // in the list of connections with something to tell
  retransmits: u16, // in a row, of the same data or SYN
  challenges: u16, // challenge ACKs sent since challengeAt
  probes: u16, //  window probes or keep-alives unanswered
  trafficClass: u8,
  ttl: u8,
  timestampOffset: i32,
  tsRecent: i32, // RFC 7323
  tlpEnd: i32, //  RFC 8985: snd.nxt when the probe was sent
  fack: i32, //    highest sequence number acknowledged in whatever way
  cwndLimited: i32, // snd.nxt when the congestion window last held something back
  rackEnd: i32, // end of the most recently sent segment that was delivered
  rackRound: i32, // snd.nxt when reo_wnd was last widened
  rackMultiplier: u8,
  rackPersist: u8,
  mtuProbeFailures: u8, // timeouts in a row of full-sized segments: a black hole (RFC 8899)
  congestionControl: u8, // which: congestion/control.ts
  userTimeoutMs: u32, // 0: the default of R2
  keepAliveIdleMs: u32, // 0: off (@rfc 9293 MUST-25)
  keepAliveIntervalMs: u32,
  keepAliveCount: u16,
  teller: u16, //  the CPU that tells the program: always the same, so that nothing changes places on the way
  bytesPerRound: u32, // received bytes that the program has consumed in this round trip (auto-tuning)
  trace: i32, //   TraceId of what came for it last, where that is traced (PcbFlag.TRACED): the cause of what it tells and acknowledges
  tracedEnd: i32, // before it there are bytes whose write is traced
  segmentsSent: u32,
  segmentsReceived: u32,
  retransmitted: u32, // segments
  ofCookie: u32, // 1: a cookie has opened it, and would do so again
  shell: u32, //   1: it is over and still belongs to a program, or a call of it is under way: in the list of those
  // Times in µs of the CPU's clock, and f64s of the algorithms.
  srtt: f64, //    0: none measured yet
  rttvar: f64,
  rto: f64, //     without the backoff
  rttMin: f64,
  tsRecentAt: f64,
  sndDeadline: f64, // when sndTimer is to act; the timer itself may fire earlier, and looks again
  firstUnansweredAt: f64, // when the oldest unanswered transmission began: user timeout
  lastReceivedAt: f64,
  lastSentAt: f64,
  challengeAt: f64,
  rackSentAt: f64,
  rackRtt: f64,
  roundAt: f64, // start of the round of auto-tuning
  cubicEpoch: f64, // RFC 9438, all of cubic's own
  cubicMax: f64,
  cubicK: f64,
  cubicEstimate: f64,
  cubicOrigin: f64,
  bytesSent: f64,
  bytesReceived: f64,
  sndTimer: bytes(Timer.size),
  ackTimer: bytes(Timer.size),
  slowTimer: bytes(Timer.size), // keep-alive, FIN-WAIT-2
})
assert(TcpPcb.size % 8 === 0 && TcpPcb.size <= 1024, 'a PCB fits in 1 KiB')

/** See embryo.ts. */
export const Embryo = struct({
  ...tuple,
  iss: i32, //              64
  irs: i32, //              68
  tsRecent: i32, //         72
  timestampOffset: i32, //  76
  listener: u32, //         80  Listener.id
  peerMss: u16, //          84
  window: u16, //           86  of the peer's SYN
  transmits: u8, //         88  of our SYN
  trafficClass: u8,
  padding: u16,
  sentAt: u32, //           92  the last of them, µs, modulo 2^32; 0: its answer measures nothing
  timer: bytes(Timer.size), // 96
})
assert(Embryo.size === 128, 'an embryonic connection is two cache lines')

/** See timewait.ts. */
export const TimeWait = struct({
  ...tuple,
  sndNxt: i32, //           64
  rcvNxt: i32, //           68
  tsRecent: i32, //         72
  timestampOffset: i32, //  76
  window: u16, //           80  as announced last, scaled
  challenges: u16, //       82
  older: u32, //            84  by time of entering
  newer: u32, //            88
  isGone: u32, //           92  1: it did not end in order, and is only remembered: whatever comes for it is answered by a reset
  timer: bytes(Timer.size), // 96
})
assert(TimeWait.size === 128, 'a TIME-WAIT is two cache lines')

export const PcbFlag = {
  // What was agreed in the handshake.
  TIMESTAMPS: 1 << 0,
  SACK: 1 << 1,
  SCALE: 1 << 2,
  ECN: 1 << 3,
  // What the program wants.
  NODELAY: 1 << 4,
  CORK: 1 << 5,
  /** The program has closed: its FIN follows the last byte. */
  FIN: 1 << 6,
  /** No program belongs to it any more. */
  DETACHED: 1 << 7,
  /** The program wants to be told as soon as there is room in the send buffer. */
  WANT_ROOM: 1 << 8,
  URGENT: 1 << 9,
  // What the next output must do.
  ACK_NOW: 1 << 10,
  ACK_DELAYED: 1 << 11,
  ECE: 1 << 12,
  CWR: 1 << 13,
  /** A probe must go though the window forbids it: zero window, keep-alive. */
  PROBE: 1 << 14,
  // Where it is.
  IN_OUTPUT: 1 << 15,
  IN_EVENTS: 1 << 16,
  /** Our FIN has been sent once. */
  FIN_SENT: 1 << 17,
  /** The peer's FIN was reached. */
  FIN_RECEIVED: 1 << 18,
  // Loss recovery.
  RECOVERY: 1 << 19,
  LOSS: 1 << 20,
  TLP: 1 << 21,
  TLP_RETRANSMITTED: 1 << 22,
  REORDERING: 1 << 23,
  DSACK: 1 << 24,
  /** cwnd was reduced for ECN in this round (until `recover`). */
  CWND_REDUCED: 1 << 25,
  PASSIVE: 1 << 26,
  ANNOUNCED: 1 << 27,
  RCV_URGENT: 1 << 28,
  /** The next transmission could not go for want of memory or of room in the device: the timer tries again. */
  STALLED: 1 << 29,
  /** The path carries less than IP's least useful packet: it may cut ours. */
  MAY_FRAGMENT: 1 << 30,
  /** `trace` and `tracedEnd` may say something. */
  TRACED: 1 << 31,
} as const

/** The type of a cursor over a PCB. */
export type Pcb = ReturnType<(typeof TcpPcb)['cursor']>
export type Tuple = ReturnType<(typeof TcpTuple)['cursor']>
