// An interface of a host, as one CPU sees it: its addresses, in memory, and this CPU's queue of the device.
import type { Address } from '../base/struct.ts'
import type { DeviceInfo, DeviceQueue } from '../device/device.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { directedBroadcast, equalAddress, type Family, maskEqual, networkBytes, type Prefix } from './address.ts'

/** One address of an interface. `address`, `network` and `broadcast` are where their bytes lie. */
export interface InterfaceAddress extends Prefix {
  readonly address: Address
  readonly network: Address
  /** 0 where there is none: IPv6, and prefixes of 31 and 32 bits. */
  readonly broadcast: Address
}

export class Interface {
  readonly index: number
  readonly name: string
  readonly info: DeviceInfo
  /** This CPU's queue; a CPU without one hands packets to a CPU that has. */
  readonly queue: DeviceQueue | undefined
  readonly addresses: readonly InterfaceAddress[]
  /** Where the 6 bytes of the link address lie, or 0. */
  readonly linkAddress: Address
  /** What is sent here comes back in: the host talks to itself. */
  readonly loopback: boolean
  /** The IPv4 addresses once more, as numbers: every packet is held against them. */
  readonly #inet: readonly {
    readonly own: number
    readonly network: number
    readonly broadcast: number
    readonly hasBroadcast: boolean
  }[]

  constructor(
    cpu: Cpu,
    index: number,
    name: string,
    info: DeviceInfo,
    queue: DeviceQueue | undefined,
    prefixes: readonly Prefix[],
    loopback: boolean,
  ) {
    this.index = index
    this.name = name
    this.info = info
    this.queue = queue
    this.loopback = loopback
    const room = cpu.slab.allocate(64 + prefixes.length * 48 + 16)
    cpu.onStop(() => cpu.slab.free(room))
    let at = room + 8
    const put = (bytes: Uint8Array | readonly number[]): Address => {
      const address = at
      cpu.memory.u8.set(bytes, address)
      at += 16
      return address
    }
    this.linkAddress = info.address === undefined ? 0 : put(info.address)
    this.addresses = prefixes.map((prefix) => {
      const broadcast = directedBroadcast(prefix)
      return {
        ...prefix,
        address: put(prefix.bytes),
        network: put(networkBytes(prefix.bytes, prefix.length)),
        broadcast: broadcast === undefined ? 0 : put(broadcast),
      }
    })
    const { u8 } = cpu.memory
    this.#inet = this.addresses
      .filter(({ family }) => family === 4)
      .map(({ address, network, broadcast: all }) => ({
        own: wordAt(u8, address),
        network: wordAt(u8, network),
        broadcast: all === 0 ? 0 : wordAt(u8, all),
        hasBroadcast: all !== 0,
      }))
  }

  /** The address that a packet to `target` leaves with: the one of the target's prefix before the first; 0 when there is none. */
  sourceFor(u8: Uint8Array, family: Family, target: Address): Address {
    let first = 0
    for (const own of this.addresses) {
      if (own.family !== family) continue
      if (maskEqual(u8, own.address, target, own.length)) return own.address
      first ||= own.address
    }
    return first
  }

  /** Whether the bytes at `address` are one of its own addresses. */
  has(u8: Uint8Array, family: Family, address: Address): boolean {
    if (family === 4) {
      const word = wordAt(u8, address)
      for (let i = 0; i < this.#inet.length; i++) if (this.#inet[i]!.own === word) return true
      return false
    }
    for (let i = 0; i < this.addresses.length; i++) {
      const own = this.addresses[i]!
      if (own.family === family && equalAddress(u8, own.address, address, family)) return true
    }
    return false
  }

  /**
   * Whether they are the broadcast address of one of its prefixes, or the prefix itself, 4.2BSD's form of it
   * (RFC 1122 3.3.6). IPv6 has none.
   */
  isBroadcast(u8: Uint8Array, family: Family, address: Address): boolean {
    if (family !== 4) return false
    const word = wordAt(u8, address)
    for (let i = 0; i < this.#inet.length; i++) {
      const own = this.#inet[i]!
      if (own.hasBroadcast && (own.broadcast === word || own.network === word)) return true
    }
    return false
  }
}

/** The four bytes of an IPv4 address as a 32-bit number: to compare with, within this file. */
function wordAt(u8: Uint8Array, address: Address): number {
  return (u8[address]! << 24) | (u8[address + 1]! << 16) | (u8[address + 2]! << 8) | u8[address + 3]!
}
