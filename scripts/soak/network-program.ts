// Hosts of one process on a network of bad links: servers that end and begin again, clients by the dozen, some of which go away in the
// middle, datagrams, and another discipline every so often.
import { once } from 'node:events'
import type { Server, Socket } from 'node:net'
import { Random } from '../../src/base/random.ts'
import type { DeviceSpec } from '../../src/device/spec.ts'
import { DISCIPLINES, type Discipline } from '../../src/net/discipline.ts'
import { bootInline, standHost } from '../../test/own-host.ts'
import { converse, serve, someExchange } from '../../test/peer-stream.ts'
import { leave, type PartOptions, rounds, tell } from './part.ts'

const PORT = 9000
const CLIENTS = 12
const LARGEST = 100_000
const FAULTS = { loss: 0.005, delayUs: 1000, jitterUs: 500, reorder: 0.01, reorderUs: 2000 }
/** Rounds of one discipline, and of one server program. */
const ROUNDS_OF_DISCIPLINE = 7
const ROUNDS_OF_SERVER = 3

const options = JSON.parse(process.argv[2]!) as PartOptions
const random = new Random(options.seed)
try {
  await main()
} catch (error) {
  tell({ error: (error as Error).stack ?? String(error) })
}
leave()

async function main(): Promise<void> {
  const machine = await bootInline()
  const stand = (name: string, index: number) => {
    const port: DeviceSpec = { kind: 'hub', hub: { name: 'network' }, port: index, cpu: 0 }
    const device: DeviceSpec = { kind: 'fault', of: port, direction: 'out', seed: options.seed + index, ...FAULTS }
    const interfaces = [{ name: 'eth0', device, addresses: [`10.0.0.${index + 1}/24`] }]
    return standHost(machine, { name, index, cpus: [0], interfaces })
  }
  const server = await stand('server', 0)
  const client = await stand('client', 1)
  let listener: Server | undefined
  const restart = async () => {
    if (listener !== undefined) {
      listener.close()
      await once(listener, 'close')
    }
    listener = server.net.createServer({ allowHalfOpen: true }, (socket: Socket) => {
      socket.on('error', () => {})
      // One whose client goes away in the middle is nobody's fault.
      serve(socket).catch(() => socket.destroy())
    })
    listener.listen(PORT)
    await once(listener, 'listening')
  }
  const exchange = async () => {
    const socket = client.net.connect({ host: '10.0.0.1', port: PORT, allowHalfOpen: true })
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
    for (let i = 0; i < 20; i++) socket.send(Buffer.alloc(random.below(3000)), 7, '10.0.0.1')
    await new Promise((resolve) => setTimeout(resolve, 5))
    socket.close()
  }
  await rounds(options, machine.cpu, async (number) => {
    if (number % ROUNDS_OF_SERVER === 0) await restart()
    if (number % ROUNDS_OF_DISCIPLINE === 0) {
      const discipline: Discipline = DISCIPLINES[(number / ROUNDS_OF_DISCIPLINE) % DISCIPLINES.length]!
      await Promise.all([server.setDiscipline(discipline), client.setDiscipline(discipline)])
    }
    await Promise.all([...Array.from({ length: CLIENTS }, exchange), datagrams()])
    return CLIENTS
  })
  listener?.close()
  await Promise.all([server.close(), client.close()])
  await machine.stop()
}
