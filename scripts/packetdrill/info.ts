// TCP_INFO (tcp(7)) of a connection: the names that assertions have, read from its PCB. In packets where Linux counts packets: the stack
// counts bytes.
import type { Memory } from '../../src/kernel/memory.ts'
import { type Pcb, PcbFlag, TcpPcb } from '../../src/net/tcp/pcb.ts'
import { Segment, SegmentFlag } from '../../src/net/tcp/segment.ts'
import { State } from '../../src/net/tcp/state.ts'
import { InfoConstants } from './constant.ts'
import { lookUp } from './table.ts'

const SSTHRESH_MAX = 0xffffffff
const INFINITE = 0x7fffffff

const STATES: { readonly [state: number]: number } = {
  [State.closed]: 7,
  [State.synSent]: 2,
  [State.synReceived]: 3,
  [State.established]: 1,
  [State.closeWait]: 8,
  [State.finWait1]: 4,
  [State.closing]: 11,
  [State.lastAck]: 9,
  [State.finWait2]: 5,
  [State.timeWait]: 6,
}

const inPackets = (bytes: number, mss: number) => Math.ceil(bytes / mss)

const FIELDS: { readonly [name: string]: (p: Pcb, memory: Memory) => number } = {
  tcpi_state: (p) => STATES[p.state] ?? 7,
  tcpi_ca_state: (p) => recoveryState(p),
  tcpi_options: (p) => options(p),
  tcpi_snd_wscale: (p) => p.sndScale,
  tcpi_rcv_wscale: (p) => p.rcvScale,
  tcpi_rto: (p) => p.rto * 2 ** p.backoff,
  tcpi_rtt: (p) => Math.round(p.srtt),
  tcpi_rttvar: (p) => Math.round(p.rttvar),
  tcpi_min_rtt: (p) => Math.round(p.rttMin),
  tcpi_snd_mss: (p) => p.mss,
  tcpi_rcv_mss: (p) => p.rcvMss,
  tcpi_pmtu: (p) => p.mtu,
  tcpi_unacked: (p) => inPackets((p.sndNxt - p.sndUna) | 0, p.mss),
  tcpi_sacked: (p) => inPackets(p.sacked, p.mss),
  tcpi_lost: (p, memory) => count(p, memory, isLost),
  tcpi_retrans: (p, memory) => count(p, memory, isRetransmitted),
  tcpi_total_retrans: (p) => p.retransmitted,
  tcpi_retransmits: (p) => p.retransmits,
  tcpi_probes: (p) => p.probes,
  tcpi_backoff: (p) => p.backoff,
  tcpi_snd_cwnd: (p) => Math.floor(p.cwnd / p.mss),
  tcpi_snd_ssthresh: (p) => (p.ssthresh === SSTHRESH_MAX ? INFINITE : Math.floor(p.ssthresh / p.mss)),
  tcpi_snd_wnd: (p) => p.sndWnd,
  tcpi_notsent_bytes: (p) => Math.max((p.sndEnd - p.sndNxt) | 0, 0),
  tcpi_bytes_acked: (p) => p.bytesSent,
  tcpi_bytes_received: (p) => p.bytesReceived,
  tcpi_segs_out: (p) => p.segmentsSent,
  tcpi_segs_in: (p) => p.segmentsReceived,
}

/** The value of a name for the connection whose PCB is at `pcb`; 0: there is none any more. Undefined: there is no such name. */
export function infoOf(memory: Memory, pcb: number, name: string): number | undefined {
  const field = lookUp(FIELDS, name)
  if (field === undefined) return lookUp(InfoConstants, name)
  if (pcb === 0) return name === 'tcpi_state' ? InfoConstants.TCP_CLOSE : 0
  const p = TcpPcb.cursor(memory)
  p.at = pcb
  return field(p, memory)
}

function recoveryState(p: Pcb): number {
  if ((p.flags & PcbFlag.LOSS) !== 0) return 4
  if ((p.flags & PcbFlag.RECOVERY) !== 0) return 3
  if ((p.flags & PcbFlag.CWND_REDUCED) !== 0) return 2
  return p.sacked > 0 || p.dupAcks > 0 ? 1 : 0
}

function options({ flags }: Pcb): number {
  return (
    ((flags & PcbFlag.TIMESTAMPS) !== 0 ? 1 : 0) |
    ((flags & PcbFlag.SACK) !== 0 ? 2 : 0) |
    ((flags & PcbFlag.SCALE) !== 0 ? 4 : 0) |
    ((flags & PcbFlag.ECN) !== 0 ? 8 : 0)
  )
}

type SegmentTest = (flags: number, transmits: number, isRepairing: boolean) => boolean

const isLost: SegmentTest = (flags, transmits, isRepairing) =>
  (flags & SegmentFlag.LOST) !== 0 || ((flags & SegmentFlag.SACKED) === 0 && isRepairing && transmits > 1)
const isRetransmitted: SegmentTest = (flags, transmits) => (flags & SegmentFlag.FLIGHT) !== 0 && transmits > 1

function count(p: Pcb, memory: Memory, test: SegmentTest): number {
  const s = Segment.cursor(memory)
  const isRepairing = (p.flags & (PcbFlag.RECOVERY | PcbFlag.LOSS)) !== 0
  let packets = 0
  for (let segment = p.segFirst; segment !== 0; segment = s.next) {
    s.at = segment
    if (test(s.flags, s.transmits, isRepairing)) packets += inPackets((s.end - s.start) | 0, p.mss)
  }
  return packets
}
