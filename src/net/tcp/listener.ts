// Listening sockets, as one CPU sees them. A listener stands on every CPU of its host (the round that puts it there is
// src/socket/tcp.ts's), so that the CPU that a SYN comes to makes the connection; a listener of one program on each CPU stands on
// its own only.
import { Limits } from '../../base/limits.ts'
import type { Address } from '../../base/struct.ts'
import type { PortId } from '../../kernel/port.ts'
import { addressBytes, type Family, isUnspecified } from '../address.ts'
import type { NetContext } from '../context.ts'

export interface ListenerOptions {
  readonly family: Family
  /** Where the bytes of the local address lie; they are copied. Unspecified: any. */
  readonly address: Address
  readonly localPort: number
  /** Connections that may wait for their handshake or for the program; 0 is 1, as listen(2) has it. */
  readonly backlog: number
  /** Where INCOMING is sent to, and the number of the listener there. */
  readonly port: PortId
  readonly socket: number
  /** PcbFlag that connections begin with. */
  readonly flags: number
  readonly sendBytes: number
  readonly receiveBytes: number
  readonly keepAliveMs: number
  readonly trafficClass: number
  /** Others may listen at the same place: the flow's hash chooses. */
  readonly shared: boolean
}

export class Listener {
  readonly id: number
  readonly options: ListenerOptions
  /** The bytes of its address, or undefined for any. */
  readonly address: Uint8Array | undefined
  /** Embryonic connections of it. */
  embryos = 0
  /** Established connections that no program has attached yet. */
  waiting = 0

  constructor(id: number, options: ListenerOptions, address: Uint8Array | undefined) {
    this.id = id
    this.options = options
    this.address = address
  }

  get backlog(): number {
    return Math.max(this.options.backlog, 1)
  }

  /** What our SYN announces: no more than there will be, and never scaled (RFC 7323 2.2). */
  get windowBytes(): number {
    return Math.min(this.options.receiveBytes || Limits.tcpReceiveBytes, 65535)
  }

  get trafficClass(): number {
    return this.options.trafficClass
  }
}

export class Listeners {
  readonly #u8: Uint8Array
  readonly #byPort = new Map<number, Listener[]>()
  readonly #byId: (Listener | undefined)[] = [undefined]
  readonly #freeIds: number[] = []

  constructor(context: NetContext) {
    this.#u8 = context.u8
  }

  /** @rfc 9293 MUST-41 MUST-42: as many as there are ports and addresses. Undefined where one stands in the way. */
  add(options: ListenerOptions): Listener | undefined {
    if (this.conflicts(options)) return undefined
    const id = this.#freeIds.pop() ?? this.#byId.length
    const any = isUnspecified(this.#u8, options.family, options.address)
    const bytes = any ? undefined : this.#u8.slice(options.address, options.address + addressBytes(options.family))
    const listener = new Listener(id, options, bytes)
    this.#byId[id] = listener
    const here = this.#byPort.get(options.localPort)
    // The more particular ones first.
    if (here === undefined) this.#byPort.set(options.localPort, [listener])
    else if (any) here.push(listener)
    else here.unshift(listener)
    return listener
  }

  remove(listener: Listener): void {
    const { localPort } = listener.options
    const here = this.#byPort.get(localPort)!.filter((other) => other !== listener)
    if (here.length === 0) this.#byPort.delete(localPort)
    else this.#byPort.set(localPort, here)
    this.#byId[listener.id] = undefined
    this.#freeIds.push(listener.id)
  }

  /** Whether a listener of `options` would stand in another's way. */
  conflicts({
    family,
    address,
    localPort,
    shared,
  }: Pick<ListenerOptions, 'family' | 'address' | 'localPort' | 'shared'>): boolean {
    const any = isUnspecified(this.#u8, family, address)
    return (this.#byPort.get(localPort) ?? []).some((other) => {
      if (other.options.family !== family || (shared && other.options.shared)) return false
      return any || other.address === undefined || this.#equal(other.address, address)
    })
  }

  /** The listener of a SYN to `address` and `localPort`; of several that share the place, the one that `hash` chooses. */
  lookup(family: Family, address: Address, localPort: number, hash: number): Listener | undefined {
    const here = this.#byPort.get(localPort)
    if (here === undefined) return undefined
    let first: Listener | undefined
    let count = 0
    for (let i = 0; i < here.length; i++) {
      const listener = here[i]!
      if (listener.options.family !== family) continue
      if (listener.address !== undefined && !this.#equal(listener.address, address)) continue
      // All that are as particular as the first share the place.
      if (first !== undefined && (first.address === undefined) !== (listener.address === undefined)) break
      first ??= listener
      count++
    }
    if (count < 2 || first === undefined) return first
    return here[here.indexOf(first) + (hash % count)]
  }

  /** The listener of one program, to be removed. */
  find(localPort: number, port: PortId, socket: number): Listener | undefined {
    return this.#byPort.get(localPort)?.find(({ options }) => options.port === port && options.socket === socket)
  }

  byId(id: number): Listener | undefined {
    return this.#byId[id]
  }

  all(): readonly Listener[] {
    return [...this.#byPort.values()].flat()
  }

  #equal(bytes: Uint8Array, address: Address): boolean {
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== this.#u8[address + i]) return false
    return true
  }
}
