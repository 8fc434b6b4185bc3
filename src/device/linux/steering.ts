// Where the kernel works on what we write to a TUN or TAP device. By default a write(2) takes each packet through the kernel's
// own stack as far as the socket of its peer, on the writer's processor: for small packets that is more than all the writer
// does itself. Receive packet steering (RPS; Linux, Documentation/networking/scaling.rst) has another processor do it, so
// that the write only hands over. A queue is steered to all processors that its thread may use but the one it runs on, while that
// moves more than without (steering-trial.ts).
//
// Best effort: where sysfs is not there or read-only, as in many containers, packets go the way they went.
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type Libc, libc } from './library.ts'
import { SteeringTrial, work } from './steering-trial.ts'

/** Processors that a mask of affinity has room for: glibc's cpu_set_t. */
const PROCESSORS_MAX = 1024
/** Threads move between processors, but not often; a look costs a call, and a change some 10 µs in the kernel. */
const LOOK_US = 50_000
/** Nothing is steered. */
const NOBODY = -1

export interface SteeringOptions {
  /** Default: Linux's. */
  readonly folder?: string
  readonly system?: Libc
}

/** One for each queue of a device, used by the thread that writes to it. */
export class ReceiveSteering {
  readonly #descriptor: number
  readonly #processor: () => number
  /** Those that the thread may run on: bits. */
  readonly #allowed: bigint
  readonly #trial = new SteeringTrial()
  #isSteered = false
  #steeredFrom = NOBODY
  #lookedAt = 0

  private constructor(descriptor: number, processor: () => number, allowed: bigint) {
    this.#descriptor = descriptor
    this.#processor = processor
    this.#allowed = allowed
  }

  /**
   * Of a queue of an interface, which is ours.
   * @param queues how many the device has, each with a thread: they need a processor each before one is left for the kernel
   * @returns undefined where there is no processor to spare, or no permission
   */
  static open(
    name: string,
    queue: number,
    queues: number,
    { folder = '/sys/class/net', system = libc() }: SteeringOptions = {},
  ): ReceiveSteering | undefined {
    const allowed = allowedProcessors(system)
    if (bits(allowed) <= queues) return undefined
    const descriptor = openIfAllowed(join(folder, name, 'queues', `rx-${queue}`, 'rps_cpus'))
    if (descriptor === undefined) return undefined
    return new ReceiveSteering(descriptor, system.declare('int sched_getcpu()'), allowed)
  }

  /**
   * Cheap to call for each batch.
   * @param now the CPU's time, µs
   * @param packets both ways, since the beginning; `bytes` likewise
   */
  look(now: number, packets: number, bytes: number): void {
    const isWanted = this.#trial.look(now, work(packets, bytes))
    if (isWanted === this.#isSteered && (!isWanted || now - this.#lookedAt < LOOK_US)) return
    this.#isSteered = isWanted
    this.#lookedAt = now
    const processor = isWanted ? this.#processor() : NOBODY
    if (processor === this.#steeredFrom) return
    this.#steeredFrom = processor
    this.#set(processor < 0 ? 0n : this.#allowed & ~(1n << BigInt(processor)))
  }

  #set(processors: bigint): void {
    try {
      writeSync(this.#descriptor, mask(processors), 0)
    } catch {
      // The interface is gone, or never took it.
    }
  }

  close(): void {
    closeSync(this.#descriptor)
  }
}

function allowedProcessors(system: Libc): bigint {
  const bytes = new Uint8Array(new ArrayBuffer(PROCESSORS_MAX / 8))
  const affinity = system.declare('int sched_getaffinity(int, uint64_t, uintptr_t)')
  if (affinity(0, bytes.length, system.pointer(bytes)) < 0) return 0n
  return bytes.reduceRight((all, byte) => (all << 8n) | BigInt(byte), 0n)
}

function bits(mask: bigint): number {
  let count = 0
  for (let left = mask; left > 0n; left &= left - 1n) count++
  return count
}

function openIfAllowed(path: string): number | undefined {
  try {
    return openSync(path, 'w')
  } catch {
    return undefined
  }
}

/** As the kernel reads it: hexadecimal words of 32 bits, the highest first, with commas between. */
function mask(processors: bigint): string {
  const words: string[] = []
  for (let left = processors; left > 0n || words.length === 0; left >>= 32n) {
    words.unshift((left & 0xffffffffn).toString(16).padStart(8, '0'))
  }
  return words.join(',')
}
