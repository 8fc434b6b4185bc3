// Messages between two CPUs on real threads: one way, and calls with replies, each as a ratio to the bare ring.
//   node dist/bench/message.js [--rounds 5] [--count 20000000] [--ring 256]
import { parseArgs } from 'node:util'
import { boot, CpuCounters, SlabCounters, total } from '../src/kernel.ts'
import { type Mode, Result } from './message-program.ts'
import { compare, print } from './report.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    ring: { type: 'string', default: '256' },
    count: { type: 'string', default: '20000000' },
  },
})
const count = Number(values.count)
const notes = new Map<Mode, string>()

async function run(mode: Mode): Promise<number> {
  const machine = await boot({
    cpus: 2,
    ringEntries: Number(values.ring),
    program: new URL('./message-program.js', import.meta.url),
    data: { mode, count },
    regions: { result: 64, ring: 128 + 256 * 32 },
    spinTurns: Number.POSITIVE_INFINITY,
  })
  const { f64, layout } = machine.memory
  const result = layout.region('result').address >> 3
  while (f64[result + Result.finished] !== 1) await new Promise((resolve) => setTimeout(resolve, 20))
  await machine.stop()
  const rung = total(machine.memory, CpuCounters, 'doorbellsRung')
  const live = total(machine.memory, SlabCounters, 'allocated') - total(machine.memory, SlabCounters, 'freed')
  const heap = (f64[result + Result.heapBytes]! + f64[result + Result.targetHeapBytes]!) / count
  notes.set(
    mode,
    `doorbells per 1000 messages ${((rung / count) * 1000).toFixed(4)}, V8 heap bytes per message ${heap.toFixed(4)}, objects not freed ${live}`,
  )
  return count / (f64[result + Result.elapsedUs]! / 1e6)
}

const modes: readonly Mode[] = ['ring', 'reused', 'freed', 'call']
const names: { readonly [M in Mode]: string } = {
  ring: 'bare ring, published by sixteens',
  reused: 'one way over a port, messages reused',
  freed: 'one way over a port, messages freed there',
  call: 'call and reply, 256 under way',
}
const results = await compare(
  modes.map((mode) => ({ name: names[mode], run: () => run(mode) })),
  Number(values.rounds),
)
print(`Messages between two CPUs (${count} each run)`, results, 'M/s', 1e6)
for (const mode of modes) if (mode !== 'ring') console.log(`  ${names[mode]}: ${notes.get(mode)}`)
