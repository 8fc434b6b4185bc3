// damselfly trace: where what goes on in an instance that runs has come from: the originators of what waits in its ports, who waits for whose
// answer; and how much of it is traced.
import { parseArgs } from 'node:util'
import { KernelError } from '../base/errno.ts'
import { chainText } from '../kernel/trace/chain.ts'
import { parseTraceMode } from '../kernel/trace/mode.ts'
import type { PortReading, QueuedMessage } from '../kernel/trace/queue.ts'
import type { Wait } from '../kernel/trace/waits.ts'
import type { PortTrace, TraceOrder, TraceState, WaitsTrace } from '../service/trace.ts'
import { decimalNumber, wholeNumber } from './argument.ts'
import { orderInstance } from './control.ts'
import { onlyInstance, processOf } from './instance.ts'
import { askFor } from './patience.ts'
import { count } from './table.ts'
import { askPacket, packetText, parsePacket, withPacketValue } from './trace/packet.ts'
import { UsageError } from './usage.ts'

export async function trace(args: readonly string[]): Promise<void> {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args: withPacketValue(args),
    options: {
      pid: text,
      mode: text,
      port: text,
      packet: text,
      waits: flag,
      limit: text,
      wait: text,
      stacks: flag,
      json: flag,
    },
  })
  if (values.packet !== undefined) return tracePacket(values.packet, values)
  if (values.stacks) throw new UsageError('--stacks goes with --packet')
  if (values.waits && (values.mode !== undefined || values.port !== undefined)) {
    throw new UsageError('--waits is a view of its own: leave --mode and --port out')
  }
  for (const option of ['limit', 'wait'] as const) {
    if (values[option] !== undefined && (values.port === undefined || values.mode !== undefined)) {
      throw new UsageError(`--${option} goes with --port, without --mode`)
    }
  }
  const order = orderOf(values)
  const pid = processOf(values.pid) || (await onlyInstance('trace'))
  const answer = await (order.view === 'port' ? askPort(pid, order) : orderInstance(pid, order))
  if (values.json) console.log(JSON.stringify(answer))
  else console.log(textOf(order, answer))
}

/** As soon as something waits there. */
function askPort(pid: number, order: Extract<TraceOrder, { view: 'port' }>): Promise<PortTrace> {
  return askFor(
    order.patienceMs,
    async (patienceMs) => (await orderInstance(pid, { ...order, patienceMs })) as PortTrace,
    ({ ports }) => ports.some(({ queued }) => queued.length > 0),
  )
}

async function tracePacket(packet: string, values: Values): Promise<void> {
  for (const option of ['mode', 'port', 'limit'] as const) {
    if (values[option] !== undefined) {
      throw new UsageError(`--packet is a view of its own: leave --${option} out`)
    }
  }
  if (values.waits) throw new UsageError('--packet is a view of its own: leave --waits out')
  const choice = parsePacket(packet)
  const waitMs = Math.round(1000 * decimalNumber('wait', values.wait, 0, 60, 1))
  const pid = processOf(values.pid) || (await onlyInstance('trace'))
  const answer = await askPacket(choice, waitMs, (order) => orderInstance(pid, order))
  console.log(values.json ? JSON.stringify(answer) : packetText(answer, values.stacks))
}

interface Values {
  readonly mode?: string | undefined
  readonly port?: string | undefined
  readonly limit?: string | undefined
  readonly wait?: string | undefined
  readonly waits: boolean
  readonly pid?: string | undefined
  readonly stacks: boolean
  readonly json: boolean
}

function orderOf({ mode, port, limit, wait, waits }: Values): TraceOrder {
  if (waits) return { order: 'trace', view: 'waits' }
  if (mode !== undefined) {
    checkMode(mode, port !== undefined)
    return { order: 'trace', view: 'mode', mode, ...(port === undefined ? {} : { port }) }
  }
  if (port === undefined) return { order: 'trace', view: 'state' }
  const patienceMs = Math.round(1000 * decimalNumber('wait', wait, 0, 60, 1))
  return { order: 'trace', view: 'port', port, limit: wholeNumber('limit', limit, 1, 1000, 20), patienceMs }
}

/** Before anybody is asked. */
function checkMode(mode: string, isPort: boolean): void {
  if (isPort && mode === 'inherit') return
  try {
    parseTraceMode(mode)
  } catch (error) {
    throw error instanceof KernelError ? new UsageError(`--mode: ${error.message}`) : error
  }
}

function textOf(order: TraceOrder, answer: unknown): string {
  if (order.view === 'port') return portText(answer as PortTrace)
  return order.view === 'waits' ? waitsText(answer as WaitsTrace) : stateText(answer as TraceState)
}

function stateText({ mode, ports, counts }: TraceState): string {
  const numbers = Object.entries(counts).map(([name, value]) => `${name} ${count(value)}`)
  const lines = [`tracing is ${mode.includes('/') ? `sampled, ${mode}` : mode}`, `  ${numbers.join(', ')}`]
  return [...lines, ...ports.map((port) => `  ${portLine(port)}`)].join('\n')
}

function portLine({ name, cpu, depth, mode }: PortReading): string {
  return `port "${name}" of cpu ${cpu}: ${count(depth)} waiting${mode === undefined ? '' : `, traced ${mode}`}`
}

function portText({ nowUs, ports }: PortTrace): string {
  return ports
    .map(({ port, queued }) => [portLine(port), ...queued.map((message) => queuedText(message, nowUs))].join('\n'))
    .join('\n')
}

function queuedText({ type, origin, from, atUs, chain }: QueuedMessage, nowUs: number): string {
  const put = from === origin ? `cpu ${origin}` : `cpu ${from}, which had it from cpu ${origin}`
  const head = `  "${type}" from ${put}, has waited ${(nowUs - atUs).toFixed(0)} µs`
  return chain.hops.length === 0 ? head : `${head}\n${indented(chainText(chain, nowUs))}`
}

function waitsText({ waits, cycles, nowUs }: WaitsTrace): string {
  if (waits.length === 0) return 'no thread waits for an answer'
  const names = new Map(waits.map(({ thread, name }) => [thread, name]))
  const called = (id: number) => `thread ${id} "${names.get(id) ?? ''}"`
  const rings = cycles.map((cycle) => `deadlock: ${[...cycle, cycle[0]!].map(called).join(' → ')}`)
  return [...waits.map((wait) => waitText(wait, nowUs)), ...rings].join('\n')
}

function waitText(wait: Wait, nowUs: number): string {
  const { thread, name, cpu, message, port, portCpu, isQueued, server, serverName, chain } = wait
  const by = server === undefined ? 'a handler' : `thread ${server} "${serverName}"`
  const state = isQueued ? `queued for ${by}` : `taken by ${by}`
  const head = `thread ${thread} "${name}" on cpu ${cpu} waits for "${message}" at port ${port} of cpu ${portCpu}, ${state}`
  return chain.hops.length === 0 ? head : `${head}\n${indented(chainText(chain, nowUs))}`
}

function indented(text: string): string {
  return text.replace(/^/gm, '    ')
}
