// A segment comes in: it is checked by itself, and given to whom its tuple names (RFC 9293 3.10.7). Read arrival.ts next. Runs inside the group of
// the flow: on its CPU. Nothing is sent from here but resets and challenges; what there is to acknowledge or to send is marked
// for the roll-up.
import { finish, pseudoHeaderSum } from '../../base/checksum.ts'
import type { Address } from '../../base/struct.ts'
import { MbufFlag } from '../../device/mbuf.ts'
import { MessageFlag } from '../../kernel/message.ts'
import { addressBytes, type Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { IpProtocol } from '../ip/header.ts'
import { sumPacket } from '../ip/sum.ts'
import { segment } from './arrival.ts'
import { checkTcpHeader, TcpDrop, TcpFlag, tcpHeaderBytes } from './header.ts'
import { embryoInput, listen } from './listen.ts'
import { PcbFlag, TupleKind } from './pcb.ts'
import { reset } from './respond.ts'
import type { Tcp } from './tcp.ts'
import { input as timeWaitInput } from './timewait.ts'
import { noteCause } from './trace.ts'

const C = TcpCounters.index
const { TRACED } = MessageFlag
const { fin: FIN } = TcpFlag
const CONGESTION_EXPERIENCED = 3

/** A packet came; its data begins with the TCP header, and its mbuf names the addresses. It owns the packet. */
export function input(t: Tcp, packet: Address, isBroadcast: boolean): void {
  const { m, u8, view } = t
  t.tally.received++
  m.at = packet
  const header = m.data
  const length = m.total
  const drop = m.length < 20 ? TcpDrop.short : checkTcpHeader(u8, header, length)
  if (drop !== TcpDrop.none) return discard(t, packet, drop === TcpDrop.short ? C.droppedShort : C.droppedOffset)
  const headerBytes = tcpHeaderBytes(u8, header)
  // Headers lie in one piece: a packet that splits its own has come from nobody's device.
  if (m.length < headerBytes) return discard(t, packet, C.droppedOffset)
  const family = m.family as Family
  if (t.context.checksums && (m.flags & MbufFlag.CHECKED) === 0) {
    // @rfc 9293 MUST-3
    const pseudo = pseudoHeaderSum(t.routines, m.source, m.target, addressBytes(family), IpProtocol.tcp, length)
    if (finish(sumPacket(t.routines, m, packet, pseudo)) !== 0) return discard(t, packet, C.droppedChecksum)
    m.at = packet
  }
  // @rfc 9293 MUST-57 MUST-63: TCP is between two. Source addresses that are nobody's were refused by IP, which has also passed over its
  // options (@rfc 9293 MUST-50).
  if (isBroadcast) return discard(t, packet, C.droppedBroadcast)
  const ports = view.getInt32(header)
  const remotePort = ports >>> 16
  const localPort = ports & 0xffff
  m.sourcePort = remotePort
  m.targetPort = localPort
  if (remotePort === 0 || localPort === 0) return discard(t, packet, C.droppedPort)
  t.packet = packet
  t.seq = view.getInt32(header + 4)
  t.ack = view.getInt32(header + 8)
  const bits = u8[header + 13]!
  t.bits = bits
  t.window = view.getUint16(header + 14)
  t.urgent = view.getUint16(header + 18)
  t.bytes = length - headerBytes
  t.fin = (bits & FIN) !== 0
  t.congestion = (m.trafficClass & 3) === CONGESTION_EXPERIENCED
  t.options.parse(view, u8, header, headerBytes)
  t.mbufs.trimFront(packet, headerBytes)
  const { source, target } = m
  const record = t.table.lookup(family, target, localPort, source, remotePort)
  if (record !== 0) {
    t.tuple.at = record
    const kind = t.tuple.kind
    if (kind === TupleKind.connection) {
      const { p } = t
      p.at = record
      t.tally.toConnection++
      // Also in mode off: what came before it must not be the cause of what comes behind it.
      if (t.traceMarks === TRACED || (p.flags & PcbFlag.TRACED) !== 0) noteCause(p, t.tracer.current)
      segment(t, p)
      if (t.packet !== 0) t.mbufs.free(t.packet)
      return
    }
    if (kind === TupleKind.embryo) {
      t.count[C.toEmbryo]!++
      embryoInput(t, record)
      if (t.packet !== 0) t.mbufs.free(t.packet)
      return
    }
    if (!timeWaitInput(t, record)) {
      t.count[C.toTimeWait]!++
      t.mbufs.free(packet)
      return
    }
  }
  const listener = t.listeners.lookup(family, target, localPort, m.hash)
  if (listener === undefined) {
    t.count[C.noPort]!++
    reset(t)
  } else {
    t.count[C.toListener]!++
    listen(t, listener)
  }
  t.reopens = false
  if (t.packet !== 0) t.mbufs.free(t.packet)
}

function discard(t: Tcp, packet: Address, counter: number): void {
  t.count[counter]!++
  t.mbufs.free(packet)
}
