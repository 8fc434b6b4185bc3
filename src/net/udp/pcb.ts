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
   * The socket for a packet: a connected one before one that is bound to the address, before a wildcard. Addresses are
   * where their bytes lie. 0 when there is none.
   */
  lookup(family: Family, local: Address, localPort: number, remote: Address, remotePort: number): Address {
    const { u8: memory } = this.#context
    const p = this.#pcb
    let best = 0
    let bestScore = 0
    p.at = this.#first(localPort & (BUCKETS - 1))
    while (p.at !== 0) {
      if (p.localPort === localPort && p.family === family) {
        let score = 1
        if (!isUnspecified(memory, family, p.local))
          score = equalAddress(memory, p.local, local, family) ? score + 1 : 0
        if (score > 0 && p.remotePort !== 0) {
          const connected = p.remotePort === remotePort && equalAddress(memory, p.remote, remote, family)
          score = connected ? score + 2 : 0
        }
        if (score > bestScore) {
          best = p.at
          bestScore = score
        }
      }
      p.at = p.next
    }
    return best
  }

  /** Whether a socket at `local` (where its bytes lie) and `localPort` would take another's packets. */
  conflicts(family: Family, local: Address, localPort: number): boolean {
    const { u8: memory } = this.#context
    const p = this.#pcb
    const any = isUnspecified(memory, family, local)
    p.at = this.#first(localPort & (BUCKETS - 1))
    while (p.at !== 0) {
      if (p.localPort === localPort && p.family === family) {
        if (any || isUnspecified(memory, family, p.local) || equalAddress(memory, p.local, local, family)) return true
      }
      p.at = p.next
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

  #first(bucket: number): Address {
    return this.#context.memory.u32[(this.#buckets >> 2) + bucket]!
  }

  #setFirst(bucket: number, pcb: Address): void {
    this.#context.memory.u32[(this.#buckets >> 2) + bucket] = pcb
  }
}
