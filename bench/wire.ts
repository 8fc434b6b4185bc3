// A packet's crossing of a wire (transmit, flush, receive), held against the bare ring of addresses: with both ends on one
// thread, and with a thread for each end. The mbufs are of a fixed pool, so that nothing else is measured.
//   node dist/bench/wire.js [--rounds 5] [--count 20000000] [--entries 512]
import { parseArgs } from 'node:util'
import { Mbufs } from '../src/device/mbuf.ts'
import { type WireOptions, WireQueue, wireRegions } from '../src/device/wire.ts'
import { boot, simulate } from '../src/kernel.ts'
import { compare, print } from './report.ts'
import { type Data, PACKET_BYTES, Result, type Way } from './wire-program.ts'
import { SpscRing } from './wire-ring.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    count: { type: 'string', default: '20000000' },
    entries: { type: 'string', default: '512' },
  },
})
const count = Number(values.count)
const entries = Number(values.entries)
const rounds = Number(values.rounds)
/** Packets that cross together, as many as a device takes in a turn. */
const BURST = 64

/** Both ends on this thread. `cpus` 2: two CPUs, as a simulation or an inline machine has them. */
async function oneThread(way: Way, cpus: 1 | 2): Promise<number> {
  const wire: WireOptions = { name: 'bench', a: [0], b: [cpus - 1], entries }
  const machine = simulate({ cpus, seed: 1, regions: { ...wireRegions(wire), ring: SpscRing.bytes(entries) } })
  const { memory } = machine
  const mbufs = Mbufs.of(machine.cpus[0]!)
  const packets = new Int32Array(BURST)
  for (let i = 0; i < BURST; i++) packets[i] = mbufs.copyFrom(new Uint8Array(PACKET_BYTES))
  const a = new WireQueue(machine.cpus[0]!, wire, 'a')
  const b = new WireQueue(machine.cpus[cpus - 1]!, wire, 'b')
  const ring = new SpscRing(memory.i32, memory.layout.region('ring').address, entries)
  let received = 0
  const deliver = (packet: number) => {
    packets[received++] = packet
  }
  const viaWire = () => {
    for (let i = 0; i < BURST; i++) a.transmit(packets[i]!)
    a.flush()
    received = 0
    b.receive(BURST, deliver)
  }
  const viaRing = () => {
    for (let i = 0; i < BURST; i++) ring.push(packets[i]!)
    ring.publish()
    received = 0
    ring.take(BURST, deliver)
  }
  const cross = way === 'wire' ? viaWire : viaRing
  const began = performance.now()
  for (let crossed = 0; crossed < count; crossed += BURST) cross()
  const elapsedMs = performance.now() - began
  await machine.stop()
  return count / (elapsedMs / 1e3)
}

async function twoThreads(way: Way): Promise<number> {
  const data: Data = { way, count, entries }
  const machine = await boot({
    cpus: 2,
    program: new URL('./wire-program.js', import.meta.url),
    data,
    regions: {
      ...wireRegions({ name: 'bench', a: [0], b: [1], entries }),
      ring: 2 * SpscRing.bytes(entries),
      result: 64,
    },
    spinTurns: Number.POSITIVE_INFINITY,
  })
  const { f64, layout } = machine.memory
  const result = layout.region('result').address >> 3
  while (f64[result + Result.finished] !== 1) await new Promise((resolve) => setTimeout(resolve, 20))
  await machine.stop()
  return count / (f64[result + Result.elapsedUs]! / 1e6)
}

const one = await compare(
  [
    { name: 'bare ring of addresses', run: () => oneThread('ring', 1) },
    { name: 'wire, both ends on one CPU', run: () => oneThread('wire', 1) },
    { name: 'wire, two CPUs of one thread', run: () => oneThread('wire', 2) },
  ],
  rounds,
)
const two = await compare(
  [
    { name: 'bare ring of addresses', run: () => twoThreads('ring') },
    { name: 'wire', run: () => twoThreads('wire') },
  ],
  rounds,
)
print(`Crossings of a wire, one thread (${count} each run, ${PACKET_BYTES} B, by ${BURST})`, one, 'M/s', 1e6)
for (const { name, median } of one) console.log(`  ${name.padEnd(44)} ${(1e9 / median).toFixed(1).padStart(9)} ns`)
print(`Crossings of a wire, two threads, there and back`, two, 'M/s', 1e6)
for (const { name, median } of two) console.log(`  ${name.padEnd(44)} ${(1e9 / median).toFixed(1).padStart(9)} ns`)
