// The path's MTU and what follows from it: the size of segments, and whether the device cuts and sums them (RFC 9293 3.7, RFC
// 1191, RFC 8899 in its simple form: timeouts of full segments are taken for a black hole).
import { addressBytes, type Family } from '../address.ts'
import { TcpCounters } from '../counters.ts'
import { HostMetrics } from '../hostcache/hostcache.ts'
import { loseAll } from './acknowledge.ts'
import { type Pcb, PcbFlag } from './pcb.ts'
import type { Tcp } from './tcp.ts'

const C = TcpCounters.index
const MTU = HostMetrics.offset.mtu >> 2
/** @rfc 9293 MUST-15: what a peer takes that has said nothing. */
export const MSS_DEFAULT = { 4: 536, 6: 1220 } as const
/**
 * A peer's MSS below this is not believed: segments of a few bytes cost more than they carry (CVE-2019-11479). Linux has 48, FreeBSD 216.
 */
export const MSS_MIN = 88
/** A path's MTU below this is not believed, and ours are then sent without "don't fragment" (@rfc 1191 3, Linux: min_pmtu). */
const MTU_MIN = 552
/** @rfc 1191 7: what links have. For routers that do not say, and for black holes. */
const PLATEAUS = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 552] as const
/** Timeouts in a row of a full segment that make a black hole (RFC 8899 3: confirmation of PL_PROBE_FAILURE by loss). */
const BLACK_HOLE_TIMEOUTS = 2

/** TCP and IP headers without options (RFC 6691: options are subtracted by who sends them). */
export function headerBytes(family: Family): number {
  return addressBytes(family) === 4 ? 40 : 60
}

/** The way to the peer was looked up anew, or for the first time: MTU, offload, size of segments. */
export function lookUpPath(t: Tcp, p: Pcb): void {
  p.pathGeneration = t.context.routes.generation
  const iface = t.ip.interfaceTo(p.remote)
  if (iface === undefined) {
    p.offload = 0
    if (p.mtu === 0) p.mtu = 1500
  } else {
    const { mtu, offload } = iface.info
    p.offload =
      offload === undefined ? 0 : (offload.checksum ? 1 : 0) | (offload.checksum && offload.segmentation ? 2 : 0)
    p.mtu = Math.min(mtu, 65535)
    const known = t.hostCache.lookup(p.family as Family, p.remote)
    if (known !== 0) {
      const cached = t.words[(known >> 2) + MTU]!
      if (cached !== 0 && cached < p.mtu) p.mtu = cached
    }
  }
  setMss(p)
}

/** @rfc 9293 MUST-16 SHLD-6, @rfc 1122 3.3.3/mms-s: the effective send MSS. */
export function setMss(p: Pcb): void {
  const options = (p.flags & PcbFlag.TIMESTAMPS) !== 0 ? 12 : 0
  const largest = p.mtu - headerBytes(p.family as Family)
  p.mss = Math.max(Math.min(Math.max(p.peerMss, MSS_MIN), largest), MSS_MIN) - options
}

/**
 * A router could not pass on a segment of ours: its link carries `mtu` bytes (0: it did not say). What is in flight goes again, smaller.
 * The caller has checked that the segment was in flight (@rfc 5927 7).
 */
export function packetTooBig(t: Tcp, p: Pcb, mtu: number): void {
  let wanted = mtu
  if (wanted === 0) wanted = PLATEAUS.find((plateau) => plateau < p.mtu) ?? MTU_MIN
  if (wanted < MTU_MIN) {
    wanted = MTU_MIN
    p.flags |= PcbFlag.MAY_FRAGMENT
  }
  if (wanted >= p.mtu) return
  t.count[C.mtuReduced]!++
  p.mtu = wanted
  setMss(p)
  t.hostCache.updateMtu(p.family as Family, p.remote, wanted)
  loseAll(t, p)
  t.wantOutput(p)
}

/** A full segment has timed out: if the same goes on, the path may lose what is large without a word (@rfc 8899 4.3). */
export function fallBack(t: Tcp, p: Pcb): void {
  if (p.mtu <= MTU_MIN || ++p.mtuProbeFailures < BLACK_HOLE_TIMEOUTS) return
  p.mtuProbeFailures = 0
  t.count[C.blackHoles]!++
  p.mtu = p.mtu > 1280 ? 1280 : MTU_MIN
  setMss(p)
}
