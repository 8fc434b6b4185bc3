// What an operator may ask about the provenance of what goes on in a machine that runs. Answered from its memory, by whatever thread has
// that: no CPU is asked or held up.

import type { Clock } from '../base/clock.ts'
import { Errno, KernelError } from '../base/errno.ts'
import { readCounters } from '../kernel/counters.ts'
import type { Memory } from '../kernel/memory.ts'
import { parseTraceMode, setPortTraceMode, setTraceMode, traceMode, traceModeText } from '../kernel/trace/mode.ts'
import { type PortReading, type QueuedMessage, readPorts, readQueue } from '../kernel/trace/queue.ts'
import { readWaits, type Waits } from '../kernel/trace/waits.ts'
import { type PacketOrder, type PacketTrace, packetTrace } from './packet.ts'

export type TraceOrder =
  | { readonly order: 'trace'; readonly view: 'state' }
  /** `mode` as parseTraceMode has it, or `inherit` to take back what the port said. Without a port: the machine's. */
  | { readonly order: 'trace'; readonly view: 'mode'; readonly mode: string; readonly port?: string }
  /** What waits in the ports of this name; looks again and again for `patienceMs` until something does. */
  | {
      readonly order: 'trace'
      readonly view: 'port'
      readonly port: string
      readonly limit: number
      readonly patienceMs: number
    }
  | { readonly order: 'trace'; readonly view: 'waits' }
  | PacketOrder

export interface TraceState {
  readonly mode: string
  /** Ports that have a mode of their own, or in which something waits. */
  readonly ports: readonly PortReading[]
  readonly counts: { readonly [counter: string]: number }
}

export interface PortTrace {
  readonly nowUs: number
  readonly ports: readonly { readonly port: PortReading; readonly queued: readonly QueuedMessage[] }[]
}

export interface WaitsTrace extends Waits {
  readonly nowUs: number
}

const LIMIT_MAX = 1000
const PATIENCE_MS_MAX = 60_000

export function isTraceOrder(order: unknown): order is TraceOrder {
  return typeof order === 'object' && order !== null && 'order' in order && order.order === 'trace'
}

/** @throws KernelError EINVAL for what is no order, ENOENT where no port has the name, with those that have one */
export async function answerTrace(
  memory: Memory,
  clock: Clock,
  order: TraceOrder,
): Promise<TraceState | PortTrace | WaitsTrace | PacketTrace> {
  switch (order.view) {
    case 'state':
      return stateOf(memory)
    case 'mode':
      changeMode(memory, order.mode, order.port)
      return stateOf(memory)
    case 'port':
      return await portTrace(memory, clock, order)
    case 'waits':
      return { ...readWaits(memory), nowUs: clock.now() }
    case 'packet':
      return await packetTrace(memory, clock, order)
    default:
      throw new KernelError(
        Errno.EINVAL,
        'this instance knows no such view of traces: it is of another version',
        'order',
      )
  }
}

function stateOf(memory: Memory): TraceState {
  const counts: { [counter: string]: number } = {}
  for (const { set, values } of readCounters(memory)) {
    if (set !== 'trace') continue
    for (const [counter, value] of Object.entries(values)) counts[counter] = (counts[counter] ?? 0) + value
  }
  const ports = readPorts(memory).filter(({ mode, depth }) => mode !== undefined || depth > 0)
  return { mode: traceModeText(traceMode(memory)), ports, counts }
}

function changeMode(memory: Memory, text: unknown, port: unknown): void {
  if (typeof text !== 'string') throw new KernelError(Errno.EINVAL, 'a trace mode is a text: off, all, or 1/N', 'order')
  if (port === undefined) {
    setTraceMode(memory, parseTraceMode(text))
    return
  }
  const mode = text === 'inherit' ? undefined : parseTraceMode(text)
  for (const { id } of portsNamed(memory, port)) setPortTraceMode(memory, id, mode)
}

/** The port of this name, or else all those whose names contain it. */
function portsNamed(memory: Memory, name: unknown): PortReading[] {
  const ports = readPorts(memory)
  if (typeof name === 'string' && name !== '') {
    const exact = ports.filter((port) => port.name === name)
    if (exact.length > 0) return exact
    const alike = ports.filter((port) => port.name.includes(name))
    if (alike.length > 0) return alike
  }
  const known = ports.map((port) => `"${port.name}"`).join(', ')
  throw new KernelError(Errno.ENOENT, `no port is named "${String(name)}": there are ${known || 'none'}`, 'trace')
}

async function portTrace(
  memory: Memory,
  clock: Clock,
  order: { readonly port: string; readonly limit: number; readonly patienceMs: number },
): Promise<PortTrace> {
  const limit = bounded('limit', order.limit, 1, LIMIT_MAX)
  const patienceMs = bounded('patienceMs', order.patienceMs, 0, PATIENCE_MS_MAX)
  const ports = portsNamed(memory, order.port)
  const until = clock.now() + patienceMs * 1000
  for (;;) {
    const nowUs = clock.now()
    const found = ports.map((port) => ({ port, queued: readQueue(memory, port.id, limit) }))
    if (nowUs >= until || found.some(({ queued }) => queued.length > 0)) return { nowUs, ports: found }
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

function bounded(name: string, value: unknown, low: number, high: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high) return value
  throw new KernelError(
    Errno.EINVAL,
    `${name} is ${String(value)}: give a whole number from ${low} to ${high}`,
    'order',
  )
}
