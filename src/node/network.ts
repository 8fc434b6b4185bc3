// A network within the process: an Ethernet switch that hosts are plugged into, over links that may be bad. It stands on one inline
// machine, booted when the first host comes, on the event loop of the thread.
import { Errno, KernelError } from '../base/errno.ts'
import type { FaultOptions } from '../device/fault.ts'
import type { DeviceSpec } from '../device/spec.ts'
import type { TraceMode } from '../kernel/trace/mode.ts'
import { boot } from '../machine/boot.ts'
import type { InlineMachine } from '../machine/inline.ts'
import type { HostConfig, RouteConfig } from '../net/config.ts'
import { Stack } from '../stack.ts'
import { HandleHost } from './handle-host.ts'

export interface NetworkOptions {
  /** The share of packets that each host's link loses on their way out, 0 to 1. Default 0. */
  readonly loss?: number
  /** How long a packet is on its way, one way, in ms. Default 0. */
  readonly delayMs?: number
  /** Up to so much more, evenly spread, in ms. Packets may then overtake each other. Default 0. */
  readonly jitterMs?: number
  /** The share of packets that come too late, behind those that were sent after them, 0 to 1. Default 0. */
  readonly reorder?: number
  /** What each host can send, in bytes a second. Default: no limit. */
  readonly rateBytesPerSecond?: number
  /** Makes chance repeatable: the same seed loses the same packets of the same traffic. Default: another one each time. */
  readonly seed?: number
  /** Largest IP packet, in bytes. Default 1500. */
  readonly mtu?: number
  /** How many hosts there may be, 1 to 256. Default 16. */
  readonly hosts?: number
  /** How much of what is sent is traced to its origin, across all hosts: `off`, `all`, or N for one of N. Default `off`. */
  readonly trace?: TraceMode
}

/** What a network needs to know of a host. */
export interface NetworkHost extends Pick<HostConfig, 'discipline' | 'groups'> {
  readonly name: string
  readonly addresses: readonly string[]
  readonly routes: readonly Omit<RouteConfig, 'interface'>[]
}

/** The counters of so many hosts have room on one CPU. */
const HOSTS_PER_CPU = 4
const HOSTS_MAX = 256
/** Reserved, and used from the first touch on. */
const MEMORY_BYTES = 512 * 1024 * 1024
const INTERFACE = 'eth0'

export class Network {
  readonly #options: NetworkOptions
  readonly #names = new Set<string>()
  #machine: Promise<InlineMachine> | undefined = undefined
  #closed = false

  constructor(options: NetworkOptions) {
    this.#options = options
    check(options)
  }

  /**
   * Plugs a host in. For createHost.
   * @throws KernelError EEXIST where the name is taken, ENOSPC where there are too many, EINVAL
   */
  async add({ name, addresses, routes, ...concurrency }: NetworkHost): Promise<HandleHost> {
    if (this.#closed) throw new KernelError(Errno.ENETDOWN, 'the network is closed: make another one')
    if (this.#names.has(name)) {
      throw new KernelError(Errno.EEXIST, `the network has a host "${name}" already: give each a name of its own`)
    }
    const index = this.#names.size
    if (index === this.#hosts) {
      const sentence = `the network is for ${this.#hosts} hosts: say how many there will be, createNetwork({ hosts: … })`
      throw new KernelError(Errno.ENOSPC, sentence)
    }
    this.#names.add(name)
    this.#machine ??= this.#boot()
    const machine = await this.#machine
    const cpu = machine.cpus[index % machine.cpus.length]!
    const config: HostConfig = {
      name,
      index,
      cpus: [cpu.index],
      ...concurrency,
      interfaces: [{ name: INTERFACE, device: this.#link(index, cpu.index), addresses }],
      routes: routes.map((route) => ({ ...route, interface: INTERFACE })),
    }
    const stack = new Stack(cpu, config)
    await new Promise<void>((resolve) => {
      cpu.threads.start(`${name} starts`, function* (thread) {
        yield* stack.start(thread)
        resolve()
      })
      machine.kick()
    })
    return new HandleHost(stack)
  }

  /** Ends the network with all of its hosts: connections are cut where they are. */
  async close(): Promise<void> {
    this.#closed = true
    await (await this.#machine)?.stop()
  }

  get #hosts(): number {
    return this.#options.hosts ?? 16
  }

  async #boot(): Promise<InlineMachine> {
    const { seed, trace = 'off' } = this.#options
    const machine = await boot({
      host: 'inline',
      cpus: Math.ceil(this.#hosts / HOSTS_PER_CPU),
      memoryBytes: MEMORY_BYTES,
      trace,
      signals: false,
      ...(seed === undefined ? {} : { seed }),
    })
    const inline = machine as InlineMachine
    inline.unref()
    return inline
  }

  /** A host's own link to the switch. What it sends takes its chances here, and so each packet takes them once. */
  #link(port: number, cpu: number): DeviceSpec {
    const { loss = 0, delayMs = 0, jitterMs = 0, reorder = 0, rateBytesPerSecond = 0, seed, mtu } = this.#options
    const hub = { name: 'network', ...(mtu === undefined ? {} : { mtu }) }
    const plain: DeviceSpec = { kind: 'hub', hub, port, cpu }
    const faults: FaultOptions = {
      direction: 'out',
      loss,
      reorder,
      delayUs: delayMs * 1000,
      jitterUs: jitterMs * 1000,
      ...(rateBytesPerSecond === 0 ? {} : { rateBitsPerSecond: rateBytesPerSecond * 8 }),
      ...(seed === undefined ? {} : { seed: seed + port }),
    }
    const isGood = loss + reorder + delayMs + jitterMs + rateBytesPerSecond === 0
    return isGood ? plain : { kind: 'fault', of: plain, ...faults }
  }
}

function check(options: NetworkOptions): void {
  const { hosts = 1, delayMs = 0, jitterMs = 0, rateBytesPerSecond = 0 } = options
  const refuse = (sentence: string): never => {
    throw new KernelError(Errno.EINVAL, sentence)
  }
  for (const chance of ['loss', 'reorder'] as const) {
    const { [chance]: value = 0 } = options
    if (!(value >= 0 && value <= 1)) refuse(`${chance} is ${value}: give a share, from 0 to 1`)
  }
  for (const [name, value] of Object.entries({ delayMs, jitterMs, rateBytesPerSecond })) {
    if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) refuse(`${name} is ${value}: give a number from 0`)
  }
  if (!Number.isInteger(hosts) || hosts < 1 || hosts > HOSTS_MAX) {
    refuse(`hosts is ${hosts}: give a whole number from 1 to ${HOSTS_MAX}`)
  }
}
