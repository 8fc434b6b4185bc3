// What an operator may ask about one packet on a machine that runs: its life (kernel/trace/life.ts), now or as soon as there is one.
import type { Clock } from '../base/clock.ts'
import { Errno, KernelError } from '../base/errno.ts'
import type { Memory } from '../kernel/memory.ts'
import { type Life, type LifeQuery, packetLife } from '../kernel/trace/life.ts'
import { traceMode, traceModeText } from '../kernel/trace/mode.ts'
import { traceIdText } from '../kernel/trace/summary.ts'

export interface PacketOrder {
  readonly order: 'trace'
  readonly view: 'packet'
  /** Of which life, as a capture names it. Without it the last one that is complete, or the next. */
  readonly id?: number
  readonly protocol?: 'tcp' | 'udp'
  readonly port?: number
  /** The first that comes from now on; or since the time that an earlier answer has told. */
  readonly next?: boolean
  readonly sinceUs?: number
  /** Looks again and again for so long. */
  readonly patienceMs: number
}

export interface PacketTrace {
  readonly nowUs: number
  /** Since when what is next was looked for. */
  readonly sinceUs: number
  /** The machine's. */
  readonly mode: string
  readonly life?: Life
}

const PATIENCE_MS_MAX = 60_000
const AGAIN_MS = 20

/** @throws KernelError EINVAL for what is no order, ENOENT where a packet is asked for by its number and is no longer kept */
export async function packetTrace(memory: Memory, clock: Clock, order: PacketOrder): Promise<PacketTrace> {
  const patienceMs = checkNumber('patienceMs', order.patienceMs, PATIENCE_MS_MAX)
  const sinceUs = order.sinceUs === undefined ? clock.now() : checkNumber('sinceUs', order.sinceUs)
  const query = queryOf(order, sinceUs)
  const until = clock.now() + patienceMs * 1000
  for (;;) {
    const life = packetLife(memory, query)
    const nowUs = clock.now()
    if (life === undefined && 'id' in query) {
      const sentence = `packet ${traceIdText(query.id)} is no longer kept: each CPU keeps its last ${memory.layout.traceRecords} records, which last longer with --mode 1/N`
      throw new KernelError(Errno.ENOENT, sentence, 'trace')
    }
    if (life !== undefined || nowUs >= until) {
      return { nowUs, sinceUs, mode: traceModeText(traceMode(memory)), ...(life === undefined ? {} : { life }) }
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
  }
}

function queryOf({ id, protocol, port, next }: PacketOrder, sinceUs: number): LifeQuery {
  if (id !== undefined) return { id: checkNumber('id', id, 0x7fffffff) }
  if (protocol !== undefined && protocol !== 'tcp' && protocol !== 'udp') {
    throw new KernelError(Errno.EINVAL, `protocol is ${String(protocol)}: give tcp or udp`, 'order')
  }
  return {
    protocol,
    port: port === undefined ? undefined : checkNumber('port', port, 65535),
    sinceUs: next === true ? sinceUs : undefined,
  }
}

function checkNumber(name: string, value: unknown, high: number = Number.MAX_SAFE_INTEGER): number {
  if (typeof value === 'number' && value >= 0 && value <= high) return value
  throw new KernelError(Errno.EINVAL, `${name} is ${String(value)}: give a number from 0 to ${high}`, 'order')
}
