// Segments for listeners and embryos, until a connection is established by one (RFC 9293 3.10.7.2, and 3.10.7.4 for the SYN-RECEIVED of a
// passive open).
import type { Address } from '../../base/struct.ts'
import { addressBytes, type Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { measureByTimestamp } from './acknowledge.ts'
import { segment } from './arrival.ts'
import { configure, create, establish } from './connection.ts'
import { again, arise, vanish } from './embryo.ts'
import { TcpFlag } from './header.ts'
import type { Listener } from './listener.ts'
import { TcpEvent } from './message.ts'
import { MSS_DEFAULT } from './mtu.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import { reset } from './respond.ts'
import { measure } from './rtt.ts'
import { before, distance } from './sequence.ts'
import type { Tcp } from './tcp.ts'

const C = TcpCounters.index
const { fin: FIN, syn: SYN, rst: RST, ack: ACK } = TcpFlag
const { TIMESTAMPS } = PcbFlag

/** RFC 9293 3.10.7.2: LISTEN. */
export function listen(t: Tcp, listener: Listener): void {
  const { bits } = t
  // An old duplicate, or nobody's.
  if ((bits & RST) !== 0) return
  if ((bits & ACK) !== 0) {
    if ((bits & SYN) === 0 && acceptCookie(t, listener)) return
    return reset(t)
  }
  if ((bits & SYN) === 0) return
  // SYN and FIN together are nobody's way to open (hostile; RFC 9293 3.10.7.2 leaves it open).
  if ((bits & FIN) !== 0) {
    t.count[C.badFlags]!++
    return
  }
  arise(t, listener)
}

/** An acknowledgment for a listener may be the answer to a cookie: then the connection is established by it. */
function acceptCookie(t: Tcp, listener: Listener): boolean {
  const { m, cookies, options } = t
  m.at = t.packet
  const family = m.family as Family
  const peerIss = (t.seq - 1) | 0
  const iss = (t.ack - 1) | 0
  if (!cookies.check(t.now, t.view, family, m.target, m.targetPort, m.source, m.sourcePort, peerIss, iss)) return false
  if (listener.waiting >= listener.backlog) {
    t.count[C.backlogFull]!++
    return true
  }
  if (!create(t, listener.options.sendBytes, listener.options.receiveBytes)) return true
  const { p } = t
  m.at = t.packet
  p.family = family
  const bytes = addressBytes(family)
  t.u8.copyWithin(p.local, m.target, m.target + bytes)
  t.u8.copyWithin(p.remote, m.source, m.source + bytes)
  p.localPort = m.targetPort
  p.remotePort = m.sourcePort
  p.iss = iss
  p.irs = peerIss
  p.peerMss = cookies.mss
  if (options.hasTimestamp) {
    const offset = t.sequences.timestampOffset(t.view, family, p.local, p.localPort, p.remote, p.remotePort)
    p.timestampOffset = offset
    p.flags |= TIMESTAMPS
    cookies.decodeTimestamp(options.timestampEcho)
    if (cookies.sackPermitted) p.flags |= PcbFlag.SACK
    if (cookies.windowScale >= 0) {
      p.flags |= PcbFlag.SCALE
      p.sndScale = cookies.windowScale
    } else p.rcvScale = 0
    p.tsRecent = options.timestampValue
    p.tsRecentAt = t.now
  } else p.rcvScale = 0
  p.ofCookie = 1
  t.count[C.cookiesAccepted]!++
  begin(t, p, listener, 0)
  return true
}

/** RFC 9293 3.10.7.4 for SYN-RECEIVED of a passive open, which is an embryo. */
export function embryoInput(t: Tcp, record: Address): void {
  const e = t.embryo
  e.at = record
  const { bits, options } = t
  const expected = (e.irs + 1) | 0
  // Timestamps that have gone back are an old duplicate (RFC 7323 5.3).
  if ((e.flags & TIMESTAMPS) !== 0 && options.hasTimestamp && before(options.timestampValue, e.tsRecent)) return
  if ((bits & RST) !== 0) {
    // In the window and exact: the peer does not want it (RFC 5961 3.2).
    if (t.seq === expected) {
      t.count[C.embryosReset]!++
      vanish(t, record)
    }
    return
  }
  if ((bits & SYN) !== 0) {
    // @rfc 9293 MUST-11: it was a passive open, and stays one: our answer was lost. To another SYN the same answer: a peer that has begun
    // anew resets it then, and may come again (RFC 9293 3.5.1, figure 9, for a connection that is half open).
    if ((bits & ACK) === 0) again(t)
    return
  }
  if ((bits & ACK) === 0) return
  if (t.ack !== ((e.iss + 1) | 0)) return reset(t)
  // Before or far beyond the window of 65535: not its data.
  if (before((t.seq + t.bytes) | 0, expected) || distance(expected, t.seq) >= 65535) {
    again(t)
    return
  }
  const listener = t.listeners.byId(e.listener)
  if (listener === undefined) {
    vanish(t, record)
    return reset(t)
  }
  if (listener.waiting >= listener.backlog) {
    // The program does not take them as fast as they come: the peer sends its ACK again, by its data.
    t.count[C.backlogFull]!++
    e.sentAt = 0
    return
  }
  if (!create(t, listener.options.sendBytes, listener.options.receiveBytes)) return
  const { p } = t
  p.family = e.family
  t.u8.copyWithin(p.local, e.local, e.local + 16)
  t.u8.copyWithin(p.remote, e.remote, e.remote + 16)
  p.localPort = e.localPort
  p.remotePort = e.remotePort
  p.iss = e.iss
  p.irs = e.irs
  p.peerMss = e.peerMss === 0 ? MSS_DEFAULT[e.family as Family] : e.peerMss
  p.sndScale = e.sndScale
  p.rcvScale = (e.flags & PcbFlag.SCALE) !== 0 ? e.rcvScale : 0
  p.flags |= e.flags
  p.tsRecent = e.tsRecent
  p.tsRecentAt = t.now
  p.timestampOffset = e.timestampOffset
  p.retransmits = e.transmits - 1
  const roundTripUs = e.sentAt === 0 ? 0 : (t.now - e.sentAt) >>> 0
  vanish(t, record)
  begin(t, p, listener, roundTripUs)
}

/**
 * The PCB at `t.p` is established by the segment that came: which is then processed as any other. `roundTripUs` is what the handshake
 * took, 0 where only the timestamps can tell.
 */
function begin(t: Tcp, p: Pcb, listener: Listener, roundTripUs: number): void {
  configure(p, listener)
  p.teller = t.groups.isLocked ? t.cpu.ports.home(p.port) : t.cpu.index
  p.sndUna = (p.iss + 1) | 0
  p.sndNxt = p.sndUna
  p.sndEnd = p.sndUna
  p.tracedEnd = p.sndEnd
  p.rcvNxt = (p.irs + 1) | 0
  p.lastAckSent = p.rcvNxt
  p.rcvAdvertised = (p.rcvNxt + Math.min(p.rcvBuffer, 65535)) | 0
  p.sndWl1 = t.seq
  p.sndWl2 = t.ack
  p.sndWnd = t.window << p.sndScale
  if (p.retransmits === 0) {
    if (roundTripUs > 0) measure(p, roundTripUs)
    else measureByTimestamp(t, p)
  }
  t.tuple.at = p.at
  t.table.insert(t.tuple)
  establish(t, p)
  listener.addWaiting(1)
  t.tell(p, TcpEvent.INCOMING)
  segment(t, p)
}
