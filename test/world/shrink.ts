// Cuts a plan that fails down to the least that still fails in the same way: parts are left out, more and fewer at a time (delta debugging,
// Zeller and Hildebrandt, IEEE TSE 2002), and what is left is made plainer, until nothing can go any more.
import type { WorldFailure } from './failure.ts'
import type { EndPlan, HostPlan, LinkFaultPlan, StreamPlan, WorldPlan } from './plan.ts'

export interface ShrinkOptions {
  /** Runs a plan: how it fails, or undefined. */
  readonly fails: (plan: WorldPlan) => Promise<WorldFailure | undefined>
  /** Whether to go on trying. Default: always. */
  readonly goesOn?: () => boolean
  /** A smaller plan was found. */
  readonly found?: (plan: WorldPlan) => void
}

export interface Shrunk {
  readonly plan: WorldPlan
  readonly failure: WorldFailure
  /** Worlds that were run. */
  readonly runs: number
  /** Nothing more can be left out. */
  readonly isLeast: boolean
}

/** Whose parts are left out, those first that make the most of a plan superfluous. */
const LISTS = [
  'streams',
  'datagrams',
  'linkFaults',
  'machineFaults',
  'changes',
  'deaths',
  'listeners',
  'links',
  'hosts',
] as const

/** Makes a failing plan as small as can be. */
export async function shrink(plan: WorldPlan, failure: WorldFailure, options: ShrinkOptions): Promise<Shrunk> {
  return new Shrinker(plan, failure, options).run()
}

class Shrinker {
  #plan: WorldPlan
  #failure: WorldFailure
  readonly #options: ShrinkOptions
  #runs = 0

  constructor(plan: WorldPlan, failure: WorldFailure, options: ShrinkOptions) {
    this.#plan = plan
    this.#failure = failure
    this.#options = options
  }

  async run(): Promise<Shrunk> {
    let before: WorldPlan | undefined
    while (before !== this.#plan && this.#goesOn) {
      before = this.#plan
      for (const list of LISTS) await this.#cut(list)
      for (const simpler of simplifications(this.#plan)) if (this.#goesOn) await this.#accepts(simpler(this.#plan))
    }
    return { plan: this.#plan, failure: this.#failure, runs: this.#runs, isLeast: this.#goesOn }
  }

  get #goesOn(): boolean {
    return this.#options.goesOn?.() ?? true
  }

  /** Halves of a list are left out, then quarters, and at last each for itself. */
  async #cut(list: (typeof LISTS)[number]): Promise<void> {
    for (let size = this.#plan[list].length; size >= 1; size = Math.floor(size / 2)) {
      for (let from = 0; from < this.#plan[list].length && this.#goesOn; ) {
        const left = (this.#plan[list] as readonly unknown[]).filter((_, i) => i < from || i >= from + size)
        if (!(await this.#accepts(consistent({ ...this.#plan, [list]: left })))) from += size
      }
    }
  }

  /** Whether a plan fails in the same way: it is then the one to go on with. */
  async #accepts(plan: WorldPlan | undefined): Promise<boolean> {
    if (plan === undefined || JSON.stringify(plan) === JSON.stringify(this.#plan)) return false
    this.#runs++
    const failure = await this.#options.fails(plan)
    if (failure === undefined || failure.kind !== this.#failure.kind) return false
    this.#plan = plan
    this.#failure = failure
    this.#options.found?.(plan)
    return true
  }
}

/** Without what belongs to something that is not there any more. */
function consistent(plan: WorldPlan): WorldPlan | undefined {
  const hosts = new Set(plan.hosts.map(({ name }) => name))
  const links = plan.links.filter((link) => link.hosts.every((host) => hosts.has(host)))
  const names = new Set(links.map(({ name }) => name))
  const isThere = ({ link, client, server }: { link: string; client: string; server: string }) =>
    names.has(link) && hosts.has(client) && hosts.has(server)
  if (hosts.size === 0) return undefined
  return {
    ...plan,
    links,
    linkFaults: plan.linkFaults.filter(({ link }) => names.has(link)),
    listeners: plan.listeners.filter(({ host }) => hosts.has(host)),
    streams: plan.streams.filter(isThere),
    datagrams: plan.datagrams.filter(isThere),
    changes: plan.changes.filter(({ host }) => hosts.has(host)),
    deaths: plan.deaths.filter(({ host }) => hosts.has(host)),
  }
}

/** Makes something plainer, or leaves all as it is. */
type Simplification = (plan: WorldPlan) => WorldPlan

function simplifications(plan: WorldPlan): Simplification[] {
  return [
    ...plan.hosts.flatMap(({ name }) => ofHost(name)),
    ...plan.streams.flatMap(({ id }) => ofStream(id)),
    ...plan.linkFaults.map((_, i) => always(i)),
    ...plan.links.map(({ name }): Simplification => {
      return (p) => ({ ...p, links: p.links.map((link) => (link.name === name ? plainLink(link) : link)) })
    }),
    ...plan.listeners.map((_, i): Simplification => {
      return (p) => ({
        ...p,
        listeners: p.listeners.map((each, k) =>
          k === i ? { ...each, perCpu: false, backlog: 511, options: {} } : each,
        ),
      })
    }),
    ...plan.datagrams.map(({ id }): Simplification => {
      return (p) => ({
        ...p,
        datagrams: p.datagrams.map((each) => (each.id === id ? { ...each, sizes: each.sizes.slice(0, 1) } : each)),
      })
    }),
    // Hosts that nobody is left to talk to leave a hub.
    (p) => {
      const used = new Set([...p.streams, ...p.datagrams].flatMap(({ client, server }) => [client, server]))
      const hosts = p.hosts.filter(({ name }) => used.has(name) || p.changes.some(({ host }) => host === name))
      const isThere = (name: string) => hosts.some((host) => host.name === name)
      const links = p.links.map((link) => ({ ...link, hosts: link.hosts.filter(isThere) }))
      return consistent({ ...p, hosts, links: links.filter((link) => link.hosts.length > 1) }) ?? p
    },
    (p) => ({ ...p, ringEntries: 256 }),
    (p) => ({ ...p, memoryBytes: 64 * 1024 * 1024 }),
    (p) => ({ ...p, healUs: Math.min(p.healUs, 320_000) }),
  ]
}

function plainLink<T extends WorldPlan['links'][number]>(link: T): T {
  return { ...link, mtu: 1500, entries: 2048, delayUs: Math.min(link.delayUs, 1000) }
}

function ofHost(name: string): Simplification[] {
  const change = (changed: (host: HostPlan, plan: WorldPlan) => HostPlan): Simplification => {
    return (plan) => {
      const hosts = plan.hosts.map((host) => (host.name === name ? changed(host, plan) : host))
      const cpus = hosts.find((host) => host.name === name)?.cpus ?? 1
      const within = <T extends { readonly cpu: number }>(each: T, isHere: boolean): T => {
        return isHere ? { ...each, cpu: Math.min(each.cpu, cpus - 1) } : each
      }
      return {
        ...plan,
        hosts,
        listeners: plan.listeners.map((each) => within(each, each.host === name)),
        streams: plan.streams.map((each) => within(each, each.client === name)),
        datagrams: plan.datagrams.map((each) => within(each, each.client === name)),
        changes: plan.changes.map((each) => within(each, each.host === name)),
      }
    }
  }
  return [
    change((host) => ({ ...host, cpus: 1 })),
    change((host) => ({ ...host, cpus: Math.max(1, host.cpus - 1) })),
    change(({ groups: _, ...host }) => ({ ...host, discipline: 'connp-t' })),
    change(({ layers: _, ...host }) => host),
    change(({ ecn: _, ...host }) => host),
    change(({ ephemeralPorts: _, ...host }) => host),
    change(({ initialSequence: _, ...host }) => host),
  ]
}

function ofStream(id: number): Simplification[] {
  const change = (changed: (stream: StreamPlan) => StreamPlan): Simplification => {
    return (plan) => ({ ...plan, streams: plan.streams.map((each) => (each.id === id ? changed(each) : each)) })
  }
  const changeEnds = (changed: (end: EndPlan, least: number) => EndPlan): Simplification[] => [
    change((each) => ({
      ...each,
      ends: { ...each.ends, client: changed(each.ends.client, Math.min(8, each.ends.client.sends)) },
    })),
    change((each) => ({ ...each, ends: { ...each.ends, server: changed(each.ends.server, 0) } })),
  ]
  return [
    ...changeEnds(({ reader: _, ...end }) => end),
    ...changeEnds(({ writer: _, ...end }) => end),
    ...changeEnds(({ abortsAfterSent: _, ...end }) => end),
    ...changeEnds(({ abortsAfterReceived: _, ...end }) => end),
    ...changeEnds((end, least) => ({ ...end, sends: least })),
    ...changeEnds((end, least) => ({ ...end, sends: Math.max(least, Math.floor(end.sends / 2)) })),
    change((each) => ({ ...each, options: {} })),
    change((each) => ({ ...each, localPort: 0 })),
    change((each) => ({ ...each, cpu: 0 })),
    change((each) => ({ ...each, atUs: Math.min(each.atUs, 20_000) })),
  ]
}

/** A fault that is there all the time is plainer than one that comes and goes. */
function always(index: number): Simplification {
  const last = (plan: WorldPlan) => Math.max(...plan.linkFaults.map(({ untilUs }) => untilUs))
  return (plan) => ({
    ...plan,
    linkFaults: plan.linkFaults.map((each, i): LinkFaultPlan => {
      return i === index ? { ...each, fromUs: 20_000, untilUs: last(plan) } : each
    }),
  })
}
