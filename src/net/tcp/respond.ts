// Segments that belong to no connection: resets, acknowledgments of embryos and of TIME-WAIT, SYNs of embryos. Each is a header and
// nothing else. None of them may fail loudly: what cannot be sent is as good as lost on the way.
import { finish, pseudoHeaderSum } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import { addressBytes, type Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { IpProtocol } from '../ip/header.ts'
import { DEFAULT_TTL } from '../ip/output.ts'
import { sumPacket } from '../ip/sum.ts'
import { TcpFlag, TcpHeader } from './header.ts'
import { writeSegment, writeSyn } from './options.ts'
import type { SequenceNumber } from './sequence.ts'
import type { Tcp } from './tcp.ts'

const C = TcpCounters.index
const HEADER = TcpHeader.size
/** The longest options of a SYN: MSS 4, SACK permitted and timestamps 12, scale 4. */
const SYN_OPTION_BYTES = 20
const AT = TcpHeader.offset
const TCP = IpProtocol.tcp
const { syn, rst, ack: ACK, ece } = TcpFlag
const NO_FRAGMENTS = { dontFragment: true } as const

/**
 * Sends a segment without data. `optionBytes` bytes of options were written to the packet by the caller, behind the header at `header`.
 */
function send(
  t: Tcp,
  packet: Address,
  header: Address,
  headerBytes: number,
  family: Family,
  local: Address,
  localPort: number,
  remote: Address,
  remotePort: number,
  seq: SequenceNumber,
  ack: SequenceNumber,
  bits: number,
  window: number,
  trafficClass: number,
): void {
  const { m, view } = t
  view.setUint16(header, localPort)
  view.setUint16(header + AT.destinationPort, remotePort)
  view.setInt32(header + AT.sequence, seq)
  view.setInt32(header + AT.acknowledgment, ack)
  t.u8[header + AT.dataOffset] = headerBytes << 2
  t.u8[header + AT.flags] = bits
  view.setUint16(header + AT.window, window)
  view.setInt32(header + AT.checksum, 0)
  m.at = packet
  if (t.context.checksums) {
    // @rfc 9293 MUST-2
    const pseudo = pseudoHeaderSum(t.routines, local, remote, addressBytes(family), TCP, headerBytes)
    view.setUint16(header + AT.checksum, finish(sumPacket(t.routines, m, packet, pseudo)))
  }
  m.at = packet
  m.family = family
  m.protocol = TCP
  m.ttl = DEFAULT_TTL
  m.trafficClass = trafficClass
  m.source = local
  m.target = remote
  t.tally.sent++
  t.hasSent = true
  if (t.ip.output(packet, NO_FRAGMENTS) !== 0) t.count[C.sendErrors]!++
}

/** Answers the segment of `t` by a reset, unless it is one itself (RFC 9293 3.10.7.1). */
export function reset(t: Tcp): void {
  if ((t.bits & rst) !== 0) return
  const { m } = t
  m.at = t.packet
  const { source, target, sourcePort, targetPort } = m
  const family = m.family as Family
  const packet = t.mbufs.allocateHeader()
  if (packet === 0) return
  const header = t.mbufs.prepend(packet, HEADER)
  t.count[C.resetsSent]!++
  const hasAck = (t.bits & ACK) !== 0
  const length = t.bytes + ((t.bits & syn) !== 0 ? 1 : 0) + (t.fin ? 1 : 0)
  const seq = hasAck ? t.ack : 0
  const ack = hasAck ? 0 : (t.seq + length) | 0
  const bits = hasAck ? rst : rst | ACK
  send(t, packet, header, HEADER, family, target, targetPort, source, sourcePort, seq, ack, bits, 0, 0)
}

/** An acknowledgment: from TIME-WAIT, or a challenge. */
export function acknowledge(
  t: Tcp,
  family: Family,
  local: Address,
  localPort: number,
  remote: Address,
  remotePort: number,
  seq: SequenceNumber,
  ack: SequenceNumber,
  window: number,
  hasTimestamp: boolean,
  timestamp: number,
  echo: number,
): void {
  const packet = t.mbufs.allocateHeader()
  if (packet === 0) return
  const optionBytes = hasTimestamp ? 12 : 0
  const header = t.mbufs.prepend(packet, HEADER + optionBytes)
  if (hasTimestamp) writeSegment(t.view, header + HEADER, true, timestamp, echo, t.blocks, 0)
  t.tally.acksSent++
  const bytes = HEADER + optionBytes
  send(t, packet, header, bytes, family, local, localPort, remote, remotePort, seq, ack, ACK, window, 0)
}

/** A SYN with ACK (RFC 9293 3.10.7.2). `scale` -1: none. */
export function respondSyn(
  t: Tcp,
  family: Family,
  local: Address,
  localPort: number,
  remote: Address,
  remotePort: number,
  seq: SequenceNumber,
  ack: SequenceNumber,
  mss: number,
  scale: number,
  sack: boolean,
  hasTimestamp: boolean,
  timestamp: number,
  echo: number,
  ecn: boolean,
  trafficClass: number,
  windowBytes: number,
): void {
  const packet = t.mbufs.allocateHeader()
  if (packet === 0) return
  // Room for all options; what they do not take is given back in front.
  let header = t.mbufs.prepend(packet, HEADER + SYN_OPTION_BYTES)
  const optionBytes = writeSyn(t.view, header + HEADER, mss, scale, sack, hasTimestamp, timestamp, echo)
  const unused = SYN_OPTION_BYTES - optionBytes
  if (unused > 0) {
    t.u8.copyWithin(header + HEADER + unused, header + HEADER, header + HEADER + optionBytes)
    t.mbufs.trimFront(packet, unused)
    header += unused
  }
  const bits = syn | ACK | (ecn ? ece : 0)
  const length = HEADER + optionBytes
  send(
    t,
    packet,
    header,
    length,
    family,
    local,
    localPort,
    remote,
    remotePort,
    seq,
    ack,
    bits,
    windowBytes,
    trafficClass,
  )
}
