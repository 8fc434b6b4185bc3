// What a connection knows of itself, for people and tables (TCP_INFO, tcp(7)).
import type { Address, Views } from '../base/struct.ts'
import { congestionControl } from '../net/tcp/congestion/control.ts'
import { TcpInfoMessage } from '../net/tcp/message.ts'
import { PcbFlag } from '../net/tcp/pcb.ts'
import { stateName } from '../net/tcp/state.ts'

/** Times in µs, sizes and windows in bytes. */
export interface TcpInfo {
  /** RFC 9293's name: `ESTABLISHED`, … */
  readonly state: string
  readonly congestionControl: string
  readonly options: {
    readonly timestamps: boolean
    readonly sack: boolean
    readonly ecn: boolean
    readonly scale: boolean
  }
  readonly sndScale: number
  readonly rcvScale: number
  readonly mss: number
  readonly mtu: number
  readonly srttUs: number
  readonly rttvarUs: number
  readonly rttMinUs: number
  readonly rtoUs: number
  readonly backoff: number
  readonly cwnd: number
  readonly ssthresh: number
  readonly sndWnd: number
  readonly rcvWnd: number
  readonly rcvBuffer: number
  readonly sndLimit: number
  /** In flight: sent, and neither acknowledged nor lost. */
  readonly flight: number
  readonly unsent: number
  /** Received out of order, and waiting. */
  readonly early: number
  readonly segmentsSent: number
  readonly segmentsReceived: number
  readonly retransmitted: number
  /** Of the program's: acknowledged, and received in order. */
  readonly bytesAcked: number
  readonly bytesReceived: number
}

export function readInfo(memory: Views, message: Address): TcpInfo {
  const i = TcpInfoMessage.cursor(memory)
  i.at = message
  const has = (flag: number) => (i.flags & flag) !== 0
  return {
    state: stateName(i.tcpState),
    congestionControl: congestionControl(i.congestionControl).name,
    options: {
      timestamps: has(PcbFlag.TIMESTAMPS),
      sack: has(PcbFlag.SACK),
      ecn: has(PcbFlag.ECN),
      scale: has(PcbFlag.SCALE),
    },
    sndScale: i.sndScale,
    rcvScale: i.rcvScale,
    mss: i.mss,
    mtu: i.mtu,
    srttUs: i.srttUs,
    rttvarUs: i.rttvarUs,
    rttMinUs: i.rttMinUs,
    rtoUs: i.rtoUs,
    backoff: i.backoff,
    cwnd: i.cwnd,
    ssthresh: i.ssthresh,
    sndWnd: i.sndWnd,
    rcvWnd: i.rcvWnd,
    rcvBuffer: i.rcvBuffer,
    sndLimit: i.sndLimit,
    flight: i.flight,
    unsent: i.unsent,
    early: i.early,
    segmentsSent: i.segmentsSent,
    segmentsReceived: i.segmentsReceived,
    retransmitted: i.retransmitted,
    bytesAcked: i.bytesSent,
    bytesReceived: i.bytesReceived,
  }
}
