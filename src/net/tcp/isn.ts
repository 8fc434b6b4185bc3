// Initial sequence numbers (RFC 9293 3.4.1, RFC 6528), and where a connection's timestamps begin (RFC 7323 7.1). One for each CPU,
// under a key of its own where the ends of a connection decide the CPU, so that the same two ends always meet the same key.
//
//   ISN = M + F(local, remote, ports, key)
//
// M is a clock, so that the numbers of one connection do not meet those of the one before it between the same ends; F makes what
// others get say nothing about it (CVE-2020-27213 and eight others: stacks whose numbers could be guessed).
import type { Random } from '../../base/random.ts'
import type { Address } from '../../base/struct.ts'
import type { Family } from '../address.ts'
import type { SequenceNumber } from './sequence.ts'
import { SipHash } from './siphash.ts'

/** @rfc 9293 MUST-8 the clock ticks each 4 µs, and goes round in 4.55 hours. */
const TICK_US = 4
/** So that a sequence number and a timestamp of the same ends say nothing about each other. */
const SEQUENCE = 1
const TIMESTAMP = 2

export class InitialSequence {
  /** @rfc 9293 SHLD-1 a keyed hash. @rfc 9293 MUST-9 nobody outside can compute it: the key is this CPU's, and goes nowhere. */
  readonly #hash = new SipHash()
  /** Takes the place of the hash in sequence numbers. */
  readonly #fixed: number | undefined

  /** @param fixed what is added to the clock instead of the hash, for simulations; anybody can then tell the numbers */
  constructor(random: Random, fixed?: number) {
    this.#hash.rekey(random)
    this.#fixed = fixed
  }

  /** One key for all CPUs of a host, where any of them may be asked about the same ends. */
  share(secret: Pick<Random, 'next'>): void {
    this.#hash.rekey(secret)
  }

  /** The ISS of a connection that begins now. Addresses are where their bytes lie in `view`. */
  next(
    nowUs: number,
    view: DataView,
    family: Family,
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
  ): SequenceNumber {
    if (this.#fixed !== undefined) return (Math.floor(nowUs / TICK_US) + this.#fixed) | 0
    this.#hash.tuple(view, family, local, localPort, remote, remotePort, SEQUENCE, 0)
    return (Math.floor(nowUs / TICK_US) + this.#hash.low) | 0
  }

  /**
   * What is added to the timestamp clock for these ends: always the same, so that the timestamps of one connection go on from those of
   * the one before it, which TIME-WAIT relies on (RFC 6191), and others learn neither how long this host is up nor that it is the same.
   */
  timestampOffset(
    view: DataView,
    family: Family,
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
  ): number {
    this.#hash.tuple(view, family, local, localPort, remote, remotePort, TIMESTAMP, 0)
    return this.#hash.low
  }
}
