// What a connection that does nothing costs: 100 000 of them between two hosts in one machine, and the bytes of the
// machine's memory that they take, at both ends. The CPU's time in which all of them are idle is shown, too.
//
//   node dist/bench/tcp-idle.js [--connections 100000]
import { parseArgs } from 'node:util'
import { wireRegions } from '../src/device/wire.ts'
import { boot, total } from '../src/kernel.ts'
import { untilHosts } from '../src/lab/tun/service-machine.ts'
import { LoadCounters } from './tcp-load.ts'
import { MemoryCounters, type MemoryData, wireOf } from './tcp-memory-program.ts'

const { values } = parseArgs({ options: { connections: { type: 'string', default: '100000' } } })
const connections = Number(values.connections)
const BAR_BYTES = 1536
const LIMIT_MS = 120_000
const IDLE_MS = 2000

const data: MemoryData = { load: 'idle', connections }
const program = new URL('./tcp-memory-program.js', import.meta.url)
const machine = await boot({
  cpus: 1,
  program,
  data,
  regions: wireRegions(wireOf(data)),
  memoryBytes: 1536 << 20,
  seed: 1,
})
try {
  await untilHosts(machine, 1)
  const wait = (ms: number) => Promise.race([machine.done, new Promise<void>((resolve) => setTimeout(resolve, ms))])
  const read = () => ({
    live: total(machine.memory, MemoryCounters, 'liveBytes'),
    zones: total(machine.memory, MemoryCounters, 'zoneBytes'),
    heap: total(machine.memory, MemoryCounters, 'heapBytes'),
  })
  const before = read()
  const began = performance.now()
  let opened = 0
  while (opened < connections) {
    await wait(20)
    opened = total(machine.memory, LoadCounters, 'connected')
    if (performance.now() - began > LIMIT_MS) throw new Error(`${opened} connections after ${LIMIT_MS} ms`)
  }
  const openedMs = performance.now() - began
  // What the handshakes held has gone back, and the figures are written again.
  await wait(IDLE_MS)
  const cpu = process.cpuUsage()
  await wait(IDLE_MS)
  const { user, system } = process.cpuUsage(cpu)
  const after = read()
  const ended = total(machine.memory, LoadCounters, 'ended')
  if (ended > 0) throw new Error(`${ended} idle connections ended of themselves`)

  const each = (bytes: number) => (bytes / (2 * connections)).toFixed(0).padStart(7)
  console.log(`\n${connections} idle connections between two hosts on one CPU: ${2 * connections} ends`)
  console.log(`  opened in                    ${(openedMs / 1000).toFixed(2).padStart(9)} s`)
  console.log(`  machine memory, live objects ${each(after.live - before.live)} bytes for each end`)
  console.log(`  machine memory, zones taken  ${each(after.zones - before.zones)} bytes for each end`)
  console.log(`  V8 heap of the programs      ${each(after.heap - before.heap)} bytes for each end`)
  console.log(`  process busy while idle      ${(((user + system) / (IDLE_MS * 1000)) * 100).toFixed(1).padStart(7)} %`)
  const is = (after.live - before.live) / (2 * connections)
  console.log(`  ${is <= BAR_BYTES ? 'reached' : 'MISSED '}  ${is.toFixed(0)} bytes for each end, wanted ${BAR_BYTES}`)
} finally {
  await machine.stop()
}
