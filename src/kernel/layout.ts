// Where everything lies in the machine's memory. A pure function of the boot options, so that every CPU,
// and a reader from outside, computes the same layout; nothing is negotiated.
import { Errno, KernelError } from '../base/errno.ts'
import { HISTOGRAM_BYTES } from '../base/histogram.ts'
import { Limits } from '../base/limits.ts'
import { type Address, atomic, bytes, f64, struct, u32 } from '../base/struct.ts'

/** A zone is what a slab is carved from; its header is found by masking an object's address. */
export const ZONE_BYTES = 256 * 1024

/** The first record of the memory: words that belong to the machine as a whole. */
export const MachineHeader = struct({
  magic: u32, //             0
  version: u32, //           4
  stop: atomic, //           8  not 0: every CPU leaves its run loop
  syncOwner: atomic, //     12  the CPU (+ 1) that runs a cpusync; one at a time
  zoneNext: atomic, //      16  zones never handed out begin with this index
  zonePool: atomic, //      20  recycled zones, linked through their headers
  nextThread: atomic, //    24
  traceEvery: atomic, //    28  0: nothing is traced; 1: everything; else one of so many
  tracePorts: atomic, //    32  ports that say so for themselves
  padding: bytes(28),
})

/** What others write of a CPU. Each line has one kind of writer, so that a busy CPU's own line stays in its cache. */
export const CpuBlock = struct({
  state: atomic, //          0  CpuState; written by the CPU and by whoever wakes it
  doorbell: atomic, //       4  0: sleeps on the word above; else 1 + the descriptor (eventfd) that wakes it from poll(2)
  padding0: bytes(56),
  remoteFree: atomic, //    64  objects freed by others, linked through their first word
  padding1: bytes(60),
  turns: f64, //           128  turns of the run loop, for whoever watches for a stuck CPU
  fence: atomic, //        136  the CPU's own: written for the fence that comes with it
  padding2: bytes(116),
})

/** One direction of the IPI traffic between two CPUs. */
export const RingHeader = struct({
  windex: atomic, //         0  source: entries published
  padding0: bytes(60),
  rindex: atomic, //        64  target: entries read
  xindex: atomic, //        68  target: entries whose function has returned
  padding1: bytes(56),
})
export const RING_ENTRY_BYTES = 32

/** What one CPU counts of a hand-off point with one peer (see handoff.ts). */
export const HandoffRecord = struct({
  enqueued: f64,
  dequeued: f64,
  dropped: f64,
  endedEmpty: f64,
  endedLimit: f64,
  rung: f64,
  avoided: f64,
  padding: f64,
  depth: bytes(HISTOGRAM_BYTES),
  time: bytes(HISTOGRAM_BYTES),
  batch: bytes(HISTOGRAM_BYTES),
})

/** The hand-off points of a packet's way (DESIGN: a packet's way). `port` is any message port that has no other name. */
export const HANDOFF_POINTS = [
  'ring',
  'port',
  'rx',
  'link',
  'netisr',
  'transport',
  'snd',
  'rcv',
  'accept',
  'tx',
  'free',
  'control',
] as const
export type HandoffPoint = (typeof HANDOFF_POINTS)[number]

export interface LayoutOptions {
  /** CPUs, the joined one included. */
  readonly cpus: number
  /** Entries of each IPI ring: a power of two from 16 to 4096. Default 256 up to 16 CPUs, then 64. */
  readonly ringEntries?: number
  /** All of the memory. Pages are committed when they are first touched. Default 256 MiB. */
  readonly memoryBytes?: number
  /** Trace records that each CPU keeps: a power of two from 64 to 2^20. Default 4096 up to 4 CPUs, fewer for more. */
  readonly traceRecords?: number
  /** Regions of the program's own, by name, zero at boot. */
  readonly regions?: { readonly [name: string]: number }
}

export interface Region {
  readonly name: string
  readonly address: Address
  readonly bytes: number
}

export class Layout {
  readonly cpus: number
  readonly ringEntries: number
  readonly memoryBytes: number
  readonly regions: readonly Region[]
  readonly header: Address
  readonly cpuBlocks: Address
  readonly rings: Address
  readonly ringBytes: number
  readonly counters: Address
  readonly handoffs: Address
  readonly ports: Address
  readonly portHomes: Address
  readonly threads: Address
  readonly sleepMasks: Address
  readonly sleepMaskWords: number
  readonly names: Address
  readonly wheels: Address
  /** Trace records, so many for each CPU; and the texts that they name. */
  readonly traces: Address
  readonly traceRecords: number
  readonly traceTexts: Address
  readonly traceTextBytes: number
  readonly zones: Address
  readonly zoneCount: number
  readonly #named = new Map<string, Region>()

  /** @throws KernelError EINVAL where an option is impossible, ENOMEM where the memory is too small: both say what fits */
  constructor(options: LayoutOptions) {
    const { cpus, ringEntries, memoryBytes, traceRecords } = checkOptions(options)
    this.cpus = cpus
    this.ringEntries = ringEntries
    this.memoryBytes = memoryBytes
    this.ringBytes = RingHeader.size + ringEntries * RING_ENTRY_BYTES
    this.sleepMaskWords = Math.ceil(cpus / 32)

    const regions: Region[] = []
    let end = 64 // nothing lies at address 0
    const place = (name: string, size: number, alignment = 64): Address => {
      const address = Math.ceil(end / alignment) * alignment
      end = address + size
      regions.push({ name, address, bytes: size })
      return address
    }
    this.header = place('machine header', MachineHeader.size)
    this.cpuBlocks = place('cpu blocks', cpus * CpuBlock.size)
    this.rings = place('ipi rings', cpus * cpus * this.ringBytes)
    this.counters = place('counters', cpus * Limits.counterBytes, 4096)
    this.handoffs = place('hand-offs', cpus * HANDOFF_POINTS.length * cpus * HandoffRecord.size, 4096)
    this.ports = place('ports', cpus * Limits.portsPerCpu * PORT_BYTES)
    this.portHomes = place('port homes', cpus * Limits.portsPerCpu * 4)
    this.threads = place('threads', cpus * Limits.threadsPerCpu * THREAD_BYTES)
    this.sleepMasks = place('sleep masks', Limits.sleepBuckets * this.sleepMaskWords * 4)
    this.names = place('names', Limits.names * NAME_BYTES)
    this.wheels = place('timer wheels', cpus * WHEEL_BYTES)
    this.traceRecords = traceRecords
    this.traces = place('trace records', cpus * traceRecords * TRACE_BYTES)
    this.traceTextBytes = Math.min(Math.max(traceRecords * TEXT_BYTES_A_RECORD, TEXT_BYTES_MIN), TEXT_BYTES_MAX)
    this.traceTexts = place('trace texts', cpus * this.traceTextBytes)
    for (const [name, size] of Object.entries(options.regions ?? {})) {
      this.#named.set(name, { name, address: place(name, size), bytes: size })
    }
    this.zones = Math.ceil(end / ZONE_BYTES) * ZONE_BYTES
    this.zoneCount = Math.max(0, Math.floor((memoryBytes - this.zones) / ZONE_BYTES))
    if (this.zoneCount < cpus * 2) {
      const needed = this.zones + cpus * 2 * ZONE_BYTES
      throw new KernelError(
        Errno.ENOMEM,
        `memoryBytes is ${memoryBytes}, too small for ${cpus} CPUs with ${ringEntries} ring entries: give at least ${needed}`,
        'boot',
      )
    }
    regions.push({ name: 'zones', address: this.zones, bytes: this.zoneCount * ZONE_BYTES })
    this.regions = regions
  }

  /** The ring that carries what `source` sends to `target`. */
  ring(source: number, target: number): Address {
    return this.rings + (target * this.cpus + source) * this.ringBytes
  }

  cpuBlock(cpu: number): Address {
    return this.cpuBlocks + cpu * CpuBlock.size
  }

  handoff(cpu: number, point: number, peer: number): Address {
    return this.handoffs + ((cpu * HANDOFF_POINTS.length + point) * this.cpus + peer) * HandoffRecord.size
  }

  /** A region asked for at boot. @throws KernelError ENOENT */
  region(name: string): Region {
    const region = this.#named.get(name)
    if (region === undefined) {
      const known = [...this.#named.keys()].join(', ') || 'none'
      throw new KernelError(Errno.ENOENT, `no region is named "${name}"; those asked for at boot: ${known}`, 'region')
    }
    return region
  }

  /** One line a region: first address, size, name. */
  toString(): string {
    const lines = this.regions.map(
      (r) => `${hex(r.address)}  ${hex(r.address + r.bytes - 1)}  ${sizeText(r.bytes).padStart(9)}  ${r.name}`,
    )
    return [`${'first'.padEnd(10)}  ${'last'.padEnd(10)}  ${'size'.padStart(9)}  region`, ...lines].join('\n')
  }
}

/** Sizes of the records that port.ts, thread.ts, name.ts and timer.ts declare and check. */
export const PORT_BYTES = 64
export const THREAD_BYTES = 64
export const NAME_BYTES = 64
export const WHEEL_BYTES = 2048
/** Of trace/record.ts. */
export const TRACE_BYTES = 48
/** Where a port's record says how much of what is sent to it is traced: 0, or 1 + one of how many (trace/mode.ts). */
export const PORT_TRACE_EVERY = 28
/** Where it says which hand-off point it is: an index into HANDOFF_POINTS. */
export const PORT_POINT = 32

const TRACE_RECORDS_MIN = 64
const TRACE_RECORDS_MAX = 1 << 20
/** Where nobody says how many: fewer for each of many CPUs. */
const TRACE_RECORDS_USUAL = [
  { upTo: 4, records: 4096 },
  { upTo: 16, records: 2048 },
  { upTo: 64, records: 512 },
  { upTo: Limits.cpus, records: 128 },
]
/** Call sites are few, however many records name them. */
const TEXT_BYTES_A_RECORD = 32
const TEXT_BYTES_MIN = 24 * 1024
const TEXT_BYTES_MAX = 512 * 1024

interface Checked {
  readonly cpus: number
  readonly ringEntries: number
  readonly memoryBytes: number
  readonly traceRecords: number
}

function checkOptions(options: LayoutOptions): Checked {
  const { cpus } = options
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > Limits.cpus) {
    throw new KernelError(Errno.EINVAL, `cpus is ${cpus}: give a whole number from 1 to ${Limits.cpus}`, 'boot')
  }
  const ringEntries = options.ringEntries ?? (cpus <= 16 ? 256 : 64)
  const { ringEntriesMin, ringEntriesMax, memoryMin, memoryMax } = Limits
  const isPowerOfTwo = Number.isInteger(ringEntries) && ringEntries > 0 && (ringEntries & (ringEntries - 1)) === 0
  if (!isPowerOfTwo || ringEntries < ringEntriesMin || ringEntries > ringEntriesMax) {
    throw new KernelError(
      Errno.EINVAL,
      `ringEntries is ${ringEntries}, not a power of two from ${ringEntriesMin} to ${ringEntriesMax}: 256 is usual`,
      'boot',
    )
  }
  const memoryBytes = options.memoryBytes ?? 256 * 1024 * 1024
  if (!Number.isInteger(memoryBytes) || memoryBytes < memoryMin || memoryBytes > memoryMax) {
    throw new KernelError(
      memoryBytes < memoryMin ? Errno.ENOMEM : Errno.EINVAL,
      `memoryBytes is ${memoryBytes}: give a whole number from ${memoryMin} (4 MiB) to ${memoryMax} (2 GiB less a page)`,
      'boot',
    )
  }
  for (const [name, size] of Object.entries(options.regions ?? {})) {
    if (!Number.isInteger(size) || size < 1) {
      throw new KernelError(Errno.EINVAL, `region "${name}" has ${size} bytes: give a whole number from 1`, 'boot')
    }
  }
  return { cpus, ringEntries, memoryBytes, traceRecords: checkTraceRecords(options.traceRecords, cpus) }
}

function checkTraceRecords(asked: number | undefined, cpus: number): number {
  if (asked === undefined) return TRACE_RECORDS_USUAL.find(({ upTo }) => cpus <= upTo)!.records
  const isPowerOfTwo = Number.isInteger(asked) && asked > 0 && (asked & (asked - 1)) === 0
  if (!isPowerOfTwo || asked < TRACE_RECORDS_MIN || asked > TRACE_RECORDS_MAX) {
    throw new KernelError(
      Errno.EINVAL,
      `traceRecords is ${asked}, not a power of two from ${TRACE_RECORDS_MIN} to ${TRACE_RECORDS_MAX}: 4096 is usual`,
      'boot',
    )
  }
  return asked
}

function hex(address: number): string {
  return `0x${address.toString(16).padStart(8, '0')}`
}

function sizeText(size: number): string {
  if (size >= 1024 * 1024) return `${(size / 1024 / 1024).toFixed(1)} MiB`
  return size >= 1024 ? `${(size / 1024).toFixed(1)} KiB` : `${size} B`
}
