// SYN cookies (RFC 4987 3.6): when there is no room for another embryonic connection, what must be known of it goes into our
// sequence number, and comes back with the ACK that completes the handshake. A flood then costs no memory at all.
//
//   cookie = peer's ISN + | secret 1 bit | MSS 3 bits | hash of the ends, the peer's ISN and the other four bits: 28 bits |
//
// Of two secrets one is new each 64 s, and cookies of both are good: one lives between 64 s and 128 s. A guess at an ACK that would open
// a connection has a chance of one in 2^28.
//
// Window scale and SACK have no room there. When the peer uses timestamps, they go into the lowest bits of ours, as on Linux:
//
//   timestamp = | clock, 26 bits | ECN | SACK | scale of the peer's windows, 4 bits; 15: none |
//
// One for each CPU. The ends of a connection decide the CPU, so a cookie comes back to the one that has made it.
import type { Random } from '../../base/random.ts'
import type { Address } from '../../base/struct.ts'
import { Family } from '../address.ts'
import { before, type SequenceNumber } from './sequence.ts'
import { SipHash } from './siphash.ts'

/** How long a secret makes cookies, and then is still good. */
const PERIOD_US = 64_000_000
/**
 * What the peer's MSS is rounded down to: what no option means, the least that IPv6 guarantees and what tunnels leave, Ethernet for both
 * families with and without PPPoE, and jumbo frames. The first is for whoever says less.
 */
export const COOKIE_MSS = [216, 536, 1220, 1360, 1440, 1452, 1460, 8940] as const
const MSS_SHIFT = 28
const HASH_MASK = 0x0fffffff
const OPTION_BITS = 0x3f
const SCALE_MASK = 0x0f
const NO_SCALE = 15
const SCALE_MAX = 14
const SACK = 1 << 4
const ECN = 1 << 5

export class SynCookies {
  readonly #random: Random
  /** Of the even and of the odd periods. */
  readonly #hashes = [new SipHash(), new SipHash()] as const
  /** The period that the newer of the two belongs to. */
  #period = -1
  #master: SipHash | undefined = undefined
  /** What `check` has found out: the peer's MSS, or a little less. */
  mss = 0
  /** What `decodeTimestamp` has. */
  windowScale = -1
  sackPermitted = false
  ecn = false

  constructor(random: Random) {
    this.#random = random
    // Also the one that makes no cookie yet: a key that anybody knows must not be good either.
    for (const hash of this.#hashes) hash.rekey(random)
  }

  /** The secrets of all periods are made of one, which all CPUs of a host have: any of them may check what another has made. */
  share(secret: Pick<Random, 'next'>): void {
    this.#master = new SipHash()
    this.#master.rekey(secret)
    this.#period = -1
  }

  /** The ISS for the answer to a SYN with the sequence number `peerIss` and this MSS option, 0 if it had none. */
  make(
    nowUs: number,
    view: DataView,
    family: Family,
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
    peerIss: SequenceNumber,
    mss: number,
  ): SequenceNumber {
    this.#renew(nowUs)
    // @rfc 9293 MUST-15 what a SYN without the option means
    const index = mssIndex(mss !== 0 ? mss : family === Family.inet ? 536 : 1220)
    const open = ((this.#period & 1) << 3) | index
    return this.#cookie(open, view, family, local, localPort, remote, remotePort, peerIss)
  }

  /**
   * Whether `cookie`, the acknowledgment number less one, is one that was made for these ends lately, when the peer's ISN was `peerIss`,
   * its sequence number less one. `mss` is set then.
   */
  check(
    nowUs: number,
    view: DataView,
    family: Family,
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
    peerIss: SequenceNumber,
    cookie: SequenceNumber,
  ): boolean {
    this.#renew(nowUs)
    const open = (cookie - peerIss) >>> MSS_SHIFT
    const expected = this.#cookie(open, view, family, local, localPort, remote, remotePort, peerIss)
    if (((expected ^ cookie) | 0) !== 0) return false
    this.mss = COOKIE_MSS[open & 7]!
    return true
  }

  /**
   * A timestamp not later than `timestamp`, and at most 63 ticks earlier, that says what the SYN had. Its clock does not run ahead, or
   * the timestamps that follow would look old (RFC 7323 5.2).
   */
  encodeTimestamp(timestamp: number, windowScale: number, sackPermitted: boolean, ecn = false): number {
    const scale = windowScale < 0 ? NO_SCALE : windowScale
    const bits = scale | (sackPermitted ? SACK : 0) | (ecn ? ECN : 0)
    const encoded = (timestamp & ~OPTION_BITS) | bits
    return before(timestamp, encoded) ? (encoded - (OPTION_BITS + 1)) | 0 : encoded
  }

  /** Sets `windowScale`, `sackPermitted` and `ecn` from the echo of one. Whoever forges it only misleads us about himself. */
  decodeTimestamp(echo: number): void {
    const scale = echo & SCALE_MASK
    this.windowScale = scale === NO_SCALE ? -1 : Math.min(scale, SCALE_MAX)
    this.sackPermitted = (echo & SACK) !== 0
    this.ecn = (echo & ECN) !== 0
  }

  /** `open` is what stands in the upper bits: which secret, and which MSS. */
  #cookie(
    open: number,
    view: DataView,
    family: Family,
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
    peerIss: SequenceNumber,
  ): SequenceNumber {
    const hash = this.#hashes[(open >>> 3) & 1]!
    hash.tuple(view, family, local, localPort, remote, remotePort, peerIss, open)
    return (peerIss + ((open << MSS_SHIFT) | (hash.low & HASH_MASK))) | 0
  }

  /** Another secret for a new period. After a long pause both are new: no cookie is older than two periods. */
  #renew(nowUs: number): void {
    const period = Math.floor(nowUs / PERIOD_US)
    if (period === this.#period) return
    if (this.#master !== undefined) {
      for (const each of [period, period - 1]) this.#hashes[each & 1]!.rekey(derived(this.#master, each))
      this.#period = period
      return
    }
    if (period !== this.#period + 1) this.#hashes[(period + 1) & 1]!.rekey(this.#random)
    this.#hashes[period & 1]!.rekey(this.#random)
    this.#period = period
  }
}

/** The key of a period, made of a secret. */
function derived(master: SipHash, period: number): Pick<Random, 'next'> {
  let word = 0
  return {
    next: () => {
      master.start()
      master.word(period | 0, word++)
      master.finish()
      return master.low
    },
  }
}

/** The largest of the table that is not larger, or the first. */
function mssIndex(mss: number): number {
  let index = COOKIE_MSS.length - 1
  while (index > 0 && COOKIE_MSS[index]! > mss) index--
  return index
}
