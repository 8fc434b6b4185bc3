// Which thread waits for whose answer: the graph of synchronous calls of a machine, read from outside, with its cycles. A cycle is a
// deadlock: each of its threads waits for an answer that only the next one could give.
import { readText } from '../../base/bytes.ts'
import { Limits } from '../../base/limits.ts'
import type { Address } from '../../base/struct.ts'
import { PORT_BYTES, THREAD_BYTES } from '../layout.ts'
import type { Memory } from '../memory.ts'
import { MessageFlag, MessageHeader, messageTypeName, traceOf } from '../message.ts'
import { NameKind, Names } from '../name.ts'
import { PortRecordOffset } from '../port.ts'
import { type ThreadId, ThreadRecordOffset } from '../thread.ts'
import type { Chain } from './chain.ts'
import { ChainReader } from './reader.ts'

/** A thread that waits for the answer of a call. */
export interface Wait {
  readonly thread: ThreadId
  readonly name: string
  readonly cpu: number
  /** The type of its message. */
  readonly message: string
  /** The port that has it now, by name or else number, and that port's CPU. */
  readonly port: string
  readonly portCpu: number
  /** In the queue, or on its way there; else somebody has taken it and not answered. */
  readonly isQueued: boolean
  /** The thread that serves the port, if one does and not a handler. */
  readonly server: ThreadId | undefined
  readonly serverName: string
  /** How the call came about, where that is traced. */
  readonly chain: Chain
}

export interface Waits {
  readonly waits: readonly Wait[]
  /** Each a ring of threads, in which each waits for the next one, and the last for the first. */
  readonly cycles: readonly (readonly ThreadId[])[]
}

const M = MessageHeader.offset

/** Reads the graph, live: a call that is answered meanwhile may be missing or still there. */
export function readWaits(memory: Memory): Waits {
  const { layout, i32 } = memory
  const names = new Map(new Names(memory).list(NameKind.port).map(({ name, value }) => [value, name]))
  const reader = new ChainReader(memory)
  const waits: Wait[] = []
  for (let id = 0; id < layout.cpus * Limits.threadsPerCpu; id++) {
    const record = layout.threads + id * THREAD_BYTES
    const home = Atomics.load(i32, (record + ThreadRecordOffset.home) >> 2)
    const message = i32[(record + ThreadRecordOffset.waitsFor) >> 2]!
    if (home === 0 || message === 0) continue
    const wait = waitFor(memory, id, home - 1, message, names, reader)
    if (wait !== undefined) waits.push(wait)
  }
  return { waits, cycles: cyclesOf(waits) }
}

function waitFor(
  memory: Memory,
  thread: ThreadId,
  cpu: number,
  message: Address,
  names: ReadonlyMap<number, string>,
  reader: ChainReader,
): Wait | undefined {
  const { i32, u32, layout } = memory
  const flags = Atomics.load(i32, (message + M.state) >> 2)
  if ((flags & MessageFlag.DONE) !== 0) return undefined
  const port = u32[(message + M.sentTo) >> 2]!
  if (port >= layout.cpus * Limits.portsPerCpu) return undefined
  const served = i32[(layout.ports + port * PORT_BYTES + PortRecordOffset.thread) >> 2]!
  const server = served === 0 ? undefined : served - 1
  return {
    thread,
    name: threadName(memory, thread),
    cpu,
    message: messageTypeName(u32[(message + M.type) >> 2]!),
    port: names.get(port) ?? String(port),
    portCpu: Atomics.load(i32, (layout.portHomes >> 2) + port) & 0xffff,
    isQueued: (flags & MessageFlag.QUEUED) !== 0,
    server,
    serverName: server === undefined ? '' : threadName(memory, server),
    chain: reader.chain(traceOf(i32, message)),
  }
}

/** As much of a thread's name as its record has room for. */
export function threadName(memory: Memory, thread: ThreadId): string {
  const name = memory.layout.threads + thread * THREAD_BYTES + ThreadRecordOffset.name
  const end = memory.layout.threads + (thread + 1) * THREAD_BYTES
  let length = 0
  while (name + length < end && memory.u8[name + length] !== 0) length++
  return readText(memory.u8, name, length)
}

/** Each thread waits for one other at most, so a cycle is found by going on until something is met again. */
function cyclesOf(waits: readonly Wait[]): ThreadId[][] {
  const next = new Map(waits.flatMap(({ thread, server }) => (server === undefined ? [] : [[thread, server] as const])))
  const done = new Set<ThreadId>()
  const cycles: ThreadId[][] = []
  for (const first of next.keys()) {
    const path: ThreadId[] = []
    let at: ThreadId | undefined = first
    while (at !== undefined && !done.has(at)) {
      done.add(at)
      path.push(at)
      at = next.get(at)
    }
    const begins = at === undefined ? -1 : path.indexOf(at)
    if (begins >= 0) cycles.push(path.slice(begins))
  }
  return cycles
}
