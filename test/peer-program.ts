// One end of the tests with real peers, a process inside the namespace: on the kernel, or on the stack over TUN behind a link with faults.
// Serves until it is told to end, or makes so many connections, several at a time. Speaks by IPC; see peers.test.ts.
//
//     node peer-program.js '{"side":"stack","role":"client", …}'
import { once } from 'node:events'
import * as net from 'node:net'
import { Random } from '../src/base/random.ts'
import type { FaultOptions } from '../src/device/fault.ts'
import { FaultCounters } from '../src/device/fault.ts'
import { configureInterface, interfaceMtu, QUEUE_LENGTH } from '../src/device/linux/interface.ts'
import { openTun } from '../src/device/linux/tun.ts'
import type { DeviceSpec } from '../src/device/spec.ts'
import { total } from '../src/kernel.ts'
import type { Discipline } from '../src/net/discipline.ts'
import type { Host } from '../src/node/host.ts'
import { bootInline, bootThreads, type OwnMachine, standHost } from './own-host.ts'
import { converse, PORT, serve, someExchange } from './peer-stream.ts'

export const KERNEL = '10.77.0.1'
export const STACK = '10.77.0.2'

export interface PeerOptions {
  readonly side: 'kernel' | 'stack'
  readonly role: 'client' | 'server'
  readonly seed: number
  /** Of a client: connections, and how many at a time. */
  readonly connections: number
  readonly parallel: number
  /** The largest size of either direction. */
  readonly most: number
  /** Of the stack's link, in both directions. */
  readonly faults: FaultOptions
  readonly discipline: Discipline
  /** Of the stack: 1 is this thread; more are worker threads with a queue of the device each, and this thread has its programs only. */
  readonly cpus: number
  /** A client that waits for a word before it begins: its peer stands later. */
  readonly waits?: boolean
  /** A file of what passes the device. */
  readonly pcap?: string
}

export interface PeerReport {
  readonly done: number
  readonly wrong: readonly string[]
  /** Packets that the link has lost and put out of order. */
  readonly lost: number
  readonly reordered: number
}

type Network = Pick<typeof net, 'createServer' | 'connect'>

/** The most failures that are told. */
const WRONG_MAX = 10

const options = JSON.parse(process.argv[2]!) as PeerOptions
const failures: string[] = []
const fail = (error: unknown) => failures.length < WRONG_MAX && failures.push(String((error as Error).stack ?? error))
const machine = options.side === 'stack' ? await startStack() : undefined
const network: Network = machine === undefined ? net : (machine.host.net as unknown as Network)
if (options.role === 'server') serveAll()
else await connectAll()

function serveAll(): void {
  let done = 0
  const server = network.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', fail)
    serve(socket).then((isRight) => {
      done++
      if (!isRight) fail(new Error('what came is not what was sent'))
    }, fail)
  })
  server.listen(PORT, () => process.send!('ready'))
  // When the last of them is over, and who waited for its end knows.
  process.once('message', () => server.close(() => setImmediate(() => end(done))))
}

async function connectAll(): Promise<void> {
  const { seed, connections, parallel, most } = options
  process.send!('ready')
  if (options.waits === true) await once(process, 'message')
  const address = options.side === 'stack' ? KERNEL : STACK
  const random = new Random(seed)
  let begun = 0
  let done = 0
  const one = async () => {
    while (begun < connections) {
      begun++
      const exchange = someExchange(random, most)
      const socket = network.connect({ host: address, port: PORT, allowHalfOpen: true })
      try {
        await once(socket, 'connect')
        socket.setNoDelay(random.chance(0.5))
        await converse(socket, exchange)
        done++
      } catch (error) {
        socket.destroy()
        fail(error)
      }
    }
  }
  await Promise.all(Array.from({ length: parallel }, one))
  end(done)
}

function end(done: number): void {
  const count = (name: 'lost' | 'reordered') =>
    machine === undefined ? 0 : total(machine.machine.memory, FaultCounters, name)
  const report: PeerReport = { done, wrong: failures, lost: count('lost'), reordered: count('reordered') }
  process.send!(report)
  // What it has closed its peer may not know of yet: the last FIN may be lost.
  process.once('message', async () => {
    // What is recorded is written by the end of the machine.
    await machine?.machine.stop().catch(() => {})
    process.exit(0)
  })
}

async function startStack(): Promise<{ readonly machine: OwnMachine; readonly host: Host }> {
  const { faults, discipline, cpus, pcap, seed } = options
  const tun = openTun({ name: 'df0', kind: 'tun', queues: cpus })
  configureInterface(tun.name, { address: `${KERNEL}/24`, queueLength: QUEUE_LENGTH, up: true })
  const { name, descriptors } = tun
  const owners = Array.from({ length: cpus }, (_, i) => i)
  const plain: DeviceSpec = { kind: 'tun', name, descriptors, cpus: owners, mtu: interfaceMtu(name) }
  const recorded: DeviceSpec =
    pcap === undefined ? plain : { kind: 'capture', of: plain, path: pcap, wallUs: Date.now() * 1000 }
  const device: DeviceSpec =
    Object.keys(faults).length === 0 ? recorded : { kind: 'fault', of: recorded, seed, ...faults }
  const config = {
    name: 'host',
    index: 0,
    cpus: owners,
    programs: cpus === 1 ? [] : [cpus],
    discipline,
    interfaces: [{ name, device, addresses: [`${STACK}/24`] }],
  }
  const program = new URL('../src/node/start-program.js', import.meta.url)
  const machine = cpus === 1 ? await bootInline() : await bootThreads({ workers: cpus, program, data: config })
  // Why a CPU has stopped, which the connections only notice.
  machine.done.catch(fail)
  return { machine, host: await standHost(machine, config) }
}
