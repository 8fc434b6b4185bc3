// A world as plain data: hosts, the links between them, what goes wrong and when, and what the programs do. A seed makes one (draw.ts), the
// world runs it (world.ts), and what fails is made smaller by leaving parts of it out (shrink.ts). It can be written as JSON, and read again.
//
// Everything names what it belongs to, by name or number, so that any part can be left out without renumbering the others.
import type { FaultOptions } from '../../src/device/fault.ts'
import type { SimFaults } from '../../src/machine/simfault.ts'
import type { Discipline } from '../../src/net/discipline.ts'
import type { Layer } from '../../src/net/policy.ts'

export interface WorldPlan {
  /** Of the machine: the order of turns, and all chance of faults. */
  readonly seed: number
  readonly memoryBytes: number
  readonly ringEntries: number
  readonly hosts: readonly HostPlan[]
  readonly links: readonly LinkPlan[]
  readonly linkFaults: readonly LinkFaultPlan[]
  readonly machineFaults: readonly MachineFaultPlan[]
  readonly listeners: readonly ListenerPlan[]
  readonly streams: readonly StreamPlan[]
  readonly datagrams: readonly DatagramPlan[]
  readonly changes: readonly ChangePlan[]
  readonly deaths: readonly DeathPlan[]
  /** From here on nothing goes wrong any more, but for hosts that are silent; and programs are as quick as they can. */
  readonly healUs: number
}

export interface HostPlan {
  readonly name: string
  readonly cpus: number
  readonly discipline: Discipline
  readonly groups?: number
  readonly layers?: readonly Layer[]
  readonly ecn?: boolean
  readonly ephemeralPorts?: { readonly first: number; readonly last: number }
  readonly initialSequence?: number
}

/** A wire of two hosts with a queue for each of their CPUs, or a hub that each host is plugged into by its first CPU. */
export interface LinkPlan {
  readonly name: string
  readonly kind: 'wire' | 'hub'
  readonly hosts: readonly string[]
  readonly mtu: number
  /** Places of each ring of a wire. */
  readonly entries: number
  /** One way. */
  readonly delayUs: number
}

/** Of what a host sends into a link, or of what it gets from it. Wires have only the former: each is the other's latter. */
export interface LinkFaultPlan {
  readonly link: string
  readonly host: string
  readonly way: 'out' | 'in'
  readonly fromUs: number
  readonly untilUs: number
  /** One kind of fault. */
  readonly fault: FaultOptions
}

export interface MachineFaultPlan {
  readonly fromUs: number
  readonly untilUs: number
  readonly fault: SimFaults
}

export interface ListenerPlan {
  readonly host: string
  /** Of the host's CPUs: whose program it is; each CPU has its own where it is `perCpu`. */
  readonly cpu: number
  readonly port: number
  readonly perCpu: boolean
  readonly backlog: number
  readonly options: BufferPlan
}

export interface BufferPlan {
  readonly sendBytes?: number
  readonly receiveBytes?: number
}

export interface StreamPlan {
  /** Each has another. */
  readonly id: number
  readonly link: string
  readonly client: string
  readonly cpu: number
  readonly server: string
  readonly port: number
  /** 0: chosen. */
  readonly localPort: number
  readonly atUs: number
  readonly options: BufferPlan & { readonly noDelay?: boolean }
  readonly ends: { readonly client: EndPlan; readonly server: EndPlan }
}

/** What the program at one end of a stream does. */
export interface EndPlan {
  readonly sends: number
  /** It writes, or reads, so much every so often; otherwise as much as goes, at once. */
  readonly writer?: Pace
  readonly reader?: Pace
  /** When its stream ends: when all is sent, or when the other's has ended as well. */
  readonly ends: 'first' | 'last'
  /** It aborts when it has sent, or received, so much. */
  readonly abortsAfterSent?: number
  readonly abortsAfterReceived?: number
}

export interface Pace {
  readonly bytes: number
  readonly everyUs: number
}

/** Datagrams to a host's echo service. */
export interface DatagramPlan {
  readonly id: number
  readonly link: string
  readonly client: string
  readonly cpu: number
  readonly server: string
  readonly atUs: number
  readonly everyUs: number
  /** One after the other. */
  readonly sizes: readonly number[]
}

export interface ChangePlan {
  readonly host: string
  readonly cpu: number
  readonly atUs: number
  readonly discipline: Discipline
  readonly groups?: number
}

export interface DeathPlan {
  readonly host: string
  readonly atUs: number
  /** Its programs end, and all that they had is cut; or nothing of it comes through any more, for ever. */
  readonly kind: 'programs' | 'silence'
}

/** A plan that was read: what can be seen to be wrong with it, in a sentence; undefined: nothing. */
export function complaintOf(plan: WorldPlan): string | undefined {
  const lists = [
    'hosts',
    'links',
    'linkFaults',
    'machineFaults',
    'listeners',
    'streams',
    'datagrams',
    'changes',
    'deaths',
  ] as const
  for (const list of lists) if (!Array.isArray(plan[list])) return `"${list}" is missing: give a plan as it was printed`
  if (!Number.isFinite(plan.seed) || !Number.isFinite(plan.healUs)) return 'give "seed" and "healUs" as numbers'
  const hosts = new Set(plan.hosts.map(({ name }) => name))
  const links = new Map(plan.links.map((link) => [link.name, link]))
  const ends = [...plan.streams, ...plan.datagrams].flatMap(({ link, client, server }) => [
    { link, host: client },
    { link, host: server },
  ])
  for (const { link, host } of [...ends, ...plan.linkFaults]) {
    if (links.get(link)?.hosts.includes(host) !== true) return `host "${host}" is not at link "${link}"`
  }
  for (const { host } of [...plan.listeners, ...plan.changes, ...plan.deaths]) {
    if (!hosts.has(host)) return `there is no host "${host}"`
  }
  const lost = plan.links.flatMap((link) => link.hosts).find((host) => !hosts.has(host))
  return lost === undefined ? undefined : `a link has the host "${lost}", which there is not`
}
