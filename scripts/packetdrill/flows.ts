// The flows of a script, and the one that its packets are of: as in packetdrill the one that was begun last, by `connect` or by a SYN for a
// listener, or that was accepted last. Packets with ports are of the flow with these ports.
import { Flow, type FlowEnds } from './flow.ts'
import type { Packet } from './script.ts'
import type { Settings } from './setting.ts'

const EPHEMERAL_FIRST = 40000

export class Flows {
  readonly #settings: Settings
  readonly #all: Flow[] = []
  /** What packets are of; undefined: of nothing yet, or of a listener. */
  #current: Flow | undefined = undefined
  /** Where a listener is. */
  #listening: { readonly address: string; readonly port: number } | undefined = undefined
  #nextPort = EPHEMERAL_FIRST

  constructor(settings: Settings) {
    this.#settings = settings
  }

  get current(): Flow | undefined {
    return this.#current
  }

  /** The next segment that comes is of a new flow. */
  listen(address: string, port: number): void {
    this.#listening = { address: address === '0.0.0.0' ? this.#settings.localAddress : address, port }
    this.#current = undefined
  }

  /** Packets are of this flow from now on. */
  use(flow: Flow): void {
    if (!this.#all.includes(flow)) this.#all.push(flow)
    this.#current = flow
  }

  /** The flow of a connection that the host has. */
  find(ends: Omit<FlowEnds, 'protocol'>): Flow | undefined {
    return this.#all.find(
      ({ ends: { localAddress, remoteAddress, localPort, remotePort } }) =>
        localAddress === ends.localAddress &&
        remoteAddress === ends.remoteAddress &&
        localPort === ends.localPort &&
        remotePort === ends.remotePort,
    )
  }

  /** The flow of a packet of the script, which is a new one where nothing is known of it. */
  of(packet: Packet): Flow {
    const ends = this.#ends(packet)
    if (packet.kind !== 'icmp' && packet.ports !== undefined) {
      const known = this.find(ends)
      if (known !== undefined && known.ends.protocol === packet.kind) return known
      this.use(new Flow(ends))
    } else if (this.#current === undefined) this.use(new Flow(ends))
    return this.#current!
  }

  #ends(packet: Packet): FlowEnds {
    const { remoteAddress, localAddress, bindPort } = this.#settings
    const { address = localAddress, port = bindPort } = this.#listening ?? {}
    const protocol = packet.kind === 'udp' ? 'udp' : 'tcp'
    const ends = { protocol, remoteAddress, localAddress: this.#current?.ends.localAddress ?? address } as const
    if (packet.kind !== 'icmp' && packet.ports !== undefined) {
      const { source, target } = packet.ports
      return packet.direction === 'in'
        ? { ...ends, remotePort: source, localPort: target }
        : { ...ends, localPort: source, remotePort: target }
    }
    return { ...ends, localPort: port, remotePort: this.#nextPort++ }
  }
}
