// The outside of what is measured over TUN: two network namespaces with a veth between them, the C programs of src/lab/tun/c, and
// the kernel's TCP as a server in the second namespace. Needs Linux, root and a C compiler.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compile, compilerUnavailable } from './compile.ts'
import { available, Namespace, output } from './namespace.ts'

/** The services of src/lab/tun/c/peer.h. */
export const Service = { echo: 7, sink: 9, source: 19, short: 80 } as const

/** Bytes of a question, and of an answer. */
export const MESSAGE_BYTES = 64

/** The two ends of the veth: the client's, and the kernel's server's. */
export const CLIENT_ADDRESS = '10.78.0.1'
export const KERNEL_ADDRESS = '10.78.0.2'

/** What src/lab/tun/c/client.c prints. Rates and percentiles are of the time counted. */
export interface ClientResult {
  readonly mode: ClientMode
  readonly connections: number
  readonly seconds: number
  readonly cpuSeconds: number
  readonly bytes: number
  readonly bitsPerSecond: number
  readonly exchanges: number
  readonly failures: number
  /** The first of them, in words. */
  readonly failure: string
  readonly perSecond: number
  readonly p50Us: number
  readonly p90Us: number
  readonly p99Us: number
  readonly p999Us: number
  readonly maxUs: number
}

/** `out`: the client sends; `in`: the server does; `rr`: question and answer; `connect`: a connection for each question; `http`: requests. */
export type ClientMode = 'out' | 'in' | 'rr' | 'connect' | 'http'

export interface ClientOptions {
  readonly mode: ClientMode
  readonly target: string
  readonly seconds: number
  /** Not counted, before: the time in which code is compiled. Default 500. */
  readonly warmMs?: number
  /** At a time. Default 1. */
  readonly connections?: number
  /** It looks instead of blocking. Default false. */
  readonly spins?: boolean
  /** Default: the service's own. */
  readonly port?: number
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** Why the peers cannot be had, or undefined. */
export function peersUnavailable(): string | undefined {
  return available() ?? compilerUnavailable()
}

export interface Programs {
  readonly client: string
  readonly server: string
}

/** Compiles the peers into a temporary folder, which is there until `body` ends, or this process. */
export async function withPrograms<Result>(body: (programs: Programs) => Promise<Result>): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'damselfly-peer-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  const onSignal = (signal: NodeJS.Signals) => {
    remove()
    process.kill(process.pid, signal)
  }
  process.once('exit', remove)
  for (const signal of SIGNALS) process.once(signal, onSignal)
  try {
    return await body({
      client: compile('src/lab/tun/c/client.c', folder),
      server: compile('src/lab/tun/c/server.c', folder),
    })
  } finally {
    process.off('exit', remove)
    for (const signal of SIGNALS) process.off(signal, onSignal)
    remove()
  }
}

/** Two namespaces and a veth between them, with the default offloads, until `body` ends. */
export async function withVeth<Result>(
  label: string,
  body: (client: Namespace, server: Namespace) => Promise<Result>,
): Promise<Result> {
  const client = new Namespace(`${label}-client`)
  try {
    const server = new Namespace(`${label}-server`)
    try {
      client.run('ip', ['link', 'add', 'veth0', 'type', 'veth', 'peer', 'name', 'veth0', 'netns', server.name])
      for (const [namespace, address] of [
        [client, CLIENT_ADDRESS],
        [server, KERNEL_ADDRESS],
      ] as const) {
        namespace.run('ip', ['address', 'add', `${address}/24`, 'dev', 'veth0'])
        namespace.run('ip', ['link', 'set', 'veth0', 'up'])
        // A client that connects 50 000 times a second goes round its ports in a second.
        namespace.run('sh', ['-c', 'echo 10000 65000 > /proc/sys/net/ipv4/ip_local_port_range'])
      }
      return await body(client, server)
    } finally {
      server.remove()
    }
  } finally {
    client.remove()
  }
}

/** Runs the client to its end, in `namespace` or, without one, in this process's own. */
export async function runClient(program: string, options: ClientOptions, namespace?: Namespace): Promise<ClientResult> {
  const { mode, target, seconds, warmMs = 500, connections = 1, spins = false, port } = options
  const args = [
    mode,
    target,
    '--connections',
    `${connections}`,
    '--counted',
    `${Math.round(seconds * 1000)}`,
    '--warm',
    `${warmMs}`,
  ]
  if (spins) args.push('--spin')
  if (port !== undefined) args.push('--port', `${port}`)
  const child = namespace === undefined ? spawn(program, args) : namespace.spawn(program, args)
  const printed = await output(child, seconds * 1000 + warmMs + 15_000)
  const result = JSON.parse(printed) as ClientResult
  // A rate with failures in it would be a figure of something else.
  if (result.failures > 0)
    throw new Error(`${mode} to ${target}: ${result.failures} connections failed, the first at ${result.failure}`)
  return result
}

/** A server that runs, and how to end it. */
export interface Running {
  readonly stop: () => Promise<void>
}

/** Starts the kernel's server in the namespace of that name; resolves when it listens. It ends with this process at the latest. */
export function startServer(program: string, namespace: string, spins: boolean): Promise<Running> {
  const args = ['netns', 'exec', namespace, program, ...(spins ? ['--spin'] : [])]
  return untilPrinted(spawn('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] }), 'ready')
}

/** Resolves when a child has printed `text`; rejects when it ends before. */
export function untilPrinted(child: ChildProcess, text: string): Promise<Running> {
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const stop = () => {
    child.kill('SIGTERM')
    return closed
  }
  return new Promise((resolve, reject) => {
    let printed = ''
    const hear = (chunk: Buffer) => {
      printed += chunk
      if (printed.includes(text)) {
        resolve({ stop })
        // What comes later is nobody's, and must not fill the pipe.
        for (const stream of [child.stdout, child.stderr]) stream?.off('data', hear).resume()
      }
    }
    child.stdout?.on('data', hear)
    child.stderr?.on('data', hear)
    child.once('error', reject)
    child.once('close', (code, signal) =>
      reject(new Error(`${child.spawnargs.join(' ')}: ended by ${signal ?? code}\n${printed}`)),
    )
  })
}
