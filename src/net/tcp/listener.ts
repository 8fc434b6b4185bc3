// Listening sockets, as one CPU sees them. A listener stands on every CPU of its host (the round that puts it there is
// src/socket/tcp.ts's), so that the CPU that a SYN comes to makes the connection. A listener of one program on each CPU stands on its own
// only; the others know of it, for what it has begun may come to them when the discipline changes.
import { Limits } from '../../base/limits.ts'
import type { Address } from '../../base/struct.ts'
import type { PortId } from '../../kernel/port.ts'
import { addressBytes, type Family, isUnspecified } from '../address.ts'
import type { NetContext } from '../context.ts'

/** What CPUs count of a listener, a slot for each: in the memory of the CPU that has its program. */
export const ListenerRecord = {
  bytes: (cpus: number) => COUNTS + cpus * SLOT_BYTES,
} as const
/** Behind the words that are the slab's while the record is free. */
const COUNTS = 16
const SLOT_BYTES = 8
const EMBRYOS = 0
const WAITING = 1

export interface ListenerOptions {
  /** The same on all CPUs of the host, and never given twice. */
  readonly id: number
  /** A ListenerRecord, all zero. */
  readonly record: Address
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
  readonly options: ListenerOptions
  /** The bytes of its address, or undefined for any. */
  readonly address: Uint8Array | undefined
  readonly #words: Int32Array
  /** Of this CPU, among words; and the first and last, for only the sum means anything: any CPU may go on with what another has begun. */
  readonly #own: number
  readonly #first: number
  readonly #last: number

  constructor(context: NetContext, options: ListenerOptions, address: Uint8Array | undefined) {
    this.options = options
    this.address = address
    this.#words = context.memory.i32
    const slot = (cpu: number) => (options.record + COUNTS + cpu * SLOT_BYTES) >> 2
    this.#own = slot(context.cpu.index)
    this.#first = slot(0)
    this.#last = slot(context.cpu.cpus - 1)
  }

  get id(): number {
    return this.options.id
  }

  /** Embryonic connections of it. */
  get embryos(): number {
    return this.#sum(EMBRYOS)
  }

  addEmbryos(count: number): void {
    this.#words[this.#own + EMBRYOS]! += count
  }

  /** Established connections that no program has attached yet. */
  get waiting(): number {
    return this.#sum(WAITING)
  }

  addWaiting(count: number): void {
    this.#words[this.#own + WAITING]! += count
  }

  #sum(which: number): number {
    let sum = 0
    for (let slot = this.#first; slot <= this.#last; slot += SLOT_BYTES / 4) sum += this.#words[slot + which]!
    return sum
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
  readonly #byId = new Map<number, Listener>()
  readonly #context: NetContext

  constructor(context: NetContext) {
    this.#context = context
    this.#u8 = context.u8
  }

  /** One that stands on another CPU only. */
  know(options: ListenerOptions): void {
    this.#byId.set(options.id, new Listener(this.#context, options, undefined))
  }

  /** @rfc 9293 MUST-41 MUST-42: as many as there are ports and addresses. Undefined where one stands in the way. */
  add(options: ListenerOptions): Listener | undefined {
    if (this.conflicts(options)) return undefined
    const any = isUnspecified(this.#u8, options.family, options.address)
    const bytes = any ? undefined : this.#u8.slice(options.address, options.address + addressBytes(options.family))
    const listener = new Listener(this.#context, options, bytes)
    this.#byId.set(options.id, listener)
    const here = this.#byPort.get(options.localPort)
    // The more particular ones first.
    if (here === undefined) this.#byPort.set(options.localPort, [listener])
    else if (any) here.push(listener)
    else here.unshift(listener)
    return listener
  }

  remove(listener: Listener): void {
    const { localPort } = listener.options
    const here = this.#byPort.get(localPort)?.filter((other) => other !== listener) ?? []
    if (here.length === 0) this.#byPort.delete(localPort)
    else this.#byPort.set(localPort, here)
    this.#byId.delete(listener.id)
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

  byId(id: number): Listener | undefined {
    return this.#byId.get(id)
  }

  all(): readonly Listener[] {
    return [...this.#byPort.values()].flat()
  }

  #equal(bytes: Uint8Array, address: Address): boolean {
    for (let i = 0; i < bytes.length; i++) if (bytes[i] !== this.#u8[address + i]) return false
    return true
  }
}
