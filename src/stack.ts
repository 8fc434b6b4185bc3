// The one page where the layers are tied together, top to bottom: a host's stack on one CPU.
//
//     program
//        │ sockets                     src/socket
//     tcp, udp, icmp, igmp             src/net/tcp, src/net/udp, src/net/icmp, src/net/igmp
//        │                             in: the flow's own CPU, no lock
//     dispatch ── netisr ──► other CPU src/net/dispatch
//     ip, reassembly, routes           src/net/ip, src/net/route
//     ether, arp                       src/net/ether
//        │ one queue for each CPU
//     device                           src/device
//
// Each CPU of a host has one of these; between them there are only messages. On one CPU the layers are calls, unless a dispatch policy or
// `layers` makes the boundaries queues (net/policy.ts).
import type { KernelError } from './base/errno.ts'
import type { Address } from './base/struct.ts'
import { noteArrival } from './device/arrival.ts'
import { attachQueue, type Deliver, type DeviceQueue } from './device/device.ts'
import { type MbufCursor, MbufFlag } from './device/mbuf.ts'
import { deviceInfo, openQueue } from './device/spec.ts'
import type { Cpu } from './kernel/cpu.ts'
import { lockSite } from './kernel/lock.ts'
import type { Memory } from './kernel/memory.ts'
import type { Thread } from './kernel/thread.ts'
import type { Marks } from './kernel/trace/tracer.ts'
import { networkBytes, parsePrefix } from './net/address.ts'
import type { HostConfig, InterfaceConfig, RouteConfig } from './net/config.ts'
import { NetContext } from './net/context.ts'
import { GroupRounds } from './net/control/group.ts'
import { Rounds } from './net/control/round.ts'
import { RouteRounds } from './net/control/route.ts'
import type { Discipline } from './net/discipline.ts'
import { DeferredDevice } from './net/dispatch/device.ts'
import { Dispatch } from './net/dispatch/dispatch.ts'
import { Layers } from './net/dispatch/layer.ts'
import { PacketQueue, type QueueName, type QueueOptions } from './net/dispatch/queue.ts'
import { type Endpoint, endpoint } from './net/endpoint.ts'
import { Arp } from './net/ether/arp.ts'
import { EtherHeader } from './net/ether/header.ts'
import { EtherInput } from './net/ether/input.ts'
import { EtherOutput } from './net/ether/output.ts'
import { Groups } from './net/group.ts'
import { HostCache } from './net/hostcache/hostcache.ts'
import { EchoSender } from './net/icmp/echo.ts'
import { IcmpErrors } from './net/icmp/error.ts'
import { IcmpTimeExceeded, IcmpType, IcmpUnreachable } from './net/icmp/header.ts'
import { IcmpInput } from './net/icmp/input.ts'
import { IgmpInput } from './net/igmp/input.ts'
import { IgmpMembership } from './net/igmp/membership.ts'
import { IgmpOutput } from './net/igmp/output.ts'
import { Interface } from './net/interface.ts'
import { IpProtocol } from './net/ip/header.ts'
import { IpInput, type TransportInput } from './net/ip/input.ts'
import { MulticastOutput } from './net/ip/multicast.ts'
import { IpOutput } from './net/ip/output.ts'
import { Reassembly } from './net/ip/reassembly.ts'
import { type DispatchPlan, type DispatchProtocol, dispatchPlan, type Layer } from './net/policy.ts'
import { DisciplineChanges } from './net/tcp/change.ts'
import { icmpError as tcpError, unreachable as tcpUnreachable } from './net/tcp/icmp.ts'
import { input as tcpInput } from './net/tcp/input.ts'
import { Tcp } from './net/tcp/tcp.ts'
import { TcpUser } from './net/tcp/user.ts'
import { loop, transmit } from './net/transmit.ts'
import { UdpInput } from './net/udp/input.ts'
import { UdpOutput } from './net/udp/output.ts'
import { UdpTable } from './net/udp/pcb.ts'
import { TcpSockets } from './socket/tcp.ts'
import { UdpSockets } from './socket/udp.ts'

export { Mbuf, type MbufCursor, Mbufs } from './device/mbuf.ts'
export type { HostConfig, InterfaceConfig, RouteConfig } from './net/config.ts'
export { type Endpoint, formatEndpoint } from './net/endpoint.ts'
export { TcpSockets } from './socket/tcp.ts'
export type { TcpInfo } from './socket/tcpinfo.ts'
export type { TcpListener, TcpListenOptions } from './socket/tcplistener.ts'
export type { TcpConnectOptions, TcpSocket, TcpSocketOptions } from './socket/tcpsocket.ts'
export { UdpSocket, type UdpSocketOptions } from './socket/udp.ts'
export type { UdpMembership, UdpMembershipDone } from './socket/udp-group.ts'

const TCP_INPUT = lockSite('tcp input')

/** A host's stack on one CPU. */
export class Stack {
  readonly context: NetContext
  readonly rounds: Rounds
  readonly dispatch: Dispatch
  readonly arp: Arp
  readonly reassembly: Reassembly
  readonly ip: { readonly input: IpInput; readonly output: IpOutput; readonly multicast: MulticastOutput }
  readonly icmp: { readonly input: IcmpInput; readonly errors: IcmpErrors; readonly echo: EchoSender }
  readonly groups: Groups
  readonly hostCache: HostCache
  readonly tcp: TcpSockets
  readonly udp: UdpSockets
  readonly #ether: EtherInput
  readonly #m: MbufCursor
  readonly #tcp: Tcp
  readonly #changes: DisciplineChanges
  readonly #plan: DispatchPlan
  readonly #layers: Layers
  #routes: RouteRounds

  /**
   * Builds the host on this CPU. The devices are polled from `start` on, when all CPUs of the host are there.
   * @throws KernelError EINVAL where the configuration cannot be
   */
  constructor(cpu: Cpu, config: HostConfig) {
    const context = new NetContext(cpu, config)
    this.context = context
    this.#m = context.mbuf()
    this.#plan = dispatchPlan(config)
    this.#layers = new Layers(context, this.#plan)
    this.rounds = new Rounds(context)
    this.#routes = new RouteRounds(context, this.rounds)

    const ether = { input: new EtherInput(context), output: new EtherOutput(context) }
    this.#ether = ether.input
    this.arp = new Arp(context, ether.output)
    ether.output.arp = this.arp
    this.reassembly = new Reassembly(context)
    this.groups = new Groups(context)
    this.ip = {
      input: new IpInput(context, this.reassembly, this.groups),
      output: new IpOutput(context, ether.output),
      multicast: new MulticastOutput(context, ether.output, this.groups),
    }
    this.dispatch = new Dispatch(context, this.#plan, (packet) => this.ip.input.input(packet))
    this.#layers.serve('ip', this.dispatch.port)
    const errors = new IcmpErrors(context, this.ip.output)
    this.icmp = { input: new IcmpInput(context, this.ip.output), errors, echo: new EchoSender(context, this.ip.output) }
    const igmp = new IgmpInput(context)
    const memberships = new IgmpMembership(context, this.groups, new IgmpOutput(context, this.ip.multicast))
    const table = new UdpTable(context)
    const udpInput = new UdpInput(context, table, errors)
    const udpOutput = new UdpOutput(context, this.ip.output, this.ip.multicast)
    const udp = { table, input: udpInput, output: udpOutput }
    const groupRounds = new GroupRounds(context, this.rounds, this.groups)
    this.udp = new UdpSockets(context, udp, this.ip, this.rounds, groupRounds)

    this.hostCache = new HostCache(context)
    const tcp = new Tcp(context, this.ip.output, this.hostCache)
    this.#tcp = tcp
    const user = new TcpUser(tcp)
    this.#changes = new DisciplineChanges(tcp, this.rounds)
    tcp.onUse = () => {
      this.dispatch.isAnywhere = tcp.groups.isLocked
    }
    this.tcp = new TcpSockets(context, tcp, this.ip.output, this.rounds)

    // Up: ether → dispatch → ip → tcp, udp, icmp, igmp.
    ether.input.onIp = (packet) => this.dispatch.steer(packet)
    ether.input.onArp = this.#queued('ether', 'arp', {
      name: 'Arp',
      point: 'link',
      run: (packet) => this.arp.input(packet),
    })
    this.arp.onUnreachable = (packet) => {
      this.#m.at = packet
      if (this.#m.protocol === IpProtocol.tcp) tcpUnreachable(tcp, this.#m.data)
    }
    this.reassembly.onWhole = (packet) => this.dispatch.rehash(packet)
    this.reassembly.onTimeout = (first) => {
      this.#m.at = first
      errors.send(first, this.#m.network, IcmpType.timeExceeded, IcmpTimeExceeded.reassembly)
    }
    this.ip.input.onTcp = this.#transport('tcp', 'Tcp', (packet, isBroadcast) => {
      tcp.now = cpu.now
      this.#m.at = packet
      tcp.groups.enterFlow(this.#m.hash, TCP_INPUT)
      tcpInput(tcp, packet, isBroadcast)
      tcp.groups.leave()
    })
    this.ip.input.onUdp = this.#transport('udp', 'Udp', (packet, isBroadcast) => udpInput.input(packet, isBroadcast))
    this.ip.input.onIcmp = this.#transport('icmp', 'Icmp', (packet, isBroadcast) =>
      this.icmp.input.input(packet, isBroadcast),
    )
    this.ip.input.onIgmp = this.#transport('igmp', 'Igmp', (packet) => igmp.input(packet))
    igmp.onMessage = (packet) => memberships.message(packet)
    this.ip.input.onUnknownProtocol = (packet) => {
      this.#m.at = packet
      errors.send(packet, this.#m.data, IcmpType.unreachable, IcmpUnreachable.protocol)
      context.mbufs.free(packet)
    }
    this.icmp.input.onError[IpProtocol.udp] = (type, code, quote) => udpInput.error(type, code, quote)
    this.icmp.input.onError[IpProtocol.tcp] = (type, code, quote, mtu) => tcpError(tcp, type, code, quote, mtu)
    // Down, and up again: what is for ourselves.
    const local = (packet: Address) => {
      if (cpu.traceMarks !== 0) loop(cpu, packet)
      this.dispatch.defer(packet)
    }
    this.ip.output.onLocal = local
    this.ip.multicast.onLocal = local

    // Boundaries that are queues, besides those that a packet passes on its way up.
    if (this.#layers.has('ip')) {
      const link = this.#queue('ip', {
        name: 'Link',
        point: 'tx',
        run: (packet) => ether.output.outputQueued(packet),
      })
      ether.output.defer = (packet) => link.defer(packet)
    }
    if (this.#layers.has('socket')) {
      const datagrams = this.#queue('socket', {
        name: 'Socket',
        point: 'rcv',
        run: (packet) => this.udp.arrived(packet),
      })
      this.udp.defer = (packet) => datagrams.defer(packet)
      for (const port of [this.udp.port, user.port, this.tcp.port]) this.#layers.serve('socket', port)
    }

    const boundary = (queue: DeviceQueue): DeviceQueue => {
      if (!this.#layers.has('ether')) return queue
      const run = (packet: Address) => transmit(cpu, queue, packet)
      return new DeferredDevice(queue, this.#queue('ether', { name: 'Device', point: 'tx', run }))
    }
    addInterfaces(context, this.dispatch, config.interfaces, boundary)
    for (const route of config.routes ?? []) this.#routes.insertHere(route)
  }

  /** Waits until every CPU of the host has its part, and then polls this CPU's queues. */
  *start(thread: Thread): Generator<void, void, void> {
    const { cpu, interfaces } = this.context
    const kinds = ['netisr', 'control', 'arp', 'tx', 'frames', 'igmp', 'udp', 'tcp', 'tcp sockets', 'hostcache']
    yield* thread.until(() =>
      this.context.members.every((each) =>
        kinds.every((kind) => cpu.ports.find(this.context.portName(kind, each)) !== undefined),
      ),
    )
    this.#tcp.attach()
    for (const iface of interfaces) if (iface.queue !== undefined) attachQueue(cpu, iface.queue, this.#deliver(iface))
  }

  /** An address and port for many packets. Free it when it is no longer used. */
  endpoint(address: string, port: number): Endpoint {
    return endpoint(this.context.cpu, address, port)
  }

  /** Adds a route on all CPUs of the host. `done` is called here with 0 or an errno. */
  addRoute(route: RouteConfig, done: (errno: number) => void): void {
    this.#routes.add(route, done)
  }

  removeRoute(route: RouteConfig, done: (errno: number) => void): void {
    this.#routes.remove(route, done)
  }

  /**
   * How the host's CPUs come to work on a connection, from now on: on all of them, with all connections that there are. `done` is called here.
   * @param groups of connp-l, default 128
   * @throws KernelError EINVAL for what cannot be
   */
  setDiscipline(
    discipline: Discipline,
    groups: number | undefined,
    done: (error: KernelError | undefined) => void,
  ): void {
    this.#changes.change(discipline, groups, done)
  }

  /** As it is on this CPU. */
  get discipline(): { readonly discipline: Discipline; readonly groups: number } {
    const { discipline, count } = this.#tcp.groups
    return { discipline, groups: count }
  }

  /** @internal The records of the connection groups that are at home on this CPU (net/tcp/groupset.ts). */
  get connectionGroups(): readonly Address[] {
    return this.#tcp.groups.home
  }

  /** What an interface's queue receives goes up: through Ethernet, or at once to the flow's owner. */
  #deliver(iface: Interface): Deliver {
    const m = this.#m
    const isEthernet = iface.info.framing === 'ethernet'
    const { tracer } = this.context.cpu
    let traceMarks: Marks = 0
    tracer.watch((marks) => {
      traceMarks = marks
    })
    if (this.#plan.policies.ether === 'direct') {
      return (packet) => {
        m.at = packet
        m.interfaceIndex = iface.index
        if (traceMarks !== 0) noteArrival(tracer, m, packet, iface.name)
        if (isEthernet) this.#ether.input(iface, packet)
        else this.dispatch.steer(packet)
      }
    }
    const input = this.#queued('ether', 'ether', {
      name: 'Ether',
      point: 'link',
      run: (packet) => {
        if (isEthernet) this.#ether.input(iface, packet)
        else this.dispatch.steer(packet)
      },
    })
    return (packet) => {
      m.at = packet
      m.interfaceIndex = iface.index
      if (traceMarks !== 0) noteArrival(tracer, m, packet, iface.name)
      input(packet)
    }
  }

  /** A queue that a boundary's thread serves, where the boundary is a layer, and else the run loop. */
  #queue(layer: Layer, options: Omit<QueueOptions, 'limit'>): PacketQueue {
    const queue = new PacketQueue(this.context, { ...options, limit: this.#plan.queueLimit })
    this.#layers.serve(layer, queue.port)
    return queue
  }

  /** What is to be called to give a packet to a protocol behind a boundary: itself, or its queue. */
  #queued(layer: Layer, protocol: DispatchProtocol, options: Omit<QueueOptions, 'limit'>): (packet: Address) => void {
    const policy = this.#plan.policies[protocol]
    if (policy === 'direct') return options.run
    const queue = this.#queue(layer, { ...options, isHybrid: policy === 'hybrid' })
    return (packet) => queue.input(packet)
  }

  /** As `#queued`, of a transport: in its queue the packet knows whom it is to, and may come to belong to another CPU. */
  #transport(protocol: DispatchProtocol, name: QueueName, input: TransportInput): TransportInput {
    if (this.#plan.policies[protocol] === 'direct') return input
    const { cpu, mbufs } = this.context
    const m = this.#m
    const portName = (owner: number) => this.context.portName(`${protocol} queue`, owner)
    const run = (packet: Address) => {
      m.at = packet
      const owner = protocol === 'tcp' ? this.dispatch.ownerOfSegment(m.hash) : cpu.index
      if (owner !== cpu.index) {
        // The discipline has changed meanwhile. Those that come this way are few.
        mbufs.handOff(cpu.ports.lookup(portName(owner)), packet)
        return
      }
      const isToMany = (m.flags & MbufFlag.TO_MANY) !== 0
      m.flags &= ~MbufFlag.TO_MANY
      input(packet, isToMany)
    }
    const queued = this.#queued('tcp', protocol, { name, point: 'transport', portName: portName(cpu.index), run })
    return (packet, isToMany) => {
      m.at = packet
      if (isToMany) m.flags |= MbufFlag.TO_MANY
      queued(packet)
    }
  }
}

/** The interfaces, the host's own loopback first, and the routes to their prefixes. */
function addInterfaces(
  context: NetContext,
  dispatch: Dispatch,
  configs: readonly InterfaceConfig[],
  boundary: (queue: DeviceQueue) => DeviceQueue,
): void {
  const { cpu, interfaces, routes } = context
  const m = context.mbuf()
  const none = {
    name: 'lo',
    framing: 'ip',
    mtu: 65535,
    cpus: [],
    offload: { checksum: true, segmentation: false },
  } as const
  interfaces.push(new Interface(cpu, 0, 'lo', none, undefined, [parsePrefix('127.0.0.1/8')], true))
  for (const config of configs) {
    const index = interfaces.length
    const prefixes = config.addresses.map((text) => parsePrefix(text))
    const info = deviceInfo(config.device)
    // What a card computes to choose a queue: the hash of the flow, behind the link's header.
    const linkBytes = info.framing === 'ethernet' ? EtherHeader.size : 0
    const steer = (_memory: Memory, packet: Address) => {
      m.at = packet
      return dispatch.hash(m.data + linkBytes, m.length - linkBytes)
    }
    const queue = openQueue(cpu, config.device, steer)
    // Also when the machine stops before the queue is polled, or when what follows here throws.
    if (queue !== undefined) cpu.onStop(() => queue.close())
    const outer = queue === undefined ? undefined : boundary(queue)
    interfaces.push(new Interface(cpu, index, config.name, info, outer, prefixes, false))
    for (const { family, bytes, length } of prefixes) {
      routes.insert({ family, bytes: networkBytes(bytes, length), length, interfaceIndex: index })
    }
  }
}
