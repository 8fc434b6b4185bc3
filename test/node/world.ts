// Where the same cases run: on the kernel's own network, which proves the case right; on two hosts of ours, through the API that
// patches nothing; and, in a process with the preload, on Node's own modules over our stack.
import { spawn } from 'node:child_process'
import * as dgram from 'node:dgram'
import * as http from 'node:http'
import * as net from 'node:net'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createHost, createNetwork } from '../../src/node/host.ts'
import { Command, environment } from '../command.ts'

/** Node's modules, of whoever has the network. */
export interface Side {
  readonly net: Pick<typeof net, 'connect' | 'createServer' | 'Socket'>
  readonly dgram: { createSocket(options: 'udp4' | dgram.SocketOptions, listener?: MessageListener): dgram.Socket }
  readonly http: Pick<typeof http, 'createServer'> & {
    request(options: http.RequestOptions, onResponse?: (response: http.IncomingMessage) => void): http.ClientRequest
  }
  readonly httpAgent: () => http.Agent
  /** Has a server of any module listen here. */
  adopt<S extends net.Server>(server: S): S
}
type MessageListener = (message: Buffer, from: dgram.RemoteInfo) => void

/** Two ends, and how the client reaches the server. */
export interface World {
  readonly server: Side
  readonly client: Side
  /** The server's address, and the client's. */
  readonly address: string
  readonly clientAddress: string
  /** An address that nobody here has. */
  readonly foreignAddress: string
  /** Node's modules reach the server by themselves. */
  readonly isOwn: boolean
}

export const FOREIGN = '192.0.2.1'
const LOOPBACK = '127.0.0.1'
/** Set in the child: net is ours there. */
const PRELOADED = 'DAMSELFLY_TEST_PRELOADED'

const node: Side = {
  net,
  dgram: dgram as never,
  http: http as never,
  httpAgent: () => new http.Agent({ keepAlive: true }),
  adopt: (server) => server,
}

export type Case = readonly [name: string, run: (world: World) => Promise<void> | void]

/** Runs a table of cases in every world. */
export function inAllWorlds(title: string, file: string, cases: readonly Case[]): void {
  const own: World = {
    server: node,
    client: node,
    address: LOOPBACK,
    clientAddress: LOOPBACK,
    foreignAddress: FOREIGN,
    isOwn: true,
  }
  if (process.env[PRELOADED] === '1') {
    describe(`${title}, with the preload`, () => {
      for (const [name, run] of cases) test(name, { timeout: 20_000 }, () => run(own))
    })
    return
  }
  describe(`${title}, on the kernel`, () => {
    for (const [name, run] of cases) test(name, { timeout: 20_000 }, () => run(own))
  })
  describe(`${title}, on two hosts of ours`, () => {
    const network = createNetwork({ seed: 1 })
    let world: World | undefined
    before(async () => {
      const server = await createHost({ name: 'server', address: '10.0.0.2/24', network })
      const client = await createHost({ name: 'client', address: '10.0.0.1/24', network })
      const side = (host: typeof server): Side => ({
        net: host.net,
        dgram: host.dgram,
        http: host.http as never,
        httpAgent: () => host.httpAgent,
        adopt: (server) => host.adopt(server),
      })
      world = {
        server: side(server),
        client: side(client),
        address: '10.0.0.2',
        clientAddress: '10.0.0.1',
        foreignAddress: FOREIGN,
        isOwn: false,
      }
    })
    after(() => network.close())
    for (const [name, run] of cases) test(name, { timeout: 20_000 }, () => run(world!))
  })
  for (const variant of VARIANTS) {
    test(
      `${title}: the same with the preload, ${variant.discipline} on ${variant.cpus} CPUs`,
      { timeout: LIMIT_MS },
      () => preloaded(file, variant),
    )
  }
}

interface Variant {
  readonly discipline: string
  /** 1: the stack is on the program's own event loop. 2: on threads beside it. */
  readonly cpus: number
}

const LIMIT_MS = 120_000
const isLong = process.env.DAMSELFLY_LONG !== undefined
/** All in the long form; in the short one the default, and locks on threads. */
const VARIANTS: readonly Variant[] = isLong
  ? ['connp-t', 'giant', 'msgp', 'connp-l', 'connp-l/3'].flatMap((discipline) =>
      [1, 2].map((cpus) => ({ discipline, cpus })),
    )
  : [
      { discipline: 'connp-t', cpus: 1 },
      { discipline: 'connp-l/3', cpus: 2 },
    ]

/** All cases, in a process whose network is ours. */
async function preloaded(file: string, { discipline, cpus }: Variant): Promise<void> {
  const preload = new URL('../../src/node/preload.js', import.meta.url).href
  const child = spawn(process.execPath, ['--enable-source-maps', '--import', preload, fileURLToPath(file)], {
    env: environment({
      [PRELOADED]: '1',
      DAMSELFLY_DEVICE: 'none',
      DAMSELFLY_DISCIPLINE: discipline,
      DAMSELFLY_CPUS: String(cpus),
    }),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const { code, stdout, stderr } = await new Command(child, LIMIT_MS).ended
  if (code !== 0) throw new Error(`cases failed with the preload under ${discipline}:\n${stdout}${stderr}`)
}

/** What happens to whom, in order: `log.on(socket, 'client', ['end', 'close'])`. */
export class Log {
  readonly entries: string[] = []

  on(emitter: NodeJS.EventEmitter, who: string, events: readonly string[]): void {
    for (const event of events) emitter.on(event, () => this.entries.push(`${who} ${event}`))
  }

  add(entry: string): void {
    this.entries.push(entry)
  }

  /** Those of one. */
  of(who: string): string[] {
    return this.entries.filter((entry) => entry.startsWith(`${who} `)).map((entry) => entry.slice(who.length + 1))
  }
}

/** Resolves with the event's first argument, also when it is an error. */
export function event<Value = unknown>(emitter: NodeJS.EventEmitter, name: string): Promise<Value> {
  return new Promise((resolve) => {
    emitter.once(name, resolve)
  })
}

/** A server that listens, and its port. */
export async function listening(
  world: World,
  onConnection: (socket: net.Socket) => void,
  options: net.ServerOpts = {},
): Promise<{ server: net.Server; port: number }> {
  const server = world.server.net.createServer(options, onConnection)
  server.listen(0, world.address)
  await event(server, 'listening')
  return { server, port: (server.address() as net.AddressInfo).port }
}

/** A connection, and its other end. */
export async function connected(
  world: World,
  serverOptions: net.ServerOpts = {},
  clientOptions: Partial<net.NetConnectOpts> = {},
): Promise<{ server: net.Server; client: net.Socket; other: net.Socket }> {
  const { promise: accepted, resolve } = withResolvers<net.Socket>()
  const { server, port } = await listening(world, resolve, serverOptions)
  const client = world.client.net.connect({ ...clientOptions, port, host: world.address } as net.NetConnectOpts)
  const [other] = await Promise.all([accepted, event(client, 'connect')])
  server.close()
  return { server, client, other }
}

/** All bytes that a socket receives, until its end. */
export async function received(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of socket) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

export function withResolvers<Value>(): { promise: Promise<Value>; resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => {}
  const promise = new Promise<Value>((fulfil) => {
    resolve = fulfil
  })
  return { promise, resolve }
}
