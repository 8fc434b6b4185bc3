// What goes between a connection and its program, each on a CPU of its own. What the program sends is packets, whose `socket` is the
// connection, and requests; what it gets is packets, whose `socket` is the socket's number, and notices. On one CPU all of
// them are calls (port.ts).
//
// A connection belongs to its program from the request that opens or attaches it until the program's `close` or `abort`; so neither ever names
// one that is gone. The notice CLOSED is the answer to these two, and the last.
import { assert } from '../../base/assert.ts'
import { bytes, f64, i32, u8, u16, u32 } from '../../base/struct.ts'
import { message } from '../../kernel/message.ts'

export const TcpRequest = message('tcp.request', {
  op: u16, //            48  TcpOp
  family: u8, //         50
  trafficClass: u8, //   51
  pcb: u32, //           52
  socket: u32, //        56  the number that the program knows the connection by
  port: u32, //          60  where its packets and notices go
  value: u32, //         64  as the operation has it
  flags: u32, //         68  PcbFlag that the program may set
  localPort: u16, //     72
  remotePort: u16, //    74
  sendBytes: u32, //     76  0: the default
  receiveBytes: u32, //  80
  keepAliveMs: u32, //   84
  local: bytes(16), //   88
  remote: bytes(16), // 104
  interval: u32, //     120
  limit: u16, //        124
  ttl: u8, //           126  0: the default
  padding: u8,
})
assert(TcpRequest.size === 128, 'a request is two cache lines')
/** The type of a cursor over a request. */
export type RequestFields = ReturnType<(typeof TcpRequest)['cursor']>

export const TcpOp = {
  /** Open a connection to `remote`; answered by CONNECTED or ERROR. */
  connect: 1,
  /** The program takes the connection that INCOMING announced, as `socket`. */
  attach: 2,
  /** `value` bytes were consumed. */
  consumed: 3,
  /** FIN after what was sent. */
  shutdown: 4,
  /** The program lets go of the connection. */
  close: 5,
  /** As `close`, by a reset. */
  abort: 6,
  /** `flags` replaces those that the program may set. */
  flags: 7,
  /** The program has found the send buffer full and wants to know of room. */
  wantRoom: 8,
  /** Keep-alive after `keepAliveMs` of silence, each `interval` ms, `limit` times; 0: off. */
  keepAlive: 9,
  trafficClass: 10,
  /** `value` ms without an answer end the connection; 0: the default. */
  userTimeout: 11,
  /** Sizes of the buffers. */
  buffers: 12,
  /** All that was sent is urgent (RFC 9293 3.8.5). */
  urgent: 14,
  /** `value`: IP's time to live. */
  ttl: 15,
  /** The connection has something to tell its program, which is on the CPU that gets this: between CPUs, where any of them may be inside. */
  tell: 16,
  /** Fill in the TcpInfo that the message is. */
  info: 13,
} as const

export const TcpNotice = message('tcp.notice', {
  events: u32, //      48  TcpEvent
  pcb: u32, //         52
  socket: u32, //      56  0 with INCOMING: then `listener` says whose
  listener: u32, //    60
  errno: i32, //       64
  acked: u32, //       68  bytes that have left the send buffer
  limit: u32, //       72  bytes that it may hold now
  localPort: u16, //   76
  remotePort: u16, //  78
  family: u8, //       80
  padding: u8,
  padding2: u16,
  cpu: u32, //         84  of the connection
  local: bytes(16), // 88
  remote: bytes(16), // 104
  requests: u32, //   120  the port for requests
  urgent: i32, //     124  with URGENT: bytes from what was passed to the end of the urgent data
})
assert(TcpNotice.size === 128, 'a notice is two cache lines')

/** What a notice tells. */
export const TcpEvent = {
  CONNECTED: 1 << 0,
  /** A connection came for a listener. */
  INCOMING: 1 << 1,
  /** `acked` and `limit` have changed. */
  ROOM: 1 << 2,
  /** The peer has ended its stream: behind all data. */
  END: 1 << 3,
  /** The connection is gone: `errno`. */
  ERROR: 1 << 4,
  /** The last notice: the program's `close` or `abort` has been carried out. */
  CLOSED: 1 << 5,
  /** There is urgent data (RFC 9293 3.8.5). */
  URGENT: 1 << 6,
  /** Packets wait in the PCB to be passed. Never in a notice. */
  DATA: 1 << 7,
  /** The peer has not answered three retransmissions (R1, RFC 9293 3.8.3). */
  SILENCE: 1 << 8,
  /** The program's CPU was called, and has not come yet. Never in a notice. */
  CALLED: 1 << 9,
} as const

/** What is known about a connection (TCP_INFO of Linux, tcp(7)). Sent empty with the request `info`, replied filled. */
export const TcpInfoMessage = message('tcp.info', {
  op: u16, //            48  TcpOp.info, where TcpRequest has it
  family: u8,
  congestionControl: u8,
  pcb: u32, //           52
  tcpState: u32,
  flags: u32,
  cwnd: u32,
  ssthresh: u32,
  sndWnd: u32,
  rcvWnd: u32,
  mss: u32,
  mtu: u32,
  flight: u32,
  unsent: u32,
  segmentsSent: u32,
  segmentsReceived: u32,
  retransmitted: u32,
  early: u32,
  sndScale: u8,
  rcvScale: u8,
  backoff: u16,
  rcvBuffer: u32,
  sndLimit: u32,
  padding: u32,
  srttUs: f64,
  rttvarUs: f64,
  rtoUs: f64,
  rttMinUs: f64,
  bytesSent: f64,
  bytesReceived: f64,
})
