// Traces that began elsewhere: what their context comes with goes on from them.
import type { Cpu } from '../kernel/cpu.ts'
import type { Chain } from '../kernel/trace/chain.ts'
import { parseTraceparent } from '../kernel/trace/context.ts'

/** The chain that a header stands for, to be looked at or exported behind; undefined where it is none. */
export function chainFromTraceparent(header: string): Chain | undefined {
  if (parseTraceparent(header) === undefined) return undefined
  return { hops: [{ kind: 'remote', cpu: 0, to: header, atUs: 0, id: 0, frames: [] }], end: 'origin' }
}

/**
 * Calls `call` as caused by what a header tells: messages that it sends, and what they lead to, go back to there. A header that is none
 * changes nothing, for it comes from outside.
 */
export function withTraceparent<T>(cpu: Cpu, header: string, call: () => T): T {
  const { tracer } = cpu
  const context = tracer.isSet ? parseTraceparent(header) : undefined
  const remote = context === undefined ? 0 : tracer.remote(context)
  if (remote === 0) return call()
  const { current } = tracer
  tracer.current = remote
  try {
    return call()
  } catch (error) {
    // Here, for what it goes on through is known here only.
    tracer.explain(error)
    throw error
  } finally {
    tracer.current = current
  }
}
