// UDP's protocol control blocks: records in the machine's memory, in a table for each connection group.
// A wildcard socket stands in the table of every CPU of the host, so that each CPU finds it without asking.
import { assert } from '../../base/assert.ts'
import { type Address, bytes, struct, u8, u16, u32 } from '../../base/struct.ts'
import { addressBytes, equalAddress, type Family, isUnspecified } from '../address.ts'
import type { NetContext } from '../context.ts'

export const UdpPcb = struct({
  next: u32, //        0  in the hash chain
  port: u32, //        4  the message port of the socket
  socket: u32, //      8  the socket's number on its CPU
  cpu: u16, //        12  the CPU of the socket
  flags: u16, //      14  UdpPcbFlag
  localPort: u16, //  16
  remotePort: u16, // 18  0: not connected
  family: u8, //      20
  padding: bytes(11),
  local: bytes(16), // 32  unspecified: any of ours
  remote: bytes(16), // 48
})
assert(UdpPcb.size === 64, 'a UDP PCB is a cache line')

export const UdpPcbFlag = {
  /** Only this CPU's: each CPU has a socket of its own for the port (a program that runs on every CPU). */
  PER_CPU: 1 << 0,
  /** Others that say the same may have the port as well. */
  SHARED: 1 << 1,
} as const

export type UdpPcbCursor = ReturnType<(typeof UdpPcb)['cursor']>

const BUCKETS = 1024

/** The table of one group. The group's CPU only. */
export class UdpTable {
  readonly #context: NetContext
  readonly #buckets: Address
  readonly #pcb: UdpPcbCursor
  #size = 0

  constructor(context: NetContext) {
    this.#context = context
    this.#pcb = UdpPcb.cursor(context.memory)
    this.#buckets = context.cpu.slab.allocate(BUCKETS * 4 + 64) + 64
    context.u8.fill(0, this.#buckets, this.#buckets + BUCKETS * 4)
    context.cpu.onStop(() => {
      for (let bucket = 0; bucket < BUCKETS; bucket++) {
        for (let first = this.#first(bucket); first !== 0; first = this.#first(bucket)) this.remove(first)
      }
      context.cpu.slab.free(this.#buckets - 64)
    })
  }

  get size(): number {
    return this.#size
  }

  /** A new record with this local port, in the table, its other fields zero; 0 when there is no memory. */
  insert(localPort: number): Address {
    const pcb = this.#context.cpu.slab.tryAllocate(UdpPcb.size)
    if (pcb === 0) return 0
    this.#context.u8.fill(0, pcb, pcb + UdpPcb.size)
    const bucket = localPort & (BUCKETS - 1)
    const p = this.#pcb
    p.at = pcb
    p.localPort = localPort
    p.next = this.#first(bucket)
    this.#setFirst(bucket, pcb)
    this.#size++
    return pcb
  }

  remove(pcb: Address): void {
    const p = this.#pcb
    p.at = pcb
    const bucket = p.localPort & (BUCKETS - 1)
    const next = p.next
    if (this.#first(bucket) === pcb) this.#setFirst(bucket, next)
    else {
      p.at = this.#first(bucket)
      while (p.next !== pcb) {
        assert(p.next !== 0, 'a PCB is removed from the table that it is in')
        p.at = p.next
      }
      p.next = next
    }
    this.#size--
    this.#context.cpu.slab.free(pcb)
  }

  /**
   * The socket for a packet: a connected one before one that is bound to the address, before a wildcard. Of several that share
   * it, the flow's hash chooses one, the same for all packets of a flow. Addresses are where their bytes lie. 0 when there is none.
   */
  lookup(family: Family, local: Address, localPort: number, remote: Address, remotePort: number, hash = 0): Address {
    const p = this.#pcb
    let best = 0
    let bestScore = 0
    let equals = 0
    for (p.at = this.#first(localPort & (BUCKETS - 1)); p.at !== 0; p.at = p.next) {
      if (p.localPort !== localPort) continue
      const score = this.#score(family, local, remote, remotePort)
      if (score > bestScore) {
        best = p.at
        bestScore = score
        equals = 1
      } else if (score === bestScore) equals++
    }
    // Whom nobody fits they all fit alike.
    return bestScore === 0 || equals === 1
      ? best
      : this.#chosen(best, bestScore, family, local, localPort, remote, remotePort, hash % equals)
  }

  /** Of those from `first` on that fit as well, the one behind so many. */
  #chosen(
    first: Address,
    bestScore: number,
    family: Family,
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
    behind: number,
  ): Address {
    const p = this.#pcb
    let left = behind
    for (p.at = first; left > 0; ) {
      p.at = p.next
      if (p.localPort === localPort && this.#score(family, local, remote, remotePort) === bestScore) left--
    }
    return p.at
  }

  /**
   * The next socket behind `after`, or the first where that is 0, that a packet to many is for: each that is bound to its
   * port, and to no other address than the group's or broadcast's, and connected to nobody else. 0 when there is none.
   */
  next(
    after: Address,
    family: Family,
    local: Address,
    localPort: number,
    remote: Address,
    remotePort: number,
  ): Address {
    const p = this.#pcb
    p.at = after
    p.at = after === 0 ? this.#first(localPort & (BUCKETS - 1)) : p.next
    while (p.at !== 0) {
      if (p.localPort === localPort && this.#score(family, local, remote, remotePort) > 0) break
      p.at = p.next
    }
    return p.at
  }

  /**
   * Whether a socket at `local` (where its bytes lie) and `localPort` would take another's packets: it does not where both
   * share them.
   */
  conflicts(family: Family, local: Address, localPort: number, isShared = false): boolean {
    const { u8: memory } = this.#context
    const p = this.#pcb
    const any = isUnspecified(memory, family, local)
    for (p.at = this.#first(localPort & (BUCKETS - 1)); p.at !== 0; p.at = p.next) {
      if (p.localPort !== localPort || p.family !== family) continue
      if (isShared && (p.flags & UdpPcbFlag.SHARED) !== 0) continue
      if (any || isUnspecified(memory, family, p.local) || equalAddress(memory, p.local, local, family)) return true
    }
    return false
  }

  /** The record of a socket, or 0. */
  find(localPort: number, port: number, socket: number): Address {
    const p = this.#pcb
    p.at = this.#first(localPort & (BUCKETS - 1))
    while (p.at !== 0) {
      if (p.localPort === localPort && p.port === port && p.socket === socket) return p.at
      p.at = p.next
    }
    return 0
  }

  /** Sets the remote end of a record; port 0 undoes it. */
  connect(pcb: Address, remote: Address, remotePort: number): void {
    const p = this.#pcb
    p.at = pcb
    this.#context.u8.copyWithin(p.remote, remote, remote + addressBytes(p.family as Family))
    p.remotePort = remotePort
  }

  /** How well the socket that `#pcb` is at, of the right port, fits a packet; 0: not at all. */
  #score(family: Family, local: Address, remote: Address, remotePort: number): number {
    const { u8: memory } = this.#context
    const p = this.#pcb
    if (p.family !== family) return 0
    let score = 1
    if (!isUnspecified(memory, family, p.local)) {
      if (!equalAddress(memory, p.local, local, family)) return 0
      score++
    }
    if (p.remotePort === 0) return score
    return p.remotePort === remotePort && equalAddress(memory, p.remote, remote, family) ? score + 2 : 0
  }

  #first(bucket: number): Address {
    return this.#context.memory.u32[(this.#buckets >> 2) + bucket]!
  }

  #setFirst(bucket: number, pcb: Address): void {
    this.#context.memory.u32[(this.#buckets >> 2) + bucket] = pcb
  }
}
