// ICMP errors about segments of ours (RFC 9293 3.9.2.2). Anybody can send one: it is believed only about a segment that is in flight
// now (@rfc 5927 4.1), and never so far that it ends a connection that works (@rfc 5927 5.2).
import { Errno } from '../../base/errno.ts'
import type { Address } from '../../base/struct.ts'
import { lockSite } from '../../kernel/lock.ts'
import { Family } from '../address.ts'
import { IcmpType, IcmpUnreachable } from '../icmp/header.ts'
import { IpHeader, ipHeaderBytes } from '../ip/header.ts'
import { flowHash } from '../toeplitz.ts'
import { fail } from './connection.ts'
import { packetTooBig } from './mtu.ts'
import { TupleKind } from './pcb.ts'
import { distance } from './sequence.ts'
import { State } from './state.ts'
import type { Tcp } from './tcp.ts'

const ICMP = lockSite('tcp icmp')

/**
 * `quote` is the IP header that the error quotes, with at least 8 bytes behind it. Returns whether it was about a connection. @rfc 9293
 * MUST-54; source quench never comes here (@rfc 9293 MUST-55).
 */
export function icmpError(t: Tcp, type: number, code: number, quote: Address, mtu: number): boolean {
  const hash = quotedHash(t, quote)
  if (!t.groups.mayEnter(hash)) return false
  t.groups.enterFlow(hash, ICMP)
  const isOurs = quoted(t, quote) && report(t, type, code, quote, mtu)
  t.groups.leave()
  return isOurs
}

/** The hash of the flow of a packet of ours that is quoted. */
function quotedHash({ u8, view }: Tcp, quote: Address): number {
  const header = quote + ipHeaderBytes(u8, quote)
  const { source, destination } = IpHeader.offset
  const ports = [view.getUint16(header), view.getUint16(header + 2)] as const
  return flowHash(u8, Family.inet, quote + source, quote + destination, ...ports)
}

/** Whether there is a connection that has sent what is quoted: it is at `t.p` then. */
function quoted(t: Tcp, quote: Address): boolean {
  const { view, u8, p } = t
  const header = quote + ipHeaderBytes(u8, quote)
  const local = quote + IpHeader.offset.source
  const remote = quote + IpHeader.offset.destination
  const record = t.table.lookup(Family.inet, local, view.getUint16(header), remote, view.getUint16(header + 2))
  if (record === 0) return false
  t.tuple.at = record
  if (t.tuple.kind !== TupleKind.connection) return false
  p.at = record
  return true
}

function report(t: Tcp, type: number, code: number, quote: Address, mtu: number): boolean {
  const { view, u8, p } = t
  const header = quote + ipHeaderBytes(u8, quote)
  const ahead = distance(p.sndUna, view.getInt32(header + 4))
  if (ahead < 0 || ahead >= distance(p.sndUna, p.sndNxt)) return false
  t.enter()
  if (type === IcmpType.unreachable && code === IcmpUnreachable.fragmentationNeeded) {
    if (p.state !== State.synSent) packetTooBig(t, p, mtu)
    return true
  }
  // @rfc 9293 MUST-56 SHLD-25, @rfc 1122 3.2.2.1/hint: remembered, and told if nothing comes of it.
  p.softError = errnoOf(type, code)
  // @rfc 9293 SHLD-26, @rfc 1122 3.2.2.1/act: while nothing has been established, what says that the other end does not want it ends the attempt.
  const isHard = type === IcmpType.unreachable && (code === IcmpUnreachable.protocol || code === IcmpUnreachable.port)
  if (isHard && (p.state & (State.synSent | State.synReceived)) !== 0) fail(t, p, p.softError)
  return true
}

/**
 * Our own link has found nobody to give a packet to. `quote` is the packet's IP header. Told by ourselves and not by a stranger, it
 * ends an attempt to connect, as on Linux.
 */
export function unreachable(t: Tcp, quote: Address): void {
  const hash = quotedHash(t, quote)
  if (!t.groups.mayEnter(hash)) return
  t.groups.enterFlow(hash, ICMP)
  if (quoted(t, quote)) {
    const { p } = t
    t.enter()
    p.softError = Errno.EHOSTUNREACH
    if (p.state === State.synSent) fail(t, p, Errno.EHOSTUNREACH)
  }
  t.groups.leave()
}

function errnoOf(type: number, code: number): number {
  if (type !== IcmpType.unreachable) return Errno.EHOSTUNREACH
  if (code === IcmpUnreachable.port) return Errno.ECONNREFUSED
  if (code === IcmpUnreachable.protocol) return Errno.EPROTONOSUPPORT
  if (code === IcmpUnreachable.network || code === IcmpUnreachable.networkUnknown) return Errno.ENETUNREACH
  return Errno.EHOSTUNREACH
}
