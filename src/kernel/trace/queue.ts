// What waits in the ports of a machine, read from outside, live, with who sent it. Nobody is stopped for that: a queue may change
// while it is walked, so every address is checked before it is followed, and the walk has an end.
import { Limits } from '../../base/limits.ts'
import type { Address } from '../../base/struct.ts'
import { PORT_BYTES } from '../layout.ts'
import type { Memory } from '../memory.ts'
import { MessageHeader, messageTypeName, traceOf } from '../message.ts'
import { NameKind, Names } from '../name.ts'
import { type PortId, PortRecordOffset } from '../port.ts'
import type { Chain } from './chain.ts'
import { portTraceMode, type TraceMode } from './mode.ts'
import { ChainReader } from './reader.ts'

export interface PortReading {
  readonly id: PortId
  readonly name: string
  readonly cpu: number
  /** Messages in its queue. */
  readonly depth: number
  /** What it says for itself; undefined: the machine's mode. */
  readonly mode: TraceMode | undefined
}

export interface QueuedMessage {
  readonly type: string
  /** The CPU that sent it first, and the one that put it here. */
  readonly origin: number
  readonly from: number
  /** When, by the machine's clock, µs. */
  readonly atUs: number
  /** How it came here; without hops where that is not traced. */
  readonly chain: Chain
}

const M = MessageHeader.offset
const P = PortRecordOffset

/** The ports that have names, by name. */
export function readPorts(memory: Memory): PortReading[] {
  const { i32, layout } = memory
  return new Names(memory)
    .list(NameKind.port)
    .map(({ name, value: id }) => ({
      id,
      name,
      cpu: Atomics.load(i32, (layout.portHomes >> 2) + id) & 0xffff,
      depth: i32[(layout.ports + id * PORT_BYTES + P.depth) >> 2]!,
      mode: portTraceMode(memory, id),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** What waits at a port: first what has priority, then the others, in their order; `limit` at most. */
export function readQueue(memory: Memory, port: PortId, limit: number): QueuedMessage[] {
  if (port < 0 || port >= memory.layout.cpus * Limits.portsPerCpu) return []
  const { i32, u32, u16, f64, layout } = memory
  const reader = new ChainReader(memory)
  const record = layout.ports + port * PORT_BYTES
  const found: QueuedMessage[] = []
  const seen = new Set<Address>()
  for (const head of [P.priorityHead, P.head]) {
    let message = u32[(record + head) >> 2]!
    while (isObject(memory, message) && !seen.has(message) && found.length < limit) {
      seen.add(message)
      found.push({
        type: messageTypeName(u32[(message + M.type) >> 2]!),
        origin: u16[(message + M.origin) >> 1]!,
        from: u16[(message + M.from) >> 1]!,
        atUs: f64[(message + M.queuedAt) >> 3]!,
        chain: reader.chain(traceOf(i32, message)),
      })
      message = u32[(message + M.next) >> 2]!
    }
  }
  return found
}

/** Whether a message may lie there: messages are objects of the slab. */
function isObject({ layout }: Memory, address: Address): boolean {
  return address >= layout.zones && address < layout.memoryBytes - MessageHeader.size && address % 8 === 0
}
