// TIME-WAIT (RFC 9293 3.6.1): the end that closed first remembers the connection for 2 MSL, so that its last ACK can be sent
// again and nothing old is taken for new. It remembers only what that takes: two cache lines.
import type { Address } from '../../base/struct.ts'
import { define } from '../../kernel/function.ts'
import type { Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { TcpFlag } from './header.ts'
import { type Pcb, PcbFlag, TimeWait, TupleKind } from './pcb.ts'
import { acknowledge, reset } from './respond.ts'
import { after, before } from './sequence.ts'
import { State } from './state.ts'
import { type Tcp, tcpOf } from './tcp.ts'

const C = TcpCounters.index
const TIMER = TimeWait.offset.timer
/** 2 MSL. RFC 9293's MSL is 2 minutes "for this specification"; Linux waits 60 s in all, and so do we. @rfc 9293 MUST-13 */
const TIME_WAIT_US = 60_000_000
/** Acknowledgments that one TIME-WAIT sends: two of them that answer each other must come to an end (RFC 9293 3.10.7.4, ACK storms). */
const CHALLENGES_MAX = 16

/**
 * The connection at `p` is in TIME-WAIT from now on: a small record takes its place in the table. When there is no memory for it, the
 * connection is over at once. `isGone`: it is over, and only remembered.
 */
export function begin(t: Tcp, p: Pcb, isGone = false): void {
  const record = t.slab.tryAllocate(TimeWait.size)
  t.table.remove(p.at)
  if (record === 0) {
    t.count[C.timeWaitsSkipped]!++
    return
  }
  const w = t.timeWait
  t.u8.fill(0, record, record + TimeWait.size)
  w.at = record
  w.kind = TupleKind.timeWait
  w.family = p.family
  w.host = t.host
  w.group = t.groups.current
  t.u8.copyWithin(w.local, p.local, p.local + 16)
  t.u8.copyWithin(w.remote, p.remote, p.remote + 16)
  w.localPort = p.localPort
  w.remotePort = p.remotePort
  w.state = State.timeWait
  w.flags = p.flags & PcbFlag.TIMESTAMPS
  w.sndNxt = p.sndNxt
  w.rcvNxt = p.rcvNxt
  w.tsRecent = p.tsRecent
  w.timestampOffset = p.timestampOffset
  w.window = Math.min(65535, p.rcvBuffer >>> p.rcvScale)
  w.isGone = isGone ? 1 : 0
  t.tuple.at = record
  t.table.insert(t.tuple)
  link(t, record)
  t.count[C.timeWaits]!++
  t.timers.arm(record + TIMER, TIME_WAIT_US, EXPIRE, record)
  if (++t.timeWaits > t.limits.timeWaits) evict(t, record)
}

export function end(t: Tcp, record: Address): void {
  t.timers.cancel(record + TIMER)
  t.table.remove(record)
  unlink(t, record)
  t.slab.free(record)
  t.timeWaits--
}

/** Puts it behind all others of its group. */
export function link(t: Tcp, record: Address): void {
  const w = t.timeWait
  const newest = t.timeWaitNewest
  w.at = record
  w.older = newest
  w.newer = 0
  if (newest === 0) t.timeWaitOldest = record
  else {
    w.at = newest
    w.newer = record
    w.at = record
  }
  t.timeWaitNewest = record
}

function unlink(t: Tcp, record: Address): void {
  const w = t.timeWait
  w.at = record
  const { older, newer } = w
  if (older === 0) t.timeWaitOldest = newer
  else {
    w.at = older
    w.newer = newer
  }
  if (newer === 0) t.timeWaitNewest = older
  else {
    w.at = newer
    w.older = older
  }
  w.at = record
}

/** The segment of `t` is for the TIME-WAIT at `record`. True: it is a SYN that may open the connection anew, and the record is gone. */
export function input(t: Tcp, record: Address): boolean {
  const w = t.timeWait
  w.at = record
  const { options, bits } = t
  const hasTimestamp = (w.flags & PcbFlag.TIMESTAMPS) !== 0 && options.hasTimestamp
  // A reset ends nothing here: it may be an old duplicate (@rfc 1337 3, fix 1).
  if ((bits & TcpFlag.rst) !== 0) {
    t.count[C.rejectedAssassin]!++
    return false
  }
  const older = hasTimestamp && before(options.timestampValue, w.tsRecent)
  if ((bits & (TcpFlag.syn | TcpFlag.ack)) === TcpFlag.syn && !older) {
    // @rfc 9293 MAY-2 SHLD-4: a SYN that is beyond the old connection in time, or in sequence, opens it anew (@rfc 6191 2).
    const newer = hasTimestamp && after(options.timestampValue, w.tsRecent)
    if (newer || after(t.seq, w.rcvNxt)) {
      t.reopens = true
      t.issAfter = w.sndNxt
      end(t, record)
      t.count[C.timeWaitsReused]!++
      return true
    }
  }
  if (w.isGone === 1 && (bits & TcpFlag.syn) === 0) {
    reset(t)
    return false
  }
  // The peer's FIN again: our ACK was lost, and the time begins anew (RFC 9293 3.10.7.4). Anything else is answered as well.
  if (t.fin && ((t.seq + t.bytes + 1) | 0) === w.rcvNxt) t.timers.arm(record + TIMER, TIME_WAIT_US, EXPIRE, record)
  if (hasTimestamp && !older && !after(t.seq, w.rcvNxt)) w.tsRecent = options.timestampValue
  if (t.bytes === 0 && !t.fin && (bits & TcpFlag.syn) === 0 && t.seq === w.rcvNxt) return false
  if (w.challenges >= CHALLENGES_MAX) return false
  w.challenges++
  acknowledge(
    t,
    w.family as Family,
    w.local,
    w.localPort,
    w.remote,
    w.remotePort,
    w.sndNxt,
    w.rcvNxt,
    w.window,
    (w.flags & PcbFlag.TIMESTAMPS) !== 0,
    t.timestamp(w),
    w.tsRecent,
  )
  return false
}

/** There are too many: the oldest is ended early. */
function evict(t: Tcp, newest: Address): void {
  const victim = t.timeWaitOldest
  if (victim === newest) return
  t.count[C.timeWaitsEvicted]!++
  end(t, victim)
}

const EXPIRE = define('tcp.timewait', (cpu, record) => end(tcpOf(cpu, record), record))
