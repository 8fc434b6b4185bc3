// The hosts of a world and the links between them, built on one simulated machine, with lanes whose faults come and go.
import type { FaultOptions } from '../../src/device/fault.ts'
import type { DeviceSpec } from '../../src/device/spec.ts'
import { type WireOptions, wireRegions } from '../../src/device/wire.ts'
import type { HostConfig, InterfaceConfig } from '../../src/net/config.ts'
import type { HostPlan, LinkPlan, WorldPlan } from './plan.ts'

type Changeable<T> = { -readonly [K in keyof T]: T[K] }

/** More than a second of a fast transfer may wait where a link is clogged. */
const QUEUE_PACKETS = 8192
/** What is cut for ever. */
const NEVER_US = 1e15
/** What each kind of fault is when it does not happen. */
const NONE: FaultOptions = {
  loss: 0,
  duplicate: 0,
  replay: 0,
  reorder: 0,
  corrupt: 0,
  truncate: 0,
  jitterUs: 0,
  partitions: [],
  clogs: [],
}

/** One way of one host's into or out of a link. */
interface Lane {
  readonly link: LinkPlan
  readonly host: string
  readonly way: 'out' | 'in'
  /** What the device was opened with: changed when faults come and go. */
  readonly spec: Changeable<FaultOptions>
}

export class Network {
  readonly configs: readonly HostConfig[]
  readonly regions: { readonly [name: string]: number }
  readonly cpus: number
  readonly #plan: WorldPlan
  readonly #lanes: Lane[] = []

  constructor(plan: WorldPlan) {
    this.#plan = plan
    let cpus = 0
    const own = new Map<string, number[]>()
    for (const { name, cpus: count } of plan.hosts) {
      own.set(
        name,
        Array.from({ length: count }, () => cpus++),
      )
    }
    this.cpus = cpus
    const wires: WireOptions[] = []
    for (const { name, kind, hosts, mtu, entries } of plan.links) {
      if (kind === 'wire') wires.push({ name, a: own.get(hosts[0]!)!, b: own.get(hosts[1]!)!, entries, mtu })
    }
    this.regions = wireRegions(...wires)
    this.configs = plan.hosts.map((host, index) => {
      const interfaces = plan.links.flatMap((link): InterfaceConfig[] => {
        const side = link.hosts.indexOf(host.name)
        if (side < 0) return []
        const wire = wires.find(({ name }) => name === link.name)
        const device: DeviceSpec =
          wire !== undefined
            ? this.#lane(link, host.name, 'out', { kind: 'wire', wire, side: side === 0 ? 'a' : 'b' })
            : this.#lane(
                link,
                host.name,
                'out',
                this.#lane(link, host.name, 'in', hubPort(link, side, own.get(host.name)![0]!)),
              )
        return [{ name: link.name, device, addresses: [`${this.addressOf(link.name, host.name)}/24`] }]
      })
      return { ...optionsOf(host), name: host.name, index, cpus: own.get(host.name)!, interfaces }
    })
    this.setFaults(0)
  }

  /** A host's address on a link. */
  addressOf(link: string, host: string): string {
    const number = this.#plan.links.findIndex(({ name }) => name === link)
    return `10.0.${number + 1}.${this.#plan.links[number]!.hosts.indexOf(host) + 1}`
  }

  /** The times at which faults come and go by themselves, in order. */
  get changes(): number[] {
    const times = this.#plan.linkFaults.flatMap(({ fromUs, untilUs }) => [fromUs, untilUs])
    return [...new Set(times)].sort((a, b) => a - b)
  }

  /** What is wrong with each lane at a time. */
  setFaults(atUs: number): void {
    for (const { link, host, way, spec } of this.#lanes) {
      delete spec.burst
      delete spec.blackHoleBytes
      delete spec.rateBitsPerSecond
      Object.assign(spec, NONE, { delayUs: link.delayUs })
      const partitions = this.#plan.deaths
        .filter((death) => death.kind === 'silence' && (death.host === host || link.kind === 'wire'))
        .filter((death) => link.hosts.includes(death.host))
        .map((death) => ({ fromUs: death.atUs, untilUs: NEVER_US }))
      const clogs = []
      for (const each of this.#plan.linkFaults) {
        if (each.link !== link.name || each.host !== host || each.way !== way) continue
        // These say themselves when they are.
        partitions.push(...(each.fault.partitions ?? []))
        clogs.push(...(each.fault.clogs ?? []))
        if (each.fromUs <= atUs && atUs < each.untilUs) Object.assign(spec, each.fault)
      }
      Object.assign(spec, { partitions, clogs })
    }
  }

  #lane(link: LinkPlan, host: string, way: 'out' | 'in', of: DeviceSpec): DeviceSpec {
    const spec = { kind: 'fault', of, direction: way, queuePackets: QUEUE_PACKETS } as const
    this.#lanes.push({ link, host, way, spec })
    return spec
  }
}

function hubPort({ name, mtu }: LinkPlan, port: number, cpu: number): DeviceSpec {
  return { kind: 'hub', hub: { name, mtu }, port, cpu }
}

function optionsOf({ name: _, cpus: __, ...options }: HostPlan): Omit<HostPlan, 'name' | 'cpus'> {
  return options
}
