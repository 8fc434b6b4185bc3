// Ephemeral ports (@rfc 6056 3.3.4, the double-hash algorithm): the local port of a connection that the program has not bound. For
// each peer they go up from a place of its own, so that a port is used again only after thousands of others, and nobody can tell from
// the ports that he sees which ones others get, nor how many. One for each CPU.
//
//   port = first + (offset(local, remote, remotePort) + next[index(local, remote, remotePort)]) mod count
import { Errno, KernelError } from '../../base/errno.ts'
import type { Random } from '../../base/random.ts'
import type { Address } from '../../base/struct.ts'
import type { Family } from '../address.ts'
import { SipHash } from './siphash.ts'

/** The dynamic ports of RFC 6335 6. */
export const EPHEMERAL_FIRST = 49152
export const EPHEMERAL_LAST = 65535
/** Counters. Peers that share one share how fast it goes up: the more there are, the less that says (RFC 6056 3.3.4). */
const COUNTERS = 1024
/** A step is 1 to this, at random (RFC 6056 3.3.5): what a peer sees does not tell how many connections others were given. */
const STEP_MAX = 8

/** Ports from the first to the last. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

export class EphemeralPorts {
  readonly #random: Random
  readonly #first: number
  readonly #count: number
  readonly #hash = new SipHash()
  readonly #next: Uint16Array

  /**
   * @throws KernelError EINVAL for a range that cannot be
   */
  constructor(random: Random, { first, last }: PortRange = { first: EPHEMERAL_FIRST, last: EPHEMERAL_LAST }) {
    if (!(Number.isInteger(first) && Number.isInteger(last) && first >= 1 && last >= first && last <= 65535)) {
      const sentence = `ports from ${first} to ${last} for connections: give two whole numbers from 1 to 65535, the smaller one first`
      throw new KernelError(Errno.EINVAL, sentence)
    }
    this.#first = first
    this.#count = last - first + 1
    this.#random = random
    this.#hash.rekey(random)
    this.#next = Uint16Array.from({ length: COUNTERS }, () => random.next())
  }

  /**
   * A port for a connection from `local` to `remote`, whose bytes lie there in `view`; 0 when `accept` wants none of them: the
   * tuple is taken (@rfc 6056 3), or belongs to another CPU. Asks it once for each port at most.
   */
  choose(
    view: DataView,
    family: Family,
    local: Address,
    remote: Address,
    remotePort: number,
    accept: (port: number) => boolean,
  ): number {
    this.#hash.tuple(view, family, local, 0, remote, remotePort, 0, 0)
    // Two hashes by different keys, as the RFC has it, are the two halves of one.
    const offset = this.#hash.low >>> 0
    const index = this.#hash.high & (COUNTERS - 1)
    const from = offset + this.#next[index]!
    for (let i = 0; i < this.#count; i++) {
      const port = this.#first + ((from + i) % this.#count)
      if (!accept(port)) continue
      // 65536 is a multiple of the usual number of ports, so that the counter may go round; of another one it begins elsewhere then.
      this.#next[index]! += i + 1 + this.#random.below(STEP_MAX)
      return port
    }
    return 0
  }
}
