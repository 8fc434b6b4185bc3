// What the load device costs itself: a question made and its answer taken, against a null stack, which exchanges the
// addresses in the packet that came and sends it back at once, on the same thread. Held against what is not the device's:
// the mbuf, the copy, and the null stack.
//   node dist/bench/load.js [--rounds 5] [--count 4000000] [--connections 1024]
import { parseArgs } from 'node:util'
import type { Address } from '../src/base/struct.ts'
import type { LoadOptions, LoadWorkload } from '../src/device/load/options.ts'
import { LoadQueue } from '../src/device/load/queue.ts'
import { loadErrors, readLoad } from '../src/device/load/reading.ts'
import { loadRegions } from '../src/device/load/region.ts'
import { Mbuf, Mbufs } from '../src/device/mbuf.ts'
import { type Cpu, simulate } from '../src/kernel.ts'
import { compare, print } from './report.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    count: { type: 'string', default: '4000000' },
    connections: { type: 'string', default: '1024' },
    only: { type: 'string', default: '' },
  },
})
const rounds = Number(values.rounds)
const count = Number(values.count)
const connections = Number(values.connections)
/** Packets taken in a turn, as by the run loop. */
const BURST = 64
const QUESTION_BYTES = 104

const DATA = Mbuf.offset.data >> 2
const LENGTH = Mbuf.offset.length >> 2
const TOTAL = Mbuf.offset.total >> 2

/** Of this process on a processor, and not of what else the computer does. */
function secondsSince(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began)
  return (user + system) / 1e6
}

interface Taker {
  transmit(packet: Address): void
}

/**
 * Turns the packet into an answer, in place: the addresses and ports are exchanged, and of TCP the numbers; what TCP's
 * client has sent is acknowledged. A SYN is answered with one, its options sent back.
 */
class NullStack {
  readonly #view: DataView
  readonly #u8: Uint8Array
  readonly #i32: Int32Array
  readonly #mbufs: Mbufs
  readonly #queue: Taker

  constructor(cpu: Cpu, queue: Taker) {
    this.#view = cpu.memory.view
    this.#u8 = cpu.memory.u8
    this.#i32 = cpu.memory.i32
    this.#mbufs = Mbufs.of(cpu)
    this.#queue = queue
  }

  readonly input = (packet: Address): void => {
    const view = this.#view
    const data = this.#i32[(packet >> 2) + DATA]!
    const client = view.getInt32(data + 12)
    view.setInt32(data + 12, view.getInt32(data + 16))
    view.setInt32(data + 16, client)
    const port = view.getUint16(data + 20)
    view.setUint16(data + 20, view.getUint16(data + 22))
    view.setUint16(data + 22, port)
    if (this.#u8[data + 9] === 6 && !this.#answer(packet, data)) this.#mbufs.free(packet)
    else this.#queue.transmit(packet)
  }

  #answer(packet: Address, data: Address): boolean {
    const view = this.#view
    const flags = this.#u8[data + 33]!
    const payload = this.#i32[(packet >> 2) + LENGTH]! - 20 - ((this.#u8[data + 32]! >>> 4) << 2)
    // A bare acknowledgment has no answer.
    if (payload === 0 && (flags & 3) === 0) return false
    const sequence = view.getInt32(data + 24)
    view.setInt32(data + 24, view.getInt32(data + 28))
    view.setInt32(data + 28, (sequence + payload + (flags & 3 ? 1 : 0)) | 0)
    this.#u8[data + 33] = flags | 16
    return true
  }
}

async function runLoad(workload: LoadWorkload, offload: boolean): Promise<number> {
  const load: LoadOptions = {
    name: 'bench',
    cpus: [0],
    connections,
    workload,
    server: '10.0.0.1',
    port: 7,
    offload,
  }
  const machine = simulate({ cpus: 1, seed: 1, regions: loadRegions(load) })
  const cpu = machine.cpus[0]!
  const queue = new LoadQueue(cpu, load)
  const { input } = new NullStack(cpu, queue)
  const turns = (most: number) => {
    const sent = readLoad(machine.memory, load).counts.sent
    let made = 0
    // The handshakes are a part of the first round, which is not counted.
    while (made < most) {
      made += queue.receive(BURST, input)
      queue.flush()
    }
    return readLoad(machine.memory, load).counts.sent - sent
  }
  turns(200_000)
  const began = process.cpuUsage()
  const done = turns(count)
  const rate = done / secondsSince(began)
  const errors = loadErrors(readLoad(machine.memory, load))
  if (Object.keys(errors).length > 0) throw new Error(`${workload}: ${JSON.stringify(errors)}`)
  queue.close()
  await machine.stop()
  return rate
}

/** What is not the device's: an mbuf, a copy of as much as a question is, the null stack, and the mbuf freed. */
async function runNothing(): Promise<number> {
  const machine = simulate({ cpus: 1, seed: 1 })
  const cpu = machine.cpus[0]!
  const mbufs = Mbufs.of(cpu)
  const { i32, u8, routines } = cpu.memory
  const source = mbufs.allocate()
  const from = i32[(source >> 2) + DATA]!
  // Of TCP, with data.
  u8[from + 9] = 6
  u8[from + 32] = 0x50
  const { input } = new NullStack(cpu, { transmit: (packet) => mbufs.free(packet) })
  const turns = (most: number) => {
    for (let made = 0; made < most; made++) {
      const packet = mbufs.allocate()
      routines.copy(i32[(packet >> 2) + DATA]!, from, QUESTION_BYTES)
      i32[(packet >> 2) + LENGTH] = QUESTION_BYTES
      i32[(packet >> 2) + TOTAL] = QUESTION_BYTES
      input(packet)
    }
  }
  turns(200_000)
  const began = process.cpuUsage()
  turns(count)
  const rate = count / secondsSince(began)
  mbufs.free(source)
  await machine.stop()
  return rate
}

// Of one process, later runs meet code that was compiled for earlier ones: `--only udp` measures one kind by itself.
const results = await compare(
  [
    { name: 'no load: mbuf, copy, null stack', run: runNothing },
    { name: 'exchange', run: () => runLoad('exchange', false) },
    { name: 'exchange, checksums offloaded', run: () => runLoad('exchange', true) },
    { name: 'udp', run: () => runLoad('udp', false) },
  ].filter(({ name }) => name.startsWith(values.only) || name.startsWith('no load')),
  rounds,
)
print(
  `Questions of 64 B made, and their answers taken (${count} each run, ${connections} connections)`,
  results,
  'M/s',
  1e6,
)
const ns = results.map(({ median }) => 1e9 / median)
for (const [i, { name }] of results.entries()) {
  const own = i === 0 ? '' : `   the device's own ${(ns[i]! - ns[0]!).toFixed(1)} ns`
  console.log(`  ${name.padEnd(44)} ${ns[i]!.toFixed(1).padStart(9)} ns${own}`)
}
