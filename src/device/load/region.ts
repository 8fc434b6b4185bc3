// The region of the machine's memory that a load device lies in, and who writes what there. It is asked for at boot
// (`loadRegions`), and is laid out in the order
//
//   | header | a block for each queue | a flow for each connection | a cell for each queue and connection |
//
// Addresses are computed, by every CPU and by readers outside alike; nothing is negotiated.
import { assert } from '../../base/assert.ts'
import { Errno, KernelError } from '../../base/errno.ts'
import { HISTOGRAM_BYTES } from '../../base/histogram.ts'
import { type Address, atomic, bytes, i32, struct, u32 } from '../../base/struct.ts'
import type { Memory } from '../../kernel/memory.ts'
import { type LoadOptions, loadPlan } from './options.ts'
import { TEMPLATE_BYTES, TEMPLATES } from './template.ts'

/** What the device was told last, see `tellLoad`. Written by whoever tells it. */
export const Told = { nothing: 0, run: 1, rest: 2 } as const

const LoadHeader = struct({
  told: atomic, //  0  Told
  padding: bytes(60),
})

/** A queue's own. Each line has one kind of writer. */
export const QueueBlock = struct({
  answers: atomic, //    0  cells that others have put in: see cell.ts
  padding0: bytes(60),
  isReady: atomic, //   64  the queue's: 1 when its connections are open
  instance: u32, //     68  of its counters, and 1 more; 0: the queue was not opened
  padding1: bytes(56),
  latency: bytes(HISTOGRAM_BYTES), // 128  of the queue's: from a question put in to its answer, tenths of a µs
  templates: bytes(TEMPLATES * TEMPLATE_BYTES),
})

/** What is known of a connection, or of a flow of datagrams. A line, which only its home queue reads and writes. */
export const Flow = struct({
  state: u32, //          0  FlowState
  due: u32, //            4  Due
  sndNxt: i32, //         8  datagrams: how many were sent
  sndUna: i32, //        12  datagrams: how many were answered, or given up
  rcvNxt: i32, //        16
  rcvAcked: i32, //      20  the last acknowledgment that was sent
  expected: i32, //      24  rcvNxt when the answer that is waited for is whole
  edge: i32, //          28  the right edge of the server's window
  shift: u32, //         32  its scale
  port: u32, //          36  the client's
  hash: i32, //          40
  askedAt: i32, //       44  when the question was put in, in ticks of 0.1 µs that go round
  progressAt: i32, //    48  when anything moved last
  segments: u32, //      52  that came and are not acknowledged
  clientSum: u32, //     56  of the client's address: what it adds to checksums
  client: i32, //        60  the client's address
})

/** What an answer that left by another queue has to say: see cell.ts. */
export const Cell = struct({
  next: atomic, //      0  0: in no list; LAST; or 1 + the number of the next cell
  acknowledged: atomic, // 4
  end: atomic, //       8  sequence number behind the last byte
  flags: atomic, //    12  flags of the header, and the client's port
  window: atomic, //   16  as WindowWord in header.ts
  segments: atomic, // 20  since ever
  seenAt: atomic, //   24  ticks
  taken: u32, //       28  of `segments`: the home queue's own
})

export function loadRegionName(name: string): string {
  return `load:${name}`
}

/** Where everything lies in a load device's region. */
export class LoadRegion {
  readonly #address: Address
  readonly #flows: Address
  readonly #cells: Address
  readonly connections: number

  constructor(address: Address, queues: number, connections: number) {
    this.#address = address
    this.#flows = address + LoadHeader.size + queues * QueueBlock.size
    this.#cells = this.#flows + connections * Flow.size
    this.connections = connections
  }

  /** @throws KernelError EINVAL where the region is too small, ENOENT without it */
  static find(memory: Memory, options: LoadOptions): LoadRegion {
    const region = memory.layout.region(loadRegionName(options.name))
    const needed = loadRegionBytes(options)
    if (region.bytes < needed) {
      const sentence = `region "${region.name}" has ${region.bytes} bytes and ${needed} are needed: ask for it by loadRegions with the device's own options`
      throw new KernelError(Errno.EINVAL, sentence)
    }
    return new LoadRegion(region.address, options.cpus.length, options.connections)
  }

  get told(): Address {
    return this.#address + LoadHeader.offset.told
  }

  queue(queue: number): Address {
    return this.#address + LoadHeader.size + queue * QueueBlock.size
  }

  flow(number: number): Address {
    return this.#flows + number * Flow.size
  }

  /** Cells are numbered through: queue by queue, and there by connection. */
  cell(number: number): Address {
    return this.#cells + number * Cell.size
  }
}

/**
 * Bytes of the device's region.
 * @throws KernelError EINVAL for options that cannot be
 */
export function loadRegionBytes(options: LoadOptions): number {
  const { cpus, connections } = loadPlan(options)
  // With one queue no answer can leave by another one.
  const cells = cpus.length === 1 ? 0 : cpus.length * connections
  return LoadHeader.size + cpus.length * QueueBlock.size + connections * Flow.size + cells * Cell.size
}

/** What to boot with: `boot({ regions: { ...loadRegions(options) } })`. */
export function loadRegions(options: LoadOptions): { readonly [name: string]: number } {
  return { [loadRegionName(options.name)]: loadRegionBytes(options) }
}

assert(LoadHeader.size === 64 && Flow.size === 64 && Cell.size === 32, 'records of a load lie in lines')
assert(QueueBlock.size % 64 === 0, 'the block of a queue is a number of lines')
