// Hosts of one machine on a bad link: servers that end and begin again, clients by the dozen, some of which go away in the middle, datagrams, and
// another discipline every so often. Node's sockets are this thread's; with several CPUs each has a program of its own besides (member.ts).
import { once } from 'node:events'
import type { Server, Socket } from 'node:net'
import { Random } from '../../src/base/random.ts'
import { type DeviceSpec, deviceRegions } from '../../src/device/spec.ts'
import type { HostConfig } from '../../src/net/config.ts'
import { converse, serve, someExchange } from '../../test/peer-stream.ts'
import { Crew, MEMBER_PORT } from './crew.ts'
import { SoakMachine } from './machine.ts'
import { type PartOptions, Rounds, runPart } from './part.ts'

const ADDRESS = '10.0.0.1'
const PORT = 9000
const CLIENTS = 12
const LARGEST = 100_000
const FAULTS = { loss: 0.005, delayUs: 1000, jitterUs: 500, reorder: 0.01, reorderUs: 2000 }
/** Rounds of one discipline, and of one server program. */
const ROUNDS_OF_DISCIPLINE = 3
const ROUNDS_OF_SERVER = 2
const AMID_MS = 200
const SERVER = 0
const CLIENT = 1

await runPart(main)

async function main(options: PartOptions): Promise<void> {
  const random = new Random(options.seed)
  const hosts = hostsOf(options)
  const regions = deviceRegions(hosts.flatMap(({ interfaces }) => interfaces.map(({ device }) => device)))
  const machine = await SoakMachine.boot({ cpus: options.cpus, hosts, regions })
  const server = machine.hosts[SERVER]!
  const client = machine.hosts[CLIENT]!
  const rounds = new Rounds(options, machine)
  const crew = new Crew(machine, rounds, {
    server: SERVER,
    client: CLIENT,
    // The next one's; of one that is alone, its own.
    target: (member) => ({ address: ADDRESS, port: MEMBER_PORT + ((member + 1) % options.cpus) }),
    amidMs: AMID_MS,
    random,
  })
  let listener: Server | undefined
  const restart = async () => {
    if (listener !== undefined) {
      listener.close()
      await once(listener, 'close')
    }
    rounds.progress.restarts++
    listener = server.net.createServer({ allowHalfOpen: true }, (socket: Socket) => {
      socket.on('error', () => {})
      // One whose client goes away in the middle is nobody's fault.
      serve(socket).catch(() => socket.destroy())
    })
    listener.listen(PORT)
    await once(listener, 'listening')
  }
  const exchange = async () => {
    rounds.progress.connections++
    const socket = client.net.connect({ host: ADDRESS, port: PORT, allowHalfOpen: true })
    await once(socket, 'connect')
    if (random.chance(0.1)) {
      socket.on('error', () => {})
      socket.write('gone')
      socket.destroy()
      return
    }
    await converse(socket, someExchange(random, LARGEST))
  }
  const datagrams = async () => {
    const socket = client.dgram.createSocket('udp4')
    socket.bind(0)
    await once(socket, 'listening')
    for (let i = 0; i < 20; i++) socket.send(Buffer.alloc(random.below(3000)), 7, ADDRESS)
    await new Promise((resolve) => setTimeout(resolve, 5))
    socket.close()
  }
  await crew.begin()
  const isWhole = await rounds.run(async (number) => {
    const isRestart = number % ROUNDS_OF_SERVER === 0
    if (isRestart) await restart()
    await Promise.all([
      ...Array.from({ length: CLIENTS }, exchange),
      datagrams(),
      crew.talk(isRestart),
      isRestart ? crew.restart() : undefined,
      number % ROUNDS_OF_DISCIPLINE === 0 ? crew.changeDiscipline(hosts.length) : undefined,
    ])
  })
  listener?.close()
  await crew.end()
  await Promise.all([server.close(), client.close()])
  // All TIME-WAITs are over then.
  await machine.quiet(isWhole)
  await machine.stop()
}

/** Two hosts on all CPUs; between them a wire with a queue for each, or a hub where there is one CPU. */
function hostsOf({ cpus, seed }: PartOptions): HostConfig[] {
  const all = SoakMachine.cpusOf(cpus)
  const link = (index: number): DeviceSpec =>
    cpus === 1
      ? { kind: 'hub', hub: { name: 'network' }, port: index, cpu: 0 }
      : {
          kind: 'wire',
          wire: { name: 'network', a: all.cpus, b: all.cpus, entries: 4096 },
          side: index === 0 ? 'a' : 'b',
        }
  return ['server', 'client'].map((name, index) => {
    const device: DeviceSpec = { kind: 'fault', of: link(index), direction: 'out', seed: seed + index, ...FAULTS }
    return { name, index, ...all, interfaces: [{ name: 'eth0', device, addresses: [`10.0.0.${index + 1}/24`] }] }
  })
}
