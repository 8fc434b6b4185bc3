// A host on TUN, with the kernel's TCP at the other end: a server whose program ends and begins again under clients that are programs of their
// own, each for a few dozen connections, and connections of its own to the kernel. Node's sockets are this thread's; with several CPUs each has
// a queue of the device, and programs of its own besides (member.ts).
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Random } from '../../src/base/random.ts'
import { configureInterface, interfaceMtu, QUEUE_LENGTH } from '../../src/device/linux/interface.ts'
import { openTun } from '../../src/device/linux/tun.ts'
import type { DeviceSpec } from '../../src/device/spec.ts'
import { converse, serve, someExchange } from '../../test/peer-stream.ts'
import { Crew, MEMBER_PORT } from './crew.ts'
import { SoakMachine } from './machine.ts'
import { type PartOptions, Rounds, runPart } from './part.ts'
import type { ClientOptions, ClientReport } from './tun-client.ts'

const KERNEL = '10.77.0.1'
const STACK = '10.77.0.2'
const PORT = 9000
const ECHO_PORT = 9001
const CLIENT = fileURLToPath(new URL('./tun-client.js', import.meta.url))
const CONNECTIONS = 40
const ECHOES = 12
const OWN = 8
const LARGEST = 100_000
/** Rounds of a member's server, and of a discipline: also such as have the one without the other. */
const ROUNDS_OF_MEMBER = 2
const ROUNDS_OF_DISCIPLINE = 3
/** Until then a client on the kernel has begun, and spoken. */
const AMID_MS = 800

await runPart(main)

async function main(options: PartOptions): Promise<void> {
  const { cpus } = options
  const random = new Random(options.seed)
  const tun = openTun({ name: 'df0', kind: 'tun', queues: cpus, vnetHeader: true })
  configureInterface(tun.name, { address: `${KERNEL}/24`, queueLength: QUEUE_LENGTH, up: true })
  const { name, descriptors, vnetHeader } = tun
  const all = SoakMachine.cpusOf(cpus)
  const device: DeviceSpec = { kind: 'tun', name, descriptors, vnetHeader, cpus: all.cpus, mtu: interfaceMtu(name) }
  const interfaces = [{ name, device, addresses: [`${STACK}/24`] }]
  const machine = await SoakMachine.boot({ cpus, hosts: [{ name: 'host', index: 0, ...all, interfaces }] })
  const host = machine.hosts[0]!
  const rounds = new Rounds(options, machine)
  const kernel = await listening(createServer({ allowHalfOpen: true }, answer), PORT)
  const echo = await listening(createServer({ allowHalfOpen: true }, sendBack), ECHO_PORT)
  const target = () => ({ address: KERNEL, port: ECHO_PORT })
  const crew = new Crew(machine, rounds, { server: 0, client: 0, target, amidMs: AMID_MS, random })
  await crew.begin()
  await rounds.run(async (number) => {
    const isRestart = number % ROUNDS_OF_MEMBER === 0
    const server = await listening(host.net.createServer({ allowHalfOpen: true }, answer), PORT)
    rounds.progress.restarts++
    const own = Array.from({ length: OWN }, async () => {
      const socket = host.net.connect({ host: KERNEL, port: PORT, allowHalfOpen: true })
      await once(socket, 'connect')
      await converse(socket, someExchange(random, LARGEST))
    })
    const [{ cut }] = await Promise.all([
      runClient(cpus, random.next() >>> 0),
      crew.talk(false),
      isRestart ? crew.restart() : undefined,
      number % ROUNDS_OF_DISCIPLINE === 0 ? crew.changeDiscipline(1) : undefined,
      ...own,
    ])
    if (cut > 0 && !isRestart) throw new Error(`${cut} echoes were cut off, and no server has ended`)
    rounds.add({ whole: CONNECTIONS + ECHOES + OWN - cut, busy: 0, cut, wrong: 0 })
    server.close()
    await once(server, 'close')
  })
  kernel.close()
  echo.close()
  await crew.end()
  await host.close()
  await machine.quiet()
  await machine.stop()
  tun.close()
}

function answer(socket: Socket): void {
  socket.on('error', () => {})
  serve(socket).catch(() => socket.destroy())
}

function sendBack(socket: Socket): void {
  // A client of a member may reset it.
  socket.on('error', () => {})
  socket.pipe(socket)
}

async function listening(server: Server, port: number): Promise<Server> {
  server.listen(port)
  await once(server, 'listening')
  return server
}

/** A program on the kernel: it begins, connects, and ends. */
async function runClient(cpus: number, seed: number): Promise<ClientReport> {
  const given: ClientOptions = {
    address: STACK,
    port: PORT,
    seed,
    connections: CONNECTIONS,
    largest: LARGEST,
    echoes: ECHOES,
    echoPorts: Array.from({ length: cpus }, (_, member) => MEMBER_PORT + member),
  }
  const child: ChildProcess = fork(CLIENT, [JSON.stringify(given)], { execArgv: [], stdio: 'inherit' })
  let report: ClientReport | undefined
  child.once('message', (message: ClientReport) => {
    report = message
  })
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  if (code !== 0 || report === undefined) throw new Error(`the client ended by ${signal ?? code}`)
  return report
}
