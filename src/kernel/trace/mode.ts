// How much is traced: nothing, one of N, or everything; of the whole machine, and of single ports otherwise. A word of the
// machine's memory that every CPU looks at once a turn, so that whoever has the memory may change it while the machine runs.
import { Errno, KernelError } from '../../base/errno.ts'
import { MachineHeader, PORT_BYTES, PORT_TRACE_EVERY } from '../layout.ts'
import type { Memory } from '../memory.ts'

/**
 * `off`, `all`, or N for one of N origins: what an origin leads to is then traced as a whole. `exact` is `all`, with a look at the stack of each
 * thing that is sent; the others look at one of some where all have come from the same place (site.ts).
 */
export type TraceMode = 'off' | 'all' | 'exact' | number

const EVERY_MAX = 1_000_000_000
/** As a word. */
export const EXACT = 0x7ffffffe

/** `off`, `all`, `exact`, `1000` or `1/1000`. @throws KernelError EINVAL */
export function parseTraceMode(text: string): TraceMode {
  if (text === 'off' || text === 'all' || text === 'exact') return text
  const [, digits] = /^(?:1\/)?(\d{1,10})$/.exec(text) ?? []
  const every = Number(digits)
  if (digits === undefined || every < 1 || every > EVERY_MAX) {
    throw new KernelError(
      Errno.EINVAL,
      `the trace mode "${text}" is none: give off, all, exact, or N or 1/N for one of N`,
      'trace',
    )
  }
  return every === 1 ? 'all' : every
}

export function traceModeText(mode: TraceMode): string {
  return typeof mode === 'number' ? `1/${mode}` : mode
}

/** The mode of a running machine, from now on: each CPU sees it in its next turn. @throws KernelError EINVAL */
export function setTraceMode(memory: Memory, mode: TraceMode): void {
  Atomics.store(memory.i32, modeWord(memory), everyOf(mode))
}

export function traceMode(memory: Memory): TraceMode {
  return modeOf(Atomics.load(memory.i32, modeWord(memory)))
}

/** The mode of what is sent to one port, whatever the machine's is; `undefined` takes that back. */
export function setPortTraceMode(memory: Memory, port: number, mode: TraceMode | undefined): void {
  const { i32, layout } = memory
  const word = (layout.ports + port * PORT_BYTES + PORT_TRACE_EVERY) >> 2
  const before = Atomics.exchange(i32, word, mode === undefined ? 0 : 1 + everyOf(mode))
  const change = (mode === undefined ? 0 : 1) - (before === 0 ? 0 : 1)
  if (change !== 0) Atomics.add(i32, portsWord(memory), change)
}

/** What a port says for itself. */
export function portTraceMode(memory: Memory, port: number): TraceMode | undefined {
  const own = portEvery(memory, port)
  return own === 0 ? undefined : modeOf(own - 1)
}

/** As the port's record has it: 0, or 1 + one of how many. */
export function portEvery(memory: Memory, port: number): number {
  return memory.i32[(memory.layout.ports + port * PORT_BYTES + PORT_TRACE_EVERY) >> 2]!
}

/** Where the machine's mode stands among the words of its memory, and how many ports have one of their own. */
export function modeWord(memory: Memory): number {
  return (memory.layout.header + MachineHeader.offset.traceEvery) >> 2
}

export function portsWord(memory: Memory): number {
  return (memory.layout.header + MachineHeader.offset.tracePorts) >> 2
}

function everyOf(mode: TraceMode): number {
  if (mode === 'off') return 0
  if (mode === 'all') return 1
  if (mode === 'exact') return EXACT
  if (!Number.isInteger(mode) || mode < 1 || mode > EVERY_MAX) {
    throw new KernelError(
      Errno.EINVAL,
      `one of ${mode} is no trace mode: give a whole number from 1 to ${EVERY_MAX}`,
      'trace',
    )
  }
  return mode
}

function modeOf(every: number): TraceMode {
  if (every === EXACT) return 'exact'
  return every === 0 ? 'off' : every === 1 ? 'all' : every
}
