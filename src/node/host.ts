// A host of one's own in a program, without touching Node's modules: sockets and servers of net, http and dgram that are real ones in
// all they do, over the host's stack instead of the kernel's. Several hosts of one process can stand on one network.
import { createSocket, type Socket as DatagramSocket, type RemoteInfo, type SocketOptions } from 'node:dgram'
import { once } from 'node:events'
import * as http from 'node:http'
import * as net from 'node:net'
import { Duplex } from 'node:stream'
import type { ReadableStream, WritableStream } from 'node:stream/web'
import * as tls from 'node:tls'
import { Errno, KernelError } from '../base/errno.ts'
import type { Chain } from '../kernel/trace/chain.ts'
import { setTraceMode, type TraceMode } from '../kernel/trace/mode.ts'
import { parsePrefix } from '../net/address.ts'
import type { RouteConfig } from '../net/config.ts'
import { type Discipline, groupCount } from '../net/discipline.ts'
import { binding } from './binding.ts'
import type { HandleHost } from './handle-host.ts'
import { connectArguments, connectWith, setDatagramHandle, setListen } from './inside.ts'
import { Network, type NetworkOptions } from './network.ts'
import { programOptions, VARIABLES } from './options.ts'
import { startHost } from './start.ts'
import { TcpHandle } from './tcp-handle.ts'
import { UdpHandle } from './udp-handle.ts'

const { SERVER, SOCKET } = binding('tcp_wrap').constants
const DEFAULT_ROUTE = '0.0.0.0/0'

/** A network of the process, for hosts to be plugged into: an Ethernet switch, and links that may be slow and bad. */
export function createNetwork(options: NetworkOptions = {}): Network {
  return new Network(options)
}

export interface HostOptions {
  /** Tells the hosts of a network apart. Default: the address. */
  readonly name?: string
  /** Its address with the prefix length, `10.0.0.2/24`; or, on a network of the process, several. */
  readonly address: string | readonly string[]
  /** What it is plugged into: a network of the process… */
  readonly network?: Network
  /** … or an interface of the kernel, which takes privileges. */
  readonly tun?: TunLink
  /** Besides the routes to its own prefixes: `{ prefix: '0.0.0.0/0', gateway: '10.0.0.1' }`. */
  readonly routes?: readonly Omit<RouteConfig, 'interface'>[]
  /** How the stack comes to work on a connection: by locks, or on the connection's own CPU. Default `connp-t`, which is the latter. */
  readonly discipline?: Discipline
  /** Of `connp-l`: how many connection groups there are, each with a lock, 1 to 4096. Default 128. */
  readonly groups?: number
}

export interface TunLink {
  /** The interface's name. Default `df0`. */
  readonly name?: string
  readonly kind?: 'tun' | 'tap'
  /** The kernel's end, `10.0.0.1/24`. Default: the first other address of the prefix. */
  readonly kernelAddress?: string
}

/**
 * Makes a host. It keeps the process alive no longer than its sockets and servers do.
 * @throws KernelError EINVAL for options that cannot be; EEXIST, ENOSPC of the network; EPERM, EACCES of an interface
 */
export async function createHost(options: HostOptions): Promise<Host> {
  const { network, tun, routes = [], discipline = 'connp-t', groups } = options
  const addresses = typeof options.address === 'string' ? [options.address] : options.address
  if (addresses.length === 0) throw refusal('a host has an address: give one, like 10.0.0.2/24')
  for (const address of addresses) parsePrefix(address)
  if ((network === undefined) === (tun === undefined)) throw refusal('a host is in one place: give network, or tun')
  // Here, and by the names that they have here.
  groupCount(discipline, 1, groups)
  const name = options.name ?? addresses[0]!
  if (network !== undefined) {
    const concurrency = { discipline, ...(groups === undefined ? {} : { groups }) }
    return new Host(name, await network.add({ name, addresses, routes, ...concurrency }), async () => {})
  }
  if (addresses.length > 1 || routes.some(({ prefix }) => prefix !== DEFAULT_ROUTE)) {
    throw refusal('on an interface of the kernel a host has one address, and no other route than the default')
  }
  const { host, machine } = await startHost(
    programOptions({
      [VARIABLES.device]: tun!.kind,
      [VARIABLES.tun]: tun!.name,
      [VARIABLES.address]: addresses[0],
      [VARIABLES['kernel-address']]: tun!.kernelAddress,
      [VARIABLES.gateway]: routes[0]?.gateway,
      [VARIABLES.discipline]: discipline,
      [VARIABLES.groups]: groups?.toString(),
    }),
  )
  return new Host(name, host, () => machine.stop())
}

function refusal(sentence: string): KernelError {
  return new KernelError(Errno.EINVAL, sentence)
}

type Listener = (socket: net.Socket) => void
type OnMessage = (message: Buffer, from: RemoteInfo) => void
type UndiciCallback = (error: Error | null, socket: net.Socket | null) => void

/** What undici gives its `connect`, as far as it matters here. */
export interface UndiciTarget {
  readonly hostname: string
  readonly protocol: string
  readonly port: string
  readonly servername?: string | null
  readonly localAddress?: string | null
}

export class Host {
  readonly name: string
  /** For http.request, and whatever else takes an Agent: connections are made from this host. Keeps them for the next request. */
  readonly httpAgent: http.Agent
  /** node:net of this host. Names are looked up as ever; `localhost` is this host. Paths are not for it. */
  readonly net: {
    readonly Socket: typeof net.Socket
    readonly connect: typeof net.connect
    readonly createConnection: typeof net.connect
    readonly createServer: typeof net.createServer
  }
  readonly #host: HandleHost
  readonly #stop: () => Promise<void>

  /** By createHost. */
  constructor(name: string, host: HandleHost, stop: () => Promise<void>) {
    this.name = name
    this.#host = host
    this.#stop = stop
    const HostSocket = socketClass(host)
    const connect = connectFunction(HostSocket)
    const createServer = (...parameters: [net.ServerOpts?, Listener?]) => this.adopt(net.createServer(...parameters))
    this.net = { Socket: HostSocket, connect, createConnection: connect, createServer: createServer as never }
    this.httpAgent = new http.Agent({ keepAlive: true })
    Object.assign(this.httpAgent, { createConnection: connect })
  }

  /** node:dgram of this host. */
  readonly dgram = {
    createSocket: (options: 'udp4' | SocketOptions, listener?: OnMessage): DatagramSocket => {
      const type = typeof options === 'string' ? options : options.type
      if (type !== 'udp4')
        throw new KernelError(Errno.EAFNOSUPPORT, `the stack has no IPv6: give udp4, and not ${type}`)
      const socket = createSocket(options as SocketOptions, listener)
      setDatagramHandle(socket, new UdpHandle(this.#host))
      return socket
    },
  }

  /** node:http of this host. */
  readonly http = {
    createServer: (options?: http.ServerOptions | http.RequestListener, listener?: http.RequestListener): http.Server =>
      this.adopt(
        typeof options === 'function' ? http.createServer(options) : http.createServer(options ?? {}, listener),
      ),
    request: (
      options: http.RequestOptions,
      onResponse?: (response: http.IncomingMessage) => void,
    ): http.ClientRequest => http.request({ agent: this.httpAgent, ...options }, onResponse),
  }

  /** Has any server that is made of net.Server (https, http2, tls, of a framework) listen on this host. Before it listens. */
  adopt<S extends net.Server>(server: S): S {
    setListen(server, (address, port) => {
      const handle = new TcpHandle(this.#host, SERVER)
      handle.bindLater(address, port)
      return handle
    })
    return server
  }

  /** For undici: `new Agent({ connect: host.undiciConnector })`, and so for fetch with that dispatcher. */
  readonly undiciConnector = (target: UndiciTarget, callback: UndiciCallback): void => {
    const isTls = target.protocol === 'https:'
    const port = Number(target.port) || (isTls ? 443 : 80)
    const { localAddress } = target
    const plain = this.net.connect({
      host: target.hostname,
      port,
      noDelay: true,
      ...(localAddress ? { localAddress } : {}),
    })
    const servername = target.servername ?? target.hostname
    const socket = isTls ? tls.connect({ socket: plain, servername, ALPNProtocols: ['http/1.1'] }) : plain
    const onError = (error: Error) => callback(error, null)
    socket.once('error', onError)
    socket.once(isTls ? 'secureConnect' : 'connect', () => {
      socket.off('error', onError)
      callback(null, socket)
    })
  }

  /** A connection as a pair of web streams, when it is open. */
  async connectWebStreams(target: { readonly hostname: string; readonly port: number }): Promise<{
    readonly readable: ReadableStream<Uint8Array>
    readonly writable: WritableStream<Uint8Array>
  }> {
    const socket = this.net.connect({ host: target.hostname, port: target.port })
    await once(socket, 'connect')
    return Duplex.toWeb(socket) as never
  }

  /**
   * Changes how the stack comes to work on connections, with all that there are: nothing is lost, and no program notices.
   * @param groups of `connp-l`, 1 to 4096; default 128
   * Rejects with a KernelError: EINVAL for what cannot be, EBUSY while another change is under way, ENOMEM.
   */
  setDiscipline(discipline: Discipline, groups?: number): Promise<void> {
    return this.#host.setDiscipline(discipline, groups)
  }

  /**
   * How much is traced to its origin from now on, of all that the host's machine does, which is that of its network: `off`, `all`, or N for
   * one of N. What a program does in its callbacks then knows what led to it, and so do the stacks of errors there.
   */
  setTraceMode(mode: TraceMode): void {
    const { driver, cpu } = this.#host.loop
    setTraceMode(cpu.memory, mode)
    driver.schedule()
  }

  /** How what the program does now came about: to the packet, and on a network of the process to the write on another host. */
  where(): Chain {
    return this.#host.loop.cpu.tracer.where()
  }

  /** Closes all of the host's sockets and servers, and resolves when they are closed. */
  async close(): Promise<void> {
    this.httpAgent.destroy()
    await this.#host.closeAll()
    await this.#stop()
  }
}

/** net.Socket, whose connections are made from the host. */
function socketClass(host: HandleHost): typeof net.Socket {
  class HostSocket extends net.Socket {}
  const refuse = () => {
    throw refusal('a path is no address of a host: connect to it by node:net')
  }
  HostSocket.prototype.connect = connectWith(() => new TcpHandle(host, SOCKET), refuse) as net.Socket['connect']
  return HostSocket
}

/** As net.connect: makes a socket and connects it. */
function connectFunction(HostSocket: typeof net.Socket): typeof net.connect {
  return ((...args: unknown[]) => {
    const [options, listener] = connectArguments(args)
    const socket = new HostSocket(options as net.SocketConstructorOpts)
    if (typeof options.timeout === 'number') socket.setTimeout(options.timeout)
    return socket.connect(options as never, ...(listener === null ? [] : [listener]))
  }) as typeof net.connect
}
