// What the one CPU of tcp-memory.ts and tcp-idle.ts runs: two hosts with a wire between them, the services on one, a load
// on the other.
import type { WireOptions, WireSide } from '../src/device/wire.ts'
import type { Cpu } from '../src/kernel.ts'
import { counterSet } from '../src/kernel.ts'
import { Block, serveAll } from '../src/lab/tun/service.ts'
import { HostCounters } from '../src/net/counters.ts'
import { type HostConfig, Stack } from '../src/stack.ts'
import { bulkOut, connectMany, exchange } from './tcp-load.ts'

export const SERVER_ADDRESS = '10.0.0.2'

/** Both ends on the one CPU. A question of each of 10 000 connections finds a place: a full wire is not what is measured. */
export function wireOf({ connections }: MemoryData): WireOptions {
  return { name: 'wire0', a: [0], b: [0], entries: connections > 1000 ? 16384 : 4096 }
}

/** Ports of connections that do nothing: each has its own 16 384 dynamic ports at the client. */
const IDLE_PORTS = Array.from({ length: 16 }, (_, index) => 7000 + index)

/** What the machine's memory holds now, for the reader outside: bytes of live objects and of zones, and V8's heap. */
export const MemoryCounters = counterSet('memory', ['liveBytes', 'zoneBytes', 'heapBytes'] as const)

const ZONE_BYTES = 256 * 1024
const MEASURE_US = 100_000

export interface MemoryData {
  /** `bulk`, `exchange`: see tcp-load.ts. `idle`: connections that are opened and do nothing. */
  readonly load: 'bulk' | 'exchange' | 'idle'
  readonly connections: number
}

export default function program(cpu: Cpu, data: MemoryData): void {
  const wire = wireOf(data)
  const server = new Stack(cpu, host('server', 0, 'b', SERVER_ADDRESS, wire))
  const client = new Stack(cpu, host('client', 1, 'a', '10.0.0.1', wire))
  const memory = client.context.count(MemoryCounters)
  const measure = () => {
    let live = 0
    let zones = 0
    for (const reading of cpu.slab.read()) {
      live += reading.live * reading.objectBytes
      zones += reading.zones * ZONE_BYTES
    }
    memory[MemoryCounters.index.liveBytes] = live
    memory[MemoryCounters.index.zoneBytes] = zones
    memory[MemoryCounters.index.heapBytes] = process.memoryUsage().heapUsed
    cpu.timers.after(MEASURE_US, measure)
  }
  cpu.threads.start('the hosts start', function* (thread) {
    yield* server.start(thread)
    yield* client.start(thread)
    let listening = 0
    let services = serveAll(server, () => listening++)
    for (const port of data.load === 'idle' ? IDLE_PORTS : []) {
      services++
      server.tcp.listen({ port, perCpu: true, backlog: 4096 }, (error, listener) => {
        if (error !== undefined) throw error
        listener.onConnection = () => {}
        listening++
      })
    }
    yield* thread.until(() => listening === services)
    if (data.load === 'idle') measure()
    client.context.count(HostCounters)[HostCounters.index.ready]!++
    const block = new Block()
    if (data.load === 'bulk') bulkOut(client, SERVER_ADDRESS, data.connections, block)
    else if (data.load === 'exchange') exchange(client, SERVER_ADDRESS, data.connections, block)
    else connectMany(client, SERVER_ADDRESS, IDLE_PORTS, data.connections, () => {})
  })
}

function host(name: string, index: number, side: WireSide, address: string, wire: WireOptions): HostConfig {
  const device = { kind: 'wire', wire, side } as const
  return { name, index, cpus: [0], interfaces: [{ name: 'wire0', device, addresses: [`${address}/24`] }] }
}
