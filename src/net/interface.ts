// An interface of a host, as one CPU sees it: its addresses, in memory, and this CPU's queue of the device.
import type { Address } from '../base/struct.ts'
import type { DeviceInfo, DeviceQueue } from '../device/device.ts'
import type { Cpu } from '../kernel/cpu.ts'
import { addressBytes, directedBroadcast, type Family, maskEqual, networkBytes, type Prefix } from './address.ts'

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
    for (let i = 0; i < this.addresses.length; i++) {
      const own = this.addresses[i]!
      if (own.family === family && sameBytes(u8, own.address, address, addressBytes(family))) return true
    }
    return false
  }

  /** Whether they are the broadcast address of one of its prefixes. */
  isBroadcast(u8: Uint8Array, family: Family, address: Address): boolean {
    for (let i = 0; i < this.addresses.length; i++) {
      const own = this.addresses[i]!
      if (own.family !== family || own.broadcast === 0) continue
      const length = addressBytes(family)
      // The all-zeros form of 4.2BSD counts as broadcast too (RFC 1122 3.3.6), but an address of our own does not.
      if (sameBytes(u8, own.broadcast, address, length) || sameBytes(u8, own.network, address, length)) return true
    }
    return false
  }
}

function sameBytes(u8: Uint8Array, a: Address, b: Address, length: number): boolean {
  for (let i = 0; i < length; i++) if (u8[a + i] !== u8[b + i]) return false
  return true
}
