// A host on TUN, with the kernel's TCP at the other end: a server whose program ends and begins again under clients that are programs of their
// own, each for a few dozen connections, and connections of its own to the kernel.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Random } from '../../src/base/random.ts'
import { configureInterface, interfaceMtu, QUEUE_LENGTH } from '../../src/device/linux/interface.ts'
import { openTun } from '../../src/device/linux/tun.ts'
import type { DeviceSpec } from '../../src/device/spec.ts'
import { DISCIPLINES, type Discipline } from '../../src/net/discipline.ts'
import { bootInline, standHost } from '../../test/own-host.ts'
import { converse, serve, someExchange } from '../../test/peer-stream.ts'
import { leave, type PartOptions, rounds, tell } from './part.ts'

const KERNEL = '10.77.0.1'
const STACK = '10.77.0.2'
const PORT = 9000
const CLIENT = fileURLToPath(new URL('./tun-client.js', import.meta.url))
const CONNECTIONS = 40
const OWN = 8
const LARGEST = 100_000
const ROUNDS_OF_DISCIPLINE = 2

const options = JSON.parse(process.argv[2]!) as PartOptions
const random = new Random(options.seed)
try {
  await main()
} catch (error) {
  tell({ error: (error as Error).stack ?? String(error) })
}
leave()

async function main(): Promise<void> {
  const tun = openTun({ name: 'df0', kind: 'tun', queues: 1, vnetHeader: true })
  configureInterface(tun.name, { address: `${KERNEL}/24`, queueLength: QUEUE_LENGTH, up: true })
  const { name, descriptors, vnetHeader } = tun
  const device: DeviceSpec = { kind: 'tun', name, descriptors, vnetHeader, cpus: [0], mtu: interfaceMtu(name) }
  const machine = await bootInline()
  const interfaces = [{ name, device, addresses: [`${STACK}/24`] }]
  const host = await standHost(machine, { name: 'host', index: 0, cpus: [0], interfaces })
  const kernel = await listening(createServer({ allowHalfOpen: true }, answer))
  await rounds(options, machine.cpu, async (number) => {
    const server = await listening(host.net.createServer({ allowHalfOpen: true }, answer))
    if (number % ROUNDS_OF_DISCIPLINE === 0) {
      const discipline: Discipline = DISCIPLINES[(number / ROUNDS_OF_DISCIPLINE) % DISCIPLINES.length]!
      await host.setDiscipline(discipline)
    }
    const own = Array.from({ length: OWN }, async () => {
      const socket = host.net.connect({ host: KERNEL, port: PORT, allowHalfOpen: true })
      await once(socket, 'connect')
      await converse(socket, someExchange(random, LARGEST))
    })
    await Promise.all([runClient(), ...own])
    server.close()
    await once(server, 'close')
    return CONNECTIONS + OWN
  })
  kernel.close()
  await host.close()
  await machine.stop()
  tun.close()
}

function answer(socket: Socket): void {
  socket.on('error', () => {})
  serve(socket).catch(() => socket.destroy())
}

async function listening(server: Server): Promise<Server> {
  server.listen(PORT)
  await once(server, 'listening')
  return server
}

/** A program on the kernel: it begins, connects, and ends. */
async function runClient(): Promise<void> {
  const given = JSON.stringify({
    address: STACK,
    port: PORT,
    seed: random.next() >>> 0,
    connections: CONNECTIONS,
    largest: LARGEST,
  })
  const child: ChildProcess = fork(CLIENT, [given], { execArgv: [], stdio: 'inherit' })
  const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  if (code !== 0) throw new Error(`the client ended by ${signal ?? code}`)
}
