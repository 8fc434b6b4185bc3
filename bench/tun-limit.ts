// How many packets a second can one Node thread take from a TUN device and give back, at the very most? The smallest
// program there is: read, swap the addresses and ports, write. No stack that reads and writes packet by packet can be
// faster; what the real one reaches is told as a part of this (`swapLoop` is there to run in turn with it).
//
//   node tun-limit.js [--runs 5] [--seconds 2] [--window 256] [--payload 64]
//
// The load comes from bench/udp-client.ts, through the kernel, in a namespace of its own: one core for each.
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { assert } from '../src/base/assert.ts'
import { configureInterface } from '../src/device/linux/interface.ts'
import { libc } from '../src/device/linux/library.ts'
import { openTun } from '../src/device/linux/tun.ts'
import { available, Namespace, output } from '../src/lab/tun/namespace.ts'
import { costOfNothing, type UdpClientResult } from './udp-client.ts'

const EAGAIN = 11
/** Where in the memory a packet lies. */
const PACKET = 4096
const PACKET_BYTES = 2048
/** The loop looks at the clock after so many reads: 50 ns each would be a tenth of its time. */
const READS_PER_LOOK = 64

export interface SwapResult {
  /** Given back. */
  readonly packets: number
  /** Reads that found no packet. */
  readonly empty: number
  readonly elapsedMs: number
}

/**
 * Gives packets back to `descriptor`, spinning, until `performance.now()` is `untilMs`. Each lies at byte 4096 of
 * `memory` meanwhile; what is not UDP or an echo request of IPv4 without options is dropped.
 */
export function swapLoop(descriptor: number, memory: WebAssembly.Memory, untilMs: number): SwapResult {
  const system = libc()
  const u8 = new Uint8Array(memory.buffer)
  const u32 = new Uint32Array(memory.buffer)
  const pointer = system.pointer(u8) + PACKET
  const startMs = performance.now()
  let packets = 0
  let empty = 0
  do {
    for (let reads = 0; reads < READS_PER_LOOK; reads++) {
      const bytes = system.read(descriptor, pointer, PACKET_BYTES)
      if (bytes <= 0) {
        assert(bytes === -EAGAIN, 'the TUN device can be read')
        empty++
        continue
      }
      if (!swap(u8, u32)) continue
      if (system.write(descriptor, pointer, bytes) === bytes) packets++
    }
  } while (performance.now() < untilMs)
  return { packets, empty, elapsedMs: performance.now() - startMs }
}

/** Turns the packet round; false where it is none that is answered. Sums do not change when their words change places. */
function swap(u8: Uint8Array, u32: Uint32Array): boolean {
  if (u8[PACKET] !== 0x45) return false
  const source = u32[(PACKET + 12) >>> 2]!
  const protocol = u8[PACKET + 9]
  if (protocol === 17) {
    const ports = u32[(PACKET + 20) >>> 2]!
    u32[(PACKET + 20) >>> 2] = (ports << 16) | (ports >>> 16)
  } else if (protocol === 1 && u8[PACKET + 20] === 8) {
    u8[PACKET + 20] = 0
    // RFC 1624: the word with the type fell by 0x0800, so the checksum rises by that.
    const sum = ((u8[PACKET + 22]! << 8) | u8[PACKET + 23]!) + 0x0800
    const folded = (sum & 0xffff) + (sum >>> 16)
    u8[PACKET + 22] = folded >>> 8
    u8[PACKET + 23] = folded
  } else return false
  u32[(PACKET + 12) >>> 2] = u32[(PACKET + 16) >>> 2]!
  u32[(PACKET + 16) >>> 2] = source
  return true
}

interface Run {
  readonly client: UdpClientResult
  /** Part of the loop's time in which it was not looking for packets that had not come yet. */
  readonly swapBusy: number
  /** CPU time of the loop's process by time. */
  readonly swapCpu: number
}

const options = {
  runs: { type: 'string', default: '5' },
  seconds: { type: 'string', default: '2' },
  window: { type: 'string', default: '256' },
  payload: { type: 'string', default: '64' },
  inside: { type: 'boolean', default: false },
} as const

/** In the namespace: the loop, and a client process for each run. Prints a line of JSON for each. */
async function inside(clientArguments: readonly string[], runs: number): Promise<void> {
  const device = openTun({ name: 'df0', kind: 'tun', queues: 1 })
  configureInterface('df0', { address: '10.77.0.1/24', up: true })
  const descriptor = device.descriptors[0]!
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
  const system = libc()
  const pointer = system.pointer(new Uint8Array(memory.buffer)) + PACKET
  const emptyMs = costOfNothing(() => system.read(descriptor, pointer, PACKET_BYTES))
  for (let run = 0; run < runs; run++) {
    const client = spawn(process.execPath, clientArguments)
    let printed: string | undefined
    const ended = output(client).then((text) => {
      printed = text
    })
    // Slices, between which the event loop hears that the client has ended. The first and last ones are not whole.
    const slices: (SwapResult & { readonly cpuMs: number })[] = []
    while (printed === undefined && client.exitCode === null && client.signalCode === null) {
      const cpu = process.cpuUsage()
      const slice = swapLoop(descriptor, memory, performance.now() + 50)
      const used = process.cpuUsage(cpu)
      if (slice.packets > 0) slices.push({ ...slice, cpuMs: (used.user + used.system) / 1000 })
      await new Promise((resolve) => setImmediate(resolve))
    }
    await ended
    const whole = slices.slice(10, -2)
    const elapsedMs = sum(whole.map((slice) => slice.elapsedMs))
    const result: Run = {
      client: JSON.parse(printed ?? '') as UdpClientResult,
      swapBusy: Math.max(0, 1 - (sum(whole.map((slice) => slice.empty)) * emptyMs) / elapsedMs),
      swapCpu: sum(whole.map((slice) => slice.cpuMs)) / elapsedMs,
    }
    console.log(JSON.stringify(result))
  }
  device.close()
}

/** Outside: makes the namespace, runs this file in it, and prints the medians. */
async function outside(values: { runs: string; seconds: string; window: string; payload: string }): Promise<void> {
  const reason = available()
  if (reason !== undefined) {
    console.log(`not measured: ${reason}`)
    return
  }
  const { runs, seconds, window, payload } = values
  const namespace = new Namespace('tun-limit')
  try {
    const self = fileURLToPath(import.meta.url)
    const passed = ['--runs', runs, '--seconds', seconds, '--window', window, '--payload', payload, '--inside']
    const text = await output(
      namespace.spawn(process.execPath, [self, ...passed]),
      Number(runs) * (Number(seconds) + 5) * 1000,
    )
    report(
      text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Run),
      values,
    )
  } finally {
    namespace.remove()
  }
}

function report(runs: readonly Run[], { window, payload }: { window: string; payload: string }): void {
  const rates = runs.map((run) => run.client.packetsPerSecond)
  const rate = median(rates)
  const clientBusy = median(runs.map((run) => run.client.busy))
  const swapBusy = median(runs.map((run) => run.swapBusy))
  const clientCpu = median(runs.map((run) => run.client.cpuMs / run.client.elapsedMs))
  const loopCpu = median(runs.map((run) => run.swapCpu))
  const percent = (part: number) => `${Math.round(part * 100)} %`
  console.log(`TUN, ${payload} B of UDP, ${window} on their way, ${runs.length} runs`)
  console.log(
    `packets/s   median ${rate}, ${Math.min(...rates)} to ${Math.max(...rates)} (${(1e6 / rate).toFixed(2)} µs each)`,
  )
  console.log(`loop        CPU ${percent(loopCpu)}, busy ${percent(swapBusy)}`)
  console.log(`client      CPU ${percent(clientCpu)} (it spins), busy ${percent(clientBusy)}`)
  console.log(`lost        ${sum(runs.map((run) => run.client.lost))} of ${sum(runs.map((run) => run.client.sent))}`)
  console.log(verdict(Math.min(loopCpu, clientCpu), clientBusy > swapBusy))
}

/** Both spin: a CPU time below that of a whole core is the work of others. */
function verdict(cpu: number, clientIsBusier: boolean): string {
  if (cpu < 0.95) return 'others used the cores meanwhile: these figures are too low, measure again'
  return clientIsBusier ? 'the client is the limit: the loop can do more' : 'the loop is the limit'
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

if (fileURLToPath(import.meta.url) === process.argv[1]) {
  const { values } = parseArgs({ options })
  const client = fileURLToPath(new URL('./udp-client.js', import.meta.url))
  const { seconds, window, payload } = values
  if (values.inside) {
    await inside([client, '--seconds', seconds, '--window', window, '--payload', payload], Number(values.runs))
  } else await outside(values)
}
