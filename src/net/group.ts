// The groups that a host has joined (RFC 1112 7): for each interface, and how many sockets of all its CPUs are members.
// Each CPU has a replica, so that IP's input finds it without asking; control/group.ts keeps them alike. @rfc 1122 3.3.7/multicast
import { assert } from '../base/assert.ts'
import { Errno } from '../base/errno.ts'
import type { Address } from '../base/struct.ts'
import { addressBytes, equalAddress, Family } from './address.ts'
import type { NetContext } from './context.ts'
import { GroupCounters } from './counters.ts'

/** A group on an interface, with one member at least. */
export interface Membership {
  readonly family: Family
  readonly interfaceIndex: number
  /** Where the bytes of the group's address lie. */
  readonly address: Address
  members: number
}

/** Groups of a host, on all of its interfaces. Whoever wants one more gets ENOBUFS. */
export const GROUPS_MAX = 4096
/** By the last byte of the address. */
const BUCKETS = 64
/** The slab owns an object's first words while it is free: the address stands behind them. */
const RECORD_BYTES = 64
const ADDRESS_OFFSET = 16

const C = GroupCounters.index

export class Groups {
  readonly #context: NetContext
  readonly #count: Float64Array
  readonly #buckets: Membership[][] = Array.from({ length: BUCKETS }, () => [])
  #size = 0
  /** Set by IGMP, on the control CPU: the first socket of the host has joined, or the last one has left. */
  onJoined: (membership: Membership) => void = () => {}
  onLeft: (membership: Membership) => void = () => {}

  constructor(context: NetContext) {
    this.#context = context
    this.#count = context.count(GroupCounters)
    context.cpu.onStop(() => {
      for (const bucket of this.#buckets) for (const { address } of bucket.splice(0)) this.#free(address)
    })
  }

  /** Groups that have members. */
  get size(): number {
    return this.#size
  }

  /** Whether what comes in by an interface for the group at `address` is taken: by every host what is for all systems (RFC 1112 4). */
  accepts(interfaceIndex: number, family: Family, address: Address): boolean {
    return isAllSystems(this.#context.u8, family, address) || this.#find(interfaceIndex, family, address) !== undefined
  }

  /** One member more. Returns 0, or ENOBUFS. For the rounds. */
  join(interfaceIndex: number, family: Family, address: Address): number {
    const known = this.#find(interfaceIndex, family, address)
    if (known !== undefined) {
      known.members++
      return 0
    }
    if (this.#size === GROUPS_MAX) return Errno.ENOBUFS
    const { u8, cpu, isControl } = this.#context
    const room = cpu.slab.tryAllocate(RECORD_BYTES)
    if (room === 0) return Errno.ENOBUFS
    const own = room + ADDRESS_OFFSET
    u8.copyWithin(own, address, address + addressBytes(family))
    const membership = { family, interfaceIndex, address: own, members: 1 }
    this.#bucket(family, address).push(membership)
    this.#size++
    if (isControl) this.#count[C.joined]!++
    this.onJoined(membership)
    return 0
  }

  /** One member less. For the rounds. */
  leave(interfaceIndex: number, family: Family, address: Address): void {
    const membership = this.#find(interfaceIndex, family, address)
    assert(membership !== undefined, 'only a group that was joined is left')
    if (--membership.members > 0) return
    const bucket = this.#bucket(family, address)
    bucket.splice(bucket.indexOf(membership), 1)
    this.#size--
    if (this.#context.isControl) this.#count[C.left]!++
    this.onLeft(membership)
    this.#free(membership.address)
  }

  #find(interfaceIndex: number, family: Family, address: Address): Membership | undefined {
    const bucket = this.#bucket(family, address)
    for (let i = 0; i < bucket.length; i++) {
      const each = bucket[i]!
      if (each.interfaceIndex !== interfaceIndex || each.family !== family) continue
      if (equalAddress(this.#context.u8, each.address, address, family)) return each
    }
    return undefined
  }

  #bucket(family: Family, address: Address): Membership[] {
    return this.#buckets[this.#context.u8[address + addressBytes(family) - 1]! & (BUCKETS - 1)]!
  }

  #free(address: Address): void {
    this.#context.cpu.slab.free(address - ADDRESS_OFFSET)
  }
}

/** 224.0.0.1: every host is a member, always, and nobody reports it (@rfc 1122 3.3.7/all-hosts, RFC 1112 4, RFC 2236 6). */
export function isAllSystems(u8: Uint8Array, family: Family, address: Address): boolean {
  if (family !== Family.inet) return false
  return u8[address] === 224 && u8[address + 1] === 0 && u8[address + 2] === 0 && u8[address + 3] === 1
}
