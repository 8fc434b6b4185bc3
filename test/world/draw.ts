// A seed makes a plan. Which kinds of faults there are at all, and which kinds of programs, is drawn first, for each seed anew ("swarm testing",
// Groce et al., ISSTA 2012): a world with everything in it hides what a few things alone would show.
import { Random } from '../../src/base/random.ts'
import type { FaultOptions } from '../../src/device/fault.ts'
import type { SimFaults } from '../../src/machine/simfault.ts'
import { DISCIPLINES, type Discipline } from '../../src/net/discipline.ts'
import { LAYERS } from '../../src/net/policy.ts'
import type {
  BufferPlan,
  ChangePlan,
  DatagramPlan,
  DeathPlan,
  EndPlan,
  HostPlan,
  LinkFaultPlan,
  LinkPlan,
  ListenerPlan,
  MachineFaultPlan,
  StreamPlan,
  WorldPlan,
} from './plan.ts'

/** Streams begin, and faults come, from here on: hosts and services stand by then. */
const BEGIN_US = 20_000
const MIB = 1024 * 1024
const PORT = 80
/** Ports that programs choose themselves. */
const OWN_PORT = 20_000
const CPUS_MAX = 10
/** A datagram that is in one piece on every link. */
const WHOLE_BYTES = 500

type FaultKind = (random: Random, spanUs: number) => FaultOptions
const LINK_FAULTS: { readonly [kind: string]: FaultKind } = {
  loss: (random) => ({ loss: pick(random, [0.001, 0.01, 0.05, 0.15, 0.4]) }),
  burst: (random) => ({ burst: { pGoodToBad: pick(random, [0.002, 0.02]), pBadToGood: pick(random, [0.05, 0.3]) } }),
  duplicate: (random) => ({ duplicate: pick(random, [0.01, 0.1, 0.5]) }),
  replay: (random) => ({ replay: pick(random, [0.005, 0.05]), replayUs: pick(random, [10_000, 500_000, 5_000_000]) }),
  reorder: (random) => ({ reorder: pick(random, [0.01, 0.1, 0.4]), reorderUs: 500 + random.below(30_000) }),
  jitter: (random) => ({ jitterUs: pick(random, [100, 2000, 50_000]) }),
  delay: (random) => ({ delayUs: pick(random, [1000, 20_000, 150_000]) }),
  // Of two bits the checksum may miss both.
  corrupt: (random) => ({ corrupt: pick(random, [0.005, 0.05, 0.2]), corruptBits: 1 }),
  truncate: (random) => ({ truncate: pick(random, [0.005, 0.05, 0.2]) }),
  rate: (random) => ({
    rateBitsPerSecond: pick(random, [200_000, 2_000_000, 50_000_000]),
    queueBytes: pick(random, [3000, 20_000, 200_000]),
  }),
  blackHole: (random) => ({ blackHoleBytes: pick(random, [100, 600, 1000, 1400]) }),
  partition: (random, spanUs) => ({ partitions: [span(random, spanUs)] }),
  clog: (random, spanUs) => ({ clogs: [span(random, spanUs)] }),
}

const MACHINE_FAULTS: { readonly [kind: string]: (random: Random) => SimFaults } = {
  pause: (random) => ({ pause: pick(random, [0.0005, 0.005, 0.05]), pauseUs: pick(random, [500, 20_000, 300_000]) }),
  timer: (random) => ({ timerUs: pick(random, [200, 5000, 100_000]) }),
  clock: (random) => ({ clockUs: pick(random, [3, 50, 1000]) }),
  shortage: (random) => ({ shortage: pick(random, [0.001, 0.02, 0.2, 1]) }),
}

interface Swarm {
  readonly linkFaults: readonly string[]
  readonly machineFaults: readonly string[]
  readonly isHub: boolean
  readonly isLayered: boolean
  readonly hasChanges: boolean
  readonly hasDeaths: boolean
  readonly hasTinyWindows: boolean
  readonly hasSlowPrograms: boolean
  readonly hasAborts: boolean
  readonly hasFewPorts: boolean
  readonly hasOwnPorts: boolean
  readonly hasLateSequence: boolean
  readonly hasSmallBacklogs: boolean
  readonly hasDatagrams: boolean
  /** How many streams, and how large. */
  readonly load: 'few' | 'many' | 'bulk'
}

/** The plan of a seed: always the same. */
export function draw(seed: number): WorldPlan {
  const random = new Random(seed)
  const swarm = drawSwarm(random)
  const healUs = BEGIN_US + pick(random, [300_000, 2_000_000, 20_000_000])
  const spanUs = healUs - BEGIN_US
  const hosts = drawHosts(random, swarm)
  const links = drawLinks(random, swarm, hosts)
  const listeners = hosts.flatMap((host) => drawListeners(random, swarm, host))
  return {
    seed,
    memoryBytes: drawMemory(random, hosts),
    ringEntries: pick(random, [16, 16, 64, 256]),
    hosts,
    links,
    linkFaults: drawLinkFaults(random, swarm, links, spanUs),
    machineFaults: swarm.machineFaults.map((kind): MachineFaultPlan => {
      return { ...span(random, spanUs), fault: MACHINE_FAULTS[kind]!(random) }
    }),
    listeners,
    streams: drawStreams(random, swarm, hosts, links, listeners, spanUs),
    datagrams: swarm.hasDatagrams ? drawDatagrams(random, swarm, hosts, links, spanUs) : [],
    changes: swarm.hasChanges ? drawChanges(random, hosts, spanUs) : [],
    deaths: swarm.hasDeaths ? [drawDeath(random, hosts, spanUs)] : [],
    healUs,
  }
}

function drawSwarm(random: Random): Swarm {
  // Few kinds in one world, many in another.
  const share = pick(random, [0, 0.1, 0.25, 0.5])
  const some = (kinds: object) => Object.keys(kinds).filter(() => random.chance(share))
  return {
    linkFaults: some(LINK_FAULTS),
    machineFaults: some(MACHINE_FAULTS),
    isHub: random.chance(0.25),
    isLayered: random.chance(0.1),
    hasChanges: random.chance(0.35),
    hasDeaths: random.chance(0.15),
    hasTinyWindows: random.chance(0.2),
    hasSlowPrograms: random.chance(0.4),
    hasAborts: random.chance(0.35),
    hasFewPorts: random.chance(0.15),
    hasOwnPorts: random.chance(0.3),
    hasLateSequence: random.chance(0.3),
    hasSmallBacklogs: random.chance(0.25),
    hasDatagrams: random.chance(0.5),
    load: pick(random, ['few', 'few', 'many', 'bulk']),
  }
}

/** A CPU has some zones of each size before anything is sent: what is left besides may be hardly anything. */
function drawMemory(random: Random, hosts: readonly HostPlan[]): number {
  const cpus = hosts.reduce((sum, host) => sum + host.cpus, 0)
  return random.chance(0.2) ? (12 + 4 * cpus) * MIB : 80 * MIB
}

function drawHosts(random: Random, swarm: Swarm): HostPlan[] {
  const count = 2 + random.below(3)
  let left = CPUS_MAX
  return Array.from({ length: count }, (_, i): HostPlan => {
    const cpus = Math.min(1 + random.below(4), left - (count - 1 - i))
    left -= cpus
    const discipline = pick<Discipline>(random, random.chance(0.5) ? ['connp-t'] : DISCIPLINES)
    const first = 30_000
    return {
      name: `h${i}`,
      cpus,
      discipline,
      ...(discipline === 'connp-l' ? { groups: 1 + random.below(64) } : {}),
      ...(swarm.isLayered ? { layers: LAYERS.filter(() => random.chance(0.5)) } : {}),
      ...(random.chance(0.15) ? { ecn: true } : {}),
      ...(swarm.hasFewPorts ? { ephemeralPorts: { first, last: first + cpus * (1 + random.below(6)) } } : {}),
      // By the clock they go up by 250 000 in a second.
      ...(swarm.hasLateSequence ? { initialSequence: -1 - random.below(600_000) } : {}),
    }
  })
}

function drawLinks(random: Random, swarm: Swarm, hosts: readonly HostPlan[]): LinkPlan[] {
  const link = (kind: LinkPlan['kind'], names: readonly string[]): LinkPlan => ({
    name: names.length === 2 && kind === 'wire' ? names.join('-') : 'hub',
    kind,
    hosts: names,
    mtu: pick(random, [1500, 1500, 1500, 576, 9000]),
    entries: pick(random, [64, 512, 2048]),
    delayUs: pick(random, [0, 50, 1000, 25_000]),
  })
  const names = hosts.map(({ name }) => name)
  if (swarm.isHub) return [link('hub', names)]
  return names.flatMap((a, i) => names.slice(i + 1).map((b) => link('wire', [a, b])))
}

function drawListeners(random: Random, swarm: Swarm, host: HostPlan): ListenerPlan[] {
  return Array.from({ length: 1 + random.below(2) }, (_, i) => ({
    host: host.name,
    cpu: random.below(host.cpus),
    port: PORT + i,
    perCpu: random.chance(0.4),
    backlog: swarm.hasSmallBacklogs ? pick(random, [0, 1, 2, 5]) : 511,
    options: drawBuffers(random, swarm),
  }))
}

function drawBuffers(random: Random, swarm: Swarm): BufferPlan {
  if (swarm.hasTinyWindows && random.chance(0.5)) return { receiveBytes: pick(random, [1, 2, 50, 500]) }
  return {
    ...(random.chance(0.2) ? { receiveBytes: pick(random, [2000, 5000, 20_000, 65_536]) } : {}),
    ...(random.chance(0.15) ? { sendBytes: pick(random, [1, 2000, 20_000, 65_536]) } : {}),
  }
}

function drawLinkFaults(random: Random, swarm: Swarm, links: readonly LinkPlan[], spanUs: number): LinkFaultPlan[] {
  return swarm.linkFaults.flatMap((kind) => {
    const count = 1 + random.below(2 * links.length)
    return Array.from({ length: count }, (): LinkFaultPlan => {
      const link = pick(random, links)
      const when = random.chance(0.3) ? { fromUs: BEGIN_US, untilUs: BEGIN_US + spanUs } : span(random, spanUs)
      return {
        link: link.name,
        host: pick(random, link.hosts),
        // A packet that is damaged on its way in and on its way out has two bits that the checksum may miss.
        way: link.kind === 'hub' && random.chance(0.5) && kind !== 'corrupt' ? 'in' : 'out',
        ...when,
        fault: LINK_FAULTS[kind]!(random, spanUs),
      }
    })
  })
}

function drawStreams(
  random: Random,
  swarm: Swarm,
  hosts: readonly HostPlan[],
  links: readonly LinkPlan[],
  listeners: readonly ListenerPlan[],
  spanUs: number,
): StreamPlan[] {
  const count = swarm.load === 'many' ? 20 + random.below(60) : 1 + random.below(8)
  const most = swarm.load === 'bulk' ? 1_000_000 : swarm.load === 'many' ? 5000 : 60_000
  return Array.from({ length: count }, (_, i): StreamPlan => {
    const link = pick(random, links)
    const client = pick(random, link.hosts)
    const server = pick(
      random,
      link.hosts.filter((name) => name !== client),
    )
    const listener = pick(
      random,
      listeners.filter(({ host }) => host === server),
    )
    const options = { ...drawBuffers(random, swarm), ...(random.chance(0.3) ? { noDelay: true } : {}) }
    const last = random.below(3)
    const buffers = [options, listener.options].flatMap((each) => [each.sendBytes ?? most, each.receiveBytes ?? most])
    const tiny = Math.min(...buffers)
    const ends = {
      // A window of a byte takes a round trip for each.
      client: drawEnd(random, swarm, Math.min(most, tiny * 300), last === 1 ? 'last' : 'first'),
      server: drawEnd(random, swarm, Math.min(most, tiny * 300), last === 2 ? 'last' : 'first'),
    }
    const isAnonymous = random.chance(0.05)
    return {
      id: i + 1,
      link: link.name,
      client,
      cpu: random.below(hosts.find(({ name }) => name === client)!.cpus),
      server,
      port: listener.port,
      localPort: swarm.hasOwnPorts && random.chance(0.5) ? OWN_PORT + i : 0,
      atUs: BEGIN_US + random.below(random.chance(0.5) ? 5000 : spanUs),
      options,
      ends: isAnonymous
        ? { client: { sends: random.below(8), ends: 'first' }, server: { sends: 0, ends: 'first' } }
        : { client: { ...ends.client, sends: Math.max(8, ends.client.sends) }, server: ends.server },
    }
  })
}

function drawEnd(random: Random, swarm: Swarm, most: number, ends: EndPlan['ends']): EndPlan {
  const sends = random.below(
    1 +
      pick(
        random,
        [0, 1, 100, 3000, most / 10, most].map((size) => Math.min(size, most)),
      ),
  )
  const isSlow = () => swarm.hasSlowPrograms && random.chance(0.3)
  const pace = (bytes: number, everyUs: number) => ({
    bytes: 1 + random.below(bytes),
    everyUs: 1000 + random.below(everyUs),
  })
  return {
    sends,
    ends,
    ...(isSlow() ? { writer: pace(3000, 20_000) } : {}),
    ...(isSlow() ? { reader: pace(20_000, 400_000) } : {}),
    ...(swarm.hasAborts && random.chance(0.2) ? { abortsAfterSent: random.below(sends + 1) } : {}),
    ...(swarm.hasAborts && random.chance(0.2) ? { abortsAfterReceived: 1 + random.below(most) } : {}),
  }
}

function drawDatagrams(
  random: Random,
  swarm: Swarm,
  hosts: readonly HostPlan[],
  links: readonly LinkPlan[],
  spanUs: number,
): DatagramPlan[] {
  return Array.from({ length: 1 + random.below(5) }, (_, i): DatagramPlan => {
    const link = pick(random, links)
    const client = pick(random, link.hosts)
    const count = 1 + random.below(40)
    const wanted = pick(random, [8, 1400, 6000])
    // Two fragments may lose a bit each, and the checksum over both miss it.
    const most = swarm.linkFaults.includes('corrupt') ? Math.min(wanted, WHOLE_BYTES) : wanted
    return {
      id: 1000 + i,
      link: link.name,
      client,
      cpu: random.below(hosts.find(({ name }) => name === client)!.cpus),
      server: pick(
        random,
        link.hosts.filter((name) => name !== client),
      ),
      atUs: BEGIN_US + random.below(spanUs),
      everyUs: 1 + random.below(Math.ceil(spanUs / count)),
      sizes: Array.from({ length: count }, () => 8 + random.below(most)),
    }
  })
}

function drawChanges(random: Random, hosts: readonly HostPlan[], spanUs: number): ChangePlan[] {
  return Array.from({ length: 1 + random.below(12) }, (): ChangePlan => {
    const host = pick(random, hosts)
    const discipline = pick(random, DISCIPLINES)
    return {
      host: host.name,
      cpu: random.below(host.cpus),
      atUs: BEGIN_US + random.below(random.chance(0.5) ? Math.min(100_000, spanUs) : spanUs),
      discipline,
      ...(discipline === 'connp-l' ? { groups: 1 + random.below(200) } : {}),
    }
  })
}

function drawDeath(random: Random, hosts: readonly HostPlan[], spanUs: number): DeathPlan {
  return {
    host: pick(random, hosts).name,
    atUs: BEGIN_US + random.below(random.chance(0.5) ? Math.min(100_000, spanUs) : spanUs),
    kind: pick(random, ['programs', 'silence']),
  }
}

/** A part of the time before all is well. */
function span(random: Random, spanUs: number): { readonly fromUs: number; readonly untilUs: number } {
  const fromUs = BEGIN_US + random.below(spanUs)
  return { fromUs, untilUs: fromUs + Math.ceil((BEGIN_US + spanUs - fromUs) * random.real()) }
}

function pick<T>(random: Random, values: readonly T[]): T {
  return values[random.below(values.length)]!
}
