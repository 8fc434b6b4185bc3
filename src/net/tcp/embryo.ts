// Embryonic connections: a SYN came for a listener, a SYN with ACK went back, and nothing more is known yet (RFC 9293 3.10.7.2,
// SYN-RECEIVED of a passive open). Such a record is two cache lines, so that a flood of SYNs costs little; how many there may be is
// bounded, and beyond that cookies take over (cookie.ts), which cost nothing at all (@rfc 4987 3.6).
import type { Address } from '../../base/struct.ts'
import { define } from '../../kernel/function.ts'
import { addressBytes, type Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { announcedMss, SCALE_OF_LISTENERS } from './connection.ts'
import { TcpFlag } from './header.ts'
import type { Listener } from './listener.ts'
import { Embryo, PcbFlag, TupleKind } from './pcb.ts'
import { respondSyn } from './respond.ts'
import { after } from './sequence.ts'
import { State } from './state.ts'
import { type Tcp, tcpOf } from './tcp.ts'

const C = TcpCounters.index

const TIMER = Embryo.offset.timer

/** The first retransmission of a SYN (RFC 6298 2.1), µs; each doubles it, up to a minute. */
const SYN_TIMEOUT_US = 1_000_000
const SYN_TIMEOUT_US_MAX = 60_000_000
/** A connection that is opened anew begins so far behind the old one: beyond any window without scale. */
const REOPEN_GAP = 65536 + 1
/** @rfc 9293 MUST-22 MUST-23: after 1, 2, 4 … 60, 60 seconds, three minutes in all, it is given up. */
const SYN_TRANSMITS_MAX = 9

/**
 * A SYN came to a listener: the segment of `t`. Answers it. The packet stays the caller's.
 */
export function arise(t: Tcp, listener: Listener): void {
  const { m, options } = t
  m.at = t.packet
  if (t.embryos >= t.limits.embryos || listener.embryos + listener.waiting >= listener.backlog) {
    answerWithCookie(t, listener)
    return
  }
  const record = t.slab.tryAllocate(Embryo.size)
  if (record === 0) {
    answerWithCookie(t, listener)
    return
  }
  const e = t.embryo
  t.u8.fill(0, record, record + Embryo.size)
  e.at = record
  e.kind = TupleKind.embryo
  e.family = m.family
  e.host = t.host
  e.group = t.groups.current
  const bytes = addressBytes(m.family as Family)
  t.u8.copyWithin(e.local, m.target, m.target + bytes)
  t.u8.copyWithin(e.remote, m.source, m.source + bytes)
  e.localPort = m.targetPort
  e.remotePort = m.sourcePort
  e.state = State.synReceived
  e.irs = t.seq
  e.peerMss = options.mss
  e.window = t.window
  e.listener = listener.id
  e.trafficClass = listener.trafficClass
  let flags = PcbFlag.PASSIVE as number
  if (options.sackPermitted) flags |= PcbFlag.SACK
  // @rfc 7323 2.2/agree 3.2/agree
  if (options.windowScale >= 0) {
    flags |= PcbFlag.SCALE
    e.sndScale = options.windowScale
    e.rcvScale = SCALE_OF_LISTENERS
  }
  // @rfc 3168 6.1.1: a SYN with both bits asks for ECN.
  if ((t.bits & (TcpFlag.ece | TcpFlag.cwr)) === (TcpFlag.ece | TcpFlag.cwr)) flags |= PcbFlag.ECN
  const family = m.family as Family
  if (options.hasTimestamp) {
    flags |= PcbFlag.TIMESTAMPS
    e.tsRecent = options.timestampValue
    e.timestampOffset = t.sequences.timestampOffset(t.view, family, e.local, e.localPort, e.remote, e.remotePort)
  }
  e.flags = flags
  e.iss = t.sequences.next(t.now, t.view, family, e.local, e.localPort, e.remote, e.remotePort)
  // @rfc 9293 MAY-2: an old connection that was faster than the clock may have come further.
  if (t.reopens && !after(e.iss, t.issAfter)) e.iss = (t.issAfter + REOPEN_GAP) | 0
  t.tuple.at = record
  t.table.insert(t.tuple)
  t.embryos++
  listener.addEmbryos(1)
  t.count[C.embryos]!++
  transmit(t)
}

/** Sends, or sends again, the SYN with ACK of the embryo at the cursor. */
function transmit(t: Tcp): void {
  const e = t.embryo
  const delay = Math.min(SYN_TIMEOUT_US * 2 ** e.transmits, SYN_TIMEOUT_US_MAX)
  e.transmits++
  e.sentAt = t.now
  // An ECN that our first SYN has offered and that may be why it was lost is not offered again, nor used (RFC 3168 6.1.1).
  if (e.transmits > 1) e.flags &= ~PcbFlag.ECN
  t.timers.arm(e.at + TIMER, delay, RETRANSMIT, e.at)
  const { at } = e
  respondSyn(
    t,
    e.family as Family,
    e.local,
    e.localPort,
    e.remote,
    e.remotePort,
    e.iss,
    (e.irs + 1) | 0,
    announcedMss(t, e.family as Family, e.remote),
    (e.flags & PcbFlag.SCALE) !== 0 ? e.rcvScale : -1,
    (e.flags & PcbFlag.SACK) !== 0,
    (e.flags & PcbFlag.TIMESTAMPS) !== 0,
    t.timestamp(e),
    e.tsRecent,
    (e.flags & PcbFlag.ECN) !== 0,
    e.trafficClass,
    t.listeners.byId(e.listener)?.windowBytes ?? 65535,
  )
  e.at = at
}

/** The peer sent its SYN again: our answer was lost. */
export function again(t: Tcp): void {
  const e = t.embryo
  // Its timer goes on as it was: a peer that repeats itself does not keep it alive.
  if (e.transmits < SYN_TRANSMITS_MAX) transmit(t)
}

/** Forgets the embryo at `record`. */
export function vanish(t: Tcp, record: Address): void {
  const e = t.embryo
  e.at = record
  t.timers.cancel(record + TIMER)
  t.table.remove(record)
  const listener = t.listeners.byId(e.listener)
  if (listener !== undefined) listener.addEmbryos(-1)
  t.slab.free(record)
  t.embryos--
}

/** Those of a listener that closes, in the groups that are at home on this CPU. */
export function vanishAll(t: Tcp, listener: Listener): void {
  t.forHome(() => {
    t.table.forEach((record) => {
      t.embryo.at = record
      if (t.embryo.kind === TupleKind.embryo && t.embryo.listener === listener.id) vanish(t, record)
    })
  })
}

/** No room for a record: all that must be remembered goes into the sequence number and comes back with the ACK. */
function answerWithCookie(t: Tcp, listener: Listener): void {
  const { m, options, cookies } = t
  t.count[C.cookiesSent]!++
  const family = m.family as Family
  const scale = options.hasTimestamp ? options.windowScale : -1
  const sack = options.hasTimestamp && options.sackPermitted
  const iss = cookies.make(t.now, t.view, family, m.target, m.targetPort, m.source, m.sourcePort, t.seq, options.mss)
  const timestampOffset = options.hasTimestamp
    ? t.sequences.timestampOffset(t.view, family, m.target, m.targetPort, m.source, m.sourcePort)
    : 0
  const timestamp = options.hasTimestamp
    ? cookies.encodeTimestamp((Math.floor(t.now / 1000) + timestampOffset) | 0, scale, sack)
    : 0
  respondSyn(
    t,
    family,
    m.target,
    m.targetPort,
    m.source,
    m.sourcePort,
    iss,
    (t.seq + 1) | 0,
    announcedMss(t, family, m.source),
    scale >= 0 ? SCALE_OF_LISTENERS : -1,
    sack,
    options.hasTimestamp,
    timestamp,
    options.timestampValue,
    false,
    listener.trafficClass,
    listener.windowBytes,
  )
}

const RETRANSMIT = define('tcp.embryo', (cpu, record) => {
  const t = tcpOf(cpu, record)
  t.enter()
  t.embryo.at = record
  // Another CPU has made it while its listener was closing here.
  if (t.listeners.byId(t.embryo.listener) === undefined) vanish(t, record)
  else if (t.embryo.transmits >= SYN_TRANSMITS_MAX) {
    t.count[C.embryosTimedOut]!++
    vanish(t, record)
  } else {
    t.count[C.retransmittedSyns]!++
    transmit(t)
  }
})
